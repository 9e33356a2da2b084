use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::{FileSystem, MemFs};

const DIR: &str = "log";
const SMALL: LogOptions = LogOptions {
    segment_bytes: 4096,
};

/// What a restart saw, in order.
type Seen = Vec<(u64, Vec<u8>)>;

fn open(disk: &MemFs) -> Result<(SegmentLog, Recovered, Seen), LogError> {
    let mut seen = Seen::new();
    let (log, recovered) = SegmentLog::open(
        Arc::new(disk.clone()),
        DIR,
        SMALL,
        &mut |segment, record| {
            seen.push((segment, record.to_vec()));
            Ok(())
        },
    )?;
    Ok((log, recovered, seen))
}

fn append(log: &mut SegmentLog, records: &[&[u8]]) -> u64 {
    log.append(records, &mut || vec![b"checkpoint".to_vec()])
        .unwrap()
}

fn records(seen: &Seen) -> Vec<&[u8]> {
    seen.iter()
        .map(|(_, record)| record.as_slice())
        .filter(|record| *record != b"checkpoint")
        .collect()
}

#[test]
fn what_was_appended_comes_back_in_order() {
    let disk = MemFs::default();
    let (mut log, _, seen) = open(&disk).unwrap();
    assert!(seen.is_empty());
    append(&mut log, &[b"a", b""]);
    append(&mut log, &[b"b"]);
    log.sync().unwrap();
    disk.crash(&mut fastrand::Rng::with_seed(0));
    let (_, recovered, seen) = open(&disk).unwrap();
    assert_eq!(records(&seen), [&b"a"[..], b"", b"b"]);
    assert_eq!(
        recovered,
        Recovered {
            records: 3,
            torn: None
        }
    );
}

#[test]
fn segments_roll_and_are_dropped() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    for _ in 0..20 {
        append(&mut log, &[&[7; 1000]]);
    }
    assert!(log.segment() > 4);
    let keep = log.segment() - 1;
    log.drop_below(keep).unwrap();
    assert_eq!(log.first_segment(), keep);
    log.drop_below(u64::MAX).unwrap();
    assert_eq!(
        log.first_segment(),
        log.segment(),
        "the current segment is never dropped"
    );
    log.sync().unwrap();
    disk.crash(&mut fastrand::Rng::with_seed(0));
    let (log, _, seen) = open(&disk).unwrap();
    assert_eq!(seen[0], (log.segment(), b"checkpoint".to_vec()));
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_segment_of_its_size() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    let big = vec![5; 100_000];
    append(&mut log, &[&big]);
    append(&mut log, &[b"after"]);
    log.close().unwrap();
    let (_, _, seen) = open(&disk).unwrap();
    assert_eq!(records(&seen), [&big[..], b"after"]);
}

#[test]
fn a_failed_sync_poisons_and_a_restart_does_not_trust_the_page_cache() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    append(&mut log, &[b"a"]);
    disk.fail_syncs(1);
    assert!(matches!(log.sync(), Err(LogError::Io { .. })));
    assert!(matches!(log.sync(), Err(LogError::Poisoned)));
    assert!(matches!(
        log.append(&[b"b"], &mut Vec::new),
        Err(LogError::Poisoned)
    ));
    assert!(matches!(log.roll(&[]), Err(LogError::Poisoned)));
    assert!(matches!(log.drop_below(1), Err(LogError::Poisoned)));
    disk.kill();
    let (_, _, seen) = open(&disk).unwrap();
    assert_eq!(records(&seen), [b"a"], "the page cache still has it");
    disk.crash(&mut fastrand::Rng::with_seed(3));
    let (_, _, seen) = open(&disk).unwrap();
    assert_eq!(
        records(&seen),
        [b"a"],
        "what was shown once must be durable"
    );
}

#[test]
fn a_full_disk_poisons() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    disk.fail_after(Some(10));
    assert!(matches!(
        log.append(&[b"0123456789"], &mut Vec::new),
        Err(LogError::Io { .. })
    ));
    disk.fail_after(None);
    assert!(matches!(
        log.append(&[b"b"], &mut Vec::new),
        Err(LogError::Poisoned)
    ));
}

#[test]
fn a_disk_without_room_for_a_whole_segment_gets_a_smaller_one() {
    let disk = MemFs::default();
    let seen = RefCell::new(Vec::new());
    let reopen = || {
        let mut visit = |_, record: &[u8]| {
            seen.borrow_mut().push(record.to_vec());
            Ok(())
        };
        let options = LogOptions {
            segment_bytes: 1 << 20,
        };
        SegmentLog::open(Arc::new(disk.clone()), DIR, options, &mut visit)
    };
    let (mut log, _) = reopen().unwrap();
    disk.fail_after(Some(100_000));
    log.roll(&[]).unwrap();
    append(&mut log, &[b"taken"]);
    log.sync().unwrap();
    drop(log);
    let (mut log, _) = reopen().unwrap();
    assert_eq!(*seen.borrow(), [b"taken".to_vec()]);
    disk.fail_after(Some(10_000));
    assert!(log.roll(&[]).is_err(), "a disk that is full stays full");
}

