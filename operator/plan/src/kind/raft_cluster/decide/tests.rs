//! Situations, each with the one step that follows.
#![allow(clippy::unwrap_used)]

mod situation;
mod told;
mod volumes;

use serde_json::json;

use self::situation::Situation;
use crate::{AnyStatus, IGNORE_BLOCKERS, REMOVED, Refusal, SET_ASIDE};

#[test]
fn a_new_resource_gets_its_pods_and_nobody_is_asked_to_found_a_group_before_all_have_answered() {
    let mut new = Situation::nothing();
    assert_eq!(new.step(), "replicas 3 partition 0");
    new.make_pods(3);
    new.silence(1);
    assert_eq!(new.refusals(), [Refusal::MemberSilent]);
    assert_eq!(new.step(), "replicas 3 partition 0");
}

#[test]
fn the_founder_is_written_to_status_then_to_its_claim_and_asked_when_status_says_so() {
    let mut new = Situation::nothing();
    new.make_pods(3);
    assert_eq!(new.step(), "replicas 3 partition 0");
    let founder =
        |asked| json!({ "id": 1, "incarnation": "id-0", "asked": asked, "formed": false });
    assert_eq!(new.write_status()["group"], founder(false));
    assert_eq!(new.step(), "replicas 3 partition 0, mark data-demo-rcl-0");
    new.carry_out_marks();
    assert_eq!(new.step(), "replicas 3 partition 0");
    assert_eq!(new.write_status()["group"], founder(true));
    assert_eq!(
        new.step(),
        "replicas 3 partition 0, Bootstrap by demo-rcl-0"
    );
}

#[test]
fn another_founds_the_group_where_the_first_was_lost_before_it_was_asked() {
    // Its disk came back empty under its claim: the mark on it is the new one's.
    let mut wiped = Situation::nothing();
    wiped.make_pods(3);
    wiped.write_status();
    wiped.carry_out_marks();
    wiped.empty(0, "new");
    assert_eq!(wiped.write_status()["group"]["incarnation"], "new");
    assert_eq!(wiped.step(), "replicas 3 partition 0, mark data-demo-rcl-0");
    // Whoever was asked may have taken writes.
    wiped.carry_out_marks();
    assert_eq!(wiped.write_status()["group"]["asked"], true);
    wiped.empty(0, "newer");
    assert_eq!(wiped.step(), "replicas 3 partition 0");
    assert_eq!(wiped.refusals(), [Refusal::GroupKnown]);
}

#[test]
fn an_empty_disk_founds_nothing_while_a_claim_knows_a_group_though_status_was_lost() {
    let mut lost = Situation::formed(3);
    lost.resource["status"] = json!({});
    lost.silence(0);
    lost.silence(1);
    lost.empty(2, "new");
    assert_eq!(lost.step(), "replicas 3 partition 0");
    assert_eq!(lost.refusals(), [Refusal::GroupKnown]);
}

#[test]
fn a_claim_of_an_earlier_resource_comes_into_no_pods_hands() {
    let mut new = Situation::nothing();
    new.make_foreign_claim(1);
    assert_eq!(new.step(), "replicas 1 partition 0");
    assert_eq!(new.refusals(), [Refusal::ForeignClaim]);
    let mut grown = Situation::formed(3);
    grown.resource["spec"]["members"] = json!(5);
    grown.make_foreign_claim(3);
    assert_eq!(grown.step(), "replicas 3 partition 0");
    assert_eq!(grown.refusals(), [Refusal::ForeignClaim]);
}

#[test]
fn a_damaged_member_is_replaced_before_an_upgrade_goes_on() {
    let mut damaged = Situation::formed(3);
    damaged.outdate([0, 1, 2]);
    damaged.set_partition(3);
    damaged.damage(1);
    let step = "replicas 3 partition 3, delete claim data-demo-rcl-1, delete pod demo-rcl-1";
    assert_eq!(damaged.step(), step);
    assert_eq!(damaged.refusals(), [Refusal::RepairFirst]);
}

