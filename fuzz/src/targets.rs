//! Everything that reads what tenants, sources or apps wrote. None may panic, overflow its stack or take long, whatever it is
//! given; what is read and written again must stay the same.
//!
//! An input is bytes; where a reader takes several texts, a zero byte stands between them. The same functions are run for a
//! moment by `cargo test`, over what is stored in `fuzz/corpus`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sluice::api::{
    CohortSet, Decimal, Duration, FeatureRollout, FlagSet, MetricSource, MicroTime, Percent, RolloutPolicy,
};
use sluice::bounds::{Expressions, FLAG, measure};
use sluice::cli::files;
use sluice::engine::forecast::timeline;
use sluice::flags::{self, Verdict};
use sluice::notify::schedule::Schedule;
use sluice::notify::template;
use sluice::plan::version::{Version, comparisons};
use sluice::plan::{self, Refs};
use sluice::sources;

/// A target and its name.
type Target = (&'static str, fn(&[u8]));

/// The targets by name.
pub const TARGETS: [Target; 12] = [
    ("plan", plan),
    ("promql", promql),
    ("jsonpath", jsonpath),
    ("prometheus", prometheus),
    ("file", file),
    ("targeting", targeting),
    ("semver", semver),
    ("words", words),
    ("cron", cron),
    ("template", message),
    ("regex", regex),
    ("yaml", yaml),
];

/// An instant, the same for every input.
fn now() -> MicroTime {
    Timestamp::from_second(1_767_225_600).unwrap_or_default().into()
}

/// The texts of an input, as many as are asked for.
fn texts<const N: usize>(data: &[u8]) -> [String; N] {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(N, '\0').map(str::to_owned);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// JSON of an object as it is stored: its spec is valid or not, and what is valid has a plan.
fn plan(data: &[u8]) {
    let Ok(Value::Object(input)) = serde_json::from_slice(data) else { return };
    let typed = |name: &str, kind: &str| {
        json!({"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "metadata": {"name": "x", "namespace": "ns"},
            "spec": input.get(name).cloned().unwrap_or_default()})
    };
    let set: Option<FlagSet> = serde_json::from_value(typed("flagSet", "FlagSet")).ok();
    let cohorts: Option<CohortSet> = serde_json::from_value(typed("cohortSet", "CohortSet")).ok();
    let policy: Option<RolloutPolicy> = serde_json::from_value(typed("policy", "RolloutPolicy")).ok();
    if let Some(set) = &set {
        plan::check_flag_set(&set.spec, &mut Vec::new());
    }
    if let Some(cohorts) = &cohorts {
        plan::check_cohort_set(&cohorts.spec, &mut Vec::new());
    }
    if let Some(policy) = &policy {
        plan::check_policy(&policy.spec, &mut Vec::new());
    }
    let Ok(rollout) = serde_json::from_value::<FeatureRollout>(typed("rollout", "FeatureRollout")) else {
        return;
    };
    let refs = Refs { cohort_set: cohorts.as_ref(), flag_set: set.as_ref(), ..Refs::default() };
    if let Ok(plan) = plan::compile(&rollout, refs) {
        let plan = timeline::favourable(&plan, now());
        let course = timeline::timeline(&plan, now());
        assert!(course.entries.windows(2).all(|two| two[0].at <= two[1].at), "entries are in their order");
    }
}

fn query(template: &Value, argument: &str, source: &Value) -> Option<sources::Query> {
    let mut template = template.clone();
    template["sourceRef"] = json!({"name": "s"});
    template["args"] = json!([{"name": "a"}]);
    let template = serde_json::from_value(template).ok()?;
    let _problems = sources::check(&template);
    let source: MetricSource = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "MetricSource", "metadata": {"name": "s", "namespace": "system"}, "spec": source,
    }))
    .ok()?;
    let context = sources::Context {
        operator_namespace: "system",
        template_namespace: "ns",
        namespace: "ns",
        rollout: "r",
        flag: "f",
        interval: SignedDuration::from_secs(30),
    };
    let given = BTreeMap::from([("a".to_owned(), argument.to_owned())]);
    sources::prepare(&context, &template, Some(&source), &given).ok()
}

/// A query, the one that counts samples, and an argument's value. What is sent asks only for what the namespace may see.
fn promql(data: &[u8]) {
    let [text, count, argument] = texts(data);
    let source = json!({"prometheus": {"url": "http://10.9.9.9"}, "allowedNamespaces": ["ns"], "namespaceLabel": "namespace"});
    let mut template = json!({"promql": text});
    if !count.is_empty() {
        template["sampleCount"] = json!(count);
    }
    if let Some(query) = query(&template, &argument, &source) {
        let sent = query.text();
        let selects = sent.contains('{');
        assert!(!selects || sent.contains("namespace=\"ns\""), "a selector without the namespace: {sent}");
    }
}

