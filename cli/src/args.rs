//! What the command takes.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs Quorate's resources on this machine, and looks after them.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    disable_help_subcommand = true,
    after_help = "Example:\n  quorate up -f examples/raft-cluster.yaml"
)]
pub(crate) struct Quorate {
    #[command(flatten)]
    pub state: StateArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where everything is kept.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Where everything is kept: objects, volumes, logs and the socket of the running `up`. Only which folder has which
    /// loopback addresses is noted for all of the machine, in /tmp/quorate-subnets.
    /// [default: $XDG_STATE_HOME/quorate, else ~/.local/state/quorate]
    #[arg(long, env = "QUORATE_STATE_DIR", global = true, value_name = "DIR",
        // Empty is as good as unset, as with the XDG variables; the parser for paths refuses it.
        value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs resources as processes on this machine until Ctrl-C or SIGTERM.
    ///
    /// Members that an earlier `up` left running (it was killed) are adopted, not started again. The first Ctrl-C
    /// stops the members gently, a second one at once.
    #[command(
        after_help = "Examples:\n  quorate up -f examples/raft-cluster.yaml\n  quorate up -f mine.yaml --state-dir /tmp/mine --image raft:2=./target/release/next\n  quorate up        (what the folder holds already)"
    )]
    Up(UpArgs),
    /// Shows objects of the running `up`.
    #[command(
        after_help = "Examples:\n  quorate get pods -o wide\n  quorate get KIND NAME -o json\n  quorate get pod/NAME -o yaml"
    )]
    Get(GetArgs),
    /// Tells everything about one object: spec, status, pods and events.
    #[command(after_help = "Example:\n  quorate describe KIND NAME")]
    Describe(ObjectArgs),
    /// Makes resources what the files say.
    ///
    /// A field that a file does not state stays as it is, unless the file stated it when it was applied last: then it has
    /// its default again. What changes is printed. After a bad document it goes on, and ends with 1.
    #[command(after_help = "Example:\n  quorate apply -f examples/raft-cluster.yaml")]
    Apply(ApplyArgs),
    /// Sets how many members a resource has.
    #[command(after_help = "Example:\n  quorate scale KIND/NAME --members 5")]
    Scale(ScaleArgs),
    /// Deletes objects. The data of a resource stays or goes as its own retention policy says.
    #[command(
        after_help = "Examples:\n  quorate delete KIND NAME\n  quorate delete pod NAME      (it comes back)\n  quorate delete -f examples/raft-cluster.yaml"
    )]
    Delete(DeleteArgs),
    /// Prints a pod's log.
    #[command(after_help = "Example:\n  quorate logs POD -f")]
    Logs(LogsArgs),
    /// Starts a pod's process; `up` calls it.
    #[command(name = "__launch", hide = true)]
    Launch {
        /// The pod's folder.
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Resources to run, as YAML or JSON; `-` is standard input. Without any, what the folder holds already.
    #[arg(short = 'f', long = "file", value_name = "FILE", num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// The binary that an image stands for; may be given often. An image without an entry is the kind's own binary,
    /// beside `quorate` itself, then on PATH.
    #[arg(long = "image", value_name = "NAME=PATH", value_parser = image_entry)]
    pub images: Vec<(String, PathBuf)>,
    /// Tells details too: what each step waits for, and which fields have no effect on this machine.
    #[arg(short, long)]
    pub verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// KIND, or KIND/NAME: a kind's name, plural or short name, or pods and what else resources are made of.
    pub kind: String,
    /// Only this object.
    pub name: Option<String>,
    /// Where it lives.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// In all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How to print it: a table when absent.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The object, or a List.
    Json,
    /// The same in YAML.
    Yaml,
    /// A table with more columns.
    Wide,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectArgs {
    /// KIND, or KIND/NAME.
    pub kind: String,
    /// Which.
    pub name: Option<String>,
    /// Where it lives.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Resources, as YAML or JSON; `-` is standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE", num_args = 1.., required = true)]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// KIND/NAME, or KIND.
    pub kind: String,
    /// Which, when it is not in KIND/NAME.
    pub name: Option<String>,
    /// How many.
    #[arg(long, visible_alias = "members", value_name = "N")]
    pub replicas: i64,
    /// Where it lives.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// KIND, or KIND/NAME.
    #[arg(required_unless_present = "files", conflicts_with = "files")]
    pub kind: Option<String>,
    /// Which.
    pub names: Vec<String>,
    /// What these files name, as YAML or JSON; `-` is standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE", num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Where they live.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Returns at once, not when the object is gone.
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The pod.
    pub pod: String,
    /// Goes on printing what is added.
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines.
    #[arg(long, value_name = "LINES")]
    pub tail: Option<usize>,
    /// Where it lives.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
}

fn image_entry(text: &str) -> Result<(String, PathBuf), String> {
    let entry = text
        .split_once('=')
        .filter(|(name, path)| !name.is_empty() && !path.is_empty());
    entry
        .map(|(name, path)| (name.to_owned(), path.into()))
        .ok_or_else(|| "write it as NAME=PATH".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_an_example_in_its_help() {
        Quorate::command().debug_assert();
        for command in Quorate::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains(&format!("quorate {}", command.get_name())),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn an_image_entry_has_a_name_and_a_path() {
        assert_eq!(
            image_entry("a:1=/x=y"),
            Ok(("a:1".to_owned(), "/x=y".into()))
        );
        for bad in ["a", "=b", "a="] {
            assert!(image_entry(bad).is_err());
        }
    }
}
