//! What lives on the cluster while it loses its nodes. Each fault is injected once, and all tenants bear it together.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, cluster as controlled, run, wait};
use crate::drain::a_drain_waits_for_the_member_that_lags;
use crate::install::Tier;
use crate::pods::Member;
use crate::together::stage;

/// What happens while clients are watched.
pub type Inject<'a> = &'a mut dyn FnMut() -> Result<()>;

/// One resource of a kind, with its clients on it.
pub trait Tenant: Sync {
    /// kubectl in its namespace.
    fn cluster(&self) -> &Cluster;

    /// By name.
    fn pods(&self) -> Result<BTreeMap<String, Member>>;

    /// What each pod is on its disk, by the pod's name: it comes back as the same.
    fn identities(&self) -> Result<BTreeMap<String, String>>;

    /// The pod that it would miss most; none where all are alike.
    fn dearest(&self) -> Result<Option<String>>;

    fn wait_ready(&self) -> Result<()>;

    /// What its clients see from the fault until they are served again, which is told and bounded. Answers the longest time
    /// without writes.
    fn window(&self, fault: &str, inject: Inject<'_>) -> Result<Duration>;

    /// What its containers run, where a budget protects them.
    fn program(&self) -> Option<&'static str>;

    /// Whether its dearest pod left in order, by what it logged until its end.
    fn left_in_order(&self, log: &str) -> bool;

    /// The faults that are its own.
    fn suffer(&self, tier: Tier) -> Result<()>;

    /// Judges what its clients saw, and deletes it.
    fn end(self: Box<Self>) -> Result<()>;
}

/// Those that are worked on, all with the same node.
pub type Tenants<'a> = &'a [&'a dyn Tenant];

pub fn nodes_are_cut_off_killed_and_drained(tenants: Tenants<'_>) -> Result<()> {
    stage("a node is cut off", || {
        a_node_is_cut_off_and_healed(tenants)
    })?;
    stage("a node is killed", || {
        a_node_is_killed_and_restored(tenants).map(drop)
    })?;
    stage("a node is drained", || {
        a_drain_waits_for_the_member_that_lags(tenants)
    })
}

/// A cable pulled: the containers run on.
fn a_node_is_cut_off_and_healed(tenants: Tenants<'_>) -> Result<()> {
    let gone = Gone {
        fault: "a node cut off and healed",
        harm: "cut",
        shows: "CUT off",
        mend: "heal",
        keeps_containers: true,
    };
    gone.happens(tenants).map(drop)
}

/// A power cut: other containers, in the same pods. Answers the longest time without writes.
pub fn a_node_is_killed_and_restored(tenants: Tenants<'_>) -> Result<Duration> {
    let gone = Gone {
        fault: "a node killed and restored",
        harm: "kill",
        shows: "kubelet is DEAD",
        mend: "restore",
        keeps_containers: false,
    };
    gone.happens(tenants)
}

/// A fault of all tenants at once: in the window of each.
pub fn in_windows(tenants: Tenants<'_>, fault: &str, inject: Inject<'_>) -> Result<Duration> {
    let Some((first, rest)) = tenants.split_first() else {
        return inject().map(|()| Duration::ZERO);
    };
    let mut of_rest = Duration::ZERO;
    let without = first.window(fault, &mut || {
        of_rest = in_windows(rest, fault, inject)?;
        Ok(())
    })?;
    Ok(without.max(of_rest))
}

/// The node that most would miss most.
pub fn dearest_node(tenants: Tenants<'_>) -> Result<String> {
    let mut votes = BTreeMap::<String, usize>::new();
    for tenant in tenants {
        if let Some(pod) = tenant.dearest()? {
            let pods = tenant.pods()?;
            let node = &pods.get(&pod).context("a pod that is dear")?.node;
            *votes.entry(node.clone()).or_default() += 1;
        }
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    Ok(most.context("all nodes are alike")?.0)
}

/// A node that goes, and comes back as it was.
struct Gone {
    fault: &'static str,
    harm: &'static str,
    /// What `cluster status` says meanwhile.
    shows: &'static str,
    mend: &'static str,
    keeps_containers: bool,
}

impl Gone {
    fn happens(&self, tenants: Tenants<'_>) -> Result<Duration> {
        let node = dearest_node(tenants)?;
        let before: Result<Vec<_>> = tenants.iter().map(|tenant| tenant.pods()).collect();
        let before = before?;
        let cluster = tenants.first().context("a tenant")?.cluster();
        let without = in_windows(tenants, self.fault, &mut || {
            run(controlled(&[self.harm, &node]))?;
            let status = run(controlled(&["status"]))?;
            ensure!(status.contains(self.shows), "{status}");
            cluster.wait_node(&node, "Unknown")?;
            run(controlled(&[self.mend, &node]))?;
            cluster.wait_node(&node, "True")
        })?;
        for (tenant, before) in tenants.iter().zip(&before) {
            tenant.wait_ready()?;
            wait("containers are those that they should be", || {
                let now = tenant.pods()?;
                ensure!(
                    self.is_as_it_should_be(&node, before, &now),
                    "{before:?} {now:?}"
                );
                Ok(Some(()))
            })?;
        }
        Ok(without)
    }

    /// Another container on this node alone, and none where it ran on.
    fn is_as_it_should_be(
        &self,
        node: &str,
        before: &BTreeMap<String, Member>,
        now: &BTreeMap<String, Member>,
    ) -> bool {
        let is_same = |(old, new): (&Member, &Member)| {
            let runs_on = self.keeps_containers || new.node != node;
            new.uid == old.uid && (new.container == old.container) == runs_on
        };
        before.keys().eq(now.keys()) && before.values().zip(now.values()).all(is_same)
    }
}
