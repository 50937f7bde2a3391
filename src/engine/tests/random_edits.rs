//! Random edits of a spec, as people make them while a rollout is under way.

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::random::{cohort_name, delay, percent, step, window, zone};
use super::random_guard::policy;
use crate::api::featurerollout::{Approval as Approved, FeatureRolloutSpec, Schedule, Step};
use crate::api::trigger::MissingPolicy;
use crate::api::{Cohort, Duration, Freeze, Hold, MicroTime, Percent, Tier, Window};

/// One edit; an index names one of those that there are.
#[derive(Clone, Debug)]
pub enum Edit {
    Ask(Index, Index, String, Percent),
    Insert(Index, Index, Step),
    Remove(Index, Index),
    Rename(Index, Index, Option<&'static str>),
    Ramp(Index, Vec<u32>),
    RemovePhase(Index),
    Tier(Tier),
    Delay(Index, Option<Duration>),
    Hold(Index, Index, i64),
    Swap,
    Approve,
    Bound(Index, Index, i64),
    Windows(Vec<Window>),
    Freeze(i64, i64),
    Zone(&'static str),
    Start(i64),
    Date(Index, Index, Option<i64>),
    Gate(Index, bool),
    Policy(Index, bool, Option<MissingPolicy>),
    MissingFor(Index, Option<i64>),
    Ladder(u32),
    /// Another cohort comes, or one of the first two goes or gets another name.
    Add,
    Drop(Index),
    Name(Index),
}

/// Any of them.
pub fn edit() -> impl Strategy<Value = Edit> {
    let i = any::<Index>;
    prop_oneof![
        4 => (i(), i(), cohort_name(), percent()).prop_map(|(p, s, c, ask)| Edit::Ask(p, s, c, ask)),
        2 => (i(), i(), step()).prop_map(|(p, s, step)| Edit::Insert(p, s, step)),
        2 => (i(), i()).prop_map(|(p, s)| Edit::Remove(p, s)),
        1 => (i(), i(), prop_oneof![Just(None), Just(Some("x")), Just(Some("w"))])
            .prop_map(|(p, s, name)| Edit::Rename(p, s, name)),
        1 => (i(), vec(1u32..=30, 1..=3)).prop_map(|(p, rises)| Edit::Ramp(p, rises)),
        1 => i().prop_map(Edit::RemovePhase),
        1 => prop_oneof![Just(Tier::Stable), Just(Tier::Preview)].prop_map(Edit::Tier),
        1 => (i(), delay()).prop_map(|(c, delay)| Edit::Delay(c, delay)),
        1 => (i(), i(), 1i64..60).prop_map(|(p, s, hold)| Edit::Hold(p, s, hold)),
        1 => Just(Edit::Swap),
        1 => Just(Edit::Approve),
        1 => (i(), i(), 12i64..14).prop_map(|(t, l, bound)| Edit::Bound(t, l, bound)),
        1 => vec(window(), 0..=2).prop_map(Edit::Windows),
        1 => (-40i64..200, 1i64..90).prop_map(|(from, long)| Edit::Freeze(from, long)),
        1 => zone().prop_map(Edit::Zone),
        1 => (-48i64..200).prop_map(Edit::Start),
        1 => (i(), i(), option::of(-48i64..400)).prop_map(|(p, s, hours)| Edit::Date(p, s, hours)),
        1 => (i(), any::<bool>()).prop_map(|(p, on)| Edit::Gate(p, on)),
        2 => (i(), any::<bool>(), policy()).prop_map(|(t, which, policy)| Edit::Policy(t, which, policy)),
        1 => (i(), option::of(0i64..300)).prop_map(|(t, minutes)| Edit::MissingFor(t, minutes)),
        1 => (2u32..60).prop_map(Edit::Ladder),
        1 => Just(Edit::Add),
        1 => i().prop_map(Edit::Drop),
        1 => i().prop_map(Edit::Name),
    ]
}

fn steps_of<'a>(spec: &'a mut FeatureRolloutSpec, phase: &Index) -> Option<&'a mut Vec<Step>> {
    let i = phase.index(spec.phases.len());
    spec.phases[i].steps.as_mut()
}

fn schedule_of(spec: &mut FeatureRolloutSpec) -> &mut Schedule {
    spec.schedule.as_mut().unwrap()
}

