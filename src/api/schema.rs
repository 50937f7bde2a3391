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
            validator.iter_errors(part).map(move |error| {
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
    use rstest::rstest;
    use serde_json::json;

    use super::*;

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
        let error = validator.iter_errors(&value).next().unwrap();
        let found = innermost(&error);
        assert_eq!(found.0, pointer);
        assert!(found.1.starts_with(what), "{}", found.1);
    }
}
