//! What holds whatever happens: random rollouts live through random events, and every decision is judged.

use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::random::{cases, cohort_name, delay, hours, percent, plan_of, rollout, step};
use super::support::UID;
use crate::api::featurerollout::{Approval as Approved, FeatureRolloutSpec, Step};
use crate::api::{Duration, FeatureRolloutStatus, Percent, Tier};
use crate::engine::position::Mark;
use crate::engine::{Facts, decide};
use crate::flags::LiveFlag;
use crate::plan::{Approval, Plan};

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
        // Another order is another audience.
        Edit::Swap => spec.cohorts.as_mut().unwrap().rotate_left(1),
        Edit::Approve => {
            let names = spec.phases.iter().flat_map(|phase| {
                phase.steps.iter().flatten().map(|step| (phase.name.clone(), step.name.clone()))
            });
            let given = names.filter_map(|(phase, step)| Some(Approved { phase, step: step? }));
            spec.approvals = given.collect();
        }
    }
}

/// A rollout, and a second account of its clock.
struct World {
    spec: FeatureRolloutSpec,
    plan: Plan,
    facts: Facts,
    status: FeatureRolloutStatus,
    now: Timestamp,
    wake_at: Option<Timestamp>,
    /// Time lived unpaused.
    clock: SignedDuration,
    entered: SignedDuration,
    exposed: SignedDuration,
}

impl World {
    fn pass(&mut self, to: Timestamp) {
        if self.status.pauses.is_empty() {
            self.clock += to.duration_since(self.now);
        }
        self.now = to;
    }

    fn decide(&mut self, edited: bool) -> Result<(), TestCaseError> {
        let decision = decide(&self.plan, &self.status, &self.facts, self.now);
        let again = decide(&self.plan, &self.status, &self.facts, self.now);
        prop_assert_eq!(&decision, &again, "not deterministic");
        prop_assert!(decision.wake_at.is_none_or(|at| at > self.now), "wakes in the past");
        let json = serde_json::to_string(&decision.status).unwrap();
        let read: FeatureRolloutStatus = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &decision.status, "status does not survive JSON");

        // Deciding again is no news, once it is told that the file is behind: it holds percentages and position. A step
        // entered again at the same instant leaves the same position.
        let changed = served(&decision.status) != served(&self.status)
            || decision.status.position != self.status.position
            || decision.status.last_seq() != self.status.last_seq();
        let facts = Facts { delivered: self.facts.delivered && !changed, ..self.facts.clone() };
        let next = decide(&self.plan, &read, &facts, self.now);
        let mut expected = decision.status.clone();
        if changed {
            // Only what is waited for may differ.
            expected.waiting_for.clone_from(&next.status.waiting_for);
            for (cohort, other) in expected.cohorts.iter_mut().zip(&next.status.cohorts) {
                if let Some((pending, other)) = cohort.pending.as_mut().zip(other.pending.as_ref()) {
                    pending.check = other.check;
                }
            }
        }
        prop_assert_eq!(&next.status, &expected, "not idempotent");

