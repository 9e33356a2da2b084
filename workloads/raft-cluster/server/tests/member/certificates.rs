//! A member with certificates.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_node::tls::Tls;
use quorate_wire::{Bootstrap, MemberStatus, Role};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::client::send_over;
use crate::cluster::{Cluster, DEADLINE, leads};

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
    // The log says what to do.
    member
        .says(&["must show a certificate of the authority"])
        .await;
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

#[tokio::test]
async fn members_with_certificates_form_a_group_and_take_new_ones_without_restart() {
    let mut cluster = Cluster::prepare(2, &[]);
    let (old, new) = (authority(), authority());
    let root = cluster.root.path().to_owned();
    let host = |at: usize| format!("m-{at}.peers.test");
    for (at, member) in cluster.members.iter_mut().enumerate() {
        let dir = root.join(format!("tls-{at}"));
        issue(&dir, &host(at), &old, &[&old]);
        member.flags.push(format!("--tls-dir={}", dir.display()));
        member.start();
    }
    issue(&root.join("operator"), "operator.test", &old, &[&old]);
    let operator = Arc::new(Tls::load(root.join("operator")).unwrap());
    let mut ids = vec![];
    for member in &cluster.members {
        ids.push(member.until("it can be asked", |_| true).await.incarnation);
    }
    let first = &cluster.members[0];
    let json = [("content-type", "application/json")];
    let admin = async |path: &str, body: serde_json::Value| {
        let tls = Some((&operator, "m-0.peers.test"));
        let body = serde_json::to_vec(&body).unwrap();
        let answer = send_over(first.at(7072), tls, "POST", path, &json, body).await;
        assert_eq!(answer.as_ref().unwrap().status, 200, "{path}: {answer:?}");
    };
    let bootstrap = Bootstrap {
        group: 1,
        incarnation: ids[0].clone(),
    };
    let bootstrap = serde_json::to_value(&bootstrap).unwrap();
    admin("/admin/bootstrap", bootstrap).await;
    let status = first.until("it leads", leads).await;
    let index = status.groups[0].configuration.index;
    let add = serde_json::json!({"configurationIndex": index, "id": ids[1], "name": "m-1", "address": "m-1.peers.test:7071"});
    admin("/admin/members", add).await;
    let heard = |status: &MemberStatus| {
        let mut groups = status.groups.iter();
        groups.any(|group| group.role == Role::Learner && group.caught_up)
    };
    let second = &cluster.members[1];
    second
        .until("the peers talk with their certificates", heard)
        .await;

    for at in 0..2 {
        issue(&root.join(format!("tls-{at}")), &host(at), &new, &[&new]);
    }
    issue(&root.join("client"), "client.test", &new, &[&new]);
    let client = Arc::new(Tls::load(root.join("client")).unwrap());
    // A write by way of the second member, which only trusts the new authority: both have read the new files.
    for (at, member) in cluster.members.iter().enumerate() {
        let begun = Instant::now();
        loop {
            let tls = Some((&client, &*host(at)));
            match send_over(member.at(7070), tls, "PUT", "/kv/a", &[], "v").await {
                Ok(answer) if answer.status.is_success() => break,
                other => assert!(begun.elapsed() < DEADLINE, "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
