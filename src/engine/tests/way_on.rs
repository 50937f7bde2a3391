//! No state without a way out: when the cause is gone, ordinary verbs get a rollout to its end.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::shadow_rules::harmless;
use super::world::World;
use crate::api::Reading;
use crate::api::rolloutaction::{Action, Approve, Override, RetryFrom, RetryHow, RolloutActionSpec};
use crate::api::status::Check;
use crate::api::trigger::MissingPolicy;
use crate::engine::Subject;

/// Whatever stood in the way is gone: git stops nothing, everything is delivered, what is measured is well, or, with `gone`,
/// is measured no more and ignored. Then an ordinary verb is all it takes wherever the rollout waits for people.
pub fn goes_on(world: &mut World, gone: bool) -> Result<(), TestCaseError> {
    world.invalid = false;
    world.plan.suspend = false;
    world.facts.emergency = false;
    world.facts.delivered = true;
    world.facts.unmet.clear();
    world.facts.no_room = None;
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
            let approve = |(phase, step)| RolloutActionSpec {
                approve: Some(Approve { phase, step }),
                ..of(Action::Approve)
            };
            world.unapproved().into_iter().map(approve).collect()
        };
        let verbs = if world.status.rollback.is_some() {
            let retry = Some(RetryHow { from: RetryFrom::Start });
            if !world.ask(&RolloutActionSpec { retry, ..of(Action::Retry) }, true)? {
                // A ladder is not left half way down while its triggers are not quiet: they are measured again first, and
                // where they are measured no more it goes on to its end.
                prop_assert!(longest.is_some(), "a retry is refused: {:?}", world.status);
                let measured = world.now + longest.unwrap_or_default();
                let rung = world.wake_at.filter(|_| has_waited);
                has_waited = true;
                world.pass(rung.map_or(measured, |rung| rung.max(measured)));
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
