//! Volumes that grow.

use serde_json::json;

use super::situation::Situation;
use crate::Refusal;

const STEADY: &str = "replicas 3 partition 0";

/// Made at 10Gi, and to have 20Gi.
fn outgrown() -> Situation {
    let mut situation = Situation::formed_of(3, json!({ "storage": { "size": "10Gi" } }));
    (0..3).for_each(|ordinal| situation.size(ordinal, "10Gi", "10Gi"));
    situation.resource["spec"]["storage"]["size"] = json!("20Gi");
    situation
}

fn grown() -> Situation {
    let mut situation = outgrown();
    (0..3).for_each(|ordinal| situation.size(ordinal, "20Gi", "20Gi"));
    situation
}

#[test]
fn claims_grow_whatever_else_is_under_way() {
    let grow =
        "grow data-demo-rcl-0 to 20Gi, grow data-demo-rcl-1 to 20Gi, grow data-demo-rcl-2 to 20Gi";
    let mut outgrown = outgrown();
    assert_eq!(outgrown.step(), format!("{STEADY}, {grow}"));
    outgrown.nobody_leads();
    assert_eq!(outgrown.step(), format!("{STEADY}, {grow}"));
    outgrown.size(0, "21474836480", "10Gi");
    outgrown.size(1, "30Gi", "30Gi");
    outgrown.unbind(2);
    assert_eq!(
        outgrown.step(),
        STEADY,
        "asked for, larger, and not there yet"
    );
}

#[test]
fn the_stateful_set_is_made_anew_around_its_pods_when_all_volumes_are_there() {
    let mut situation = outgrown();
    (0..3).for_each(|ordinal| situation.size(ordinal, "20Gi", "20Gi"));
    situation.size(1, "20Gi", "10Gi");
    assert_eq!(situation.step(), STEADY);
    assert_eq!(
        situation.condition("Progressing"),
        ("True".into(), "Growing".into())
    );
    situation.size(1, "20Gi", "20Gi");
    assert_eq!(
        situation.step(),
        format!("{STEADY}, own demo-rcl-0, own demo-rcl-1, own demo-rcl-2")
    );
    (0..3).for_each(|ordinal| situation.own(ordinal));
    assert_eq!(
        situation.step(),
        format!("{STEADY}, orphan the pods of demo-rcl")
    );
    situation.delete_set();
    assert!(
        situation.decide().stage.is_none(),
        "nothing can be applied to it"
    );
    situation.observed.stateful_sets.clear();
    situation.resource["spec"]["paused"] = json!(true);
    assert_eq!(
        situation.step(),
        "replicas 3 partition 3",
        "fenced off, and though the resource was paused meanwhile"
    );
}

#[test]
fn a_stateful_set_that_was_made_anew_has_the_pods_alone_once_it_found_them() {
    let mut situation = Situation::formed_of(3, json!({ "storage": { "size": "20Gi" } }));
    (0..3).for_each(|ordinal| situation.size(ordinal, "20Gi", "20Gi"));
    (0..2).for_each(|ordinal| situation.own(ordinal));
    assert_eq!(situation.step(), STEADY);
    (1..3).for_each(|ordinal| situation.adopt(ordinal));
    assert_eq!(situation.step(), format!("{STEADY}, give demo-rcl-1 back"));
    situation.resource["spec"]["storage"]["size"] = json!("30Gi");
    (0..3).for_each(|ordinal| situation.size(ordinal, "30Gi", "30Gi"));
    assert_eq!(
        situation.step(),
        format!("{STEADY}, own demo-rcl-2"),
        "it is to be made anew once more"
    );
}

#[test]
fn the_stateful_set_stays_while_a_member_may_need_it() {
    let mut lagging = grown();
    lagging.lag(2);
    assert_eq!(lagging.step(), STEADY);
    assert_eq!(lagging.refusals(), [Refusal::QuorumAtRisk]);
    let mut upgrading = grown();
    upgrading.outdate([]);
    assert_eq!(upgrading.step(), STEADY);
    assert_eq!(upgrading.refusals(), [Refusal::PreviousNotReady]);
}

#[test]
fn what_is_decided_otherwise_is_done_first() {
    let mut unmarked = grown();
    (0..3).for_each(|ordinal| unmarked.own(ordinal));
    unmarked.resource["spec"]["storage"]["retention"] = json!({ "whenDeleted": "Delete" });
    let marks = "mark data-demo-rcl-0, mark data-demo-rcl-1, mark data-demo-rcl-2";
    assert_eq!(unmarked.step(), format!("{STEADY}, {marks}"));
}
