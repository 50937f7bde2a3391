//! What waits to be published, in order, and when it may be tried: a value that is given the time and the answers.
//!
//! Every object has a line of its own, whose events are published one after the other. Every retry waits longer, by
//! two counts that are kept apart: how often in a row this line failed, and how often in a row its namespace did. A
//! webhook or a quota that refuses events is mostly a namespace's: while one fails, a single event of it is tried at a
//! time, so that a thousand lines cost no more calls than one. An event that goes through ends the namespace's wait, and
//! not that of another line.
//!
//! Namespaces share the calls and the room. The next call is for the one that has the fewest under way, of several for the
//! one that was served the longest ago, and one call is left for others. Where there is no room left, one that has less
//! than another takes the place of that one's newest event.
//!
//! The events of a namespace let its other writes go first, each for a bounded time from when it came on, so that many
//! wait together and not one after the other. After that they go one at a time, for as long as there are such writes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::{MicroTime, Reason};
use crate::controller::cache::ObjectKey;
use crate::telemetry::Dropped;
use added::{Added, GaveWay};

pub use tried::{After, Outcome};

mod added;
mod reports;
mod tried;
mod turn;

/// Most events of one object that wait: as many as a history has entries.
pub const MOST_OF_ONE: usize = 20;
/// Most events of one namespace that wait.
pub const MOST_OF_SPACE: usize = 2048;
/// Most events that wait in all. Those of a history that find no room are handed over again when there is some.
pub const MOST: usize = 4096;
/// Events that are published at once.
pub const AT_ONCE: usize = 4;
/// Most of them of one namespace.
pub const MOST_AT_WORK: usize = 3;
/// The wait after the first failure; it doubles with each.
pub const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait between two tries.
pub const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// How long a report waits for its events at most, from when it asks on: longer than events let decisions go first, as
/// a report that goes on without them is a write more.
pub const LONGEST_AWAITED: Duration = Duration::from_secs(2);
/// How soon a namespace is looked at again whose events let other writes go first.
pub const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Whom an event is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Regarding {
    /// Kind of the object.
    pub kind: String,
    /// Namespace and name of the object.
    pub key: ObjectKey,
    /// UID of the object.
    pub uid: String,
}

/// Which entry of which history an event is. Numbers begin anew after a status is lost, so the instant belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the entry.
    pub seq: i64,
    /// Instant of the entry.
    pub at: MicroTime,
}

/// An event that is to be published.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Whom it is about.
    pub about: Arc<Regarding>,
    /// What tells it from the other events of its object: a repeat has the same, and is refused.
    pub number: String,
    /// The history entry that it is, if it is one.
    pub entry: Option<Entry>,
    /// What happened.
    pub reason: Reason,
    /// What happened, in words.
    pub message: String,
    /// When it happened.
    pub at: MicroTime,
}

/// The kind, namespace and name of an object.
type Subject = (String, ObjectKey);

/// Events that wait, by object and by namespace.
#[derive(Default)]
pub struct Pending {
    lines: HashMap<Subject, Line>,
    spaces: HashMap<String, Space>,
    /// The namespaces of which an event may be tried, and from when on.
    order: BTreeSet<(Instant, String)>,
    /// Those of them whose time has come: how many are under way, when the namespace was last served, and from when on.
    ready: BTreeSet<(usize, u64, Instant, String)>,
    /// The lines that reports wait for, and until when.
    awaited: BTreeSet<(Instant, Subject)>,
    count: usize,
    arrivals: u64,
    served: u64,
}

struct Line {
    /// Its events, and since when each of them waits.
    notices: VecDeque<(Instant, Notice)>,
    failures: u32,
    at_work: bool,
    /// Its rollout reports when this has been tried, or then.
    awaited: Option<Instant>,
    /// Its place among the lines of the namespace.
    turn: (Instant, u64),
}

#[derive(Default)]
struct Space {
    /// The lines that are not at work, in the order of their turns.
    turns: BTreeSet<(Instant, u64, Subject)>,
    at_work: usize,
    /// Events that wait, those at work among them.
    count: usize,
    /// Its number among all that were served, as of the last time.
    last: u64,
    failures: u32,
    /// A try takes long; it may not end at all.
    is_slow: bool,
    /// Not to be tried before, after a failure.
    not_before: Option<Instant>,
    /// Its place in the order of all.
    place: Option<Instant>,
    /// Its place among those whose time has come.
    ready: Option<(usize, u64, Instant)>,
}

