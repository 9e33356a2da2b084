//! Names of members and addresses of their peer listeners: what configurations keep and other members dial.

use std::net::IpAddr;

use crate::resolve::split;

/// Longest DNS name.
const MAX_HOST_BYTES: usize = 253;

const NO_ADDRESS: &str = "must be a DNS name and port, as name-0.name-peers.default.svc:7071";

/// What is wrong with the name of a member, which is its pod's.
pub fn name_fault(name: &str) -> Option<&'static str> {
    (!is_name(name)).then_some("must be 1 to 253 letters, digits, `-`, `.` or `_`")
}

/// What is wrong with the address of a peer listener. Configurations keep it, and addresses of pods change.
pub fn peer_address_fault(address: &str) -> Option<String> {
    let Ok((host, port)) = split(address) else {
        return Some(NO_ADDRESS.into());
    };
    if host.parse::<IpAddr>().is_ok() {
        return Some(
            "must not be an IP address, which may be another's tomorrow: give a DNS name (or a name in the hosts file)"
                .into(),
        );
    }
    (port == 0 || !is_name(host)).then(|| NO_ADDRESS.into())
}

/// The names that a member goes by: its own, and that of its peer address, which below the domain of a Kubernetes cluster
/// is short inside of it.
pub fn own_names(name: &str, peer_address: &str) -> Vec<String> {
    let host = split(peer_address).map_or("", |(host, _)| host);
    let mut names = vec![name.to_owned(), host.to_owned()];
    if let Some((short, _)) = host.split_once(".svc.") {
        names.push(format!("{short}.svc"));
        let ends = short.match_indices('.').map(|(end, _)| end);
        let ends = ends.chain([short.len()]);
        names.extend(ends.map(|end| short[..end].to_owned()));
    }
    names
}

fn is_name(text: &str) -> bool {
    (1..=MAX_HOST_BYTES).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_address_is_a_name_and_a_port() {
        for (address, words) in [
            ("a", "a DNS name and port"),
            (":7071", "a DNS name"),
            ("a-0.a:0", "a DNS name"),
            ("http://a-0.a:7071", "a DNS name"),
            ("user@a-0.a:7071", "a DNS name"),
            ("a 0:7071", "a DNS name"),
            (&format!("{}:7071", "a".repeat(254)), "a DNS name"),
            ("127.1.0.1:7071", "an IP address"),
            ("[::1]:7071", "an IP address"),
        ] {
            let told = peer_address_fault(address).unwrap();
            assert!(told.contains(words), "{address}: {told}");
        }
        assert_eq!(peer_address_fault("a-0.a-peers.default.svc:7071"), None);
    }

    #[test]
    fn a_member_is_called_as_its_cluster_calls_it() {
        let names = own_names("a-0", "a-0.a-peers.default.svc.cluster.local:7071");
        for name in [
            "a-0",
            "a-0.a-peers",
            "a-0.a-peers.default",
            "a-0.a-peers.default.svc",
            "a-0.a-peers.default.svc.cluster.local",
        ] {
            assert!(names.contains(&name.to_owned()), "{name} of {names:?}");
        }
        // Elsewhere a part of a name may be another's.
        let names = own_names("a-0", "shop.com.internal:7071");
        assert_eq!(names, ["a-0", "shop.com.internal"]);
    }
}
