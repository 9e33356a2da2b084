//! The rules of a kind, which are those of its CRD: the embedded host has no API server to hold them, and a real one may
//! still keep what an older CRD let in.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Mutex, OnceLock, PoisonError};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResourceExt;
use kube::core::Resource;
use kube::core::cel::{CompiledSchema, ValidationError, compile_schema, validate_compiled};
use kube::core::object::HasSpec;
use quorate_api::quantity;
use serde::Serialize;
use serde_json::{Value, json};

use super::bounds;
use crate::Invalid;

/// So many verdicts are remembered; then all are forgotten, and come back as they are asked for.
const REMEMBERED: usize = 2_000;

/// The rules of the CRD of `K`.
pub(crate) struct Rules<K> {
    /// The fields that rules take for quantities, as JSON pointers.
    quantities: &'static [&'static str],
    compiled: OnceLock<Compiled>,
    /// By name and spec, what came of it. A judgement costs as much as the rest of a round, and a resource is looked at
    /// every few seconds. Not by generation: a change that is asked for has still the old one.
    verdicts: Mutex<BTreeMap<String, Vec<Invalid>>>,
    kind: PhantomData<fn() -> K>,
}

struct Compiled {
    schema: Value,
    rules: CompiledSchema,
}

impl<K> Rules<K>
where
    K: CustomResourceExt + Resource<DynamicType = ()> + HasSpec,
    K::Spec: Serialize,
{
    /// None is compiled yet: that takes some milliseconds.
    pub(crate) const fn new(quantities: &'static [&'static str]) -> Self {
        Self {
            quantities,
            compiled: OnceLock::new(),
            verdicts: Mutex::new(BTreeMap::new()),
            kind: PhantomData,
        }
    }

    /// Everything that an API server would refuse of a new resource, in the rules' words.
    pub(crate) fn faults(&self, resource: &K) -> Vec<Invalid> {
        let name = &resource.meta().name;
        let judged = serde_json::to_string(&(name, resource.spec())).unwrap_or_default();
        let lock = || self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = lock().get(&judged) {
            return verdict.clone();
        }
        let verdict = self.judge(resource);
        let mut verdicts = lock();
        if verdicts.len() >= REMEMBERED {
            verdicts.clear();
        }
        verdicts.insert(judged, verdict.clone());
        verdict
    }

    /// Everything that the transition rules forbid of a change.
    pub(crate) fn faults_of_change(&self, old: &K, new: &K) -> Vec<Invalid> {
        let (old, new) = (self.comparable(old), self.comparable(new));
        let broken = validate_compiled(&self.compiled().rules, &new, Some(&old));
        let broken = broken.err().into_iter().flatten();
        in_order(broken.filter(|error| error.rule.contains("oldSelf")))
    }

    fn judge(&self, resource: &K) -> Vec<Invalid> {
        let object = self.comparable(resource);
        let compiled = self.compiled();
        let broken = validate_compiled(&compiled.rules, &object, None);
        let mut faults = in_order(broken.err().into_iter().flatten());
        for fault in bounds::exceeded(&compiled.schema["properties"]["spec"], &object["spec"]) {
            if !faults.iter().any(|told| told.field == fault.field) {
                faults.push(fault);
            }
        }
        faults
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            let crd = serde_json::to_value(K::crd()).unwrap_or_default();
            let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            Compiled {
                rules: compile_schema(&schema),
                schema,
            }
        })
    }

    /// The validator's arithmetic overflows where a quantity has an exponent beyond reason. What ours cannot read is no
    /// quantity for it either; a negative one is none to begin with.
    fn comparable(&self, resource: &K) -> Value {
        let mut object = seen_by_rules(resource);
        for pointer in self.quantities {
            if let Some(Value::String(text)) = object.pointer_mut(pointer) {
                let read = quantity::whole(&Quantity(text.clone()));
                if read.is_none() || text.contains('-') {
                    text.clear();
                }
            }
        }
        object
    }
}

/// What rules can see: of the metadata only the name.
fn seen_by_rules<K>(resource: &K) -> Value
where
    K: Resource<DynamicType = ()> + HasSpec,
    K::Spec: Serialize,
{
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": resource.meta().name },
        "spec": resource.spec(),
    })
}

/// The validator walks the schema in the order of a hash.
fn in_order(broken: impl Iterator<Item = ValidationError>) -> Vec<Invalid> {
    let mut faults: Vec<_> = broken.map(fault).collect();
    faults.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
    faults
}

/// A rule about several fields stands where it sees them all, and its words begin with the one to mend.
fn fault(error: ValidationError) -> Invalid {
    let path = error.field_path;
    let named = error.message.split([' ', ':']).next().unwrap_or_default();
    let field = match path.as_str() {
        "" => named.to_owned(),
        _ => Some(format!("spec.{named}"))
            .filter(|named| {
                named
                    .strip_prefix(&path)
                    .is_some_and(|rest| rest.starts_with('.'))
            })
            .unwrap_or(path),
    };
    Invalid {
        field,
        message: error.message,
    }
}
