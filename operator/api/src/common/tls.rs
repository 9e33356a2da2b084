//! Certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{Rule, attach};

/// The name of a Secret is a DNS subdomain.
pub const SECRET_IS_A_NAME: Rule = (
    "self.secretName.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')",
    "tls.secretName must be the name of a Secret in the same namespace, with the keys tls.crt, tls.key and ca.crt",
);

/// Certificates for every listener but the health one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules)]
pub struct Tls {
    /// A Secret with `tls.crt`, `tls.key` and `ca.crt`. The certificate serves as server and as client and names
    /// `*.NAME-peers.NAMESPACE.svc.DOMAIN` and `NAME-client.NAMESPACE.svc`; who opens a member by its address verifies
    /// the latter (curl: `--connect-to`). Members notice when its content changes.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

fn rules(schema: &mut schemars::Schema) {
    attach(schema, &[SECRET_IS_A_NAME]);
}
