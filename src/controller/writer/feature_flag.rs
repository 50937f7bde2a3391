//! The FeatureFlag that a file lives in as well: the open-feature operator's kind, which flagd watches. It holds what
//! the ConfigMaps hold and follows their rules; a kubelet is not on its way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta, PostParams};
use kube::core::{DeserializeGuard, GroupVersionKind};
use kube::runtime::watcher::Event;
use serde_json::json;

use super::found::{self, Found, Witness};
use crate::api::FlagSet;
use crate::cluster::Scope;
use crate::controller::cache::ObjectKey;
use crate::controller::context::{Context, Shared};
use crate::controller::index::SetId;
use crate::controller::revisions::ours;
use crate::controller::watch;
use crate::error::Fault;
use crate::flags::{Keys, Place, feature_flag};
use crate::watchdog::{Name, What};

const GROUP: &str = "core.openfeature.dev";
const VERSION: &str = "v1beta1";
const KIND: &str = "FeatureFlag";

/// As much of a FeatureFlag as it takes to know it.
type Metadata = PartialObjectMeta<DynamicObject>;

/// What this process knows of FeatureFlags.
#[derive(Default)]
pub(super) struct Known(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    watched: bool,
    /// The sets that name an object as theirs, each with the version of it that its writer has seen. There are several where a
    /// set names what belongs to another one, and what that one has seen must not be lost by it.
    objects: HashMap<ObjectKey, BTreeMap<SetId, String>>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, set: &SetId, object: &ObjectMeta) {
        let key = (set.namespace.clone(), object.name.clone().unwrap_or_default());
        let seen = object.resource_version.clone().unwrap_or_default();
        self.lock().objects.entry(key).or_default().insert(set.clone(), seen);
    }

    /// Forgets what a set has seen of objects for which this is so.
    fn forget_of(&self, set: &SetId, is_so: impl Fn(&ObjectKey) -> bool) {
        self.lock().objects.retain(|key, seen| {
            if is_so(key) {
                seen.remove(set);
            }
            !seen.is_empty()
        });
    }

    /// Forgets what a set has seen.
    pub(super) fn forget(&self, set: &SetId) {
        self.forget_of(set, |_| true);
    }

    /// Forgets what a set has seen of all objects but those that it is written to, as they are remembered.
    pub(super) fn keep_only(&self, set: &SetId, outputs: &[ObjectKey]) {
        self.forget_of(set, |(_, name)| !outputs.contains(&memory_key(set, name)));
    }

    /// How many objects are known.
    pub(super) fn len(&self) -> usize {
        self.lock().objects.len()
    }

    /// The sets to tell of a version that they have not seen; of a deletion where there is no version.
    fn news(&self, key: &ObjectKey, version: Option<&str>) -> Vec<SetId> {
        let inner = self.lock();
        let seen = inner.objects.get(key).into_iter().flatten();
        seen.filter(|(_, seen)| version != Some(seen.as_str())).map(|(set, _)| set.clone()).collect()
    }
}

/// Under which name the file of a FeatureFlag is remembered; no ConfigMap can have it.
pub(super) fn memory_key(set: &SetId, name: &str) -> ObjectKey {
    (set.namespace.clone(), format!("featureflags/{name}"))
}

/// The FeatureFlag of a set; `None` where the cluster knows no such kind.
pub(super) async fn read(
    ctx: &Context,
    set: &SetId,
    flag_set: Option<&FlagSet>,
    name: &str,
    keys: &Keys,
) -> Result<Option<Found<DynamicObject>>, Fault> {
    let mut object = match ctx.cluster.send(scope(Some(&set.namespace)).named(name)).await {
        Ok(object) => object.0.unwrap_or_else(|unreadable| DynamicObject {
            metadata: unreadable.metadata,
            ..DynamicObject::new(name, &resource())
        }),
        Err(fault) if is_unknown_kind(&fault) => return Ok(None),
        Err(Fault::NotFound(_)) => return Ok(Some(Found::Nothing)),
        Err(fault) => return Err(fault),
    };
    ctx.hub.note_feature_flag(set, &object.metadata);
    // Nothing but its text is wanted. What it is read from may take twelve MiB, and is not kept while others are waited for.
    let mut data = std::mem::take(&mut object.data);
    let text = data.pointer_mut("/spec/flagSpec").map(std::mem::take).and_then(feature_flag::read);
    drop(data);
    let annotations = object.annotations().clone();
    let owner = set.owner();
    let witness = Witness {
        keys,
        place: place(set, &owner, name),
        remembered: ctx.hub.remembered(set, &memory_key(set, name)),
        recorded: found::recorded(flag_set),
    };
    Ok(Some(found::judge(set, &witness, &annotations, text, object)))
}

/// Where the file is, as it is signed.
pub(super) fn place<'a>(set: &'a SetId, owner: &'a str, name: &'a str) -> Place<'a> {
    Place { owner, kind: KIND, namespace: &set.namespace, name, key: "spec.flagSpec" }
}

