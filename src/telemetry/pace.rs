//! How many lines a place in the program may write into the log: whoever has a thousand objects that fail must not fill it, nor
//! hide in it what the other places have to say.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
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
/// The same of what is no trouble, such as actions that were answered, for each namespace that is told of.
const NEWS: Allowance = Allowance { at_once: 100, apart: Duration::from_secs(1) };

/// Namespaces are told apart by so many digests, so that what is kept of them has an end.
const DIGESTS: u64 = 256;

/// Whom a line is about: a digest of the namespace in its field of that name, 0 of a line that has none.
type About = u64;

/// What the places have left, for each that their lines are about.
#[derive(Default)]
struct Paces(HashMap<(Identifier, About), Instant>);

impl Paces {
    /// Whether a place may write a line now.
    fn may_write(&mut self, place: (Identifier, About), level: Level, now: Instant) -> bool {
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
        let mut about = Namespace::default();
        event.record(&mut about);
        let place = (metadata.callsite(), about.0);
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may_write = paces.may_write(place, *metadata.level(), clock::monotonic());
        if !may_write {
            LEFT_OUT.inc();
        }
        may_write
    }
}

/// Finds the namespace among the fields of a line.
#[derive(Default)]
struct Namespace(About);

impl Visit for Namespace {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "namespace" {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            self.0 = 1 + hasher.finish() % DIGESTS;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

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
        let (one, other) = ((Identifier(&ONE), 0), (Identifier(&OTHER), 0));
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
    /// Counts the lines that come through.
    #[derive(Clone, Default)]
    struct Counted(std::sync::Arc<std::sync::atomic::AtomicUsize>);

    impl<S: Subscriber> tracing_subscriber::Layer<S> for Counted {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_namespace_that_makes_news_without_end_hides_no_other() {
        use tracing_subscriber::Layer;
        let counted = Counted::default();
        let layer = counted.clone().with_filter(Paced::default());
        let written = || counted.0.load(std::sync::atomic::Ordering::Relaxed);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let tell = |namespace: &str| tracing::info!(namespace, "an action was answered");
            (0..1000).for_each(|_| tell("loud"));
            assert!((100..110).contains(&written()), "{}", written());
            tell("quiet");
        });
        assert!((101..111).contains(&written()), "{}", written());
    }
}
