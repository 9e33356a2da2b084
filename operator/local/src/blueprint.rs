//! What a pod's spec means here: a program, its environment, folders, ports and probes.
//!
//! There is no mount namespace: a claim is a folder somewhere else than its `mountPath`. So where arguments and
//! environment hold a path into a mount it is rewritten to where the folder really is. (Files are not: builders put no
//! path into a ConfigMap.)

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Container, KeyToPath, Pod, Secret, Volume};

use crate::launch::{Launch, PodFiles, write_mounted};
use crate::probe::ProbeSpec;
use crate::state_dir::{StateDir, make_dir};
use crate::store::Store;

/// What a member finds in its environment besides what its pod's spec says.
const INHERITED: [&str; 4] = ["PATH", "LANG", "TZ", "RUST_BACKTRACE"];

/// Everything needed to run a pod's one container.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub launch: Launch,
    pub address: Ipv4Addr,
    /// Every port that it will listen on, with its name.
    pub ports: Vec<(String, u16)>,
    pub startup: Option<ProbeSpec>,
    pub liveness: Option<ProbeSpec>,
    pub readiness: Option<ProbeSpec>,
}

/// How long a pod has to end after SIGTERM.
pub(crate) fn grace(pod: &Pod) -> Duration {
    let seconds = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.termination_grace_period_seconds)
        .unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// A pod's own address.
pub(crate) fn address(pod: &Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

/// Reads a pod's spec, and lays out the files that it mounts.
pub(crate) fn lay_out(
    pod: &Pod,
    program: PathBuf,
    dir: &StateDir,
    files: &PodFiles,
    store: &Store,
) -> anyhow::Result<Blueprint> {
    let wrong = |what: &str| anyhow::anyhow!("{what}");
    let spec = pod
        .spec
        .as_ref()
        .ok_or_else(|| wrong("the pod has no spec"))?;
    let [container] = spec.containers.as_slice() else {
        anyhow::bail!(
            "this host runs one container per pod, and the pod has {}; take the others out of podOverrides",
            spec.containers.len()
        );
    };
    let address = address(pod).ok_or_else(|| wrong("the pod has no address"))?;
    let mounts = Mounts::lay_out(pod, container, dir, files, store)?;
    let mut env: BTreeMap<String, String> = INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    // The resolver of this host: an address per name, read again by the member when it changes.
    if let Some(temporary) = mounts.exactly("/tmp") {
        env.insert("TMPDIR".to_owned(), temporary.to_owned());
    }
    env.insert(
        "QUORATE_HOSTS_FILE".to_owned(),
        dir.hosts_file().display().to_string(),
    );
    for variable in container.env.iter().flatten() {
        let value = match (
            &variable.value,
            variable
                .value_from
                .as_ref()
                .and_then(|from| from.field_ref.as_ref()),
        ) {
            (Some(value), _) => expand(value, &env),
            (None, Some(field)) => downward(pod, &field.field_path)?,
            (None, None) => String::new(),
        };
        env.insert(variable.name.clone(), mounts.rewrite(&value));
    }
    let args = container
        .args
        .iter()
        .flatten()
        .map(|arg| mounts.rewrite(&expand(arg, &env)))
        .collect();
    let probe = |probe: &Option<_>| {
        probe
            .as_ref()
            .map(|probe| ProbeSpec::read(probe, container))
            .transpose()
            .map_err(|error| wrong(&error))
    };
    let ports = container.ports.iter().flatten();
    Ok(Blueprint {
        launch: Launch {
            pod_uid: pod.metadata.uid.clone().unwrap_or_default(),
            address,
            program,
            args,
            env,
        },
        address,
        ports: ports
            .filter_map(|port| {
                Some((
                    port.name.clone().unwrap_or_default(),
                    u16::try_from(port.container_port).ok()?,
                ))
            })
            .collect(),
        startup: probe(&container.startup_probe)?,
        liveness: probe(&container.liveness_probe)?,
        readiness: probe(&container.readiness_probe)?,
    })
}

/// `$(NAME)` as Kubernetes expands it: `$$` is one `$`, an unknown name stays as it is written.
fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match env.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

fn downward(pod: &Pod, path: &str) -> anyhow::Result<String> {
    let meta = &pod.metadata;
    let keyed = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "status.podIP" | "status.hostIP" => address(pod).map(|address| address.to_string()),
        "spec.serviceAccountName" => pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone()),
        "spec.nodeName" => Some("localhost".to_owned()),
        _ => match (keyed("metadata.labels['"), keyed("metadata.annotations['")) {
            (Some(key), _) => Some(
                meta.labels
                    .as_ref()
                    .and_then(|labels| labels.get(key))
                    .cloned()
                    .unwrap_or_default(),
            ),
            (_, Some(key)) => Some(
                meta.annotations
                    .as_ref()
                    .and_then(|notes| notes.get(key))
                    .cloned()
                    .unwrap_or_default(),
            ),
            _ => None,
        },
    };
    value.ok_or_else(|| anyhow::anyhow!("fieldRef {path}: this host does not know that field"))
}

