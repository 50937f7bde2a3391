//! An object as a cache keeps it: what is asked of every object beside its text, compressed, which is decoded for whoever uses it.
//!
//! A decoded rollout takes 7 KB of memory, in many small pieces; compressed against another of its kind it takes about one. Of
//! thousands only those few are decoded that are worked on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::packer::{Packed, Packer};
use super::share::{Rank, Share};
use super::{ObjectKey, Stored, version};
use crate::bounds::json;

/// How many objects stay decoded although nobody uses them, being those that were used last.
pub(super) const RECENT: usize = 32;
/// How many bytes of memory these may take together, as [`json::decoded`] tells them.
const RECENT_BYTES: usize = 2 * 1024 * 1024;

/// An object of a cache.
pub(super) struct Kept<K> {
    /// Its resource version.
    pub version: u64,
    /// The second that it was created in.
    created: i64,
    identity: Identity,
    form: Form<K>,
}

/// What tells whether two versions of an object have the same spec.
#[derive(PartialEq)]
struct Identity {
    generation: Option<i64>,
    uid: Option<Box<str>>,
    deletion: Option<Time>,
}

enum Form<K> {
    /// It is beyond what its namespace may have.
    Beyond(Share),
    /// It cannot be read.
    Unreadable(Stored<K>),
    /// Its compressed JSON, and the object for as long as somebody uses it.
    Packed(Packed, Mutex<Weak<DeserializeGuard<K>>>),
}

impl<K> Kept<K> {
    /// The UID of the object, if it is one that cannot be read or is not worked on.
    pub fn unreadable(&self) -> Option<&str> {
        match &self.form {
            Form::Unreadable(_) | Form::Beyond(_) => Some(self.identity.uid.as_deref().unwrap_or_default()),
            Form::Packed(..) => None,
        }
    }

    /// Whether this is no older than a version. What is beyond its namespace's share is no news only to a newer one: it may
    /// have room by now.
    pub fn supersedes(&self, version: u64) -> bool {
        if self.is_beyond() { self.version > version } else { self.version >= version }
    }

    /// Whether the object is beyond what its namespace may have.
    pub fn is_beyond(&self) -> bool {
        matches!(self.form, Form::Beyond(_))
    }

    /// Lets go of the object, whose namespace has more than its share.
    pub fn put_beyond(&mut self, share: Share) {
        self.form = Form::Beyond(share);
    }

    /// Where the object stands among those of its namespace.
    pub fn rank(&self, name: &str) -> Rank {
        Rank::new(self.created, name)
    }

    /// What it costs.
    pub fn cost(&self, share: &Share) -> usize {
        match &self.form {
            Form::Packed(packed, _) => share.cost(packed.length()),
            Form::Unreadable(stored) => {
                let error = stored.0.as_ref().err().map_or(0, |invalid| invalid.error.len());
                share.cost(error)
            }
            Form::Beyond(_) => share.cost(0),
        }
    }

    /// Whether another version of the object has the same spec. The generation counts the spec's changes.
    pub fn is_same_spec(&self, other: &Kept<K>) -> bool {
        self.identity.generation.is_some() && self.identity == other.identity
    }
}

/// How the objects of one kind are packed, and which of them are at hand.
pub(super) struct Shelf<K> {
    packer: Packer,
    recent: Mutex<Recent<K>>,
}

/// Objects that were used last, the latest at the end, with what they take.
struct Recent<K> {
    objects: VecDeque<(usize, Stored<K>)>,
    bytes: usize,
}

