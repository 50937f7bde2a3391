//! A Lease as it is stored, and for how long it is somebody's.

use std::time::Duration;

use super::note::Note;
use super::timing::{LONGEST_LEASE, Timing};

/// A time on this process's monotonic clock, since some beginning of its own.
pub type Local = Duration;

/// Seconds of lease that a leader leaves behind with an empty holder, and nobody else does.
pub const RELEASED: i32 = 1;

/// A Lease as it is stored. Anybody may have written anything into it. When it was renewed is not here: that is a time of
/// another machine's clock, and that it was renewed shows in the version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its version: the precondition of a write, and what tells that nobody has written since.
    pub version: String,
    /// Who holds it.
    pub holder: String,
    /// For how many seconds it belongs to its holder after that.
    pub seconds: Option<i32>,
    /// How often it has gone from one holder to another.
    pub transitions: Option<i32>,
    /// How many shards there are, which only the first Lease tells.
    pub note: Note,
}

impl Record {
    /// Whether its leader has released it. Where somebody else emptied it, the leader may not know of that yet.
    pub fn is_released(&self) -> bool {
        self.holder.is_empty() && self.seconds == Some(RELEASED)
    }

    /// For how long it promises to be its holder's; of one that says nothing sensible, nothing.
    fn promised(&self) -> Duration {
        let seconds = self.seconds.and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_LEASE)
    }
}

/// What this process has seen of the Lease last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it was; nothing where there was none.
    pub record: Option<Record>,
    /// Since when it has been so, as far as this process knows.
    since: Local,
    /// For how long it may belong to somebody who has not been heard of since.
    lasts: Duration,
}

impl Seen {
    /// What is seen now, after what was seen before.
    pub fn next(before: Option<&Seen>, record: Option<Record>, timing: &Timing, now: Local) -> Seen {
        let version = record.as_ref().map(|record| record.version.as_str());
        if let Some(before) = before.filter(|before| before.version() == version) {
            return before.clone();
        }
        if record.is_none() {
            // Its leader, if there is one, comes first.
            return Seen { record, since: now, lasts: timing.retry() };
        }
        // Whoever shortens a Lease by hand does not shorten what its leader goes by.
        let promises = [before.and_then(|before| before.record.as_ref()), record.as_ref()];
        let lasts = promises.into_iter().flatten().map(Record::promised).fold(timing.lease(), Duration::max);
        Seen { record, since: now, lasts }
    }

    /// From when on it may be taken; one that is not there, made.
    pub fn free_at(&self) -> Local {
        match &self.record {
            Some(record) if record.is_released() => self.since,
            _ => self.since.saturating_add(self.lasts),
        }
    }

    /// Its version, where there is one.
    pub fn version(&self) -> Option<&str> {
        self.record.as_ref().map(|record| record.version.as_str())
    }

    /// Whether this is its holder.
    pub fn is_held_by(&self, identity: &str) -> bool {
        self.record.as_ref().is_some_and(|record| record.holder == identity)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn record(version: u32, holder: &str, seconds: Option<i32>) -> Record {
        let (version, holder) = (version.to_string(), holder.to_owned());
        Record { version, holder, seconds, transitions: Some(0), note: Note::default() }
    }

    /// Seen at second 100 after a leader's Lease of this many seconds, which was seen at second 90.
    fn free_after(before: i32, seen: Option<Record>) -> u64 {
        let timing = Timing::default();
        let at = Duration::from_secs(100);
        let before = Seen::next(None, Some(record(1, "a", Some(before))), &timing, Duration::from_secs(90));
        let seen = Seen::next(Some(&before), seen, &timing, at);
        seen.free_at().saturating_sub(at).as_secs()
    }

    #[rstest]
    #[case::renewed(15, Some(record(2, "a", Some(15))), 15)]
    #[case::not_renewed(15, Some(record(1, "a", Some(15))), 5)]
    #[case::of_a_leader_with_longer_times(30, Some(record(2, "a", Some(30))), 30)]
    #[case::shortened_by_hand(30, Some(record(2, "a", Some(2))), 30)]
    #[case::shorter_than_ours(15, Some(record(2, "a", Some(3))), 15)]
    #[case::without_a_duration(15, Some(record(2, "a", None)), 15)]
    #[case::negative(15, Some(record(2, "a", Some(-7))), 15)]
    #[case::for_ever(15, Some(record(2, "a", Some(i32::MAX))), 300)]
    #[case::released(15, Some(record(2, "", Some(RELEASED))), 0)]
    #[case::emptied_by_hand(15, Some(record(2, "", Some(15))), 15)]
    #[case::a_held_one_of_a_second(15, Some(record(2, "a", Some(RELEASED))), 15)]
    #[case::deleted(15, None, 2)]
    fn a_lease_is_free_when_its_leader_has_said_so_or_has_surely_stopped(
        #[case] before: i32,
        #[case] seen: Option<Record>,
        #[case] expected: u64,
    ) {
        assert_eq!(free_after(before, seen), expected);
    }
}
