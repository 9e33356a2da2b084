//! Members that live in the test's process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::Registry;
use quorate_group::{Disks, GroupsStatus, Handle, Options, Running, start};
use quorate_group_core::{
    Config, GroupId, Outcome, Refused, Reply, Request, StateMachine, Txn, Write, machine_prefix,
    open_identity, read_state,
};
use quorate_node::resolve::Resolver;
use quorate_raft::{Change, Contact, MemberId};
use quorate_store::{Disk, MapStore, RealFs, StateError, StateStore};
use quorate_wire::GroupStatus;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::disk::{CountingFs, Gauges};

/// Long enough for a machine that does eight other things.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const GROUP: GroupId = 1;

/// `KEY=VALUE` puts; the answer is what the value was before.
struct Map;

impl StateMachine for Map {
    fn apply(
        &self,
        txn: &mut Txn<'_, '_>,
        _index: u64,
        command: Bytes,
    ) -> Result<Bytes, StateError> {
        let Some(at) = command.iter().position(|byte| *byte == b'=') else {
            return Ok(Bytes::from_static(b"?"));
        };
        let (key, value) = (&command[..at], &command[at + 1..]);
        let before = txn.get(key)?.unwrap_or_default();
        txn.put(key, Bytes::copy_from_slice(value));
        Ok(before)
    }
}

pub struct Cluster {
    pub name: String,
    pub dir: TempDir,
    pub members: Vec<Member>,
    tune: fn(&mut Options),
}

/// A member's disk and address; `live` while it runs.
pub struct Member {
    pub at: SocketAddr,
    pub contact: Contact,
    /// Whom its disk says that it belongs to.
    pub owner: String,
    pub dir: PathBuf,
    pub store: MapStore,
    pub live: Option<Live>,
}

pub struct Live {
    pub id: MemberId,
    pub handle: Handle,
    pub running: Running,
    pub registry: Registry,
    pub gauges: Arc<Gauges>,
}

