//! Percentages as the official engine splits users by them.

use open_feature::EvaluationContext;
use serde_json::{Map, Value, json};

use super::fixtures::{everyone, feature, identity, percent, status};
use super::fragment::fragment;
use super::{bucket, canonical, engine};
use crate::plan::Feature;

const USERS: usize = 20_000;

/// Who has the feature. The engine evaluates the rendered rule for all users in one go, since compiling it costs the most.
fn with_feature(feature: &Feature, served: u32, users: &EvaluationContext) -> Vec<bool> {
    let audience = everyone();
    let status = status(&audience, &[served], 1);
    let fragment = fragment(feature, &identity("r", "u"), &status, &audience);
    let rule =
        format!("{{\"map\":[{{\"var\":\"users\"}},{}]}}", canonical::text(&fragment.body["targeting"]));
    let answer = engine::apply(&feature.key, &rule, users).unwrap().unwrap();
    let variants: Vec<String> = serde_json::from_str(&answer).unwrap();
    variants.iter().map(|variant| *variant == feature.treatment).collect()
}

/// These users as the context of one evaluation.
fn all(users: Value) -> EvaluationContext {
    engine::context(&Map::from_iter([("users".to_owned(), users)]))
}

fn users(attribute: &str) -> EvaluationContext {
    all((0..USERS).map(|index| json!({attribute: format!("user-{index}")})).collect())
}

/// 200 percentages, the finest and the last among them.
fn percentages() -> impl Iterator<Item = u32> {
    [0, 1, 10, 100].into_iter().chain((1..=196).map(|n| n * 100_000 / 196))
}

/// How far a share may lie from what was asked, in standard deviations: one run in 300,000 goes beyond.
const DEVIATIONS: f64 = 4.5;

#[test]
fn shares_are_right_and_nobody_loses_the_feature_by_a_raise() {
    let feature = feature("dreams.advanced");
    let users = users("targetingKey");
    let buckets: Vec<u32> =
        (0..USERS).map(|index| bucket::bucket("dreams.advanced", &format!("user-{index}"))).collect();
    let mut before = vec![false; USERS];
    for served in percentages() {
        let now = with_feature(&feature, served, &users);
        assert!(before.iter().zip(&now).all(|(before, now)| now >= before), "{served}");
        // Each user by the bucket that was computed without flagd: at 0.001 % a share of 20,000 users says nothing.
        let expected: Vec<bool> = buckets.iter().map(|bucket| *bucket < served).collect();
        assert_eq!(now, expected, "{served}");
        let asked = f64::from(percent(served).thousandths()) / 100_000.0;
        let share = now.iter().filter(|has| **has).count() as f64 / USERS as f64;
        let deviation = (asked * (1.0 - asked) / USERS as f64).sqrt();
        assert!((share - asked).abs() <= DEVIATIONS * deviation, "{share} instead of {asked}");
        before = now;
    }
    assert!(before.iter().all(|has| *has));
}

#[test]
fn lowering_takes_the_last_in_first() {
    let feature = feature("x");
    let users = users("targetingKey");
    let half = with_feature(&feature, 50_000, &users);
    let quarter = with_feature(&feature, 25_000, &users);
    assert!(quarter.iter().zip(&half).all(|(quarter, half)| half >= quarter));
}

#[test]
fn one_salt_aligns_flags_and_two_do_not() {
    let users = users("targetingKey");
    let of = |key: &str, salt: &str| {
        with_feature(&Feature { salt: salt.to_owned(), ..feature(key) }, 50_000, &users)
    };
    let shared = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    assert_eq!(shared(&of("a", "layer"), &of("b", "layer")), USERS);
    let different = shared(&of("a", "a"), &of("b", "b"));
    assert!(different.abs_diff(USERS / 2) < USERS / 50, "{different}");
}

#[test]
fn the_bucketing_attribute_decides() {
    let feature = Feature { bucket_by: "org.id".to_owned(), ..feature("x") };
    let users: Value = (0..100)
        .map(|user| json!({"targetingKey": format!("user-{user}"), "org": {"id": format!("org-{}", user % 2)}}))
        .collect();
    let served = bucket::bucket("x", "org-0").min(bucket::bucket("x", "org-1")) + 1;
    let has = with_feature(&feature, served, &all(users));
    assert_eq!(has.iter().filter(|has| **has).count(), 50);
    assert!(has.chunks(2).all(|pair| pair == &has[..2]));
}

#[test]
fn the_users_at_the_edge_of_a_percentage_are_told_apart() {
    let feature = feature("x");
    for served in [1, 2, 10, 99, 100, 101, 500, 12_500, 99_998, 99_999] {
        let edge = [served - 1, served];
        let users: Value = edge
            .iter()
            .map(|wanted| json!({"targetingKey": bucket::user_in("x", *wanted).unwrap()}))
            .collect();
        assert_eq!(with_feature(&feature, served, &all(users)), [true, false], "{served}");
    }
}

#[test]
fn a_user_without_the_attribute_gets_control() {
    let users = all(json!([{}, {"targetingKey": ""}, {"targetingKey": null}]));
    assert_eq!(with_feature(&feature("x"), 99_999, &users), [false; 3]);
    assert_eq!(with_feature(&feature("x"), 100_000, &users), [true; 3]);
}
