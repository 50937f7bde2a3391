//! What the derived CustomResourceDefinitions still lack.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::json;

/// Largest number of any field, 2⁵³ - 1: what is larger is not exact in every reader of JSON.
pub const LARGEST: i64 = 9_007_199_254_740_991;

/// Gives a fresh object the status that tells kstatus and Flux that nobody has seen it yet, and every number its bounds.
///
/// Without that status an object without one counts as current before its first reconcile.
pub fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
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
mod tests {
    use serde_json::Value;

    fn numbers(path: &str, schema: &Value, found: &mut Vec<(String, bool)>) {
        let Some(schema) = schema.as_object() else { return };
        let is_whole = schema.get("type").is_some_and(|type_| type_ == "integer");
        if is_whole {
            let bounded =
                ["minimum", "maximum"].iter().all(|bound| schema.get(*bound).is_some_and(Value::is_number));
            found.push((path.to_owned(), bounded));
        }
        for (name, below) in schema {
            numbers(&format!("{path}.{name}"), below, found);
            for (at, below) in below.as_array().into_iter().flatten().enumerate() {
                numbers(&format!("{path}.{name}[{at}]"), below, found);
            }
        }
    }

    /// A revision of `i64::MAX` in a file became one of -2⁶³ in a status.
    #[test]
    fn every_whole_number_of_every_kind_has_both_bounds() {
        let mut found = Vec::new();
        for crd in crate::api::all_crds() {
            numbers(
                &crd.spec.names.kind.clone(),
                &serde_json::to_value(crd.spec.versions).unwrap()[0]["schema"],
                &mut found,
            );
        }
        assert!(found.len() > 30, "{}", found.len());
        let unbounded: Vec<_> = found.iter().filter(|(_, bounded)| !bounded).collect();
        assert!(unbounded.is_empty(), "{unbounded:#?}");
    }
}
