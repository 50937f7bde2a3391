//! The kinds that the controller reads, and of each what no decoder, or not every one, takes.
//!
//! Tests and the benchmark store them, in namespaces with these names.

use http::{Method, Request};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use sluice::api::all_crds;

/// Where tenants store what they like, and where the operator lives.
pub const TENANT: &str = "poison-tenant";
pub const OPERATOR: &str = "poison-operator";

/// What is in bodies and must not be in a log.
pub const BODY: &str = "s3cr3t-body";

/// Every kind that is read, as a list, a watch or by name.
pub const KINDS: [&str; 14] = [
    "FeatureRollout",
    "CohortSet",
    "FlagSet",
    "MetricSource",
    "MetricTemplate",
    "NotificationChannel",
    "Playbook",
    "RolloutAction",
    "RolloutPolicy",
    "ConfigMap",
    "Secret",
    "ControllerRevision",
    "Pod",
    "FeatureFlag",
];

pub const OURS: &str = "sluice.dev/v1alpha1";
/// Deeper than a decoder that is wary of its stack goes.
const DEEP: usize = 200;

/// Of each kind of ours a field, a spec that is right, and one that is right but for a word that nobody knows.
const SPECS: [(&str, &str, &str, &str); 9] = [
    (
        "FeatureRollout",
        "phases",
        "{cohorts: [{name: all}], phases: [{name: ga, steps: [{cohorts: {all: 5}}]}]}",
        "{deletionPolicy: Shred, cohorts: [{name: all}], phases: [{name: ga, steps: [{cohorts: {all: 5}}]}]}",
    ),
    ("CohortSet", "cohorts", "{cohorts: [{name: all}]}", "{cohorts: [{name: all, admits: [Gold]}]}"),
    ("FlagSet", "flags", "{}", "{emergency: Panic}"),
    (
        "MetricSource",
        "prometheus",
        "{prometheus: {url: 'http://10.9.9.9'}}",
        "{prometheus: {url: 'http://10.9.9.9'}, timeout: soon}",
    ),
    (
        "MetricTemplate",
        "promql",
        "{sourceRef: {name: x}, promql: up}",
        "{sourceRef: {name: x}, promql: up, reducer: Best}",
    ),
    (
        "NotificationChannel",
        "webhook",
        "{webhook: {url: 'http://10.9.9.9'}}",
        "{webhook: {url: 'http://10.9.9.9'}, filter: {severity: Dire}}",
    ),
    (
        "Playbook",
        "phases",
        "{startDate: '2025-09-08', phases: [{name: ga, weeks: {from: 1, to: 2}}]}",
        "{startDate: someday, phases: [{name: ga, weeks: {from: 1, to: 2}}]}",
    ),
    (
        "RolloutAction",
        "reason",
        "{rolloutRef: {name: x}, action: Pause, reason: r}",
        "{rolloutRef: {name: x}, action: Explode, reason: r}",
    ),
    ("RolloutPolicy", "windows", "{}", "{windows: [{days: [Someday], from: '09:00', to: '10:00'}]}"),
];

/// What a kind's objects are called in paths.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"))
}

/// An object to store.
pub struct Poison {
    pub kind: &'static str,
    pub name: String,
    pub namespace: &'static str,
    /// Where it is.
    pub path: String,
    /// JSON of the whole object.
    pub body: Vec<u8>,
    /// What must be in it when it is stored.
    pub mark: String,
    /// Whether no decoder takes it.
    pub unreadable: bool,
    /// Whether it has a status in which that can be said.
    pub has_status: bool,
}

impl Poison {
    /// An object of this name, with nothing in it.
    pub fn at(kind: &'static str, version: &str, namespace: &'static str, name: &str) -> Poison {
        let root = if version == "v1" { "/api" } else { "/apis" };
        let plural = plural(kind);
        Poison {
            kind,
            name: name.to_owned(),
            namespace,
            path: format!("{root}/{version}/namespaces/{namespace}/{plural}/{name}"),
            body: Vec::new(),
            mark: BODY.to_owned(),
            unreadable: false,
            has_status: version == OURS,
        }
    }

    fn with(self, version: &str, metadata: &str, content: &str) -> Poison {
        let Poison { kind, name, namespace, .. } = &self;
        let body = format!(
            r#"{{"apiVersion":"{version}","kind":"{kind}","metadata":{{"name":"{name}","namespace":"{namespace}","annotations":{{"body":"{BODY}"}}{metadata}}}{content}}}"#
        );
        Poison { body: body.into_bytes(), ..self }
    }

    fn unreadable(self) -> Poison {
        Poison { unreadable: true, ..self }
    }

