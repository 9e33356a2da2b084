//! Certificates from a Secret: members trust one another, clients verify, a renewal needs no restart.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use quorate_world::{Up, certificates, condition};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{DEADLINE, KIND, quorate, turn};

/// A Secret with a new certificate.
fn secret() -> Result<Value> {
    certificates("certificates", "secure-rcl")
}

struct Secured {
    up: Up,
    folder: TempDir,
}

impl Secured {
    fn apply(&self, document: &Value) -> Result<()> {
        let file = self.folder.path().join("applied.yaml");
        std::fs::write(&file, document.to_string())?;
        let file = file.to_str().context("a path in UTF-8")?;
        self.up.run(&["apply", "-f", file])?;
        Ok(())
    }

    fn resource(&self) -> Result<Value> {
        self.up.get(KIND, "secure")
    }

    /// What `up` tells people to try, run as it is; answers what the last curl printed.
    fn try_what_is_told(&self) -> Result<String> {
        let said = std::fs::read_to_string(self.up.log())?;
        let told = said
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("curl ") || line.starts_with("quorate get secret "));
        let script: Vec<&str> = told.collect();
        ensure!(script.len() == 3, "{said}");
        let bin = quorate();
        let path = format!(
            "{}:{}",
            bin.parent().context("a folder")?.display(),
            std::env::var("PATH")?
        );
        let output = Command::new("sh")
            .args(["-c", &format!("set -e; {}", script.join("\n"))])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("QUORATE_STATE_DIR", self.folder.path().join("state"))
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The certificate that a member shows.
    fn shown(&self, address: &str) -> Result<String> {
        let output = Command::new("curl")
            .args(["-sS", "-k", "-w", "%{certs}", "-o", "/dev/null", address])
            .output()?;
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[test]
fn a_group_with_certificates_serves_and_renews_them() -> Result<()> {
    let _turn = turn();
    let folder = tempfile::tempdir()?;
    let resource = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster",
        "metadata": { "name": "secure", "namespace": "default" },
        "spec": { "members": 3, "tls": { "secretName": "certificates" } },
    });
    let file = folder.path().join("resources.yaml");
    std::fs::write(&file, format!("{}\n---\n{resource}\n", secret()?))?;
    let file = file.to_str().context("a path in UTF-8")?;
    let up = Up::start(&quorate(), &folder.path().join("state"), &["-f", file])?;
    let secured = Secured { up, folder };
    secured.up.wait_ready(KIND, "secure", DEADLINE)?;
    ensure!(secured.resource()?["status"]["insecure"] == false);
    let told = || secured.try_what_is_told();
    secured.up.wait("what is told works", DEADLINE, || {
        ensure!(told()? == "hello", "{:?}", told()?);
        Ok(true)
    })?;
    let before = secured.up.members()?;

    let endpoint = secured.up.endpoints(KIND, "secure")?.remove(0);
    let old = secured.shown(&endpoint)?;
    ensure!(old.contains("BEGIN CERTIFICATE"), "{old}");
    secured.apply(&secret()?)?;
    secured
        .up
        .wait("the renewed certificate is shown", DEADLINE, || {
            let new = secured.shown(&endpoint)?;
            Ok(new.contains("BEGIN CERTIFICATE") && new != old)
        })?;
    ensure!(told()? == "hello");

    // One that is none: the members go on with what they have, and the resource says so.
    let mut useless = secret()?;
    useless["stringData"]["tls.crt"] = json!("none");
    secured.apply(&useless)?;
    secured.up.wait("the resource says so", DEADLINE, || {
        let resource = secured.resource()?;
        let degraded = condition(&resource, "Degraded").context("a condition")?;
        ensure!(
            (degraded.0, degraded.1) == ("True", "BadCertificates")
                && degraded.2.contains("tls.crt"),
            "{degraded:?}"
        );
        Ok(true)
    })?;
    ensure!(told()? == "hello");
    secured.apply(&secret()?)?;
    secured.up.wait("all is well again", DEADLINE, || {
        let resource = secured.resource()?;
        Ok(condition(&resource, "Degraded").is_some_and(|degraded| degraded.0 == "False"))
    })?;
    ensure!(secured.up.members()? == before, "no member was restarted");
    Ok(())
}
