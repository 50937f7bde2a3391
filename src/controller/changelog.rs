//! The changelogs of FlagSets: ConfigMaps that grow as rollouts are completed.
//!
//! It is a report: nothing that is decided or served waits for it, and one that cannot be written is tried again later. What it
//! has said is in the ConfigMap itself, so that nothing of it has to be kept anywhere else.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::PostParams;
use kube::core::DeserializeGuard;

use super::cache::ObjectKey;
use super::context::{Context, Key, Shared};
use super::index::{Neighbour, SetId};
use super::queue::Priority;
use super::revisions::{MANAGED_BY, MANAGER};
use super::writer::{self, OWNER};
use crate::api::conditions::{Want, types};
use crate::api::{ChangelogOutput, FlagSet, MicroTime, Reason};
use crate::changelog::{Heading, KEYS, Texts, Told, grow, read, texts};
use crate::clock;
use crate::cluster::Scope;
use crate::error::{Fault, chain};

/// Least time between two looks at a changelog: each of many rollouts that step at once asks for one.
const SPACING: Duration = Duration::from_millis(500);
/// When a ConfigMap that may not be written is looked at again: nobody tells of others' objects.
const AGAIN: Duration = Duration::from_secs(10);

/// What is kept of changelogs. All of it can be found again.
#[derive(Default)]
pub struct Changelogs(Mutex<HashMap<ObjectKey, Known>>);

#[derive(Default)]
struct Known {
    config_map: String,
    looked: Option<Instant>,
    /// How often the ConfigMap was changed, by whomever.
    changes: u64,
    /// What the ConfigMap is known to hold.
    settled: Option<Asked>,
    said: Option<Result<String, (Reason, String)>>,
}

/// Everything that a changelog is made of besides what it said before.
#[derive(Clone, PartialEq)]
struct Asked {
    output: ChangelogOutput,
    uid: String,
    told: Vec<Told>,
}

impl Changelogs {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The condition of a FlagSet's changelog, where it is known.
    pub fn condition(&self, set: &ObjectKey) -> Option<Want> {
        let said = self.lock().get(set)?.said.clone()?;
        let (status, reason, message) = match said {
            Ok(message) => (true, Reason::Written, message),
            Err((reason, message)) => (false, reason, message),
        };
        Some(Want { type_: types::CHANGELOG, status, reason: reason.as_str(), message })
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 1] {
        [("changelogs", self.lock().len())]
    }
}

/// Follows a FlagSet as it is now: its changelog is looked after, if it has one.
pub fn follow(ctx: &Context, key: &ObjectKey, set: Option<&FlagSet>) {
    let output = set.and_then(|set| set.spec.changelog.as_ref());
    let Some(output) = output else {
        if ctx.changelogs.lock().remove(key).is_some() {
            ctx.queue.forget(&Key::Changelog(key.clone()));
        }
        return;
    };
    let uid = set.and_then(ResourceExt::uid).unwrap_or_default();
    let mut known = ctx.changelogs.lock();
    let known = known.entry(key.clone()).or_default();
    known.config_map.clone_from(&output.config_map);
    let is_settled = |asked: &Asked| asked.output == *output && asked.uid == uid;
    if !known.settled.as_ref().is_some_and(is_settled) {
        ctx.queue.push(Key::Changelog(key.clone()), Priority::Report);
    }
}

/// A rollout that came or changed: what it tells may be another thing.
pub fn rollout_changed(ctx: &Context, rollout: &ObjectKey) {
    let Some(set) = ctx.index.set_of(rollout).filter(|set| set.shared) else { return };
    let key = (set.namespace, set.name);
    if ctx.changelogs.lock().contains_key(&key) {
        ctx.queue.push(Key::Changelog(key), Priority::Report);
    }
}

/// A ConfigMap of ours that came, changed or went: it may be a changelog that somebody has edited or deleted.
pub fn config_map_changed(ctx: &Context, config_map: &ObjectKey) {
    let mut known = ctx.changelogs.lock();
    let of =
        known.iter_mut().filter(|(key, known)| key.0 == config_map.0 && known.config_map == config_map.1);
    for (key, known) in of {
        known.settled = None;
        known.changes += 1;
        ctx.queue.push(Key::Changelog(key.clone()), Priority::Report);
    }
}

/// Brings a changelog up to date.
///
/// # Errors
/// When its ConfigMap could not be read or written, which may well work in a moment.
pub async fn reconcile(ctx: &Shared, key: &ObjectKey) -> Result<(), Fault> {
    let set = ctx.flag_sets.readable(key).filter(|set| set.metadata.deletion_timestamp.is_none());
    let Some(set) = set else { return Ok(()) };
    let Some(output) = set.spec.changelog.clone() else { return Ok(()) };
    let id = SetId { namespace: key.0.clone(), name: key.1.clone(), shared: true };
    let asked = Asked { uid: set.uid().unwrap_or_default(), told: told(ctx, &id), output };
    let changes = {
        let mut known = ctx.changelogs.lock();
        let Some(known) = known.get_mut(key) else { return Ok(()) };
        if known.settled.as_ref() == Some(&asked) {
            return Ok(());
        }
        if let Some(wait) = clock::spaced(&mut known.looked, SPACING) {
            ctx.queue.push_at(Key::Changelog(key.clone()), Some(ctx.clock.after(wait)));
            return Ok(());
        }
        known.changes
    };
    let said = match bring_up_to_date(ctx, &id, &set, &asked).await {
        Ok(said) => said,
        Err(fault @ (Fault::Forbidden(_) | Fault::Invalid(_))) => {
            Err((fault.reason(), format!("ConfigMap {}: {}", asked.output.config_map, chain(&fault))))
        }
        Err(fault) => return Err(fault),
    };
    let again = said.is_err().then(|| ctx.clock.after(AGAIN));
    ctx.queue.push_at(Key::Changelog(key.clone()), again);
    let mut known = ctx.changelogs.lock();
    let Some(known) = known.get_mut(key) else { return Ok(()) };
    // Where it was changed meanwhile, be it by this write, it is read once more.
    known.settled = (said.is_ok() && known.changes == changes).then_some(asked);
    if known.said.as_ref() != Some(&said) {
        known.said = Some(said);
        ctx.queue.push(Key::FlagSet(key.clone()), Priority::Report);
    }
    Ok(())
}

