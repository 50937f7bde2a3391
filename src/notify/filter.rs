//! Which channel tells what.

use std::collections::BTreeMap;

use crate::api::Severity;
use crate::api::notificationchannel::{
    NotificationChannelSpec, OutboxEntry, Selector, SelectorOperator, Transitions,
};

use super::words;

/// Whether a channel of the operator's namespace tells of rollouts of a namespace.
pub fn serves(spec: &NotificationChannelSpec, operator_namespace: &str, namespace: &str) -> bool {
    namespace == operator_namespace
        || spec.allowed_namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace)
}

/// Whether a channel tells this of a rollout with these labels.
///
/// What ends an incident is told where what began it would be: by severity alone nothing would ever be resolved.
pub fn wants(spec: &NotificationChannelSpec, labels: &BTreeMap<String, String>, entry: &OutboxEntry) -> bool {
    if spec.transitions == Transitions::Omitted {
        return false;
    }
    let filter = spec.filter.clone().unwrap_or_default();
    if !filter.rollout_selector.as_ref().is_none_or(|selector| selects(selector, labels)) {
        return false;
    }
    if !filter.reasons.is_empty() && !filter.reasons.contains(&entry.reason) {
        return false;
    }
    match pages_from(spec) {
        Some(from) => {
            words::incident(entry.reason, entry.severity, entry.rollout.is_rolled_back, from).is_some()
        }
        None => entry.severity >= filter.severity.unwrap_or(Severity::Info),
    }
}

/// Whether a digest of a channel speaks of rollouts with these labels.
pub fn digests(spec: &NotificationChannelSpec, labels: &BTreeMap<String, String>) -> bool {
    let selector = spec.filter.as_ref().and_then(|filter| filter.rollout_selector.as_ref());
    selector.is_none_or(|selector| selects(selector, labels))
}

/// From which severity on something is an incident, where the channel is one of incidents.
pub fn pages_from(spec: &NotificationChannelSpec) -> Option<Severity> {
    let least = match (&spec.pager_duty, &spec.alertmanager) {
        (Some(_), _) => Severity::Critical,
        (None, Some(_)) => Severity::Warning,
        (None, None) => return None,
    };
    let said = spec.filter.as_ref().and_then(|filter| filter.severity);
    Some(said.map_or(least, |said| said.max(least)))
}

/// Whether labels are what a selector says.
pub fn selects(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    let has_all = selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    has_all
        && selector.match_expressions.iter().all(|rule| {
            let value = labels.get(&rule.key);
            let is_among = value.is_some_and(|value| rule.values.contains(value));
            match rule.operator {
                SelectorOperator::In => is_among,
                SelectorOperator::NotIn => !is_among,
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
            }
        })
}

#[cfg(test)]
mod tests;
