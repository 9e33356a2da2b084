//! Telling people, by events that `kubectl describe` shows.
//!
//! What happens again is counted in the same object, also by the operator that comes after this one.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as KubeEvent, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Error};
use quorate_plan::Event;
use serde_json::json;

/// The API takes notes of 1024 bytes; a character has four at most.
const LONGEST_NOTE: usize = 1024 / 4;

/// Who tells: the controller's name, and this process of it.
#[derive(Clone)]
pub(crate) struct Reporter {
    pub client: Client,
    pub instance: String,
}

impl Reporter {
    /// Tells of something that happened to a resource.
    pub async fn tell(&self, about: &ObjectReference, event: &Event) -> Result<(), Error> {
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let events: Api<KubeEvent> = Api::namespaced(self.client.clone(), namespace);
        let told = self.event(about, event, Timestamp::now());
        let name = told.metadata.name.clone().unwrap_or_default();
        match events.create(&PostParams::default(), &told).await {
            Err(Error::Api(status)) if status.is_already_exists() => {}
            other => return other.map(drop),
        }
        let before = events.get(&name).await?;
        let series = EventSeries {
            count: before.series.map_or(1, |series| series.count) + 1,
            last_observed_time: MicroTime(Timestamp::now()),
        };
        let again = Patch::Merge(json!({ "series": series }));
        events
            .patch(&name, &PatchParams::default(), &again)
            .await
            .map(drop)
    }

    fn event(&self, about: &ObjectReference, event: &Event, now: Timestamp) -> KubeEvent {
        let note: String = event.message.chars().take(LONGEST_NOTE).collect();
        let mut told = KubeEvent {
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(event.reason.to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some("quorate.dev/operator".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
            ..KubeEvent::default()
        };
        let subject = about.name.as_deref().unwrap_or_default();
        let uid = about.uid.as_deref().unwrap_or_default();
        told.metadata.name = Some(event.name(subject, uid));
        told.metadata.namespace = about.namespace.clone();
        told
    }
}
