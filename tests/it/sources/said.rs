//! What a source is asked, and what its answers come to.

use sluice::sources::{can_backfill, check, wanted};

use super::*;

fn prepared(source: &Value, spec: Value, args: Value) -> Result<Query, Vec<String>> {
    let args: BTreeMap<String, String> = serde_json::from_value(args).unwrap();
    prepare(&context("maya"), &template(spec), Some(&self::source(source)), &args)
}

#[tokio::test]
async fn a_query_is_sent_as_it_was_checked_with_the_tenants_header_and_the_namespace_forced() {
    let server = Hostile::always(Reply::vector(AT, &[("{}", "7")])).await;
    let mut spec = here(&format!("{}/prefix/", server.url()));
    spec["namespaceLabel"] = json!("namespace");
    spec["tenant"] = json!({"header": "X-Scope-OrgID"});
    spec["auth"] = json!({"basic": {"secretRef": {"name": "login"}}});
    let source = source(&spec);
    let promql = r#"sum(rate(errors{service="{{service}}", rollout="{{rollout}}", flag="{{flag}}", ns="{{namespace}}"}[{{interval}}])) / scalar(all)"#;
    let args = BTreeMap::from([("service".to_owned(), "a\"} or b{x=\"".to_owned())]);
    let template = template(json!({"promql": promql, "args": [{"name": "service"}]}));
    let query = prepare(&context("maya"), &template, Some(&source), &args).unwrap();
    let key = |key: &str, value: &str| {
        (
            wanted(&source.spec)
                .into_iter()
                .find(|w| matches!(w, Wanted::Secret { key: k, .. } if k == key))
                .unwrap(),
            Secret::new(value.into()),
        )
    };
    let found = BTreeMap::from([key("username", "ann"), key("password", "pass:word")]);
    let resolved = resolve(&source, &found).unwrap();
    let readings = Sources::new(Options::default()).measure(&resolved, &request(query)).await;
    assert_eq!(readings, Readings::Whole(value(7.0)));
    let asked = &server.asked()[0];
    assert_eq!(asked.line(), "POST /prefix/api/v1/query");
    assert_eq!(asked.header("x-scope-orgid").as_deref(), Some("maya"));
    assert_eq!(asked.header("authorization").as_deref(), Some("Basic YW5uOnBhc3M6d29yZA=="));
    assert_eq!(asked.header("host"), Some(server.address.to_string()));
    assert_eq!(asked.parameter("time").as_deref(), Some("1700000000.000"));
    assert_eq!(
        asked.parameter("query").as_deref(),
        Some(
            r#"sum(rate(errors{flag="dreams.advanced",namespace="maya",ns="maya",rollout="dreams",service="a\"} or b{x=\""}[30s])) / scalar(all{namespace="maya"})"#
        )
    );
}

#[test]
fn who_may_ask_what_is_said_with_every_error_at_once() {
    let spec = json!({"prometheus": {"url": "http://p.test"}, "allowedNamespaces": ["maya"]});
    let up = || json!({"promql": "up"});
    assert!(prepared(&spec, up(), json!({})).is_ok());
    let source = source(&spec);
    let none = BTreeMap::new();
    let of = |namespace| prepare(&context(namespace), &template(up()), Some(&source), &none);
    assert!(of("sluice-system").is_ok(), "the operator's own namespace");
    assert_eq!(
        of("other").unwrap_err(),
        ["sourceRef: the MetricSource \"source\" does not allow the namespace \"other\""]
    );
    let nobody = json!({"prometheus": {"url": "http://p.test"}});
    assert!(prepared(&nobody, up(), json!({})).is_err(), "absent means nobody else");
    let unknown = prepare(&context("maya"), &template(up()), None, &none).unwrap_err();
    assert_eq!(
        unknown,
        ["sourceRef: there is no MetricSource \"source\" in the operator's namespace, sluice-system"]
    );
    let mut foreign = source.clone();
    foreign.metadata.namespace = Some("maya".into());
    assert_eq!(prepare(&context("maya"), &template(up()), Some(&foreign), &none).unwrap_err(), unknown);
    let json = json!({"jsonPath": "$.x"});
    assert_eq!(
        prepared(&spec, json, json!({})).unwrap_err(),
        ["sourceRef: the MetricSource \"source\" wants a template with promql"]
    );

    let bad = json!({"promql": "up", "args": [
        {"name": "n", "type": "Integer", "default": "x"}, {"name": "missing"}, {"name": "flag"}, {"name": "n"},
    ]});
    let problems = prepared(&nobody, bad, json!({"unknown": "1"})).unwrap_err();
    for says in [
        "args[0].default: an Integer",
        "args[2].name: flag is given to every query",
        "args[3].name: n is declared twice",
        "args.unknown: the template has no such argument",
        "args.missing: the template needs it",
        "does not allow the namespace",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(says)), "{says}: {problems:#?}");
    }
    let both = json!({"promql": "up{", "sampleCount": "up[5m]"});
    let problems = prepared(&spec, both, json!({})).unwrap_err();
    assert!(problems[0].starts_with("promql: ") && problems[1].starts_with("sampleCount: "), "{problems:?}");
}

