//! `podOverrides`: a partial PodTemplateSpec, merged over the operator's own.
//!
//! The schema takes anything (a whole PodTemplateSpec in it would be 334 KB), so everything is checked here: that each
//! field exists, and that none carries what the operator decides.

use std::collections::BTreeSet;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{Capabilities, Container, PodTemplateSpec, SecurityContext};
use quorate_api::PodOverrides;
use serde_json::Value;

use super::check::{Faults, is_dns_subdomain};

const ROOT: &str = "spec.podOverrides";
/// The operator's own container, and the component in its labels.
pub(crate) const MEMBER: &str = "member";
const ADDRESS: &str = "members listen on their pod's own address";
const IDENTITY: &str = "peers find a member by the name that the StatefulSet gives";
const ACCOUNT: &str = "members have a ServiceAccount of their own, without rights";
const RESTRICTED: &str = "the restricted security profile forbids it";
const OWN_SECURITY: &str =
    "every container gets what the restricted security profile demands, and no more";
const PROBES: &str = "the operator counts on its own probes";
const START: &str = "the operator starts the members; add another container for your own programs";
const OWN_LABEL: &str = "labels and annotations of app.kubernetes.io and quorate.dev are the operator's: choose another prefix";
const SET_LABEL: &str = "the StatefulSet's controller sets it on its pods";
const OWN_VOLUME: &str =
    "the operator mounts data, config, tmp and tls itself: choose another name";
const OWN_MOUNT: &str = "the operator mounts something there, above or below: choose another path";

