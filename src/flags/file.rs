//! The file that apps mount: flags by key, written in one spelling and read back without loss.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::announcement::{self, announced_feature, announcement_key};
use super::canonical;
use super::evaluators::{self, Evaluators, Unexpanded};
use super::fragment::{LiveFlag, MANAGED_BY, MANAGER, live};
use crate::bounds;

/// What `$schema` says.
const SCHEMA: &str = "https://flagd.dev/schema/v0/flags.json";
/// Metadata of the file that says which FlagSet it belongs to.
const SET_UID: &str = "sluice.dev/uid";
/// Metadata of the file that says which generation of the FlagSet it holds.
const SET_GENERATION: &str = "sluice.dev/generation";
/// Beginning of the metadata keys that a FlagSet cannot use.
const RESERVED: &str = "sluice.dev/";

/// A file of flags. [`parse`] undoes [`compose`] for every file whose statics and metadata came through
/// [`File::set_statics`] and [`File::set_metadata`] and whose members are rendered fragments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// The rollouts' flags by key, conditions written out and announcements in them.
    pub members: BTreeMap<String, Value>,
    /// Flags of the FlagSet itself, by key.
    pub statics: BTreeMap<String, Value>,
    /// Metadata of the FlagSet: strings, numbers and booleans.
    pub metadata: BTreeMap<String, Value>,
    /// The FlagSet that statics and metadata come from; none for a rollout that is its own set.
    pub set: Option<SetMark>,
}

/// Which state of which FlagSet a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMark {
    /// UID of the FlagSet.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// Why a text is no file of flags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object with an object `flags` of objects.
    #[error("{0}")]
    Malformed(&'static str),
    /// A `$ref` names an evaluator that does not exist, or an evaluator refers to another one.
    #[error("flag {flag:?} refers to evaluator {name:?}, which does not exist or refers to another")]
    UnknownEvaluator {
        /// Key of the flag.
        flag: String,
        /// What the `$ref` says.
        name: String,
    },
    /// It would take more memory than it may.
    #[error("it would take too much memory")]
    TooHeavy,
}

impl File {
    /// What the metadata of a member says; `None` when there is no such member.
    pub fn live(&self, key: &str) -> Option<LiveFlag> {
        self.members.get(key).and_then(live)
    }

    /// What the file says of the rollout that a flag comes from: that of the feature, where it announces one.
    pub fn rollout_of(&self, key: &str) -> Option<LiveFlag> {
        self.live(key).or_else(|| {
            let is_static = self.statics.contains_key(key) || self.members.contains_key(key);
            self.live(announced_feature(key)?).filter(|_| !is_static)
        })
    }

    /// The audiences that the members are rendered from.
    pub fn audiences(&self) -> impl Iterator<Item = String> {
        self.members.values().filter_map(live).map(|live| live.audience)
    }

    /// Replaces the static flags. The mark of a member is taken off (a flag copied from a rendered file carries it).
    pub fn set_statics(&mut self, flags: impl IntoIterator<Item = (String, Value)>) {
        self.statics = flags
            .into_iter()
            .map(|(key, mut body)| {
                if is_member(&body)
                    && let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut)
                {
                    metadata.remove(MANAGED_BY);
                }
                (key, body)
            })
            .collect();
    }

    /// Replaces the metadata of the file. Keys that begin with `sluice.dev/` are left out: they are Sluice's own.
    pub fn set_metadata(&mut self, metadata: impl IntoIterator<Item = (String, Value)>) {
        self.metadata = metadata.into_iter().filter(|(key, _)| !key.starts_with(RESERVED)).collect();
    }

    /// Number of flags that readers get: members, their announcements, and statics.
    pub fn len(&self) -> usize {
        self.members.len() + self.statics.len() + self.announcements().count()
    }

    /// Whether there is no flag at all.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.statics.is_empty()
    }

    /// Every flag with its key as readers get it; a member goes before a static flag of the same key.
    pub fn flags(&self) -> BTreeMap<Cow<'_, str>, Cow<'_, Value>> {
        let statics = self.statics.iter().map(|(key, body)| (Cow::from(key), Cow::Borrowed(body)));
        let members = self.members.iter().map(|(key, body)| (Cow::from(key), announcement::feature_of(body)));
        let announcements =
            self.announcements().map(|(key, body)| (Cow::Owned(key), Cow::<Value>::Owned(body)));
        statics.chain(members).chain(announcements).collect()
    }

    /// One flag as readers get it.
    pub fn flag(&self, key: &str) -> Option<Cow<'_, Value>> {
        let member = self.members.get(key).map(announcement::feature_of);
        let flag = member.or_else(|| self.statics.get(key).map(Cow::Borrowed));
        flag.or_else(|| {
            let feature = announced_feature(key)?;
            announcement::announcement_of(feature, self.members.get(feature)?).map(Cow::Owned)
        })
    }

    /// The flags of announcements. Another flag's key is never taken: who reads that must not get words instead.
    fn announcements(&self) -> impl Iterator<Item = (String, Value)> {
        self.members.iter().filter_map(|(feature, body)| {
            let flag = announcement::announcement_of(feature, body)?;
            let key = announcement_key(feature);
            let is_free = !self.members.contains_key(&key) && !self.statics.contains_key(&key);
            is_free.then_some((key, flag))
        })
    }
}

