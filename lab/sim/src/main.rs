//! `quorate-sim`: simulations over many seeds.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;

use clap::{Parser, Subcommand};
use quorate_sim::{operator, pools, raft};

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
    #[command(
        after_help = "Examples:\n  quorate-sim raft --seeds 10000\n  quorate-sim raft --seed 4711 --trace"
    )]
    Raft(cli::Arguments),
    /// The operator with its real decisions against simulated members.
    #[command(
        after_help = "Examples:\n  quorate-sim operator --seeds 10000\n  quorate-sim operator --seed 4711 --trace"
    )]
    Operator(cli::Arguments),
    /// The operator with kinds that run nowhere: a pool of members without a group, and two pools beside each other.
    #[command(
        after_help = "Examples:\n  quorate-sim pools --seeds 10000\n  quorate-sim pools --seed 4711 --trace"
    )]
    Pools(cli::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Raft(arguments) => cli::run::<raft::Raft>(&arguments),
        Command::Operator(arguments) => cli::run::<operator::Operator>(&arguments),
        Command::Pools(arguments) => cli::run::<pools::Pools>(&arguments),
    }
}
