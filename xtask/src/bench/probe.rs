//! What the disk does by itself: without it no figure of a bench means much (fsync on a shared machine swings 20x).

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;

const WRITE_BYTES: usize = 2048;
const FOR: Duration = Duration::from_secs(2);

/// Writes 2 KiB and syncs, into a preallocated file, for two seconds: alone, and three side by side as members do.
/// On a virtual machine the two may differ much: alone the disk sleeps between two syncs.
pub fn fsync(folder: &Path, when: &str) -> Result<String> {
    let mut said = format!("fdatasync of 2 KiB {when}:");
    for files in [1, 3] {
        let times = side_by_side(folder, files)?;
        let rate = times.len() as f64 / FOR.as_secs_f64() / files as f64;
        let ms = |q| times.value_at_quantile(q) as f64 / 1000.0;
        said += &format!(
            " {files} file(s) {rate:.0}/s each, p50 {:.2} ms, p99 {:.2} ms;",
            ms(0.5),
            ms(0.99)
        );
    }
    Ok(said.trim_end_matches(';').to_owned())
}

fn side_by_side(folder: &Path, files: usize) -> Result<Histogram<u64>> {
    let mut times = Histogram::<u64>::new(3)?;
    thread::scope(|scope| {
        let probes: Vec<_> = (0..files)
            .map(|file| scope.spawn(move || one_file(&folder.join(format!("fsync-probe-{file}")))))
            .collect();
        for probe in probes {
            let one = probe.join().map_err(|_| anyhow!("a probe panicked"))??;
            times.add(one)?;
        }
        Ok(times)
    })
}

fn one_file(path: &Path) -> Result<Histogram<u64>> {
    let file = std::fs::File::create(path)?;
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
    std::fs::remove_file(path)?;
    Ok(times)
}
