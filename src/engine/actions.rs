//! Actions: what people ask for, judged once and whole, and carried out once.

use jiff::SignedDuration;

use super::missing::note_exposure;
use super::outlook::{guarded_outlook, outlook};
use super::precedence::{Precedence, note_stop, overtaken, precedence};
use super::retry::keep_the_clock;
use super::rollback::Cause;
use super::text::{second, short, theirs};
use super::verbs::{lower, unlike};
use super::{Facts, Run};
use crate::api::rolloutaction::{Action, Answer, RolloutActionSpec};
use crate::api::status::{ActionRecord, FeatureRolloutStatus, PauseCause};
use crate::api::{MicroTime, Percent};
use crate::plan::{Guard, Plan};

/// How long an action that raises may wait to be read.
const RAISING_EXPIRES: SignedDuration = SignedDuration::from_mins(10);
/// How long any other may.
const EXPIRES: SignedDuration = SignedDuration::from_hours(1);
/// Most actions that status remembers.
const MOST_RECORDS: usize = 64;
/// The same for actions that neither stop nor lower: there is always room for some that do.
const MOST_ORDINARY: usize = 48;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Admission policy says so.
    Verified(String),
    /// Nobody has checked it: such an action may lower and stop, but not raise.
    Unverified,
}

impl Actor {
    fn name(&self) -> &str {
        match self {
            Actor::Verified(name) => name,
            Actor::Unverified => "unverified",
        }
    }
}

/// An action, as it is judged.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// UID of the RolloutAction.
    pub uid: &'a str,
    /// What is asked.
    pub spec: &'a RolloutActionSpec,
    /// When it was created, in whole seconds, by the schedule's clock.
    pub created: MicroTime,
    /// How many times as fast as real time that clock runs: people who ask are given real time.
    pub speed: u32,
    /// The resource version that it was created with, which tells the order of those of one second.
    pub version: i64,
    /// Who asks.
    pub actor: Actor,
    /// A label or annotation of a GitOps tool on it: such a tool would create it again.
    pub tracked_by: Option<&'a str>,
    /// UID of the rollout.
    pub rollout_uid: &'a str,
    /// Generation of the rollout's spec.
    pub generation: i64,
}

impl Request<'_> {
    fn expires_at(&self, raising: bool) -> MicroTime {
        let default = if raising { RAISING_EXPIRES } else { EXPIRES };
        let after = self.spec.expires_after.map_or(default, |after| after.signed());
        let after = i32::try_from(self.speed).ok().and_then(|speed| after.checked_mul(speed));
        self.created.saturating_add(after.unwrap_or(SignedDuration::MAX))
    }

    /// What the action made happen, for the record.
    pub(super) fn cause(&self) -> Cause {
        Cause {
            by: theirs(self.actor.name()),
            trigger: None,
            severity: None,
            message: theirs(&self.spec.reason),
        }
    }
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The state; unchanged unless the action is applied now.
    pub status: FeatureRolloutStatus,
    /// The answer.
    pub answer: Answer,
    /// The answer, in words.
    pub message: String,
}

/// What an action is judged by.
#[derive(Clone, Copy)]
pub enum Ground<'a> {
    /// The compiled spec and the facts.
    Plan(&'a Plan, &'a Facts),
    /// The spec is invalid, for this reason: what lowers and stops still works, by the last valid guard.
    Guard(&'a Guard, &'a str),
}

/// The state after an action with what it did in words, or why it was rejected.
pub(super) type Judgement = Result<(FeatureRolloutStatus, String), String>;

