//! One authority signs everybody's certificate: who one is stands in it. They live as long as the cluster.

use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use super::addresses::{API_SERVICE, HOST, Node};
use super::place::{Place, write};

pub const API: &str = "https://198.18.255.1:6443";

/// Users with a certificate and a kubeconfig, and the group that gives them their rights.
const USERS: [(&str, &str, &str); 6] = [
    ("admin", "admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("proxy", "system:kube-proxy", ""),
    ("coredns", "quorate:coredns", ""),
    ("provisioner", "quorate:provisioner", ""),
];

/// Writes them all, and a kubeconfig for each user and node.
pub fn write_all(place: &Place) -> Result<()> {
    let folder = place.certificates();
    let mut params = named("quorate cluster", "")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    write(&folder.join("ca.crt"), authority.pem())?;
    write(&folder.join("ca.key"), authority.key().serialize_pem())?;

    let accounts = KeyPair::generate()?;
    write(&folder.join("accounts.key"), accounts.serialize_pem())?;
    write(&folder.join("accounts.pub"), accounts.public_key_pem())?;

    let api = [
        HOST.to_string(),
        API_SERVICE.to_string(),
        "kubernetes".into(),
        "kubernetes.default".into(),
        "kubernetes.default.svc".into(),
        "kubernetes.default.svc.cluster.local".into(),
    ];
    sign(&authority, &folder, "apiserver", "kube-apiserver", "", &api)?;
    sign(
        &authority,
        &folder,
        "kubelet-client",
        "kube-apiserver",
        "system:masters",
        &[],
    )?;
    for (user, name, group) in USERS {
        sign(&authority, &folder, user, name, group, &[])?;
        write(
            &place.kubeconfig(user),
            kubeconfig(&folder, user).to_string(),
        )?;
    }
    for node in Node::ALL {
        let user = node.to_string();
        let name = format!("system:node:{node}");
        let addresses = [node.address().to_string()];
        sign(
            &authority,
            &folder,
            &user,
            &name,
            "system:nodes",
            &addresses,
        )?;
        write(
            &place.kubeconfig(&user),
            kubeconfig(&folder, &user).to_string(),
        )?;
    }
    Ok(())
}

fn named(name: &str, group: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if !group.is_empty() {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    Ok(params)
}

fn sign(
    authority: &CertifiedIssuer<'_, KeyPair>,
    folder: &Path,
    file: &str,
    name: &str,
    group: &str,
    addresses: &[String],
) -> Result<()> {
    let mut params = named(name, group)?;
    params.subject_alt_names = CertificateParams::new(addresses)?.subject_alt_names;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    write(&folder.join(format!("{file}.crt")), certificate.pem())?;
    write(&folder.join(format!("{file}.key")), key.serialize_pem())
}

fn kubeconfig(folder: &Path, user: &str) -> serde_json::Value {
    let file = |name: String| folder.join(name);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "quorate", "cluster": {
            "server": API,
            "certificate-authority": file("ca.crt".into()),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate": file(format!("{user}.crt")),
            "client-key": file(format!("{user}.key")),
        }}],
        "contexts": [{"name": "quorate", "context": {"cluster": "quorate", "user": user}}],
        "current-context": "quorate",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_kubeconfigs_name_is_the_host() {
        assert!(API.contains(&HOST.to_string()));
    }

    #[test]
    fn a_kubeconfig_names_its_users_certificate() {
        let config = kubeconfig(Path::new("/c"), "admin");
        assert_eq!(config["users"][0]["user"]["client-key"], "/c/admin.key");
    }
}
