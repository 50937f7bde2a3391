//! What somebody filled in, as the action that it asks for.

use std::collections::BTreeMap;

use crate::api::rolloutaction::{
    Action, Approve, Override, RetryFrom, RetryHow, RollbackHow, RolloutActionSpec, RolloutRef,
};
use crate::api::{Percent, RollbackMode};

/// Most characters of a reason, as the kind allows.
pub const MOST_REASON: usize = 512;

/// The fields of a form or of an address, each with what was given for it.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<String, Vec<String>>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`.
    pub fn read(text: &[u8]) -> Fields {
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text).take(256) {
            // Browsers send the ends of lines as two characters.
            let value = value.replace("\r\n", "\n");
            fields.entry(name.into_owned()).or_default().push(value);
        }
        Fields(fields)
    }

    /// The first value of a field, without the spaces around it; absent where it is blank.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The first value of a field as it was given.
    pub fn whole(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// The fields whose names begin with this: the rest of the name, and the value.
    fn under<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, values)| {
            Some((name.strip_prefix(start)?, values.first()?.trim())).filter(|(_, value)| !value.is_empty())
        })
    }
}

/// The rollout that a form is for, as its page has shown it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UID: an action for a rollout that was deleted and created again is not meant.
    pub uid: &'a str,
}

/// The action that a form asks for, and everything that is wrong with it.
///
/// The spec is complete as far as it goes, so that it can be tried out before the reason is written.
pub fn action(action: Action, subject: Subject<'_>, fields: &Fields) -> (RolloutActionSpec, Vec<String>) {
    let mut wrong = Vec::new();
    let reason = fields.text("reason").unwrap_or_default().to_owned();
    if reason.is_empty() {
        wrong.push("say why: whoever reads the record later has nothing else".to_owned());
    } else if reason.chars().count() > MOST_REASON {
        wrong.push(format!("the reason is longer than {MOST_REASON} characters"));
    }
    let mut spec = RolloutActionSpec {
        rollout_ref: RolloutRef { name: subject.name.to_owned(), uid: Some(subject.uid.to_owned()) },
        action,
        reason,
        ..RolloutActionSpec::default()
    };
    match action {
        Action::Approve => spec.approve = approve(fields, &mut wrong),
        Action::SetPercent => spec.set_percent = percents(fields, &mut wrong),
        Action::Rollback => spec.rollback = rollback(fields, &mut wrong),
        Action::Retry => {
            let from = match fields.text("from") {
                Some("Phase") => RetryFrom::Phase,
                _ => RetryFrom::Start,
            };
            spec.retry = Some(RetryHow { from });
        }
        Action::Pause | Action::Resume | Action::Promote | Action::Acknowledge => {}
    }
    if matches!(action, Action::Promote | Action::SetPercent | Action::Retry) {
        spec.overrides = overrides(action, fields);
    }
    if !matches!(action, Action::Rollback | Action::Pause | Action::Acknowledge) {
        // What stops or lowers is meant whatever the spec says by now.
        spec.expected_generation = fields.text("generation").and_then(|text| text.parse().ok());
    }
    (spec, wrong)
}

fn approve(fields: &Fields, wrong: &mut Vec<String>) -> Option<Approve> {
    let chosen = fields.text("step").and_then(|step| step.split_once('/'));
    if chosen.is_none() {
        wrong.push("choose the step that you approve".to_owned());
    }
    chosen.map(|(phase, step)| Approve { phase: phase.to_owned(), step: step.to_owned() })
}

/// The percentages that differ from what the page showed.
fn percents(fields: &Fields, wrong: &mut Vec<String>) -> Option<BTreeMap<String, Percent>> {
    let shown: BTreeMap<&str, &str> = fields.under("was.").collect();
    let mut percents = BTreeMap::new();
    for (cohort, text) in fields.under("percent.") {
        let spelt = format!("{}%", text.trim_end_matches('%').trim_end());
        match spelt.parse::<Percent>() {
            Ok(percent) if shown.get(cohort) == Some(&percent.to_string().as_str()) => {}
            Ok(percent) => drop(percents.insert(cohort.to_owned(), percent)),
            Err(error) => wrong.push(format!("{cohort}: {error}")),
        }
    }
    if percents.is_empty() && wrong.iter().all(|said| said.starts_with("say why")) {
        wrong.push("set at least one percentage to another value".to_owned());
    }
    (!percents.is_empty()).then_some(percents)
}

