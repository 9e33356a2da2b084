//! Why a pod does not come to run, where its member can say nothing yet.

use std::time::Duration;

use k8s_openapi::api::core::v1::ContainerStateTerminated;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::census::Member;
use super::step::{Reason, Told};
use super::view::View;

/// Volumes are made and pods are placed in less; until then nothing is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of a line that a container wrote, in characters.
const LONGEST: usize = 500;

/// What kubelets say of a container that ends again and again.
const CRASHED: &str = "CrashLoopBackOff";

/// What kubelets say of a container that is only on its way.
const ON_ITS_WAY: [&str; 4] = [
    "ContainerCreating",
    "PodInitializing",
    "Restarting",
    "Stopped",
];

/// The first thing that keeps a pod from running, from the container to the object that was never made.
pub fn reason(view: &View<'_>) -> Option<Told> {
    let mut members = view.members.values();
    let found = members.find_map(|member| {
        let pod = view.pod_name(member.ordinal);
        let container = not_starting(view, member).map(|why| {
            (
                Reason::POD_NOT_STARTING,
                format!("{pod} does not start: {why}"),
            )
        });
        container.or_else(|| unbound(view, member)).or_else(|| {
            let why = unschedulable(view, member)?;
            Some((
                Reason::POD_UNSCHEDULABLE,
                format!("{pod} fits on no node: {why}"),
            ))
        })
    });
    found.or_else(|| {
        let denial = view.denial?;
        let words = format!("a pod cannot be made: {denial}");
        Some((Reason::POD_DENIED, words))
    })
}

/// What the kubelet says of a container that does not start. Once that was said it holds until the member answers: one that
/// ends again and again runs in between.
pub fn not_starting(view: &View<'_>, member: &Member<'_>) -> Option<String> {
    let status = member.pod?.status.as_ref()?;
    let comes_and_goes = member.status.is_none()
        && view.was_told(&[Reason::POD_NOT_STARTING, Reason::UPGRADE_STOPPED]);
    let mut containers = status.container_statuses.iter().flatten();
    containers.find_map(|container| {
        let state = container.state.as_ref()?;
        let last = container.last_state.as_ref();
        let last = last.and_then(|last| last.terminated.as_ref());
        let ended = state.terminated.as_ref().or(last);
        let waiting = state.waiting.as_ref();
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
        let reason = match reason.filter(|reason| !ON_ITS_WAY.contains(reason)) {
            Some(reason) => reason,
            None if comes_and_goes && ended.is_some() => CRASHED,
            None => return None,
        };
        let ended = ended.filter(|_| reason == CRASHED);
        let after = ended.map_or_else(String::new, |ended| {
            let why = ended.reason.as_deref().unwrap_or("Error");
            format!(" after {why} (exit code {})", ended.exit_code)
        });
        let message = match ended.and_then(|ended| ended.reason.as_deref()) {
            // What it wrote last has nothing to do with it.
            Some("OOMKilled") => Some("raise its memory limit"),
            _ => ended
                .and_then(last_words)
                .or(waiting.and_then(|waiting| waiting.message.as_deref())),
        };
        let message = message.unwrap_or("see its log");
        Some(format!("{reason}{after}: {message}"))
    })
}

/// The end of what a container wrote before it ended: why it did.
fn last_words(ended: &ContainerStateTerminated) -> Option<&str> {
    let mut lines = ended.message.as_deref()?.lines().map(str::trim);
    let last = lines.rfind(|line| !line.is_empty())?;
    let end = last
        .char_indices()
        .nth(LONGEST)
        .map_or(last.len(), |(at, _)| at);
    last.get(..end)
}

fn unschedulable<'a>(view: &View<'_>, member: &Member<'a>) -> Option<&'a str> {
    let status = member.pod?.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    lasts(view, condition.last_transition_time.as_ref()).then_some(())?;
    Some(condition.message.as_deref().unwrap_or("see its events"))
}

fn unbound(view: &View<'_>, member: &Member<'_>) -> Option<Told> {
    let claim = member.claim.filter(|_| member.pod.is_some())?;
    let phase = claim.status.as_ref()?.phase.as_deref();
    let metadata = &claim.metadata;
    let stays = phase == Some("Pending") && lasts(view, metadata.creation_timestamp.as_ref());
    let name = metadata.name.as_deref().filter(|_| stays)?;
    let spec = claim.spec.as_ref();
    let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
    let class = class.map_or("no storage class".to_owned(), |class| {
        format!("the storage class {class}")
    });
    let words = format!(
        "the claim {name} ({class}) got no volume yet: see its events, and whether the class and its provisioner are there"
    );
    Some((Reason::CLAIM_UNBOUND, words))
}

fn lasts(view: &View<'_>, since: Option<&Time>) -> bool {
    since.is_none_or(|since| {
        let lasted = view.now.duration_since(since.0);
        !lasted.is_negative() && lasted.unsigned_abs() >= PATIENCE
    })
}
