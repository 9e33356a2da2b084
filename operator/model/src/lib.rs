//! The pure model of a StatefulSet, for the simulator and the embedded host.
//!
//! [`sync`] is one round of the controller: it looks at the set, its revisions, pods and claims, and says what the
//! controller would create and delete, and the status it would write. It follows
//! `pkg/controller/statefulset/stateful_set_control.go` of Kubernetes for `podManagementPolicy: Parallel`, the only
//! policy that a quorum system can use (ordered start deadlocks where readiness needs a quorum).
//!
//! What the API server and the kubelet do stays with the host: it gives new objects their UIDs, counts generations,
//! keeps a pod's UID and revision through crashes, and takes a deleted pod away when its processes have ended.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod claim;
mod pod;
mod revision;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use claim::claim_name;
pub use pod::{adopt, is_ready, is_terminating, ordinal, pod_name, revision_of};
pub use sync::{Change, Outcome, Rules, Unsupported, sync};
