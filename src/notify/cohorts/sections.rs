//! What a report about one cohort says of each rollout.

use jiff::tz::TimeZone;
use kube::ResourceExt;

use crate::api::featurerollout::{Phase, Step};
use crate::api::status::{Check, CohortStatus, HistoryEntry};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, Reason, Verdict};

use crate::notify::digest::{LONGEST_ROW, Told, bounded, time};
use crate::notify::message::{Row, Section};
use crate::notify::text;

/// A rollout, as one cohort sees it.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The rollout.
    pub told: Told<'a>,
    /// Its status.
    pub status: &'a FeatureRolloutStatus,
    /// The cohort in it.
    pub cohort: &'a CohortStatus,
    /// The names of the other cohorts.
    pub others: &'a [&'a str],
}

/// What there is to say, and the percentage that it is about, where it is about one.
type Said = (String, Option<Percent>);

/// The whole report, without what has nothing to say.
pub fn sections(subjects: &[Subject<'_>], since: MicroTime, now: MicroTime, zone: &TimeZone) -> Vec<Section> {
    let each = |says: &dyn Fn(&Subject<'_>) -> Vec<Said>| -> Vec<Row> {
        subjects.iter().flat_map(|subject| says(subject).into_iter().map(|said| subject.row(said))).collect()
    };
    let mut changes: Vec<(MicroTime, Row)> = subjects
        .iter()
        .flat_map(|subject| subject.changes(since, now).map(move |(entry, says)| (subject, entry, says)))
        .map(|(subject, entry, says)| {
            (entry.at, subject.row((format!("{}: {says}", time(entry.at, zone)), None)))
        })
        .collect();
    changes.sort_by_key(|(at, _)| *at);
    let all = [
        ("What they get", each(&|subject| subject.gets(zone).into_iter().collect())),
        ("What they do not get", each(&|subject| subject.lacks().into_iter().collect())),
        ("What has changed", changes.into_iter().map(|(_, row)| row).collect()),
        ("What was measured", each(&|subject| subject.measured(zone))),
        ("What comes next", each(&|subject| subject.next(now, zone).into_iter().collect())),
    ];
    all.into_iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(heading, rows)| Section { heading, rows: bounded(rows) })
        .collect()
}

