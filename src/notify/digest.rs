//! Digests: what rollouts do now, and what they have done, in a few lines each.

use jiff::tz::TimeZone;
use kube::ResourceExt;

use crate::api::conditions::{is_true, types};
use crate::api::notificationchannel::DigestKind;
use crate::api::trigger::MonitoringPeriod;
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime};

use super::message::{Message, Section};
use super::text;

/// Most lines of one section; the others are counted.
const MOST_ROWS: usize = 50;
/// Most bytes of one line.
const LONGEST_ROW: usize = 300;
/// Most bytes of the whole as text, which chats take in one message.
const LONGEST_TEXT: usize = 2800;

/// A digest at `now` of these rollouts; `since` is when the one before it was due. Nothing where there is nothing to say.
pub fn digest(
    kind: DigestKind,
    rollouts: &[&FeatureRollout],
    since: MicroTime,
    now: MicroTime,
    zone: &TimeZone,
) -> Option<Message> {
    let view = View { rollouts: sorted(rollouts), since, now, zone };
    let (title, sections) = match kind {
        DigestKind::Status => (format!("Rollouts on {}", view.day(now)), view.status()),
        DigestKind::Highlights => (format!("Completed since {}", view.day(since)), view.highlights()),
    };
    let sections: Vec<Section> = sections.into_iter().filter(|section| !section.rows.is_empty()).collect();
    if sections.is_empty() && kind == DigestKind::Highlights {
        return None;
    }
    let text = match sections.is_empty() {
        true => "There are no rollouts.".to_owned(),
        false => plain(&sections),
    };
    let text = text::lines(&text, LONGEST_TEXT);
    Some(Message { title, text, facts: Vec::new(), link: None, sections, problem: None })
}

/// A digest as text.
pub fn plain(sections: &[Section]) -> String {
    let section = |section: &Section| {
        let rows = section.rows.iter().map(|(name, says)| match says.is_empty() {
            true => format!("- {name}\n"),
            false => format!("- {name}: {says}\n"),
        });
        format!("{}\n{}", section.heading, rows.collect::<String>())
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

/// By namespace and name; those that nobody has worked on yet have nothing to tell.
fn sorted<'a>(rollouts: &[&'a FeatureRollout]) -> Vec<(&'a FeatureRollout, &'a FeatureRolloutStatus)> {
    let mut all: Vec<_> = rollouts
        .iter()
        .filter_map(|rollout| Some((*rollout, rollout.status.as_ref()?)))
        .filter(|(rollout, status)| status.uid == rollout.uid())
        .collect();
    all.sort_by_key(|(rollout, _)| (rollout.namespace(), rollout.name_any()));
    all
}

struct View<'a> {
    rollouts: Vec<(&'a FeatureRollout, &'a FeatureRolloutStatus)>,
    since: MicroTime,
    now: MicroTime,
    zone: &'a TimeZone,
}

impl View<'_> {
    fn day(&self, at: MicroTime) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d").to_string()
    }

    /// A local time, with its zone where that is not UTC.
    fn time(&self, at: MicroTime) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
    }

    fn status(&self) -> Vec<Section> {
        let attention = self.rows(|_, status| needs_attention(status));
        let reviews = self.rows(|rollout, status| self.review(rollout, status));
        let waiting = self.rows(|_, status| self.waits(status));
        let served = self.rows(|_, status| self.serves(status));
        vec![
            Section { heading: "Needs attention", rows: attention },
            Section { heading: "Reviews that are due", rows: reviews },
            Section { heading: "Waits", rows: waiting },
            Section { heading: "What is served", rows: served },
        ]
    }

    fn highlights(&self) -> Vec<Section> {
        let completed = self.rows(|rollout, status| {
            let at = status.completed_at.filter(|at| *at > self.since && *at <= self.now)?;
            let told = words(rollout).map(|words| format!("{words}; ")).unwrap_or_default();
            Some(format!("{told}{}", self.time(at)))
        });
        vec![Section { heading: "Completed", rows: completed }]
    }

    /// A line of each rollout that has something to say.
    fn rows(
        &self,
        says: impl Fn(&FeatureRollout, &FeatureRolloutStatus) -> Option<String>,
    ) -> Vec<(String, String)> {
        let all =
            self.rollouts.iter().filter_map(|(rollout, status)| Some((rollout, says(rollout, status)?)));
        let mut rows: Vec<(String, String)> = all
            .map(|(rollout, says)| {
                let name = format!("{}/{}", rollout.namespace().unwrap_or_default(), rollout.name_any());
                (name, text::line(&says, LONGEST_ROW))
            })
            .collect();
        let more = rows.len().saturating_sub(MOST_ROWS);
        if more > 0 {
            rows.truncate(MOST_ROWS);
            rows.push((format!("and {more} more"), String::new()));
        }
        rows
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
    fn review(&self, rollout: &FeatureRollout, status: &FeatureRolloutStatus) -> Option<String> {
        let completed = status.completed_at?;
        let period = period(&rollout.spec.monitoring, completed, self.now)?;
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
