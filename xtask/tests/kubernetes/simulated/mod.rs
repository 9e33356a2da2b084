//! Nodes and pods that take next to nothing: a kubelet that says of every pod what a kubelet would say, and the hand-made
//! members of the simulator, which serve their documents and are bootstrapped, added, promoted and removed.

mod kubelet;
mod members;
mod server;

pub use kubelet::{CLASS, Kubelet, SCHEDULER};
