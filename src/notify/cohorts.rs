//! Reports by cohort: what the users of one cohort get of each feature, what has changed for them, what was measured, and
//! what comes next.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use kube::ResourceExt;

use crate::api::cohort::ReportPeriod;
use crate::api::{Cohort, FeatureRolloutStatus, MicroTime};

use super::digest::{Division, LONGEST_TEXT, Told, day, sorted, time};
use super::message::{Chapter, Details, Message};
use super::schedule::Schedule;
use super::text;
use sections::{Subject, sections, summary};

mod sections;

/// Most cohorts in one message: as many as a set can have.
const MOST_CHAPTERS: usize = crate::api::cohort::MAX_COHORTS;
/// Longest title of a cohort, in bytes.
const LONGEST_TITLE: usize = 200;
/// Longest line about a cohort, in bytes.
const LONGEST_LINE: usize = 600;
/// Most bytes of all reports in one message of a chat: the smallest of them takes 28 kB, markup included.
const CHAT: usize = 16_000;
/// Schedules know no smaller times.
const A_SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The reports that are due at `at`, a time of the schedule; `sent` is the time that the schedule was looked at for last.
/// `only` names the cohorts that are reported on, all where it is empty. Nothing where none is due.
pub fn message(
    schedule: &Schedule,
    only: &[String],
    told: &[Told<'_>],
    sent: MicroTime,
    at: MicroTime,
) -> Option<Message> {
    let is_wanted = |cohort: &Cohort| only.is_empty() || only.contains(&cohort.name);
    let mut chapters = Vec::new();
    let mut period = None;
    for group in groups(told) {
        for cohort in group.cohorts.iter().filter(|cohort| is_wanted(cohort)) {
            let report = cohort.monitoring.as_ref().and_then(|monitoring| monitoring.report);
            let due = report.and_then(|report| Some((report, since(schedule, report, sent, at)?)));
            let Some((report, since)) = due else { continue };
            period = Some(report);
            chapters.extend(chapter(&group, cohort, since, at, schedule.zone()));
        }
    }
    let day = day(at, schedule.zone());
    let title = match &chapters[..] {
        [] => return None,
        [one] => format!("{}: {} report of {day}", one.title, period.map_or("a", adjective)),
        many => format!("Reports of {} cohorts on {day}", many.len()),
    };
    let more = chapters.len().saturating_sub(MOST_CHAPTERS);
    chapters.truncate(MOST_CHAPTERS);
    let mut lines: Vec<String> =
        chapters.iter().map(|chapter| format!("{}: {}", chapter.title, chapter.summary)).collect();
    if more > 0 {
        lines.push(format!(
            "and {more} more cohorts; a digest with their names in `cohorts` has room for them"
        ));
    }
    let text = text::lines(&lines.join("\n"), LONGEST_TEXT);
    let title = text::line(&title, LONGEST_TITLE);
    Some(Message {
        title,
        text,
        facts: Vec::new(),
        link: None,
        details: Details::Chapters(chapters),
        problem: None,
    })
}

/// A report about the cohorts of a name, one for each set that has one, whether or not one is due.
pub fn of_name(
    told: &[Told<'_>],
    name: &str,
    since: MicroTime,
    now: MicroTime,
    zone: &TimeZone,
) -> Vec<Chapter> {
    let report = |group: &Group<'_>| {
        let cohort = group.cohorts.iter().find(|cohort| cohort.name == name)?;
        chapter(group, cohort, since, now, zone)
    };
    groups(told).iter().filter_map(report).collect()
}

/// A report as text.
pub fn plain(chapter: &Chapter) -> String {
    format!("{}\n\n{}", chapter.about.join("\n"), super::digest::plain(&chapter.sections))
}

/// As much of a report as fits into a message of a chat beside the others, of which there are so many with it.
pub fn brief(chapter: &Chapter, count: usize) -> String {
    text::lines(&plain(chapter), LONGEST_TEXT.min(CHAT / count.max(1)))
}

/// From when on a report is that is due at `at` and was not sent at `sent`: since the report before it was due.
fn since(schedule: &Schedule, period: ReportPeriod, sent: MicroTime, at: MicroTime) -> Option<MicroTime> {
    let zone = schedule.zone();
    // The first time of the schedule in the period that an instant is in.
    let first = |within: MicroTime| schedule.next(begins(period, within, zone)?.saturating_sub(A_SECOND));
    let due = first(at).filter(|due| *due <= at && sent < *due)?;
    first(schedule.last(due.saturating_sub(A_SECOND))?)
}

/// When the day, week or month begins that an instant is in.
fn begins(period: ReportPeriod, at: MicroTime, zone: &TimeZone) -> Option<MicroTime> {
    let date = at.to_zoned(zone.clone()).date();
    let first = match period {
        ReportPeriod::Daily => date,
        ReportPeriod::Weekly => {
            let days = i64::from(date.weekday().to_monday_zero_offset());
            date.saturating_sub(jiff::Span::new().days(days))
        }
        ReportPeriod::Monthly => date.first_of_month(),
    };
    Some(first.to_zoned(zone.clone()).ok()?.timestamp().into())
}

const fn adjective(period: ReportPeriod) -> &'static str {
    match period {
        ReportPeriod::Daily => "daily",
        ReportPeriod::Weekly => "weekly",
        ReportPeriod::Monthly => "monthly",
    }
}

