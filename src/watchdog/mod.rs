//! Whether every part of the process that must run does.
//!
//! A task that ends by a panic ends alone, and one that never gets what it waits for waits in silence: nobody would know. So
//! whatever must run is run by the watchdog. Each of its turns is a sign of life by itself; only whoever waits for news that
//! may never come says so ([`resting`]), and whoever waits for another part as well, since it is that one that would be stuck.
//!
//! - A part that ends by a fault is begun again, after growing waits: what made it fall may be an object that somebody stored,
//!   and a restart of the process would take everybody along and meet the same object. `/readyz` names the part until it has
//!   run for a minute, unless it is one object's alone; the log and `sluice_faults_total` tell of each.
//! - A part that is stuck cannot be ended from inside. `/livez` names it, and whoever looks after the process restarts it.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::clock;
use pulse::Pulse;
use verdict::{Verdict, judge, rest, was_steady};

pub use name::{Name, What};

mod name;
mod pulse;
mod verdict;

/// Real time from one beat of the heart to the next.
const BEAT: Duration = Duration::from_secs(1);
/// Most parts that a probe names.
const NAMED: usize = 5;

tokio::task_local! {
    /// The part whose turn it is.
    static PART: Arc<Part>;
}

/// What a drill has a part do in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// What it is there for.
    Work,
    /// Nothing, as if what it waits for had not come.
    Stand,
}

/// Called in every turn of every part. It may also panic or block.
type Instructor = Arc<dyn Fn(&str) -> Drill + Send + Sync>;
/// Called with what kind of part ended by a fault.
type Teller = Box<dyn Fn(What) + Send + Sync>;

/// Watches over the parts of a process. Cheap to clone.
#[derive(Clone)]
pub struct Watchdog(Arc<Shared>);

struct Shared {
    beat: Duration,
    heart: AtomicU64,
    entries: AtomicU64,
    parts: Mutex<BTreeMap<u64, Arc<Part>>>,
    instructor: Option<Instructor>,
    teller: Mutex<Option<Teller>>,
}

struct Part {
    name: Name,
    pulse: Pulse,
    shared: Arc<Shared>,
    entry: u64,
}

impl Default for Watchdog {
    fn default() -> Watchdog {
        Watchdog::new(BEAT, None)
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watchdog({} parts)", self.0.parts().len())
    }
}

impl Watchdog {
    /// One whose heart beats at this pace, and whose parts an `instructor` may have hang or panic, so that it can be seen
    /// what comes of that: for tests.
    pub fn drilled(beat: Duration, instructor: impl Fn(&str) -> Drill + Send + Sync + 'static) -> Watchdog {
        Watchdog::new(beat, Some(Arc::new(instructor)))
    }

    fn new(beat: Duration, instructor: Option<Instructor>) -> Watchdog {
        Watchdog(Arc::new(Shared {
            beat,
            heart: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            parts: Mutex::default(),
            instructor,
            teller: Mutex::default(),
        }))
    }