impl<K> Default for Shelf<K> {
    fn default() -> Shelf<K> {
        let recent = Recent { objects: VecDeque::new(), bytes: 0 };
        Shelf { packer: Packer::default(), recent: Mutex::new(recent) }
    }
}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Shelf<K> {
    /// The object as it is kept.
    pub fn keep(&self, mut object: DeserializeGuard<K>) -> Kept<K> {
        if let Err(invalid) = &mut object.0 {
            // Of one that cannot be read the marks of files count.
            let is_ours = |key: &str, value: &mut String| key.contains("sluice.dev/") && value.len() <= MARK;
            cut(&mut invalid.metadata, is_ours);
        }
        let meta = object.meta();
        let identity = Identity {
            generation: meta.generation,
            uid: meta.uid.as_deref().map(Into::into),
            deletion: meta.deletion_timestamp.clone(),
        };
        let (version, created) = (version(&object), Rank::created(&object));
        let stored = Arc::new(object);
        let text = stored.0.as_ref().ok().and_then(|object| serde_json::to_vec(object).ok());
        let form = match text {
            Some(text) => {
                self.use_last(json::decoded(&text), &stored);
                Form::Packed(self.packer.pack(&text), Mutex::new(Arc::downgrade(&stored)))
            }
            None => Form::Unreadable(stored),
        };
        Kept { version, created, identity, form }
    }

    /// The object.
    pub fn object(&self, key: &ObjectKey, kept: &Kept<K>) -> Stored<K> {
        let (packed, decoded) = match &kept.form {
            Form::Unreadable(stored) => return stored.clone(),
            Form::Beyond(share) => {
                let error = share.refusal(&K::kind(&()), &key.0);
                return Arc::new(DeserializeGuard(Err(invalid(key, kept, error))));
            }
            Form::Packed(packed, decoded) => (packed, decoded),
        };
        let mut decoded = decoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = decoded.upgrade() {
            return stored;
        }
        let text = self.packer.unpack(packed).map_err(|error| error.to_string());
        let bytes = text.as_ref().map_or(0, |text| json::decoded(text));
        let read = text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        let stored = Arc::new(DeserializeGuard(read.map_err(|error| invalid(key, kept, error))));
        *decoded = Arc::downgrade(&stored);
        self.use_last(bytes, &stored);
        stored
    }

    /// As much of an object as `T` has, without the rest being decoded; nothing of one that cannot be read.
    pub fn glance<T: DeserializeOwned>(&self, kept: &Kept<K>) -> Option<T> {
        let Form::Packed(packed, _) = &kept.form else { return None };
        serde_json::from_slice(&self.packer.unpack(packed).ok()?).ok()
    }

    /// How many bytes of memory an object takes while it is worked on; none of one that cannot be.
    pub fn decoded(&self, kept: &Kept<K>) -> usize {
        match &kept.form {
            Form::Packed(packed, _) => self.packer.unpack(packed).map_or(0, |text| json::decoded(&text)),
            Form::Unreadable(_) | Form::Beyond(_) => 0,
        }
    }

    /// How many objects are decoded although nobody uses them.
    #[cfg(test)]
    pub fn at_hand(&self) -> usize {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).objects.len()
    }

    fn use_last(&self, bytes: usize, stored: &Stored<K>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.objects.push_back((bytes, stored.clone()));
        recent.bytes += bytes;
        while recent.objects.len() > RECENT || recent.bytes > RECENT_BYTES {
            let Some((bytes, _)) = recent.objects.pop_front() else { break };
            recent.bytes -= bytes;
        }
    }
}

/// Longest of our own marks that is kept of an object that cannot be read.
const MARK: usize = 1024;

/// Takes out of metadata what nobody asks for, which anybody may have made long: left are the annotations and labels that `keeps` takes.
pub fn cut(metadata: &mut ObjectMeta, keeps: impl Fn(&str, &mut String) -> bool) {
    for marks in [&mut metadata.annotations, &mut metadata.labels].into_iter().flatten() {
        marks.retain(|key, value| keeps(key, value));
    }
    // Whoever takes our finalizer away reads them first.
    metadata.finalizers = None;
    metadata.owner_references = None;
}

/// What stands for an object that is not at hand, so that it is not taken for deleted: of its metadata what tells it apart.
fn invalid<K>(key: &ObjectKey, kept: &Kept<K>, error: String) -> InvalidObject {
    let metadata = ObjectMeta {
        namespace: Some(key.0.clone()),
        name: Some(key.1.clone()),
        uid: kept.identity.uid.as_deref().map(str::to_owned),
        generation: kept.identity.generation,
        deletion_timestamp: kept.identity.deletion.clone(),
        resource_version: Some(kept.version.to_string()),
        ..ObjectMeta::default()
    };
    InvalidObject { error, metadata }
}
