//! The gate that ordinary work passes: shut while actions are under way, so that a burst of steps delays none.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

/// How long the gate may be shut at a stretch: actions that never end must not starve the schedule.
const MOST: Duration = Duration::from_millis(400);
/// Of the time that nobody is inside this part may be spent shut again, so that the gate is shut for at most half a
/// second in any two.
const REGAINED: u32 = 8;

/// Shut while somebody is inside, for as long as may be.
pub struct Gate {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    inside: usize,
    /// How long it may yet be shut, as of `at`.
    left: Duration,
    at: Instant,
}

impl State {
    fn left(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at);
        match self.inside {
            0 => self.left.saturating_add(passed / REGAINED).min(MOST),
            _ => self.left.saturating_sub(passed),
        }
    }

    fn change(&mut self, now: Instant, inside: usize) {
        *self = State { inside, left: self.left(now), at: now };
    }
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { state: watch::Sender::new(State { inside: 0, left: MOST, at: clock::monotonic() }) }
    }
}

/// Keeps the gate shut until it is dropped.
pub struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.change(clock::monotonic(), state.inside.saturating_sub(1)));
    }
}

impl Gate {
    /// Shuts the gate.
    pub fn enter(&self) -> Inside<'_> {
        self.state.send_modify(|state| state.change(clock::monotonic(), state.inside + 1));
        Inside(self)
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        let mut state = self.state.subscribe();
        let left = state.borrow().left(clock::monotonic());
        let open = async {
            // The sender lives as long as the gate.
            let _open = state.wait_for(|state| state.inside == 0).await;
        };
        // Whoever has waited long enough goes on all the same.
        let _late = tokio::time::timeout(left, open).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ordinary_work_waits_for_actions_but_not_for_ever() {
        let gate = Gate::default();
        assert!(gate.pass().now_or_never().is_some());
        let (one, other) = (gate.enter(), gate.enter());
        let mut waits = std::pin::pin!(gate.pass());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(one);
        assert!(waits.as_mut().now_or_never().is_none(), "one is still inside");
        drop(other);
        assert!(waits.as_mut().now_or_never().is_some());

        let _inside = gate.enter();
        gate.pass().await;
    }

    #[test]
    fn a_steady_stream_of_actions_shuts_the_gate_for_half_a_second_in_any_two() {
        let begun = clock::monotonic();
        let mut state = State { inside: 0, left: MOST, at: begun };
        let mut shut: Vec<bool> = Vec::new();
        // For ten seconds this many of 10 ms are spent on an action.
        for spent in [9, 5, 3] {
            let begun = begun + Duration::from_secs(20 * spent);
            shut.clear();
            for ms in 0..10_000 {
                let now = begun + Duration::from_millis(ms);
                state.change(now, usize::from(ms % 10 < spent));
                shut.push(state.inside > 0 && !state.left.is_zero());
            }
            let most = shut.windows(2000).map(|window| window.iter().filter(|shut| **shut).count()).max();
            assert!(most.unwrap() <= 500, "{most:?} ms at {spent}");
            assert!(shut.iter().skip(5000).any(|shut| *shut), "it is shut again and again");
        }
    }
}
