//! By which seed each planted bug was found last, in a file: a line `NAME SEED` each.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

const HEADER: &str = "# By which seed each planted bug was found last (`quorate-sim --record`).\n";

/// Seeds by the names of their bugs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recorded(BTreeMap<String, u64>);

impl Recorded {
    /// Reads the file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("cannot understand {}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let seed = |line: &str| {
            let (name, seed) = line.split_once(' ')?;
            Some((name.to_owned(), seed.parse().ok()?))
        };
        let seed = |line| seed(line).with_context(|| format!("`{line}` is no NAME SEED"));
        lines.map(seed).collect::<Result<_>>().map(Self)
    }

    /// The seed that found it.
    pub fn seed(&self, bug: &str) -> Option<u64> {
        self.0.get(bug).copied()
    }

    /// Another has found it.
    pub fn set(&mut self, bug: &str, seed: u64) {
        self.0.insert(bug.to_owned(), seed);
    }

    /// Writes the file, in the order of these names; what is none of them is left out.
    pub fn write(&self, file: &Path, order: &[&str]) -> Result<()> {
        std::fs::write(file, self.text(order))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn text(&self, order: &[&str]) -> String {
        let mut text = HEADER.to_owned();
        for name in order {
            if let Some(seed) = self.seed(name) {
                text += &format!("{name} {seed}\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut recorded = Recorded::default();
        for (name, seed) in [("Late", 7), ("Early", 12), ("Gone", 1)] {
            recorded.set(name, seed);
        }
        let text = recorded.text(&["Late", "Early", "New"]);
        assert_eq!(text, format!("{HEADER}Late 7\nEarly 12\n"));
        let read = Recorded::parse(&text).unwrap();
        assert_eq!((read.seed("Early"), read.seed("Gone")), (Some(12), None));
        let error = Recorded::parse("Late seven").unwrap_err().to_string();
        assert!(error.contains("Late seven"), "{error}");
    }
}
