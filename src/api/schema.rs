//! Stored objects held against the present schema, for messages that name the field.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;
use std::sync::LazyLock;

/// The schemas of a FeatureRollout's parts; `None` would mean that the derived schema is itself no schema.
static PARTS: LazyLock<Option<[(&str, Validator); 2]>> = LazyLock::new(|| {
    let crd = super::crds::finish(<super::FeatureRollout as kube::CustomResourceExt>::crd());
    let crd = serde_json::to_value(crd).ok()?;
    let part = |name: &str| {
        let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{name}");
        jsonschema::draft7::new(crd.pointer(&path)?).ok()
    };
    Some([("spec", part("spec")?), ("status", part("status")?)])
});

/// What is wrong with the spec and the status of a stored object, each with its path.
pub fn problems(object: &Value) -> Vec<String> {
    let parts = PARTS.iter().flatten();
    parts
        .filter_map(|(name, validator)| Some((name, validator, object.get(name)?)))
        .flat_map(|(name, validator, part)| {
            #[allow(clippy::disallowed_methods, reason = "forms of Sluice's own schemas hold no forms")]
            let errors = validator.iter_errors(part);
            errors.map(move |error| {
                let (pointer, what) = innermost(&error);
                format!("{name}{}: {what}", pointer.replace('/', "."))
            })
        })
        .take(16)
        .collect()
}

/// Longest message of a schema, in characters: it repeats the value.
const LONGEST: usize = 300;
/// Forms that are told one by one where a value fits none of several.
const FORMS: usize = 3;

