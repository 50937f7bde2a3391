//! The ConfigMap that a file lives in: read, told apart from strangers', written with a precondition.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};

use crate::api::FlagSet;
use crate::api::flagset::Output;
use crate::controller::cache::{ObjectKey, Stored};
use crate::controller::context::Context;
use crate::controller::index::SetId;
use crate::controller::pin::{MANAGED_BY, MANAGER};
use crate::error::{Fault, call};
use crate::flags::{self, File, LiveFlag};

/// Digest of the bytes that Sluice wrote: another one tells a hand edit.
pub(super) const SHA256: &str = "sluice.dev/sha256";
/// Who the ConfigMap belongs to: kind/namespace/name.
pub(super) const OWNER: &str = "sluice.dev/owner";

/// What is there.
pub(super) enum Found {
    /// No ConfigMap of the name.
    Nothing,
    /// One that belongs to somebody else; their name, if they give one.
    Strangers(Option<String>),
    /// Ours, as we wrote it.
    Trusted(Stored<ConfigMap>, File, String),
    /// Ours, but edited by hand or emptied; what it says where that can be read.
    Edited(Stored<ConfigMap>, Option<File>),
}

/// The outputs of a set.
pub(super) fn outputs(set: &SetId, flag_set: Option<&FlagSet>) -> Vec<Output> {
    flag_set.and_then(|set| set.spec.outputs.clone()).unwrap_or_else(|| vec![Output::default_for(&set.name)])
}

/// The ConfigMap of an output, from the cache or, where the cache knows none, from the API server.
pub(super) async fn read(
    ctx: &Context,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    output: &Output,
) -> Result<Found, Fault> {
    let key: ObjectKey = (set.namespace.clone(), output.config_map.clone());
    if let Some(stored) = ctx.config_maps.get(&key) {
        let found = judge(set, flag_set, output, stored);
        // The watch sees our own only: what becomes of a stranger's is to be asked.
        if !matches!(found, Found::Strangers(_)) {
            return Ok(found);
        }
    }
    refresh(ctx, &key).await?;
    Ok(ctx.config_maps.get(&key).map_or(Found::Nothing, |stored| judge(set, flag_set, output, stored)))
}

/// Whether a ConfigMap carries the marks by which the watch and other writers know it as this set's.
pub(super) fn is_marked(set: &SetId, stored: &Stored<ConfigMap>) -> bool {
    stored.annotations().get(OWNER) == Some(&set.owner())
        && stored.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

fn judge(set: &SetId, flag_set: Option<&FlagSet>, output: &Output, stored: Stored<ConfigMap>) -> Found {
    let owner = stored.annotations().get(OWNER).cloned();
    let text = stored.0.as_ref().ok().and_then(|map| map.data.as_ref()?.get(&output.key).cloned());
    let file = text.as_ref().and_then(|text| flags::parse(text).ok());
    let unedited = text
        .as_ref()
        .is_some_and(|text| stored.annotations().get(SHA256) == Some(&flags::sha256_hex(text.as_bytes())));
    // Taking the owner's annotation away gives nothing to anybody: a file that says itself whose it is stays theirs.
    let lost_mark =
        owner.is_none() && unedited && file.as_ref().is_some_and(|file| says(file, set, flag_set));
    if owner.as_ref() != Some(&set.owner()) && !lost_mark {
        return Found::Strangers(owner);
    }
    let Some(text) = text else { return Found::Edited(stored, None) };
    match file {
        Some(file) if unedited => Found::Trusted(stored, file, text),
        file => Found::Edited(stored, file),
    }
}

/// Whether a file says of itself that it is this set's.
fn says(file: &File, set: &SetId, flag_set: Option<&FlagSet>) -> bool {
    match (&file.set, flag_set) {
        (Some(mark), Some(flag_set)) => Some(&mark.uid) == flag_set.metadata.uid.as_ref(),
        (None, None) => {
            let mut members = file.members.keys().map(|key| file.live(key)).peekable();
            members.peek().is_some()
                && members.all(|live| {
                    live.is_some_and(|live| live.namespace == set.namespace && live.rollout == set.name)
                })
        }
        _ => false,
    }
}

/// Reads a ConfigMap past the cache.
pub(super) async fn refresh(ctx: &Context, key: &ObjectKey) -> Result<(), Fault> {
    let api: Api<DeserializeGuard<ConfigMap>> = Api::namespaced(ctx.client.clone(), &key.0);
    match call(api.get_opt(&key.1)).await? {
        Some(found) => {
            ctx.config_maps.apply(found);
        }
        None => ctx.config_maps.forget(key),
    }
    Ok(())
}

/// Writes a file over what was found, or into a new ConfigMap. Other keys, labels and annotations stay.
pub(super) async fn write(
    ctx: &Context,
    set: &SetId,
    output: &Output,
    over: Option<&Stored<ConfigMap>>,
    text: &str,
) -> Result<(), Fault> {
    let mut map = over.and_then(|stored| stored.0.as_ref().ok().cloned()).unwrap_or_else(|| ConfigMap {
        metadata: ObjectMeta {
            name: Some(output.config_map.clone()),
            namespace: Some(set.namespace.clone()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    });
    map.labels_mut().insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let annotations = map.annotations_mut();
    annotations.insert(OWNER.to_owned(), set.owner());
    annotations.insert(SHA256.to_owned(), flags::sha256_hex(text.as_bytes()));
    map.data.get_or_insert_with(BTreeMap::new).insert(output.key.clone(), text.to_owned());

    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &set.namespace);
    let params = PostParams::default();
    let written = match over {
        Some(_) => call(api.replace(&output.config_map, &params, &map)).await?,
        None => call(api.create(&params, &map)).await?,
    };
    ctx.config_maps.apply(DeserializeGuard(Ok(written)));
    Ok(())
}

/// What the file of a set says of a flag key: of any rollout, living or not.
///
/// # Errors
/// When the file could not be read.
pub async fn live_flag(
    ctx: &Context,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    flag: &str,
) -> Result<Option<LiveFlag>, Fault> {
    for output in outputs(set, flag_set) {
        let key: ObjectKey = (set.namespace.clone(), output.config_map.clone());
        let file = match read(ctx, set, flag_set, &output).await? {
            Found::Trusted(_, file, _) => Some(file),
            // Edited by hand: better what this process remembers, if it does.
            Found::Edited(_, file) => ctx.hub.last_good(&key).or(file),
            Found::Nothing => ctx.hub.last_good(&key),
            Found::Strangers(_) => None,
        };
        if let Some(live) = file.and_then(|file| file.live(flag)) {
            return Ok(Some(live));
        }
    }
    Ok(None)
}
