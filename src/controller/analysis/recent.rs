//! The last readings of one subject and cohort, in twelve bytes each: enough to draw their course, and little enough to keep for
//! every rollout.
//!
//! Decisions are not made from these but from the samples beside them. They go with what watches over the rollout, and are not
//! stored: another process, or another query, begins with none.

use std::collections::VecDeque;

use crate::api::measured::{Missing, Said};
use crate::api::{MicroTime, Reading};

/// Readings that are kept of each subject and cohort.
pub const MOST: usize = 120;
/// Readings that are kept of all of a rollout, shared evenly where it has more than sixteen series…
const OF_A_ROLLOUT: usize = 16 * MOST;
/// …but no fewer than these of each.
const LEAST: usize = 24;

/// How many readings are kept of each of so many series of one rollout.
pub fn most_of(series: usize) -> usize {
    (OF_A_ROLLOUT / series.max(1)).clamp(LEAST, MOST)
}

/// The last readings, oldest first.
#[derive(Debug, Default)]
pub struct Recent(VecDeque<Point>);

/// One of them. A number is never NaN, so what is missing is one of two of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    /// Seconds of Unix time.
    at: u32,
    /// The two halves of a number's bits: in one piece they would take a multiple of eight bytes.
    bits: [u32; 2],
}

/// Bytes of each.
pub const POINT: usize = size_of::<Point>();

const NO_DATA: u64 = 0x7ff8_0000_0000_0001;
const PROVIDER_ERROR: u64 = 0x7ff8_0000_0000_0002;

impl Point {
    fn new(at: MicroTime, reading: &Reading) -> Point {
        let bits = match reading {
            Reading::Value { value, .. } => value.get().to_bits(),
            Reading::NoData(_) => NO_DATA,
            Reading::Error(_) => PROVIDER_ERROR,
        };
        let (high, low) = (bits >> 32, bits & 0xffff_ffff);
        let half = |bits: u64| u32::try_from(bits).unwrap_or_default();
        let at = u32::try_from(at.as_second().max(0)).unwrap_or(u32::MAX);
        Point { at, bits: [half(high), half(low)] }
    }

    fn said(self) -> Said {
        let [high, low] = self.bits;
        match u64::from(high) << 32 | u64::from(low) {
            NO_DATA => Said::Missing(Missing::NoData),
            PROVIDER_ERROR => Said::Missing(Missing::ProviderError),
            bits => Said::Value(f64::from_bits(bits)),
        }
    }
}

impl Recent {
    /// Takes in a reading of an instant, and drops the oldest beyond so many. One of the same second takes the place of that before, and
    /// what a clock that was set back has told of later is forgotten.
    pub fn take(&mut self, at: MicroTime, reading: &Reading, most: usize) {
        let point = Point::new(at, reading);
        while self.0.back().is_some_and(|last| last.at >= point.at) {
            self.0.pop_back();
        }
        let excess = (self.0.len() + 1).saturating_sub(most.max(1));
        self.0.drain(..excess);
        self.0.push_back(point);
        // Where a rollout has got more series, each gives memory back, too.
        if self.0.capacity() > 2 * most.next_power_of_two() {
            self.0.shrink_to(most);
        }
    }

    /// When the readings were taken, in seconds of Unix time, and what they said.
    pub fn told(&self) -> (Vec<u32>, Vec<Said>) {
        self.0.iter().map(|point| (point.at, point.said())).unzip()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes that it takes beside itself.
    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Point>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> MicroTime {
        MicroTime::from_second(seconds).unwrap()
    }

    proptest! {
        #[test]
        fn every_finite_number_comes_back_as_it_was(value in any::<f64>(), second in 0..4_000_000_000_i64) {
            let mut recent = Recent::default();
            recent.take(at(second), &Reading::of(value, None), MOST);
            let said = if value.is_finite() { Said::Value(value) } else { Said::Missing(Missing::NoData) };
            prop_assert_eq!(recent.told(), (vec![u32::try_from(second).unwrap()], vec![said]));
        }
    }

    #[test]
    fn the_last_are_kept_in_twelve_bytes_each_and_what_is_missing_stays_missing() {
        let mut recent = Recent::default();
        for i in 0..1_000_i64 {
            let reading = match i % 3 {
                0 => Reading::of(i as f64, None),
                1 => Reading::NoData("no series".to_owned()),
                _ => Reading::Error("no answer".to_owned()),
            };
            recent.take(at(30 * i), &reading, MOST);
        }
        let (times, said) = recent.told();
        assert_eq!((times.len(), times[0], times[MOST - 1]), (MOST, 30 * 880, 30 * 999));
        assert_eq!(said[MOST - 1], Said::Value(999.0));
        assert_eq!(said[0], Said::Missing(Missing::NoData));
        assert_eq!(said[1], Said::Missing(Missing::ProviderError));
        assert!(recent.heap_bytes() <= 128 * 12, "{}", recent.heap_bytes());
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_nothing_that_comes_later() {
        let mut recent = Recent::default();
        for second in [10, 20, 30, 20, 25] {
            recent.take(at(second), &Reading::of(second as f64, None), MOST);
        }
        assert_eq!(recent.told().0, [10, 20, 25]);
    }

    #[test]
    fn a_rollout_with_many_series_keeps_less_of_each() {
        assert_eq!([1, 2, 16, 32, 80, 1_000].map(most_of), [120, 120, 120, 60, 24, 24]);
        let mut recent = Recent::default();
        for i in 0..500 {
            recent.take(at(i), &Reading::of(1.0, None), MOST);
        }
        recent.take(at(500), &Reading::of(1.0, None), LEAST);
        assert_eq!(recent.told().0.len(), LEAST);
        assert!(recent.heap_bytes() <= 64 * 12, "{}", recent.heap_bytes());
    }
}
