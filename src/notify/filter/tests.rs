use rstest::rstest;

use super::*;
use crate::api::Reason;
use crate::notify::message::example;

fn spec(text: &str) -> NotificationChannelSpec {
    serde_saphyr::from_str(text).unwrap()
}

#[rstest]
#[case("{}", "sluice-system", true)]
#[case("{}", "maya", false)]
#[case("{allowedNamespaces: [maya]}", "maya", true)]
#[case("{allowedNamespaces: [maya]}", "shop", false)]
#[case("{allowedNamespaces: ['*']}", "shop", true)]
fn whose_rollouts(#[case] text: &str, #[case] namespace: &str, #[case] expected: bool) {
    assert_eq!(serves(&spec(text), "sluice-system", namespace), expected);
}

#[rstest]
#[case("{}", Reason::StepEntered, Severity::Info, true)]
#[case("{filter: {severity: Warning}}", Reason::StepEntered, Severity::Info, false)]
#[case("{filter: {severity: Warning}}", Reason::RolledBack, Severity::Critical, true)]
#[case("{filter: {reasons: [Completed]}}", Reason::StepEntered, Severity::Info, false)]
#[case("{filter: {reasons: [Completed]}}", Reason::Completed, Severity::Info, true)]
#[case("{filter: {rolloutSelector: {matchLabels: {team: dreams}}}}", Reason::Completed, Severity::Info, true)]
#[case("{filter: {rolloutSelector: {matchLabels: {team: other}}}}", Reason::Completed, Severity::Info, false)]
#[case(
    "{filter: {rolloutSelector: {matchExpressions: [{key: team, operator: In, values: [a, dreams]}]}}}",
    Reason::Completed,
    Severity::Info,
    true
)]
#[case(
    "{filter: {rolloutSelector: {matchExpressions: [{key: team, operator: NotIn, values: [dreams]}]}}}",
    Reason::Completed,
    Severity::Info,
    false
)]
#[case(
    "{filter: {rolloutSelector: {matchExpressions: [{key: silent, operator: DoesNotExist}]}}}",
    Reason::Completed,
    Severity::Info,
    true
)]
#[case(
    "{filter: {rolloutSelector: {matchExpressions: [{key: silent, operator: Exists}]}}}",
    Reason::Completed,
    Severity::Info,
    false
)]
// An incident is told from its beginning to its end, and nothing else is.
#[case("{pagerDuty: {routingKeySecretRef: {name: s, key: k}}}", Reason::RolledBack, Severity::Critical, true)]
#[case(
    "{pagerDuty: {routingKeySecretRef: {name: s, key: k}}}",
    Reason::NotDelivered,
    Severity::Warning,
    false
)]
#[case(
    "{pagerDuty: {routingKeySecretRef: {name: s, key: k}}}",
    Reason::RollbackVerified,
    Severity::Info,
    true
)]
#[case("{alertmanager: {url: 'http://x'}}", Reason::NotDelivered, Severity::Warning, true)]
#[case(
    "{alertmanager: {url: 'http://x'}, filter: {severity: Critical}}",
    Reason::NotDelivered,
    Severity::Warning,
    false
)]
#[case("{alertmanager: {url: 'http://x'}}", Reason::StepEntered, Severity::Info, false)]
fn what_of_them(
    #[case] text: &str,
    #[case] reason: Reason,
    #[case] severity: Severity,
    #[case] expected: bool,
) {
    let entry = OutboxEntry { reason, severity, ..example() };
    let labels = [("team".to_owned(), "dreams".to_owned())].into();
    assert_eq!(wants(&spec(text), &labels, &entry), expected);
}
