//! The bodies of requests to a member's admin listener. Every answer to one is a [`crate::ConfigurationStatus`],
//! or problem details (RFC 9457).

use serde::{Deserialize, Serialize};

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

/// A request to a member's admin listener, with what its path says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRequest {
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

impl MemberRequest {
    /// A stable name, for events, metric labels and counters.
    pub fn name(&self) -> &'static str {
        match self {
            MemberRequest::Bootstrap(_) => "Bootstrap",
            MemberRequest::AddLearner(_) => "AddLearner",
            MemberRequest::Promote { .. } => "Promote",
            MemberRequest::Remove { .. } => "Remove",
            MemberRequest::TransferLeader(_) => "TransferLeader",
            MemberRequest::SetAside(_) => "SetAside",
        }
    }
}

/// Problem details (RFC 9457), the body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A stable name, as `https://quorate.dev/problems/outcome-unknown`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do next.
    pub detail: String,
    /// The field, parameter or header that is wrong, of a 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The leader's client URL, if known, of a 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}

/// What every [`Problem::kind`] begins with.
pub const PROBLEM_BASE: &str = "https://quorate.dev/problems/";
