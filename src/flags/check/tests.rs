use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::api::{Expression, Match, Operator};
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
    let feature = feature("x");
    let (status, fragment) = render(&feature, &audience, served);
    assert_eq!(self_check(&feature, &status, &audience, &fragment), Ok(()));
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

fn any_expression() -> impl Strategy<Value = Expression> {
    let key = prop::sample::select(vec!["a", "b", "device.os", "org.id"]);
    let text = "[a-c1-3]{1,2}";
    let texts = prop::collection::vec(text, 1..4);
    let number = (-3i32..4).prop_map(|n| vec![n.to_string()]);
    let version = (prop::sample::select(vec![">=", "<", "=", "!=", "^", "~", ">", "<="]), 0..3, 0..3)
        .prop_map(|(operator, major, minor)| vec![format!("{operator} {major}.{minor}.1")]);
    let test = prop_oneof![
        (
            prop::sample::select(vec![
                Operator::In,
                Operator::NotIn,
                Operator::StartsWith,
                Operator::EndsWith
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
    let attributes = prop::collection::btree_map("[ab]", "[a-c1-3]{1,2}", 0..2);
    (attributes, prop::collection::vec(any_expression(), 0..3))
        .prop_map(|(attributes, expressions)| Match { attributes, expressions })
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

fn any_context() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        "[a-c1-3]{0,2}".prop_map(Value::from),
        (-3i32..4).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (0..3, 0..3, 0..3).prop_map(|(a, b, c)| Value::from(format!("{a}.{b}.{c}"))),
        "[a-c1-3]{1,2}".prop_map(|text| json!({"os": text, "id": text})),
        (-2i32..2).prop_map(|number| json!({"os": number, "id": "1.1.1"})),
    ];
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
        context in any_context(),
        user in prop::option::of("[a-zé]{0,20}"),
    ) {
        let feature = feature("x");
        let (status, fragment) = render(&feature, &audience, &served);
        let mut context = context.as_object().cloned().unwrap();
        if let Some(user) = user {
            context.insert("targetingKey".to_owned(), Value::from(user));
        }
        let cohort = model::cohort_of(&audience, &context);
        let percent = cohort.map_or(Percent::ZERO, |index| status.cohorts[index].decided());
        let expected = if has_feature(&feature, percent, &context).unwrap() { "enabled" } else { "disabled" };
        let rule = canonical::text(&fragment.body["targeting"]);
        let found = engine::apply("x", &rule, &engine::context(&context)).unwrap();
        prop_assert_eq!(found.as_deref(), Some(expected));
    }
}
