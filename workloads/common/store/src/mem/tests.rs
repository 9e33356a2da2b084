use super::*;

/// What any [`FileSystem`] must do while nothing crashes.
pub(crate) fn behaves(disk: &dyn FileSystem) {
    let path = Path::new;
    assert_eq!(disk.list(path("nowhere")).unwrap(), Vec::<String>::new());
    disk.create_dir_all(path("a/b")).unwrap();
    disk.create_dir_all(path("a/b")).unwrap();
    let mut file = disk.create(path("a/b/two")).unwrap();
    assert!(disk.create(path("a/b/two")).is_err(), "the name is taken");
    assert!(
        disk.create(path("a/none/two")).is_err(),
        "there is no such folder"
    );
    assert_eq!(
        disk.open(path("a/b/none")).err().unwrap().kind(),
        ErrorKind::NotFound
    );
    assert!(file.is_empty().unwrap());
    file.write_at(3, b"abc").unwrap();
    let mut buf = [9; 8];
    assert_eq!(file.read_at(0, &mut buf).unwrap(), 6);
    assert_eq!(&buf, b"\0\0\0abc\x09\x09");
    assert_eq!(file.read_at(100, &mut buf).unwrap(), 0);
    file.set_len(4).unwrap();
    file.set_len(2000).unwrap();
    assert_eq!(file.len().unwrap(), 2000);
    assert_eq!(file.read_at(3, &mut buf[..3]).unwrap(), 3);
    assert_eq!(&buf[..3], b"a\0\0", "what lay beyond a cut is gone");
    file.sync().unwrap();
    disk.create(path("a/b/one")).unwrap();
    disk.sync_dir(path("a/b")).unwrap();
    assert_eq!(disk.list(path("a/b")).unwrap(), ["one", "two"]);
    disk.rename(path("a/b/two"), path("a/b/one")).unwrap();
    let sizes = ["a", "a/b/one", "a/b/two"].map(|name| disk.size(path(name)).unwrap());
    assert_eq!(sizes, [2000, 2000, 0]);
    assert_eq!(
        disk.list(path("a/b")).unwrap(),
        ["one"],
        "a rename replaces a file"
    );
    assert_eq!(disk.open(path("a/b/one")).unwrap().len().unwrap(), 2000);
    disk.rename(path("a/b"), path("c")).unwrap();
    assert_eq!(
        disk.list(path("c")).unwrap(),
        ["one"],
        "a folder moves with what is in it"
    );
    assert_eq!(disk.list(path("a")).unwrap(), Vec::<String>::new());
    disk.remove(path("c/one")).unwrap();
    disk.remove(path("c/one")).unwrap();
    disk.create_dir_all(path("c/d/e")).unwrap();
    disk.create(path("c/d/e/x")).unwrap();
    disk.remove_dir_all(path("c")).unwrap();
    disk.remove_dir_all(path("c")).unwrap();
    assert_eq!(disk.list(path("")).unwrap(), ["a"]);
    disk.sync_dir(path("")).unwrap();
}

#[test]
fn it_behaves() {
    behaves(&MemFs::default());
}

fn content(disk: &MemFs, name: &str) -> Vec<u8> {
    let file = disk.open(Path::new(name)).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_crash_keeps_what_was_synced_and_tears_the_rest_by_sectors() {
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for seed in 0..300 {
        let disk = MemFs::default();
        let mut file = disk.create(Path::new("f")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(0, &[1; 700]).unwrap();
        file.sync().unwrap();
        file.write_at(700, &[2; 1348]).unwrap();
        disk.crash(&mut fastrand::Rng::with_seed(seed));
        assert!(file.len().is_err(), "the handle is dead");
        let bytes = content(&disk, "f");
        assert_eq!(bytes[..700], [1; 700], "seed {seed}");
        assert!(bytes.len() == 700 || bytes.len() == 2048);
        match bytes[700..].iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            1348 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(lost > 20 && kept > 20 && torn > 20, "{lost} {kept} {torn}");
}

#[test]
fn overwritten_durable_bytes_are_old_or_new_never_zero() {
    for seed in 0..300 {
        let disk = MemFs::default();
        let mut file = disk.create(Path::new("f")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(0, &[1; 2048]).unwrap();
        file.sync().unwrap();
        file.write_at(100, &[2; 1900]).unwrap();
        disk.crash(&mut fastrand::Rng::with_seed(seed));
        let bytes = content(&disk, "f");
        assert!(
            bytes.len() == 2048 && bytes.iter().all(|byte| *byte == 1 || *byte == 2),
            "seed {seed}"
        );
    }
}

#[test]
fn names_that_were_not_synced_may_vanish_or_stay() {
    let (mut vanished, mut stayed) = (0, 0);
    for seed in 0..200 {
        let disk = MemFs::default();
        disk.create(Path::new("old")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        disk.create(Path::new("new")).unwrap();
        disk.rename(Path::new("new"), Path::new("old")).unwrap();
        disk.create(Path::new("last")).unwrap();
        disk.crash(&mut fastrand::Rng::with_seed(seed));
        let names = disk.list(Path::new("")).unwrap();
        assert!(names.contains(&"old".to_owned()), "seed {seed}: {names:?}");
        assert!(
            !names.contains(&"last".to_owned()) || !names.contains(&"new".to_owned()),
            "out of order"
        );
        if names.contains(&"last".to_owned()) {
            stayed += 1
        } else {
            vanished += 1
        }
    }
    assert!(vanished > 20 && stayed > 20, "{vanished} {stayed}");
}

#[test]
fn a_rename_that_was_synced_leaves_no_second_name() {
    for seed in 0..50 {
        let disk = MemFs::default();
        for folder in ["a", "b"] {
            disk.create_dir_all(Path::new(folder)).unwrap();
        }
        disk.create(Path::new("a/x")).unwrap();
        disk.rename(Path::new("a/x"), Path::new("b/x")).unwrap();
        disk.sync_dir(Path::new("b")).unwrap();
        disk.crash(&mut fastrand::Rng::with_seed(seed));
        assert_eq!(
            disk.list(Path::new("a")).unwrap().len() + disk.list(Path::new("b")).unwrap().len(),
            1
        );
        assert!(disk.open(Path::new("b/x")).is_ok());
    }
}

#[test]
fn faults_come_when_asked_for() {
    let disk = MemFs::default();
    let mut file = disk.create(Path::new("f")).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    disk.fail_after(Some(3));
    assert_eq!(
        file.write_at(0, b"abcde").err().unwrap().kind(),
        ErrorKind::StorageFull
    );
    assert_eq!(file.len().unwrap(), 3);
    disk.fail_after(None);
    disk.fail_syncs(1);
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok());
    assert_eq!(
        disk.durable_len(Path::new("f")).unwrap(),
        0,
        "pages of a failed sync are clean and lost"
    );
    file.write_at(0, b"xyz").unwrap();
    file.sync().unwrap();
    assert!(disk.flip(Path::new("f"), 1, 0) && !disk.flip(Path::new("f"), 3, 0));
    assert_eq!(content(&disk, "f"), b"xxz");
    disk.set_available(7);
    assert_eq!(disk.available().unwrap(), 7);
    disk.kill();
    assert!(file.sync().is_err());
    assert_eq!(content(&disk, "f"), b"xxz");
}
