//! A node is drained as its administrator does it: budgets count who is ready, and leaders hand over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Child;

use anyhow::{Context, Result, ensure};
use quorate_world::signal;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::audit::evictions;
use crate::cluster::wait;
use crate::pods::{Member, process};
use crate::tenants::{Tenant, Tenants, dearest_node, in_windows};

/// What the API server answers while the budget is spent.
const TOO_MANY_REQUESTS: i64 = 429;
const CREATED: i64 = 201;

/// Only one of each tenant may be away: while another is not ready the pod on that node stays, and it goes when that one is
/// back.
pub fn a_drain_waits_for_the_member_that_lags(tenants: Tenants<'_>) -> Result<()> {
    let node = dearest_node(tenants)?;
    let cluster = tenants.first().context("a tenant")?.cluster();
    let folder = tempfile::tempdir()?;
    let drained = folder.path().join("drained");
    in_windows(tenants, "a node drained while others lag", &mut || {
        let mut lagging = Vec::new();
        for tenant in tenants {
            lagging.extend(Lagging::of(*tenant, &node)?);
        }
        let drain = [
            "drain",
            &node,
            "--force",
            "--delete-emptydir-data",
            "--timeout=60s",
        ];
        let mut drain = cluster.spawn(&drain, &drained)?;
        for it in &lagging {
            it.keeps_its_peer()?;
        }
        for it in &lagging {
            signal(it.pid, Signal::CONT)?;
        }
        let ended = wait("the node is drained", || Ok(drain.try_wait()?))?;
        let said = std::fs::read_to_string(&drained)?;
        ensure!(ended.success(), "{said}");
        ensure!(
            lagging.is_empty() || said.contains("disruption budget"),
            "{said}"
        );
        for it in &mut lagging {
            it.let_its_peer_go()?;
        }
        cluster.kubectl(&["uncordon", &node])?;
        for tenant in tenants {
            tenant.wait_ready()?;
        }
        for it in &lagging {
            it.sees_another_pod_on_the_same_volume()?;
        }
        Ok(())
    })?;
    Ok(())
}

/// A member that is stopped, and its peer on the node that is drained.
struct Lagging<'a> {
    tenant: &'a dyn Tenant,
    pid: i32,
    peer: Member,
    is_dearest: bool,
    identities: BTreeMap<String, String>,
    /// What the peer logs until its end.
    log: PathBuf,
    follow: Child,
    _folder: TempDir,
}

impl<'a> Lagging<'a> {
    /// None where no budget protects the tenant.
    fn of(tenant: &'a dyn Tenant, node: &str) -> Result<Option<Self>> {
        let Some(program) = tenant.program() else {
            return Ok(None);
        };
        let (dearest, pods) = (tenant.dearest()?, tenant.pods()?);
        let is_dearest = |pod: &&Member| dearest.as_ref() == Some(&pod.pod);
        let on_it = || pods.values().filter(|pod| pod.node == node);
        let peer = on_it().find(is_dearest).or_else(|| on_it().next());
        let peer = peer.context("a member on the node")?;
        let mut elsewhere = pods.values().filter(|pod| pod.node != node);
        let lagging = elsewhere.find(|pod| !is_dearest(pod));
        let lagging = &lagging.context("a member on another node")?.pod;
        let pid = process(program, &format!("QUORATE_NAME={lagging}"))?;
        let pid = pid.context("its process")?;
        // Nobody knows that of one that does not answer.
        let identities = tenant.identities()?;
        signal(pid, Signal::STOP)?;
        tenant.cluster().wait_pod(lagging, "False")?;
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let follow = ["logs", "--follow", &peer.pod];
        Ok(Some(Self {
            tenant,
            pid,
            is_dearest: is_dearest(&peer),
            peer: peer.clone(),
            identities,
            follow: tenant.cluster().spawn(&follow, &log)?,
            log,
            _folder: folder,
        }))
    }

    fn answers(&self) -> Result<Vec<i64>> {
        evictions(self.tenant.cluster(), &self.peer.pod)
    }

    fn keeps_its_peer(&self) -> Result<()> {
        wait("the eviction is refused, and again", || {
            let answers = self.answers()?;
            let refused = answers.iter().all(|code| *code == TOO_MANY_REQUESTS);
            ensure!(refused, "{answers:?}");
            Ok((answers.len() >= 2).then_some(()))
        })?;
        let now = self.tenant.pods()?;
        let stays = now.get(&self.peer.pod) == Some(&self.peer);
        ensure!(stays, "{:?} stays: {now:?}", self.peer);
        Ok(())
    }

    fn let_its_peer_go(&mut self) -> Result<()> {
        let answers = self.answers()?;
        ensure!(answers.last() == Some(&CREATED), "{answers:?}");
        self.follow.wait()?;
        let said = std::fs::read_to_string(&self.log)?;
        ensure!(
            !self.is_dearest || self.tenant.left_in_order(&said),
            "it did not leave in order: {said}"
        );
        Ok(())
    }

    fn sees_another_pod_on_the_same_volume(&self) -> Result<()> {
        let now = self.tenant.pods()?;
        let successor = now.get(&self.peer.pod).context("a successor")?;
        ensure!(successor.uid != self.peer.uid, "another pod");
        ensure!(
            self.tenant.identities()? == self.identities,
            "on the volume that it had"
        );
        Ok(())
    }
}
