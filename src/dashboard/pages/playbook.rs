//! One plan: its weeks as a picture, its phases and what blocks them, milestones, risks, and success by feature.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use minijinja::Value;

use super::playbooks::row_values;
use super::{Problem, base, rollout_link, show};
use crate::api::playbook::Risk;
use crate::api::playbook_status::{
    BlockedKind, MilestoneState, MilestoneStatus, PhaseState, PlaybookPhaseStatus,
};
use crate::api::verdict::Verdict;
use crate::api::{MicroTime, PlaybookStatus};
use crate::chart::{Look, Tone, drawing};
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::playbook_row::PlaybookRow;
use crate::dashboard::read::{self, PlaybookSeen};
use crate::dashboard::row::Group;
use crate::dashboard::text::{context, value};
use crate::playbook::{Course, Met, Overview, Phase, Required, met, picture};

/// The page.
pub async fn page(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let person = &visitor.person;
    person.circle().playbooks.mark_used();
    let _place = app.playbooks.acquire().await;
    let seen = match read::playbook(&person.client, &namespace, &name, app.clock.now()).await {
        Ok(seen) => seen,
        Err(error) => return Problem::from(error).page(&app, Some(&visitor)),
    };
    let base = context! { follows => "playbooks", ..base(&app, Some(&visitor), "playbooks") };
    show(&app, "playbook.html", context! { ..values(&seen), ..base })
}

fn values(seen: &PlaybookSeen) -> Value {
    let start = context! {
        unread => seen.unread,
        starts => seen.playbook.spec.start_date.to_string(),
        risks => risks(&seen.playbook.spec.risks),
        is_known => false,
    };
    match &seen.overview {
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let row = row_values(&PlaybookRow::of_playbook(&seen.playbook));
            context! { row, errors, zone => "UTC", ..start }
        }
        Ok(overview) => context! { ..of(overview), ..start },
    }
}

fn of(overview: &Overview) -> Value {
    let status = &overview.status;
    let stored = overview.playbook.status.as_ref();
    let mut shown = overview.playbook.clone();
    if overview.is_known() {
        let conditions = stored.map(|stored| stored.conditions.clone()).unwrap_or_default();
        shown.status = Some(PlaybookStatus { conditions, ..status.clone() });
    }
    let namespace = shown.metadata.namespace.clone().unwrap_or_default();
    let drawn = overview.is_known().then(|| drawing::svg(&picture::picture(overview), Look::OfPage));
    let phases = overview.book.phases.iter().zip(&overview.required);
    context! {
        row => row_values(&PlaybookRow::of_playbook(&shown)),
        zone => overview.book.weeks.zone().iana_name().unwrap_or("UTC"),
        is_known => overview.is_known(),
        picture => drawn,
        late => late(overview),
        blocked => blocked(status, &namespace),
        blocked_left_out => usize::try_from(status.blocked_count).unwrap_or_default().saturating_sub(status.blocked.len()),
        phases => phases.map(|(phase, required)| phase_values(overview, phase, required, &namespace)).collect::<Vec<_>>(),
        milestones => milestones(overview),
        success => success(overview, &namespace),
        success_left_out => if overview.courses.is_empty() { status.success_omitted } else { 0 },
    }
}

/// What is late: phases whose weeks are over, and milestones that are not reached.
fn late(overview: &Overview) -> Vec<Value> {
    let status = &overview.status;
    let phases = overview.book.phases.iter().filter_map(|phase| {
        let declared = &phase.declared;
        let status = status.phases.iter().find(|status| status.name == declared.name && status.late)?;
        let left = [
            (status.tasks - status.tasks_done, "task"),
            (status.rollouts - status.rollouts_completed, "rollout"),
        ];
        let left: Vec<String> = left
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}{} open", if count == 1 { "" } else { "s" }))
            .collect();
        let message = format!("was to end with week {}; {}", declared.weeks.to, left.join(", "));
        let message = message.trim_end_matches("; ").to_owned();
        Some(
            context! { kind => "phase", title => declared.title.as_ref().unwrap_or(&declared.name), message },
        )
    });
    let milestones = overview.book.milestones.iter().filter_map(|goal| {
        let declared = &goal.declared;
        let is_it = |known: &&MilestoneStatus| {
            known.name == declared.name && known.state == MilestoneState::Overdue
        };
        status.milestones.iter().find(is_it)?;
        let message = format!("was to be reached in week {}", declared.week);
        Some(context! { kind => "milestone", title => declared.title.as_ref().unwrap_or(&declared.name), message })
    });
    phases.chain(milestones).collect()
}

