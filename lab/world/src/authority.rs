//! Certificates for tests: an authority of this process, and Secrets with what it signed.

use std::sync::LazyLock;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

#[expect(clippy::unwrap_used, reason = "its parameters are constant")]
static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Of one name with those that it signs, OpenSSL would take them for self-signed.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
});

/// A Secret of this name in the namespace `default`, with a new certificate for the members and clients of a resource.
///
/// # Errors
/// When a name is none that a certificate can have.
pub fn certificates(secret: &str, resource: &str) -> Result<Value> {
    let names = vec![
        format!("*.{resource}-peers.default.svc.cluster.local"),
        format!("{resource}-client.default.svc"),
    ];
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &*AUTHORITY)?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret, "namespace": "default" },
        "stringData": { "tls.crt": certificate.pem(), "tls.key": key.serialize_pem(), "ca.crt": AUTHORITY.pem() },
    }))
}
