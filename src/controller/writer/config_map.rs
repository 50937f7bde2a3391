//! The ConfigMap that a file lives in: read, told apart from strangers', written with a precondition.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{ObjectMeta, PostParams};
use kube::core::DeserializeGuard;

use super::found::{self, Found, OWNER, SHA256, SIGNATURE, Witness};
use crate::api::FlagSet;
use crate::api::flagset::Output;
use crate::cluster::Scope;
use crate::controller::cache::{ObjectKey, Stored};
use crate::controller::context::Context;
use crate::controller::index::SetId;
use crate::controller::revisions::ours;
use crate::error::Fault;
use crate::flags::{Keys, Place, sha256_hex};

/// Kind of the object in signatures.
const KIND: &str = "ConfigMap";

/// The outputs of a set.
pub fn outputs(set: &SetId, flag_set: Option<&FlagSet>) -> Vec<Output> {
    flag_set.and_then(|set| set.spec.outputs.clone()).unwrap_or_else(|| vec![Output::default_for(&set.name)])
}

/// Keys of a ConfigMap with the text that its mark tells of that are looked at: Sluice writes one.
const ALIKE: usize = 8;

/// The outputs that ConfigMaps marked as this set's hold, `most` of them: of each the key whose text is the one that the mark tells of.
/// Anybody can make marks, so those that are signed come first, and what the others say is believed only where it is vouched for.
///
/// # Errors
/// When they cannot be listed.
pub(super) async fn left_behind(
    ctx: &Context,
    set: &SetId,
    keys: &Keys,
    most: usize,
) -> Result<Vec<Output>, Fault> {
    let (mut signed, mut marked) = (Vec::new(), Vec::new());
    let note = |map: ConfigMap| {
        if let Some((output, is_signed)) = left_in(set, keys, &map) {
            let outputs = if is_signed { &mut signed } else { &mut marked };
            if outputs.len() < most {
                outputs.push(output);
            }
        }
    };
    ctx.cluster.each(&Scope::of::<ConfigMap>(Some(&set.namespace)).labels(&ours()), note).await?;
    signed.extend(marked);
    signed.truncate(most);
    Ok(signed)
}

/// The output that a ConfigMap holds by its marks, and whether that is signed.
fn left_in(set: &SetId, keys: &Keys, map: &ConfigMap) -> Option<(Output, bool)> {
    if !found::is_marked(set, map.labels(), map.annotations()) {
        return None;
    }
    let (owner, config_map) = (set.owner(), map.name_any());
    let digest = map.annotations().get(SHA256)?;
    let texts =
        map.data.iter().flatten().filter(|(_, text)| sha256_hex(text.as_bytes()) == *digest).take(ALIKE);
    let alike: Vec<(Output, &String)> = texts
        .map(|(key, text)| (Output { key: key.clone(), ..Output::default_for(&config_map) }, text))
        .collect();
    let signature = map.annotations().get(SIGNATURE);
    let is_signed = |(output, text): &(Output, &String)| {
        signature.is_some_and(|signature| keys.verify(&place(set, &owner, output), text, signature).is_some())
    };
    let found = alike.iter().position(is_signed);
    let (output, _) = alike.into_iter().nth(found.unwrap_or(0))?;
    Some((output, found.is_some()))
}

/// Whether a ConfigMap may hold the file of somebody who is there, by the writer that knows of it or by its mark.
pub fn is_wanted(ctx: &Context, map: &DeserializeGuard<ConfigMap>) -> bool {
    let key: ObjectKey = (map.namespace().unwrap_or_default(), map.name_any());
    if !ctx.hub.sets_of_config_map(&key).is_empty() {
        return true;
    }
    let owner = map.annotations().get(OWNER).and_then(|owner| SetId::parse(owner));
    let Some(set) = owner.filter(|set| set.namespace == key.0) else { return false };
    if !set.shared {
        return ctx.index.has_members(&set) && set.name == key.1;
    }
    // The files of a set that is gone or unreadable are looked for when they are needed.
    let known = ctx.flag_sets.get(&(set.namespace.clone(), set.name.clone()));
    let flag_set = known.as_ref().and_then(|known| known.0.as_ref().ok());
    flag_set.is_some_and(|of| {
        let is_output = outputs(&set, Some(of)).iter().any(|output| output.config_map == key.1);
        let mut was = of.status.iter().flat_map(|status| &status.outputs);
        is_output || was.any(|output| output.config_map.as_ref() == Some(&key.1))
    })
}

/// Whether no ConfigMap of this name is known, although all of ours are. Should somebody else's be there, creating ours
/// fails, and it is read then.
pub(super) fn is_absent(ctx: &Context, key: &ObjectKey) -> bool {
    ctx.is_listed() && ctx.config_maps.get(key).is_none() && !ctx.config_maps.is_aside(key)
}

