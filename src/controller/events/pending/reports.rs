//! Reports that wait for events, each for a bounded time from when it asks on: whoever delays the events of a rollout delays its
//! report no longer than that.

use std::time::Instant;

use super::{LONGEST_AWAITED, Line, ObjectKey, Pending, Subject, pop_first_if};

impl Pending {
    /// Has the object's report wait for its events, unless there are none or they fail; says whether it does. Asking again
    /// does not lengthen the wait.
    pub fn await_report(&mut self, kind: &str, key: &ObjectKey, now: Instant) -> bool {
        let works = self.spaces.get(&key.0).is_none_or(|space| space.failures == 0 && !space.is_slow);
        let subject = (kind.to_owned(), key.clone());
        let Some(line) = self.lines.get_mut(&subject) else { return false };
        if works && line.failures == 0 && line.awaited.is_none() {
            let until = now + LONGEST_AWAITED;
            line.awaited = Some(until);
            self.awaited.insert((until, subject));
        }
        line.is_awaited(now)
    }

    /// Whether the object's report waits for its events.
    pub fn is_awaited(&self, kind: &str, key: &ObjectKey, now: Instant) -> bool {
        self.lines.get(&(kind.to_owned(), key.clone())).is_some_and(|line| line.is_awaited(now))
    }

    /// Has no report of a namespace wait for events until one goes through; returns the objects whose reports did.
    pub fn release(&mut self, namespace: &str) -> Vec<ObjectKey> {
        if let Some(space) = self.spaces.get_mut(namespace) {
            space.is_slow = true;
        }
        let of_space = self.awaited.extract_if(.., |(_, (_, key))| key.0 == namespace);
        let released: Vec<Subject> = of_space.map(|(_, subject)| subject).collect();
        released.into_iter().map(|subject| self.let_go(subject)).collect()
    }

    /// Has the reports that have waited for long enough wait no more; returns their objects.
    pub fn release_late(&mut self, now: Instant) -> Vec<ObjectKey> {
        let mut late = Vec::new();
        while let Some((_, subject)) = pop_first_if(&mut self.awaited, |(until, _)| *until <= now) {
            late.push(self.let_go(subject));
        }
        late
    }

    /// When the next report has waited for long enough, if any waits.
    pub fn next_late_at(&self) -> Option<Instant> {
        self.awaited.first().map(|(until, _)| *until)
    }

    fn let_go(&mut self, subject: Subject) -> ObjectKey {
        if let Some(line) = self.lines.get_mut(&subject) {
            line.awaited = None;
        }
        subject.1
    }

    /// Takes out a line, for which no report waits any more.
    pub(super) fn remove(&mut self, subject: &Subject) -> Option<Line> {
        let line = self.lines.remove(subject)?;
        if let Some(until) = line.awaited {
            self.awaited.remove(&(until, subject.clone()));
        }
        Some(line)
    }
}

impl Line {
    fn is_awaited(&self, now: Instant) -> bool {
        self.awaited.is_some_and(|until| until > now)
    }
}
