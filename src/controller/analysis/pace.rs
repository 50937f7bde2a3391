//! How many measurements a namespace begins in a second. Each has its query read and checked anew, as its template may be another one by
//! now, so that whoever asks for thousands a second would take the processors from all others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fair::Bucket;

/// Measurements that a namespace begins in a second: those of 1,000 rollouts with six triggers each, every 30 s.
const A_SECOND: u32 = 200;
/// From so many namespaces on those are forgotten that have begun less than that lately.
const MANY: usize = 64;

/// Whether the next measurement of each namespace may begin. A second's worth may begin at once.
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<String, Bucket>>);

impl Pace {
    /// Notes a measurement of a namespace; says how long it has to wait before it begins.
    pub fn wait(&self, namespace: &str, now: Instant) -> Duration {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        buckets.entry(namespace.to_owned()).or_insert_with(|| Bucket::new(A_SECOND, now)).take_next(now)
    }

    /// Namespaces that are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn a_seconds_worth_begins_at_once_the_rest_at_the_rate_and_others_do_not_wait() {
        let (pace, now) = (Pace::default(), monotonic());
        for _ in 0..A_SECOND {
            assert_eq!(pace.wait("busy", now), Duration::ZERO);
        }
        for nth in 1..=1000 {
            assert_eq!(pace.wait("busy", now), Duration::from_secs(1) * nth / A_SECOND);
        }
        assert_eq!(pace.wait("calm", now), Duration::ZERO);
        let later = now + Duration::from_secs(7);
        assert_eq!(pace.wait("busy", later), Duration::ZERO, "it has caught up");
    }

    #[test]
    fn of_namespaces_that_measure_little_nothing_is_kept() {
        let (pace, now) = (Pace::default(), monotonic());
        for nth in 0..1000_u64 {
            pace.wait(&format!("ns-{nth}"), now + Duration::from_millis(10 * nth));
        }
        assert!(pace.len() <= MANY, "{}", pace.len());
    }
}
