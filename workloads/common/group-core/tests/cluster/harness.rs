//! Members over simulated disks, one clock and a simple network, all in one thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_group_core::*;
use quorate_raft::{Change, Contact, Index, MemberId, Role, WriteId};
use quorate_store::{Disk, MapStore, MemFs, StateError, StateStore};
use quorate_wire::MemberState;

pub const GROUP: GroupId = 1;
pub const CLUSTER: &str = "cluster";
const STEP: Duration = Duration::from_millis(5);

/// Adds numbers: `add KEY N` answers the new sum; `fill KEY N` sets a value of N bytes.
pub struct Adder;

impl StateMachine for Adder {
    fn apply(
        &self,
        txn: &mut Txn<'_, '_>,
        _index: u64,
        command: Bytes,
    ) -> Result<Bytes, StateError> {
        let text = String::from_utf8_lossy(&command).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let [verb, key, number] = words[..] else {
            return Ok(Bytes::from_static(b"malformed"));
        };
        if verb == "fill" {
            txn.put(key.as_bytes(), vec![7; number.parse().unwrap()].into());
            return Ok(Bytes::new());
        }
        let old = txn.get(key.as_bytes())?.map_or(0, |value| sum(&value));
        let new = Bytes::from((old + number.parse::<u64>().unwrap()).to_string());
        txn.put(key.as_bytes(), new.clone());
        Ok(new)
    }
}

