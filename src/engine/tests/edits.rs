//! Edits in the middle of a run: of asks, steps, ramps, phases, audiences and tiers.

use rstest::rstest;

use super::support::{Life, after};

const START: &str = "2025-09-08T09:00:00Z";

/// A rollout of `a` and `b` with these steps and more of a spec.
fn spec(steps: &str, more: &str) -> String {
    format!(
        "
cohorts: [{{name: a}}, {{name: b}}]
schedule: {{startAt: '2025-09-08T09:00:00Z'}}
phases: [{{name: ga, steps: [{steps}]}}]
{more}"
    )
}

const NAMED: &str =
    "{name: one, cohorts: {a: 10}}, {name: two, cohorts: {a: 50, b: 50}}, {name: three, cohorts: {a: 100}}";
const UNNAMED: &str = "{cohorts: {a: 10}}, {cohorts: {a: 50, b: 50}}, {cohorts: {a: 100}}";

/// In the second of three steps, six hours after its entry.
fn second_step(steps: &str) -> Life {
    let mut life = Life::begin(&spec(steps, ""), START);
    life.until(after(START, 30));
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=50% b=50%"));
    life
}

#[test]
fn lowering_the_current_step_applies_at_once() {
    let mut life = second_step(NAMED);
    life.edit(&spec(&NAMED.replace("{a: 50, b: 50}", "{a: 50, b: 20}"), ""));
    assert_eq!((life.served().as_str(), life.asked("b").as_str()), ("a=50% b=20%", "20%"));
    assert_eq!(life.reasons().last(), Some(&"EditApplied"));
    // The hold goes on.
    assert_eq!(life.wake_at, Some(after(START, 48)));
}

#[test]
fn lowering_applies_while_paused_and_the_schedule_does_not() {
    let mut life = second_step(NAMED);
    life.tweak(|plan| plan.suspend = true);
    life.pass(100).edit(&spec(
        &NAMED.replace("{a: 50, b: 50}", "{a: 5, b: 50}").replace("{a: 100}", "{b: 1}"),
        "suspend: true",
    ));
    assert_eq!(life.served(), "a=5% b=50%");
    life.pass(100);
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=5% b=50%", "ga/2"));
}

#[test]
fn raising_the_current_step_passes_the_door_and_restarts_the_hold() {
    let mut life = second_step(NAMED);
    let freeze = "2025-09-10T00:00:00Z";
    let raised = spec(&NAMED.replace("{a: 50, b: 50}", "{a: 60, b: 50}"), "").replace(
        "schedule: {",
        "schedule: {freezes: [{name: x, from: '2025-09-09T00:00:00Z', to: '2025-09-10T00:00:00Z'}], ",
    );
    life.edit(&raised);
    assert_eq!((life.served().as_str(), life.pending("a")), ("a=50% b=50%", Some("60%".to_owned())));
    assert_eq!(
        life.status.cohort("a").unwrap().pending.as_ref().unwrap().check,
        crate::api::status::Check::Freeze
    );
    // START + 39h is the freeze's end; the hold of a day counts from there, so the third step comes at + 63h.
    life.until(freeze.parse().unwrap());
    assert_eq!(life.served(), "a=60% b=50%");
    assert_eq!(life.wake_at, Some(after(START, 63)));
    life.until(after(START, 62));
    assert_eq!(life.served(), "a=60% b=50%");
    life.until(after(START, 63));
    assert_eq!(life.served(), "a=100% b=50%");
}

#[test]
fn raising_an_earlier_steps_ask_raises_only_where_no_later_one_asks() {
    let steps = "{name: one, cohorts: {a: 10, b: 10}}, {name: two, cohorts: {a: 50}}";
    let mut life = Life::begin(&spec(steps, ""), START);
    life.until(after(START, 30));
    life.edit(&spec(&steps.replace("{a: 10, b: 10}", "{a: 70, b: 30}"), ""));
    assert_eq!(life.served(), "a=50% b=30%");
    // Lowering it below what the later one asks changes nothing for a.
    life.edit(&spec(&steps.replace("{a: 10, b: 10}", "{a: 1, b: 1}"), ""));
    assert_eq!(life.served(), "a=50% b=1%");
}

