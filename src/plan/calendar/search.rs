//! The search for the next instant at which a calendar lets a raise through.
//!
//! Somebody's windows and freezes may lie just so that the search moves on thousands of times, from one opening that another list or a
//! freeze shuts to the next. So each move has to be cheap: local dates become instants once, freezes that meet become one, and a
//! move only compares instants.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Calendar, WindowList};
use crate::api::MicroTime;

/// How often a search moves on: a list has at most 6,400 openings in the time that is searched, but somebody's freezes may lie just so
/// that each leads to the next.
const MOST_MOVES: usize = 65_536;
/// Dates of one list that are kept: a search looks at yesterday, today, and two weeks from then on.
const MOST_DATES: usize = 64;

/// A stretch of time, without its end.
type Span = (MicroTime, MicroTime);

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Where it came to: before this nothing is open from where it began.
    pub at: MicroTime,
    /// How far it would have gone.
    pub horizon: MicroTime,
    /// Whether a raise may happen there.
    pub is_open: bool,
}

/// What a search knows of a calendar by now.
pub(super) struct Search<'a> {
    calendar: &'a Calendar,
    /// Freezes that do not come back, those that meet as one, in their order.
    once: Vec<Span>,
    /// The yearly ones around each year that was looked at.
    yearly: BTreeMap<i16, Vec<Span>>,
    lists: Vec<Dates<'a>>,
}

impl<'a> Search<'a> {
    pub(super) fn of(calendar: &'a Calendar) -> Search<'a> {
        Search {
            calendar,
            once: merged(calendar.freezes.iter().filter_map(|freeze| freeze.once()).collect()),
            yearly: BTreeMap::new(),
            lists: calendar.lists.iter().map(Dates::of).collect(),
        }
    }

    /// Looks from `at` on, up to `horizon`, and as far again beyond the end of each freeze that does not come back.
    pub(super) fn run(mut self, mut at: MicroTime, mut horizon: MicroTime) -> Ended {
        'search: for _ in 0..MOST_MOVES {
            if at > horizon {
                break;
            }
            if let Some((end, is_once)) = self.frozen_until(at) {
                at = end;
                if is_once {
                    horizon = horizon.max(end.saturating_add(super::HORIZON));
                }
                continue;
            }
            for list in &mut self.lists {
                if !list.is_open(at) {
                    let Some(opening) = list.next_opening(at) else { break 'search };
                    at = opening;
                    continue 'search;
                }
            }
            return Ended { at, horizon, is_open: true };
        }
        Ended { at, horizon, is_open: false }
    }

    /// The end of the freezes in force at an instant, and whether one of them does not come back.
    fn frozen_until(&mut self, at: MicroTime) -> Option<(MicroTime, bool)> {
        let once = covering(&self.once, at);
        let year = at.to_zoned(TimeZone::UTC).year();
        let calendar = self.calendar;
        let yearly = self.yearly.entry(year).or_insert_with(|| {
            // A date of a zone may be of the year before or after, and a freeze may begin in the year before that.
            let years = year.saturating_sub(2)..=year.saturating_add(2);
            merged(calendar.freezes.iter().flat_map(|freeze| freeze.in_years(years.clone())).collect())
        });
        let end = once.max(covering(yearly, at))?;
        Some((end, once.is_some()))
    }
}

/// The windows of a list by local dates.
pub(super) struct Dates<'a> {
    list: &'a WindowList,
    of: BTreeMap<Date, Vec<Span>>,
}

impl<'a> Dates<'a> {
    pub(super) fn of(list: &'a WindowList) -> Dates<'a> {
        Dates { list, of: BTreeMap::new() }
    }

    fn date(&self, t: MicroTime) -> Date {
        t.to_zoned(self.list.zone.clone()).date()
    }

    fn on(&mut self, date: Date) -> &[Span] {
        if self.of.len() > MOST_DATES {
            self.of.clear();
        }
        let list = self.list;
        self.of.entry(date).or_insert_with(|| list.on(date).collect())
    }

    pub(super) fn is_open(&mut self, t: MicroTime) -> bool {
        let date = self.date(t);
        // An end of 24:00 that falls into a gap ends on the next date's clock.
        let dates = [Some(date), date.yesterday().ok()].into_iter().flatten();
        dates.into_iter().any(|date| self.on(date).iter().any(|(from, to)| *from <= t && t < *to))
    }

    /// The first opening after `t`. Two weeks hold every weekday twice, so a gap cannot hide them all.
    pub(super) fn next_opening(&mut self, t: MicroTime) -> Option<MicroTime> {
        let mut date = self.date(t);
        for _ in 0..15 {
            let opening = self.on(date).iter().map(|(from, _)| *from).filter(|from| *from > t).min();
            if opening.is_some() {
                return opening;
            }
            date = date.tomorrow().ok()?;
        }
        None
    }
}

/// The spans in their order, those that overlap or meet as one.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut found: Vec<Span> = Vec::new();
    for (from, to) in spans {
        match found.last_mut().filter(|(_, end)| *end >= from) {
            Some((_, end)) => *end = to.max(*end),
            None => found.push((from, to)),
        }
    }
    found
}

/// The end of the one of merged spans that an instant is in.
fn covering(spans: &[Span], t: MicroTime) -> Option<MicroTime> {
    let before = spans.partition_point(|(from, _)| *from <= t).checked_sub(1)?;
    spans.get(before).map(|(_, to)| *to).filter(|to| t < *to)
}
