//! What was measured lately of one rollout, as the controller tells it to whoever may read the rollout.

use serde::{Deserialize, Serialize};

/// The last readings of everything that is measured of one rollout.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// One for each trigger and criterion, or for each cohort of a trigger that is measured by cohort.
    pub series: Vec<MeasuredSeries>,
}

/// The last readings of one subject, of one cohort or of the whole rollout.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MeasuredSeries {
    /// Which sort of subject.
    pub kind: MeasuredKind,
    /// Name of the trigger or criterion; of a policy's trigger `POLICY/TRIGGER`.
    pub name: String,
    /// The cohort; none where it is about the whole rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<String>,
    /// Unit of the values, where the template says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Seconds from one reading to the next, as it is measured now, at least 1. By the clock of the schedules.
    pub interval_seconds: u32,
    /// When each reading was taken, in seconds of Unix time by the clock of the schedules, oldest first.
    pub at: Vec<u32>,
    /// What each of them said; as many as there are times.
    pub said: Vec<Said>,
    /// Why the newest has no value, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Which sort of subject is measured.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MeasuredKind {
    /// A trigger.
    Trigger,
    /// A criterion.
    Criterion,
}

/// What one reading said: a number, or that there was none.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(untagged)]
pub enum Said {
    /// A finite number.
    Value(f64),
    /// None.
    Missing(Missing),
}

/// Why there was no number.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The source answered, but not with one finite and recent number.
    NoData,
    /// The source did not answer, or could not be asked.
    ProviderError,
}

impl Said {
    /// The number, where there is one.
    pub const fn value(self) -> Option<f64> {
        match self {
            Said::Value(value) => Some(value),
            Said::Missing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_a_number_or_says_why_there_is_none() {
        let series = MeasuredSeries {
            kind: MeasuredKind::Trigger,
            name: "errors".to_owned(),
            cohort: None,
            unit: Some("%".to_owned()),
            interval_seconds: 30,
            at: vec![1_757_322_000, 1_757_322_030, 1_757_322_060],
            said: vec![
                Said::Value(0.5),
                Said::Missing(Missing::NoData),
                Said::Missing(Missing::ProviderError),
            ],
            message: None,
        };
        let text = serde_json::to_string(&Measured { series: vec![series.clone()] }).unwrap();
        assert!(text.contains(r#""said":[0.5,"NoData","ProviderError"]"#), "{text}");
        let back: Measured = serde_json::from_str(&text).unwrap();
        assert_eq!(back.series, [series]);
        assert!(serde_json::from_str::<Said>("\"Other\"").is_err());
    }
}
