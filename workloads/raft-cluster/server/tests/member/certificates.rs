//! A member with certificates.

use std::path::Path;
use std::sync::Arc;

use quorate_node::tls::Tls;
use quorate_wire::Bootstrap;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::client::send_over;
use crate::cluster::{Cluster, leads};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A folder with a certificate for `host`.
fn issue(dir: &Path, host: &str, issuer: &Authority, trusted: &[&Authority]) {
    std::fs::create_dir_all(dir).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()])
        .unwrap()
        .signed_by(&key, issuer)
        .unwrap();
    std::fs::write(dir.join("tls.crt"), certificate.pem()).unwrap();
    std::fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(
        dir.join("ca.crt"),
        trusted
            .iter()
            .map(|authority| authority.pem())
            .collect::<String>(),
    )
    .unwrap();
}

#[tokio::test]
async fn clients_get_tls_and_the_admin_listener_demands_a_certificate() {
    let mut cluster = Cluster::prepare(1, &[]);
    let (ours, other) = (authority(), authority());
    let root = cluster.root.path().to_owned();
    for (name, host, issuer, trusted) in [
        ("member", "m-0.peers.test", &ours, &[&ours][..]),
        ("operator", "operator.test", &ours, &[&ours]),
        // A wrong certificate: it trusts the member, the member does not trust it.
        ("stranger", "stranger.test", &other, &[&ours, &other]),
    ] {
        issue(&root.join(name), host, issuer, trusted);
    }
    let tls = |name: &str| Arc::new(Tls::load(root.join(name)).unwrap());
    let (operator, stranger) = (tls("operator"), tls("stranger"));
    let member = &mut cluster.members[0];
    member
        .flags
        .push(format!("--tls-dir={}", root.join("member").display()));
    member.start();
    let status = member.until("it can be asked", |_| true).await;
    assert!(!status.insecure);

    let body = serde_json::to_vec(&Bootstrap {
        group: 1,
        incarnation: status.incarnation,
    })
    .unwrap();
    let json = [("content-type", "application/json")];
    let bootstrap = async |tls: &Arc<Tls>| {
        send_over(
            member.at(7072),
            Some((tls, "m-0.peers.test")),
            "POST",
            "/admin/bootstrap",
            &json,
            body.clone(),
        )
        .await
    };
    assert!(
        bootstrap(&stranger).await.is_err(),
        "a certificate of another authority opens nothing"
    );
    assert!(
        member
            .logged()
            .contains("must show a certificate of the authority"),
        "and the log says what to do"
    );
    assert_eq!(bootstrap(&operator).await.unwrap().status, 200);
    member.until("it leads", leads).await;

    let put = async |tls| send_over(member.at(7070), tls, "PUT", "/kv/a", &[], "v").await;
    assert_eq!(
        put(Some((&stranger, "m-0.peers.test")))
            .await
            .unwrap()
            .status,
        201,
        "clients need no certificate"
    );
    assert!(put(None).await.is_err(), "without TLS there is no answer");
}
