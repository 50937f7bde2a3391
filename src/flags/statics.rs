//! The FlagSet's own flags and metadata, as far as readers can bear them: one flag that flagd refuses would freeze the file.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::file::{File, SetMark};
use super::merge::SetInfo;
use super::{evaluators, schema};

/// A file that holds the FlagSet's part only. Whatever is left out goes into `refused` with its path in the spec and why.
pub(super) fn admit(
    set: &SetInfo,
    members: &BTreeMap<String, Value>,
    refused: &mut Vec<(String, String)>,
) -> File {
    let mut file =
        File { set: Some(SetMark { uid: set.uid.clone(), generation: set.generation }), ..File::default() };
    let mut flags = Vec::new();
    for (key, body) in &set.statics {
        match objection(key, body, members) {
            Some(why) => refused.push((format!("spec.flags[{key}]"), why)),
            None => flags.push((key.clone(), body.clone())),
        }
    }
    file.set_statics(flags);
    let mut metadata = Vec::new();
    for (key, value) in &set.metadata {
        let suits = schema::validate_file(&json!({"flags": {}, "metadata": {key: value}}));
        match suits {
            _ if key.starts_with("sluice.dev/") => refused.push((
                format!("spec.metadata[{key}]"),
                "keys that begin with sluice.dev/ are reserved".to_owned(),
            )),
            Err(error) => refused.push((format!("spec.metadata[{key}]"), inside_of(key, &error.to_string()))),
            Ok(()) => metadata.push((key.clone(), value.clone())),
        }
    }
    file.set_metadata(metadata);
    file
}

/// What is wrong with a value of the metadata, placed in the value and not in the file.
fn inside_of(key: &str, why: &str) -> String {
    let place = format!("/metadata/{}", key.replace('~', "~0").replace('/', "~1"));
    let inside = why.strip_prefix(&place).unwrap_or(why);
    inside.strip_prefix(": ").unwrap_or(inside).to_owned()
}

fn objection(key: &str, body: &Value, members: &BTreeMap<String, Value>) -> Option<String> {
    if members.contains_key(key) {
        return Some("a rollout manages this flag".to_owned());
    }
    if evaluators::has_reference(body) {
        return Some("the targeting refers to an evaluator: write the condition out".to_owned());
    }
    let default = body.get("defaultVariant").and_then(Value::as_str);
    if let Some(default) = default
        && body.get("variants").and_then(|variants| variants.get(default)).is_none()
    {
        return Some(format!("defaultVariant {default:?} is no variant"));
    }
    schema::validate_flag(body).err().map(|error| error.to_string())
}
