//! The volume of each member.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use quorate_api::{Storage, fragment_rules as rules, quantity};

use super::check::{Checked, Faults, is_dns_subdomain};
use super::identity::{Identity, OWNER_UID};

/// The least size that is taken, in bytes.
pub(crate) const LEAST: u128 = 512 * 1024 * 1024;

/// Checks `spec.storage`.
pub(crate) fn checked(storage: &Storage, faults: &mut Faults) -> Checked<Storage> {
    let enough = quantity::whole(&storage.size).is_some_and(|bytes| bytes >= LEAST);
    faults.demand(enough, "spec.storage.size", rules::SIZE_SUFFICES);
    let class = storage.storage_class_name.as_deref();
    faults.demand(
        class.is_none_or(is_dns_subdomain),
        "spec.storage.storageClassName",
        rules::CLASS_IS_A_NAME,
    );
    Checked::new(storage.clone())
}

/// The claim that each pod of a pool gets. Its size is the one that the living StatefulSet was made with, if there is
/// one: claim templates are immutable, and what grows is the claims.
pub(crate) fn claim_template(
    volume: &str,
    component: &str,
    owner: &Identity,
    storage: &Checked<Storage>,
    living: Option<&str>,
) -> PersistentVolumeClaim {
    let mut labels = owner.labels(component);
    labels.insert(OWNER_UID.into(), owner.uid().into());
    let size = living.map_or_else(|| storage.size.clone(), |size| Quantity(size.into()));
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(volume.into()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
