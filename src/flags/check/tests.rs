use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::api::featurerollout::VariantNames;
use crate::api::{Expression, Match, MatchGroup, Operator};
use crate::flags::fixtures::{everyone, feature, identity, segments, status};
use crate::flags::fragment::fragment;
use crate::plan::AudienceCohort;

fn render(feature: &Feature, audience: &Audience, served: &[u32]) -> (FeatureRolloutStatus, Fragment) {
    let status = status(audience, served, 1);
    let fragment = fragment(feature, &identity("r", "u"), &status, audience);
    (status, fragment)
}

#[rstest]
#[case(everyone(), &[500])]
#[case(everyone(), &[1])]
#[case(everyone(), &[99_999])]
#[case(segments(&["a", "b", "c"]), &[100_000, 25_000, 0])]
fn what_is_rendered_passes(#[case] audience: Audience, #[case] served: &[u32]) {
    for variant_names in [VariantNames::Plain, VariantNames::WithCohort] {
        let feature = Feature { variant_names, ..feature("x") };
        let (status, fragment) = render(&feature, &audience, served);
        assert_eq!(self_check(&feature, &status, &audience, &fragment), Ok(()));
    }
}

/// Apps label their metrics by it: another cohort's errors would be this one's.
#[rstest]
#[case("/targeting/if/1", json!("enabled@b"))]
#[case("/targeting/if/1", json!("enabled"))]
#[case("/targeting/if/3/if/2", json!("disabled@a"))]
#[case("/targeting/if/6", json!("disabled@c"))]
#[case("/variants/enabled@b", json!(false))]
fn another_cohorts_name_is_caught(#[case] place: &str, #[case] slip: Value) {
    let feature = Feature { variant_names: VariantNames::WithCohort, ..feature("x") };
    let audience = segments(&["a", "b", "c"]);
    let (status, mut fragment) = render(&feature, &audience, &[100_000, 25_000, 0]);
    *fragment.body.pointer_mut(place).unwrap() = slip;
    assert!(self_check(&feature, &status, &audience, &fragment).is_err());
}

#[rstest]
#[case("/targeting/if/3/if/1/fractional/1/1", json!(25_001))]
#[case("/targeting/if/3/if/1/fractional/0/cat/0", json!("another"))]
#[case("/targeting/if/3/if/2", json!("enabled"))]
#[case("/targeting/if/1", json!("disabled"))]
#[case("/targeting/if/5", json!("enabled"))]
#[case("/targeting/if/6", json!("enabled"))]
#[case("/targeting/if/0", json!(true))]
#[case("/targeting/if/2", json!(false))]
#[case("/targeting/if/1", json!("unheard-of"))]
#[case("/targeting/if/1", json!(null))]
#[case("/defaultVariant", json!("enabled"))]
#[case("/state", json!("DISABLED"))]
#[case("/variants/enabled", json!(false))]
#[case("/metadata/revision", json!(2))]
#[case("/metadata/served", json!("a=100%,b=25%,c=1%"))]
fn a_slip_of_the_renderer_is_caught(#[case] place: &str, #[case] slip: Value) {
    let feature = feature("x");
    let audience = segments(&["a", "b", "c"]);
    let (status, mut fragment) = render(&feature, &audience, &[100_000, 25_000, 0]);
    *fragment.body.pointer_mut(place).unwrap() = slip;
    assert!(self_check(&feature, &status, &audience, &fragment).is_err());
}

#[test]
fn one_bucket_too_many_is_named() {
    let feature = feature("x");
    let audience = everyone();
    let (_, fragment) = render(&feature, &audience, &[501]);
    let mut status = status(&audience, &[500], 1);
    let error = self_check(&feature, &status, &audience, &fragment).unwrap_err();
    assert_eq!(error, CheckError::Mismatch("served percentages"));
    let mut fragment = fragment;
    fragment.body["metadata"]["served"] = json!("everyone=0.5%");
    status.revision = 1;
    let error = self_check(&feature, &status, &audience, &fragment).unwrap_err();
    assert!(
        matches!(error, CheckError::Differs { ref cohort, .. } if cohort == "cohort everyone"),
        "{error}"
    );
}

