//! Every refusal that a client or the operator can meet, each with its stable type. The rule behind the numbers:
//! 503 and 429 say that the request has had no effect and will have none; 504 says that nobody knows.

use std::time::Duration;

use http::StatusCode;
use quorate_group_core::Refused;
use quorate_node::problem::Refusal;
pub use quorate_node::problem::{no_such_method, no_such_path};
use quorate_raft as raft;

/// An election takes about as long.
const AFTER_ELECTION: Duration = Duration::from_secs(1);
/// Queues empty quickly.
const AFTER_QUEUE: Duration = Duration::from_secs(1);
/// Space on a disk does not come back by itself.
const AFTER_CLEANING: Duration = Duration::from_secs(30);

/// 400: `field` is wrong.
pub fn bad_request(field: &str, detail: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "bad-request",
        "Bad request",
        detail,
    )
    .field(field)
}

/// 404: no such key.
pub fn no_such_key() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "no-such-key",
        "No such key",
        "The key does not exist.",
    )
}

/// 408: the body did not come in time; nothing was done.
pub fn slow_body() -> Refusal {
    let detail = "The request's body did not come in time. Nothing was done; send it again.";
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "slow-request",
        "Request too slow",
        detail,
    )
}

/// 412: `what` did not hold; `found` is the key's revision, 0 when it is missing.
pub fn condition_failed(what: &str, found: u64) -> Refusal {
    let found = if found == 0 {
        "the key does not exist".to_owned()
    } else {
        format!("the key was last changed at revision {found}")
    };
    let detail = format!(
        "{what} does not hold: {found}. Nothing was changed. Read it again and decide anew."
    );
    Refusal::new(
        StatusCode::PRECONDITION_FAILED,
        "condition-failed",
        "Condition failed",
        detail,
    )
    .field(what)
}

/// 413: more than the limit of that name.
pub fn too_large(field: &str, limit_name: &str, limit: usize) -> Refusal {
    let detail =
        format!("It is larger than {limit_name} allows ({limit} bytes). Nothing was done.");
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "Too large",
        detail,
    )
    .field(field)
}

/// 429: a queue is full.
pub fn busy(what: &str) -> Refusal {
    let detail = format!("No more is taken on now: {what}. Nothing was done; try again later.");
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "busy", "Busy", detail).retry_after(AFTER_QUEUE)
}

/// 500: should not happen.
pub fn internal(detail: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "Internal error",
        detail,
    )
}

/// 504: the write may have been applied, or may be later.
pub fn outcome_unknown() -> Refusal {
    let detail = "The write may have been applied, or may be applied later. Read to find out, or repeat it with the same \
                  Quorate-Session and Quorate-Seq: then it is applied once.";
    Refusal::new(
        StatusCode::GATEWAY_TIMEOUT,
        "outcome-unknown",
        "Outcome unknown",
        detail,
    )
}

/// 503: the read was not answered in time. A read has no effect, so nothing is unknown about it.
pub fn read_timed_out(leader: Option<String>) -> Refusal {
    let detail = "No leader confirmed in time that it still leads. Try again, or read with consistency=stale.";
    unavailable("read-timed-out", "Read timed out", detail, AFTER_ELECTION).leader(leader)
}

/// 503: the state is being replaced.
pub fn installing() -> Refusal {
    let detail =
        "This member is taking over a snapshot of the state. Use another member, or try again.";
    unavailable(
        "installing-snapshot",
        "Installing a snapshot",
        detail,
        AFTER_ELECTION,
    )
}

/// 503: nobody can take it now.
pub fn no_leader(leader: Option<String>) -> Refusal {
    let detail = match &leader {
        None => "No leader can take the request now. Nothing was done; try again.".to_owned(),
        Some(leader) => format!(
            "This member cannot have the leader take the request now. Nothing was done; try again, or ask {leader}, \
             which leads as far as this member knows."
        ),
    };
    unavailable("no-leader", "No leader", detail, AFTER_ELECTION).leader(leader)
}

fn unavailable(kind: &str, title: &str, detail: impl Into<String>, after: Duration) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail).retry_after(after)
}

fn conflict(kind: &str, title: &str, detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, kind, title, detail)
}

/// What the group refused: it has had no effect and will have none. `leader` is the hint for the client.
pub fn refused(refused: Refused, leader: Option<String>) -> Refusal {
    match refused {
        Refused::NoLeader { .. } => no_leader(leader),
        Refused::Busy(what) => busy(&what),
        Refused::ReadOnly => {
            let detail = "Free space on the disk is below free-space-reserve-bytes, so nothing is written; reads go on. \
                          Nothing was done. Enlarge the volume or free space on it.";
            unavailable("disk-full", "Disk full", detail, AFTER_CLEANING).leader(leader)
        }
        Refused::NoGroup(group) => {
            let detail = format!(
                "This member does not belong to group {group} yet. Use another member, or wait until it was added."
            );
            unavailable("no-group", "No group", detail, AFTER_ELECTION)
        }
        Refused::Removed(_) => {
            let detail = format!(
                "{refused}. Nothing was done. Give the member an empty disk: it draws a new identity."
            );
            conflict("identity-removed", "Identity removed", detail)
        }
        Refused::Bootstrap(why) => conflict("bootstrap-refused", "Bootstrap refused", why),
        Refused::SetAside(why) => conflict("not-set-aside", "Not set aside", why),
        Refused::OutOfService(why) => {
            unavailable("out-of-service", "Out of service", why, AFTER_CLEANING).leader(leader)
        }
        Refused::Raft(refusal) => raft_refused(refusal, leader),
    }
}

fn raft_refused(refusal: raft::Refusal, leader: Option<String>) -> Refusal {
    let detail = format!("{refusal}. Nothing was done.");
    match refusal {
        raft::Refusal::NotLeader(_) | raft::Refusal::Transferring | raft::Refusal::NotReady => {
            no_leader(leader)
        }
        raft::Refusal::Busy(_) => busy(&refusal.to_string()),
        raft::Refusal::Outdated { .. } => conflict(
            "configuration-outdated",
            "Decided on another configuration",
            detail,
        ),
        raft::Refusal::ChangeInProgress(_) => {
            conflict("change-in-progress", "A change is in progress", detail)
        }
        raft::Refusal::Lagging { .. } => conflict("member-lagging", "The member lags", detail),
        raft::Refusal::WouldLoseQuorum { .. } => {
            conflict("would-lose-quorum", "The quorum would be lost", detail)
        }
        raft::Refusal::NoSuccessor => conflict("no-successor", "No successor", detail),
        raft::Refusal::AlreadyMember(_) => conflict("already-member", "Already a member", detail),
        raft::Refusal::AlreadyVoter(_) => conflict("already-voter", "Already a voter", detail),
        raft::Refusal::NoSuchMember(_) => Refusal::new(
            StatusCode::NOT_FOUND,
            "no-such-member",
            "No such member",
            detail,
        ),
    }
}
