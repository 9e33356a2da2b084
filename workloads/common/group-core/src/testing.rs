//! What several unit tests need.

use quorate_raft::{Configuration, Contact, MemberId};

/// A configuration of voters.
pub(crate) fn configuration(voters: &[u64]) -> Configuration {
    let contact = |id: &u64| {
        (
            MemberId(*id),
            Contact {
                name: format!("m-{id}"),
                address: format!("m-{id}:7071"),
            },
        )
    };
    Configuration {
        voters: voters.iter().map(|id| MemberId(*id)).collect(),
        contacts: voters.iter().map(contact).collect(),
        ..Configuration::default()
    }
}
