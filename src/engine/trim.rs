//! Keeps a status small: what explains gives way before what decides.

use crate::api::FeatureRolloutStatus;
use crate::api::trigger::LevelAction;
use crate::api::verdict::{LevelStatus, TriggerStatus};

use super::history::give_way;
use super::text::cut;

/// Most bytes of a status as JSON.
const MOST_STATUS: usize = 16 * 1024;
/// Most bytes of a history entry's message where space is short.
const MOST_OLD_MESSAGE: usize = 160;
/// Most bytes of any other message where space is shorter still.
const MOST_WORDS: usize = 96;
/// History entries that are kept as long as anything else can give way.
const LEAST_HISTORY: usize = 6;

/// Gives up something, if there is any left to give up.
type Stage = fn(&mut FeatureRolloutStatus) -> bool;

/// What gives way first, in order: what explains, and what will be seen again.
///
/// What the next decision or report would add again comes after what stays given up: so trimming again what was decided
/// again gives the same, and nothing is written.
const FIRST: &[Stage] = &[
    history_words,
    trigger_words,
    old_history,
    stored_words,
    quiet_triggers,
    reported_words,
    last_history,
    level_that_notifies,
    level_that_pauses,
];

/// What gives way after that.
const LAST: &[Stage] = &[oldest_approval, answered_action];

/// Keeps a status below 16 KiB: first words give way, then history, then triggers that are quiet.
///
/// Levels in breach that roll back never give way, as their time in breach would begin anew and the rollback might never
/// come. Where the largest rollouts have dozens of them at once, the status is larger for that while.
pub fn trim(status: &mut FeatureRolloutStatus) {
    for stage in FIRST {
        while size(status) > MOST_STATUS && stage(status) {}
    }
    for stage in LAST {
        while size_of_the_rest(status) > MOST_STATUS && stage(status) {}
    }
}

/// The size without the triggers that are on their way to a rollback: nothing else makes room for those.
fn size_of_the_rest(status: &FeatureRolloutStatus) -> usize {
    let whole = size(status);
    if whole <= MOST_STATUS {
        return whole;
    }
    let mut rest = status.clone();
    let rolls_back = |level: &LevelStatus| level.action().is_none_or(|action| action > LevelAction::Pause);
    rest.triggers.retain(|trigger| !trigger.levels.iter().any(rolls_back));
    size(&rest)
}

fn size(status: &FeatureRolloutStatus) -> usize {
    serde_json::to_vec(status).map_or(0, |json| json.len())
}

/// Shortens messages; tells whether any was too long.
fn shorten<'m>(messages: impl Iterator<Item = &'m mut String>, most: usize) -> bool {
    let mut any = false;
    for message in messages.filter(|message| message.len() > most) {
        *message = cut(message, most);
        any = true;
    }
    any
}

fn history_words(status: &mut FeatureRolloutStatus) -> bool {
    shorten(status.history.iter_mut().map(|entry| &mut entry.message), MOST_OLD_MESSAGE)
}

/// What triggers and criteria said in words and numbers; the verdicts stay.
fn trigger_words(status: &mut FeatureRolloutStatus) -> bool {
    let mut any = false;
    for trigger in &mut status.triggers {
        any |=
            trigger.message.take().is_some() | trigger.value.take().is_some() | trigger.at.take().is_some();
    }
    for criterion in &mut status.criteria {
        any |= criterion.message.take().is_some();
    }
    any
}

fn old_history(status: &mut FeatureRolloutStatus) -> bool {
    drop_history(status, LEAST_HISTORY)
}

fn last_history(status: &mut FeatureRolloutStatus) -> bool {
    // The last entry holds the number that the next one continues.
    drop_history(status, 1)
}

fn drop_history(status: &mut FeatureRolloutStatus, least: usize) -> bool {
    let any = status.history.len() > least;
    if any {
        give_way(&mut status.history);
    }
    any
}

/// Words that are written once.
fn stored_words(status: &mut FeatureRolloutStatus) -> bool {
    let history = status.history.iter_mut().flat_map(|entry| [&mut entry.message, &mut entry.who]);
    let pauses = status.pauses.iter_mut().map(|pause| &mut pause.message);
    let rollback = status.rollback.iter_mut().flat_map(|rollback| {
        let later = rollback.escalations.iter_mut().flat_map(|later| [&mut later.message, &mut later.by]);
        [&mut rollback.message, &mut rollback.by].into_iter().chain(later)
    });
    let actions = status.actions.iter_mut().filter_map(|action| action.message.as_mut());
    let approvals = status.approvals.iter_mut().map(|approval| &mut approval.by);
    shorten(history.chain(pauses).chain(rollback).chain(actions).chain(approvals), MOST_WORDS)
}

/// Triggers of which nothing has to be remembered.
fn quiet_triggers(status: &mut FeatureRolloutStatus) -> bool {
    let before = status.triggers.len();
    status.triggers.retain(|trigger| !is_quiet(trigger));
    status.triggers.len() < before
}

fn is_quiet(trigger: &TriggerStatus) -> bool {
    trigger.levels.is_empty() && !trigger.missing_acted && trigger.missing_since.is_none()
}

/// Words that every decision and report writes anew.
fn reported_words(status: &mut FeatureRolloutStatus) -> bool {
    let waiting = status.waiting_for.iter_mut().map(|waiting| &mut waiting.message);
    let conditions = status.conditions.iter_mut().map(|condition| &mut condition.message);
    let columns = status.served.iter_mut();
    shorten(waiting.chain(conditions).chain(columns), MOST_WORDS)
}

/// The oldest approval is of a step that was entered long ago.
fn oldest_approval(status: &mut FeatureRolloutStatus) -> bool {
    let any = status.approvals.len() > 1;
    if any {
        status.approvals.remove(0);
    }
    any
}

/// The last level in breach that would only notify: it will be in breach again.
fn level_that_notifies(status: &mut FeatureRolloutStatus) -> bool {
    drop_level(status, LevelAction::Notify)
}

/// The same for one that would pause. What is on its way to a rollback never gives way, nor what has acted.
fn level_that_pauses(status: &mut FeatureRolloutStatus) -> bool {
    drop_level(status, LevelAction::Pause)
}

fn drop_level(status: &mut FeatureRolloutStatus, action: LevelAction) -> bool {
    let gives_way = |level: &LevelStatus| level.acted_at.is_none() && level.action() == Some(action);
    let last = status
        .triggers
        .iter()
        .enumerate()
        .rev()
        .find_map(|(i, trigger)| trigger.levels.iter().rposition(gives_way).map(|level| (i, level)));
    let Some((i, level)) = last else { return false };
    if let Some(trigger) = status.triggers.get_mut(i) {
        trigger.levels.remove(level);
        if is_quiet(trigger) {
            status.triggers.remove(i);
        }
    }
    true
}

/// The oldest action whose answer is known to be given.
fn answered_action(status: &mut FeatureRolloutStatus) -> bool {
    let oldest = status.actions.iter().position(|action| action.message.is_none());
    oldest.map(|i| status.actions.remove(i)).is_some()
}
