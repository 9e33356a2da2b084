//! The certificate by which the operator is known to the members, and the authority by which it knows them.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A client certificate, its key and the authority of the members, all PEM: `tls.crt`, `tls.key` and `ca.crt` of the
/// Secret that the resource names.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate chain, leaf first.
    pub certificate: Vec<u8>,
    /// The leaf's private key.
    pub key: Vec<u8>,
    /// Whoever signed the members' certificates.
    pub authority: Vec<u8>,
}

/// What is wrong with an [`Identity`].
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A part is no PEM of its sort.
    #[error("{part} is not usable: {reason}; put {expected} there, in PEM")]
    Part {
        /// The Secret's key.
        part: &'static str,
        /// What the parser said.
        reason: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The parts are each well-formed and do not fit together.
    #[error("tls.crt and tls.key do not fit together: {0}")]
    Mismatch(#[from] rustls::Error),
}

fn part(part: &'static str, expected: &'static str, reason: impl ToString) -> TlsError {
    TlsError::Part {
        part,
        reason: reason.to_string(),
        expected,
    }
}

impl Identity {
    /// Takes the parts out of a Secret's data.
    ///
    /// # Errors
    /// The key that is missing.
    pub fn of(mut data: impl FnMut(&str) -> Option<Vec<u8>>) -> Result<Self, &'static str> {
        let mut part = |key| data(key).ok_or(key);
        Ok(Self {
            certificate: part("tls.crt")?,
            key: part("tls.key")?,
            authority: part("ca.crt")?,
        })
    }

    /// A rustls configuration that shows this certificate and trusts only this authority.
    ///
    /// # Errors
    /// When a part is no PEM of its sort, or key and certificate do not belong together.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("ca.crt", "the authority's certificate", &self.authority)? {
            roots
                .add(authority)
                .map_err(|error| part("ca.crt", "the authority's certificate", error))?;
        }
        let chain = certificates("tls.crt", "the certificate chain", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| part("tls.key", "the private key", error))?;
        let provider = rustls::crypto::ring::default_provider();
        Ok(ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?)
    }
}

fn certificates(
    name: &'static str,
    expected: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| part(name, expected, error))?;
    if found.is_empty() {
        return Err(part(name, expected, "it holds no certificate"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_part_is_named() {
        let signed = rcgen::generate_simple_self_signed(vec!["a.test".into()]).unwrap();
        let good = Identity {
            certificate: signed.cert.pem().into_bytes(),
            key: signed.signing_key.serialize_pem().into_bytes(),
            authority: signed.cert.pem().into_bytes(),
        };
        good.client_config().unwrap();

        let error = |identity: Identity| identity.client_config().unwrap_err().to_string();
        assert!(
            error(Identity {
                authority: b"x".to_vec(),
                ..good.clone()
            })
            .contains("ca.crt")
        );
        assert!(
            error(Identity {
                certificate: Vec::new(),
                ..good.clone()
            })
            .contains("tls.crt")
        );
        assert!(
            error(Identity {
                key: b"x".to_vec(),
                ..good.clone()
            })
            .contains("tls.key")
        );
        let other = rcgen::generate_simple_self_signed(vec!["b.test".into()]).unwrap();
        let mismatched = Identity {
            key: other.signing_key.serialize_pem().into_bytes(),
            ..good
        };
        assert!(error(mismatched).contains("do not fit together"));
    }
}