#[test]
fn a_template_is_checked_without_its_source() {
    let good =
        json!({"promql": "up{x='{{s}}'} > {{n}}", "args": [{"name": "s"}, {"name": "n", "type": "Decimal"}]});
    assert_eq!(check(&template(good)), Vec::<String>::new());
    let bad = json!({"promql": "up{x='{{t}}'}", "sampleCount": "up{{s}}", "args": [{"name": "s"}]});
    let problems = check(&template(bad));
    assert_eq!(problems.len(), 2, "{problems:?}");
    for path in [
        "$[?@.a == $..b]..c",
        "$[0, 1]",
        "$..a..b",
        "$[?@[?@.x]]",
        "$[?@.a == $.b]",
        "$[?match(@.a, 'x')]",
        "$.",
        "nonsense",
        &format!("$[?{}@.a{}]", "(".repeat(400), ")".repeat(400)),
    ] {
        assert_eq!(check(&template(json!({"jsonPath": path}))).len(), 1, "{path}");
    }
    assert!(check(&template(json!({"jsonPath": "$.a['x, ?..y'][?count(@.b) > 1].value"}))).is_empty());
    let deep = format!("$[?{}@.a{}]", "(".repeat(2000), ")".repeat(2000));
    let problems = check(&template(json!({"jsonPath": "$.a", "sampleCount": deep})));
    assert!(problems.len() == 1 && problems[0].starts_with("sampleCount: "), "{problems:?}");
}

#[rstest]
#[case("Max", 3.0)]
#[case("Min", 1.0)]
#[case("Avg", 2.0)]
#[case("Sum", 6.0)]
#[tokio::test]
async fn several_series_become_one_as_the_reducer_says(#[case] reducer: &str, #[case] expected: f64) {
    let reply = |third: &'static str| {
        Reply::vector(AT, &[("{\"a\": \"1\"}", "1"), ("{\"a\": \"2\"}", third), ("{\"a\": \"3\"}", "3")])
    };
    for (third, expected) in [("2", value(expected)), ("NaN", no_data("the value is NaN"))] {
        let server = Hostile::always(reply(third)).await;
        let source = source(&here(&server.url()));
        let asked = request(query(&source, json!({"promql": "up", "reducer": reducer})));
        let readings = Sources::new(Options::default()).measure(&ready(&source), &asked).await;
        assert_eq!(readings, Readings::Whole(expected), "one that is no number spoils all");
    }
}

#[tokio::test]
async fn cohorts_are_told_apart_by_their_label_each_with_its_own_samples() {
    let server = Hostile::start(None, |asked| {
        if asked.parameter("query").unwrap().starts_with("count") {
            return Reply::vector(
                AT,
                &[("{\"cohort\": \"a\"}", "10"), ("{\"cohort\": \"a\", \"x\": \"y\"}", "5.9"), ("{}", "99")],
            );
        }
        Reply::vector(
            AT,
            &[
                ("{\"cohort\": \"a\"}", "1"),
                ("{\"cohort\": \"b\"}", "NaN"),
                ("{\"cohort\": \"c\", \"x\": \"1\"}", "1"),
                ("{\"cohort\": \"c\", \"x\": \"2\"}", "1"),
                ("{\"cohort\": \"d\"}", "4"),
                ("{}", "5"),
            ],
        )
    })
    .await;
    let source = source(&here(&server.url()));
    let query = query(&source, json!({"promql": "up", "sampleCount": "count(up)"}));
    let asked = Request { per_cohort: Some("cohort".into()), ..request(query) };
    let sources = Sources::new(Options::default());
    let readings = sources.measure(&ready(&source), &asked).await;
    let expected = [
        ("a", Reading::of(1.0, Some(15))),
        ("b", no_data("the value is NaN")),
        ("c", no_data("2 series where one is expected")),
        ("d", Reading::of(4.0, Some(0))),
    ];
    let expected = expected.into_iter().map(|(name, reading)| (name.to_owned(), reading)).collect();
    assert_eq!(readings, Readings::ByLabel(expected));
    assert_eq!(readings.of_cohort("e"), no_data("no series of the cohort"));
    let asked = Request { per_cohort: Some("segment".into()), ..asked };
    let none = sources.measure(&ready(&source), &asked).await;
    assert_eq!(none, Readings::Failed(no_data("no series has the cohorts' label")));
}