/// All of it in a line.
pub fn summary(subjects: &[Subject<'_>], since: MicroTime, now: MicroTime) -> String {
    let served = subjects.iter().filter(|subject| !subject.percent().is_zero()).count();
    let changes: usize = subjects.iter().map(|subject| subject.changes(since, now).count()).sum();
    let bad: usize = subjects.iter().map(|subject| subject.bad().count()).sum();
    let bad = match bad {
        0 => "no trigger is out of bounds".to_owned(),
        1 => "1 trigger is out of bounds, or not measured".to_owned(),
        bad => format!("{bad} triggers are out of bounds, or not measured"),
    };
    let changes = match changes {
        0 => "nothing has changed".to_owned(),
        1 => "1 change".to_owned(),
        changes => format!("{changes} changes"),
    };
    format!("gets {served} of {} features; {changes}; {bad}", subjects.len())
}

impl Subject<'_> {
    fn percent(&self) -> Percent {
        self.cohort.served.percent()
    }

    fn row(&self, (says, percent): Said) -> Row {
        let title = self.told.rollout.spec.feature.as_ref().and_then(|feature| feature.title.clone());
        Row {
            rollout: self.told.full_name(),
            name: text::line(&title.unwrap_or_else(|| self.told.rollout.name_any()), LONGEST_ROW),
            says: text::line(&says, LONGEST_ROW),
            percent,
        }
    }

    fn gets(&self, zone: &TimeZone) -> Option<Said> {
        let percent = self.percent();
        if percent.is_zero() {
            return None;
        }
        let since = self.cohort.exposed_at.map(|at| format!(", the first of them since {}", time(at, zone)));
        Some((format!("{percent}{}{}", since.unwrap_or_default(), self.standing()), Some(percent)))
    }

    /// What stands in the way of the whole rollout, or that it is over.
    fn standing(&self) -> &'static str {
        if self.status.rollback.is_some() {
            return "; rolled back";
        }
        if !self.status.pauses.is_empty() {
            return "; paused";
        }
        if self.status.completed_at.is_some() { "; completed" } else { "" }
    }

    /// Why they get nothing, where nothing is to come either.
    fn lacks(&self) -> Option<Said> {
        if !self.percent().is_zero() || self.upcoming().is_some() {
            return None;
        }
        let why = if self.cohort.tier_refused {
            let feature = self.told.rollout.spec.feature.as_ref();
            let tier = feature.map(|feature| feature.tier).unwrap_or_default();
            format!("the cohort does not take part in features of the tier {tier:?}")
        } else if let Some(rollback) = &self.status.rollback {
            format!("rolled back: {}", rollback.message)
        } else {
            "no step that is still to come asks for it".to_owned()
        };
        Some((why, None))
    }

    /// What has happened to these users, oldest first.
    fn changes(&self, since: MicroTime, now: MicroTime) -> impl Iterator<Item = (&HistoryEntry, String)> {
        let within = self.status.history.iter().filter(move |entry| entry.at > since && entry.at <= now);
        within.filter(|entry| is_change(entry.reason)).filter_map(|entry| {
            let message = entry.told(self.status.delivered_revision);
            Some((entry, concerning(&message, &self.cohort.name, self.others)?))
        })
    }

    /// What was measured of them and is not as it should be.
    fn bad(&self) -> impl Iterator<Item = &str> {
        let is_exposed = self.cohort.is_exposed();
        let triggers = self.status.triggers.iter().filter(move |trigger| {
            is_exposed
                && (trigger.cohort.is_empty() || trigger.cohort == self.cohort.name)
                && trigger.verdict != Verdict::Pass
        });
        triggers.map(|trigger| trigger.name.as_str())
    }

    fn measured(&self, zone: &TimeZone) -> Vec<Said> {
        if !self.cohort.is_exposed() {
            return Vec::new();
        }
        let value = |value: &Option<String>, at: Option<MicroTime>| match (value, at) {
            (Some(value), Some(at)) => format!(", {value} ({})", time(at, zone)),
            (Some(value), None) => format!(", {value}"),
            (None, _) => String::new(),
        };
        let mut said = Vec::new();
        let mut quiet = 0;
        for trigger in &self.status.triggers {
            let is_own = trigger.cohort == self.cohort.name;
            let whose = match (is_own, trigger.cohort.is_empty()) {
                (true, _) => " of this cohort",
                (false, true) => " of all users",
                (false, false) => continue,
            };
            if !is_own && trigger.verdict == Verdict::Pass {
                quiet += 1;
                continue;
            }
            let value = value(&trigger.value, trigger.at);
            said.push(format!("{}{whose}: {}{value}", trigger.name, judged(trigger.verdict)));
        }
        match quiet {
            0 => {}
            1 => said.push("the trigger that measures all users is quiet".to_owned()),
            quiet => said.push(format!("{quiet} triggers that measure all users are quiet")),
        }
        for criterion in &self.status.criteria {
            let met = match criterion.verdict {
                Some(Verdict::Pass) => "met",
                Some(Verdict::Breach) => "not met",
                Some(_) => "not measured",
                None => "recorded",
            };
            let value = value(&criterion.value, criterion.at);
            said.push(format!("criterion {}: {met}{value}", criterion.name));
        }
        said.into_iter().map(|says| (says, None)).collect()
    }

    fn next(&self, now: MicroTime, zone: &TimeZone) -> Option<Said> {
        let upcoming = self.upcoming()?;
        let says = match upcoming {
            Upcoming::Pending { percent, check, due } => {
                let when = match due > now {
                    true => format!("on {} at the earliest", time(due, zone)),
                    false => "as soon as that is over".to_owned(),
                };
                let held = match check {
                    Check::CohortDelay => "held back by the delay of the cohort".to_owned(),
                    check => format!("held back by the check {}", check.as_str()),
                };
                format!("{percent}, {held}; {when}")
            }
            Upcoming::Step { percent, step, when, is_next } => {
                let waiting = self.status.waiting_for.as_ref().filter(|_| is_next);
                let waits = waiting.map(|waiting| {
                    let until = waiting.until.map(|until| format!(" ({})", time(until, zone)));
                    format!(", which waits: {}{}", waiting.message, until.unwrap_or_default())
                });
                let later = if is_next { String::new() } else { ", not the next one".to_owned() };
                format!("{percent} by the step {step}{when}{}", waits.unwrap_or(later))
            }
        };
        Some((says, None))
    }

    /// The next raise of the cohort, if any is to come by itself.
    fn upcoming(&self) -> Option<Upcoming> {
        if self.status.rollback.is_some() {
            return None;
        }
        if let Some(pending) = &self.cohort.pending {
            let (percent, check, due) = (pending.percent, pending.check, pending.due);
            return Some(Upcoming::Pending { percent, check, due });
        }
        if self.cohort.tier_refused {
            return None;
        }
        let position = self.status.position.as_ref();
        let entered = position.map(|position| (position.phase.as_str(), position.number));
        let asks: Vec<Ask> =
            self.told.rollout.spec.phases.iter().flat_map(|phase| asks(phase, &self.cohort.name)).collect();
        let first = match entered {
            None => 0,
            Some((phase, number)) => {
                asks.iter().position(|ask| ask.phase == phase && ask.number == number)? + 1
            }
        };
        let raises = |ask: &&Ask<'_>| ask.percent.is_some_and(|percent| percent > self.cohort.decided());
        let found = asks.iter().enumerate().skip(first).find(|(_, ask)| raises(ask));
        let (i, ask) = found?;
        Some(Upcoming::Step {
            percent: ask.percent?,
            step: format!("{}/{}", ask.phase, ask.label),
            when: ask.when.clone(),
            is_next: i == first,
        })
    }
}

