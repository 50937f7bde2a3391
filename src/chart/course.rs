//! The plan of rollouts as a timeline: who is served what from when on, and what was waited for.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::axis::TimeAxis;
use super::timeline::{Bar, Fill, Group, Lane, Mark, MarkKind, Stretch, Timeline};
use crate::api::{MicroTime, Percent};
use crate::engine::describe_step;
use crate::engine::forecast::late::{Entered, Hindrance, Late};
use crate::engine::forecast::timeline::{Entry, Timeline as Course};
use crate::plan::calendar::Closed;
use crate::plan::{Approval, Plan};

/// Closed stretches of a calendar that are drawn: more are a grey area on any page.
const MOST_CLOSURES: usize = 2000;

/// An instant by a zone's clock, such as `Mon 2025-09-08 09:00 PDT`; seconds only where there are any.
pub fn local(at: MicroTime, zone: &TimeZone) -> String {
    let zoned = at.to_zoned(zone.clone());
    let format = if zoned.second() == 0 { "%a %Y-%m-%d %H:%M %Z" } else { "%a %Y-%m-%d %H:%M:%S %Z" };
    zoned.strftime(format).to_string()
}

/// The plans of rollouts as one timeline.
pub fn timeline(courses: &[(&Plan, &Course)]) -> Timeline {
    let zone = zone(courses);
    let axis = axis(courses, zone.clone());
    let name = zone.iana_name().unwrap_or("UTC").to_owned();
    let title = match courses {
        [(plan, _)] => format!("Plan of {}/{}", plan.namespace, plan.name),
        several => format!("Plan of {} rollouts", several.len()),
    };
    let (from, to) = (local(axis.from(), &zone), local(axis.to(), &zone));
    Timeline {
        title,
        subtitle: format!(
            "Who is served the feature if all goes well, {from} to {to}, by the clock of {name}; approvals, gates and \
             dependencies taken as given"
        ),
        weeks_from: weeks_from(courses, &axis),
        now: None,
        groups: in_order(courses).into_iter().map(|(plan, course)| group(plan, course, &axis)).collect(),
        axis,
    }
}

/// What begins first stands first; what begins together as it comes.
fn in_order<'a>(courses: &[(&'a Plan, &'a Course)]) -> Vec<(&'a Plan, &'a Course)> {
    let mut courses = courses.to_vec();
    courses.sort_by_key(|(_, course)| course.entries.first().map_or(MicroTime::MAX, |entry| entry.at));
    courses
}

/// The zone that all of the rollouts have, else UTC.
fn zone(courses: &[(&Plan, &Course)]) -> TimeZone {
    let mut zones = courses.iter().map(|(plan, _)| plan.zone.clone());
    let first = zones.next().unwrap_or(TimeZone::UTC);
    if zones.all(|zone| zone == first) { first } else { TimeZone::UTC }
}

/// All that changes, and a little room behind it for the last percentage to be seen.
fn axis(courses: &[(&Plan, &Course)], zone: TimeZone) -> TimeAxis {
    let instants = || {
        courses.iter().flat_map(|(_, course)| {
            let entries = course.entries.iter().map(|entry| entry.at);
            entries.chain(course.steps.iter().map(|step| step.at)).chain(course.completed_at)
        })
    };
    let from = instants().min().unwrap_or(MicroTime::UNIX_EPOCH);
    let to = instants().max().unwrap_or(from);
    let length = to.duration_since(from);
    let room = SignedDuration::from_secs(length.as_secs() / 40);
    // From the beginning of the first day, where a day is not much of the whole.
    let day = from.to_zoned(zone.clone()).start_of_day().map(|day| MicroTime::from(day.timestamp()));
    let from = day.ok().filter(|_| length > SignedDuration::from_hours(5 * 24)).unwrap_or(from);
    TimeAxis::new(from, to.saturating_add(room), zone)
}

/// Weeks are counted from the start that more than half of the rollouts have, where there are two weeks at least.
fn weeks_from(courses: &[(&Plan, &Course)], axis: &TimeAxis) -> Option<MicroTime> {
    let mut starts: BTreeMap<MicroTime, usize> = BTreeMap::new();
    for start in courses.iter().filter_map(|(plan, _)| plan.start_at) {
        *starts.entry(start).or_default() += 1;
    }
    let (first, _) = starts.into_iter().find(|(_, rollouts)| 2 * rollouts > courses.len())?;
    let long = axis.to().duration_since(first) >= SignedDuration::from_hours(14 * 24);
    long.then_some(first)
}

