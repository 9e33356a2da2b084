//! Objects in their two states. A status can only be computed from applied ones, so that no status ever speaks of
//! objects that exist on paper alone.

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::StatefulSet;
use sha2::{Digest, Sha256};

use crate::Object;
use crate::digest::short;

/// Built, not yet applied.
#[derive(Clone, Copy, Debug)]
pub enum Prepared {}

/// As the host returned them after application.
#[derive(Clone, Copy, Debug)]
pub enum Applied {}

/// The objects of one resource, in the order of application.
#[derive(Clone, Debug)]
pub struct Objects<State> {
    items: Vec<Object>,
    state: PhantomData<State>,
}

impl Objects<Prepared> {
    /// What `build` made. Each StatefulSet is marked with its template's digest, see [`template_digest`].
    pub fn prepared(mut items: Vec<Object>) -> Self {
        items.sort_by_key(Object::order);
        for item in &mut items {
            if let Object::StatefulSet(set) = item {
                let digest = template_digest(set);
                set.metadata
                    .annotations
                    .get_or_insert_default()
                    .insert(TEMPLATE_DIGEST.into(), digest);
            }
        }
        Objects {
            items,
            state: PhantomData,
        }
    }
}

/// Annotation of a StatefulSet: the digest of the pod template that it was last applied with.
pub const TEMPLATE_DIGEST: &str = "quorate.dev/template-digest";

/// A digest of a StatefulSet's pod template as built. It tells whether a living set carries the wanted template, where
/// a comparison could not: API servers fill in defaults, and a new operator may build another template for the same
/// spec.
pub fn template_digest(set: &StatefulSet) -> String {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    let json = serde_json::to_vec(&template).unwrap_or_default();
    short(Sha256::new_with_prefix(json))
}

impl Objects<Applied> {
    /// What the host answered to the application of each object, or what it observed where nothing was to be
    /// applied.
    pub fn applied(items: Vec<Object>) -> Self {
        Objects {
            items,
            state: PhantomData,
        }
    }

    /// The StatefulSet of this name.
    pub fn stateful_set(&self, name: &str) -> Option<&StatefulSet> {
        self.items.iter().find_map(|object| match object {
            Object::StatefulSet(set) if set.metadata.name.as_deref() == Some(name) => Some(set),
            _ => None,
        })
    }
}

impl<State> IntoIterator for Objects<State> {
    type Item = Object;
    type IntoIter = std::vec::IntoIter<Object>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<State> Objects<State> {
    /// The objects in the order of application.
    pub fn iter(&self) -> std::slice::Iter<'_, Object> {
        self.items.iter()
    }
}
