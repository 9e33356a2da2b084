//! What the member tells of itself, and what only a build for tests adds to it.

use quorate_group::GroupVitals;
use quorate_node::health::Vitals;
use quorate_wire::MemberStatus;

use crate::build::Build;

/// The member as the health listener sees it.
pub struct MemberVitals {
    /// As its group has it.
    pub vitals: GroupVitals,
    /// Of which build it is.
    pub build: Build,
}

impl Vitals for MemberVitals {
    fn status(&self) -> MemberStatus {
        let mut status = self.vitals.status();
        status.ready = self.readiness().is_ok();
        status
    }

    fn readiness(&self) -> Result<(), String> {
        if let Some(why) = self.build.unready {
            return Err(why.into());
        }
        self.vitals.readiness()
    }
}
