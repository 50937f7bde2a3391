//! What the API server would say of an object's form: the CustomResourceDefinitions' schemas, applied here.

use std::collections::BTreeMap;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value, json};

use super::object::{Kind, Object};
use super::problem::{Problem, Severity};
use super::wording::{message, shown, unknown_field};
use super::yaml::{item_path, key_path};
use crate::api::flagset::OBJECT_NAME;

/// The schemas of all kinds.
pub struct Schemas(BTreeMap<&'static str, (Value, Validator)>);

/// Something wrong with the form of an object.
#[derive(Clone, Debug)]
pub struct Finding {
    /// JSON pointer of the value; of a missing field, where it would be.
    pub pointer: String,
    /// The same as a field path.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// True where a field is missing that the object must have.
    pub missing: bool,
    /// True where the field is superfluous rather than wrong: it can be left out.
    pub unknown: bool,
    /// True for an entry of a map with free keys: its key can be wrong for another reason than its value.
    pub entry: bool,
}

impl Default for Schemas {
    /// The schemas of [`crate::api::all_crds`], made strict: a field that they do not know is an error.
    fn default() -> Schemas {
        let mut schemas = BTreeMap::new();
        for crd in crate::api::all_crds() {
            let Some(kind) = super::object::kind_of(&crd.spec.names.kind) else { continue };
            let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
            let schema = schema.and_then(|schema| schema.open_api_v3_schema.as_ref());
            let mut schema = serde_json::to_value(schema).unwrap_or_default();
            tighten(&mut schema);
            add_object_fields(&mut schema);
            let validator = jsonschema::options().should_validate_formats(true).build(&schema);
            if let Ok(validator) = validator {
                schemas.insert(kind.as_str(), (schema, validator));
            }
        }
        Schemas(schemas)
    }
}

impl Schemas {
    /// The strict schema of a kind.
    pub fn of(&self, kind: Kind) -> &Value {
        self.0.get(kind.as_str()).map_or(&Value::Null, |(schema, _)| schema)
    }

    /// Everything wrong with the form of an object.
    pub fn findings(&self, object: &Object) -> Vec<Finding> {
        let Some((schema, validator)) = self.0.get(object.kind.as_str()) else { return Vec::new() };
        let mut findings = Vec::new();
        #[allow(clippy::disallowed_methods, reason = "forms of Sluice's own schemas hold no forms")]
        let errors = validator.iter_errors(&object.value);
        for error in errors {
            explain(object, schema, &error, &mut findings);
        }
        repeated(schema, &object.value, "", "", &mut findings);
        // Several keywords may fail for one value: a number above its maximum is no string of the pattern either.
        let mut seen = std::collections::BTreeSet::new();
        findings.retain(|finding| seen.insert(finding.pointer.clone()));
        findings
    }
}

/// The findings as problems.
pub fn problems(object: &Object, findings: &[Finding]) -> Vec<Problem> {
    findings.iter().map(|f| object.problem(Severity::Error, &f.path, f.message.clone())).collect()
}

/// The schema of the value at a JSON pointer; `None` where any value will do.
pub fn schema_at<'a>(schema: &'a Value, pointer: &str) -> Option<&'a Value> {
    let mut at = schema;
    for segment in pointer.split('/').skip(1) {
        let segment = unescape(segment);
        let property = at.get("properties").and_then(|properties| properties.get(&segment));
        let additional = || at.get("additionalProperties").filter(|any| any.is_object());
        at = property.or_else(additional).or_else(|| at.get("items"))?;
    }
    Some(at)
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// Says what Kubernetes' schemas leave to its own reading of them: null where it is allowed, no other fields.
fn tighten(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    if map.remove("x-kubernetes-int-or-string").is_some() {
        map.remove("anyOf");
        map.insert("type".to_owned(), json!(["integer", "string"]));
        map.insert("x-percent".to_owned(), json!(true));
    }
    if map.remove("nullable").is_some_and(|nullable| nullable == json!(true)) {
        let types = match map.get("type") {
            Some(Value::String(one)) => vec![one.clone().into(), json!("null")],
            Some(Value::Array(some)) => some.iter().cloned().chain([json!("null")]).collect(),
            _ => Vec::new(),
        };
        if !types.is_empty() {
            map.insert("type".to_owned(), Value::Array(types));
        }
        if let Some(Value::Array(values)) = map.get_mut("enum") {
            values.push(Value::Null);
        }
    }
    let open = map.contains_key("x-kubernetes-preserve-unknown-fields");
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(tighten);
        if !open {
            map.entry("additionalProperties").or_insert(json!(false));
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            tighten(inner);
        }
    }
}

