//! The plan, exactly: the rules written down a second time, step by step instead of decision by decision, and
//! compared with the timeline that decisions make.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::random::{EPOCH, cases, hours, rollout};
use super::support::{Life, UID, t};
use crate::api::featurerollout::OnMissed;
use crate::api::{FeatureRolloutStatus, Percent};
use crate::engine::Facts;
use crate::engine::forecast::timeline::{Cause, favourable, timeline};
use crate::plan::Plan;

/// What one cohort is served, asked, and promised: percentage, asking step, instant.
#[derive(Clone, Default)]
struct State {
    served: Percent,
    asked: Percent,
    by: Option<usize>,
    pending: Option<(Percent, Timestamp)>,
}

/// An entry: instant, asking step, whether it was entered then, served.
type Told = (Timestamp, usize, bool, Vec<Percent>);

/// The plan by its definition, for steps taken one at a time.
fn by_definition(plan: &Plan) -> (Vec<Told>, Timestamp) {
    let names: Vec<String> = plan.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
    let mut states: BTreeMap<String, State> = names
        .iter()
        .map(|name| {
            let served = plan.baseline.get(name).copied().unwrap_or_default();
            (name.clone(), State { served, ..State::default() })
        })
        .collect();
    let mut first_exposure = None;
    let mut free_from = plan.start_at.unwrap();
    let mut moments = Moments::new();
    let mut entered = BTreeMap::new();
    for i in 0..=plan.steps.len() {
        let step = plan.steps.get(i);
        let entry = step.map(|step| {
            let earliest = free_from.max(step.date.unwrap_or(free_from));
            let raises = step.asks.iter().any(|(name, ask)| {
                let state = &states[name];
                let promised = state.pending.map_or(Percent::ZERO, |(percent, _)| percent);
                plan.admits(plan.cohort(name).unwrap()) && *ask > state.served.max(promised)
            });
            let at = if raises { plan.time_gate.next_open(earliest).unwrap() } else { earliest };
            if raises {
                first_exposure.get_or_insert(at);
            }
            at
        });
        // Raises that come before, or with, the entry.
        let instants: BTreeSet<Timestamp> =
            states.values().filter_map(|state| state.pending.map(|(_, at)| at)).collect();
        for at in instants.into_iter().filter(|at| entry.is_none_or(|entry| *at < entry)) {
            at_once(&mut moments, &mut states, at, |states| come(states, at));
        }
        let Some((step, at)) = step.zip(entry) else { break };
        entered.insert(i, at);
        at_once(&mut moments, &mut states, at, |states| {
            come(states, at);
            for (name, ask) in &step.asks {
                let cohort = plan.cohort(name).unwrap();
                if !plan.admits(cohort) {
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
                    let due =
                        first_exposure.map_or(at, |first: Timestamp| at.max(first + plan.delay(cohort)));
                    let comes = plan.time_gate.next_open(due).unwrap();
                    match comes == at {
                        true => state.served = *ask,
                        false => state.pending = Some((*ask, comes)),
                    }
                }
            }
        });
        free_from = at + step.hold;
    }
    let entries = told(&moments, &names, &entered);
    // The last thing done may be the last pending raise, after the last hold.
    let last = moments.last().map_or(free_from, |(at, ..)| *at);
    (entries, free_from.max(last))
}

fn come(states: &mut BTreeMap<String, State>, at: Timestamp) {
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
type Moments = Vec<(Timestamp, BTreeMap<String, State>, BTreeMap<String, State>)>;

/// Does something at an instant; what is done at one instant is seen as a whole.
fn at_once(
    moments: &mut Moments,
    states: &mut BTreeMap<String, State>,
    at: Timestamp,
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
fn told(moments: &Moments, names: &[String], entered: &BTreeMap<usize, Timestamp>) -> Vec<Told> {
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
fn changes(plan: &Plan, extra: &[Timestamp]) -> Vec<(Timestamp, String)> {
    let mut life = Life::of(
        favourable(plan, t(EPOCH)),
        Facts::favourable(UID),
        FeatureRolloutStatus::default(),
        &hours(-100).to_string(),
    );
    let mut changes = vec![(life.now, life.served())];
    let mut instants: Vec<Timestamp> = extra.to_vec();
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
    #![proptest_config(cases(3000))]

    #[test]
    fn the_timeline_is_the_plan_by_its_definition(random in rollout()) {
        let mut plan = random.plan;
        plan.on_missed = OnMissed::OneAtATime;
        let (entries, completed_at) = by_definition(&plan);
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
        let extra: Vec<Timestamp> =
            extra.into_iter().map(|minutes| t(EPOCH) + jiff::SignedDuration::from_mins(minutes)).collect();
        prop_assert_eq!(changes(&random.plan, &extra), changes(&random.plan, &[]));
    }
}
