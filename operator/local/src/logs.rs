//! The pods' logs: bounded, and readable while they grow.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

/// A log is cut at this size, and the part before is kept once: twice this per pod at most.
const MAX_BYTES: u64 = 16 << 20;
const CHUNK_BYTES: usize = 64 << 10;
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// Cuts a log that has grown too large. The member keeps its descriptor (it must be able to write while no `up` runs),
/// so the file is copied and emptied rather than renamed; it writes by appending, so it goes on at the new beginning.
pub(crate) fn rotate(log: &Path) -> io::Result<()> {
    if fs::metadata(log).is_ok_and(|meta| meta.len() > MAX_BYTES) {
        fs::copy(log, earlier(log))?;
        OpenOptions::new().write(true).truncate(true).open(log)?;
    }
    Ok(())
}

fn earlier(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Sends a log from its last `tail` lines on (all of it when none is given), and what is added while someone listens
/// if `follow`.
pub(crate) async fn send(
    log: PathBuf,
    tail: Option<usize>,
    follow: bool,
    to: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut file = File::open(&log)?;
    let mut at = start_of_tail(&mut file, tail)?;
    loop {
        if file.metadata()?.len() < at {
            // It was cut: what is there now is new.
            at = 0;
        }
        file.seek(SeekFrom::Start(at))?;
        let mut chunk = Vec::new();
        (&file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        at += chunk.len() as u64;
        let end = chunk.is_empty();
        if !end && to.send(chunk).await.is_err() {
            return Ok(());
        }
        match (end, follow) {
            (true, false) => return Ok(()),
            (true, true) => tokio::select! {
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
                () = to.closed() => return Ok(()),
            },
            (false, _) => {}
        }
    }
}

/// Where the last `lines` lines begin.
fn start_of_tail(file: &mut File, lines: Option<usize>) -> io::Result<u64> {
    let Some(lines) = lines else { return Ok(0) };
    let mut end = file.metadata()?.len();
    let mut wanted = lines;
    let mut last = true;
    while end > 0 {
        let from = end.saturating_sub(CHUNK_BYTES as u64);
        let mut chunk = vec![0; (end - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut chunk)?;
        for (at, _) in chunk
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            let position = from + at as u64 + 1;
            // The end of the last line is no beginning of another.
            if std::mem::take(&mut last) && position == file.metadata()?.len() {
                continue;
            }
            wanted = wanted.saturating_sub(1);
            if wanted == 0 {
                return Ok(position);
            }
        }
        end = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    async fn read(log: &Path, tail: Option<usize>) -> String {
        let (to, mut from) = mpsc::channel(1);
        let sending = tokio::spawn(send(log.to_owned(), tail, false, to));
        let mut text = Vec::new();
        while let Some(chunk) = from.recv().await {
            text.extend(chunk);
        }
        sending.await.unwrap().unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn the_last_lines() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("a.log");
        for (content, tail, expected) in [
            ("1\n2\n3\n", Some(2), "2\n3\n"),
            ("1\n2\n3", Some(2), "2\n3"),
            ("1\n2\n", Some(9), "1\n2\n"),
            ("1\n2\n", None, "1\n2\n"),
            ("", Some(1), ""),
            ("\n\n", Some(1), "\n"),
        ] {
            fs::write(&log, content).unwrap();
            assert_eq!(read(&log, tail).await, expected, "{content:?} {tail:?}");
        }
        let long: String = (0..50_000).map(|line| format!("{line}\n")).collect();
        fs::write(&log, &long).unwrap();
        assert_eq!(
            read(&log, Some(20_000)).await,
            long[long.find("\n30000\n").unwrap() + 1..]
        );
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_after_it_was_cut() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("a.log");
        let mut writer = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        writer
            .write_all(&vec![b'x'; MAX_BYTES as usize + 1])
            .unwrap();
        let (to, mut from) = mpsc::channel(1);
        let sending = tokio::spawn(send(log.clone(), None, true, to));
        let mut seen = 0;
        while seen < MAX_BYTES as usize + 1 {
            seen += from.recv().await.unwrap().len();
        }
        rotate(&log).unwrap();
        writer.write_all(b"new").unwrap();
        assert_eq!(from.recv().await.unwrap(), b"new");
        drop(from);
        sending.await.unwrap().unwrap();
        assert_eq!(fs::metadata(earlier(&log)).unwrap().len(), MAX_BYTES + 1);
    }
}
