use super::*;
use crate::flags::engine;
use rstest::rstest;

fn expression(operator: Operator, values: &[&str]) -> Expression {
    Expression {
        key: "a".into(),
        operator,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

fn holds(operator: Operator, values: &[&str], context: &Value) -> bool {
    let matches = Match {
        expressions: vec![expression(operator, values)],
        ..Match::default()
    };
    let context = engine::context(context.as_object().unwrap());
    engine::holds("flag", &condition(&matches), &context).unwrap()
}

#[rstest]
#[case(Operator::In, &["A", "B"], &[json!("A"), json!("B")], &[json!("C"), json!(null), json!("")])]
#[case(Operator::In, &["5"], &[json!("5"), json!(5)], &[json!(6), json!("05"), json!(5.5), json!(null), json!(true)])]
#[case(Operator::In, &["1"], &[json!("1"), json!(1)], &[json!(true), json!(0)])]
#[case(Operator::In, &["true"], &[json!("true"), json!(true)], &[json!("True"), json!(1), json!(false)])]
#[case(Operator::In, &[""], &[json!("")], &[json!(0), json!(false), json!(null)])]
#[case(Operator::NotIn, &["A", "0"], &[json!("C"), json!(null), json!(7)], &[json!("A"), json!(0)])]
#[case(Operator::Exists, &[], &[json!(""), json!(0), json!(false), json!({"b": 1}), json!([])], &[json!(null)])]
#[case(Operator::DoesNotExist, &[], &[json!(null)], &[json!(""), json!(0), json!(false), json!({"b": 1})])]
#[case(Operator::StartsWith, &["ab", "x"], &[json!("abc"), json!("xyz")], &[json!("b"), json!(null), json!(5)])]
#[case(Operator::EndsWith, &[".org"], &[json!("a.org")], &[json!("a.orgs"), json!(null), json!(5)])]
#[case(Operator::Gt, &["-1"], &[json!(0), json!(1), json!(5.5)], &[json!(-1), json!(null), json!("5"), json!("abc"), json!(""), json!(true), json!(false), json!({"b": 1}), json!({}), json!([5]), json!([])])]
#[case(Operator::Gte, &["18"], &[json!(18), json!(18.0), json!(19)], &[json!(17.9), json!(null), json!("20")])]
#[case(Operator::Lt, &["5"], &[json!(4), json!(-3.5), json!(0), json!(1)], &[json!(5), json!(null), json!("4"), json!(""), json!(true), json!(false), json!({"b": 1})])]
#[case(Operator::Lte, &["2.5"], &[json!(2.5), json!(0)], &[json!(2.6), json!(null), json!("1")])]
#[case(Operator::SemVer, &[">= 2.1.0"], &[json!("2.1.0"), json!("3.0.0")], &[json!("2.0.9"), json!("2.1.0-rc.1"), json!(null), json!(3), json!("new")])]
#[case(Operator::SemVer, &["!=2.1.0"], &[json!("2.1.1")], &[json!("2.1.0"), json!(null), json!("x")])]
#[case(Operator::SemVer, &["^ 2.1.0"], &[json!("2.0.0")], &[json!("3.0.0")])]
fn accepts_and_refuses(
    #[case] operator: Operator,
    #[case] values: &[&str],
    #[case] accepted: &[Value],
    #[case] refused: &[Value],
) {
    assert_eq!(validate(&expression(operator, values)), Ok(()));
    for attribute in accepted {
        assert!(
            holds(operator, values, &json!({"a": attribute})),
            "{attribute} should pass"
        );
    }
    for attribute in refused {
        assert!(
            !holds(operator, values, &json!({"a": attribute})),
            "{attribute} should not pass"
        );
    }
    assert_eq!(
        holds(operator, values, &json!({})),
        matches!(operator, Operator::NotIn | Operator::DoesNotExist),
        "absent"
    );
}

#[rstest]
#[case(Operator::Gt, &["abc"], "no number")]
#[case(Operator::Gt, &["NaN"], "no number")]
#[case(Operator::Gt, &["9007199254740993"], "no number")]
#[case(Operator::Lt, &["1", "2"], "exactly one")]
#[case(Operator::In, &[], "at least one")]
#[case(Operator::Exists, &["x"], "no values")]
#[case(Operator::SemVer, &["2.1.0"], "no comparison")]
#[case(Operator::SemVer, &[">= 2.1"], "no comparison")]
#[case(Operator::SemVer, &["== 2.1.0"], "no comparison")]
#[case(Operator::SemVer, &[">= 2.01.0"], "no comparison")]
#[case(Operator::SemVer, &[">= 2.1.0-"], "no comparison")]
#[case(Operator::SemVer, &[">= 2.1.0+build"], "no comparison")]
#[case(Operator::StartsWith, &[""], "Exists")]
fn validation_names_the_fault(
    #[case] operator: Operator,
    #[case] values: &[&str],
    #[case] part: &str,
) {
    let error = validate(&expression(operator, values)).unwrap_err();
    assert!(error.contains(part), "{error}");
}

#[test]
fn an_empty_match_is_everyone() {
    assert_eq!(condition(&Match::default()), json!(true));
}

#[test]
fn all_conditions_must_hold() {
    let matches = Match {
        attributes: [
            ("a".to_owned(), "A".to_owned()),
            ("b".to_owned(), "B".to_owned()),
        ]
        .into(),
        expressions: vec![expression(Operator::StartsWith, &["A"])],
    };
    assert_eq!(
        condition(&matches),
        json!({"and": [
            {"===": [{"var": "a"}, "A"]},
            {"===": [{"var": "b"}, "B"]},
            {"starts_with": [{"var": "a"}, "A"]},
        ]})
    );
}

#[test]
fn dots_lead_into_structures() {
    let matches = Match {
        attributes: [("device.os".to_owned(), "linux".to_owned())].into(),
        expressions: Vec::new(),
    };
    let holds = |context: Value| {
        engine::holds(
            "flag",
            &condition(&matches),
            &engine::context(context.as_object().unwrap()),
        )
        .unwrap()
    };
    assert!(holds(json!({"device": {"os": "linux"}})));
    assert!(!holds(json!({"device": "linux"})));
    assert!(!holds(json!({})));
}

#[test]
fn values_that_validation_refuses_match_nobody() {
    assert!(!holds(Operator::Gt, &["abc"], &json!({"a": 5})));
    assert!(!holds(Operator::SemVer, &["2"], &json!({"a": "2.0.0"})));
}
