//! What holds whatever happens: random rollouts live through random events, and every decision is judged.

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use super::actions::verbs;
use super::in_file::file;
use super::random::{Random, cases, plan_of, rollout};
use super::random_edits::{Edit, apply, edit, hour};
use super::random_guard::{ask, reading};
use super::way_on::goes_on;
use super::world::{World, served};
use crate::api::rolloutaction::RolloutActionSpec;
use crate::api::{FeatureRolloutStatus, MicroTime, Reading};
use crate::engine::{
    Actor, Delivery, Facts, Ground, Report, Request, Subject, act, decide, due, guard_only, report, trim,
};
use crate::plan::Plan;

#[derive(Clone, Debug)]
enum Event {
    /// So many minutes pass, and these nanoseconds, and nobody decides on the way.
    Pass(i64, i64),
    /// The clock is set back by so many seconds: another leader's runs behind.
    Back(i64),
    /// The wake-up comes.
    Wake,
    Suspend(bool),
    Emergency(bool),
    Delivered(bool),
    Unmet(bool),
    /// The namespace has more than it may have in memory, or no longer.
    Full(bool),
    Attempt(i32),
    Edit(Edit),
    /// The status is emptied, or put on another object of the same name.
    Lose,
    Restore,
    /// A trigger is measured so many times, an interval apart, for everybody or for each cohort; Sluice itself is late with
    /// each by so many intervals more.
    Measure(Index, [Reading; 3], usize, i32),
    /// The criterion is.
    Criterion(Reading),
    /// Somebody asks for something; verified or not, read so many minutes later, and perhaps for another generation.
    Ask(RolloutActionSpec, bool, i64),
    /// An action that was applied is read again.
    AskAgain(Index),
    /// The spec is invalid, or is no longer.
    Invalid(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0i64..6000, select(vec![0i64, 0, 1, 999, 123_456_789, 59_999_999_999]))
            .prop_map(|(minutes, nanos)| Event::Pass(minutes, nanos)),
        1 => select(vec![1i64, 45, 3600, 90_000]).prop_map(Event::Back),
        10 => Just(Event::Wake),
        2 => any::<bool>().prop_map(Event::Suspend),
        1 => prop::bool::weighted(0.3).prop_map(Event::Emergency),
        3 => prop::bool::weighted(0.7).prop_map(Event::Delivered),
        1 => prop::bool::weighted(0.3).prop_map(Event::Unmet),
        1 => prop::bool::weighted(0.4).prop_map(Event::Full),
        1 => (-1i32..=2).prop_map(Event::Attempt),
        5 => edit().prop_map(Event::Edit),
        1 => prop_oneof![Just(Event::Lose), Just(Event::Restore)],
        9 => (any::<Index>(), [reading(), reading(), reading()], 1usize..=6, select(vec![0i32, 0, 0, 1, 3, 20]))
            .prop_map(|(trigger, readings, times, late)| Event::Measure(trigger, readings, times, late)),
        2 => reading().prop_map(Event::Criterion),
        6 => (ask(), prop::bool::weighted(0.9), select(vec![0i64, 0, 0, 0, 5, 11, 61]), select(vec![None, None, None, Some(1), Some(2)]))
            .prop_map(|(ask, verified, late, expected_generation)| {
                Event::Ask(RolloutActionSpec { expected_generation, ..ask }, verified, late)
            }),
        1 => any::<Index>().prop_map(Event::AskAgain),
        1 => prop::bool::weighted(0.4).prop_map(Event::Invalid),
    ]
}

