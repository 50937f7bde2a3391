//! Axes: where an instant or a value lies, and which of them are worth a label.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan, Zoned};

use crate::api::MicroTime;

/// A stretch of time, as a zone's clocks and calendars show it.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeAxis {
    from: MicroTime,
    to: MicroTime,
    zone: TimeZone,
}

/// An instant that is worth a line and a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The instant.
    pub at: MicroTime,
    /// What it is called, such as `8 Sep` or `09:00`.
    pub label: String,
}

/// Distances of ticks: the finest that leaves room for their labels is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Minutes(i64),
    Days(i64),
    Weeks(i64),
    Months(i64),
}

const STEPS: [Step; 18] = [
    Step::Minutes(1),
    Step::Minutes(5),
    Step::Minutes(15),
    Step::Minutes(30),
    Step::Minutes(60),
    Step::Minutes(180),
    Step::Minutes(360),
    Step::Minutes(720),
    Step::Days(1),
    Step::Days(2),
    Step::Weeks(1),
    Step::Weeks(2),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Months(12),
    Step::Months(60),
];

/// Ticks beyond this number are not looked at: no page has room for them.
const MOST_TICKS: usize = 400;

impl TimeAxis {
    /// From an instant to a later one; where it is not later, to an hour later.
    pub fn new(from: MicroTime, to: MicroTime, zone: TimeZone) -> TimeAxis {
        let to = if to > from { to } else { from.saturating_add(SignedDuration::from_hours(1)) };
        TimeAxis { from, to, zone }
    }

    /// Its first instant.
    pub fn from(&self) -> MicroTime {
        self.from
    }

    /// Its last instant.
    pub fn to(&self) -> MicroTime {
        self.to
    }

    /// The zone of its labels.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Where an instant lies: 0 is the beginning and 1 the end; what lies outside is moved to the nearer one.
    pub fn position(&self, at: MicroTime) -> f64 {
        let length = self.to.duration_since(self.from).as_secs_f64();
        (at.duration_since(self.from).as_secs_f64() / length).clamp(0.0, 1.0)
    }

    /// Whether an instant lies on it.
    pub fn has(&self, at: MicroTime) -> bool {
        self.from <= at && at <= self.to
    }

    /// At most so many instants that people think in: full hours, days, Mondays, firsts of months, by the zone's clock.
    pub fn ticks(&self, most: usize) -> Vec<Tick> {
        let most = most.clamp(1, MOST_TICKS);
        let days = self.to.duration_since(self.from).as_secs_f64() / 86_400.0;
        let fits = |step: &Step| days / step.days() <= most as f64;
        let mut fallback = Vec::new();
        for step in STEPS.into_iter().filter(fits) {
            let ticks = self.every(step);
            if !ticks.is_empty() && ticks.len() <= most {
                return ticks;
            }
            fallback = ticks;
        }
        fallback.truncate(most);
        fallback
    }

    /// The weeks that begin on the axis, counted from 1 at an instant, each at that local time on the civil calendar.
    pub fn weeks(&self, first: MicroTime) -> Vec<Tick> {
        let start = first.to_zoned(self.zone.clone()).datetime();
        let week = |n: i64| {
            let local = start.checked_add((n - 1).weeks()).ok()?;
            let at: MicroTime = local.to_zoned(self.zone.clone()).ok()?.timestamp().into();
            Some(Tick { at, label: format!("week {n}") })
        };
        let weeks = (1..).map_while(week).take(MOST_TICKS).take_while(|tick| tick.at < self.to);
        weeks.filter(|tick| tick.at >= self.from).collect()
    }

    fn every(&self, step: Step) -> Vec<Tick> {
        let mut ticks = Vec::new();
        let mut last: Option<Zoned> = None;
        let mut next = step.first(&self.from.to_zoned(self.zone.clone()));
        for _ in 0..MOST_TICKS {
            let Some(zoned) = next else { break };
            let at = MicroTime::from(zoned.timestamp());
            if at > self.to {
                break;
            }
            if at >= self.from {
                ticks.push(Tick { at, label: step.label(&zoned, last.as_ref()) });
                last = Some(zoned.clone());
            }
            next = step.next(&zoned);
        }
        ticks
    }
}

impl Step {
    fn days(self) -> f64 {
        match self {
            Step::Minutes(n) => n as f64 / 1440.0,
            Step::Days(n) => n as f64,
            Step::Weeks(n) => 7.0 * n as f64,
            Step::Months(n) => 30.4 * n as f64,
        }
    }

