//! The file of settings.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Command;

use super::{Faults, Names, settings};

/// Values by the setting's field name.
pub(super) type Values = BTreeMap<String, String>;

/// Reads a flat YAML map of scalars. A key without a value counts as not given.
pub(super) fn read(path: &Path, command: &Command, faults: &mut Faults) -> Values {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            faults.add(
                super::CONFIG,
                format_args!("{} cannot be read: {error}", path.display()),
            );
            return Values::new();
        }
    };
    let values = match serde_saphyr::from_str::<Option<BTreeMap<String, Option<String>>>>(&text) {
        Ok(values) => values.unwrap_or_default(),
        Err(error) => {
            faults.add(
                super::CONFIG,
                format_args!(
                    "{} is no flat YAML map of settings: {error}",
                    path.display()
                ),
            );
            return Values::new();
        }
    };
    let ids: BTreeMap<String, &str> = settings(command)
        .map(|arg| arg.get_id().as_str())
        .map(|id| (Names::of(id).key, id))
        .collect();
    let mut known = Values::new();
    for (key, value) in values {
        match ids.get(&key) {
            Some(id) => known.extend(value.map(|value| ((*id).to_owned(), value))),
            None => faults.add(
                super::CONFIG,
                format_args!(
                    "{} has the unknown key {key}; --help lists the settings",
                    path.display()
                ),
            ),
        }
    }
    known
}
