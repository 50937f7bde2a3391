//! How many queries a second a source gets. Time comes in as a value.

use std::time::{Duration, Instant};

/// A token bucket that holds one second's worth of tokens.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Time that one token takes.
    each: Duration,
    /// When the bucket will be full again.
    full_at: Instant,
}

impl Bucket {
    /// A full bucket with that many tokens a second, at least one.
    pub fn new(per_second: u32, now: Instant) -> Bucket {
        Bucket { each: Duration::from_secs(1) / per_second.max(1), full_at: now }
    }

    /// Takes a token and says how long to wait before using it; none when that is longer than `longest`.
    pub fn take(&mut self, now: Instant, longest: Duration) -> Option<Duration> {
        let after = self.full_at.max(now) + self.each;
        let wait = after.saturating_duration_since(now).saturating_sub(Duration::from_secs(1));
        if wait > longest {
            return None;
        }
        self.full_at = after;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn one_seconds_worth_comes_at_once_and_the_rest_at_the_rate() {
        let now = monotonic();
        let mut bucket = Bucket::new(10, now);
        let longest = Duration::from_millis(250);
        let waits: Vec<_> = (0..14).map(|_| bucket.take(now, longest).map(|wait| wait.as_millis())).collect();
        let mut expected = vec![Some(0); 10];
        expected.extend([Some(100), Some(200), None, None]);
        assert_eq!(waits, expected);
        assert_eq!(bucket.take(now + Duration::from_millis(200), longest), Some(Duration::from_millis(100)));
        let later = now + Duration::from_secs(60);
        assert!((0..10).all(|_| bucket.take(later, Duration::ZERO) == Some(Duration::ZERO)));
        assert_eq!(bucket.take(later, Duration::ZERO), None, "a quiet minute saves up one second only");
    }
}
