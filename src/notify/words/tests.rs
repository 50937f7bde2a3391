use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::api::MicroTime;

/// Every reason, by the schema of the history.
fn reasons() -> Vec<Reason> {
    let schema = serde_json::to_value(schemars::schema_for!(Reason)).unwrap();
    let names: Vec<Value> = match (schema.get("oneOf"), schema.get("enum")) {
        (Some(forms), _) => forms.as_array().unwrap().iter().map(|form| form["const"].clone()).collect(),
        (_, Some(names)) => names.as_array().unwrap().clone(),
        _ => panic!("{schema:#}"),
    };
    names.into_iter().map(|name| serde_json::from_value(name).unwrap()).collect()
}

fn entry(reason: Reason, severity: Option<Severity>) -> HistoryEntry {
    HistoryEntry {
        seq: 1,
        at: MicroTime::UNIX_EPOCH,
        reason,
        message: String::new(),
        who: "ada".to_owned(),
        trigger: None,
        severity,
        revision: None,
    }
}

/// Words of one reason must not be taken for those of another.
#[test]
fn each_reason_has_words_of_its_own() {
    let reasons = reasons();
    assert!(reasons.len() > 50, "{}", reasons.len());
    let words: std::collections::BTreeSet<&str> = reasons.iter().map(|reason| headline(*reason)).collect();
    assert_eq!(words.len(), reasons.len());
    for reason in reasons {
        let words = headline(reason);
        assert!(!words.is_empty() && words.len() < 60 && !words.ends_with('.'), "{reason}: {words}");
        let mut entry = crate::notify::message::example();
        entry.reason = reason;
        let message = crate::notify::message::message(&Default::default(), &entry);
        assert_eq!(message.title, format!("Dreams: {words}"));
        assert_eq!(message.problem, None);
    }
}

#[rstest]
#[case(Reason::StepEntered, None, Severity::Info)]
#[case(Reason::NotDelivered, None, Severity::Warning)]
#[case(Reason::RolledBack, None, Severity::Critical)]
#[case(Reason::RolledBack, Some(Severity::Warning), Severity::Critical)]
#[case(Reason::TriggerFired, Some(Severity::Critical), Severity::Critical)]
#[case(Reason::TriggerFired, Some(Severity::Info), Severity::Warning)]
#[case(Reason::Paused, Some(Severity::Critical), Severity::Critical)]
#[case(Reason::RollbackVerified, Some(Severity::Critical), Severity::Info)]
fn how_bad_it_is(#[case] reason: Reason, #[case] said: Option<Severity>, #[case] expected: Severity) {
    assert_eq!(severity(&entry(reason, said)), expected);
}

#[rstest]
#[case(Reason::RolledBack, Severity::Critical, true, Some(Incident::Trigger))]
#[case(Reason::NotDelivered, Severity::Warning, false, None)]
#[case(Reason::Acknowledged, Severity::Info, true, Some(Incident::Acknowledge))]
#[case(Reason::Acknowledged, Severity::Info, false, Some(Incident::Resolve))]
#[case(Reason::RollbackVerified, Severity::Info, false, Some(Incident::Resolve))]
#[case(Reason::Retried, Severity::Info, false, Some(Incident::Resolve))]
#[case(Reason::StepEntered, Severity::Info, false, None)]
fn what_it_does_to_an_incident(
    #[case] reason: Reason,
    #[case] severity: Severity,
    #[case] is_rolled_back: bool,
    #[case] expected: Option<Incident>,
) {
    assert_eq!(incident(reason, severity, is_rolled_back, Severity::Critical), expected);
}
