//! The FlagSet's own flags and metadata, as far as readers can bear them: one flag that flagd refuses would freeze the file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Value, json};

use super::file::{File, SetMark};
use super::merge::SetInfo;
use super::{evaluators, fragment, schema};
use crate::bounds::{self, Limits};
use crate::visible;

/// What readers could not bear of a FlagSet's own flags and metadata, by key, and why. It depends on nothing but these, so
/// once for each generation is enough; it can take tens of milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    flags: BTreeMap<Digest, Cow<'static, str>>,
    metadata: BTreeMap<Digest, Cow<'static, str>>,
}

/// What stands for a key: a verdict is kept as long as the FlagSet is, and the schema bounds no keys.
type Digest = u64;

fn digest(key: &str) -> Digest {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// What is wrong with a key that is longer than that of a rollout's flag may be.
const LONG_KEY: &str = "the key has more than 253 bytes";

/// The path of an entry in the spec.
fn path(field: &str, key: &str) -> String {
    format!("spec.{field}[{}]", visible::cut(key, fragment::MOST_KEY))
}

/// Of how many flags and entries it is kept in full what is wrong with them: more than anybody is told at once.
const SPELT_OUT: usize = 8;

/// What is wrong with the others.
const ANOTHER: &str = "cannot be served as it is; what is wrong is said once the others are put right";

impl Verdict {
    /// Looks at `spec.flags` and `spec.metadata`.
    pub fn of(flags: &BTreeMap<String, Value>, metadata: &BTreeMap<String, Value>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut room = bounds::FLAGS.values;
        for (key, body) in flags.iter().filter(|(key, _)| key.len() <= fragment::MOST_KEY) {
            let why = match measured(body, &mut room) {
                Ok(()) => objection(body),
                Err(excess) => Some(excess),
            };
            note(&mut verdict.flags, key, why);
        }
        for (key, value) in metadata {
            if key.len() <= fragment::MOST_KEY {
                note(&mut verdict.metadata, key, objection_to_metadata(key, value));
            }
        }
        verdict
    }
}

/// Keeps what is wrong with an entry. It is kept as long as the FlagSet is, and anybody may write hundreds that are wrong.
fn note(known: &mut BTreeMap<Digest, Cow<'static, str>>, key: &str, why: Option<String>) {
    let Some(why) = why else { return };
    let why = match known.len() < SPELT_OUT {
        true => Cow::Owned(bounds::cut(&why).into_owned()),
        false => Cow::Borrowed(ANOTHER),
    };
    known.insert(digest(key), why);
}

/// A file that holds the FlagSet's part only. Whatever is left out goes into `refused` with its path in the spec and why.
pub(super) fn admit(
    set: &SetInfo,
    members: &BTreeMap<String, Value>,
    refused: &mut Vec<(String, String)>,
) -> File {
    let verdict = match &set.verdict {
        Some(verdict) => Cow::Borrowed(Arc::as_ref(verdict)),
        None => Cow::Owned(Verdict::of(&set.statics, &set.metadata)),
    };
    let mut file =
        File { set: Some(SetMark { uid: set.uid.clone(), generation: set.generation }), ..File::default() };
    let mut flags = Vec::new();
    for (key, body) in &set.statics {
        let managed = members.contains_key(key).then_some("a rollout manages this flag");
        match managed.or_else(|| objection_to(key, &verdict.flags)) {
            Some(why) => refused.push((path("flags", key), why.to_owned())),
            None => flags.push((key.clone(), body.clone())),
        }
    }
    file.set_statics(flags);
    let mut metadata = Vec::new();
    for (key, value) in &set.metadata {
        match objection_to(key, &verdict.metadata) {
            Some(why) => refused.push((path("metadata", key), why.to_owned())),
            None => metadata.push((key.clone(), value.clone())),
        }
    }
    file.set_metadata(metadata);
    file
}

fn objection_to<'a>(key: &str, known: &'a BTreeMap<Digest, Cow<'static, str>>) -> Option<&'a str> {
    match key.len() <= fragment::MOST_KEY {
        true => known.get(&digest(key)).map(AsRef::as_ref),
        false => Some(LONG_KEY),
    }
}

/// Takes a flag's values from the room that is left for all of them.
fn measured(body: &Value, room: &mut usize) -> Result<(), String> {
    let left = Limits { values: bounds::FLAG.values.min(*room), ..bounds::FLAG };
    match bounds::measure(body, left) {
        Ok(values) => {
            *room -= values.min(*room);
            Ok(())
        }
        Err(bounds::Excess::Values(most)) if most < bounds::FLAG.values => {
            Err(format!("with the flags before it there are more than {} values", bounds::FLAGS.values))
        }
        Err(excess) => Err(excess.to_string()),
    }
}

fn objection_to_metadata(key: &str, value: &Value) -> Option<String> {
    if key.starts_with("sluice.dev/") {
        return Some("keys that begin with sluice.dev/ are reserved".to_owned());
    }
    if let Err(excess) = bounds::measure(value, bounds::VALUE) {
        return Some(excess.to_string());
    }
    let suits = schema::validate_file(&json!({"flags": {}, "metadata": {key: value}}));
    suits.err().map(|error| inside_of(key, &error.to_string()))
}

/// What is wrong with a value of the metadata, placed in the value and not in the file.
fn inside_of(key: &str, why: &str) -> String {
    let place = format!("/metadata/{}", key.replace('~', "~0").replace('/', "~1"));
    let inside = why.strip_prefix(&place).unwrap_or(why);
    inside.strip_prefix(": ").unwrap_or(inside).to_owned()
}

fn objection(body: &Value) -> Option<String> {
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

#[cfg(test)]
mod tests;