#[test]
fn what_was_granted_is_taken_back_while_another_member_is_repaired() {
    let mut damaged = Situation::formed(5);
    damaged.outdate([0, 1, 2, 3, 4]);
    damaged.set_partition(4);
    damaged.damage(1);
    let step = "replicas 5 partition 5, delete claim data-demo-rcl-1, delete pod demo-rcl-1";
    assert_eq!(damaged.step(), step);
    // Of three, the one that may go at any time counts no more.
    let mut three = Situation::formed(3);
    three.outdate([0, 1, 2]);
    three.set_partition(2);
    three.damage(1);
    assert_eq!(three.step(), "replicas 3 partition 3");
    assert_eq!(
        three.refusals(),
        [Refusal::QuorumAtRisk, Refusal::RepairFirst]
    );
}

#[test]
fn a_damaged_disk_is_kept_while_the_others_are_no_quorum() {
    let mut damaged = Situation::formed(3);
    damaged.damage(1);
    damaged.lag(2);
    assert_eq!(damaged.step(), "replicas 3 partition 0");
    assert_eq!(damaged.refusals(), [Refusal::QuorumAtRisk]);
    damaged.status(1).can_set_aside = true;
    assert_eq!(damaged.step(), "replicas 3 partition 0");
    assert_eq!(damaged.refusals(), [Refusal::QuorumAtRisk]);
}

#[test]
fn damaged_data_is_set_aside_once_per_disk() {
    let mut damaged = Situation::formed(3);
    damaged.damage(1);
    damaged.status(1).can_set_aside = true;
    let id = damaged.status(1).incarnation.clone();
    let ask = "replicas 3 partition 0, mark data-demo-rcl-1, SetAside by demo-rcl-1";
    assert_eq!(damaged.step(), ask);
    damaged.annotate(1, SET_ASIDE, &id);
    // Asked again, by an operator that does not know whether the last one was heard.
    assert_eq!(
        damaged.step(),
        "replicas 3 partition 0, SetAside by demo-rcl-1"
    );
    damaged.status(1).can_set_aside = false;
    let wipe = "replicas 3 partition 0, delete claim data-demo-rcl-1, delete pod demo-rcl-1";
    assert_eq!(damaged.step(), wipe, "it could not");
    damaged.status(1).can_set_aside = true;
    damaged.annotate(1, SET_ASIDE, "000000000000000f");
    assert_eq!(damaged.step(), wipe, "another identity's was, before");
}

#[test]
fn a_repair_that_is_refused_keeps_no_other_from_being_made() {
    let mut situation = Situation::formed(5);
    situation.damage(1);
    situation.lag(2);
    situation.lag(3);
    situation.break_at(4);
    assert_eq!(
        situation.step(),
        "replicas 5 partition 5, delete pod demo-rcl-4"
    );
    assert_eq!(
        situation.refusals(),
        [Refusal::QuorumAtRisk, Refusal::RepairFirst]
    );
}

#[test]
fn an_identity_whose_disk_is_gone_is_removed_and_one_that_is_silent_is_not() {
    let mut situation = Situation::formed(3);
    situation.empty(2, "new");
    let step = "replicas 3 partition 0, mark data-demo-rcl-2, Remove by demo-rcl-0";
    assert_eq!(situation.step(), step);
    let mut situation = Situation::formed(3);
    situation.silence(2);
    assert_eq!(situation.step(), "replicas 3 partition 0");
}

#[test]
fn a_learner_that_another_hand_added_is_removed_and_no_pod_is_made_for_it() {
    let home = Situation::formed(3).address("demo-rcl-9");
    for (name, address) in [
        ("elsewhere", "a:1"),
        ("demo-rcl-9", home.as_str()),
        ("demo-rcl-2", "?"),
    ] {
        let mut drifted = Situation::formed(3);
        drifted.configure_learner("stranger", name, address, false);
        assert_eq!(
            drifted.step(),
            "replicas 3 partition 0, Remove by demo-rcl-0",
            "{name}"
        );
        let (status, reason) = drifted.condition("Ready");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "Repairing"));
        let said = &drifted.decide().events[0].message;
        assert!(said.contains(name) && said.contains("stranger"), "{said}");
    }
}

