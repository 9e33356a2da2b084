//! Certificates of a member: `tls.crt`, `tls.key` and `ca.crt` in one folder, re-read when they change.
//!
//! Every handshake asks for the configuration that is current then, so a rotation needs no restart; connections
//! that are open already stay as they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// How often [`Tls::watch`] looks at the files.
const POLL: Duration = Duration::from_secs(2);
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";

/// Why certificates cannot be used. Each message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(
        "tls-dir: {file} cannot be read ({source}): the folder must hold {CERTIFICATE}, {KEY} and {AUTHORITY}"
    )]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no PEM block of the kind that belongs there.
    #[error("tls-dir: {file} holds no {what} ({detail}): put it there in PEM form")]
    Pem {
        /// The file.
        file: PathBuf,
        /// What belongs there.
        what: &'static str,
        /// What was found.
        detail: String,
    },
    /// Key and certificate do not belong together.
    #[error(
        "tls-dir: {key} does not fit {certificate} ({source}): put the key there that the certificate was made for"
    )]
    Key {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authority's certificates cannot be used.
    #[error("tls-dir: {file} cannot be used as certificate authority: {detail}")]
    Authority {
        /// The file.
        file: PathBuf,
        /// Why.
        detail: String,
    },
    /// The member's own certificate would be refused by its peers.
    #[error(
        "tls-dir: {certificate} would be refused by peers that trust {authority} ({source}): have it issued by that \
         authority, valid now, for client and server authentication"
    )]
    Untrusted {
        /// The certificate's file.
        certificate: PathBuf,
        /// The authority's file.
        authority: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// rustls refused the configuration.
    #[error("tls-dir: {0}")]
    Config(#[from] rustls::Error),
}

/// The certificates of a folder, always the latest good ones.
#[derive(Debug)]
pub struct Tls {
    dir: PathBuf,
    current: RwLock<Configs>,
    seen: Mutex<Stamps>,
    complaint: Mutex<Option<String>>,
}

/// What the latest good files make.
#[derive(Clone, Debug)]
struct Configs {
    open: Arc<ServerConfig>,
    mutual: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// Length and time of change of each file; `None` where there is no file.
type Stamps = [Option<(u64, SystemTime)>; 3];

/// The certificates in `dir`, kept up to date from now on, if there is one. Within a tokio runtime.
pub fn open(dir: Option<&Path>) -> Result<Option<Arc<Tls>>, TlsError> {
    let Some(dir) = dir else {
        tracing::warn!(
            "insecure: no certificates were given (tls-dir), so anybody who reaches the ports may read, write and administer"
        );
        return Ok(None);
    };
    let tls = Arc::new(Tls::load(dir)?);
    tokio::spawn(Arc::clone(&tls).watch());
    Ok(Some(tls))
}

impl Tls {
    /// Reads the folder.
    ///
    /// # Errors
    /// A file is missing or malformed, key and certificate do not fit, or peers would refuse the certificate.
    pub fn load(dir: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let dir = dir.into();
        // Stamps first: a change while reading is then seen by the next poll.
        let seen = stamps(&dir);
        let current = RwLock::new(read(&dir)?);
        Ok(Self {
            dir,
            current,
            seen: Mutex::new(seen),
            complaint: Mutex::default(),
        })
    }

    /// Why the files that are there now are not in use, if that is so: the next start would fail on them.
    pub fn complaint(&self) -> Option<String> {
        self.complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// For listeners that anybody may open: the server shows its certificate and asks for none.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.configs().open
    }

    /// For listeners that demand a client certificate of the same authority (peers, admin).
    pub fn mutual_server(&self) -> Arc<ServerConfig> {
        self.configs().mutual
    }

    /// For connections to peers: shows our certificate, demands one of the authority that names the host dialled.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.configs().client
    }

    /// Reads the folder again if a file changed; true if new certificates are in use now.
    ///
    /// # Errors
    /// As [`Tls::load`]; the certificates in use stay in use, and the next call tries again.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let now = stamps(&self.dir);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(false);
        }
        let fresh = read(&self.dir)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        *seen = now;
        Ok(true)
    }

    /// Looks at the files every two seconds, for ever; run it as a task of its own.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(POLL).await;
            let tls = Arc::clone(&self);
            let Ok(result) = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await
            else {
                continue;
            };
            if matches!(result, Ok(true)) {
                tracing::info!(dir = %self.dir.display(), "certificates changed: new handshakes use them");
            }
            let complaint = result.err().map(|error| error.to_string());
            let mut told = self
                .complaint
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = complaint.as_ref().filter(|_| *told != complaint) {
                // A half-written set is normal for a moment: said once, tried again at every poll.
                tracing::warn!(%error, "changed certificates cannot be used; the old ones stay in use");
            }
            *told = complaint;
        }
    }

    fn configs(&self) -> Configs {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn stamps(dir: &Path) -> Stamps {
    [CERTIFICATE, KEY, AUTHORITY].map(|name| {
        let meta = fs::metadata(dir.join(name)).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    })
}

fn read(dir: &Path) -> Result<Configs, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = read_certificates(&dir.join(CERTIFICATE))?;
    let key = read_key(&dir.join(KEY))?;
    let roots = Arc::new(read_authority(&dir.join(AUTHORITY))?);

    let certified =
        CertifiedKey::from_der(chain, key, &provider).map_err(|source| TlsError::Key {
            key: dir.join(KEY),
            certificate: dir.join(CERTIFICATE),
            source,
        })?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| TlsError::Authority {
                file: dir.join(AUTHORITY),
                detail: error.to_string(),
            })?;
    check_own(dir, &certified, &*verifier)?;
    configs(&provider, Arc::new(certified), verifier, roots)
}

