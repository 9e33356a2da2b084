//! Another build of the member, for tests: a next version to upgrade to, broken ones that an upgrade must stop at, and
//! one that does not sync, so that the test of lost power can show that it would notice.

mod no_sync;

use std::process::ExitCode;
use std::sync::Arc;

use no_sync::NoSync;
use quorate_raft_cluster::{Build, start};

const BROKEN: &str = "this build is broken on purpose";

fn main() -> ExitCode {
    let next = Build {
        version: "0.2.0",
        ..Build::default()
    };
    let broken = Build {
        version: "0.3.0",
        ..Build::default()
    };
    start(match told().as_str() {
        "never-ready" => Build {
            unready: Some(BROKEN),
            ..broken
        },
        "cannot-join" => Build {
            is_stranger: true,
            ..broken
        },
        "crashes" | "broken" => {
            eprintln!("{BROKEN}");
            return ExitCode::FAILURE;
        }
        "unsynced" => {
            eprintln!("THIS BUILD SYNCS NOTHING: a power cut loses acknowledged writes");
            Build {
                seam: |disk| Arc::new(NoSync(disk)),
                ..Build::default()
            }
        }
        _ => next,
    })
}

/// Which one it is: as its image says, or else the name of the folder that it was copied to.
fn told() -> String {
    let image = std::env::var("BROKEN_BUILD").ok();
    let program = || std::env::current_exe().ok();
    let folder = || Some(program()?.parent()?.file_name()?.to_str()?.to_owned());
    image.or_else(folder).unwrap_or_default()
}
