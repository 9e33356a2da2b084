//! Who breaks things, as far as the swarm allows and the group must survive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_group_core::{Input, Reply, Request};
use quorate_raft::MemberId;
use quorate_store::FileSystem;

use super::counters::Reached;
use super::process::Slot;
use super::queue::{Time, ms};
use super::swarm::MAX_MEMBERS;
use super::world::{Asker, Event, Phase, World};

/// What the nemesis remembers.
#[derive(Debug, Default)]
pub(super) struct Nemesis {
    /// The identity whose disk was damaged or lost and that was not replaced yet: one at a time.
    pub lost: Option<MemberId>,
    read_only: BTreeSet<usize>,
    /// When clocks jumped.
    jumps: Vec<Time>,
}

impl Nemesis {
    /// How many clocks have jumped since then.
    pub fn jumps_since(&self, time: Time) -> u64 {
        self.jumps.iter().filter(|jump| **jump >= time).count() as u64
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        if self.phase != Phase::Faults {
            return;
        }
        let pause = self.rng.u64(..2 * self.swarm.fault_every);
        self.queue.after(pause, Event::Fault);
        let slot = if self.rng.u8(..3) == 0 {
            self.leader().unwrap_or(0)
        } else {
            self.rng.usize(..MAX_MEMBERS)
        };
        match self.rng.u8(..14) {
            0 | 1 if self.swarm.crashes => self.crash(slot),
            2 if self.swarm.outages => self.outage(),
            3 | 4 if self.swarm.partitions => self.partition(),
            5 if self.swarm.one_way => self.cut_one_way(slot),
            6 if self.swarm.pauses => self.pause(slot),
            7 if self.swarm.slow_disks => {
                self.slots[slot].slow_until = self.now() + ms(self.rng.u64(50..800))
            }
            8 if self.swarm.failing_syncs => self.fail_next_sync(slot),
            9 if self.swarm.damage => self.damage(slot),
            10 if self.swarm.membership => self.change_wanted(),
            11 if self.swarm.transfers => self.transfer(slot),
            12 if self.swarm.skew => self.jump_clock(slot),
            13 => self.minor(slot),
            _ => {}
        }
    }

    fn crash(&mut self, slot: usize) {
        // Half of the time somebody with a write under way, so that there is something to tear.
        let writes = |place: &Slot| {
            place
                .process
                .as_ref()
                .is_some_and(|process| process.syncing)
        };
        let busy = self
            .slots
            .iter()
            .position(writes)
            .filter(|_| self.rng.bool());
        let slot = busy.unwrap_or(slot);
        let power_loss = self.swarm.power_losses && self.rng.bool();
        self.kill(slot, power_loss);
        let pause = ms(self.rng.u64(..600));
        self.queue.after(pause, Event::Start { slot });
    }

    fn outage(&mut self) {
        self.counters.hit(Reached::AllDown);
        for slot in 0..self.slots.len() {
            self.kill(slot, self.swarm.power_losses);
            let pause = ms(self.rng.u64(..100));
            self.queue.after(pause, Event::Start { slot });
        }
    }

    fn partition(&mut self) {
        self.counters.hit(Reached::Partition);
        let mut side: BTreeSet<usize> = (0..MAX_MEMBERS).filter(|_| self.rng.bool()).collect();
        if self.rng.bool()
            && let Some(leader) = self.leader()
        {
            // The case that matters most: a leader with a minority, or alone.
            side.retain(|_| self.rng.u8(..3) == 0);
            side.insert(leader);
        }
        self.network.split(&side, true);
        if self.swarm.membership && self.swarm.impatient && self.rng.bool() {
            // Somebody mends what would have mended itself: changes that reach a part of the group.
            self.change_wanted();
        }
        self.mend_later();
    }

    fn cut_one_way(&mut self, slot: usize) {
        self.counters.hit(Reached::OneWay);
        match self.rng.u8(..3) {
            0 => self.network.split(&BTreeSet::from([slot]), false),
            1 => self.network.split(
                &(0..MAX_MEMBERS).filter(|other| *other != slot).collect(),
                false,
            ),
            _ => {
                for _ in 0..self.rng.usize(1..6) {
                    let (from, to) = (self.rng.usize(..MAX_MEMBERS), self.rng.usize(..MAX_MEMBERS));
                    self.network.cut_link(from, to);
                }
            }
        }
        self.mend_later();
    }

    fn mend_later(&mut self) {
        let pause = ms(self.rng.u64(20..700));
        self.queue.after(pause, Event::Mend);
    }

    fn pause(&mut self, slot: usize) {
        self.counters.hit(Reached::Paused);
        self.slots[slot].paused_until = self.now() + ms(self.rng.u64(20..700));
    }

    /// As after a pause of a whole machine that its clock makes up for.
    fn jump_clock(&mut self, slot: usize) {
        let now = self.now();
        let by = 1 << self.rng.u32(..22);
        if self.slots[slot].jump(Duration::from_millis(by)) {
            self.counters.hit(Reached::ClockJumped);
            self.nemesis.jumps.push(now);
            self.poke(slot, now);
        }
    }