/// The ConfigMap of an output, from the cache or, where the cache knows none, from the API server.
pub(super) async fn read(
    ctx: &Context,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    output: &Output,
    keys: &Keys,
) -> Result<Found<Stored<ConfigMap>>, Fault> {
    let key: ObjectKey = (set.namespace.clone(), output.config_map.clone());
    let judge = |stored| judge(ctx, set, flag_set, output, keys, stored);
    if let Some(stored) = ctx.config_maps.get(&key) {
        let found = judge(stored);
        // The watch sees our own only: what becomes of a stranger's is to be asked.
        if !matches!(found, Found::Strangers(_)) {
            return Ok(found);
        }
    }
    // What is read is used as it is: it is not kept where its namespace has more files than it may have in memory.
    Ok(refresh(ctx, &key).await?.map_or(Found::Nothing, judge))
}

/// Where an output is, as it is signed.
pub(super) fn place<'a>(set: &'a SetId, owner: &'a str, output: &'a Output) -> Place<'a> {
    Place { owner, kind: KIND, namespace: &set.namespace, name: &output.config_map, key: &output.key }
}

/// Whether a ConfigMap carries the marks of this set.
pub(super) fn is_marked(set: &SetId, stored: &Stored<ConfigMap>) -> bool {
    found::is_marked(set, stored.labels(), stored.annotations())
}

/// Why no write to a ConfigMap can be taken.
pub(super) fn unwritable(stored: &Stored<ConfigMap>, is_former: bool) -> Option<String> {
    let immutable = stored.0.as_ref().is_ok_and(|map| map.immutable == Some(true));
    let name = stored.name_any();
    immutable.then(|| match is_former {
        true => format!("ConfigMap {name}, which is no output any more, is immutable: delete it"),
        false => format!("ConfigMap {name} is immutable: delete it, and it is written anew"),
    })
}

fn judge(
    ctx: &Context,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    output: &Output,
    keys: &Keys,
    stored: Stored<ConfigMap>,
) -> Found<Stored<ConfigMap>> {
    let text = stored.0.as_ref().ok().and_then(|map| map.data.as_ref()?.get(&output.key).cloned());
    let annotations = stored.annotations().clone();
    let owner = set.owner();
    let witness = Witness {
        keys,
        place: place(set, &owner, output),
        remembered: ctx.hub.remembered(set, &(set.namespace.clone(), output.config_map.clone())),
        recorded: found::recorded(flag_set),
    };
    found::judge(set, &witness, &annotations, text, stored)
}

/// Reads a ConfigMap past the cache; returns it as it is known then.
pub(super) async fn refresh(ctx: &Context, key: &ObjectKey) -> Result<Option<Stored<ConfigMap>>, Fault> {
    let before = ctx.config_maps.version_of(key);
    let Some(found) = ctx.cluster.get::<ConfigMap>(key).await? else {
        ctx.config_maps.forget(key, before);
        return Ok(ctx.config_maps.get(key));
    };
    let found = Arc::new(found);
    ctx.config_maps.apply_found(DeserializeGuard(found.0.clone()));
    Ok(ctx.config_maps.get(key).or(Some(found)))
}

/// Writes a file over what was found, or into a new ConfigMap. Other keys, labels and annotations stay.
pub(super) async fn write(
    ctx: &Context,
    set: &SetId,
    output: &Output,
    over: Option<&Stored<ConfigMap>>,
    text: &str,
    signature: &str,
) -> Result<(), Fault> {
    let mut map = over.and_then(|stored| stored.0.as_ref().ok().cloned()).unwrap_or_else(|| ConfigMap {
        metadata: ObjectMeta {
            name: Some(output.config_map.clone()),
            namespace: Some(set.namespace.clone()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    });
    let mut labels = map.metadata.labels.take().unwrap_or_default();
    found::mark(set, text, signature, &mut labels, map.annotations_mut());
    map.metadata.labels = Some(labels);
    map.data.get_or_insert_with(BTreeMap::new).insert(output.key.clone(), text.to_owned());
    // The API server takes no key in both. Whoever moved the file there has edited it by hand.
    if let Some(binary) = &mut map.binary_data {
        binary.remove(&output.key);
    }

    let request = Scope::of::<ConfigMap>(Some(&set.namespace)).request();
    let (params, body) = (PostParams::default(), serde_json::to_vec(&map).unwrap_or_default());
    let written = match over {
        Some(_) => ctx.cluster.send(request.replace(&output.config_map, &params, body)).await?,
        None => ctx.cluster.send(request.create(&params, body)).await?,
    };
    ctx.config_maps.apply(written);
    Ok(())
}