impl Cluster {
    /// So many members with empty disks, running.
    pub async fn start(size: usize, tune: fn(&mut Options)) -> Self {
        static NET: AtomicU8 = AtomicU8::new(1);
        let net = NET.fetch_add(1, Ordering::Relaxed);
        let (process_high, process_low) =
            ((std::process::id() >> 8) as u8, std::process::id() as u8);
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            name: format!("uid-{net}"),
            dir,
            members: Vec::new(),
            tune,
        };
        for ordinal in 0..size {
            let ip = Ipv4Addr::new(
                127,
                process_high | 1,
                process_low,
                net * 16 + ordinal as u8 + 1,
            );
            cluster.add(format!("m-{ordinal}"), ip).await;
        }
        cluster
    }

    /// A further member with an empty disk, running. Its name leads to its address by the hosts file.
    async fn add(&mut self, name: String, ip: Ipv4Addr) {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        drop(listener);
        let host = format!("{name}.peers.test");
        let mut hosts = std::fs::read_to_string(self.hosts()).unwrap_or_default();
        hosts.push_str(&format!("{ip} {host}\n"));
        std::fs::write(self.hosts(), hosts).unwrap();
        let dir = self.dir.path().join(&name);
        let contact = Contact {
            name,
            address: format!("{host}:{}", at.port()),
        };
        self.members.push(Member {
            at,
            owner: contact.name.clone(),
            contact,
            dir,
            store: MapStore::default(),
            live: None,
        });
        self.revive(self.members.len() - 1).await;
    }

    fn hosts(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }

    /// Starts a member on the disk that it has.
    pub async fn revive(&mut self, ordinal: usize) {
        let (cluster, tune, hosts) = (self.name.clone(), self.tune, self.hosts());
        self.members[ordinal].start(cluster, tune, hosts).await;
    }

    /// Stops a member without handing anything over.
    pub async fn stop(&mut self, ordinal: usize) {
        let mut live = self.members[ordinal].live.take().unwrap();
        live.handle.shutdown(Duration::ZERO).await;
        live.running.wait().await.unwrap();
    }

    pub fn live(&self, ordinal: usize) -> &Live {
        self.members[ordinal].live.as_ref().unwrap()
    }

    pub fn handle(&self, ordinal: usize) -> &Handle {
        &self.live(ordinal).handle
    }

    pub fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.members.len()).filter(|ordinal| self.members[*ordinal].live.is_some())
    }

    /// Makes a group of the first member and adds all others, as voters.
    pub async fn form(&self, group: GroupId) {
        let first = self.live(0);
        let reply = first
            .handle
            .request(
                group,
                Request::Bootstrap {
                    incarnation: first.id,
                },
            )
            .await;
        assert_eq!(reply, Reply::Done);
        for ordinal in 1..self.members.len() {
            self.join(group, 0, ordinal).await;
        }
    }

    /// Adds a member as a learner and promotes it.
    pub async fn join(&self, group: GroupId, leader: usize, ordinal: usize) {
        let id = self.live(ordinal).id;
        let contact = self.members[ordinal].contact.clone();
        self.change(group, leader, Change::AddLearner(id, contact))
            .await;
        self.change(
            group,
            leader,
            Change::Reconfigure {
                promote: [id].into(),
                remove: [].into(),
            },
        )
        .await;
    }

    /// Asks for a change until the leader takes it.
    pub async fn change(&self, group: GroupId, leader: usize, change: Change) {
        let handle = self.handle(leader);
        let until = Instant::now() + PATIENCE;
        loop {
            let expected = self
                .group(leader, group)
                .map_or(0, |status| status.configuration.index);
            let reply = handle
                .request(
                    group,
                    Request::Change {
                        expected,
                        change: change.clone(),
                    },
                )
                .await;
            if reply == Reply::Done {
                return;
            }
            assert!(Instant::now() < until, "{change:?}: {reply:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn status(&self, ordinal: usize) -> Arc<GroupsStatus> {
        self.handle(ordinal).status().borrow().clone()
    }

    pub fn group(&self, ordinal: usize, group: GroupId) -> Option<GroupStatus> {
        self.status(ordinal).group(group).cloned()
    }

    /// The ordinal of the member that leads and that all living ones follow.
    pub async fn leader(&self, group: GroupId) -> usize {
        eventually("a leader that all follow", || {
            let leaders: Vec<_> = self
                .alive()
                .map(|ordinal| self.group(ordinal, group).and_then(|status| status.leader))
                .collect();
            let leader = leaders.first()?.clone()?;
            let ordinal = self
                .alive()
                .find(|ordinal| self.live(*ordinal).id.to_string() == leader)?;
            let leads = self.group(ordinal, group)?.role == quorate_wire::Role::Leader;
            (leads && leaders.iter().all(|other| other.as_ref() == Some(&leader)))
                .then_some(ordinal)
        })
        .await
    }
}

impl Member {
    async fn start(&mut self, cluster: String, tune: fn(&mut Options), hosts: PathBuf) {
        let (fs, gauges) = CountingFs::new(RealFs::open(&self.dir).unwrap());
        let disk: Disk = Arc::new(fs);
        let drawn = MemberId(fastrand::u64(1..));
        let identity = open_identity(&disk, &cluster, &self.owner, drawn, &[]).unwrap();
        if identity.fresh {
            self.store = MapStore::default();
        }
        let config = Config {
            election_timeout: Duration::from_millis(600),
            heartbeat_interval: Duration::from_millis(60),
            ..Config::new(self.contact.clone(), fastrand::u64(..))
        };
        let mut options = Options::new(cluster, config, self.at.ip());
        options.resolver = Arc::new(Resolver::new(Some(hosts)));
        tune(&mut options);
        let store: Arc<dyn StateStore> = Arc::new(self.store.clone());
        let id = identity.id;
        let listener = TcpListener::bind(self.at).await.unwrap();
        let registry = Registry::new();
        let disks = Disks {
            disk,
            identity,
            store,
        };
        let (handle, running) = start(options, disks, Arc::new(Map), listener, &registry)
            .await
            .unwrap();
        self.live = Some(Live {
            id,
            handle,
            running,
            registry,
            gauges,
        });
    }
}

impl Live {
    /// A counter or gauge, all labels together.
    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == format!("quorate_group_{name}"));
        let value = |metric: &prometheus::proto::Metric| {
            metric.get_counter().get_value()
                + metric.get_gauge().get_value()
                + metric.get_histogram().get_sample_count() as f64
        };
        family.map_or(0.0, |family| family.get_metric().iter().map(value).sum())
    }

    pub async fn try_put(&self, group: GroupId, key: &str, value: &str) -> Reply {
        let command = Bytes::from(format!("{key}={value}"));
        self.handle
            .request(
                group,
                Request::Write(Write {
                    session: None,
                    command,
                }),
            )
            .await
    }

    /// Puts until it is acknowledged; puts may be repeated.
    pub async fn put(&self, group: GroupId, key: &str, value: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_put(group, key, value).await {
                Reply::Outcome {
                    outcome: Outcome::Answer(_),
                    ..
                } => return,
                Reply::Refused(Refused::NoLeader { .. } | Refused::Busy(_)) | Reply::Unknown => {}
                other => panic!("{other:?}"),
            }
            assert!(Instant::now() < until, "{key} was not acknowledged in time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A linearizable read from this member's own state.
    pub async fn get(&self, group: GroupId, key: &str) -> Option<String> {
        let until = Instant::now() + PATIENCE;
        while self.handle.request(group, Request::Read).await != Reply::Ready {
            assert!(Instant::now() < until, "{key} could not be read in time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let state = read_state(&**self.handle.store(), group).unwrap().unwrap();
        let key = [&machine_prefix(group)[..], key.as_bytes()].concat();
        state
            .get(&key)
            .unwrap()
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
    }
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
