//! The one place that reads the time and waits for it.
//!
//! Two kinds of time are told apart by their types. A `Timestamp` is a time of the schedule: a [`Clock`] shows it, and under
//! `dev --speed` it runs faster than real time. An `Instant` or a `std::time::Duration` is real time of this process: how long a call, a
//! write or a wait takes. Nothing that a machine takes time for is measured on a schedule's clock.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::api::MicroTime;

/// Longest single wait: after it the wall clock is read again, so that a clock that was set is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The same for a clock that is moved: whoever waits by it notices soon.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Tells the time: the system's, or one that runs faster for trying schedules out.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    System,
    Accelerated { origin: MicroTime, started: Instant, speed: u32 },
    Moved(Arc<AtomicI64>),
}

/// Moves a clock ahead.
#[derive(Clone, Debug)]
pub struct Mover(Arc<AtomicI64>);

impl Mover {
    /// Moves the clock ahead to this instant; back it never goes.
    pub fn move_to(&self, at: MicroTime) {
        let ahead = at.duration_since(real_now()).as_micros();
        self.0.fetch_max(i64::try_from(ahead).unwrap_or(i64::MAX), Ordering::AcqRel);
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(Arc::new(Kind::System))
    }

    /// A clock that shows `origin` now and runs `speed` times as fast as real time.
    pub fn accelerated(origin: MicroTime, speed: u32) -> Clock {
        Clock(Arc::new(Kind::Accelerated { origin, started: Instant::now(), speed: speed.max(1) }))
    }

    /// A clock that shows `origin` now, runs as fast as real time and can be moved ahead: a test tells the history of months
    /// by it, and waits at each point for as long as its machine takes.
    pub fn moved_by_hand(origin: MicroTime) -> (Clock, Mover) {
        let ahead = Arc::new(AtomicI64::new(i64::MIN));
        let mover = Mover(ahead.clone());
        mover.move_to(origin);
        (Clock(Arc::new(Kind::Moved(ahead))), mover)
    }

    /// What the clock shows now.
    pub fn now(&self) -> MicroTime {
        match &*self.0 {
            Kind::System => real_now(),
            Kind::Accelerated { origin, started, speed } => {
                let elapsed = started.elapsed().saturating_mul(*speed);
                SignedDuration::try_from(elapsed)
                    .map_or(MicroTime::MAX, |elapsed| origin.saturating_add(elapsed))
            }
            Kind::Moved(ahead) => {
                real_now().saturating_add(SignedDuration::from_micros(ahead.load(Ordering::Acquire)))
            }
        }
    }

    /// What this clock showed at an instant that another program stamped.
    pub fn of_real(&self, stamp: MicroTime) -> MicroTime {
        match &*self.0 {
            Kind::System => stamp,
            Kind::Accelerated { .. } | Kind::Moved(_) => {
                let age = real_now().duration_since(stamp);
                let age = i32::try_from(self.speed()).ok().and_then(|speed| age.checked_mul(speed));
                self.now().saturating_sub(age.unwrap_or(SignedDuration::MAX))
            }
        }
    }

    /// How many times as fast as real time it runs.
    pub fn speed(&self) -> u32 {
        match &*self.0 {
            Kind::System | Kind::Moved(_) => 1,
            Kind::Accelerated { speed, .. } => *speed,
        }
    }

    /// Whether this clock shows the real time.
    pub fn is_real(&self) -> bool {
        matches!(&*self.0, Kind::System)
    }

    /// How long a length of this clock's time takes in real time.
    pub fn in_real_time(&self, length: SignedDuration) -> SignedDuration {
        match &*self.0 {
            Kind::System | Kind::Moved(_) => length,
            Kind::Accelerated { speed, .. } => {
                let speed = i32::try_from(*speed).unwrap_or(i32::MAX);
                length.checked_div(speed).unwrap_or(length)
            }
        }
    }

