//! Requests that say something else than they seem: what another reader of the same bytes (a proxy, a library) would take
//! otherwise is refused before anything is done. As RFC 9110, 9112 and 9113 have it, where hyper and h2 leave it to us.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_RANGE, HOST, TRANSFER_ENCODING,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};

use axum::response::{IntoResponse, Response};

use super::problem::{Refusal, bad_request};

/// A request that is refused, and what its answer's head says beside.
#[derive(Debug, PartialEq, Eq)]
pub struct Unlawful {
    refusal: Refusal,
    header: Option<(HeaderName, &'static str)>,
}

impl From<Refusal> for Unlawful {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            header: None,
        }
    }
}

impl IntoResponse for Unlawful {
    fn into_response(self) -> Response {
        let mut response = self.refusal.into_response();
        if let Some((name, value)) = self.header {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Whose the request is for: the host and port that it names, if it names any (only HTTP/1.0 need not).
///
/// # Errors
/// The request is one that must be refused.
pub fn judge<B>(request: &Request<B>) -> Result<Option<Authority>, Unlawful> {
    let (uri, headers) = (request.uri(), request.headers());
    check_framing(headers)?;
    check_target(request.method(), uri, request.version())?;
    check_representation(request.method(), headers)?;
    Ok(authority(uri, headers, request.version())?)
}

/// RFC 9112, section 6.1: a coding that is not understood must not be stored as if it were none, and `chunked` applied
/// twice is read in two ways.
fn check_framing(headers: &HeaderMap) -> Result<(), Unlawful> {
    let mut codings = list(headers, &TRANSFER_ENCODING).peekable();
    if codings.peek().is_none() {
        return Ok(());
    }
    let codings: Vec<_> = codings.collect();
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let chunked = codings.iter().filter(|coding| is_chunked(coding)).count();
    let refusal = match (codings.len(), chunked) {
        (1, 1) => return Ok(()),
        (_, 0 | 1) => Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "unknown-transfer-coding",
            "Unknown transfer coding",
            "A body can be chunked, and nothing else. Send it as it is, or compress the value before it is sent.",
        )
        .field(TRANSFER_ENCODING.as_str()),
        _ => bad_request(
            TRANSFER_ENCODING.as_str(),
            "A body is chunked once. Say so once.",
        ),
    };
    // Where such a body ends is a matter of opinion: nothing more is read from the connection.
    Err(Unlawful {
        refusal,
        header: Some((CONNECTION, "close")),
    })
}

/// RFC 9112, section 3.2, and RFC 9113, section 8.3.1. (A fragment never gets here: see third-party/README.md.)
fn check_target(method: &Method, uri: &Uri, version: Version) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(bad_request("target", why));
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if method == Method::CONNECT {
        return Ok(());
    }
    if target == "*" && method != Method::OPTIONS {
        return refuse("`*` is the target of OPTIONS alone.");
    }
    let is_absolute = version < Version::HTTP_2 && uri.scheme().is_some();
    if target != "*" && !target.starts_with('/') && !is_absolute {
        return refuse("It must begin with a `/`.");
    }
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return refuse("The scheme must be http or https.");
    }
    Ok(())
}

/// A part of a value is not the value, and a coded one is not what a reader would get back: neither its range nor its
/// coding is kept.
fn check_representation(method: &Method, headers: &HeaderMap) -> Result<(), Unlawful> {
    // RFC 9110, section 14.4: with any other method it must be ignored.
    if method == Method::PUT && headers.contains_key(CONTENT_RANGE) {
        let detail =
            "A part of a value cannot be put. Send the whole value, without Content-Range.";
        return Err(bad_request(CONTENT_RANGE.as_str(), detail).into());
    }
    let is_plain = |coding: &[u8]| coding.eq_ignore_ascii_case(b"identity");
    if list(headers, &CONTENT_ENCODING).all(is_plain) {
        return Ok(());
    }
    Err(Unlawful {
        refusal: Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unknown-content-coding",
            "Unknown content coding",
            "A value's coding is not kept. Send it without Content-Encoding; the bytes stay as they are.",
        )
        .field(CONTENT_ENCODING.as_str()),
        header: Some((ACCEPT_ENCODING, "identity")),
    })
}

/// RFC 9112, section 3.2, and RFC 9113, section 8.3.1: one host, of the target before the header's.
fn authority(
    uri: &Uri,
    headers: &HeaderMap,
    version: Version,
) -> Result<Option<Authority>, Refusal> {
    let refuse = |why: &str| Err(bad_request(HOST.as_str(), why));
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse("There is more than one Host. Send one.");
    }
    if host.is_none() && version == Version::HTTP_11 {
        return refuse("There is no Host, and HTTP/1.1 demands one.");
    }
    let named = match host.map(named) {
        Some(None) => return refuse("It is no HOST or HOST:PORT."),
        Some(named) => named,
        None => None,
    };
    let Some(target) = uri.authority() else {
        return match named {
            None if version >= Version::HTTP_2 => refuse("There is neither :authority nor Host."),
            named => Ok(named),
        };
    };
    let Some(target) = sound(target.clone()) else {
        return refuse("The target's authority is no HOST or HOST:PORT.");
    };
    let differs = |named: &Authority| !named.as_str().eq_ignore_ascii_case(target.as_str());
    if version >= Version::HTTP_2 && named.as_ref().is_some_and(differs) {
        return refuse("Host is another than :authority.");
    }
    Ok(Some(target))
}