/// Judges an action, and carries it out if it may be: once for each UID, whatever is asked again.
///
/// What is applied has an entry in the history, and its answer says what was done and what comes next, and when.
pub fn act(
    ground: Ground<'_>,
    status: &FeatureRolloutStatus,
    request: &Request<'_>,
    now: MicroTime,
) -> Outcome {
    if let Some(known) = status.actions.iter().find(|known| known.uid == request.uid) {
        let message = known.message.clone().unwrap_or_else(|| "carried out before".to_owned());
        return Outcome { status: status.clone(), answer: known.answer, message };
    }
    let answer = |answer, message| Outcome { status: status.clone(), answer, message };
    if let Some(mark) = request.tracked_by {
        let message = format!("it carries {mark}: a GitOps tool would create it again, and so repeat it");
        return answer(Answer::Rejected, message);
    }
    let spec = request.spec;
    let raising = is_raising(spec, status);
    let expires_at = request.expires_at(raising);
    if now >= expires_at {
        let message = format!("read at {}, after it had expired at {}", second(now), second(expires_at));
        return answer(Answer::Expired, message);
    }
    match judge(ground, status, request, raising, now) {
        Err(message) => answer(Answer::Rejected, short(&message)),
        Ok((mut after, message)) => {
            let stops = precedence(spec, status) != Precedence::Ordinary;
            if stops {
                note_stop(&mut after, request);
            }
            let is_full = !make_room(&mut after, if stops { MOST_RECORDS } else { MOST_ORDINARY }, now);
            // Read again once somebody has lowered more, percentages may raise.
            if is_full && (!stops || spec.action == Action::SetPercent) {
                let message = format!(
                    "{} actions of this rollout were carried out and have no answer yet: ask again once they have, or are deleted",
                    status.actions.len()
                );
                return answer(Answer::Rejected, message);
            }
            keep_the_clock(&mut after, now);
            note_exposure(status, &mut after, now);
            let next = match ground {
                Ground::Plan(plan, facts) => outlook(plan, facts, status, &after, now),
                Ground::Guard(..) => guarded_outlook(&after),
            };
            let mut status = after;
            let message = short(&format!("{message}; {next}"));
            // A rollback or a pause is done all the same. Should it be read again, it is done again.
            if !is_full {
                status.actions.push(ActionRecord {
                    uid: request.uid.to_owned(),
                    until: expires_at,
                    answer: Answer::Applied,
                    message: Some(message.clone()),
                });
            }
            Outcome { status, answer: Answer::Applied, message }
        }
    }
}

/// Notes that an answer has been given: its words are not needed any more. The UID is, until the action expires.
pub fn answered(status: &mut FeatureRolloutStatus, uid: &str) {
    if let Some(known) = status.actions.iter_mut().find(|known| known.uid == uid) {
        known.message = None;
    }
}

/// Makes room for the record of an action among so many. `false` where every action on record could be read as new, and so be
/// carried out again, if its record were gone: its answer is not known to be given, and it has not expired.
fn make_room(status: &mut FeatureRolloutStatus, most: usize, now: MicroTime) -> bool {
    status.actions.retain(|known| known.until > now);
    while status.actions.len() >= most {
        let Some(oldest) = status.actions.iter().position(|known| known.message.is_none()) else {
            return false;
        };
        status.actions.remove(oldest);
    }
    true
}

/// Whether an action could raise anybody, now or later.
pub fn is_raising(spec: &RolloutActionSpec, status: &FeatureRolloutStatus) -> bool {
    match spec.action {
        Action::Approve | Action::Promote | Action::Resume | Action::Retry => true,
        Action::SetPercent => {
            spec.set_percent.iter().flatten().any(|(name, percent)| *percent > held(status, name))
        }
        Action::Pause | Action::Rollback | Action::Acknowledge => false,
    }
}

/// What a cohort has: what is decided for it, or in an emergency what was decided before and comes back.
///
/// What waits to come back after an emergency is had by nobody yet: to give it is a raise like any other.
pub(super) fn held(status: &FeatureRolloutStatus, cohort: &str) -> Percent {
    let Some(cohort) = status.cohort(cohort) else { return Percent::ZERO };
    let restore = cohort.restore.filter(|_| status.pause(PauseCause::Emergency).is_some());
    cohort.decided().max(restore.unwrap_or_default())
}

fn judge(
    ground: Ground<'_>,
    status: &FeatureRolloutStatus,
    request: &Request<'_>,
    raising: bool,
    now: MicroTime,
) -> Judgement {
    if let Some(why) = unlike(status, request) {
        return Err(why);
    }
    if let Some(why) = overtaken(status, request).filter(|_| raising) {
        return Err(why);
    }
    if raising && request.actor == Actor::Unverified {
        return Err(
            "who asked is not verified: the admission policies are missing, and without them nothing \
                    is raised"
                .to_owned(),
        );
    }
    match ground {
        Ground::Plan(_, facts) if raising && facts.deleting => Err("the rollout is being deleted".to_owned()),
        Ground::Plan(plan, facts) => {
            let mut run = Run::new(plan, status.clone(), facts, now);
            // The spec may be newer than the last decision: what git says comes first.
            run.follow_git();
            run.carry_out(request)
        }
        Ground::Guard(_, why) if raising => Err(format!("the spec is invalid: {why}")),
        Ground::Guard(guard, _) => lower(guard, status.clone(), request, now),
    }
}
