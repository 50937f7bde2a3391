//! A playbook in words: below its chart in a terminal, as JSON for programs, and as a page.

use serde::Serialize;

use crate::api::playbook_status::PlaybookPhaseStatus;
use crate::api::{MicroTime, PlaybookStatus};
use crate::cli::output;
use crate::cli::output::table::table as columns;
use crate::playbook::picture::{gives, picture};
use crate::playbook::{Course, Overview, met};
use crate::visible;

/// Columns of the chart where there is no terminal.
const COLUMNS: usize = 110;

/// The chart, and below it what waits for somebody, what is late, what comes next, and how far each feature is a success.
pub fn table(shown: &Overview) -> String {
    let picture = picture(shown);
    let drawn = crate::chart::terminal::text(
        &picture,
        output::terminal::columns().unwrap_or(COLUMNS),
        output::terminal::colours(),
    );
    let mut out =
        format!("{}\n{}\n\n{drawn}", visible::line(&picture.title), visible::line(&picture.subtitle));
    let mut part = |title: &str, text: String| {
        if !text.is_empty() {
            out.push_str(&format!("\n{title}\n{}", visible::text(&text)));
        }
    };
    part("BLOCKED", rows(&["WHAT", "NAME", "WAITS FOR"], blocked(shown)));
    part("OVERDUE", rows(&["WHAT", "NAME", "WAS DUE IN WEEK"], overdue(shown)));
    part("NEXT", shown.status.next_milestone.as_ref().map(|next| format!("{next}\n")).unwrap_or_default());
    part("OPEN TASKS", rows(&["PHASE", "TASK", "WHAT"], open_tasks(shown)));
    part("SUCCESS", rows(&["OF", "CRITERION", "TARGET", "VALUE", "MET", "SINCE"], success(shown)));
    part("OPEN RISKS", rows(&["KIND", "RISK", "MITIGATION"], risks(shown)));
    out
}

fn rows(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() { String::new() } else { columns(headings, &rows) }
}

fn blocked(shown: &Overview) -> Vec<Vec<String>> {
    let blocked = shown.status.blocked.iter();
    blocked
        .map(|blocked| vec![blocked.kind.as_word().to_owned(), blocked.name.clone(), blocked.message.clone()])
        .collect()
}

fn overdue(shown: &Overview) -> Vec<Vec<String>> {
    use crate::api::playbook_status::MilestoneState;
    let milestones = shown.status.milestones.iter().filter(|m| m.state == MilestoneState::Overdue);
    let milestones = milestones.map(|m| vec!["milestone".to_owned(), m.name.clone(), m.week.to_string()]);
    let late = shown.book.phases.iter().zip(&shown.status.phases).filter(|(_, status)| status.late);
    let phases = late.map(|(phase, status)| {
        vec!["phase".to_owned(), status.name.clone(), phase.declared.weeks.to.to_string()]
    });
    milestones.chain(phases).collect()
}

/// The open tasks of phases whose weeks have begun.
fn open_tasks(shown: &Overview) -> Vec<Vec<String>> {
    use crate::api::playbook_status::PhaseState;
    let begun = shown.book.phases.iter().zip(&shown.status.phases);
    let begun = begun.filter(|(_, status)| status.state != PhaseState::Ahead);
    begun
        .flat_map(|(phase, status)| {
            let open = phase.tasks().filter(|task| !task.done);
            open.map(|task| vec![status.name.clone(), task.id.clone(), task.title.clone()])
        })
        .collect()
}

/// Every criterion of every rollout, and those of the plan itself.
fn success(shown: &Overview) -> Vec<Vec<String>> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let since = |at: Option<MicroTime>| or_dash(at.map(|at| format!("{at:.0}")));
    let of_plan = shown.book.criteria.iter().map(|criterion| {
        let known = shown.status.criteria.iter().find(|known| known.name == criterion.name);
        let target = criterion.bound.as_ref().map(ToString::to_string);
        vec![
            "the plan".to_owned(),
            criterion.name.clone(),
            or_dash(target.clone()),
            or_dash(known.and_then(|known| known.value.clone())),
            met(target.is_some(), known.and_then(|known| known.verdict)).to_owned(),
            since(known.map(|known| known.since)),
        ]
    });
    let of_rollouts = shown.courses.iter().flat_map(|course| {
        course.seen.criteria.iter().map(move |measured| {
            let known = measured.status.as_ref();
            vec![
                course.seen.name.clone(),
                measured.name.clone(),
                or_dash(measured.target.clone()),
                or_dash(known.and_then(|known| known.value.clone())),
                met(measured.target.is_some(), known.and_then(|known| known.verdict)).to_owned(),
                since(known.map(|known| known.since)),
            ]
        })
    });
    of_plan.chain(of_rollouts).collect()
}

fn risks(shown: &Overview) -> Vec<Vec<String>> {
    let open = shown.playbook.spec.risks.iter().filter(|risk| !risk.done);
    open.map(|risk| vec![risk.kind.clone(), risk.title.clone(), risk.mitigation.clone().unwrap_or_default()])
        .collect()
}

/// The contract of `-o json`: what the status says, and each step by week.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaybookJson<'a> {
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    at: String,
    status: &'a PlaybookStatus,
    rollouts: Vec<RolloutJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RolloutJson<'a> {
    name: &'a str,
    phase: &'a str,
    steps: Vec<StepJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'a str>,
}

