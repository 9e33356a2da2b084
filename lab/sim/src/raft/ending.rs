//! Faults end, and progress is demanded: the group comes to the wanted members, every client gets on, nobody waits
//! for an answer, and all members end in the same state.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_raft::Index;
use quorate_raft_cluster_core::{PageQuery, View};
use quorate_store::Read;

use super::GROUP;
use super::queue::{Time, ms};
use super::world::{Event, Phase, World};

/// How long the group may take to recover, and then to come to rest.
const PATIENCE: Time = ms(15_000);

impl World {
    pub(super) fn end_faults(&mut self) {
        self.enter(Phase::Healing);
        self.mend_all();
        for client in &mut self.clients {
            (client.reads_done, client.writes_done) = (0, 0);
        }
        self.queue.after(ms(20), Event::Check);
    }

    fn enter(&mut self, phase: Phase) {
        let now = self.now();
        self.trace
            .event(now, &[7, phase as u64], || format!("-- {phase:?}"));
        self.phase = phase;
        self.phase_since = now;
    }

    pub(super) fn check(&mut self) {
        let late = self.now() - self.phase_since > PATIENCE;
        let missing = match self.phase {
            Phase::Healing => self.not_healed(),
            _ => self.not_at_rest(),
        };
        match missing {
            Some(missing) => assert!(!late, "liveness: {missing}"),
            None if self.phase == Phase::Healing => self.enter(Phase::Draining),
            None => {
                self.compare_states();
                self.enter(Phase::Over);
            }
        }
        self.queue.after(ms(20), Event::Check);
    }

    fn not_healed(&self) -> Option<String> {
        let Some(leader) = self.leader().and_then(|slot| self.raft(slot)) else {
            return Some("there is no leader".into());
        };
        let wanted = self.wanted_ids();
        let configuration = leader.configuration();
        if configuration.is_joint()
            || !configuration.learners.is_empty()
            || configuration.voters != wanted
        {
            return Some(format!(
                "{wanted:?} are wanted as voters, the configuration is {configuration:?}"
            ));
        }
        if wanted.len() != self.admin.wanted.len() {
            return Some("a slot has no identity".into());
        }
        let stuck = self
            .clients
            .iter()
            .find(|client| client.reads_done < 1 || client.writes_done < 1);
        stuck.map(|client| format!("a client gets nothing done: {client:?}"))
    }

    fn not_at_rest(&self) -> Option<String> {
        if let Some(client) = self.clients.iter().find(|client| !client.is_idle()) {
            return Some(format!("a client waits: {client:?}"));
        }
        if let Some((ticket, asked)) = self.tickets.iter().next() {
            return Some(format!("request {ticket} was never answered: {asked:?}"));
        }
        let Some(leader) = self.leader().and_then(|slot| self.raft(slot)) else {
            return Some("there is no leader".into());
        };
        let behind = self.members().find(|slot| {
            self.raft(*slot)
                .is_none_or(|raft| raft.applied() != leader.last_index())
        });
        behind.map(|slot| format!("{} does not catch up", self.slots[slot].name))
    }

    fn members(&self) -> impl Iterator<Item = usize> {
        self.admin.wanted.iter().copied()
    }

    fn compare_states(&self) {
        let mut first: Option<(Index, BTreeMap<Bytes, Bytes>)> = None;
        for slot in self.members() {
            let applied = self.raft(slot).map_or(0, |raft| raft.applied());
            let mut state = BTreeMap::new();
            let store = &self.slots[slot].store;
            let scanned = store.scan(
                &GROUP.to_be_bytes(),
                &(GROUP + 1).to_be_bytes(),
                &mut |key, value| {
                    state.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                    true
                },
            );
            assert!(scanned.is_ok(), "{}: {scanned:?}", self.slots[slot].name);
            let (index, state_of_first) = first.get_or_insert_with(|| (applied, state.clone()));
            assert!(
                *index == applied,
                "{} ends at {applied}, another at {index}",
                self.slots[slot].name
            );
            assert!(
                *state_of_first == state,
                "state machine safety: {} ends in another state",
                self.slots[slot].name
            );
            self.compare_with_order(slot);
        }
    }

    fn compare_with_order(&self, slot: usize) {
        let view = View::new(&self.slots[slot].store, GROUP);
        let Ok(page) = view.page(&PageQuery {
            limit: usize::MAX,
            bytes: usize::MAX,
            ..PageQuery::default()
        }) else {
            panic!("{} cannot be read", self.slots[slot].name)
        };
        let found: BTreeMap<Bytes, (u64, Bytes)> = page
            .entries
            .into_iter()
            .map(|entry| (entry.key, (entry.record.mod_revision, entry.record.value)))
            .collect();
        assert!(
            page.revision == self.order.revision(),
            "{} ends at another revision",
            self.slots[slot].name
        );
        assert!(
            found == self.order.state(),
            "{} ends with other keys than were written",
            self.slots[slot].name
        );
    }
}