/// One rollout: a lane for the cohorts that are served alike.
pub fn group(plan: &Plan, course: &Course, axis: &TimeAxis) -> Group {
    let mut lanes: Vec<(Vec<&str>, Vec<Bar>)> = Vec::new();
    let mut never: Vec<&str> = Vec::new();
    for cohort in &plan.cohorts {
        let bars = bars(plan, &course.entries, &cohort.name, axis);
        if bars.is_empty() {
            never.push(&cohort.name);
            continue;
        }
        match lanes.iter_mut().find(|(_, known)| alike(known, &bars)) {
            Some((names, _)) => names.push(&cohort.name),
            None => lanes.push((vec![&cohort.name], bars)),
        }
    }
    let lanes: Vec<Lane> =
        lanes.into_iter().map(|(names, bars)| Lane { label: together(&names, plan), bars }).collect();
    let summary = if lanes.len() > 1 { exposures(plan, &course.entries) } else { None };
    let closures = plan.calendar.closures(axis.from(), axis.to(), MOST_CLOSURES);
    let (mut freezes, mut closed) = (Vec::new(), Vec::new());
    for closure in closures {
        let (from, to) = (closure.from, closure.to);
        match closure.why {
            Closed::Freeze(label) => freezes.push(Stretch { from, to, label }),
            Closed::Window(policy) => {
                let whose = policy.map(|policy| format!(" of policy {policy}")).unwrap_or_default();
                closed.push(Stretch { from, to, label: format!("no window{whose} is open") });
            }
        }
    }
    Group {
        label: format!("{}/{}", plan.namespace, plan.name),
        aside: aside(course, &never, axis),
        phases: phases(plan, course, axis),
        freezes,
        closed,
        lanes,
        summary,
        marks: marks(plan, course),
    }
}

/// The cohorts of a lane: where that is all of several, there is a word for it.
fn together(names: &[&str], plan: &Plan) -> String {
    match names.len() {
        all if all > 1 && all == plan.cohorts.len() => "every cohort".to_owned(),
        _ => names.join(", "),
    }
}

/// Whether two cohorts are served the same all the time.
fn alike(one: &[Bar], other: &[Bar]) -> bool {
    let key = |bar: &Bar| (bar.from, bar.to, bar.label.clone());
    one.iter().map(key).eq(other.iter().map(key))
}

fn aside(course: &Course, never: &[&str], axis: &TimeAxis) -> String {
    let end = match course.completed_at {
        Some(at) => format!("completed {}", at.to_zoned(axis.zone().clone()).strftime("%-d %b %H:%M")),
        None => "never completed".to_owned(),
    };
    if never.is_empty() { end } else { format!("{end}; none: {}", never.join(", ")) }
}

/// What a cohort is served, a bar for each percentage; none before it is served anything.
fn bars(plan: &Plan, entries: &[Entry], cohort: &str, axis: &TimeAxis) -> Vec<Bar> {
    let baseline = plan.baseline.get(cohort).copied().unwrap_or_default();
    let mut bars: Vec<Bar> = Vec::new();
    if !baseline.is_zero() {
        bars.push(bar(axis.from(), baseline, format!("{cohort} {baseline}, the baseline")));
    }
    for entry in entries {
        let Some((_, percent)) = entry.cohorts.iter().find(|(name, _)| name == cohort) else { continue };
        let before = bars.last().map(|bar| bar.fill);
        if before.unwrap_or(Fill::Share(Percent::ZERO)) == Fill::Share(*percent) {
            continue;
        }
        if let Some(last) = bars.last_mut() {
            last.to = Some(entry.at);
        }
        let by = entry.step_name();
        let (utc, here) = (entry.at, local(entry.at, &plan.zone));
        let exposure = entry.exposure.map(|exposure| format!("; {exposure} of all")).unwrap_or_default();
        bars.push(bar(entry.at, *percent, format!("{cohort} {percent} from {here} ({utc}), {by}{exposure}")));
    }
    bars
}

fn bar(from: MicroTime, percent: Percent, tip: String) -> Bar {
    Bar { from, to: None, fill: Fill::Share(percent), label: percent.to_string(), tip }
}

/// The expected part of the whole audience; `None` where it is not known throughout.
fn exposures(plan: &Plan, entries: &[Entry]) -> Option<Lane> {
    let mut bars: Vec<Bar> = Vec::new();
    for entry in entries {
        let exposure = entry.exposure?;
        if let Some(last) = bars.last_mut() {
            last.to = Some(entry.at);
        }
        let tip = format!("{exposure} of all from {}", local(entry.at, &plan.zone));
        bars.push(bar(entry.at, exposure, tip));
    }
    Some(Lane { label: "exposure".to_owned(), bars })
}

