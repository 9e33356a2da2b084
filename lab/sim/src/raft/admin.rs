//! The administrator: brings the group to the wanted members, one change at a time, and replaces who is lost.

use std::collections::BTreeSet;

use quorate_group_core::{Reply, Request};
use quorate_raft::{Change, MemberId, Raft, Role, Ticket};

use super::GROUP;
use super::counters::Reached;
use super::queue::{Time, ms};
use super::world::{Asker, Event, Phase, World};

/// What the administrator wants and waits for.
#[derive(Debug)]
pub(super) struct Admin {
    /// The slots that shall hold voters.
    pub wanted: BTreeSet<usize>,
    pub bootstrapped: bool,
    waits: Option<(Ticket, Time)>,
}

impl Admin {
    pub fn new(members: usize) -> Self {
        Admin {
            wanted: (0..members).collect(),
            bootstrapped: false,
            waits: None,
        }
    }
}

impl World {
    pub(super) fn administrate(&mut self) {
        let impatient = self.swarm.impatient;
        let pause = self.rng.u64(if impatient { 1..8 } else { 5..40 });
        self.queue.after(ms(pause), Event::Admin);
        self.restart_removed();
        let now = self.now();
        let waits = self.admin.waits.is_some_and(|(_, until)| now < until);
        if waits && !(impatient && self.admin.bootstrapped) {
            return;
        }
        if !self.admin.bootstrapped {
            return self.bootstrap();
        }
        let Some(slot) = self.leader() else { return };
        let Some(raft) = self.slots[slot]
            .process
            .as_ref()
            .and_then(|process| process.groups.raft(GROUP))
        else {
            return;
        };
        let under_way = raft.is_joint() || !raft.configuration_committed();
        let expected = raft.configuration_index();
        if under_way && (!self.swarm.impatient || self.rng.bool()) {
            return;
        }
        let Some(change) = self.next_change(slot) else {
            return;
        };
        // Now and then somebody decides on old news.
        let expected = if self.rng.u8(..20) == 0 {
            expected.saturating_sub(1)
        } else {
            expected
        };
        self.request(slot, Request::Change { expected, change });
    }

    fn request(&mut self, slot: usize, request: Request) {
        let until = self.now() + ms(700);
        let ticket = self.ask(slot, Asker::Admin, request);
        self.admin.waits = Some((ticket, until));
    }

    fn bootstrap(&mut self) {
        if let Some(incarnation) = self.slots[0]
            .identity
            .filter(|_| self.slots[0].process.is_some())
        {
            self.request(0, Request::Bootstrap { incarnation });
        }
    }

    pub(super) fn admin_hears(&mut self, ticket: Ticket, reply: Reply) {
        if self.admin.waits.is_some_and(|(waited, _)| waited == ticket) {
            self.admin.waits = None;
        }
        match reply {
            Reply::Done => self.admin.bootstrapped = true,
            Reply::Refused(_) => self.counters.hit(Reached::ChangeRefused),
            Reply::Unknown => {}
            reply => panic!("{reply:?} is no answer to a change"),
        }
    }

