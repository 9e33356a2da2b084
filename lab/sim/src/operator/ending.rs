//! When faults have ended, the resource becomes what its spec says.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use quorate_model::revision_of;
use quorate_plan::testing::group::text;
use quorate_wire::Part;
use serde_json::Value;

use super::SET;
use super::world::World;

impl World {
    /// Why the world is not as specified; nothing when it is.
    pub(super) fn missing(&self) -> Option<String> {
        let wanted = usize::try_from(self.user.members).unwrap_or(0);
        let Some(configuration) = self.group.configuration() else {
            return Some("there is no group".into());
        };
        if configuration.is_joint() || configuration.seats.len() != wanted {
            return Some(format!(
                "{} members are configured, not {wanted}",
                configuration.seats.len()
            ));
        }
        for ordinal in 0..wanted {
            let pod = format!("{}-{ordinal}", *SET);
            let Some(disk) = self.nodes.disk_of(&pod) else {
                return Some(format!("{pod} does not run"));
            };
            let seat = configuration.seat(disk.id);
            if seat.is_none_or(|seat| seat.part != Part::Voter || seat.name != pod) {
                return Some(format!("{pod} does not vote"));
            }
            if !self.group.is_caught_up(disk.id) {
                return Some(format!("{pod} is not caught up"));
            }
        }
        if self.group.leader.is_none() {
            return Some("nobody leads".into());
        }
        self.missing_objects(wanted)
            .or_else(|| self.missing_status())
    }

    /// A line for the group, the StatefulSet and each pod, to read after a trace that ended badly.
    pub(super) fn scene(&self) -> String {
        let group = &self.group;
        let mut lines = vec![format!(
            "the group: leader {:?}, term {}, last {}, commit {}, in force {:?}",
            group.leader.map(text),
            group.term,
            group.last,
            group.commit,
            group.configuration()
        )];
        if let Some(set) = &self.api.set {
            let spec = set.spec.as_ref();
            lines.push(format!(
                "the StatefulSet: replicas {:?}, {:?}, {:?}",
                spec.and_then(|spec| spec.replicas),
                spec.and_then(|spec| spec
                    .update_strategy
                    .as_ref()?
                    .rolling_update
                    .as_ref()?
                    .partition),
                set.status
            ));
        }
        for (name, pod) in &self.api.pods {
            lines.push(format!(
                "{name} at {}: {:?} on {:?}, holding {:?}",
                revision_of(pod),
                self.nodes.processes.get(name),
                self.nodes.disk_of(name),
                self.nodes
                    .disk_of(name)
                    .and_then(|disk| group.held.get(&disk.id))
            ));
        }
        lines.join("\n")
    }

    /// What the resource says it is doing.
    pub(super) fn said(&self) -> &str {
        let status = self
            .api
            .resource
            .as_ref()
            .and_then(|resource| resource.get("status"));
        let conditions = status.and_then(|status| status["conditions"].as_array());
        let progressing = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Progressing");
        progressing
            .and_then(|condition| condition["message"].as_str())
            .unwrap_or("it says nothing")
    }

    fn missing_objects(&self, wanted: usize) -> Option<String> {
        let set = self.api.set.as_ref()?;
        let update = set
            .status
            .as_ref()
            .and_then(|status| status.update_revision.as_deref())
            .unwrap_or_default();
        if self.api.pods.len() != wanted {
            return Some(format!(
                "there are {} pods, not {wanted}",
                self.api.pods.len()
            ));
        }
        let size = Some(Quantity(format!("{}Gi", self.user.gibibytes)));
        let size_of = |claim: Option<&PersistentVolumeClaim>| {
            let spec = claim.and_then(|claim| claim.spec.as_ref())?;
            let requests = spec.resources.as_ref()?.requests.as_ref()?;
            requests.get("storage").cloned()
        };
        let templates = set
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_claim_templates.as_ref());
        let pods = self.api.pods.keys();
        let mut claims = pods.map(|pod| self.api.claims.get(&format!("data-{pod}")));
        if size_of(templates.and_then(|templates| templates.first())) != size
            || claims.any(|claim| size_of(claim) != size)
        {
            return Some("not every volume has grown".into());
        }
        let image = format!("member:{}", self.user.version);
        for (name, pod) in &self.api.pods {
            let runs = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.containers.first()?.image.as_deref());
            if revision_of(pod) != update || runs != Some(image.as_str()) {
                return Some(format!(
                    "{name} runs {}, not {image}",
                    runs.unwrap_or_default()
                ));
            }
        }
        None
    }

    fn missing_status(&self) -> Option<String> {
        let resource = self.api.resource.as_ref()?;
        let conditions = resource
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        let generation = &resource["metadata"]["generation"];
        match ready {
            Some(ready)
                if ready["status"] == "True" && ready["observedGeneration"] == *generation =>
            {
                None
            }
            Some(ready) => Some(format!(
                "Ready is {}: {}",
                ready["reason"], ready["message"]
            )),
            None => Some("there is no condition Ready".into()),
        }
    }
}
