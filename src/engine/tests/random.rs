//! Random rollouts: steps, ramps, dates, holds, windows, freezes, delays, tiers, baselines.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::support::t;
use crate::api::featurerollout::{
    ApprovalPolicy, CohortPolicy, Feature, FeatureRolloutSpec, OnMissed, Phase, Ramp, Schedule, Step,
};
use crate::api::{
    Cohort, Duration, FeatureRollout, Freeze, FreezeTime, Hold, MicroTime, Percent, Tier, Window,
};
use crate::plan::{Plan, Refs, compile};

/// Monday; all dates are near it, before they are moved to some other time of the year.
pub const EPOCH: &str = "2025-10-20T00:00:00Z";

/// Some hours after [`EPOCH`].
pub fn hours(hours: i64) -> MicroTime {
    t(EPOCH) + SignedDuration::from_hours(hours)
}

/// The plan of a spec, unless an edit has left it invalid.
pub fn plan_of(spec: &FeatureRolloutSpec) -> Option<Plan> {
    compile(&FeatureRollout::new("r", spec.clone()), Refs::default()).ok()
}

/// Percentages, few enough for equal ones to be frequent.
pub fn percent() -> impl Strategy<Value = Percent> {
    select(vec![0, 1, 500, 10_000, 25_000, 50_000, 99_999, 100_000])
        .prop_map(|thousandths| Percent::from_thousandths(thousandths).unwrap())
}

/// One of the three names that cohorts have here.
pub fn cohort_name() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

/// Delays of up to four days, often none.
pub fn delay() -> impl Strategy<Value = Option<Duration>> {
    option::of((0..=8i64).prop_map(|half_days| Duration::from_hours(half_days * 12)))
}

fn cohorts() -> impl Strategy<Value = Vec<Cohort>> {
    let admits = prop_oneof![
        4 => Just(None),
        1 => Just(Some(vec![Tier::Preview])),
        1 => Just(Some(vec![Tier::Stable, Tier::Core])),
    ];
    vec((delay(), admits), 3).prop_map(|drafts| {
        ["a", "b", "c"]
            .iter()
            .zip(drafts)
            .map(|(name, (delay, admits))| Cohort {
                name: (*name).to_owned(),
                share: Percent::from_whole(30),
                delay,
                admits,
                ..Cohort::default()
            })
            .collect()
    })
}

/// A hold in hours or in days.
fn hold() -> impl Strategy<Value = Hold> {
    prop_oneof![
        2 => select(vec![1i64, 6, 24, 30, 72]).prop_map(|hours| Duration::from_hours(hours).into()),
        1 => (1u16..=3).prop_map(Hold::Days),
    ]
}

/// A step; a fifth of them with a name that may not be unique.
pub fn step() -> impl Strategy<Value = Step> {
    (
        btree_map(cohort_name(), percent(), 1..=3),
        prop_oneof![3 => Just(None), 2 => hold().prop_map(Some)],
        prop_oneof![
            4 => Just((None, None)),
            2 => (-48i64..400).prop_map(|h| (Some(hours(h)), None)),
            1 => (1i32..=3).prop_map(|week| (None, Some(week))),
        ],
        option::weighted(0.2, select(vec!["x", "y", "z"])),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(cohorts, hold, (at, week), name, approve)| Step {
            name: name.map(str::to_owned),
            at,
            week,
            cohorts,
            hold,
            approval: (name.is_some() && approve.index(4) == 0).then_some(ApprovalPolicy::Required),
        })
}

fn phase() -> impl Strategy<Value = (Option<Vec<Step>>, Option<Ramp>)> {
    let ramp = (option::of(Just(vec!["b".to_owned()])), vec(1u32..=20, 1..=4), option::of(hold())).prop_map(
        |(cohorts, rises, every)| {
            let mut reached = 0;
            let percents = rises
                .into_iter()
                .map(|rise| {
                    reached += rise;
                    Percent::from_whole(reached).unwrap()
                })
                .collect();
            Ramp { cohorts, percents, every }
        },
    );
    prop_oneof![
        3 => vec(step(), 1..=4).prop_map(|steps| (Some(steps), None)),
        1 => ramp.prop_map(|ramp| (None, Some(ramp))),
    ]
}

/// A window of whole and half hours, on some days or on all.
pub fn window() -> impl Strategy<Value = Window> {
    use crate::api::Day::{Fri, Mon, Sun, Thu, Tue, Wed};
    let days = select(vec![None, Some(vec![Mon, Tue, Wed, Thu]), Some(vec![Sun]), Some(vec![Wed, Fri])]);
    (days, 0u16..=23, 1u16..=24).prop_map(|(days, from, long)| Window {
        days,
        from: format!("{from:02}:30").parse().unwrap(),
        to: if from + long >= 24 {
            "24:00".parse().unwrap()
        } else {
            format!("{:02}:45", from + long).parse().unwrap()
        },
    })
}

/// Gaps and folds of an hour, of half an hour, of two; at two, at midnight, for Ramadan; offsets of all kinds.
pub fn zone() -> impl Strategy<Value = &'static str> {
    select(vec![
        "UTC",
        "America/Los_Angeles",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "Pacific/Auckland",
        "Asia/Kolkata",
        "America/Santiago",
        "America/Havana",
        "America/St_Johns",
        "Africa/Cairo",
        "Africa/Casablanca",
        "Antarctica/Troll",
        "Asia/Kathmandu",
        "Pacific/Chatham",
        "Pacific/Kiritimati",
    ])
}

