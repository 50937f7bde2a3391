//! What the work of each namespace costs: the more processor time one of its keys takes, the fewer of them are worked on at
//! once, and the fewer make a turn. The same holds for the time that the API server takes for it, which checks each object as a whole
//! whatever is written of it. However much a namespace makes of its objects, those of another wait for little of it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::clock;

/// Keys of a namespace are worked on at once that take about as much processor time together: whoever comes next is that far
/// behind them.
const AT_ONCE: Duration = Duration::from_millis(20);
/// The same of the time from the beginning of their work to its end, most of which is the API server's: with sixteen at once it
/// may take a tenth of a second for each.
const UNDER_WAY: Duration = Duration::from_millis(1600);
/// Fewest that are worked on at once, whatever of a processor they take: one for each thread of a small machine.
const FEWEST: usize = 2;
/// The same, whatever time they take: the API server may be slow for others' sake, and calls may hang.
const FEWEST_UNDER_WAY: usize = 4;
/// Keys of a turn take about so much processor time.
const TURN: Duration = Duration::from_millis(100);
/// The last key counts for one of so many parts of what is known.
const PART: u32 = 4;
/// How long what is known of a namespace is kept after its last key.
const KEPT: Duration = Duration::from_secs(60);

/// What the keys of each namespace cost.
#[derive(Debug, Default)]
pub struct Costs {
    of: HashMap<String, Cost>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Cost {
    mean: Took,
    at: Instant,
}

/// What the work of each namespace costs of a processor, for those that share it. What it waits for does not count: calls that hang must
/// not keep others from being tried.
#[derive(Debug, Default)]
pub struct ProcessorCosts(Mutex<Costs>);

impl ProcessorCosts {
    /// Notes that some work of a namespace took so long.
    pub fn note(&self, tenant: &str, took: Took) {
        let took = Took { whole: Duration::ZERO, ..took };
        self.lock().note(tenant, took, clock::monotonic());
    }

    /// Whether so much that of `most` at once no more than `few` may be done.
    pub fn is_dear(&self, tenant: &str, most: usize, few: usize) -> bool {
        self.lock().at_once(tenant, most) <= few
    }

    fn lock(&self) -> MutexGuard<'_, Costs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the work on a key took; or its mean, where the last keys count most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Time of a processor; what is done on other threads meanwhile does not count.
    pub processor: Duration,
    /// Time from its beginning to its end.
    pub whole: Duration,
}

impl Took {
    fn mean_with(self, last: Took) -> Took {
        let mean = |known: Duration, last| known.saturating_mul(PART - 1).saturating_add(last) / PART;
        Took { processor: mean(self.processor, last.processor), whole: mean(self.whole, last.whole) }
    }
}

impl Costs {
    /// Notes that the work on a key of a namespace took so long.
    pub fn note(&mut self, tenant: &str, took: Took, now: Instant) {
        let swept = *self.swept.get_or_insert(now);
        if now.duration_since(swept) >= KEPT {
            self.of.retain(|_, cost| now.duration_since(cost.at) < KEPT);
            self.swept = Some(now);
        }
        match self.of.get_mut(tenant) {
            Some(cost) => {
                *cost = Cost { mean: cost.mean.mean_with(took), at: now };
            }
            None => drop(self.of.insert(tenant.to_owned(), Cost { mean: took, at: now })),
        }
    }

    /// How many keys of a namespace may be worked on at once, of `most`: two where they take much of a processor, and four where it is
    /// only that they take long, at least.
    pub fn at_once(&self, tenant: &str, most: usize) -> usize {
        let mean = self.mean(tenant);
        let by_processor = within(mean.processor, AT_ONCE, most).max(FEWEST);
        by_processor.min(within(mean.whole, UNDER_WAY, most).max(FEWEST_UNDER_WAY)).min(most)
    }

    /// How many keys of a namespace make a turn, of `most`: at least one.
    pub fn turn(&self, tenant: &str, most: usize) -> usize {
        within(self.mean(tenant).processor, TURN, most)
    }