#[tokio::test]
async fn an_error_counts_for_every_cohort() {
    let server = Hostile::always(Reply::Body(500, String::new())).await;
    let source = source(&here(&server.url()));
    let asked =
        Request { per_cohort: Some("cohort".into()), ..request(query(&source, json!({"promql": "up"}))) };
    let readings = Sources::new(Options::default()).measure(&ready(&source), &asked).await;
    assert_eq!(readings, Readings::Failed(error("the source answered with a 5xx status")));
    assert_eq!(readings.of_cohort("any"), error("the source answered with a 5xx status"));
}

fn json_source(url: &str) -> Value {
    json!({"http": {"url": url}, "allowAddresses": ["127.0.0.0/8"], "allowedNamespaces": ["*"], "namespaceLabel": "ns"})
}

#[tokio::test]
async fn a_json_endpoint_gets_encoded_parameters_and_nothing_else_of_a_template() {
    let server = Hostile::always(Reply::ok(r#"{"stats": {"adoption": 71.5, "users": 900}}"#)).await;
    let spec = json_source(&format!("{}/stats?fixed=1", server.url()));
    let whole = json!({
        "jsonPath": "$.stats.adoption", "sampleCount": "$.stats.users",
        "parameters": {"feature": "{{flag}}/{{f}}", "window": "{{interval}}"}, "args": [{"name": "f"}],
    });
    let query = prepared(&spec, whole.clone(), json!({"f": "a&ns=other#%2e../"})).unwrap();
    let source = source(&spec);
    let readings = Sources::new(Options::default()).measure(&ready(&source), &request(query)).await;
    assert_eq!(readings, Readings::Whole(Reading::of(71.5, Some(900))));
    let asked = &server.asked()[0];
    assert_eq!(asked.line(), "GET /stats");
    let target = asked.0.split(' ').nth(1).unwrap();
    assert_eq!(
        target,
        "/stats?fixed=1&feature=dreams.advanced%2Fa%26ns%3Dother%23%252e..%2F&window=30s&ns=maya"
    );

    let alike = "is not just another way of writing that";
    for (name, says) in [
        ("ns", "the source gives it"),
        ("fixed", "the source's URL has it already"),
        ("NS", alike),
        ("ns[]", alike),
        ("ns%00", alike),
        ("Fixed[]", alike),
    ] {
        let mut taken = whole.clone();
        taken["parameters"][name] = json!("other");
        let problems = prepared(&spec, taken, json!({"f": "x"})).unwrap_err();
        assert!(
            problems[0].starts_with(&format!("parameters.{name}: ")) && problems[0].contains(says),
            "{problems:?}"
        );
    }
}

#[rstest]
#[case("$.text", no_data("the value is a string"))]
#[case("$.null", no_data("the value is null"))]
#[case("$.truth", no_data("the value is not a number"))]
#[case("$.list", no_data("the value is not a number"))]
#[case("$.missing", no_data("no series"))]
#[case("$.list[*]", no_data("2 series where one is expected"))]
#[case("$.list[1]", value(2.0))]
#[case("$.negative", value(-0.5))]
#[tokio::test]
async fn a_json_answer_is_a_number_or_no_data(#[case] path: &str, #[case] expected: Reading) {
    let body = r#"{"text": "7", "null": null, "truth": true, "list": [1, 2], "negative": -5e-1}"#;
    let server = Hostile::always(Reply::ok(body)).await;
    let spec = json_source(&server.url());
    let query = prepared(&spec, json!({"jsonPath": path}), json!({})).unwrap();
    let readings = Sources::new(Options::default()).measure(&ready(&source(&spec)), &request(query)).await;
    assert_eq!(readings, Readings::Whole(expected));
}

#[rstest]
#[case("NaN", error("the source's answer is not valid JSON"))]
#[case("<html>", error("the source's answer is not valid JSON"))]
#[case("1e999", error("the source's answer is not valid JSON"))]
#[case("7", value(7.0))]
#[tokio::test]
async fn an_answer_of_a_json_endpoint_must_be_json(#[case] body: &str, #[case] expected: Reading) {
    let server = Hostile::always(Reply::ok(body)).await;
    let spec = json_source(&server.url());
    let query = prepared(&spec, json!({"jsonPath": "$"}), json!({})).unwrap();
    let readings = Sources::new(Options::default()).measure(&ready(&source(&spec)), &request(query)).await;
    assert_eq!(readings, Readings::Whole(expected));
}

#[tokio::test]
async fn objects_of_a_json_answer_tell_the_cohorts_apart() {
    let body =
        r#"[{"cohort": "a", "value": 1}, {"cohort": "b", "value": "2"}, {"cohort": "c"}, {"value": 3}, 4]"#;
    let server = Hostile::always(Reply::ok(body)).await;
    let spec = json_source(&server.url());
    let query = prepared(&spec, json!({"jsonPath": "$[*]"}), json!({})).unwrap();
    let asked = Request { per_cohort: Some("cohort".into()), ..request(query) };
    let readings = Sources::new(Options::default()).measure(&ready(&source(&spec)), &asked).await;
    let expected = [
        ("a", value(1.0)),
        ("b", no_data("the value is a string")),
        ("c", no_data("the object has no value")),
    ];
    let expected = expected.into_iter().map(|(name, reading)| (name.to_owned(), reading)).collect();
    assert_eq!(readings, Readings::ByLabel(expected));
}

#[tokio::test]
async fn the_past_is_asked_in_one_query_and_a_gap_is_no_data() {
    let server = Hostile::start(None, |asked| {
        let counts = asked.parameter("query").unwrap().starts_with("count");
        let values = if counts {
            r#"[[1700000000, "5"]]"#
        } else {
            r#"[[1700000000, "1"], [1700000060, "NaN"], [1700000090, "4"]]"#
        };
        success(&format!(r#"{{"resultType": "matrix", "result": [{{"metric": {{}}, "values": {values}}}]}}"#))
    })
    .await;
    let source = source(&here(&server.url()));
    let resolved = ready(&source);
    let asked = request(query(&source, json!({"promql": "up", "sampleCount": "count(up)"})));
    let sources = Sources::new(Options::default());
    let step = SignedDuration::from_secs(30);
    let to = at() + SignedDuration::from_secs(95);
    let past = sources.backfill(&resolved, &asked, at(), to, step).await.unwrap();
    let expected = [
        (0, Reading::of(1.0, Some(5))),
        (30, no_data("no series")),
        (60, no_data("the value is NaN")),
        (90, Reading::of(4.0, Some(0))),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(after, reading)| (at() + SignedDuration::from_secs(after), Readings::Whole(reading)))
        .collect();
    assert_eq!(past, expected);
    let first = &server.asked()[0];
    assert_eq!(first.line(), "POST /api/v1/query_range");
    let parameters = ["start", "end", "step"].map(|name| first.parameter(name).unwrap());
    assert_eq!(parameters, ["1700000000.000", "1700000095.000", "30.000"]);
    assert!(can_backfill(&resolved));
    for (to, step) in [(at() - step, step), (to, SignedDuration::ZERO), (to, SignedDuration::from_millis(1))]
    {
        assert!(sources.backfill(&resolved, &asked, at(), to, step).await.is_err());
    }
    assert_eq!(server.asked().len(), 2, "impossible questions are not sent");
    assert!(!can_backfill(&ready(&self::source(&json_source("http://j.test")))));
}

#[test]
fn what_is_missing_or_wrong_in_a_source_is_said_at_once() {
    let spec = json!({
        "prometheus": {"url": "https://user:pass@p.test"},
        "auth": {"bearer": {"secretRef": {"name": "token", "key": "token"}}},
        "tls": {"ca": {"configMapRef": {"name": "ca", "key": "ca.crt"}}},
        "allowAddresses": ["10.0.0.0/8", "10.0.0.0/99"], "timeout": "6s",
    });
    let source = source(&spec);
    assert_eq!(
        wanted(&source.spec),
        [
            Wanted::Secret { name: "token".into(), key: "token".into() },
            Wanted::ConfigMap { name: "ca".into(), key: "ca.crt".into() },
        ]
    );
    let problems = resolve(&source, &BTreeMap::new()).unwrap_err();
    assert_eq!(
        problems,
        [
            "spec.prometheus.url: it must have neither user information nor a fragment",
            "spec.auth: Secret \"token\" has no key \"token\", or is not there",
            "spec.allowAddresses[1]: it is neither an address nor a CIDR block",
            "spec.timeout: it must be more than 0s and at most 5s",
        ]
    );
    let mut spec = spec;
    spec["prometheus"]["url"] = json!("https://p.test");
    let found = BTreeMap::from([(
        Wanted::ConfigMap { name: "ca".into(), key: "ca.crt".into() },
        Secret::new(b"no certificate".to_vec()),
    )]);
    let problems = resolve(&self::source(&spec), &found).unwrap_err();
    assert!(problems.contains(&"spec.tls: ca: there is no certificate in it".to_owned()), "{problems:?}");
}