/// What the living rollouts of a file tell.
fn told(ctx: &Context, set: &SetId) -> Vec<Told> {
    let members = ctx.index.announcing_members(set);
    let of = |member: Neighbour| ctx.rollouts.get(&member.key)?.0.as_ref().ok().and_then(Told::of);
    members.into_iter().filter_map(of).collect()
}

/// Writes the changelog if it says something else than it should. What is said of it then: what it holds, or why not.
async fn bring_up_to_date(
    ctx: &Context,
    id: &SetId,
    set: &FlagSet,
    asked: &Asked,
) -> Result<Result<String, (Reason, String)>, Fault> {
    let output = &asked.output;
    let name = &output.config_map;
    // Also where it is an output no more: the file there is kept up to date until somebody deletes it.
    if writer::holds_flags(&ctx.hub, id, set, name) {
        let message =
            format!("spec.changelog.configMap: ConfigMap {name} holds the flags: choose another name");
        return Ok(Err((Reason::InvalidSpec, message)));
    }
    let stored = ctx.cluster.get::<ConfigMap>(&(id.namespace.clone(), name.clone())).await?;
    let owner = stored.as_ref().map(|stored| stored.annotations().get(OWNER).cloned());
    match owner {
        Some(owner) if owner.as_ref() != Some(&id.owner()) => {
            let whose = owner.map_or("nobody that Sluice knows".to_owned(), |owner| writer::named(&owner));
            let message = format!(
                "ConfigMap {name} belongs to {whose}: delete it, or choose another name in spec.changelog.configMap"
            );
            return Ok(Err((Reason::Conflict, message)));
        }
        None if !ctx.output_names.allow(name) => {
            let names = &ctx.output_names;
            let message = format!(
                "ConfigMap {name} may not be made: the operator allows files under the names {names} only"
            );
            return Ok(Err((Reason::Forbidden, message)));
        }
        _ => {}
    }
    let map = match stored {
        // Nothing can be written over what cannot be read.
        Some(DeserializeGuard(Err(invalid))) => {
            let message = format!("ConfigMap {name} cannot be read: {}", invalid.error);
            return Ok(Err((Reason::Conflict, message)));
        }
        Some(DeserializeGuard(Ok(map))) => Some(map),
        None => None,
    };
    let data = map.as_ref().and_then(|map| map.data.as_ref());
    let most = usize::try_from(output.entries).unwrap_or(1);
    let before = data.and_then(|data| data.get(KEYS[1])).map(|json| read(json, most)).unwrap_or_default();
    let entries = grow(before, &asked.told, ctx.clock.now(), most);
    let texts = texts(&heading(set, output), &entries);
    let message = format!("{} entries in ConfigMap {name}", read(&texts[1], most).len());
    let is_marked =
        map.as_ref().is_some_and(|map| map.labels().get(MANAGED_BY).is_some_and(|m| m == MANAGER));
    let holds = |(key, text): (&str, &String)| data.and_then(|data| data.get(key)) == Some(text);
    if !is_marked || !KEYS.into_iter().zip(&texts).all(holds) {
        write(ctx, id, name, map, texts).await?;
    }
    Ok(Ok(message))
}

fn heading(set: &FlagSet, output: &ChangelogOutput) -> Heading {
    let name = set.name_any();
    let created = set.metadata.creation_timestamp.as_ref();
    Heading {
        id: format!("urn:uuid:{}", set.uid().unwrap_or_default()),
        title: output.title.clone().unwrap_or_else(|| format!("Changelog of {name}")),
        author: name,
        link: output.link.clone(),
        since: created.map_or(MicroTime::UNIX_EPOCH, |time| MicroTime::from(time.0)),
    }
}

/// Writes the texts over the version that was read, or into a new ConfigMap. Other keys, labels and annotations stay.
async fn write(
    ctx: &Context,
    id: &SetId,
    name: &str,
    over: Option<ConfigMap>,
    texts: Texts,
) -> Result<(), Fault> {
    let is_new = over.is_none();
    let mut map = over.unwrap_or_else(|| ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(id.namespace.clone()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    });
    map.labels_mut().insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    map.annotations_mut().insert(OWNER.to_owned(), id.owner());
    let data = map.data.get_or_insert_with(BTreeMap::new);
    for (key, text) in KEYS.into_iter().zip(texts) {
        data.insert(key.to_owned(), text);
        // The API server takes no key in both.
        if let Some(binary) = &mut map.binary_data {
            binary.remove(key);
        }
    }
    let request = Scope::of::<ConfigMap>(Some(&id.namespace)).request();
    let (params, body) = (PostParams::default(), serde_json::to_vec(&map).unwrap_or_default());
    match is_new {
        true => ctx.cluster.tell(request.create(&params, body)).await,
        false => ctx.cluster.tell(request.replace(name, &params, body)).await,
    }
}
