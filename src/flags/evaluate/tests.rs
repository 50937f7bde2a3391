use rstest::rstest;
use serde_json::json;

use super::*;
use crate::flags::fixtures::{feature, identity, segments, status};
use crate::flags::fragment::fragment;

fn file() -> (File, Audience) {
    let audience = segments(&["early", "regular", "late"]);
    let status = status(&audience, &[100_000, 50_000, 0], 1);
    let fragment = fragment(&feature("x"), &identity("x", "u"), &status, &audience);
    let mut file = File::default();
    file.members.insert(fragment.key, fragment.body);
    file.set_statics(
        [
            ("static", json!({"state": "ENABLED", "variants": {"a": {"n": 1}}, "defaultVariant": "a"})),
            ("empty", json!({"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a", "targeting": {}})),
            ("null", json!({"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a", "targeting": {"if": [false, "a", null]}})),
            ("code", json!({"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": null})),
            ("off", json!({"state": "DISABLED", "variants": {"a": 1}, "defaultVariant": "a"})),
            ("bool", json!({"state": "ENABLED", "variants": {"true": 1, "false": 0}, "targeting": {"==": [{"var": "n"}, 1]}})),
            ("wrong", json!({"state": "ENABLED", "variants": {"a": 1}, "targeting": {"if": [true, "b"]}})),
            ("broken", json!({"state": "ENABLED", "variants": {"a": 1}, "targeting": {"<": [{"var": "n"}, "x"]}})),
        ]
        .map(|(key, body)| (key.to_owned(), body)),
    );
    (file, audience)
}

fn of(key: &str, context: &Value) -> Result<Evaluation, EvaluateError> {
    let (file, audience) = file();
    evaluate(&file, key, context.as_object().unwrap(), Some(&audience))
}

#[rstest]
#[case("x", json!({"segment": "early"}), json!(true), Some("enabled"), Some("early"), Reason::TargetingMatch)]
#[case("x", json!({"segment": "late", "targetingKey": "u"}), json!(false), Some("disabled"), Some("late"), Reason::TargetingMatch)]
#[case("x", json!({"segment": "regular"}), json!(false), Some("disabled"), Some("regular"), Reason::TargetingMatch)]
#[case("x", json!({}), json!(false), Some("disabled"), None, Reason::TargetingMatch)]
#[case("static", json!({}), json!({"n": 1}), Some("a"), None, Reason::Static)]
#[case("empty", json!({}), json!(1), Some("a"), None, Reason::Static)]
#[case("null", json!({}), json!(1), Some("a"), None, Reason::Default)]
#[case("code", json!({}), json!(null), None, None, Reason::Default)]
#[case("off", json!({}), json!(null), None, None, Reason::Disabled)]
#[case("bool", json!({"n": 1}), json!(1), Some("true"), None, Reason::TargetingMatch)]
fn says_what_a_user_gets(
    #[case] key: &str,
    #[case] context: Value,
    #[case] value: Value,
    #[case] variant: Option<&str>,
    #[case] cohort: Option<&str>,
    #[case] reason: Reason,
) {
    assert_eq!(
        of(key, &context).unwrap(),
        Evaluation {
            flag: key.to_owned(),
            value,
            variant: variant.map(str::to_owned),
            cohort: cohort.map(str::to_owned),
            reason,
        }
    );
}

#[test]
fn a_flag_without_value_is_an_error() {
    assert_eq!(of("y", &json!({})), Err(EvaluateError::FlagNotFound("y".into())));
    assert!(matches!(of("wrong", &json!({})), Err(EvaluateError::UnknownVariant { .. })));
    assert!(matches!(of("broken", &json!({"n": {}})), Err(EvaluateError::Engine { .. })));
}

#[test]
fn the_answer_is_the_command_line_s_contract() {
    let answer = of("x", &json!({"segment": "early"})).unwrap();
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({"flag": "x", "value": true, "variant": "enabled", "cohort": "early", "reason": "TARGETING_MATCH"})
    );
}

#[test]
fn each_hash_splits_by_its_own_users_in_the_same_shares() {
    let (file, audience) = file();
    let users: Vec<Value> =
        (0..4_000).map(|n| json!({"segment": "regular", "targetingKey": format!("user-{n}")})).collect();
    let has = |hash: Hash| -> Vec<bool> {
        let of =
            |user: &Value| evaluate_as(hash, &file, "x", user.as_object().unwrap(), Some(&audience)).unwrap();
        users.iter().map(|user| of(user).value == json!(true)).collect()
    };
    assert_eq!(has(Hash::Text), has(Hash::Ascii));
    let answers = [Hash::Cbor, Hash::Text, Hash::Percentage].map(has);
    for (n, one) in answers.iter().enumerate() {
        let share = one.iter().filter(|has| **has).count();
        assert!(share.abs_diff(2_000) < 150, "{share}");
        for other in &answers[..n] {
            let alike = one.iter().zip(other).filter(|(one, other)| one == other).count();
            assert!((1_500..3_500).contains(&alike), "{alike}");
        }
    }
    // The last user of the percentage is told the same by the engine and without it.
    let own: Vec<bool> = users
        .iter()
        .map(|user| {
            bucket::has_feature(Hash::Cbor, "x", user["targetingKey"].as_str().unwrap(), 50_000).unwrap()
        })
        .collect();
    assert_eq!(own, answers[0]);
}

#[test]
fn a_split_of_another_form_is_told_by_the_engine_only() {
    let mut file = File::default();
    let targeting = json!({"fractional": [["a", 1], ["b", 1]]});
    let body = json!({"state": "ENABLED", "variants": {"a": 1, "b": 2}, "defaultVariant": "a", "targeting": targeting});
    file.set_statics([("s".to_owned(), body)]);
    let context = json!({"targetingKey": "u"});
    let of = |hash| evaluate_as(hash, &file, "s", context.as_object().unwrap(), None);
    assert!(of(Hash::Cbor).is_ok());
    assert_eq!(of(Hash::Text), Err(EvaluateError::Split("s".into())));
    let beyond_ascii = |hash| bucket::has_feature(hash, "x", "é", 50_000).is_some();
    assert!(beyond_ascii(Hash::Text) && !beyond_ascii(Hash::Ascii));
}
