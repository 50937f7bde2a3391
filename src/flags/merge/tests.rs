use serde_json::json;

use super::*;
use crate::api::status::HIGHEST_REVISION;
use crate::flags::file::compose;
use crate::flags::fixtures::member;
use crate::flags::fragment::fragment;

pub(super) fn put(fragment: Fragment) -> Candidate {
    Candidate::Put(fragment)
}

/// A file that holds these rollouts' flags.
pub(super) fn file(fragments: impl IntoIterator<Item = Fragment>) -> File {
    File { members: fragments.into_iter().map(|f| (f.key, f.body)).collect(), ..File::default() }
}

pub(super) fn living(rollouts: &[(&str, &str)]) -> BTreeSet<Living> {
    let living = rollouts.iter().map(|(key, uid)| Living {
        name: (*key).to_owned(),
        uid: (*uid).to_owned(),
        key: (*key).to_owned(),
    });
    living.collect()
}

pub(super) fn set(generation: i64) -> SetInfo {
    SetInfo { uid: "set".to_owned(), generation, ..SetInfo::default() }
}

pub(super) fn flag(value: i64) -> Value {
    json!({"state": "ENABLED", "variants": {"v": value}, "defaultVariant": "v"})
}

/// Another rollout's fragment for the key.
fn other(key: &str, rollout: &str, uid: &str, revision: i64) -> Fragment {
    use crate::flags::fixtures::{everyone, feature, identity, status};
    let audience = everyone();
    let status = status(&audience, &[0], revision);
    fragment(&feature(key), &identity(rollout, uid), &status, &audience)
}

pub(super) fn run<'a>(live: &'a Live, candidates: &'a [Candidate]) -> Merge<'a> {
    Merge { live, last_good: None, at_control: None, set: None, candidates, living: None }
}

#[test]
fn a_first_file_is_written() {
    let merged = merge(&run(&Live::Missing, &[put(member("a", "u", 1, 0))]));
    assert_eq!(merged.outcomes, [Outcome::Written]);
    assert_eq!(merged.file.live("a").unwrap().revision, 1);
    assert_eq!(merged.text, compose(&merged.file));
    assert_eq!((merged.set, merged.orphans), (SetOutcome::Absent, None));
}

#[test]
fn revisions_go_up_only() {
    let live = Live::Trusted(file([member("a", "u", 5, 500)]));
    for (revision, served, outcome) in [
        (4, 900, Outcome::Stale { live: 5 }),
        (5, 500, Outcome::Unchanged),
        (5, 900, Outcome::Written),
        (6, 0, Outcome::Written),
    ] {
        let merged = merge(&run(&live, &[put(member("a", "u", revision, served))]));
        assert_eq!(merged.outcomes, [outcome], "{revision}");
        assert_eq!(merged.file.live("a").unwrap().revision, revision.max(5));
    }
}

#[test]
fn revisions_of_an_edited_file_do_not_count() {
    let edited = file([member("a", "u", 999, 100_000), member("gone", "g", 1, 100_000)]);
    let candidates = [put(member("a", "u", 5, 500))];
    let live = Live::Untrusted(Some(edited));
    let good = file([member("gone", "g", 1, 500), member("a", "u", 7, 500)]);
    let input = Merge { last_good: Some(&good), ..run(&live, &candidates) };
    let merged = merge(&input);
    assert_eq!(merged.outcomes, [Outcome::Written]);
    assert_eq!(merged.file.live("a").unwrap().revision, 5);
    assert_eq!(merged.file.members["gone"], good.members["gone"], "the remembered one, not the edited one");
    let mut more = good.clone();
    more.members.remove("gone");
    let merged = merge(&Merge { last_good: Some(&more), ..run(&live, &candidates) });
    assert!(!merged.file.members.contains_key("gone"), "nobody remembers it");
    let merged = merge(&run(&Live::Untrusted(None), &candidates));
    assert_eq!(merged.file.members.len(), 1);
}

