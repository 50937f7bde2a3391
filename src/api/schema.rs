//! Stored objects held against the present schema, for messages that name the field.

use jsonschema::Validator;
use serde_json::Value;
use std::sync::LazyLock;

/// The schema of a FeatureRollout's spec; `None` would mean that the derived schema is itself no schema.
static SPEC: LazyLock<Option<Validator>> = LazyLock::new(|| {
    let crd = super::crds::finish(<super::FeatureRollout as kube::CustomResourceExt>::crd());
    let crd = serde_json::to_value(crd).ok()?;
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")?;
    jsonschema::draft7::new(spec).ok()
});

/// What is wrong with the spec of a stored object, each with its path.
pub fn problems(object: &Value) -> Vec<String> {
    let (Some(validator), Some(spec)) = (SPEC.as_ref(), object.get("spec")) else { return Vec::new() };
    validator
        .iter_errors(spec)
        .take(16)
        .map(|error| {
            let path = error.instance_path().to_string().replace('/', ".");
            format!("spec{path}: {error}")
        })
        .collect()
}