#[test]
fn left_overs_of_a_torn_tail_never_come_back() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    append(&mut log, &[b"kept"]);
    log.sync().unwrap();
    let torn_at = log.position().offset;
    append(&mut log, &[b"torn"]);
    append(&mut log, &[b"left"]);
    disk.kill();
    let path = segment::path(Path::new(DIR), 1);
    // As if the sector of "torn" had not been written and that of "left" had.
    disk.open(&path)
        .unwrap()
        .write_at(torn_at + 30, b"?")
        .unwrap();
    let (mut log, recovered, seen) = open(&disk).unwrap();
    assert_eq!(records(&seen), [b"kept"]);
    assert_eq!(
        recovered.torn.unwrap().at,
        Position {
            segment: 1,
            offset: torn_at
        }
    );
    append(&mut log, &[b"next"]);
    log.sync().unwrap();
    disk.kill();
    assert_eq!(records(&open(&disk).unwrap().2), [&b"kept"[..], b"next"]);
}

#[test]
fn damage_that_a_later_batch_disproves_is_corruption() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    append(&mut log, &[b"first"]);
    log.sync().unwrap();
    append(&mut log, &[b"second"]);
    log.sync().unwrap();
    let path = segment::path(Path::new(DIR), 1);
    let place = log.proven().offset - 10;
    assert!(disk.flip(&path, place, 3));
    disk.kill();
    let Err(LogError::Corrupt { file, offset, .. }) = open(&disk) else {
        panic!("not told")
    };
    assert!(file.ends_with("00000000000000000001.log") && offset <= place);
    disk.flip(&path, place, 3);
    assert_eq!(records(&open(&disk).unwrap().2).len(), 2);
}

#[test]
fn a_closed_log_tells_all_damage() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    append(&mut log, &[b"one", b"two"]);
    let end = log.position().offset;
    log.close().unwrap();
    let path = segment::path(Path::new(DIR), 1);
    let mut silent = 0;
    for bit in 0..end * 8 {
        disk.flip(&path, bit / 8, (bit % 8) as u8);
        match open(&disk) {
            Err(LogError::Corrupt { .. }) => {}
            Ok((_, _, seen)) => {
                assert_eq!(records(&seen), [b"one", b"two"], "bit {bit}");
                silent += 1;
            }
            Err(other) => panic!("{other}"),
        }
        disk.flip(&path, bit / 8, (bit % 8) as u8);
    }
    assert!(
        silent < 7 * 8 * 3,
        "only padding may be damaged unseen: {silent} bits"
    );
}

#[test]
fn missing_and_foreign_files_are_told() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    for _ in 0..3 {
        log.roll(&[]).unwrap();
    }
    disk.create(Path::new("log/notes.txt")).unwrap();
    assert!(open(&disk).is_ok(), "other names are left alone");
    let second = segment::path(Path::new(DIR), 2);
    disk.rename(&second, Path::new("log/aside")).unwrap();
    assert!(
        matches!(open(&disk), Err(LogError::Corrupt { .. })),
        "a gap"
    );
    disk.rename(Path::new("log/aside"), &segment::path(Path::new(DIR), 5))
        .unwrap();
    disk.rename(&segment::path(Path::new(DIR), 1), &second)
        .unwrap();
    assert!(
        matches!(open(&disk), Err(LogError::Corrupt { .. })),
        "a segment under another's name"
    );
}

#[test]
fn the_loss_of_the_last_segments_is_told() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    append(&mut log, &[b"one"]);
    for _ in 0..3 {
        log.roll(&[]).unwrap();
    }
    disk.kill();
    for number in (1..=4).rev() {
        disk.remove(&segment::path(Path::new(DIR), number)).unwrap();
        let Err(LogError::Corrupt { file, why, .. }) = open(&disk) else {
            panic!("the loss of segment {number} was not told")
        };
        assert!(
            file.ends_with("00000000000000000004.log") && why.contains("missing"),
            "{file}: {why}"
        );
    }
}

#[test]
fn the_loss_of_the_file_that_names_the_newest_segment_is_told() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    log.roll(&[]).unwrap();
    disk.kill();
    disk.remove(Path::new("log/newest")).unwrap();
    assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })));
}

