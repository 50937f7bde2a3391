//! Apps in Python, Node and Java, with the official providers, get what status says and keep it while percentages rise.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use sluice::api::featurerollout::VariantNames;
use sluice::api::status::CohortStatus;
use sluice::api::{Announcement, FeatureRolloutStatus, Match, Percent, Tier};
use sluice::flags::{File, Hash, Identity, compose, evaluate_as, fragment, parse, self_check};
use sluice::plan::{Audience, AudienceCohort, Feature};

use crate::support::languages::{App, Mount, java, node, python, python_of_nodes_generation};

const FLAG: &str = "dreams.advanced";
/// A flag whose variants name the user's cohort.
const LABELLED: &str = "whispers";
const COHORTS: [&str; 3] = ["early", "regular", "late"];
const REGULAR: usize = 2_000;

#[test]
fn python_gets_what_status_says() {
    promise(python(), Hash::Cbor);
}

/// The version of Python's provider that chooses the users that Node's does.
#[test]
fn an_older_python_gets_what_node_gets() {
    promise(python_of_nodes_generation(), Hash::Ascii);
}

#[test]
fn node_gets_what_status_says() {
    promise(node(), Hash::Ascii);
}

#[test]
fn java_gets_what_status_says() {
    promise(java(), Hash::Percentage);
}

/// Each user gets what `sluice evaluate` says for the language, shares are within two points, and nobody loses the feature
/// when the file is swapped for a higher one.
fn promise(command: Command, hash: Hash) {
    let mount = Mount::new();
    let (low, high) = (file(25_000), file(50_000));
    mount.swap(&low);
    let (users, expected) = users();
    let app = App::start(command, &mount, [FLAG, LABELLED], &users);
    let first = round(&app, &users);
    check(&users, &expected, &first, 25.0);
    assert_eq!(first, foretold(hash, &low, &users));
    mount.swap(&high);
    let second = round(&app, &users);
    check(&users, &expected, &second, 50.0);
    assert_eq!(second, foretold(hash, &high, &users));
    assert!(first.is_subset(&second), "someone lost the feature by a raise");
}

/// Who has the feature, told without the app.
fn foretold(hash: Hash, text: &str, users: &[Value]) -> BTreeSet<usize> {
    let file = parse(text).unwrap();
    let has = |user: &Value| {
        evaluate_as(hash, &file, FLAG, user.as_object().unwrap(), None).unwrap().value == json!(true)
    };
    users.iter().enumerate().filter(|(_, user)| has(user)).map(|(index, _)| index).collect()
}

/// The next answer for every user: the indices of those who have the feature.
fn round(app: &App, users: &[Value]) -> BTreeSet<usize> {
    let mut with_feature = BTreeSet::new();
    for (index, user) in users.iter().enumerate() {
        let answer = app.line();
        assert_eq!(answer["targetingKey"], user["targetingKey"], "{answer}");
        assert_eq!(answer["reason"], json!("TARGETING_MATCH"), "{user}: {answer}");
        let variant = if answer["value"] == json!(true) { "enabled" } else { "disabled" };
        assert_eq!((&answer["variant"], &answer["cohort"]), (&json!(variant), &Value::Null), "{answer}");
        if variant == "enabled" {
            with_feature.insert(index);
        }
    }
    for user in users {
        let answer = app.line();
        assert_eq!((&answer["flag"], &answer["targetingKey"]), (&json!(LABELLED), &user["targetingKey"]));
        let name = if answer["value"] == json!(true) { "enabled" } else { "disabled" };
        let segment = user["segment"].as_str().unwrap();
        let cohort = COHORTS.contains(&segment).then_some(segment);
        assert_eq!((&answer["variant"], &answer["cohort"]), (&json!(name), &json!(cohort)), "{user}");
    }
    with_feature
}

fn check(users: &[Value], expected: &[Option<bool>], with_feature: &BTreeSet<usize>, percent: f64) {
    let mut regular = 0.0;
    for (index, (user, expected)) in users.iter().zip(expected).enumerate() {
        let has = with_feature.contains(&index);
        match expected {
            Some(expected) => assert_eq!(has, *expected, "{user}"),
            None => regular += f64::from(u8::from(has)),
        }
    }
    let share = regular / REGULAR as f64 * 100.0;
    assert!((share - percent).abs() < 2.0, "{share} instead of {percent}");
}

/// Two thousand regular users, and some whom a literal or no cohort at all decides, with what these get.
fn users() -> (Vec<Value>, Vec<Option<bool>>) {
    let mut users: Vec<(Value, Option<bool>)> = (0..REGULAR)
        .map(|index| (json!({"targetingKey": format!("user-{index}"), "segment": "regular"}), None))
        .collect();
    for index in 0..20 {
        let key = format!("user-{index}");
        for (segment, has) in [("early", true), ("late", false), ("unheard-of", false)] {
            users.push((json!({"targetingKey": key, "segment": segment}), Some(has)));
        }
    }
    // 100 % and 0 % need no targeting key; in between, whoever has none gets control.
    for (segment, has) in [("early", true), ("regular", false), ("late", false)] {
        users.push((json!({"segment": segment}), Some(has)));
    }
    users.into_iter().unzip()
}

/// The file at this percentage of the regular cohort, a second flag beside it so that conditions are shared.
fn file(regular: u32) -> String {
    let segment = |name: &str| Match {
        attributes: [("segment".to_owned(), name.to_owned())].into(),
        ..Match::default()
    };
    let cohorts: Vec<(&str, u32)> = COHORTS.into_iter().zip([100_000, regular, 0]).collect();
    let audience = Audience {
        name: "users-0123456789".to_owned(),
        cohorts: cohorts
            .iter()
            .map(|(name, _)| AudienceCohort { name: (*name).to_owned(), matches: segment(name) })
            .collect(),
    };
    let status = FeatureRolloutStatus {
        revision: i64::from(regular),
        cohorts: cohorts
            .iter()
            .map(|(name, served)| CohortStatus::deciding(name, Percent::from_thousandths(*served).unwrap()))
            .collect(),
        ..FeatureRolloutStatus::default()
    };
    let mut file = File::default();
    for (key, variant_names) in [(FLAG, VariantNames::Plain), (LABELLED, VariantNames::WithCohort)] {
        let feature = Feature {
            key: key.to_owned(),
            variants: vec![("enabled".to_owned(), json!(true)), ("disabled".to_owned(), json!(false))],
            control: "disabled".to_owned(),
            treatment: "enabled".to_owned(),
            bucket_by: "targetingKey".to_owned(),
            salt: key.to_owned(),
            title: None,
            owner: None,
            tier: Tier::default(),
            variant_names,
            // A flag of objects beside it disturbs no provider.
            announcement: Some(Announcement {
                title: "Dreams is here".to_owned(),
                ..Announcement::default()
            }),
        };
        let identity =
            Identity { namespace: "maya".to_owned(), name: "dreams".to_owned(), uid: "u".to_owned() };
        let fragment = fragment(&feature, &identity, &status, &audience);
        self_check(&feature, &status, &audience, &fragment).unwrap();
        file.members.insert(fragment.key, fragment.body);
    }
    let text = compose(&file);
    assert!(text.contains("$evaluators"));
    text
}
