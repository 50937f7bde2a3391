//! Beginnings: fresh, from a baseline, rebuilt, restored, adopted; and what of a beginning reaches the file.

use rstest::rstest;

use super::support::{Life, UID, after, plan, t};
use crate::api::status::PauseCause;
use crate::api::{FeatureRolloutStatus, Percent, RollbackMode};
use crate::engine::Facts;
use crate::flags::{LiveFlag, LiveRollback};

const START: &str = "2025-09-08T09:00:00Z";
const RAMP: &str = "
cohorts: [{name: a}, {name: b}]
baseline: {b: 5}
schedule: {startAt: '2025-09-08T09:00:00Z'}
phases: [{name: ga, ramp: {percents: [10, 20, 40]}}]";

fn percent(whole: u32) -> Percent {
    Percent::from_whole(whole).unwrap()
}

fn live(uid: &str) -> LiveFlag {
    LiveFlag {
        uid: uid.to_owned(),
        revision: 41,
        attempt: 1,
        phase: "ga".to_owned(),
        step: "20%".to_owned(),
        served: vec![("a".to_owned(), percent(20)), ("b".to_owned(), percent(15))],
        audience: plan(RAMP).audience.name,
        ..LiveFlag::default()
    }
}

fn facts(uid: &str, live: Option<LiveFlag>) -> Facts {
    Facts { live, ..Facts::favourable(uid) }
}

#[test]
fn a_fresh_object_starts_at_its_baseline_and_waits_for_its_start() {
    let mut life = Life::begin(RAMP, "2025-09-01T00:00:00Z");
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=0% b=5%", "none"));
    assert_eq!((life.waits().as_str(), life.wake_at), ("Start", Some(t(START))));
    assert_eq!(life.reasons(), ["Started"]);
    let status = &life.status;
    assert_eq!((status.uid.as_deref(), status.attempt, status.revision), (Some(UID), 1, 0));
    assert_eq!(status.audience.as_ref().unwrap().name, life.plan.audience.name);
    assert_eq!(status.first_seen.unwrap(), t("2025-09-01T00:00:00Z"));
    life.until(t(START));
    assert_eq!(life.served(), "a=10% b=10%");
}

#[test]
fn a_baseline_is_read_once() {
    let mut life = Life::begin(RAMP, "2025-09-01T00:00:00Z");
    life.edit(&RAMP.replace("{b: 5}", "{a: 100, b: 100}"));
    assert_eq!(life.served(), "a=0% b=5%");
    life.until(t(START)).edit(&RAMP.replace("{b: 5}", "{b: 0}"));
    assert_eq!(life.served(), "a=10% b=10%");
}

#[test]
fn an_empty_status_with_its_own_uid_in_the_file_is_rebuilt_and_paused() {
    let mut life = Life::of(
        plan(RAMP),
        facts(UID, Some(live(UID))),
        FeatureRolloutStatus::default(),
        "2025-09-20T00:00:00Z",
    );
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=20% b=15%", "ga/2"));
    assert_eq!((life.pauses(), life.wake_at), (vec!["StatusLost".to_owned()], None));
    // The first decision takes the next revision: the state stands at the file's, with a fragment yet unknown.
    assert_eq!((life.status.revision, life.status.fragment.clone()), (41, None));
    assert_eq!(life.status.audience.as_ref().unwrap().name, life.plan.audience.name);
    life.pass(1000);
    assert_eq!(life.served(), "a=20% b=15%");
    assert_eq!(life.reasons(), ["StatusLost"]);
    // Only a raise from here on counts; it starts again and lowers nobody.
    life.tweak(|plan| plan.attempt = 2);
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/1", "a=20% b=15%"));
    life.pass(24);
    assert_eq!((life.position().as_str(), life.served().as_str()), ("ga/2", "a=20% b=20%"));
}

#[test]
fn a_rebuilt_rollout_that_had_a_higher_attempt_does_not_take_it_for_a_raise() {
    let mut plan = plan(RAMP);
    plan.attempt = 7;
    let life = Life::of(plan, facts(UID, Some(live(UID))), FeatureRolloutStatus::default(), START);
    assert_eq!((life.pauses(), life.status.attempt), (vec!["StatusLost".to_owned()], 7));
}

#[test]
fn a_rebuilt_rollout_finds_named_steps_by_name_before_number() {
    // The file calls a named step by its name: "1" is the second step here, not the first.
    let spec = "
cohorts: [{name: a}]
phases: [{name: ga, steps: [{name: x, cohorts: {a: 1}}, {name: '1', cohorts: {a: 20}}]}]";
    let mut live = live(UID);
    live.served = vec![("a".to_owned(), percent(20))];
    live.step = "1".to_owned();
    let life = Life::of(plan(spec), facts(UID, Some(live)), FeatureRolloutStatus::default(), START);
    assert_eq!(life.position(), "ga/2");
}

