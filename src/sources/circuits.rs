//! Who is left alone when a source fails: everybody, one namespace, or one query. Time comes in as a value.
//!
//! A source is shared by namespaces that may not know of each other, so a failure counts against the least that can have
//! brought it about. That nobody can connect is the source's, whoever asks. An answer that is an error may be what a
//! namespace asks for: another finds out by itself. A time-out is the query's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::metricsource::Circuit;

use super::breaker::{Breaker, Ticket};
use super::cause::Cause;
use super::failure::Failure;
use super::request::Query;

/// After how long nothing is known any more of a namespace or a query that nobody asks for.
const KEPT: Duration = Duration::from_secs(900);
/// How long a query that times out is left alone at most: the next time it may be answered.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What is told of a circuit whose error is not known any more.
const UNKNOWN: &str = "the source fails";

/// What a failure counts against: the narrower one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blame {
    /// The query alone.
    Query,
    /// What the namespace asks for.
    Namespace,
    /// The source, for all who ask.
    Source,
}

/// The circuits of one source.
#[derive(Debug, Default)]
pub(super) struct Circuits {
    source: Breaker,
    /// Why nobody is connected.
    cause: Cause,
    namespaces: BTreeMap<String, Known<Namespace>>,
}

#[derive(Debug, Default)]
struct Namespace {
    breaker: Breaker,
    /// Why it is not answered well.
    cause: Cause,
    /// The queries that have timed out.
    queries: BTreeMap<Query, Known<Breaker>>,
}

/// What is known, as of the last time it was asked for.
#[derive(Debug)]
struct Known<T> {
    of: T,
    at: Instant,
}

/// Permission to ask once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tickets {
    source: Ticket,
    namespace: Ticket,
    query: Ticket,
}

impl Circuits {
    /// Why a query is not asked now, if it is left alone.
    pub fn shut(&self, query: &Query, now: Instant) -> Option<Failure> {
        let namespace = self.namespaces.get(&query.namespace).map(|known| &known.of);
        let timed_out = namespace.and_then(|namespace| namespace.queries.get(query));
        if self.source.is_shut(now) {
            return Some(Failure::Open(self.cause.told().unwrap_or(UNKNOWN)));
        }
        if let Some(namespace) = namespace.filter(|namespace| namespace.breaker.is_shut(now)) {
            return Some(Failure::Open(namespace.cause.told().unwrap_or(UNKNOWN)));
        }
        timed_out.is_some_and(|known| known.of.is_shut(now)).then_some(Failure::LeftAlone)
    }

    /// Permission to ask a query.
    ///
    /// # Errors
    /// Why it is left alone now.
    pub fn ask(&mut self, query: &Query, now: Instant) -> Result<Tickets, Failure> {
        if let Some(why) = self.shut(query, now) {
            return Err(why);
        }
        self.namespaces.retain(|name, known| *name == query.namespace || known.is_recent(now));
        let namespace = Known::touch(self.namespaces.entry(query.namespace.clone()), now);
        let fresh = Breaker::default().ask(now);
        let timed_out = namespace.queries.get_mut(query).map(|known| known.of.ask(now));
        // None of them is shut.
        let tickets = (self.source.ask(now), namespace.breaker.ask(now), timed_out.unwrap_or(fresh));
        let (Some(source), Some(namespace), Some(query)) = tickets else {
            return Err(Failure::Open(UNKNOWN));
        };
        Ok(Tickets { source, namespace, query })
    }