/// A certificate that every peer will refuse is better found here than in a hundred failed handshakes.
fn check_own(
    dir: &Path,
    own: &CertifiedKey,
    verifier: &dyn ClientCertVerifier,
) -> Result<(), TlsError> {
    let (end, intermediates) = own.cert.split_first().ok_or_else(|| TlsError::Pem {
        file: dir.join(CERTIFICATE),
        what: "certificate",
        detail: "it is empty".into(),
    })?;
    verifier
        .verify_client_cert(end, intermediates, UnixTime::now())
        .map(|_| ())
        .map_err(|source| TlsError::Untrusted {
            certificate: dir.join(CERTIFICATE),
            authority: dir.join(AUTHORITY),
            source,
        })
}

fn configs(
    provider: &Arc<CryptoProvider>,
    own: Arc<CertifiedKey>,
    clients: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
) -> Result<Configs, TlsError> {
    let own = Arc::new(SingleCertAndKey::from(own));
    let server = || {
        ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
    };
    let mut open = server()?
        .with_no_client_auth()
        .with_cert_resolver(own.clone());
    let mut mutual = server()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(own.clone());
    for config in [&mut open, &mut mutual] {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session skips the certificates: a revoked authority would live on in it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(servers)
        .with_client_cert_resolver(own);
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Configs {
        open: Arc::new(open),
        mutual: Arc::new(mutual),
        client: Arc::new(client),
    })
}

fn read_file(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read {
        file: file.to_owned(),
        source,
    })
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |detail: String| TlsError::Pem {
        file: file.to_owned(),
        what: "certificate",
        detail,
    };
    let text = read_file(file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| pem(error.to_string()))?;
    if chain.is_empty() {
        Err(pem("no CERTIFICATE block".into()))
    } else {
        Ok(chain)
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read_file(file)?).map_err(|error| TlsError::Pem {
        file: file.to_owned(),
        what: "private key",
        detail: error.to_string(),
    })
}

fn read_authority(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Authority {
                file: file.to_owned(),
                detail: error.to_string(),
            })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
