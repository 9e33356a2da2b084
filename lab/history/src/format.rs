//! The line format.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// One operation on one key of a key-value store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked; a client has one operation under way at a time.
    pub client: u64,
    /// On which key. Keys are independent, so a history is judged key by key.
    pub key: String,
    /// What was asked.
    pub action: Action,
    /// When it was sent, in microseconds.
    pub invoked: u64,
    /// When the answer came, in microseconds; of an unknown outcome, when the client gave up.
    pub returned: u64,
    /// What the answer was.
    pub outcome: Outcome,
    /// Which member was asked, for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// What was asked of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Its value.
    Read,
    /// To have this value; values are unique in a history.
    Write(String),
    /// To be gone.
    Delete,
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done; of a read, the value found.
    Done(Option<String>),
    /// It certainly was not done, and never will be.
    Refused,
    /// It may have been done, may be done later, or never.
    Unknown,
}

/// Writes one line.
pub fn write_line(out: &mut dyn Write, operation: &Operation) -> io::Result<()> {
    serde_json::to_writer(&mut *out, operation)?;
    out.write_all(b"\n")
}

/// Reads all lines; an error names the line.
pub fn read_lines(input: impl BufRead) -> io::Result<Vec<Operation>> {
    let mut operations = Vec::new();
    for (number, line) in input.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let operation = serde_json::from_str(&line).map_err(|e| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("line {}: {e}", number + 1),
            )
        })?;
        operations.push(operation);
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, outcome: Outcome) -> Operation {
        Operation {
            client: 1,
            key: "k".into(),
            action,
            invoked: 10,
            returned: 20,
            outcome,
            member: None,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let all = vec![
            operation(Action::Read, Outcome::Done(None)),
            operation(Action::Read, Outcome::Done(Some("v".into()))),
            operation(Action::Write("ä\n\"".into()), Outcome::Unknown),
            operation(Action::Delete, Outcome::Refused),
        ];
        let mut bytes = Vec::new();
        for o in &all {
            write_line(&mut bytes, o).unwrap();
        }
        assert_eq!(read_lines(bytes.as_slice()).unwrap(), all);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = read_lines("\n{\"client\":1}\n".as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }
}