#[test]
fn what_nobody_vouches_for_is_at_control_and_nothing_can_be_gone_on_from_it() {
    let mut edited = file([
        member("a", "u", i64::MAX - 1, 100_000),
        member("gone", "g", HIGHEST_REVISION, 100_000),
        member("lost", "l", 3, 100_000),
        other("taken", "invented", "i", 9),
    ]);
    edited
        .members
        .insert("broken".to_owned(), json!({"metadata": {"managedBy": "sluice.dev"}, "variants": 5}));
    // As whoever turns control and treatment round would have it.
    let lost = edited.members.get_mut("lost").unwrap();
    lost["defaultVariant"] = json!("enabled");
    edited.statics.insert("static".to_owned(), flag(1));
    let live = Live::Untrusted(Some(edited));
    let candidates = [put(member("a", "u", 5, 500)), put(member("taken", "t", 2, 500))];
    let living = living(&[("a", "u"), ("lost", "l"), ("taken", "t")]);
    let at_control = BTreeMap::from([("lost".to_owned(), member("lost", "l", 3, 0).body)]);
    let info = set(1);
    let input = Merge {
        at_control: Some(&at_control),
        set: Some(&info),
        living: Some(&living),
        ..run(&live, &candidates)
    };
    let merged = merge(&input);
    assert_eq!(merged.outcomes, [Outcome::Written, Outcome::Written], "no invented flag is in the way");
    assert_eq!(merged.file.live("a").unwrap().revision, 5);
    assert_eq!(merged.file.members["lost"], at_control["lost"], "its rollout says what control is");
    let gone = &merged.file.members["gone"];
    let said = merged.file.live("gone").unwrap();
    assert_eq!(gone["targeting"], json!({}), "everybody gets control");
    assert_eq!((said.uid.as_str(), said.revision, said.attempt), ("g", 0, 0));
    assert!(said.served.is_empty() && said.audience.is_empty() && said.pending.is_empty());
    assert_eq!(merged.orphans.as_ref().unwrap().len(), 1, "it can be pruned");
    assert!(!merged.file.members.contains_key("broken"), "flagd would refuse the file");
    assert!(merged.file.statics.is_empty(), "the set says which there are");
    let again = merge(&Merge { live: &Live::Trusted(merged.file.clone()), ..input });
    assert_eq!(again.text, merged.text);

    let without_set = merge(&Merge { set: None, ..input });
    assert!(without_set.file.statics.contains_key("static"), "nobody is left who could say");
}

#[test]
fn a_revision_that_no_reader_of_json_can_tell_from_another_is_not_read() {
    for (revision, is_read) in
        [(-1, false), (0, true), (HIGHEST_REVISION, true), (HIGHEST_REVISION + 1, false), (i64::MAX, false)]
    {
        let file = file([member("a", "u", revision, 500)]);
        assert_eq!(file.live("a").is_some(), is_read, "{revision}");
    }
}

#[test]
fn a_deleted_file_keeps_its_orphans() {
    let good = file([member("gone", "g", 3, 500)]);
    let candidates = [put(member("a", "u", 1, 0))];
    let living = living(&[("a", "u")]);
    let merged =
        merge(&Merge { last_good: Some(&good), living: Some(&living), ..run(&Live::Missing, &candidates) });
    assert_eq!(merged.file.members.len(), 2);
    let orphan = Orphan { key: "gone".into(), rollout: "gone".into(), uid: "g".into() };
    assert_eq!(merged.orphans, Some(vec![orphan]));
}

