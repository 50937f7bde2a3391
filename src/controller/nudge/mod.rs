//! The nudge: in an emergency an annotation on the pods that mount a file makes their kubelets read it at once, instead
//! of within a minute and a half. The same look at the pods finds those that will never see a new file.
//!
//! It is off unless asked for, as it takes permissions on pods. Neither deciding nor writing ever waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Resource;
use tokio::sync::Notify;

use super::cache::ObjectKey;
use super::context::{Context, Key, Shared};
use super::events;
use super::index::SetId;
use super::queue::Priority;
use crate::api::Reason;
use crate::clock;
use crate::watchdog::{Name, What, resting};

mod mounts;
mod pace;
mod pods;
mod touch;

use pace::Pace;
use pods::{Lists, Reader};

/// Least time between two looks at the pods of a file where nothing is urgent: a `subPath` is no emergency.
const REST: Duration = Duration::from_secs(30);
/// When the pods are annotated again: a kubelet may have heard of the annotation before it heard of the ConfigMap.
const AGAIN: Duration = Duration::from_secs(5);
/// How many workloads a message names.
const NAMED: usize = 5;

/// A file that a ConfigMap is known to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Name of the ConfigMap.
    pub config_map: String,
    /// Key in it.
    pub key: String,
    /// Digest of the bytes, hexadecimal.
    pub sha256: String,
    /// Whether pods should have it at once.
    pub urgent: bool,
}

/// The nudges of every file, and what was seen of the pods.
pub struct Nudger {
    enabled: bool,
    places: Mutex<HashMap<ObjectKey, (SetId, Arc<Place>)>>,
    pace: Mutex<Pace>,
    lists: Lists,
    /// Namespaces whose pods are known to be out of reach: said once.
    forbidden: Mutex<HashSet<String>>,
    stale: Mutex<HashMap<SetId, BTreeMap<String, BTreeSet<String>>>>,
}

/// What waits for one ConfigMap.
#[derive(Default)]
struct Place {
    /// The newest file, and when it was told of.
    held: Mutex<Option<(Held, Instant)>>,
    /// Whether nobody writes the file any more.
    ended: AtomicBool,
    changed: Notify,
}

impl Nudger {
    /// One that does nothing at all unless `enabled`.
    pub fn new(enabled: bool) -> Nudger {
        Nudger {
            enabled,
            places: Mutex::default(),
            pace: Mutex::default(),
            lists: Lists::default(),
            forbidden: Mutex::default(),
            stale: Mutex::default(),
        }
    }

    /// What to tell people of pods that mount one of these ConfigMaps of the set by `subPath`, empty where none does;
    /// `None` while nobody has looked.
    pub fn stale_mounts(&self, set: &SetId, config_maps: &[String]) -> Option<String> {
        if !self.enabled {
            return Some(String::new());
        }
        let stale = lock(&self.stale);
        let seen = stale.get(set)?.iter().filter(|(map, _)| config_maps.contains(map));
        Some(seen.filter_map(|(map, who)| message(map, who)).collect::<Vec<_>>().join("; "))
    }

    /// Forgets a file that nobody has any more.
    pub fn forget(&self, set: &SetId) {
        lock(&self.places).retain(|_, (of, place)| {
            let stays = of != set;
            if !stays {
                place.end();
            }
            stays
        });
        lock(&self.stale).remove(set);
    }

    /// Forgets what is known of all other namespaces.
    pub fn keep_namespaces(&self, namespaces: &HashSet<String>) {
        self.lists.keep(namespaces);
        lock(&self.forbidden).retain(|namespace| namespaces.contains(namespace));
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 2] {
        [("nudged_files", lock(&self.places).len()), ("stale_mounts", lock(&self.stale).len())]
    }

    /// Says of a namespace that its pods are out of reach; whether that is news.
    fn is_newly_forbidden(&self, namespace: &str) -> bool {
        lock(&self.forbidden).insert(namespace.to_owned())
    }
}

