//! What a stored status tells of its metrics.

use crate::api::verdict::Verdict;
use crate::api::{FeatureRolloutStatus, MicroTime, Reading};
use crate::engine::{Measurement, Subject};

/// The measurements of now, as the stored verdicts tell them, for whoever judges without a metric source. A breach is not measured
/// anew: that it lasts is stored, too.
pub fn measured(status: &FeatureRolloutStatus, now: MicroTime) -> Vec<Measurement> {
    let reading = |verdict: Verdict, value: Option<&String>, message: Option<&String>| match verdict {
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

    use super::measured;
    use crate::api::{FeatureRolloutStatus, Reading};
    use crate::engine::Subject;

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