fn rollback(fields: &Fields, wrong: &mut Vec<String>) -> Option<RollbackHow> {
    let mode = match fields.text("mode").unwrap_or("Immediate") {
        "Immediate" => RollbackMode::Immediate,
        "Gradual" => RollbackMode::Gradual,
        "Partial" => RollbackMode::Partial,
        other => {
            wrong.push(format!("there is no rollback {other:?}: Immediate, Gradual, Partial"));
            return None;
        }
    };
    let chosen: Vec<String> = fields.all("cohort").map(str::to_owned).collect();
    let every = fields.all("cohorts").count();
    if every > 0 && chosen.is_empty() {
        wrong.push("choose at least one cohort".to_owned());
    }
    // All of them is what the action means when it names none, a cohort that git adds meanwhile among them.
    let cohorts = (!chosen.is_empty() && chosen.len() < every).then_some(chosen);
    Some(RollbackHow { mode, cohorts })
}

fn overrides(action: Action, fields: &Fields) -> Option<Vec<Override>> {
    let chosen = |name: &str| fields.all("override").any(|value| value == name);
    let every = [("Window", Override::Window), ("Freeze", Override::Freeze), ("Gates", Override::Gates)];
    let passes = |check: &Override| *check != Override::Gates || action != Action::SetPercent;
    let overrides: Vec<Override> =
        every.into_iter().filter(|(name, _)| chosen(name)).map(|(_, check)| check).filter(passes).collect();
    (!overrides.is_empty()).then_some(overrides)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn asked(of: Action, text: &str) -> (Value, Vec<String>) {
        let subject = Subject { name: "dreams", uid: "u1" };
        let (spec, wrong) = action(of, subject, &Fields::read(text.as_bytes()));
        let mut spec = serde_json::to_value(spec).unwrap();
        spec.as_object_mut().unwrap().remove("rolloutRef");
        (spec, wrong)
    }

    #[rstest]
    #[case::pause(Action::Pause, "reason=lunch&generation=3", json!({"action": "Pause", "reason": "lunch"}))]
    #[case::resume(Action::Resume, "reason=back&generation=3",
        json!({"action": "Resume", "reason": "back", "expectedGeneration": 3}))]
    #[case::approve(Action::Approve, "reason=ok&step=ga/full",
        json!({"action": "Approve", "reason": "ok", "approve": {"phase": "ga", "step": "full"}}))]
    #[case::promote(Action::Promote, "reason=now&override=Window&override=Gates",
        json!({"action": "Promote", "reason": "now", "override": ["Window", "Gates"]}))]
    #[case::percents(Action::SetPercent, "reason=r&percent.a=12.5&was.a=5%25&percent.b=50&was.b=50%25&override=Gates",
        json!({"action": "SetPercent", "reason": "r", "setPercent": {"a": "12.5%"}}))]
    #[case::all_cohorts(Action::Rollback, "reason=r&mode=Gradual&cohorts=a&cohorts=b&cohort=a&cohort=b",
        json!({"action": "Rollback", "reason": "r", "rollback": {"mode": "Gradual"}}))]
    #[case::one_cohort(Action::Rollback, "reason=r&cohorts=a&cohorts=b&cohort=b",
        json!({"action": "Rollback", "reason": "r", "rollback": {"mode": "Immediate", "cohorts": ["b"]}}))]
    #[case::retry(Action::Retry, "reason=r&from=Phase",
        json!({"action": "Retry", "reason": "r", "retry": {"from": "Phase"}}))]
    fn a_form_is_an_action(#[case] of: Action, #[case] text: &str, #[case] expected: Value) {
        assert_eq!(asked(of, text), (expected, vec![]));
    }

    #[rstest]
    #[case::no_reason(Action::Pause, "reason=+%0A", &["say why"])]
    #[case::long_reason(Action::Pause, &format!("reason={}", "a".repeat(513)), &["longer than 512"])]
    #[case::no_step(Action::Approve, "", &["say why", "choose the step"])]
    #[case::no_percent(Action::SetPercent, "reason=r&percent.a=x&percent.b=101", &["a: ", "b: "])]
    #[case::same(Action::SetPercent, "reason=r&percent.a=5&was.a=5%25", &["another value"])]
    #[case::nobody(Action::Rollback, "reason=r&cohorts=a", &["at least one cohort"])]
    #[case::mode(Action::Rollback, "reason=r&mode=Sideways", &["there is no rollback"])]
    fn what_is_wrong_is_said_all_at_once(#[case] of: Action, #[case] text: &str, #[case] expected: &[&str]) {
        let (_, wrong) = asked(of, text);
        assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
        assert!(wrong.iter().zip(expected).all(|(said, part)| said.contains(part)), "{wrong:?}");
    }
}