#[test]
fn an_emergency_takes_orphans_to_control_and_nothing_brings_them_back() {
    let held = file([member("a", "u", 4, 500), member("gone", "g", 3, 100_000), member("off", "o", 2, 0)]);
    let alive = living(&[("a", "u")]);
    let calm = set(1);
    let emergency = SetInfo { emergency: true, ..set(2) };
    let with = |live: &Live, set: &SetInfo, living: Option<&BTreeSet<Living>>| {
        merge(&Merge { set: Some(set), living, ..run(live, &[]) })
    };
    let live = Live::Trusted(held.clone());
    let unknown = with(&live, &emergency, None);
    assert_eq!(unknown.file.members, held.members, "who is not known yet may live all the same");

    let lowered = with(&live, &emergency, Some(&alive));
    let gone = lowered.file.live("gone").unwrap();
    assert_eq!((gone.revision, gone.served[0].1.is_zero()), (4, true));
    assert_eq!(lowered.file.members["a"], held.members["a"], "its rollout sees to it");
    assert_eq!(lowered.file.members["off"], held.members["off"], "nothing to do");
    assert_eq!(lowered.orphans.as_ref().map(Vec::len), Some(2), "still orphans");

    let lowered = Live::Trusted(lowered.file);
    let lifted = with(&lowered, &calm, Some(&alive));
    assert!(lifted.file.live("gone").unwrap().served[0].1.is_zero());
    let again = with(&lowered, &emergency, Some(&alive));
    assert_eq!(again.file.live("gone").unwrap().revision, 4, "once");
    // A process that still knows its rollout as living comes too late with what that decided before.
    let stale = [put(member("gone", "g", 3, 100_000))];
    let merged = merge(&run(&lowered, &stale));
    assert_eq!(merged.outcomes, [Outcome::Stale { live: 4 }]);
}

#[test]
fn neighbours_stay_without_being_candidates() {
    let live = Live::Trusted(file([member("a", "u", 1, 500), member("b", "v", 9, 500)]));
    let merged = merge(&run(&live, &[put(member("a", "u", 2, 0))]));
    assert_eq!(merged.file.live("b").unwrap().revision, 9);
}

#[test]
fn a_reborn_rollout_takes_its_orphan_and_nobody_else_does() {
    let live = Live::Trusted(file([member("a", "old", 5, 500)]));
    let alive = living(&[("a", "new"), ("b", "b")]);
    let with = |fragment: Fragment, alive: &BTreeSet<Living>| {
        let candidates = [put(fragment)];
        merge(&Merge { living: Some(alive), ..run(&live, &candidates) }).outcomes.remove(0)
    };
    assert_eq!(with(member("a", "new", 6, 500), &alive), Outcome::Written);
    assert_eq!(with(member("a", "new", 5, 500), &alive), Outcome::Stale { live: 5 });
    let conflict = |orphan| Outcome::KeyConflict { rollout: "a".into(), uid: "old".into(), orphan };
    assert_eq!(with(other("a", "b", "b", 9), &alive), conflict(true));
    let alive = living(&[("a", "old"), ("b", "b")]);
    assert_eq!(with(other("a", "b", "b", 9), &alive), conflict(false));
    assert_eq!(with(member("a", "older", 9, 500), &alive), conflict(false), "its own name, but alive");
}

#[test]
fn of_two_new_ones_with_one_key_the_first_wins() {
    let candidates = [put(other("k", "a", "ua", 1)), put(other("k", "b", "ub", 1))];
    let merged = merge(&run(&Live::Missing, &candidates));
    assert_eq!(
        merged.outcomes,
        [Outcome::Written, Outcome::KeyConflict { rollout: "a".into(), uid: "ua".into(), orphan: false }]
    );
}

#[test]
fn prune_takes_orphans_only_and_frees_their_keys() {
    let live = Live::Trusted(file([member("a", "old", 5, 500), member("b", "b", 5, 500)]));
    let alive = living(&[("b", "b"), ("c", "c")]);
    let set = SetInfo { prune: ["a", "b", "x"].map(str::to_owned).into(), ..set(1) };
    let candidates = [put(other("a", "c", "c", 1))];
    let input = Merge { set: Some(&set), living: Some(&alive), ..run(&live, &candidates) };
    let merged = merge(&input);
    assert_eq!(merged.pruned, ["a"]);
    assert_eq!(merged.outcomes, [Outcome::Written]);
    assert_eq!(merged.orphans, Some(vec![]));
    assert!(merged.file.members.contains_key("b"));
    let merged = merge(&Merge { living: None, candidates: &[], ..input });
    assert_eq!(merged.file.members.len(), 2, "not while the living are unknown");
}

