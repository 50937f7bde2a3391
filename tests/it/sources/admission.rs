//! What the API server itself refuses of sources and templates.

use crate::support::Space;
use crate::support::raw::object;

/// Lines of a spec, and what the refusal must name.
const SOURCES: &[(&str, &str)] = &[
    ("timeout: 1s", "give exactly one of prometheus and http"),
    (
        "prometheus: {url: http://p.test}\nhttp: {url: http://p.test}",
        "give exactly one of prometheus and http",
    ),
    ("prometheus: {url: ftp://p.test}", "spec.prometheus.url"),
    ("prometheus: {url: 'http://user:pass@p.test'}", "spec.prometheus.url"),
    ("prometheus: {url: 'http://p.test/#x'}", "spec.prometheus.url"),
    ("prometheus: {url: 'http://'}", "spec.prometheus.url"),
    ("http: {url: http://p.test, insecureSkipVerify: true}", "insecureSkipVerify"),
    ("http: {url: http://p.test}\nauth: {}", "give exactly one of bearer and basic"),
    (
        "http: {url: http://p.test}\nauth: {bearer: {secretRef: {name: a, key: b}}, basic: {secretRef: {name: a}}}",
        "give exactly one of bearer and basic",
    ),
    (
        "http: {url: http://p.test}\nauth: {bearer: {secretRef: {name: a, key: b, namespace: kube-system}}}",
        "spec.auth.bearer.secretRef.namespace",
    ),
    ("http: {url: http://p.test}\ntls: {ca: {}}", "give exactly one of secretRef, configMapRef and pem"),
    (
        "http: {url: http://p.test}\ntls: {ca: {pem: x, secretRef: {name: a, key: b}}}",
        "give exactly one of secretRef, configMapRef and pem",
    ),
    ("http: {url: http://p.test}\ntenant: {header: Authorization, value: x}", "this header names no tenant"),
    ("http: {url: http://p.test}\ntenant: {header: 'X Y', value: x}", "spec.tenant.header"),
    ("http: {url: http://p.test}\ntenant: {header: X-Y, value: \"a\\nb\"}", "spec.tenant.value"),
    ("http: {url: http://p.test}\nnamespaceLabel: 'a b'", "spec.namespaceLabel"),
    ("http: {url: http://p.test}\nallowedNamespaces: ['a*']", "spec.allowedNamespaces[0]"),
    ("http: {url: http://p.test}\nallowAddresses: [example.test]", "spec.allowAddresses[0]"),
    ("http: {url: http://p.test}\ntimeout: 5001ms", "timeout must be more than 0s and at most 5s"),
    ("http: {url: http://p.test}\ntimeout: 0s", "timeout must be more than 0s and at most 5s"),
    ("http: {url: http://p.test}\nlimits: {concurrency: 0}", "spec.limits.concurrency"),
    ("http: {url: http://p.test}\nlimits: {requestsPerSecond: 1001}", "spec.limits.requestsPerSecond"),
];

const TEMPLATES: &[(&str, &str)] = &[
    ("sourceRef: {name: s}", "give exactly one of promql and jsonPath"),
    ("sourceRef: {name: s}\npromql: up\njsonPath: $", "give exactly one of promql and jsonPath"),
    ("sourceRef: {name: s}\npromql: ''", "spec.promql"),
    ("promql: up", "spec.sourceRef"),
    ("sourceRef: {name: s, namespace: other}\npromql: up", "spec.sourceRef.namespace"),
    ("sourceRef: {name: s}\npromql: up\nparameters: {a: b}", "parameters go with jsonPath"),
    ("sourceRef: {name: s}\njsonPath: $\nmaxAge: 5m", "maxAge goes with promql"),
    ("sourceRef: {name: s}\npromql: up\nurl: http://elsewhere.test", "spec.url"),
    ("sourceRef: {name: s}\npromql: up\nargs: [{name: flag}]", "are given to every query"),
    ("sourceRef: {name: s}\npromql: up\nargs: [{name: a}, {name: a}]", "spec.args[1]"),
    ("sourceRef: {name: s}\npromql: up\nargs: [{name: a-b}]", "spec.args[0].name"),
    ("sourceRef: {name: s}\npromql: up\nargs: [{name: a, type: Raw}]", "spec.args[0].type"),
    ("sourceRef: {name: s}\npromql: up\nreducer: Last", "spec.reducer"),
];

#[tokio::test]
async fn what_is_wrong_with_a_source_or_template_is_refused_at_once() {
    let space = Space::shared("sources-refused").await;
    let cases = SOURCES.iter().map(|case| ("MetricSource", case));
    for (kind, (spec, says)) in cases.chain(TEMPLATES.iter().map(|case| ("MetricTemplate", case))) {
        let answer = space.create(&object(kind, "x", spec)).await;
        assert!((400..500).contains(&answer.code), "{kind} {spec}: {}", answer.code);
        assert!(answer.message().contains(says), "{kind} {spec}: {}", answer.message());
    }
}

#[tokio::test]
async fn defaults_and_bounds_are_the_documented_ones() {
    let space = Space::shared("sources-accepted").await;
    let answer = space.create(&object("MetricSource", "small", "prometheus: {url: http://p.test}")).await;
    assert_eq!((answer.code, answer.warnings.len()), (201, 0), "{}", answer.message());
    assert_eq!(answer.body["spec"]["timeout"], "5s");
    assert_eq!(answer.body["spec"]["limits"], serde_json::json!({"requestsPerSecond": 20, "concurrency": 4}));
    assert_eq!(answer.body["status"]["observedGeneration"], -1);
    let namespaces: Vec<String> = (0..256).map(|i| format!("n{i:062}")).collect();
    let addresses: Vec<String> = (0..16).map(|i| format!("fd00::{i:x}/128")).collect();
    let large = serde_json::json!({
        "http": {"url": format!("https://p.test/{}", "x".repeat(2000))},
        "auth": {"basic": {"secretRef": {"name": "x".repeat(253)}}},
        "tls": {"ca": {"pem": "x".repeat(65536)}},
        "tenant": {"header": "X".repeat(64)},
        "namespaceLabel": "x".repeat(128), "allowedNamespaces": namespaces, "allowAddresses": addresses,
        "timeout": "4999ms", "limits": {"requestsPerSecond": 1000, "concurrency": 64},
    });
    let mut source = object("MetricSource", "large", "{}");
    source["spec"] = large;
    let answer = space.create(&source).await;
    assert_eq!(answer.code, 201, "{}", answer.message());

    let args: Vec<_> = (0..16)
        .map(|i| serde_json::json!({"name": format!("a{i}"), "default": "x".repeat(256), "description": "x".repeat(256)}))
        .collect();
    let parameters: std::collections::BTreeMap<_, _> =
        (0..16).map(|i| (format!("p{i}"), "x".repeat(1024))).collect();
    let mut template = object("MetricTemplate", "large", "{}");
    template["spec"] = serde_json::json!({
        "sourceRef": {"name": "x".repeat(253)}, "jsonPath": "x".repeat(1024), "sampleCount": "x".repeat(4096),
        "args": args, "parameters": parameters, "reducer": "Sum", "unit": "x".repeat(32),
    });
    let answer = space.create(&template).await;
    assert_eq!(answer.code, 201, "{}", answer.message());
    assert_eq!(answer.body["spec"]["args"][0]["type"], "String");
}