    fn marked(self, mark: &str) -> Poison {
        Poison { mark: mark.to_owned(), ..self }
    }

    /// Whether the stored object has what makes it one.
    pub fn is_in(&self, stored: &str) -> bool {
        let dense: String = stored.split_ascii_whitespace().collect();
        dense.contains(&self.mark)
    }
}

/// Lists in lists.
pub fn deep() -> String {
    format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP))
}

/// A record of who wrote which field, nested as fields may be.
pub fn writers(version: &str) -> String {
    let fields = format!("{}{}", "{\"f:a\":".repeat(DEEP) + "{}", "}".repeat(DEEP));
    format!(
        r#","managedFields":[{{"manager":"m","operation":"Update","apiVersion":"{version}","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{fields}}}]"#
    )
}

const LABEL: &str = r#","labels":{"app.kubernetes.io/managed-by":"sluice"}"#;

/// Static flags that no decoder takes, in a set that is valid otherwise.
pub fn deep_flags() -> Value {
    let mut value = json!({});
    for _ in 0..DEEP {
        value = json!({ "a": value });
    }
    json!({"k": {"state": "ENABLED", "variants": {"x": value}, "defaultVariant": "x"}})
}

/// All of them.
pub fn poisons() -> Vec<Poison> {
    let mut all = Vec::new();
    for (kind, field, right, unknown) in SPECS {
        let of_admins = ["MetricSource", "NotificationChannel"].contains(&kind);
        let namespace = if of_admins { OPERATOR } else { TENANT };
        let json_of = |yaml: &str| serde_saphyr::from_str::<Value>(yaml).unwrap();
        let mut spec_with = |name: &str, value: &str, mark: &str| {
            // By hand: a value may be one that no `Value` holds.
            let mut spec = json_of(right);
            spec[field] = json!("VALUE");
            let spec = spec.to_string().replace("\"VALUE\"", value);
            let poison = Poison::at(kind, OURS, namespace, name);
            all.push(poison.with(OURS, "", &format!(",\"spec\":{spec}")).marked(mark).unreadable());
        };
        spec_with("nested", &deep(), &deep());
        spec_with("type", "7", &format!("\"{field}\":7"));
        spec_with("number", "1e300", "e+300");
        spec_with("megabyte", &format!("[7,\"{}\"]", "x".repeat(1_000_000)), "xxxxxxxx");
        let spec = format!(",\"spec\":{}", json_of(unknown));
        all.push(Poison::at(kind, OURS, namespace, "word").with(OURS, "", &spec).unreadable());
        let spec = format!(",\"spec\":{}", json_of(right));
        let written = Poison::at(kind, OURS, namespace, "writers").with(OURS, &writers(OURS), &spec);
        all.push(written.marked(r#""f:a":{"f:a":{"f:a":"#));
    }
    let map = |name: &str, metadata: &str, content: &str| {
        Poison::at("ConfigMap", "v1", TENANT, name).with("v1", &format!("{LABEL}{metadata}"), content)
    };
    all.push(map("writers", &writers("v1"), "").marked(r#""f:a":{"f:a":{"f:a":"#));
    all.push(map("binary", "", r#","binaryData":{"flags.json":"//79gICA"}"#));
    all.push(map("megabyte", "", &format!(r#","data":{{"flags.json":"{}"}}"#, "x".repeat(1_000_000))));
    let mut broken = map("no-text", "", r#","data":{"flags.json":"X"}"#);
    let at = broken.body.windows(3).position(|bytes| bytes == b"\"X\"").unwrap() + 1;
    broken.body[at] = 0xff;
    all.push(broken);

    let secret = Poison::at("Secret", "v1", OPERATOR, "writers");
    let content = r#","data":{"token":"dG9rZW4="}"#;
    all.push(secret.with("v1", &writers("v1"), content).marked(r#""f:a":{"f:a":{"f:a":"#));

    let revision = |name: &str, metadata: &str, data: &str| {
        Poison::at("ControllerRevision", "apps/v1", TENANT, name).with(
            "apps/v1",
            &format!("{LABEL}{metadata}"),
            &format!(r#","revision":1,"data":{data}"#),
        )
    };
    let nested = format!(r#"{{"name":"x","cohorts":{}}}"#, deep());
    all.push(revision("nested", "", &nested).marked(&deep()).unreadable());
    all.push(
        revision("half-a-letter", "", r#"{"name":"\ud800"}"#).marked("\"data\":{\"name\":\"").unreadable(),
    );
    all.push(revision("writers", &writers("apps/v1"), "{}").marked(r#""f:a":{"f:a":{"f:a":"#));

    let pod = r#","spec":{"nodeName":"nowhere","automountServiceAccountToken":false,"volumes":[{"name":"f","configMap":{"name":"app"}}],"containers":[{"name":"app","image":"app","volumeMounts":[{"name":"f","mountPath":"/f"}]}]}"#;
    let pod = Poison::at("Pod", "v1", TENANT, "writers").with("v1", &writers("v1"), pod);
    all.push(pod.marked(r#""f:a":{"f:a":{"f:a":"#));

    let flag = |name: &str, metadata: &str, content: &str| {
        Poison::at("FeatureFlag", FLAGS, TENANT, name).with(FLAGS, &format!("{LABEL}{metadata}"), content)
    };
    let nested = format!(r#","spec":{{"flagSpec":{{"flags":{}}}}}"#, deep());
    all.push(flag("nested", "", &nested).marked(&deep()));
    all.push(flag("writers", &writers(FLAGS), "").marked(r#""f:a":{"f:a":{"f:a":"#));
    all
}

const FLAGS: &str = "core.openfeature.dev/v1beta1";

/// Sends something, whatever comes back; says whether it was taken.
pub async fn request(client: &Client, method: Method, path: &str, body: Vec<u8>) -> bool {
    let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    let response = client.send(request.body(body.into()).unwrap()).await;
    response.is_ok_and(|response| response.status().is_success())
}

/// Stores one; says whether it was taken.
pub async fn store(client: &Client, poison: &Poison) -> bool {
    let (folder, _) = poison.path.rsplit_once('/').unwrap();
    request(client, Method::POST, folder, poison.body.clone()).await
}

/// Takes the schemas away from all kinds of ours, as if they had never said much.
pub async fn loosen(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for ours in all_crds() {
        let name = ours.metadata.name.unwrap();
        let mut crd = serde_json::to_value(crds.get(&name).await.unwrap()).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        // Fields of a schema that does not name them cannot be selected.
        crd["spec"]["versions"][0]["selectableFields"] = json!([]);
        crds.replace(&name, &PostParams::default(), &serde_json::from_value(crd).unwrap()).await.unwrap();
    }
}

/// Installs a kind FeatureFlag that takes anything.
pub async fn install_feature_flag(client: &Client) {
    let name = "featureflags.core.openfeature.dev";
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {
            "group": "core.openfeature.dev", "scope": "Namespaced",
            "names": {"kind": "FeatureFlag", "plural": "featureflags"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await.unwrap();
}

/// Whether the API server knows the real schemas again.
pub async fn is_strict(client: &Client, namespace: &str) -> bool {
    let mut strict = true;
    for (kind, field, ..) in SPECS {
        let probe =
            json!({"apiVersion": OURS, "kind": kind, "metadata": {"name": "probe"}, "spec": {field: 7}});
        let path = format!("/apis/{OURS}/namespaces/{namespace}/{}?dryRun=All", plural(kind));
        strict &= !request(client, Method::POST, &path, probe.to_string().into_bytes()).await;
    }
    strict
}

/// Two rollouts, a FlagSet and a Playbook of which the schemas take everything, and no decoder takes the objects called
/// `nested`; the rollout called `record` has a record of its writers that is nested.
pub async fn store_valid(client: &Client, namespace: &str) {
    let folder = |plural: &str| format!("/apis/{OURS}/namespaces/{namespace}/{plural}");
    let phases = r#""cohorts":[{"name":"all"}],"phases":[{"name":"ga","steps":[{"cohorts":{"all":5},"hold":"1000h"}]}]"#;
    let variants = format!(
        r#""feature":{{"variants":[{{"name":"enabled","value":{}}},{{"name":"disabled","value":[]}}]}}"#,
        deep()
    );
    let rollout = |name: &str, metadata: &str, spec: &str| {
        format!(
            r#"{{"apiVersion":"{OURS}","kind":"FeatureRollout","metadata":{{"name":"{name}"{metadata}}},"spec":{{{spec}}}}}"#
        )
    };
    let set = json!({"apiVersion": OURS, "kind": "FlagSet", "metadata": {"name": "nested"}, "spec": {"flags": deep_flags()}});
    let all = [
        ("featurerollouts", rollout("nested", "", &format!("{variants},{phases}"))),
        ("featurerollouts", rollout("record", &writers(OURS), phases)),
        ("flagsets", set.to_string()),
    ];
    for (plural, body) in all {
        assert!(
            request(client, Method::POST, &folder(plural), body.into_bytes()).await,
            "{plural} is not taken"
        );
    }
}
