//! Reads single objects from their JSON. What cannot be read says so of itself alone, with its name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, Status};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::bounds;

/// Longest description of what is wrong with an object, in characters: the decoder repeats values.
const LONGEST: usize = 300;
/// Longest name of a field in such a description, in characters.
const LONGEST_NAME: usize = 40;
/// How far into an object what cannot be read is looked for.
const STEPS: usize = 3;
/// Who wrote which field and when. Nobody here asks, it is longer than many an object, and its nesting is its writers'.
const MANAGED_FIELDS: &str = "managedFields";

/// An object, or what is wrong with it beside as much of its metadata as can be read. One that would take too much memory is not
/// decoded.
pub fn object<K: DeserializeOwned>(bytes: &[u8]) -> DeserializeGuard<K> {
    // Outside of texts nothing but ASCII has a meaning in JSON: what is no UTF-8 is in a text, and only there.
    let text = String::from_utf8_lossy(bytes);
    let read = without_managed_fields(&text).and_then(|(text, heaviest)| {
        let bytes = bounds::json::decoded(text.as_bytes());
        if bytes > heaviest {
            return Err(too_heavy(bytes, heaviest));
        }
        serde_json::from_str(&text).map_err(|error| describe(&text, &error))
    });
    DeserializeGuard(read.map_err(|error| InvalidObject { error, metadata: metadata(&text) }))
}

fn too_heavy(bytes: usize, heaviest: usize) -> String {
    let mebibytes = |bytes: usize| bytes.div_ceil(1 << 20);
    format!(
        "it has so many JSON objects and lists that it would take {} MiB of memory, where {} are the most",
        mebibytes(bytes),
        mebibytes(heaviest)
    )
}

/// How many bytes of memory may become of an object, by its kind.
fn heaviest(object: &Fields<'_>) -> usize {
    match object.get("kind").map(RawValue::get) {
        Some("\"FlagSet\"" | "\"Playbook\"") => bounds::json::LARGE_OBJECT_DECODED,
        Some("\"FeatureFlag\"") => bounds::json::FILE_DECODED,
        _ => bounds::json::OBJECT_DECODED,
    }
}

/// The parts of an object that can be read, by name.
pub fn parts(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let fields = Fields::of(&text).map(|fields| fields.0).unwrap_or_default();
    let readable = |(name, raw): (String, &RawValue)| {
        let is_heavy = bounds::json::decoded(raw.get().as_bytes()) > bounds::json::OBJECT_DECODED;
        if is_heavy { None } else { Some((name, serde_json::from_str(raw.get()).ok()?)) }
    };
    Value::Object(fields.into_iter().filter_map(readable).collect())
}

/// As much of an object's metadata as can be read, each field by itself.
pub fn metadata(text: &str) -> ObjectMeta {
    let read = || {
        let object = Fields::of(text).ok()?;
        let fields = Fields::of(object.get("metadata")?.get()).ok()?;
        let is_readable = |(name, raw): &(String, &RawValue)| {
            name != MANAGED_FIELDS
                && serde_json::from_str::<ObjectMeta>(&compose([(name.as_str(), raw.get())])).is_ok()
        };
        let readable: Vec<(String, &RawValue)> = fields.0.into_iter().filter(is_readable).collect();
        serde_json::from_str(&compose(readable.iter().map(|(name, raw)| (name.as_str(), raw.get())))).ok()
    };
    read().unwrap_or_default()
}

/// What a list says besides its items.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ListMetadata {
    /// The version at which the list was made.
    pub resource_version: Option<String>,
    /// Where the next page begins.
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

/// What a list says besides its items.
///
/// # Errors
/// When it is no list.
pub fn list_metadata(envelope: &[u8]) -> Result<ListMetadata, serde_json::Error> {
    #[derive(Deserialize)]
    struct Envelope {
        metadata: ListMetadata,
    }
    let Envelope { metadata } = serde_json::from_slice(envelope)?;
    let full = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(ListMetadata { resource_version: full(metadata.resource_version), next: full(metadata.next) })
}

