//! `quorate-sim`: simulations over many seeds.

mod cli;

use clap::{Parser, Subcommand};

/// Runs whole clusters in one thread, with faults from a seed.
#[derive(Debug, Parser)]
#[command(
    name = "quorate-sim",
    version,
    after_help = "Example:\n  quorate-sim raft --seeds 1000"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A raft group of whole members: log, recovery, snapshots, sessions, membership.
    Raft(cli::raft::Arguments),
    /// The operator with its real decisions against simulated members.
    Operator(cli::operator::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Raft(arguments) => cli::raft::run(&arguments),
        Command::Operator(arguments) => cli::operator::run(&arguments),
    }
}
