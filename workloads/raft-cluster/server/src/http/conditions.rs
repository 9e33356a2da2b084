//! `If-Match` and `If-None-Match` (RFC 9110, section 13). An entity tag is the key's revision in quotes.

use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use quorate_node::http::problem::{Refusal, bad_request};
use quorate_raft_cluster_core::Expect;

/// The entity tag of a revision.
pub fn tag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// `*`
    Any,
    /// `"7"`
    Revision(u64),
}

/// The conditions of a write with the header that each comes from, in the order of RFC 9110, section 13.2.2.
pub fn of_write(headers: &HeaderMap) -> Result<Vec<(&'static str, Expect)>, Refusal> {
    let mut conditions = Vec::new();
    match read(headers, &IF_MATCH)? {
        Some(Tag::Any) => conditions.push(("if-match", Expect::Exists)),
        Some(Tag::Revision(revision)) => conditions.push(("if-match", Expect::Revision(revision))),
        None => {}
    }
    match read(headers, &IF_NONE_MATCH)? {
        Some(Tag::Any) => conditions.push(("if-none-match", Expect::Missing)),
        Some(Tag::Revision(_)) => {
            return Err(bad_request(
                IF_NONE_MATCH.as_str(),
                "On a write it can only be `*`: the key must not exist.",
            ));
        }
        None => {}
    }
    Ok(conditions)
}

/// The conditions of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadConditions {
    if_match: Option<Tag>,
    if_none_match: Option<Tag>,
}

/// How a read of an existing key is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// With the value.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412.
    Failed,
}

impl ReadConditions {
    /// Reads the headers.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        Ok(Self {
            if_match: read(headers, &IF_MATCH)?,
            if_none_match: read(headers, &IF_NONE_MATCH)?,
        })
    }

    /// Judges a key that exists, last changed at `revision`.
    pub fn judge(self, revision: u64) -> Judgement {
        let matches = |tag| matches!(tag, Tag::Any) || tag == Tag::Revision(revision);
        if self.if_match.is_some_and(|tag| !matches(tag)) {
            Judgement::Failed
        } else if self.if_none_match.is_some_and(matches) {
            Judgement::NotModified
        } else {
            Judgement::Send
        }
    }
}

fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tag>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let refuse = |why| {
        Err(bad_request(
            name.as_str(),
            format!("{why} Give `*` or one strong tag, as `\"7\"`."),
        ))
    };
    if values.next().is_some() || text.contains(',') {
        return refuse("A list of tags is not supported.");
    }
    if text.starts_with("W/") {
        return refuse("A weak tag is not supported.");
    }
    if text == "*" {
        return Ok(Some(Tag::Any));
    }
    let digits = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    // Only what `tag` writes: `"07"` is another tag than `"7"`, and no key has it.
    match digits
        .and_then(|digits| digits.parse().ok())
        .filter(|revision| tag(*revision) == text)
    {
        Some(revision) => Ok(Some(Tag::Revision(revision))),
        None => refuse("It is no entity tag of this service."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn conditions_of_writes() {
        type Pairs = &'static [(&'static str, &'static str)];
        let table: [(Pairs, &[Expect]); 6] = [
            (&[], &[]),
            (&[("if-match", "\"7\"")], &[Expect::Revision(7)]),
            (&[("if-match", "*")], &[Expect::Exists]),
            (&[("if-none-match", "*")], &[Expect::Missing]),
            (
                &[("if-none-match", "*"), ("if-match", "\"7\"")],
                &[Expect::Revision(7), Expect::Missing],
            ),
            // A revision that no key has: the condition never holds, and is no request for a missing key.
            (&[("if-match", "\"0\"")], &[Expect::Revision(0)]),
        ];
        for (given, expected) in table {
            let conditions: Vec<_> = of_write(&headers(given))
                .unwrap()
                .into_iter()
                .map(|(_, expect)| expect)
                .collect();
            assert_eq!(conditions, expected, "{given:?}");
        }
    }

    #[test]
    fn lists_weak_and_foreign_tags_are_refused() {
        for (name, value) in [
            ("if-match", "\"1\", \"2\""),
            ("if-match", "W/\"1\""),
            ("if-match", "7"),
            ("if-match", "\"abc\""),
            ("if-match", "\"07\""),
            ("if-match", "\"+7\""),
            ("if-match", ""),
            ("if-match", "\"99999999999999999999\""),
            ("if-none-match", "*, \"1\""),
            ("if-none-match", "\"1\""),
            ("if-none-match", "W/\"1\""),
        ] {
            let refusal = of_write(&headers(&[(name, value)])).unwrap_err();
            assert_eq!(
                (refusal.problem.status, refusal.problem.field.as_deref()),
                (400, Some(name)),
                "{name}: {value}"
            );
        }
        assert!(
            of_write(&headers(&[("if-match", "\"1\""), ("if-match", "\"2\"")])).is_err(),
            "two headers are a list"
        );
    }

    #[test]
    fn conditions_of_reads() {
        let judge = |pairs| ReadConditions::of(&headers(pairs)).unwrap().judge(7);
        assert_eq!(judge(&[]), Judgement::Send);
        assert_eq!(judge(&[("if-none-match", "\"7\"")]), Judgement::NotModified);
        assert_eq!(judge(&[("if-none-match", "\"6\"")]), Judgement::Send);
        assert_eq!(judge(&[("if-none-match", "*")]), Judgement::NotModified);
        assert_eq!(judge(&[("if-match", "\"6\"")]), Judgement::Failed);
        assert_eq!(judge(&[("if-match", "\"7\"")]), Judgement::Send);
        assert_eq!(
            judge(&[("if-match", "\"6\""), ("if-none-match", "\"7\"")]),
            Judgement::Failed
        );
        assert!(ReadConditions::of(&headers(&[("if-none-match", "\"1\",\"2\"")])).is_err());
        assert!(ReadConditions::of(&headers(&[("if-none-match", "W/\"1\"")])).is_err());
    }
}
