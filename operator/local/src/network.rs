//! Loopback addresses: a /24 per state folder, an address in it per pod.
//!
//! Two `up`s with different folders must never give out the same address, and a folder must find its own again after
//! its `up` was killed while the members live on. A lock held by a process cannot say that; a claim by name can: a file
//! per subnet in a machine-wide folder names the state folder that has it, and the state folder names the subnet. A
//! claim whose state folder is gone, or names another subnet, is stale and may be taken.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::state_dir::{Durability, StateDir, StateDirError, io_error, replace_file};

/// Fixed, whatever `TMPDIR` says: all users and all folders of a machine must meet here.
const CLAIMS: &str = "/tmp/quorate-subnets";

/// 127.0.0 is everyone's; 127.255.255 holds the broadcast address.
const FIRST: u32 = 1;
const COUNT: u32 = 256 * 256 - 2;

/// Why no addresses could be had.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A file operation failed.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// Every subnet is claimed.
    #[error(
        "all {COUNT} loopback subnets are claimed in {CLAIMS}; remove the claims of folders that you no longer need"
    )]
    NoSubnet,
    /// Every address of the subnet is in use.
    #[error(
        "all 253 addresses of {0} are in use; put some of the resources into another folder with --state-dir"
    )]
    NoAddress(Subnet),
}

/// A /24 within 127.0.0.0/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet(u32);

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "127.{}.{}.0/24", self.0 >> 8, self.0 & 0xff)
    }
}

impl Subnet {
    fn claim_file(self, claims: &Path) -> PathBuf {
        claims.join(format!("127.{}.{}", self.0 >> 8, self.0 & 0xff))
    }

    fn parse(text: &str) -> Option<Self> {
        let address: Ipv4Addr = text.trim().strip_suffix("/24")?.parse().ok()?;
        let [127, b, c, 0] = address.octets() else {
            return None;
        };
        let number = u32::from(b) << 8 | u32::from(c);
        (FIRST..FIRST + COUNT)
            .contains(&number)
            .then_some(Self(number))
    }

    fn address(self, host: u8) -> Ipv4Addr {
        // Both halves were at most 0xff when the number was made.
        let [_, _, b, c] = self.0.to_be_bytes();
        Ipv4Addr::new(127, b, c, host)
    }

    /// Whether an address is one of its own.
    pub fn has(self, address: Ipv4Addr) -> bool {
        self.address(0).octets()[..3] == address.octets()[..3]
    }

    /// The address of a pod: by its name, so that it comes back to the one it had, else the next one free.
    ///
    /// # Errors
    /// When all are taken.
    pub fn assign(self, pod: &str, taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, NetworkError> {
        let first = stable_hash(pod.as_bytes()) % 253;
        (0..253)
            .map(|step| self.address(((first + step) % 253 + 1) as u8))
            .find(|address| !taken.contains(address))
            .ok_or(NetworkError::NoAddress(self))
    }
}

/// The subnet of this state folder: the one that it has, or a new one. The caller holds the folder's lock.
///
/// # Errors
/// When the machine-wide folder cannot be used, or has no subnet left.
pub fn claim_subnet(dir: &StateDir) -> Result<Subnet, NetworkError> {
    claim_in(Path::new(CLAIMS), dir)
}

fn claim_in(claims: &Path, dir: &StateDir) -> Result<Subnet, NetworkError> {
    let _guard = open_claims(claims)?;
    let own = fs::read_to_string(dir.subnet_file())
        .ok()
        .and_then(|text| Subnet::parse(&text));
    let first = stable_hash(dir.root().as_os_str().as_bytes());
    let candidates = (0..u64::from(COUNT))
        .map(|step| Subnet(FIRST + ((first + step) % u64::from(COUNT)) as u32));
    for subnet in own.into_iter().chain(candidates) {
        if !free_for(subnet, claims, dir)? {
            continue;
        }
        // First our own note, then the claim: a claim without the note counts as stale.
        replace_file(
            &dir.subnet_file(),
            format!("{subnet}\n").as_bytes(),
            Durability::Machine,
        )?;
        let file = subnet.claim_file(claims);
        fs::write(&file, dir.root().as_os_str().as_bytes())
            .map_err(io_error("cannot write", &file))?;
        return Ok(subnet);
    }
    Err(NetworkError::NoSubnet)
}

/// Opens the machine-wide folder, made if need be for all users, and locks it until the result is dropped.
fn open_claims(claims: &Path) -> Result<File, NetworkError> {
    let shared = |path: &Path, mode: u32| {
        // Only the owner can; to everyone else it is as the owner left it.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    };
    fs::create_dir_all(claims).map_err(io_error("cannot make", claims))?;
    shared(claims, 0o1777);
    let path = claims.join("lock");
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o666)
        .open(&path);
    let lock = lock.map_err(io_error("cannot open", &path))?;
    shared(&path, 0o666);
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| io_error("cannot lock", &path)(error.into()))?;
    Ok(lock)
}

