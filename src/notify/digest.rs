//! Digests: what rollouts do now, and what they have done, in a few lines each.

use jiff::tz::TimeZone;
use kube::ResourceExt;

use crate::api::conditions::{is_true, types};
use crate::api::notificationchannel::DigestKind;
use crate::api::trigger::MonitoringPeriod;
use crate::api::{Cohort, FeatureRollout, FeatureRolloutStatus, MicroTime};

use super::channel::Planned;
use super::cohorts;
use super::message::{Details, Message, Row, Section};
use super::text;

/// The heading of what somebody should see to.
pub const ATTENTION: &str = "Needs attention";
/// Most lines of one section; the others are counted.
pub(super) const MOST_ROWS: usize = 50;
/// Most bytes of one line.
pub(super) const LONGEST_ROW: usize = 300;
/// Most bytes of the whole as text, which chats take in one message.
pub(super) const LONGEST_TEXT: usize = 2800;

/// A rollout, and what is known besides of whom it concerns.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The rollout.
    pub rollout: &'a FeatureRollout,
    /// The care after the release that it is held to, by itself or by a policy.
    pub monitoring: &'a [MonitoringPeriod],
    /// How it divides its users; nothing where that is not known.
    pub division: Option<Division<'a>>,
}

/// Cohorts in the order in which they match.
#[derive(Clone, Copy, Debug)]
pub struct Division<'a> {
    /// Name of the CohortSet; absent where the rollout has them for itself.
    pub set: Option<&'a str>,
    /// The cohorts.
    pub cohorts: &'a [Cohort],
}

impl<'a> Told<'a> {
    /// The status, where it is that of this very object and something has been decided.
    pub(super) fn status(&self) -> Option<&'a FeatureRolloutStatus> {
        self.rollout.status.as_ref().filter(|status| status.uid == self.rollout.uid())
    }

    /// Namespace and name.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.rollout.namespace().unwrap_or_default(), self.rollout.name_any())
    }
}