/// A raise to come.
enum Upcoming {
    Pending { percent: Percent, check: Check, due: MicroTime },
    Step { percent: Percent, step: String, when: String, is_next: bool },
}

/// What a step asks one cohort.
struct Ask<'a> {
    phase: &'a str,
    number: i32,
    label: String,
    when: String,
    percent: Option<Percent>,
}

/// What each step of a phase asks a cohort.
fn asks<'a>(phase: &'a Phase, cohort: &str) -> Vec<Ask<'a>> {
    let ask = |i: usize, label: Option<String>, when: String, percent: Option<Percent>| {
        let number = i32::try_from(i + 1).unwrap_or(i32::MAX);
        Ask { phase: &phase.name, number, label: label.unwrap_or_else(|| number.to_string()), when, percent }
    };
    let when = |step: &Step| match (step.at, step.week) {
        (Some(at), _) => format!(" on {at:.0}"),
        (None, Some(week)) => format!(" in week {week}"),
        (None, None) => String::new(),
    };
    let steps = phase.steps.iter().flatten().enumerate();
    let steps =
        steps.map(|(i, step)| ask(i, step.name.clone(), when(step), step.cohorts.get(cohort).copied()));
    let ramps = |names: &Option<Vec<String>>| {
        names.as_ref().is_none_or(|names| names.iter().any(|name| name == cohort))
    };
    let ramp = phase
        .ramp
        .iter()
        .flat_map(|ramp| ramp.percents.iter().enumerate().map(move |percent| (ramp, percent)));
    let ramp = ramp.map(|(ramp, (i, percent))| {
        ask(i, Some(percent.to_string()), String::new(), Some(*percent).filter(|_| ramps(&ramp.cohorts)))
    });
    steps.chain(ramp).collect()
}

const fn judged(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "quiet",
        Verdict::Breach => "out of bounds",
        Verdict::NoData | Verdict::ProviderError | Verdict::Cancelled => "not measured",
    }
}

/// Whether an entry of the history may be about what users got, or about what was found out about them.
const fn is_change(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Approved
            | Reason::Acknowledged
            | Reason::ResponseOverdue
            | Reason::AttemptNoted
            | Reason::Applied
            | Reason::Rejected
            | Reason::Expired
    )
}

/// What an entry of the history says to one cohort: without the changes of others, and nothing where those are all of it.
fn concerning(message: &str, cohort: &str, others: &[&str]) -> Option<String> {
    let mut kept = Vec::new();
    let (mut is_told, mut others_are) = (false, false);
    for part in message.split(", ") {
        let colon = [part.rfind(": "), part.rfind("; ")].into_iter().flatten().max();
        let (before, change) = colon.map_or(("", part), |at| {
            (part.get(..at).unwrap_or_default(), part.get(at + 2..).unwrap_or_default())
        });
        let is_of = |name: &str| {
            change.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') && rest.contains('→'))
        };
        if others.iter().any(|other| is_of(other)) {
            others_are = true;
            kept.extend(Some(before).filter(|before| !before.is_empty()));
        } else {
            is_told |= is_of(cohort);
            kept.push(part);
        }
    }
    (is_told || !others_are).then(|| kept.join(", "))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "entered ga/half (3/5): regular 25% → 50%, new 0% → 5%",
        Some("entered ga/half (3/5): regular 25% → 50%")
    )]
    #[case(
        "entered ga/half (3/5): casual 25% → 50%, regular → 50% pending until 2025-09-22T16:00:00Z",
        Some("entered ga/half (3/5), regular → 50% pending until 2025-09-22T16:00:00Z")
    )]
    #[case("entered ga/half (3/5): casual 25% → 50%", None)]
    #[case("paused by ada: new texts", Some("paused by ada: new texts"))]
    #[case(
        "immediate rollback: errors above 10; casual 50% → 0%, regular 50% → 0%",
        Some("immediate rollback: errors above 10, regular 50% → 0%")
    )]
    #[case("", Some(""))]
    fn an_entry_says_to_a_cohort_what_concerns_it(#[case] message: &str, #[case] said: Option<&str>) {
        assert_eq!(concerning(message, "regular", &["casual", "new"]).as_deref(), said);
    }
}
