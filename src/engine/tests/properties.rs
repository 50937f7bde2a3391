//! What holds whatever happens: random rollouts live through random events, and every decision is judged.

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use super::actions::verbs;
use super::random::{Random, cases, cohort_name, delay, percent, plan_of, rollout, step, window, zone};
use super::random_guard::{ask, policy, reading};
use super::world::{World, file, served};
use crate::api::featurerollout::{Approval as Approved, FeatureRolloutSpec, Schedule, Step};
use crate::api::rolloutaction::{Action, Approve, Override, RetryFrom, RetryHow, RolloutActionSpec};
use crate::api::status::Check;
use crate::api::trigger::MissingPolicy;
use crate::api::{
    Cohort, Duration, FeatureRolloutStatus, Finite, Freeze, MicroTime, Percent, Reading, Tier, Window,
};
use crate::engine::{
    Actor, Delivery, Facts, Ground, Report, Request, Subject, act, decide, due, guard_only, report, trim,
};
use crate::plan::guard::Trigger;
use crate::plan::{Approval, Plan};

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
    Attempt(i32),
    Edit(Edit),
    /// The status is emptied, or put on another object of the same name.
    Lose,
    Restore,
    /// A trigger is measured so many times, an interval apart, for everybody or for each cohort.
    Measure(Index, [Reading; 3], usize),
    /// The criterion is.
    Criterion(Reading),
    /// Somebody asks for something; verified or not, read so many minutes later, and perhaps for another generation.
    Ask(RolloutActionSpec, bool, i64),
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
        1 => (-1i32..=2).prop_map(Event::Attempt),
        5 => edit().prop_map(Event::Edit),
        1 => prop_oneof![Just(Event::Lose), Just(Event::Restore)],
        9 => (any::<Index>(), [reading(), reading(), reading()], 1usize..=6)
            .prop_map(|(trigger, readings, times)| Event::Measure(trigger, readings, times)),
        2 => reading().prop_map(Event::Criterion),
        6 => (ask(), prop::bool::weighted(0.9), select(vec![0i64, 0, 0, 0, 5, 11, 61]), select(vec![None, None, None, Some(1), Some(2)]))
            .prop_map(|(ask, verified, late, expected_generation)| {
                Event::Ask(RolloutActionSpec { expected_generation, ..ask }, verified, late)
            }),
        1 => any::<Index>().prop_map(Event::AskAgain),
        1 => prop::bool::weighted(0.4).prop_map(Event::Invalid),
    ]
}

fn steps_of<'a>(spec: &'a mut FeatureRolloutSpec, phase: &Index) -> Option<&'a mut Vec<Step>> {
    let i = phase.index(spec.phases.len());
    spec.phases[i].steps.as_mut()
}

fn schedule_of(spec: &mut FeatureRolloutSpec) -> &mut Schedule {
    spec.schedule.as_mut().unwrap()
}

