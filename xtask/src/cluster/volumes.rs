//! The volume provisioner: a folder per claim of its class, which moves with its pod as network storage does, and
//! grows when the claim does. It is to `Provisioner` what the external provisioner and resizer are to a driver.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

/// The class that stands for it, the default one.
pub const CLASS: &str = "quorate";
const PROVISIONER: &str = "quorate.dev/folder";

/// What runs in the background: told by two watches, it acts by kubectl.
#[derive(Debug, clap::Args)]
pub struct Provision {
    kubectl: PathBuf,
    /// The cluster's state folder.
    state: PathBuf,
}

/// What a claim or a volume calls for.
#[derive(Debug, PartialEq)]
enum Act {
    /// A volume for a new claim.
    Make,
    /// Room of this size.
    Grow(String),
    /// Nobody's any more.
    Remove,
}

impl Provision {
    /// Runs until it is killed.
    pub fn run(&self) -> Result<()> {
        let (changed, changes) = mpsc::channel();
        for kind in ["persistentvolumeclaims", "persistentvolumes"] {
            let changed = changed.clone();
            let kubectl = self.kubectl();
            std::thread::spawn(move || watch(kubectl, kind, &changed));
        }
        for object in changes {
            let name = &object["metadata"]["name"];
            match decide(&object).map(|act| self.act(&object, &act)) {
                Some(Ok(())) => eprintln!("{name}: done"),
                // Its next change, or the watch's next start, tries again.
                Some(Err(error)) => eprintln!("{name}: {error:#}"),
                None => {}
            }
        }
        Ok(())
    }

    fn act(&self, object: &Value, act: &Act) -> Result<()> {
        match act {
            Act::Make => {
                let volume = volume(object, &self.state.join("volumes"));
                let folder = volume["spec"]["hostPath"]["path"]
                    .as_str()
                    .context("a path")?;
                std::fs::create_dir_all(folder)?;
                // Members are not root, and fsGroup does not apply to a host's folder.
                std::fs::set_permissions(folder, PermissionsExt::from_mode(0o777))?;
                // It may be there: a claim is seen Pending until its volume is bound.
                self.kubectl_with(&["apply", "--server-side", "-f", "-"], &volume)
            }
            Act::Grow(size) => {
                let volume = object["spec"]["volumeName"].as_str().context("a volume")?;
                let patch = json!({"spec": {"capacity": {"storage": size}}});
                self.patch(&["pv", volume], &patch)?;
                let name = object["metadata"]["name"].as_str().context("a name")?;
                let namespace = object["metadata"]["namespace"]
                    .as_str()
                    .context("a namespace")?;
                let patch = json!({"status": {"capacity": {"storage": size}}});
                self.patch(
                    &["pvc", name, "-n", namespace, "--subresource=status"],
                    &patch,
                )
            }
            Act::Remove => {
                let name = object["metadata"]["name"].as_str().context("a name")?;
                self.kubectl_with(&["delete", "--wait=false", "pv", name], &Value::Null)?;
                std::fs::remove_dir_all(self.state.join("volumes").join(name))?;
                Ok(())
            }
        }
    }

    fn patch(&self, what: &[&str], patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let arguments = [&["patch"], what, &["--type=merge", "-p", &patch]].concat();
        self.kubectl_with(&arguments, &Value::Null)
    }

    fn kubectl_with(&self, arguments: &[&str], input: &Value) -> Result<()> {
        let mut kubectl = self.kubectl();
        kubectl
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = kubectl.spawn().context("cannot run kubectl")?;
        let mut stdin = child.stdin.take().context("its input")?;
        stdin.write_all(input.to_string().as_bytes())?;
        drop(stdin);
        ensure!(child.wait()?.success(), "kubectl {arguments:?} failed");
        Ok(())
    }

    fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl
            .arg("--kubeconfig")
            .arg(self.state.join("provisioner.kubeconfig"));
        kubectl
    }
}

