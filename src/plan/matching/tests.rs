use rstest::rstest;
use serde_json::json;

use super::*;

fn expression(key: &str, operator: Operator, values: &[&str]) -> Expression {
    Expression { key: key.into(), operator, values: values.iter().map(|value| (*value).to_owned()).collect() }
}

#[rstest]
#[case(Operator::Gt, &["abc"], "no number")]
#[case(Operator::Gt, &["NaN"], "no number")]
#[case(Operator::Gt, &["9007199254740993"], "no number")]
#[case(Operator::Lt, &["1", "2"], "exactly one")]
#[case(Operator::In, &[], "at least one")]
#[case(Operator::Exists, &["x"], "no values")]
#[case(Operator::SemVer, &["2.1.0"], "no comparison")]
#[case(Operator::SemVer, &["== 2.1.0"], "no comparison")]
#[case(Operator::SemVer, &[">= 2.01.0"], "no comparison")]
#[case(Operator::SemVer, &[">= 2.1.0-"], "no comparison")]
#[case(Operator::SemVer, &[">= 2.1-rc.1"], "no comparison")]
#[case(Operator::SemVer, &[">= 1000000000.0.0"], "number above")]
#[case(Operator::StartsWith, &[""], "Exists")]
#[case(Operator::NotContains, &["x", ""], "Exists")]
fn validation_names_the_fault(#[case] operator: Operator, #[case] values: &[&str], #[case] part: &str) {
    let error = validate(&expression("a", operator, values)).unwrap_err();
    assert!(error.contains(part), "{error}");
}

#[rstest]
#[case("", "needs a name")]
#[case(".a", "both of its sides")]
#[case("a.", "both of its sides")]
#[case("a..b", "both of its sides")]
#[case("__proto__", "another name")]
#[case("a.__proto__.b", "another name")]
#[case("$flagd.flagKey", "flagd's own")]
#[case("groups.0", "first element of a list")]
fn a_name_that_evaluators_read_differently_is_refused(#[case] key: &str, #[case] part: &str) {
    let error = validate(&expression(key, Operator::Exists, &[])).unwrap_err();
    assert!(error.contains(part), "{error}");
}

#[rstest]
fn other_names_are_good(
    #[values("a", "0", "a.b.c", "a.1", "constructor", "https://id", "a b", "é", "$x", "proto")] key: &str,
) {
    assert_eq!(check_key(key), Ok(()));
}

#[test]
fn an_empty_targeting_key_is_none() {
    for operator in [Operator::In, Operator::NotIn] {
        assert!(
            validate(&expression(TARGETING_KEY, operator, &["", "x"])).unwrap_err().contains("DoesNotExist")
        );
        assert_eq!(validate(&expression("a", operator, &["", "x"])), Ok(()));
    }
}

#[test]
fn every_fault_of_a_match_is_named_with_its_place() {
    let matches: Match = serde_json::from_value(json!({
        "attributes": {"a..b": "x", "targetingKey": ""},
        "expressions": [{"key": "a", "operator": "Exists"}, {"key": "v", "operator": "SemVer", "values": ["2"]}],
        "anyOf": [
            {"attributes": {"a": "x"}},
            {},
            {"attributes": {"$flagd": "x"}, "expressions": [{"key": "n", "operator": "Gt", "values": ["x"]}]},
        ],
    }))
    .unwrap();
    let mut errors = Vec::new();
    check_match("spec.cohorts[1].match", &matches, &mut errors);
    let places: Vec<(&str, Option<&str>)> =
        errors.iter().map(|error| (error.path.as_str(), error.value.as_deref())).collect();
    assert_eq!(
        places,
        [
            ("spec.cohorts[1].match.attributes", Some("a..b")),
            ("spec.cohorts[1].match.attributes", Some("targetingKey")),
            ("spec.cohorts[1].match.expressions[1]", Some("v")),
            ("spec.cohorts[1].match.anyOf[1]", None),
            ("spec.cohorts[1].match.anyOf[2].attributes", Some("$flagd")),
            ("spec.cohorts[1].match.anyOf[2].expressions[0]", Some("n")),
        ]
    );
}

#[test]
fn a_name_with_a_dot_is_remarked_wherever_it_stands() {
    let cohorts: Vec<Cohort> = serde_json::from_value(json!([
        {"name": "a"},
        {"name": "b", "match": {
            "attributes": {"cloud.region": "eu", "plain": "x"},
            "expressions": [{"key": "plain", "operator": "Exists"}, {"key": "device.os.name", "operator": "Exists"}],
            "anyOf": [{"expressions": [{"key": "https://id.example/roles", "operator": "Exists"}]}],
        }},
    ]))
    .unwrap();
    let found = remarks("spec.cohorts", &cohorts);
    let paths: Vec<&str> = found.iter().map(|remark| remark.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.cohorts[1].match.attributes",
            "spec.cohorts[1].match.expressions[1].key",
            "spec.cohorts[1].match.anyOf[0].expressions[0].key",
        ]
    );
    assert!(found[0].message.contains("field \"region\" of the structured attribute \"cloud\""));
    assert!(found[1].message.contains("field \"name\" of the structured attribute \"device.os\""));
}

#[rstest]
#[case("5", Some(json!(5)))]
#[case("-5.5", Some(json!(-5.5)))]
#[case("true", Some(json!(true)))]
#[case("05", None)]
#[case("5.0", None)]
#[case("-0", None)]
#[case("-0.0", None)]
#[case("1e3", None)]
#[case("9007199254740993", None)]
#[case("null", None)]
#[case("A", None)]
fn a_literal_is_written_like_its_text(#[case] text: &str, #[case] expected: Option<Value>) {
    assert_eq!(literal(text), expected);
}
