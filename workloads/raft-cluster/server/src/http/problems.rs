//! The refusals of this API alone; others are every API's ([`quorate_node::http::problem`]) or any group's
//! ([`quorate_group::problems`]).

use http::StatusCode;
use quorate_node::http::problem::Refusal;

/// 404: no such key.
pub fn no_such_key() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "no-such-key",
        "No such key",
        "The key does not exist.",
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
