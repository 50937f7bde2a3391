use rstest::rstest;
use serde_json::json;

use super::*;
use Step::{Decided, Gone, SetGone, Told};

/// What happens; names without a namespace are of `maya`, and nothing is named by an empty one.
#[derive(Debug)]
enum Step {
    /// The watch tells of a rollout, which names a FlagSet and a policy.
    Told(&'static str, &'static str, &'static str),
    /// It is decided on, with the policy that its FlagSet names.
    Decided(&'static str, &'static str, &'static str, &'static str),
    /// A FlagSet has gone.
    SetGone(&'static str),
    /// A rollout has gone.
    Gone(&'static str),
}

impl Step {
    fn happens(&self, index: &Index) {
        match self {
            Told(name, set, policy) => {
                assert_eq!(index.apply(&rollout(name, set, policy)), BTreeSet::new());
            }
            Decided(name, set, policy, of_set) => {
                let of_set = Some(*of_set).filter(|of_set| !of_set.is_empty());
                index.decided_with(&rollout(name, set, policy), of_set);
            }
            SetGone(name) => {
                let (namespace, name) = key(name);
                index.set_names(&SetId { namespace, name, shared: true }, None);
            }
            Gone(name) => {
                index.remove(&key(name));
            }
        }
    }
}

fn key(name: &str) -> ObjectKey {
    let (namespace, name) = name.split_once('/').unwrap_or(("maya", name));
    (namespace.to_owned(), name.to_owned())
}

fn rollout(name: &str, set: &str, policy: &str) -> FeatureRollout {
    let mut spec = json!({"cohorts": [{"name": "all"}], "phases": []});
    for (field, name) in [("flagSetRef", set), ("policyRef", policy)] {
        if !name.is_empty() {
            spec[field] = json!({"name": name});
        }
    }
    let (namespace, name) = key(name);
    let mut rollout = FeatureRollout::new(&name, serde_json::from_value(spec).unwrap());
    rollout.metadata.namespace = Some(namespace);
    rollout
}

fn bound(index: &Index) -> String {
    let mut names: Vec<String> = index.bound_by(&key("p")).into_iter().map(|key| key.1).collect();
    names.sort_unstable();
    names.join(" ")
}

/// The policies to count again, and `all` where a rollout came or went.
fn changed(index: &Index) -> String {
    let Changed { named, rollouts } = index.take_changed();
    let named = named.into_iter().map(|(namespace, name)| format!("{namespace}/{name}"));
    named.chain(rollouts.then(|| "all".to_owned())).collect::<Vec<_>>().join(" ")
}

#[rstest]
#[case::a_rollout_names_it(vec![Told("a", "", "p")], "a", "maya/p all")]
#[case::its_flag_set_does(vec![Told("a", "app", ""), Decided("a", "app", "", "p")], "a", "maya/p")]
#[case::both_do(vec![Told("a", "app", "p"), Decided("a", "app", "p", "p")], "a", "maya/p")]
#[case::the_flag_set_of_a_member_that_is_not_decided_on(
    vec![Told("a", "app", ""), Told("b", "app", "q"), Decided("a", "app", "", "p")], "a b", "maya/p"
)]
#[case::a_member_comes(
    vec![Told("a", "app", ""), Decided("a", "app", "", "p"), Told("b", "app", "q")], "a b", "maya/p maya/q all"
)]
#[case::the_flag_set_names_another(
    vec![Told("a", "app", ""), Decided("a", "app", "", "p"), Decided("a", "app", "", "q")], "", "maya/p maya/q"
)]
#[case::the_flag_set_goes(
    vec![Told("a", "app", ""), Decided("a", "app", "", "p"), SetGone("app")], "", "maya/p"
)]
#[case::the_rollout_names_another(vec![Told("a", "", "p"), Told("a", "", "q")], "", "maya/p maya/q")]
#[case::the_rollout_is_decided_on_before_it_is_told_of(
    vec![Told("a", "", ""), Decided("a", "", "p", "")], "a", "maya/p"
)]
#[case::one_of_two_rollouts_goes(vec![Told("a", "", "p"), Told("b", "", "p"), Gone("a")], "b", "maya/p all")]
#[case::one_of_two_members_goes(
    vec![Told("a", "app", ""), Told("b", "app", ""), Decided("a", "app", "", "p"), Gone("a")], "b", "maya/p all"
)]
#[case::a_member_leaves_for_another_flag_set(
    vec![Told("a", "app", ""), Told("b", "app", ""), Decided("a", "app", "", "p"), Told("a", "lib", "")], "b", "maya/p"
)]
#[case::the_last_member_has_gone(
    vec![Told("a", "app", ""), Decided("a", "app", "", "p"), Gone("a"), Told("b", "app", "")], "", "all"
)]
#[case::a_decision_ends_after_its_rollout(
    vec![Told("a", "app", ""), Gone("a"), Decided("a", "app", "", "p")], "", ""
)]
#[case::a_rollout_has_no_flag_set(vec![Told("a", "", ""), Decided("a", "", "", "p")], "", "")]
#[case::somebody_elsewhere_names_one_of_that_name(vec![Told("b/a", "", "p")], "", "b/p all")]
#[case::what_is_named_stays_as_it_was(
    vec![Told("a", "app", "p"), Decided("a", "app", "p", "q"), Told("a", "app", "p"), Decided("a", "app", "p", "q")],
    "a",
    ""
)]
fn a_policy_binds_who_names_it_and_is_counted_again_when_that_changes(
    #[case] steps: Vec<Step>,
    #[case] binds: &str,
    #[case] counted_again: &str,
) {
    let index = Index::default();
    let mut last = String::new();
    for step in &steps {
        step.happens(&index);
        last = changed(&index);
    }
    assert_eq!((bound(&index).as_str(), last.as_str()), (binds, counted_again), "{steps:?}");
    for name in ["a", "b", "b/a"] {
        index.remove(&key(name));
    }
    assert!(index.census().iter().all(|(_, entries)| *entries == 0), "{:?}", index.census());
}

#[test]
fn an_edit_of_the_only_member_leaves_what_its_flag_set_names() {
    let index = Index::default();
    let mut one = rollout("one", "app", "");
    index.apply(&one);
    index.decided_with(&one, Some("p"));
    assert_eq!(changed(&index), "maya/p all");
    one.spec.depends_on = vec![serde_json::from_value(json!({"name": "other", "phase": "ga"})).unwrap()];
    index.apply(&one);
    assert_eq!((bound(&index).as_str(), changed(&index).as_str()), ("one", ""));
}

/// It is taken out of the index in its turn, and its policies are not to wait for that.
#[test]
fn the_policies_of_a_rollout_that_goes_are_counted_again_at_once() {
    let index = Index::default();
    let one = rollout("one", "app", "q");
    index.apply(&one);
    index.decided_with(&one, Some("p"));
    assert_eq!(changed(&index), "maya/p maya/q all");
    index.note_going(&key("one"));
    assert_eq!(changed(&index), "maya/p maya/q all");
    index.note_going(&key("nobody"));
    assert_eq!(changed(&index), "");
}
