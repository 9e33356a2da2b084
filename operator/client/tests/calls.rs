//! The client against a listener that plays one answer.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use quorate_client::{Client, Error, Identity, Resolver, Timeouts};
use quorate_wire::{Bootstrap, ChangeMember, GroupRequest, MemberRequest, TransferLeader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

const EMPTY_CONFIGURATION: &str = r#"{"index":7,"committed":true,"joint":false,"members":[]}"#;

/// Reads one request, answers with `status` and `body`, and gives back what it read.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    status: &str,
    body: &str,
) -> String {
    let mut request = Vec::new();
    let complete = |seen: &[u8]| {
        let text = String::from_utf8_lossy(seen).into_owned();
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |n| n.parse().unwrap());
        (rest.len() >= length).then_some(text)
    };
    let text = loop {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        if let Some(text) = complete(&request) {
            break text;
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    text
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn local(name: &'static str) -> Resolver {
    Resolver::table(move |asked| (asked == name).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

fn plain() -> Client {
    let timeouts = Timeouts {
        read: Duration::from_millis(300),
        ..Timeouts::default()
    };
    Client::new(local("a-0.a-peers"), None, timeouts).unwrap()
}

#[tokio::test]
async fn a_change_carries_its_body_to_the_resolved_address() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, "200 OK", EMPTY_CONFIGURATION).await
    });
    let request = GroupRequest::Promote {
        id: "00000000000000aa".into(),
        change: ChangeMember {
            configuration_index: 7,
        },
    };
    let answered = plain()
        .ask(&format!("a-0.a-peers:{port}"), &request.into())
        .await
        .unwrap();
    assert_eq!(answered["index"], 7);
    let request = server.await.unwrap();
    assert!(
        request.starts_with("POST /admin/members/00000000000000aa/promote HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.ends_with(r#"{"configurationIndex":7}"#),
        "{request}"
    );
}

#[tokio::test]
async fn problem_details_are_decoded() {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let body = r#"{"type":"https://quorate.dev/problems/not-leader","title":"t","status":503,"detail":"ask a-1","leader":"http://127.0.0.1:1"}"#;
        answer(stream, "503 Service Unavailable", body).await;
    });
    let error = plain()
        .ask(
            &format!("a-0.a-peers:{port}"),
            &GroupRequest::TransferLeader(TransferLeader { to: None }).into(),
        )
        .await
        .unwrap_err();
    assert_eq!(
        error.problem().unwrap().leader.as_deref(),
        Some("http://127.0.0.1:1")
    );
    assert!(error.to_string().contains("ask a-1"), "{error}");
}

#[tokio::test]
async fn another_program_on_the_port_is_recognized() {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, "404 Not Found", "<html>nginx</html>").await;
    });
    let error = plain()
        .status(&format!("a-0.a-peers:{port}"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Foreign { status: 404, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("nginx"), "{error}");
}

#[tokio::test]
async fn a_silent_member_times_out_and_a_dead_one_is_unreachable() {
    let (listener, port) = listener().await;
    let error = plain()
        .status(&format!("a-0.a-peers:{port}"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    drop(listener);
    let error = plain()
        .status(&format!("a-0.a-peers:{port}"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    let error = plain().status("b-0.b-peers:1").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no pod has the name b-0.b-peers"),
        "{error}"
    );
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, "200 OK", &"x".repeat(5 << 20)).await;
    });
    let error = plain()
        .ask(
            &format!("a-0.a-peers:{port}"),
            &MemberRequest::new("Do", "do", &()),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn with_an_identity_the_admin_listener_sees_our_certificate() {
    let signed = rcgen::generate_simple_self_signed(vec!["a-0.a-peers".into()]).unwrap();
    let identity = Identity {
        certificate: signed.cert.pem().into_bytes(),
        key: signed.signing_key.serialize_pem().into_bytes(),
        authority: signed.cert.pem().into_bytes(),
    };
    let acceptor = mutual_acceptor(&signed);
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        assert!(stream.get_ref().1.peer_certificates().is_some());
        answer(stream, "200 OK", EMPTY_CONFIGURATION).await
    });
    let client = Client::new(local("a-0.a-peers"), Some(&identity), Timeouts::default()).unwrap();
    let request = GroupRequest::Bootstrap(Bootstrap {
        group: 1,
        incarnation: "00000000000000aa".into(),
    });
    client
        .ask(&format!("a-0.a-peers:{port}"), &request.into())
        .await
        .unwrap();
    assert!(server.await.unwrap().starts_with("POST /admin/bootstrap "));
}

fn mutual_acceptor(signed: &rcgen::CertifiedKey<rcgen::KeyPair>) -> tokio_rustls::TlsAcceptor {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .unwrap();
    let key =
        rustls_pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    Arc::new(config).into()
}