/// The bytes of the file: keys sorted, a flag a line. Conditions that members share become `$evaluators` where that
/// makes the file smaller.
pub fn compose(file: &File) -> String {
    let flags = file.flags();
    let is_static = |key: &str| file.statics.contains_key(key) && !file.members.contains_key(key);
    let rendered = flags.iter().filter(|(key, _)| !is_static(key));
    let shared = Evaluators::shared_by(rendered.map(|(_, body)| &**body));
    let mut out = String::from("{\n\"$schema\":");
    canonical::string(SCHEMA, &mut out);
    if !shared.is_empty() {
        out.push_str(",\n\"$evaluators\":");
        lines(shared.entries(), &mut out);
    }
    out.push_str(",\n\"flags\":");
    let flags: Vec<(&str, String)> = flags
        .iter()
        .map(|(key, body)| {
            let text = if is_static(key) { canonical::text(body) } else { shared.write(body) };
            (&**key, text)
        })
        .collect();
    lines(flags.iter().map(|(key, text)| (*key, text.as_str())), &mut out);
    out.push_str(",\n\"metadata\":");
    canonical::write(&Value::Object(metadata(file)), &mut out);
    out.push_str("\n}\n");
    out
}

/// Reads a file, whoever wrote it. Flags with the mark of a rollout are members, all others static.
///
/// # Errors
/// A [`FileError`] when it is not a file of flags, or a `$ref` in it cannot be replaced.
pub fn parse(text: &str) -> Result<File, FileError> {
    parse_within(text, usize::MAX)
}

/// The same of a text that nobody vouches for, which may take so many bytes of memory. A reference takes five letters, and may stand
/// for half of the file.
///
/// # Errors
/// The same, and when it would take more.
pub fn parse_within(text: &str, bytes: usize) -> Result<File, FileError> {
    let Some(mut left) = bytes.checked_sub(bounds::json::decoded(text.as_bytes())) else {
        return Err(FileError::TooHeavy);
    };
    let value: Value = serde_json::from_str(text).map_err(|error| FileError::NotJson(error.to_string()))?;
    let Value::Object(mut root) = value else {
        return Err(FileError::Malformed("the file is no JSON object"));
    };
    let Some(Value::Object(flags)) = root.remove("flags") else {
        return Err(FileError::Malformed("the file has no object `flags`"));
    };
    let evaluators = match root.remove("$evaluators") {
        None => Map::new(),
        Some(Value::Object(evaluators)) => evaluators,
        Some(_) => return Err(FileError::Malformed("`$evaluators` is no object")),
    };
    let mut file = File::default();
    for (key, mut body) in flags {
        if !body.is_object() {
            return Err(FileError::Malformed("a flag is no object"));
        }
        evaluators::expand(&mut body, &evaluators, &mut left).map_err(|error| match error {
            Unexpanded::Unknown(name) => FileError::UnknownEvaluator { flag: key.clone(), name },
            Unexpanded::TooHeavy => FileError::TooHeavy,
        })?;
        let side = if is_member(&body) { &mut file.members } else { &mut file.statics };
        side.insert(key, body);
    }
    announcement::join(&mut file.members);
    if let Some(Value::Object(metadata)) = root.remove("metadata") {
        file.set = mark(&metadata);
        file.set_metadata(metadata);
    }
    Ok(file)
}

fn is_member(body: &Value) -> bool {
    body.get("metadata").and_then(|metadata| metadata.get(MANAGED_BY)).and_then(Value::as_str)
        == Some(MANAGER)
}

fn metadata(file: &File) -> Map<String, Value> {
    let mut metadata: Map<String, Value> = file.metadata.clone().into_iter().collect();
    if let Some(set) = &file.set {
        metadata.insert(SET_UID.to_owned(), set.uid.as_str().into());
        metadata.insert(SET_GENERATION.to_owned(), set.generation.into());
    }
    metadata
}

fn mark(metadata: &Map<String, Value>) -> Option<SetMark> {
    Some(SetMark {
        uid: metadata.get(SET_UID)?.as_str()?.to_owned(),
        generation: metadata.get(SET_GENERATION)?.as_i64()?,
    })
}

/// The bytes of a file as [`compose`] writes them, from what they say: its references stay references. `None` where it is no file.
pub(super) fn written(value: &Value) -> Option<String> {
    let object = |key: &str| match value.get(key) {
        None => Some(None),
        Some(value) => value.as_object().map(Some),
    };
    let (flags, evaluators, metadata) = (object("flags")??, object("$evaluators")?, object("metadata")?);
    let mut out = String::from("{\n\"$schema\":");
    canonical::string(SCHEMA, &mut out);
    if let Some(evaluators) = evaluators.filter(|evaluators| !evaluators.is_empty()) {
        out.push_str(",\n\"$evaluators\":");
        write_lines(evaluators, &mut out);
    }
    out.push_str(",\n\"flags\":");
    write_lines(flags, &mut out);
    out.push_str(",\n\"metadata\":");
    let none = Map::new();
    canonical::write(&Value::Object(metadata.unwrap_or(&none).clone()), &mut out);
    out.push_str("\n}\n");
    Some(out)
}

fn write_lines(object: &Map<String, Value>, out: &mut String) {
    let texts: BTreeMap<&str, String> =
        object.iter().map(|(key, value)| (key.as_str(), canonical::text(value))).collect();
    lines(texts.iter().map(|(key, text)| (*key, text.as_str())), out);
}

/// An object of already written values, a line each.
fn lines<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>, out: &mut String) {
    let mut separator = "{\n";
    let mut empty = true;
    for (key, text) in entries {
        out.push_str(separator);
        canonical::string(key, out);
        out.push(':');
        out.push_str(text);
        separator = ",\n";
        empty = false;
    }
    out.push_str(if empty { "{}" } else { "\n}" });
}

#[cfg(test)]
mod tests;
