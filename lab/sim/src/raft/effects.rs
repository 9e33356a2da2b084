//! Carrying out what members ask for: writes, messages, tasks, answers.

use bytes::Bytes;
use quorate_group_core::{
    Effect, Input, Lane, PeerBody, PeerMessage, Reply, Task, TaskResult, encode_message,
};
use quorate_raft::{Body, Contact, MemberId, Term, Ticket};

use super::GROUP;
use super::counters::Reached;
use super::queue::{Time, ms};
use super::world::{Asker, Event, Phase, World};

impl World {
    pub(super) fn carry_out(&mut self, slot: usize, effects: Vec<Effect>) {
        let life = self.slots[slot].life;
        for effect in effects {
            if !self.lives(slot, life) {
                return;
            }
            self.carry(slot, effect);
        }
    }

    fn carry(&mut self, slot: usize, effect: Effect) {
        let place = &mut self.slots[slot];
        let Some(process) = &mut place.process else {
            return;
        };
        match effect {
            Effect::Log { id, records } => {
                if let Some(raft) = process.groups.raft(GROUP) {
                    self.protocol.logged(raft, &records, &mut self.counters);
                }
                process.to_write.push((id, records));
                self.write(slot);
            }
            Effect::Send {
                to,
                contact,
                message,
                after,
            } => match after {
                Some(after) if process.durable < after => {
                    process.held.push((after, to, contact, message))
                }
                _ => self.send(slot, to, &contact, &message),
            },
            Effect::Task { task, .. } => self.enqueue(slot, task),
            Effect::Reply { ticket, reply } => self.replied(slot, ticket, reply),
            Effect::DropSegments { below } => {
                let Some(log) = &mut process.log else { return };
                let first = log.log().first_segment();
                let dropped = log.drop_below(below);
                if log.log().first_segment() > first {
                    self.counters.hit(Reached::SegmentDropped);
                }
                if dropped.is_err() {
                    self.disk_failed(slot);
                }
            }
            Effect::Changed => {}
        }
    }

    /// Hands everything that waits to the log, as the shell's writer thread does: one write, one sync.
    fn write(&mut self, slot: usize) {
        let now = self.now();
        let place = &mut self.slots[slot];
        let Some(process) = &mut place.process else {
            return;
        };
        if process.syncing || process.to_write.is_empty() {
            return;
        }
        let Some(log) = &mut process.log else {
            panic!("{} is damaged and wants to write", place.name)
        };
        for (id, records) in std::mem::take(&mut process.to_write) {
            place.mirror.append(&records);
            if log.append(id, &records).is_err() {
                return self.disk_failed(slot);
            }
        }
        process.syncing = true;
        let (life, slow) = (place.life, now < place.slow_until);
        let delay = self.sync_delay(slow);
        self.queue.after(delay, Event::Synced { slot, life });
    }

    fn sync_delay(&mut self, slow: bool) -> Time {
        if slow && self.rng.u8(..6) == 0 {
            self.counters.hit(Reached::StuckSync);
            return ms(self.rng.u64(150..600));
        }
        if slow {
            ms(self.rng.u64(5..60))
        } else {
            100 + self.rng.u64(..2500)
        }
    }

    pub(super) fn synced(&mut self, slot: usize, life: u64) {
        if !self.lives(slot, life) {
            return;
        }
        let place = &mut self.slots[slot];
        let Some(process) = &mut place.process else {
            return;
        };
        let Some(log) = &mut process.log else { return };
        process.syncing = false;
        let Ok(synced) = log.sync() else {
            self.counters.hit(Reached::FailedSync);
            return self.disk_failed(slot);
        };
        let entries = place.mirror.sync();
        if let Some(id) = place.identity {
            self.protocol.durable(id, &entries);
        }
        let Some(input) = synced else { return };
        if let Input::Written(durable) = &input {
            process.durable = durable.writes.last().map_or(process.durable, |(id, _)| *id);
        }
        let durable = process.durable;
        let (free, held) = std::mem::take(&mut process.held)
            .into_iter()
            .partition(|(after, ..)| *after <= durable);
        process.held = held;
        self.give(slot, input);
        for (_, to, contact, message) in free {
            self.send(slot, to, &contact, &message);
        }
        self.write(slot);
    }

    /// The log cannot be trusted to go on: the process ends, as the shell's does.
    fn disk_failed(&mut self, slot: usize) {
        self.kill(slot, false);
        self.slots[slot].disk.fail_syncs(0);
        self.slots[slot].sync_fails = false;
        let delay = ms(self.rng.u64(1..100));
        self.queue.after(delay, Event::Start { slot });
    }

    fn send(&mut self, slot: usize, to: MemberId, contact: &Contact, message: &PeerMessage) {
        let now = self.now();
        let place = &self.slots[slot];
        let (Some(from), Some(process)) = (place.identity, &place.process) else {
            return;
        };
        assert!(
            process.log.is_some() || !commits(message),
            "{} is damaged and says {message:?}",
            place.name
        );
        if let Some((term, candidate)) = vote_in(message, from, to) {
            assert!(
                place.mirror.has_voted(term, candidate),
                "durability: {} speaks of its vote for {candidate} in term {term}, which is not on its disk",
                place.name
            );
        }
        self.protocol.sent(from, to, message);
        let Some(target) = self
            .slots
            .iter()
            .position(|other| contact.address.starts_with(&format!("{}:", other.name)))
        else {
            panic!("{} sends to an unknown address {contact:?}", place.name)
        };
        let bytes: Bytes = encode_message(message);
        let own = place.contact();
        let life = place.life;
        let arrivals = self
            .network
            .arrivals(slot, target, now, &mut self.rng, &mut self.counters);
        let there = self.slots[target].process.is_some() && self.slots[target].identity == Some(to);
        if (!there || arrivals.is_empty()) && self.rng.u8(..8) == 0 {
            self.queue
                .after(ms(5), Event::Unreachable { slot, life, to });
        }
        for time in arrivals {
            let (contact, bytes) = (own.clone(), bytes.clone());
            self.queue.at(
                time,
                Event::Deliver {
                    from,
                    contact,
                    to,
                    slot: target,
                    bytes,
                },
            );
        }
    }

