//! Freezes by the clock: from days of the calendar to instants, in the zone of whoever declares them.

use std::ops::RangeInclusive;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::api::freeze::YearDay;
use crate::api::{Freeze, FreezeTime, MicroTime};

/// A freeze in its owner's zone.
#[derive(Clone, Debug, PartialEq)]
pub struct FreezeSpan {
    /// The name by which a raise is told to wait for it.
    pub name: String,
    span: Span,
}

#[derive(Clone, Debug, PartialEq)]
enum Span {
    /// From an instant up to another one.
    Once(MicroTime, MicroTime),
    /// Every year from a day to another one, both included, in this zone.
    Yearly(YearDay, YearDay, TimeZone),
}

impl FreezeSpan {
    /// The freeze that is declared, its dates in `zone`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(freeze: &Freeze, zone: &TimeZone) -> Result<FreezeSpan, &'static str> {
        let span = match (freeze.from, freeze.to, freeze.yearly) {
            (FreezeTime::Instant(from), FreezeTime::Instant(to), false) if from < to => Span::Once(from, to),
            (FreezeTime::Instant(_), FreezeTime::Instant(_), false) => {
                return Err("from must come before to");
            }
            (FreezeTime::Date(from), FreezeTime::Date(to), false) if from <= to => {
                let end = to.tomorrow().ok().and_then(|end| begin(end, zone)).unwrap_or(MicroTime::MAX);
                Span::Once(begin(from, zone).unwrap_or(MicroTime::MAX), end)
            }
            (FreezeTime::Date(_), FreezeTime::Date(_), false) => return Err("from must not come after to"),
            (FreezeTime::Day(from), FreezeTime::Day(to), true) => Span::Yearly(from, to, zone.clone()),
            _ => {
                return Err(
                    "from and to must have one form: two instants, two dates such as 2025-12-20, or with \
                     yearly: true two days such as 12-20",
                );
            }
        };
        Ok(FreezeSpan { name: freeze.name.clone(), span })
    }

    /// The end of the freeze where it is in force at `t`: later than `t`.
    pub fn end_at(&self, t: MicroTime) -> Option<MicroTime> {
        match &self.span {
            Span::Once(from, to) => (*from <= t && t < *to).then_some(*to),
            Span::Yearly(from, to, zone) => yearly_end(*from, *to, zone, t),
        }
    }

    /// When it begins next, later than `t`.
    pub fn next_begin(&self, t: MicroTime) -> Option<MicroTime> {
        match &self.span {
            Span::Once(from, _) => Some(*from).filter(|from| *from > t),
            Span::Yearly(from, to, zone) => {
                let year = t.to_zoned(zone.clone()).year();
                // A span of a leap day alone is there in every fourth year, or in the eighth over most turns of a century.
                let years = (-1..=8).map(|later| year.saturating_add(later));
                let begins = years.filter_map(|year| begin(from.first_from(year)?, zone));
                begins.filter(|begins| *begins > t && yearly_end(*from, *to, zone, *begins).is_some()).min()
            }
        }
    }

    /// From when to when it is, where it does not come back every year.
    pub fn once(&self) -> Option<(MicroTime, MicroTime)> {
        match self.span {
            Span::Once(from, to) => Some((from, to)),
            Span::Yearly(..) => None,
        }
    }

    /// From when to when it is where it begins in one of these years of its zone, and comes back every year.
    pub fn in_years(&self, years: RangeInclusive<i16>) -> impl Iterator<Item = (MicroTime, MicroTime)> {
        let yearly = match &self.span {
            Span::Once(..) => None,
            Span::Yearly(from, to, zone) => Some((*from, *to, zone)),
        };
        let spans = yearly.map(|(from, to, zone)| yearly_spans(from, to, zone, years));
        spans.into_iter().flatten().filter(|(begins, ends)| begins < ends)
    }
}

/// From when to when a yearly freeze is that begins in each of these years; a leap day alone may be no time at all.
fn yearly_spans(
    from: YearDay,
    to: YearDay,
    zone: &TimeZone,
    years: RangeInclusive<i16>,
) -> impl Iterator<Item = (MicroTime, MicroTime)> {
    let wraps = to < from;
    years.filter_map(move |year| {
        let last = if wraps { year.saturating_add(1) } else { year };
        let begins = begin(from.first_from(year)?, zone)?;
        Some((begins, to.first_after(last).and_then(|end| begin(end, zone)).unwrap_or(MicroTime::MAX)))
    })
}

/// The end of a yearly freeze in force at `t`.
fn yearly_end(from: YearDay, to: YearDay, zone: &TimeZone, t: MicroTime) -> Option<MicroTime> {
    let today = t.to_zoned(zone.clone()).date();
    let wraps = to < from;
    let has = |date: Date| {
        let day = YearDay::of(date);
        if wraps { from <= day || day <= to } else { from <= day && day <= to }
    };
    // A clock that goes back at midnight shows the date before again, so the neighbours count here.
    if ![today.yesterday().ok(), Some(today), today.tomorrow().ok()].into_iter().flatten().any(has) {
        return None;
    }
    let year = today.year();
    let spans = yearly_spans(from, to, zone, year.saturating_sub(1)..=year.saturating_add(1));
    spans.filter(|(begins, ends)| *begins <= t && t < *ends).map(|(_, ends)| ends).max()
}

/// The instant at which a local date begins; where a clock goes back over midnight, the first one. A date that never was
/// begins with the one after it.
fn begin(date: Date, zone: &TimeZone) -> Option<MicroTime> {
    Some(date.to_zoned(zone.clone()).ok()?.timestamp().into())
}

#[cfg(test)]
mod tests;
