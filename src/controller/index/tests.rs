use rstest::rstest;

use super::*;

/// A member of FlagSet `app` with the flag key `k`, created in this second.
fn member(name: &str, second: i64) -> FeatureRollout {
    let spec = "{feature: {key: k}, flagSetRef: {name: app}, cohorts: [{name: all}], phases: []}";
    let mut rollout = FeatureRollout::new(name, serde_saphyr::from_str(spec).unwrap());
    rollout.metadata.namespace = Some("maya".to_owned());
    rollout.metadata.uid = Some(format!("uid-{name}"));
    rollout.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(second).unwrap()));
    rollout
}

fn waiting(name: &str, names: &[String]) -> FeatureRollout {
    let mut rollout = member(name, 1);
    let dependency = |name: &String| serde_json::from_value(serde_json::json!({"name": name, "phase": "ga"}));
    rollout.spec.depends_on = names.iter().map(|name| dependency(name).unwrap()).collect();
    rollout
}

/// Each edit had everyone who waits for it looked at again, and whoever waits for them.
#[test]
fn only_those_are_looked_at_again_whom_a_circle_concerns() {
    let index = Index::default();
    let name = |i: usize| format!("r{i:03}");
    let names = |keys: BTreeSet<ObjectKey>| keys.into_iter().map(|key| key.1).collect::<Vec<_>>();
    for i in 0..700 {
        let concerned = index.apply(&waiting(&name(i), &(i + 1..i + 17).map(name).collect::<Vec<_>>()));
        assert!(concerned.is_empty(), "nobody waits in a circle yet");
    }
    let key = |name: &str| ("maya".to_owned(), name.to_owned());
    assert!(names(index.apply(&waiting("r690", &[name(691), name(692)]))).is_empty());
    assert_eq!(names(index.apply(&waiting("r002", &[name(0)]))), ["r000", "r001", "r002"]);
    assert_eq!(index.circle(&key("r001")).unwrap(), ["r001", "r002", "r000", "r001"]);
    assert_eq!(index.circle(&key("r003")), None);
    assert_eq!(names(index.apply(&waiting("r002", &[]))), ["r000", "r001", "r002"], "it opens");
    assert_eq!(index.circle(&key("r000")), None);
    assert_eq!(index.dependents(&key("r000")), Vec::new());
}

#[rstest]
#[case::older_by_age_and_name(("a", 1), ("b", 2), "a")]
#[case::older_though_the_name_is_later(("z", 1), ("b", 2), "z")]
#[case::of_one_age(("z", 1), ("b", 1), "b")]
fn the_older_rollout_keeps_a_key_and_of_two_of_one_age_the_first_by_name(
    #[case] one: (&str, i64),
    #[case] other: (&str, i64),
    #[case] expected: &str,
) {
    let set = SetId { namespace: "maya".to_owned(), name: "app".to_owned(), shared: true };
    for order in [[one, other], [other, one]] {
        let index = Index::default();
        for (name, second) in order {
            index.apply(&member(name, second));
        }
        assert_eq!(index.holder(&set, "k").map(|key| key.1).as_deref(), Some(expected));
        index.remove(&("maya".to_owned(), expected.to_owned()));
        assert!(index.holder(&set, "k").is_some_and(|key| key.1 != expected), "the next one gets it");
    }
}

/// 3,500 rollouts that each waited for the sixteen before had everybody's decisions wait for seconds.
#[test]
fn a_search_for_a_circle_goes_only_so_far() {
    let ring = |length: usize| {
        let index = Index::default();
        for i in 0..length {
            index.apply(&waiting(&format!("r{i:05}"), &[format!("r{:05}", (i + 1) % length)]));
        }
        index.circle(&("maya".to_owned(), "r00007".to_owned())).map(|circle| circle.len())
    };
    assert_eq!(ring(1_000), Some(1_001));
    assert_eq!(ring(MOST_EDGES + 2), None);
}

#[test]
fn whoever_there_is_no_room_for_waits_for_nobody_until_there_is() {
    let index = Index::default();
    let key = |name: &str| ("maya".to_owned(), name.to_owned());
    let one = waiting("one", &["two".to_owned(), "three".to_owned(), "two".to_owned()]);
    index.apply(&one);
    assert_eq!(index.dependents(&key("two")), [key("one")]);
    index.let_wait_for_nobody(&key("one"));
    assert_eq!((index.dependents(&key("two")), index.dependents(&key("three"))), (vec![], vec![]));
    assert!(index.knows(&key("one")));
    index.apply_idle(&one);
    assert_eq!(index.dependents(&key("two")), []);
    index.apply(&one);
    assert_eq!(index.dependents(&key("three")), [key("one")]);
    index.remove(&key("one"));
    assert!(index.census().iter().all(|(_, entries)| *entries == 0), "{:?}", index.census());
}
