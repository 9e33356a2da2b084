//! Many things asked for in one command: each is tried, and what failed is said where it did.

use anyhow::bail;

/// What became of them so far.
#[derive(Debug)]
pub(crate) struct Tally {
    of: usize,
    faults: Vec<String>,
}

impl Tally {
    /// Of so many.
    pub fn of(of: usize) -> Self {
        Self {
            of,
            faults: Vec::new(),
        }
    }

    /// One failed. The only one is told by [`Tally::end`].
    pub fn fault(&mut self, words: String) {
        if self.of > 1 {
            eprintln!("quorate: {words}");
        }
        self.faults.push(words);
    }

    /// An error when any failed; `done` is what was to be done, as `applied`.
    pub fn end(self, done: &str) -> anyhow::Result<()> {
        match (self.of, self.faults.as_slice()) {
            (_, []) => Ok(()),
            (1, [only]) => bail!("{only}"),
            (of, faults) => bail!("{} of {of} were not {done}", faults.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_of_many_fails_the_command() {
        let end = |of: usize, faults: usize| {
            let mut tally = Tally::of(of);
            (0..faults).for_each(|number| tally.fault(format!("fault {number}")));
            tally.end("applied").map_err(|error| error.to_string())
        };
        assert_eq!(end(3, 0), Ok(()));
        assert_eq!(end(1, 1), Err("fault 0".to_owned()));
        assert_eq!(end(3, 1), Err("1 of 3 were not applied".to_owned()));
    }
}