/// What `podOverrides` must leave alone: steps into a pod template, and why. A list's item goes by its key; a step
/// that ends in `*` stands for every step that begins so, and a path for those above and below it too.
pub const FORBIDDEN_OVERRIDES: &[(&[&str], &str)] = &[
    (&["metadata", "name"], IDENTITY),
    (&["metadata", "generateName"], IDENTITY),
    (
        &["metadata", "namespace"],
        "pods live where the resource does",
    ),
    (
        &["metadata", "ownerReferences"],
        "the StatefulSet owns its pods",
    ),
    (
        &["metadata", "finalizers"],
        "a pod that cannot go stalls every repair",
    ),
    (&["metadata", "labels", "app.kubernetes.io/*"], OWN_LABEL),
    (&["metadata", "labels", "quorate.dev/*"], OWN_LABEL),
    (
        &["metadata", "labels", "statefulset.kubernetes.io/*"],
        SET_LABEL,
    ),
    (&["metadata", "labels", "apps.kubernetes.io/*"], SET_LABEL),
    (
        &["metadata", "labels", "controller-revision-hash"],
        SET_LABEL,
    ),
    (&["metadata", "annotations", "quorate.dev/*"], OWN_LABEL),
    (
        &[
            "metadata",
            "annotations",
            "container.apparmor.security.beta.kubernetes.io/*",
        ],
        RESTRICTED,
    ),
    (&["spec", "hostNetwork"], ADDRESS),
    (&["spec", "hostPID"], RESTRICTED),
    (&["spec", "hostIPC"], RESTRICTED),
    (&["spec", "os"], "members are programs for Linux"),
    (&["spec", "hostname"], IDENTITY),
    (&["spec", "hostnameOverride"], IDENTITY),
    (&["spec", "setHostnameAsFQDN"], IDENTITY),
    (&["spec", "subdomain"], IDENTITY),
    (&["spec", "nodeName"], "use pods.nodeSelector"),
    (&["spec", "nodeSelector"], "use pods.nodeSelector"),
    (&["spec", "tolerations"], "use pods.tolerations"),
    (&["spec", "priorityClassName"], "use pods.priorityClassName"),
    (&["spec", "imagePullSecrets"], "use pods.imagePullSecrets"),
    (
        &["spec", "terminationGracePeriodSeconds"],
        "use pods.terminationGracePeriodSeconds",
    ),
    (
        &["spec", "restartPolicy"],
        "a StatefulSet takes Always only",
    ),
    (
        &["spec", "activeDeadlineSeconds"],
        "a StatefulSet takes none",
    ),
    (
        &["spec", "ephemeralContainers"],
        "a pod template takes none",
    ),
    (&["spec", "serviceAccount"], ACCOUNT),
    (&["spec", "serviceAccountName"], ACCOUNT),
    (&["spec", "automountServiceAccountToken"], ACCOUNT),
    (&["spec", "volumes", "data"], OWN_VOLUME),
    (&["spec", "volumes", "config"], OWN_VOLUME),
    (&["spec", "volumes", "tmp"], OWN_VOLUME),
    (&["spec", "volumes", "tls"], OWN_VOLUME),
    (&["spec", "containers", "member", "image"], "use image"),
    (&["spec", "containers", "member", "command"], START),
    (&["spec", "containers", "member", "args"], START),
    (
        &["spec", "containers", "member", "ports"],
        "the ports are fixed: 7070 client, 7071 peer, 7072 admin, 7073 health",
    ),
    (
        &["spec", "containers", "member", "resources"],
        "use resources",
    ),
    (
        &["spec", "containers", "member", "env", "QUORATE_*"],
        "use the fields of the spec: what begins so is the operator's",
    ),
    (
        &[
            "spec",
            "containers",
            "member",
            "volumeMounts",
            "/var/lib/quorate",
        ],
        OWN_MOUNT,
    ),
    (
        &[
            "spec",
            "containers",
            "member",
            "volumeMounts",
            "/etc/quorate*",
        ],
        OWN_MOUNT,
    ),
    (
        &["spec", "containers", "member", "volumeMounts", "/tmp"],
        OWN_MOUNT,
    ),
    (&["spec", "containers", "member", "livenessProbe"], PROBES),
    (&["spec", "containers", "member", "readinessProbe"], PROBES),
    (&["spec", "containers", "member", "startupProbe"], PROBES),
    (&["spec", "securityContext", "runAsNonRoot"], RESTRICTED),
    (&["spec", "securityContext", "runAsUser"], RESTRICTED),
    (&["spec", "securityContext", "seccompProfile"], RESTRICTED),
    (&["spec", "securityContext", "seLinuxOptions"], RESTRICTED),
    (&["spec", "securityContext", "appArmorProfile"], RESTRICTED),
    (&["spec", "securityContext", "sysctls"], RESTRICTED),
    (&["spec", "securityContext", "windowsOptions"], RESTRICTED),
    (
        &["spec", "containers", "*", "ports", "*", "hostPort"],
        RESTRICTED,
    ),
    (
        &["spec", "initContainers", "*", "ports", "*", "hostPort"],
        RESTRICTED,
    ),
    // Of any probe, and of any hook.
    (
        &["spec", "containers", "*", "*", "httpGet", "host"],
        RESTRICTED,
    ),
    (
        &["spec", "containers", "*", "*", "tcpSocket", "host"],
        RESTRICTED,
    ),
    (
        &[
            "spec",
            "containers",
            "*",
            "lifecycle",
            "*",
            "httpGet",
            "host",
        ],
        RESTRICTED,
    ),
    (
        &[
            "spec",
            "containers",
            "*",
            "lifecycle",
            "*",
            "tcpSocket",
            "host",
        ],
        RESTRICTED,
    ),
    (
        &["spec", "initContainers", "*", "*", "httpGet", "host"],
        RESTRICTED,
    ),
    (
        &["spec", "initContainers", "*", "*", "tcpSocket", "host"],
        RESTRICTED,
    ),
    (
        &[
            "spec",
            "initContainers",
            "*",
            "lifecycle",
            "*",
            "httpGet",
            "host",
        ],
        RESTRICTED,
    ),
    (
        &[
            "spec",
            "initContainers",
            "*",
            "lifecycle",
            "*",
            "tcpSocket",
            "host",
        ],
        RESTRICTED,
    ),
    (
        &["spec", "containers", "*", "securityContext"],
        OWN_SECURITY,
    ),
    (
        &["spec", "initContainers", "*", "securityContext"],
        OWN_SECURITY,
    ),
];

/// The sources of a volume that the restricted profile of Pod Security Standards admits.
const VOLUME_SOURCES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Overrides that can be merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(PodTemplateSpec);

