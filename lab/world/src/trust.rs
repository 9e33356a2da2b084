//! Whom clients trust: members have names in their certificates, and are reached by their addresses.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// Whom clients trust, and as whom they know the members.
#[derive(Clone, Debug)]
pub struct Trust {
    /// A file with the authorities' certificates.
    pub authorities: PathBuf,
    /// The name that every member's certificate has.
    pub name: String,
}

impl Trust {
    /// The same for curl: its arguments for this base URL, and the URL to ask instead.
    ///
    /// # Errors
    /// When the URL is none of a member with certificates.
    pub fn of_curl(&self, endpoint: &str) -> Result<([String; 4], String)> {
        let address = endpoint.strip_prefix("https://").context("an https URL")?;
        let (host, port) = address.rsplit_once(':').context("a port")?;
        let options = [
            "--cacert".into(),
            self.authorities.display().to_string(),
            "--connect-to".into(),
            format!("::{host}:"),
        ];
        Ok((options, format!("https://{}:{port}", self.name)))
    }
}

/// Connects by TLS where the URL says so. Without trust nobody is trusted.
pub(crate) fn connector(
    tcp: HttpConnector,
    trust: Option<&Trust>,
) -> Result<HttpsConnector<HttpConnector>> {
    let mut roots = RootCertStore::empty();
    if let Some(trust) = trust {
        for authority in CertificateDer::pem_file_iter(&trust.authorities)? {
            roots.add(authority?)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut builder = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http();
    if let Some(trust) = trust {
        let name = ServerName::try_from(trust.name.clone())?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_http1().wrap_connector(tcp))
}