/// A path, and an answer that it is looked for in.
fn jsonpath(data: &[u8]) {
    let [path, count, body] = texts(data);
    let mut template = json!({"jsonPath": path});
    if !count.is_empty() {
        template["sampleCount"] = json!(count);
    }
    let source = json!({"http": {"url": "http://10.9.9.9"}, "allowedNamespaces": ["ns"]});
    if let Some(query) = query(&template, "x", &source) {
        for label in [None, Some("cohort")] {
            let _readings = sources::read(&query, body.as_bytes(), label, now());
        }
    }
}

/// What a Prometheus answers, or whatever stands in its place.
fn prometheus(data: &[u8]) {
    let source = json!({"prometheus": {"url": "http://10.9.9.9"}, "allowedNamespaces": ["ns"]});
    for reducer in ["One", "Max", "Sum"] {
        if let Some(query) = query(&json!({"promql": "up", "reducer": reducer}), "x", &source) {
            for label in [None, Some("cohort")] {
                let _readings = sources::read(&query, data, label, now());
            }
        }
    }
}

/// A file as somebody may have left it: what is read of it is written in a way that is read as the same.
fn file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(read) = flags::parse(&text) else { return };
    let written = flags::compose(&read);
    if written.len() > flags::LIMIT {
        return;
    }
    match flags::parse(&written) {
        Ok(again) => assert_eq!(flags::compose(&again), written),
        // Nothing that is deeper than what is read is ever written: it is bounded before.
        Err(error) => assert!(is_deep(&text), "what was written cannot be read: {error}"),
    }
    let _audiences: Vec<String> = read.audiences().collect();
    for key in read.members.keys() {
        let _live = (read.live(key), read.rollout_of(key));
    }
}

fn is_deep(text: &str) -> bool {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    measure(&value, sluice::bounds::Limits { depth: 120, values: usize::MAX }).is_err()
}

/// A flag of a FlagSet's own, and a user: what is admitted is evaluated, and twice to the same.
fn targeting(data: &[u8]) {
    let [flag, context] = texts(data);
    let Ok(body) = serde_json::from_str::<Value>(&flag) else { return };
    let body = match body.get("variants") {
        Some(_) => body,
        None => {
            json!({"state": "ENABLED", "variants": {"a": true, "b": false}, "defaultVariant": "a", "targeting": body})
        }
    };
    let context: Map<String, Value> = serde_json::from_str(&context).unwrap_or_default();
    let verdict = Verdict::of(&BTreeMap::from([("f".to_owned(), body.clone())]), &BTreeMap::new());
    if verdict != Verdict::default() || measure(&body, FLAG).is_err() {
        return;
    }
    let Ok(file) = flags::parse(&json!({"flags": {"f": body}}).to_string()) else { return };
    let told = || format!("{:?}", flags::evaluate(&file, "f", &context, None));
    assert_eq!(told(), told());
}

/// Two versions, and a comparison.
fn semver(data: &[u8]) {
    let [one, other, range] = texts(data);
    let compared = comparisons(&range);
    let (Ok(one), Ok(other)) = (one.parse::<Version>(), other.parse::<Version>()) else { return };
    assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
    assert_eq!(one.to_string().parse::<Version>().ok().as_ref(), Some(&one));
    for comparison in compared.iter().flatten() {
        assert_eq!(comparison.accepts(&one), comparison.accepts(&one));
    }
    let _bounds = (one.lowest_of_major(), one.lowest_of_next_major(), one.lowest_of_next_minor(), one.next());
}

/// Durations, percentages, decimals and instants: what is read is written as something that is read as the same.
fn words(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    macro_rules! comes_back {
        ($type:ty) => {
            if let Ok(value) = text.parse::<$type>() {
                assert_eq!(value.to_string().parse::<$type>().ok(), Some(value), "{text}");
            }
        };
    }
    comes_back!(Duration);
    comes_back!(Percent);
    comes_back!(MicroTime);
    if let Ok(value) = text.parse::<Decimal>() {
        let _again = value.to_string().parse::<Decimal>();
    }
    let _zone = plan::calendar::zone(&text);
}

/// A cron and a time zone.
fn cron(data: &[u8]) {
    let [schedule, zone] = texts(data);
    let zone = (!zone.is_empty()).then_some(zone);
    if let Ok(schedule) = Schedule::new(&schedule, zone.as_deref()) {
        let mut at = now();
        for _ in 0..10 {
            let next = schedule.next(at).expect("it comes again");
            assert!(next > at, "{next} after {at}");
            assert!(schedule.last(next).is_some_and(|last| last <= next));
            at = next;
        }
    }
}

/// A template of a message.
fn message(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let variables = minijinja::context! {
        namespace => "ns", name => "r", reason => "Paused", message => "m", cohorts => vec!["a", "b"], count => 3,
    };
    if let Ok(written) = template::render(&text, &variables) {
        assert!(written.len() <= template::LONGEST);
    }
}

/// A regular expression of a matcher.
fn regex(data: &[u8]) {
    let _fits = Expressions::default().add(&String::from_utf8_lossy(data));
}

/// What people wrote into files, as `lint` reads it.
fn yaml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut input = files::Input::default();
    input.add("fuzz.yaml", &text);
    let _problems = files::lint::check(&input).problems.len();
}
