//! A kind's definition as a page of the reference: what `kubectl explain --recursive` says, to be read and linked to.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::api::{decimal, duration};

/// File name and content of each page: one a kind, and one of everything that a status says.
pub fn pages() -> Vec<(String, String)> {
    let kinds = crate::api::all_crds();
    let kinds = kinds.iter().map(|crd| (format!("{}.md", crd.spec.names.kind.to_lowercase()), page(crd)));
    kinds.chain([("states.md".to_owned(), super::states::page())]).collect()
}

fn page(crd: &CustomResourceDefinition) -> String {
    let names = &crd.spec.names;
    let version = crd.spec.versions.first();
    let schema = version
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| schema.open_api_v3_schema.as_ref());
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(
        "<!-- Made by `sluice crds -o markdown --dir docs/reference`; edit the docstrings in src/api instead. -->",
    );
    line(&format!("# {}\n", names.kind));
    line(&format!("{}\n", schema.and_then(|schema| schema.description.as_deref()).unwrap_or_default()));
    line(&format!(
        "`apiVersion: {}/{}`, plural `{}`, short name `{}`. `kubectl explain {}.spec` says the same as this page.\n",
        crd.spec.group,
        version.map_or("", |version| &version.name),
        names.plural,
        names.short_names.iter().flatten().map(String::as_str).collect::<Vec<_>>().join("`, `"),
        names.singular.as_deref().unwrap_or(&names.plural),
    ));
    let columns =
        version.and_then(|version| version.additional_printer_columns.as_deref()).unwrap_or_default();
    line("| column | says |\n|---|---|");
    for column in columns.iter().filter(|column| column.type_ != "date") {
        let wide = if column.priority == Some(1) { " (with `-o wide`)" } else { "" };
        line(&format!(
            "| {}{wide} | {} |",
            column.name.to_uppercase(),
            column.description.as_deref().unwrap_or("")
        ));
    }
    let parts = schema.and_then(|schema| schema.properties.as_ref());
    for name in ["spec", "status"] {
        if let Some(part) = parts.and_then(|parts| parts.get(name)) {
            section(name, part, &mut out);
        }
    }
    out
}

/// The fields of an object, then those of the objects in it.
fn section(path: &str, object: &JSONSchemaProps, out: &mut String) {
    let _ = write!(out, "\n## {path}\n\n");
    let required = object.required.as_deref().unwrap_or_default();
    for (name, field) in object.properties.iter().flatten() {
        let need = if required.contains(name) { ", required" } else { "" };
        let told = field.description.as_deref().unwrap_or_default();
        let (text, values) = told.split_once("\n\n").unwrap_or((told, ""));
        let _ = writeln!(out, "- **`{name}`** ({}{need}): {text}", type_of(field));
        for value in values.lines().filter(|line| line.starts_with(" - ")) {
            let _ = writeln!(out, "  {}", value.trim_start());
        }
    }
    let rules: Vec<&str> =
        object.x_kubernetes_validations.iter().flatten().filter_map(|rule| rule.message.as_deref()).collect();
    if !rules.is_empty() {
        let _ = write!(out, "\nThe API server refuses what breaks one of these rules:\n\n");
        rules.iter().for_each(|rule| {
            let _ = writeln!(out, "- {rule}");
        });
    }
    for (name, field) in object.properties.iter().flatten() {
        let (suffix, inner) = innermost(field);
        if inner.properties.as_ref().is_some_and(|properties| !properties.is_empty()) {
            section(&format!("{path}.{name}{suffix}"), inner, out);
        }
    }
}

/// What a list or a map holds, and how its place is written.
fn innermost(field: &JSONSchemaProps) -> (&'static str, &JSONSchemaProps) {
    match (&field.items, &field.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(items)), _) => ("[]", items),
        (_, Some(JSONSchemaPropsOrBool::Schema(values))) => (".NAME", values),
        _ => ("", field),
    }
}

/// The type of a field in a word or two.
fn type_of(field: &JSONSchemaProps) -> String {
    if field.x_kubernetes_int_or_string == Some(true) {
        return "percentage".to_owned();
    }
    let (suffix, inner) = innermost(field);
    match suffix {
        "[]" => return format!("list: {}", type_of(inner)),
        ".NAME" => return format!("map: {}", type_of(inner)),
        _ => {}
    }
    let named = match (field.type_.as_deref(), field.format.as_deref(), field.pattern.as_deref()) {
        (_, Some("date-time"), _) => "instant",
        (_, _, Some(duration::PATTERN)) => "duration",
        (_, _, Some(decimal::PATTERN)) => "decimal",
        (Some("string"), ..) if field.enum_.is_some() => "enum",
        (Some("string"), ..) => "text",
        (Some("integer"), ..) => "number",
        (Some(other), ..) => other,
        (None, ..) => "any JSON value",
    };
    named.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_line() {
        let pages = pages();
        let (_, rollout) = pages.iter().find(|(name, _)| name == "featurerollout.md").unwrap();
        for line in [
            "- **`phases`** (list: object, required): ",
            "- **`cohorts`** (map: percentage, required): ",
            "  - `Retain`: ",
            "## spec.phases[].steps[]",
            "## status.rollback.escalations[]",
            "| MESSAGE (with `-o wide`) | ",
        ] {
            assert!(rollout.contains(line), "{line}");
        }
    }
}
