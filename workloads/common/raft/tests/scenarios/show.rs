//! How a scenario's trace is written.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use quorate_raft::*;

fn show_ids(ids: &BTreeSet<MemberId>) -> String {
    ids.iter()
        .map(|id| id.0.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

pub fn show_configuration(configuration: &Configuration) -> String {
    let mut text = show_ids(&configuration.voters);
    if configuration.is_joint() {
        write!(text, " & {}", show_ids(&configuration.outgoing)).unwrap();
    }
    for id in &configuration.learners {
        write!(text, " ~{}", id.0).unwrap();
    }
    format!("{{{text}}}")
}

pub fn show_entries(entries: &[Entry]) -> String {
    let shown = entries.iter().map(|entry| match &entry.payload {
        Payload::Empty => format!("{}@{} -", entry.index, entry.term),
        Payload::Command(command) => {
            format!(
                "{}@{} {}",
                entry.index,
                entry.term,
                String::from_utf8_lossy(command)
            )
        }
        Payload::Configuration(configuration) => {
            format!(
                "{}@{} {}",
                entry.index,
                entry.term,
                show_configuration(configuration)
            )
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

pub fn show_write(write: &Write) -> String {
    let mut text = format!("write {}:", write.id);
    if let Some(Vote { term, voted_for }) = write.vote {
        let whom = voted_for.map_or("nobody".to_string(), |id| id.0.to_string());
        write!(text, " vote for {whom} in t{term};").unwrap();
    }
    if let Some(reset) = write.reset {
        let kept = if reset.drop_suffix { "" } else { ", rest kept" };
        write!(
            text,
            " log begins after {}@{}{kept};",
            reset.index, reset.term
        )
        .unwrap();
    }
    write!(text, " {}", show_entries(&write.entries)).unwrap();
    text.trim_end_matches([' ', ';']).to_string()
}

pub fn show(message: &Message) -> String {
    let body = match &message.body {
        Body::RequestVote {
            pre,
            last_index,
            last_term,
            transfer,
        } => {
            let why = if *transfer {
                ", on the leader's word"
            } else {
                ""
            };
            format!(
                "{}vote? log ends {last_index}@{last_term}{why}",
                if *pre { "pre-" } else { "" }
            )
        }
        Body::VoteReply { pre, granted } => {
            format!(
                "{}vote {}",
                if *pre { "pre-" } else { "" },
                if *granted { "yes" } else { "no" }
            )
        }
        Body::Append {
            prev_index,
            prev_term,
            entries,
            commit,
            round,
            acknowledged: _,
        } => {
            let what = if entries.is_empty() {
                "heartbeat".to_string()
            } else {
                show_entries(entries)
            };
            format!(
                "after {prev_index}@{prev_term}: {what}; commit {commit}{}",
                show_round(*round)
            )
        }
        Body::AppendReply {
            result: Ok(matched),
            round,
        } => format!("has {matched}{}", show_round(*round)),
        Body::AppendReply {
            result: Err(conflict),
            round,
        } => format!(
            "not after {}; perhaps after {}@{}{}",
            conflict.rejected,
            conflict.hint_index,
            conflict.hint_term,
            show_round(*round)
        ),
        Body::TimeoutNow => "stand now".to_string(),
        Body::ReadIndex { .. } => "read index?".to_string(),
        Body::ReadIndexReply {
            index: Some(index), ..
        } => format!("read index {index}"),
        Body::ReadIndexReply { index: None, .. } => "no read index".to_string(),
    };
    format!("t{} {body}", message.term)
}

fn show_round(round: u64) -> String {
    if round == 0 {
        String::new()
    } else {
        format!("; round {round}")
    }
}
