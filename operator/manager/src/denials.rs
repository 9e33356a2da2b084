//! Why a StatefulSet's controller cannot make a pod: it tells nobody but by an event.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use quorate_engine::Key;
use tokio::time::Instant;

/// A controller that is not hindered makes pods in less.
const PATIENCE: Duration = Duration::from_secs(3);
/// The events are read no more often than this.
const PERIOD: Duration = Duration::from_secs(5);

/// What was found out for one resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denials {
    /// Since when pods are missing.
    since: Option<Instant>,
    asked: Option<Instant>,
    found: BTreeMap<String, String>,
}

impl Denials {
    /// The controllers' latest complaints about pods that have been missing for a while, by StatefulSet. Where the
    /// events cannot be read there are none: they explain, and decide nothing.
    pub async fn of(
        &mut self,
        client: &Client,
        key: &Key,
        sets: &BTreeMap<String, StatefulSet>,
        pods: &BTreeMap<String, Pod>,
    ) -> BTreeMap<String, String> {
        let wanted = sets.values().filter_map(|set| set.spec.as_ref()?.replicas);
        let wanted: usize = wanted
            .filter_map(|replicas| usize::try_from(replicas).ok())
            .sum();
        if pods.len() >= wanted {
            *self = Self::default();
            return BTreeMap::new();
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let due = self.asked.is_none_or(|asked| now - asked >= PERIOD);
        if now - since >= PATIENCE && due {
            self.asked = Some(now);
            self.found = BTreeMap::new();
            let events: Api<Event> = Api::namespaced(client.clone(), &key.namespace);
            for (name, set) in sets {
                let uid = set.metadata.uid.as_deref().unwrap_or_default();
                let of_set = format!("involvedObject.uid={uid},reason=FailedCreate");
                match events.list(&ListParams::default().fields(&of_set)).await {
                    Ok(events) => {
                        let latest = events.items.into_iter().max_by_key(told);
                        let words = latest.and_then(|event| event.message);
                        self.found.extend(words.map(|words| (name.clone(), words)));
                    }
                    Err(error) => tracing::warn!(%error, "cannot read the events of {name}"),
                }
            }
        }
        self.found.clone()
    }
}

/// When an event was told last.
fn told(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref();
    let repeated = series.and_then(|series| series.last_observed_time.as_ref());
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or(repeated.map(|time| time.0))
        .or(event.event_time.as_ref().map(|time| time.0))
}
