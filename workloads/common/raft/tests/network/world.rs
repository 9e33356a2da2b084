//! Faults and work, drawn from a seed, and the end of all faults.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_raft::*;

use crate::support::*;
use crate::truth::{Reached, Truth};

#[derive(Clone, Copy)]
enum Act {
    Deliver,
    Lose,
    Repeat,
    Sync,
    Pass,
    Propose,
    Read,
    Change,
    Transfer,
    ReportApplied,
    Compact,
    SendSnapshots,
    Crash,
    CrashLeader,
    Start,
    Flush,
    Cut,
    Unreachable,
}

/// How often what happens, in a run where nothing is special.
const USUAL: [(Act, u32); 18] = [
    (Act::Deliver, 450),
    (Act::Lose, 25),
    (Act::Repeat, 25),
    (Act::Sync, 200),
    (Act::Pass, 60),
    (Act::Propose, 90),
    (Act::Read, 40),
    (Act::Change, 10),
    (Act::Transfer, 5),
    (Act::ReportApplied, 20),
    (Act::Compact, 10),
    (Act::SendSnapshots, 25),
    (Act::Crash, 4),
    (Act::CrashLeader, 3),
    (Act::Start, 19),
    (Act::Flush, 10),
    (Act::Cut, 5),
    (Act::Unreachable, 5),
];

/// Leaders that fall as soon as they rise: what makes logs differ most (paper, figures 7 and 8).
const STORM: [(Act, u32); 8] = [
    (Act::Deliver, 450),
    (Act::Lose, 20),
    (Act::Sync, 250),
    (Act::Pass, 150),
    (Act::Propose, 50),
    (Act::ReportApplied, 20),
    (Act::CrashLeader, 15),
    (Act::Start, 50),
];