/// Where each `mountPath` really is, longest first.
struct Mounts(Vec<(String, String)>);

impl Mounts {
    fn lay_out(
        pod: &Pod,
        container: &Container,
        dir: &StateDir,
        files: &PodFiles,
        store: &Store,
    ) -> anyhow::Result<Self> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let volumes = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.volumes.as_deref())
            .unwrap_or_default();
        let mut mounts = Self(Vec::new());
        for mount in container.volume_mounts.iter().flatten() {
            let volume = volumes
                .iter()
                .find(|volume| volume.name == mount.name)
                .ok_or_else(|| {
                    anyhow::anyhow!("volumeMounts: there is no volume `{}`", mount.name)
                })?;
            let folder = folder_of(volume, namespace, dir, files)?;
            make_dir(&folder)?;
            for (name, content) in contents(volume, namespace, store)? {
                write_mounted(&folder.join(name), &content)?;
            }
            mounts.0.push((
                mount.mount_path.trim_end_matches('/').to_owned(),
                folder.display().to_string(),
            ));
        }
        mounts
            .0
            .sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Ok(mounts)
    }

    /// The folder that is mounted at this very path.
    fn exactly(&self, path: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(mounted, _)| mounted == path)
            .map(|(_, folder)| folder.as_str())
    }

    /// Replaces each mount path where it stands as a whole path or the beginning of one.
    fn rewrite(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let begins_path = |before: &str| {
            !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'))
        };
        let ends_step = |after: &str| {
            !after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        'text: while let Some(next) = rest.chars().next() {
            if next == '/' && begins_path(&out) {
                for (path, folder) in &self.0 {
                    if let Some(after) = rest
                        .strip_prefix(path.as_str())
                        .filter(|after| ends_step(after))
                    {
                        out.push_str(folder);
                        rest = after;
                        continue 'text;
                    }
                }
            }
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
        out
    }
}

fn folder_of(
    volume: &Volume,
    namespace: &str,
    dir: &StateDir,
    files: &PodFiles,
) -> anyhow::Result<PathBuf> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Ok(dir.volume(namespace, &claim.claim_name));
    }
    if volume.config_map.is_some() || volume.secret.is_some() || volume.empty_dir.is_some() {
        return Ok(files.folder().join("mounts").join(&volume.name));
    }
    anyhow::bail!(
        "volume `{}`: this host knows claims, ConfigMaps, Secrets and emptyDir",
        volume.name
    )
}

fn contents(
    volume: &Volume,
    namespace: &str,
    store: &Store,
) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let missing = |sort: &str, name: &str| {
        anyhow::anyhow!(
            "volume `{}`: there is no {sort} `{name}` in namespace {namespace}; add it with `quorate apply -f FILE`",
            volume.name
        )
    };
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut items: Option<&Vec<KeyToPath>> = None;
    if let Some(source) = &volume.config_map {
        let map: ConfigMap = store
            .get_as("configmaps", namespace, &source.name)
            .ok_or_else(|| missing("ConfigMap", &source.name))?;
        found.extend(
            map.data
                .into_iter()
                .flatten()
                .map(|(key, text)| (key, text.into_bytes())),
        );
        found.extend(
            map.binary_data
                .into_iter()
                .flatten()
                .map(|(key, bytes)| (key, bytes.0)),
        );
        items = source.items.as_ref();
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let secret: Secret = store
            .get_as("secrets", namespace, name)
            .ok_or_else(|| missing("Secret", name))?;
        found.extend(
            secret
                .data
                .into_iter()
                .flatten()
                .map(|(key, bytes)| (key, bytes.0)),
        );
        items = source.items.as_ref();
    }
    let Some(items) = items else {
        return found
            .into_iter()
            .map(|(key, content)| Ok((relative(&key)?, content)))
            .collect();
    };
    let item = |item: &KeyToPath| {
        let content = found
            .remove(&item.key)
            .ok_or_else(|| missing("key", &item.key))?;
        Ok((relative(&item.path)?, content))
    };
    items.iter().map(item).collect()
}