#[test]
fn raising_then_lowering_a_pending_edit() {
    let mut life = second_step(NAMED);
    life.fact(|facts| facts.delivered = false);
    let with = |a: &str| spec(&NAMED.replace("{a: 50, b: 50}", &format!("{{a: {a}, b: 50}}")), "");
    life.edit(&with("90"));
    assert_eq!(life.pending("a"), Some("90%".to_owned()));
    life.edit(&with("70"));
    assert_eq!((life.pending("a"), life.served()), (Some("70%".to_owned()), "a=50% b=50%".to_owned()));
    life.edit(&with("40"));
    assert_eq!((life.pending("a"), life.served()), (None, "a=40% b=50%".to_owned()));
    life.edit(&with("45"));
    assert_eq!((life.pending("a"), life.served()), (Some("45%".to_owned()), "a=40% b=50%".to_owned()));
    life.fact(|facts| facts.delivered = true);
    assert_eq!(life.served(), "a=45% b=50%");
}

#[rstest]
// A step before, by name.
#[case::inserted_before(NAMED, &format!("{{name: zero, cohorts: {{b: 1}}}}, {NAMED}"), "ga/3", "a=50% b=50%")]
// A step after: it comes next.
#[case::inserted_after(
    NAMED,
    "{name: one, cohorts: {a: 10}}, {name: two, cohorts: {a: 50, b: 50}}, {name: new, cohorts: {a: 60}}, {name: three, cohorts: {a: 100}}",
    "ga/2",
    "a=50% b=50%"
)]
// The step before is gone: nobody is lowered.
#[case::removed_before(
    NAMED,
    "{name: two, cohorts: {a: 50, b: 50}}, {name: three, cohorts: {a: 100}}",
    "ga/1",
    "a=50% b=50%"
)]
// The steps change places: the position goes with the name. Now the last; nothing asked changes.
#[case::moved(
    NAMED,
    "{name: one, cohorts: {a: 10}}, {name: three, cohorts: {a: 100}}, {name: two, cohorts: {a: 50, b: 50}}",
    "ga/3",
    "a=50% b=50%"
)]
// Renamed with as many steps: by index; what it asks counts.
#[case::renamed(NAMED, &NAMED.replace("two", "deux").replace("b: 50", "b: 40"), "ga/2", "a=50% b=40%")]
// A cohort leaves the step: lowers nobody, though an earlier step asks less.
#[case::cohort_removed(NAMED, &NAMED.replace("{a: 50, b: 50}", "{b: 50}"), "ga/2", "a=50% b=50%")]
// Unnamed: by equal content, wherever it is now.
#[case::unnamed_inserted(UNNAMED, &format!("{{cohorts: {{b: 1}}}}, {UNNAMED}"), "ga/3", "a=50% b=50%")]
#[case::unnamed_removed(UNNAMED, "{cohorts: {a: 50, b: 50}}, {cohorts: {a: 100}}", "ga/1", "a=50% b=50%")]
// Unnamed and edited: by index, for as many steps.
#[case::unnamed_edited(UNNAMED, &UNNAMED.replace("b: 50", "b: 30"), "ga/2", "a=50% b=30%")]
// It gets a name: as many steps.
#[case::named_now(UNNAMED, &UNNAMED.replace("{cohorts: {a: 50", "{name: x, cohorts: {a: 50"), "ga/2", "a=50% b=50%")]
// Equal content more than once: the one of the same number.
#[case::equal_twice(
    UNNAMED,
    "{cohorts: {a: 50, b: 50}}, {cohorts: {a: 50, b: 50}}, {cohorts: {a: 50, b: 50}}",
    "ga/2",
    "a=50% b=50%"
)]
fn the_position_is_found_again(
    #[case] before: &str,
    #[case] now: &str,
    #[case] position: &str,
    #[case] served: &str,
) {
    let mut life = second_step(before);
    let hold_from = life.status.position.as_ref().unwrap().hold_from;
    life.edit(&spec(now, ""));
    assert_eq!((life.position().as_str(), life.served().as_str()), (position, served));
    assert_eq!(life.pauses(), Vec::<String>::new());
    assert_eq!(life.status.position.as_ref().unwrap().hold_from, hold_from);
}

