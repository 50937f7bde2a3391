//! When a source that fails is left alone, and when it is tried again. Time comes in as a value.

use std::time::{Duration, Instant};

use crate::api::metricsource::Circuit;

/// Errors in a row after which the circuit opens.
pub(super) const THRESHOLD: u32 = 5;
/// How long it stays open at first; each failed probe doubles it.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(5);
/// How long it stays open at most.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// After this long a probe that says nothing counts as lost.
const PROBE: Duration = Duration::from_secs(15);

/// The circuit of a source, or of a part of what is asked of it.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
    /// Grows with each change of the state: an answer counts only in the state it was asked in.
    epoch: u64,
}

#[derive(Debug)]
enum State {
    Closed { errors: u32 },
    Open { until: Instant, wait: Duration },
    Probing { until: Instant, wait: Duration },
}

impl Default for State {
    fn default() -> State {
        State::Closed { errors: 0 }
    }
}

/// Permission to ask once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Breaker {
    /// A ticket, unless the source is left alone now.
    pub fn ask(&mut self, now: Instant) -> Option<Ticket> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until, wait } | State::Probing { until, wait } if now >= until => {
                self.become_(State::Probing { until: now + PROBE, wait });
            }
            State::Open { .. } | State::Probing { .. } => return None,
        }
        Some(Ticket(self.epoch))
    }

    /// Whether a ticket would be refused now.
    pub fn is_shut(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { until, .. } | State::Probing { until, .. } => now < until,
        }
    }

    /// Takes note of how it went.
    pub fn answered(&mut self, ticket: Ticket, well: bool, now: Instant) {
        self.answered_within(ticket, well, now, LONGEST_WAIT);
    }

    /// Takes note of an answer that says nothing of what the circuit is for: a probe is to be made again.
    pub fn unsure(&mut self, ticket: Ticket, now: Instant) {
        if let State::Probing { wait, .. } = self.state
            && ticket.0 == self.epoch
        {
            self.open(now, wait);
        }
    }

    /// Takes note of how it went; it stays open for `longest` at most.
    pub fn answered_within(&mut self, ticket: Ticket, well: bool, now: Instant, longest: Duration) {
        if ticket.0 != self.epoch {
            return;
        }
        match &mut self.state {
            State::Closed { errors } if well => *errors = 0,
            State::Closed { errors } => {
                *errors += 1;
                if *errors >= THRESHOLD {
                    self.open(now, FIRST_WAIT);
                }
            }
            State::Probing { .. } if well => self.become_(State::default()),
            State::Probing { wait, .. } => {
                let wait = wait.saturating_mul(2).min(longest);
                self.open(now, wait);
            }
            State::Open { .. } => {}
        }
    }

    /// What to tell people.
    pub fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::Probing { .. } => Circuit::HalfOpen,
        }
    }

    fn open(&mut self, now: Instant, wait: Duration) {
        self.become_(State::Open { until: now + wait, wait });
    }

    fn become_(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            let ticket = breaker.ask(now).unwrap();
            breaker.answered(ticket, false, now);
        }
    }

    #[test]
    fn it_opens_after_errors_in_a_row_only() {
        let (mut breaker, now) = (Breaker::default(), monotonic());
        fail(&mut breaker, THRESHOLD - 1, now);
        let ticket = breaker.ask(now).unwrap();
        breaker.answered(ticket, true, now);
        fail(&mut breaker, THRESHOLD - 1, now);
        assert_eq!(breaker.circuit(), Circuit::Closed);
        fail(&mut breaker, 1, now);
        assert_eq!(breaker.circuit(), Circuit::Open);
        assert_eq!(breaker.ask(now), None);
    }

    #[test]
    fn one_probe_closes_it_or_doubles_the_wait() {
        let (mut breaker, mut now) = (Breaker::default(), monotonic());
        fail(&mut breaker, THRESHOLD, now);
        let mut wait = FIRST_WAIT;
        for _ in 0..10 {
            assert_eq!(breaker.ask(now + wait - Duration::from_millis(1)), None);
            now += wait;
            let probe = breaker.ask(now).unwrap();
            assert_eq!(breaker.circuit(), Circuit::HalfOpen);
            assert_eq!(breaker.ask(now), None, "one at a time");
            breaker.answered(probe, false, now);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        assert_eq!(wait, LONGEST_WAIT);
        now += wait;
        let probe = breaker.ask(now).unwrap();
        breaker.answered(probe, true, now);
        assert_eq!(breaker.circuit(), Circuit::Closed);
        fail(&mut breaker, THRESHOLD - 1, now);
        assert_eq!(breaker.circuit(), Circuit::Closed, "it counts anew");
    }

    #[test]
    fn stragglers_of_another_state_do_not_count() {
        let (mut breaker, now) = (Breaker::default(), monotonic());
        let straggler = breaker.ask(now).unwrap();
        fail(&mut breaker, THRESHOLD, now);
        breaker.answered(straggler, true, now);
        assert_eq!(breaker.circuit(), Circuit::Open);
        let probe = breaker.ask(now + FIRST_WAIT).unwrap();
        breaker.answered(straggler, false, now + FIRST_WAIT);
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        breaker.answered(probe, true, now + FIRST_WAIT);
        assert_eq!(breaker.circuit(), Circuit::Closed);
    }

    #[test]
    fn a_lost_probe_is_replaced() {
        let (mut breaker, now) = (Breaker::default(), monotonic());
        fail(&mut breaker, THRESHOLD, now);
        let later = now + FIRST_WAIT;
        assert!(breaker.ask(later).is_some());
        assert!(breaker.ask(later + PROBE).is_some());
    }
}
