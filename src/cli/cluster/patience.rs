//! How a loop that reads from a cluster bears that the cluster is away: growing pauses, one line, and an end.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// What a loop knows of its failures in a row.
#[derive(Debug)]
pub struct Patience {
    longest: Duration,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    pause: Duration,
}

/// What to do after a failure: wait, and say so where it is the first one in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How long to wait.
    pub length: Duration,
    /// Whether nothing has been said of it yet.
    pub first: bool,
}

impl Patience {
    /// Gives up after failures for this long.
    pub fn new(longest: Duration) -> Patience {
        Patience { longest, failing: None }
    }

    /// Notes a failure; `None` when it is time to give up. No pause reaches beyond that time.
    pub fn failed(&mut self, now: Instant) -> Option<Pause> {
        let first = self.failing.is_none();
        let failing = self.failing.get_or_insert(Failing { since: now, pause: FIRST });
        let left = self.longest.saturating_sub(now.saturating_duration_since(failing.since));
        if left.is_zero() {
            return None;
        }
        let length = failing.pause.min(left);
        failing.pause = (failing.pause * 2).min(LONGEST);
        Some(Pause { length, first })
    }

    /// Notes that the cluster answers; whether it did not before.
    pub fn worked(&mut self) -> bool {
        self.failing.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that has gone away was asked again at once, millions of times, with a line each.
    #[test]
    fn a_server_that_is_away_is_asked_a_few_times_and_given_up() {
        let mut patience = Patience::new(Duration::from_secs(60));
        let begin = crate::clock::monotonic();
        let (mut now, mut lines, mut tries) = (begin, 0, 0);
        while let Some(pause) = patience.failed(now) {
            lines += usize::from(pause.first);
            tries += 1;
            now += pause.length;
        }
        assert_eq!((lines, now - begin), (1, Duration::from_secs(60)));
        assert!(tries < 15, "{tries}");
    }

    #[test]
    fn an_answer_begins_it_anew() {
        let mut patience = Patience::new(Duration::from_secs(1));
        let now = crate::clock::monotonic();
        assert!(!patience.worked());
        let first = patience.failed(now).unwrap();
        assert!(patience.failed(now).unwrap().length > first.length);
        assert!(patience.worked());
        assert_eq!(patience.failed(now + Duration::from_secs(9)), Some(first));
    }

    #[test]
    fn no_time_is_no_patience() {
        assert_eq!(Patience::new(Duration::ZERO).failed(crate::clock::monotonic()), None);
    }
}