/// A freeze between instants, over some dates, or over some days of every year.
fn freeze() -> impl Strategy<Value = Freeze> {
    (select(vec!["instants", "instants", "dates", "yearly"]), 0i64..300, 1i64..80).prop_map(
        |(form, from, long)| {
            let end = |at: i64| match form {
                "instants" => FreezeTime::Instant(hours(at)),
                _ => of_form(form, hours(at)),
            };
            Freeze { name: "f".to_owned(), from: end(from), to: end(from + long), yearly: form == "yearly" }
        },
    )
}

/// The end of a freeze that is the UTC date of an instant, with or without its year.
fn of_form(form: &str, at: MicroTime) -> FreezeTime {
    let date = at.to_string();
    match form {
        "dates" => date[..10].parse().unwrap(),
        _ => date[5..10].parse().unwrap(),
    }
}

fn schedule() -> impl Strategy<Value = Schedule> {
    (
        -24i64..96,
        zone(),
        prop_oneof![2 => Just(vec![]), 1 => vec(window(), 1..=2)],
        prop_oneof![2 => Just(vec![]), 1 => vec(freeze(), 1..=2)],
        select(vec![OnMissed::OneAtATime, OnMissed::OneAtATime, OnMissed::Latest, OnMissed::Hold]),
    )
        .prop_map(|(start, zone, windows, freezes, on_missed)| Schedule {
            start_at: Some(hours(start)),
            time_zone: Some(zone.to_owned()),
            windows,
            freezes: freezes
                .into_iter()
                .enumerate()
                .map(|(i, freeze)| Freeze { name: format!("f{i}"), ..freeze })
                .collect(),
            on_missed,
        })
}

/// A rollout that compiles. Shown as its spec, which YAML readers read.
#[derive(Clone)]
pub struct Random {
    pub spec: FeatureRolloutSpec,
    pub plan: Plan,
    /// Where [`EPOCH`] was moved to.
    pub base: MicroTime,
}

/// How far all dates are moved: to weeks in which clocks go forward or back somewhere, and to odd instants.
fn shift() -> impl Strategy<Value = SignedDuration> {
    let days = select(vec![0i64, 0, -49, -28, 133, 154, 161]);
    let odd = select(vec![0i64, 0, 1, 999, 59_999_999, 30_000_001]);
    (days, odd)
        .prop_map(|(days, odd)| SignedDuration::from_hours(24 * days) + SignedDuration::from_micros(odd))
}

fn move_dates(spec: &mut FeatureRolloutSpec, by: SignedDuration) {
    let moved = |at: &mut MicroTime| *at = *at + by;
    let steps = spec.phases.iter_mut().flat_map(|phase| phase.steps.iter_mut().flatten());
    steps.filter_map(|step| step.at.as_mut()).for_each(moved);
    if let Some(schedule) = &mut spec.schedule {
        schedule.start_at.iter_mut().for_each(moved);
        for end in schedule.freezes.iter_mut().flat_map(|freeze| [&mut freeze.from, &mut freeze.to]) {
            match end {
                FreezeTime::Instant(at) => moved(at),
                FreezeTime::Date(date) => *date = date.checked_add(by).unwrap(),
                FreezeTime::Day(_) => {
                    let mut at: MicroTime = format!("2025-{end}T00:00:00Z").parse().unwrap();
                    moved(&mut at);
                    *end = of_form("yearly", at);
                }
            }
        }
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(&self.spec).unwrap())
    }
}

/// A rollout that compiles.
pub fn rollout() -> impl Strategy<Value = Random> {
    (
        cohorts(),
        vec(phase(), 1..=2),
        schedule(),
        prop_oneof![3 => Just(BTreeMap::new()), 1 => btree_map(cohort_name(), percent(), 1..=2)],
        select(vec![Tier::Stable, Tier::Stable, Tier::Preview]),
        prop::bool::weighted(0.1),
        super::random_guard::triggers(),
        (prop::bool::weighted(0.2), shift()),
    )
        .prop_filter_map(
            "has a name twice",
            |(cohorts, phases, schedule, baseline, tier, ignore, triggers, (gated, shift))| {
                let mut spec = FeatureRolloutSpec {
                    feature: Some(Feature { tier, ..Feature::default() }),
                    cohorts: Some(cohorts),
                    cohort_policy: if ignore { CohortPolicy::Ignore } else { CohortPolicy::Apply },
                    baseline,
                    attempt: 1,
                    schedule: Some(schedule),
                    phases: phases
                        .into_iter()
                        .enumerate()
                        .map(|(i, (steps, ramp))| Phase {
                            name: format!("p{i}"),
                            steps,
                            ramp,
                            gates: if gated && i == 1 { vec!["q".to_owned()] } else { vec![] },
                            ..Phase::default()
                        })
                        .collect(),
                    triggers,
                    rollback: Some(super::random_guard::rollback()),
                    criteria: vec![super::random_guard::criterion()],
                    ..FeatureRolloutSpec::default()
                };
                move_dates(&mut spec, shift);
                plan_of(&spec).map(|plan| Random { spec, plan, base: t(EPOCH) + shift })
            },
        )
}

/// How many cases a property runs: this many of a thousand that `PROPTEST_CASES` asks for, by default a thousand. What
/// takes longer, or says less, runs fewer.
pub fn cases(of_a_thousand: u32) -> ProptestConfig {
    let wanted =
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse::<u64>().ok()).unwrap_or(1000);
    let cases = (wanted * u64::from(of_a_thousand)).div_ceil(1000).max(1);
    ProptestConfig { cases: u32::try_from(cases).unwrap(), ..ProptestConfig::default() }
}