fn hour(hours: i64) -> SignedDuration {
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

fn apply(spec: &mut FeatureRolloutSpec, edit: &Edit, base: MicroTime) {
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
        Edit::Windows(windows) => schedule_of(spec).windows.clone_from(windows),
        Edit::Freeze(from, long) => {
            schedule_of(spec).freezes = vec![Freeze {
                name: "edited".to_owned(),
                from: (base + hour(*from)),
                to: (base + hour(from + long)),
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
                            let known = |(cohort, _): &(&str, _)| world.status.cohort(cohort).is_some();
                            let of_cohorts: Vec<_> =
                                ["a", "b", "c"].into_iter().zip(readings).filter(known).collect();
                            for (cohort, reading) in of_cohorts {
                                world.shadow.measure(subject(), Some(cohort), world.now, reading);
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

/// A value at which no level of a trigger is in breach.
fn harmless(trigger: &Trigger) -> Option<Reading> {
    let values = [1.0, 11.0, 15.0, 25.0, -1e6, 1e6]
        .map(|value| (Finite::new(value).unwrap(), Reading::of(value, None)));
    values
        .into_iter()
        .find(|(value, _)| !trigger.levels.iter().any(|level| level.bound.holds(*value)))
        .map(|(_, reading)| reading)
}

/// Whatever stood in the way is gone: git stops nothing, everything is delivered, what is measured is well, or, with `gone`,
/// is measured no more and ignored. Then an ordinary verb is all it takes wherever the rollout waits for people.
fn goes_on(world: &mut World, gone: bool) -> Result<(), TestCaseError> {
    world.invalid = false;
    world.plan.suspend = false;
    world.facts.emergency = false;
    world.facts.delivered = true;
    world.facts.unmet.clear();
    for trigger in &mut world.plan.guard.triggers {
        if gone || harmless(trigger).is_none() {
            (trigger.on_no_data, trigger.on_provider_error) = (MissingPolicy::Ignore, MissingPolicy::Ignore);
        }
    }
    let of = |action| RolloutActionSpec { action, reason: "on".to_owned(), ..RolloutActionSpec::default() };
    let mut edited = true;
    // Nobody acts before the next measurement has said whether that is needed.
    let intervals = world.plan.guard.triggers.iter().map(|trigger| trigger.interval);
    let longest = intervals.chain([SignedDuration::from_secs(15)]).max();
    let (mut has_waited, mut has_stood) = (false, false);
    for _ in 0..500 {
        let triggers = world.plan.guard.triggers.clone();
        let cohorts: Vec<String> = world.status.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
        for trigger in &triggers {
            let none = || Reading::NoData("no series".to_owned());
            let reading = harmless(trigger).filter(|_| !gone).unwrap_or_else(none);
            let subject = || Subject::Trigger(trigger.name.clone());
            match trigger.per_cohort {
                None => world.shadow.measure(subject(), None, world.now, &reading),
                Some(_) => cohorts
                    .iter()
                    .for_each(|cohort| world.shadow.measure(subject(), Some(cohort), world.now, &reading)),
            }
        }
        world.shadow.measure(Subject::Criterion("q".to_owned()), None, world.now, &Reading::of(1.0, None));
        let before = world.status.clone();
        world.decide(edited)?;
        edited = false;
        if world.status.completed_at.is_some() {
            return Ok(());
        }
        let waits = world.status.waiting_for.as_ref().map(|waiting| waiting.check);
        let approves = |world: &World| -> Vec<RolloutActionSpec> {
            let missing = world.plan.steps.iter().filter(|step| step.approval == Approval::Missing);
            let named = missing.filter_map(|step| Some((step.phase.clone(), step.name.clone()?)));
            let given = |phase: &str, step: &str| {
                world.status.approvals.iter().any(|given| given.phase == phase && given.step == step)
            };
            let approve = |(phase, step)| RolloutActionSpec {
                approve: Some(Approve { phase, step }),
                ..of(Action::Approve)
            };
            named.filter(|(phase, step)| !given(phase, step)).map(approve).collect()
        };
        let verbs = if world.status.rollback.is_some() {
            let retry = Some(RetryHow { from: RetryFrom::Start });
            if !world.ask(&RolloutActionSpec { retry, ..of(Action::Retry) }, true)? {
                // A ladder is not left half way down while its triggers are not quiet: they are measured again first.
                prop_assert!(longest.is_some(), "a retry is refused: {:?}", world.status);
                world.pass(world.now + longest.unwrap_or_default());
            }
            continue;
        } else if world.status.pauses.iter().any(|pause| pause.cause.is_recovery()) {
            world.plan.attempt += 1;
            continue;
        } else if !world.status.pauses.is_empty() {
            vec![of(Action::Resume)]
        } else if waits == Some(Check::Approval) {
            approves(world)
        } else if waits == Some(Check::Missed) {
            let overrides = Some(vec![Override::Window, Override::Freeze]);
            let promote = RolloutActionSpec { overrides, ..of(Action::Promote) };
            for approve in approves(world) {
                prop_assert!(world.ask(&approve, true)?, "an approval is refused: {:?}", world.status);
            }
            if world.ask(&promote, true)? {
                continue;
            }
            if let (Some(longest), false) = (longest, has_waited) {
                has_waited = true;
                world.pass(world.now + longest);
                continue;
            }
            has_waited = false;
            // What was in breach when it was measured last may hold back what was missed, too.
            vec![of(Action::Pause), of(Action::Resume)]
        } else if let (Some(Check::Triggers), Some(longest), false) = (waits, longest, has_waited) {
            has_waited = true;
            world.pass(world.now + longest);
            continue;
        } else if waits == Some(Check::Triggers) {
            has_waited = false;
            vec![of(Action::Pause), of(Action::Resume)]
        } else {
            let stands_still = world.status == before && world.wake_at.is_none();
            if stands_still && !has_stood {
                // A gate is measured again within two hours.
                has_stood = true;
                world.pass(world.now + SignedDuration::from_hours(2));
                continue;
            }
            has_stood = false;
            prop_assert!(!stands_still, "no way on: {:?}", world.status);
            if let Some(at) = world.wake_at {
                world.pass(at);
            }
            continue;
        };
        prop_assert!(!verbs.is_empty(), "no way on: {:?}", world.status);
        for verb in verbs {
            prop_assert!(world.ask(&verb, true)?, "{:?} is refused: {:?}", verb.action, world.status);
        }
    }
    prop_assert!(false, "never comes to its end: {:?}", world.status);
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
    report(&mut decided.status, &Report { plan, delivery, next: decided.wake_at, generation: 1, now });
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
                    actor: Actor::Verified("ada".to_owned()),
                    tracked_by: None,
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