/// So many hours.
pub fn hour(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Gives one of the first two cohorts another name wherever the spec names it, or drops it there.
fn rename(spec: &mut FeatureRolloutSpec, which: &Index, to: Option<&str>) {
    let old = ["a", "b"][which.index(2)];
    let cohorts = spec.cohorts.as_mut().unwrap();
    match to {
        Some(new) => cohorts
            .iter_mut()
            .filter(|cohort| cohort.name == old)
            .for_each(|cohort| new.clone_into(&mut cohort.name)),
        None => cohorts.retain(|cohort| cohort.name != old),
    }
    for phase in &mut spec.phases {
        for step in phase.steps.iter_mut().flatten() {
            let ask = step.cohorts.remove(old);
            step.cohorts.extend(to.map(str::to_owned).zip(ask));
            if step.cohorts.is_empty() {
                step.cohorts.insert("c".to_owned(), Percent::ZERO);
            }
        }
        if let Some(cohorts) = phase.ramp.as_mut().and_then(|ramp| ramp.cohorts.as_mut()) {
            *cohorts = vec!["c".to_owned()];
        }
    }
    spec.baseline.remove(old);
}

/// Makes an edit, where there is what it concerns.
pub fn apply(spec: &mut FeatureRolloutSpec, edit: &Edit, base: MicroTime) {
    match edit {
        Edit::Ask(p, s, cohort, ask) => {
            if let Some(steps) = steps_of(spec, p) {
                let s = s.index(steps.len());
                steps[s].cohorts.insert(cohort.clone(), *ask);
            }
        }
        Edit::Insert(p, s, step) => {
            if let Some(steps) = steps_of(spec, p) {
                let s = s.index(steps.len() + 1);
                steps.insert(s, step.clone());
            }
        }
        Edit::Remove(p, s) => {
            if let Some(steps) = steps_of(spec, p) {
                let s = s.index(steps.len());
                steps.remove(s);
            }
        }
        Edit::Rename(p, s, name) => {
            if let Some(steps) = steps_of(spec, p) {
                let s = s.index(steps.len());
                steps[s].name = name.map(str::to_owned);
            }
        }
        Edit::Hold(p, s, hold) => {
            if let Some(steps) = steps_of(spec, p) {
                let s = s.index(steps.len());
                steps[s].hold = Some(match hold % 7 {
                    0 => Hold::Days(1 + u16::try_from(hold % 3).unwrap()),
                    _ => Duration::from_hours(*hold).into(),
                });
            }
        }
        Edit::Ramp(p, rises) => {
            let p = p.index(spec.phases.len());
            if let Some(ramp) = &mut spec.phases[p].ramp {
                let reached = rises.iter().scan(0, |sum, rise| {
                    *sum += rise;
                    Percent::from_whole(*sum)
                });
                ramp.percents = reached.collect();
            }
        }
        Edit::RemovePhase(p) => {
            let p = p.index(spec.phases.len());
            spec.phases.remove(p);
        }
        Edit::Tier(tier) => spec.feature.as_mut().unwrap().tier = *tier,
        Edit::Delay(c, delay) => {
            let cohorts = spec.cohorts.as_mut().unwrap();
            let c = c.index(cohorts.len());
            cohorts[c].delay = *delay;
        }
        Edit::Bound(t, l, bound) => {
            if !spec.triggers.is_empty() {
                let t = t.index(spec.triggers.len());
                let levels = &mut spec.triggers[t].levels;
                let l = l.index(levels.len());
                // Never that of the other level.
                levels[l].above = Some(format!("{bound}.{l}").parse().unwrap());
            }
        }
        Edit::Windows(windows) => schedule_of(spec).windows.clone_from(windows),
        Edit::Freeze(from, long) => {
            schedule_of(spec).freezes = vec![Freeze {
                name: "edited".to_owned(),
                from: (base + hour(*from)).into(),
                to: (base + hour(from + long)).into(),
                yearly: false,
            }];
        }
        Edit::Zone(zone) => schedule_of(spec).time_zone = Some((*zone).to_owned()),
        Edit::Start(hours) => schedule_of(spec).start_at = Some(base + hour(*hours)),
        Edit::Date(p, s, hours) => {
            if let Some(steps) = steps_of(spec, p) {
                let s = s.index(steps.len());
                steps[s].week = None;
                steps[s].at = hours.map(|hours| base + hour(hours));
            }
        }
        Edit::Gate(p, on) => {
            let p = p.index(spec.phases.len());
            spec.phases[p].gates = if *on { vec!["q".to_owned()] } else { vec![] };
        }
        Edit::Policy(t, which, policy) => {
            if !spec.triggers.is_empty() {
                let t = t.index(spec.triggers.len());
                let trigger = &mut spec.triggers[t];
                *(if *which { &mut trigger.on_no_data } else { &mut trigger.on_provider_error }) = *policy;
            }
        }
        Edit::MissingFor(t, minutes) => {
            if !spec.triggers.is_empty() {
                let t = t.index(spec.triggers.len());
                let duration = |minutes| Duration::from_signed(SignedDuration::from_mins(minutes));
                spec.triggers[t].missing_for = minutes.map(duration);
            }
        }
        Edit::Ladder(first) => {
            let rollback = spec.rollback.as_mut().unwrap();
            let percents = [*first, 1, 0].into_iter().filter_map(Percent::from_whole);
            rollback.gradual.as_mut().unwrap().ladder = percents.collect();
        }
        Edit::Add => {
            spec.cohorts.as_mut().unwrap().push(Cohort { name: "d".to_owned(), ..Cohort::default() })
        }
        Edit::Drop(which) => rename(spec, which, None),
        Edit::Name(which) => rename(spec, which, Some("d")),
        // Another order is another audience.
        Edit::Swap => spec.cohorts.as_mut().unwrap().rotate_left(1),
        Edit::Approve => {
            let names = spec.phases.iter().flat_map(|phase| {
                phase.steps.iter().flatten().map(|step| (phase.name.clone(), step.name.clone()))
            });
            let given =
                names.filter_map(|(phase, step)| Some(Approved { phase, step: step?, attempt: None }));
            spec.approvals = given.collect();
        }
    }
}
