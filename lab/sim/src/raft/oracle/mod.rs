//! What must be true, whatever happens. Every check is an `assert!` that names its property.

mod order;
mod protocol;

pub use order::Order;
pub use protocol::Protocol;