fn live_through(random: Random, events: &[Event]) -> Result<World, TestCaseError> {
    let Random { spec, plan, base } = random;
    let mut world = World::begin(spec, plan, base - hour(30));
    world.decide(false)?;
    for event in events {
        let mut edited = false;
        match event {
            Event::Pass(minutes, nanos) => {
                let micros = SignedDuration::from_micros(nanos / 1000);
                world.nanos = SignedDuration::from_nanos(nanos % 1000);
                world.pass(world.now + SignedDuration::from_mins(*minutes) + micros);
            }
            Event::Back(seconds) => {
                world.unjudged = true;
                world.pass(world.now - SignedDuration::from_secs(*seconds));
            }
            Event::Wake => match world.wake_at {
                Some(at) => world.pass(at),
                None => continue,
            },
            Event::Suspend(on) => world.plan.suspend = *on,
            Event::Emergency(on) => world.facts.emergency = *on,
            Event::Delivered(is) => world.facts.delivered = *is,
            Event::Unmet(on) => world.facts.unmet = if *on { vec!["x".to_owned()] } else { vec![] },
            Event::Full(is) => world.facts.no_room = is.then(|| "the namespace is full".to_owned()),
            Event::Attempt(by) => world.plan.attempt += by,
            Event::Lose => {
                world.facts.live = Some(file(&world.status));
                world.shadow.lose(&world.status, world.now);
                world.status = FeatureRolloutStatus::default();
                world.applied.clear();
                world.stopped = None;
                world.invalid = false;
                edited = true;
            }
            Event::Restore => {
                world.facts.live = Some(file(&world.status));
                world.facts.uid.push('x');
                world.stopped = None;
                world.shadow.forget_answers();
                world.invalid = false;
                edited = true;
            }
            Event::Measure(which, readings, times, late) => {
                let triggers = &world.plan.guard.triggers;
                if triggers.is_empty() {
                    continue;
                }
                let trigger = triggers[which.index(triggers.len())].clone();
                for time in 0..*times {
                    if time > 0 {
                        world.decide(false)?;
                        world.pass(world.now + trigger.interval * (1 + *late));
                    }
                    let when = (world.now - trigger.interval * *late, world.now);
                    let subject = || Subject::Trigger(trigger.name.clone());
                    match trigger.per_cohort {
                        None => world.shadow.measure_late(subject(), None, when, &readings[0]),
                        Some(_) => {
                            let known = |(cohort, _): &(&str, _)| world.status.cohort(cohort).is_some();
                            let of_cohorts: Vec<_> =
                                ["a", "b", "c"].into_iter().zip(readings).filter(known).collect();
                            for (cohort, reading) in of_cohorts {
                                world.shadow.measure_late(subject(), Some(cohort), when, reading);
                            }
                        }
                    }
                }
            }
            Event::Criterion(reading) => {
                world.shadow.measure(Subject::Criterion("q".to_owned()), None, world.now, reading);
            }
            Event::Ask(ask, verified, late) => {
                world.ask_late(ask, *verified, SignedDuration::from_mins(*late))?;
            }
            Event::AskAgain(which) => world.ask_again(which.index(world.applied.len() + 1))?,
            Event::Invalid(is) => {
                world.invalid = *is;
                // What was edited meanwhile is seen now.
                edited = true;
            }
            Event::Edit(edit) => {
                let mut spec = world.spec.clone();
                apply(&mut spec, edit, base);
                let Some(plan) = plan_of(&spec) else { continue };
                world.unjudged |= matches!(edit, Edit::Ladder(_) | Edit::Add | Edit::Drop(_) | Edit::Name(_));
                world.shadow.edited(&world.plan.guard, &plan.guard);
                world.plan = Plan { suspend: world.plan.suspend, attempt: world.plan.attempt, ..plan };
                world.spec = spec;
                edited = true;
            }
        }
        world.decide(edited)?;
        world.facts.live = None;
    }
    Ok(world)
}

/// Deletion freezes it, whatever comes.
fn delete(world: &mut World) -> Result<(), TestCaseError> {
    world.invalid = false;
    let before = served(&world.status).iter().map(|(_, percent)| *percent).collect::<Vec<_>>();
    world.facts.deleting = true;
    world.facts.emergency = false;
    world.pass(world.now + SignedDuration::from_hours(24 * 60));
    world.decide(true)?;
    let after = served(&world.status).iter().map(|(_, percent)| *percent).collect::<Vec<_>>();
    prop_assert_eq!(before, after);
    Ok(())
}

