//! flagd's own JSON schema, compiled into the program and never fetched.

use std::sync::LazyLock;

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};

use crate::api::schema::innermost;

const FLAGS: &str = include_str!("flagd-schema/flags.json");
const TARGETING: &str = include_str!("flagd-schema/targeting.json");
const FLAGS_ID: &str = "https://flagd.dev/schema/v0/flags.json";
const TARGETING_ID: &str = "https://flagd.dev/schema/v0/targeting.json";
/// Errors named in one message.
const SHOWN: usize = 3;

/// What of a document the schema refuses, with the places, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// Compiled once: it takes milliseconds, using it takes microseconds.
static VALIDATORS: LazyLock<Result<Validators, String>> = LazyLock::new(Validators::new);

struct Validators {
    file: Validator,
    boolean: Validator,
    number: Validator,
    string: Validator,
    object: Validator,
}

impl Validators {
    fn new() -> Result<Validators, String> {
        let read = |text: &str| -> Result<Value, String> {
            serde_json::from_str(text).map_err(|error| error.to_string())
        };
        let (flags, targeting) = (read(FLAGS)?, read(TARGETING)?);
        let registry = Registry::new()
            .add(FLAGS_ID, flags)
            .and_then(|registry| registry.add(TARGETING_ID, targeting))
            .and_then(|registry| registry.prepare())
            .map_err(|error| error.to_string())?;
        let build = |place: &str| {
            jsonschema::options()
                .with_draft(Draft::Draft7)
                .offline()
                .with_registry(&registry)
                .build(&json!({"$ref": format!("{FLAGS_ID}{place}")}))
                .map_err(|error| error.to_string())
        };
        Ok(Validators {
            file: build("")?,
            boolean: build("#/definitions/booleanFlag")?,
            number: build("#/definitions/numberFlag")?,
            string: build("#/definitions/stringFlag")?,
            object: build("#/definitions/objectFlag")?,
        })
    }

    /// The schema allows a flag any of four forms; the first variant's type tells which one can fit, so that the
    /// targeting is read once and the message speaks of the right form.
    fn for_flag(&self, body: &Value) -> &Validator {
        let variants = body.get("variants").and_then(Value::as_object);
        match variants.and_then(|variants| variants.values().next()) {
            Some(Value::Bool(_)) => &self.boolean,
            Some(Value::Number(_)) => &self.number,
            Some(Value::String(_)) => &self.string,
            _ => &self.object,
        }
    }
}

/// Whether flagd's schema accepts a whole file.
///
/// # Errors
/// What it refuses, and where.
pub fn validate_file(file: &Value) -> Result<(), SchemaError> {
    with(|validators| check(&validators.file, file))
}

/// Whether flagd's schema accepts one flag.
///
/// # Errors
/// What it refuses, and where.
pub fn validate_flag(body: &Value) -> Result<(), SchemaError> {
    with(|validators| check(validators.for_flag(body), body))
}

fn with(f: impl FnOnce(&Validators) -> Result<(), SchemaError>) -> Result<(), SchemaError> {
    match &*VALIDATORS {
        Ok(validators) => f(validators),
        Err(error) => Err(SchemaError(format!("flagd's schema is unusable: {error}"))),
    }
}

fn check(validator: &Validator, value: &Value) -> Result<(), SchemaError> {
    if validator.is_valid(value) {
        return Ok(());
    }
    let errors: Vec<String> = validator
        .iter_errors(value)
        .take(SHOWN)
        .map(|error| {
            let (pointer, what) = innermost(&error);
            format!("{pointer}: {what}")
        })
        .collect();
    Err(SchemaError(errors.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::file::{File, compose};
    use crate::flags::fixtures::member;
    use rstest::rstest;

    #[test]
    fn a_rendered_flag_and_its_file_are_accepted() {
        for served in [0, 1, 50_000, 99_999, 100_000] {
            let fragment = member("a", "u", 1, served);
            assert_eq!(validate_flag(&fragment.body), Ok(()));
            let file = File { members: [(fragment.key, fragment.body)].into(), ..File::default() };
            let value = serde_json::from_str(&compose(&file)).unwrap();
            assert_eq!(validate_file(&value), Ok(()));
        }
    }

    #[rstest]
    #[case("/state", json!("ON"))]
    #[case("/variants", json!({}))]
    #[case("/variants/enabled", json!("yes"))]
    #[case("/metadata/phase", json!(["list"]))]
    #[case("/targeting/if", json!({}))]
    #[case("/targeting/if/1/if/1/fractional/1/1", json!(0.5))]
    #[case("/targeting/if/1/if/1/fractional/1/1", json!(-1))]
    fn what_flagd_refuses_is_refused_with_its_place(#[case] place: &str, #[case] value: Value) {
        let mut body = member("a", "u", 1, 500).body;
        *body.pointer_mut(place).unwrap() = value;
        let error = validate_flag(&body).unwrap_err().to_string();
        assert!(error.starts_with('/'), "{error}");
        assert!(validate_file(&json!({"flags": {"a": body}})).is_err());
    }

    /// It was "not valid under any of the schemas listed in 'anyOf'".
    #[test]
    fn what_is_wrong_inside_of_a_rule_is_told_by_its_own_place() {
        let mut body = member("a", "u", 1, 500).body;
        *body.pointer_mut("/targeting/if/1/if/1/fractional/1/1").unwrap() = json!("half");
        let error = validate_flag(&body).unwrap_err().to_string();
        assert!(error.starts_with("/targeting/if/1/if/1/fractional/1"), "{error}");
        assert!(!error.contains("anyOf"), "{error}");
    }

    #[test]
    fn a_file_needs_flags() {
        assert!(validate_file(&json!({})).is_err());
    }
}
