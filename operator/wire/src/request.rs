//! A request to a member's admin listener, whatever it asks for, and how one is refused.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `POST /admin/{path}` with a JSON body. What can be asked is a group's ([`crate::GroupRequest`]) or a kind's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberRequest {
    /// A stable name, for events, metric labels and counters.
    pub name: &'static str,
    /// What follows `/admin/`.
    pub path: String,
    /// The body.
    pub body: Value,
}

impl MemberRequest {
    /// A request; a body that is no JSON (a map with keys that are no strings) becomes `null`, which every listener refuses.
    pub fn new(name: &'static str, path: &str, body: &impl Serialize) -> Self {
        Self {
            name,
            path: path.to_owned(),
            body: serde_json::to_value(body).unwrap_or(Value::Null),
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
