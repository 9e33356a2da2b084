//! Random faults from a seed over whole members; what every answer promised is checked against the state.

use std::time::Duration;

use bytes::Bytes;
use quorate_group_core::*;
use quorate_raft::Change;
use quorate_wire::MemberState;

use crate::harness::*;

const SEEDS: u64 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    /// Applied, and answered at this time.
    Applied(Duration),
    /// Refused: never applied.
    Never,
    /// Anything may be.
    Unknown,
}

/// One write of a key of its own: the key's sum says how often it was applied.
struct Op {
    ticket: u64,
    member: String,
    session: Option<(u64, u64)>,
    fate: Fate,
}

/// A read that waits, and how many operations were there when it was asked.
struct Reading {
    ticket: u64,
    member: String,
    asked: Duration,
}

struct Chaos {
    net: Net,
    ops: Vec<Op>,
    reads: Vec<Reading>,
    /// The session, the number of its latest write and that write's operation.
    session: u64,
    sequence: u64,
    current: Option<usize>,
    served: usize,
}

#[test]
fn answers_hold_whatever_fails() {
    let (mut applied, mut never, mut unknown, mut served, mut installed) = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let chaos = run(seed);
        for op in &chaos.ops {
            match op.fate {
                Fate::Applied(_) => applied += 1,
                Fate::Never => never += 1,
                Fate::Unknown | Fate::Waiting => unknown += 1,
            }
        }
        served += chaos.served;
        let members = chaos
            .net
            .members
            .values()
            .filter_map(|member| member.running.as_ref());
        installed += members
            .flat_map(|running| &running.done)
            .filter(|kind| **kind == TaskKind::Install)
            .count();
    }
    println!(
        "{applied} applied, {never} refused, {unknown} unknown, {served} reads, {installed} snapshots at the end"
    );
    assert!(applied > 1000 && never > 100 && unknown > 100 && served > 500 && installed > 5);
}

/// Each planted bug breaks a promise that is checked here.
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_found() {
    for bug in Bug::ALL {
        plant(Some(bug));
        let found = (0..200).find(|seed| std::panic::catch_unwind(|| run(*seed)).is_err());
        plant(None);
        println!("{bug:?}: seed {found:?}");
        assert!(found.is_some(), "{bug:?} was not found");
    }
}

fn run(seed: u64) -> Chaos {
    let mut chaos = Chaos::new(seed);
    chaos.storm();
    chaos.settle();
    chaos
}

