//! When a list or a watch that failed is tried again, and from when on that is no everyday matter.

use std::time::{Duration, Instant};

use crate::error::Fault;

/// The wait after the first failure; it doubles with each.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait while nobody answers: an API server that is back must be noticed soon.
const LONGEST: Duration = Duration::from_secs(3);
/// Longest wait while the answers are no use: somebody must act first.
const LONGEST_REFUSED: Duration = Duration::from_secs(15);
/// How long what is known of a kind is taken to be so while nothing new is heard.
const UNHEARD: Duration = Duration::from_secs(30);

/// The failures of one watch in a row.
#[derive(Default)]
pub(super) struct Retry {
    failures: u32,
    since: Option<Instant>,
}

impl Retry {
    /// It works.
    pub(super) fn recovered(&mut self) {
        *self = Retry::default();
    }

    /// It failed at `now`. The wait until it is to be tried again; `chance` is from 0 to 1, so that those who failed
    /// together do not come back together.
    pub(super) fn failed(&mut self, fault: Option<&Fault>, now: Instant, chance: f64) -> Duration {
        self.since.get_or_insert(now);
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(longest(fault)).mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0);
        wait.max(fault.map_or(Duration::ZERO, Fault::asks_to_wait))
    }

    /// Whether what is known can no longer be taken to be so.
    pub(super) fn is_unheard(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= UNHEARD)
    }

    /// Whether the last failure is to be told of. A connection that ended once is an everyday matter, and so is a while of
    /// answers such as every API server gives.
    pub(super) fn is_news(&self, fault: &Fault) -> bool {
        let is_at_its_longest = FIRST.saturating_mul(1 << self.failures.min(16)) >= longest(Some(fault));
        self.failures > 1 && (is_at_its_longest || !is_ordinary(fault))
    }
}

fn longest(fault: Option<&Fault>) -> Duration {
    match fault {
        None | Some(Fault::Unreachable(_) | Fault::TimedOut | Fault::Busy(_)) => LONGEST,
        Some(_) => LONGEST_REFUSED,
    }
}

/// Whether a watch breaks so now and then where all is well: a server that is starting or has much to do asks to be asked
/// again, and a watch that is older than what the server remembers begins anew.
fn is_ordinary(fault: &Fault) -> bool {
    matches!(fault, Fault::Busy(_)) || is_expired(fault)
}

/// Whether the API server no longer remembers what came after a version.
pub(super) fn is_expired(fault: &Fault) -> bool {
    matches!(fault, Fault::Transient(error) if matches!(&**error, kube::Error::Api(status) if status.code == 410))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;
    use crate::clock;

    fn answered(code: u16) -> Fault {
        Fault::from(kube::Error::Api(Status::failure("no", "").with_code(code).boxed()))
    }

    #[test]
    fn waits_double_up_to_a_longest_and_begin_anew_after_a_success() {
        let now = clock::monotonic();
        let mut retry = Retry::default();
        let mut waits = |fault: &Fault, chance: f64| -> Vec<u128> {
            let waits = (0..9).map(|_| retry.failed(Some(fault), now, chance).as_millis()).collect();
            retry.recovered();
            waits
        };
        assert_eq!(waits(&Fault::TimedOut, 0.5), [100, 200, 400, 800, 1600, 3000, 3000, 3000, 3000]);
        assert_eq!(waits(&answered(403), 0.5), [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 15_000]);
        assert_eq!(waits(&answered(500), 0.0)[..3], [75, 150, 300]);
        assert_eq!(waits(&answered(500), 1.0)[..3], [125, 250, 500]);
        for _ in 0..1000 {
            assert!(retry.failed(None, now, 7.0) <= LONGEST.mul_f64(1.25), "and no overflow");
        }
    }

    #[test]
    fn a_server_that_says_when_to_come_again_is_left_alone_until_then() {
        let asks = |code, seconds: u32| {
            let details = StatusDetails { retry_after_seconds: seconds, ..super::super::no_details() };
            let status = Status::failure("no", "").with_code(code).with_details(details);
            let fault = Fault::from(kube::Error::Api(status.boxed()));
            Retry::default().failed(Some(&fault), clock::monotonic(), 0.5).as_millis()
        };
        assert_eq!([asks(429, 5), asks(503, 5)], [5_000, 5_000]);
        assert_eq!(asks(429, 0), 100);
        assert_eq!(asks(429, 86_400), 10_000, "for no longer than that");
        assert_eq!([asks(500, 5), asks(403, 5)], [100, 100], "another answer is no such request");
    }

    #[test]
    fn a_kind_is_no_longer_known_when_nothing_was_heard_for_a_while() {
        let start = clock::monotonic();
        let mut retry = Retry::default();
        assert!(!retry.is_unheard(start + UNHEARD * 9));
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            retry.failed(Some(&answered(500)), now, 0.5);
            assert!(!retry.is_unheard(now), "after {second} s");
        }
        assert!(retry.is_unheard(start + UNHEARD));
        retry.recovered();
        assert!(!retry.is_unheard(start + UNHEARD));
    }

    #[test]
    fn what_happens_every_day_is_told_of_only_when_it_lasts() {
        let now = clock::monotonic();
        let told = |fault: &Fault| {
            let mut retry = Retry::default();
            let tries = (1..20).find(|_| {
                retry.failed(Some(fault), now, 0.5);
                retry.is_news(fault)
            });
            tries.unwrap()
        };
        assert_eq!(told(&answered(403)), 2);
        assert_eq!(told(&answered(500)), 2);
        assert_eq!(told(&answered(429)), 5);
        assert_eq!(told(&answered(410)), 8);
    }
}