/// A path that stays in its folder.
fn relative(path: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(path);
    let plain = path
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    anyhow::ensure!(
        plain && path.components().next().is_some(),
        "`{}` is no path within a volume",
        path.display()
    );
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_expand_as_in_kubernetes() {
        let env = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
        for (text, expanded) in [
            ("$(A)-$(B)", "x-$(B)"),
            ("$$(A) $ $", "$(A) $ $"),
            ("$(A", "$(A"),
            ("plain", "plain"),
        ] {
            assert_eq!(expand(text, &env), expanded);
        }
    }

    #[test]
    fn paths_into_mounts_are_rewritten_and_no_others() {
        let mounts = Mounts(vec![
            ("/data/sub".into(), "/S".into()),
            ("/data".into(), "/D".into()),
        ]);
        for (text, rewritten) in [
            ("/data", "/D"),
            ("--dir=/data/x", "--dir=/D/x"),
            ("dataDir: /data/sub/y\n", "dataDir: /S/y\n"),
            (
                "/database /x/data ./data /data-2",
                "/database /x/data ./data /data-2",
            ),
            ("http://host/data", "http://host/data"),
        ] {
            assert_eq!(mounts.rewrite(text), rewritten);
        }
    }

    #[test]
    fn a_pod_becomes_a_program_with_its_environment_and_files() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::create(temp.path()).unwrap();
        let store = Store::open(&dir.objects()).unwrap();
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "f.yaml": "x: 1" } });
        store.create("configmaps", config).unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p-0", "namespace": "default", "uid": "u", "labels": { "l": "v" } },
            "spec": {
                "terminationGracePeriodSeconds": 7,
                "volumes": [
                    { "name": "d", "persistentVolumeClaim": { "claimName": "d-p-0" } },
                    { "name": "c", "configMap": { "name": "c" } },
                ],
                "containers": [{
                    "name": "m",
                    "args": ["--config=/etc/c/f.yaml", "$(ME)"],
                    "env": [
                        { "name": "ME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                        { "name": "AT", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                        { "name": "L", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['l']" } } },
                        { "name": "WHO", "value": "$(ME).svc" },
                        { "name": "DIR", "value": "/data/z" },
                    ],
                    "ports": [{ "name": "client", "containerPort": 7070 }],
                    "volumeMounts": [{ "name": "d", "mountPath": "/data" }, { "name": "c", "mountPath": "/etc/c" }],
                    "readinessProbe": { "httpGet": { "path": "/readyz", "port": "client" }, "periodSeconds": 2 },
                }],
            },
            "status": { "podIP": "127.1.2.3" },
        }))
        .unwrap();
        let files = PodFiles::new(dir.pod("default", "p-0"), dir.log("default", "p-0"));
        let blueprint = lay_out(&pod, "/bin/m".into(), &dir, &files, &store).unwrap();
        let mounted = files.folder().join("mounts/c/f.yaml");
        assert_eq!(
            blueprint.launch.args,
            [format!("--config={}", mounted.display()), "p-0".to_owned()]
        );
        let volume = dir.volume("default", "d-p-0");
        assert!(volume.is_dir());
        assert_eq!(std::fs::read_to_string(mounted).unwrap(), "x: 1");
        let env = |name: &str| blueprint.launch.env[name].as_str();
        assert_eq!(
            (env("ME"), env("AT"), env("L"), env("WHO")),
            ("p-0", "127.1.2.3", "v", "p-0.svc")
        );
        assert_eq!(env("DIR"), format!("{}/z", volume.display()));
        assert_eq!(blueprint.ports, [("client".to_owned(), 7070)]);
        assert_eq!(blueprint.readiness.unwrap().period, Duration::from_secs(2));
        assert_eq!(grace(&pod), Duration::from_secs(7));
    }
}
