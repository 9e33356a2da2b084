//! What can be set: by flag, or by the environment variable that `--help` names.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use quorate_plan::Env;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The Quorate operator: makes what RaftClusters and their like ask for so, in the cluster that KUBECONFIG or its own
/// ServiceAccount names.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "quorate-operator",
    version,
    after_help = "Example, from outside of a cluster:\n  KUBECONFIG=~/.kube/config quorate-operator --namespace default --identity laptop"
)]
pub struct Settings {
    /// Work on the resources of this namespace alone; on those of all when absent
    #[arg(long, env = "QUORATE_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Image of the members whose resource names none
    #[arg(
        long,
        env = "QUORATE_DEFAULT_IMAGE",
        value_name = "IMAGE",
        default_value = concat!("quorate.local/quorate:", env!("CARGO_PKG_VERSION"))
    )]
    pub default_image: String,

    /// The cluster's DNS domain
    #[arg(
        long,
        env = "QUORATE_CLUSTER_DOMAIN",
        value_name = "DOMAIN",
        default_value = "cluster.local"
    )]
    pub cluster_domain: String,

    /// Where this operator's own pod runs, so that members let it in by NetworkPolicy; absent when it runs outside
    #[arg(long, env = "QUORATE_OPERATOR_NAMESPACE", value_name = "NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// Namespace of the lease that says which operator works
    #[arg(
        long,
        env = "QUORATE_LEASE_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "quorate-system"
    )]
    pub lease_namespace: String,

    /// How long the lease holds after its holder was last seen: then another operator takes over; each of them asks the API
    /// server four times in that time
    #[arg(long, env = "QUORATE_LEASE_SECONDS", value_name = "SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=60))]
    pub lease_seconds: u8,

    /// This operator's name in the lease: no two may have the same (a pod's name serves)
    #[arg(long, env = "QUORATE_IDENTITY", value_name = "NAME")]
    pub identity: String,

    /// Resources that are worked on at the same time
    #[arg(long, env = "QUORATE_CONCURRENCY", value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// Where /livez, /readyz and /metrics are served
    #[arg(
        long,
        env = "QUORATE_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub listen: SocketAddr,

    /// How a log line looks
    #[arg(
        long,
        env = "QUORATE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "human"
    )]
    pub log_format: LogFormat,

    /// What is logged, as `info` or `info,quorate_manager=debug`
    #[arg(
        long,
        env = "QUORATE_LOG",
        value_name = "FILTER",
        default_value = "info,kube=warn"
    )]
    pub log: String,
}

impl Settings {
    /// Logs to standard error from now on.
    ///
    /// # Errors
    /// When the filter is none, or something logs already.
    pub fn begin_to_log(&self) -> anyhow::Result<()> {
        let filter =
            EnvFilter::try_new(&self.log).map_err(|error| anyhow::anyhow!("--log: {error}"))?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Human => builder
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                .finish()
                .try_init()?,
            LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
        }
        Ok(())
    }

    /// What builders must know of the surroundings.
    pub(crate) fn env(&self) -> Env {
        Env {
            cluster_domain: self.cluster_domain.clone(),
            default_image: self.default_image.clone(),
            operator_namespace: self.operator_namespace.clone(),
        }
    }
}
