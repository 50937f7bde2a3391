//! What the derived CustomResourceDefinitions still lack.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::JsonSchema;
use serde_json::{Value, json};

mod descriptions;

/// Largest number of any field, 2⁵³ - 1: what is larger is not exact in every reader of JSON.
pub const LARGEST: i64 = 9_007_199_254_740_991;

/// The definition of a kind, with all that the derived one lacks.
///
/// Every field's description says what its type knows of it. A fresh object gets the status that tells kstatus and Flux that
/// nobody has seen it yet: without that status it counts as current before its first reconcile. And every number has bounds.
pub fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let documented = documented(&crd.spec.names.kind);
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            descriptions::complete(schema, &documented);
            bound_numbers("", schema);
        }
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(json!({"observedGeneration": super::unobserved()})));
            status.nullable = None;
            drop_generated_defaults(status);
        }
    }
    crd
}

/// The schema of a kind with all of its docstrings.
fn documented(kind: &str) -> Value {
    match kind {
        "CohortSet" => descriptions::documented::<super::CohortSet>(),
        "FeatureRollout" => descriptions::documented::<super::FeatureRollout>(),
        "FlagSet" => descriptions::documented::<super::FlagSet>(),
        "MetricSource" => descriptions::documented::<super::MetricSource>(),
        "MetricTemplate" => descriptions::documented::<super::MetricTemplate>(),
        "NotificationChannel" => descriptions::documented::<super::NotificationChannel>(),
        "Playbook" => descriptions::documented::<super::Playbook>(),
        "RolloutAction" => descriptions::documented::<super::RolloutAction>(),
        "RolloutPolicy" => descriptions::documented::<super::RolloutPolicy>(),
        _ => Value::Null,
    }
}

/// The values of an enum and what they mean, as its docstrings say it.
pub fn explained<T: JsonSchema>() -> Vec<(String, String)> {
    descriptions::values(Some(&descriptions::documented::<T>()))
}

/// Gives the bounds to every whole number that has none of its own. Numbers count things or are counted on from, so they are
/// not negative, but for a generation that nothing was seen of yet.
#[allow(clippy::cast_precision_loss, reason = "floats hold both exactly")]
fn bound_numbers(name: &str, schema: &mut JSONSchemaProps) {
    if schema.type_.as_deref() == Some("integer") {
        let least = if name == "observedGeneration" { super::unobserved() } else { 0 };
        let most = if schema.format.as_deref() == Some("int32") { i64::from(i32::MAX) } else { LARGEST };
        schema.minimum.get_or_insert(least as f64);
        schema.maximum.get_or_insert(most as f64);
    }
    for (name, field) in schema.properties.iter_mut().flatten() {
        bound_numbers(name, field);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => bound_numbers(name, items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => {
            items.iter_mut().for_each(|item| bound_numbers(name, item))
        }
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        bound_numbers(name, values);
    }
}

/// Removes the defaults of fields inside of `status`: what a status does not say stays unsaid.
fn drop_generated_defaults(status: &mut JSONSchemaProps) {
    for field in status.properties.iter_mut().flat_map(|p| p.values_mut()) {
        field.default = None;
    }
}

#[cfg(test)]
mod tests;
