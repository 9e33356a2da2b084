//! What the API server holds, asked by a client in this process: the tests look so often that the start of a kubectl for
//! each look would be most of what they cost the machine.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// By name and plural: where it is served, and whether it lies in a namespace.
const KINDS: [(&str, &str, &str, bool); 15] = [
    ("node", "nodes", "api/v1", false),
    ("persistentvolume", "persistentvolumes", "api/v1", false),
    ("pod", "pods", "api/v1", true),
    ("pvc", "persistentvolumeclaims", "api/v1", true),
    ("service", "services", "api/v1", true),
    ("configmap", "configmaps", "api/v1", true),
    ("serviceaccount", "serviceaccounts", "api/v1", true),
    ("statefulset", "statefulsets", "apis/apps/v1", true),
    ("lease", "leases", "apis/coordination.k8s.io/v1", true),
    (
        "poddisruptionbudget",
        "poddisruptionbudgets",
        "apis/policy/v1",
        true,
    ),
    (
        "networkpolicy",
        "networkpolicies",
        "apis/networking.k8s.io/v1",
        true,
    ),
    (
        "clusterrole",
        "clusterroles",
        "apis/rbac.authorization.k8s.io/v1",
        false,
    ),
    ("role", "roles", "apis/rbac.authorization.k8s.io/v1", true),
    ("resourcequota", "resourcequotas", "api/v1", true),
    (
        "raftcluster",
        "raftclusters",
        "apis/quorate.dev/v1alpha1",
        true,
    ),
];

/// A client that does not wait for a server that is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// How our own clients reach the cluster that this file names.
pub async fn config(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?)
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    })
}

#[derive(Clone)]
pub struct Objects(Client);

impl Objects {
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        runtime().block_on(async {
            let mut config = config(kubeconfig).await?;
            config.read_timeout = Some(PATIENCE);
            Ok(Self(Client::try_from(config)?))
        })
    }

    /// As `kubectl get -o json` has it of these: `KIND NAME`, `KIND`, or `KIND -l SELECTOR`.
    pub fn get(&self, namespace: &str, what: &[&str]) -> Result<Value> {
        let [kind, rest @ ..] = what else {
            anyhow::bail!("get what?")
        };
        let mut path = path(namespace, kind)?;
        match rest {
            [] => {}
            ["-l", selector] => path += &format!("?labelSelector={}", escaped(selector)),
            [name] => path += &format!("/{name}"),
            _ => anyhow::bail!("get {what:?}?"),
        }
        let request = http::Request::get(path).body(Vec::new())?;
        let answer = runtime().block_on(self.0.request(request));
        answer.with_context(|| format!("{what:?} in {namespace}"))
    }

    /// What the API server has against this, in its words; none when it takes it.
    pub fn refusal(&self, method: Method, path: &str, body: &Value) -> Result<Option<String>> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request
            .header("content-type", "application/json")
            .body(serde_json::to_vec(body)?)?;
        match runtime().block_on(self.0.request::<Value>(request)) {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// Of several kinds the items alone.
    pub fn items(&self, namespace: &str, kinds: &[&str], selector: &str) -> Result<Value> {
        let mut all = Vec::new();
        for kind in kinds {
            let list = self.get(namespace, &[*kind, "-l", selector])?;
            all.extend(list["items"].as_array().context("items")?.iter().cloned());
        }
        Ok(json!(all))
    }
}

/// Where objects of a kind are served.
pub fn path(namespace: &str, kind: &str) -> Result<String> {
    let found = KINDS
        .iter()
        .find(|(name, plural, ..)| *name == kind || *plural == kind);
    let (_, plural, api, is_namespaced) = found.with_context(|| format!("unknown: {kind}"))?;
    Ok(match is_namespaced {
        true => format!("/{api}/namespaces/{namespace}/{plural}"),
        false => format!("/{api}/{plural}"),
    })
}

fn escaped(selector: &str) -> String {
    let escape = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => c.to_string(),
        c => format!("%{:02X}", u32::from(c)),
    };
    selector.chars().map(escape).collect()
}
