//! `If-Match` and `If-None-Match` (RFC 9110, section 13). An entity tag is the key's revision in quotes.

use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use quorate_node::http::problem::{Refusal, bad_request};
use quorate_raft_cluster_core::Expect;

/// The entity tag of a revision.
pub fn tag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// An entity tag of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'h> {
    is_weak: bool,
    /// With its quotes.
    opaque: &'h str,
}

impl Tag<'_> {
    /// The revision that it is the tag of. Only what [`tag`] writes: `"07"` is another tag than `"7"`, and no key has it.
    fn revision(self) -> Option<u64> {
        let digits = self.opaque.trim_matches('"').parse().ok()?;
        (tag(digits) == self.opaque).then_some(digits)
    }
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags<'h> {
    /// `*`
    Any,
    /// `"7", W/"8"`: at least one.
    These(Vec<Tag<'h>>),
}

impl Tags<'_> {
    /// Whether one is the tag of this revision. Strong comparison: a weak tag is no other's equal.
    fn hold(&self, revision: u64) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags
                .iter()
                .any(|tag| !tag.is_weak && tag.revision() == Some(revision)),
        }
    }

    /// As [`Tags::hold`], by weak comparison: what a proxy compressed has the tag `W/"7"`, and is the same value.
    fn hold_weakly(&self, revision: u64) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| tag.revision() == Some(revision)),
        }
    }
}

/// The conditions of a write with the header that each comes from, in the order of RFC 9110, section 13.2.2.
pub fn of_write(headers: &HeaderMap) -> Result<Vec<(&'static str, Expect)>, Refusal> {
    let mut conditions = Vec::new();
    match read(headers, &IF_MATCH)? {
        Some(Tags::Any) => conditions.push(("if-match", Expect::Exists)),
        Some(Tags::These(tags)) => {
            conditions.push(("if-match", Expect::Revision(only_strong(&tags)?)));
        }
        None => {}
    }
    match read(headers, &IF_NONE_MATCH)? {
        Some(Tags::Any) => conditions.push(("if-none-match", Expect::Missing)),
        Some(Tags::These(_)) => {
            return Err(bad_request(
                IF_NONE_MATCH.as_str(),
                "On a write it can only be `*`: the key must not exist.",
            ));
        }
        None => {}
    }
    Ok(conditions)
}

/// The revision that a write is to change. A write has one condition for each key, so a list is refused; so is a tag that
/// no key can have, since it is the client's mistake and no other's write.
fn only_strong(tags: &[Tag<'_>]) -> Result<u64, Refusal> {
    let why = match tags {
        [tag] if tag.is_weak => "A weak tag is no condition of a write.",
        [tag] => match tag.revision() {
            Some(revision) => return Ok(revision),
            None => "It is no entity tag of this service.",
        },
        _ => "A list of tags is no condition of a write.",
    };
    Err(refusal(&IF_MATCH, why))
}

fn refusal(name: &HeaderName, why: &str) -> Refusal {
    let detail = format!("{why} Give `*` or one strong tag, as `\"7\"`.");
    bad_request(name.as_str(), detail)
}

/// The conditions of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadConditions<'h> {
    if_match: Option<Tags<'h>>,
    if_none_match: Option<Tags<'h>>,
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

impl<'h> ReadConditions<'h> {
    /// Reads the headers.
    pub fn of(headers: &'h HeaderMap) -> Result<Self, Refusal> {
        Ok(Self {
            if_match: read(headers, &IF_MATCH)?,
            if_none_match: read(headers, &IF_NONE_MATCH)?,
        })
    }

    /// Judges a key that exists, last changed at `revision`.
    pub fn judge(&self, revision: u64) -> Judgement {
        let (wanted, had) = (&self.if_match, &self.if_none_match);
        if wanted.as_ref().is_some_and(|tags| !tags.hold(revision)) {
            Judgement::Failed
        } else if had.as_ref().is_some_and(|tags| tags.hold_weakly(revision)) {
            Judgement::NotModified
        } else {
            Judgement::Send
        }
    }
}

/// Reads a header, all lines of which are one list.
fn read<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<Tags<'h>>, Refusal> {
    let (mut stars, mut tags) = (0, Vec::new());
    for line in headers.get_all(name) {
        let text = std::str::from_utf8(line.as_bytes()).unwrap_or("?");
        if text.trim() == "*" {
            stars += 1;
        } else if list(text, &mut tags).is_none() {
            return Err(refusal(name, "It is no list of entity tags."));
        }
    }
    match (stars, tags.is_empty(), headers.contains_key(name)) {
        (0, true, false) => Ok(None),
        (1, true, _) => Ok(Some(Tags::Any)),
        (0, false, _) => Ok(Some(Tags::These(tags))),
        _ => Err(refusal(
            name,
            "It is neither `*` nor a list of entity tags.",
        )),
    }
}

/// Reads `"7", W/"8"`: a comma within the quotes belongs to the tag (RFC 9110, section 8.8.3).
fn list<'h>(text: &'h str, tags: &mut Vec<Tag<'h>>) -> Option<()> {
    let mut rest = text.trim();
    while !rest.is_empty() {
        let strong = rest.strip_prefix("W/");
        let opaque = strong.unwrap_or(rest);
        let end = opaque.strip_prefix('"')?.find('"')? + 2;
        let (opaque, after) = opaque.split_at(end);
        if opaque.contains(char::is_whitespace) {
            return None;
        }
        tags.push(Tag {
            is_weak: strong.is_some(),
            opaque,
        });
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            // Empty elements are passed over (section 5.6.1.2).
            Some(next) => next.trim_start_matches([',', ' ', '\t']),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(())
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
    fn lists_weak_and_foreign_tags_are_no_conditions_of_writes() {
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
        let judge = |pairs: &[(&'static str, &'static str)]| {
            let headers = headers(pairs);
            ReadConditions::of(&headers).unwrap().judge(7)
        };
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
        for (tags, expected) in [
            ("W/\"7\"", Judgement::NotModified),
            ("\"6\", \"7\"", Judgement::NotModified),
            ("\"6\",,W/\"7\" ,", Judgement::NotModified),
            ("\"a,b\", \"7\"", Judgement::NotModified),
            ("\"a,\"", Judgement::Send),
            ("\"7-gzip\"", Judgement::Send),
            ("\"07\"", Judgement::Send),
            ("\"\"", Judgement::Send),
        ] {
            assert_eq!(judge(&[("if-none-match", tags)]), expected, "{tags}");
        }
        let two = &[("if-none-match", "\"6\""), ("if-none-match", "W/\"7\"")];
        assert_eq!(judge(two), Judgement::NotModified, "two lines are a list");
        for (tags, expected) in [
            ("W/\"7\"", Judgement::Failed),
            ("\"6\", \"7\"", Judgement::Send),
            ("\"abc\"", Judgement::Failed),
            ("*", Judgement::Send),
        ] {
            assert_eq!(judge(&[("if-match", tags)]), expected, "{tags}");
        }
        for wrong in [
            "7",
            "\"7",
            "w/\"7\"",
            "\"7\" \"8\"",
            "*, \"7\"",
            "",
            "\"a b\"",
            ",",
        ] {
            let headers = headers(&[("if-none-match", wrong)]);
            let refusal = ReadConditions::of(&headers).unwrap_err();
            let field = refusal.problem.field.as_deref();
            assert_eq!(field, Some("if-none-match"), "{wrong}");
        }
    }
}
