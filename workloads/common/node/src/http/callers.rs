//! Who may call: no web page. A browser sends what a page asks it to send, to whatever address it can reach, so a member on
//! somebody's laptop must tell a page's requests from a person's.
//!
//! A page of another origin shows by `Sec-Fetch-Site` or `Origin`, which no page can leave out or forge; one whose own
//! name was made to lead here (DNS rebinding) by `Host`. With TLS a foreign name is no danger: the certificate has not it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::ORIGIN;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode};

use super::problem::Refusal;
use super::strict;
use crate::patterns::Patterns;

/// What a browser says of where a request comes from (W3C Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whose requests a listener serves.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// The names that the listener goes by; all, when there are none.
    names: Option<BTreeSet<String>>,
    hosts: Patterns,
    origins: Patterns,
}

impl Callers {
    /// Those that call a listener of TLS, by whatever name.
    pub fn of_any_name(origins: Patterns) -> Self {
        Self {
            names: None,
            hosts: Patterns::default(),
            origins,
        }
    }

    /// Those that call a listener by an address, as `localhost`, by these names or by the hosts beside.
    pub fn of(names: impl IntoIterator<Item = String>, hosts: Patterns, origins: Patterns) -> Self {
        let names = names.into_iter().map(|name| name.to_ascii_lowercase());
        Self {
            names: Some(names.collect()),
            hosts,
            origins,
        }
    }

    /// Judges a request to `authority`.
    fn judge(
        &self,
        method: &Method,
        authority: Option<&Authority>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        if let Some(authority) = authority.filter(|authority| !self.serves(authority.host())) {
            let detail = format!(
                "Nobody here is called {}. Use an address, `localhost` or a name of this member, or have the name put \
                 into allowed-hosts. Nothing was done.",
                authority.host()
            );
            return Err(foreign("foreign-host", "Foreign host", "host", detail));
        }
        if method.is_safe() || !self.is_of_another_page(authority, headers) {
            return Ok(());
        }
        let detail = "A web page of another origin sent this. If it may, have its origin put into allowed-origins. \
                      Nothing was done.";
        Err(foreign(
            "foreign-origin",
            "Foreign origin",
            "origin",
            detail,
        ))
    }

    fn serves(&self, host: &str) -> bool {
        let Some(names) = &self.names else {
            return true;
        };
        let host = host.to_ascii_lowercase();
        // The name with a dot at its end is the same one.
        let host = host.strip_suffix('.').unwrap_or(&host);
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        bare.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || names.contains(host)
            || self.hosts.hold(host)
    }

    fn is_of_another_page(&self, authority: Option<&Authority>, headers: &HeaderMap) -> bool {
        let text = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().unwrap_or_default();
            // Said twice is said by nobody who can be believed.
            Some(if values.next().is_some() { "" } else { value })
        };
        let origin = text(ORIGIN.as_str());
        if origin.is_some_and(|origin| self.origins.hold(&origin.to_ascii_lowercase())) {
            return false;
        }
        match (text(SEC_FETCH_SITE), origin) {
            // `none`: a person typed the address.
            (Some(site), _) => !matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => {
                let of = origin.split_once("://").map(|(_, of)| of);
                let own = authority.map(Authority::as_str);
                !of.zip(own)
                    .is_some_and(|(of, own)| of.eq_ignore_ascii_case(own))
            }
            // No browser.
            (None, None) => false,
        }
    }
}

fn foreign(kind: &str, title: &str, field: &str, detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, kind, title, detail).field(field)
}

/// Middleware: lets through what is a request, and of those who may call.
pub async fn let_in(State(callers): State<Arc<Callers>>, request: Request, next: Next) -> Response {
    let authority = match strict::judge(&request) {
        Ok(authority) => authority,
        Err(unlawful) => return unlawful.into_response(),
    };
    match callers.judge(request.method(), authority.as_ref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn callers() -> Callers {
        let patterns = |text: &str| text.parse().unwrap();
        Callers::of(
            ["m-0.peers.test".into(), "m-0".into()],
            patterns("store.example,*.shop.example"),
            patterns("https://panel.example"),
        )
    }

    fn told(
        callers: &Callers,
        method: Method,
        host: &str,
        more: &[(&'static str, &'static str)],
    ) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in more {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let authority = Authority::try_from(host).unwrap();
        let refusal = callers.judge(&method, Some(&authority), &headers).err()?;
        assert_eq!(refusal.problem.status, 403);
        refusal.problem.field
    }

    #[test]
    fn a_name_that_is_not_the_members_is_refused() {
        for (host, served) in [
            ("127.0.0.1:7070", true),
            ("[::1]:7070", true),
            ("localhost:8080", true),
            ("a.localhost", true),
            ("M-0:7070", true),
            ("m-0.peers.test.", true),
            ("store.example", true),
            ("eu.shop.example:80", true),
            ("shop.example", false),
            ("evilshop.example", false),
            ("m-0.peers.test.evil.example", false),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
        ] {
            for method in [Method::GET, Method::PUT] {
                let field = told(&callers(), method, host, &[]);
                assert_eq!(field.is_none(), served, "{host}: {field:?}");
            }
        }
        let any = Callers::of_any_name(Patterns::default());
        assert_eq!(told(&any, Method::PUT, "evil.example", &[]), None);
    }

    #[test]
    fn a_page_of_another_origin_cannot_write() {
        type Headers = &'static [(&'static str, &'static str)];
        let table: [(Headers, bool); 14] = [
            (&[], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "")], false),
            (
                &[("sec-fetch-site", "none"), ("sec-fetch-site", "none")],
                false,
            ),
            (&[("origin", "http://127.0.0.1:7070")], true),
            (&[("origin", "http://127.0.0.1:8080")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://panel.example")], true),
            (
                &[
                    ("origin", "https://panel.example"),
                    ("sec-fetch-site", "cross-site"),
                ],
                true,
            ),
            (
                &[
                    ("origin", "http://127.0.0.1:7070"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
        ];
        for (headers, served) in table {
            for method in [Method::PUT, Method::POST, Method::DELETE] {
                let field = told(&callers(), method, "127.0.0.1:7070", headers);
                assert_eq!(field.is_none(), served, "{headers:?}: {field:?}");
            }
            let read = told(&callers(), Method::GET, "127.0.0.1:7070", headers);
            assert_eq!(read, None, "its page cannot see the answer");
        }
    }
}
