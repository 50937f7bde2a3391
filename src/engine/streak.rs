//! Time in breach, and time of quiet after it: one value against every level of its trigger.

use jiff::SignedDuration;

use crate::api::trigger::LevelAction;
use crate::api::verdict::{LevelStatus, Streak};
use crate::api::{Finite, MicroTime};
use crate::plan::guard::{Level, Trigger};

/// Intervals that consecutive samples may be apart for the time between them to count.
const MOST_INTERVALS_APART: i32 = 3;

/// What waits for levels to be quiet.
#[derive(Clone, Copy)]
pub(super) struct Waits {
    pub paused: bool,
    pub rolled_back: bool,
}

impl Waits {
    /// Whether a level that has acted is remembered.
    pub fn remember(self, level: &Level) -> bool {
        self.on(level).0
    }

    /// Whether a level that has acted is remembered, and up to what its quiet time is counted.
    fn on(self, level: &Level) -> (bool, Option<SignedDuration>) {
        match level.action {
            LevelAction::Notify => (false, None),
            LevelAction::Pause => (self.paused, level.resume_after.filter(|_| self.paused)),
            LevelAction::PartialRollback | LevelAction::GradualRollback | LevelAction::ImmediateRollback => {
                (self.rolled_back, self.rolled_back.then_some(level.for_))
            }
        }
    }
}

/// When a value was measured.
#[derive(Clone, Copy)]
pub(super) struct When {
    /// The time it speaks of.
    pub at: MicroTime,
    /// When it was due, which is earlier where Sluice itself was late.
    pub due: MicroTime,
    /// How often there is one.
    pub interval: SignedDuration,
}

/// One value against every level of its trigger.
pub(super) fn fold_levels(
    states: &mut Vec<LevelStatus>,
    trigger: &Trigger,
    value: Finite,
    when: When,
    waits: Waits,
) {
    let When { at, due, interval } = when;
    for level in &trigger.levels {
        let known = states.iter().position(|state| state.rule == level.rule);
        let mut state = known.and_then(|i| states.get(i).cloned()).unwrap_or_else(|| LevelStatus {
            rule: level.rule.clone(),
            acted_at: None,
            breach: None,
            quiet: None,
        });
        let counted = [state.breach, state.quiet].into_iter().flatten().map(|streak| streak.last).max();
        if counted.is_some_and(|counted| at <= counted) {
            continue;
        }
        let keep = if level.bound.holds(value) {
            state.quiet = None;
            // Once its time has come, more makes no difference, and would be a write at each check.
            if !is_over(state.breach, level.for_) {
                // Nobody looked in between, by no fault of the data: a breach on both sides was one all the time.
                state.breach = Some(longer(state.breach, at, due, interval));
            }
            true
        } else {
            state.breach = None;
            let (keep, wanted) = waits.on(level);
            if wanted.is_some_and(|time| !is_over(state.quiet, time)) {
                // Unmeasured is never success, whoever was late.
                state.quiet = Some(longer(state.quiet, at, at, interval));
            }
            keep && state.acted_at.is_some()
        };
        match (known, keep) {
            (Some(i), true) => {
                if let Some(slot) = states.get_mut(i) {
                    *slot = state;
                }
            }
            (Some(i), false) => drop(states.remove(i)),
            (None, true) => states.push(state),
            (None, false) => {}
        }
    }
}

/// A streak with one more sample: the time since the last one counts where there was no gap between them but one that
/// began when the sample was due.
fn longer(streak: Option<Streak>, at: MicroTime, due: MicroTime, interval: SignedDuration) -> Streak {
    let Some(streak) = streak else { return Streak { milliseconds: 0, last: at, samples: 1 } };
    let gap = due.min(at).duration_since(streak.last);
    let counts = gap <= interval.saturating_mul(MOST_INTERVALS_APART);
    let apart = at.duration_since(streak.last);
    let more = if counts { i64::try_from(apart.as_millis()).unwrap_or(0) } else { 0 };
    Streak { milliseconds: streak.milliseconds.saturating_add(more), last: at, samples: 2 }
}

/// Whether a streak has lasted for a time, with at least two samples; with no time at all one is enough.
pub(super) fn is_over(streak: Option<Streak>, time: SignedDuration) -> bool {
    streak.is_some_and(|streak| {
        time <= SignedDuration::ZERO
            || (streak.samples >= 2 && SignedDuration::from_millis(streak.milliseconds) >= time)
    })
}