fn phases(plan: &Plan, course: &Course, axis: &TimeAxis) -> Vec<Stretch> {
    let mut phases: Vec<Stretch> = Vec::new();
    for entered in &course.steps {
        let Some(step) = plan.steps.get(entered.index) else { continue };
        if phases.last().is_some_and(|phase| phase.label == step.phase) {
            continue;
        }
        if let Some(last) = phases.last_mut() {
            last.to = entered.at;
        }
        let to = course.completed_at.unwrap_or(axis.to());
        phases.push(Stretch { from: entered.at, to, label: step.phase.clone() });
    }
    phases
}

fn marks(plan: &Plan, course: &Course) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let waited = |late: &Late, at: MicroTime, what: &str| {
        let from = late.due;
        let closed = late.by.iter().any(|by| matches!(by, Hindrance::Closed(_)));
        let tip = format!("{what} is due {} and waits for {late}", local(from, &plan.zone));
        (closed && from < at).then_some(Mark { at: from, kind: MarkKind::Waited(at), tip })
    };
    for entered in &course.steps {
        let name = step_name(plan, entered.index);
        marks.extend(entered.late.as_ref().and_then(|late| waited(late, entered.at, &name)));
        let (kind, tip) = match entered.approval {
            Approval::NotRequired => continue,
            Approval::Missing => (MarkKind::Approval, format!("{name} needs an approval")),
            Approval::Given(_) => (MarkKind::Approved, format!("{name} is approved in git")),
        };
        marks.push(Mark { at: entered.at, kind, tip });
    }
    for followed in &course.followed {
        marks.extend(waited(&followed.late, followed.at, &followed.cohort));
    }
    for (at, what) in lowered(plan, &course.entries) {
        marks.push(Mark { at, kind: MarkKind::Lowered, tip: format!("lowers {what}") });
    }
    let completed = |at: MicroTime| Mark {
        at,
        kind: MarkKind::Completed,
        tip: format!("completed {} ({at})", local(at, &plan.zone)),
    };
    marks.extend(course.completed_at.map(completed));
    marks
}

/// A step as people name it, such as `ga/full`.
pub fn step_name(plan: &Plan, index: usize) -> String {
    plan.steps.get(index).map_or_else(String::new, describe_step)
}

/// The instants at which something is taken from a cohort, and what: `new 25% → 10%`.
pub fn lowered(plan: &Plan, entries: &[Entry]) -> Vec<(MicroTime, String)> {
    let mut served: BTreeMap<&str, Percent> =
        plan.baseline.iter().map(|(name, percent)| (name.as_str(), *percent)).collect();
    let mut found = Vec::new();
    for entry in entries {
        let mut lower = Vec::new();
        for (name, percent) in &entry.cohorts {
            let before = served.insert(name, *percent).unwrap_or_default();
            if *percent < before {
                lower.push(format!("{name} {before} → {percent}"));
            }
        }
        if !lower.is_empty() {
            found.push((entry.at, lower.join(", ")));
        }
    }
    found
}

/// What there is to say of what is served from an instant on: whom it takes something from, whose approval it takes, and
/// why it did not come before.
pub fn note(plan: &Plan, course: &Course, at: MicroTime) -> String {
    let mut notes: Vec<String> = Vec::new();
    notes.extend(
        lowered(plan, &course.entries)
            .into_iter()
            .filter(|(then, _)| *then == at)
            .map(|(_, what)| format!("▼ lowers {what}")),
    );
    let entered: Vec<&Entered> = course.steps.iter().filter(|step| step.at == at).collect();
    for step in &entered {
        let name = step_name(plan, step.index);
        match step.approval {
            Approval::NotRequired => {}
            Approval::Missing => notes.push(format!("◆ {name} needs an approval")),
            Approval::Given(_) => notes.push(format!("◇ {name} is approved in git")),
        }
    }
    for late in entered.iter().filter_map(|step| step.late.as_ref()) {
        notes.push(format!("due {}, waits for {late}", local(late.due, &plan.zone)));
    }
    for followed in course.followed.iter().filter(|followed| followed.at == at) {
        notes.push(format!("{} waits for {}", followed.cohort, followed.late));
    }
    notes.join("; ")
}

#[cfg(test)]
mod tests;
