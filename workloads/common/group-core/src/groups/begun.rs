//! What a member has begun beside the work of its groups, and who waits for it.

use std::collections::BTreeMap;

use quorate_raft::{Ticket, WriteId};

use crate::ask::{Refused, Reply};
use crate::io::Effect;
use crate::types::GroupId;

/// Groups whose first entry is on its way to the disk.
#[derive(Debug, Default)]
pub(super) struct Bootstraps(pub(super) BTreeMap<GroupId, Pending>);

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) write: WriteId,
    pub(super) tickets: Vec<Ticket>,
}

impl Bootstraps {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, group: GroupId) -> bool {
        self.0.contains_key(&group)
    }

    pub(super) fn retire(&mut self, why: &str, out: &mut Vec<Effect>) {
        for ticket in std::mem::take(&mut self.0)
            .into_values()
            .flat_map(|pending| pending.tickets)
        {
            out.push(Effect::Reply {
                ticket,
                reply: Reply::Refused(Refused::OutOfService(why.into())),
            });
        }
    }
}

/// How far this identity is given up.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// That this identity is given up has been told to the disk.
    pub(super) standing: bool,
    /// Who waits for damaged data to be given up.
    pub(super) tickets: Vec<Ticket>,
    /// Why the disk did not take the mark.
    pub(super) failed: Option<String>,
}

impl Aside {
    pub(super) fn is_standing(&self) -> bool {
        self.standing
    }
}