#[test]
fn an_empty_member_becomes_a_learner_and_a_learner_that_holds_the_log_a_voter() {
    let mut situation = Situation::formed(3);
    situation.leave_configuration(2);
    situation.empty(2, "new");
    assert_eq!(
        situation.step(),
        "replicas 3 partition 0, AddLearner by demo-rcl-0"
    );
    situation.become_learner(2, "new", false);
    assert_eq!(situation.refusals(), [Refusal::LearnerBehind]);
    situation.become_learner(2, "new", true);
    let step = "replicas 3 partition 0, mark data-demo-rcl-2, Promote by demo-rcl-0";
    assert_eq!(situation.step(), step);
}

#[test]
fn an_identity_that_was_removed_is_never_added_again() {
    let mut situation = Situation::formed(3);
    situation.leave_configuration(2);
    situation.empty(2, "id-2");
    situation.annotate(2, REMOVED, "id-2");
    situation.carry_out_marks();
    let step = "replicas 3 partition 0, delete claim data-demo-rcl-2, delete pod demo-rcl-2";
    assert_eq!(situation.step(), step);
}

#[test]
fn a_removal_that_was_only_asked_for_leaves_the_member_counted() {
    let mut situation = Situation::formed(3);
    situation.annotate(2, REMOVED, "id-2");
    assert_eq!(situation.step(), "replicas 3 partition 0");
    situation.set_replicas(2);
    situation.nobody_leads();
    assert_eq!(situation.step(), "replicas 3 partition 0", "it comes back");
}

#[test]
fn a_removal_that_is_not_committed_is_not_confirmed() {
    let mut situation = Situation::formed(3);
    situation.annotate(2, REMOVED, "id-2");
    situation.leave_configuration(2);
    situation.uncommit();
    assert_eq!(situation.step(), "replicas 3 partition 0");
}

#[test]
fn what_a_leader_confirms_to_have_left_is_marked_before_its_pod_goes_and_counted_no_more() {
    let mut situation = Situation::formed(5);
    situation.resource["spec"]["members"] = json!(3);
    for ordinal in [3, 4] {
        situation.annotate(ordinal, REMOVED, &format!("id-{ordinal}"));
        situation.leave_configuration(ordinal);
    }
    let step = "replicas 5 partition 0, mark data-demo-rcl-3, mark data-demo-rcl-4";
    assert_eq!(situation.step(), step);
    situation.carry_out_marks();
    assert_eq!(situation.step(), "replicas 3 partition 0");
    situation.set_replicas(3);
    situation.nobody_leads();
    assert_eq!(situation.step(), "replicas 3 partition 0");
}

#[test]
fn scaling_out_makes_one_pod_at_a_time() {
    let mut situation = Situation::formed(3);
    situation.resource["spec"]["members"] = json!(5);
    assert_eq!(situation.step(), "replicas 4 partition 0");
}

#[test]
fn scaling_in_moves_leadership_then_removes_the_member_and_then_its_pod() {
    let mut situation = Situation::formed(5);
    situation.resource["spec"]["members"] = json!(3);
    situation.lead(4);
    assert_eq!(
        situation.step(),
        "replicas 5 partition 0, TransferLeader by demo-rcl-4"
    );
    assert_eq!(situation.refusals(), [Refusal::LeaderInPlace]);
    situation.lead(0);
    let step = "replicas 5 partition 0, mark data-demo-rcl-4, Remove by demo-rcl-0";
    assert_eq!(situation.step(), step);
    situation.leave_configuration(4);
    situation.leave_configuration(3);
    assert_eq!(situation.step(), "replicas 3 partition 0");
}

#[test]
fn nothing_of_the_membership_is_touched_while_a_change_is_not_committed() {
    let mut situation = Situation::formed(5);
    situation.resource["spec"]["members"] = json!(3);
    situation.uncommit();
    assert_eq!(situation.step(), "replicas 5 partition 0");
    assert_eq!(situation.refusals(), [Refusal::ChangeInFlight]);
}