fn blocked(status: &PlaybookStatus, namespace: &str) -> Vec<Value> {
    let told = status.blocked.iter().map(|blocked| {
        let is_rollout = blocked.kind == BlockedKind::Rollout;
        context! {
            kind => blocked.kind.as_word(), name => blocked.name, message => blocked.message,
            link => is_rollout.then(|| rollout_link(namespace, &blocked.name)),
        }
    });
    told.collect()
}

fn phase_values(overview: &Overview, phase: &Phase, required: &[Required], namespace: &str) -> Value {
    let declared = &phase.declared;
    let status = overview.status.phases.iter().find(|status| status.name == declared.name);
    let sections = declared.sections.iter().map(|section| {
        let tasks = section.tasks.iter().map(value).collect::<Vec<_>>();
        context! { title => section.title, tasks }
    });
    let courses = overview.courses.iter().filter(|course| course.phase == declared.name);
    context! {
        name => declared.name,
        title => declared.title.as_ref().unwrap_or(&declared.name),
        goal => declared.goal,
        from => declared.weeks.from, to => declared.weeks.to,
        opens => overview.book.weeks.begins(declared.weeks.from).map(|at| at.to_string()),
        standing => status.map(|status| { let (group, word) = phase_state(status); context! { group, word } }),
        tasks_done => phase.tasks().filter(|task| task.done).count(),
        tasks => phase.tasks().count(),
        rollouts_completed => status.map(|status| status.rollouts_completed),
        rollout_count => status.map(|status| status.rollouts),
        required => required.iter().map(required_values).collect::<Vec<_>>(),
        sections => sections.collect::<Vec<_>>(),
        rollouts => courses.map(|course| course_values(overview, course, namespace)).collect::<Vec<_>>(),
    }
}

/// How much a phase needs somebody, and how it stands.
fn phase_state(status: &PlaybookPhaseStatus) -> (Group, &'static str) {
    match (status.state, status.late) {
        (PhaseState::Done, _) => (Group::Finished, "Done"),
        (PhaseState::Blocked, true) => (Group::Attention, "Blocked, late"),
        (_, true) => (Group::Attention, "Late"),
        (PhaseState::Blocked, false) => (Group::Person, "Blocked"),
        (PhaseState::Open, false) => (Group::Moving, "Open"),
        (PhaseState::Ahead, false) => (Group::Waiting, "Ahead"),
    }
}

fn required_values(required: &Required) -> Value {
    let (state, lacks) = match &required.state {
        Met::Yes => ("yes", None),
        Met::No(lacks) => ("no", Some(lacks)),
        Met::Unknown => ("unknown", None),
    };
    context! { what => required.what, state, lacks }
}

fn course_values(overview: &Overview, course: &Course, namespace: &str) -> Value {
    let step = |(i, entry): (usize, &crate::engine::forecast::timeline::Entry)| {
        let tone = course.tone(i, overview.now);
        let class = match tone {
            Tone::Done => "good",
            Tone::Blocked => "none",
            Tone::Late => "bad",
            Tone::Planned | Tone::Running => "",
        };
        context! {
            week => overview.book.weeks.week_at(entry.at), at => entry.at.to_string(), step => entry.step_name(),
            gives => picture::gives(entry), state => tone.word(), class,
        }
    };
    context! {
        name => course.seen.name,
        link => rollout_link(namespace, &course.seen.name),
        waits => course.seen.held.as_ref().map(|(_, message)| message),
        completed => course.completed_at.map(|at| at.to_string()),
        steps => course.entries.iter().enumerate().map(step).collect::<Vec<_>>(),
    }
}

