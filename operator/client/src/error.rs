//! Why a call to a member failed, and what to do about it.

use std::time::Duration;

use quorate_wire::Problem;

/// Why a call to a member failed.
///
/// Only [`Error::Refused`] says that nothing was done. After every other error of a change its outcome is unknown:
/// observe the member again before deciding anew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The member answered with problem details: it understood, and did not do it.
    #[error("{url} refused ({}): {}{}", problem.status, problem.detail, field_of(problem))]
    Refused {
        /// What was called.
        url: String,
        /// What the member said.
        problem: Box<Problem>,
    },
    /// No connection, or it broke.
    #[error(
        "cannot reach {url}: {reason}; see whether the member runs and its listener's address is right"
    )]
    Unreachable {
        /// What was called.
        url: String,
        /// The innermost causes, outermost first.
        reason: String,
    },
    /// No whole answer in time.
    #[error("{url} gave no answer within {} ms; the member is stopped, wedged or cut off", after.as_millis())]
    TimedOut {
        /// What was called.
        url: String,
        /// The time that was allowed.
        after: Duration,
    },
    /// An answer that is neither the expected document nor problem details.
    #[error(
        "{url} answered {status} with something that is no Quorate document: {reason}; is another program there?"
    )]
    Foreign {
        /// What was called.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with the body.
        reason: String,
    },
    /// The parts do not make a URL.
    #[error("`{0}` is no HTTP URL; give the listener as HOST:PORT")]
    BadUrl(String),
}

impl Error {
    /// The problem details, when the member gave any.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Error::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }
}

fn field_of(problem: &Problem) -> String {
    problem
        .field
        .as_ref()
        .map_or_else(String::new, |field| format!(" (field `{field}`)"))
}

/// The chain of causes in one line: hyper's own outermost message alone never says "connection refused".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
