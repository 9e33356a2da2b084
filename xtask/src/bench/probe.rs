//! What the disk does by itself: without it no figure of a bench means much (fsync on a shared machine swings 20x).

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

const WRITE_BYTES: usize = 2048;
const FOR: Duration = Duration::from_secs(2);

/// Writes 2 KiB and syncs, into a preallocated file, for two seconds.
pub fn fsync(folder: &Path, when: &str) -> Result<String> {
    let path = folder.join("fsync-probe");
    let file = std::fs::File::create(&path)?;
    file.write_all_at(&vec![0; 16 << 20], 0)?;
    file.sync_all()?;
    let mut times = Histogram::<u64>::new(3)?;
    let started = Instant::now();
    let mut at = 0;
    while started.elapsed() < FOR {
        let one = Instant::now();
        file.write_all_at(&[7; WRITE_BYTES], at)?;
        file.sync_data()?;
        times.record(one.elapsed().as_micros() as u64)?;
        at = (at + WRITE_BYTES as u64) % (15 << 20);
    }
    std::fs::remove_file(&path)?;
    let (rate, ms) = (times.len() as f64 / FOR.as_secs_f64(), |q| {
        times.value_at_quantile(q) as f64 / 1000.0
    });
    Ok(format!(
        "fdatasync of 2 KiB {when}: {rate:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
        ms(0.5),
        ms(0.99)
    ))
}
