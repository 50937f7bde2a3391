//! Holding ordinary work and lists back while actions are under way, so that a burst of steps delays none.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

/// How long work may be held back at a stretch: actions that never end must not starve the schedule.
const MOST: Duration = Duration::from_millis(400);
/// Of the time that nobody holds it back this part may be spent holding it back again, so that this is at most half a
/// second in any two.
const REGAINED: u32 = 16;

/// Holds back while somebody asks for that, for as long as may be.
pub struct Hold {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    holders: usize,
    /// How long it may yet hold back, as of `at`.
    left: Duration,
    at: Instant,
}

impl State {
    fn left(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at);
        match self.holders {
            0 => self.left.saturating_add(passed / REGAINED).min(MOST),
            _ => self.left.saturating_sub(passed),
        }
    }

    fn change(&mut self, now: Instant, holders: usize) {
        *self = State { holders, left: self.left(now), at: now };
    }
}

impl Default for Hold {
    fn default() -> Hold {
        Hold { state: watch::Sender::new(State { holders: 0, left: MOST, at: clock::monotonic() }) }
    }
}

/// Holds work back until it is dropped.
pub struct Held<'a>(&'a Hold);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.change(clock::monotonic(), state.holders.saturating_sub(1)));
    }
}

impl Hold {
    /// Holds work back.
    pub fn hold(&self) -> Held<'_> {
        self.state.send_modify(|state| state.change(clock::monotonic(), state.holders + 1));
        Held(self)
    }

    /// Waits until nobody holds work back.
    pub async fn until_free(&self) {
        let mut state = self.state.subscribe();
        let left = state.borrow().left(clock::monotonic());
        let free = async {
            // The sender lives as long as this.
            let _free = state.wait_for(|state| state.holders == 0).await;
        };
        // Whoever has waited long enough goes on all the same.
        let _late = tokio::time::timeout(left, free).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ordinary_work_waits_for_actions_but_not_for_ever() {
        let hold = Hold::default();
        assert!(hold.until_free().now_or_never().is_some());
        let (one, other) = (hold.hold(), hold.hold());
        let mut waits = std::pin::pin!(hold.until_free());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(one);
        assert!(waits.as_mut().now_or_never().is_none(), "one still holds it back");
        drop(other);
        assert!(waits.as_mut().now_or_never().is_some());

        let _held = hold.hold();
        hold.until_free().await;
    }

    #[test]
    fn a_steady_stream_of_actions_holds_work_back_for_half_a_second_in_any_two() {
        let begun = clock::monotonic();
        let mut state = State { holders: 0, left: MOST, at: begun };
        // For ten seconds this many of 10 ms are spent on actions.
        for spent in [3, 5, 9] {
            let begun = begun + Duration::from_secs(20 * spent);
            let mut shut: Vec<Duration> = Vec::new();
            for ms in 0..10_000 {
                let now = begun + Duration::from_millis(ms);
                state.change(now, usize::from(ms % 10 < spent));
                shut.push(if state.holders > 0 {
                    state.left.min(Duration::from_millis(1))
                } else {
                    Duration::ZERO
                });
            }
            let most: Option<Duration> = shut.windows(2000).map(|window| window.iter().sum()).max();
            assert!(most.unwrap() <= Duration::from_millis(500), "{most:?} at {spent}");
            assert!(shut.iter().skip(5000).any(|shut| !shut.is_zero()), "work is held back again and again");
        }
    }
}