fn milestones(overview: &Overview) -> Vec<Value> {
    let next = overview.status.milestones.iter().filter(|known| known.state != MilestoneState::Reached);
    let next = next.min_by_key(|known| known.week).map(|known| &known.name);
    let each = overview.book.milestones.iter().map(|goal| {
        let declared = &goal.declared;
        let known = overview.status.milestones.iter().find(|known| known.name == declared.name);
        let standing = known.map(|known| {
            let (group, word) = match known.state {
                MilestoneState::Reached => (Group::Finished, "Reached"),
                MilestoneState::Overdue => (Group::Attention, "Overdue"),
                MilestoneState::Due => (Group::Moving, "Due this week"),
                MilestoneState::Ahead => (Group::Waiting, "Ahead"),
            };
            context! { group, word }
        });
        let needs: Vec<String> = goal.needs.iter().map(|needed| needed.words(&overview.book)).collect();
        context! {
            title => declared.title.as_ref().unwrap_or(&declared.name), name => declared.name, week => declared.week,
            standing, needs, is_next => next == Some(&declared.name),
            reached => known.and_then(|known| known.reached_at).map(|at| at.to_string()),
        }
    });
    each.collect()
}

/// The risks by kind, those that are open first.
fn risks(risks: &[Risk]) -> Vec<Value> {
    let mut by_kind: BTreeMap<&str, Vec<&Risk>> = BTreeMap::new();
    for risk in risks {
        by_kind.entry(&risk.kind).or_default().push(risk);
    }
    let each = by_kind.into_iter().map(|(kind, mut risks)| {
        risks.sort_by_key(|risk| risk.done);
        let open = risks.iter().filter(|risk| !risk.done).count();
        context! { kind, open, risks => risks.into_iter().map(value).collect::<Vec<_>>() }
    });
    each.collect()
}

/// What is known of a criterion, wherever that was found.
struct Measured<'a> {
    name: &'a str,
    target: Option<&'a str>,
    verdict: Option<Verdict>,
    value: Option<&'a str>,
    since: Option<MicroTime>,
}

impl Measured<'_> {
    fn values(&self) -> Value {
        let word = met(self.target.is_some(), self.verdict);
        let class = match word {
            "yes" => "good",
            "no" => "bad",
            "no data" => "none",
            _ => "muted",
        };
        context! {
            name => self.name, target => self.target, value => self.value, met => word, class,
            since => self.since.map(|at| at.to_string()),
        }
    }
}

/// The criteria of the plan itself and of each feature.
fn success(overview: &Overview, namespace: &str) -> Vec<Value> {
    let mut told = Vec::new();
    let of_plan = overview.book.criteria.iter().map(|criterion| {
        let known = overview.status.criteria.iter().find(|known| known.name == criterion.name);
        let target = criterion.bound.as_ref().map(ToString::to_string);
        Measured {
            name: &criterion.name,
            target: target.as_deref(),
            verdict: known.and_then(|known| known.verdict),
            value: known.and_then(|known| known.value.as_deref()),
            since: known.map(|known| known.since),
        }
        .values()
    });
    let of_plan: Vec<Value> = of_plan.collect();
    if !of_plan.is_empty() {
        told.push(context! { of => "the plan itself", criteria => of_plan });
    }
    let feature = |name: &str, criteria: Vec<Value>| {
        context! { of => name, link => rollout_link(namespace, name), criteria }
    };
    for course in overview.courses.iter().filter(|course| !course.seen.criteria.is_empty()) {
        let criteria = course.seen.criteria.iter().map(|measured| {
            let known = measured.status.as_ref();
            Measured {
                name: &measured.name,
                target: measured.target.as_deref(),
                verdict: known.and_then(|known| known.verdict),
                value: known.and_then(|known| known.value.as_deref()),
                since: known.map(|known| known.since),
            }
            .values()
        });
        told.push(feature(&course.seen.name, criteria.collect()));
    }
    if overview.courses.is_empty() {
        // Whoever may not list the rollouts is told what the status of the playbook says.
        for success in &overview.status.success {
            let criteria = success.criteria.iter().map(|criterion| {
                Measured {
                    name: &criterion.name,
                    target: criterion.target.as_deref(),
                    verdict: criterion.verdict,
                    value: criterion.value.as_deref(),
                    since: criterion.since,
                }
                .values()
            });
            told.push(feature(&success.rollout, criteria.collect()));
        }
    }
    told
}
