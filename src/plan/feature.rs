//! The flag of a rollout, defaults filled in and checked.

use serde_json::{Value, json};

use super::{Feature, FieldError, matching};
use crate::api::FeatureRollout;
use crate::api::featurerollout::VariantNames;
use crate::bounds;

/// The flag of a rollout, whatever else its spec says; `None` when the flag itself is invalid.
pub fn feature_alone(rollout: &FeatureRollout) -> Option<Feature> {
    let mut errors = Vec::new();
    let feature = feature(rollout, &mut errors);
    errors.is_empty().then_some(feature)
}

/// The flag of a rollout. Errors are added to `errors`; what is returned then is good for further checks only.
pub(super) fn feature(rollout: &FeatureRollout, errors: &mut Vec<FieldError>) -> Feature {
    let declared = rollout.spec.feature.clone().unwrap_or_default();
    let key = super::flag_key(rollout).to_owned();
    let variants: Vec<(String, Value)> = match declared.variants {
        Some(variants) => variants.into_iter().map(|v| (v.name, v.value)).collect(),
        None => vec![("enabled".to_owned(), json!(true)), ("disabled".to_owned(), json!(false))],
    };
    let feature = Feature {
        control: declared.control.unwrap_or_else(|| "disabled".to_owned()),
        treatment: declared.treatment.unwrap_or_else(|| "enabled".to_owned()),
        bucket_by: declared.bucket_by.unwrap_or_else(|| "targetingKey".to_owned()),
        salt: declared.salt.unwrap_or_else(|| key.clone()),
        title: declared.title,
        owner: declared.owner,
        tier: declared.tier,
        variant_names: declared.variant_names,
        announcement: rollout.spec.announcement.clone(),
        key,
        variants,
    };
    check(&feature, errors);
    feature
}

fn check(feature: &Feature, errors: &mut Vec<FieldError>) {
    let names: Vec<&str> = feature.variants.iter().map(|(name, _)| name.as_str()).collect();
    for (field, name) in [("control", &feature.control), ("treatment", &feature.treatment)] {
        if !names.contains(&name.as_str()) {
            errors.push(
                FieldError::new(
                    format!("spec.feature.{field}"),
                    format!("is no variant: name one of {}", names.join(", ")),
                )
                .with_value(name),
            );
        }
    }
    if feature.control == feature.treatment {
        errors.push(
            FieldError::new("spec.feature.treatment", "must differ from control")
                .with_value(&feature.treatment),
        );
    }
    if let Err(message) = matching::check_key(&feature.bucket_by) {
        errors.push(FieldError::new("spec.feature.bucketBy", message).with_value(&feature.bucket_by));
    }
    let first = feature.variants.first().map_or("", |(_, value)| json_type(value));
    for (i, (name, value)) in feature.variants.iter().enumerate() {
        let path = format!("spec.feature.variants[{i}]");
        if names.iter().filter(|other| *other == name).count() > 1 {
            errors.push(
                FieldError::new(format!("{path}.name"), "is the name of another variant too")
                    .with_value(name),
            );
        }
        if name.chars().any(|c| c.is_control() || "\"\\<>&".contains(c)) {
            errors.push(
                FieldError::new(format!("{path}.name"), "has one of \" \\ < > & or a control character in it, which Go's evaluator does not find again")
                    .with_value(name),
            );
        }
        if feature.variant_names == VariantNames::WithCohort && name.contains('@') {
            let message = "has an @ in it, which stands before the cohort where variantNames is WithCohort";
            errors.push(FieldError::new(format!("{path}.name"), message).with_value(name));
        }
        if let Err(excess) = bounds::measure(value, bounds::VALUE) {
            errors.push(FieldError::new(format!("{path}.value"), excess.to_string()));
            continue;
        }
        match json_type(value) {
            found @ ("null" | "array") => errors.push(FieldError::new(
                format!("{path}.value"),
                format!("is {found}: flagd knows booleans, strings, numbers and objects"),
            )),
            found if found != first => errors.push(
                FieldError::new(
                    format!("{path}.value"),
                    format!(
                        "is a {found} where the first variant is a {first}: all variants are of one type"
                    ),
                )
                .with_value(value),
            ),
            _ => {}
        }
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
