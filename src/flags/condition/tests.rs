use rstest::rstest;
use serde_json::Map;

use super::*;
use crate::flags::{engine, takes_in};
use crate::plan::matching::validate;

fn expression(operator: Operator, values: &[&str]) -> Expression {
    Expression { key: "a".into(), operator, values: values.iter().map(|value| (*value).to_owned()).collect() }
}

/// What the engine makes of a condition for each context. One evaluation for all, since compiling a rule costs the most.
fn answers(matches: &Match, contexts: &[Value]) -> Vec<bool> {
    let rule = json!({"map": [{"var": "users"}, {"if": [condition(matches), true, false]}]}).to_string();
    let root: Map<String, Value> = [("users".to_owned(), json!(contexts))].into_iter().collect();
    let answer = engine::apply("flag", &rule, &engine::context(&root)).unwrap().unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn holds(matches: &Match, context: &Value) -> bool {
    answers(matches, std::slice::from_ref(context)).remove(0)
}

/// The table that the published evaluators are asked with, too: matches, and contexts to try each of them with.
fn table() -> Vec<(Vec<Match>, Vec<Value>)> {
    let table: Value =
        serde_json::from_str(include_str!("../../../tests/evaluators/conditions.json")).unwrap();
    let lists = |place: &str, of: &str| -> Vec<(Vec<Value>, Vec<Value>)> {
        let groups = table[place].as_array().unwrap();
        groups
            .iter()
            .map(|g| (g["of"].as_array().unwrap().clone(), g[of].as_array().unwrap().clone()))
            .collect()
    };
    let mut found = Vec::new();
    for (expressions, values) in lists("expressions", "values") {
        let matches = expressions.into_iter().map(|mut expression| {
            expression["key"] = json!("a");
            serde_json::from_value(json!({"expressions": [expression]})).unwrap()
        });
        let contexts = values.into_iter().map(|value| json!({"a": value})).chain([json!({})]);
        found.push((matches.collect(), contexts.collect()));
    }
    for (matches, contexts) in lists("matches", "contexts") {
        found.push((matches.into_iter().map(|m| serde_json::from_value(m).unwrap()).collect(), contexts));
    }
    found
}

#[test]
fn the_engine_reads_every_condition_of_the_table_as_documented() {
    let mut wrong = Vec::new();
    for (matches, contexts) in table() {
        for matches in matches {
            let mut errors = Vec::new();
            crate::plan::matching::check_match("match", &matches, &mut errors);
            assert!(errors.is_empty(), "{matches:?}: {errors:?}");
            for (context, found) in contexts.iter().zip(answers(&matches, &contexts)) {
                if takes_in(&matches, context.as_object().unwrap()) != found {
                    wrong.push(format!(
                        "{found} for {context} of {}",
                        serde_json::to_value(&matches).unwrap()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[rstest]
#[case(Operator::In, &["A", "B"], &[json!("A"), json!("B"), json!(["x", "B"])], &[json!("C"), json!(null), json!(""), json!([]), json!({"A": 1})])]
#[case(Operator::In, &["5"], &[json!("5"), json!(5), json!(5.0), json!([5])], &[json!(6), json!("05"), json!(5.5), json!(null), json!(true)])]
#[case(Operator::In, &["1"], &[json!("1"), json!(1)], &[json!(true), json!(0), json!([true])])]
#[case(Operator::In, &["0"], &[json!("0"), json!(0), json!(-0.0)], &[json!(false), json!(""), json!(null)])]
#[case(Operator::In, &["true"], &[json!("true"), json!(true), json!([1, true])], &[json!("True"), json!(1), json!(false), json!([1])])]
#[case(Operator::In, &["A", "B", "C", "D", "E", "F", "G", "5"], &[json!("G"), json!(5), json!(["H", "A"])], &[json!(0), json!("H"), json!([0]), json!(false)])]
#[case(Operator::In, &[""], &[json!(""), json!(["", "x"])], &[json!(0), json!(false), json!(null), json!([])])]
#[case(Operator::NotIn, &["A", "0"], &[json!("C"), json!(null), json!(7), json!([]), json!(["C"]), json!({})], &[json!("A"), json!(0), json!(["C", "A"])])]
#[case(Operator::Exists, &[], &[json!(""), json!(0), json!(false), json!({"b": 1}), json!([])], &[json!(null)])]
#[case(Operator::DoesNotExist, &[], &[json!(null)], &[json!(""), json!(0), json!(false), json!({"b": 1})])]
#[case(Operator::StartsWith, &["ab", "x"], &[json!("abc"), json!("xyz"), json!(["b", "abc"])], &[json!("b"), json!(null), json!(5), json!("a"), json!(["b"])])]
#[case(Operator::NotStartsWith, &["ab", "x"], &[json!("b"), json!(null), json!(5), json!([])], &[json!("abc"), json!(["b", "xyz"])])]
#[case(Operator::EndsWith, &[".org"], &[json!("a.org"), json!(["a.com", "a.org"])], &[json!("a.orgs"), json!(null), json!(5), json!("org")])]
#[case(Operator::NotEndsWith, &[".org"], &[json!("a.orgs"), json!(null), json!(["a.com"])], &[json!("a.org"), json!(["a.com", "a.org"])])]
#[case(Operator::Contains, &["an", "5"], &[json!("banana"), json!("2.5"), json!(["x", "can"])], &[json!("bn"), json!(5), json!(null), json!(["x", 5])])]
#[case(Operator::NotContains, &["an"], &[json!("bn"), json!(5), json!(null), json!(["x"])], &[json!("banana"), json!(["x", "can"])])]
#[case(Operator::Gt, &["-1"], &[json!(0), json!(1), json!(5.5), json!([-5, 5]), json!(["x", 5])], &[json!(-1), json!(null), json!("5"), json!("abc"), json!(""), json!(true), json!(false), json!({"b": 1}), json!({}), json!(["5"]), json!([])])]
#[case(Operator::Gte, &["18"], &[json!(18), json!(18.0), json!(19)], &[json!(17.9), json!(null), json!("20")])]
#[case(Operator::Lt, &["5"], &[json!(4), json!(-3.5), json!(0), json!(1)], &[json!(5), json!(null), json!("4"), json!(""), json!(true), json!(false), json!({"b": 1})])]
#[case(Operator::Lte, &["2.5"], &[json!(2.5), json!(0)], &[json!(2.6), json!(null), json!("1")])]
#[case(Operator::SemVer, &[">= 2.1.0"], &[json!("2.1.0"), json!("3.0.0"), json!("v2.1.0"), json!("2.1"), json!("3"), json!("2.1.0+124")], &[json!("2.0.9"), json!("2.1.0-rc.1"), json!(null), json!(3), json!("new"), json!(["3.0.0"]), json!(" 3.0.0"), json!("V3.0.0"), json!("3.1-rc")])]
#[case(Operator::SemVer, &["!=2.1.0"], &[json!("2.1.1"), json!("2.1.0-rc.1")], &[json!("2.1.0"), json!("2.1"), json!("v2.1.0+7"), json!(null), json!("x")])]
#[case(Operator::SemVer, &["> 2.1"], &[json!("2.1.1")], &[json!("2.1.0+7"), json!("2.1")])]
#[case(Operator::SemVer, &["^ 2.1.0"], &[json!("2.0.0"), json!("2.0.0-rc.1")], &[json!("3.0.0"), json!("3.0.0-rc.1")])]
#[case(Operator::SemVer, &[">= 5.2.0 < 6.0.0"], &[json!("5.2.0"), json!("5.9"), json!("6.0.0-rc.1")], &[json!("6.0.0"), json!("5.1.9"), json!("6")])]
fn accepts_and_refuses(
    #[case] operator: Operator,
    #[case] values: &[&str],
    #[case] accepted: &[Value],
    #[case] refused: &[Value],
) {
    assert_eq!(validate(&expression(operator, values)), Ok(()));
    let matches = Match { expressions: vec![expression(operator, values)], ..Match::default() };
    let mut judged: Vec<(Value, bool)> = Vec::new();
    judged.extend(accepted.iter().map(|attribute| (json!({"a": attribute}), true)));
    judged.extend(refused.iter().map(|attribute| (json!({"a": attribute}), false)));
    let none_is_enough = matches!(
        operator,
        Operator::NotIn
            | Operator::DoesNotExist
            | Operator::NotStartsWith
            | Operator::NotEndsWith
            | Operator::NotContains
    );
    judged.push((json!({}), none_is_enough));
    for (context, expected) in judged {
        assert_eq!(holds(&matches, &context), expected, "the engine for {context}");
        assert_eq!(takes_in(&matches, context.as_object().unwrap()), expected, "the meaning for {context}");
    }
}

#[test]
fn an_empty_match_is_everyone() {
    assert_eq!(condition(&Match::default()), json!(true));
}

#[test]
fn all_conditions_must_hold_and_one_of_the_groups() {
    let matches: Match = serde_json::from_value(json!({
        "attributes": {"a": "A"},
        "expressions": [{"key": "n", "operator": "Exists"}],
        "anyOf": [{"attributes": {"b": "B"}}, {"attributes": {"c": "C"}, "expressions": [{"key": "d", "operator": "Exists"}]}],
    }))
    .unwrap();
    for (context, expected) in [
        (json!({"a": "A", "n": 1, "b": "B"}), true),
        (json!({"a": "A", "n": 1, "c": "C", "d": 1}), true),
        (json!({"a": "A", "n": 1, "c": "C"}), false),
        (json!({"a": "A", "n": 1}), false),
        (json!({"a": "A", "b": "B"}), false),
        (json!({"n": 1, "b": "B"}), false),
    ] {
        assert_eq!(holds(&matches, &context), expected, "{context}");
        assert_eq!(takes_in(&matches, context.as_object().unwrap()), expected, "{context}");
    }
}

#[test]
fn a_lone_text_takes_few_bytes() {
    let matches = Match { attributes: [("segment".to_owned(), "A".to_owned())].into(), ..Match::default() };
    assert_eq!(
        condition(&matches),
        json!({"some": [{"merge": [{"var": "segment"}]}, {"===": [{"var": ""}, "A"]}]})
    );
}

#[test]
fn what_guards_several_conditions_is_said_once() {
    let os =
        |operator, values: &[&str]| Expression { key: "device.os".into(), ..expression(operator, values) };
    let matches = Match {
        expressions: vec![os(Operator::Exists, &[]), os(Operator::In, &["linux"])],
        ..Match::default()
    };
    assert_eq!(
        condition(&matches),
        json!({"and": [
            {"!!": [{"var": "device"}]},
            {"===": [{"var": "device.0"}, null]},
            {"!==": [{"var": "device.os"}, null]},
            {"some": [{"merge": [{"var": "device.os"}]}, {"===": [{"var": ""}, "linux"]}]},
        ]})
    );
}

#[test]
fn values_that_validation_refuses_match_nobody() {
    for (operator, values, attribute) in [
        (Operator::Gt, ["abc"], json!(5)),
        (Operator::SemVer, ["2"], json!("2.0.0")),
        (Operator::SemVer, [">= x"], json!("2.0.0")),
    ] {
        let matches = Match { expressions: vec![expression(operator, &values)], ..Match::default() };
        assert!(!holds(&matches, &json!({"a": attribute})));
    }
}

/// Every operator with what makes most of it, and the longest ways to an attribute.
#[rstest]
#[case::everyone(json!({}))]
#[case::attributes(json!({"attributes": {"a": "1", "b.c.d": "true", "\u{1}\"": "\u{2}\\"}}))]
#[case::deep(json!({"attributes": {(vec!["a"; 200].join(".")): "x"}}))]
#[case::not_deep(json!({"expressions": [{"key": vec!["a"; 128].join("."), "operator": "DoesNotExist"}]}))]
#[case::numbers(json!({"expressions": [{"key": "a", "operator": "NotIn", "values": ["0", "1", "true", "false", "2", "0"]}]}))]
#[case::many(json!({"expressions": [{"key": "a", "operator": "In", "values": (0..64).map(|i| i.to_string()).collect::<Vec<_>>()}]}))]
#[case::begins(json!({"expressions": [{"key": "a.b", "operator": "NotStartsWith", "values": vec!["😀"; 64]}]}))]
#[case::ends(json!({"expressions": [{"key": "a", "operator": "EndsWith", "values": vec!["x"; 64]}]}))]
#[case::contains(json!({"expressions": [{"key": "a", "operator": "Contains", "values": vec!["\""; 64]}]}))]
#[case::compared(json!({"expressions": [{"key": "a", "operator": "Gte", "values": ["2.5"]}]}))]
#[case::version(json!({"expressions": [{"key": "a", "operator": "SemVer", "values": [">= 1 < 2"]}]}))]
#[case::versions(json!({"expressions": [
    {"key": "a.b", "operator": "SemVer", "values": [(1..40).map(|i| format!("!={i} ")).collect::<String>()]},
    {"key": "a.b", "operator": "SemVer", "values": [format!("~1.2.3-{}", "a".repeat(240))]},
]}))]
#[case::groups(json!({"attributes": {"a": "b"}, "anyOf": [{"attributes": {"a": "c"}}, {"attributes": {"d": "0"}}]}))]
fn no_condition_is_larger_than_was_told(#[case] value: serde_json::Value) {
    let matches: Match = serde_json::from_value(value).unwrap();
    let rendered = condition(&matches).to_string().len();
    let told = crate::plan::size::of_match(&matches);
    assert!(rendered <= told, "{rendered} bytes, and {told} were told");
    assert!(told <= 32 * rendered + 4096, "{told} were told of {rendered} bytes");
}
