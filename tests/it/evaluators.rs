//! The published evaluators read every condition of `tests/evaluators/conditions.json` as `docs/conditions.md` says: the same
//! file and the same users for all of them. What is expected is told by `takes_in`, which knows the
//! documentation and no flagd; what its texts mean has tests of its own beside it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value, json};
use sluice::api::featurerollout::VariantNames;
use sluice::api::status::CohortStatus;
use sluice::api::{FeatureRolloutStatus, Match, Percent, Tier};
use sluice::flags::{File, Identity, compose, evaluate, fragment, parse, self_check, takes_in};
use sluice::plan::{Audience, AudienceCohort, Feature};

use crate::support::languages::{App, Mount, java, node, python};

#[test]
fn python_reads_conditions_as_documented() {
    compare(&asked(python));
}

#[test]
fn node_reads_conditions_as_documented() {
    compare(&asked(node));
}

#[test]
fn java_reads_conditions_as_documented() {
    compare(&asked(java));
}

#[test]
fn rust_reads_conditions_as_documented() {
    compare(&|question| {
        let file = parse(&compose(&file(&question.flags))).unwrap();
        let mut answers = Vec::new();
        for key in question.flags.keys() {
            for user in &question.users {
                let answer = evaluate(&file, key, user.as_object().unwrap(), None).unwrap();
                answers.push(json!({"flag": key, "value": answer.value, "reason": answer.reason}));
            }
        }
        answers
    });
}

/// Flags of one cohort each, and users who are asked about every one of them.
struct Question {
    flags: BTreeMap<String, Flag>,
    users: Vec<Value>,
}

struct Flag {
    matches: Match,
    served: u32,
    bucket_by: &'static str,
    salt: String,
}

impl Flag {
    fn of(matches: Match) -> Flag {
        Flag { matches, served: 100_000, bucket_by: "targetingKey", salt: String::from("s") }
    }

    /// Whether the user has the feature.
    fn expected(&self, user: &Map<String, Value>) -> bool {
        takes_in(&self.matches, user) && (self.served == 100_000 || has_bucket(user, self.bucket_by))
    }
}

/// At 99.999 % everyone whose bucket can be told has the feature, but for one in 100,000, and nobody else.
fn has_bucket(user: &Map<String, Value>, attribute: &str) -> bool {
    let mut path = attribute.split('.');
    let first = path.next().and_then(|name| user.get(name));
    match path.fold(first, |value, name| value?.as_object()?.get(name)) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        _ => false,
    }
}

fn questions() -> Vec<Question> {
    let table: Value = serde_json::from_str(include_str!("../evaluators/conditions.json")).unwrap();
    let mut questions = Vec::new();
    let mut ask = |matches: Vec<Value>, users: Vec<Value>| {
        let flags = matches.into_iter().enumerate().map(|(index, matches)| {
            (format!("flag-{index:03}"), Flag::of(serde_json::from_value(matches).unwrap()))
        });
        questions.push(Question { flags: flags.collect(), users });
    };
    let list = |value: &Value| value.as_array().unwrap().clone();
    for group in list(&table["expressions"]) {
        let matches = list(&group["of"]).into_iter().map(|mut expression| {
            expression["key"] = json!("a");
            json!({"expressions": [expression]})
        });
        let users = list(&group["values"]).into_iter().map(|value| json!({"a": value})).chain([json!({})]);
        ask(matches.collect(), users.collect());
    }
    for group in list(&table["matches"]) {
        ask(list(&group["of"]), list(&group["contexts"]));
    }
    questions.push(buckets());
    questions
}

