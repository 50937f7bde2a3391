//! What is wrong with a policy by itself, whatever it binds.

use std::collections::BTreeSet;

use super::args::{Piece, pieces};
use crate::api::rolloutpolicy::{LabelOperator, NamespaceSelector};
use crate::api::{MicroTime, RolloutPolicySpec};
use crate::plan::calendar::{Calendar, WindowList};
use crate::plan::compile::{check_times, zone};
use crate::plan::guard::{GuardTrigger, arg_path};
use crate::plan::{FieldError, GuardSpec, guard};

/// Everything that is wrong with a policy by itself.
pub fn check_policy(spec: &RolloutPolicySpec, errors: &mut Vec<FieldError>) {
    let zone = spec.time_zone.as_deref().map(|name| zone(name, "spec.timeZone", errors));
    check_times("spec", &spec.windows, &spec.freezes, errors);
    if let (true, None | Some(Some(_))) = (errors.is_empty() && !spec.windows.is_empty(), &zone) {
        let zone = zone.flatten().unwrap_or(jiff::tz::TimeZone::UTC);
        let list = WindowList { zone, windows: spec.windows.clone(), policy: None };
        let calendar = Calendar::new(vec![list], Vec::new());
        if calendar.next_open(MicroTime::UNIX_EPOCH).is_none() {
            errors.push(FieldError::new("spec.windows", "never open"));
        }
    }
    let mut names = BTreeSet::new();
    for (i, arg) in spec.args.iter().enumerate() {
        if !names.insert(arg.name.as_str()) {
            let error =
                FieldError::new(format!("spec.args[{i}].name"), "is the name of another argument too");
            errors.push(error.with_value(&arg.name));
        }
    }
    for (i, trigger) in spec.triggers.iter().enumerate() {
        for (name, value) in &trigger.metric.args {
            let path = arg_path(&format!("spec.triggers[{i}]"), name);
            match pieces(value) {
                Err(message) => errors.push(FieldError::new(path, message).with_value(value)),
                Ok(pieces) => errors.extend(pieces.into_iter().filter_map(|piece| match piece {
                    Piece::Arg(arg) if !names.contains(arg) => {
                        let message = format!("there is no argument {arg:?} in spec.args");
                        Some(FieldError::new(&path, message).with_value(value))
                    }
                    Piece::Arg(_) | Piece::Text(_) => None,
                })),
            }
        }
    }
    let declared = spec.triggers.iter().cloned();
    let watching = GuardSpec {
        triggers: declared.map(|trigger| GuardTrigger { trigger, ..GuardTrigger::default() }).collect(),
        // What a partial rollback leaves may be for the rollouts to say.
        rollback: Some(with_keep(spec.rollback.clone().unwrap_or_default())),
        monitoring: spec.monitoring.clone(),
        ..GuardSpec::default()
    };
    guard(&watching, &[], errors);
    if let Some(selector) = &spec.namespace_selector {
        check_selector(selector, errors);
    }
}

fn with_keep(rollback: crate::api::rollback::Rollback) -> crate::api::rollback::Rollback {
    let partial = Some(rollback.partial.unwrap_or_default());
    crate::api::rollback::Rollback { partial, ..rollback }
}

fn check_selector(selector: &NamespaceSelector, errors: &mut Vec<FieldError>) {
    for (i, requirement) in selector.match_expressions.iter().enumerate() {
        let takes_values = matches!(requirement.operator, LabelOperator::In | LabelOperator::NotIn);
        if takes_values == requirement.values.is_empty() {
            errors.push(FieldError::new(
                format!("spec.namespaceSelector.matchExpressions[{i}].values"),
                "In and NotIn take values, Exists and DoesNotExist take none",
            ));
        }
    }
}
