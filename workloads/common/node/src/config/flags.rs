//! What clap does for us: reading flags, and turning each value into its type.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, FromArgMatches};

use super::{ConfigError, Faults};

/// What the command line holds.
pub(super) enum Flags {
    /// Values as they were given, by the field's name.
    Given(BTreeMap<String, OsString>),
    /// Help or version was asked for.
    Print(String),
}

/// Reads the flags without judging their values.
pub(super) fn read(command: &Command, mut arguments: Vec<OsString>, faults: &mut Faults) -> Flags {
    let raw = bare(command).mut_args(|arg| match arg.get_action() {
        // One that is given twice must not hide what else is wrong: `given` tells of it.
        ArgAction::Set => arg
            .value_parser(OsStringValueParser::new())
            .action(ArgAction::Append),
        ArgAction::SetTrue => {
            let id = arg.get_id().clone();
            arg.overrides_with(id)
        }
        _ => arg,
    });
    loop {
        let error = match raw.clone().try_get_matches_from(&arguments) {
            Ok(matches) => return Flags::Given(given(&raw, &matches, faults)),
            Err(error) => error,
        };
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        ) {
            // The bare command shows neither defaults nor variables.
            let full = command
                .clone()
                .try_get_matches_from(&arguments)
                .err()
                .unwrap_or(error);
            return Flags::Print(full.render().to_string());
        }
        faults.other(words(&error));
        if !drop_unknown(&error, &mut arguments) {
            return Flags::Given(BTreeMap::new());
        }
    }
}

/// Whether one value alone is good.
pub(super) fn check(
    command: &Command,
    arg: &Arg,
    value: &OsStr,
    source: &str,
    faults: &mut Faults,
) -> bool {
    let id = arg.get_id().as_str();
    let parsed = bare(command).try_get_matches_from(line(command, &[(id, value.to_owned())]));
    if let Err(error) = &parsed {
        faults.add(id, format_args!("{} (from the {source})", words(error)));
    }
    parsed.is_ok()
}

/// The settings of values that are good each by itself.
pub(super) fn build<S: FromArgMatches>(
    command: &Command,
    values: &[(&str, OsString)],
    faults: &mut Faults,
) -> Result<S, ConfigError> {
    // Defaults come from clap here; the environment has been looked at already.
    let command = command.clone().mut_args(|arg| arg.env(Resettable::Reset));
    let built = command
        .clone()
        .try_get_matches_from(line(&command, values))
        .and_then(|matches| S::from_arg_matches(&matches));
    built.map_err(|error| {
        faults.other(words(&error));
        ConfigError::new(words(&error))
    })
}

/// The command without required arguments, defaults and environment.
fn bare(command: &Command) -> Command {
    command.clone().mut_args(|arg| {
        arg.env(Resettable::Reset)
            .default_value(Resettable::Reset)
            .required(false)
    })
}

/// A command line that gives these values.
fn line(command: &Command, values: &[(&str, OsString)]) -> Vec<OsString> {
    let flags = values.iter().map(|(id, value)| {
        let mut flag = OsString::from(super::Names::of(id).flag);
        flag.push("=");
        flag.push(value);
        flag
    });
    std::iter::once(command.get_name().into())
        .chain(flags)
        .collect()
}

fn given(
    command: &Command,
    matches: &clap::ArgMatches,
    faults: &mut Faults,
) -> BTreeMap<String, OsString> {
    let mut given = BTreeMap::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        if matches.value_source(id) != Some(clap::parser::ValueSource::CommandLine) {
            continue;
        }
        let value = match arg.get_action() {
            ArgAction::Append => {
                let mut values = matches.get_many::<OsString>(id).unwrap_or_default();
                if values.len() > 1 {
                    faults.add(id, "is given more than once; give it once");
                }
                values.next_back().cloned()
            }
            _ => Some("true".into()),
        };
        given.extend(value.map(|value| (id.to_owned(), value)));
    }
    given
}

/// Takes an unknown argument away, so that what is wrong with the others is found too.
fn drop_unknown(error: &clap::Error, arguments: &mut Vec<OsString>) -> bool {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(unknown))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return false;
    };
    let is_it = |argument: &OsString| {
        let text = argument.to_string_lossy();
        text == *unknown
            || text
                .strip_prefix(unknown.as_str())
                .is_some_and(|rest| rest.starts_with('='))
    };
    match arguments.iter().skip(1).position(is_it) {
        Some(at) => {
            arguments.remove(at + 1);
            true
        }
        None => false,
    }
}

/// clap's message in one line, without its usage lines.
fn words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let words: Vec<&str> = lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let words = words.join("; ");
    words.strip_prefix("error: ").unwrap_or(&words).to_owned()
}