/// What a line of a watch tells.
pub enum Told<K> {
    /// An object is there, new or changed.
    Changed(DeserializeGuard<K>),
    /// An object is gone; this is its last version.
    Gone(DeserializeGuard<K>),
    /// Everything up to this version has been told.
    UpTo(String),
    /// The watch is over.
    Failed(Box<Status>),
}

/// What a line of a watch tells.
///
/// # Errors
/// When it is none. An object in it that cannot be read is no reason.
pub fn told<K: DeserializeOwned>(line: &[u8]) -> Result<Told<K>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(rename = "type")]
        type_: String,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let text = String::from_utf8_lossy(line);
    let line: Line<'_> = serde_json::from_str(&text)?;
    let bytes = line.object.get().as_bytes();
    Ok(match line.type_.as_str() {
        "DELETED" => Told::Gone(object(bytes)),
        "BOOKMARK" => Told::UpTo(metadata(line.object.get()).resource_version.unwrap_or_default()),
        "ERROR" => Told::Failed(serde_json::from_slice(bytes)?),
        _ => Told::Changed(object(bytes)),
    })
}

/// The fields of a JSON object, unread.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> serde_json::Result<Fields<'a>> {
        serde_json::from_str(text)
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, raw)| *raw)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'de>, D::Error> {
        struct Unread;
        impl<'de> Visitor<'de> for Unread {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Unread)
    }
}

/// A JSON object of fields that are JSON themselves.
fn compose<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (name, value) in fields {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&Value::from(name).to_string());
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}

/// The object without the record of who wrote its fields, and how many bytes of memory may become of it.
fn without_managed_fields(text: &str) -> Result<(String, usize), String> {
    let read = |text| Fields::of(text).map_err(|error| shorten(&error.to_string()));
    let object = read(text)?;
    let heaviest = heaviest(&object);
    let Some(metadata) = object.get("metadata") else { return Ok((text.to_owned(), heaviest)) };
    let Ok(mut metadata) = Fields::of(metadata.get()) else { return Ok((text.to_owned(), heaviest)) };
    metadata.0.retain(|(name, _)| name != MANAGED_FIELDS);
    let metadata = compose(metadata.0.iter().map(|(name, raw)| (name.as_str(), raw.get())));
    let object = compose(object.0.iter().map(|(name, raw)| match name.as_str() {
        "metadata" => ("metadata", metadata.as_str()),
        name => (name, raw.get()),
    }));
    Ok((object, heaviest))
}

/// What is wrong with an object and where, in one short line.
fn describe(text: &str, error: &serde_json::Error) -> String {
    let (path, inner) = culprit(text);
    let error = inner.as_ref().unwrap_or(error).to_string();
    // Lines and columns are those of a text that nobody sees.
    let what = error.rsplit_once(" at line ").map_or(error.as_str(), |(what, _)| what);
    let what = match what {
        "recursion limit exceeded" => "it is nested more than 127 levels deep",
        what => what,
    };
    shorten(&if path.is_empty() { what.to_owned() } else { format!("{}: {what}", path.join(".")) })
}

/// The innermost field that is no value whatever it is read as, a few steps into an object, and why.
fn culprit(text: &str) -> (Vec<String>, Option<serde_json::Error>) {
    let (mut path, mut why, mut text) = (Vec::new(), None, text);
    while path.len() < STEPS {
        let fields = match Fields::of(text) {
            Ok(fields) => fields.0,
            Err(_) => {
                let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
                items.into_iter().enumerate().map(|(i, raw)| (i.to_string(), raw)).collect()
            }
        };
        let broken = fields.into_iter().find_map(|(name, raw)| {
            let error = serde_json::from_str::<Value>(raw.get()).err()?;
            Some((name, raw, error))
        });
        let Some((name, raw, error)) = broken else { break };
        path.push(name.chars().take(LONGEST_NAME).collect());
        (why, text) = (Some(error), raw.get());
    }
    (path, why)
}

/// One line of at most [`LONGEST`] characters that can be shown.
fn shorten(text: &str) -> String {
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = shown.take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