    /// The member that leads the latest term.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |slot: &usize| {
            self.raft(*slot)
                .filter(|raft| raft.role() == Role::Leader)
                .map(Raft::term)
        };
        (0..self.slots.len())
            .filter(|slot| leads(slot).is_some())
            .max_by_key(leads)
    }

    pub(super) fn raft(&self, slot: usize) -> Option<&Raft> {
        self.slots[slot].process.as_ref()?.groups.raft(GROUP)
    }

    /// The identities that shall vote, as far as their slots have any.
    pub(super) fn wanted_ids(&self) -> BTreeSet<MemberId> {
        self.admin
            .wanted
            .iter()
            .filter_map(|slot| self.slots[*slot].identity)
            .collect()
    }

    fn next_change(&mut self, leader: usize) -> Option<Change> {
        let wanted = self.wanted_ids();
        let raft = self.raft(leader)?;
        let configuration = raft.configuration().clone();
        let progress = raft.progress();
        let members: BTreeSet<MemberId> = configuration.contacts.keys().copied().collect();
        let missing: Vec<usize> = self
            .admin
            .wanted
            .iter()
            .copied()
            .filter(|slot| {
                self.slots[*slot]
                    .identity
                    .is_some_and(|id| !members.contains(&id))
                    && self.slots[*slot].process.is_some()
            })
            .collect();
        let remove: BTreeSet<MemberId> = members.difference(&wanted).copied().collect();
        let caught_up = |id: &MemberId| {
            progress
                .iter()
                .any(|member| member.id == *id && member.caught_up && member.active)
        };
        let promote: BTreeSet<MemberId> = configuration
            .learners
            .iter()
            .copied()
            .filter(|id| wanted.contains(id) && caught_up(id))
            .collect();
        // Adding first keeps more copies, removing first is needed when a quorum is at stake: both must work.
        let add_first = self.rng.bool();
        if let Some(slot) = missing.first().filter(|_| add_first || remove.is_empty()) {
            let place = &self.slots[*slot];
            return Some(Change::AddLearner(place.identity?, place.contact()));
        }
        if promote.is_empty() && remove.is_empty() {
            return None;
        }
        let remove = if self.rng.bool() {
            remove
        } else {
            remove.into_iter().take(1).collect()
        };
        let promote = if self.rng.u8(..4) > 0 || remove.is_empty() {
            promote
        } else {
            BTreeSet::new()
        };
        Some(Change::Reconfigure { promote, remove })
    }

    /// A member that was removed is started again, and begins anew by itself. So does one that is damaged, once it was
    /// asked to; or it gets an empty disk.
    fn restart_removed(&mut self) {
        for slot in 0..self.slots.len() {
            let Some(process) = &self.slots[slot].process else {
                continue;
            };
            let state = process.groups.state();
            use quorate_wire::MemberState;
            match state {
                MemberState::Removed if process.running.is_empty() && self.rng.u8(..4) == 0 => {
                    self.kill(slot, false);
                    self.queue.after(ms(5), Event::Start { slot });
                }
                MemberState::Damaged if process.groups.can_set_aside() && self.rng.u8(..4) > 0 => {
                    if let Some(incarnation) = self.slots[slot].identity {
                        self.ask(slot, Asker::Admin, Request::SetAside { incarnation });
                    }
                }
                MemberState::Damaged => {
                    self.kill(slot, false);
                    self.slots[slot].wipe();
                    self.queue.after(ms(5), Event::Start { slot });
                }
                _ => {}
            }
        }
        self.watch_replacement();
    }

    /// Whether the group has recovered from the last lost disk: then it may lose another.
    fn watch_replacement(&mut self) {
        let Some(lost) = self.nemesis.lost else {
            return;
        };
        let Some(slot) = self.leader() else { return };
        let Some(raft) = self.raft(slot) else { return };
        let configuration = raft.configuration();
        let settled =
            raft.configuration_committed() && raft.is_ready() && !configuration.is_joint();
        let replaced = configuration.voters == self.wanted_ids()
            && self.wanted_ids().len() == self.admin.wanted.len();
        if settled && replaced && !configuration.contains(lost) {
            self.nemesis.lost = None;
            self.counters.hit(Reached::Replaced);
        }
    }

    /// Other members are wanted.
    pub(super) fn change_wanted(&mut self) {
        if self.phase != Phase::Faults || self.nemesis.lost.is_some() {
            return;
        }
        let count = [3, 4, 5, 6, 7][self.rng.usize(..5)];
        let mut slots: Vec<usize> = (0..self.slots.len()).collect();
        self.rng.shuffle(&mut slots);
        self.admin.wanted = slots.into_iter().take(count).collect();
    }
}
