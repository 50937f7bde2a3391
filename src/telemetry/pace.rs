//! How many lines a place in the program may write into the log: whoever has a thousand objects that fail must not fill it, nor
//! hide in it what the other places have to say.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

use crate::clock;

/// Lines that were left out in this process.
pub(super) static LEFT_OUT: LazyLock<Counter> = LazyLock::new(Counter::default);

/// How many lines at once, and how far apart after that.
struct Allowance {
    at_once: u32,
    apart: Duration,
}

/// Of one place.
const WARNINGS: Allowance = Allowance { at_once: 8, apart: Duration::from_secs(10) };
/// The same of what is no trouble, such as actions that were answered.
const NEWS: Allowance = Allowance { at_once: 100, apart: Duration::from_millis(200) };

/// What the places have left.
#[derive(Default)]
struct Paces(HashMap<Identifier, Instant>);

impl Paces {
    /// Whether a place may write a line now.
    fn may_write(&mut self, place: Identifier, level: Level, now: Instant) -> bool {
        let Allowance { at_once, apart } = match level {
            Level::ERROR | Level::WARN => WARNINGS,
            Level::INFO => NEWS,
            // Whoever asks for more wants all of it.
            _ => return true,
        };
        // When all of it will be left again.
        let full = self.0.entry(place).or_insert(now);
        let after = (*full).max(now) + apart;
        let may_write = after.saturating_duration_since(now) <= apart * at_once;
        if may_write {
            *full = after;
        }
        may_write
    }
}

/// Leaves out what is too much, and counts it.
#[derive(Default)]
pub(super) struct Paced(Mutex<Paces>);

impl<S: Subscriber> Filter<S> for Paced {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may_write = paces.may_write(metadata.callsite(), *metadata.level(), clock::monotonic());
        if !may_write {
            LEFT_OUT.inc();
        }
        may_write
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(&'static str);

    impl tracing::Callsite for Place {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody asks")
        }
    }

    static ONE: Place = Place("one");
    static OTHER: Place = Place("other");

    #[test]
    fn a_place_that_warns_without_end_writes_a_line_in_ten_seconds_and_hides_no_other() {
        assert_ne!(ONE.0, OTHER.0);
        let (one, other) = (Identifier(&ONE), Identifier(&OTHER));
        let begun = clock::monotonic();
        let mut paces = Paces::default();
        let mut written = 0;
        for millisecond in 0..60_000 {
            let now = begun + Duration::from_millis(millisecond);
            written += usize::from(paces.may_write(one.clone(), Level::WARN, now));
            if millisecond == 30_000 {
                assert!(paces.may_write(other.clone(), Level::ERROR, now));
                assert!(paces.may_write(one.clone(), Level::DEBUG, now));
            }
        }
        assert_eq!(written, 8 + 5);
        let later = begun + Duration::from_secs(600);
        assert_eq!((0..20).filter(|_| paces.may_write(one.clone(), Level::WARN, later)).count(), 8);
        assert_eq!((0..200).filter(|_| paces.may_write(other.clone(), Level::INFO, later)).count(), 100);
    }
}