#[rstest]
#[case::as_asked("20%", 40, Some("20%"))]
#[case::less_was_pending("20%", 18, Some("18%"))]
#[case::the_step_is_no_more("15%", 40, None)]
#[case::nothing_is_asked("10%", 40, None)]
fn what_was_pending_is_promised_again_as_far_as_a_step_still_asks_for_it(
    #[case] step: &str,
    #[case] pending: u32,
    #[case] expected: Option<&str>,
) {
    let mut live = live(UID);
    live.step = step.to_owned();
    live.pending = vec![("b".to_owned(), percent(pending))];
    let life = Life::of(plan(RAMP), facts(UID, Some(live)), FeatureRolloutStatus::default(), START);
    assert_eq!(life.pending("b").as_deref(), expected);
    let b = life.status.cohort("b").unwrap();
    assert!(b.pending.as_ref().is_none_or(|pending| pending.percent <= b.asked));
}

#[test]
fn an_orphan_of_the_same_name_is_adopted() {
    let life =
        Life::of(plan(RAMP), facts("uid-2", Some(live("uid-1"))), FeatureRolloutStatus::default(), START);
    assert_eq!((life.served().as_str(), life.position().as_str()), ("a=20% b=15%", "ga/2"));
    assert_eq!((life.pauses(), life.reasons()), (vec!["Adopted".to_owned()], vec!["Adopted"]));
    assert_eq!((life.status.uid.as_deref(), life.status.revision), (Some("uid-2"), 41));
}

#[test]
fn an_orphan_keeps_its_pinned_audience_until_the_pause_is_over() {
    let mut orphan = live("uid-1");
    orphan.audience = "r-0123456789".to_owned();
    orphan.served = vec![("gone".to_owned(), percent(30)), ("a".to_owned(), percent(20))];
    let mut life = Life::of(plan(RAMP), facts("uid-2", Some(orphan)), FeatureRolloutStatus::default(), START);
    assert_eq!(life.served(), "gone=30% a=20%");
    assert_eq!(life.status.audience.as_ref().unwrap().name, "r-0123456789");
    assert_eq!(life.status.pending_audience.as_ref().unwrap().name, life.plan.audience.name);
    life.tweak(|plan| plan.attempt = 2);
    // With the attempt the audience moves, then the first step is entered.
    assert_eq!(life.served(), "a=20% b=10%");
}

#[test]
fn a_status_of_another_object_is_lowered_to_what_the_file_serves() {
    let mut life = Life::begin(RAMP, START);
    life.until(after(START, 25));
    assert_eq!(life.served(), "a=20% b=20%");
    life.status.revision = 50;
    life.status.fragment = Some("abc".to_owned());
    let seq = life.status.last_seq();
    let mut restored = Life::of(
        life.plan.clone(),
        facts("uid-2", Some(live("uid-1"))),
        life.status.clone(),
        "2025-09-20T00:00:00Z",
    );
    // min(20, 20) and min(20, 15); revision above both 50 and 41.
    assert_eq!(restored.served(), "a=20% b=15%");
    assert_eq!((restored.status.revision, restored.status.fragment.clone()), (50, None));
    assert_eq!((restored.pauses(), restored.position()), (vec!["Restored".to_owned()], "ga/2".to_owned()));
    assert_eq!(restored.status.uid.as_deref(), Some("uid-2"));
    assert_eq!((restored.status.last_seq(), restored.status.published_seq), (seq + 1, seq));
    assert_eq!(restored.status.observed_generation, -1);
    restored.pass(100);
    assert_eq!(restored.served(), "a=20% b=15%");
    restored.tweak(|plan| plan.attempt = 2);
    restored.pass(24);
    assert_eq!(restored.served(), "a=20% b=20%");
}

#[test]
fn a_restored_status_takes_the_files_revision_when_that_is_higher() {
    let mut life = Life::begin(RAMP, START);
    life.status.revision = 3;
    let restored =
        Life::of(life.plan.clone(), facts("uid-2", Some(live("uid-1"))), life.status.clone(), START);
    // The status served 10 and 10, the file 20 and 15.
    assert_eq!((restored.served().as_str(), restored.status.revision), ("a=10% b=10%", 41));
}

#[test]
fn a_restored_status_without_a_file_serves_nobody() {
    let life = Life::begin(RAMP, START);
    let restored = Life::of(life.plan.clone(), facts("uid-2", None), life.status.clone(), START);
    assert_eq!(restored.served(), "a=0% b=0%");
    assert!(restored.status.pause(PauseCause::Restored).is_some());
}