fn configure(config: &mut Config) {
    config.compact_after_entries = 15;
    config.keep_entries = 4;
    config.chunk_bytes = 150;
    config.segment_bytes = 4 << 10;
    config.request_timeout = Duration::from_secs(2);
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut net = Net::group_of(3, configure);
        net.rng = fastrand::Rng::with_seed(seed);
        for name in ["d", "e"] {
            net.add(name);
        }
        let opened = net.call(
            "a",
            Request::OpenSession {
                lifetime_ms: 1 << 40,
            },
        );
        let Reply::Outcome {
            outcome: Outcome::Opened { session, .. },
            ..
        } = opened
        else {
            panic!("{opened:?}")
        };
        Self {
            net,
            ops: Vec::new(),
            reads: Vec::new(),
            session,
            sequence: 0,
            current: None,
            served: 0,
        }
    }

    fn storm(&mut self) {
        for _ in 0..1500 {
            self.net.advance();
            self.collect();
            match self.net.rng.u32(..1000) {
                0..200 => self.write(),
                200..260 => self.read(Request::Read),
                260..300 => self.read(Request::StaleRead),
                300..310 => self.crash(),
                310..325 => self.start_all(),
                325..333 => self.cut(),
                333..350 => self.net.heal(),
                350..360 => self.net.lose = self.net.rng.u32(..3) * 10,
                360..370 => self.net.duplicate = !self.net.duplicate,
                370..380 => self.unreachable(),
                380..395 => self.change(),
                _ => {}
            }
        }
    }

    fn settle(&mut self) {
        (self.net.lose, self.net.duplicate) = (0, false);
        self.net.heal();
        self.start_all();
        let leader = self.net.wait_leader();
        self.net.run_for(Duration::from_secs(4));
        self.collect();
        while self.current.is_some() {
            self.retry();
            self.net.run_for(Duration::from_secs(1));
            self.collect();
        }
        let leader = self.net.leader().unwrap_or(leader);
        assert_eq!(self.net.call(&leader, Request::Read), Reply::Ready);
        for (at, op) in self.ops.iter().enumerate() {
            let count = self.net.value(&leader, &key(at));
            let right = match op.fate {
                Fate::Applied(_) => count == 1,
                Fate::Never => count == 0,
                Fate::Unknown | Fate::Waiting => count <= 1,
            };
            assert!(
                right,
                "operation {at} was applied {count} times, but answered {:?}",
                op.fate
            );
        }
    }

    fn running(&mut self) -> Option<String> {
        let running = self
            .net
            .members
            .values()
            .filter(|member| member.running.is_some());
        let names: Vec<String> = running.map(|member| member.name.clone()).collect();
        self.net.rng.choice(names)
    }

    /// Half of the writes belong to a session, whose next write waits for the last to be certain.
    fn write(&mut self) {
        if self.net.rng.bool() {
            return self.send(None);
        }
        if self.current.is_some() {
            return self.retry();
        }
        self.sequence += 1;
        self.current = Some(self.ops.len());
        self.send(Some((self.session, self.sequence)));
    }

    fn send(&mut self, session: Option<(u64, u64)>) {
        let Some(member) = self.running() else {
            self.sequence -= u64::from(session.is_some());
            self.current = self.current.filter(|_| session.is_none());
            return;
        };
        let command = Bytes::from(format!("add {} 1", key(self.ops.len())));
        let ticket = self
            .net
            .ask(&member, Request::Write(Write { session, command }));
        self.ops.push(Op {
            ticket,
            member,
            session,
            fate: Fate::Waiting,
        });
    }

    /// The session's write again, on any member, unless an answer may still come.
    fn retry(&mut self) {
        let (Some(at), Some(member)) = (self.current, self.running()) else {
            return;
        };
        if self.ops[at].fate == Fate::Waiting {
            return;
        }
        let command = Bytes::from(format!("add {} 1", key(at)));
        let write = Write {
            session: self.ops[at].session,
            command,
        };
        let ticket = self.net.ask(&member, Request::Write(write));
        let op = &mut self.ops[at];
        (op.ticket, op.member, op.fate) = (ticket, member, Fate::Waiting);
    }

    fn read(&mut self, request: Request) {
        let Some(member) = self.running() else { return };
        let asked = self.net.now;
        let ticket = self.net.ask(&member, request);
        self.reads.push(Reading {
            ticket,
            member,
            asked,
        });
    }

    fn collect(&mut self) {
        let now = self.net.now;
        for (at, op) in self
            .ops
            .iter_mut()
            .enumerate()
            .filter(|(_, op)| op.fate == Fate::Waiting)
        {
            let Some(reply) = self.net.replies.get(&op.ticket) else {
                continue;
            };
            op.fate = match reply {
                Reply::Outcome {
                    outcome: Outcome::Answer(answer),
                    ..
                } => {
                    assert_eq!(answer.as_ref(), b"1", "operation {at}");
                    Fate::Applied(now)
                }
                Reply::Refused(_) if op.session.is_none() => Fate::Never,
                Reply::Refused(_) | Reply::Unknown => Fate::Unknown,
                other => panic!("operation {at}: {other:?}"),
            };
            if self.current == Some(at) && matches!(op.fate, Fate::Applied(_)) {
                self.current = None;
            }
        }
        for reading in std::mem::take(&mut self.reads) {
            match self.net.replies.get(&reading.ticket) {
                Some(Reply::Ready) => self.sees(&reading.member, reading.asked),
                Some(Reply::Stale { sent: Some(sent) }) => self.sees(&reading.member, *sent),
                Some(_) => {}
                None => self.reads.push(reading),
            }
        }
    }

    /// What was answered before `time` must be visible on the member.
    fn sees(&mut self, member: &str, time: Duration) {
        let Some(view) = read_state(&self.net.members[member].store, GROUP).unwrap() else {
            return;
        };
        for (at, op) in self.ops.iter().enumerate() {
            if matches!(op.fate, Fate::Applied(answered) if answered < time) {
                let place = [&machine_prefix(GROUP)[..], key(at).as_bytes()].concat();
                assert!(
                    view.get(&place).unwrap().is_some(),
                    "{member} does not see operation {at}"
                );
            }
        }
        self.served += 1;
    }

    fn crash(&mut self) {
        let Some(name) = self.running() else { return };
        self.net.crash(&name);
        self.forget(&name);
    }

    /// What waited on a member that crashed is never answered.
    fn forget(&mut self, name: &str) {
        for op in self
            .ops
            .iter_mut()
            .filter(|op| op.member == name && op.fate == Fate::Waiting)
        {
            op.fate = Fate::Unknown;
        }
        self.reads.retain(|reading| reading.member != name);
    }

    fn start_all(&mut self) {
        let names: Vec<String> = self.net.members.keys().cloned().collect();
        for name in names {
            let down = self.net.members[&name].running.is_none();
            if !down
                && self.net.state(&name) == MemberState::Removed
                && self.net.running(&name).tasks.is_empty()
            {
                self.net.crash(&name);
                self.forget(&name);
                self.net.start(&name);
            } else if down {
                self.net.start(&name);
            }
            assert_ne!(
                self.net.state(&name),
                MemberState::Damaged,
                "{name}: {:?}",
                self.net.groups(&name).reason()
            );
        }
    }

    fn cut(&mut self) {
        if let Some(name) = self.running() {
            self.net.cut(&name);
        }
    }

    fn unreachable(&mut self) {
        let (Some(name), Some(other)) = (self.running(), self.running()) else {
            return;
        };
        let other = self.net.id(&other);
        self.net.step(&name, Input::Unreachable(other));
    }

    /// Adds, promotes or removes somebody, keeping three voters at least.
    fn change(&mut self) {
        let (Some(leader), Some(name)) = (self.net.leader(), self.running()) else {
            return;
        };
        let (id, contact) = (self.net.id(&name), self.net.members[&name].contact());
        let raft = self.net.groups(&leader).raft(GROUP).unwrap();
        let (expected, configuration) = (raft.configuration_index(), raft.configuration());
        let change = if configuration.learners.contains(&id) {
            Change::Reconfigure {
                promote: [id].into(),
                remove: [].into(),
            }
        } else if !configuration.voters.contains(&id) {
            Change::AddLearner(id, contact)
        } else if configuration.voters.len() > 3 {
            Change::Reconfigure {
                promote: [].into(),
                remove: [id].into(),
            }
        } else {
            return;
        };
        self.net.ask(&leader, Request::Change { expected, change });
    }
}

fn key(at: usize) -> String {
    format!("op{at}")
}
