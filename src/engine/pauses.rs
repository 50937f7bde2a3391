//! Pauses: what stops the schedule, kept by cause, and what ends with its cause.

use super::Run;
use super::text::short;
use crate::api::status::{Pause, PauseCause};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, Reason};

impl Run<'_> {
    /// Adds or ends a pause that follows a field.
    pub(super) fn pause_if(&mut self, cause: PauseCause, on: bool) {
        let is = self.status.pause(cause).is_some();
        match (cause, is, on) {
            (_, true, true) | (_, false, false) => {}
            (PauseCause::Emergency, false, true) => take_to_control(&mut self.status, self.now),
            (PauseCause::Emergency, true, false) => {
                self.end_pause(cause);
                let message = format!("the FlagSet's emergency is over; {}", coming_back(&self.status));
                self.record(Reason::EmergencyLifted, "git", message);
            }
            (_, false, true) => {
                self.add_pause(cause, "spec.suspend is true".to_owned());
                self.record(Reason::Paused, "git", "suspended in git".to_owned());
            }
            (_, true, false) => {
                self.end_pause(cause);
                self.record(Reason::Resumed, "git", "no longer suspended in git".to_owned());
            }
        }
    }

    pub(super) fn add_pause(&mut self, cause: PauseCause, message: String) {
        add_pause(&mut self.status, cause, &message, self.now);
    }

    pub(super) fn end_pause(&mut self, cause: PauseCause) {
        self.status.pauses.retain(|pause| pause.cause != cause);
    }
}

/// Pauses the schedule for a cause, from now on also where it was paused for it before.
pub(super) fn add_pause(status: &mut FeatureRolloutStatus, cause: PauseCause, message: &str, now: MicroTime) {
    status.pauses.retain(|pause| pause.cause != cause);
    status.pauses.push(Pause { cause, since: now, message: short(message) });
}

/// Takes every cohort to control and pauses, as a FlagSet's `emergency` asks; once. What was served waits to come back.
///
/// It needs no plan: an emergency reaches a rollout whose spec is invalid, too.
pub fn take_to_control(status: &mut FeatureRolloutStatus, now: MicroTime) {
    if status.pause(PauseCause::Emergency).is_some() {
        return;
    }
    let exposed = status.exposed();
    for cohort in status.cohorts.iter_mut().filter(|cohort| !cohort.decided().is_zero()) {
        // A cohort on its way down a ladder has nothing to come back to.
        if cohort.descent.take().is_none() {
            cohort.restore = Some(cohort.restore.unwrap_or_default().max(cohort.decided()));
        }
        cohort.decide(Percent::ZERO);
    }
    let message = match exposed {
        true => "the FlagSet's emergency takes every cohort to control",
        false => "the FlagSet's emergency: nobody had the feature here, and nothing is raised",
    };
    status.pauses.push(Pause { cause: PauseCause::Emergency, since: now, message: message.to_owned() });
    status.paused_since.get_or_insert(now);
    super::record(status, now, Reason::EmergencyControl, "git", message.to_owned());
}

/// What comes back when an emergency is over, in words.
fn coming_back(status: &FeatureRolloutStatus) -> String {
    let back = status.cohorts.iter().filter_map(|cohort| Some((&cohort.name, cohort.restore?)));
    let back: Vec<String> = back.map(|(name, percent)| format!("{name} to {percent}")).collect();
    match back.is_empty() {
        true => "nothing was taken away here, and nothing comes back".to_owned(),
        false => format!("{} when the checks allow it", back.join(", ")),
    }
}

/// What ends a pause, in words that follow its message.
pub fn way_out(cause: PauseCause) -> &'static str {
    match cause {
        PauseCause::Suspended => "set it to false in git to go on",
        PauseCause::Emergency => "take spec.emergency out of the FlagSet to go on",
        PauseCause::StatusLost | PauseCause::Restored | PauseCause::Adopted => {
            "resume to go on from here, or raise spec.attempt to start again"
        }
        PauseCause::PositionLost => "put it back, or raise spec.attempt to start again",
        PauseCause::Person | PauseCause::SetPercent => "resume to let the schedule go on",
        PauseCause::Trigger => "resume when the cause is gone",
    }
}

/// Why a pause is there, and what ends it. While a rollback is in force no resume does: a retry ends both.
pub fn pause_words(status: &FeatureRolloutStatus, pause: &Pause) -> String {
    let from_git = matches!(pause.cause, PauseCause::Suspended | PauseCause::Emergency);
    match status.rollback.is_some() && !from_git {
        true => format!("{}; a retry ends this pause with the rollback", pause.message),
        false => format!("{}; {}", pause.message, way_out(pause.cause)),
    }
}
