//! The control plane's processes on the host: what each is told.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::addresses::{HOST, SERVICES};
use super::build::Binaries;
use super::place::{Place, write};
use super::process;

/// What is otherwise than it comes.
#[derive(Debug, Default, clap::Args, Serialize, Deserialize)]
pub struct Options {
    /// How long nothing may be heard of a node until Kubernetes takes it for lost.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u8).range(4..=120))]
    pub node_grace: u8,
    /// A CNI plugin in place of `bridge`: it gets the pods' range from the same IPAM and no other option.
    #[arg(long, value_name = "PROGRAM")]
    pub cni: Option<PathBuf>,
    /// A service proxy in place of kube-proxy, started on each node with --kubeconfig and --hostname-override.
    #[arg(long, value_name = "PROGRAM")]
    pub service_proxy: Option<PathBuf>,
    /// A scheduler in place of kube-scheduler, started with --kubeconfig.
    #[arg(long, value_name = "PROGRAM")]
    pub scheduler: Option<PathBuf>,
}

impl Options {
    /// Finds the programs, and keeps their paths for [`Options::kept`].
    pub fn keep(&self, place: &Place) -> Result<Self> {
        let found = |program: &Option<PathBuf>| -> Result<Option<PathBuf>> {
            let path = program.as_ref().map(|path| {
                std::fs::canonicalize(path)
                    .with_context(|| format!("there is no {}", path.display()))
            });
            path.transpose()
        };
        let all = Self {
            node_grace: self.node_grace,
            cni: found(&self.cni)?,
            service_proxy: found(&self.service_proxy)?,
            scheduler: found(&self.scheduler)?,
        };
        write(&Self::file(place), serde_json::to_vec(&all)?)?;
        Ok(all)
    }

    /// What `up` was given: a restored node is the same as before.
    pub fn kept(place: &Place) -> Result<Self> {
        let file = Self::file(place);
        let text =
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    fn file(place: &Place) -> PathBuf {
        place.state().join("options.json")
    }
}

/// Starts etcd and the API server, which waits for it.
pub fn start_api(place: &Place, binaries: &Binaries) -> Result<()> {
    write(
        &place.state().join("audit-policy.json"),
        audit_policy().to_string(),
    )?;
    process::start(place, "etcd", &binaries.path("etcd")?, &etcd(place))?;
    process::start(
        place,
        "apiserver",
        &binaries.path("kube-apiserver")?,
        &apiserver(place),
    )?;
    Ok(())
}

/// Starts what works through the API server.
pub fn start_rest(place: &Place, binaries: &Binaries, options: &Options) -> Result<()> {
    let manager = binaries.path("kube-controller-manager")?;
    process::start(
        place,
        "controller-manager",
        &manager,
        &controller_manager(place, options.node_grace),
    )?;
    match &options.scheduler {
        Some(program) => {
            let arguments = [format!(
                "--kubeconfig={}",
                place.kubeconfig("scheduler").display()
            )];
            process::start(place, "scheduler", program, &arguments)?;
        }
        None => {
            let program = binaries.path("kube-scheduler")?;
            process::start(place, "scheduler", &program, &secured(place, "scheduler"))?;
        }
    }
    let corefile = place.state().join("Corefile");
    write(&corefile, self::corefile(place))?;
    let arguments = [format!("-conf={}", corefile.display())];
    process::start(place, "coredns", &binaries.path("coredns")?, &arguments)?;
    let kubectl = binaries.path("kubectl")?.display().to_string();
    let state = place.state().display().to_string();
    let arguments = ["cluster".into(), "provision".into(), kubectl, state];
    process::start(place, "provisioner", &std::env::current_exe()?, &arguments)?;
    Ok(())
}

fn etcd(place: &Place) -> Vec<String> {
    let clients = format!("http://{HOST}:2379");
    let peers = format!("http://{HOST}:2380");
    vec![
        "--name=quorate".into(),
        format!("--data-dir={}", place.state().join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=quorate={peers}"),
    ]
}

fn apiserver(place: &Place) -> Vec<String> {
    let certificates = place.certificates();
    let file = |name: &str| certificates.join(name).display().to_string();
    vec![
        format!("--bind-address={HOST}"),
        format!("--advertise-address={HOST}"),
        "--secure-port=6443".into(),
        format!("--etcd-servers=http://{HOST}:2379"),
        format!("--service-cluster-ip-range={SERVICES}"),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        format!(
            "--kubelet-client-certificate={}",
            file("kubelet-client.crt")
        ),
        format!("--kubelet-client-key={}", file("kubelet-client.key")),
        // A node's name is in no DNS that the host asks.
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        // The host has no service proxy: webhooks are called at their endpoints.
        "--enable-aggregator-routing=true".into(),
        "--allow-privileged=true".into(),
        format!(
            "--audit-policy-file={}",
            place.state().join("audit-policy.json").display()
        ),
        format!("--audit-log-path={}", place.audit_log().display()),
        // In one piece, since tests read it from its beginning.
        "--audit-log-maxsize=4000".into(),
    ]
}

/// Every request, once it is answered, without its body.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{"level": "Metadata"}],
    })
}

fn controller_manager(place: &Place, node_grace: u8) -> Vec<String> {
    let certificates = place.certificates();
    let file = |name: &str| certificates.join(name).display().to_string();
    let mut arguments = secured(place, "controller-manager");
    arguments.extend([
        "--use-service-account-credentials=true".into(),
        format!(
            "--service-account-private-key-file={}",
            file("accounts.key")
        ),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--cluster-signing-cert-file={}", file("ca.crt")),
        format!("--cluster-signing-key-file={}", file("ca.key")),
        "--allocate-node-cidrs=false".into(),
        "--node-monitor-period=1s".into(),
        format!("--node-monitor-grace-period={node_grace}s"),
        // The default of 20 a second would be all that a test of hundreds of pods sees.
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ]);
    arguments
}

/// What every client of the API server with a port of its own is told.
fn secured(place: &Place, user: &str) -> Vec<String> {
    let kubeconfig = place.kubeconfig(user);
    let kubeconfig = kubeconfig.display();
    vec![
        format!("--bind-address={HOST}"),
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--cert-dir={}", place.certificates().join(user).display()),
        // It is alone, and an election costs seconds.
        "--leader-elect=false".into(),
    ]
}

/// Names live a second, so that a pod that moved is found again at once.
fn corefile(place: &Place) -> String {
    format!(
        ".:53 {{\n  bind {HOST}\n  errors\n  kubernetes cluster.local in-addr.arpa ip6.arpa {{\n    kubeconfig {}\n    pods insecure\n    ttl 1\n  }}\n  cache 1\n}}\n",
        place.kubeconfig("coredns").display()
    )
}
