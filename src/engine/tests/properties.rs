//! What holds whatever happens: random rollouts live through random events, and every decision is judged.

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::random::{cases, cohort_name, delay, hours, percent, plan_of, rollout, step};
use super::random_guard::{ask, reading};
use super::world::{World, file, served};
use crate::api::featurerollout::{Approval as Approved, FeatureRolloutSpec, Step};
use crate::api::rolloutaction::RolloutActionSpec;
use crate::api::{Duration, FeatureRolloutStatus, Percent, Reading, Tier};
use crate::engine::Subject;
use crate::plan::Plan;

#[derive(Clone, Debug)]
enum Event {
    /// So many minutes pass, and nobody decides on the way.
    Pass(i64),
    /// The wake-up comes.
    Wake,
    Suspend(bool),
    Emergency(bool),
    Delivered(bool),
    Unmet(bool),
    Attempt(i32),
    Edit(Edit),
    /// The status is emptied, or put on another object of the same name.
    Lose,
    Restore,
    /// A trigger is measured so many times, an interval apart, for everybody or for each cohort.
    Measure(Index, [Reading; 3], usize),
    /// The criterion is.
    Criterion(Reading),
    /// Somebody asks for something; verified or not.
    Ask(RolloutActionSpec, bool),
    /// An action that was applied is read again.
    AskAgain(Index),
    /// The spec is invalid, or is no longer.
    Invalid(bool),
}

#[derive(Clone, Debug)]
enum Edit {
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
}

fn edit() -> impl Strategy<Value = Edit> {
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
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0i64..6000).prop_map(Event::Pass),
        10 => Just(Event::Wake),
        2 => any::<bool>().prop_map(Event::Suspend),
        1 => prop::bool::weighted(0.3).prop_map(Event::Emergency),
        3 => prop::bool::weighted(0.7).prop_map(Event::Delivered),
        1 => prop::bool::weighted(0.3).prop_map(Event::Unmet),
        1 => (-1i32..=2).prop_map(Event::Attempt),
        5 => edit().prop_map(Event::Edit),
        1 => prop_oneof![Just(Event::Lose), Just(Event::Restore)],
        9 => (any::<Index>(), [reading(), reading(), reading()], 1usize..=6)
            .prop_map(|(trigger, readings, times)| Event::Measure(trigger, readings, times)),
        2 => reading().prop_map(Event::Criterion),
        6 => (ask(), prop::bool::weighted(0.9)).prop_map(|(ask, verified)| Event::Ask(ask, verified)),
        1 => any::<Index>().prop_map(Event::AskAgain),
        1 => prop::bool::weighted(0.4).prop_map(Event::Invalid),
    ]
}

fn steps_of<'a>(spec: &'a mut FeatureRolloutSpec, phase: &Index) -> Option<&'a mut Vec<Step>> {
    let i = phase.index(spec.phases.len());
    spec.phases[i].steps.as_mut()
}

fn apply(spec: &mut FeatureRolloutSpec, edit: &Edit) {
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
                steps[s].hold = Some(Duration::from_hours(*hold));
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

fn live_through(
    spec: FeatureRolloutSpec,
    plan: Plan,
    events: &[Event],
) -> Result<FeatureRolloutStatus, TestCaseError> {
    let mut world = World::begin(spec, plan, hours(-30));
    world.decide(false)?;
    for event in events {
        let mut edited = false;
        match event {
            Event::Pass(minutes) => world.pass(world.now + SignedDuration::from_mins(*minutes)),
            Event::Wake => match world.wake_at {
                Some(at) => world.pass(at),
                None => continue,
            },
            Event::Suspend(on) => world.plan.suspend = *on,
            Event::Emergency(on) => world.facts.emergency = *on,
            Event::Delivered(is) => world.facts.delivered = *is,
            Event::Unmet(on) => world.facts.unmet = if *on { vec!["x".to_owned()] } else { vec![] },
            Event::Attempt(by) => world.plan.attempt += by,
            Event::Lose => {
                world.facts.live = Some(file(&world.status));
                world.shadow.lose(&world.status, world.now);
                world.status = FeatureRolloutStatus::default();
                world.applied.clear();
                world.invalid = false;
                edited = true;
            }
            Event::Restore => {
                world.facts.live = Some(file(&world.status));
                world.facts.uid.push('x');
                world.shadow.forget_answers();
                world.invalid = false;
                edited = true;
            }
            Event::Measure(which, readings, times) => {
                let triggers = &world.plan.guard.triggers;
                if triggers.is_empty() {
                    continue;
                }
                let trigger = triggers[which.index(triggers.len())].clone();
                for time in 0..*times {
                    if time > 0 {
                        world.decide(false)?;
                        world.pass(world.now + trigger.interval);
                    }
                    let subject = || Subject::Trigger(trigger.name.clone());
                    match trigger.per_cohort {
                        None => world.shadow.measure(subject(), None, world.now, &readings[0]),
                        Some(_) => {
                            for (cohort, reading) in ["a", "b", "c"].into_iter().zip(readings) {
                                world.shadow.measure(subject(), Some(cohort), world.now, reading);
                            }
                        }
                    }
                }
            }
            Event::Criterion(reading) => {
                world.shadow.measure(Subject::Criterion("q".to_owned()), None, world.now, reading);
            }
            Event::Ask(ask, verified) => world.ask(ask, *verified)?,
            Event::AskAgain(which) => world.ask_again(which.index(world.applied.len() + 1))?,
            Event::Invalid(is) => {
                world.invalid = *is;
                // What was edited meanwhile is seen now.
                edited = true;
            }
            Event::Edit(edit) => {
                let mut spec = world.spec.clone();
                apply(&mut spec, edit);
                let Some(plan) = plan_of(&spec) else { continue };
                world.shadow.edited(&world.plan.guard, &plan.guard);
                world.plan = Plan { suspend: world.plan.suspend, attempt: world.plan.attempt, ..plan };
                world.spec = spec;
                edited = true;
            }
        }
        world.decide(edited)?;
        world.facts.live = None;
    }
    let lived = world.status.clone();
    world.invalid = false;
    // Deletion freezes it, whatever comes.
    let before = served(&world.status).iter().map(|(_, percent)| *percent).collect::<Vec<_>>();
    world.facts.deleting = true;
    world.facts.emergency = false;
    world.pass(world.now + SignedDuration::from_hours(24 * 60));
    world.decide(true)?;
    let after = served(&world.status).iter().map(|(_, percent)| *percent).collect::<Vec<_>>();
    prop_assert_eq!(before, after);
    Ok(lived)
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn whatever_happens(random in rollout(), events in vec(event(), 1..30)) {
        live_through(random.spec, random.plan, &events)?;
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn the_same_inputs_give_the_same_history(random in rollout(), events in vec(event(), 1..30)) {
        let once = live_through(random.spec.clone(), random.plan.clone(), &events)?;
        prop_assert_eq!(live_through(random.spec, random.plan, &events)?, once);
    }
}