/// What is wrong at last, with a JSON pointer to it: that a value fits none of several forms says nothing, but the form that
/// it fits best does.
pub fn innermost(error: &ValidationError<'_>) -> (String, String) {
    let here = error.instance_path().to_string();
    let (ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) =
        error.kind()
    else {
        return (here, error.to_string().chars().take(LONGEST).collect());
    };
    let depth = |pointer: &str| pointer.matches('/').count();
    // Of each form the error that lies deepest: as far as that the value is what the form says.
    let forms = context.iter().filter_map(|form| {
        form.iter().map(innermost).reduce(|a, b| if depth(&b.0) > depth(&a.0) { b } else { a })
    });
    let mut forms: Vec<(String, String)> = forms.collect();
    forms.dedup();
    let deepest = forms.iter().map(|(pointer, _)| depth(pointer)).max().unwrap_or(0);
    if deepest > depth(&here) {
        let best = forms.into_iter().find(|(pointer, _)| depth(pointer) == deepest);
        return best.unwrap_or_default();
    }
    let what = match forms.len() {
        1..=FORMS => forms.into_iter().map(|(_, what)| what).collect::<Vec<_>>().join(", or "),
        _ => format!("{} has none of the forms that are allowed here", error.instance()),
    };
    (here, what.chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// Every list of a status, the most that its schema takes, and the most that is ever written there. What the schema
    /// refuses cannot be written at all, so a list that grows with what people do must be cut by whoever writes it.
    const LISTS: &[(&str, u64, u64, &str)] = &[
        ("CohortSet.conditions", 8, 2, "Ready and Stalled"),
        ("FeatureRollout.actions", 64, 64, "engine/actions.rs drops the oldest"),
        ("FeatureRollout.approvals", 64, 64, "engine/actions.rs drops the oldest"),
        ("FeatureRollout.cohorts", 16, 16, "those of the pinned audience, of which a spec has so many"),
        ("FeatureRollout.conditions", 16, 7, "one of each type"),
        ("FeatureRollout.criteria", 16, 16, "those of the spec"),
        ("FeatureRollout.history", 20, 20, "engine/history.rs drops what tells least"),
        ("FeatureRollout.pauses", 16, 9, "one of each cause"),
        ("FeatureRollout.policies", 8, 8, "a rollout that more policies bind is invalid"),
        ("FeatureRollout.retry.override", 3, 3, "those of the action"),
        ("FeatureRollout.rollback.cohorts", 16, 16, "those of the pinned audience"),
        ("FeatureRollout.rollback.escalations", 2, 2, "there are two stronger modes than the weakest"),
        ("FeatureRollout.rollback.ladder", 8, 8, "that of the spec"),
        ("FeatureRollout.triggers", 64, 64, "a spec with more pairs of trigger and cohort is invalid"),
        ("FeatureRollout.triggers.levels", 4, 4, "those of the spec"),
        ("FeatureRollout.usedApprovals", 64, 64, "engine/position.rs keeps those that the spec gives"),
        ("FlagSet.conditions", 8, 5, "Ready, Stalled, StaleMounts, Emergency and Changelog"),
        ("FlagSet.orphans", 256, 64, "controller/writer/orphans.rs keeps the newest"),
        (
            "FlagSet.outputs",
            32,
            21,
            "four outputs, a FeatureFlag, and the last 16 of before (controller/writer/whereabouts.rs)",
        ),
        ("MetricSource.conditions", 8, 2, "Ready and Stalled"),
        ("MetricTemplate.conditions", 8, 2, "Ready and Stalled"),
        ("NotificationChannel.conditions", 8, 2, "Ready, and Reconciling or Stalled"),
        ("NotificationChannel.digests", 4, 4, "those of the spec"),
        ("NotificationChannel.heard", 2048, 2048, "notify/outbox.rs drops the oldest"),
        (
            "NotificationChannel.outbox",
            1024,
            1024,
            "notify/outbox.rs drops the least severe, of those the oldest",
        ),
        ("NotificationChannel.threads", 256, 256, "notify/outbox.rs drops the oldest"),
        ("Playbook.blocked", 32, 32, "playbook/standing.rs takes the first"),
        ("Playbook.conditions", 8, 2, "Ready and Stalled"),
        ("Playbook.criteria", 32, 32, "those of the spec"),
        ("Playbook.milestones", 32, 32, "those of the spec"),
        ("Playbook.phases", 16, 16, "those of the spec"),
        ("Playbook.success", 64, 64, "playbook/standing.rs takes the first by name"),
        ("Playbook.success.criteria", 16, 16, "those of a rollout's spec"),
        ("RolloutAction.conditions", 4, 2, "Ready and Stalled"),
        ("RolloutPolicy.conditions", 8, 2, "Ready and Stalled"),
    ];

    fn lists(path: &str, schema: &Value, found: &mut BTreeMap<String, Option<u64>>) {
        if schema["type"] == "array" {
            found.insert(path.to_owned(), schema["maxItems"].as_u64());
            lists(path, &schema["items"], found);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            lists(&format!("{path}.{name}"), property, found);
        }
        if schema["additionalProperties"].is_object() {
            lists(path, &schema["additionalProperties"], found);
        }
    }

    #[test]
    fn every_list_of_every_status_has_a_bound_that_its_writer_keeps() {
        let mut found = BTreeMap::new();
        for crd in crate::api::all_crds() {
            let kind = crd.spec.names.kind.clone();
            let crd = serde_json::to_value(crd).unwrap();
            let status = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status").unwrap();
            lists(&kind, status, &mut found);
        }
        let expected: BTreeMap<String, Option<u64>> =
            LISTS.iter().map(|(path, bound, ..)| ((*path).to_owned(), Some(*bound))).collect();
        assert_eq!(found, expected);
        for (path, bound, most, why) in LISTS {
            assert!(most <= bound, "{path} can have {most} items and the schema takes {bound}: {why}");
        }
    }

    #[test]
    fn what_is_too_long_is_named() {
        let actions: Vec<Value> =
            (0..65).map(|i| json!({"uid": format!("u{i}"), "until": "2026-01-01T00:00:00.000000Z", "answer": "Applied"})).collect();
        let problems = problems(&json!({"status": {"actions": actions}}));
        assert!(problems.iter().any(|problem| problem.contains("status.actions")), "{problems:?}");
    }

    #[rstest]
    #[case(json!({"a": {"b": 1}}), "/a/b", "1 is not of type \"string\"")]
    #[case(json!({"a": true}), "/a", "true is not of type \"object\", or true is not of type \"string\"")]
    #[case(json!({"a": {"c": 1}}), "/a", "\"b\" is a required property")]
    fn of_several_forms_the_best_one_is_told(
        #[case] value: Value,
        #[case] pointer: &str,
        #[case] what: &str,
    ) {
        let schema = json!({"properties": {"a": {"anyOf": [
            {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}},
            {"type": "string"},
        ]}}});
        let validator = jsonschema::draft7::new(&schema).unwrap();
        #[allow(clippy::disallowed_methods, reason = "the schema is this one")]
        let error = validator.validate(&value).unwrap_err();
        let found = innermost(&error);
        assert_eq!(found.0, pointer);
        assert!(found.1.starts_with(what), "{}", found.1);
    }
}
