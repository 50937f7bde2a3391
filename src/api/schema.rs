//! Stored objects held against the present schema, for messages that name the field.

use jsonschema::Validator;
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
            validator.iter_errors(part).map(move |error| {
                let path = error.instance_path().to_string().replace('/', ".");
                let what: String = error.to_string().chars().take(300).collect();
                format!("{name}{path}: {what}")
            })
        })
        .take(16)
        .collect()
}