impl Overrides {
    /// Checks `spec.podOverrides`.
    pub(crate) fn checked(
        overrides: Option<&PodOverrides>,
        tls: bool,
        faults: &mut Faults,
    ) -> Self {
        let Some(PodOverrides(fields)) = overrides else {
            return Self::default();
        };
        let given = Value::Object(fields.clone());
        let template = match serde_json::from_value::<PodTemplateSpec>(given.clone()) {
            Ok(template) => template,
            Err(error) => {
                faults.add(ROOT, format!("is no PodTemplateSpec: {error}"));
                return Self::default();
            }
        };
        // The types drop what they do not know, and fill in what they demand: what went and what came is wrong.
        let understood = serde_json::to_value(&template).unwrap_or_default();
        misunderstood(ROOT, &given, &understood, faults);
        for (pattern, reason) in FORBIDDEN_OVERRIDES {
            forbidden(ROOT, &given, pattern, reason, faults);
        }
        volumes(&given, faults);
        names(&given, faults);
        if let Some(metadata) = &template.metadata {
            faults.metadata(&format!("{ROOT}.metadata"), metadata);
        }
        incomplete(&given, faults);
        mounts(&given, tls, faults);
        Self(template)
    }

    /// The template with these over it: objects by field, lists with a key by that key, other lists whole.
    pub(crate) fn over(&self, mut template: PodTemplateSpec) -> PodTemplateSpec {
        template.merge_from(self.0.clone());
        if let Some(spec) = &mut template.spec {
            let added = spec.init_containers.iter_mut().flatten();
            let all = spec.containers.iter_mut().chain(added);
            all.for_each(restrict);
        }
        template
    }
}

/// What a container needs to be admitted where Pod Security Standards are enforced as `restricted`; what is the same for
/// all of them, the pod says.
fn restrict(container: &mut Container) {
    container
        .security_context
        .get_or_insert_with(|| SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".into()]),
                add: None,
            }),
            ..SecurityContext::default()
        });
}

/// Each has a source, and one that is admitted. Of one without the API server would make an empty folder that nobody asked
/// for.
fn volumes(given: &Value, faults: &mut Faults) {
    for (name, volume) in children(&given["spec"]["volumes"]) {
        let sources: Vec<_> = children(volume)
            .map(|(field, _)| field)
            .filter(|field| *field != "name")
            .collect();
        let words = match sources.len() {
            0 => Some(format!(
                "has no source: use one of {}",
                VOLUME_SOURCES.join(", ")
            )),
            1 => None,
            _ => Some(format!(
                "has more than one source: choose one of {}",
                sources.join(", ")
            )),
        };
        if let Some(words) = words {
            faults.add(format!("{ROOT}.spec.volumes.{name}"), words);
        }
        for source in sources {
            if !VOLUME_SOURCES.contains(&source) {
                faults.add(
                    format!("{ROOT}.spec.volumes.{name}.{source}"),
                    format!("{RESTRICTED}; use one of {}", VOLUME_SOURCES.join(", ")),
                );
            }
        }
    }
}

fn misunderstood(path: &str, given: &Value, understood: &Value, faults: &mut Faults) {
    match (given, understood) {
        (Value::Null, _) => faults.add(
            path,
            "must not be null: write the value that it shall have, or leave it out",
        ),
        (Value::Object(given), Value::Object(understood)) => {
            for (name, value) in given {
                let path = format!("{path}.{name}");
                match understood.get(name) {
                    None if value.is_null() => misunderstood(&path, value, &Value::Null, faults),
                    None => faults.add(
                        path,
                        "is not a field of a PodTemplateSpec; look for a slip in its name",
                    ),
                    Some(understood) => misunderstood(&path, value, understood, faults),
                }
            }
            for (name, value) in understood {
                if !given.contains_key(name) && value.as_str() == Some("") {
                    faults.add(format!("{path}.{name}"), "is required");
                }
            }
        }
        (Value::Array(given), Value::Array(understood)) => {
            for (at, (given, understood)) in given.iter().zip(understood).enumerate() {
                misunderstood(&format!("{path}[{at}]"), given, understood, faults);
            }
        }
        _ => {}
    }
}