/// Something in a status that no decision has put there: a value replaced, taken away, or there twice.
fn forge(status: &mut serde_json::Value, which: &Index, with: &Index) {
    fn places(value: &serde_json::Value, at: String, all: &mut Vec<String>) {
        match value {
            serde_json::Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| places(item, format!("{at}/{i}"), all));
            }
            serde_json::Value::Object(fields) => {
                fields.iter().for_each(|(key, item)| places(item, format!("{at}/{key}"), all));
            }
            _ => {}
        }
        all.push(at);
    }
    let odd = [
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(i32::MAX),
        json!(2),
        json!(""),
        json!("0%"),
        json!("100%"),
        json!("0.001%"),
        json!("a"),
        json!("nobody"),
        json!("-009999-01-02T01:59:59Z"),
        json!("9999-12-30T22:00:00.999999Z"),
        json!("2025-10-20T00:00:00Z"),
        json!("ImmediateRollback above 10"),
        json!([]),
        json!({}),
        json!(true),
    ];
    let mut all = Vec::new();
    places(status, String::new(), &mut all);
    let Some(slot) = status.pointer_mut(&all[which.index(all.len())]) else { return };
    let with = with.index(odd.len() + 2);
    *slot = match (odd.get(with), &*slot) {
        (Some(odd), _) => odd.clone(),
        (None, serde_json::Value::Array(items)) if with == odd.len() => {
            items.iter().chain(items).cloned().collect::<Vec<_>>().into()
        }
        _ => serde_json::Value::Null,
    };
}

/// Whatever a status says, deciding, acting and reporting say something and do not panic.
fn is_total(world: &World, status: &FeatureRolloutStatus, now: MicroTime) {
    let plan = &world.plan;
    let facts = Facts { metrics: world.shadow.metrics(), ..world.facts.clone() };
    let mut decided = decide(plan, status, &facts, now);
    let delivery = Delivery::Done;
    report(
        &mut decided.status,
        &Report { plan, delivery, next: decided.wake_at, no_room: None, generation: 1, now },
    );
    trim(&mut decided.status);
    for status in [status, &decided.status] {
        guard_only(&plan.guard, status, &facts.metrics, now);
        due(&plan.guard, status, now);
        for spec in verbs() {
            for basis in [Ground::Plan(plan, &facts), Ground::Guard(&plan.guard, "invalid")] {
                let request = Request {
                    uid: "u",
                    spec: &super::support::action(spec.clone()),
                    created: now,
                    version: 1,
                    actor: Actor::Verified("ada".to_owned()),
                    tracked_by: None,
                    speed: 1,
                    rollout_uid: &facts.uid,
                    generation: 1,
                };
                act(basis, status, &request, now);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn whatever_happens(random in rollout(), events in vec(event(), 1..30)) {
        delete(&mut live_through(random, &events)?)?;
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn when_the_cause_is_gone_ordinary_verbs_get_it_going_again(
        random in rollout(),
        events in vec(event(), 1..25),
        gone in prop::bool::weighted(0.4),
    ) {
        goes_on(&mut live_through(random, &events)?, gone)?;
    }

    #[test]
    fn whatever_a_status_says_something_is_decided(
        random in rollout(),
        events in vec(event(), 1..12),
        forged in vec((any::<Index>(), any::<Index>()), 1..6),
        now in select(vec![-40_000_000i64, -3600, 0, 86_400, 400_000_000]),
    ) {
        let world = live_through(random, &events)?;
        let mut json = serde_json::to_value(&world.status).unwrap();
        for (which, with) in &forged {
            let mut next = json.clone();
            forge(&mut next, which, with);
            if serde_json::from_value::<FeatureRolloutStatus>(next.clone()).is_ok() {
                json = next;
            }
        }
        let status: FeatureRolloutStatus = serde_json::from_value(json).unwrap();
        is_total(&world, &status, world.now + SignedDuration::from_secs(now));
    }
}

proptest! {
    #![proptest_config(cases(50))]

    #[test]
    fn the_same_inputs_give_the_same_history(random in rollout(), events in vec(event(), 1..30)) {
        let once = live_through(random.clone(), &events)?;
        prop_assert_eq!(live_through(random, &events)?.status, once.status);
    }
}
