//! Who this member is: an identity drawn when its disk was first opened, never the ordinal, never used twice. A
//! removed identity's data is set aside, and the disk begins anew with another.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message as _;
use quorate_raft::MemberId;
use quorate_store::atomic_file::{self, AtomicFileError};
use quorate_store::{Disk, FileSystem};

use crate::paths;

const VERSION: u32 = 1;
/// How many removed identities' data are kept at most; the latest always is.
const KEPT: usize = 2;

/// What a member knows of itself before anything else is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its identity; 0 when it cannot be read (then `damage` says so).
    pub id: MemberId,
    /// The cluster it belongs to.
    pub cluster: String,
    /// True when the disk was empty, or has just been emptied: the state store must be empty too.
    pub fresh: bool,
    /// True when it has had a log on this disk. Before that it has promised nothing to anybody; after it, a disk
    /// without a log has lost its votes.
    pub begun: bool,
    /// The removed identity whose data was just set aside.
    pub set_aside: Option<MemberId>,
    /// Why the identity cannot be trusted.
    pub damage: Option<String>,
}

/// Why a member must not start on this disk.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk belongs to another cluster (an earlier resource of the same name, say).
    #[error(
        "the data in this folder belongs to cluster {found}, but this member is configured for {expected}: \
         use an empty folder, or remove the old data"
    )]
    OtherCluster {
        /// As found on the disk.
        found: String,
        /// As configured.
        expected: String,
    },
    /// The disk refused.
    #[error("identity: {0}")]
    Io(#[from] io::Error),
    /// The identity file could not be read or written.
    #[error(transparent)]
    File(#[from] AtomicFileError),
}

impl Identity {
    /// That of a disk whose own is damaged or lost: nobody's, so that it neither votes nor serves.
    fn untrusted(cluster: &str, why: &str) -> Self {
        Self {
            id: MemberId(0),
            cluster: cluster.into(),
            fresh: false,
            begun: true,
            set_aside: None,
            damage: Some(format!(
                "{why}; remove this member and give it an empty folder"
            )),
        }
    }
}

/// Reads the identity of the member `name` of `cluster`. `data` are the names besides its own under which the disk keeps a member's data: where they are
/// and the identity is not, it was lost, and no new one takes its place over them. On an empty
/// disk `drawn` (random, not 0) becomes the identity, durably. When the identity on the disk was removed from its group,
/// its data moves into a folder of its own first (the latest two are kept where there is room for both). Call it before
/// the state store is opened: the store's files move too.
pub fn open_identity(
    disk: &Disk,
    cluster: &str,
    name: &str,
    drawn: MemberId,
    data: &[&str],
) -> Result<Identity, IdentityError> {
    let disk = &**disk;
    let (found, damage) = match read(disk) {
        Ok(found) => (found, None),
        Err(ReadError::Damaged(why)) => (None, Some(why)),
        Err(ReadError::Io(error)) => return Err(error.into()),
    };
    if let Some(damage) = damage {
        return Ok(Identity::untrusted(cluster, &damage));
    }
    let Some(found) = found else {
        let own = [paths::LOG, paths::SNAPSHOTS];
        if let Some(name) = own.iter().chain(data).find(|name| exists(disk, name)) {
            let why = format!("the folder holds `{name}` but no identity: it was lost");
            return Ok(Identity::untrusted(cluster, &why));
        }
        write(
            disk,
            &OnDisk {
                cluster: cluster.into(),
                id: drawn.0,
                earlier: Vec::new(),
                begun: false,
                name: name.into(),
            },
        )?;
        return Ok(Identity {
            id: drawn,
            cluster: cluster.into(),
            fresh: true,
            begun: false,
            set_aside: None,
            damage: None,
        });
    };
    if found.cluster != cluster {
        return Err(IdentityError::OtherCluster {
            found: found.cluster,
            expected: cluster.into(),
        });
    }
    let id = MemberId(found.id);
    // Two with one identity would throw each other off their connections, and vote twice.
    if !found.name.is_empty() && found.name != name {
        let why = format!(
            "the folder holds the identity {id} of {}, and this is {name}: its volume is a copy of that member's, or that \
             member's own",
            found.name
        );
        return Ok(Identity::untrusted(cluster, &why));
    }
    if removed(disk)? != Some(id) {
        // A crash after the new identity was written may have left the mark of the old one.
        disk.remove(Path::new(paths::REMOVED))?;
        if found.name.is_empty() {
            // Written before identities had names.
            let named = OnDisk {
                name: name.into(),
                ..found.clone()
            };
            write(disk, &named)?;
        }
        return Ok(Identity {
            id,
            cluster: found.cluster,
            fresh: false,
            begun: found.begun,
            set_aside: None,
            damage: None,
        });
    }
    set_aside(disk, found, name, drawn)?;
    Ok(Identity {
        id: drawn,
        cluster: cluster.into(),
        fresh: true,
        begun: false,
        set_aside: Some(id),
        damage: None,
    })
}

/// Notes durably that this identity was removed from its group.
pub(crate) fn mark_removed(disk: &dyn FileSystem, id: MemberId) -> Result<(), AtomicFileError> {
    atomic_file::write(
        disk,
        Path::new(paths::REMOVED),
        VERSION,
        &id.0.to_be_bytes(),
    )
}

/// Notes durably that the identity's log is on the disk, before the member takes part in anything.
pub(crate) fn begin(disk: &dyn FileSystem, identity: &Identity) -> Result<(), IdentityError> {
    if identity.begun {
        return Ok(());
    }
    match read(disk) {
        Ok(Some(found)) if found.id == identity.id.0 => {
            write(
                disk,
                &OnDisk {
                    begun: true,
                    ..found
                },
            )?;
            Ok(())
        }
        Err(ReadError::Io(error)) => Err(error.into()),
        Ok(_) | Err(ReadError::Damaged(_)) => {
            let why = "the identity changed while the member started";
            Err(io::Error::other(why).into())
        }
    }
}

/// The identity on a disk that [`open_identity`] has opened.
pub(crate) fn current(disk: &dyn FileSystem) -> Option<MemberId> {
    read(disk).ok().flatten().map(|found| MemberId(found.id))
}

/// What an identity holds, by name: everything but itself and what earlier ones left.
fn names_held(disk: &dyn FileSystem) -> io::Result<Vec<String>> {
    let mut names = disk.list(Path::new(""))?;
    names.retain(|name| {
        let stays = name == paths::IDENTITY || name == paths::REMOVED || name == "lost+found";
        !stays && !name.starts_with("removed-")
    });
    Ok(names)
}

/// The bytes that the identity on this disk holds.
pub(crate) fn held(disk: &dyn FileSystem) -> io::Result<u64> {
    let mut names = names_held(disk)?.into_iter();
    names.try_fold(0, |sum, name| Ok(sum + disk.size(Path::new(&name))?))
}

/// Moves everything but the identity, then replaces the identity: that is the point of no return, and whatever a
/// crash interrupts before it is taken up again.
fn set_aside(
    disk: &dyn FileSystem,
    found: OnDisk,
    name: &str,
    drawn: MemberId,
) -> Result<(), IdentityError> {
    let folder = PathBuf::from(paths::set_aside(MemberId(found.id)));
    disk.create_dir_all(&folder)?;
    for held in names_held(disk)? {
        disk.rename(Path::new(&held), &folder.join(&held))?;
    }
    let content = found.encode_to_vec();
    atomic_file::write(disk, &folder.join(paths::IDENTITY), VERSION, &content)?;
    disk.sync_dir(Path::new(""))?;
    let mut earlier = vec![found.id];
    earlier.extend(found.earlier);
    // The new identity will need as much again, and space to grow.
    let room = disk.available()? / 2 >= disk.size(&folder)?;
    earlier.truncate(if room { KEPT } else { 1 });
    let kept: Vec<String> = earlier
        .iter()
        .map(|id| paths::set_aside(MemberId(*id)))
        .collect();
    write(
        disk,
        &OnDisk {
            cluster: found.cluster,
            id: drawn.0,
            earlier,
            begun: false,
            name: name.into(),
        },
    )?;
    for old in disk.list(Path::new(""))? {
        if old.starts_with("removed-") && !kept.contains(&old) {
            disk.remove_dir_all(Path::new(&old))?;
        }
    }
    disk.remove(Path::new(paths::REMOVED))?;
    disk.sync_dir(Path::new(""))?;
    Ok(())
}

#[derive(Clone, PartialEq, prost::Message)]
struct OnDisk {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(fixed64, tag = "2")]
    id: u64,
    /// Identities whose data was set aside, the latest first.
    #[prost(fixed64, repeated, tag = "3")]
    earlier: Vec<u64>,
    #[prost(bool, tag = "4")]
    begun: bool,
    /// The member whose disk it is.
    #[prost(string, tag = "5")]
    name: String,
}