impl Place {
    /// Takes in a newer file; what was urgent and is not done stays urgent.
    fn put(&self, mut held: Held) {
        let mut waiting = lock(&self.held);
        held.urgent |= waiting.as_ref().is_some_and(|(before, _)| before.urgent);
        *waiting = Some((held, clock::monotonic()));
        drop(waiting);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<(Held, Instant)> {
        lock(&self.held).take()
    }

    fn is_urgent(&self) -> bool {
        lock(&self.held).as_ref().is_some_and(|(held, _)| held.urgent)
    }

    /// Waits for a file; `false` when there will be none.
    async fn wanted(&self) -> bool {
        while lock(&self.held).is_none() {
            if self.ended.load(Ordering::Acquire) {
                return false;
            }
            self.changed.notified().await;
        }
        true
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Waits until `until`, or until something urgent has come.
    async fn rest(&self, until: Instant) {
        while !self.is_urgent() {
            let left = until.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = clock::sleep(left) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

/// Tells of a file that a ConfigMap now holds.
pub fn tell(ctx: &Shared, set: &SetId, held: Held) {
    if !ctx.nudger.enabled {
        return;
    }
    let key: ObjectKey = (set.namespace.clone(), held.config_map.clone());
    let mut places = lock(&ctx.nudger.places);
    if !ctx.hub.has(set) {
        return;
    }
    let (_, place) = places.entry(key).or_insert_with(|| {
        let place = Arc::new(Place::default());
        let name = Name::of_object(What::Nudge, set.owner());
        let kept = (ctx.clone(), set.clone(), place.clone());
        tokio::spawn(ctx.watchdog.keep(name, move || run(kept.0.clone(), kept.1.clone(), kept.2.clone())));
        (set.clone(), place)
    });
    place.put(held);
}

async fn run(ctx: Shared, set: SetId, place: Arc<Place>) {
    tokio::select! {
        () = serve(&ctx, &set, &place) => {}
        () = ctx.shutdown.cancelled() => {}
    }
}

async fn serve(ctx: &Context, set: &SetId, place: &Place) {
    let mut rested = clock::monotonic();
    while resting(place.wanted()).await {
        place.rest(rested).await;
        if let Some(listed) = ctx.nudger.lists.rested(&set.namespace) {
            place.rest(listed).await;
        }
        let Some((held, told)) = place.take() else { continue };
        // What began to run after the file was written has it.
        let readers = pods::readers(ctx, &set.namespace, told, held.urgent).await;
        rested = clock::monotonic() + REST;
        let Some(readers) = readers else { continue };
        note(ctx, set, &held, &readers).await;
        if !held.urgent {
            continue;
        }
        touch::annotate(ctx, set, &held, &readers, touch::Time::First).await;
        place.rest(clock::monotonic() + AGAIN).await;
        // A newer file has its own two times.
        if !place.is_urgent() {
            touch::annotate(ctx, set, &held, &readers, touch::Time::Second).await;
        }
    }
}

/// Notes who mounts the file by `subPath`, and says so where that is news.
async fn note(ctx: &Context, set: &SetId, held: &Held, readers: &[Reader]) {
    let who: BTreeSet<String> = readers
        .iter()
        .filter(|reader| reader.how(held).sub_path)
        .map(|reader| reader.workload.clone())
        .collect();
    let message = message(&held.config_map, &who);
    let before = {
        let mut stale = lock(&ctx.nudger.stale);
        if !ctx.hub.has(set) {
            return;
        }
        stale.entry(set.clone()).or_default().insert(held.config_map.clone(), who.clone())
    };
    if before.as_ref() == Some(&who) {
        return;
    }
    let key: ObjectKey = (set.namespace.clone(), set.name.clone());
    if set.shared {
        ctx.queue.push(Key::FlagSet(key.clone()), Priority::Report);
    }
    let Some(message) = message else { return };
    let metadata = if set.shared {
        ctx.flag_sets.get(&key).map(|set| ("FlagSet", set.meta().clone()))
    } else {
        ctx.rollouts.get(&key).map(|rollout| ("FeatureRollout", rollout.meta().clone()))
    };
    if let Some((kind, metadata)) = metadata {
        events::warn(ctx, kind, &metadata, Reason::SubPathMount, &message);
    }
}

/// What to tell people of those who mount a ConfigMap by `subPath`.
fn message(config_map: &str, who: &BTreeSet<String>) -> Option<String> {
    let named: Vec<&str> = who.iter().take(NAMED).map(String::as_str).collect();
    let more = who.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!who.is_empty()).then(|| {
        format!(
            "mounted by subPath, where no update ever arrives: ConfigMap {config_map} in {}{more}; mount the folder",
            named.join(", ")
        )
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(sha256: &str, urgent: bool) -> Held {
        Held { config_map: "app".to_owned(), key: "flags.json".to_owned(), sha256: sha256.to_owned(), urgent }
    }

    #[test]
    fn a_newer_file_takes_over_the_urgency_of_the_one_before() {
        let place = Place::default();
        place.put(held("1", true));
        place.put(held("2", false));
        let take = || place.take().map(|(held, _)| held);
        assert_eq!(take(), Some(held("2", true)));
        place.put(held("3", false));
        assert_eq!(take(), Some(held("3", false)));
        assert_eq!(take(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_urgent_does_not_wait_for_the_rest_to_end() {
        let place = Arc::new(Place::default());
        place.put(held("1", false));
        let resting = place.clone();
        let rest =
            tokio::spawn(async move { resting.rest(clock::monotonic() + Duration::from_secs(3600)).await });
        tokio::task::yield_now().await;
        assert!(!rest.is_finished());
        place.put(held("2", true));
        rest.await.unwrap();
    }

    #[test]
    fn a_message_names_a_few_and_counts_the_others() {
        let who = |count: usize| (0..count).map(|i| format!("ReplicaSet/r{i}")).collect::<BTreeSet<_>>();
        assert_eq!(message("app", &who(0)), None);
        let one = message("app", &who(1)).unwrap();
        assert!(one.contains("ConfigMap app in ReplicaSet/r0; mount"), "{one}");
        let seven = message("app", &who(7)).unwrap();
        assert!(seven.contains("ReplicaSet/r4 and 2 more;") && !seven.contains("r5"), "{seven}");
    }
}