    fn enqueue(&mut self, slot: usize, task: Task) {
        let number = self.mark();
        let Some(process) = &mut self.slots[slot].process else {
            return;
        };
        if task.lane() == Lane::State {
            process.state_lane.push_back(task);
            return self.next_state_task(slot);
        }
        process.running.insert(number, task);
        self.run_later(slot, number);
    }

    fn next_state_task(&mut self, slot: usize) {
        let number = self.mark();
        let Some(process) = &mut self.slots[slot].process else {
            return;
        };
        if process.state_task.is_some() {
            return;
        }
        let Some(task) = process.state_lane.pop_front() else {
            return;
        };
        process.running.insert(number, task);
        process.state_task = Some(number);
        self.run_later(slot, number);
    }

    fn run_later(&mut self, slot: usize, task: u64) {
        let slow = self.now() < self.slots[slot].slow_until;
        let delay = self.rng.u64(50..if slow { ms(50) } else { 1500 });
        let life = self.slots[slot].life;
        self.queue.after(delay, Event::TaskDue { slot, life, task });
    }

    pub(super) fn task_due(&mut self, slot: usize, life: u64, number: u64) {
        if !self.lives(slot, life) {
            return;
        }
        let until = self.slots[slot].paused_until;
        if self.now() < until {
            return self.queue.at(
                until,
                Event::TaskDue {
                    slot,
                    life,
                    task: number,
                },
            );
        }
        let Some(process) = &mut self.slots[slot].process else {
            return;
        };
        let Some(task) = process.running.remove(&number) else {
            return;
        };
        let lane = task.lane();
        if self.interrupts(slot, &task) {
            let budget = self.rng.u64(..4);
            self.counters.hit(Reached::CrashInTask);
            self.slots[slot].run(task, &self.machine, Some(budget));
            self.note_applied();
            let power_loss = self.rng.bool();
            self.kill(slot, power_loss);
            self.slots[slot].disk.fail_after(None);
            let delay = ms(self.rng.u64(1..200));
            return self.queue.after(delay, Event::Start { slot });
        }
        let result = self.slots[slot].run(task, &self.machine, None);
        self.note_applied();
        self.note_result(slot, &result);
        self.give(
            slot,
            Input::Done {
                group: GROUP,
                result,
            },
        );
        if lane == Lane::State {
            if let Some(process) = &mut self.slots[slot].process {
                process.state_task = None;
            }
            self.next_state_task(slot);
        }
    }

    /// Whether the process dies in the middle of this task.
    fn interrupts(&mut self, slot: usize, task: &Task) -> bool {
        let often = if matches!(task, Task::Install { .. }) {
            4
        } else {
            400
        };
        let may =
            self.swarm.crashes && self.phase == Phase::Faults && self.slots[slot].process.is_some();
        may && self.rng.u64(..often) == 0
    }

    fn note_applied(&mut self) {
        for applied in self.machine.take() {
            self.order.apply(applied, self.protocol.committed());
        }
    }

    fn note_result(&mut self, slot: usize, result: &TaskResult) {
        match result {
            TaskResult::Applied { outcomes, .. } => self.order.outcomes(outcomes),
            TaskResult::SnapshotTaken(_) => self.counters.hit(Reached::SnapshotTaken),
            TaskResult::Installed { meta, .. } => {
                self.counters.hit(Reached::SnapshotInstalled);
                if let Some(id) = self.slots[slot].identity {
                    self.protocol.installed(id, meta.index);
                }
            }
            TaskResult::Fatal(why) => {
                assert!(self.slots[slot].damaged, "{}: {why}", self.slots[slot].name);
                self.counters.hit(Reached::Damaged);
            }
            _ => {}
        }
    }

    fn replied(&mut self, slot: usize, ticket: Ticket, reply: Reply) {
        let now = self.now();
        let Some(asked) = self.tickets.remove(&ticket) else {
            panic!("request {ticket} was answered twice, or was never made: {reply:?}")
        };
        let name = &self.slots[slot].name;
        self.trace.event(now, &[5, slot as u64, ticket], || {
            format!("{name} answers {:?} with {reply:?}", asked.asker)
        });
        match asked.asker {
            Asker::Client { client, op, since } => {
                self.client_hears(client, ticket, slot, &op, since, reply)
            }
            Asker::Admin => self.admin_hears(ticket, reply),
            Asker::Nemesis => self.nemesis_hears(reply),
        }
    }
}

/// The vote that a message rests on: a candidate's own, or the one that it gives.
fn vote_in(message: &PeerMessage, from: MemberId, to: MemberId) -> Option<(Term, MemberId)> {
    let PeerBody::Raft(message) = &message.body else {
        return None;
    };
    match message.body {
        Body::RequestVote { pre: false, .. } => Some((message.term, from)),
        Body::VoteReply {
            pre: false,
            granted: true,
        } => Some((message.term, to)),
        _ => None,
    }
}

/// What a member that cannot trust its disk must not say.
fn commits(message: &PeerMessage) -> bool {
    let PeerBody::Raft(message) = &message.body else {
        return false;
    };
    matches!(
        message.body,
        Body::VoteReply { granted: true, .. }
            | Body::AppendReply { result: Ok(_), .. }
            | Body::Append { .. }
            | Body::RequestVote { .. }
            | Body::ReadIndexReply { index: Some(_), .. }
    )
}