/// The fields that every object has, and that a CustomResourceDefinition does not speak of.
fn add_object_fields(schema: &mut Value) {
    let text = json!({"type": "string"});
    let texts = json!({"type": ["object", "null"], "additionalProperties": text});
    let any = json!({});
    let mut fields = json!({
        "name": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": OBJECT_NAME},
        "namespace": {"type": "string", "maxLength": 63, "pattern": NAME},
        "labels": texts,
        "annotations": texts,
    });
    if let Value::Object(fields) = &mut fields {
        for set_by_server in [
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generateName",
            "generation",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            fields.insert(set_by_server.to_owned(), any.clone());
        }
    }
    let metadata = json!({
        "type": "object", "properties": fields, "required": ["name"], "additionalProperties": false
    });
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("apiVersion".to_owned(), text.clone());
        properties.insert("kind".to_owned(), text);
        properties.insert("metadata".to_owned(), metadata);
        // A status in a file is never applied.
        properties.insert("status".to_owned(), any);
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.push(json!("metadata"));
    }
}

/// Names of cohorts, phases, steps and namespaces.
pub const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

fn explain(
    object: &Object,
    schema: &Value,
    error: &jsonschema::ValidationError<'_>,
    findings: &mut Vec<Finding>,
) {
    let pointer = error.instance_path().as_str();
    let path = field_path(&object.value, pointer);
    let mut child = |name: &str, message: String, missing: bool| {
        findings.push(Finding {
            pointer: format!("{pointer}/{}", escape(name)),
            path: key_path(&path, name),
            message,
            missing,
            unknown: !missing,
            entry: false,
        });
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let beside = schema_at(schema, pointer).and_then(|schema| schema.get("properties")?.as_object());
            let known: Vec<&str> = beside.map(keys).unwrap_or_default();
            for name in unexpected {
                let has_it = |field: &Value| field.get("properties").is_some_and(|of| of.get(name).is_some());
                let within = beside.into_iter().flatten().filter(|(_, field)| has_it(field));
                let within: Vec<&str> = within.map(|(field, _)| field.as_str()).collect();
                child(name, unknown_field(name, &known, &within), false);
            }
        }
        ValidationErrorKind::Required { property } => {
            child(property.as_str().unwrap_or_default(), "is missing".to_owned(), true);
        }
        kind => {
            let node = schema_at(schema, pointer).unwrap_or(&Value::Null);
            let message = message(object.bare(&path), error.instance(), node, kind);
            let message = message.unwrap_or_else(|| crate::api::schema::innermost(error).1);
            let parent = pointer.rsplit_once('/').and_then(|(parent, _)| schema_at(schema, parent));
            let entry =
                parent.and_then(|parent| parent.get("additionalProperties")).is_some_and(Value::is_object);
            findings.push(Finding {
                pointer: pointer.to_owned(),
                path,
                message,
                missing: false,
                unknown: false,
                entry,
            });
        }
    }
}

fn keys(map: &Map<String, Value>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

/// Lists that Kubernetes takes for sets or maps hold nothing twice.
fn repeated(schema: &Value, value: &Value, pointer: &str, path: &str, findings: &mut Vec<Finding>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let inner = format!("{pointer}/{}", escape(key));
                if let Some(schema) = schema_at(schema, &format!("/{}", escape(key))) {
                    repeated(schema, value, &inner, &key_path(path, key), findings);
                }
            }
        }
        Value::Array(items) => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let key = keys.and_then(|keys| keys.first()).and_then(Value::as_str);
            let is_set = schema.get("x-kubernetes-list-type") == Some(&json!("set"));
            let mut seen: Vec<&Value> = Vec::new();
            for (i, item) in items.iter().enumerate() {
                let identity = key.and_then(|key| item.get(key)).or(is_set.then_some(item));
                if let Some(identity) = identity {
                    if seen.contains(&identity) {
                        findings.push(Finding {
                            pointer: format!("{pointer}/{i}"),
                            path: item_path(path, i),
                            message: format!("{} stands in the list twice", shown(identity)),
                            missing: false,
                            unknown: false,
                            entry: false,
                        });
                    }
                    seen.push(identity);
                }
                if let Some(schema) = schema.get("items") {
                    repeated(schema, item, &format!("{pointer}/{i}"), &item_path(path, i), findings);
                }
            }
        }
        _ => {}
    }
}

/// A JSON pointer into `value` as a field path.
fn field_path(value: &Value, pointer: &str) -> String {
    let mut at = Some(value);
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = unescape(segment);
        let index = segment.parse::<usize>().ok().filter(|_| at.is_some_and(Value::is_array));
        path = match index {
            Some(index) => item_path(&path, index),
            None => key_path(&path, &segment),
        };
        at = at.and_then(|value| match index {
            Some(index) => value.get(index),
            None => value.get(&segment),
        });
    }
    path
}
