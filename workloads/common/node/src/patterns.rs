//! Lists of hosts or origins in settings.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The names below one: `*.example.com` is `a.example.com` and `b.a.example.com`, not `example.com`.
const BELOW: &str = "*.";

/// Hosts, as `store.example.com,*.shop.example.com`, or origins, as `https://panel.example.com`: in lower case, parted by
/// commas, since a setting is one word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl FromStr for Patterns {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = text.split(',').map(str::trim);
        let words = words.filter(|word| !word.is_empty());
        Ok(Self(words.map(str::to_ascii_lowercase).collect()))
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Patterns {
    /// Whether one of them fits a host or an origin, which is in lower case.
    pub fn hold(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, text))
    }

    /// What is wrong with them as hosts.
    pub fn host_fault(&self) -> Option<String> {
        let wrong = self.0.iter().find(|pattern| !is_host(pattern))?;
        Some(format!(
            "{wrong} is no host: write a name without port, as store.example.com, or *.example.com for all below it"
        ))
    }

    /// What is wrong with them as origins.
    pub fn origin_fault(&self) -> Option<String> {
        let wrong = self.0.iter().find(|pattern| !is_origin(pattern))?;
        Some(format!(
            "{wrong} is no origin: write scheme, name and port (unless it is the scheme's own), as https://panel.example.com"
        ))
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once(BELOW) else {
        return pattern == text;
    };
    let rest = text.strip_prefix(before);
    let label = rest.and_then(|rest| rest.strip_suffix(after)?.strip_suffix('.'));
    label.is_some_and(|label| !label.is_empty())
}

fn is_host(pattern: &str) -> bool {
    let name = pattern.strip_prefix(BELOW).unwrap_or(pattern);
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.is_empty() && name.bytes().all(sound)
}

fn is_origin(pattern: &str) -> bool {
    let name = ["http://", "https://"]
        .iter()
        .find_map(|scheme| pattern.strip_prefix(scheme));
    name.is_some_and(|name| match name.split_once(':') {
        Some((host, port)) => is_host(host) && port.parse::<u16>().is_ok(),
        None => is_host(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_names() {
        let hosts: Patterns = "Store.example, *.shop.example,".parse().unwrap();
        assert_eq!(hosts.to_string(), "store.example,*.shop.example");
        for (host, fits) in [
            ("store.example", true),
            ("a.shop.example", true),
            ("b.a.shop.example", true),
            ("shop.example", false),
            (".shop.example", false),
            ("ashop.example", false),
            ("a.store.example", false),
        ] {
            assert_eq!(hosts.hold(host), fits, "{host}");
        }
        let origins: Patterns = "https://*.panel.example:8443".parse().unwrap();
        assert!(origins.hold("https://a.panel.example:8443"));
        assert!(!origins.hold("http://a.panel.example:8443"));
    }

    #[test]
    fn what_is_none_is_told() {
        let fault = |text: &str, of: fn(&Patterns) -> Option<String>| of(&text.parse().unwrap());
        for wrong in ["http://a", "a:7070", "a/b", "a.*.b", "*"] {
            let told = fault(wrong, Patterns::host_fault).unwrap();
            assert!(told.starts_with(wrong), "{told}");
        }
        for wrong in [
            "a",
            "ftp://a",
            "https://a/",
            "https://a:port",
            "https://",
            "null",
        ] {
            let told = fault(wrong, Patterns::origin_fault).unwrap();
            assert!(told.starts_with(wrong), "{told}");
        }
        assert_eq!(fault("a.b,*.c", Patterns::host_fault), None);
        assert_eq!(
            fault("http://a:80,https://*.c", Patterns::origin_fault),
            None
        );
    }
}