    /// What the clock will show after a length of real time.
    pub fn after(&self, real: Duration) -> MicroTime {
        let length = match &*self.0 {
            Kind::System | Kind::Moved(_) => real,
            Kind::Accelerated { speed, .. } => real.saturating_mul(*speed),
        };
        SignedDuration::try_from(length).map_or(MicroTime::MAX, |length| self.now().saturating_add(length))
    }

    /// Waits until the clock shows at least `at`, or for a while: look at the clock again afterwards.
    pub async fn wait_towards(&self, at: MicroTime) {
        tokio::time::sleep(self.real_until(at).min(LONGEST_WAIT)).await;
    }

    /// Real time until the clock shows `at`, or until it is worth looking again; zero when it already does.
    pub fn real_until(&self, at: MicroTime) -> Duration {
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        match &*self.0 {
            Kind::System => left,
            Kind::Accelerated { speed, .. } => left / *speed,
            Kind::Moved(_) => left.min(LOOK_AGAIN),
        }
    }
}

/// Waits for a length of real time.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A point in real time that only moves forward, for measuring.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Processor time that this thread has taken so far: what it waits for, or is kept from, does not count. Nothing where the system
/// cannot tell.
pub fn processor_time() -> Duration {
    nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

/// How much of `spacing` is left since the `last` time that something was done; where nothing is, notes that it is done now.
pub fn spaced(last: &mut Option<Instant>, spacing: Duration) -> Option<Duration> {
    let left = last.and_then(|last| spacing.checked_sub(last.elapsed())).filter(|left| !left.is_zero());
    if left.is_none() {
        *last = Some(monotonic());
    }
    left
}

/// Tells a time that only moves forward.
#[derive(Clone)]
pub struct Monotonic(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Monotonic {
    /// The time that a function tells.
    pub fn of(now: impl Fn() -> Instant + Send + Sync + 'static) -> Monotonic {
        Monotonic(Arc::new(now))
    }

    /// What it tells now.
    pub fn now(&self) -> Instant {
        (self.0)()
    }
}

impl Default for Monotonic {
    fn default() -> Monotonic {
        Monotonic::of(monotonic)
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monotonic")
    }
}

/// The real time, for stamps that other programs compare with their own clocks.
pub fn real_now() -> MicroTime {
    Timestamp::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_moved_goes_ahead_and_never_back() {
        let at = |text: &str| text.parse::<MicroTime>().unwrap();
        let (clock, mover) = Clock::moved_by_hand(at("2025-09-08T16:00:00Z"));
        let shown = |from: &str| clock.now().duration_since(at(from));
        assert!((0..60).contains(&shown("2025-09-08T16:00:00Z").as_secs()));
        mover.move_to(at("2025-12-01T00:00:00Z"));
        mover.move_to(at("2025-10-01T00:00:00Z"));
        assert!((0..60).contains(&shown("2025-12-01T00:00:00Z").as_secs()));
        assert!(clock.real_until(at("2026-01-01T00:00:00Z")) <= LOOK_AGAIN);
        assert_eq!(clock.real_until(at("2025-11-01T00:00:00Z")), Duration::ZERO);
    }

    #[test]
    fn a_stamp_of_another_program_is_older_on_a_faster_clock_by_its_speed() {
        let origin: MicroTime = "2020-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::accelerated(origin, 10);
        let stamp = real_now().saturating_sub(SignedDuration::from_mins(5));
        let shown = clock.of_real(stamp);
        let age = origin.duration_since(shown);
        assert!(age <= SignedDuration::from_mins(50) && age > SignedDuration::from_mins(49), "{age:?}");
        assert_eq!(Clock::system().of_real(stamp), stamp);
    }

    #[test]
    fn a_fast_clock_turns_its_lengths_into_real_ones() {
        let fast = Clock::accelerated(MicroTime::UNIX_EPOCH, 10);
        let length = SignedDuration::from_secs(10);
        assert_eq!(fast.in_real_time(length), SignedDuration::from_secs(1));
        assert!(fast.after(Duration::from_secs(6)) >= MicroTime::from_second(60).unwrap());
        let real = Clock::system();
        assert_eq!(real.in_real_time(length), length);
        assert!(real.after(Duration::from_secs(3600)) > real.now());
    }
}