#[test]
fn a_restored_status_forgets_what_was_pending_or_taken_away() {
    let mut life = Life::begin(RAMP, START);
    life.fact(|facts| facts.emergency = true);
    let mut restored =
        Life::of(life.plan.clone(), facts("uid-2", Some(live("uid-1"))), life.status.clone(), START);
    restored.pass(10);
    assert_eq!(restored.served(), "a=0% b=0%");
    assert_eq!(restored.pauses(), ["Restored"]);
    assert!(
        restored.status.cohorts.iter().all(|cohort| cohort.restore.is_none() && cohort.pending.is_none())
    );
}

#[test]
fn a_beginning_in_an_emergency_serves_nobody_and_brings_the_baseline_back() {
    let facts = Facts { emergency: true, ..Facts::favourable(UID) };
    let mut life = Life::of(plan(RAMP), facts, FeatureRolloutStatus::default(), "2025-09-01T00:00:00Z");
    assert_eq!(life.served(), "a=0% b=0%");
    life.fact(|facts| facts.emergency = false);
    assert_eq!(life.served(), "a=0% b=5%");
}

#[test]
fn the_history_keeps_twenty_entries_and_counts_on() {
    let mut life = Life::begin(RAMP, START);
    for i in 0..30 {
        life.tweak(|plan| plan.suspend = i % 2 == 0);
    }
    let seqs: Vec<i64> = life.status.history.iter().map(|entry| entry.seq).collect();
    // Started, one step, thirty toggles, of which the older ones give way.
    assert_eq!(seqs, [1, 2].into_iter().chain(15..=32).collect::<Vec<_>>());
}

#[test]
fn a_status_that_was_set_back_serves_no_more_than_it_and_the_file_say_and_waits_for_a_person() {
    let mut life = Life::begin(RAMP, START);
    assert_eq!(life.served(), "a=10% b=10%");
    // The file has since been at 20 %, and b was lowered to 0 by hand.
    let mut later = live(UID);
    later.served = vec![("a".to_owned(), percent(20)), ("b".to_owned(), percent(0))];
    life.fact(|facts| facts.live = Some(later));
    assert_eq!(life.served(), "a=10% b=0%");
    assert_eq!(life.status.revision, 41, "what it is stamped with now is newer than the file");
    assert!(life.status.pause(PauseCause::Restored).is_some());
    let before = life.status.clone();
    life.settle();
    assert_eq!(life.status, before, "once");

    life.fact(|facts| facts.live = None);
    life.until(after(START, 72));
    assert_eq!(life.served(), "a=10% b=0%", "it waits");
    life.edit(&format!("attempt: 2\n{RAMP}"));
    life.until(after(START, 200));
    assert_eq!(life.served(), "a=40% b=40%");
}

#[test]
fn an_announced_revision_in_the_file_is_no_setback() {
    let mut life = Life::begin(RAMP, START);
    life.status.announced = Some(crate::api::status::Announced { revision: 41, fragment: "x".to_owned() });
    life.fact(|facts| facts.live = Some(live(UID)));
    assert!(life.status.pauses.is_empty());
}

#[test]
fn percentages_of_an_audience_that_nobody_knows_are_not_served_to_others() {
    for uid in [UID, "another"] {
        let unknown = LiveFlag { audience: String::new(), ..live(uid) };
        let decision = crate::engine::decide(
            &plan(RAMP),
            &FeatureRolloutStatus::default(),
            &facts(UID, Some(unknown)),
            t(START),
        );
        let status = decision.status;
        assert!(!status.exposed(), "{status:#?}");
        assert_eq!(status.audience.unwrap().name, plan(RAMP).audience.name);
        assert_eq!(status.revision, 41);
        let cause = if uid == UID { PauseCause::StatusLost } else { PauseCause::Adopted };
        assert!(status.pauses.iter().any(|pause| pause.cause == cause));
    }
}

#[rstest]
#[case(RollbackMode::Gradual)]
#[case(RollbackMode::Immediate)]
#[case(RollbackMode::Partial)]
fn a_ladder_goes_on_after_a_loss_beside_a_stronger_rollback_of_another_cohort(#[case] mode: RollbackMode) {
    let mut live = live(UID);
    live.served = vec![("a".to_owned(), percent(0)), ("b".to_owned(), percent(15))];
    live.rollback = Some(LiveRollback {
        mode,
        at: t(START),
        by: "ada".to_owned(),
        cohorts: vec!["a".to_owned(), "b".to_owned()],
    });
    let mut life = Life::of(plan(RAMP), facts(UID, Some(live)), FeatureRolloutStatus::default(), START);
    assert_eq!(life.served(), "a=0% b=15%");
    life.pass(24);
    assert_eq!(life.served(), "a=0% b=0%");
    assert!(life.status.rollback.as_ref().unwrap().ended_at.is_some());
}