#[rstest]
#[case::removed(NAMED, "{name: one, cohorts: {a: 10}}, {name: three, cohorts: {a: 100}}")]
#[case::renamed_and_inserted(NAMED, &format!("{}, {{cohorts: {{a: 1}}}}", NAMED.replace("two", "deux")))]
#[case::unnamed_edited_and_inserted(UNNAMED, &format!("{}, {{cohorts: {{a: 1}}}}", UNNAMED.replace("b: 50", "b: 51")))]
fn a_lost_position_pauses_until_it_is_found_again(#[case] before: &str, #[case] now: &str) {
    let mut life = second_step(before);
    life.edit(&spec(now, ""));
    assert_eq!(life.pauses(), ["PositionLost"]);
    assert_eq!((life.served().as_str(), life.wake_at), ("a=50% b=50%", None));
    life.pass(10);
    assert_eq!(life.served(), "a=50% b=50%");
    life.edit(&spec(before, ""));
    assert_eq!((life.pauses(), life.position()), (Vec::<String>::new(), "ga/2".to_owned()));
    assert_eq!(life.reasons().last(), Some(&"Resumed"));
    // The clock stood still for ten hours.
    assert_eq!(life.wake_at, Some(after(START, 58)));
}

#[test]
fn the_current_phase_removed_is_a_position_lost_a_finished_one_is_not() {
    let phases = |list: &str| format!("cohorts: [{{name: a}}, {{name: b}}]\nphases: [{list}]");
    let first = "{name: beta, steps: [{cohorts: {b: 70}}]}";
    let second = "{name: ga, ramp: {cohorts: [a], percents: [10, 20, 30]}}";
    let mut life = Life::begin(&phases(&format!("{first}, {second}")), START);
    life.pass(50);
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=20% b=70%"));
    life.edit(&phases(second));
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=20% b=70%"));
    life.edit(&phases(first));
    assert_eq!((life.pauses(), life.served()), (vec!["PositionLost".to_owned()], "a=20% b=70%".to_owned()));
}

/// At 25 % of 5, 10, 25, 50, 100, each for a day.
#[rstest]
// The last percentage that is not above 25; the next one comes when the hold is over.
#[case::finer("[5, 10, 20, 30, 100]", "ga/3", "25%", "30%")]
#[case::coarser("[5, 100]", "ga/1", "25%", "100%")]
#[case::longer("[1, 2, 5, 10, 15, 25, 26]", "ga/6", "25%", "26%")]
#[case::same("[5, 10, 25, 60]", "ga/3", "25%", "60%")]
fn a_ramp_edited(#[case] percents: &str, #[case] position: &str, #[case] served: &str, #[case] next: &str) {
    let ramp = |percents: &str| {
        format!("cohorts: [{{name: a}}]\nphases: [{{name: ga, ramp: {{percents: {percents}}}}}]")
    };
    let mut life = Life::begin(&ramp("[5, 10, 25, 50, 100]"), START);
    life.pass(50).edit(&ramp(percents));
    assert_eq!((life.position().as_str(), life.served()), (position, format!("a={served}")));
    life.until(after(START, 71));
    assert_eq!(life.served(), format!("a={served}"));
    life.until(after(START, 72));
    assert_eq!(life.served(), format!("a={next}"));
}

#[test]
fn a_ramp_cut_below_what_was_reached_lowers_at_once_even_while_suspended() {
    let ramp = |percents: &str, more: &str| {
        format!("{more}\ncohorts: [{{name: a}}]\nphases: [{{name: ga, ramp: {{percents: {percents}}}}}]")
    };
    let mut life = Life::begin(&ramp("[5, 10, 25, 50, 100]", ""), START);
    life.pass(50);
    assert_eq!(life.served(), "a=25%");
    life.edit(&ramp("[5, 10, 20]", "suspend: true"));
    assert_eq!(life.served(), "a=20%");
    life.edit(&ramp("[5]", "suspend: true"));
    assert_eq!(life.served(), "a=5%");
}

#[test]
fn a_ramp_with_no_percentage_so_low_loses_the_position() {
    let ramp = |percents: &str| {
        format!("cohorts: [{{name: a}}]\nphases: [{{name: ga, ramp: {{percents: {percents}}}}}]")
    };
    let mut life = Life::begin(&ramp("[5, 10]"), START);
    life.edit(&ramp("[6, 10]"));
    assert_eq!((life.pauses(), life.served()), (vec!["PositionLost".to_owned()], "a=5%".to_owned()));
}