#[derive(Serialize)]
struct StepJson {
    week: i32,
    at: String,
    step: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gives: Option<String>,
    state: &'static str,
}

/// A plan for programs.
pub fn json(shown: &Overview) -> PlaybookJson<'_> {
    let metadata = &shown.playbook.metadata;
    PlaybookJson {
        namespace: metadata.namespace.as_deref().unwrap_or_default(),
        name: metadata.name.as_deref().unwrap_or_default(),
        title: shown.playbook.spec.title.as_deref(),
        at: shown.now.to_string(),
        status: &shown.status,
        rollouts: shown.courses.iter().map(|course| rollout_json(shown, course)).collect(),
    }
}

fn rollout_json<'a>(shown: &'a Overview, course: &'a Course) -> RolloutJson<'a> {
    RolloutJson {
        name: &course.seen.name,
        phase: &course.phase,
        steps: steps(shown, course),
        planned_end: course.planned_end.map(|at| at.to_string()),
        completed_at: course.completed_at.map(|at| at.to_string()),
        waits_for: course.seen.held.as_ref().map(|(_, message)| message.as_str()),
    }
}

fn steps(shown: &Overview, course: &Course) -> Vec<StepJson> {
    let entries = course.entries.iter().enumerate();
    entries
        .map(|(i, entry)| StepJson {
            week: shown.book.weeks.week_at(entry.at),
            at: entry.at.to_string(),
            step: entry.step_name(),
            gives: gives(entry),
            state: course.tone(i, shown.now).word(),
        })
        .collect()
}

/// A plan as a page.
pub fn markdown(shown: &Overview) -> String {
    let picture = picture(shown);
    let mut out =
        format!("# {}\n\n{}\n", visible::markdown(&picture.title), visible::markdown(&picture.subtitle));
    for (phase, status) in shown.book.phases.iter().zip(&shown.status.phases) {
        let title = phase.declared.title.as_ref().unwrap_or(&phase.declared.name);
        let weeks = phase.declared.weeks;
        out.push_str(&format!("\n## {} (weeks {}–{})\n\n", visible::markdown(title), weeks.from, weeks.to));
        if let Some(goal) = &phase.declared.goal {
            out.push_str(&format!("{}. ", visible::markdown(goal.trim_end_matches('.'))));
        }
        out.push_str(&format!("{}\n", stands(status)));
        for section in &phase.declared.sections {
            out.push_str(&format!("\n### {}\n\n", visible::markdown(&section.title)));
            for task in &section.tasks {
                let tick = if task.done { 'x' } else { ' ' };
                out.push_str(&format!("- [{tick}] {}\n", visible::markdown(&task.title)));
            }
        }
        let courses = shown.courses.iter().filter(|course| course.phase == phase.declared.name);
        let of_phase = courses.flat_map(|course| {
            let row = |step: StepJson| {
                vec![
                    course.seen.name.clone(),
                    step.week.to_string(),
                    step.step,
                    step.gives.unwrap_or_default(),
                    step.state.to_owned(),
                ]
            };
            steps(shown, course).into_iter().map(row).collect::<Vec<_>>()
        });
        out.push_str(&rows_of(&["Rollout", "Week", "Step", "Gives", "State"], of_phase.collect()));
    }
    let milestones = shown.book.milestones.iter().zip(&shown.status.milestones).map(|(goal, status)| {
        let title = goal.declared.title.as_ref().unwrap_or(&goal.declared.name);
        let reached = status.reached_at.map(|at| format!("{at:.0}")).unwrap_or_default();
        vec![title.clone(), status.week.to_string(), status.state.as_str().to_owned(), reached]
    });
    let mut part = |title: &str, headings: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            out.push_str(&format!("\n## {title}\n{}", rows_of(headings, rows)));
        }
    };
    part("Milestones", &["Milestone", "Week", "State", "Reached"], milestones.collect());
    part("Blocked", &["What", "Name", "Waits for"], blocked(shown));
    part("Overdue", &["What", "Name", "Was due in week"], overdue(shown));
    part("Success", &["Of", "Criterion", "Target", "Value", "Met", "Since"], success(shown));
    part("Open risks", &["Kind", "Risk", "Mitigation"], risks(shown));
    out
}

fn stands(status: &PlaybookPhaseStatus) -> String {
    format!(
        "{}{}: {} of {} tasks done, {} of {} rollouts completed.",
        status.state.as_str(),
        if status.late { ", late" } else { "" },
        status.tasks_done,
        status.tasks,
        status.rollouts_completed,
        status.rollouts
    )
}

fn rows_of(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let heads = line(headings.iter().map(ToString::to_string).collect());
    let rule = line(headings.iter().map(|_| "---".to_owned()).collect());
    let body = rows.into_iter().map(|row| line(row.iter().map(|cell| visible::markdown(cell)).collect()));
    format!("\n{heads}{rule}{}", body.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_no_markup() {
        assert_eq!(
            visible::markdown("a|b <img> [x](y) _z_\n# h"),
            "a\\|b &lt;img&gt; \\[x\\](y) \\_z\\_\\\\n\\# h"
        );
    }
}
