//! A playbook as a timeline: its phases with their tasks and rollouts, and its milestones, by week.

use super::{Course, Overview, Phase};
use crate::api::MicroTime;
use crate::api::playbook_status::{MilestoneState, PhaseState, PlaybookPhaseStatus};
use crate::chart::course::local;
use crate::chart::{Bar, Fill, Group, Lane, Mark, MarkKind, Stretch, TimeAxis, Timeline, Tone};
use crate::engine::forecast::timeline::Entry;

/// The picture of a plan.
pub fn picture(shown: &Overview) -> Timeline {
    let weeks = &shown.book.weeks;
    let begins = |week: i32| weeks.begins(week).unwrap_or(shown.now);
    let ends = shown.courses.iter().flat_map(|course| course.ends());
    let to = ends.chain([begins(shown.book.last_week.saturating_add(1))]).max().unwrap_or(shown.now);
    let axis = TimeAxis::new(begins(1), to, weeks.zone().clone());
    let zone = weeks.zone().iana_name().unwrap_or("UTC").to_owned();
    let mut groups: Vec<Group> = shown
        .book
        .phases
        .iter()
        .zip(&shown.status.phases)
        .map(|(phase, status)| phase_group(shown, phase, status))
        .collect();
    groups.extend(milestones(shown));
    let week = shown.status.week.as_deref().unwrap_or_default();
    let progress = shown.status.progress.as_deref().unwrap_or_default();
    Timeline {
        title: shown.title(),
        subtitle: format!(
            "Week {week}, {progress} done, {} blocked, {} overdue; {} by the clock of {zone}",
            shown.status.blocked_count,
            shown.status.overdue_count,
            local(shown.now, weeks.zone()),
        ),
        weeks_from: Some(begins(1)),
        now: Some(shown.now),
        groups,
        axis,
    }
}

fn phase_group(shown: &Overview, phase: &Phase, status: &PlaybookPhaseStatus) -> Group {
    let (from, to) = span(shown, phase.declared.weeks.from, phase.declared.weeks.to);
    let mut lanes = Vec::new();
    if status.tasks > 0 {
        let open: Vec<&str> =
            phase.tasks().filter(|task| !task.done).map(|task| task.title.as_str()).collect();
        let tip = match open.is_empty() {
            true => "every task is done".to_owned(),
            false => format!("open: {}", open.join("; ")),
        };
        let label = format!("{}/{}", status.tasks_done, status.tasks);
        let tone = tone_of_tasks(status);
        let bar = Bar { from, to: Some(to), fill: Fill::Tone(tone), label, tip };
        lanes.push(Lane { label: "tasks".to_owned(), bars: vec![bar] });
    }
    let courses = shown.courses.iter().filter(|course| course.phase == phase.declared.name);
    let mut marks = Vec::new();
    for course in courses {
        lanes.push(Lane { label: course.seen.name.clone(), bars: bars(shown, course) });
        let tip = format!("{} is completed", course.seen.name);
        marks.extend(course.completed_at.map(|at| Mark { at, kind: MarkKind::Completed, tip }));
    }
    let late = if status.late { ", late" } else { "" };
    let title = phase.declared.title.as_ref().unwrap_or(&phase.declared.name);
    Group {
        label: title.clone(),
        aside: format!("{}{late}", status.state.as_str().to_lowercase()),
        phases: vec![Stretch { from, to, label: phase.declared.name.clone() }],
        lanes,
        marks,
        ..Group::default()
    }
}

/// How the bar of a phase's tasks is shown.
fn tone_of_tasks(status: &PlaybookPhaseStatus) -> Tone {
    match status.state {
        _ if status.tasks_done == status.tasks => Tone::Done,
        _ if status.late => Tone::Late,
        PhaseState::Ahead => Tone::Planned,
        PhaseState::Blocked => Tone::Blocked,
        PhaseState::Open | PhaseState::Done => Tone::Running,
    }
}

/// The steps of a rollout, each from when it is planned to the next one.
fn bars(shown: &Overview, course: &Course) -> Vec<Bar> {
    // The last one is shown to the end of its week at least: what it gives stays.
    let weeks = &shown.book.weeks;
    let last = course.entries.last().map(|entry| weeks.week_at(entry.at).saturating_add(1));
    let end = course.planned_end.max(last.and_then(|week| weeks.begins(week)));
    let nexts = course.entries.iter().skip(1).map(|entry| entry.at).chain(end);
    let mut nexts = nexts.map(Some).chain(std::iter::repeat(None));
    course
        .entries
        .iter()
        .enumerate()
        .map(|(i, entry)| {
            let to = nexts.next().flatten();
            let tone = course.tone(i, shown.now);
            let label = gives(entry).unwrap_or_else(|| entry.name.as_ref().unwrap_or(&entry.phase).clone());
            let state = tone.word();
            let when = local(entry.at, shown.book.weeks.zone());
            let why = course.seen.held.as_ref().filter(|_| matches!(tone, Tone::Blocked | Tone::Late));
            let why = why.map(|(_, message)| format!(": {message}")).unwrap_or_default();
            let tip = format!("{} {} at {label}, {when}: {state}{why}", course.seen.name, entry.step_name());
            Bar { from: entry.at, to, fill: Fill::Tone(tone), label, tip }
        })
        .collect()
}

/// What a step gives: the part of everybody, where that is known, else the most that any cohort gets. `None` for what only reaches
/// those who are no part of the audience, such as staff.
pub fn gives(entry: &Entry) -> Option<String> {
    let most = entry.cohorts.iter().map(|(_, percent)| *percent).max().unwrap_or_default();
    let given = entry.exposure.unwrap_or(most);
    (!given.is_zero()).then(|| given.to_string())
}

fn milestones(shown: &Overview) -> Option<Group> {
    let lanes: Vec<Lane> = shown
        .book
        .milestones
        .iter()
        .zip(&shown.status.milestones)
        .map(|(goal, status)| {
            let (from, to) = span(shown, status.week, status.week);
            let tone = match status.state {
                MilestoneState::Ahead => Tone::Planned,
                MilestoneState::Due => Tone::Running,
                MilestoneState::Overdue => Tone::Late,
                MilestoneState::Reached => Tone::Done,
            };
            let title = goal.declared.title.as_ref().unwrap_or(&goal.declared.name);
            let tip = format!("{title}, week {}: {}", status.week, status.state.as_str().to_lowercase());
            let bar = Bar { from, to: Some(to), fill: Fill::Tone(tone), label: String::new(), tip };
            Lane { label: goal.declared.name.clone(), bars: vec![bar] }
        })
        .collect();
    (!lanes.is_empty()).then(|| Group {
        label: "Milestones".to_owned(),
        aside: shown.status.next_milestone.as_ref().map(|next| format!("next: {next}")).unwrap_or_default(),
        lanes,
        ..Group::default()
    })
}

fn span(shown: &Overview, from: i32, to: i32) -> (MicroTime, MicroTime) {
    let begins = |week: i32| shown.book.weeks.begins(week).unwrap_or(shown.now);
    (begins(from), begins(to.saturating_add(1)))
}
