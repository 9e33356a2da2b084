//! Safety arguments as scripts: each text file beside this one is input (lines that begin with `>`) and the trace it
//! must give (the indented lines below it). `REWRITE=1` writes the traces anew; the diff is what one reviews.
//!
//! | input | |
//! |---|---|
//! | `group 1 2 3 ~4` | disks of voters 1 to 3 and learner 4, empty logs |
//! | `disk 1 terms 1 1 4 vote 5 [for 2]` | a log with entries of these terms, a vote |
//! | `start [1 ...]` | starts members (all of the group); one that is not in it on an empty disk |
//! | `limits appends N bytes N inflight-bytes N uncommitted N lag N` | of members that start from here on |
//! | `elect 1` | 1's timeout, and all messages until quiet, untold |
//! | `timeout 1`, `beat 1` | 1's clock reaches its next deadline, and it is told |
//! | `pass 100 1 2` | 1's and 2's clocks go on by 100 ms; they are told when a deadline was passed |
//! | `deliver [1 2 [n]]` | all messages until quiet, or (the first n) from 1 to 2; `*` is anyone |
//! | `drop 1 2`, `repeat 1 2` | loses, doubles what is under way |
//! | `cut 1`, `heal 1` | nothing to and from 1 |
//! | `slow 1`, `sync 1`, `fast 1` | 1's writes wait; its oldest is done; all are done at once again |
//! | `stall 1`, `resume 1` | 1's state machine stands still after what it is given; it has caught up |
//! | `propose 1 a b`, `read 1 7` | in one round; the read's mark is 7 |
//! | `learner 1 4 [at N]`, `reconfigure 1 +4 -1 [at N]` | asked of 1, decided on configuration N (in force) |
//! | `transfer 1 2`, `transfer 1 -` | 1 hands over |
//! | `crash 1`, `restart 1` | what was not synced is lost |
//! | `forget 1 5` | after a crash: 1's disk has lost all beyond 5, synced or not |
//! | `save 1`, `compact 1 5` | 1's state becomes durable; its log begins after 5 |
//! | `snapshot 1 3` | 3 gets 1's durable state |
//! | `forge 3 1 5 9 4` | 3 asks 1 for its vote in term 5, its log ending 9@4, as a member without pre-vote would |
//! | `unreachable 1 2` | 1 is told that its connection to 2 broke |
//! | `logs` | every member's log, as terms; what is committed stands before the bar |
#![allow(clippy::unwrap_used)]

mod script;
mod show;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;

#[cfg(feature = "planted-bugs")]
use quorate_raft::{Bug, plant};
use script::Script;

/// Runs one file; what it should look like.
fn play(text: &str) -> String {
    let mut script = Script::new();
    let mut played = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(played, "{line}").unwrap();
        if let Some(input) = line.strip_prefix("> ") {
            script.run(input);
            played.push_str(&std::mem::take(&mut script.trace));
        }
    }
    played
}

/// Relative to the package, where cargo runs tests: clones that share a target folder share this binary.
const FOLDER: &str = "tests/scenarios";

#[test]
fn every_scenario_gives_the_trace_that_is_written_down() {
    let rewrite = std::env::var_os("REWRITE").is_some();
    let mut paths: Vec<_> = std::fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 30, "the scenarios are here");
    let mut wrong = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# "),
            "{} must say what it proves",
            path.display()
        );
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(played) = std::panic::catch_unwind(|| play(&text)) else {
            wrong.push(format!("{name} panicked"));
            continue;
        };
        if played == text {
            continue;
        }
        if rewrite {
            std::fs::write(&path, played).unwrap();
        } else {
            let (at, (is, was)) = played
                .lines()
                .zip(text.lines().chain(std::iter::repeat("")))
                .enumerate()
                .find(|(_, (is, was))| is != was)
                .unwrap_or((0, ("(shorter)", "")));
            wrong.push(format!(
                "{name}, line {}:\n  gives  {is}\n  not    {was}",
                at + 1
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nREWRITE=1 writes the traces anew; read the diff",
        wrong.join("\n")
    );
}

/// Each planted bug shows in a trace: the scenarios hold what they say they prove.
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_show_in_a_trace() {
    let paths = std::fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let scenarios: Vec<_> = paths
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    std::panic::set_hook(Box::new(|_| {}));
    let mut unseen = Vec::new();
    for bug in Bug::ALL {
        plant(Some(bug));
        let differs = |text: &str| {
            std::panic::catch_unwind(|| play(text)).map_or(true, |played| played != text)
        };
        let shows = scenarios.iter().filter(|(_, text)| differs(text));
        let names: Vec<_> = shows
            .map(|(path, _)| path.file_stem().unwrap().to_string_lossy())
            .collect();
        println!("{bug:?}: {}", names.join(" "));
        unseen.extend(names.is_empty().then_some(bug));
        plant(None);
    }
    drop(std::panic::take_hook());
    assert!(unseen.is_empty(), "no scenario shows {unseen:?}");
}