#[test]
fn a_completed_rollout_with_a_new_step_goes_on() {
    let mut life = Life::begin(&spec("{cohorts: {a: 10}}", ""), START);
    life.pass(30);
    assert_eq!(life.completed_at(), Some(after(START, 24)));
    life.edit(&spec("{cohorts: {a: 10}}, {cohorts: {a: 20}}", ""));
    assert_eq!((life.completed_at(), life.served()), (None, "a=20% b=0%".to_owned()));
    life.pass(24);
    assert_eq!(life.completed_at(), Some(after(START, 54)));
}

const FROZEN: &str =
    "schedule: {freezes: [{name: x, from: '2025-09-09T00:00:00Z', to: '2025-09-10T00:00:00Z'}]}";

#[test]
fn an_edited_audience_waits_in_a_freeze_and_serves_on_until_then() {
    let with = |cohorts: &str, asks: &str| {
        format!(
            "{FROZEN}\ncohorts: [{cohorts}]\nphases: [{{name: ga, steps: [{{name: x, cohorts: {asks}}}]}}]"
        )
    };
    let mut life = Life::begin(&with("{name: a}, {name: b}", "{a: 10, b: 20}"), START);
    life.pass(20);
    let old = life.status.audience.clone();
    life.edit(&with("{name: new}, {name: a}", "{a: 10, new: 5}"));
    assert_eq!((life.served().as_str(), &life.status.audience), ("a=10% b=20%", &old));
    assert_eq!(life.status.pending_audience.as_ref().unwrap().name, life.plan.audience.name);
    assert_eq!(
        (life.waits().as_str(), life.wake_at),
        ("Freeze", Some("2025-09-10T00:00:00Z".parse().unwrap()))
    );
    life.until("2025-09-10T00:00:00Z".parse().unwrap());
    // The new cohort is asked for by the current step.
    assert_eq!(life.served(), "new=5% a=10%");
    assert_eq!(life.status.audience.as_ref().unwrap().name, life.plan.audience.name);
    assert_eq!(life.status.pending_audience, None);
    assert!(life.reasons().contains(&"AudienceChanged"));
}

#[test]
fn an_audience_edited_back_no_longer_waits() {
    let with = |cohorts: &str| {
        format!(
            "{FROZEN}\ncohorts: [{cohorts}]\nphases: [{{name: ga, steps: [{{name: x, cohorts: {{a: 10}}}}]}}]"
        )
    };
    let mut life = Life::begin(&with("{name: a}, {name: b}"), START);
    life.pass(20).edit(&with("{name: b}, {name: a}"));
    assert!(life.status.pending_audience.is_some());
    life.edit(&with("{name: a}, {name: b}"));
    assert_eq!((life.status.pending_audience.clone(), life.served()), (None, "a=10% b=0%".to_owned()));
}

#[test]
fn an_edited_audience_moves_at_once_when_nobody_is_exposed() {
    let with = |cohorts: &str| {
        format!(
            "suspend: true\ncohorts: [{cohorts}]\nphases: [{{name: ga, steps: [{{name: x, cohorts: {{a: 10}}}}]}}]"
        )
    };
    let mut life = Life::begin(&with("{name: a}"), START);
    life.edit(&with("{name: z}, {name: a}"));
    assert_eq!(life.served(), "z=0% a=0%");
    assert_eq!(life.status.pending_audience, None);
}

#[test]
fn a_tier_that_a_cohort_no_longer_admits_stops_its_raises_and_lowers_nobody() {
    let with = |tier: &str| {
        format!(
            "
feature: {{tier: {tier}}}
cohorts: [{{name: a}}, {{name: b, admits: [Stable]}}]
phases: [{{name: ga, ramp: {{percents: [10, 20, 30]}}}}]"
        )
    };
    let mut life = Life::begin(&with("Stable"), START);
    life.pass(2).edit(&with("Preview"));
    assert_eq!(life.served(), "a=10% b=10%");
    life.pass(24);
    assert_eq!(life.served(), "a=20% b=10%");
    assert!(life.status.cohort("b").unwrap().tier_refused);
    // Admitted again: what was asked meanwhile comes when the checks allow it, and the hold restarts.
    life.edit(&with("Stable"));
    assert_eq!(life.served(), "a=20% b=20%");
    assert!(!life.status.cohort("b").unwrap().tier_refused);
    assert_eq!(life.wake_at, Some(after(START, 50)));
}
