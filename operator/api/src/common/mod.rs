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