#[test]
fn a_number_is_nobodys_targeting_key_whatever_the_conditions_ask_for() {
    let audience = |matches: &str| {
        let matches = serde_saphyr::from_str(matches).unwrap();
        Audience { name: "keys".to_owned(), cohorts: vec![AudienceCohort { name: "c0".to_owned(), matches }] }
    };
    for matches in [
        "anyOf: [{attributes: {a: '1'}, expressions: [{key: targetingKey, operator: Gt, values: ['-1']}]},
                 {expressions: [{key: targetingKey, operator: Exists}]}]",
        "expressions: [{key: targetingKey, operator: Gte, values: ['0']}]",
        "expressions: [{key: targetingKey, operator: Exists}, {key: targetingKey, operator: NotIn, values: ['~']}]",
        "expressions: [{key: targetingKey, operator: DoesNotExist}]",
    ] {
        let audience = audience(matches);
        for served in [0, 1, 50_000, 100_000] {
            let (status, fragment) = render(&feature("x"), &audience, &[served]);
            assert_eq!(
                self_check(&feature("x"), &status, &audience, &fragment),
                Ok(()),
                "{matches}, {served}"
            );
        }
    }
}

fn any_expression() -> impl Strategy<Value = Expression> {
    let key = prop::sample::select(vec!["a", "b", "device.os", "org.id", "org.team.id", "targetingKey"]);
    let text = prop_oneof!["[a-c1-3]{1,2}", Just("true".to_owned()), Just("0".to_owned()), "[é🙂]"];
    let texts = prop::collection::vec(text, 1..10);
    let number = prop_oneof![
        (-3i32..4).prop_map(|n| vec![n.to_string()]),
        (-3i32..4).prop_map(|n| vec![format!("{n}.5")]),
    ];
    let version = (
        prop::sample::select(vec![">=", "<", "=", "!=", "^", "~", ">", "<="]),
        0..3,
        0..3,
        prop::sample::select(vec!["", ".1", ".0-rc.1"]),
    )
        .prop_map(|(operator, major, minor, rest)| vec![format!("{operator} {major}.{minor}{rest}")]);
    let test = prop_oneof![
        (
            prop::sample::select(vec![
                Operator::In,
                Operator::NotIn,
                Operator::StartsWith,
                Operator::NotStartsWith,
                Operator::EndsWith,
                Operator::NotEndsWith,
                Operator::Contains,
                Operator::NotContains,
            ]),
            texts
        ),
        (prop::sample::select(vec![Operator::Exists, Operator::DoesNotExist]), Just(Vec::new())),
        (prop::sample::select(vec![Operator::Gt, Operator::Gte, Operator::Lt, Operator::Lte]), number),
        (Just(Operator::SemVer), version),
    ];
    (key, test).prop_map(|(key, (operator, values))| Expression { key: key.to_owned(), operator, values })
}

fn any_match() -> impl Strategy<Value = Match> {
    let attributes = || prop::collection::btree_map("[ab]", "[a-c1-3]{1,2}", 0..2);
    let group = (attributes(), prop::collection::vec(any_expression(), 1..3))
        .prop_map(|(attributes, expressions)| MatchGroup { attributes, expressions });
    (attributes(), prop::collection::vec(any_expression(), 0..3), prop::collection::vec(group, 0..3))
        .prop_map(|(attributes, expressions, any_of)| Match { attributes, expressions, any_of })
}

fn any_audience() -> impl Strategy<Value = Audience> {
    prop::collection::vec(any_match(), 1..6).prop_map(|matches| Audience {
        name: "any".to_owned(),
        cohorts: matches
            .into_iter()
            .enumerate()
            .map(|(index, matches)| AudienceCohort { name: format!("c{index}"), matches })
            .collect(),
    })
}