/// Who has a bucket, whatever the attribute is, with salts that need care in JSON and in a hash.
fn buckets() -> Question {
    let values = [
        json!("acme"),
        json!(""),
        json!("0"),
        json!("false"),
        json!("é🙂"),
        json!(0),
        json!(1),
        json!(-1),
        json!(5.5),
        json!(-0.0),
        json!(123_456_789),
        json!(true),
        json!(false),
        json!(null),
        json!([]),
        json!(["acme"]),
        json!([1]),
        json!([0]),
        json!({}),
        json!({"id": "acme"}),
        json!({"0": 1}),
    ];
    let flag = |bucket_by, salt: &str| Flag {
        served: 99_999,
        bucket_by,
        salt: salt.to_owned(),
        ..Flag::of(Match::default())
    };
    let mut flags = BTreeMap::new();
    for bucket_by in ["org", "org.id", "targetingKey"] {
        for salt in ["s", "a \"quoted\" salt \\ $1", "sälz🙂"] {
            flags.insert(format!("{bucket_by}-{}", salt.len()), flag(bucket_by, salt));
        }
    }
    let user = |attributes: Value| {
        let mut user = json!({"targetingKey": "u"});
        user.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        user
    };
    let mut users: Vec<Value> = Vec::new();
    for value in &values {
        users.push(user(json!({"org": value})));
        users.push(user(json!({"org": {"id": value}})));
    }
    users.extend(["u", "", "0", "é🙂"].map(|key| json!({"targetingKey": key})));
    users.push(json!({}));
    Question { flags, users }
}

/// The file with all flags of a question.
fn file(flags: &BTreeMap<String, Flag>) -> File {
    let mut file = File::default();
    for (key, flag) in flags {
        let audience = Audience {
            name: "users-0123456789".to_owned(),
            cohorts: vec![AudienceCohort { name: "some".to_owned(), matches: flag.matches.clone() }],
        };
        let status = FeatureRolloutStatus {
            cohorts: vec![CohortStatus::deciding("some", Percent::from_thousandths(flag.served).unwrap())],
            ..FeatureRolloutStatus::default()
        };
        let feature = Feature {
            key: key.clone(),
            variants: vec![("enabled".to_owned(), json!(true)), ("disabled".to_owned(), json!(false))],
            control: "disabled".to_owned(),
            treatment: "enabled".to_owned(),
            bucket_by: flag.bucket_by.to_owned(),
            salt: flag.salt.clone(),
            title: None,
            owner: None,
            tier: Tier::default(),
            variant_names: VariantNames::default(),
            announcement: None,
        };
        let identity = Identity { namespace: "n".to_owned(), name: key.clone(), uid: "u".to_owned() };
        let fragment = fragment(&feature, &identity, &status, &audience);
        self_check(&feature, &status, &audience, &fragment).unwrap_or_else(|error| panic!("{key}: {error}"));
        file.members.insert(fragment.key, fragment.body);
    }
    file
}

/// One process answers a question.
fn asked(app: fn() -> Command) -> impl Fn(&Question) -> Vec<Value> {
    move |question| {
        let mount = Mount::new();
        mount.swap(&compose(&file(&question.flags)));
        let app = App::start(app(), &mount, question.flags.keys().map(String::as_str), &question.users);
        let answers = question.flags.len() * question.users.len();
        (0..answers).map(|_| app.line()).collect()
    }
}

fn compare(answers: &dyn Fn(&Question) -> Vec<Value>) {
    let mut wrong = Vec::new();
    for question in questions() {
        let mut answers = answers(&question).into_iter();
        for (key, flag) in &question.flags {
            for user in &question.users {
                let answer = answers.next().unwrap();
                assert_eq!(answer["flag"], json!(key));
                let expected = flag.expected(user.as_object().unwrap());
                if answer["reason"] != json!("TARGETING_MATCH") || answer["value"] != json!(expected) {
                    let matches = serde_json::to_value(&flag.matches).unwrap();
                    let bucket_by = flag.bucket_by;
                    wrong.push(format!("{user} of {matches} by {bucket_by}: {answer}, not {expected}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers are not as documented:\n{}", wrong.len(), wrong.join("\n"));
}
