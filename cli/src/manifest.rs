//! Resources from files.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// What files hold.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// Every document of every file, lists taken apart, in their order.
    pub documents: Vec<Value>,
    /// Why files, or documents in them, are none.
    pub faults: Vec<String>,
}

/// Reads every file. A document that cannot be read is a fault, and the next one is read.
pub(crate) fn read(files: &[PathBuf]) -> Manifest {
    let mut manifest = Manifest::default();
    for file in files {
        if let Err(error) = manifest.take(file) {
            manifest.faults.push(format!("{error:#}"));
        }
    }
    manifest
}

impl Manifest {
    fn take(&mut self, file: &Path) -> anyhow::Result<()> {
        let text = text_of(file).with_context(|| format!("cannot read {}", file.display()))?;
        let before = self.documents.len() + self.faults.len();
        for piece in pieces(&text) {
            match parse(piece) {
                Ok(found) => {
                    for document in found {
                        if document["kind"].is_string() && document["apiVersion"].is_string() {
                            self.documents.push(document);
                        } else {
                            self.faults.push(format!(
                                "{}: a resource must say apiVersion and kind",
                                file.display()
                            ));
                        }
                    }
                }
                Err(error) => {
                    let name = first_line(piece);
                    self.faults.push(format!(
                        "{} is no YAML where it begins with `{name}`: {error}",
                        file.display()
                    ));
                }
            }
        }
        let after = self.documents.len() + self.faults.len();
        ensure!(after > before, "{} holds no resource", file.display());
        Ok(())
    }
}

/// The documents of a text. A line that begins with `---` begins the next one wherever it stands, so that one that does
/// not parse does not take the others with it.
fn pieces(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let marker = line.strip_prefix("---");
        if at > 0
            && marker.is_some_and(|rest| rest.trim().is_empty() || rest.starts_with([' ', '\t']))
        {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    starts
        .windows(2)
        .map(|ends| &text[ends[0]..ends[1]])
        .collect()
}

fn first_line(piece: &str) -> &str {
    let mut lines = piece.lines().map(str::trim);
    lines
        .find(|line| !line.is_empty() && !line.starts_with(['-', '#']))
        .unwrap_or_default()
}

fn text_of(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

fn parse(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut flat = Vec::new();
    for document in documents {
        let list = document["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("List"));
        match (list, document) {
            (true, Value::Object(mut fields)) => match fields.remove("items") {
                Some(Value::Array(items)) => flat.extend(items),
                _ => bail!("a list must have items"),
            },
            (_, Value::Null) => {}
            (_, document) => flat.push(document),
        }
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let documents =
            parse("a: 1\n---\n# nothing\n---\nkind: List\nitems:\n- a: 2\n- a: 3\n").unwrap();
        let numbers: Vec<_> = documents
            .iter()
            .filter_map(|document| document["a"].as_i64())
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(parse(r#"{"a": 4}"#).unwrap()[0]["a"], 4);
        assert!(parse("a: [").is_err());
    }

    #[test]
    fn a_file_without_a_resource_is_an_error_that_names_it() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("x.yaml");
        for (text, error) in [
            ("", "holds no resource"),
            ("a: 1", "must say apiVersion and kind"),
            ("a: [", "is no YAML"),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = read(std::slice::from_ref(&file)).faults.join("; ");
            assert!(said.contains(error) && said.contains("x.yaml"), "{said}");
        }
    }

    #[test]
    fn a_bad_document_does_not_take_the_others_with_it() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("x.yaml");
        let good = |name: &str| format!("apiVersion: v1\nkind: K\nname: {name}\n");
        let text = format!(
            "---\n{}---\nb: [\n--- # a comment\na: 1\n---\n{}",
            good("a"),
            good("c")
        );
        std::fs::write(&file, text).unwrap();
        let missing = temp.path().join("y.yaml");
        let manifest = read(&[missing, file]);
        let names: Vec<_> = manifest
            .documents
            .iter()
            .map(|document| &document["name"])
            .collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(manifest.faults.len(), 3, "{:?}", manifest.faults);
        assert!(
            manifest.faults[1].contains("`b: [`"),
            "{:?}",
            manifest.faults
        );
    }
}