/// Whatever an app may pass: texts, numbers, booleans and null, alone, in lists and in structures.
fn any_context() -> impl Strategy<Value = Value> {
    let scalar = || {
        prop_oneof![
            4 => "[a-c1-3]{0,2}".prop_map(Value::from),
            1 => prop::sample::select(vec!["true", "0", "é", "🙂", "a🙂", "", " 1"]).prop_map(Value::from),
            2 => (-3i32..4).prop_map(Value::from),
            2 => (-3i32..4).prop_map(|n| json!(f64::from(n) / 2.0)),
            1 => Just(json!(-0.0)),
            1 => any::<bool>().prop_map(Value::from),
            1 => Just(Value::Null),
            2 => (0..3, 0..3, 0..3).prop_map(|(a, b, c)| Value::from(format!("{a}.{b}.{c}"))),
            1 => (0..3, 0..3).prop_map(|(a, b)| Value::from(format!("v{a}.{b}"))),
            1 => (0..3, 0..3).prop_map(|(a, b)| Value::from(format!("{a}.{b}.0-rc.1+7"))),
        ]
    };
    let list = || prop::collection::vec(scalar(), 0..4).prop_map(Value::from);
    let leaf = || prop_oneof![3 => scalar(), 1 => list()];
    let object = (prop::option::of(leaf()), prop::option::of(leaf())).prop_map(|(os, id)| {
        let fields = [("os", os.clone()), ("id", id), ("team", os.map(|id| json!({"id": id})))];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(fields.collect())
    });
    let value = prop_oneof![4 => scalar(), 2 => list(), 2 => object];
    prop::collection::btree_map(prop::sample::select(vec!["a", "b", "device", "org"]), value, 0..5)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn any_percent() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(100_000), 1u32..100_000]
}

proptest! {
    #[test]
    fn any_audience_renders_to_what_status_says(
        audience in any_audience(),
        served in prop::collection::vec(any_percent(), 6),
        bucket_by in prop::sample::select(vec!["targetingKey", "org.id", "a"]),
        salt in ".{1,40}",
    ) {
        let feature = Feature { bucket_by: bucket_by.to_owned(), salt, ..feature("x") };
        let (status, fragment) = render(&feature, &audience, &served);
        prop_assert_eq!(self_check(&feature, &status, &audience, &fragment), Ok(()));
    }

    #[test]
    fn any_user_gets_what_status_says(
        audience in any_audience(),
        served in prop::collection::vec(any_percent(), 6),
        bucket_by in prop::sample::select(vec!["targetingKey", "org.id", "a"]),
        context in any_context(),
        user in prop_oneof![
            6 => "[a-zé]{0,20}".prop_map(Value::from),
            1 => (0i32..5).prop_map(|number| Value::from(number.to_string())),
            1 => Just(Value::Null),
        ],
    ) {
        let feature = Feature { bucket_by: bucket_by.to_owned(), ..feature("x") };
        let (status, fragment) = render(&feature, &audience, &served);
        let mut context = context.as_object().cloned().unwrap();
        context.insert("targetingKey".to_owned(), user);
        let cohort = model::cohort_of(&audience, &context);
        let percent = cohort.map_or(Percent::ZERO, |index| status.cohorts[index].decided());
        let rule = canonical::text(&fragment.body["targeting"]);
        let found = engine::apply("x", &rule, &engine::context(&context)).unwrap();
        match has_feature(&feature, percent, &context) {
            Some(true) => prop_assert_eq!(found.as_deref(), Some("enabled")),
            Some(false) => prop_assert_eq!(found.as_deref(), Some("disabled")),
            // A bucket of a number: either will do, but one of them it is.
            None => prop_assert!(matches!(found.as_deref(), Some("enabled" | "disabled")), "{:?}", found),
        }
    }
}
