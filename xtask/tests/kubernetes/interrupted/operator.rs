//! The operator under test: in this process, or in one of its own that may end at any request.

use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use clap::Parser;
use kube::client::ClientBuilder;
use quorate_manager::{Settings, run_with};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::fault::{Fault, Faults, Plan};
use crate::objects::config;

/// How a process of its own is told what to do.
const TOLD: &str = "QUORATE_INTERRUPTED";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    pub kubeconfig: PathBuf,
    pub namespace: String,
    pub plan: Plan,
}

/// Ended when it is dropped.
pub enum Operator {
    Here(JoinHandle<Result<()>>),
    Apart(Box<Child>),
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Self::Here(task) = self {
            task.abort();
        }
    }
}

impl Operator {
    pub fn start(start: &Start) -> Result<Self> {
        // One that no request ends need not be apart.
        if start.plan.fault != Fault::Exit || start.plan.at == 0 {
            let start = start.clone();
            return Ok(Self::Here(tokio::spawn(async move { work(&start).await })));
        }
        let test = "interrupted::operator::a_process_of_its_own";
        let child = Command::new(std::env::current_exe()?)
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(TOLD, serde_json::to_string(start)?)
            // It ends when its input does.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self::Apart(Box::new(child)))
    }

    /// Whether it has ended: as planned, or since it could not renew its lease in time.
    pub async fn has_ended(&mut self) -> Result<bool> {
        match self {
            Self::Here(task) if task.is_finished() => {
                println!("an operator ended: {:?}", task.await?);
                Ok(true)
            }
            Self::Here(_) => Ok(false),
            Self::Apart(child) => match child.try_wait()? {
                Some(ended) => {
                    if !ended.success() {
                        println!("an operator ended: {ended}");
                    }
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }

    /// Ends it, so that it sends nothing any more.
    pub async fn end(mut self) -> Result<()> {
        match &mut self {
            Self::Here(task) => {
                task.abort();
                // It was told to end.
                let _ = task.await;
            }
            Self::Apart(child) => child.kill().await?,
        }
        Ok(())
    }
}

async fn work(start: &Start) -> Result<()> {
    let namespace = start.namespace.as_str();
    let settings = Settings::try_parse_from([
        "quorate-operator",
        "--namespace",
        namespace,
        "--lease-namespace",
        namespace,
        "--identity",
        &start.plan.agent,
        "--listen",
        "127.0.0.1:0",
    ])?;
    let config = config(&start.kubeconfig).await?;
    let client = ClientBuilder::try_from(config)?.with_layer(&Faults::new(start.plan.clone()));
    run_with(settings, client).await
}

#[test]
#[ignore = "started by the test of interrupted operators"]
fn a_process_of_its_own() -> Result<()> {
    let told = std::env::var(TOLD).context("started by hand")?;
    let start: Start = serde_json::from_str(&told)?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    tokio::runtime::Runtime::new()?.block_on(work(&start))
}
