//! The guards that an API server's CEL rules are elsewhere: the embedded host has no API server, and a real one may
//! still hold what an older CRD let in.

use std::collections::BTreeMap;
use std::ops::Deref;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use quorate_api::rules::Rule;

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

    /// Notes that a field breaks a rule of the schema, in the rule's words.
    pub(crate) fn demand(&mut self, holds: bool, field: &str, (_, message): Rule) {
        if !holds {
            self.add(field, message);
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

/// `^[a-z]([-a-z0-9]*[a-z0-9])?$` of at most `max` characters: what a Service may be called (RFC 1035).
pub(crate) fn is_dns_label(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && ends_and_holds(text, "-", is_lower)
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

/// `^[a-zA-Z0-9][-a-zA-Z0-9._/:@]*$`
pub(crate) fn is_image(text: &str) -> bool {
    text.len() <= 512
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._/:@".contains(c))
}

/// Levels, each after `MODULE=` or alone: `^([a-zA-Z0-9_:]+=)?LEVEL(,([a-zA-Z0-9_:]+=)?LEVEL)*$`
pub(crate) fn is_log_filter(text: &str) -> bool {
    let is_module = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
    };
    let is_level = |text: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
    let is_directive = |text: &str| match text.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(text),
    };
    text.len() <= 256 && text.split(',').all(is_directive)
}

fn is_lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn ends_and_holds(text: &str, inside: &str, letter: impl Fn(char) -> bool) -> bool {
    text.ends_with(&letter) && text.chars().all(|c| letter(c) || inside.contains(c))
}