#[test]
fn a_rollout_removes_its_own_flag_only() {
    let live = Live::Trusted(file([member("a", "u", 5, 500)]));
    for (uid, revision, outcome, left) in [
        ("u", 5, Outcome::Removed, 0),
        ("u", 4, Outcome::Stale { live: 5 }, 1),
        ("x", 9, Outcome::Unchanged, 1),
    ] {
        let candidates = [Candidate::Remove { key: "a".into(), uid: uid.into(), revision }];
        let merged = merge(&run(&live, &candidates));
        assert_eq!((merged.outcomes, merged.file.members.len()), (vec![outcome], left));
    }
}

#[test]
fn the_set_goes_forward_only() {
    let mut old = file([]);
    old.statics.insert("s".to_owned(), flag(1));
    old.set = Some(SetMark { uid: "set".into(), generation: 5 });
    let live = Live::Trusted(old);
    let with = |uid: &str, generation| {
        let set = SetInfo { uid: uid.into(), statics: [("s".to_owned(), flag(2))].into(), ..set(generation) };
        let merged = merge(&Merge { set: Some(&set), ..run(&live, &[]) });
        (merged.set, merged.file.statics["s"]["variants"]["v"].clone())
    };
    assert_eq!(with("set", 4), (SetOutcome::Stale { live: 5 }, json!(1)));
    assert_eq!(with("set", 5), (SetOutcome::Applied, json!(2)));
    assert_eq!(with("reborn", 1), (SetOutcome::Applied, json!(2)));
    let merged = merge(&run(&live, &[]));
    assert_eq!(merged.file.statics["s"], flag(1), "without a set its part stays");
}

#[test]
fn a_static_flag_that_would_harm_is_refused() {
    let set = SetInfo {
        statics: [
            ("a", flag(1)),
            ("bad", json!({"state": "ON", "variants": {"v": 1}})),
            ("default", json!({"state": "ENABLED", "variants": {"v": 1}, "defaultVariant": "w"})),
            ("good", flag(1)),
            (
                "ref",
                json!({"state": "ENABLED", "variants": {"v": 1}, "targeting": {"if": [{"$ref": "x"}, "v"]}}),
            ),
        ]
        .map(|(key, body)| (key.to_owned(), body))
        .into(),
        metadata: [("list", json!([])), ("sluice.dev/uid", json!("x")), ("team", json!("maya"))]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
        ..set(1)
    };
    let candidates = [put(member("a", "u", 1, 0))];
    let merged = merge(&Merge { set: Some(&set), ..run(&Live::Missing, &candidates) });
    let refused: Vec<&str> = merged.refused.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        refused,
        [
            "spec.flags[a]",
            "spec.flags[bad]",
            "spec.flags[default]",
            "spec.flags[ref]",
            "spec.metadata[list]",
            "spec.metadata[sluice.dev/uid]"
        ]
    );
    assert_eq!(merged.file.statics.keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(merged.file.metadata.keys().collect::<Vec<_>>(), ["team"]);
}

/// They get into the status of the FlagSet.
#[test]
fn what_somebody_wrote_into_a_file_is_no_orphan_with_names_of_any_length() {
    let mut edited = file([member("a", "u", 1, 0), member("b", "u", 1, 0), member("c", "u", 1, 0)]);
    let long = "R".repeat(200_000);
    edited.members.get_mut("a").unwrap()["metadata"]["rollout"] = json!(format!("maya/{long}"));
    edited.members.get_mut("b").unwrap()["metadata"]["uid"] = json!(long);
    let body = edited.members["c"].clone();
    edited.members.insert(long.clone(), body);
    let (live, set, living) = (Live::Untrusted(Some(edited)), set(1), living(&[]));
    let input = Merge { set: Some(&set), living: Some(&living), ..run(&live, &[]) };
    let merged = merge(&input);
    let orphans = merged.orphans.clone().unwrap();
    assert_eq!(orphans.iter().map(|orphan| orphan.key.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(merged.file.members.keys().collect::<Vec<_>>(), ["a", "b", "c"], "apps read them on");
    assert!(compose(&merged.file).len() < 10_000);
}