/// A group, its network and its faults.
pub struct World {
    /// Each run has its own mix, some of it none at all: faults that are always there hide what they do alone.
    weights: Vec<(Act, u32)>,
    rng: fastrand::Rng,
    now: Now,
    members: BTreeMap<MemberId, Option<Member>>,
    disks: BTreeMap<MemberId, Disk>,
    network: Vec<(MemberId, MemberId, Message)>,
    cut: Option<MemberId>,
    /// What was committed anywhere when the read began.
    reads: BTreeMap<(MemberId, Ticket), Index>,
    truth: Truth,
    pub reached: Reached,
    tickets: Ticket,
    /// From one entry per append to all there are.
    max_append_bytes: usize,
    /// How far the time jumps at most.
    pass_ms: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let voters: Vec<u64> = (1..=rng.u64(1..=5)).collect();
        let mut disk = Disk::default();
        disk.state.meta.configuration = configuration(&voters, &[]);
        let (weights, max_append_bytes, pass_ms) = if rng.u8(0..4) == 0 {
            (STORM.to_vec(), 70, 1000)
        } else {
            let mix = USUAL.map(|(act, weight)| match act {
                Act::Deliver | Act::Sync | Act::Pass | Act::Propose => {
                    (act, weight * [1, 2, 4][rng.usize(0..3)])
                }
                _ => (act, weight * [0, 2, 2, 2, 8][rng.usize(0..5)]),
            });
            (mix.to_vec(), [70, 200, 1000][rng.usize(0..3)], 200)
        };
        let mut world = Self {
            weights,
            rng,
            now: Duration::ZERO,
            members: BTreeMap::new(),
            disks: BTreeMap::new(),
            network: Vec::new(),
            cut: None,
            reads: BTreeMap::new(),
            truth: Truth::default(),
            reached: Reached::default(),
            tickets: 0,
            max_append_bytes,
            pass_ms,
        };
        let first = Payload::Configuration(disk.state.meta.configuration.clone());
        world.truth.entries.insert((0, 0), (first, 0));
        for id in voters {
            world.disks.insert(MemberId(id), disk.clone());
            world.start(MemberId(id));
        }
        world
    }

    fn start(&mut self, id: MemberId) {
        let config = Config {
            lag_bound: 20,
            max_append_bytes: self.max_append_bytes,
            max_inflight_appends: 4,
            max_apply_bytes: 300,
            ..Config::new(id, self.rng.u64(..))
        };
        let member = Member::start(config, self.disks.entry(id).or_default().clone(), self.now);
        self.members.insert(id, Some(member));
        self.round(id, vec![]);
    }

    fn crash(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id).and_then(Option::take) {
            self.reached.crashes += 1;
            // Its connections break with it; what is on the wire already may come or not.
            if self.rng.bool() {
                self.network.retain(|(from, _, _)| *from != id);
            }
            self.reached.lost_writes += member.writes.len() as u64;
            self.disks.insert(id, member.disk);
            self.reads.retain(|(at, _), _| *at != id);
        }
    }

    fn member(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.get_mut(&id).and_then(Option::as_mut)
    }

    /// Takes inputs in, ends the round (sometimes later), judges what comes out.
    fn round(&mut self, id: MemberId, inputs: Vec<Input>) {
        let (now, late) = (self.now, self.rng.u8(0..8) == 0);
        let Some(member) = self.member(id) else {
            return;
        };
        member.now = now;
        let before = (
            member.raft.role(),
            member.raft.term(),
            member.raft.last_index(),
        );
        let mut effects: Vec<Effect> = inputs
            .into_iter()
            .flat_map(|input| member.step(input))
            .collect();
        if !late {
            effects.extend(member.flush());
        }
        let raft = &member.raft;
        if before.0 == Role::Leader && raft.role() == Role::Leader && before.1 == raft.term() {
            assert!(raft.last_index() >= before.2, "a leader only appends");
        } else if raft.last_index() < before.2 {
            self.reached.truncations += 1;
        }
        self.judge(id, effects);
    }

    fn judge(&mut self, id: MemberId, effects: Vec<Effect>) {
        let member = self.members.get(&id).and_then(Option::as_ref).unwrap();
        for effect in effects {
            match effect {
                Effect::Write(write) => self.truth.write(member, &write),
                Effect::Send {
                    to,
                    message,
                    after: None,
                } => self.network.push((id, to, message)),
                Effect::Apply(entries) => {
                    self.reached.commits += entries.len() as u64;
                    entries.iter().for_each(|entry| self.truth.apply(entry));
                }
                Effect::Read { ticket, index } => {
                    let least = self
                        .reads
                        .remove(&(id, ticket))
                        .expect("a read is answered once");
                    assert!(
                        index >= least,
                        "a read at {index} after {least} was committed"
                    );
                    self.reached.reads += 1;
                }
                Effect::Changed => {
                    self.truth.configure(&member.raft);
                    self.reached.joints += u64::from(member.raft.is_joint());
                    if member.raft.role() == Role::Leader {
                        self.reached.leaders += 1;
                        self.truth.lead(&member.raft);
                    }
                }
                Effect::Refused { ticket, .. } => drop(self.reads.remove(&(id, ticket))),
                Effect::Transferred { handover, .. } => {
                    self.reached.transfers += u64::from(handover == Handover::Done);
                }
                Effect::Forgot { index } => {
                    panic!("{id:?} lost {index}: no disk here loses what was synced")
                }
                Effect::NeedSnapshot { .. } | Effect::Send { .. } | Effect::Proposed { .. } => {}
            }
        }
    }

    fn deliver(&mut self, at: usize, keep: bool) {
        let (from, to, message) = if keep {
            self.network[at].clone()
        } else {
            self.network.swap_remove(at)
        };
        let is_cut = self.cut.is_some_and(|cut| cut == from || cut == to);
        if !is_cut {
            // A member that is new to the group starts with an empty disk when it is first spoken to.
            if !self.members.contains_key(&to) {
                self.start(to);
            }
            self.round(to, vec![Input::Receive { from, message }]);
        }
    }

    fn sync(&mut self, id: MemberId) {
        let Some((write, messages)) = self.member(id).and_then(Member::sync) else {
            return;
        };
        self.network
            .extend(messages.into_iter().map(|(to, message)| (id, to, message)));
        self.round(id, vec![Input::Written(write)]);
    }

    /// What needs a snapshot gets the leader's durable state.
    fn send_snapshots(&mut self, id: MemberId) {
        let Some(member) = self.member(id) else {
            return;
        };
        let needy: Vec<MemberId> = member
            .raft
            .progress()
            .iter()
            .filter(|progress| progress.needs_snapshot)
            .map(|p| p.id)
            .collect();
        let state = member.disk.state.clone();
        for to in needy {
            let is_cut = self.cut.is_some_and(|cut| cut == id || cut == to);
            let installed = match self.members.get_mut(&to) {
                Some(Some(other)) if !is_cut => {
                    other.now = self.now;
                    other.install(&state) || other.raft.commit() >= state.meta.index
                }
                _ => false,
            };
            self.reached.snapshots += u64::from(installed);
            self.round(to, vec![]);
            self.round(
                id,
                vec![Input::SnapshotDone {
                    to,
                    index: installed.then_some(state.meta.index),
                }],
            );
        }
    }

    fn someone(&mut self) -> MemberId {
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        ids[self.rng.usize(0..ids.len())]
    }

    fn leader(&self) -> Option<MemberId> {
        let running = self.members.values().flatten();
        running
            .filter(|m| m.raft.role() == Role::Leader)
            .max_by_key(|m| m.raft.term())
            .map(|m| m.raft.id())
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    fn propose(&mut self, id: MemberId) {
        let inputs = (0..self.rng.usize(1..4)).map(|_| {
            self.tickets += 1;
            Input::Propose {
                ticket: self.tickets,
                command: Bytes::from(self.tickets.to_string()),
            }
        });
        let inputs = inputs.collect();
        self.round(id, inputs);
    }

    fn read(&mut self, id: MemberId) {
        let ticket = self.ticket();
        if self.member(id).is_some() {
            self.reads.insert((id, ticket), self.truth.last_committed());
            self.round(id, vec![Input::Read { ticket }]);
        }
    }

    fn change(&mut self, id: MemberId) {
        let (ticket, new) = (self.ticket(), MemberId(self.members.len() as u64 + 1));
        let Some(member) = self.members.get(&id).and_then(Option::as_ref) else {
            return;
        };
        let (configuration, expected) = (
            member.raft.configuration().clone(),
            member.raft.configuration_index(),
        );
        let members: Vec<MemberId> = configuration.members().into_iter().collect();
        let change = if self.rng.bool() && members.len() < 6 && self.members.len() < 9 {
            Change::AddLearner(new, Contact::default())
        } else {
            let promote = configuration
                .learners
                .iter()
                .copied()
                .filter(|_| self.rng.bool())
                .collect();
            let remove = members
                .into_iter()
                .filter(|_| self.rng.u8(0..4) == 0)
                .collect();
            Change::Reconfigure { promote, remove }
        };
        self.round(
            id,
            vec![Input::Change {
                ticket,
                expected,
                change,
            }],
        );
    }

    fn tick(&mut self, id: MemberId) {
        let now = self.now;
        if self
            .member(id)
            .is_some_and(|member| member.raft.deadline() <= now)
        {
            self.round(id, vec![Input::Tick]);
        }
    }

    pub fn fault_or_work(&mut self) {
        let mut draw = self
            .rng
            .u32(0..self.weights.iter().map(|(_, weight)| weight).sum());
        let drawn = self.weights.iter().find(|(_, weight)| {
            let found = draw < *weight;
            draw = draw.saturating_sub(*weight);
            found
        });
        let act = drawn.map_or(Act::Deliver, |(act, _)| *act);
        self.act(act);
    }

    fn act(&mut self, act: Act) {
        let (id, leader) = (self.someone(), self.leader());
        let at = self.rng.usize(0..self.network.len().max(1));
        match act {
            Act::Deliver | Act::Lose | Act::Repeat if self.network.is_empty() => {}
            Act::Deliver => self.deliver(at, false),
            Act::Lose => drop(self.network.swap_remove(at)),
            Act::Repeat => self.deliver(at, true),
            Act::Sync => self.sync(id),
            Act::Pass => {
                self.now += Duration::from_millis(self.rng.u64(0..self.pass_ms));
                let ids: Vec<MemberId> = self.members.keys().copied().collect();
                ids.into_iter().for_each(|id| self.tick(id));
            }
            Act::Propose => self.propose(leader.unwrap_or(id)),
            Act::Read => self.read(id),
            Act::Change => self.change(leader.unwrap_or(id)),
            Act::Transfer => {
                let ticket = self.ticket();
                self.round(
                    leader.unwrap_or(id),
                    vec![Input::Transfer { ticket, to: None }],
                );
            }
            Act::ReportApplied => self.report_applied(id),
            Act::Compact => self.compact(id),
            Act::SendSnapshots => self.send_snapshots(leader.unwrap_or(id)),
            Act::Crash => self.crash(id),
            Act::CrashLeader => leader.into_iter().for_each(|leader| self.crash(leader)),
            Act::Start if self.member(id).is_none() => self.start(id),
            Act::Start | Act::Flush => self.round(id, vec![]),
            Act::Cut => self.cut = Some(id).filter(|_| self.rng.bool()),
            Act::Unreachable => self.round(leader.unwrap_or(id), vec![Input::Unreachable(id)]),
        }
    }

    fn report_applied(&mut self, id: MemberId) {
        if let Some(member) = self.member(id) {
            let applied = member.raft.handed_out();
            member.step(Input::Applied(applied));
        }
    }

    fn compact(&mut self, id: MemberId) {
        self.report_applied(id);
        if let Some(member) = self.member(id) {
            member.flush_state();
            let keep = member.raft.applied().saturating_sub(3);
            member.compact(keep);
        }
    }

    /// Nothing fails any more: a leader comes, and what it proposes is committed everywhere.
    pub fn heal(&mut self) {
        self.cut = None;
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        for id in ids.iter().copied() {
            if self.member(id).is_none() {
                self.start(id);
            }
        }
        let mut goal = None;
        for _ in 0..2000 {
            self.now += Duration::from_millis(20);
            for id in self.members.keys().copied().collect::<Vec<_>>() {
                self.tick(id);
                self.round(id, vec![]);
                while self
                    .member(id)
                    .is_some_and(|member| !member.writes.is_empty())
                {
                    self.sync(id);
                }
                self.report_applied(id);
            }
            for _ in 0..self.network.len() {
                self.deliver(0, false);
            }
            let Some(leader) = self.leader() else {
                continue;
            };
            self.send_snapshots(leader);
            let raft = &self.members[&leader].as_ref().unwrap().raft;
            let term = raft.term();
            match goal.filter(|(proposed_in, _)| *proposed_in == term) {
                None => {
                    self.propose(leader);
                    goal = self.members[&leader]
                        .as_ref()
                        .map(|member| (term, member.raft.last_index()));
                }
                Some((_, goal))
                    if raft
                        .configuration()
                        .members()
                        .iter()
                        .all(|id| self.has_applied(*id, goal)) =>
                {
                    return;
                }
                _ => {}
            }
        }
        let states: Vec<String> = self
            .members
            .values()
            .flatten()
            .map(|member| describe(&member.raft))
            .collect();
        panic!(
            "no progress after the faults ended; the goal was {goal:?}:\n{}",
            states.join("\n")
        );
    }

    fn has_applied(&self, id: MemberId, goal: Index) -> bool {
        self.members
            .get(&id)
            .and_then(Option::as_ref)
            .is_some_and(|member| member.state.meta.index >= goal)
    }
}

fn describe(raft: &Raft) -> String {
    format!(
        "{} {:?} t{} leader {:?} {:?}..{:?} commit {} {:?} at {} {:?} ignored {:?}",
        raft.id(),
        raft.role(),
        raft.term(),
        raft.leader(),
        raft.log_start(),
        raft.last(),
        raft.commit(),
        raft.configuration(),
        raft.configuration_index(),
        raft.progress(),
        raft.ignored().collect::<Vec<_>>(),
    )
}
