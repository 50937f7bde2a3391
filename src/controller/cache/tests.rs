use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::FeatureRollout;

fn map(version: &str) -> DeserializeGuard<ConfigMap> {
    let metadata = json!({"name": "m", "namespace": "ns", "resourceVersion": version});
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})).unwrap()
}

#[test]
fn what_was_told_of_while_it_was_read_is_not_forgotten() {
    let key = ("ns".to_owned(), "m".to_owned());
    let cache = Cache::<ConfigMap>::default();
    assert!(!cache.forget(&key, cache.version_of(&key)), "there was nothing");

    cache.apply(map("3"));
    let before = cache.version_of(&key);
    // Deleted, read in vain, and created again before the answer to the read is here.
    cache.apply(map("5"));
    assert!(!cache.forget(&key, before));
    assert_eq!(cache.version_of(&key), 5);
    assert!(cache.forget(&key, 5) && cache.get(&key).is_none());
}

#[test]
fn what_a_list_has_found_is_known_in_that_version_or_a_newer_one_and_nothing_besides() {
    let cache = Cache::<ConfigMap>::default();
    let key = ("ns".to_owned(), "m".to_owned());
    let stored = |version: u64| HashMap::from([(key.clone(), version)]);
    assert!(cache.is_as_new_as(&HashMap::new(), 9) && !cache.is_as_new_as(&stored(3), 9));
    cache.apply(map("5"));
    assert!(cache.is_as_new_as(&stored(5), 9) && cache.is_as_new_as(&stored(3), 9));
    assert!(!cache.is_as_new_as(&stored(7), 9), "there is a newer one");
    assert!(!cache.is_as_new_as(&HashMap::new(), 9), "it was deleted");
    assert!(cache.is_as_new_as(&HashMap::new(), 4), "it was created after the list");
    cache.event(Event::Delete(map("10")));
    assert!(cache.is_as_new_as(&stored(5), 9), "it was deleted after the list");
}

#[test]
fn an_answer_that_comes_after_the_deletion_brings_nothing_back() {
    let (cache, key) = (Cache::<ConfigMap>::default(), ("ns".to_owned(), "m".to_owned()));
    cache.apply(map("3"));
    // Our write made it version 4 and somebody deleted it; the watch was quicker than the answer to our write.
    cache.event(Event::Delete(map("5")));
    assert!(!cache.apply(map("4")) && cache.get(&key).is_none());
    assert!(cache.apply(map("6")), "created again");
    for i in 0..2 * DELETED {
        cache.delete(&map(&(100 + i).to_string()));
    }
    assert_eq!(cache.deleted.lock().unwrap().len(), DELETED);
}

#[test]
fn what_is_passed_over_is_known_to_exist_and_nothing_of_it_is_kept() {
    let (cache, key) = (Cache::<ConfigMap>::default(), ("ns".to_owned(), "m".to_owned()));
    cache.apply(map("3"));
    cache.event(Event::Init);
    cache.pass_over(&map("4"));
    cache.event(Event::InitDone);
    assert!(cache.is_aside(&key) && cache.get(&key).is_none() && cache.len() == 0);
    assert!(cache.apply_found(map("4")) && !cache.is_aside(&key), "whoever needs it reads it");
}

#[test]
fn what_was_put_aside_is_known_to_exist_until_it_is_deleted() {
    let (cache, key) = (Cache::<ConfigMap>::default(), ("ns".to_owned(), "m".to_owned()));
    cache.put_aside(&key);
    assert!(!cache.is_aside(&key), "there is none");
    cache.apply(map("3"));
    cache.put_aside(&key);
    assert!(cache.is_aside(&key) && cache.get(&key).is_none());
    assert!(cache.apply(map("3")) && !cache.is_aside(&key), "read again");
    cache.put_aside(&key);
    cache.event(Event::Delete(map("4")));
    assert!(!cache.is_aside(&key));
    cache.apply(map("5"));
    cache.put_aside(&key);
    cache.event(Event::Init);
    cache.event(Event::InitDone);
    assert!(!cache.is_aside(&key), "a list does not have it");
}

fn rollout(index: usize, value: &serde_json::Value) -> DeserializeGuard<FeatureRollout> {
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "FeatureRollout",
        "metadata": {"name": format!("r{index}"), "namespace": "ns", "uid": format!("u{index}"), "resourceVersion": "7",
            "generation": 3, "labels": {"a": "ünï\u{0}\u{2028}"}, "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {
            "feature": {"variants": [{"name": "on-it", "value": value}, {"name": "off-it", "value": value}]},
            "cohorts": [{"name": "all"}],
            "phases": [{"name": "ga", "steps": [{"cohorts": {"all": "0.125%"}, "hold": "1h30m"}]}],
        },
        "status": {"observedGeneration": 2, "revision": 5, "uid": format!("u{index}")},
    }))
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// What is decided on must not depend on whether the object was just heard of or is taken out again.
    #[test]
    fn an_object_that_was_put_away_comes_back_as_it_was(
        number in prop::num::f64::NORMAL,
        whole in any::<i64>(),
        text in "(?s).{0,40}",
    ) {
        let value = json!({"number": number, "whole": whole, "text": text, "list": [number, null, text]});
        let cache = Cache::<FeatureRollout>::default();
        let count = kept::RECENT + 4;
        for index in 0..count {
            prop_assert!(cache.apply(rollout(index, &value)));
        }
        for index in [0, 1, 3, count - 1] {
            let key = ("ns".to_owned(), format!("r{index}"));
            let stored = cache.get(&key).unwrap();
            let rollout = rollout(index, &value).0.unwrap();
            prop_assert_eq!(json!(stored.0.as_ref().unwrap()), json!(rollout));
            prop_assert_eq!(&stored.0.as_ref().unwrap().spec, &rollout.spec);
        }
    }
}

