//! `quorate up` itself killed; two of them side by side.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::cluster::{Cluster, DEADLINE, KIND, Spec};

#[test]
fn members_outlive_a_killed_up_and_are_adopted() -> Result<()> {
    let mut cluster = Cluster::start("adopted", &Spec::default(), &[])?;
    let before = cluster.members()?;
    cluster.window("quorate up killed and started again", |cluster| {
        cluster.up.stop(Signal::KILL, DEADLINE)?;
        let refused = cluster.up.get(KIND, &cluster.name).unwrap_err().to_string();
        ensure!(
            refused.contains("supervis"),
            "without an up it must say that nothing supervises: {refused}"
        );
        std::thread::sleep(Duration::from_secs(3));
        cluster.up.start_again()?;
        cluster.wait_ready(DEADLINE)
    })?;
    ensure!(
        cluster.members()? == before,
        "{before:?} {:?}",
        cluster.members()?
    );
    cluster.finish()
}
