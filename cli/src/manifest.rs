//! Resources from files.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// Every document of every file, lists taken apart, in their order.
pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut documents = Vec::new();
    for file in files {
        let text = text_of(file).with_context(|| format!("cannot read {}", file.display()))?;
        let found = parse(&text).with_context(|| format!("{} is no YAML", file.display()))?;
        ensure!(!found.is_empty(), "{} holds no resource", file.display());
        for document in &found {
            if !document["kind"].is_string() || !document["apiVersion"].is_string() {
                bail!(
                    "{}: a resource must say apiVersion and kind",
                    file.display()
                );
            }
        }
        documents.extend(found);
    }
    Ok(documents)
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
            let said = format!("{:#}", read(std::slice::from_ref(&file)).unwrap_err());
            assert!(said.contains(error) && said.contains("x.yaml"), "{said}");
        }
    }
}