#[test]
fn the_volume_of_a_member_that_was_scaled_in_goes_only_by_the_policy() {
    let mut situation = Situation::formed(3);
    situation.make_claim(3);
    assert_eq!(situation.step(), "replicas 3 partition 0");
    situation.resource["spec"]["storage"] = json!({ "retention": { "whenScaled": "Delete" } });
    assert_eq!(
        situation.step(),
        "replicas 3 partition 0, delete claim data-demo-rcl-3"
    );
}

#[test]
fn a_new_revision_is_published_behind_a_fence_and_then_goes_to_one_follower_at_a_time() {
    let mut situation = Situation::formed(3);
    situation.resource["spec"]["version"] = json!("2.0.0");
    assert_eq!(situation.step(), "replicas 3 partition 3");
    situation.resource["spec"]["version"] = json!(null);
    situation.outdate([0, 1, 2]);
    situation.set_partition(3);
    assert_eq!(situation.step(), "replicas 3 partition 2");
    // The last one is back only when the leader says that it has caught up.
    situation.outdate([0, 1]);
    situation.set_partition(2);
    situation.lag(2);
    assert_eq!(situation.step(), "replicas 3 partition 2");
    assert_eq!(situation.refusals(), [Refusal::PreviousNotReady]);
}

#[test]
fn a_leader_hands_over_to_the_lowest_ordinal_before_it_is_restarted() {
    let mut situation = Situation::formed(3);
    situation.outdate([0, 1, 2]);
    situation.set_partition(3);
    situation.lead(2);
    let step = "replicas 3 partition 3, TransferLeader by demo-rcl-2";
    assert_eq!(situation.step(), step);
    assert_eq!(situation.refusals(), [Refusal::LeaderInPlace]);
}

#[test]
fn a_restart_waits_for_what_it_would_interrupt() {
    let mut situation = Situation::formed(3);
    situation.outdate([0, 1, 2]);
    situation.set_partition(3);
    situation.block(2, "SendingSnapshot");
    assert_eq!(situation.step(), "replicas 3 partition 3");
    assert_eq!(situation.refusals(), [Refusal::RestartBlocked]);
}

#[test]
fn a_group_of_one_is_restarted_and_says_so() {
    let mut situation = Situation::formed(1);
    situation.outdate([0]);
    situation.set_partition(1);
    assert_eq!(situation.step(), "replicas 1 partition 0");
    let events = situation.decide().events;
    assert!(
        events
            .iter()
            .any(|event| event.message.contains("a group of one stops serving"))
    );
}

#[test]
fn two_voters_become_three_before_either_is_restarted() {
    let mut situation = Situation::formed(2);
    situation.outdate([0, 1]);
    situation.set_partition(2);
    assert_eq!(situation.step(), "replicas 3 partition 2");
}

#[test]
fn a_broken_upgrade_that_was_reverted_heals_without_the_quorum_that_only_it_brings_back() {
    let mut situation = Situation::formed(3);
    situation.break_at(2);
    situation.empty(1, "new");
    situation.set_partition(3);
    situation.nobody_leads();
    assert_eq!(
        situation.step(),
        "replicas 3 partition 3, delete pod demo-rcl-2"
    );
}

#[test]
fn a_given_up_revision_that_does_not_serve_is_replaced_and_one_that_serves_has_a_minute() {
    let given_up = |code| {
        let mut situation = Situation::formed(3);
        situation.leave_behind(2);
        situation.answer_unready(2, None, false);
        situation.unready(2);
        situation.block(2, code);
        situation
    };
    let replaced = "replicas 3 partition 3, delete pod demo-rcl-2";
    let waits = "replicas 3 partition 3";
    for code in ["CatchingUp", "SendingSnapshot"] {
        let mut situation = given_up(code);
        assert_eq!(situation.step(), replaced, "{code}");
        // One that was only just started may yet catch up.
        situation.start(2, 20);
        assert_eq!(situation.step(), waits, "{code}");
        situation.start(2, 40);
        assert_eq!(situation.step(), replaced, "{code}");
        situation.serve(2);
        assert_eq!(situation.step(), waits, "{code}");
        situation.start(2, 70);
        assert_eq!(situation.step(), replaced, "{code}");
    }
}

