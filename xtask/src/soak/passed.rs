//! What has passed for a commit, in the cache: a line `PART SECONDS` each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The parts that have passed, and how many seconds each took.
#[derive(Debug, Default)]
pub struct Passed {
    /// None where the sources are no commit's: nothing is kept of those.
    file: Option<PathBuf>,
    parts: BTreeMap<String, u64>,
}

impl Passed {
    /// Reads what has passed for a commit.
    pub fn read(commit: Option<&str>) -> Result<Self> {
        let Some(commit) = commit else {
            return Ok(Self::default());
        };
        let file = folder()?.join(commit);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let parts = parse(&text);
        Ok(Self {
            file: Some(file),
            parts,
        })
    }

    /// How many seconds a part took that has passed.
    pub fn seconds(&self, part: &str) -> Option<u64> {
        self.parts.get(part).copied()
    }

    /// A part has passed.
    pub fn add(&mut self, part: &str, seconds: u64) -> Result<()> {
        self.parts.insert(part.to_owned(), seconds);
        let Some(file) = &self.file else {
            return Ok(());
        };
        let lines = self
            .parts
            .iter()
            .map(|(part, took)| format!("{part} {took}\n"));
        std::fs::create_dir_all(file.parent().context("a file's folder")?)?;
        std::fs::write(file, lines.collect::<String>())
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (part, seconds) = line.split_once(' ')?;
        Some((part.to_owned(), seconds.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn folder() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(cache.join("quorate/soak"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("soak/commit");
        let mut passed = Passed {
            file: Some(file.clone()),
            ..Passed::default()
        };
        passed.add("hunts", 7).unwrap();
        passed.add("many", 300).unwrap();
        let read = parse(&std::fs::read_to_string(file).unwrap());
        assert_eq!(read, passed.parts);
        assert_eq!(passed.seconds("hunts"), Some(7));
    }
}