    fn fail_next_sync(&mut self, slot: usize) {
        self.slots[slot].sync_fails = true;
        self.slots[slot].disk.fail_syncs(1);
    }

    fn transfer(&mut self, slot: usize) {
        if self.slots[slot].process.is_none() {
            return;
        }
        let to = self.slots[self.rng.usize(..MAX_MEMBERS)]
            .identity
            .filter(|_| self.rng.bool());
        self.ask(slot, Asker::Nemesis, Request::Transfer { to });
    }

    fn minor(&mut self, slot: usize) {
        if self.slots[slot].process.is_none() {
            return;
        }
        if self.swarm.full_disks && self.rng.bool() {
            let full = self.nemesis.read_only.insert(slot) || !self.nemesis.read_only.remove(&slot);
            return self.give(slot, Input::ReadOnly(full));
        }
        self.ask(slot, Asker::Nemesis, Request::Snapshot);
    }

    pub(super) fn nemesis_hears(&mut self, reply: Reply) {
        match reply {
            Reply::Transferred(true) => self.counters.hit(Reached::Transferred),
            Reply::Transferred(false) | Reply::Refused(_) => {
                self.counters.hit(Reached::TransferFailed)
            }
            Reply::Done | Reply::Unknown => {}
            reply => panic!("{reply:?} is no answer to a transfer or a snapshot"),
        }
    }

    /// A group of 2f+1 survives the loss of one disk while all others are well; the next must wait until the lost
    /// member has been replaced.
    fn damage(&mut self, slot: usize) {
        if !self.may_lose(slot) {
            return;
        }
        let Some(id) = self.slots[slot].identity else {
            return;
        };
        let proven = self.slots[slot]
            .process
            .as_ref()
            .and_then(|process| Some(process.log.as_ref()?.log().proven()));
        self.kill(slot, self.swarm.power_losses);
        self.queue.after(ms(10), Event::Start { slot });
        if self.rng.u8(..3) == 0 {
            self.nemesis.lost = Some(id);
            self.counters.hit(Reached::DiskLost);
            if self.rng.bool() {
                return self.slots[slot].wipe();
            }
            let forgotten = self.slots[slot].forget();
            assert!(forgotten.is_ok(), "{forgotten:?}");
            return;
        }
        let Some(proven) = proven else { return };
        if self.rng.u8(..4) == 0 {
            self.nemesis.lost = Some(id);
            self.slots[slot].damaged = true;
            return self.slots[slot].store.damage();
        }
        let disk = self.slots[slot].disk.clone();
        let mut files = Vec::new();
        list(&disk, Path::new(""), &mut files);
        let Some(file) = (!files.is_empty()).then(|| files[self.rng.usize(..files.len())].clone())
        else {
            return;
        };
        let Ok(len) = disk.durable_len(&file) else {
            return;
        };
        // Beyond this a flipped bit cannot be told from a torn write: no code could survive it.
        let last = file.extension().is_some_and(|extension| extension == "log")
            && file
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok())
                == Some(proven.segment);
        let end = if last { proven.offset } else { len };
        if end > 0 && disk.flip(&file, self.rng.u64(..end), self.rng.u8(..8)) {
            self.nemesis.lost = Some(id);
            self.slots[slot].damaged = true;
        }
    }

    /// Whether the group survives it if this member's disk is lost now.
    fn may_lose(&self, slot: usize) -> bool {
        let Some(raft) = self.leader().and_then(|leader| self.raft(leader)) else {
            return false;
        };
        let configuration = raft.configuration();
        let settled =
            raft.is_ready() && raft.configuration_committed() && !configuration.is_joint();
        let well = configuration.voters == self.wanted_ids() && configuration.voters.len() >= 3;
        // Whoever is not a member has nothing to lose; whoever follows an older configuration might decide by it.
        let agreed = (0..self.slots.len())
            .filter_map(|slot| self.raft(slot))
            .all(|other| {
                !configuration.is_voter(other.id())
                    || other.configuration_index() == raft.configuration_index()
            });
        let all_up = self.slots.iter().all(|place| place.process.is_some());
        let member = self.slots[slot]
            .identity
            .is_some_and(|id| configuration.is_voter(id));
        self.nemesis.lost.is_none() && settled && well && agreed && all_up && member
    }

    /// Faults end: whatever was broken for a time works again.
    pub(super) fn mend_all(&mut self) {
        self.network.heal();
        for slot in 0..self.slots.len() {
            let place = &mut self.slots[slot];
            place.slow_until = 0;
            place.paused_until = 0;
            place.sync_fails = false;
            place.disk.fail_syncs(0);
            place.disk.fail_after(None);
            self.queue.after(ms(1), Event::Start { slot });
            self.give(slot, Input::ReadOnly(false));
        }
        self.nemesis.read_only.clear();
    }
}

/// All files below a folder.
fn list(disk: &dyn FileSystem, folder: &Path, files: &mut Vec<PathBuf>) {
    for name in disk.list(folder).unwrap_or_default() {
        let path = folder.join(name);
        match disk.open(&path) {
            Ok(_) => files.push(path),
            Err(_) => list(disk, &path, files),
        }
    }
}