fn named(host: &HeaderValue) -> Option<Authority> {
    sound(Authority::try_from(host.as_bytes()).ok()?)
}

/// The authority, if it is a host with or without a port: a user's name has no place in a request, and without a host
/// an `http` URI is none (RFC 9110, section 4.2).
fn sound(authority: Authority) -> Option<Authority> {
    let text = authority.as_str();
    let rest = text.strip_prefix(authority.host())?;
    let port = rest.strip_prefix(':').unwrap_or(rest);
    let is_sound = !authority.host().is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_sound.then_some(authority)
}

/// The elements of a list header, over all its lines, without the blanks around them and without empty ones.
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn status(request: &Request<()>) -> Result<Option<String>, (u16, Option<String>)> {
        judge(request)
            .map(|authority| authority.map(|authority| authority.to_string()))
            .map_err(|unlawful| {
                let problem = unlawful.refusal.problem;
                (problem.status, problem.field)
            })
    }

    #[test]
    fn the_host_is_the_targets_before_the_headers() {
        use Version as V;
        type Headers = &'static [(&'static str, &'static str)];
        let one: Headers = &[("host", "a:7070")];
        let host = Some("host".to_owned());
        type Told = Result<Option<&'static str>, u16>;
        let table: [(V, &str, Headers, Told); 17] = [
            (V::HTTP_11, "/", one, Ok(Some("a:7070"))),
            (
                V::HTTP_11,
                "/",
                &[("host", "[::1]:7070")],
                Ok(Some("[::1]:7070")),
            ),
            (V::HTTP_11, "/", &[], Err(400)),
            (V::HTTP_11, "/", &[("host", "a"), ("host", "a")], Err(400)),
            (V::HTTP_11, "/", &[("host", "a, b")], Err(400)),
            (V::HTTP_11, "/", &[("host", "")], Err(400)),
            (V::HTTP_11, "/", &[("host", "u@a")], Err(400)),
            (V::HTTP_11, "/", &[("host", "a/b")], Err(400)),
            (V::HTTP_11, "/", &[("host", "a:x")], Err(400)),
            (V::HTTP_11, "http://b/", one, Ok(Some("b"))),
            (V::HTTP_11, "http://u@b/", one, Err(400)),
            (V::HTTP_10, "/", &[], Ok(None)),
            (V::HTTP_10, "/", &[("host", "a"), ("host", "b")], Err(400)),
            (V::HTTP_2, "http://b/", &[], Ok(Some("b"))),
            (V::HTTP_2, "http://b/", &[("host", "B")], Ok(Some("b"))),
            (V::HTTP_2, "http://b/", &[("host", "c")], Err(400)),
            (V::HTTP_2, "/", &[], Err(400)),
        ];
        for (version, uri, headers, expected) in table {
            let expected = expected
                .map(|authority| authority.map(str::to_owned))
                .map_err(|status| (status, host.clone()));
            let told = status(&asked(version, "GET", uri, headers));
            assert_eq!(told, expected, "{version:?} {uri} {headers:?}");
        }
    }

    #[test]
    fn a_body_is_whole_plain_and_chunked_at_most_once() {
        for (method, name, value, expected) in [
            ("PUT", "transfer-encoding", "chunked", None),
            ("PUT", "transfer-encoding", "Chunked", None),
            ("PUT", "transfer-encoding", "gzip, chunked", Some(501)),
            ("PUT", "transfer-encoding", "identity", Some(501)),
            ("PUT", "transfer-encoding", "chunked, chunked", Some(400)),
            ("PUT", "content-range", "bytes 3-5/6", Some(400)),
            ("POST", "content-range", "bytes 3-5/6", None),
            ("PUT", "content-encoding", "gzip", Some(415)),
            ("PUT", "content-encoding", "identity", None),
        ] {
            let told = status(&asked(
                Version::HTTP_11,
                method,
                "/",
                &[("host", "a"), (name, value)],
            ));
            let expected = expected.map(|status| (status, Some(name.to_owned())));
            assert_eq!(told.err(), expected, "{method} {name}: {value}");
        }
        let twice = [
            ("host", "a"),
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        let told = judge(&asked(Version::HTTP_11, "PUT", "/", &twice)).unwrap_err();
        assert_eq!(told.into_response().headers()["connection"], "close");
    }

    #[test]
    fn a_target_has_one_of_its_forms() {
        for (method, uri, expected) in [
            ("OPTIONS", "*", None),
            ("GET", "*", Some(400)),
            ("GET", "http://a", None),
            ("GET", "https://a/b?c", None),
            ("GET", "ftp://a/", Some(400)),
        ] {
            let told = status(&asked(Version::HTTP_11, method, uri, &[("host", "a")]));
            assert_eq!(
                told.err().map(|(status, _)| status),
                expected,
                "{method} {uri}"
            );
        }
    }
}
