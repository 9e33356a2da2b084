//! Who has which address. 198.18.0.0/15 is set aside for test beds (RFC 2544), so nothing real is ever shadowed.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// All of it. Unreachable unless one of the routes below says otherwise, so that nothing leaves this machine.
pub const RANGE: &str = "198.18.0.0/15";
/// The bridge that the nodes hang on, and its address: here the control plane and DNS listen.
pub const BRIDGE: &str = "qnodes";
pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 1);
pub const SERVICES: &str = "198.19.0.0/24";
/// The API server as a Service, which it makes itself: the first address of the range.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);

/// One of the three nodes, each in its own zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node(u8);

impl Node {
    pub const ALL: [Self; 3] = [Self(1), Self(2), Self(3)];

    pub fn zone(self) -> String {
        format!("z{}", self.0)
    }

    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 255, 10 + self.0)
    }

    /// The range of its pods.
    pub fn pods(self) -> String {
        format!("198.18.{}.0/24", self.0)
    }

    /// The host's end of its cable.
    pub fn link(self) -> String {
        format!("qlink{}", self.0)
    }

    /// Its network namespace, and its folder among the cgroups.
    pub fn machine(self) -> String {
        format!("quorate-node{}", self.0)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node{}", self.0)
    }
}

impl FromStr for Node {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|node| node.to_string() == name);
        found.ok_or_else(|| "there are node1, node2 and node3".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_name_a_zone_and_ranges_of_its_own() {
        let two: Node = "node2".parse().unwrap();
        assert_eq!(two, Node::ALL[1]);
        assert_eq!(two.zone(), "z2");
        assert_eq!(two.address().to_string(), "198.18.255.12");
        assert_eq!(two.pods(), "198.18.2.0/24");
    }

    #[test]
    fn an_unknown_node_is_told_which_there_are() {
        assert!("node4".parse::<Node>().unwrap_err().contains("node3"));
    }

    #[test]
    fn names_fit_what_the_kernel_takes_for_a_link() {
        assert!(Node::ALL.iter().all(|node| node.link().len() < 16));
    }
}
