//! What a group refuses, as problem details with a stable type each.

use std::time::Duration;

use http::StatusCode;
use quorate_group_core::Refused;
use quorate_node::http::problem::{Refusal, busy};
use quorate_raft as raft;

/// An election takes about as long.
const AFTER_ELECTION: Duration = Duration::from_secs(1);
/// Space on a disk does not come back by itself.
const AFTER_CLEANING: Duration = Duration::from_secs(30);

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
