//! Completes the descriptions of fields from what their types say of themselves, so that `kubectl explain` is a manual: the
//! format with an example, the range, the default, and what each value of an enum means.
//!
//! The docstrings of an enum's variants are in the schema that schemars derives, and are lost where it is made fit for
//! Kubernetes; so both are walked side by side.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::api::{decimal, duration, schedule};

/// The derived schema of a type, with all docstrings.
pub(super) fn documented<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Completes the descriptions of all fields of a kind. Ranges are told where people write the field: in everything but the
/// status.
pub(super) fn complete(kind: &mut JSONSchemaProps, documented: &Value) {
    for (name, part) in kind.properties.iter_mut().flatten() {
        below_field(part, property(documented, name), name != "status");
    }
}

/// The fields of an object, or of what a list or a map holds.
fn below_field(field: &mut JSONSchemaProps, documented: Option<&Value>, ranges: bool) {
    let nothing = Value::Null;
    let said = documented.unwrap_or(&nothing);
    for (name, field) in field.properties.iter_mut().flatten() {
        let documented = property(said, name);
        describe(field, documented, ranges);
        below_field(field, documented, ranges);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut field.items {
        below_field(items, below(said, "items"), ranges);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut field.additional_properties {
        below_field(values, below(said, "additionalProperties"), ranges);
    }
}

fn describe(field: &mut JSONSchemaProps, documented: Option<&Value>, ranges: bool) {
    // What is derived for Kubernetes says of an optional enum what the enum is, and not what the field does.
    let own = documented.and_then(|documented| documented.get("description")?.as_str());
    let Some(said) = own.map(str::to_owned).or_else(|| field.description.take()) else { return };
    let mut text = said.split("\n\n").map(one_line).collect::<Vec<_>>().join("\n\n");
    let mut say = |sentence: String| {
        text.push(' ');
        text.push_str(&sentence);
    };
    let element = element(field);
    if let Some(format) = format_of(field) {
        say(format!("Format: {format}."));
    } else if let Some(format) = element.and_then(format_of) {
        say(format!("Format of each: {format}."));
    }
    if ranges {
        range(field).into_iter().for_each(&mut say);
    }
    if let Some(default) = default(field).filter(|_| !said.contains("efault: ")) {
        say(format!("Default: `{default}`."));
    }
    let values = values(documented);
    if !values.is_empty() {
        text.push_str("\n\nPossible enum values:");
        values.iter().for_each(|(name, meaning)| text.push_str(&format!("\n - `{name}`: {meaning}")));
    }
    field.description = Some(text);
}

/// What a list or a map holds, where that has no fields of its own to say more.
fn element(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &field.items {
        return Some(items);
    }
    match &field.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

/// How a value is written, by the marks that its type leaves in the schema.
fn format_of(schema: &JSONSchemaProps) -> Option<&'static str> {
    if schema.format.as_deref() == Some("date-time") {
        return Some("an instant as in RFC 3339, such as `2025-09-08T09:00:00Z`");
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return Some(
            "a percentage from 0 to 100 in steps of 0.001, as a number such as `75` or a text such as `\"0.5%\"`",
        );
    }
    match schema.pattern.as_deref()? {
        duration::PATTERN => {
            Some("a duration of hours, minutes and seconds, such as `90s`, `36h` or `1h30m`")
        }
        decimal::PATTERN => Some("a decimal number as a text, such as `\"0.5\"`"),
        schedule::TIME_OF_DAY => Some("`\"HH:MM\"`, from `\"00:00\"` to `\"24:00\"`"),
        _ => None,
    }
}

fn range(field: &JSONSchemaProps) -> Option<String> {
    if field.type_.as_deref() == Some("integer") {
        return Some(format!("Range: {} to {}.", field.minimum?, field.maximum?));
    }
    let most = field.max_items.or(field.max_properties)?;
    Some(match most {
        1 => "At most 1 entry.".to_owned(),
        most => format!("At most {most} entries."),
    })
}

fn default(field: &JSONSchemaProps) -> Option<String> {
    match &field.default.as_ref()?.0 {
        Value::String(text) => Some(text.clone()),
        scalar @ (Value::Bool(_) | Value::Number(_)) => Some(scalar.to_string()),
        _ => None,
    }
}

/// The values of an enum, or of what a list or map holds of them, with what they mean.
pub(super) fn values(documented: Option<&Value>) -> Vec<(String, String)> {
    let Some(documented) = documented else { return Vec::new() };
    let here = forms(documented).filter_map(|form| {
        let name = form.get("const")?.as_str()?;
        let meaning = form.get("description")?.as_str()?;
        Some((name.to_owned(), one_line(meaning)))
    });
    let here: Vec<_> = here.collect();
    match here.is_empty() {
        true => values(below(documented, "items").or_else(|| below(documented, "additionalProperties"))),
        false => here,
    }
}

/// The forms that a value may have: what an optional field is beside null, and the values of an enum.
fn forms(schema: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    let several = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    Box::new(std::iter::once(schema).chain(several.flat_map(forms)))
}

fn below<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    forms(schema).find_map(|form| form.get(key)).filter(|below| below.is_object())
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    below(schema, "properties")?.get(name)
}

/// A text without the line breaks of its source.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