        let before = std::mem::replace(&mut self.status, decision.status);
        self.wake_at = decision.wake_at;
        self.judge(&before, edited)
    }

    fn judge(&mut self, before: &FeatureRolloutStatus, edited: bool) -> Result<(), TestCaseError> {
        let after = &self.status;
        let now = self.now;
        let paused = !after.pauses.is_empty();
        let attempt = after
            .history
            .iter()
            .any(|entry| entry.seq > before.last_seq() && entry.reason == crate::api::Reason::AttemptStarted);
        let from = if attempt { None } else { before.position.as_ref() };
        let entries = after
            .history
            .iter()
            .filter(|e| e.seq > before.last_seq() && e.reason == crate::api::Reason::StepEntered);
        let entries = entries.count();
        if entries > 0 {
            prop_assert!(!paused, "entered a step while paused");
            let at = find(after.position.as_ref(), &self.plan).unwrap();
            let stood = from.map(|position| find(Some(position), &self.plan).unwrap());
            for step in &self.plan.steps[stood.map_or(0, |i| i + 1)..=at] {
                prop_assert!(step.date.is_none_or(|date| date <= now), "entered before its date");
                prop_assert!(step.approval != Approval::Missing, "entered without approval");
            }
            match stood {
                None => prop_assert!(self.plan.start_at.unwrap() <= now, "entered before the start"),
                Some(i) => {
                    prop_assert!(self.clock - self.entered >= self.plan.steps[i].hold, "hold not over")
                }
            }
            self.entered = self.clock;
        } else if !edited {
            prop_assert_eq!(after.position.as_ref().map(place), from.map(place), "moved without an entry");
        }
        if after.first_exposure.is_some() && (attempt || before.first_exposure.is_none()) {
            // An edit may make a step raise that was entered without: only entries ask for dependencies.
            let met = self.facts.unmet.is_empty() || before.dependencies_met;
            prop_assert!(met || edited, "dependencies are not met");
            self.exposed = self.clock;
        }
        for cohort in &after.cohorts {
            prop_assert!(cohort.pending.as_ref().is_none_or(|pending| pending.percent > cohort.served));
            let Some(old) = before.cohort(&cohort.name) else { continue };
            let restored = old.restore.unwrap_or_default();
            if cohort.served > old.served {
                prop_assert!(!paused, "raised while paused");
                prop_assert!(!self.facts.emergency && !self.facts.deleting, "raised in an emergency");
                prop_assert!(self.facts.delivered, "raised before delivery");
                prop_assert_eq!(self.plan.time_gate.closed(now), None, "raised past a shut gate");
                prop_assert!(cohort.served <= cohort.asked.max(restored), "raised beyond what is asked");
                if cohort.served > restored {
                    let declared = self.plan.cohort(&cohort.name).unwrap();
                    prop_assert!(self.plan.admits(declared), "raised against its tiers");
                    if after.first_exposure.is_some() {
                        prop_assert!(
                            self.clock - self.exposed >= self.plan.delay(declared),
                            "raised before its delay"
                        );
                    }
                }
            }
            if cohort.served < old.served && !self.facts.emergency && !self.facts.deleting {
                // Of two steps without a hold between them the first may raise what the second lowers.
                prop_assert!(cohort.asked < old.asked || entries > 1, "lowered though not asked for less");
                prop_assert_eq!(cohort.served, cohort.asked, "lowered below what is asked");
                prop_assert!(edited || !paused, "lowered by the schedule while paused");
            }
        }
        let seqs: Vec<i64> = after.history.iter().map(|entry| entry.seq).collect();
        prop_assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]) && seqs.len() <= 20);
        Ok(())
    }
}

/// What the file says of a state.
pub(super) fn file(status: &FeatureRolloutStatus) -> LiveFlag {
    let position = status.position.as_ref();
    LiveFlag {
        uid: status.uid.clone().unwrap(),
        revision: status.revision,
        attempt: status.attempt,
        phase: position.map(|position| position.phase.clone()).unwrap_or_default(),
        step: position
            .map(|position| position.step.clone().unwrap_or_else(|| position.number.to_string()))
            .unwrap_or_default(),
        served: status.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.served)).collect(),
        audience: status.audience.clone().unwrap().name,
        ..LiveFlag::default()
    }
}

fn served(status: &FeatureRolloutStatus) -> Vec<(&str, Percent)> {
    status.cohorts.iter().map(|cohort| (cohort.name.as_str(), cohort.served)).collect()
}

fn place(position: &crate::api::status::Position) -> (String, i32) {
    (position.phase.clone(), position.number)
}

fn find(position: Option<&crate::api::status::Position>, plan: &Plan) -> Option<usize> {
    Mark::from(position?).find_position(plan)
}

fn live_through(spec: FeatureRolloutSpec, plan: Plan, events: &[Event]) -> Result<(), TestCaseError> {
    let mut world = World {
        spec,
        plan,
        facts: Facts::favourable(UID),
        status: FeatureRolloutStatus::default(),
        now: hours(-30),
        wake_at: None,
        clock: SignedDuration::ZERO,
        entered: SignedDuration::ZERO,
        exposed: SignedDuration::ZERO,
    };
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
                world.status = FeatureRolloutStatus::default();
                edited = true;
            }
            Event::Restore => {
                world.facts.live = Some(file(&world.status));
                world.facts.uid.push('x');
                edited = true;
            }
            Event::Edit(edit) => {
                let mut spec = world.spec.clone();
                apply(&mut spec, edit);
                let Some(plan) = plan_of(&spec) else { continue };
                world.plan = Plan { suspend: world.plan.suspend, attempt: world.plan.attempt, ..plan };
                world.spec = spec;
                edited = true;
            }
        }
        world.decide(edited)?;
        world.facts.live = None;
    }
    // Deletion freezes it, whatever comes.
    let before = served(&world.status).iter().map(|(_, percent)| *percent).collect::<Vec<_>>();
    world.facts.deleting = true;
    world.facts.emergency = false;
    world.pass(world.now + SignedDuration::from_hours(24 * 60));
    world.decide(true)?;
    let after = served(&world.status).iter().map(|(_, percent)| *percent).collect::<Vec<_>>();
    prop_assert_eq!(before, after);
    Ok(())
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn whatever_happens(random in rollout(), events in vec(event(), 1..30)) {
        live_through(random.spec, random.plan, &events)?;
    }
}
