//! The flag of a feature's announcement: it stands beside the feature's in the file and serves the same users.
//!
//! In memory it is a part of the feature's flag, its variants, and nothing else: rule, state and default are those of the
//! feature. So there is no way to write, take back, freeze or prune one without the other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::fragment::{MANAGED_BY, MANAGER, variants};
use crate::api::Announcement;
use crate::plan::{Audience, Feature};

/// What the key of an announcement's flag ends with.
const SUFFIX: &str = ".announcement";
/// Where a feature's flag holds the variants of its announcement, in memory.
const VARIANTS: &str = "announcement";
/// Metadata key of an announcement's flag: the key of the feature.
const ANNOUNCES: &str = "announces";
/// What an announcement's metadata has of the feature's.
const SHARED: [&str; 4] = [MANAGED_BY, "rollout", "uid", "revision"];

/// Key of the flag that announces a feature.
pub fn announcement_key(feature: &str) -> String {
    format!("{feature}{SUFFIX}")
}

/// The feature that a flag of this key would announce.
pub fn announced_feature(key: &str) -> Option<&str> {
    key.strip_suffix(SUFFIX).filter(|feature| !feature.is_empty())
}

/// Writes the announcement into the flag of its feature; nothing where there is none.
pub(super) fn announce(body: &mut Value, feature: &Feature, audience: &Audience) {
    if let Some(variants) = of_feature(feature, audience) {
        body[VARIANTS] = Value::Object(variants);
    }
}

/// Whether the flag of a feature announces what the feature says, and to whom.
pub(super) fn is_as_declared(body: &Value, feature: &Feature, audience: &Audience) -> bool {
    let found = body.get(VARIANTS).map(Value::as_object);
    match (&feature.announcement, found) {
        (None, None) => true,
        (Some(announcement), Some(Some(found))) => {
            let shown = value(announcement);
            let of_cohorts = audience.names().map(|cohort| feature.variant_in(cohort, &feature.treatment));
            let names: Vec<String> = of_cohorts.chain([feature.treatment.clone()]).collect();
            let says = |(name, value): (&String, &Value)| match names.contains(name) {
                true => *value == shown,
                false => *value == json!({}),
            };
            let has_all = |names: &Map<String, Value>| names.keys().eq(found.keys());
            found.iter().all(says) && body.get("variants").and_then(Value::as_object).is_some_and(has_all)
        }
        _ => false,
    }
}

/// The variants of a feature's flag with what each of them announces.
fn of_feature(feature: &Feature, audience: &Audience) -> Option<Map<String, Value>> {
    let shown = value(feature.announcement.as_ref()?);
    let has_feature = |name: &str| {
        let mut cohorts = audience.names();
        name == feature.treatment
            || cohorts.any(|cohort| name == feature.variant_in(cohort, &feature.treatment))
    };
    let says = |name: String| {
        let value = if has_feature(&name) { shown.clone() } else { json!({}) };
        (name, value)
    };
    Some(variants(feature, audience).into_iter().map(|(name, _)| says(name)).collect())
}

/// What the app gets for a user who has the feature.
fn value(announcement: &Announcement) -> Value {
    let mut value = Map::new();
    value.insert("title".to_owned(), announcement.title.as_str().into());
    value.insert("banner".to_owned(), announcement.banner.into());
    for (key, text) in [("body", &announcement.body), ("link", &announcement.link)] {
        if let Some(text) = text {
            value.insert(key.to_owned(), text.as_str().into());
        }
    }
    Value::Object(value)
}

/// The same flag without a word of its announcement for anybody.
pub(super) fn silenced(body: &Value) -> Option<Value> {
    let variants = body.get(VARIANTS)?.as_object()?;
    Some(Value::Object(variants.keys().map(|name| (name.clone(), json!({}))).collect()))
}

/// Puts the variants of an announcement into the flag of its feature.
pub(super) fn put(body: &mut Value, variants: Value) {
    body[VARIANTS] = variants;
}

/// The flag of a feature as readers get it.
pub(super) fn feature_of(body: &Value) -> Cow<'_, Value> {
    let Some(object) = body.as_object().filter(|object| object.contains_key(VARIANTS)) else {
        return Cow::Borrowed(body);
    };
    let kept = object.iter().filter(|(key, _)| *key != VARIANTS);
    Cow::Owned(Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect()))
}

/// The flag that announces the feature `key` as readers get it, where there is one.
pub(super) fn announcement_of(key: &str, body: &Value) -> Option<Value> {
    let variants = body.get(VARIANTS)?;
    let said = body.get("metadata").and_then(Value::as_object);
    let shared = said.into_iter().flatten().filter(|(key, _)| SHARED.contains(&key.as_str()));
    let mut metadata: Map<String, Value> = shared.map(|(key, value)| (key.clone(), value.clone())).collect();
    metadata.insert(ANNOUNCES.to_owned(), key.into());
    let mut flag = Map::new();
    for part in ["state", "defaultVariant", "targeting"] {
        if let Some(value) = body.get(part) {
            flag.insert(part.to_owned(), value.clone());
        }
    }
    flag.insert("variants".to_owned(), variants.clone());
    flag.insert("metadata".to_owned(), Value::Object(metadata));
    Some(Value::Object(flag))
}

/// Takes the announcements among the flags of a file back into the flags of their features. One whose feature is not there was
/// left behind by an edit, and serves nobody.
pub(super) fn join(members: &mut BTreeMap<String, Value>) {
    for body in members.values_mut() {
        // Nobody but this module has that word to say.
        if let Some(object) = body.as_object_mut() {
            object.remove(VARIANTS);
        }
    }
    let of = |body: &Value| body.pointer("/metadata/announces")?.as_str().map(str::to_owned);
    let announcing: Vec<(String, String)> =
        members.iter().filter_map(|(key, body)| Some((key.clone(), of(body)?))).collect();
    for (key, feature) in announcing {
        let body = members.remove(&key).unwrap_or_default();
        let variants = body.get("variants").filter(|variants| variants.is_object());
        if announced_feature(&key) == Some(&feature)
            && let (Some(body), Some(variants)) = (members.get_mut(&feature), variants)
            && body.get("metadata").is_some_and(|metadata| metadata.get(MANAGED_BY) == Some(&MANAGER.into()))
        {
            put(body, variants.clone());
        }
    }
}

#[cfg(test)]
mod tests;
