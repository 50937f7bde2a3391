//! The plan, exactly: the rules written down a second time, from the spec as people write it, step by step instead of
//! decision by decision, and compared with the timeline that decisions make.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use proptest::prelude::*;

use super::random::{EPOCH, cases, hours, rollout};
use super::support::{Life, UID, t};
use crate::api::featurerollout::{CohortPolicy, FeatureRolloutSpec, OnMissed};
use crate::api::{Duration, FeatureRolloutStatus, FreezeTime, Hold, MicroTime, Percent};
use crate::engine::Facts;
use crate::engine::forecast::timeline::{Cause, favourable, timeline};
use crate::plan::Plan;

/// What one cohort is served, asked, and promised: percentage, asking step, instant.
#[derive(Clone, Default)]
struct State {
    served: Percent,
    asked: Percent,
    by: Option<usize>,
    pending: Option<(Percent, MicroTime)>,
}

/// An entry: instant, asking step, whether it was entered then, served.
type Told = (MicroTime, usize, bool, Vec<Percent>);

/// A step as the spec declares it: nothing here is compiled.
struct Declared {
    date: Option<MicroTime>,
    hold: Hold,
    asks: BTreeMap<String, Percent>,
}

/// Date, declared hold, whether a date of the next step may shorten it, asks.
type Draft = (Option<MicroTime>, Option<Hold>, bool, BTreeMap<String, Percent>);

/// Every step of every phase, in order.
fn declared(spec: &FeatureRolloutSpec) -> Vec<Declared> {
    let schedule = spec.schedule.as_ref().unwrap();
    let start = schedule.start_at.unwrap();
    let local_start = start.to_zoned(zone(spec)).datetime();
    let hours_of = |hours| Hold::Time(Duration::from_hours(hours));
    let mut all: Vec<Draft> = Vec::new();
    let mut asked: BTreeMap<String, Percent> = BTreeMap::new();
    for phase in &spec.phases {
        for step in phase.steps.iter().flatten() {
            let week = |week: i32| {
                let local = local_start.checked_add((7 * (week - 1)).days()).unwrap();
                MicroTime::from(local.to_zoned(zone(spec)).unwrap().timestamp())
            };
            let date = step.at.or(step.week.map(week));
            asked.extend(step.cohorts.clone());
            all.push((date, step.hold, true, step.cohorts.clone()));
        }
        if let Some(ramp) = &phase.ramp {
            let every = ramp.every.unwrap_or(hours_of(24));
            let cohorts: Vec<String> =
                spec.cohorts.iter().flatten().map(|cohort| cohort.name.clone()).collect();
            // It never takes from a cohort what the steps before it asked for it.
            let before = asked.clone();
            for percent in &ramp.percents {
                let asks: BTreeMap<String, Percent> = ramp
                    .cohorts
                    .as_ref()
                    .unwrap_or(&cohorts)
                    .iter()
                    .map(|name| {
                        (name.clone(), before.get(name).map_or(*percent, |before| *before.max(percent)))
                    })
                    .collect();
                asked.extend(asks.clone());
                all.push((None, Some(every), false, asks));
            }
        }
    }
    let dates: Vec<Option<MicroTime>> = all.iter().map(|(date, ..)| *date).collect();
    all.into_iter()
        .enumerate()
        .map(|(i, (date, hold, shortened, asks))| {
            let next = dates.get(i + 1).copied().flatten().filter(|_| shortened);
            let apart =
                date.zip(next).map(|(date, next)| next.duration_since(date).max(SignedDuration::ZERO));
            let day = SignedDuration::from_hours(24);
            let short =
                apart.filter(|apart| *apart < day).map(|apart| Hold::Time(Duration::from_signed(apart)));
            Declared { date, hold: hold.or(short).unwrap_or(hours_of(24)), asks }
        })
        .collect()
}

fn zone(spec: &FeatureRolloutSpec) -> TimeZone {
    TimeZone::get(spec.schedule.as_ref().unwrap().time_zone.as_ref().unwrap()).unwrap()
}

/// Whether a raise may happen at an instant: in a window of some local date, where there are any, and in no freeze.
fn open(spec: &FeatureRolloutSpec, at: MicroTime) -> bool {
    let schedule = spec.schedule.as_ref().unwrap();
    let frozen = frozen(spec, at).iter().any(|(from, to)| *from <= at && at < *to);
    let windows = spans(spec, at);
    !frozen && (schedule.windows.is_empty() || windows.iter().any(|(from, to)| *from <= at && at < *to))
}

