//! Bodies of requests: read in time and within a limit; of what is wrong with JSON the place is named.

use std::marker::PhantomData;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use serde::Deserializer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, MapAccess, Visitor};

use super::problem::{Refusal, bad_request, slow_body, too_large};

/// The field that stands for the whole body.
const BODY: &str = "body";

/// Reads a body of at most `limit` bytes, in time.
pub async fn read(
    body: Body,
    patience: Duration,
    limit: usize,
    limit_name: &str,
) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(patience, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(too_large(BODY, limit_name, limit)),
        Ok(Err(error)) => Err(bad_request(
            BODY,
            format!("The body cannot be read: {error}."),
        )),
        Err(_) => Err(slow_body()),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// Reads a JSON object; whatever is wrong is named by its place in it.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let said = error.inner().to_string();
        bad_request(&place(&error.path().to_string(), &said), format!("{said}."))
    })?;
    json.end()
        .map_err(|error| bad_request(BODY, format!("{error}.")))?;
    Ok(value)
}

/// Where it is wrong. Of a field that is missing, or there twice, the path ends at what holds it, and only the words
/// of serde have its name.
fn place(path: &str, said: &str) -> String {
    let name = ["missing field `", "duplicate field `"]
        .iter()
        .find_map(|words| Some(said.strip_prefix(words)?.split_once('`')?.0));
    // `?` is a field whose name could not be read, and `.` the whole.
    let path = path.trim_end_matches('?').trim_end_matches('.');
    match (path, name) {
        ("", None) => BODY.into(),
        ("", Some(name)) => name.into(),
        (path, None) => path.into(),
        (path, Some(name)) => format!("{path}.{name}"),
    }
}

/// A structure written as a JSON object. By itself serde takes an array of the fields' values too, in which nothing
/// says what is what.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(OnlyMap(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Outer {
        the_number: u64,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        word: String,
    }

    #[derive(Deserialize)]
    struct Strict {
        _inner: Vec<Object<Inner>>,
    }

    fn field<T: DeserializeOwned>(text: &str) -> Option<String> {
        let refusal = object::<T>(text.as_bytes()).err().unwrap();
        assert_eq!(refusal.problem.status, 400);
        refusal.problem.field
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "body"),
            ("{", "body"),
            ("{\"theNumber\": 1, \"inner\": [{", "inner[0]"),
            ("null", "body"),
            ("[1, []]", "body"),
            ("{\"theNumber\": 1} x", "body"),
            ("{}", "theNumber"),
            ("{\"theNumber\": \"1\"}", "theNumber"),
            ("{\"theNumber\": 1, \"theNumber\": 2}", "theNumber"),
            ("{\"theNumber\": 1, \"other\": 2}", "other"),
            ("{\"theNumber\": 1, \"inner\": {}}", "inner"),
            ("{\"theNumber\": 1, \"inner\": [{}]}", "inner[0].word"),
            (
                "{\"theNumber\": 1, \"inner\": [{\"word\": 1}]}",
                "inner[0].word",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(field::<Outer>(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn an_object_is_no_array() {
        let array = "{\"_inner\": [{\"word\": \"a\"}, [\"b\"]]}";
        assert_eq!(field::<Strict>(array).as_deref(), Some("_inner[1]"));
        let good: Outer = object(b"{\"theNumber\": 7}").unwrap();
        assert_eq!((good.the_number, good.inner), (7, vec![]));
    }
}
