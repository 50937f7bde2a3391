//! How fast pods may be annotated: the API server and the kubelets have other work, in an emergency most of all.

use std::time::{Duration, Instant};

/// Annotations that may be sent at once after a rest.
const BURST: u32 = 100;
/// Time that each of them takes up: 50 a second.
const EACH: Duration = Duration::from_millis(20);

/// Gives out the moments at which pods may be annotated.
#[derive(Debug, Default)]
pub struct Pace {
    /// When everything given out so far has been paid for.
    paid: Option<Instant>,
}

impl Pace {
    /// How long the next one has to wait; it counts as sent then.
    pub fn take(&mut self, now: Instant) -> Duration {
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + EACH;
        self.paid = Some(paid);
        paid.saturating_duration_since(now).saturating_sub(EACH * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_go_at_once_and_then_fifty_a_second() {
        let mut pace = Pace::default();
        let now = crate::clock::monotonic();
        let waits: Vec<Duration> = (0..200).map(|_| pace.take(now)).collect();
        assert!(waits[..100].iter().all(Duration::is_zero));
        assert_eq!(waits[100], EACH);
        assert_eq!(waits[199], EACH * 100);
        // After a rest the burst is there again, and no more than that.
        let later = now + Duration::from_secs(3600);
        let waits: Vec<Duration> = (0..101).map(|_| pace.take(later)).collect();
        assert!(waits[..100].iter().all(Duration::is_zero));
        assert_eq!(waits[100], EACH);
    }
}
