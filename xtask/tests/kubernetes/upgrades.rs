//! Other images than the one that runs: another build, three that are broken, and one that does not exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use anyhow::{Result, ensure};
use quorate_world::Load;
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::{self, Cluster};
use crate::demo::{Demo, kill_operators};
use crate::install::Tier;

const NEXT: &str = "quorate.local/quorate:next";

/// What is upgraded to and comes to nothing.
struct Bad {
    image: &'static str,
    /// What the image tells its build to do wrong; none where there is no image.
    fault: Option<&'static str>,
    version: Option<&'static str>,
    /// In the words of the status.
    why: &'static str,
}

/// The first two are found at once, the others after as long as a new pod may take.
const BAD: [Bad; 4] = [
    Bad {
        image: "quorate.local/missing:1",
        fault: None,
        version: None,
        why: "ImagePull",
    },
    Bad {
        image: "quorate.local/crashes:1",
        fault: Some("crashes"),
        version: Some("0.3.0"),
        why: "CrashLoopBackOff",
    },
    Bad {
        image: "quorate.local/never-ready:1",
        fault: Some("never-ready"),
        version: Some("0.3.0"),
        why: "never gets ready",
    },
    Bad {
        image: "quorate.local/cannot-join:1",
        fault: Some("cannot-join"),
        version: Some("0.3.0"),
        why: "no leader among its peers",
    },
];

/// Every pod that there was since it began, told by a watch: a look in the end would miss one that came and went.
struct Watch {
    child: Child,
    seen: PathBuf,
    _folder: TempDir,
}

impl Watch {
    fn start(demo: &Demo) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let seen = folder.path().join("seen");
        let selector = demo.selector();
        let line = "jsonpath={.metadata.uid} {.spec.containers[0].image}{\"\\n\"}";
        let watch = ["get", "pods", "-l", &selector, "--watch", "-o", line];
        Ok(Self {
            child: demo.cluster.spawn(&watch, &seen)?,
            seen,
            _folder: folder,
        })
    }

    /// The UIDs of the pods that had this image.
    fn of_image(&self, image: &str) -> Result<BTreeSet<String>> {
        let seen = std::fs::read_to_string(&self.seen)?;
        let pods = seen.lines().filter_map(|line| line.split_once(' '));
        let found = pods.filter(|(_, its)| *its == image);
        Ok(found.map(|(uid, _)| uid.to_owned()).collect())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has ended by itself when this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On a resource of its own, so that others can be worked on meanwhile.
pub fn images_are_replaced(cluster: &Cluster, tier: Tier) -> Result<()> {
    load_image(NEXT, "next", None)?;
    let retention = json!({ "whenScaled": "Delete", "whenDeleted": "Delete" });
    cluster.apply(&json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": "rolled" },
        "spec": { "members": 3, "storage": { "retention": retention } },
    }))?;
    let rolled = Demo {
        cluster: cluster.clone(),
        name: "rolled",
    };
    rolled.wait_ready()?;
    let load = rolled.load()?;
    it_is_upgraded_while_operators_are_killed(&rolled, &load, tier)?;
    bad_images_stop_at_one(&rolled, &load, tier)?;
    load.finish(&rolled.endpoints()?)?;
    cluster
        .kubectl(&["delete", "raftcluster", rolled.name])
        .map(drop)
}

fn it_is_upgraded_while_operators_are_killed(demo: &Demo, load: &Load, tier: Tier) -> Result<()> {
    let begun = Instant::now();
    demo.window(load, "upgraded, operators killed", || {
        demo.patch(&json!({ "image": NEXT, "version": "0.2.0" }))?;
        kill_operators(demo, tier.kills())?;
        demo.wait_ready()?;
        println!("upgraded in {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    })?;
    ensure!(demo.resource()?["status"]["currentVersion"] == "0.2.0");
    Ok(())
}

fn bad_images_stop_at_one(demo: &Demo, load: &Load, tier: Tier) -> Result<()> {
    let bad = match tier {
        Tier::Fast => &BAD[..2],
        Tier::Soak => &BAD,
    };
    bad.iter()
        .try_for_each(|bad| a_bad_image_stops_at_one(demo, load, bad, tier))
}

/// It stops at one member, which comes back when the image is taken back.
fn a_bad_image_stops_at_one(demo: &Demo, load: &Load, bad: &Bad, tier: Tier) -> Result<()> {
    if let Some(fault) = bad.fault {
        load_image(bad.image, "broken", Some(fault))?;
    }
    let fault = format!("{} and back", bad.image);
    let watch = Watch::start(demo)?;
    demo.window(load, &fault, || {
        demo.patch(&json!({ "image": bad.image, "version": bad.version }))?;
        if bad.fault == Some("crashes") {
            kill_operators(demo, tier.kills())?;
        }
        println!("{}", demo.wait_degraded("UpgradeStopped", bad.why)?);
        let table = demo.cluster.kubectl(&["get", "raftcluster", demo.name])?;
        ensure!(table.contains("UpgradeStopped"), "{table}");
        let told = "--field-selector=reason=UpgradeStopped";
        let events = demo.cluster.kubectl(&["get", "events", told])?;
        ensure!(events.contains("the upgrade stopped at"), "{events}");
        ensure!(watch.of_image(bad.image)?.len() == 1);
        demo.patch(&json!({ "image": NEXT, "version": "0.2.0" }))?;
        demo.wait_ready()
    })?;
    let good = watch.of_image(NEXT)?;
    for member in demo.members()?.values() {
        ensure!(good.contains(&member.uid), "not seen: {member:?}");
    }
    let ran = watch.of_image(bad.image)?;
    ensure!(ran.len() == 1, "{ran:?} had {}", bad.image);
    Ok(())
}

/// An image with another build of the member.
fn load_image(name: &str, variant: &str, fault: Option<&str>) -> Result<()> {
    let variants = Path::new(env!("CARGO_BIN_EXE_quorate-xtask")).with_file_name("variants");
    let binary = variants.join(variant).join("quorate-raft-cluster");
    let binary = format!("quorate-raft-cluster={}", binary.display());
    let fault = fault.map(|fault| format!("--env=BROKEN_BUILD={fault}"));
    let mut arguments = vec!["--tag", name, "--bin", &binary];
    arguments.extend(fault.as_deref());
    cluster::load_image(&arguments)
}