/// A digest that is due at `at`, a time of its schedule; `sent` is the time that it was sent for last. Nothing where there is
/// nothing to say.
pub fn of(planned: &Planned, told: &[Told<'_>], sent: MicroTime, at: MicroTime) -> Option<Message> {
    let schedule = &planned.schedule;
    let view = || View { rollouts: sorted(told), since: sent, now: at, zone: schedule.zone() };
    match planned.digest.kind {
        DigestKind::Status => Some(view().status()),
        DigestKind::Highlights => view().highlights(),
        DigestKind::Cohorts => cohorts::message(schedule, &planned.digest.cohorts, told, sent, at),
    }
}

/// A digest in these words; one without sections has `otherwise` as its text.
fn digest(title: String, sections: Vec<Section>, otherwise: &str) -> Message {
    let text = match sections.is_empty() {
        true => otherwise.to_owned(),
        false => plain(&sections),
    };
    let text = text::lines(&text, LONGEST_TEXT);
    let details = if sections.is_empty() { Details::None } else { Details::Sections(sections) };
    Message { title, text, facts: Vec::new(), link: None, details, problem: None }
}

/// A digest as text.
pub fn plain(sections: &[Section]) -> String {
    let section = |section: &Section| {
        let rows = section.rows.iter().map(|row| match row.says.is_empty() {
            true => format!("- {}\n", row.name),
            false => format!("- {}: {}\n", row.name, row.says),
        });
        format!("{}\n{}", section.heading, rows.collect::<String>())
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

/// By namespace and name; those that nobody has worked on yet have nothing to tell.
pub(super) fn sorted<'a>(told: &[Told<'a>]) -> Vec<(Told<'a>, &'a FeatureRolloutStatus)> {
    let mut all: Vec<_> = told.iter().filter_map(|told| Some((*told, told.status()?))).collect();
    all.sort_by_key(|(told, _)| (told.rollout.namespace(), told.rollout.name_any()));
    all
}

/// A local date.
pub(super) fn day(at: MicroTime, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string()
}

/// A local time, with its zone.
pub(super) fn time(at: MicroTime, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

/// Rows of which the last ones are counted where there are too many.
pub(super) fn bounded(mut rows: Vec<Row>) -> Vec<Row> {
    let more = rows.len().saturating_sub(MOST_ROWS);
    if more > 0 {
        rows.truncate(MOST_ROWS);
        let name = format!("and {more} more");
        rows.push(Row { rollout: String::new(), name, says: String::new(), percent: None });
    }
    rows
}

struct View<'a> {
    rollouts: Vec<(Told<'a>, &'a FeatureRolloutStatus)>,
    since: MicroTime,
    now: MicroTime,
    zone: &'a TimeZone,
}

impl View<'_> {
    fn time(&self, at: MicroTime) -> String {
        time(at, self.zone)
    }

    fn status(&self) -> Message {
        let attention = self.rows(|_, status| needs_attention(status));
        let reviews = self.rows(|told, status| self.review(told, status));
        let waiting = self.rows(|_, status| self.waits(status));
        let served = self.rows(|_, status| self.serves(status));
        let all = [
            Section { heading: ATTENTION, rows: attention },
            Section { heading: "Reviews that are due", rows: reviews },
            Section { heading: "Waits", rows: waiting },
            Section { heading: "What is served", rows: served },
        ];
        let said = all.into_iter().filter(|section| !section.rows.is_empty()).collect();
        digest(format!("Rollouts on {}", day(self.now, self.zone)), said, "There are no rollouts.")
    }

    fn highlights(&self) -> Option<Message> {
        let completed = self.rows(|told, status| {
            let at = status.completed_at.filter(|at| *at > self.since && *at <= self.now)?;
            let told = words(told.rollout).map(|words| format!("{words}; ")).unwrap_or_default();
            Some(format!("{told}{}", self.time(at)))
        });
        let section = Section { heading: "Completed", rows: completed };
        let title = format!("Completed since {}", day(self.since, self.zone));
        (!section.rows.is_empty()).then(|| digest(title, vec![section], ""))
    }

    /// A line of each rollout that has something to say.
    fn rows(&self, says: impl Fn(&Told<'_>, &FeatureRolloutStatus) -> Option<String>) -> Vec<Row> {
        let all = self.rollouts.iter().filter_map(|(told, status)| {
            let says = text::line(&says(told, status)?, LONGEST_ROW);
            let name = told.full_name();
            Some(Row { rollout: name.clone(), name, says, percent: None })
        });
        bounded(all.collect())
    }

    fn waits(&self, status: &FeatureRolloutStatus) -> Option<String> {
        if status.completed_at.is_some() || needs_attention(status).is_some() {
            return None;
        }
        let waiting = status.waiting_for.as_ref()?;
        let until = waiting.until.map(|until| format!(" ({})", self.time(until))).unwrap_or_default();
        Some(format!("{}{until}", waiting.message))
    }

    fn serves(&self, status: &FeatureRolloutStatus) -> Option<String> {
        let served = status.served.clone()?;
        let state = status.state.map(|state| state.as_str()).unwrap_or_default();
        let step = match (&status.phase, &status.step) {
            (Some(phase), Some(step)) => format!(", {phase} {step}"),
            _ => String::new(),
        };
        let exposure = status.exposure.as_ref().map(|exposure| format!(" ({exposure} of all)"));
        Some(format!("{state}{step}: {served}{}", exposure.unwrap_or_default()))
    }

    /// Whether people should have looked at a finished rollout by now. An acknowledgement says that they have.
    fn review(&self, told: &Told<'_>, status: &FeatureRolloutStatus) -> Option<String> {
        let completed = status.completed_at?;
        let period = period(told.monitoring, completed, self.now)?;
        let every = period.review_every?;
        let last = status.acknowledged_at.map_or(completed, |at| at.max(completed));
        let due = last.saturating_add(every.signed());
        (due <= self.now)
            .then(|| format!("since {} (every {every} in the period {})", self.time(due), period.name))
    }
}

/// What users are told of a feature, as in the changelog: the title of the announcement and where to read more; else the
/// title of the feature.
fn words(rollout: &FeatureRollout) -> Option<String> {
    let Some(announcement) = &rollout.spec.announcement else {
        return rollout.spec.feature.as_ref()?.title.clone();
    };
    let link = announcement.link.as_ref().map(|link| format!(" ({link})"));
    Some(format!("{}{}", announcement.title, link.unwrap_or_default()))
}

/// The period of monitoring that a finished rollout is in.
fn period(periods: &[MonitoringPeriod], completed: MicroTime, now: MicroTime) -> Option<&MonitoringPeriod> {
    let passed = now.duration_since(completed);
    periods.iter().find(|period| period.until.is_none_or(|until| passed < until.signed()))
}

/// Why somebody should look at a rollout.
fn needs_attention(status: &FeatureRolloutStatus) -> Option<String> {
    if let Some(rollback) = &status.rollback {
        let verified = if rollback.verified_at.is_some() { "verified" } else { "not verified" };
        return Some(format!("rolled back, {verified}: {}", rollback.message));
    }
    let says = |type_: &str| {
        let found = status.conditions.iter().find(|condition| condition.type_ == type_);
        found.map(|condition| format!("{}: {}", condition.reason, condition.message)).unwrap_or_default()
    };
    if is_true(&status.conditions, types::STALLED) {
        return Some(format!("stalled, {}", says(types::STALLED)));
    }
    if !status.pauses.is_empty() {
        return Some(format!("paused, {}", says(types::PAUSED)));
    }
    let is_waiting = status.waiting_for.as_ref().map(|waiting| waiting.check.as_str());
    if is_waiting == Some("Approval") || is_waiting == Some("Missed") {
        return status.waiting_for.as_ref().map(|waiting| waiting.message.clone());
    }
    is_true(&status.conditions, types::RECONCILING)
        .then(|| says(types::RECONCILING))
        .filter(|_| status.undelivered.is_some())
}

#[cfg(test)]
mod tests;