#[test]
fn the_loss_of_what_was_synced_last_is_told_though_a_torn_write_looks_the_same() {
    for whole_end in [true, false] {
        let disk = MemFs::default();
        let (mut log, ..) = open(&disk).unwrap();
        append(&mut log, &[b"one"]);
        log.sync().unwrap();
        let before = log.position().offset;
        append(&mut log, &[b"two"]);
        log.sync().unwrap();
        let end = log.position().offset;
        disk.kill();
        let path = segment::path(Path::new(DIR), 1);
        if whole_end {
            let zeros = vec![0; (end - before) as usize];
            let mut file = disk.open(&path).unwrap();
            file.write_at(before, &zeros).unwrap();
            file.sync().unwrap();
        } else {
            disk.flip(&path, before, 0);
        }
        for _ in 0..2 {
            let Err(LogError::Corrupt { offset, why, .. }) = open(&disk) else {
                panic!("the loss was not told")
            };
            assert_eq!(offset, before);
            assert!(why.contains("its end is lost"), "{why}");
        }
    }
}

#[test]
fn a_file_that_says_less_or_nothing_of_what_was_synced_is_no_damage() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    append(&mut log, &[b"one"]);
    log.sync().unwrap();
    let file = Path::new("log/synced");
    let mut old = [0; 20];
    disk.open(file).unwrap().read_at(0, &mut old).unwrap();
    append(&mut log, &[b"two"]);
    log.sync().unwrap();
    for left in [&old[..], &[0; 20], &[7; 20]] {
        disk.open(file).unwrap().write_at(0, left).unwrap();
        disk.kill();
        assert_eq!(records(&open(&disk).unwrap().2), [b"one", b"two"]);
    }
    disk.remove(file).unwrap();
    assert!(open(&disk).is_ok());
}

/// A crash at any write, sync or rename of a roll, then another after more was acknowledged: all of it is there, and
/// the segment's loss is told.
#[test]
fn a_crash_amid_a_roll_leaves_a_log_whose_last_segment_is_known() {
    let (mut rolled, mut not) = (0, 0);
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = MemFs::default();
        let (mut log, ..) = open(&disk).unwrap();
        append(&mut log, &[b"before"]);
        log.sync().unwrap();
        match rng.bool() {
            true => disk.fail_after(Some(rng.u64(..400))),
            false => disk.fail_syncs(1),
        }
        let _ = log.roll(&[]);
        disk.fail_after(None);
        disk.fail_syncs(0);
        disk.crash(&mut rng);
        let (mut log, _, seen) = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(records(&seen), [b"before"], "seed {seed}");
        append(&mut log, &[b"after"]);
        log.sync().unwrap();
        disk.crash(&mut rng);
        let (log, _, seen) = open(&disk).unwrap();
        assert_eq!(records(&seen), [&b"before"[..], b"after"], "seed {seed}");
        let last = log.segment();
        if last == 2 {
            rolled += 1;
        } else {
            not += 1;
        }
        disk.remove(&segment::path(Path::new(DIR), last)).unwrap();
        assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })));
    }
    assert!(rolled > 20 && not > 20, "{rolled} {not}");
}

#[test]
fn a_shortened_file_is_told() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    append(&mut log, &[b"one"]);
    log.sync().unwrap();
    disk.kill();
    disk.open(&segment::path(Path::new(DIR), 1))
        .unwrap()
        .set_len(100)
        .unwrap();
    assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })));
}

#[test]
fn what_the_visitor_refuses_is_corruption() {
    let disk = MemFs::default();
    let (mut log, ..) = open(&disk).unwrap();
    append(&mut log, &[b"one"]);
    log.close().unwrap();
    let opened = SegmentLog::open(Arc::new(disk), DIR, SMALL, &mut |_, _| {
        Err("what is this?".to_owned())
    });
    assert!(matches!(opened, Err(LogError::Corrupt { why, .. }) if why == "what is this?"));
}

/// Batches with what is known of them.
#[derive(Default)]
struct Model {
    /// Segment and records of each batch that may still be there, in order.
    batches: Vec<(u64, Vec<Vec<u8>>)>,
    synced: usize,
    next: u64,
}

impl Model {
    fn batch(&mut self, rng: &mut fastrand::Rng) -> Vec<Vec<u8>> {
        (0..rng.usize(1..4))
            .map(|_| {
                self.next += 1;
                let mut record = self.next.to_le_bytes().to_vec();
                record.resize(8 + rng.usize(..700), rng.u8(..2));
                record
            })
            .collect()
    }

