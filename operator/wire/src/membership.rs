//! What is asked of a group by way of a member's admin listener. Every answer to one is a
//! [`crate::ConfigurationStatus`], or problem details (RFC 9457).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::MemberRequest;

/// `POST /admin/bootstrap`: makes a group of this one member. Idempotent: a member that already serves this
/// group answers as if it had just done so; on a disk that knows another group it is refused (409).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bootstrap {
    /// The group to make.
    pub group: u64,
    /// The identity that must be on the disk: another disk has come into its place otherwise (409).
    pub incarnation: String,
}

/// `POST /admin/members`: adds a learner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddLearner {
    /// The configuration that this was decided on (409 when another is in force).
    pub configuration_index: u64,
    /// The identity on the new member's disk.
    pub id: String,
    /// Its name (the pod's).
    pub name: String,
    /// Where its peer listener is: a DNS name and a port.
    pub address: String,
}

/// `POST /admin/members/{id}/promote` and `POST /admin/members/{id}/remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeMember {
    /// The configuration that this was decided on (409 when another is in force).
    pub configuration_index: u64,
}

/// `POST /admin/leader`: hands leadership over within an election timeout. 503: it was not, and will not be; 504: the
/// successor was told to stand, and may yet win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransferLeader {
    /// To whom; the most caught-up voter when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// `POST /admin/set-aside`, to a damaged member itself: its data makes way. The next start sets it aside in a folder of
/// its own and draws another identity. Idempotent; 409 when the member is sound, when another identity is on its disk, or
/// when its disk has too little room for what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetAside {
    /// The identity that must be on the disk.
    pub incarnation: String,
}

/// A request that concerns a group, with what its path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRequest {
    /// `POST /admin/bootstrap`.
    Bootstrap(Bootstrap),
    /// `POST /admin/members`.
    AddLearner(AddLearner),
    /// `POST /admin/members/{id}/promote`.
    Promote {
        /// The learner's identity.
        id: String,
        /// The configuration that this was decided on.
        change: ChangeMember,
    },
    /// `POST /admin/members/{id}/remove`.
    Remove {
        /// The identity to remove.
        id: String,
        /// The configuration that this was decided on.
        change: ChangeMember,
    },
    /// `POST /admin/leader`.
    TransferLeader(TransferLeader),
    /// `POST /admin/set-aside`.
    SetAside(SetAside),
}

impl GroupRequest {
    /// The names of all of them.
    pub const NAMES: [&'static str; 6] = [
        "Bootstrap",
        "AddLearner",
        "Promote",
        "Remove",
        "TransferLeader",
        "SetAside",
    ];

    /// The request that a path and a body say, as a stand-in for a member reads it; none for one that is no group's.
    pub fn read(path: &str, body: &Value) -> Option<Self> {
        fn of<T: DeserializeOwned>(body: &Value) -> Option<T> {
            serde_json::from_value(body.clone()).ok()
        }
        let steps: Vec<&str> = path.split('/').collect();
        match *steps.as_slice() {
            ["bootstrap"] => of(body).map(Self::Bootstrap),
            ["members"] => of(body).map(Self::AddLearner),
            ["members", id, "promote"] => Some(Self::Promote {
                id: id.to_owned(),
                change: of(body)?,
            }),
            ["members", id, "remove"] => Some(Self::Remove {
                id: id.to_owned(),
                change: of(body)?,
            }),
            ["leader"] => of(body).map(Self::TransferLeader),
            ["set-aside"] => of(body).map(Self::SetAside),
            _ => None,
        }
    }
}

impl From<GroupRequest> for MemberRequest {
    fn from(request: GroupRequest) -> Self {
        match request {
            GroupRequest::Bootstrap(body) => Self::new("Bootstrap", "bootstrap", &body),
            GroupRequest::AddLearner(body) => Self::new("AddLearner", "members", &body),
            GroupRequest::Promote { id, change } => {
                Self::new("Promote", &format!("members/{id}/promote"), &change)
            }
            GroupRequest::Remove { id, change } => {
                Self::new("Remove", &format!("members/{id}/remove"), &change)
            }
            GroupRequest::TransferLeader(body) => Self::new("TransferLeader", "leader", &body),
            GroupRequest::SetAside(body) => Self::new("SetAside", "set-aside", &body),
        }
    }
}
