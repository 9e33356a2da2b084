//! Cuts between members by address: they send from their own loopback addresses, so packet filter rules can part
//! them. Healed when dropped.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A cut in force.
#[derive(Debug)]
pub struct Cut {
    rules: Vec<Vec<String>>,
}

impl Cut {
    /// Drops everything between one address and the others, both ways. Needs root and iptables.
    pub fn between(one: IpAddr, others: &[IpAddr]) -> Result<Self> {
        let mut cut = Self { rules: Vec::new() };
        for other in others {
            for (from, to) in [(one, *other), (*other, one)] {
                let rule = [
                    "INPUT",
                    "-w",
                    "-s",
                    &from.to_string(),
                    "-d",
                    &to.to_string(),
                    "-j",
                    "DROP",
                ];
                let rule: Vec<String> = rule.iter().map(|s| (*s).to_owned()).collect();
                iptables("-I", &rule)?;
                cut.rules.push(rule);
            }
        }
        Ok(cut)
    }

    /// Heals it.
    pub fn heal(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        while let Some(rule) = self.rules.pop() {
            iptables("-D", &rule)?;
        }
        Ok(())
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!(
                "a cut could not be healed, remove its rules by hand (iptables -S): {error:#}"
            );
        }
    }
}

fn iptables(verb: &str, rule: &[String]) -> Result<()> {
    let output = Command::new("iptables")
        .arg(verb)
        .args(rule)
        .output()
        .context("cannot run iptables: install the package iptables, and run as root")?;
    ensure!(
        output.status.success(),
        "iptables {verb} {}: {}",
        rule.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