fn forbidden(path: &str, node: &Value, pattern: &[&str], reason: &str, faults: &mut Faults) {
    let Some((step, rest)) = pattern.split_first() else {
        faults.add(path, reason);
        return;
    };
    let matches = |name: &str| {
        if step.starts_with('/') {
            let own = places(step);
            own.iter()
                .zip(places(name))
                .all(|(own, other)| is(own, other))
        } else {
            is(step, name)
        }
    };
    for (name, child) in children(node).filter(|(name, _)| matches(name)) {
        forbidden(&format!("{path}.{name}"), child, rest, reason, faults);
    }
}

fn is(step: &str, name: &str) -> bool {
    match step.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == step,
    }
}

/// A path's steps, as a kernel walks them.
fn places(path: &str) -> Vec<&str> {
    let mut places = Vec::new();
    for place in path.split('/') {
        match place {
            "" | "." => {}
            ".." => drop(places.pop()),
            place => places.push(place),
        }
    }
    places
}

/// Names that an API server refuses, or takes for one where two were meant.
fn names(given: &Value, faults: &mut Faults) {
    let spec = &given["spec"];
    for list in ["volumes", "containers", "initContainers"] {
        let path = format!("{ROOT}.spec.{list}");
        for (name, item) in children(&spec[list]) {
            let mounts = &item["volumeMounts"];
            once(&format!("{path}.{name}.volumeMounts"), mounts, faults);
            if !is_dns_subdomain(name) || name.contains('.') || name.len() > 63 {
                let words = "must be lower-case letters, digits and '-', at most 63, and begin and end with a letter or digit";
                faults.add(format!("{path}.{name}.name"), words);
            }
        }
        once(&path, &spec[list], faults);
    }
}

/// The items of a list with a key: a second one of the same key would be merged into the first.
fn once(path: &str, list: &Value, faults: &mut Faults) {
    let mut keys = BTreeSet::new();
    for (key, _) in children(list) {
        if !keys.insert(key) {
            faults.add(format!("{path}.{key}"), "is there twice: leave one out");
        }
    }
}

/// What a pod template cannot do without, which the API server would say only of the StatefulSet.
fn incomplete(given: &Value, faults: &mut Faults) {
    let spec = &given["spec"];
    for list in ["containers", "initContainers"] {
        for (name, container) in children(&spec[list]) {
            if name != MEMBER && container["image"].as_str().is_none_or(str::is_empty) {
                faults.add(format!("{ROOT}.spec.{list}.{name}.image"), "is required");
            }
        }
    }
}

/// A mount takes a volume by its name: the operator's own, or one of these.
fn mounts(given: &Value, tls: bool, faults: &mut Faults) {
    let spec = &given["spec"];
    let given = children(&spec["volumes"]).map(|(name, _)| name);
    let own = ["data", "config", "tmp"]
        .into_iter()
        .chain(tls.then_some("tls"));
    let volumes: Vec<_> = own.chain(given).collect();
    for list in ["containers", "initContainers"] {
        for (container, fields) in children(&spec[list]) {
            for (path, mount) in children(&fields["volumeMounts"]) {
                let name = mount["name"].as_str().unwrap_or_default();
                if !name.is_empty() && !volumes.contains(&name) {
                    faults.add(
                        format!("{ROOT}.spec.{list}.{container}.volumeMounts.{path}.name"),
                        format!("there is no volume `{name}`: add it to {ROOT}.spec.volumes"),
                    );
                }
            }
        }
    }
}

/// The fields of an object, or the items of a list by their merge keys; `item` where they have none of these.
fn children(node: &Value) -> Box<dyn Iterator<Item = (&str, &Value)> + '_> {
    match node {
        Value::Object(fields) => {
            Box::new(fields.iter().map(|(name, value)| (name.as_str(), value)))
        }
        Value::Array(items) => Box::new(items.iter().map(|item| {
            let key = item.get("mountPath").or_else(|| item.get("name"));
            (key.and_then(Value::as_str).unwrap_or("item"), item)
        })),
        _ => Box::new(std::iter::empty()),
    }
}
