//! The picture of a rollout's percentages over time, from its state and its plan.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use minijinja::Value;

use crate::api::{FeatureRolloutStatus, MicroTime, Percent};
use crate::dashboard::chart::{Band, Event, NARROW, Picture, Series, WIDE, svg};
use crate::dashboard::past::{Mark, Point, past};
use crate::dashboard::text::context;
use crate::engine::forecast::timeline::{Entry, Timeline};
use crate::plan::Plan;
use crate::plan::calendar::{self, Closed, Closure};

/// Windows are shown in pictures of no more time than this: else they would be too narrow to be told apart.
const FINE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Most freezes and closed windows that are drawn.
const MOST_CLOSURES: usize = 400;
/// The shortest stretch of time that is drawn.
const SHORTEST: SignedDuration = SignedDuration::from_hours(1);

/// What is drawn of a rollout.
pub struct Line<'a> {
    /// What it serves, and what happened; of one that is not in a cluster, nothing.
    pub status: &'a FeatureRolloutStatus,
    /// What comes.
    pub ahead: &'a Timeline,
    /// Its windows and freezes.
    pub plan: Option<&'a Plan>,
    /// Name of its zone.
    pub zone: &'a str,
    /// The present.
    pub now: MicroTime,
    /// What the picture shows, for whoever does not see it.
    pub title: String,
    /// Tells the pictures of one page apart.
    pub id: &'a str,
}

impl Line<'_> {
    /// The picture in both sizes, and what stands beside it; nothing where nothing is known.
    pub fn values(&self) -> Option<Value> {
        let names = self.names();
        let past = past(self.status);
        let first = past.first().map(|point| point.at).or(self.ahead.entries.first().map(|entry| entry.at));
        let from = first?.min(self.now);
        let last = self.ahead.completed_at.or(self.ahead.entries.last().map(|entry| entry.at));
        let end = last.unwrap_or(self.now).max(self.now);
        let length = end.duration_since(from).max(SHORTEST);
        // A little room behind the last step, so that one sees where it leads.
        let to = end.saturating_add(length / 16).max(from.saturating_add(SHORTEST));
        let series = names.iter().enumerate().map(|(i, name)| self.series(i, name, &past)).collect();
        let bands = self.bands(from, to);
        let closed = bands.iter().any(|band| band.name.is_none());
        let freezes = bands.iter().any(|band| band.name.is_some());
        let picture = Picture {
            series,
            bands,
            events: self.events(),
            now: self.now,
            from,
            to,
            zone: calendar::zone(self.zone).unwrap_or(TimeZone::UTC),
            title: self.title.clone(),
            id: self.id.to_owned(),
        };
        Some(context! {
            wide => svg(&picture, WIDE),
            narrow => svg(&picture, NARROW),
            legend => names,
            closed, freezes,
            oldest => past.first().map(|point| point.at.to_string()),
        })
    }

    fn names(&self) -> Vec<String> {
        let known: Vec<String> = self.status.cohorts.iter().map(|cohort| cohort.name.clone()).collect();
        match (known.is_empty(), self.ahead.entries.first()) {
            (true, Some(entry)) => entry.cohorts.iter().map(|(name, _)| name.clone()).collect(),
            _ => known,
        }
    }

    fn series(&self, i: usize, name: &str, past: &[Point]) -> Series {
        let mut points = Point::of(past, i);
        if points.is_empty() {
            let served = self.status.cohorts.get(i).map_or(Percent::ZERO, |cohort| cohort.decided());
            points.push((self.now, served));
        }
        let coming = |entry: &Entry| Some((entry.at, share(entry, name)?));
        points.extend(self.ahead.entries.iter().filter_map(coming));
        Series { name: name.to_owned(), points }
    }

    fn bands(&self, from: MicroTime, to: MicroTime) -> Vec<Band> {
        let Some(plan) = self.plan else { return Vec::new() };
        let is_long = to.duration_since(from) > FINE;
        let closures = plan.calendar.without(is_long, false).closures(from, to, MOST_CLOSURES);
        let band = |closure: Closure| Band {
            from: closure.from,
            to: closure.to,
            name: match closure.why {
                Closed::Freeze(name) => Some(name),
                Closed::Window(_) => None,
            },
        };
        closures.into_iter().map(band).collect()
    }

    fn events(&self) -> Vec<Event> {
        let event = |entry: &crate::api::status::HistoryEntry| {
            let mark = Mark::of(entry)?;
            let text = format!("{}, {}: {}", entry.reason.as_str(), entry.who, entry.message);
            Some(Event { at: entry.at, mark, text })
        };
        self.status.history.iter().filter_map(event).collect()
    }
}

/// What an entry gives a cohort.
pub fn share(entry: &Entry, cohort: &str) -> Option<Percent> {
    entry.cohorts.iter().find(|(name, _)| name == cohort).map(|(_, percent)| *percent)
}

/// What an entry changes against what was before, in words.
pub fn changes(entry: &Entry, before: &[(String, Percent)]) -> String {
    let was = |name: &str| before.iter().find(|(known, _)| known == name).map(|(_, percent)| *percent);
    let told = entry.cohorts.iter().filter(|(name, percent)| was(name) != Some(*percent));
    let told: Vec<String> =
        told.map(|(name, percent)| format!("{name} {} → {percent}", was(name).unwrap_or_default())).collect();
    told.join(", ")
}
