//! Where a plan stands at a time.

use std::sync::Arc;

use super::requirements::{is_finished, is_reached};
use super::{Book, Goal, Phase, Seen, World, fit, unmet_of_all};
use crate::api::playbook_status::{
    Blocked, BlockedKind, MilestoneState, MilestoneStatus, PhaseState, PlaybookPhaseStatus, Success,
    SuccessCriterion,
};
use crate::api::status::Check;
use crate::api::verdict::CriterionStatus;
use crate::api::{MicroTime, PlaybookStatus};
use crate::engine::Requirement;

/// Most entries of the list of what is blocked.
const MOST_BLOCKED: usize = 32;
/// Most rollouts whose success is told.
const MOST_SUCCESS: usize = 64;
/// Most characters of a message in the status.
const MOST_MESSAGE: usize = 240;

/// Where a plan stands, and when that changes by the passing of time alone.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The status, without conditions and generation.
    pub status: PlaybookStatus,
    /// The beginning of the next week; `None` once the plan is over.
    pub wake_at: Option<MicroTime>,
}

/// Where a plan stands at `now`. `prior` says since when what is reached is reached; `criteria` are the verdicts of the playbook's
/// own criteria.
pub fn standing(
    book: &Book,
    world: &dyn World,
    prior: &PlaybookStatus,
    criteria: Vec<CriterionStatus>,
    now: MicroTime,
) -> Standing {
    let week = book.weeks.week_at(now).clamp(0, book.last_week.saturating_add(1));
    let members: Vec<&[Arc<Seen>]> =
        book.phases.iter().map(|phase| world.members(&phase.declared.name)).collect();
    let unmet: Vec<Vec<Requirement>> = unmet_of_all(book, world).phases;
    let phases: Vec<PlaybookPhaseStatus> = book
        .phases
        .iter()
        .zip(&members)
        .zip(&unmet)
        .map(|((phase, members), unmet)| {
            let finished = is_finished(book, &phase.declared.name, world);
            phase_status(book, phase, members, !unmet.is_empty(), finished, week)
        })
        .collect();
    let milestones: Vec<MilestoneStatus> =
        book.milestones.iter().map(|goal| milestone_status(book, goal, world, prior, week, now)).collect();
    let mut blocked = blocked_phases(&phases, &unmet);
    blocked.extend(blocked_rollouts(members.iter().copied().flatten()));
    let overdue = milestones.iter().filter(|milestone| milestone.state == MilestoneState::Overdue).count()
        + phases.iter().filter(|phase| phase.late).count();
    let done: i32 = phases.iter().map(|phase| phase.tasks_done + phase.rollouts_completed).sum();
    let all: i32 = phases.iter().map(|phase| phase.tasks + phase.rollouts).sum();
    let (success, omitted) = success(members.iter().copied().flatten());
    let mut status = PlaybookStatus {
        week: Some(format!("{week}/{}", book.last_week)),
        phase: open_phases(&phases),
        progress: Some(format!("{done}/{all}")),
        next_milestone: next_milestone(&milestones),
        blocked_count: count(blocked.len()),
        overdue_count: count(overdue),
        open_risks: book.open_risks,
        phases,
        milestones,
        blocked: blocked.into_iter().take(MOST_BLOCKED).collect(),
        criteria,
        success,
        success_omitted: count(omitted),
        ..PlaybookStatus::default()
    };
    fit::fit(&mut status);
    let next = (week <= book.last_week).then(|| book.weeks.begins(week + 1)).flatten();
    Standing { status, wake_at: next.filter(|next| *next > now) }
}

fn phase_status(
    book: &Book,
    phase: &Phase,
    members: &[Arc<Seen>],
    is_blocked: bool,
    finished: bool,
    week: i32,
) -> PlaybookPhaseStatus {
    let weeks = phase.declared.weeks;
    let state = match (finished, week >= weeks.from, is_blocked) {
        (true, ..) => PhaseState::Done,
        (false, false, _) => PhaseState::Ahead,
        (false, true, true) => PhaseState::Blocked,
        (false, true, false) => PhaseState::Open,
    };
    PlaybookPhaseStatus {
        name: phase.declared.name.clone(),
        state,
        late: !finished && week > weeks.to,
        // Every week up to the last one that can be planned for has a beginning: that was checked.
        opens_at: book.weeks.begins(weeks.from).unwrap_or(MicroTime::MAX),
        tasks: count(phase.tasks().count()),
        tasks_done: count(phase.tasks().filter(|task| task.done).count()),
        rollouts: count(members.len()),
        rollouts_completed: count(members.iter().filter(|seen| seen.completed).count()),
        rollouts_started: count(members.iter().filter(|seen| seen.started).count()),
    }
}

