//! Who is signed in: by a random name in a cookie, of which only the digest is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::secret::{Known, NoRandom, known, random};

/// Most sessions at once.
const MOST: usize = 512;
/// Most sessions of one person.
const MOST_OF_ONE: usize = 16;
/// A session ends when it was not used for so long.
pub const IDLE: Duration = Duration::from_secs(8 * 3600);
/// A session ends so long after it was begun, whatever is done in it.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);

/// The sessions, each of a person `P`.
pub struct Sessions<P> {
    open: Mutex<HashMap<Known, Session<P>>>,
}

struct Session<P> {
    person: Arc<P>,
    /// Tells the sessions of one person from those of others.
    of: String,
    begun: Instant,
    used: Instant,
    ends: Instant,
}

impl<P> Session<P> {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.ends || now.saturating_duration_since(self.used) >= IDLE
    }
}

impl<P> Default for Sessions<P> {
    fn default() -> Sessions<P> {
        Sessions { open: Mutex::default() }
    }
}

impl<P> Sessions<P> {
    /// Begins a session and returns its name, which nobody has known before: a name that somebody brings is never taken.
    /// It lives for `life` at most.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn begin(&self, person: Arc<P>, of: &str, life: Duration, now: Instant) -> Result<String, NoRandom> {
        let name = random()?;
        let mut open = self.open();
        open.retain(|_, session| !session.is_over(now));
        let own = open.values().filter(|session| session.of == of).count();
        if own >= MOST_OF_ONE {
            drop_oldest(&mut open, |session| session.of == of);
        } else if open.len() >= MOST {
            drop_oldest(&mut open, |_| true);
        }
        let ends = now + life.min(LIFE);
        open.insert(known(&name), Session { person, of: of.to_owned(), begun: now, used: now, ends });
        Ok(name)
    }

    /// The person of a session, which is used by this.
    pub fn find(&self, name: &str, now: Instant) -> Option<Arc<P>> {
        let mut open = self.open();
        let key = known(name);
        let session = open.get_mut(&key)?;
        if session.is_over(now) {
            open.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.person.clone())
    }

    /// Whether a session is still open; looking is no use of it.
    pub fn is_open(&self, name: &str, now: Instant) -> bool {
        self.open().get(&known(name)).is_some_and(|session| !session.is_over(now))
    }

    /// Ends a session for good.
    pub fn end(&self, name: &str) {
        self.open().remove(&known(name));
    }

    /// Drops what is over, so that what belongs to it goes, too.
    pub fn tidy(&self, now: Instant) {
        self.open().retain(|_, session| !session.is_over(now));
    }

    /// How many there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.open().len()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Known, Session<P>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drop_oldest<P>(open: &mut HashMap<Known, Session<P>>, which: impl Fn(&Session<P>) -> bool) {
    let oldest = open.iter().filter(|(_, session)| which(session)).min_by_key(|(_, s)| (s.used, s.begun));
    if let Some(key) = oldest.map(|(key, _)| *key) {
        open.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        crate::clock::monotonic()
    }

    #[test]
    fn a_session_ends_by_itself_by_not_being_used_and_by_signing_out() {
        let (sessions, now) = (Sessions::default(), start());
        let begin = || sessions.begin(Arc::new(()), "ada", LIFE, now).unwrap();
        let idle = begin();
        assert!(sessions.find(&idle, now + IDLE - SECOND).is_some());
        assert!(sessions.find(&idle, now + IDLE + SECOND).is_some(), "it was used in between");
        assert!(sessions.find(&idle, now + IDLE * 2 + SECOND).is_none());
        let busy = begin();
        for hours in 1..24 {
            assert!(sessions.find(&busy, now + SECOND * 3600 * hours).is_some());
        }
        assert!(sessions.find(&busy, now + LIFE).is_none(), "whatever is done in it");
        let out = begin();
        assert!(sessions.is_open(&out, now));
        sessions.end(&out);
        assert!(sessions.find(&out, now).is_none() && !sessions.is_open(&out, now));
    }

    #[test]
    fn a_session_lives_no_longer_than_what_it_was_begun_with() {
        let (sessions, now) = (Sessions::default(), start());
        let name = sessions.begin(Arc::new(()), "ada", SECOND * 60, now).unwrap();
        assert!(sessions.find(&name, now + SECOND * 59).is_some());
        assert!(sessions.find(&name, now + SECOND * 60).is_none());
    }

    #[test]
    fn names_that_were_not_given_here_open_nothing() {
        let (sessions, now) = (Sessions::<()>::default(), start());
        for name in ["", "chosen-by-somebody", "__Host-sluice"] {
            assert!(sessions.find(name, now).is_none());
        }
    }

    #[test]
    fn there_are_so_many_sessions_and_no_more_and_one_person_cannot_push_out_the_others() {
        let (sessions, now) = (Sessions::default(), start());
        let bob = sessions.begin(Arc::new(()), "bob", LIFE, now).unwrap();
        let ada: Vec<String> =
            (0..40).map(|i| sessions.begin(Arc::new(()), "ada", LIFE, now + SECOND * i).unwrap()).collect();
        let later = now + SECOND * 40;
        assert_eq!(sessions.len(), MOST_OF_ONE + 1);
        assert!(sessions.find(&bob, later).is_some());
        let open: Vec<bool> = ada.iter().map(|name| sessions.is_open(name, later)).collect();
        assert!(open[24..].iter().all(|open| *open) && !open[..24].iter().any(|open| *open));
        for i in 0..2 * MOST {
            sessions.begin(Arc::new(()), &format!("user-{i}"), LIFE, later).unwrap();
        }
        assert_eq!(sessions.len(), MOST);
        sessions.tidy(later + LIFE);
        assert_eq!(sessions.len(), 0);
    }
}
