//! Keys and parameters in URLs: percent-encoded bytes, any bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{StatusCode, Uri};
use percent_encoding::percent_decode;
use quorate_node::problem::Refusal;

use super::problems::bad_request;

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

/// The parameters after the `?`. In them, as in forms, `+` is a space.
#[derive(Debug, Default)]
pub struct Parameters(BTreeMap<String, Bytes>);

impl Parameters {
    /// Reads them. One that is not `known`, or that comes twice, is refused: a mistyped name must not silently
    /// mean the default.
    pub fn of(uri: &Uri, known: &[&str]) -> Result<Self, Refusal> {
        let mut parameters = BTreeMap::new();
        for pair in uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(bad_request(
                    name,
                    format!("There is no such parameter here. Known: {known}."),
                ));
            }
            let value = decode(&value.replace('+', " "), name)?;
            if parameters.insert(name.to_owned(), value).is_some() {
                return Err(bad_request(
                    name,
                    "The parameter is given twice. Give it once.",
                ));
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter that holds (part of) a key; empty if it is not given.
    pub fn key(&self, name: &str, max_bytes: usize) -> Result<Bytes, Refusal> {
        let key = self.0.get(name).cloned().unwrap_or_default();
        check_length(&key, name, max_bytes)?;
        Ok(key)
    }

    /// A parameter that is a word.
    pub fn word(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|value| &value[..])
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let read = |value: &[u8]| {
            std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
        };
        match self.word(name) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(number) => Ok(Some(number)),
                None => Err(bad_request(name, "It is no number, or too large a one.")),
            },
        }
    }
}

/// Percent-decodes; a `%` without two hexadecimal digits is refused, since another reader would take it otherwise.
fn decode(raw: &str, field: &str) -> Result<Bytes, Refusal> {
    let hex = |at: usize| raw.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    let whole = raw
        .match_indices('%')
        .all(|(at, _)| hex(at + 1) && hex(at + 2));
    if !whole {
        return Err(bad_request(
            field,
            "A `%` must be followed by two hexadecimal digits; a percent sign itself is `%25`.",
        ));
    }
    Ok(percent_decode(raw.as_bytes()).collect::<Vec<u8>>().into())
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
        assert_eq!(parameters.key("prefix", 10).unwrap(), &b"a/\xff"[..]);
        assert_eq!(parameters.key("start", 10).unwrap(), &b"a b+"[..]);
        assert_eq!(parameters.number("limit").unwrap(), Some(7));
        assert_eq!(parameters.key("start", 2).unwrap_err().problem.status, 414);
    }

    #[test]
    fn bad_parameters_are_named() {
        for (query, field) in [
            ("?colour=red", "colour"),
            ("?limit=1&limit=2", "limit"),
            ("?prefix=%", "prefix"),
        ] {
            let refusal =
                Parameters::of(&uri(&format!("/kv{query}")), &["limit", "prefix"]).unwrap_err();
            assert_eq!(
                (refusal.problem.status, refusal.problem.field.as_deref()),
                (400, Some(field)),
                "{query}"
            );
        }
        let parameters = Parameters::of(&uri("/kv?limit=many"), &["limit"]).unwrap();
        assert_eq!(
            parameters
                .number("limit")
                .unwrap_err()
                .problem
                .field
                .as_deref(),
            Some("limit")
        );
    }

    proptest! {
        #[test]
        fn any_key_survives_percent_encoding(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            let encoded = percent_encoding::percent_encode(&bytes, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(key(&uri(&format!("/kv/{encoded}")), 40).unwrap(), &bytes[..]);
            let parameters = Parameters::of(&uri(&format!("/kv?start={encoded}")), &["start"]).unwrap();
            prop_assert_eq!(parameters.key("start", 40).unwrap(), &bytes[..]);
        }
    }
}
