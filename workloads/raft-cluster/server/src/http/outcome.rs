//! From the group's reply to the HTTP answer: one pure place for the whole table.

use http::StatusCode;
use quorate_group::problems::{read_timed_out, refused};
use quorate_group_core::{Outcome, Reply};
use quorate_node::http::problem::{Refusal, busy, internal};
use quorate_raft_cluster_core::{Answer, Failed, OperationResult, Verdict};

use super::problems::{condition_failed, no_such_key, outcome_unknown};

/// Which write was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// PUT; the names of the headers that its conditions come from.
    Put(Vec<&'static str>),
    /// DELETE; likewise.
    Delete(Vec<&'static str>),
    /// A batch.
    Batch,
}

/// A write that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// 200, 201 or 204.
    pub status: StatusCode,
    /// The write's revision.
    pub revision: u64,
    /// What each operation found.
    pub results: Vec<OperationResult>,
}

/// The answer to a write.
pub fn of_write(asked: &Asked, reply: Reply, leader: Option<String>) -> Result<Done, Refusal> {
    match reply {
        Reply::Outcome {
            outcome: Outcome::Answer(bytes),
            ..
        } => {
            let (revision, verdict) = Answer::from_bytes(&bytes)
                .map_err(|error| internal(format!("The answer cannot be read: {error}.")))?;
            of_verdict(asked, revision, verdict)
        }
        Reply::Outcome { outcome, .. } => Err(of_session(outcome)),
        Reply::Refused(why) => Err(refused(why, leader)),
        // What does not fit is a fault in this program: of the write it says nothing.
        Reply::Unknown
        | Reply::Ready
        | Reply::Stale { .. }
        | Reply::Done
        | Reply::Transferred(_) => Err(outcome_unknown()),
    }
}

fn of_verdict(asked: &Asked, revision: u64, verdict: Verdict) -> Result<Done, Refusal> {
    match verdict {
        Verdict::Applied(applied) => done(asked, revision, applied.results),
        Verdict::Failed(failed) => Err(failed_condition(asked, &failed)),
        Verdict::Rejected(why) => Err(internal(format!(
            "The group rejected the command: {why}. Nothing was changed."
        ))),
    }
}

fn done(asked: &Asked, revision: u64, results: Vec<OperationResult>) -> Result<Done, Refusal> {
    let existed = results.first().is_some_and(|result| result.previous > 0);
    let status = match asked {
        Asked::Put(_) if existed => StatusCode::OK,
        Asked::Put(_) => StatusCode::CREATED,
        Asked::Delete(_) if existed => StatusCode::NO_CONTENT,
        Asked::Delete(_) => return Err(no_such_key()),
        Asked::Batch => StatusCode::OK,
    };
    Ok(Done {
        status,
        revision,
        results,
    })
}

fn failed_condition(asked: &Asked, failed: &Failed) -> Refusal {
    let what = match asked {
        // A missing key is 404 to DELETE whatever its conditions.
        Asked::Delete(_) if failed.found == 0 => return no_such_key(),
        Asked::Put(headers) | Asked::Delete(headers) => (*headers
            .get(failed.condition as usize)
            .unwrap_or(&"the condition"))
        .to_owned(),
        Asked::Batch => format!("conditions[{}]", failed.condition),
    };
    condition_failed(&what, failed.found)
}

/// The session stood in the way, or the outcome is not one of a write.
fn of_session(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::SessionGone => session_gone(
            "The session is unknown or has expired, and this write was not applied. If an earlier try of it got no answer, \
             read to find out what came of that one. Then open a new session.",
        ),
        Outcome::SequenceTooLow { last } => Refusal::new(
            StatusCode::CONFLICT,
            "sequence-too-low",
            "Number already used up",
            format!("The session is at number {last} and keeps only the last answer. This request was not applied."),
        )
        .field(super::session::SEQUENCE),
        Outcome::SequenceReused => Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "sequence-reused",
            "Number used for another request",
            "The number belongs to another request of this session. This request was not applied; give it the next number.",
        )
        .field(super::session::SEQUENCE),
        Outcome::SessionsFull => busy("max-sessions sessions are open"),
        Outcome::Answer(_) | Outcome::Opened { .. } | Outcome::Closed => outcome_unknown(),
    }
}

fn session_gone(detail: &str) -> Refusal {
    Refusal::new(StatusCode::GONE, "session-gone", "No such session", detail)
}

/// The answer to the opening of a session: its id and lifetime in milliseconds.
pub fn of_open(reply: Reply, leader: Option<String>) -> Result<(u64, u64), Refusal> {
    match reply {
        Reply::Outcome {
            outcome:
                Outcome::Opened {
                    session,
                    lifetime_ms,
                },
            ..
        } => Ok((session, lifetime_ms)),
        Reply::Outcome { outcome, .. } => Err(of_session(outcome)),
        Reply::Refused(why) => Err(refused(why, leader)),
        // An open session that nobody knows of expires by itself, but whether there is one is not known.
        _ => Err(outcome_unknown()),
    }
}

/// The answer to the closing of a session.
pub fn of_close(reply: Reply, leader: Option<String>) -> Result<(), Refusal> {
    match reply {
        Reply::Outcome {
            outcome: Outcome::Closed,
            ..
        } => Ok(()),
        Reply::Outcome {
            outcome: Outcome::SessionGone,
            ..
        } => Err(session_gone(
            "The session is closed already, has expired or never was. There is nothing to close.",
        )),
        Reply::Outcome { outcome, .. } => Err(of_session(outcome)),
        Reply::Refused(why) => Err(refused(why, leader)),
        _ => Err(outcome_unknown()),
    }
}

/// Whether a linearizable read may be served now.
pub fn of_read(reply: Reply, leader: Option<String>) -> Result<(), Refusal> {
    match reply {
        Reply::Ready => Ok(()),
        Reply::Refused(why) => Err(refused(why, leader)),
        _ => Err(read_timed_out(leader)),
    }
}

/// Whether a stale read may be served now, and the moment that its age is counted from.
pub fn of_stale_read(
    reply: Reply,
    leader: Option<String>,
) -> Result<Option<std::time::Duration>, Refusal> {
    match reply {
        Reply::Stale { sent } => Ok(sent),
        Reply::Refused(why) => Err(refused(why, leader)),
        _ => Err(read_timed_out(leader)),
    }
}

#[cfg(test)]
mod tests;
