//! Making a group of this one member. It exists from the moment its first entry is durable, never before: a crash
//! leaves the group or nothing.

use std::collections::BTreeMap;

use quorate_raft::{Configuration, Entry, MemberId, Now, Payload, Restored, Ticket, Vote, WriteId};

use super::Groups;
use super::begun::Pending;
use crate::ask::{Refused, Reply};
use crate::io::Effect;
use crate::record::Record;
use crate::types::GroupId;

impl Groups {
    pub(super) fn bootstrap(
        &mut self,
        ticket: Ticket,
        group: GroupId,
        incarnation: MemberId,
        out: &mut Vec<Effect>,
    ) {
        if let Some(pending) = self.bootstraps.0.get_mut(&group) {
            return pending.tickets.push(ticket);
        }
        let reply = match self.may_bootstrap(group, incarnation) {
            Err(why) => Reply::Refused(Refused::Bootstrap(why)),
            Ok(()) if self.groups.contains_key(&group) => Reply::Done,
            Ok(()) => {
                let entries = vec![self.first_entry()];
                self.shared.records.push(Record::Vote {
                    group,
                    vote: first_vote(),
                });
                self.shared.records.push(Record::Entries { group, entries });
                self.bootstraps.0.insert(
                    group,
                    Pending {
                        write: self.shared.write,
                        tickets: vec![ticket],
                    },
                );
                return;
            }
        };
        out.push(Effect::Reply { ticket, reply });
    }

    fn may_bootstrap(&self, group: GroupId, incarnation: MemberId) -> Result<(), String> {
        let id = self.shared.id;
        if incarnation != id {
            return Err(format!(
                "this disk holds the identity {id}, not {incarnation}: it is another disk"
            ));
        }
        if let Some(known) = self.groups.get(&group) {
            // Bootstrapped long ago, or a member in any other way: that the group exists is what was asked.
            let serves = known.raft().last_index() > 0;
            return if serves {
                Ok(())
            } else {
                Err(format!("this member is just joining group {group}"))
            };
        }
        if !self.may_add(group) {
            let known = self.groups.keys().next().copied().unwrap_or_default();
            return Err(format!(
                "this disk already belongs to group {known}, not to group {group}"
            ));
        }
        Ok(())
    }

    /// Creates the groups whose first entry is durable.
    pub(super) fn bootstrapped(&mut self, up_to: WriteId, now: Now, out: &mut Vec<Effect>) {
        let (done, waiting) = std::mem::take(&mut self.bootstraps.0)
            .into_iter()
            .partition(|(_, pending)| pending.write <= up_to);
        self.bootstraps.0 = waiting;
        let done: BTreeMap<GroupId, Pending> = done;
        for (group, pending) in done {
            let restored = Restored {
                vote: first_vote(),
                entries: vec![self.first_entry()],
                ..Restored::default()
            };
            self.add(group, restored, now);
            for ticket in pending.tickets {
                out.push(Effect::Reply {
                    ticket,
                    reply: Reply::Done,
                });
            }
            out.push(Effect::Changed);
        }
    }

    fn first_entry(&self) -> Entry {
        let (id, contact) = (self.shared.id, self.shared.config.contact.clone());
        let configuration = Configuration {
            voters: [id].into(),
            contacts: [(id, contact)].into(),
            ..Configuration::default()
        };
        Entry {
            index: 1,
            term: 1,
            payload: Payload::Configuration(configuration),
        }
    }
}

fn first_vote() -> Vote {
    Vote {
        term: 1,
        voted_for: None,
    }
}