#[test]
fn of_many_objects_few_are_decoded_and_nothing_of_those_that_are_gone_stays() {
    let cache = Cache::<FeatureRollout>::default();
    let value = json!(true);
    for index in 0..1000 {
        cache.apply(rollout(index, &value));
    }
    let first = ("ns".to_owned(), "r0".to_owned());
    let held = cache.get(&first).unwrap();
    assert!(Arc::ptr_eq(&held, &cache.get(&first).unwrap()), "decoded once for all who use it");
    assert_eq!(cache.shelf.at_hand(), kept::RECENT);
    // What is told of again is the same spec or another, whether it is decoded or not.
    let mut other = rollout(0, &value);
    other.0.as_mut().unwrap().metadata.resource_version = Some("8".to_owned());
    assert_eq!(cache.event(Event::Apply(other)).0[0].1, News::Status);
    let mut other = rollout(1, &value);
    let metadata = &mut other.0.as_mut().unwrap().metadata;
    (metadata.resource_version, metadata.generation) = (Some("8".to_owned()), Some(4));
    assert_eq!(cache.event(Event::Apply(other)).0[0].1, News::Spec);
    // Large ones give way sooner.
    let large = json!("x".repeat(200_000));
    for index in 2000..2040 {
        cache.apply(rollout(index, &large));
    }
    assert!(cache.shelf.at_hand() < 10);
}

fn aged(name: &str, created: &str, version: u64, size: usize) -> DeserializeGuard<ConfigMap> {
    // Text that does not compress, and is like no other.
    let mut random =
        fastrand::Rng::with_seed(name.bytes().fold(version, |seed, byte| seed * 31 + u64::from(byte)));
    let text: String = std::iter::repeat_with(|| random.alphanumeric()).take(size).collect();
    let metadata = json!({"name": name, "namespace": "ns", "uid": name, "resourceVersion": version.to_string(),
        "creationTimestamp": format!("2026-01-02T03:04:{created}Z")});
    serde_json::from_value(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": text}}),
    )
    .unwrap()
}

fn shared(beyond: Beyond) -> Cache<ConfigMap> {
    let cache = Cache::with_share(Share { limit: 10_000, each: 0, times: 1, beyond });
    // What the others are compressed against takes no room of its own.
    cache.shelf.keep(aged("first", "00", 0, 4_000));
    cache
}

fn key(name: &str) -> ObjectKey {
    ("ns".to_owned(), name.to_owned())
}

/// The next effect, if there is one.
fn effect(cache: &Cache<ConfigMap>) -> Option<Effect> {
    use futures::FutureExt;
    cache.effect().now_or_never()
}

#[test]
fn the_youngest_beyond_the_share_of_a_namespace_live_and_cannot_be_read_until_there_is_room() {
    let cache = shared(Beyond::Stalled);
    cache.apply(aged("young", "50", 1, 4_000));
    cache.apply(aged("oldest", "10", 2, 4_000));
    assert_eq!(effect(&cache), None);
    // An older one takes the room of a younger one, which hears of it.
    assert_eq!(cache.event(Event::Apply(aged("older", "20", 3, 4_000))).0, [(key("older"), News::Spec)]);
    assert_eq!(effect(&cache), Some(Effect::Displaced(key("young"))));
    assert!(cache.is_beyond(&key("young")) && cache.readable(&key("young")).is_none());
    assert_eq!((cache.len(), cache.beyond_of(|_| true)), (3, 1));
    assert_eq!(cache.unreadable("ns"), [("young".to_owned(), "young".to_owned())], "it lives");
    let stored = cache.get(&key("young")).unwrap();
    assert_eq!((stored.uid().as_deref(), version(&*stored)), (Some("young"), 1));
    // One that is younger than one beyond is not worked on, whatever its size, and hears of that as of its coming.
    assert_eq!(cache.event(Event::Apply(aged("small", "55", 4, 10))).0, [(key("small"), News::Spec)]);
    assert!(cache.is_beyond(&key("small")));
    // Told of again, also by a list: no news.
    assert_eq!(cache.event(Event::Apply(aged("young", "50", 1, 4_000))).0, []);
    // Another status is news of a status.
    let mut other = aged("young", "50", 5, 4_000);
    other.0.as_mut().unwrap().metadata.generation = Some(1);
    cache.event(Event::Apply(other));
    let mut other = aged("young", "50", 6, 4_000);
    other.0.as_mut().unwrap().metadata.generation = Some(1);
    assert_eq!(cache.event(Event::Apply(other)).0, [(key("young"), News::Status)]);
    // The older one goes: who has waited longest is to be read, and is known again then, in the same version.
    cache.delete(&aged("older", "20", 7, 4_000));
    assert_eq!(effect(&cache), Some(Effect::Readmitted(key("young"))));
    assert!(cache.apply(aged("young", "50", 6, 4_000)) && cache.readable(&key("young")).is_some());
    assert_eq!(effect(&cache), Some(Effect::Readmitted(key("small"))));
    assert!(cache.apply(aged("small", "55", 4, 10)) && !cache.is_beyond(&key("small")));
    assert_eq!((effect(&cache), cache.beyond_of(|_| true)), (None, 0));
    // One that grows beyond it is out, and back when it is smaller.
    cache.apply(aged("small", "55", 8, 9_000));
    assert!(cache.is_beyond(&key("small")));
    assert_eq!(cache.event(Event::Apply(aged("small", "55", 9, 100))).0, [(key("small"), News::Spec)]);
    assert!(!cache.is_beyond(&key("small")));
}