pub fn sum(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

pub struct Member {
    pub name: String,
    pub disk: MemFs,
    pub store: MapStore,
    pub running: Option<Running>,
    pub identity: Identity,
    /// How far its clock is ahead of the others'.
    pub ahead: Duration,
    lives: u64,
}

pub struct Running {
    pub groups: Groups,
    pub log: Option<LogWriter>,
    appended: WriteId,
    durable: WriteId,
    held: Vec<(WriteId, MemberId, PeerMessage)>,
    pub tasks: VecDeque<(GroupId, Task)>,
    /// Rounds that wrote, and tasks done.
    pub logs: u64,
    pub done: Vec<TaskKind>,
    pub dropped: Vec<u64>,
}

pub struct Net {
    pub members: BTreeMap<String, Member>,
    pub now: Duration,
    queue: VecDeque<(MemberId, MemberId, Bytes)>,
    pub replies: BTreeMap<u64, Reply>,
    pub cut: BTreeSet<String>,
    /// Every message comes twice.
    pub duplicate: bool,
    /// The share of messages lost, in percent.
    pub lose: u32,
    pub rng: fastrand::Rng,
    next: u64,
    pub configure: fn(&mut Config),
}

impl Net {
    pub fn new(seed: u64, configure: fn(&mut Config)) -> Self {
        Self {
            members: BTreeMap::new(),
            now: Duration::ZERO,
            queue: VecDeque::new(),
            replies: BTreeMap::new(),
            cut: BTreeSet::new(),
            duplicate: false,
            lose: 0,
            rng: fastrand::Rng::with_seed(seed),
            next: 0,
            configure,
        }
    }

    /// A group of one, and as many more voters.
    pub fn group_of(size: usize, configure: fn(&mut Config)) -> Self {
        let mut net = Self::new(1, configure);
        net.add("a");
        net.bootstrap("a");
        for name in ["b", "c", "d", "e"].into_iter().take(size - 1) {
            net.add(name);
            net.join(name);
        }
        net
    }

    pub fn add(&mut self, name: &str) -> MemberId {
        let (disk, store) = (MemFs::default(), MapStore::default());
        let identity = Identity {
            id: MemberId(0),
            cluster: CLUSTER.into(),
            fresh: true,
            begun: false,
            set_aside: None,
            damage: None,
        };
        let member = Member {
            name: name.into(),
            disk,
            store,
            running: None,
            identity,
            ahead: Duration::ZERO,
            lives: 0,
        };
        self.members.insert(name.into(), member);
        self.start(name)
    }

    pub fn start(&mut self, name: &str) -> MemberId {
        let drawn = MemberId(self.rng.u64(1..));
        let (now, configure) = (self.clock(name), self.configure);
        let member = self.members.get_mut(name).unwrap();
        member.lives += 1;
        let disk: Disk = Arc::new(member.disk.clone());
        member.identity = open_identity(&disk, CLUSTER, name, drawn, &[]).unwrap();
        if member.identity.fresh {
            member.store = MapStore::default();
        }
        let mut config = Config::new(member.contact(), member.lives ^ drawn.0);
        config.segment_bytes = 16 << 10;
        configure(&mut config);
        let Recovered { groups, log, .. } =
            recover(config, &member.identity, &disk, &member.store, now).unwrap();
        member.running = Some(Running {
            groups,
            log,
            appended: 0,
            durable: 0,
            held: Vec::new(),
            tasks: VecDeque::new(),
            logs: 0,
            done: Vec::new(),
            dropped: Vec::new(),
        });
        self.id(name)
    }

    /// What a member's own clock shows.
    fn clock(&self, name: &str) -> Duration {
        self.now + self.members[name].ahead
    }

    /// Power loss.
    pub fn crash(&mut self, name: &str) {
        let member = self.members.get_mut(name).unwrap();
        member.running = None;
        member.disk.crash(&mut self.rng);
        member.store.crash(&mut self.rng);
    }

    pub fn restart(&mut self, name: &str) -> MemberId {
        self.crash(name);
        self.start(name)
    }

    pub fn id(&self, name: &str) -> MemberId {
        self.members[name].identity.id
    }

    pub fn groups(&self, name: &str) -> &Groups {
        &self.members[name].running.as_ref().unwrap().groups
    }

    pub fn state(&self, name: &str) -> MemberState {
        self.groups(name).state()
    }

    pub fn running(&mut self, name: &str) -> &mut Running {
        self.members
            .get_mut(name)
            .unwrap()
            .running
            .as_mut()
            .unwrap()
    }

    pub fn leader(&self) -> Option<String> {
        let leads = |member: &&Member| {
            let running = member.running.as_ref();
            let raft = running.and_then(|running| running.groups.raft(GROUP));
            raft.is_some_and(|raft| raft.role() == Role::Leader && raft.is_ready())
                && !self.cut.contains(&member.name)
        };
        self.members
            .values()
            .filter(leads)
            .max_by_key(|member| self.groups(&member.name).raft(GROUP).unwrap().term())
            .map(|member| member.name.clone())
    }

    pub fn wait_leader(&mut self) -> String {
        self.until("a leader", |net| net.leader().is_some());
        self.leader().unwrap()
    }

    /// Asks and does not wait.
    pub fn ask(&mut self, name: &str, request: Request) -> u64 {
        self.next += 1;
        let ticket = self.next;
        self.step(
            name,
            Input::Request {
                ticket,
                group: GROUP,
                request,
            },
        );
        ticket
    }

    /// Asks and waits for the answer.
    pub fn call(&mut self, name: &str, request: Request) -> Reply {
        let ticket = self.ask(name, request);
        self.until("an answer", |net| net.replies.contains_key(&ticket));
        self.replies[&ticket].clone()
    }

    pub fn write(&mut self, name: &str, session: Option<(u64, u64)>, command: &str) -> Reply {
        let command = Bytes::copy_from_slice(command.as_bytes());
        self.call(name, Request::Write(Write { session, command }))
    }

    /// A write that must be applied; what the machine answered.
    pub fn answer(&mut self, name: &str, session: Option<(u64, u64)>, command: &str) -> String {
        match self.write(name, session, command) {
            Reply::Outcome {
                outcome: Outcome::Answer(answer),
                ..
            } => String::from_utf8_lossy(&answer).into_owned(),
            other => panic!("{command} on {name}: {other:?}"),
        }
    }

    /// A linearizable read of a key.
    pub fn read(&mut self, name: &str, key: &str) -> u64 {
        assert_eq!(self.call(name, Request::Read), Reply::Ready);
        self.value(name, key)
    }

    pub fn value(&self, name: &str, key: &str) -> u64 {
        let view = read_state(&self.members[name].store, GROUP)
            .unwrap()
            .unwrap();
        let key = [&machine_prefix(GROUP)[..], key.as_bytes()].concat();
        view.get(&key).unwrap().map_or(0, |value| sum(&value))
    }

    pub fn bootstrap(&mut self, name: &str) {
        let incarnation = self.id(name);
        assert_eq!(
            self.call(name, Request::Bootstrap { incarnation }),
            Reply::Done
        );
        self.wait_leader();
    }

    pub fn change(&mut self, change: Change) -> Reply {
        let leader = self.wait_leader();
        self.until("a settled configuration", |net| {
            net.groups(&leader)
                .raft(GROUP)
                .is_some_and(|raft| raft.configuration_committed() && !raft.is_joint())
        });
        let expected = self
            .groups(&leader)
            .raft(GROUP)
            .unwrap()
            .configuration_index();
        self.call(&leader, Request::Change { expected, change })
    }

    pub fn add_learner(&mut self, name: &str) {
        let (id, contact) = (self.id(name), self.members[name].contact());
        assert_eq!(self.change(Change::AddLearner(id, contact)), Reply::Done);
    }

    pub fn join(&mut self, name: &str) {
        self.add_learner(name);
        self.caught_up(name);
        let promote = [self.id(name)].into();
        assert_eq!(
            self.change(Change::Reconfigure {
                promote,
                remove: [].into()
            }),
            Reply::Done
        );
    }

    pub fn remove(&mut self, id: MemberId) {
        let change = Change::Reconfigure {
            promote: [].into(),
            remove: [id].into(),
        };
        assert!(matches!(self.change(change), Reply::Done | Reply::Unknown));
    }

    pub fn applied(&self, name: &str) -> Index {
        self.groups(name)
            .raft(GROUP)
            .map_or(0, |raft| raft.applied())
    }

    pub fn caught_up(&mut self, name: &str) {
        let leader = self.wait_leader();
        let id = self.id(name);
        self.until("a member to catch up", |net| {
            let leader = net.groups(&leader).raft(GROUP).unwrap();
            let known = leader
                .progress()
                .into_iter()
                .find(|progress| progress.id == id);
            known.is_some_and(|known| known.matched == leader.last_index())
        });
    }

    pub fn cut(&mut self, name: &str) {
        self.cut.insert(name.into());
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    #[track_caller]
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let limit = self.now + Duration::from_secs(120);
        while !done(self) {
            assert!(self.now < limit, "waited in vain for {what}");
            self.advance();
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.advance();
        }
    }

    /// One step of time: messages, syncs, tasks, ticks.
    pub fn advance(&mut self) {
        self.now += STEP;
        for (to, from, bytes) in std::mem::take(&mut self.queue) {
            self.deliver(to, from, bytes);
        }
        let names: Vec<String> = self.members.keys().cloned().collect();
        for name in names {
            if self.members[&name].running.is_none() {
                continue;
            }
            self.sync(&name);
            for _ in 0..8 {
                self.run_task(&name);
            }
            if self
                .groups(&name)
                .deadline()
                .is_some_and(|deadline| deadline <= self.clock(&name))
            {
                self.step(&name, Input::Tick);
            }
        }
    }

    /// Runs the oldest task, if there is one.
    pub fn run_task(&mut self, name: &str) {
        let member = self.members.get_mut(name).unwrap();
        let running = member.running.as_mut().unwrap();
        let Some((group, task)) = running.tasks.pop_front() else {
            return;
        };
        running.done.push(task.kind());
        let disk: Disk = Arc::new(member.disk.clone());
        let context = Context {
            disk: &disk,
            store: &member.store,
            machine: &Adder,
            group,
        };
        let result = run(task, &context);
        self.step(name, Input::Done { group, result });
    }

    pub fn step(&mut self, name: &str, input: Input) {
        let now = self.clock(name);
        let mut effects = Vec::new();
        self.running(name).groups.step(input, now, &mut effects);
        self.carry_out(name, effects);
        self.flush(name);
    }

    fn flush(&mut self, name: &str) {
        let (now, mut effects) = (self.clock(name), Vec::new());
        self.running(name).groups.flush(now, &mut effects);
        let logs = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Log { .. }))
            .count();
        assert!(logs <= 1, "one write per round");
        self.carry_out(name, effects);
    }

    fn carry_out(&mut self, name: &str, effects: Vec<Effect>) {
        for effect in effects {
            let from = self.id(name);
            let running = self.running(name);
            match effect {
                Effect::Log { id, records } => {
                    assert_eq!(id, running.appended + 1, "writes are numbered in order");
                    running.appended = id;
                    running.logs += 1;
                    running
                        .log
                        .as_mut()
                        .expect("a damaged member writes nothing")
                        .append(id, &records)
                        .unwrap();
                }
                Effect::Send {
                    to, message, after, ..
                } => match after.filter(|after| *after > running.durable) {
                    Some(after) => running.held.push((after, to, message)),
                    None => self.send(from, to, &message),
                },
                Effect::Task { group, task } => running.tasks.push_back((group, task)),
                Effect::Reply { ticket, reply } => {
                    assert!(
                        self.replies.insert(ticket, reply).is_none(),
                        "answered twice: {ticket}"
                    );
                }
                Effect::DropSegments { below } => {
                    running.dropped.push(below);
                    running.log.as_mut().unwrap().drop_below(below).unwrap();
                }
                Effect::Changed => {}
            }
        }
    }

    fn sync(&mut self, name: &str) {
        let running = self.running(name);
        let Some(log) = &mut running.log else { return };
        let Some(input) = log.sync().unwrap() else {
            return;
        };
        running.durable = running.appended;
        let durable = running.durable;
        let (ready, held) = std::mem::take(&mut running.held)
            .into_iter()
            .partition(|(after, ..)| *after <= durable);
        running.held = held;
        let from = self.id(name);
        for (_, to, message) in Vec::into_iter(ready) {
            self.send(from, to, &message);
        }
        self.step(name, input);
    }

    fn send(&mut self, from: MemberId, to: MemberId, message: &PeerMessage) {
        if self.rng.u32(..100) < self.lose {
            return;
        }
        let bytes = encode_message(message);
        if self.duplicate {
            self.queue.push_back((to, from, bytes.clone()));
        }
        self.queue.push_back((to, from, bytes));
    }

    /// A copy of everything under way, for [`Net::deliver_late`].
    pub fn copies(&self) -> Vec<(MemberId, MemberId, Bytes)> {
        self.queue.iter().cloned().collect()
    }

    /// Copies come that the network has kept back.
    pub fn deliver_late(&mut self, copies: Vec<(MemberId, MemberId, Bytes)>) {
        for (to, from, bytes) in copies {
            self.deliver(to, from, bytes);
        }
    }

    fn deliver(&mut self, to: MemberId, from: MemberId, bytes: Bytes) {
        let find = |id| {
            self.members
                .values()
                .find(|member| member.identity.id == id)
        };
        let (Some(sender), Some(receiver)) = (find(from), find(to)) else {
            return;
        };
        let cut = self.cut.contains(&sender.name) || self.cut.contains(&receiver.name);
        if cut || receiver.running.is_none() {
            return;
        }
        let (contact, name) = (sender.contact(), receiver.name.clone());
        let message = decode_message(bytes).unwrap();
        self.step(
            &name,
            Input::Peer {
                from,
                contact,
                message,
            },
        );
    }
}

impl Member {
    pub fn contact(&self) -> Contact {
        Contact {
            name: self.name.clone(),
            address: format!("{}:7071", self.name),
        }
    }
}

/// Everything a group has in a store.
pub fn dump(store: &impl StateStore) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    store
        .scan(&[0; 9], &[0xff; 9], &mut |key, value| {
            pairs.insert(key.to_vec(), value.to_vec());
            true
        })
        .unwrap();
    pairs
}
