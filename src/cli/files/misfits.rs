//! What of an action does not go together.

use crate::api::rolloutaction::{Action, Override, RolloutActionSpec};

/// What the API server would refuse of an action beyond the schema: fields, and what is wrong with them.
pub fn misfits(spec: &RolloutActionSpec) -> Vec<(&'static str, String)> {
    let action = spec.action;
    let mut wrong = Vec::new();
    let mut belongs = |field, given: bool, to: Action, needed: bool| match (given, action == to) {
        (true, false) => wrong.push((field, format!("belongs to the action {}", to.as_str()))),
        (false, true) if needed => wrong.push((field, format!("is missing: {} needs it", to.as_str()))),
        _ => {}
    };
    belongs("approve", spec.approve.is_some(), Action::Approve, true);
    belongs("setPercent", spec.set_percent.is_some(), Action::SetPercent, true);
    belongs("rollback", spec.rollback.is_some(), Action::Rollback, false);
    belongs("retry", spec.retry.is_some(), Action::Retry, false);
    let Some(overrides) = &spec.overrides else { return wrong };
    if !matches!(action, Action::Promote | Action::SetPercent | Action::Retry) {
        wrong.push(("override", "belongs to the actions Promote, SetPercent and Retry".to_owned()));
    }
    if action == Action::SetPercent && overrides.contains(&Override::Gates) {
        wrong.push(("override", "SetPercent passes no gates, so there is none to override".to_owned()));
    }
    wrong
}