enum ReadError {
    Damaged(String),
    Io(AtomicFileError),
}

fn read(disk: &dyn FileSystem) -> Result<Option<OnDisk>, ReadError> {
    let content = match atomic_file::read(disk, Path::new(paths::IDENTITY)) {
        Ok(Some((VERSION, content))) => content,
        Ok(Some((version, _))) => {
            return Err(ReadError::Damaged(format!(
                "the identity has format {version}"
            )));
        }
        Ok(None) => return Ok(None),
        Err(AtomicFileError::Io { file, source }) => {
            return Err(ReadError::Io(AtomicFileError::Io { file, source }));
        }
        Err(damaged) => return Err(ReadError::Damaged(damaged.to_string())),
    };
    let found = OnDisk::decode(content.as_slice())
        .map_err(|error| ReadError::Damaged(error.to_string()))?;
    if found.id == 0 {
        return Err(ReadError::Damaged("the identity is zero".into()));
    }
    Ok(Some(found))
}

fn write(disk: &dyn FileSystem, identity: &OnDisk) -> Result<(), AtomicFileError> {
    atomic_file::write(
        disk,
        Path::new(paths::IDENTITY),
        VERSION,
        &identity.encode_to_vec(),
    )
}

fn removed(disk: &dyn FileSystem) -> Result<Option<MemberId>, IdentityError> {
    match atomic_file::read(disk, Path::new(paths::REMOVED)) {
        Ok(Some((_, content))) => Ok(content
            .try_into()
            .ok()
            .map(|id| MemberId(u64::from_be_bytes(id)))),
        Ok(None) => Ok(None),
        // The mark was never whole, so nobody relied on it: the member will be told again.
        Err(AtomicFileError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn exists(disk: &dyn FileSystem, name: &str) -> bool {
    disk.list(Path::new(""))
        .is_ok_and(|names| names.iter().any(|found| found == name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_store::MemFs;

    use super::*;

    fn disk() -> (MemFs, Disk) {
        let mem = MemFs::default();
        (mem.clone(), Arc::new(mem))
    }

    fn open(disk: &Disk, drawn: u64) -> Identity {
        open_identity(disk, "cluster", "m-0", MemberId(drawn), &[]).unwrap()
    }

    /// The disk as another member finds it.
    fn open_copy(disk: &Disk, drawn: u64) -> Identity {
        open_identity(disk, "cluster", "m-1", MemberId(drawn), &[]).unwrap()
    }

    fn put(disk: &Disk, path: &str) {
        disk.create_dir_all(Path::new(path).parent().unwrap())
            .unwrap();
        disk.create(Path::new(path)).unwrap().sync().unwrap();
        disk.sync_dir(Path::new(path).parent().unwrap()).unwrap();
    }

    #[test]
    fn an_identity_is_drawn_once() {
        let (_, disk) = disk();
        let first = open(&disk, 5);
        assert_eq!((first.id, first.fresh), (MemberId(5), true));
        let second = open(&disk, 6);
        assert_eq!((second.id, second.fresh), (MemberId(5), false));
        assert!(matches!(
            open_identity(&disk, "other", "m-0", MemberId(7), &[]),
            Err(IdentityError::OtherCluster { .. })
        ));
    }

    #[test]
    fn a_disk_is_one_member_s() {
        let (_, disk) = disk();
        open(&disk, 5);
        let copy = open_copy(&disk, 6);
        assert_eq!((copy.id, copy.fresh), (MemberId(0), false));
        let why = copy.damage.unwrap();
        assert!(why.contains("of m-0, and this is m-1"), "{why}");
        assert_eq!(open(&disk, 7).id, MemberId(5), "its own is as it was");

        // A removed identity's copy does not begin anew as another member.
        mark_removed(&*disk, MemberId(5)).unwrap();
        let copy = open_copy(&disk, 8);
        assert_eq!(copy.id, MemberId(0));
        assert_eq!(open(&disk, 9).set_aside, Some(MemberId(5)));
        assert!(open_copy(&disk, 8).damage.is_some());
    }

    #[test]
    fn an_identity_without_a_name_gets_that_of_who_opens_it() {
        let (_, disk) = disk();
        let unnamed = OnDisk {
            cluster: "cluster".into(),
            id: 5,
            begun: true,
            ..OnDisk::default()
        };
        write(&*disk, &unnamed).unwrap();
        let found = open(&disk, 6);
        assert_eq!((found.id, found.begun), (MemberId(5), true));
        assert!(open_copy(&disk, 8).damage.is_some());
    }

    #[test]
    fn data_without_an_identity_is_not_taken_over() {
        let (_, disk) = disk();
        put(&disk, "log/1");
        let found = open(&disk, 7);
        assert_eq!((found.id, found.fresh), (MemberId(0), false));
        assert!(found.damage.is_some_and(|why| why.contains("`log`")));
        assert!(!exists(&*disk, paths::IDENTITY), "none was drawn");
    }

    #[test]
    fn damage_is_told() {
        let (mem, disk) = disk();
        open(&disk, 5);
        mem.flip(Path::new("identity"), 26, 0);
        let found = open(&disk, 6);
        assert!(found.damage.is_some_and(|why| why.contains("damaged")));
        assert_eq!(found.id, MemberId(0));
    }

    #[test]
    fn a_removed_identity_s_data_is_set_aside_and_the_latest_two_are_kept() {
        let (_, disk) = disk();
        open(&disk, 1);
        for id in 1..=4 {
            put(&disk, "log/segment");
            mark_removed(&*disk, MemberId(id)).unwrap();
            let next = open(&disk, id + 1);
            assert_eq!(
                (next.id, next.fresh, next.set_aside),
                (MemberId(id + 1), true, Some(MemberId(id)))
            );
            assert!(
                disk.open(&Path::new(&paths::set_aside(MemberId(id))).join("log/segment"))
                    .is_ok()
            );
        }
        let expected = [
            "identity".into(),
            paths::set_aside(MemberId(3)),
            paths::set_aside(MemberId(4)),
        ];
        assert_eq!(disk.list(Path::new("")).unwrap(), expected);
    }

    #[test]
    fn only_the_latest_is_kept_when_space_is_short() {
        let (mem, disk) = disk();
        open(&disk, 1);
        for id in 1..=3 {
            put(&disk, "log/segment");
            let mut segment = disk.open(Path::new("log/segment")).unwrap();
            segment.write_at(0, &[7; 100]).unwrap();
            assert_eq!(held(&*disk).unwrap(), 100);
            mem.set_available(if id == 3 { 199 } else { 200 });
            mark_removed(&*disk, MemberId(id)).unwrap();
            open(&disk, id + 1);
        }
        let expected = ["identity".into(), paths::set_aside(MemberId(3))];
        assert_eq!(disk.list(Path::new("")).unwrap(), expected);
    }

    #[test]
    fn setting_aside_survives_a_crash_anywhere() {
        for seed in 0..300 {
            let (mem, disk) = disk();
            let mut rng = fastrand::Rng::with_seed(seed);
            open(&disk, 1);
            put(&disk, "log/segment");
            mark_removed(&*disk, MemberId(1)).unwrap();
            mem.fail_after(Some(rng.u64(..200)));
            let _ = open_identity(&disk, "cluster", "m-0", MemberId(2), &[]);
            mem.crash(&mut rng);
            let id = open(&disk, 3).id;
            assert!(id == MemberId(2) || id == MemberId(3), "seed {seed}");
            assert!(!exists(&*disk, "log"), "seed {seed}");
            assert!(!exists(&*disk, "removed"), "seed {seed}");
            assert!(
                disk.open(&Path::new(&paths::set_aside(MemberId(1))).join("log/segment"))
                    .is_ok(),
                "seed {seed}"
            );
        }
    }
}
