//! How long a lead lasts, and how often it is renewed.

use std::time::Duration;

/// Longest lease: for so long a leader that was killed is waited for at most, whatever is written into its Lease.
pub const LONGEST_LEASE: Duration = Duration::from_secs(300);
/// Shortest lease. A lease of one second is how a leader says that it has released it.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);

/// How long a lead lasts, and how often it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    lease: Duration,
    renew: Duration,
    retry: Duration,
}

/// Times that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// The lease is no number of seconds that a Lease can have.
    #[error("the lease duration is a whole number of seconds from 2 to 300")]
    Lease,
    /// A leader would still lead when others may begin to.
    #[error("the renew deadline is shorter than the lease duration by a tenth of it at least")]
    Renew,
    /// A leader would not come to renew its lead.
    #[error("the retry period is more than 0 and at most a third of the renew deadline")]
    Retry,
}

impl Default for Timing {
    fn default() -> Timing {
        let [lease, renew, retry] = [15, 10, 2].map(Duration::from_secs);
        Timing { lease, renew, retry }
    }
}

impl Timing {
    /// Checks that the times fit each other.
    ///
    /// # Errors
    /// When they do not.
    pub fn new(lease: Duration, renew: Duration, retry: Duration) -> Result<Timing, TimingError> {
        if lease.subsec_nanos() != 0 || lease < SHORTEST_LEASE || lease > LONGEST_LEASE {
            return Err(TimingError::Lease);
        }
        // What is between the two is for clocks of different speeds, and for writes that are on their way.
        if renew.is_zero() || renew > lease.saturating_sub(lease / 10) {
            return Err(TimingError::Renew);
        }
        if retry.is_zero() || retry > renew / 3 {
            return Err(TimingError::Retry);
        }
        Ok(Timing { lease, renew, retry })
    }

    /// For how long a Lease that does not change belongs to whoever is named in it.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// For how long the leader leads after the beginning of its last renewal.
    pub fn renew(&self) -> Duration {
        self.renew
    }

    /// From one renewal, or one look at the Lease, to the next.
    pub fn retry(&self) -> Duration {
        self.retry
    }

    /// Longest time that one call may take: after one that is never answered there is time for another.
    pub fn call(&self) -> Duration {
        self.renew / 2
    }

    /// The lease in the Lease's own unit.
    pub fn seconds(&self) -> i32 {
        i32::try_from(self.lease.as_secs()).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_defaults(15_000, 10_000, 2_000, Ok(()))]
    #[case::the_shortest(2_000, 1_800, 600, Ok(()))]
    #[case::a_release(1_000, 600, 100, Err(TimingError::Lease))]
    #[case::no_whole_seconds(2_500, 1_000, 100, Err(TimingError::Lease))]
    #[case::for_ever(301_000, 1_000, 100, Err(TimingError::Lease))]
    #[case::as_long_as_the_lease(15_000, 15_000, 2_000, Err(TimingError::Renew))]
    #[case::no_room_for_clocks(15_000, 13_501, 2_000, Err(TimingError::Renew))]
    #[case::no_renewal_in_time(15_000, 10_000, 3_334, Err(TimingError::Retry))]
    #[case::without_a_pause(15_000, 10_000, 0, Err(TimingError::Retry))]
    #[case::nothing(0, 0, 0, Err(TimingError::Lease))]
    fn times_that_do_not_fit_are_refused(
        #[case] lease: u64,
        #[case] renew: u64,
        #[case] retry: u64,
        #[case] expected: Result<(), TimingError>,
    ) {
        let [lease, renew, retry] = [lease, renew, retry].map(Duration::from_millis);
        assert_eq!(Timing::new(lease, renew, retry).map(drop), expected);
    }

    #[test]
    fn the_defaults_fit() {
        let timing = Timing::default();
        assert_eq!(Timing::new(timing.lease, timing.renew, timing.retry), Ok(timing));
    }
}