    /// Takes note of how it went: well, or what failed.
    pub fn answered(&mut self, query: &Query, tickets: Tickets, failure: Option<Failure>, now: Instant) {
        let blame = failure.and_then(Failure::blame);
        // Whoever was answered, however late or badly, was connected.
        self.source.answered(tickets.source, blame != Some(Blame::Source), now);
        match failure.filter(|_| blame == Some(Blame::Source)) {
            Some(failure) => self.cause.note(failure),
            None if self.source.circuit() == Circuit::Closed => self.cause = Cause::default(),
            None => {}
        }
        let Some(namespace) = self.namespaces.get_mut(&query.namespace).map(|known| &mut known.of) else {
            return;
        };
        match blame {
            None => {
                namespace.breaker.answered(tickets.namespace, true, now);
                if namespace.breaker.circuit() == Circuit::Closed {
                    namespace.cause = Cause::default();
                }
            }
            Some(Blame::Namespace) => {
                namespace.breaker.answered(tickets.namespace, false, now);
                failure.into_iter().for_each(|failure| namespace.cause.note(failure));
            }
            Some(Blame::Query | Blame::Source) => namespace.breaker.unsure(tickets.namespace, now),
        }
        if blame == Some(Blame::Query) {
            namespace.queries.retain(|_, known| known.is_recent(now));
            let breaker = Known::touch(namespace.queries.entry(query.clone()), now);
            breaker.answered_within(tickets.query, false, now, LONGEST_REST);
        } else if blame.is_some() {
            if let Some(known) = namespace.queries.get_mut(query) {
                known.of.unsure(tickets.query, now);
            }
        } else {
            namespace.queries.remove(query);
        }
    }

    /// What to tell people of the source: it is left alone where it is for all who asked lately.
    pub fn circuit(&self, now: Instant) -> Circuit {
        self.of_all(now).unwrap_or(self.source.circuit())
    }

    /// Why it is left alone, where it is: of what its namespaces are answered, what most of them are.
    pub fn cause(&self, now: Instant) -> Option<&'static str> {
        if self.of_all(now).is_none() {
            return self.cause.told().filter(|_| self.source.circuit() != Circuit::Closed);
        }
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for cause in self.recent(now).filter_map(|namespace| namespace.cause.told()) {
            *counts.entry(cause).or_default() += 1;
        }
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(cause, _)| cause)
    }

    /// The circuit of those who asked lately, where it is further open for all of them than that of the source.
    fn of_all(&self, now: Instant) -> Option<Circuit> {
        let all = self.recent(now).map(|namespace| namespace.breaker.circuit()).min_by_key(openness);
        all.filter(|all| openness(all) > openness(&self.source.circuit()))
    }

    fn recent(&self, now: Instant) -> impl Iterator<Item = &Namespace> {
        self.namespaces.values().filter(move |known| known.is_recent(now)).map(|known| &known.of)
    }
}

fn openness(circuit: &Circuit) -> u8 {
    match circuit {
        Circuit::Closed => 0,
        Circuit::HalfOpen => 1,
        Circuit::Open => 2,
    }
}

impl<T> Known<T> {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) <= KEPT
    }
}

impl<T: Default> Known<T> {
    /// What is known under a key, from now on.
    fn touch<K: Ord>(entry: std::collections::btree_map::Entry<'_, K, Known<T>>, now: Instant) -> &mut T {
        let known = entry.or_insert_with(|| Known { of: T::default(), at: now });
        known.at = now;
        &mut known.of
    }
}

#[cfg(test)]
mod tests {
    use super::super::breaker::{FIRST_WAIT, THRESHOLD};
    use super::*;
    use crate::clock::monotonic;

    fn query(namespace: &str, text: &str) -> Query {
        Query::for_tests(namespace, text)
    }

    /// A failure that counts against this.
    fn failure(blame: Blame) -> Failure {
        match blame {
            Blame::Query => Failure::TimedOut(Duration::from_secs(1)),
            Blame::Namespace => Failure::Status(401),
            Blame::Source => Failure::Refused,
        }
    }

    /// Left alone, because of that failure.
    fn open(blame: Blame) -> Option<Failure> {
        Some(Failure::Open(failure(blame).words()))
    }

    fn fail(circuits: &mut Circuits, query: &Query, blame: Blame, times: u32, now: Instant) {
        for _ in 0..times {
            let tickets = circuits.ask(query, now).unwrap();
            circuits.answered(query, tickets, Some(failure(blame)), now);
        }
    }

