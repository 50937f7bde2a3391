//! A breach as the list tells it: by how much, and what follows.

use serde::Serialize;

use crate::api::measured::MeasuredKind;
use crate::api::verdict::TriggerStatus;
use crate::dashboard::units::{Units, readable};

/// A trigger in breach that nothing has followed from yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The trigger.
    pub trigger: String,
    /// The cohort; empty where the trigger is about the whole rollout.
    pub cohort: String,
    /// The value that was in breach.
    pub value: Option<String>,
    /// What follows if it lasts, and the bound: the worst of the levels in breach that have not acted.
    pub follows: Option<(String, String)>,
}

impl Breach {
    /// What a trigger in breach says.
    pub(super) fn of(trigger: &TriggerStatus) -> Breach {
        let waits = trigger.levels.iter().filter(|level| level.breach.is_some() && level.acted_at.is_none());
        let worst = waits.filter_map(|level| Some((level.action()?, level.rule.split_once(' ')?.1)));
        let worst = worst.max_by_key(|(action, _)| *action);
        Breach {
            trigger: trigger.name.clone(),
            cohort: trigger.cohort.clone(),
            value: trigger.value.clone(),
            follows: worst.map(|(action, bound)| (action.as_str().to_owned(), bound.to_owned())),
        }
    }

    /// The breach in words, with the unit of what is measured as far as it is known.
    pub fn words(&self, units: &Units) -> String {
        let with_unit = |text: &str| units.with_unit(MeasuredKind::Trigger, &self.trigger, text);
        let of = if self.cohort.is_empty() { String::new() } else { format!(" of {}", self.cohort) };
        let value = self.value.as_deref().map(|value| with_unit(&readable(value)));
        let value = value.map(|value| format!(" at {value}")).unwrap_or_default();
        let follows = self
            .follows
            .as_ref()
            .map(|(action, bound)| format!("; {action} follows if it stays {}", with_unit(bound)));
        format!("{}{of} is in breach{value}{}", self.trigger, follows.unwrap_or_default())
    }
}