    fn mean(&self, tenant: &str) -> Took {
        self.of.get(tenant).map(|cost| cost.mean).unwrap_or_default()
    }
}

/// How many of `mean` length there are in a time, of `most`: at least one.
fn within(mean: Duration, time: Duration, most: usize) -> usize {
    let many = time.as_micros().checked_div(mean.as_micros()).and_then(|many| usize::try_from(many).ok());
    many.map_or(most, |many| many.clamp(1, most.max(1)))
}

/// Does some work, and tells how long it took.
pub async fn metered<W: Future>(work: W) -> (W::Output, Took) {
    let mut work = pin!(work);
    let mut processor = Duration::ZERO;
    let started = clock::monotonic();
    std::future::poll_fn(|context| {
        let begun = clock::processor_time();
        let polled = work.as_mut().poll(context);
        processor = processor.saturating_add(clock::processor_time().saturating_sub(begun));
        match polled {
            Poll::Ready(done) => Poll::Ready((done, Took { processor, whole: started.elapsed() })),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn of(took: &[Duration]) -> Costs {
        let mut costs = Costs::default();
        let now = clock::monotonic();
        took.iter().for_each(|took| costs.note("a", working(*took), now));
        costs
    }

    fn working(processor: Duration) -> Took {
        Took { processor, whole: processor }
    }

    #[test]
    fn of_what_keeps_the_api_server_busy_there_are_few_at_once_and_turns_are_as_long_as_ever() {
        for (whole, at_once) in [(10 * MS, 16), (100 * MS, 16), (200 * MS, 8), (1000 * MS, 4), (9000 * MS, 4)]
        {
            let mut costs = Costs::default();
            costs.note("a", Took { processor: MS, whole }, clock::monotonic());
            assert_eq!((costs.at_once("a", 16), costs.turn("a", 64)), (at_once, 64), "{whole:?}");
        }
    }

    #[test]
    fn what_is_cheap_or_not_known_is_done_in_large_turns_and_all_at_once() {
        for costs in
            [Costs::default(), of(&[Duration::ZERO]), of(&[MS; 100]), of(&[Duration::from_micros(7)])]
        {
            assert_eq!((costs.at_once("a", 16), costs.turn("a", 64)), (16, 64), "{costs:?}");
        }
    }

    #[test]
    fn the_dearer_the_fewer_and_never_less_than_two() {
        for (took, at_once, turn) in [(2 * MS, 10, 50), (5 * MS, 4, 20), (50 * MS, 2, 2), (5000 * MS, 2, 1)] {
            let costs = of(&[took]);
            assert_eq!((costs.at_once("a", 16), costs.turn("a", 64)), (at_once, turn), "{took:?}");
            assert_eq!(
                (costs.at_once("b", 16), costs.turn("b", 64)),
                (16, 64),
                "another one's are as they were"
            );
        }
    }

    #[test]
    fn the_last_ones_count_most() {
        assert_eq!(of(&[MS, MS, MS, 50 * MS]).at_once("a", 16), 2);
        assert_eq!(
            of(&[&[50 * MS][..], &[MS / 2; 30]].concat()).at_once("a", 16),
            16,
            "a dear one is forgotten in time"
        );
    }

    #[test]
    fn of_a_namespace_that_has_nothing_done_nothing_is_kept() {
        let mut costs = of(&[50 * MS]);
        let later = clock::monotonic() + 2 * KEPT;
        costs.note("b", working(MS), later);
        assert_eq!(costs.of.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[tokio::test]
    async fn waiting_costs_nothing_and_working_does() {
        let (done, took) = metered(async {
            clock::sleep(100 * MS).await;
            7
        })
        .await;
        assert_eq!(done, 7);
        assert!(took.processor < 100 * MS && took.whole >= 100 * MS, "{took:?}");
        let ((), took) = metered(async {
            let begun = clock::processor_time();
            while clock::processor_time() < begun + 20 * MS {
                std::hint::spin_loop();
            }
            clock::sleep(MS).await;
        })
        .await;
        assert!(took.processor >= 20 * MS, "{took:?}");
    }
}