fn free_for(subnet: Subnet, claims: &Path, dir: &StateDir) -> Result<bool, NetworkError> {
    let file = subnet.claim_file(claims);
    let owner = match fs::read(&file) {
        Ok(owner) => owner,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        // Another user's claim that we may not read is a claim all the same.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(io_error("cannot read", &file)(error).into()),
    };
    if owner == dir.root().as_os_str().as_bytes() {
        return Ok(true);
    }
    let note = Path::new(std::ffi::OsStr::from_bytes(&owner)).join("subnet");
    let stale = match fs::read_to_string(&note) {
        Ok(text) => Subnet::parse(&text) != Some(subnet),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if stale {
        // In a sticky folder only its owner can remove it; then it stays taken.
        return Ok(fs::remove_file(&file).is_ok());
    }
    Ok(false)
}

fn stable_hash(bytes: &[u8]) -> u64 {
    // `DefaultHasher::new` has fixed keys. If its algorithm ever changes, new claims move elsewhere; old ones stand.
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(root: &Path, name: &str) -> StateDir {
        StateDir::create(&root.join(name)).unwrap()
    }

    #[test]
    fn folders_have_their_own_subnets_and_keep_them() {
        let temp = tempfile::tempdir().unwrap();
        let claims = temp.path().join("claims");
        let (a, b) = (folder(temp.path(), "a"), folder(temp.path(), "b"));
        let of_a = claim_in(&claims, &a).unwrap();
        assert_ne!(of_a, claim_in(&claims, &b).unwrap());
        assert_eq!(of_a, claim_in(&claims, &a).unwrap());
    }

    #[test]
    fn a_claim_of_another_is_respected_and_a_stale_one_taken() {
        let temp = tempfile::tempdir().unwrap();
        let claims = temp.path().join("claims");
        let (a, b) = (folder(temp.path(), "a"), folder(temp.path(), "b"));
        let of_a = claim_in(&claims, &a).unwrap();
        // B believes in the same subnet: a copied folder, say.
        fs::copy(a.subnet_file(), b.subnet_file()).unwrap();
        let of_b = claim_in(&claims, &b).unwrap();
        assert_ne!(of_a, of_b);
        fs::remove_dir_all(a.root()).unwrap();
        fs::write(b.subnet_file(), format!("{of_a}\n")).unwrap();
        assert_eq!(claim_in(&claims, &b).unwrap(), of_a);
    }

    #[test]
    fn addresses_are_distinct_and_come_back() {
        let subnet = Subnet::parse("127.3.4.0/24").unwrap();
        let mut taken = BTreeSet::new();
        let first = subnet.assign("default/a-0", &taken).unwrap();
        assert_eq!(first.octets()[..3], [127, 3, 4]);
        assert!(subnet.has(first) && !subnet.has(Ipv4Addr::new(127, 3, 5, 1)));
        for pod in 0..253 {
            taken.insert(subnet.assign(&format!("default/a-{pod}"), &taken).unwrap());
        }
        assert_eq!(taken.len(), 253);
        assert!(matches!(
            subnet.assign("default/a-0", &taken),
            Err(NetworkError::NoAddress(_))
        ));
        assert_eq!(
            subnet.assign("default/a-0", &BTreeSet::new()).unwrap(),
            first
        );
    }

    #[test]
    fn only_subnets_of_the_loopback_parse() {
        for bad in [
            "10.0.1.0/24",
            "127.0.0.0/24",
            "127.1.2.3/24",
            "127.1.2.0",
            "127.255.255.0/24",
            "",
        ] {
            assert_eq!(Subnet::parse(bad), None, "{bad}");
        }
    }
}