fn milestone_status(
    book: &Book,
    goal: &Goal,
    world: &dyn World,
    prior: &PlaybookStatus,
    week: i32,
    now: MicroTime,
) -> MilestoneStatus {
    let (name, expected) = (&goal.declared.name, goal.declared.week);
    let reached = is_reached(book, goal, world);
    let state = match reached {
        true => MilestoneState::Reached,
        false if week > expected => MilestoneState::Overdue,
        false if week == expected => MilestoneState::Due,
        false => MilestoneState::Ahead,
    };
    let known = prior.milestones.iter().find(|known| known.name == *name);
    let since = known.and_then(|known| known.reached_at);
    MilestoneStatus {
        name: name.clone(),
        week: expected,
        state,
        reached_at: reached.then(|| since.unwrap_or(now)),
    }
}

fn blocked_phases(phases: &[PlaybookPhaseStatus], unmet: &[Vec<Requirement>]) -> Vec<Blocked> {
    let blocked = phases.iter().zip(unmet).filter(|(phase, _)| phase.state == PhaseState::Blocked);
    blocked
        .map(|(phase, unmet)| {
            let all: Vec<&str> = unmet.iter().map(|unmet| unmet.message.as_str()).collect();
            Blocked {
                kind: BlockedKind::Phase,
                name: phase.name.clone(),
                reason: unmet.first().map(|first| first.which.clone()).unwrap_or_default(),
                message: cut(&format!("waits for {}", all.join(" and "))),
            }
        })
        .collect()
}

/// The rollouts that wait for somebody, but for those that only wait for their phase: that is said of the phase.
fn blocked_rollouts<'s>(members: impl Iterator<Item = &'s Arc<Seen>>) -> Vec<Blocked> {
    let mut blocked: Vec<Blocked> = members
        .filter_map(|seen| {
            let (reason, message) = seen.held.clone()?;
            let of_phase = reason.split(':').next() == Some(Check::Playbook.as_str());
            (!of_phase).then(|| Blocked {
                kind: BlockedKind::Rollout,
                name: seen.name.clone(),
                reason,
                message: cut(&message),
            })
        })
        .collect();
    blocked.sort_by(|a, b| a.name.cmp(&b.name));
    blocked
}

/// The first ones by name, and how many there are besides.
fn success<'s>(members: impl Iterator<Item = &'s Arc<Seen>>) -> (Vec<Success>, usize) {
    let mut measured: Vec<&Seen> =
        members.map(|seen| &**seen).filter(|seen| !seen.criteria.is_empty()).collect();
    measured.sort_by(|a, b| a.name.cmp(&b.name));
    let omitted = measured.len().saturating_sub(MOST_SUCCESS);
    let of_rollout = |seen: &Seen| Success {
        rollout: seen.name.clone(),
        criteria: seen
            .criteria
            .iter()
            .map(|measured| SuccessCriterion {
                name: measured.name.clone(),
                target: measured.target.clone(),
                verdict: measured.status.as_ref().and_then(|status| status.verdict),
                value: measured.status.as_ref().and_then(|status| status.value.clone()),
                since: measured.status.as_ref().map(|status| status.since),
            })
            .collect(),
    };
    (measured.into_iter().take(MOST_SUCCESS).map(of_rollout).collect(), omitted)
}

fn open_phases(phases: &[PlaybookPhaseStatus]) -> Option<String> {
    let open = phases.iter().filter(|phase| matches!(phase.state, PhaseState::Open | PhaseState::Blocked));
    let names: Vec<&str> = open.map(|phase| phase.name.as_str()).collect();
    (!names.is_empty()).then(|| cut(&names.join(",")))
}

fn next_milestone(milestones: &[MilestoneStatus]) -> Option<String> {
    let open = milestones.iter().filter(|milestone| milestone.state != MilestoneState::Reached);
    let next = open.min_by_key(|milestone| milestone.week)?;
    Some(format!("{} (week {})", next.name, next.week))
}

fn cut(message: &str) -> String {
    match message.char_indices().nth(MOST_MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

fn count(many: usize) -> i32 {
    i32::try_from(many).unwrap_or(i32::MAX)
}