#[test]
fn a_list_that_begins_anew_lets_in_what_has_room_and_forgets_what_is_gone() {
    let cache = shared(Beyond::Stalled);
    for (name, created) in [("a", "10"), ("b", "20"), ("c", "30"), ("d", "40")] {
        cache.apply(aged(name, created, 1, 4_000));
    }
    assert!(cache.is_beyond(&key("c")) && cache.is_beyond(&key("d")));
    cache.event(Event::Init);
    let told = [("b", "20"), ("c", "30")]
        .map(|(name, created)| cache.event(Event::InitApply(aged(name, created, 1, 4_000))).0);
    assert_eq!(told, [vec![], vec![]], "nothing is known yet of what has gone");
    let (gone, _) = cache.event(Event::InitDone);
    assert_eq!(gone.len(), 2);
    assert_eq!(effect(&cache), Some(Effect::Readmitted(key("c"))));
    assert_eq!(cache.keys().len(), 2);
}

#[test]
fn of_files_beyond_the_share_it_is_known_that_they_exist() {
    let cache = shared(Beyond::Aside);
    for index in 0..5 {
        cache.apply(aged(&format!("m{index}"), &format!("1{index}"), 1, 4_000));
    }
    let aside = |name: &str| cache.is_aside(&key(name)) && cache.get(&key(name)).is_none();
    assert!(!aside("m1") && aside("m2") && aside("m4"));
    assert_eq!((cache.len(), cache.beyond_of(|_| true), effect(&cache)), (2, 0, None));
    // Each change of it is told, as whoever writes it reads it then.
    assert_eq!(cache.event(Event::Apply(aged("m4", "14", 2, 4_000))).0, [(key("m4"), News::Spec)]);
    cache.delete(&aged("m0", "10", 3, 4_000));
    assert!(cache.apply_found(aged("m4", "14", 2, 4_000)) && !aside("m4"), "whoever needs it reads it");
}

#[test]
fn of_an_object_that_cannot_be_read_no_more_is_kept_than_our_marks() {
    let cache = shared(Beyond::Stalled);
    let metadata: ObjectMeta = serde_json::from_value(json!({
        "name": "bad", "namespace": "ns", "uid": "u", "resourceVersion": "3", "generation": 2, "finalizers": ["a/b", "c/d"],
        "annotations": {"a": "x".repeat(250_000), "sluice.dev/owner": "FlagSet/x", "sluice.dev/long": "x".repeat(2_000)},
    }))
    .unwrap();
    cache.apply(DeserializeGuard(Err(InvalidObject { error: "it is broken".to_owned(), metadata })));
    let kept = cache.get(&key("bad")).unwrap();
    assert_eq!(
        kept.annotations().iter().collect::<Vec<_>>(),
        [(&"sluice.dev/owner".to_owned(), &"FlagSet/x".to_owned())]
    );
    assert_eq!((kept.uid().as_deref(), kept.finalizers().len()), (Some("u"), 0));
}

#[test]
fn a_part_of_an_object_is_read_without_the_rest() {
    #[derive(serde::Deserialize, PartialEq, Debug)]
    struct Named {
        metadata: Name,
    }
    #[derive(serde::Deserialize, PartialEq, Debug)]
    struct Name {
        name: String,
    }
    let (cache, key) = (Cache::<ConfigMap>::default(), ("ns".to_owned(), "m".to_owned()));
    assert_eq!(cache.glance::<Named>(&key), None, "it is not known");
    cache.apply(map("3"));
    assert_eq!(cache.glance(&key), Some(Named { metadata: Name { name: "m".to_owned() } }));
    let metadata = ObjectMeta {
        name: Some("m".to_owned()),
        namespace: Some("ns".to_owned()),
        resource_version: Some("4".to_owned()),
        ..ObjectMeta::default()
    };
    cache.apply(DeserializeGuard(Err(InvalidObject { error: "bad".to_owned(), metadata })));
    assert_eq!(cache.glance::<Named>(&key), None, "it cannot be read");
}
