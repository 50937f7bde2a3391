use rstest::rstest;

use super::*;
use crate::flags::fixtures::alone;

fn flag(targeting: Value) -> Value {
    json!({"state": "ENABLED", "variants": {"a": true}, "defaultVariant": "a", "targeting": targeting})
}

fn tree(depth: usize, leaf: &Value) -> Value {
    (0..depth).fold(leaf.clone(), |below, _| json!({"and": [below, below]}))
}

fn refused(flags: &[(&str, Value)]) -> BTreeMap<String, Cow<'static, str>> {
    let flags: BTreeMap<String, Value> =
        flags.iter().map(|(key, body)| ((*key).to_owned(), body.clone())).collect();
    let said = Verdict::of(&flags, &BTreeMap::new()).flags;
    let of = |key: String| said.get(&digest(&key)).map(|why| (key, why.clone()));
    flags.into_keys().filter_map(of).collect()
}

/// A tree of depth 10 took 347 MiB, and had a message of 180 KB.
#[rstest]
#[case::wrong_leaves(tree(10, &json!({"nope": 1})), "/targeting/and/0/and/0/and/0/and/0/and/0/and/0/and/0/and/0/and/0/and/0: ")]
#[case::too_large(tree(13, &json!({"nope": 1})), "has more than")]
#[case::too_deep((0..60).fold(json!(1), |below, _| json!({"!": [below]})), "nested more than")]
#[case::wide(json!({"and": vec![json!({"==": [1]}); 900]}), "/targeting/and/0/==: ")]
#[case::wide_by_itself(json!({"missing": vec![json!(1); 3000]}), "/targeting: ")]
#[case::long(json!({"if": ["x".repeat(100_000), {"nope": "y".repeat(100_000)}]}), "/targeting/if/1: ")]
#[case::only_var_fits(json!({"sem_ver": [{"cat": tree(4, &json!(1))}, ">", "1.0.0"]}), "/targeting")]
#[case::empty(json!({"and": [true, {}]}), "/targeting/and/1: ")]
fn what_is_wrong_is_said_with_its_place_in_a_few_words(#[case] targeting: Value, #[case] begin: &str) {
    let said = refused(&[("bomb", flag(targeting)), ("fine", flag(json!({"==": [{"var": "a"}, 1]})))]);
    assert_eq!(said.keys().collect::<Vec<_>>(), ["bomb"]);
    let why = &said["bomb"];
    assert!(why.len() <= bounds::LONGEST_MESSAGE && why.contains(begin), "{why}");
}

#[test]
fn all_flags_share_their_room() {
    let large = || flag(json!({"in": [{"var": "a"}, vec![json!(1); 7900]]}));
    let keys: Vec<String> = (0..256).map(|i| format!("flag-{i:03}")).collect();
    let flags: Vec<(&str, Value)> = keys.iter().map(|key| (key.as_str(), large())).collect();
    let said = refused(&flags);
    let fitting = bounds::FLAGS.values / 7909;
    assert_eq!(said.len(), 256 - fitting);
    let first = &said[format!("flag-{fitting:03}").as_str()];
    assert!(first.contains("with the flags before it"), "{first}");
}

/// What was wrong with 256 flags took 150 KB for as long as the FlagSet was there.
#[test]
fn of_hundreds_of_flags_that_are_wrong_it_is_kept_in_full_what_is_wrong_with_a_few() {
    let keys: Vec<String> = (0..256).map(|i| format!("flag-{i:03}")).collect();
    let wrong = || flag(json!({"if": ["x".repeat(5_000), {"nope": "y".repeat(5_000)}]}));
    let said = refused(&keys.iter().map(|key| (key.as_str(), wrong())).collect::<Vec<_>>());
    assert_eq!(said.len(), 256);
    assert!(said.values().take(SPELT_OUT).all(|why| why.contains("/targeting/if/1")), "{said:?}");
    let kept: usize = said.values().map(|why| if let Cow::Owned(why) = why { why.len() } else { 0 }).sum();
    assert!(kept <= SPELT_OUT * bounds::LONGEST_MESSAGE, "{kept}");
}

/// It was found anew at each write of the file.
#[test]
fn a_verdict_that_is_known_is_not_found_again() {
    let statics: BTreeMap<String, Value> =
        [("a".to_owned(), flag(json!({}))), ("b".to_owned(), flag(json!({})))].into();
    let verdict = Verdict { flags: [(digest("b"), "because".into())].into(), ..Verdict::default() };
    let set = SetInfo { statics, verdict: Some(Arc::new(verdict)), ..SetInfo::default() };
    let merged = alone(&set);
    assert_eq!(merged.refused, [("spec.flags[b]".to_owned(), "because".to_owned())]);
    assert!(merged.file.statics.keys().eq(["a"]));
}

/// No schema bounds the keys of a map, and what was wrong with four of 300 KB was kept and told whole.
#[test]
fn a_key_of_any_length_is_refused_and_told_in_short_and_not_kept() {
    let long = "k".repeat(300_000);
    let set = SetInfo {
        statics: [(long.clone(), json!({"state": "X"})), ("fine".to_owned(), flag(json!({})))].into(),
        metadata: [(long.clone(), json!(1)), ("team".to_owned(), json!("web"))].into(),
        ..SetInfo::default()
    };
    assert_eq!(Verdict::of(&set.statics, &set.metadata), Verdict::default());
    let merged = alone(&set);
    assert!(merged.file.statics.keys().eq(["fine"]));
    assert_eq!(merged.refused.len(), 2);
    for (path, why) in merged.refused {
        assert!(path.len() < 300 && path.contains("kkk…]") && why == LONG_KEY, "{} bytes: {why}", path.len());
    }
}
