//! What any HTTP API needs: problem details, bodies within limits, admission, and counts of what was answered.

pub mod admission;
pub mod base64;
pub mod body;
pub mod callers;
pub mod linger;
pub mod metrics;
pub mod observe;
pub mod parameters;
pub mod problem;
pub mod strict;
