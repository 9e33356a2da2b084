//! How large an object may be: as large as a Kubernetes cluster takes it, so that what runs here can go there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::store::StoreError;

/// What etcd takes in one request.
const OBJECT_BYTES: usize = 3 << 19;
/// Keys and values of all annotations.
const ANNOTATIONS_BYTES: usize = 256 << 10;
/// The values of a ConfigMap or a Secret.
const DATA_BYTES: usize = 1 << 20;

/// Refuses what a cluster would refuse.
pub(crate) fn check(object: &Value) -> Result<(), StoreError> {
    let annotations = pairs(&object["metadata"]["annotations"])
        .map(|(key, value)| key.len() + value.len())
        .sum();
    within("metadata.annotations", annotations, ANNOTATIONS_BYTES)?;
    let plain = pairs(&object["data"]).map(|(_, value)| match object["kind"].as_str() {
        Some("Secret") => STANDARD
            .decode(value)
            .map_or(value.len(), |bytes| bytes.len()),
        _ => value.len(),
    });
    let binary = pairs(&object["binaryData"]).map(|(_, value)| {
        STANDARD
            .decode(value)
            .map_or(value.len(), |bytes| bytes.len())
    });
    within("data", plain.chain(binary).sum(), DATA_BYTES)?;
    within("the object", object.to_string().len(), OBJECT_BYTES)
}

fn pairs(map: &Value) -> impl Iterator<Item = (&str, &str)> {
    map.as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

fn within(what: &str, bytes: usize, limit: usize) -> Result<(), StoreError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "{what}: too long, {bytes} bytes where Kubernetes takes {limit}; shorten it"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_limit_is_kubernetes_and_the_last_byte_counts() {
        let refused = |object: &Value| check(object).err().map(|error| error.to_string());
        let annotated =
            |bytes: usize| json!({ "metadata": { "annotations": { "a": "x".repeat(bytes - 1) } } });
        assert_eq!(refused(&annotated(262_144)), None);
        assert!(
            refused(&annotated(262_145))
                .unwrap()
                .contains("metadata.annotations: too long")
        );
        let map = |bytes: usize| json!({ "kind": "ConfigMap", "data": { "a": "x".repeat(bytes) } });
        assert_eq!(refused(&map(1_048_576)), None);
        assert!(refused(&map(1_048_577)).unwrap().contains("data: too long"));
        let secret = |bytes: usize| json!({ "kind": "Secret", "data": { "a": STANDARD.encode("x".repeat(bytes)) } });
        assert_eq!(refused(&secret(1_048_576)), None);
        assert!(refused(&secret(1_048_577)).is_some());
        let frame = json!({ "spec": "" }).to_string().len();
        let large = |bytes: usize| json!({ "spec": "x".repeat(bytes - frame) });
        assert_eq!(refused(&large(1_572_864)), None);
        assert!(
            refused(&large(1_572_865))
                .unwrap()
                .contains("the object: too long")
        );
    }
}
