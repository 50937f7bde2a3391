use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::flags::fixtures::{feature, identity, member, segments, status};
use crate::flags::fragment::fragment;
use crate::plan::{Audience, AudienceCohort, Feature};

fn of(members: impl IntoIterator<Item = (String, Value)>) -> File {
    File { members: members.into_iter().collect(), ..File::default() }
}

fn targeted(key: &str, cohorts: &[&str], served: &[u32]) -> (String, Value) {
    let audience = segments(cohorts);
    let status = status(&audience, served, 1);
    let fragment = fragment(&feature(key), &identity(key, "u"), &status, &audience);
    (fragment.key, fragment.body)
}

#[test]
fn a_flag_takes_one_line() {
    let mut file = of([
        (("b".to_owned()), member("b", "u", 1, 0).body),
        (("a".to_owned()), member("a", "u", 1, 100_000).body),
    ]);
    file.set = Some(SetMark { uid: "s".into(), generation: 3 });
    file.set_metadata([("flagSetId".to_owned(), json!("maya"))]);
    let text = compose(&file);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "\"$schema\":\"https://flagd.dev/schema/v0/flags.json\",");
    assert!(lines[3].starts_with("\"a\":{\"defaultVariant\":\"disabled\",\"metadata\":{"));
    assert!(lines[4].starts_with("\"b\":{"));
    assert_eq!(
        lines[6],
        "\"metadata\":{\"flagSetId\":\"maya\",\"sluice.dev/generation\":3,\"sluice.dev/uid\":\"s\"}"
    );
    assert!(text.ends_with("}\n"));
}

#[test]
fn an_empty_file_is_one() {
    assert_eq!(parse(&compose(&File::default())), Ok(File::default()));
}

#[test]
fn shared_conditions_become_evaluators_and_return() {
    let names = ["early-adopters", "regular", "casual"];
    let file = of((0..10).map(|n| targeted(&format!("flag-{n}"), &names, &[100_000, 500, 0])));
    let text = compose(&file);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["$evaluators"].as_object().unwrap().len(), 3);
    let condition = &value["flags"]["flag-3"]["targeting"]["if"][0];
    let name = condition["$ref"].as_str().unwrap();
    assert_eq!(
        value["$evaluators"][name],
        json!({"some": [{"merge": [{"var": "segment"}]}, {"===": [{"var": ""}, "early-adopters"]}]})
    );
    assert_eq!(parse(&text), Ok(file));
}

fn conditioned(key: &str, matches: &Value, bucket_by: &str) -> (String, Value) {
    let audience = Audience {
        name: "users-0123456789".to_owned(),
        cohorts: vec![AudienceCohort {
            name: "some".to_owned(),
            matches: serde_json::from_value(matches.clone()).unwrap(),
        }],
    };
    let feature = Feature { bucket_by: bucket_by.to_owned(), ..feature(key) };
    let fragment = fragment(&feature, &identity(key, "u"), &status(&audience, &[500], 1), &audience);
    (fragment.key, fragment.body)
}

#[test]
fn parts_of_different_conditions_and_guards_of_buckets_are_shared_too() {
    let of_team = |n: usize| {
        let matches = json!({
            "attributes": {"team": format!("team-{n}")},
            "expressions": [{"key": "appVersion", "operator": "SemVer", "values": [">= 5.2.0 < 6.0.0"]}],
        });
        conditioned(&format!("flag-{n}"), &matches, "org.id")
    };
    let file = of((0..10).map(of_team));
    let text = compose(&file);
    let value: Value = serde_json::from_str(&text).unwrap();
    let evaluators = value["$evaluators"].as_object().unwrap();
    assert!(evaluators.values().all(|rule| !rule.to_string().contains("$ref")), "none refers to another");
    let texts: Vec<String> = evaluators.values().map(Value::to_string).collect();
    assert!(
        texts.iter().any(|text| text.contains("sem_ver")) && texts.iter().any(|text| text.contains("org.id"))
    );
    assert_eq!(
        text.matches("sem_ver").count(),
        texts.concat().matches("sem_ver").count(),
        "once in the file"
    );
    let branches = value["flags"]["flag-3"]["targeting"]["if"].as_array().unwrap();
    assert!(branches[0]["and"].as_array().unwrap().iter().any(|part| part.get("$ref").is_some()));
    assert!(branches[1]["if"][0].get("$ref").is_some());
    assert_eq!(parse(&text), Ok(file));
}

/// Eight rollouts with sixteen cohorts each, no two of which ask the same, with the conditions that take the most bytes.
#[test]
fn a_hundred_and_twenty_eight_cohorts_of_the_longest_conditions_fit() {
    let cohort = |flag: usize, cohort: usize| {
        AudienceCohort {
        name: format!("cohort-{cohort}"),
        matches: serde_json::from_value(json!({
            "expressions": [
                {"key": format!("device.app{cohort}.version"), "operator": "SemVer", "values": [format!("!= {flag}.{cohort}.0")]},
                {"key": format!("device.os{cohort}.version"), "operator": "SemVer", "values": [format!("~ {flag}.{cohort}")]},
                {"key": "account.age", "operator": "Gte", "values": [(flag * 16 + cohort).to_string()]},
                {"key": "email", "operator": "NotEndsWith", "values": [format!("@{flag}.example"), format!("@{cohort}.example")]},
            ],
        }))
        .unwrap(),
    }
    };
    let flag = |flag: usize| {
        let audience = Audience {
            name: format!("users-{flag}"),
            cohorts: (0..16).map(|index| cohort(flag, index)).collect(),
        };
        let feature = Feature { bucket_by: "account.id".to_owned(), ..feature(&format!("flag-{flag}")) };
        let status = status(&audience, &[500; 16], 1);
        let fragment = fragment(&feature, &identity("r", "u"), &status, &audience);
        (fragment.key, fragment.body)
    };
    let file = of((0..8).map(flag));
    let text = compose(&file);
    assert!(text.len() < crate::flags::RAISE_LIMIT / 2, "{} bytes", text.len());
    assert_eq!(parse(&text), Ok(file));
}

