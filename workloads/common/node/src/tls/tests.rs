//! Handshakes over loopback between folders of certificates.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::conn::{Conn, Demand};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a folder: a certificate for `host` issued by `issuer`, trusting `trusted`.
fn write(dir: &Path, host: &str, issuer: &Authority, trusted: &[&Authority]) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()])
        .unwrap()
        .signed_by(&key, issuer)
        .unwrap();
    fs::write(dir.join(CERTIFICATE), certificate.pem()).unwrap();
    fs::write(dir.join(KEY), key.serialize_pem()).unwrap();
    fs::write(
        dir.join(AUTHORITY),
        trusted.iter().map(|ca| ca.pem()).collect::<String>(),
    )
    .unwrap();
}

fn member(host: &str, issuer: &Authority) -> (TempDir, Arc<Tls>) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), host, issuer, &[issuer]);
    let tls = Arc::new(Tls::load(dir.path()).unwrap());
    (dir, tls)
}

/// Connects and exchanges a byte each way: in TLS 1.3 the client learns only then that it was refused.
async fn talk(
    server: &Arc<Tls>,
    client: Option<&Arc<Tls>>,
    dialled: &str,
    demand: Demand,
) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Arc::clone(server);
    let serve = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await?;
        let mut conn = Conn::accept(tcp, Some(&server), demand).await?;
        let byte = conn.read_u8().await?;
        conn.write_u8(byte).await?;
        conn.flush().await
    });
    let tcp = TcpStream::connect(address).await?;
    let mut conn = Conn::connect(tcp, client, dialled).await?;
    conn.write_u8(7).await?;
    conn.flush().await?;
    let answered = conn.read_u8().await;
    serve.await.unwrap()?;
    assert_eq!(answered?, 7);
    Ok(())
}

#[tokio::test]
async fn members_of_one_authority_talk() {
    let ca = authority("one");
    let (_a, server) = member("a.peers.test", &ca);
    let (_b, client) = member("b.peers.test", &ca);
    talk(&server, Some(&client), "a.peers.test", Demand::Certificate)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_under_another_name_is_refused() {
    let ca = authority("one");
    let (_a, server) = member("a.peers.test", &ca);
    let (_b, client) = member("b.peers.test", &ca);
    assert!(
        talk(&server, Some(&client), "c.peers.test", Demand::Certificate)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused() {
    let (ca, other) = (authority("one"), authority("other"));
    let (_a, server) = member("a.peers.test", &ca);
    // It trusts the server, so that the server's own refusal is what is seen.
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "b.peers.test", &other, &[&ca, &other]);
    let client = Arc::new(Tls::load(dir.path()).unwrap());
    assert!(
        talk(&server, Some(&client), "a.peers.test", Demand::Certificate)
            .await
            .is_err()
    );
    talk(&server, Some(&client), "a.peers.test", Demand::Nothing)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_connection_without_tls_is_refused() {
    let (_a, server) = member("a.peers.test", &authority("one"));
    assert!(
        talk(&server, None, "a.peers.test", Demand::Certificate)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_new_authority_is_used_without_restart() {
    let (old, new) = (authority("old"), authority("new"));
    let (dir_a, server) = member("a.peers.test", &old);
    let (dir_b, client) = member("b.peers.test", &old);
    assert!(!server.reload_if_changed().unwrap());

    write(dir_a.path(), "a.peers.test", &new, &[&new]);
    assert!(server.reload_if_changed().unwrap());
    assert!(
        talk(&server, Some(&client), "a.peers.test", Demand::Certificate)
            .await
            .is_err()
    );

    write(dir_b.path(), "b.peers.test", &new, &[&new]);
    assert!(client.reload_if_changed().unwrap());
    talk(&server, Some(&client), "a.peers.test", Demand::Certificate)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_half_written_rotation_keeps_the_old_certificates() {
    let ca = authority("one");
    let (dir, server) = member("a.peers.test", &ca);
    let (_b, client) = member("b.peers.test", &ca);
    fs::write(
        dir.path().join(KEY),
        KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    let error = server.reload_if_changed().unwrap_err();
    assert!(matches!(error, TlsError::Key { .. }), "{error}");
    talk(&server, Some(&client), "a.peers.test", Demand::Certificate)
        .await
        .unwrap();
    write(dir.path(), "a.peers.test", &ca, &[&ca]);
    assert!(
        server.reload_if_changed().unwrap(),
        "a failed reload is tried again"
    );
}

#[test]
fn errors_name_the_file_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let say = |dir: &Path| Tls::load(dir).unwrap_err().to_string();
    assert!(
        say(dir.path()).contains("tls.crt cannot be read"),
        "{}",
        say(dir.path())
    );

    let (ca, other) = (authority("one"), authority("other"));
    write(dir.path(), "a.peers.test", &ca, &[&other]);
    assert!(
        say(dir.path()).contains("would be refused by peers"),
        "{}",
        say(dir.path())
    );

    write(dir.path(), "a.peers.test", &ca, &[&ca]);
    fs::write(dir.path().join(AUTHORITY), "nothing").unwrap();
    assert!(
        say(dir.path()).contains("ca.crt holds no certificate"),
        "{}",
        say(dir.path())
    );

    fs::write(dir.path().join(AUTHORITY), ca.pem()).unwrap();
    fs::write(dir.path().join(KEY), "nothing").unwrap();
    assert!(
        say(dir.path()).contains("tls.key holds no private key"),
        "{}",
        say(dir.path())
    );
}

#[tokio::test]
async fn a_silent_client_does_not_hold_a_handshake() {
    let (_a, server) = member("a.peers.test", &authority("one"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let begun = std::time::Instant::now();
    assert!(
        Conn::accept(tcp, Some(&server), Demand::Certificate)
            .await
            .is_err()
    );
    assert!(begun.elapsed() < Duration::from_secs(8));
    drop(silent);
}
