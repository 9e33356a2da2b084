//! What every member's status document has, whatever it serves.

use std::sync::Arc;

use quorate_wire::{BAD_CERTIFICATES, MemberProblem, MemberState, MemberStatus, STATUS_VERSION};

use crate::tls::Tls;

/// Who a member is, for as long as its process lives.
#[derive(Clone)]
pub struct About {
    /// The kind of resource that it belongs to.
    pub kind: &'static str,
    /// The version of its binary.
    pub version: &'static str,
    /// The highest feature level that its binary can write (DESIGN, section 4).
    pub feature_level: u32,
    /// The resource's UID.
    pub cluster: String,
    /// The member's name.
    pub name: String,
    /// The certificates, if any were given.
    pub tls: Option<Arc<Tls>>,
}

impl About {
    /// The document of a member that runs and has nothing to hide behind it: what more there is to tell is the
    /// caller's to fill in.
    pub fn status(&self, incarnation: String, ready: bool) -> MemberStatus {
        MemberStatus {
            schema: STATUS_VERSION.into(),
            kind: self.kind.into(),
            name: self.name.clone(),
            version: self.version.into(),
            feature_level: self.feature_level,
            cluster: self.cluster.clone(),
            incarnation,
            state: MemberState::Running,
            reason: None,
            can_set_aside: false,
            ready,
            insecure: self.tls.is_none(),
            problems: self.bad_certificates().into_iter().collect(),
            restart_blockers: vec![],
            summary: vec![],
            groups: vec![],
            own: None,
        }
    }

    fn bad_certificates(&self) -> Option<MemberProblem> {
        let why = self.tls.as_ref()?.complaint()?;
        Some(MemberProblem {
            code: BAD_CERTIFICATES.into(),
            message: format!(
                "{why}; the certificates before these stay in use, but a restart would fail"
            ),
        })
    }
}