    #[test]
    fn each_failure_shuts_out_no_more_than_can_have_brought_it_about() {
        let (own, sibling, other) = (query("a", "up"), query("a", "down"), query("b", "up"));
        for (blame, shut) in [
            (Blame::Query, [Some(Failure::LeftAlone), None, None]),
            (Blame::Namespace, [open(Blame::Namespace), open(Blame::Namespace), None]),
            (Blame::Source, [open(Blame::Source); 3]),
        ] {
            let (mut circuits, now) = (Circuits::default(), monotonic());
            let tickets = circuits.ask(&other, now).unwrap();
            circuits.answered(&other, tickets, None, now);
            fail(&mut circuits, &own, blame, THRESHOLD - 1, now);
            assert_eq!(circuits.shut(&own, now), None, "{blame:?}");
            fail(&mut circuits, &own, blame, 1, now);
            assert_eq!([&own, &sibling, &other].map(|query| circuits.shut(query, now)), shut, "{blame:?}");
            let shown = if blame == Blame::Source { Circuit::Open } else { Circuit::Closed };
            assert_eq!(circuits.circuit(now), shown, "{blame:?}");
            let cause = (shown == Circuit::Open).then(|| Failure::Refused.words());
            assert_eq!(circuits.cause(now), cause, "{blame:?}");
        }
    }

    #[test]
    fn a_source_that_fails_all_who_ask_is_shown_as_open() {
        let (mut circuits, now) = (Circuits::default(), monotonic());
        for namespace in ["a", "b"] {
            fail(&mut circuits, &query(namespace, "up"), Blame::Namespace, THRESHOLD, now);
            assert_eq!(circuits.circuit(now), Circuit::Open, "{namespace}");
            assert_eq!(circuits.cause(now), Some(Failure::Status(401).words()));
        }
        let (well, later) = (query("c", "up"), now + Duration::from_secs(1));
        let tickets = circuits.ask(&well, later).unwrap();
        circuits.answered(&well, tickets, None, later);
        assert_eq!((circuits.circuit(later), circuits.cause(later)), (Circuit::Closed, None));
        assert_eq!(circuits.circuit(later + KEPT * 2), Circuit::Closed, "nothing is known any more");
    }

    #[test]
    fn a_probe_that_says_nothing_of_a_namespace_neither_closes_its_circuit_nor_doubles_its_wait() {
        let (mut circuits, mut now) = (Circuits::default(), monotonic());
        let asked = query("a", "up");
        fail(&mut circuits, &asked, Blame::Namespace, THRESHOLD, now);
        for blame in [Blame::Query, Blame::Source, Blame::Query] {
            now += FIRST_WAIT;
            fail(&mut circuits, &asked, blame, 1, now);
            assert_eq!(circuits.shut(&asked, now), open(Blame::Namespace), "{blame:?}");
        }
        now += FIRST_WAIT;
        let tickets = circuits.ask(&asked, now).unwrap();
        circuits.answered(&asked, tickets, None, now);
        assert_eq!(circuits.shut(&asked, now), None);
    }

    #[test]
    fn a_query_that_times_out_is_tried_again_within_a_minute_and_forgotten_once_it_is_answered() {
        let (mut circuits, mut now) = (Circuits::default(), monotonic());
        let asked = query("a", "up");
        fail(&mut circuits, &asked, Blame::Query, THRESHOLD, now);
        for _ in 0..10 {
            now += LONGEST_REST;
            fail(&mut circuits, &asked, Blame::Query, 1, now);
            assert_eq!(circuits.shut(&asked, now), Some(Failure::LeftAlone));
        }
        now += LONGEST_REST;
        let tickets = circuits.ask(&asked, now).unwrap();
        circuits.answered(&asked, tickets, None, now);
        assert!(circuits.namespaces["a"].of.queries.is_empty());
    }

    #[test]
    fn nothing_is_kept_of_whoever_asks_no_more() {
        let (mut circuits, mut now) = (Circuits::default(), monotonic());
        for i in 0..100 {
            now += KEPT / 10;
            fail(&mut circuits, &query(&format!("ns-{i}"), "up"), Blame::Namespace, 1, now);
            fail(&mut circuits, &query("a", &i.to_string()), Blame::Query, 1, now);
        }
        assert!(circuits.namespaces.len() <= 13, "{}", circuits.namespaces.len());
        assert!(circuits.namespaces["a"].of.queries.len() <= 12);
    }
}
