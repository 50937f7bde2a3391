//! How many a second are let in. Time comes in as a value.

use std::time::{Duration, Instant};

/// A token bucket that holds one second's worth of tokens.
#[derive(Debug)]
pub struct Bucket {
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

    /// When there is a token: now, or later.
    pub fn ready_at(&self, now: Instant) -> Instant {
        let after = self.full_at.max(now) + self.each;
        now + after.saturating_duration_since(now).saturating_sub(Duration::from_secs(1))
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_ready = self.ready_at(now) <= now;
        if is_ready {
            self.take_next(now);
        }
        is_ready
    }

    /// Takes the next token, be it there now or later; says how long that is from now.
    pub fn take_next(&mut self, now: Instant) -> Duration {
        let ready_at = self.ready_at(now);
        self.full_at = self.full_at.max(now) + self.each;
        ready_at.saturating_duration_since(now)
    }

    /// Whether it holds all the tokens that it can.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn one_seconds_worth_comes_at_once_and_the_rest_at_the_rate() {
        let mut now = monotonic();
        let mut bucket = Bucket::new(10, now);
        assert!((0..10).all(|_| bucket.take(now)));
        for _ in 0..3 {
            assert!(!bucket.take(now));
            assert_eq!(bucket.ready_at(now), now + Duration::from_millis(100));
            now += Duration::from_millis(100);
            assert!(bucket.take(now));
        }
        now += Duration::from_secs(60);
        assert!((0..10).all(|_| bucket.take(now)));
        assert!(!bucket.take(now), "a quiet minute saves up one second only");
    }
}
