//! From names to addresses: a hosts file first (the embedded host supplies one), then the system's DNS. Nothing
//! is kept beyond the file itself: a pod that comes back elsewhere is found there at the next connection.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A name server that does not answer must not hold a reconnect for longer.
const LOOKUP: Duration = Duration::from_secs(3);
/// A hosts file larger than this is a mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// It is not `HOST:PORT`.
    #[error("`{0}` is no address: write HOST:PORT, as `name-0.peers.example:7071`")]
    Malformed(String),
    /// Neither the hosts file nor DNS knows it.
    #[error(
        "`{host}` has no address ({detail}): is the member's DNS record (or its line in hosts-file) there yet?"
    )]
    Unknown {
        /// The name.
        host: String,
        /// What DNS said.
        detail: String,
    },
}

/// Resolves names.
#[derive(Debug, Default)]
pub struct Resolver {
    hosts: Option<HostsFile>,
}

#[derive(Debug)]
struct HostsFile {
    path: PathBuf,
    read: Mutex<Hosts>,
}

#[derive(Debug, Default)]
struct Hosts {
    stamp: Option<(u64, SystemTime)>,
    complaint: Option<String>,
    names: BTreeMap<String, Vec<IpAddr>>,
}

impl Resolver {
    /// With `hosts_file` (lines of `IP NAME...`) looked at before DNS. It need not exist yet.
    pub fn new(hosts_file: Option<PathBuf>) -> Self {
        Self {
            hosts: hosts_file.map(|path| HostsFile {
                path,
                read: Mutex::default(),
            }),
        }
    }

    /// The address that the hosts file has for a name: a name that DNS does not know, as a rule.
    pub fn in_hosts_file(&self, host: &str) -> Option<IpAddr> {
        self.hosts.as_ref()?.lookup(host)?.first().copied()
    }

    /// The addresses of `HOST:PORT`, at least one.
    ///
    /// # Errors
    /// It is malformed, or neither the hosts file nor DNS knows it.
    pub async fn resolve(&self, address: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let (host, port) = split(address)?;
        let socket = |ip| SocketAddr::new(ip, port);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![socket(ip)]);
        }
        if let Some(found) = self.hosts.as_ref().and_then(|hosts| hosts.lookup(host)) {
            return Ok(found.into_iter().map(socket).collect());
        }
        let unknown = |detail: String| ResolveError::Unknown {
            host: host.to_owned(),
            detail,
        };
        let found: Vec<_> = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, port)))
            .await
            .map_err(|_| unknown("DNS did not answer".into()))?
            .map_err(|error| unknown(error.to_string()))?
            .collect();
        if found.is_empty() {
            Err(unknown("DNS gave no address".into()))
        } else {
            Ok(found)
        }
    }
}

/// The host and the port of `HOST:PORT` (`[ADDRESS]:PORT` for IPv6).
///
/// # Errors
/// It is neither.
pub fn split(address: &str) -> Result<(&str, u16), ResolveError> {
    let malformed = || ResolveError::Malformed(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let port = port.parse().map_err(|_| malformed())?;
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(ip) if ip.parse::<std::net::Ipv6Addr>().is_ok() => Ok((ip, port)),
        None if !host.is_empty() && !host.contains(':') => Ok((host, port)),
        _ => Err(malformed()),
    }
}

impl HostsFile {
    fn lookup(&self, host: &str) -> Option<Vec<IpAddr>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.refresh(&self.path);
        read.names.get(&canonical(host)).cloned()
    }
}

impl Hosts {
    /// Reads the file again if it changed. A small local file: read in place, at a reconnect only.
    fn refresh(&mut self, path: &Path) {
        let meta = fs::metadata(path);
        let stamp = meta
            .as_ref()
            .ok()
            .and_then(|meta| Some((meta.len(), meta.modified().ok()?)));
        if stamp.is_some() && stamp == self.stamp {
            return;
        }
        let text = match meta {
            Err(error) => Err(error),
            Ok(meta) if meta.len() > MAX_FILE_BYTES => Err(io::Error::other(format!(
                "it has {} bytes, at most {MAX_FILE_BYTES} are read",
                meta.len()
            ))),
            Ok(_) => fs::read_to_string(path),
        };
        match text {
            Ok(text) => {
                *self = Self {
                    stamp,
                    complaint: None,
                    names: parse(&text),
                }
            }
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(file = %path.display(), %error, "hosts-file cannot be read: what it said before stands");
                }
                self.complaint = Some(complaint);
            }
        }
    }
}

/// `IP NAME...` per line, `#` begins a comment; lines that say something else are left out, as every resolver does.
fn parse(text: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let mut names: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for line in text.lines() {
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let mut words = line.split_whitespace();
        let Some(ip) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        for name in words {
            names.entry(canonical(name)).or_default().push(ip);
        }
    }
    names
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hosts_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        let resolver = Resolver::new(Some(path.clone()));
        assert!(
            resolver.resolve("a-0.peers.invalid:7071").await.is_err(),
            "no file yet, and DNS knows no .invalid"
        );

        fs::write(
            &path,
            "# members\n127.0.0.5 a-0.peers.invalid a-0 # first\nnonsense\n",
        )
        .unwrap();
        let found = resolver.resolve("A-0.peers.invalid.:7071").await.unwrap();
        assert_eq!(found, vec!["127.0.0.5:7071".parse().unwrap()]);
        assert_eq!(
            resolver.resolve("a-0:1").await.unwrap(),
            vec!["127.0.0.5:1".parse().unwrap()]
        );

        assert_eq!(
            resolver.in_hosts_file("a-0"),
            Some("127.0.0.5".parse().unwrap())
        );
        assert_eq!(resolver.in_hosts_file("localhost"), None, "DNS knows it");

        fs::write(&path, "127.0.0.66 a-0.peers.invalid\n").unwrap();
        let found = resolver.resolve("a-0.peers.invalid:7071").await.unwrap();
        assert_eq!(found, vec!["127.0.0.66:7071".parse().unwrap()]);

        fs::remove_file(&path).unwrap();
        assert!(
            resolver.resolve("a-0.peers.invalid:7071").await.is_ok(),
            "what it said before stands"
        );
    }

    #[tokio::test]
    async fn addresses_need_no_names() {
        let resolver = Resolver::default();
        assert_eq!(
            resolver.resolve("127.0.0.9:80").await.unwrap(),
            vec!["127.0.0.9:80".parse().unwrap()]
        );
        assert_eq!(
            resolver.resolve("[::1]:80").await.unwrap(),
            vec!["[::1]:80".parse().unwrap()]
        );
        assert!(
            resolver
                .resolve("localhost:80")
                .await
                .unwrap()
                .iter()
                .all(|found| found.ip().is_loopback())
        );
    }

    #[test]
    fn malformed_addresses_are_told() {
        for bad in [
            "",
            "host",
            "host:",
            ":80",
            "host:99999",
            "::1:80",
            "[host]:80",
            "[::1]",
        ] {
            assert!(
                matches!(split(bad), Err(ResolveError::Malformed(_))),
                "{bad}"
            );
        }
    }
}
