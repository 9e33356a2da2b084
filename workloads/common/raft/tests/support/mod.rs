//! One member as its shell would run it, on a disk of which only what was synced survives a crash.

#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::collections::VecDeque;

use quorate_raft::*;

/// The state machine: all that was ever applied, so that two of them can be compared entry by entry.
#[derive(Clone, Default)]
pub struct State {
    pub meta: SnapshotMeta,
    pub applied: Vec<Entry>,
}

impl State {
    /// Applies an entry once: what the state already has is skipped.
    fn apply(&mut self, entry: Entry) {
        if entry.index <= self.meta.index {
            return;
        }
        assert_eq!(
            entry.index,
            self.meta.index + 1,
            "entries are applied in order"
        );
        (self.meta.index, self.meta.term) = (entry.index, entry.term);
        if let Payload::Configuration(configuration) = &entry.payload {
            self.meta.configuration = configuration.clone();
            self.meta.configuration_index = entry.index;
        }
        self.applied.push(entry);
    }
}

/// What survives.
#[derive(Clone, Default)]
pub struct Disk {
    pub vote: Vote,
    pub start: Position,
    pub entries: Vec<Entry>,
    pub state: State,
}

impl Disk {
    fn last_index(&self) -> Index {
        self.start.index + self.entries.len() as u64
    }

    fn write(&mut self, write: Write) {
        self.vote = write.vote.unwrap_or(self.vote);
        if let Some(reset) = write.reset {
            self.start_after(
                Position {
                    index: reset.index,
                    term: reset.term,
                },
                reset.drop_suffix,
            );
        }
        if let Some(first) = write.entries.first() {
            assert!(
                first.index > self.start.index && first.index <= self.last_index() + 1,
                "no hole on disk"
            );
            self.entries
                .truncate((first.index - self.start.index - 1) as usize);
            self.entries.extend(write.entries);
        }
    }

    fn start_after(&mut self, start: Position, drop_suffix: bool) {
        if drop_suffix {
            self.entries.clear();
        }
        self.entries.retain(|entry| entry.index > start.index);
        self.start = start;
    }

    pub fn restored(&self) -> Restored {
        Restored {
            vote: self.vote,
            log_start: self.start,
            entries: self.entries.clone(),
            snapshot: self.state.meta.clone(),
        }
    }
}

/// A running member: its core, what its disk still has to do, what waits for that.
pub struct Member {
    pub raft: Raft,
    pub now: Now,
    pub disk: Disk,
    pub writes: VecDeque<Write>,
    held: Vec<(WriteId, MemberId, Message)>,
    /// What is applied, durable or not.
    pub state: State,
}

impl Member {
    pub fn start(config: Config, disk: Disk, now: Now) -> Self {
        let raft = Raft::new(config, disk.restored(), now).unwrap();
        let state = disk.state.clone();
        Self {
            raft,
            now,
            disk,
            writes: VecDeque::new(),
            held: Vec::new(),
            state,
        }
    }

    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.raft.step(input, self.now, &mut effects);
        effects
    }

    /// Ends a round. Messages that rest on a write are held back; the rest is returned.
    pub fn flush(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.raft.flush(self.now, &mut effects);
        for effect in &effects {
            match effect {
                Effect::Write(write) => self.writes.push_back(write.clone()),
                Effect::Send {
                    to,
                    message,
                    after: Some(after),
                } => self.held.push((*after, *to, message.clone())),
                Effect::Apply(entries) => entries
                    .iter()
                    .for_each(|entry| self.state.apply(entry.clone())),
                _ => {}
            }
        }
        effects
    }

    /// The disk finishes its oldest write; the messages that waited for it.
    pub fn sync(&mut self) -> Option<(WriteId, Vec<(MemberId, Message)>)> {
        let write = self.writes.pop_front()?;
        let id = write.id;
        self.disk.write(write);
        let released = self.held.extract_if(.., |(after, _, _)| *after <= id);
        Some((id, released.map(|(_, to, message)| (to, message)).collect()))
    }

    /// Makes the state durable.
    pub fn flush_state(&mut self) {
        self.disk.state = self.state.clone();
    }

    /// Forgets the log up to an index that the durable state covers, as the shell does on disk too.
    pub fn compact(&mut self, index: Index) {
        let index = index
            .min(self.disk.state.meta.index)
            .min(self.raft.applied())
            .min(self.disk.last_index());
        if let Some(term) = self.raft.term_at(index)
            && index > self.disk.start.index
            && self.writes.is_empty()
        {
            self.step(Input::Compact(index));
            self.disk.start_after(Position { index, term }, false);
        }
    }

    /// Takes another member's durable state over. False when this member has no use for it.
    pub fn install(&mut self, state: &State) -> bool {
        if !self.raft.wants_snapshot(&state.meta) {
            return false;
        }
        if state.meta.index > self.state.meta.index {
            self.state = state.clone();
        }
        self.flush_state();
        self.step(Input::Installed(state.meta.clone()));
        true
    }
}

/// A configuration of voters and learners, each with a contact.
pub fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
    let ids = |ids: &[u64]| ids.iter().copied().map(MemberId).collect();
    let mut configuration = Configuration {
        voters: ids(voters),
        learners: ids(learners),
        ..Configuration::default()
    };
    for id in configuration.members() {
        configuration.contacts.insert(id, Contact::default());
    }
    configuration
}
