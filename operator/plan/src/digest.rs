//! Names for contents: the same content has the same name, whoever made it.

use sha2::{Digest, Sha256};

/// The first 8 bytes in hexadecimal digits: enough where a chance equal is harmless.
pub(crate) fn short(digest: Sha256) -> String {
    let bytes = digest.finalize();
    bytes
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