/// Rollouts that divide their users in the same way.
struct Group<'a> {
    namespace: String,
    /// Name of the CohortSet, or of the one rollout.
    name: String,
    is_set: bool,
    cohorts: &'a [Cohort],
    rollouts: Vec<(Told<'a>, &'a FeatureRolloutStatus)>,
}

/// By namespace and name.
fn groups<'a>(told: &[Told<'a>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (told, status) in sorted(told) {
        let Some(Division { set, cohorts }) = told.division else { continue };
        let namespace = told.rollout.namespace().unwrap_or_default();
        let name = set.map_or_else(|| told.rollout.name_any(), str::to_owned);
        let is_set = set.is_some();
        let known = groups
            .iter_mut()
            .find(|group| group.is_set == is_set && group.namespace == namespace && group.name == name);
        match known {
            Some(group) => group.rollouts.push((told, status)),
            None => {
                groups.push(Group { namespace, name, is_set, cohorts, rollouts: vec![(told, status)] });
            }
        }
    }
    groups.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    groups
}

/// The report about a cohort; nothing where no rollout has it.
fn chapter(
    group: &Group<'_>,
    cohort: &Cohort,
    since: MicroTime,
    now: MicroTime,
    zone: &TimeZone,
) -> Option<Chapter> {
    let others: Vec<&str> =
        group.cohorts.iter().map(|other| other.name.as_str()).filter(|name| *name != cohort.name).collect();
    let subjects: Vec<Subject<'_>> = group
        .rollouts
        .iter()
        .filter_map(|(told, status)| {
            Some(Subject { told: *told, status, cohort: status.cohort(&cohort.name)?, others: &others })
        })
        .collect();
    if subjects.is_empty() {
        return None;
    }
    let share = cohort.share.map(|share| format!("{share} of all users; ")).unwrap_or_default();
    let kind = if group.is_set { "CohortSet" } else { "cohorts of the rollout" };
    let about = [
        cohort.profile.clone(),
        Some(format!("{share}{} in the {kind} {}/{}", cohort.name, group.namespace, group.name)),
        Some(format!("From {} to {}", time(since, zone), time(now, zone))),
    ];
    Some(Chapter {
        namespace: group.namespace.clone(),
        set: group.name.clone(),
        cohort: cohort.name.clone(),
        title: text::line(cohort.title.as_ref().unwrap_or(&cohort.name), LONGEST_TITLE),
        about: about.into_iter().flatten().map(|line| text::line(&line, LONGEST_LINE)).collect(),
        summary: summary(&subjects, since, now),
        sections: sections(&subjects, since, now, zone),
    })
}

#[cfg(test)]
mod tests;
