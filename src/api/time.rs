//! Instants as the objects hold them.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant to the microsecond, as Kubernetes' MicroTime holds it.
///
/// It is the only type of instants in this program, so that all of them have one precision: what is finer is cut off
/// where an instant comes in, from a clock, a file or the command line. An instant that came back from a status equals
/// the one that was decided with, and a start is never some nanoseconds later than the time that it was taken from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroTime(Timestamp);

impl MicroTime {
    /// The earliest instant.
    pub const MIN: MicroTime = MicroTime(Timestamp::MIN);
    /// The latest instant.
    pub const MAX: MicroTime = MicroTime(Timestamp::constant(253_402_207_200, 999_999_000));
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: MicroTime = MicroTime(Timestamp::UNIX_EPOCH);

    /// An instant by the seconds since 1970.
    ///
    /// # Errors
    /// Where it is outside of the years −9999 to 9999.
    pub fn from_second(seconds: i64) -> Result<MicroTime, jiff::Error> {
        Timestamp::from_second(seconds).map(MicroTime)
    }

    /// An instant by the milliseconds since 1970.
    ///
    /// # Errors
    /// Where it is outside of the years −9999 to 9999.
    pub fn from_millisecond(milliseconds: i64) -> Result<MicroTime, jiff::Error> {
        Timestamp::from_millisecond(milliseconds).map(MicroTime)
    }

    /// Whole seconds since 1970.
    pub fn as_second(self) -> i64 {
        self.0.as_second()
    }

    /// Whole milliseconds since 1970.
    pub fn as_millisecond(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Microseconds since 1970.
    pub fn as_microsecond(self) -> i64 {
        self.0.as_microsecond()
    }

    /// The instant so much later; the latest one where that is beyond it.
    pub fn saturating_add(self, length: SignedDuration) -> MicroTime {
        let bound = if length.is_negative() { MicroTime::MIN } else { MicroTime::MAX };
        self.0.checked_add(length).map_or(bound, MicroTime::from)
    }

    /// The instant so much earlier; the earliest one where that is beyond it.
    pub fn saturating_sub(self, length: SignedDuration) -> MicroTime {
        let bound = if length.is_negative() { MicroTime::MAX } else { MicroTime::MIN };
        self.0.checked_sub(length).map_or(bound, MicroTime::from)
    }

    /// How much later this instant is than an earlier one; negative where it is the earlier of the two.
    pub fn duration_since(self, earlier: MicroTime) -> SignedDuration {
        self.0.duration_since(earlier.0)
    }

    /// The local date and time of a zone.
    pub fn to_zoned(self, zone: TimeZone) -> Zoned {
        self.0.to_zoned(zone)
    }
}

/// Saturating, as [`MicroTime::saturating_add`] is.
impl Add<SignedDuration> for MicroTime {
    type Output = MicroTime;

    fn add(self, length: SignedDuration) -> MicroTime {
        self.saturating_add(length)
    }
}

/// Saturating, as [`MicroTime::saturating_sub`] is.
impl Sub<SignedDuration> for MicroTime {
    type Output = MicroTime;

    fn sub(self, length: SignedDuration) -> MicroTime {
        self.saturating_sub(length)
    }
}

impl From<Timestamp> for MicroTime {
    /// Cuts off what is finer than a microsecond: the result is never later.
    fn from(timestamp: Timestamp) -> MicroTime {
        let finer = i64::from(timestamp.subsec_nanosecond()).rem_euclid(1000);
        let cut = timestamp.checked_sub(SignedDuration::from_nanos(finer));
        // The earliest instant is a whole second, so that there is always one to cut to.
        cut.map_or(MicroTime::MIN, MicroTime)
    }
}

impl From<MicroTime> for Timestamp {
    fn from(time: MicroTime) -> Timestamp {
        time.0
    }
}

impl FromStr for MicroTime {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<MicroTime, jiff::Error> {
        text.parse::<Timestamp>().map(MicroTime::from)
    }
}

impl Default for MicroTime {
    fn default() -> MicroTime {
        MicroTime::UNIX_EPOCH
    }
}

/// RFC 3339 in UTC, with as many decimals as it takes or as the format asks for.
impl fmt::Display for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

impl<'de> Deserialize<'de> for MicroTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MicroTime, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            de::Error::custom(format!("{text:?} is no instant: write one such as 2025-09-08T09:00:00Z"))
        })
    }
}

impl JsonSchema for MicroTime {
    fn schema_name() -> Cow<'static, str> {
        "MicroTime".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any instant that a clock, a file or a person may give, to the nanosecond.
    fn instants() -> impl Strategy<Value = Timestamp> {
        let seconds = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
        (seconds, 0..1_000_000_000i32)
            .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap_or(Timestamp::MAX))
    }

    proptest! {
        #[test]
        fn nothing_finer_than_a_microsecond_comes_in(given in instants()) {
            let time = MicroTime::from(given);
            let lost = given.duration_since(Timestamp::from(time));
            prop_assert!(lost >= SignedDuration::ZERO && lost < SignedDuration::from_micros(1), "{given}: {time}");
            prop_assert_eq!(MicroTime::from(Timestamp::from(time)), time);
            prop_assert_eq!(given.to_string().parse::<MicroTime>().unwrap(), time);
            let written = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<MicroTime>(&written).unwrap(), time);
        }

        #[test]
        fn lengths_with_nanoseconds_lead_to_whole_microseconds(
            given in instants(), seconds in any::<i64>(), nanosecond in 0..1_000_000_000i32
        ) {
            let time = MicroTime::from(given);
            for moved in [
                time + SignedDuration::new(seconds, nanosecond),
                time - SignedDuration::new(seconds, nanosecond),
            ] {
                prop_assert_eq!(MicroTime::from(Timestamp::from(moved)), moved);
            }
        }
    }

    #[test]
    fn the_bounds_are_bounds() {
        assert_eq!(MicroTime::from(Timestamp::MAX), MicroTime::MAX);
        assert_eq!(MicroTime::from(Timestamp::MIN), MicroTime::MIN);
        assert_eq!(MicroTime::MAX + SignedDuration::MAX, MicroTime::MAX);
        assert_eq!(MicroTime::MIN - SignedDuration::MAX, MicroTime::MIN);
        assert_eq!(MicroTime::MAX - SignedDuration::MIN, MicroTime::MAX);
    }

    #[test]
    fn people_read_as_many_decimals_as_it_takes_and_kubernetes_always_six() {
        let time: MicroTime = "2025-09-08T11:00:00.250000999+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2025-09-08T09:00:00.25Z");
        assert_eq!(format!("{time:.0}"), "2025-09-08T09:00:00Z");
        assert_eq!(serde_json::to_value(time).unwrap(), "2025-09-08T09:00:00.250000Z");
    }
}