/// Sends what there is of a kind, and then what changes, over and over.
fn watch(mut kubectl: Command, kind: &str, changed: &mpsc::Sender<Value>) {
    kubectl
        .args(["get", kind, "-A", "--watch", "-o", "json"])
        .stdout(Stdio::piped());
    loop {
        match kubectl.spawn() {
            Ok(mut child) => {
                if let Some(out) = child.stdout.take() {
                    let mut objects = serde_json::Deserializer::from_reader(out);
                    while let Ok(object) = Value::deserialize(&mut objects) {
                        if changed.send(object).is_err() {
                            return;
                        }
                    }
                }
                // It ends when the API server goes away; both are tried again.
                let _ = child.wait();
            }
            Err(error) => eprintln!("cannot run kubectl: {error}"),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn decide(object: &Value) -> Option<Act> {
    let (spec, status) = (&object["spec"], &object["status"]);
    if spec["storageClassName"] != CLASS {
        return None;
    }
    if object["kind"] == "PersistentVolume" {
        let free = status["phase"] == "Released"
            && spec["persistentVolumeReclaimPolicy"] == "Delete"
            && object["metadata"]["deletionTimestamp"].is_null();
        return free.then_some(Act::Remove);
    }
    let asked = &spec["resources"]["requests"]["storage"];
    match status["phase"].as_str()? {
        "Pending" if spec["volumeName"].is_null() => Some(Act::Make),
        // The API server refuses less than there is, and writes both in one way.
        "Bound" if *asked != status["capacity"]["storage"] => {
            Some(Act::Grow(asked.as_str()?.into()))
        }
        _ => None,
    }
}

fn volume(claim: &Value, volumes: &Path) -> Value {
    let metadata = &claim["metadata"];
    let name = format!("pvc-{}", metadata["uid"].as_str().unwrap_or_default());
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "hostPath": {"path": volumes.join(&name), "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
        },
    })
}

/// The objects without which it and CoreDNS could do nothing.
pub fn objects() -> Value {
    let role = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let binding = |name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        })
    };
    let (dns, provisioner) = ("quorate:coredns", "quorate:provisioner");
    json!({"apiVersion": "v1", "kind": "List", "items": [
        role(dns, json!([
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ])),
        binding(dns),
        role(provisioner, json!([
            {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims/status"], "verbs": ["get", "patch"]},
        ])),
        binding(provisioner),
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": PROVISIONER,
            "allowVolumeExpansion": true,
        },
    ]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(phase: &str, asked: &str, has: Option<&str>) -> Value {
        let volume = has.map(|_| "pvc-1");
        json!({
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "n", "uid": "1"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": CLASS,
                "volumeName": volume,
                "resources": {"requests": {"storage": asked}},
            },
            "status": {"phase": phase, "capacity": {"storage": has}},
        })
    }

    #[test]
    fn a_claim_gets_a_volume_that_is_its_own() {
        let claim = claim("Pending", "1Gi", None);
        assert_eq!(decide(&claim), Some(Act::Make));
        let volume = volume(&claim, Path::new("/v"));
        assert_eq!(volume["spec"]["claimRef"]["uid"], "1");
        assert_eq!(volume["spec"]["hostPath"]["path"], "/v/pvc-1");
    }

    #[test]
    fn a_bound_claim_is_left_alone_until_it_asks_for_more() {
        assert_eq!(decide(&claim("Bound", "1Gi", Some("1Gi"))), None);
        let grown = claim("Bound", "2Gi", Some("1Gi"));
        assert_eq!(decide(&grown), Some(Act::Grow("2Gi".into())));
    }

    #[test]
    fn a_claim_of_another_class_is_none_of_ours() {
        let mut claim = claim("Pending", "1Gi", None);
        claim["spec"]["storageClassName"] = json!("fast");
        assert_eq!(decide(&claim), None);
    }

    #[test]
    fn a_volume_is_removed_only_once_its_claim_has_gone_and_its_policy_says_so() {
        let mut volume = volume(&claim("Pending", "1Gi", None), Path::new("/v"));
        assert_eq!(decide(&volume), None);
        volume["status"]["phase"] = json!("Released");
        assert_eq!(decide(&volume), Some(Act::Remove));
        volume["spec"]["persistentVolumeReclaimPolicy"] = json!("Retain");
        assert_eq!(decide(&volume), None);
    }
}
