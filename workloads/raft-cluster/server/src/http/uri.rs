//! Keys in URLs: percent-encoded bytes, any bytes.

use bytes::Bytes;
use http::{StatusCode, Uri};
use quorate_node::http::parameters::{Parameters, decode};
use quorate_node::http::problem::{Refusal, bad_request};

/// What stands before a key in a path.
pub const KEY_PATH: &str = "/kv/";

/// The key in the path: everything after `/kv/`, a raw `/` included.
pub fn key(uri: &Uri, max_bytes: usize) -> Result<Bytes, Refusal> {
    let raw = uri.path().strip_prefix(KEY_PATH).unwrap_or_default();
    let key = decode(raw, "key")?;
    check_key(&key, "key", max_bytes)?;
    Ok(key)
}

/// Whether a key may be one; `field` is where it stands.
pub fn check_key(key: &[u8], field: &str, max_bytes: usize) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(bad_request(
            field,
            "The key is empty. A key has at least one byte.",
        ));
    }
    check_length(key, field, max_bytes)
}

fn check_length(key: &[u8], field: &str, max_bytes: usize) -> Result<(), Refusal> {
    if key.len() <= max_bytes {
        return Ok(());
    }
    let detail = format!(
        "It has {} bytes; max-key-bytes allows {max_bytes}. Use a shorter key.",
        key.len()
    );
    Err(Refusal::new(
        StatusCode::URI_TOO_LONG,
        "key-too-long",
        "Key too long",
        detail,
    )
    .field(field))
}

/// A parameter that holds (part of) a key; empty if it is not given.
pub fn key_parameter(
    parameters: &Parameters,
    name: &str,
    max_bytes: usize,
) -> Result<Bytes, Refusal> {
    let key = parameters.bytes(name).unwrap_or_default();
    check_length(&key, name, max_bytes)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_is_the_rest_of_the_path() {
        let table: [(&str, &[u8]); 8] = [
            ("/kv/a", b"a"),
            ("/kv/a/b", b"a/b"),
            ("/kv//a/", b"/a/"),
            ("/kv/a%2Fb", b"a/b"),
            ("/kv/%FF%00", b"\xff\0"),
            ("/kv/a+b%20c", b"a+b c"),
            ("/kv/%2e%2e", b".."),
            ("/kv/kv/x", b"kv/x"),
        ];
        for (path, expected) in table {
            assert_eq!(key(&uri(path), 100).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn a_bad_key_is_refused() {
        for (path, status, words) in [
            ("/kv/", 400, "empty"),
            ("/kv/%", 400, "%25"),
            ("/kv/%4", 400, "%25"),
            ("/kv/%zz", 400, "%25"),
            ("/kv/abcd", 414, "max-key-bytes allows 3"),
        ] {
            let refusal = key(&uri(path), 3).unwrap_err();
            assert_eq!(refusal.problem.status, status, "{path}");
            assert!(
                refusal.problem.detail.contains(words),
                "{path}: {}",
                refusal.problem.detail
            );
            assert_eq!(refusal.problem.field.as_deref(), Some("key"));
        }
        assert!(
            key(&uri("/kv/%FF%FF%FF"), 3).is_ok(),
            "the limit counts bytes, not characters of the URL"
        );
    }

    #[test]
    fn parameters_are_bytes() {
        let parameters = Parameters::of(
            &uri("/kv?prefix=a%2F%FF&limit=7&start=a+b%2B"),
            &["prefix", "start", "limit"],
        )
        .unwrap();
        assert_eq!(
            key_parameter(&parameters, "prefix", 10).unwrap(),
            &b"a/\xff"[..]
        );
        assert_eq!(
            key_parameter(&parameters, "start", 10).unwrap(),
            &b"a b+"[..]
        );
        assert_eq!(parameters.number("limit").unwrap(), Some(7));
        assert_eq!(
            key_parameter(&parameters, "start", 2)
                .unwrap_err()
                .problem
                .status,
            414
        );
    }

    proptest! {
        #[test]
        fn any_key_survives_percent_encoding(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            let encoded = percent_encoding::percent_encode(&bytes, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(key(&uri(&format!("/kv/{encoded}")), 40).unwrap(), &bytes[..]);
            let parameters = Parameters::of(&uri(&format!("/kv?start={encoded}")), &["start"]).unwrap();
            prop_assert_eq!(key_parameter(&parameters, "start", 40).unwrap(), &bytes[..]);
        }
    }
}
