//! What the inputs of a scenario do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use quorate_raft::*;

use crate::show::*;
use crate::support::*;

struct Packet {
    from: MemberId,
    to: MemberId,
    message: Message,
}

struct Limits {
    append_bytes: usize,
    inflight_appends: usize,
    inflight_bytes: usize,
    uncommitted: usize,
    lag: u64,
}

/// A group that a scenario drives.
pub struct Script {
    members: BTreeMap<MemberId, Member>,
    disks: BTreeMap<MemberId, Disk>,
    clocks: BTreeMap<MemberId, Now>,
    network: VecDeque<Packet>,
    cut: BTreeSet<MemberId>,
    slow: BTreeSet<MemberId>,
    stalled: BTreeSet<MemberId>,
    seen: BTreeMap<MemberId, (Role, Term, Option<MemberId>, Index, bool)>,
    tickets: Ticket,
    limits: Limits,
    /// What happened since it was taken last.
    pub trace: String,
}

impl Script {
    pub fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            disks: BTreeMap::new(),
            clocks: BTreeMap::new(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            slow: BTreeSet::new(),
            stalled: BTreeSet::new(),
            seen: BTreeMap::new(),
            tickets: 100,
            limits: Limits {
                append_bytes: 1 << 20,
                inflight_appends: 256,
                inflight_bytes: 1 << 20,
                uncommitted: 1 << 20,
                lag: 4,
            },
            trace: String::new(),
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.trace, "  {line}").unwrap();
    }

    pub fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["group", ref members @ ..] => self.group(members),
            ["disk", id, "terms", ref rest @ ..] => self.disk(member(id), rest),
            ["start"] => self
                .disks
                .keys()
                .copied()
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|id| self.start(id)),
            ["start", ref ids @ ..] | ["restart", ref ids @ ..] => {
                ids.iter().for_each(|id| self.start(member(id)))
            }
            ["limits", ref pairs @ ..] => self.set_limits(pairs),
            ["elect", id] => {
                self.timeout(member(id));
                self.deliver(None, None, 10_000);
                self.trace.clear();
                let raft = &self.members[&member(id)].raft;
                assert!(raft.is_ready(), "{id} was not elected");
                let line = format!("{id} leads in t{}", raft.term());
                self.say(&line);
            }
            ["forge", from, to, term, index, last_term] => {
                let (last_index, last_term) = (number(index), number(last_term));
                let body = Body::RequestVote {
                    pre: false,
                    last_index,
                    last_term,
                    transfer: false,
                };
                self.post(
                    member(from),
                    member(to),
                    Message {
                        term: number(term),
                        body,
                    },
                );
            }
            ["timeout", id] | ["beat", id] => self.timeout(member(id)),
            ["pass", ms, ref ids @ ..] => {
                ids.iter().for_each(|id| self.pass(member(id), number(ms)))
            }
            ["deliver"] => self.deliver(None, None, 10_000),
            ["deliver", from, to] => self.deliver(anyone(from), anyone(to), 10_000),
            ["deliver", from, to, n] => self.deliver(anyone(from), anyone(to), number(n)),
            ["drop", from, to] => self.lose(anyone(from), anyone(to)),
            ["repeat", from, to] => self.repeat(anyone(from), anyone(to)),
            ["cut", id] => drop(self.cut.insert(member(id))),
            ["heal", id] => drop(self.cut.remove(&member(id))),
            ["slow", id] => drop(self.slow.insert(member(id))),
            ["fast", id] => {
                self.slow.remove(&member(id));
                self.round(member(id), vec![]);
            }
            ["stall", id] => drop(self.stalled.insert(member(id))),
            ["resume", id] => {
                self.stalled.remove(&member(id));
                self.round(member(id), vec![]);
            }
            ["sync", id] => self.sync(member(id)),
            ["propose", id, ref commands @ ..] => self.propose(member(id), commands),
            ["read", id, ticket] => self.round(
                member(id),
                vec![Input::Read {
                    ticket: number(ticket),
                }],
            ),
            ["learner", id, new, ref at @ ..] => {
                let change = Change::AddLearner(member(new), Contact::default());
                self.change(member(id), change, at);
            }
            ["reconfigure", id, ref rest @ ..] => self.reconfigure(member(id), rest),
            ["transfer", id, to] => {
                let ticket = self.ticket();
                let to = (to != "-").then(|| member(to));
                self.round(member(id), vec![Input::Transfer { ticket, to }]);
            }
            ["crash", id] => self.crash(member(id)),
            ["forget", id, index] => {
                let disk = self.disks.get_mut(&member(id)).unwrap();
                let kept = number::<u64>(index) - disk.start.index;
                disk.entries.truncate(kept as usize);
            }
            ["save", id] => self.members.get_mut(&member(id)).unwrap().flush_state(),
            ["compact", id, index] => self
                .members
                .get_mut(&member(id))
                .unwrap()
                .compact(number(index)),
            ["snapshot", from, to] => self.snapshot(member(from), member(to)),
            ["unreachable", id, other] => {
                self.round(member(id), vec![Input::Unreachable(member(other))])
            }
            ["logs"] => self.logs(),
            _ => panic!("unknown input: {line}"),
        }
    }

    fn group(&mut self, members: &[&str]) {
        let learners: Vec<u64> = members
            .iter()
            .filter_map(|id| id.strip_prefix('~'))
            .map(number)
            .collect();
        let voters: Vec<u64> = members
            .iter()
            .filter(|id| !id.starts_with('~'))
            .map(|id| number(id))
            .collect();
        let mut disk = Disk::default();
        disk.state.meta.configuration = configuration(&voters, &learners);
        self.disks.extend(
            voters
                .iter()
                .chain(&learners)
                .map(|id| (MemberId(*id), disk.clone())),
        );
    }

    fn disk(&mut self, id: MemberId, rest: &[&str]) {
        let (terms, vote) = rest.split_at(
            rest.iter()
                .position(|word| *word == "vote")
                .unwrap_or(rest.len()),
        );
        let disk = self.disks.get_mut(&id).unwrap();
        disk.entries = (1..)
            .zip(terms)
            .map(|(index, term)| {
                let command = Bytes::from(format!("{index}.{term}"));
                Entry {
                    index,
                    term: number(term),
                    payload: Payload::Command(command),
                }
            })
            .collect();
        disk.vote = match vote {
            ["vote", term] => Vote {
                term: number(term),
                voted_for: None,
            },
            ["vote", term, "for", whom] => Vote {
                term: number(term),
                voted_for: Some(member(whom)),
            },
            _ => Vote {
                term: terms.last().map_or(0, |term| number(term)),
                voted_for: None,
            },
        };
    }

    fn set_limits(&mut self, pairs: &[&str]) {
        for pair in pairs.chunks(2) {
            let value: usize = number(pair[1]);
            match pair[0] {
                "appends" => self.limits.inflight_appends = value,
                "bytes" => self.limits.append_bytes = value,
                "inflight-bytes" => self.limits.inflight_bytes = value,
                "uncommitted" => self.limits.uncommitted = value,
                "lag" => self.limits.lag = value as u64,
                other => panic!("unknown limit {other}"),
            }
        }
    }

    fn start(&mut self, id: MemberId) {
        let config = Config {
            max_append_bytes: self.limits.append_bytes,
            max_inflight_appends: self.limits.inflight_appends,
            max_inflight_bytes: self.limits.inflight_bytes,
            max_uncommitted_bytes: self.limits.uncommitted,
            lag_bound: self.limits.lag,
            ..Config::new(id, id.0)
        };
        let now = *self.clocks.entry(id).or_default();
        let started = Member::start(config, self.disks.entry(id).or_default().clone(), now);
        self.seen.insert(id, view(&started.raft));
        self.members.insert(id, started);
        self.round(id, vec![]);
    }

    fn crash(&mut self, id: MemberId) {
        let member = self.members.remove(&id).unwrap();
        for write in &member.writes {
            self.say(&format!("{} loses {}", id.0, show_write(write)));
        }
        self.clocks.insert(id, member.now);
        self.disks.insert(id, member.disk);
    }

    fn timeout(&mut self, id: MemberId) {
        let member = self.members.get_mut(&id).unwrap();
        member.now = member.now.max(member.raft.deadline());
        self.round(id, vec![Input::Tick]);
    }

    fn pass(&mut self, id: MemberId, ms: u64) {
        let member = self.members.get_mut(&id).unwrap();
        member.now += Duration::from_millis(ms);
        if member.raft.deadline() <= member.now {
            self.round(id, vec![Input::Tick]);
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    fn propose(&mut self, id: MemberId, commands: &[&str]) {
        let inputs = commands
            .iter()
            .map(|command| Input::Propose {
                ticket: self.ticket(),
                command: Bytes::from(command.to_string()),
            })
            .collect();
        self.round(id, inputs);
    }

    fn reconfigure(&mut self, id: MemberId, rest: &[&str]) {
        let (ids, at) = rest.split_at(
            rest.iter()
                .position(|word| *word == "at")
                .unwrap_or(rest.len()),
        );
        let marked = |mark| {
            ids.iter()
                .filter_map(|id| id.strip_prefix(mark))
                .map(member)
                .collect()
        };
        let change = Change::Reconfigure {
            promote: marked('+'),
            remove: marked('-'),
        };
        self.change(id, change, at);
    }

    fn change(&mut self, id: MemberId, change: Change, at: &[&str]) {
        let in_force = self.members[&id].raft.configuration_index();
        let expected = if let ["at", index] = at {
            number(index)
        } else {
            in_force
        };
        let ticket = self.ticket();
        self.round(
            id,
            vec![Input::Change {
                ticket,
                expected,
                change,
            }],
        );
    }

    /// Takes inputs in and ends the round; a fast disk is done at once.
    fn round(&mut self, id: MemberId, inputs: Vec<Input>) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let mut effects: Vec<Effect> = inputs
            .into_iter()
            .flat_map(|input| member.step(input))
            .collect();
        effects.extend(member.flush());
        self.judge(id, effects);
        let member = self.members.get_mut(&id).unwrap();
        let applied = member.raft.handed_out();
        if !self.stalled.contains(&id) {
            member.step(Input::Applied(applied));
        }
        if !self.slow.contains(&id) && !self.members[&id].writes.is_empty() {
            self.sync(id);
        }
    }

    fn sync(&mut self, id: MemberId) {
        let Some((write, messages)) = self.members.get_mut(&id).unwrap().sync() else {
            return self.say(&format!("{} has nothing to write", id.0));
        };
        if self.slow.contains(&id) {
            self.say(&format!("{}: write {write} is durable", id.0));
        }
        for (to, message) in messages {
            self.post(id, to, message);
        }
        self.round(id, vec![Input::Written(write)]);
    }

    fn judge(&mut self, id: MemberId, effects: Vec<Effect>) {
        let (me, slow) = (id.0, self.slow.contains(&id));
        for effect in effects {
            match effect {
                Effect::Write(write) if slow => {
                    self.say(&format!("{me} begins {}", show_write(&write)))
                }
                Effect::Write(_) => {}
                Effect::Send {
                    to,
                    message,
                    after: None,
                } => self.post(id, to, message),
                Effect::Send {
                    to,
                    message,
                    after: Some(after),
                } if slow => {
                    self.say(&format!(
                        "{me} holds until write {after}, for {}: {}",
                        to.0,
                        show(&message)
                    ));
                }
                Effect::Send { .. } => {}
                Effect::Apply(entries) => {
                    self.say(&format!("{me} applies {}", show_entries(&entries)))
                }
                Effect::Proposed { index, term, .. } => {
                    self.say(&format!("{me} appends {index}@{term}"))
                }
                Effect::Read { ticket, index } => {
                    self.say(&format!("{me} serves read {ticket} at {index}"))
                }
                Effect::Refused { ticket, reason } if ticket < 100 => {
                    self.say(&format!("{me} refuses read {ticket}: {reason}"));
                }
                Effect::Refused { reason, .. } => self.say(&format!("{me} refuses: {reason}")),
                Effect::Transferred { handover, .. } => {
                    let handover = match handover {
                        Handover::Done => "done",
                        Handover::Failed => "failed",
                        Handover::Unknown => "unknown",
                    };
                    self.say(&format!("{me}: transfer {handover}"));
                }
                Effect::NeedSnapshot { to, at_least } => {
                    self.say(&format!(
                        "{me} asks for a snapshot for {} at {at_least} or beyond",
                        to.0
                    ));
                }
                Effect::Forgot { index } => {
                    self.say(&format!("{me} has lost {index}, which it had acknowledged"));
                }
                Effect::Changed => self.changed(id),
            }
        }
    }

    fn changed(&mut self, id: MemberId) {
        let raft = &self.members[&id].raft;
        let (was, is) = (self.seen[&id], view(raft));
        let configuration = show_configuration(raft.configuration());
        self.seen.insert(id, is);
        let (role, term, leader, index, committed) = is;
        if (was.0, was.1, was.2) != (role, term, leader) {
            let what = match (role, leader) {
                (Role::Follower, None) => "follows nobody".to_string(),
                (Role::Follower, Some(leader)) => format!("follows {}", leader.0),
                (Role::PreCandidate, _) => "asks whether it would be elected".to_string(),
                (Role::Candidate, _) => "stands".to_string(),
                (Role::Leader, _) => "leads".to_string(),
            };
            self.say(&format!("{} {what} in t{term}", id.0));
        }
        if was.3 != index {
            self.say(&format!(
                "{} is in configuration {configuration} of {index}",
                id.0
            ));
        } else if was.4 != committed {
            self.say(&format!(
                "{} knows {configuration} of {index} committed",
                id.0
            ));
        }
    }

    fn post(&mut self, from: MemberId, to: MemberId, message: Message) {
        if self.cut.contains(&from) || self.cut.contains(&to) {
            return;
        }
        self.network.push_back(Packet { from, to, message });
    }

    fn deliver(&mut self, from: Option<MemberId>, to: Option<MemberId>, most: u64) {
        for _ in 0..most {
            let Some(at) = self
                .network
                .iter()
                .position(|packet| is_of(packet, from, to))
            else {
                return;
            };
            let Packet { from, to, message } = self.network.remove(at).unwrap();
            let fate = if self.members.contains_key(&to) {
                ""
            } else {
                " (down)"
            };
            self.say(&format!("{} -> {}{fate}: {}", from.0, to.0, show(&message)));
            self.round(to, vec![Input::Receive { from, message }]);
        }
        assert!(most < 10_000, "the group never falls silent");
    }

    fn lose(&mut self, from: Option<MemberId>, to: Option<MemberId>) {
        while let Some(at) = self
            .network
            .iter()
            .position(|packet| is_of(packet, from, to))
        {
            let Packet { from, to, message } = self.network.remove(at).unwrap();
            self.say(&format!("{} -> {} lost: {}", from.0, to.0, show(&message)));
        }
    }

    fn repeat(&mut self, from: Option<MemberId>, to: Option<MemberId>) {
        let same = self.network.iter().filter(|packet| is_of(packet, from, to));
        let copies: Vec<Packet> = same
            .map(|packet| Packet {
                message: packet.message.clone(),
                ..*packet
            })
            .collect();
        self.network.extend(copies);
    }

    fn snapshot(&mut self, from: MemberId, to: MemberId) {
        let state = self.members[&from].disk.state.clone();
        let taken = self
            .members
            .get_mut(&to)
            .is_some_and(|member| member.install(&state));
        let (index, term) = (state.meta.index, state.meta.term);
        self.say(&format!(
            "{} {} {index}@{term}",
            to.0,
            if taken {
                "installs"
            } else {
                "does not install"
            }
        ));
        self.round(to, vec![]);
        let index = taken.then_some(index);
        self.round(from, vec![Input::SnapshotDone { to, index }]);
    }

    fn logs(&mut self) {
        for (id, member) in &self.members {
            let raft = &member.raft;
            let start = raft.log_start();
            let mut line = format!("{}: ", id.0);
            if start.index > 0 {
                write!(line, "[to {}@{}] ", start.index, start.term).unwrap();
            }
            for index in start.index + 1..=raft.last_index() {
                let bar = if index == raft.commit() { " |" } else { "" };
                write!(line, "{}{bar} ", raft.term_at(index).unwrap()).unwrap();
            }
            writeln!(self.trace, "  {}", line.trim_end()).unwrap();
        }
    }
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse()
        .unwrap_or_else(|_| panic!("not a number: {word}"))
}

fn member(word: &str) -> MemberId {
    MemberId(number(word))
}

fn anyone(word: &str) -> Option<MemberId> {
    (word != "*").then(|| member(word))
}

fn is_of(packet: &Packet, from: Option<MemberId>, to: Option<MemberId>) -> bool {
    from.is_none_or(|from| packet.from == from) && to.is_none_or(|to| packet.to == to)
}

fn view(raft: &Raft) -> (Role, Term, Option<MemberId>, Index, bool) {
    (
        raft.role(),
        raft.term(),
        raft.leader(),
        raft.configuration_index(),
        raft.configuration_committed(),
    )
}
