//! The volume of each member.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use quorate_api::Storage;

use super::check::Checked;
use super::identity::{Identity, OWNER_UID};

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