    /// Takes over what a restart found; it must be a prefix of at least `least` batches, whole ones.
    fn accept(&mut self, seen: &Seen, least: usize, context: &str) -> usize {
        let found = records(seen);
        let mut rest = found.as_slice();
        let mut whole = 0;
        for (_, batch) in &self.batches {
            if rest.is_empty() {
                break;
            }
            assert!(
                rest.len() >= batch.len(),
                "{context}: a batch came back in part"
            );
            assert!(
                rest[..batch.len()].iter().eq(batch.iter()),
                "{context}: not what was appended, or out of order"
            );
            rest = &rest[batch.len()..];
            whole += 1;
        }
        assert!(
            rest.is_empty(),
            "{context}: a record that was never appended"
        );
        assert!(
            whole >= least,
            "{context}: {whole} batches came back, {least} were synced"
        );
        let lost = self.batches.len() - whole;
        self.batches.truncate(whole);
        self.synced = whole;
        lost
    }
}

/// Random lives on a disk that crashes, tears and flips: what was synced is there or missed, what was not is there
/// in order or gone.
#[test]
fn random_lives() {
    let (mut lost, mut torn, mut told, mut rolled) = (0, 0, 0, 0);
    for seed in 0..1500 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = MemFs::default();
        let mut model = Model::default();
        for life in 0..4 {
            let context = format!("seed {seed}, life {life}");
            let (mut log, recovered, seen) =
                open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            lost += model.accept(&seen, model.synced, &context);
            torn += usize::from(recovered.torn.is_some());
            live(&mut log, &disk, &mut model, &mut rng);
            rolled += usize::from(log.segment() > 2);
            let proven = log.proven();
            if rng.bool() {
                disk.crash(&mut rng)
            } else {
                disk.kill()
            }
            if rng.u8(..4) == 0 && flip_proven(&disk, proven, &mut rng) {
                match open(&disk) {
                    Err(LogError::Corrupt { .. }) => told += 1,
                    Err(other) => panic!("{context}: {other}"),
                    Ok((.., seen)) => {
                        let least = model.synced;
                        model.accept(&seen, least, &format!("{context}, flipped"));
                    }
                }
                break;
            }
        }
    }
    assert!(
        lost > 100 && torn > 100 && told > 100 && rolled > 100,
        "{lost} {torn} {told} {rolled}"
    );
}

fn live(log: &mut SegmentLog, disk: &MemFs, model: &mut Model, rng: &mut fastrand::Rng) {
    for _ in 0..rng.usize(..25) {
        let failed = match rng.u8(..24) {
            0 => log
                .roll(&[b"checkpoint".to_vec()])
                .map(|_| model.synced = model.batches.len())
                .is_err(),
            1 => {
                let below = rng.u64(log.first_segment()..=log.segment());
                let dropped = log.drop_below(below).is_ok();
                if dropped {
                    let before = model.batches.len();
                    model.batches.retain(|(segment, _)| *segment >= below);
                    model.synced = model.synced.saturating_sub(before - model.batches.len());
                }
                !dropped
            }
            2 => {
                disk.fail_syncs(1);
                false
            }
            3 => {
                disk.fail_after(Some(rng.u64(..3000)));
                false
            }
            4..=9 => log
                .sync()
                .map(|()| model.synced = model.batches.len())
                .is_err(),
            _ => append_to(log, model, rng),
        };
        if failed {
            assert!(matches!(log.sync(), Err(LogError::Poisoned)));
            break;
        }
    }
    disk.fail_after(None);
    disk.fail_syncs(0);
}

/// True if it failed: then the batch may be there or not.
fn append_to(log: &mut SegmentLog, model: &mut Model, rng: &mut fastrand::Rng) -> bool {
    let before = log.segment();
    let batch = model.batch(rng);
    let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    let appended = log.append(&slices, &mut || vec![b"checkpoint".to_vec()]);
    if log.segment() > before {
        model.synced = model.batches.len();
    }
    model.batches.push((log.segment(), batch));
    appended.is_err()
}

/// Flips a bit of what a log wrote before the border up to which damage is told.
fn flip_proven(disk: &MemFs, proven: Position, rng: &mut fastrand::Rng) -> bool {
    let numbers: Vec<u64> = disk
        .list(Path::new(DIR))
        .unwrap()
        .iter()
        .filter_map(|n| segment::number_of(n))
        .collect();
    let Some(number) = (!numbers.is_empty()).then(|| numbers[rng.usize(..numbers.len())]) else {
        return false;
    };
    let end = if number == proven.segment {
        proven.offset
    } else {
        4096
    };
    number <= proven.segment
        && disk.flip(
            &segment::path(Path::new(DIR), number),
            rng.u64(..end),
            rng.u8(..8),
        )
}
