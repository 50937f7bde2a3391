//! The gate that ordinary work and lists pass: shut while actions are under way, so that a burst of steps delays none.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

/// How long the gate may be shut at a stretch: actions that never end must not starve the schedule.
const MOST: Duration = Duration::from_millis(400);
/// Of the time that nobody is inside this part may be spent shut again, so that the gate is shut for at most half a
/// second in any two.
const REGAINED: u32 = 16;

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
        // For ten seconds this many of 10 ms are spent on actions.
        for spent in [3, 5, 9] {
            let begun = begun + Duration::from_secs(20 * spent);
            let mut shut: Vec<Duration> = Vec::new();
            for ms in 0..10_000 {
                let now = begun + Duration::from_millis(ms);
                state.change(now, usize::from(ms % 10 < spent));
                shut.push(if state.inside > 0 {
                    state.left.min(Duration::from_millis(1))
                } else {
                    Duration::ZERO
                });
            }
            let most: Option<Duration> = shut.windows(2000).map(|window| window.iter().sum()).max();
            assert!(most.unwrap() <= Duration::from_millis(500), "{most:?} at {spent}");
            assert!(shut.iter().skip(5000).any(|shut| !shut.is_zero()), "it is shut again and again");
        }
    }
}