impl Pending {
    /// Takes in events of one object, oldest first, but for those that wait already.
    pub fn add(&mut self, notices: Vec<Notice>, now: Instant) -> Added {
        let mut added = Added::default();
        let mut left = notices.len();
        for notice in notices {
            if let Err(why) = self.add_one(notice, now, &mut added.gave_way) {
                // Where one finds no room, those after it would only come out of order.
                added.left_out = Some((why, left));
                break;
            }
            left -= 1;
        }
        added
    }

    fn add_one(&mut self, notice: Notice, now: Instant, gave_way: &mut Vec<GaveWay>) -> Result<(), Dropped> {
        let subject = subject(&notice);
        let namespace = subject.1.0.clone();
        let known = self.lines.get(&subject);
        let same = |waits: &Notice| waits.number == notice.number && waits.about.uid == notice.about.uid;
        if known.is_some_and(|line| line.notices.iter().any(|(_, waits)| same(waits))) {
            return Ok(());
        }
        if known.is_some_and(|line| line.notices.len() >= MOST_OF_ONE) {
            return Err(Dropped::ObjectFull);
        }
        if self.waiting_of(&namespace) >= MOST_OF_SPACE {
            return Err(Dropped::NamespaceFull);
        }
        if self.count >= MOST {
            gave_way.push(self.make_room(&namespace).ok_or(Dropped::Full)?);
        }
        self.count += 1;
        let space = self.spaces.entry(namespace.clone()).or_default();
        space.count += 1;
        if let Some(line) = self.lines.get_mut(&subject) {
            line.notices.push_back((now, notice));
            return Ok(());
        }
        self.arrivals += 1;
        let turn = (now, self.arrivals);
        space.turns.insert((turn.0, turn.1, subject.clone()));
        let line = Line { notices: [(now, notice)].into(), failures: 0, at_work: false, awaited: None, turn };
        self.lines.insert(subject, line);
        self.arrange(&namespace);
        Ok(())
    }

    /// Has the newest line of the namespace that has the most give up its last event, where that one has more than another.
    fn make_room(&mut self, of: &str) -> Option<GaveWay> {
        let (namespace, space) = self.spaces.iter().max_by_key(|(_, space)| space.count)?;
        if space.count <= self.waiting_of(of) + 1 {
            return None;
        }
        let namespace = namespace.clone();
        let (_, _, subject) = space.turns.iter().next_back()?.clone();
        let line = self.lines.get_mut(&subject)?;
        let (_, notice) = line.notices.pop_back()?;
        let is_empty = line.notices.is_empty();
        let gave_way = GaveWay {
            key: subject.1.clone(),
            is_entry: notice.entry.is_some(),
            was_awaited: is_empty && line.awaited.is_some(),
        };
        let turn = line.turn;
        self.count -= 1;
        let space = self.spaces.get_mut(&namespace)?;
        space.count -= 1;
        if is_empty {
            space.turns.remove(&(turn.0, turn.1, subject.clone()));
            self.remove(&subject);
        }
        self.arrange(&namespace);
        Some(gave_way)
    }

    /// How many events of a namespace wait.
    fn waiting_of(&self, namespace: &str) -> usize {
        self.spaces.get(namespace).map_or(0, |space| space.count)
    }

