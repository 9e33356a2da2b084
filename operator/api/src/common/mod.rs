//! What kinds share: fragments of a spec, and of a status.

mod logging;
mod monitoring;
mod pods;
mod service;
mod status;
mod storage;
mod tls;

pub use logging::{LogFormat, Logging};
pub use monitoring::Monitoring;
pub use pods::{PodOverrides, Pods, Resources, Spread, Toleration};
pub use service::{Service, ServiceType};
pub use status::{
    ConditionType, Endpoints, Formation, Release, Rollout, Status, condition, set_condition,
};
pub use storage::{Retention, RetentionPolicy, Storage};
pub use tls::Tls;

/// The rules of the fragments, for validation without an API server.
pub mod fragment_rules {
    pub use super::logging::FILTER_IS_ONE;
    pub use super::pods::{IMAGE_PULL_SECRET, TOLERATION};
    pub use super::storage::{CLASS_IS_A_NAME, CLASS_IS_FIXED, SIZE_GROWS, SIZE_SUFFICES};
    pub use super::tls::SECRET_IS_A_NAME;
}