    /// The last such instant at or before another.
    fn first(self, from: &Zoned) -> Option<Zoned> {
        let date = from.date();
        let begin = |date: Date| date.to_zoned(from.time_zone().clone()).ok();
        match self {
            Step::Minutes(n) => {
                let minutes = i64::from(from.hour()) * 60 + i64::from(from.minute());
                begin(date)?
                    .datetime()
                    .checked_add((minutes - minutes % n).minutes())
                    .ok()
                    .and_then(|local| local.to_zoned(from.time_zone().clone()).ok())
            }
            Step::Days(_) => begin(date),
            Step::Weeks(_) => begin(monday(date)?),
            Step::Months(n) => {
                let month = i64::from(date.month()) - 1;
                let back = if n <= 12 { month % n } else { month + 12 * (i64::from(date.year()) % (n / 12)) };
                begin(date.first_of_month().checked_sub(back.months()).ok()?)
            }
        }
    }

    fn next(self, at: &Zoned) -> Option<Zoned> {
        let begin = |date: Date| date.to_zoned(at.time_zone().clone()).ok();
        match self {
            // By the clock, and again from midnight: so ticks are at the same times of every day.
            Step::Minutes(n) => {
                let next = at.datetime().checked_add(n.minutes()).ok()?;
                match next.date() == at.date() {
                    true => next.to_zoned(at.time_zone().clone()).ok(),
                    false => begin(at.date().tomorrow().ok()?),
                }
            }
            Step::Days(n) => begin(at.date().checked_add(n.days()).ok()?),
            Step::Weeks(n) => begin(at.date().checked_add(n.weeks()).ok()?),
            Step::Months(n) => begin(at.date().checked_add(n.months()).ok()?),
        }
    }

    /// What a tick is called: what is new since the last one, and the year where that changes.
    fn label(self, at: &Zoned, last: Option<&Zoned>) -> String {
        let new_day = last.is_none_or(|last| last.date() != at.date());
        let new_year = last.is_some_and(|last| last.year() != at.year());
        let text = match self {
            Step::Minutes(_) if new_day && at.hour() == 0 && at.minute() == 0 => "%-d %b",
            Step::Minutes(_) if last.is_none() => "%-d %b %H:%M",
            Step::Minutes(_) => "%H:%M",
            Step::Days(_) | Step::Weeks(_) if new_year => "%-d %b %Y",
            Step::Days(_) | Step::Weeks(_) => "%-d %b",
            Step::Months(n) if n >= 12 => "%Y",
            Step::Months(_) if new_year || last.is_none() => "%b %Y",
            Step::Months(_) => "%b",
        };
        at.strftime(text).to_string()
    }
}

fn monday(date: Date) -> Option<Date> {
    let back = date.weekday().since(Weekday::Monday);
    date.checked_sub(i64::from(back).days()).ok()
}

/// A stretch of values, with ticks at round numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueAxis {
    low: f64,
    high: f64,
    step: f64,
}

impl ValueAxis {
    /// From 0 to 100, a line each 25.
    pub const PERCENT: ValueAxis = ValueAxis { low: 0.0, high: 100.0, step: 25.0 };

    /// An axis that holds all of these values and 0, with about so many lines; what is no number is passed over.
    pub fn of(values: impl IntoIterator<Item = f64>, lines: usize) -> ValueAxis {
        let (mut low, mut high) = (0.0_f64, 0.0_f64);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        // Beyond this the distance of two values is no number any more.
        let (low, high) = (low.max(-f64::MAX / 4.0), high.min(f64::MAX / 4.0));
        let high = if high > low { high } else { low + 1.0 };
        let rough = (high - low) / lines.max(1) as f64;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough);
        let step = step.filter(|step| step.is_finite() && *step > 0.0).unwrap_or(high - low);
        ValueAxis { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// Where a value lies: 0 is the lowest and 1 the highest; what lies outside is moved to the nearer one.
    pub fn position(&self, value: f64) -> f64 {
        let place = (value - self.low) / (self.high - self.low);
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The values that have a line.
    pub fn ticks(&self) -> Vec<f64> {
        let lines = ((self.high - self.low) / self.step).round().clamp(0.0, 50.0) as usize;
        (0..=lines).map(|n| self.low + n as f64 * self.step).collect()
    }

    /// A value in few letters: `1200`, `0.25`, `3e9`.
    pub fn label(value: f64) -> String {
        let value = if value == 0.0 { 0.0 } else { value };
        let size = value.abs();
        if size != 0.0 && !(1e-5..1e7).contains(&size) {
            return format!("{value:.1e}");
        }
        // What is lost in binary would show as 0.30000000000000004.
        let decimals = if size >= 100.0 {
            0
        } else if size >= 1.0 {
            2
        } else {
            5
        };
        let text = format!("{value:.decimals$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    }
}

#[cfg(test)]
mod tests;