    /// Whether there is room for what a namespace left out.
    pub fn has_room_for(&self, namespace: &str) -> bool {
        let waiting = self.waiting_of(namespace);
        waiting == 0 || (waiting < MOST_OF_SPACE / 2 && self.count < MOST / 2)
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Takes in how the try of an event ended.
    pub fn settle(&mut self, notice: &Notice, outcome: Outcome, now: Instant) -> After {
        let subject = subject(notice);
        let namespace = &notice.about.key.0;
        let mut after = After::default();
        let Some(space) = self.spaces.get_mut(namespace) else { return after };
        space.at_work = space.at_work.saturating_sub(1);
        match outcome {
            Outcome::Done => {
                after.has_turned = space.failures > 0;
                space.failures = 0;
                space.is_slow = false;
                space.not_before = None;
            }
            // Those that were under way when the first of them failed tell nothing more.
            Outcome::Failed if space.not_before.is_none_or(|at| at <= now) => {
                after.has_turned = space.failures == 0;
                space.failures = space.failures.saturating_add(1);
                space.not_before = now.checked_add(wait(space.failures));
            }
            Outcome::Failed => {}
        }
        let held = space.not_before;
        if let Some(line) = self.lines.get_mut(&subject) {
            line.at_work = false;
            let turn = match outcome {
                Outcome::Done => {
                    line.failures = 0;
                    if line.notices.pop_front().is_some() {
                        self.count -= 1;
                        space.count -= 1;
                    }
                    self.arrivals += 1;
                    line.turn.1 = self.arrivals;
                    // It has waited since it came on: behind whatever came later it would wait for that, too.
                    line.notices.front().map_or(now, |(since, _)| *since)
                }
                Outcome::Failed => {
                    line.failures = line.failures.saturating_add(1);
                    let turn = now.checked_add(wait(line.failures)).unwrap_or(now);
                    after.wait = Some(held.unwrap_or(turn).max(turn).duration_since(now));
                    turn
                }
            };
            after.is_empty = line.notices.is_empty();
            after.was_awaited = line.awaited.is_some();
            if after.is_empty {
                self.remove(&subject);
            } else {
                line.turn.0 = turn;
                let turn = (line.turn.0, line.turn.1, subject);
                self.spaces.entry(namespace.clone()).or_default().turns.insert(turn);
            }
        }
        self.arrange(namespace);
        after
    }

    /// Has nothing of a namespace tried before an instant.
    pub fn hold_back(&mut self, namespace: &str, until: Instant) {
        if let Some(space) = self.spaces.get_mut(namespace) {
            space.not_before = space.not_before.max(Some(until));
            self.arrange(namespace);
        }
    }

    /// Forgets what waits of an object that is gone, where it cannot be published now: nobody asks for it any more.
    pub fn forget(&mut self, kind: &str, key: &ObjectKey) {
        let subject = (kind.to_owned(), key.clone());
        let fails = self.spaces.get(&key.0).is_some_and(|space| space.failures > 0);
        let Some(line) = self.lines.get(&subject) else { return };
        if line.at_work || !(fails || line.failures > 0) {
            return;
        }
        if let Some(line) = self.remove(&subject) {
            self.count = self.count.saturating_sub(line.notices.len());
            if let Some(space) = self.spaces.get_mut(&key.0) {
                space.count -= line.notices.len();
                space.turns.remove(&(line.turn.0, line.turn.1, subject));
            }
            self.arrange(&key.0);
        }
    }

    /// Puts a namespace where it belongs in the order of all.
    fn arrange(&mut self, namespace: &str) {
        let Some(space) = self.spaces.get_mut(namespace) else { return };
        if let Some(place) = space.place.take() {
            self.order.remove(&(place, namespace.to_owned()));
        }
        if let Some((at_work, last, at)) = space.ready.take() {
            self.ready.remove(&(at_work, last, at, namespace.to_owned()));
        }
        let Some((turn, _, _)) = space.turns.first() else {
            if space.at_work == 0 {
                self.spaces.remove(namespace);
                if self.lines.is_empty() {
                    // After a thousand at once a table keeps room for a thousand.
                    self.lines = HashMap::new();
                }
            }
            return;
        };
        // While it fails, one at a time.
        let most = if space.failures > 0 { 1 } else { MOST_AT_WORK };
        if space.at_work >= most {
            return;
        }
        let place = space.not_before.map_or(*turn, |not_before| not_before.max(*turn));
        space.place = Some(place);
        self.order.insert((place, namespace.to_owned()));
    }
}

/// Takes out the first, if it is as wanted.
fn pop_first_if<T: Ord>(of: &mut BTreeSet<T>, wanted: impl Fn(&T) -> bool) -> Option<T> {
    of.first().is_some_and(wanted).then(|| of.pop_first())?
}

fn subject(notice: &Notice) -> Subject {
    (notice.about.kind.clone(), notice.about.key.clone())
}

/// The wait after so many failures in a row.
fn wait(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests;
