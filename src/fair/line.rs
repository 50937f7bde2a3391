//! Who waits for a place, and who gets the next one: a value that is given the time.
//!
//! A place goes to whoever of those that wait has the fewest, and of several to the one that was served the longest ago. So
//! however much one asks for, another waits for one place to become free, and for one token for each that waits like it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::bucket::Bucket;

/// The places of something that tenants share.
#[derive(Debug)]
pub(super) struct Line {
    places: usize,
    /// Places that one tenant may have.
    most: usize,
    rate: Option<Bucket>,
    tenants: BTreeMap<String, Tenant>,
    held: usize,
    tickets: u64,
    served: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    held: usize,
    /// By rank, then by arrival.
    waiting: BTreeSet<(u8, u64)>,
    /// Its number among all that were served, as of the last time; 0 before the first.
    last: u64,
}

/// One that waits, or has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    tenant: String,
    rank: u8,
    pub number: u64,
}

impl Line {
    /// So many places, at least one, and so many a second let in, if that is limited.
    ///
    /// Of four places and more a quarter is kept free from whoever has all the others.
    pub fn new(places: usize, per_second: Option<u32>, now: Instant) -> Line {
        let places = places.max(1);
        Line {
            places,
            most: places - places / 4,
            rate: per_second.map(|rate| Bucket::new(rate, now)),
            tenants: BTreeMap::new(),
            held: 0,
            tickets: 0,
            served: 0,
        }
    }

    /// Begins to wait. Of one tenant the lower rank goes first.
    pub fn ask(&mut self, tenant: &str, rank: u8) -> Ticket {
        self.tickets += 1;
        let number = self.tickets;
        self.tenants.entry(tenant.to_owned()).or_default().waiting.insert((rank, number));
        Ticket { tenant: tenant.to_owned(), rank, number }
    }

    /// Lets the next one in, if there is a place and a token for it. Returns its number.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        let tenant = self.next()?.to_owned();
        if self.rate.as_mut().is_some_and(|rate| !rate.take(now)) {
            return None;
        }
        self.served += 1;
        let served = self.served;
        let tenant = self.tenants.get_mut(&tenant)?;
        let (_, number) = tenant.waiting.pop_first()?;
        tenant.held += 1;
        tenant.last = served;
        self.held += 1;
        Some(number)
    }

    /// When the next one can be let in, where only the rate keeps it.
    pub fn ready_at(&self, now: Instant) -> Option<Instant> {
        self.next()?;
        self.rate.as_ref().map(|rate| rate.ready_at(now))
    }

    /// Gives the place back, or waits no more.
    pub fn leave(&mut self, ticket: &Ticket) {
        let Some(tenant) = self.tenants.get_mut(&ticket.tenant) else { return };
        if !tenant.waiting.remove(&(ticket.rank, ticket.number)) {
            tenant.held = tenant.held.saturating_sub(1);
            self.held = self.held.saturating_sub(1);
        }
        // Who was served when matters to those that wait.
        if self.tenants.values().all(|tenant| tenant.waiting.is_empty()) {
            self.tenants.retain(|_, tenant| tenant.held > 0);
        }
    }

    fn next(&self) -> Option<&str> {
        if self.held >= self.places {
            return None;
        }
        let may = |tenant: &Tenant| !tenant.waiting.is_empty() && tenant.held < self.most;
        let waiting = self.tenants.iter().filter(|(_, tenant)| may(tenant));
        waiting.min_by_key(|(_, tenant)| (tenant.held, tenant.last)).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests;
