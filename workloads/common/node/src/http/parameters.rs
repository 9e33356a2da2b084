//! Parameters in URLs: percent-encoded bytes, any bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Uri;
use percent_encoding::percent_decode;

use super::problem::{Refusal, bad_request};

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

    /// A parameter as it is, decoded.
    pub fn bytes(&self, name: &str) -> Option<Bytes> {
        self.0.get(name).cloned()
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
pub fn decode(raw: &str, field: &str) -> Result<Bytes, Refusal> {
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
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
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
}
