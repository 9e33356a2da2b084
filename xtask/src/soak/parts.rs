//! The parts of the soak: what each tests, and the runs of cargo that do so. Each takes 40 minutes at most on two cores.

/// A part.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What it tests.
    pub about: &'static str,
    /// What it does.
    pub steps: &'static [Step],
}

/// What a part does, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A run of cargo: what it is to do, and what comes after `--`.
    Cargo(&'static [&'static str], &'static [&'static str]),
    /// The simulator builds and runs; cargo's own `run` takes no `--workspace`.
    Simulate(&'static [&'static str]),
    /// The same, of a build that has the planted bugs.
    Hunt(&'static [&'static str]),
}
use Step::{Cargo, Hunt, Simulate};

const UNITS: &[&str] = &[
    "test",
    "--release",
    "--locked",
    "--workspace",
    "--lib",
    "--tests",
];
const PROCESSES: &[&str] = &[
    "test",
    "--release",
    "--locked",
    "--workspace",
    "--test",
    "processes",
];
const KUBERNETES: &[&str] = &[
    "test",
    "--release",
    "--locked",
    "--workspace",
    "--test",
    "kubernetes",
];
const BINARIES: Step = Cargo(
    &["build", "--release", "--locked", "--workspace", "--bins"],
    &[],
);
const VARIANTS: Step = Cargo(&["xtask", "variants"], &[]);

/// All of them, the cheapest to fail first. A name after `--` is a test's, or begins or ends those of several.
pub const PARTS: [Part; 8] = [
    Part {
        name: "simulations",
        about: "10,000 seeds per world",
        steps: &[
            Simulate(&["raft", "--seeds", "10000"]),
            Simulate(&["operator", "--seeds", "10000"]),
            Simulate(&["pools", "--seeds", "10000"]),
        ],
    },
    Part {
        name: "hunts",
        about: "every planted bug is found, without knowing where",
        steps: &[
            Hunt(&["raft", "--seeds", "10000", "--plant", "all"]),
            Hunt(&["operator", "--seeds", "40000", "--plant", "all"]),
            Hunt(&["pools", "--seeds", "1000", "--plant", "all"]),
        ],
    },
    Part {
        name: "hostile",
        about: "mutated and random bytes in bulk for whatever reads from a socket or a disk",
        steps: &[Cargo(
            UNITS,
            &[
                "no_bytes_make_it_panic",
                "hostile_bytes_are_refused",
                "damaged_commands_are_refused",
                "any_bytes_are_answered",
            ],
        )],
    },
    Part {
        name: "processes",
        about: "every fault on processes, each for ten seconds and more",
        steps: &[
            BINARIES,
            VARIANTS,
            Cargo(PROCESSES, &["--nocapture", "--test-threads", "1"]),
        ],
    },
    Part {
        name: "requests",
        about: "every mutating request of the operator fails once: each n, both faults",
        steps: &[
            BINARIES,
            Cargo(
                KUBERNETES,
                &[
                    "--include-ignored",
                    "--nocapture",
                    "an_interrupted_operator_ends_in_the_same_state",
                ],
            ),
        ],
    },
    Part {
        name: "kills",
        about: "the operator killed three times in each of its acts, on three nodes",
        steps: &[
            BINARIES,
            VARIANTS,
            Cargo(
                KUBERNETES,
                &[
                    "--include-ignored",
                    "--nocapture",
                    "a_raft_cluster_lives_through_what_a_cluster_does_to_it",
                ],
            ),
        ],
    },
    Part {
        name: "many",
        about: "200 resources",
        steps: &[
            BINARIES,
            Cargo(
                KUBERNETES,
                &[
                    "--include-ignored",
                    "--nocapture",
                    "many_clusters_cost_so_much",
                ],
            ),
        ],
    },
    Part {
        name: "runs",
        about: "a pod deleted and a node lost, ten times each",
        steps: &[
            BINARIES,
            Cargo(
                KUBERNETES,
                &[
                    "--include-ignored",
                    "--nocapture",
                    "ten_runs_of_a_pods_deletion_and_a_nodes_loss",
                ],
            ),
        ],
    },
];
