//! CPU time and memory of processes, from /proc.

use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time (user and system) that these processes have used.
pub fn cpu(pids: &[i32]) -> Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let stat =
            std::fs::read_to_string(format!("/proc/{pid}/stat")).context("a member has gone")?;
        let fields: Vec<&str> = stat
            .rsplit_once(") ")
            .context("a stat line")?
            .1
            .split(' ')
            .collect();
        ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// The largest resident set among these processes, in bytes.
pub fn rss_max(pids: &[i32]) -> Result<u64> {
    let mut max = 0;
    for pid in pids {
        let statm =
            std::fs::read_to_string(format!("/proc/{pid}/statm")).context("a member has gone")?;
        let pages: u64 = statm.split(' ').nth(1).context("a statm line")?.parse()?;
        max = max.max(pages * rustix::param::page_size() as u64);
    }
    Ok(max)
}
