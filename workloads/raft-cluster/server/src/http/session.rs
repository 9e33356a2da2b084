//! The headers that make the retry of a write safe: `Quorate-Session` and `Quorate-Seq`.

use http::HeaderMap;
use quorate_node::http::problem::{Refusal, bad_request};

/// Which session a write belongs to.
pub const SESSION: &str = "quorate-session";
/// Its number in the session.
pub const SEQUENCE: &str = "quorate-seq";

/// The session and the number of a write; both headers or none.
pub fn of_write(headers: &HeaderMap) -> Result<Option<(u64, u64)>, Refusal> {
    match (number(headers, SESSION)?, number(headers, SEQUENCE)?) {
        (None, None) => Ok(None),
        (Some(session), Some(sequence)) => Ok(Some((session, sequence))),
        (Some(_), None) => Err(bad_request(
            SEQUENCE,
            "Quorate-Session needs Quorate-Seq: the write's number in the session.",
        )),
        (None, Some(_)) => Err(bad_request(
            SESSION,
            "Quorate-Seq needs Quorate-Session: the id that POST /sessions gave.",
        )),
    }
}

/// A session's id in a path.
pub fn id(text: &str) -> Result<u64, Refusal> {
    decimal(text).ok_or_else(|| {
        bad_request(
            "session",
            "It is no session id: POST /sessions gives one, a decimal number.",
        )
    })
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(decimal);
    match number.filter(|_| values.next().is_none()) {
        Some(number) => Ok(Some(number)),
        None => Err(bad_request(
            name,
            "It must be one decimal number from 1 on.",
        )),
    }
}

/// Only digits (`parse` alone takes `+7` too), and not 0.
fn decimal(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(
        session: Option<&'static str>,
        sequence: Option<&'static str>,
    ) -> Result<Option<(u64, u64)>, Option<String>> {
        let mut headers = HeaderMap::new();
        session.map(|value| headers.append(SESSION, HeaderValue::from_static(value)));
        sequence.map(|value| headers.append(SEQUENCE, HeaderValue::from_static(value)));
        of_write(&headers).map_err(|refusal| refusal.problem.field)
    }

    #[test]
    fn both_or_none() {
        assert_eq!(of(None, None), Ok(None));
        assert_eq!(of(Some("17"), Some("1")), Ok(Some((17, 1))));
        assert_eq!(of(Some("17"), None), Err(Some(SEQUENCE.into())));
        assert_eq!(of(None, Some("1")), Err(Some(SESSION.into())));
    }

    #[test]
    fn only_numbers_from_one_on() {
        for bad in ["0", "-1", "+1", "1.0", "", "x", "18446744073709551616"] {
            assert_eq!(
                of(Some("1"), Some(bad)),
                Err(Some(SEQUENCE.into())),
                "{bad:?}"
            );
            assert!(id(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            of(Some("18446744073709551615"), Some("1")),
            Ok(Some((u64::MAX, 1)))
        );
    }
}
