//! flagd's own JSON schema, compiled into the program and never fetched.
//!
//! Whether it accepts a flag takes time that grows with the flag. Why it does not is another matter: of each rule that fits
//! none of a dozen forms the validator keeps the errors of all forms, those of the rules inside of it included, which took
//! 347 MiB for a tree of a thousand leaves. So rules are looked at one by one, each without what is inside of the rules
//! in it, and only of the first that is wrong by itself is it asked why.

use std::sync::LazyLock;

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};

use crate::api::schema::innermost;
use crate::bounds::{self, Limits};

const FLAGS: &str = include_str!("flagd-schema/flags.json");
const TARGETING: &str = include_str!("flagd-schema/targeting.json");
const FLAGS_ID: &str = "https://flagd.dev/schema/v0/flags.json";
const TARGETING_ID: &str = "https://flagd.dev/schema/v0/targeting.json";
/// Values of a rule, without the rules in it, of which it is still asked what is wrong with them.
const EXPLAINED: usize = 64;
/// Values of a rule that stays as it is in the rule around it.
const SMALL: usize = 8;

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
    targeting: Validator,
    rule: Validator,
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
        let build_at = |place: &str| {
            jsonschema::options()
                .with_draft(Draft::Draft7)
                .offline()
                .with_registry(&registry)
                .build(&json!({"$ref": place}))
                .map_err(|error| error.to_string())
        };
        let build = |place: &str| build_at(&format!("{FLAGS_ID}{place}"));
        Ok(Validators {
            file: build("")?,
            boolean: build("#/definitions/booleanFlag")?,
            number: build("#/definitions/numberFlag")?,
            string: build("#/definitions/stringFlag")?,
            object: build("#/definitions/objectFlag")?,
            targeting: build_at(TARGETING_ID)?,
            rule: build_at(&format!("{TARGETING_ID}#/definitions/args"))?,
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
/// What it refuses first, and where.
pub fn validate_file(file: &Value) -> Result<(), SchemaError> {
    with(|validators| check(&validators.file, "", file))
}

/// Whether flagd's schema accepts one flag.
///
/// # Errors
/// What it refuses first, and where.
pub fn validate_flag(body: &Value) -> Result<(), SchemaError> {
    with(|validators| {
        let validator = validators.for_flag(body);
        if validator.is_valid(body) {
            return Ok(());
        }
        let mut rest = body.clone();
        let targeting = rest.as_object_mut().and_then(|rest| rest.remove("targeting"));
        check(validator, "", &rest)?;
        Err(validators.wrong_rule(targeting.as_ref().unwrap_or(body)))
    })
}

fn with(f: impl FnOnce(&Validators) -> Result<(), SchemaError>) -> Result<(), SchemaError> {
    match &*VALIDATORS {
        Ok(validators) => f(validators),
        Err(error) => Err(SchemaError(format!("flagd's schema is unusable: {error}"))),
    }
}

fn check(validator: &Validator, place: &str, value: &Value) -> Result<(), SchemaError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the values that come here have no rules inside of each other"
    )]
    validator.validate(value).map_err(|error| {
        let (pointer, what) = innermost(&error);
        SchemaError(format!("{place}{pointer}: {what}"))
    })
}

impl Validators {
    /// The first rule of a targeting that is wrong by itself.
    fn wrong_rule(&self, targeting: &Value) -> SchemaError {
        let mut left = vec![("/targeting".to_owned(), targeting)];
        let mut validator = &self.targeting;
        while let Some((place, rule)) = left.pop() {
            let alone = self.alone(rule);
            if !validator.is_valid(&alone) {
                let explained = Limits { values: EXPLAINED, ..bounds::FLAG };
                return match bounds::measure(&alone, explained) {
                    Ok(_) => check(validator, &place, &alone)
                        .err()
                        .unwrap_or_else(|| SchemaError(format!("{place}: {NO_RULE}"))),
                    Err(_) => SchemaError(format!("{place}: {NO_RULE}")),
                };
            }
            validator = &self.rule;
            let mut inside: Vec<_> = operands(rule).collect();
            inside.reverse();
            left.extend(inside.into_iter().map(|(end, rule)| (place.clone() + &end, rule)));
        }
        SchemaError(format!("/targeting: {NO_RULE}"))
    }
}

impl Validators {
    /// The rule with a stand-in for each rule in it that is large or wrong, and without what stands deeper.
    fn alone(&self, rule: &Value) -> Value {
        match rule {
            Value::Object(rule) => rule
                .iter()
                .map(|(operator, operand)| (operator.clone(), self.without(operand, 2)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    fn without(&self, value: &Value, levels: usize) -> Value {
        let small = Limits { depth: 3, values: SMALL };
        let stays = |value| bounds::measure(value, small).is_ok() && self.rule.is_valid(value);
        match value {
            Value::Object(_) if !stays(value) => json!({"var": "…"}),
            Value::Array(_) if levels == 0 => json!([]),
            Value::Array(items) => items.iter().map(|item| self.without(item, levels - 1)).collect(),
            other => other.clone(),
        }
    }
}

const NO_RULE: &str = "is no rule that flagd knows, or has operands that flagd does not take";

/// The rules in a rule, and where they stand in it. What stands in a list that is itself an operand is no rule, but for
/// those of `fractional`.
fn operands(rule: &Value) -> impl Iterator<Item = (String, &Value)> {
    rule.as_object().into_iter().flatten().flat_map(|(operator, operand)| {
        let place = format!("/{}", operator.replace('~', "~0").replace('/', "~1"));
        let items = operand.as_array().map_or([].as_slice(), Vec::as_slice).iter().enumerate();
        let is_split = operator == "fractional";
        let inner = items.clone().filter(move |_| is_split).flat_map({
            let place = place.clone();
            move |(at, item)| {
                let place = place.clone();
                let items = item.as_array().map_or([].as_slice(), Vec::as_slice).iter().enumerate();
                items.map(move |(inner, item)| (format!("{place}/{at}/{inner}"), item))
            }
        });
        let outer = items.map({
            let place = place.clone();
            move |(at, item)| (format!("{place}/{at}"), item)
        });
        std::iter::once((place, operand)).chain(outer).chain(inner).filter(|(_, operand)| operand.is_object())
    })
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