/// The freezes that are given by instants, and each frozen date around an instant by itself: from its midnight to the next.
fn frozen(spec: &FeatureRolloutSpec, at: MicroTime) -> Vec<(MicroTime, MicroTime)> {
    let zone = zone(spec);
    let today = at.to_zoned(zone.clone()).date();
    let mut spans = Vec::new();
    for freeze in &spec.schedule.as_ref().unwrap().freezes {
        if let (FreezeTime::Instant(from), FreezeTime::Instant(to)) = (freeze.from, freeze.to) {
            spans.push((from, to));
            continue;
        }
        let (from, to) = (freeze.from.to_string(), freeze.to.to_string());
        for day in -3..4 {
            let date = today.checked_add(day.days()).unwrap();
            let written = date.to_string();
            let written = &written[if freeze.yearly { 5 } else { 0 }..];
            let after_from = from.as_str() <= written;
            let before_to = written <= to.as_str();
            if if from <= to { after_from && before_to } else { after_from || before_to } {
                let midnight = |date: jiff::civil::Date| {
                    MicroTime::from(date.at(0, 0, 0, 0).to_zoned(zone.clone()).unwrap().timestamp())
                };
                spans.push((midnight(date), midnight(date.tomorrow().unwrap())));
            }
        }
    }
    spans
}

/// When a hold that began at an instant is over.
fn over(spec: &FeatureRolloutSpec, hold: Hold, from: MicroTime) -> MicroTime {
    match hold {
        Hold::Time(length) => from + length.signed(),
        Hold::Days(days) => {
            let local = from.to_zoned(zone(spec));
            let date = local.date().checked_add(i64::from(days).days()).unwrap();
            date.to_datetime(local.time()).to_zoned(zone(spec)).unwrap().timestamp().into()
        }
    }
}

/// The windows of the local dates around an instant, and of the three weeks after it.
fn spans(spec: &FeatureRolloutSpec, at: MicroTime) -> Vec<(MicroTime, MicroTime)> {
    let zone = zone(spec);
    let today = at.to_zoned(zone.clone()).date();
    let mut spans = Vec::new();
    for day in -2..21 {
        let date = today.checked_add(day.days()).unwrap();
        for window in &spec.schedule.as_ref().unwrap().windows {
            let weekday = date.weekday();
            if window.days.as_ref().is_some_and(|days| !days.iter().any(|day| Weekday::from(*day) == weekday))
            {
                continue;
            }
            let instant = |time: String| {
                let (hour, minute) = time.split_once(':').unwrap();
                let (date, hour) = match hour {
                    "24" => (date.tomorrow().unwrap(), 0),
                    hour => (date, hour.parse().unwrap()),
                };
                let local = date.at(hour, minute.parse().unwrap(), 0, 0).to_zoned(zone.clone()).unwrap();
                MicroTime::from(local.timestamp())
            };
            spans.push((instant(window.from.to_string()), instant(window.to.to_string())));
        }
    }
    spans
}

/// The first instant from `at` on at which a raise may happen.
fn next_open(spec: &FeatureRolloutSpec, at: MicroTime) -> MicroTime {
    let mut at = at;
    for _ in 0..100 {
        if open(spec, at) {
            return at;
        }
        // It can only begin to be so where a window opens or a freeze ends.
        let opens = spans(spec, at).into_iter().map(|(from, _)| from);
        let ends = frozen(spec, at).into_iter().map(|(_, to)| to);
        at = opens.chain(ends).filter(|next| *next > at).min().unwrap();
    }
    panic!("never open")
}

/// Whether steps may raise a cohort, and how long after first exposure they may first do so.
fn admission(spec: &FeatureRolloutSpec, name: &str) -> (bool, SignedDuration) {
    let cohort = spec.cohorts.iter().flatten().find(|cohort| cohort.name == name).unwrap();
    if spec.cohort_policy == CohortPolicy::Ignore {
        return (true, SignedDuration::ZERO);
    }
    let tier = spec.feature.as_ref().unwrap().tier;
    let admitted = cohort.admits.as_ref().is_none_or(|tiers| tiers.contains(&tier));
    (admitted, cohort.delay.map_or(SignedDuration::ZERO, |delay| delay.signed()))
}

