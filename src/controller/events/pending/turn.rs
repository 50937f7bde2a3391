//! Whose turn it is, among those that do not let other writes go first.

use std::time::{Duration, Instant};

use super::{LOOK_AGAIN, Notice, Pending, pop_first_if};

impl Pending {
    /// When it is to be looked again whether one may be tried, if any waits.
    pub fn next_at(&self) -> Option<Instant> {
        let ready = self.ready.first().map(|(_, _, at, _)| *at);
        ready.or_else(|| self.order.first().map(|(at, _)| *at))
    }

    /// Whether an event may be tried now.
    ///
    /// `yields` tells for how long at most an event of a namespace lets other writes go first; zero where there are none.
    pub fn is_ready(&mut self, now: Instant, yields: impl Fn(&str) -> Duration) -> bool {
        while let Some((at, namespace)) = pop_first_if(&mut self.order, |(at, _)| *at <= now) {
            let Some(space) = self.spaces.get_mut(&namespace) else { continue };
            let place = (space.at_work, space.last, at);
            (space.place, space.ready) = (None, Some(place));
            self.ready.insert((place.0, place.1, place.2, namespace));
        }
        while let Some(first) = self.ready.pop_first() {
            let namespace = &first.3;
            let Some(wait) = self.yields_for(namespace, now, yields(namespace)) else {
                self.ready.insert(first);
                return true;
            };
            let place = now + wait;
            if let Some(space) = self.spaces.get_mut(namespace) {
                (space.place, space.ready) = (Some(place), None);
                self.order.insert((place, first.3));
            }
        }
        false
    }

    /// How long until a namespace is looked at again, where its next event is not to be tried now, with `longest` as the
    /// time that it lets other writes go first.
    fn yields_for(&self, namespace: &str, now: Instant, longest: Duration) -> Option<Duration> {
        if longest.is_zero() {
            return None;
        }
        let space = self.spaces.get(namespace)?;
        let (_, _, subject) = space.turns.first()?;
        let (since, _) = self.lines.get(subject)?.notices.front()?;
        let left = longest.saturating_sub(now.saturating_duration_since(*since));
        match left.is_zero() {
            // However long the other writes take, one event at a time goes on.
            true => (space.at_work > 0).then_some(LOOK_AGAIN),
            false => Some(left.min(LOOK_AGAIN)),
        }
    }

    /// The next event to try now. Say [`Pending::settle`] when it has been.
    pub fn take(&mut self, now: Instant, yields: impl Fn(&str) -> Duration) -> Option<Notice> {
        if !self.is_ready(now, yields) {
            return None;
        }
        let namespace = self.ready.first()?.3.clone();
        let space = self.spaces.get_mut(&namespace)?;
        let (_, _, subject) = space.turns.pop_first()?;
        self.served += 1;
        space.last = self.served;
        space.at_work += 1;
        let line = self.lines.get_mut(&subject)?;
        line.at_work = true;
        let notice = line.notices.front().map(|(_, notice)| notice.clone());
        self.arrange(&namespace);
        notice
    }
}
