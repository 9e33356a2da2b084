//! What the member tells of itself, and what only a build for tests adds to it.

use quorate_group::GroupVitals;
use quorate_node::health::Vitals;
use quorate_wire::MemberStatus;

use crate::broken::{self, Fault};

/// The member as the health listener sees it.
pub struct MemberVitals(pub GroupVitals);

impl Vitals for MemberVitals {
    fn status(&self) -> MemberStatus {
        let mut status = self.0.status();
        status.ready = self.readiness().is_ok();
        if cfg!(feature = "unsafe-no-sync") {
            status.insecure = true;
            status.reason.get_or_insert_with(|| {
                "this build (unsafe-no-sync) syncs nothing to disk: a power cut loses acknowledged writes".into()
            });
        }
        status
    }

    fn readiness(&self) -> Result<(), String> {
        if broken::has(Fault::NeverReady) {
            return Err("this build is broken on purpose".into());
        }
        self.0.readiness()
    }
}