/// Names of the FeatureFlags that are marked as this set's, `most` of them; none where the cluster knows no such kind.
pub(super) async fn left_behind(ctx: &Context, set: &SetId, most: usize) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    let note = |object: Metadata| {
        if names.len() < most && is_marked(set, &object) {
            names.push(object.name_any());
        }
    };
    match ctx.cluster.each(&scope(Some(&set.namespace)).labels(&ours()).metadata(), note).await {
        Ok(()) => Ok(names),
        Err(fault) if is_unknown_kind(&fault) => Ok(Vec::new()),
        // Where nobody may look, none of ours can be.
        Err(Fault::Forbidden(_)) => Ok(Vec::new()),
        Err(fault) => Err(fault),
    }
}

/// Whether an object carries the marks of this set.
pub(super) fn is_marked(set: &SetId, object: &impl ResourceExt) -> bool {
    found::is_marked(set, object.labels(), object.annotations())
}

/// Writes a file over what was found, or into a new FeatureFlag. Other labels and annotations stay.
pub(super) async fn write(
    ctx: &Context,
    set: &SetId,
    name: &str,
    over: Option<&DynamicObject>,
    text: &str,
    signature: &str,
) -> Result<(), Fault> {
    let mut object = over.cloned().unwrap_or_else(|| DynamicObject::new(name, &resource()));
    object.metadata.namespace = Some(set.namespace.clone());
    object.managed_fields_mut().clear();
    let mut labels = object.metadata.labels.take().unwrap_or_default();
    found::mark(set, text, signature, &mut labels, object.annotations_mut());
    object.metadata.labels = Some(labels);
    object.data = json!({"spec": {"flagSpec": feature_flag::write(text)}});

    let request = scope(Some(&set.namespace)).request();
    let (params, body) = (PostParams::default(), serde_json::to_vec(&object).unwrap_or_default());
    let written = match over {
        Some(_) => request.replace(name, &params, body),
        None => request.create(&params, body),
    };
    let written = ctx.cluster.send::<DynamicObject>(written).await?;
    ctx.hub.note_feature_flag(
        set,
        written.0.as_ref().map_or_else(|bad| &bad.metadata, |object| &object.metadata),
    );
    Ok(())
}

/// Watches for FeatureFlags that somebody else changes, from the first one that is there: the kind is, then.
pub(super) fn watch_others(ctx: &Shared) {
    {
        let mut known = ctx.hub.feature_flags().lock();
        if known.watched || known.objects.is_empty() {
            return;
        }
        known.watched = true;
    }
    // Nobody needs more of them than that they have changed.
    let name = Name::of_all(What::Watch, KIND);
    let kept = ctx.clone();
    tokio::spawn(ctx.watchdog.keep(name, move || follow(kept.clone())));
}

async fn follow(ctx: Shared) {
    let ours = scope(None).labels(&ours()).metadata();
    watch::follow(ctx, ours, |ctx, event: Event<DeserializeGuard<Metadata>>| {
        let (object, gone) = match event {
            Event::Apply(object) | Event::InitApply(object) => (object, false),
            Event::Delete(object) => (object, true),
            Event::Init | Event::InitDone => return,
        };
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let version = object.resource_version().filter(|_| !gone);
        for set in ctx.hub.feature_flags().news(&key, version.as_deref()) {
            super::poke(ctx, &set);
        }
    })
    .await;
}

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), "featureflags")
}

fn scope(namespace: Option<&str>) -> Scope {
    Scope::of_resource(&resource(), namespace)
}

/// The API server says of an object that it is not there; of a kind, it does not even say so in its own form.
fn is_unknown_kind(fault: &Fault) -> bool {
    match fault {
        Fault::NotFound(error) => {
            !matches!(&**error, kube::Error::Api(status) if status.reason == "NotFound")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str) -> SetId {
        SetId { namespace: "ns".to_owned(), name: name.to_owned(), shared: true }
    }

    fn version(version: &str) -> ObjectMeta {
        let mut object = DynamicObject::new("ff", &resource());
        object.metadata.resource_version = Some(version.to_owned());
        object.metadata
    }

    #[test]
    fn only_versions_of_others_are_news() {
        let (known, set) = (Known::default(), set("app"));
        known.note(&set, &version("7"));
        let key = ("ns".to_owned(), "ff".to_owned());
        assert_eq!(known.news(&key, Some("7")), []);
        assert_eq!(known.news(&key, Some("8")), std::slice::from_ref(&set));
        assert_eq!(known.news(&key, None), [set], "deleted");
        assert_eq!(known.news(&("ns".to_owned(), "other".to_owned()), Some("8")), []);
    }

    /// Whoever looked last was taken for the only one: another set that named the object kept its owner from hearing of edits.
    #[test]
    fn a_set_that_names_what_is_anothers_keeps_nobody_from_hearing_of_edits() {
        let (known, owner, other) = (Known::default(), set("app"), set("other"));
        let key = ("ns".to_owned(), "ff".to_owned());
        known.note(&owner, &version("7"));
        known.note(&other, &version("8"));
        assert_eq!(known.news(&key, Some("8")), std::slice::from_ref(&owner), "the other one has seen it");
        assert_eq!(known.news(&key, None), [owner.clone(), other.clone()]);
        known.forget(&other);
        assert_eq!(known.news(&key, Some("9")), std::slice::from_ref(&owner));
        known.keep_only(&owner, &[memory_key(&owner, "ff")]);
        assert_eq!(known.len(), 1);
        known.keep_only(&owner, &[memory_key(&owner, "another")]);
        assert_eq!(known.len(), 0);
    }
}