#[test]
fn what_a_learner_would_be_interrupted_in_delays_its_restart_too() {
    let mut situation = Situation::formed(5);
    situation.resource["spec"]["members"] = json!(3);
    situation.become_learner(4, "id-4", false);
    situation.outdate([0, 1, 2, 3, 4]);
    situation.set_partition(5);
    situation.block(4, "CatchingUp");
    assert_eq!(situation.step(), "replicas 5 partition 5");
    assert_eq!(situation.refusals()[0], Refusal::RestartBlocked);
    situation.resource["metadata"]["annotations"] = json!({ IGNORE_BLOCKERS: "true" });
    assert_eq!(situation.step(), "replicas 5 partition 4");
}

#[test]
fn a_sidecar_that_does_not_start_keeps_nobody_from_voting() {
    let mut situation = Situation::formed(3);
    situation.break_before_revert(2);
    situation.empty(1, "new");
    let replaced = "replicas 3 partition 3, delete pod demo-rcl-2";
    situation.set_partition(3);
    situation.nobody_leads();
    assert_eq!(situation.step(), replaced);
    situation.name_container(2, "sidecar");
    assert_eq!(situation.step(), "replicas 3 partition 3");
}

#[test]
fn pods_that_another_hand_scaled_away_come_back_and_the_fence_stays() {
    let mut situation = Situation::formed(3);
    situation.outdate([0, 1, 2]);
    situation.set_partition(3);
    situation.set_replicas(0);
    assert_eq!(situation.step(), "replicas 3 partition 3");
}

#[test]
fn a_paused_resource_and_one_that_is_deleted_are_left_alone_and_still_report() {
    let mut situation = Situation::formed(3);
    situation.damage(1);
    situation.resource["spec"]["paused"] = json!(true);
    let decision = situation.decide();
    assert!(decision.stage.is_none() && decision.actions.is_empty());
    assert_eq!(situation.refusals(), [Refusal::Paused]);
    assert_eq!(decision.status.json()["leader"], "demo-rcl-0");
    assert!(situation.finish()["selector"].is_string());
    let mut new = Situation::nothing();
    new.resource["spec"]["paused"] = json!(true);
    let selector = &new.finish()["selector"];
    assert!(selector.is_null(), "objects that were never made");
    situation.resource["spec"]["paused"] = json!(false);
    situation.resource["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let decision = situation.decide();
    assert!(decision.stage.is_none() && decision.actions.is_empty());
    assert_eq!(decision.status.json()["leader"], "demo-rcl-0");
}

#[test]
fn nothing_is_decided_on_what_lies_behind_our_own_writes() {
    let mut situation = Situation::formed(3);
    situation.damage(1);
    situation.observed.behind.push("the status".into());
    let decision = situation.decide();
    assert!(decision.stage.is_none() && decision.actions.is_empty());
    assert_eq!(situation.refusals(), [Refusal::CachesBehind]);
}

#[test]
fn before_the_group_is_formed_a_revision_that_never_ran_leaves_nothing_behind() {
    let mut broken = Situation::nothing();
    broken.make_pods(3);
    broken.outdate([0, 1, 2]);
    assert_eq!(broken.step(), "replicas 0 partition 0");
    let mut reverted = Situation::nothing();
    reverted.make_pods(3);
    reverted.break_before_revert(2);
    assert_eq!(
        reverted.step(),
        "replicas 3 partition 0, delete pod demo-rcl-2"
    );
}

#[test]
fn what_was_published_while_the_group_formed_is_fenced_off_when_it_is_there() {
    let mut edited = Situation::formed(5);
    edited.resource["status"]["group"]["formed"] = json!(false);
    edited.outdate([0, 1, 2, 3]);
    assert_eq!(edited.step(), "replicas 5 partition 4");
    assert_eq!(edited.write_status()["group"]["formed"], true);
}
