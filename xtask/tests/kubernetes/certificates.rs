//! Members that trust one another, the operator and the clients by a Secret, which is replaced while they serve.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use quorate_world::{Authority, ClientOptions, Load, Trust};
use serde_json::{Value, json};

use crate::cluster::{Cluster, run, wait};
use crate::demo::Demo;

const SECRET: &str = "certificates";

/// Old and new authority are both trusted while certificates change hands; then the old one is no more.
pub fn an_authority_is_replaced_under_load(cluster: &Cluster) -> Result<()> {
    // Where the lab's Secret belongs.
    let cluster = &cluster.within("default");
    let folder = tempfile::tempdir()?;
    let [old, new] = ["old", "new"].map(Authority::new);
    let (old, new) = (old?, new?);
    let of =
        |signer: &Authority, trusted: &[&Authority]| signer.secret(SECRET, "secure-rcl", trusted);
    cluster.apply(&of(&old, &[&old])?)?;
    let resource = json!({
        "apiVersion": "quorate.dev/v1alpha1", "kind": "RaftCluster", "metadata": { "name": "secure" },
        "spec": {
            "members": 3, "tls": { "secretName": SECRET },
            "storage": { "retention": { "whenScaled": "Delete", "whenDeleted": "Delete" } },
        },
    });
    cluster.apply(&resource)?;
    let secure = Demo {
        cluster: cluster.clone(),
        name: "secure",
    };
    secure.wait_ready()?;
    ensure!(secure.resource()?["status"]["insecure"] == false);

    let authorities = folder.path().join("ca.crt");
    std::fs::write(&authorities, old.pem() + &new.pem())?;
    let trust = Trust {
        authorities,
        name: "secure-rcl-client.default.svc".into(),
    };
    let options = ClientOptions {
        trust: Some(trust),
        ..ClientOptions::default()
    };
    let load = Load::start("secure", secure.endpoints()?, options)?;
    let before = secure.members()?;
    secure.window(&load, "certificates and their authority replaced", || {
        for secret in [
            of(&old, &[&old, &new])?,
            of(&new, &[&old, &new])?,
            of(&new, &[&new])?,
        ] {
            every_member_shows_what_is_new(&secure, &secret)?;
        }
        Ok(())
    })?;
    ensure!(secure.members()? == before, "no container was restarted");
    load.finish(&secure.endpoints()?)?;
    it_takes_its_claims_along(&secure)?;
    cluster.kubectl(&["delete", "secret", SECRET]).map(drop)
}

/// Replaces the Secret, and waits until its certificate is on every listener for clients.
fn every_member_shows_what_is_new(secure: &Demo, secret: &Value) -> Result<()> {
    let certificate = secret["stringData"]["tls.crt"].as_str();
    let certificate = certificate.context("a certificate")?.trim();
    secure.cluster.apply(secret)?;
    wait("every member shows the new certificate", || {
        for endpoint in secure.endpoints()? {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-k", "-w", "%{certs}", "-o", "/dev/null", &endpoint]);
            if !run(curl)?.contains(certificate) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Its policy deletes claims.
fn it_takes_its_claims_along(secure: &Demo) -> Result<()> {
    secure.scale(1)?;
    secure.wait_ready()?;
    let claims = ["pvc", "-l", "app.kubernetes.io/instance=secure"];
    let kept = |left: usize| {
        wait(&format!("{left} claims are left"), || {
            let claims = secure.cluster.get(&claims)?;
            Ok((claims["items"].as_array().map(Vec::len) == Some(left)).then_some(()))
        })
    };
    kept(1)?;
    secure
        .cluster
        .kubectl(&["delete", "raftcluster", "secure"])?;
    kept(0)
}
