//! Layered configuration: flags before environment before a YAML file before defaults, into one typed struct.
//!
//! A setting has one name in three spellings (see [`Names`]). clap parses each value, wherever it came from, so that
//! a flag, a variable and a file key mean the same and fail with the same words; what clap alone cannot do is to tell
//! all errors at once, so each value is tried by itself first.

mod faults;
mod file;
mod flags;
mod names;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};
use serde::Serialize;

pub use faults::{ConfigError, Faults};
pub use names::Names;

/// The settings of a program: a struct with `#[derive(clap::Args, serde::Serialize)]`, `#[arg(long)]` on each
/// field and `#[serde(rename_all = "camelCase")]`. Environment and file names follow from the fields' names.
pub trait Settings: clap::Args + Serialize {
    /// Judges what a single value cannot know: how the settings fit together.
    fn check(&self, faults: &mut Faults);
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The binary's name.
    pub name: &'static str,
    /// Its version, for `--version`.
    pub version: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Loaded<S> {
    /// Run with these settings.
    Run(S),
    /// Print this (help, version, the effective configuration) and exit 0.
    Print(String),
}

/// Reads the process's arguments and environment and the file that they name.
pub fn load<S: Settings>(program: Program) -> Result<Loaded<S>, ConfigError> {
    load_from(program, std::env::args_os().collect(), &|name| {
        std::env::var_os(name)
    })
}

/// As [`load`], from given arguments (the first is the program) and a given environment.
pub fn load_from<S: Settings>(
    program: Program,
    arguments: Vec<OsString>,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Loaded<S>, ConfigError> {
    let command = command::<S>(program);
    let mut faults = Faults::default();
    let flags = match flags::read(&command, arguments, &mut faults) {
        flags::Flags::Print(text) => return Ok(Loaded::Print(text)),
        flags::Flags::Given(flags) => flags,
    };
    let file = match flags
        .get(CONFIG)
        .map(OsString::from)
        .or_else(|| given(environment, CONFIG))
    {
        Some(path) => file::read(&PathBuf::from(path), &command, &mut faults),
        None => file::Values::new(),
    };
    let mut values = Vec::new();
    for arg in settings(&command) {
        let id = arg.get_id().as_str();
        let variable = || given(environment, id).map(|value| (value, "environment"));
        let key = || file.get(id).map(|value| (value.into(), "file"));
        let flag = flags.get(id).map(|value| (value.into(), "flag"));
        let Some((value, source)) = flag.or_else(variable).or_else(key) else {
            if arg.is_required_set() {
                faults.add(id, "is required");
            }
            continue;
        };
        if flags::check(&command, arg, &value, source, &mut faults) {
            values.push((id, value));
        }
    }
    if !faults.is_empty() {
        // What is wrong with the others is told too, as far as it can be seen without those that are bad.
        if let Ok(settings) = flags::build::<S>(&command, &values, &mut Faults::default()) {
            settings.check(&mut faults);
        }
    }
    faults.done()?;
    let settings: S = flags::build(&command, &values, &mut faults)?;
    settings.check(&mut faults);
    faults.done()?;
    if flags.contains_key(PRINT) {
        return serde_saphyr::to_string(&settings)
            .map(Loaded::Print)
            .map_err(|error| ConfigError::new(error.to_string()));
    }
    Ok(Loaded::Run(settings))
}

const CONFIG: &str = "config";
const PRINT: &str = "print_config";

/// The command line: the settings, `--config` and `--print-config`, each with its names.
fn command<S: Settings>(program: Program) -> Command {
    let own = [
        Arg::new(CONFIG).long(CONFIG).value_name("FILE").value_parser(clap::value_parser!(PathBuf)).help(
            "YAML file of settings by their camelCase names; flags and environment go before it",
        ),
        Arg::new(PRINT).long("print-config").action(ArgAction::SetTrue).help("Print the effective configuration as YAML and exit"),
    ];
    let command = Command::new(program.name)
        .version(program.version)
        .args(own);
    // The comment on the struct of settings is for its readers, and would stand here otherwise.
    let command = S::augment_args(command)
        .about(program.about)
        .long_about(None);
    command.mut_args(|arg| match arg.get_id().as_str() {
        PRINT => arg,
        id => {
            let variable = Names::of(id).variable;
            arg.env(variable)
        }
    })
}

/// The arguments that are settings.
fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| !matches!(arg.get_id().as_str(), CONFIG | PRINT | "help" | "version"))
}

/// A variable that is set to nothing counts as not set: manifests often have such lines.
fn given(environment: &dyn Fn(&str) -> Option<OsString>, id: &str) -> Option<OsString> {
    environment(&Names::of(id).variable).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
