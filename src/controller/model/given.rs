//! The objects of the model, as the controller knows them.

use serde::Serialize;
use serde_json::{Value, json};

use super::real::{COHORT, SET};
use super::state::{Said, Spec, Verb};
use crate::api::rolloutaction::RolloutActionSpec;
use crate::api::{FeatureRollout, FlagSet, FlagSetSpec, Percent};
use crate::controller::writer::Ack;
use crate::flags::Identity;
use crate::plan::{self, Plan, Refs};

/// What somebody asks for who asks for this.
pub(super) fn spec_of(verb: Verb, rollout: &str) -> RolloutActionSpec {
    let more = match verb {
        Verb::Rollback => json!({"action": "Rollback", "rollback": {"mode": "Immediate"}}),
        Verb::Retry => json!({"action": "Retry", "retry": {"from": "Start"}}),
        Verb::Pause => json!({"action": "Pause"}),
        Verb::Resume => json!({"action": "Resume"}),
    };
    let mut spec = json!({"rolloutRef": {"name": rollout.replace("uid-", "r")}, "reason": "because"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

/// The plan of two steps, as far as people edit it.
pub(super) fn compile(identity: &Identity, spec: Spec) -> Plan {
    let first = super::first_step(spec.first_step);
    let spec: Value = json!({
        "flagSetRef": {"name": SET},
        "cohorts": [{"name": COHORT}],
        "attempt": spec.attempt,
        "suspend": spec.suspended,
        "phases": [{"name": "ga", "steps": [
            {"name": "some", "cohorts": {COHORT: first}, "hold": "60s"},
            {"name": "all", "cohorts": {COHORT: 100}, "hold": "60s"},
        ]}],
    });
    let mut rollout = FeatureRollout::new(&identity.name, serde_json::from_value(spec).unwrap());
    rollout.metadata.namespace = Some(identity.namespace.clone());
    rollout.metadata.uid = Some(identity.uid.clone());
    let set = FlagSet::new(SET, FlagSetSpec::default());
    plan::compile(&rollout, Refs { flag_set: Some(&set), ..Refs::default() }).unwrap()
}

/// The same as the file's writer says it.
pub(super) fn ack(said: Said) -> Ack {
    match said {
        Said::Delivered(revision) => Ack::Delivered { revision: i64::from(revision) },
        Said::Newer(revision) => Ack::Newer { revision: i64::from(revision) },
        Said::Retrying => Ack::Retrying { message: "the file could not be written".to_owned() },
    }
}

/// A percentage of so many thousandths of a per cent.
pub(super) fn percentage(thousandths: u32) -> Percent {
    Percent::from_thousandths(thousandths).unwrap()
}

/// A value in a form that can be compared.
pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
