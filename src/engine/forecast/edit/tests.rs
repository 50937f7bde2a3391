use super::*;
use crate::api::FeatureRollout;
use crate::api::featurerollout::FeatureRolloutSpec;
use crate::api::rolloutpolicy::Binding;
use crate::api::status::Pause;
use crate::engine::forecast::timeline::{ahead, state_at};
use crate::plan::policy::{Bound, Found};
use crate::plan::{Refs, compile};

const SPEC: &str = r#"
cohorts: [{name: staff, match: {attributes: {staff: "true"}}}, {name: all}]
schedule: {startAt: "2025-09-08T09:00:00Z"}
phases:
- name: ga
  steps:
  - {name: some, cohorts: {staff: 100, all: 20}, hold: 24h}
  - {name: half, cohorts: {all: 50}, hold: 24h}
  - {name: full, cohorts: {all: 100}, hold: 24h}
"#;

fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

fn plan(spec: &str) -> Plan {
    let spec: FeatureRolloutSpec = serde_saphyr::from_str(spec).unwrap();
    compile(&FeatureRollout::new("r", spec), Refs::default()).unwrap()
}

/// An edit while half of everybody has it, an hour into the second hold.
fn edited(spec: &str) -> Edit {
    let (before, after) = (plan(SPEC), plan(spec));
    let now = t("2025-09-09T10:00:00Z");
    let status = state_at(&before, now, now);
    let facts = Facts::favourable("r");
    edit(Some((&before, &facts)), (&after, &facts), &status, now)
}

fn at_once(edit: &Edit) -> Vec<(&str, String)> {
    edit.after.at_once.iter().map(|(name, percent)| (name.as_str(), percent.to_string())).collect()
}

#[test]
fn an_edit_of_nothing_changes_nothing() {
    let edit = edited(SPEC);
    assert_eq!(edit.effects(), []);
    assert_eq!(at_once(&edit), [("staff", "100%".to_owned()), ("all", "50%".to_owned())]);
    assert_eq!(edit.after.later.len(), 1, "{:?}", edit.after.later);
    assert_eq!(edit.after.later[0].at, t("2025-09-10T09:00:00Z"));
}

#[test]
fn a_lowered_step_that_was_entered_lowers_at_once() {
    let edit = edited(&SPEC.replace("all: 50", "all: 30"));
    assert_eq!(edit.effects(), [Effect::Lowers]);
    assert_eq!(at_once(&edit)[1], ("all", "30%".to_owned()));
    assert!(edit.after.happens[0].contains("all 50% → 30%"), "{:?}", edit.after.happens);
}

#[test]
fn a_raised_step_that_was_entered_raises_and_holds_anew() {
    let edit = edited(&SPEC.replace("all: 50", "all: 60"));
    assert_eq!(edit.effects(), [Effect::Raises, Effect::ChangesLater]);
    // The hold restarts with the raise: a day from then.
    assert_eq!(edit.after.later[0].at, t("2025-09-10T10:00:00Z"));
}

#[test]
fn a_later_step_that_lowers_is_told_of_although_nothing_happens_at_once() {
    let edit = edited(&SPEC.replace("cohorts: {all: 100}", "cohorts: {all: 100, staff: 10}"));
    assert_eq!(edit.effects(), [Effect::Lowers, Effect::ChangesLater]);
    assert_eq!(at_once(&edit)[0], ("staff", "100%".to_owned()));
}

#[test]
fn what_stops_the_schedule_pauses() {
    let edit = edited(&format!("{SPEC}suspend: true\n"));
    assert_eq!(edit.effects(), [Effect::Pauses, Effect::ChangesLater]);
    assert_eq!((edit.after.pauses.as_slice(), edit.after.later.len()), (&[PauseCause::Suspended][..], 0));
    // A step that cannot be found again does, too.
    let lost = edited(
        r#"
cohorts: [{name: staff, match: {attributes: {staff: "true"}}}, {name: all}]
schedule: {startAt: "2025-09-08T09:00:00Z"}
phases: [{name: other, steps: [{name: new, cohorts: {all: 100}}]}]
"#,
    );
    assert!(lost.effects().contains(&Effect::Pauses), "{lost:?}");
    assert!(lost.after.pauses.contains(&PauseCause::PositionLost));
}

#[test]
fn identity_cannot_be_edited() {
    let edit = edited(&format!("{SPEC}feature: {{salt: other}}\n"));
    assert_eq!(edit.effects(), [Effect::Refused]);
    assert_eq!(edit.refused, [r#"spec.feature.salt cannot be changed from "r" to "other""#]);
}

#[test]
fn an_approval_that_is_asked_for_is_said_and_taken_as_given_for_later() {
    let edit = edited(&SPEC.replace("all: 100}", "all: 100}, approval: Required"));
    assert_eq!(edit.effects(), []);
    assert!(edit.after.steps.iter().any(|step| step.approval == Approval::Missing), "{:?}", edit.after.steps);
}

#[test]
fn an_approval_that_a_policy_asks_for_is_taken_as_given_for_later_too() {
    let spec: FeatureRolloutSpec = serde_saphyr::from_str(&format!(
        "{}policyRef: {{name: calm}}\n",
        SPEC.replace("{name: all}]", "{name: all, delay: 36h}]")
    ))
    .unwrap();
    let policy = serde_saphyr::from_str("approvalAbove: 10").unwrap();
    let policies =
        [Bound { binding: Binding::Rollout, namespace: "", name: "calm", found: Found::Spec(&policy) }];
    let rollout = FeatureRollout::new("r", spec);
    let plan = compile(&rollout, Refs { policies: &policies, ..Refs::default() }).unwrap();
    let now = t("2025-09-08T09:00:00Z");
    let onward = onward(&plan, &FeatureRolloutStatus::default(), &Facts::favourable("r"), now);
    let last = onward.later.last().map(|moment| moment.cohorts.clone());
    assert_eq!(
        last.unwrap().iter().map(|(_, percent)| percent.to_string()).collect::<Vec<_>>(),
        ["100%", "100%"]
    );
    assert!(onward.completed_at.is_some());
}

#[test]
fn what_stands_still_has_nothing_ahead_and_goes_on_when_that_is_over() {
    let now = t("2025-09-09T10:00:00Z");
    let running = plan(SPEC);
    let status = state_at(&running, now, now);
    assert_eq!(ahead(&running, &status, now).entries.len(), 1);
    let suspended = plan(&format!("{SPEC}suspend: true\n"));
    assert_eq!(ahead(&suspended, &status, now).entries, []);
    let mut stopped = status.clone();
    stopped.pauses.push(Pause { cause: PauseCause::Emergency, since: now, message: "m".to_owned() });
    assert_eq!(
        ahead(&running, &stopped, now).entries.iter().filter(|entry| entry.exposure.is_some()).count(),
        0
    );
    assert_eq!(ahead(&running, &stopped, now).completed_at, None);
}
