//! The members of all clusters: which run, on which disk, and what each says.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use quorate_wire::{
    AddLearner, ConfigurationStatus, GroupRequest, MemberState, MemberStatus, STATUS_VERSION,
};

use super::group::{Group, Refused};

/// What a member is started as.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub address: String,
    /// The UID of its resource.
    pub cluster: String,
    /// The UID of its claim.
    pub disk: String,
    pub version: String,
}

impl Member {
    /// None before the pod and its claim have all that it takes.
    pub fn of(pod: &Pod, claim: &PersistentVolumeClaim) -> Option<Self> {
        let (name, namespace) = (&pod.metadata.name, pod.metadata.namespace.as_deref()?);
        let (name, spec) = (name.clone()?, pod.spec.as_ref()?);
        let service = spec.subdomain.as_deref()?;
        let label = "app.kubernetes.io/version";
        let version = pod.metadata.labels.as_ref()?.get(label);
        let owner = "quorate.dev/owner-uid";
        Some(Self {
            address: format!("{name}.{service}.{namespace}.svc.cluster.local:7071"),
            name,
            cluster: claim.metadata.labels.as_ref()?.get(owner)?.clone(),
            disk: claim.metadata.uid.clone()?,
            version: version.cloned().unwrap_or_default(),
        })
    }
}

#[derive(Clone, Debug)]
struct Disk {
    id: String,
    state: MemberState,
}

impl Disk {
    fn empty() -> Self {
        let id = format!("{:016x}", fastrand::u64(1..));
        let state = MemberState::Empty;
        Self { id, state }
    }
}

#[derive(Debug, Default)]
struct Cluster {
    /// By the claim's UID.
    disks: BTreeMap<String, Disk>,
    /// By name.
    running: BTreeMap<String, Member>,
    group: Option<Group>,
}

/// By the UID of their resource.
#[derive(Debug, Default)]
pub struct Members(BTreeMap<String, Cluster>);

impl Members {
    pub fn start(&mut self, member: &Member) {
        let cluster = self.0.entry(member.cluster.clone()).or_default();
        let disks = &mut cluster.disks;
        let disk = disks.entry(member.disk.clone()).or_insert_with(Disk::empty);
        // A removed member sets its data aside.
        if disk.state == MemberState::Removed {
            *disk = Disk::empty();
        }
        cluster.running.insert(member.name.clone(), member.clone());
        cluster.go_on();
    }

    pub fn stop(&mut self, member: &Member) {
        if let Some(cluster) = self.0.get_mut(&member.cluster) {
            cluster.running.remove(&member.name);
            cluster.go_on();
        }
    }

    pub fn is_ready(&self, member: &Member) -> bool {
        let cluster = self.0.get(&member.cluster);
        cluster.is_some_and(|cluster| cluster.is_ready(member))
    }

    pub fn status(&self, member: &Member) -> Option<MemberStatus> {
        let cluster = self.0.get(&member.cluster)?;
        let disk = cluster.disks.get(&member.disk)?;
        let group = cluster.group.as_ref();
        let group = group.filter(|_| disk.state == MemberState::Running);
        let groups = group.map(|group| group.status(&disk.id, |id| cluster.runs(id)));
        Some(MemberStatus {
            schema: STATUS_VERSION.into(),
            kind: "RaftCluster".into(),
            name: member.name.clone(),
            version: member.version.clone(),
            feature_level: 1,
            cluster: member.cluster.clone(),
            incarnation: disk.id.clone(),
            state: disk.state,
            reason: None,
            ready: cluster.is_ready(member),
            insecure: true,
            can_set_aside: false,
            problems: Vec::new(),
            restart_blockers: Vec::new(),
            groups: groups.into_iter().collect(),
            summary: Vec::new(),
            own: None,
        })
    }

    pub fn ask(
        &mut self,
        member: &Member,
        request: &GroupRequest,
    ) -> Result<ConfigurationStatus, Refused> {
        let gone = (503, "this member has gone");
        let cluster = self.0.get_mut(&member.cluster).ok_or(gone)?;
        let id = cluster.disks.get(&member.disk).ok_or(gone)?.id.clone();
        match (&mut cluster.group, request) {
            (None, GroupRequest::Bootstrap(bootstrap)) if bootstrap.incarnation == id => {
                let first = AddLearner {
                    configuration_index: 0,
                    id: id.clone(),
                    name: member.name.clone(),
                    address: member.address.clone(),
                };
                cluster.group = Some(Group::of_one(bootstrap.group, &first));
            }
            (Some(group), request) => group.ask(&id, request)?,
            (None, _) => return Err((409, "another disk, or no group")),
        }
        cluster.go_on();
        let group = cluster.group.as_ref().ok_or(gone)?;
        Ok(group.configuration(&id, |id| cluster.runs(id)))
    }
}

impl Cluster {
    fn runs(&self, id: &str) -> bool {
        let mut running = self.running.values();
        running.any(|member| {
            self.disks
                .get(&member.disk)
                .is_some_and(|disk| disk.id == id)
        })
    }

    fn is_ready(&self, member: &Member) -> bool {
        let (disk, group) = (self.disks.get(&member.disk), self.group.as_ref());
        disk.zip(group).is_some_and(|(disk, group)| {
            disk.state == MemberState::Running && group.counts(&disk.id)
        })
    }

    /// What follows from a change: who leads, and what the leader tells those that run.
    fn go_on(&mut self) {
        let Some(mut group) = self.group.take() else {
            return;
        };
        group.elect(|id| self.runs(id));
        for member in self.running.values() {
            let Some(disk) = self.disks.get_mut(&member.disk) else {
                continue;
            };
            match (group.has(&disk.id), disk.state) {
                (true, MemberState::Empty) => disk.state = MemberState::Running,
                (false, MemberState::Running) => disk.state = MemberState::Removed,
                _ => {}
            }
        }
        self.group = Some(group);
    }
}