    /// Lets the heart beat until `shutdown`. `tell` is called with the kind of each part that ends by a fault.
    pub fn start(&self, shutdown: CancellationToken, tell: impl Fn(What) + Send + Sync + 'static) {
        *self.0.teller.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tell));
        let shared = self.0.clone();
        tokio::spawn(async move {
            let mut told = Vec::new();
            while !shutdown.is_cancelled() {
                clock::sleep(shared.beat).await;
                shared.heart.fetch_add(1, Ordering::SeqCst);
                let stuck = shared.stuck();
                for (name, beats) in stuck.iter().filter(|(name, _)| !told.contains(name)) {
                    tracing::error!(
                        "{name} has not been heard of for {beats} s: it is stuck by a fault of this program, and only a \
                         restart of the process ends that"
                    );
                }
                told = stuck.into_iter().map(|(name, _)| name).collect();
            }
        });
    }

    /// Runs what ends by itself. Where it panics, so does this.
    pub fn watch<T, W>(&self, name: Name, work: W) -> impl Future<Output = T> + use<T, W>
    where
        W: Future<Output = T>,
    {
        let part = self.enter(name);
        async move {
            // Whatever wraps a future takes its size once more.
            let work = Box::pin(work);
            part.run(work).await
        }
    }

    /// Runs what is to last, and begins it again where it ends by a fault.
    pub fn keep<B, F>(&self, name: Name, mut begin: B) -> impl Future<Output = ()> + use<B, F>
    where
        B: FnMut() -> F,
        F: Future<Output = ()>,
    {
        let part = self.enter(name);
        async move {
            let mut falls = 0;
            loop {
                let begun = part.shared.now();
                // Whatever wraps a future takes its size once more.
                let work = part.run(Box::pin(async { begin().await }));
                if AssertUnwindSafe(work).catch_unwind().await.is_ok() {
                    return;
                }
                let now = part.shared.now();
                falls = if was_steady(begun, now) { 1 } else { falls + 1 };
                part.fell(now);
                let wait = part.shared.beat * u32::try_from(rest(falls)).unwrap_or(u32::MAX);
                tracing::error!(
                    "{} ended by a fault of this program; it is begun again in {} ms",
                    part.name,
                    wait.as_millis()
                );
                part.run(clock::sleep(wait)).await;
            }
        }
    }

    /// The parts that are stuck, by name.
    pub fn stuck(&self) -> Option<String> {
        named(&self.0.stuck(), |(name, beats)| format!("{name} has not been heard of for {beats} s"))
    }

    /// The parts that ended by a fault not long ago, and that more than one object needs.
    pub fn fallen(&self) -> Option<String> {
        let mut fallen = self.0.judged();
        fallen.retain(|(name, verdict)| !name.is_of_one && *verdict == Verdict::Fell);
        named(&fallen, |(name, _)| format!("{name} has ended by a fault of this program and is begun again"))
    }

    /// What the parts are called that run now.
    pub fn names(&self) -> Vec<String> {
        self.0.parts().values().map(|part| part.name.to_string()).collect()
    }

    /// Notes that work ended by a fault that is no part by itself, and that is seen to otherwise.
    pub fn note_fault(&self, what: What) {
        self.0.tell(what);
    }

    fn enter(&self, name: Name) -> Entered {
        let entry = self.0.entries.fetch_add(1, Ordering::SeqCst);
        let part = Arc::new(Part { name, pulse: Pulse::default(), shared: self.0.clone(), entry });
        // It is heard of as it begins.
        drop(part.pulse.turn(|| self.0.now()));
        self.0.parts().insert(entry, part.clone());
        Entered(part)
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.heart.load(Ordering::SeqCst)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Part>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judged(&self) -> Vec<(Name, Verdict)> {
        // After the signs, nothing can be newer than this.
        let signs: Vec<_> =
            self.parts().values().map(|part| (part.name.clone(), part.pulse.signs())).collect();
        let now = self.now();
        signs.into_iter().map(|(name, signs)| (name, judge(signs, now))).collect()
    }

    fn stuck(&self) -> Vec<(Name, u64)> {
        let stuck = |(name, verdict)| match verdict {
            Verdict::Stuck(beats) => Some((name, beats)),
            Verdict::Well | Verdict::Fell => None,
        };
        self.judged().into_iter().filter_map(stuck).collect()
    }

    fn tell(&self, what: What) {
        let teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = &*teller {
            tell(what);
        }
    }
}

impl Part {
    fn fell(&self, now: u64) {
        self.pulse.fell(now);
        self.shared.tell(self.name.what);
    }
}

/// A part while it runs.
struct Entered(Arc<Part>);

impl std::ops::Deref for Entered {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.0
    }
}

impl Entered {
    async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(PART.scope(self.0.clone(), work));
        let drilled = self.shared.instructor.as_ref().map(|instructor| (instructor, self.name.to_string()));
        let mut next = pin!(clock::sleep(self.shared.beat));
        std::future::poll_fn(|context| {
            if let Some((instructor, name)) = &drilled {
                // A turn in each beat, so that no order waits for news.
                while next.as_mut().poll(context).is_ready() {
                    next.set(clock::sleep(self.shared.beat));
                }
                if instructor(name) == Drill::Stand {
                    return Poll::Pending;
                }
            }
            let _turn = self.pulse.turn(|| self.shared.now());
            work.as_mut().poll(context)
        })
        .await
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.shared.parts().remove(&self.entry);
    }
}

/// Waits for news that may never come, or for another part that is watched itself.
pub async fn resting<T>(news: impl Future<Output = T>) -> T {
    let part = PART.try_with(Arc::clone).ok();
    let _rest = part.as_ref().map(|part| part.pulse.rest(move || part.shared.now()));
    news.await
}

/// The first of many in words, and how many there are besides.
fn named<T>(of: &[T], words: impl Fn(&T) -> String) -> Option<String> {
    let mut text = of.iter().take(NAMED).map(words).collect::<Vec<_>>().join("; ");
    if let Some(more) = of.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