#[test]
fn a_condition_used_once_stays_in_its_flag() {
    let text = compose(&of([targeted("a", &["early"], &[0])]));
    assert!(!text.contains("$evaluators"), "{text}");
}

#[test]
fn a_condition_that_a_reader_may_garble_is_not_shared() {
    for cohort in [
        "a-cohort-of-$&-and-$1",
        "one-of-the-früh-adopters",
        "one-with-\\d-and-more",
        "one-with-\"quotes\"-inside",
    ] {
        let file = of((0..10).map(|n| targeted(&format!("flag-{n}"), &[cohort], &[0])));
        let text = compose(&file);
        assert!(!text.contains("$evaluators"), "{cohort}");
        assert_eq!(parse(&text), Ok(file));
    }
}

#[test]
fn a_static_flag_is_no_member_even_when_copied_from_a_file() {
    let body = member("a", "u", 1, 0).body;
    let mut file = File::default();
    file.set_statics([("a".to_owned(), body)]);
    let read = parse(&compose(&file)).unwrap();
    assert!(read.members.is_empty());
    assert_eq!(read, file);
    assert_eq!(read.statics["a"]["metadata"]["rollout"], json!("maya/a"));
}

#[test]
fn a_foreign_reference_is_replaced_in_targeting_only() {
    let text = json!({
        "$evaluators": {"old": {"==": [{"var": "a"}, 1]}},
        "flags": {"x": {
            "state": "ENABLED", "variants": {"v": {"$ref": "old"}},
            "targeting": {"if": [{"$ref": "old"}, "v", null]},
        }},
    });
    let file = parse(&text.to_string()).unwrap();
    assert_eq!(file.statics["x"]["targeting"]["if"][0], json!({"==": [{"var": "a"}, 1]}));
    assert_eq!(file.statics["x"]["variants"]["v"], json!({"$ref": "old"}));
}

#[test]
fn what_is_no_file_is_an_error() {
    let flag = |targeting: Value| json!({"flags": {"x": {"targeting": targeting}}}).to_string();
    let unknown = |name: &str| FileError::UnknownEvaluator { flag: "x".into(), name: name.into() };
    assert!(matches!(parse("{"), Err(FileError::NotJson(_))));
    assert!(matches!(parse("[]"), Err(FileError::Malformed(_))));
    assert!(matches!(parse("{\"flags\":[]}"), Err(FileError::Malformed(_))));
    assert!(matches!(parse("{\"flags\":{\"a\":1}}"), Err(FileError::Malformed(_))));
    assert_eq!(parse(&flag(json!({"$ref": "no"}))), Err(unknown("no")));
    let nested = json!({
        "$evaluators": {"a": {"!": [{"$ref": "b"}]}, "b": {"!": [true]}},
        "flags": {"x": {"targeting": {"$ref": "a"}}},
    });
    assert_eq!(parse(&nested.to_string()), Err(unknown("a")));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_undoes_composing(
        members in prop::collection::btree_map("[a-z.]{1,8}", (0usize..3, any::<[u32; 3]>(), any_json()), 0..8),
        statics in prop::collection::btree_map("[A-Z]{1,8}", any_json(), 0..4),
        metadata in prop::collection::btree_map("[a-z/.]{1,12}", any::<f64>(), 0..3),
        generation in prop::option::of(any::<i64>()),
    ) {
        let sets: [&[&str]; 3] = [&["a", "b", "c"], &["b", "c", "d"], &["a"]];
        let mut file = of(members.into_iter().map(|(key, (set, served, value))| {
            let (key, mut body) = targeted(&key, sets[set], &served.map(|n| n % 100_001));
            body["variants"]["enabled"] = value;
            (key, body)
        }));
        file.set_statics(statics.into_iter().map(|(key, value)| {
            (key, json!({"state": "ENABLED", "variants": {"v": value}}))
        }));
        file.set_metadata(metadata.into_iter().map(|(key, value)| (key, Value::from(value))));
        file.set = generation.map(|generation| SetMark { uid: "s".into(), generation });
        let text = compose(&file);
        let read = parse(&text).unwrap();
        prop_assert_eq!(&read, &file);
        prop_assert_eq!(compose(&read), text);
    }
}

#[test]
fn of_a_text_that_nobody_vouches_for_no_more_is_read_than_it_may_take() {
    let rule = json!({"in": [{"var": "segment"}, vec!["a"; 500]]});
    let flags: Map<String, Value> = (0..200)
        .map(|index| (format!("f{index}"), json!({"targeting": {"if": [{"$ref": "c"}, "on", null]}})))
        .collect();
    let text = json!({"$evaluators": {"c": rule}, "flags": flags}).to_string();
    let written = bounds::json::decoded(text.as_bytes());
    assert!(parse(&text).is_ok(), "what was signed is read whatever it takes");
    assert!(parse_within(&text, written + 200 * 100_000).is_ok());
    assert_eq!(
        parse_within(&text, written + 10_000),
        Err(FileError::TooHeavy),
        "its references stand for more"
    );
    assert_eq!(parse_within(&text, written - 1), Err(FileError::TooHeavy));
}
