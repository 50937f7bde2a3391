//! Every field of every kind has bounds and is described.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
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

/// A field of a kind: where it is, its description, and its part of the definition.
struct Field {
    path: String,
    told: String,
    schema: Value,
    required: bool,
}

/// All fields of a kind but those that every object has.
fn fields(crd: CustomResourceDefinition) -> Vec<Field> {
    let crd = serde_json::to_value(crd).unwrap();
    let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        walk(&format!("{kind}.{part}"), &schema["properties"][part], &mut found);
    }
    assert!(!found.is_empty(), "{kind}");
    found
}

fn walk(path: &str, schema: &Value, found: &mut Vec<Field>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let required = schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        let told = field["description"].as_str().unwrap_or_default().to_owned();
        found.push(Field { path: path.clone(), told, schema: field.clone(), required });
        walk(&path, field, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            walk(&format!("{path}[]"), &schema[inner], found);
        }
    }
}

/// What is wrong with how a field is described, if anything is.
fn complaint(field: &Field) -> Option<String> {
    // Conditions are Kubernetes' own.
    if field.path.contains(".conditions[].") {
        return None;
    }
    let told = &field.told;
    // What follows is made from the type.
    let made = [
        " Format: ",
        " Format of each: ",
        " Range: ",
        " At most ",
        " Default: `",
        "\n\nPossible enum values:",
    ];
    let end = made.iter().filter_map(|start| told.find(start)).min().unwrap_or(told.len());
    let said = &told[..end];
    let begins = said.starts_with(|first: char| first.is_uppercase() || first == '`');
    if said.split_whitespace().count() < 4 || !said.ends_with('.') || !begins {
        return Some(format!("{said:?} is no sentence"));
    }
    let words: Vec<String> = told.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect();
    if let Some(word) = BANNED.iter().find(|word| words.iter().any(|told| told == *word)) {
        return Some(format!("{word:?} is a word that only those know who have read the source"));
    }
    let unexplained = ["", "items", "additionalProperties"].into_iter().find_map(|part| {
        let schema = if part.is_empty() { &field.schema } else { &field.schema[part] };
        let values = schema["enum"].as_array()?;
        let is_explained = |value: &str| {
            let row = told.lines().find_map(|line| line.strip_prefix(&format!(" - `{value}`: ")));
            row.is_some_and(|row| row.split_whitespace().count() >= 3 && row.ends_with('.'))
        };
        values.iter().filter_map(Value::as_str).find(|value| !is_explained(value)).map(str::to_owned)
    });
    if let Some(value) = unexplained {
        return Some(format!("the docstring of its value {value} is no sentence"));
    }
    let says_what_absence_means =
        ["default", "optional", "absent"].iter().any(|word| words.iter().any(|told| told == word));
    let is_written_by_people = field.path.split('.').nth(1) == Some("spec");
    if is_written_by_people && !field.required && !says_what_absence_means {
        return Some("it does not say what holds without it: a default, or that it is optional".to_owned());
    }
    None
}

/// Words that nobody finds in the documentation of Kubernetes, OpenFeature or Prometheus in the meaning that they had here.
const BANNED: [&str; 21] = [
    "course",
    "door",
    "elder",
    "fragment",
    "heir",
    "house",
    "hub",
    "ill",
    "lane",
    "mend",
    "mended",
    "neighbour",
    "offer",
    "pin",
    "pinned",
    "pins",
    "poke",
    "stranger",
    "strangers",
    "stretch",
    "stretches",
];

/// `kubectl explain` is the manual. Each complaint names the field; its docstring is above the field of that name in `src/api`,
/// and those of an enum's values above its variants.
#[test]
fn every_field_of_every_kind_is_explained() {
    let all = crate::api::all_crds().into_iter().flat_map(fields);
    let complaints: Vec<String> =
        all.filter_map(|field| Some(format!("{}: {}", field.path, complaint(&field)?))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn a_description_says_what_the_type_knows() {
    let all: Vec<Field> = crate::api::all_crds().into_iter().flat_map(fields).collect();
    let told = |path: &str| {
        let field = all.iter().find(|field| field.path == format!("FeatureRollout.spec.{path}"));
        field.unwrap_or_else(|| panic!("{path}")).told.clone()
    };
    for (path, parts) in [
        (
            "deletionPolicy",
            &["What becomes of the flag", " Default: `Retain`.", "\n - `Remove`: The flag is taken out"][..],
        ),
        // An optional enum, of which Kubernetes' schema says what the enum is.
        ("phases[].steps[].approval", &["Whether somebody must approve", "\n - `Required`: The step waits"]),
        ("phases[].steps[].hold", &["How long the step is kept"]),
        ("triggers[].initialDelay", &[" Format: a duration"]),
        (
            "phases[].steps[].cohorts",
            &["Percentage that the step asks", " Format of each: a percentage", " At most 16 entries."],
        ),
        ("phases[].steps[].week", &[" Range: 1 to 520."]),
        ("schedule.startAt", &[" Format: an instant as in RFC 3339"]),
        ("schedule.windows[].from", &[" Format: `\"HH:MM\"`"]),
        ("schedule.windows[].days", &["\n - `Sun`: The window opens on Sunday."]),
        ("triggers[].levels[].above", &[" Format: a decimal number"]),
    ] {
        let told = told(path);
        assert!(told.starts_with(parts[0]) || parts.len() == 1, "{path}: {told}");
        for part in parts {
            assert!(told.contains(part), "{path}: {part:?} in {told}");
        }
    }
}
