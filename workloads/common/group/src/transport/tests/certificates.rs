//! Mutual TLS between peers.

use std::path::Path;
use std::sync::Arc;

use quorate_node::tls::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::{End, Setup};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(dir: &Path, issuer: &Authority, name: &str) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, issuer)
        .unwrap();
    std::fs::write(dir.join("tls.crt"), certificate.pem()).unwrap();
    std::fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(dir.join("ca.crt"), issuer.pem()).unwrap();
}

/// An end with certificates for its address.
async fn secured(id: u64, issuer: &Authority, name: &str) -> (End, TempDir, Arc<Tls>) {
    let dir = tempfile::tempdir().unwrap();
    issue(dir.path(), issuer, name);
    let tls = Arc::new(Tls::load(dir.path()).unwrap());
    (
        End::open(
            id,
            Setup {
                tls: Some(Arc::clone(&tls)),
                ..Setup::default()
            },
        )
        .await,
        dir,
        tls,
    )
}

#[tokio::test]
async fn with_certificates_only_members_of_the_authority_talk() {
    let (ca, other) = (authority("ours"), authority("other"));
    let (mut a, _da, _) = secured(1, &ca, "127.0.0.1").await;
    let (mut b, _db, _) = secured(2, &ca, "127.0.0.1").await;
    let (mut foreign, _df, _) = secured(3, &other, "127.0.0.1").await;
    let (mut misnamed, _dm, _) = secured(4, &ca, "127.0.0.99").await;
    let mut plain = End::open(5, Setup::default()).await;
    a.send_until(&mut b, "x").await;
    for stranger in [&mut foreign, &mut misnamed, &mut plain] {
        a.send(stranger, "x");
        a.unreachable(stranger.me).await;
        stranger.nothing_came().await;
    }
    for stranger in [&mut foreign, &mut plain] {
        stranger.send(&b, "x");
        stranger.unreachable(b.me).await;
    }
    b.nothing_came().await;
}

#[tokio::test]
async fn certificates_rotate_without_restart() {
    let (old, new) = (authority("old"), authority("new"));
    let (mut a, dir_a, tls_a) = secured(1, &old, "127.0.0.1").await;
    let (mut b, dir_b, tls_b) = secured(2, &old, "127.0.0.1").await;
    a.send_until(&mut b, "with the old authority").await;
    issue(dir_b.path(), &new, "127.0.0.1");
    assert!(tls_b.reload_if_changed().unwrap());
    b.send(
        &a,
        "with the new authority, which the other side does not know yet",
    );
    b.unreachable(a.me).await;
    issue(dir_a.path(), &new, "127.0.0.1");
    assert!(tls_a.reload_if_changed().unwrap());
    b.send_until(&mut a, "with the new authority").await;
    assert_eq!(a.connections(), 1.0, "what is open stays open");
}
