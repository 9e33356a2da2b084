//! The judgement of a history.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use quorate_check::{Limits, check_registers, make_one_read_stale};
use quorate_history::Operation;

use crate::Trust;

/// Judges a history, and the checker by the same history with one read made stale.
pub(super) fn judge(history: &[Operation]) -> Result<String> {
    let report = check_registers(history, Limits::default());
    ensure!(report.is_linearizable(), "{}", report.explain());
    let stale = make_one_read_stale(history).context("the history has no read after two writes")?;
    if check_registers(&stale, Limits::default()).is_linearizable() {
        bail!("the checker accepts the same history with one read made stale");
    }
    Ok(report.explain())
}

/// One linearizable read by curl, as a user would.
pub(super) fn read(endpoint: &str, trust: Option<&Trust>, key: &str) -> Result<Option<String>> {
    let mut curl = Command::new("curl");
    let url = match trust {
        Some(trust) => {
            let (options, url) = trust.of_curl(endpoint)?;
            curl.args(options);
            format!("{url}/kv/{key}")
        }
        None => format!("{endpoint}/kv/{key}"),
    };
    let output = curl
        .args([
            "-sS",
            "--max-time",
            "10",
            "--retry",
            "3",
            "--retry-connrefused",
            "-w",
            "\n%{http_code}",
            &url,
        ])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    match text.rsplit_once('\n') {
        Some((value, "200")) => Ok(Some(value.to_owned())),
        Some((_, "404")) => Ok(None),
        _ => bail!("{url}: {text} {}", String::from_utf8_lossy(&output.stderr)),
    }
}
