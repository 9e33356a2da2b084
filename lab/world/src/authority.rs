//! Certificates for tests: authorities, and Secrets with what they signed.

use std::sync::LazyLock;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

#[expect(clippy::unwrap_used, reason = "its parameters are constant")]
static OF_PROCESS: LazyLock<Authority> = LazyLock::new(|| Authority::new("authority").unwrap());

/// Who signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one of this name.
    ///
    /// # Errors
    /// When there is no randomness for its key.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of one name with those that it signs, OpenSSL would take them for self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(Self(CertifiedIssuer::self_signed(
            params,
            KeyPair::generate()?,
        )?))
    }

    /// Its certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A Secret of this name in the namespace `default`, with a new certificate for the members of this StatefulSet
    /// and for their clients, and the authorities that its holder is to trust.
    ///
    /// # Errors
    /// When a name is none that a certificate can have.
    pub fn secret(&self, secret: &str, set: &str, trusted: &[&Self]) -> Result<Value> {
        let names = vec![
            format!("*.{set}-peers.default.svc.cluster.local"),
            format!("{set}-client.default.svc"),
        ];
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.0)?;
        let trusted: String = trusted.iter().map(|authority| authority.pem()).collect();
        Ok(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret, "namespace": "default" },
            "stringData": { "tls.crt": certificate.pem(), "tls.key": key.serialize_pem(), "ca.crt": trusted },
        }))
    }
}

/// A Secret as [`Authority::secret`] makes it, of the one authority of this process.
///
/// # Errors
/// When a name is none that a certificate can have.
pub fn certificates(secret: &str, set: &str) -> Result<Value> {
    OF_PROCESS.secret(secret, set, &[&OF_PROCESS])
}
