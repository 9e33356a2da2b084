//! The guards of what no rule of a CRD can see (`rules` has those), as keys of labels and what is in `podOverrides`.

use std::collections::BTreeMap;
use std::ops::Deref;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Invalid;

/// A value that passed its checks. Only this crate's validation makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    /// Says that `value` was checked just now.
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Everything that is wrong with a resource.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Invalid>);

impl From<Vec<Invalid>> for Faults {
    fn from(faults: Vec<Invalid>) -> Self {
        Self(faults)
    }
}

/// What is said of labels and annotations that no API server takes.
const NO_KEY: &str = "is no key: write NAME or DOMAIN/NAME, the name of at most 63 letters, digits, '-', '_' and '.'";
const NO_VALUE: &str = "must be at most 63 letters, digits, '-', '_' and '.', and begin and end with a letter or digit";

impl Faults {
    /// Notes the labels and annotations below `path` that can be none.
    pub(crate) fn metadata(&mut self, path: &str, meta: &ObjectMeta) {
        if let Some(labels) = &meta.labels {
            self.labels(&format!("{path}.labels"), labels);
        }
        if let Some(annotations) = &meta.annotations {
            self.annotations(&format!("{path}.annotations"), annotations);
        }
    }

    /// Notes the labels below `path` that cannot be labels.
    pub(crate) fn labels(&mut self, path: &str, labels: &BTreeMap<String, String>) {
        self.annotations(path, labels);
        for (key, value) in labels {
            if is_label_key(key) && !value.is_empty() && !is_label_value(value) {
                self.add(format!("{path}.{key}"), NO_VALUE);
            }
        }
    }

    /// Notes the annotations below `path` whose keys can be none.
    pub(crate) fn annotations(&mut self, path: &str, annotations: &BTreeMap<String, String>) {
        for key in annotations.keys().filter(|key| !is_label_key(key)) {
            self.add(format!("{path}.{key}"), NO_KEY);
        }
    }

    /// Notes what is wrong with a field, and what to write instead.
    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Invalid {
            field: field.into(),
            message: message.into(),
        });
    }

    /// `value`, unless anything is wrong.
    pub(crate) fn unless_any<T>(self, value: T) -> Result<T, Vec<Invalid>> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self.0)
        }
    }
}

/// `^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`: what most objects may be called (RFC 1123).
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.starts_with(is_lower) && ends_and_holds(text, "-.", is_lower)
}

/// `^[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?$`: what a label may hold.
pub(crate) fn is_label_value(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63 && text.starts_with(letter) && ends_and_holds(text, "-_.", letter)
}

/// What a label or an annotation may be called: a name, or a domain, `/` and a name.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_dns_subdomain(domain) && is_label_value(name),
        None => is_label_value(text),
    }
}

fn is_lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn ends_and_holds(text: &str, inside: &str, letter: impl Fn(char) -> bool) -> bool {
    text.ends_with(&letter) && text.chars().all(|c| letter(c) || inside.contains(c))
}
