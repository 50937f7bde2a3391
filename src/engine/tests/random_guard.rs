//! Random triggers, criteria, samples and actions.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::random::{cohort_name, percent};
use crate::api::rollback::{Gradual, Partial, Rollback};
use crate::api::rolloutaction::{Action, Override, RetryFrom, RetryHow, RollbackHow, RolloutActionSpec};
use crate::api::trigger::{
    Criterion, Level, LevelAction, Metric, MissingPolicy, PerCohort, Severity, Trigger,
};
use crate::api::{Duration, Percent, Reading, RollbackMode};

/// Time from one rung to the next, and how many there are.
pub const EVERY_HOURS: i64 = 2;
pub const RUNGS: i64 = 3;

/// What every random rollout does when it is rolled back.
pub fn rollback() -> Rollback {
    let percents = [50_000, 10_000, 0].into_iter().filter_map(Percent::from_thousandths);
    Rollback {
        gradual: Some(Gradual { ladder: percents.collect(), every: Duration::from_hours(EVERY_HOURS) }),
        partial: Some(Partial { keep: vec!["c".to_owned()] }),
    }
}

fn minutes(minutes: i64) -> Duration {
    Duration::from_signed(jiff::SignedDuration::from_mins(minutes))
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_signed(jiff::SignedDuration::from_secs(seconds))
}

fn level(bound: &'static str) -> impl Strategy<Value = Level> {
    use LevelAction::{GradualRollback, ImmediateRollback, Notify, PartialRollback, Pause};
    let action = select(vec![Notify, Pause, Pause, PartialRollback, GradualRollback, ImmediateRollback]);
    let severity = select(vec![Severity::Info, Severity::Warning, Severity::Critical]);
    let comparison = select(vec![0, 0, 0, 1, 2, 3]);
    let resume_after = option::weighted(0.3, select(vec![0i64, 30, 90]));
    (action, severity, select(vec![0i64, 30, 60, 240]), comparison, resume_after).prop_map(
        move |(action, severity, for_, comparison, resume_after)| {
            let bound = |of| (comparison == of).then(|| bound.parse().unwrap());
            Level {
                severity,
                above: bound(0),
                at_least: bound(1),
                below: bound(2),
                at_most: bound(3),
                for_: Some(minutes(for_)),
                action,
                resume_after: resume_after.filter(|_| action == Pause).map(minutes),
            }
        },
    )
}

/// What follows from missing data, said or left out.
pub fn policy() -> impl Strategy<Value = Option<MissingPolicy>> {
    use MissingPolicy::{Hold, Ignore, ImmediateRollback, Pause};
    let given = select(vec![Hold, Hold, Ignore, Ignore, Pause, ImmediateRollback]);
    option::weighted(0.8, given)
}

fn trigger(name: &'static str) -> impl Strategy<Value = Trigger> {
    (
        prop::bool::weighted(0.4),
        select(vec![15i64, 60, 1800, 3600, 7200]),
        select(vec![0i64, 0, 90, 600]),
        level("10"),
        option::of(level("20")),
        policy(),
        policy(),
        option::of(select(vec![0i64, 0, 30, 100, 240])),
    )
        .prop_map(move |(each, interval, initial_delay, low, high, no_data, error, missing_for)| {
            Trigger {
                name: name.to_owned(),
                metric: Metric::default(),
                per_cohort: each.then(|| PerCohort { label: "cohort".to_owned() }),
                interval: Some(seconds(interval)),
                initial_delay: Some(minutes(initial_delay)),
                levels: std::iter::once(low).chain(high).collect(),
                on_no_data: no_data,
                on_provider_error: error,
                missing_for: missing_for.map(minutes),
            }
        })
}

/// None, one or two triggers.
pub fn triggers() -> impl Strategy<Value = Vec<Trigger>> {
    prop_oneof![
        1 => Just(Vec::new()),
        2 => trigger("t0").prop_map(|only| vec![only]),
        2 => (trigger("t0"), trigger("t1")).prop_map(|(one, other)| vec![one, other]),
    ]
}

/// The criterion that may gate phases: below 5.
pub fn criterion() -> Criterion {
    Criterion {
        name: "q".to_owned(),
        metric: Some(Metric::default()),
        below: Some("5".parse().unwrap()),
        interval: Some(Duration::from_hours(2)),
        ..Criterion::default()
    }
}

/// What a metric says: well, in breach of one level or of two, or nothing that could be compared.
pub fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        5 => Just(Reading::of(1.0, None)),
        3 => Just(Reading::of(15.0, None)),
        2 => Just(Reading::of(25.0, None)),
        1 => select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).prop_map(|value| Reading::of(value, None)),
        1 => Just(Reading::Error("refused".to_owned())),
    ]
}

fn overrides() -> impl Strategy<Value = Option<Vec<Override>>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(vec![Override::Window, Override::Freeze])),
        1 => Just(Some(vec![Override::Window, Override::Freeze, Override::Gates])),
    ]
}

/// An action; what it approves is filled in later.
pub fn ask() -> impl Strategy<Value = RolloutActionSpec> {
    let of = |action| RolloutActionSpec { action, reason: "why".to_owned(), ..RolloutActionSpec::default() };
    prop_oneof![
        2 => Just(of(Action::Pause)),
        4 => Just(of(Action::Resume)),
        1 => Just(of(Action::Approve)),
        4 => overrides().prop_map(move |overrides| RolloutActionSpec { overrides, ..of(Action::Promote) }),
        3 => (vec((cohort_name(), percent()), 1..=2), overrides()).prop_map(move |(percents, overrides)| {
            let set_percent = Some(percents.into_iter().collect());
            RolloutActionSpec { set_percent, overrides, ..of(Action::SetPercent) }
        }),
        2 => (
            select(vec![RollbackMode::Immediate, RollbackMode::Gradual, RollbackMode::Partial]),
            option::of(cohort_name().prop_map(|name| vec![name])),
        )
            .prop_map(move |(mode, cohorts)| {
                RolloutActionSpec { rollback: Some(RollbackHow { mode, cohorts }), ..of(Action::Rollback) }
            }),
        5 => (any::<bool>(), overrides()).prop_map(move |(start, overrides)| {
            let from = if start { RetryFrom::Start } else { RetryFrom::Phase };
            RolloutActionSpec { retry: Some(RetryHow { from }), overrides, ..of(Action::Retry) }
        }),
        1 => Just(of(Action::Acknowledge)),
    ]
}
