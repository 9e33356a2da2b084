//! The tree behind FUSE. Files are opened with direct I/O: the kernel must not remember what the tree has lost.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

use super::tree::{Crash, Tree};

const TTL: Duration = Duration::ZERO;
const BLOCK: u64 = 4096;

/// A mounted file system that forgets; unmounted when dropped.
pub struct Forgetful {
    tree: Arc<Mutex<Tree>>,
    session: Option<BackgroundSession>,
    mountpoint: PathBuf,
}

struct Served(Arc<Mutex<Tree>>);

fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    tree.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Forgetful {
    /// Mounts an empty one of so many bytes on a folder. Needs /dev/fuse and root (or fusermount3).
    pub fn mount(mountpoint: &Path, capacity: u64) -> io::Result<Self> {
        std::fs::create_dir_all(mountpoint)?;
        let tree = Arc::new(Mutex::new(Tree::new(capacity)));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("quorate-forgetful".into())];
        let session =
            fuser::spawn_mount(Served(tree.clone()), mountpoint, &config).map_err(|e| {
                let hint = "(is /dev/fuse there, and the package fuse3 installed?)";
                io::Error::new(
                    e.kind(),
                    format!("cannot mount on {}: {e} {hint}", mountpoint.display()),
                )
            })?;
        Ok(Self {
            tree,
            session: Some(session),
            mountpoint: mountpoint.to_owned(),
        })
    }

    /// Takes away every byte that no fsync covered; answers how many those were. Let no process have files open.
    pub fn crash(&self, crash: Crash) -> u64 {
        lock(&self.tree).crash(crash)
    }

    /// Sets how many bytes it can hold.
    pub fn set_capacity(&self, capacity: u64) {
        lock(&self.tree).capacity = capacity;
    }

    /// How many bytes it holds.
    pub fn used(&self) -> u64 {
        let tree = lock(&self.tree);
        tree.capacity.saturating_sub(tree.available())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            eprintln!("cannot unmount {}: {error}", self.mountpoint.display());
        }
    }
}

impl Served {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.0)
    }
}

fn attributes(tree: &Tree, number: u64) -> Result<FileAttr, Errno> {
    let (folder, size, links) = tree.stat(number)?;
    let time = SystemTime::UNIX_EPOCH;
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: if folder {
            FileType::Directory
        } else {
            FileType::RegularFile
        },
        perm: if folder { 0o755 } else { 0o644 },
        nlink: links,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK as u32,
        flags: 0,
    })
}

fn entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.tree();
        let found = tree.lookup(parent.0, name);
        entry(reply, found.and_then(|number| attributes(&tree, number)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.tree(), ino.0) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree();
        let resized = size.map_or(Ok(()), |len| tree.set_len(ino.0, len));
        match resized.and_then(|()| attributes(&tree, ino.0)) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let mut tree = self.tree();
        let made = tree.make(parent.0, name, true);
        entry(reply, made.and_then(|number| attributes(&tree, number)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove(parent.0, name, false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove(parent.0, name, true));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        empty(
            reply,
            self.tree().rename((parent.0, name), (newparent.0, newname)),
        );
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let mut tree = self.tree();
        let linked = tree.link(ino.0, newparent.0, newname);
        entry(reply, linked.and_then(|()| attributes(&tree, ino.0)));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.tree().opened(ino.0) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut tree = self.tree();
        let made = tree.make(parent.0, name, false).and_then(|number| {
            tree.opened(number)?;
            attributes(&tree, number)
        });
        match made {
            Ok(attr) => reply.created(
                &TTL,
                &attr,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.tree().read(ino.0, offset, size as usize) {
            Ok(data) => reply.data(data),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.tree().write(ino.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.tree().closed(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.tree().sync(ino.0));
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match self.tree().entries(ino.0) {
            Ok(entries) => entries,
            Err(errno) => return reply.error(errno),
        };
        let dots = [(".".into(), ino.0, true), ("..".into(), ino.0, true)];
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (i, (name, number, folder)) in dots.into_iter().chain(entries).enumerate().skip(skip) {
            let kind = if folder {
                FileType::Directory
            } else {
                FileType::RegularFile
            };
            if reply.add(INodeNo(number), i as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mut tree = self.tree();
        let extended = tree.stat(ino.0).and_then(|(_, size, _)| {
            let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
            if end > size {
                tree.set_len(ino.0, end)
            } else {
                Ok(())
            }
        });
        empty(reply, extended);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let tree = self.tree();
        let free = tree.available() / BLOCK;
        reply.statfs(
            tree.capacity / BLOCK,
            free,
            free,
            1 << 20,
            1 << 20,
            BLOCK as u32,
            255,
            BLOCK as u32,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::io::Write;

    use super::*;

    #[test]
    fn real_files_forget_what_was_not_synced() {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Forgetful::mount(&folder.path().join("m"), 1 << 20).unwrap();
        let path = mounted.path().join("a/f");
        fs::create_dir(mounted.path().join("a")).unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(b"kept").unwrap();
        file.sync_all().unwrap();
        file.write_all(b" lost").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"kept lost");
        mounted.crash(Crash::Lose);
        assert_eq!(fs::read(&path).unwrap(), b"kept");
        let names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["f"]);
    }

    #[test]
    fn a_full_one_refuses_and_names_can_be_reused() {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Forgetful::mount(folder.path(), 1 << 16).unwrap();
        let path = mounted.path().join("f");
        let error = fs::write(&path, vec![1; 1 << 17]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"fits").unwrap();
        let mut appended = OpenOptions::new().append(true).open(&path).unwrap();
        appended.write_all(b" again").unwrap();
        fs::rename(&path, mounted.path().join("g")).unwrap();
        assert_eq!(fs::read(mounted.path().join("g")).unwrap(), b"fits again");
    }
}
