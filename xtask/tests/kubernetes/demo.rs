//! A RaftCluster on the cluster, as kubectl shows it, and the operator that works on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_world::{ClientOptions, Expect, Load, condition, signal};
use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, run, skipped, wait};
use crate::install::SYSTEM;
use crate::pods::{Member, pods, process};

/// A RaftCluster.
pub struct Demo {
    pub cluster: Cluster,
    pub name: &'static str,
}

impl Demo {
    pub fn resource(&self) -> Result<Value> {
        self.cluster.get(&["raftcluster", self.name])
    }

    /// Waits until it is as specified.
    pub fn wait_ready(&self) -> Result<()> {
        wait(&format!("{} is Ready", self.name), || {
            let resource = self.resource()?;
            let ready = condition(&resource, "Ready").context("no condition Ready yet")?;
            ensure!(ready.0 == "True", "{ready:?}");
            Ok(Some(()))
        })
    }

    /// Waits until the resource is Degraded for this reason, in words with these; answers in which.
    pub fn wait_degraded(&self, reason: &str, words: &str) -> Result<String> {
        let what = format!("{} is Degraded: {reason}, {words}", self.name);
        wait(&what, || {
            let resource = self.resource()?;
            let degraded = condition(&resource, "Degraded").context("no condition Degraded")?;
            let holds = (degraded.0, degraded.1) == ("True", reason) && degraded.2.contains(words);
            ensure!(holds, "{degraded:?}");
            Ok(Some(degraded.2.to_owned()))
        })
    }

    pub fn endpoints(&self) -> Result<Vec<String>> {
        let resource = self.resource()?;
        let urls = resource["status"]["endpoints"]["client"].as_array();
        let urls = urls.into_iter().flatten().filter_map(Value::as_str);
        Ok(urls.map(str::to_owned).collect())
    }

    /// Lets clients loose on it: three times as many as the members need, since those that went to a member that is cut
    /// off wait; and each seldom, since the cluster has the same two cores.
    pub fn load(&self) -> Result<Load> {
        let options = ClientOptions {
            clients: 24,
            rest: Duration::from_millis(20),
            ..ClientOptions::default()
        };
        Load::start(self.name, self.endpoints()?, options)
    }

    /// A window in which the clients follow the resource to where its members are: pods move. Answers the longest time
    /// without writes.
    pub fn window(
        &self,
        load: &Load,
        fault: &str,
        inject: impl FnOnce() -> Result<()>,
    ) -> Result<Duration> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Without an answer they go where they went before.
                    if let Ok(endpoints) = self.endpoints()
                        && !endpoints.is_empty()
                    {
                        load.set_endpoints(endpoints);
                    }
                    std::thread::sleep(Duration::from_millis(500));
                }
            });
            let without = load.window(fault, Expect::Service, inject);
            over.store(true, Ordering::Relaxed);
            without
        })
    }

    /// The pod that leads, once one is said to.
    pub fn leader(&self) -> Result<String> {
        wait("a leader is known", || {
            Ok(self.resource()?["status"]["leader"]
                .as_str()
                .map(str::to_owned))
        })
    }

    /// What its StatefulSet is called.
    pub fn set(&self) -> String {
        format!("{}-rcl", self.name)
    }

    /// The label of its objects.
    pub fn selector(&self) -> String {
        format!("app.kubernetes.io/instance={}", self.name)
    }

    /// By the pod's name.
    pub fn members(&self) -> Result<BTreeMap<String, Member>> {
        pods(&self.cluster, &self.selector())
    }

    /// The members' identities, by the pod's name.
    pub fn identities(&self) -> Result<BTreeMap<String, String>> {
        let resource = self.resource()?;
        let members = resource["status"]["members"].as_array();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let members = members.into_iter().flatten();
        Ok(members
            .map(|member| (text(&member["name"]), text(&member["incarnation"])))
            .collect())
    }

    pub fn scale(&self, members: u32) -> Result<()> {
        let replicas = format!("--replicas={members}");
        let scaled = ["scale", "raftcluster", self.name, &replicas];
        self.cluster.kubectl(&scaled).map(drop)
    }

    pub fn patch(&self, spec: &Value) -> Result<()> {
        let patch = serde_json::json!({ "spec": spec }).to_string();
        let patched = [
            "patch",
            "raftcluster",
            self.name,
            "--type=merge",
            "-p",
            &patch,
        ];
        self.cluster.kubectl(&patched).map(drop)
    }
}

/// The pod of the operator that leads.
pub fn lease_holder(cluster: &Cluster) -> Result<String> {
    let lease = cluster.within(SYSTEM).get(&["lease", "quorate-operator"])?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    ensure!(!holder.is_empty(), "nobody leads");
    Ok(holder.to_owned())
}

/// The operator that leads: its pod, and its process.
pub fn leading_operator(cluster: &Cluster) -> Result<(String, i32)> {
    wait("an operator leads", || {
        let holder = lease_holder(cluster)?;
        let found = process_of(&holder)?;
        Ok(found.map(|pid| (holder, pid)))
    })
}

/// The process of an operator's pod.
pub fn process_of(operator: &str) -> Result<Option<i32>> {
    let program = "/usr/local/bin/quorate-operator";
    process(program, &format!("QUORATE_IDENTITY={operator}"))
}

/// What an operator counts of itself.
pub fn metrics(cluster: &Cluster, operator: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/quorate-system/pods/{operator}:8080/proxy/metrics");
    cluster.kubectl(&["get", "--raw", &path, "--request-timeout=3s"])
}

/// Kills whichever operator leads, so many times, each while something is left to do. Its pod goes too: kubelet waits
/// longer each time before it starts the same container again, and another pod's at once.
pub fn kill_operators(demo: &Demo, times: usize) -> Result<()> {
    if skipped("the operator is killed") {
        return Ok(());
    }
    for _ in 0..times {
        wait("something is left to do", || {
            let resource = demo.resource()?;
            let ready = condition(&resource, "Ready");
            Ok(ready.is_none_or(|ready| ready.0 != "True").then_some(()))
        })?;
        // Last: a pod that is being deleted may have started the same operator again, and not for long.
        let (pod, pid) = leading_operator(&demo.cluster)?;
        signal(pid, Signal::KILL)?;
        wait_ended(pid)?;
        let gone = [
            "delete",
            "pod",
            &pod,
            "--wait=false",
            "--force",
            "--ignore-not-found",
        ];
        demo.cluster.within(SYSTEM).kubectl(&gone)?;
    }
    Ok(())
}

/// Waits until a process has ended.
pub fn wait_ended(pid: i32) -> Result<()> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    wait("the operator's process has ended", || {
        Ok((!folder.exists()).then_some(()))
    })
}

/// What curl says, which must succeed.
pub fn curl(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60"]).args(arguments);
    run(command)
}