/// The plan by its definition, for steps taken one at a time.
fn by_definition(spec: &FeatureRolloutSpec) -> (Vec<Told>, MicroTime) {
    let steps = declared(spec);
    let names: Vec<String> = spec.cohorts.iter().flatten().map(|cohort| cohort.name.clone()).collect();
    let mut states: BTreeMap<String, State> = names
        .iter()
        .map(|name| {
            let served = spec.baseline.get(name).copied().unwrap_or_default();
            (name.clone(), State { served, ..State::default() })
        })
        .collect();
    let mut first_exposure = None;
    let mut free_from = spec.schedule.as_ref().unwrap().start_at.unwrap();
    let mut moments = Moments::new();
    let mut entered = BTreeMap::new();
    for i in 0..=steps.len() {
        let step = steps.get(i);
        let entry = step.map(|step| {
            let earliest = free_from.max(step.date.unwrap_or(free_from));
            let raises = step.asks.iter().any(|(name, ask)| {
                let state = &states[name];
                let promised = state.pending.map_or(Percent::ZERO, |(percent, _)| percent);
                admission(spec, name).0 && *ask > state.served.max(promised)
            });
            let at = if raises { next_open(spec, earliest) } else { earliest };
            if raises {
                first_exposure.get_or_insert(at);
            }
            at
        });
        // Raises that come before, or with, the entry.
        let instants: BTreeSet<MicroTime> =
            states.values().filter_map(|state| state.pending.map(|(_, at)| at)).collect();
        for at in instants.into_iter().filter(|at| entry.is_none_or(|entry| *at < entry)) {
            at_once(&mut moments, &mut states, at, |states| come(states, at));
        }
        let Some((step, at)) = step.zip(entry) else { break };
        entered.insert(i, at);
        at_once(&mut moments, &mut states, at, |states| {
            come(states, at);
            for (name, ask) in &step.asks {
                let (admitted, delay) = admission(spec, name);
                if !admitted {
                    continue;
                }
                let state = states.get_mut(name).unwrap();
                if *ask < state.asked {
                    state.served = state.served.min(*ask);
                }
                state.asked = *ask;
                state.by = Some(i);
                state.pending = None;
                if *ask > state.served {
                    let due = first_exposure.map_or(at, |first: MicroTime| at.max(first + delay));
                    let comes = next_open(spec, due);
                    match comes == at {
                        true => state.served = *ask,
                        false => state.pending = Some((*ask, comes)),
                    }
                }
            }
        });
        free_from = over(spec, step.hold, at);
    }
    let entries = told(&moments, &names, &entered);
    // The last thing done may be the last pending raise, after the last hold.
    let last = moments.last().map_or(free_from, |(at, ..)| *at);
    (entries, free_from.max(last))
}

fn come(states: &mut BTreeMap<String, State>, at: MicroTime) {
    for state in states.values_mut() {
        if let Some((percent, due)) = state.pending
            && due <= at
        {
            state.served = percent;
            state.pending = None;
        }
    }
}

/// The states before and after each instant at which something was done.
type Moments = Vec<(MicroTime, BTreeMap<String, State>, BTreeMap<String, State>)>;

/// Does something at an instant; what is done at one instant is seen as a whole.
fn at_once(
    moments: &mut Moments,
    states: &mut BTreeMap<String, State>,
    at: MicroTime,
    change: impl FnOnce(&mut BTreeMap<String, State>),
) {
    let before = states.clone();
    change(states);
    match moments.last_mut().filter(|(last, ..)| *last == at) {
        Some((_, _, after)) => after.clone_from(states),
        None => moments.push((at, before, states.clone())),
    }
}

/// The moments at which a served percentage changes.
fn told(moments: &Moments, names: &[String], entered: &BTreeMap<usize, MicroTime>) -> Vec<Told> {
    let mut entries = Vec::new();
    for (at, before, after) in moments {
        let changed = names.iter().filter(|name| after[*name].served != before[*name].served);
        let by: Vec<usize> = changed.filter_map(|name| after[name].by).collect();
        if let Some(last) = by.iter().max() {
            let by_step = by.iter().any(|i| entered.get(i) == Some(at));
            entries.push((*at, *last, by_step, names.iter().map(|name| after[name].served).collect()));
        }
    }
    entries
}

/// Every change of what is served, with its instant.
fn changes(plan: &Plan, extra: &[MicroTime]) -> Vec<(MicroTime, String)> {
    let mut life = Life::of(
        favourable(plan, t(EPOCH)),
        Facts::favourable(UID),
        FeatureRolloutStatus::default(),
        &hours(-100).to_string(),
    );
    let mut changes = vec![(life.now, life.served())];
    let mut instants: Vec<MicroTime> = extra.to_vec();
    instants.sort_unstable();
    for stop in instants.into_iter().chain([hours(24 * 200)]) {
        while let Some(at) = life.wake_at.filter(|at| *at <= stop).or((life.now < stop).then_some(stop)) {
            life.until(at);
            if changes.last().is_none_or(|(_, served)| *served != life.served()) {
                changes.push((at, life.served()));
            }
        }
    }
    changes
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn the_timeline_is_the_plan_by_its_definition(random in rollout()) {
        let mut plan = random.plan;
        plan.on_missed = OnMissed::OneAtATime;
        let (entries, completed_at) = by_definition(&random.spec);
        let found = timeline(&plan, t(EPOCH));
        let told: Vec<_> = found
            .entries
            .iter()
            .map(|entry| {
                let step = plan.steps.iter().position(|step| {
                    step.phase == entry.phase && i32::try_from(step.number) == Ok(entry.step)
                });
                let served = entry.cohorts.iter().map(|(_, percent)| *percent).collect::<Vec<_>>();
                (entry.at, step.unwrap(), entry.cause == Cause::Step, served)
            })
            .collect();
        prop_assert_eq!(told, entries);
        prop_assert_eq!(found.completed_at, Some(completed_at));
    }

    #[test]
    fn deciding_more_often_changes_nothing(random in rollout(), extra in prop::collection::vec(-6000i64..40_000, 1..12)) {
        let extra: Vec<MicroTime> =
            extra.into_iter().map(|minutes| t(EPOCH) + jiff::SignedDuration::from_mins(minutes)).collect();
        prop_assert_eq!(changes(&random.plan, &extra), changes(&random.plan, &[]));
    }
}
