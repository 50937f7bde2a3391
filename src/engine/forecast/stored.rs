//! What a stored status tells of its metrics.

use crate::api::rolloutaction::Action;
use crate::api::verdict::Verdict;
use crate::api::{FeatureRolloutStatus, MicroTime, Reading};
use crate::engine::{Facts, Measurement, Metrics, Subject};

/// The measurements of now, as the stored verdicts tell them, for whoever judges without a metric source. A breach is not measured
/// anew: that it lasts is stored, too.
pub fn measured(status: &FeatureRolloutStatus, now: MicroTime) -> Vec<Measurement> {
    all(status, now, false)
}

/// What is to be known for an action that is tried out. A retry forgets for how long a trigger has been in breach, and the next
/// measurement finds it so again: it is measured anew, or the answer would be that everything is quiet.
pub fn facts_for(action: Action, facts: &Facts, status: &FeatureRolloutStatus, now: MicroTime) -> Facts {
    let mut facts = facts.clone();
    if action == Action::Retry && matches!(facts.metrics, Metrics::Measured(_)) {
        facts.metrics = Metrics::Measured(all(status, now, true));
    }
    facts
}

fn all(status: &FeatureRolloutStatus, now: MicroTime, breaches: bool) -> Vec<Measurement> {
    let reading = |verdict: Verdict, value: Option<&String>, message: Option<&String>| match verdict {
        Verdict::Breach if breaches => {
            let value = value.and_then(|value| value.parse().ok())?;
            Some(Reading::of(value, Some(u64::MAX)))
        }
        Verdict::Pass => {
            let value = value.and_then(|value| value.parse().ok()).unwrap_or_default();
            // Whoever counts samples has counted enough for a pass.
            Some(Reading::of(value, Some(u64::MAX)))
        }
        Verdict::NoData => Some(Reading::NoData(message.cloned().unwrap_or_default())),
        Verdict::ProviderError => Some(Reading::Error(message.cloned().unwrap_or_default())),
        Verdict::Breach | Verdict::Cancelled => None,
    };
    let triggers = status.triggers.iter().filter_map(|trigger| {
        Some(Measurement {
            subject: Subject::Trigger(trigger.name.clone()),
            cohort: Some(trigger.cohort.clone()).filter(|cohort| !cohort.is_empty()),
            at: now,
            due: now,
            reading: reading(trigger.verdict, trigger.value.as_ref(), trigger.message.as_ref())?,
        })
    });
    let criteria = status.criteria.iter().filter_map(|criterion| {
        Some(Measurement {
            subject: Subject::Criterion(criterion.name.clone()),
            cohort: None,
            at: now,
            due: now,
            reading: reading(criterion.verdict?, criterion.value.as_ref(), criterion.message.as_ref())?,
        })
    });
    triggers.chain(criteria).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{facts_for, measured};
    use crate::api::rolloutaction::Action;
    use crate::api::{FeatureRolloutStatus, Reading};
    use crate::engine::{Facts, Metrics, Subject};

    #[rstest::rstest]
    #[case::retry(Action::Retry, true)]
    #[case::resume(Action::Resume, false)]
    fn what_is_in_breach_is_measured_once_more_after_a_retry(#[case] action: Action, #[case] expected: bool) {
        let at = "2025-09-08T09:00:00.000000Z";
        let triggers =
            json!([{"name": "latency", "cohort": "", "verdict": "Breach", "since": at, "value": "900"}]);
        let status: FeatureRolloutStatus = serde_json::from_value(json!({"triggers": triggers})).unwrap();
        let now = at.parse().unwrap();
        let facts = Facts { metrics: Metrics::Measured(measured(&status, now)), ..Facts::favourable("u") };
        let facts = facts_for(action, &facts, &status, now);
        let Metrics::Measured(found) = facts.metrics else { panic!() };
        assert_eq!(found.iter().any(|m| m.reading == Reading::of(900.0, Some(u64::MAX))), expected);
    }

    #[test]
    fn what_was_found_last_is_measured_now_and_what_was_not_is_not() {
        let at = "2025-09-08T09:00:00.000000Z";
        let status: FeatureRolloutStatus = serde_json::from_value(json!({
            "triggers": [
                {"name": "errors", "cohort": "", "verdict": "Pass", "since": at, "value": "0.5"},
                {"name": "crashes", "cohort": "early", "verdict": "NoData", "since": at, "message": "no series"},
                {"name": "latency", "cohort": "", "verdict": "Breach", "since": at, "value": "900"},
            ],
            "criteria": [
                {"name": "quality", "verdict": "Pass", "since": at, "value": "1.5"},
                {"name": "adoption", "since": at},
            ],
        }))
        .unwrap();
        let now = at.parse().unwrap();
        let found: Vec<_> = measured(&status, now)
            .into_iter()
            .map(|m| {
                assert_eq!((m.at, m.due), (now, now));
                (m.subject, m.cohort, m.reading)
            })
            .collect();
        let trigger = |name: &str| Subject::Trigger(name.to_owned());
        assert_eq!(
            found,
            [
                (trigger("errors"), None, Reading::of(0.5, Some(u64::MAX))),
                (trigger("crashes"), Some("early".to_owned()), Reading::NoData("no series".to_owned())),
                (Subject::Criterion("quality".to_owned()), None, Reading::of(1.5, Some(u64::MAX))),
            ]
        );
    }
}
