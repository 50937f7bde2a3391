//! The chart without a cluster: which values it takes, and what it makes of them.

use serde_json::{Value, json};

use sluice::controller;

use super::{NAMESPACE, kinds, one, render, rendered};
use crate::support::go_tools::Helm;

/// Everything that can be switched on.
const ALL: [&str; 10] = [
    "networkPolicy.enabled=true",
    "serviceMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "grafanaDashboard.enabled=true",
    "flowSchema.enabled=true",
    "nudgePods.enabled=true",
    "nudgePods.namespaces={shop,search}",
    "openFeatureOperator.enabled=true",
    "metricSources.secrets={prometheus-token}",
    "notificationChannels.secrets={slack}",
];

#[test]
fn both_helms_find_nothing_wrong_with_it_and_make_the_same_of_it() {
    let home = tempfile::tempdir().unwrap();
    for helm in [Helm::Four, Helm::Three] {
        let output = helm.command(home.path()).args(["lint", "--strict", "charts/sluice"]).output().unwrap();
        assert!(output.status.success(), "{helm:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let mut args: Vec<&str> = ALL.iter().flat_map(|set| ["--set", *set]).collect();
    args.extend(["--kube-version", "1.36.0"]);
    assert!(render(Helm::Four, &args).unwrap() == render(Helm::Three, &args).unwrap(), "they differ");
}

#[test]
fn a_wrong_value_is_refused_and_said() {
    for (set, says) in [
        ("replicas=-1", "/replicas"),
        ("replicas=one", "/replicas"),
        ("shards=0", "/shards"),
        ("shards=17", "/shards"),
        ("replicaCount=1", "'replicaCount' not allowed"),
        ("image.tagg=1", "'tagg' not allowed"),
        ("image.repository=", "/image/repository"),
        ("dashboard.signIn=oauth", "/dashboard/signIn"),
        ("dashboard.oidc.issuer=http://id.example.com", "/dashboard/oidc/issuer"),
        ("dashboard.oidc.scopes={a b}", "/dashboard/oidc/scopes"),
        ("image.digest=sha256:abc", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("imagePullSecrets={mine}", "/imagePullSecrets/0"),
        ("crds.keep=yes", "/crds/keep"),
        ("admissionPolicies.identity=true", "/admissionPolicies/identity"),
        ("commonLabels.cost=1", "/commonLabels/cost"),
        ("controller.concurrency=0", "/controller/concurrency"),
        ("controller.concurrency=257", "/controller/concurrency"),
        ("controller.logLevel=loud", "/controller/logLevel"),
        ("controller.listen=127.0.0.1", "/controller/listen"),
        ("watchNamespaces={shop}", "'watchNamespaces' not allowed"),
        ("metricSources.secrets={Not_A_Name}", "/metricSources/secrets/0"),
        ("notificationChannels.secrets={Not_A_Name}", "/notificationChannels/secrets/0"),
        ("nudgePods.namespaces=shop", "/nudgePods/namespaces"),
        ("resources.limits.memory=lots", "/resources/limits/memory"),
        ("resources.limits.gpu=1", "'gpu' not allowed"),
        ("service.port=80", "/service/port"),
        ("controller.probesPort=80", "/controller/probesPort"),
        ("service.port=8081", "give the probes a port of their own"),
        ("terminationGracePeriodSeconds=1", "/terminationGracePeriodSeconds"),
        ("serviceMonitor.interval=often", "/serviceMonitor/interval"),
        ("prometheusRule.docsUrl=docs", "/prometheusRule/docsUrl"),
    ] {
        let refused = render(Helm::Four, &["--set", set]).expect_err(set);
        assert!(refused.contains(says), "{set}: {refused}");
    }
}

#[test]
fn what_is_off_is_not_there_and_what_is_on_is() {
    let plain = rendered(&[]);
    for kind in ["NetworkPolicy", "ServiceMonitor", "PrometheusRule", "FlowSchema"] {
        assert_eq!(kinds(&plain).get(kind), None, "{kind}");
    }
    assert_eq!(kinds(&plain)["CustomResourceDefinition"], std::fs::read_dir("crds").unwrap().count());
    let all = rendered(&ALL);
    for kind in ["NetworkPolicy", "ServiceMonitor", "PrometheusRule", "FlowSchema", "ConfigMap"] {
        assert_eq!(kinds(&all).get(kind), Some(&1), "{kind}");
    }
    // One for the own namespace, and one for each in which pods may be annotated.
    assert_eq!(kinds(&all)["Role"], 3);
    let container = |objects: &[Value]| {
        one(objects, "Deployment", "sluice")["spec"]["template"]["spec"]["containers"][0].clone()
    };
    assert!(!container(&plain)["args"].as_array().unwrap().contains(&json!("--nudge-pods")));
    assert!(container(&all)["args"].as_array().unwrap().contains(&json!("--nudge-pods")));

    let none = rendered(&[
        "replicas=1",
        "crds.enabled=false",
        "admissionPolicies.enabled=false",
        "rbac.create=false",
        "rbac.aggregate=false",
        "rbac.actionRoles=false",
        "serviceAccount.create=false",
        "serviceAccount.name=ours",
    ]);
    let kept: Vec<_> = kinds(&none).into_iter().collect();
    assert_eq!(kept, [("Deployment", 1), ("Service", 1)]);
    assert_eq!(one(&none, "Deployment", "sluice")["spec"]["template"]["spec"]["serviceAccountName"], "ours");
}

/// Whoever fills the port of the metrics with connections takes no probe along.
#[test]
fn the_kubelet_asks_the_port_of_the_probes() {
    for objects in [rendered(&[]), rendered(&["controller.probesPort=9000", "service.port=9001"])] {
        let container = &one(&objects, "Deployment", "sluice")["spec"]["template"]["spec"]["containers"][0];
        let port = |name: &str| {
            let ports = container["ports"].as_array().unwrap();
            ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
        };
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], "probes", "{probe}");
        }
        let args = container["args"].as_array().unwrap();
        for (flag, name) in [("address", "http"), ("probes-address", "probes")] {
            assert!(args.contains(&json!(format!("--{flag}=0.0.0.0:{}", port(name)))), "{args:?}");
        }
    }
}

/// Whatever is seen and done in the panel is seen and done with somebody's token: its own account is bound to nothing.
#[test]
fn the_panel_has_no_rights_and_no_token() {
    let set = ["dashboard.enabled=true", "dashboard.publicUrl=https://sluice.example.com"];
    let objects = rendered(&set);
    let name = "sluice-dashboard";
    let deployment = one(&objects, "Deployment", name);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], name);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(one(&objects, "ServiceAccount", name)["automountServiceAccountToken"], false);
    for binding in objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("RoleBinding")) {
        assert!(!binding["subjects"].to_string().contains(name), "{binding}");
    }
    let controller = &one(&objects, "Service", "sluice")["spec"]["selector"];
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_ne!(labels["app.kubernetes.io/name"], controller["app.kubernetes.io/name"]);
    assert!(!rendered(&[]).iter().any(|object| object["metadata"]["name"] == name), "it is off by default");
    let refused = render(Helm::Four, &["--set", "dashboard.enabled=true"]).unwrap_err();
    assert!(refused.contains("dashboard.publicUrl"), "{refused}");
}

/// A person's token goes to the controller over TLS, to the name that its certificate is made for, by the authority that the controller
/// makes; and the controller gets the rights to ask about it only where somebody asks.
#[test]
fn the_panel_asks_the_controller_for_measurements_over_tls_by_the_name_of_its_certificate() {
    let set = [
        "dashboard.enabled=true",
        "dashboard.publicUrl=https://sluice.example.com",
        "networkPolicy.enabled=true",
    ];
    let objects = rendered(&set);
    let args = |name: &str| {
        one(&objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["args"].to_string()
    };
    let name = format!("sluice-measurements.{NAMESPACE}.svc");
    assert!(args("sluice").contains(&format!("--measurements-name={name}\"")), "{}", args("sluice"));
    assert!(args("sluice").contains("--measurements-address=0.0.0.0:8443"));
    let panel = args("sluice-dashboard");
    assert!(panel.contains(&format!("--measurements-url=https://{name}:8443\"")), "{panel}");
    let volume = &one(&objects, "Deployment", "sluice-dashboard")["spec"]["template"]["spec"]["volumes"][1];
    assert_eq!(volume["configMap"], json!({"name": controller::MEASUREMENTS_CONFIG_MAP, "optional": true}));
    assert!(panel.contains(&format!("/etc/sluice/measurements/{}\"", controller::MEASUREMENTS_CERTIFICATES)));
    let service = &one(&objects, "Service", "sluice-measurements")["spec"];
    assert_eq!(
        (&service["clusterIP"], &service["ports"][0]["targetPort"]),
        (&json!("None"), &json!("measurements"))
    );
    let from = &one(&objects, "NetworkPolicy", "sluice")["spec"]["ingress"][1];
    let labels = &from["from"][0]["podSelector"]["matchLabels"];
    assert_eq!(labels["app.kubernetes.io/name"], "sluice-dashboard");
    let role = one(&objects, "Role", "sluice").to_string();
    assert!(role.contains(controller::MEASUREMENTS_SECRET), "{role}");

    let plain = rendered(&[]);
    for kind in ["ClusterRole", "Role", "Deployment"] {
        let object = one(&plain, kind, "sluice").to_string();
        for word in ["tokenreviews", "measurements"] {
            assert!(!object.contains(word), "{kind} has {word} although nobody asks: {object}");
        }
    }
}

/// The secret of the client and the authority of the issuer are files of the panel, and only where they are needed.
#[test]
fn the_panel_signs_in_with_a_provider_where_it_is_told_which() {
    let panel = ["dashboard.enabled=true", "dashboard.publicUrl=https://sluice.example.com"];
    let oidc = [
        "dashboard.signIn=oidc",
        "dashboard.oidc.issuer=https://id.example.com",
        "dashboard.oidc.clientId=sluice",
    ];
    let of = |more: &[&str]| {
        let set = [&panel[..], &oidc, more].concat();
        one(&rendered(&set), "Deployment", "sluice-dashboard")["spec"]["template"]["spec"].clone()
    };
    let args = |pod: &Value| pod["containers"][0]["args"].to_string();
    let public = of(&[]);
    for arg in [
        "--sign-in=oidc",
        "--oidc-issuer=https://id.example.com",
        "--oidc-client-id=sluice",
        "offline_access",
    ] {
        assert!(args(&public).contains(arg), "{arg}: {}", args(&public));
    }
    assert!(!args(&public).contains("-file=") && public["volumes"].as_array().unwrap().len() == 2);
    let secret = of(&["dashboard.oidc.clientSecretName=panel", "dashboard.oidc.certificateAuthorityName=ca"]);
    assert!(args(&secret).contains("--oidc-client-secret-file=/etc/sluice/oidc/client-secret"));
    assert!(args(&secret).contains("--oidc-certificate-authority=/etc/sluice/oidc-ca/ca.crt"));
    let volumes = &secret["volumes"];
    assert_eq!(
        (&volumes[2]["secret"]["secretName"], &volumes[3]["configMap"]["name"]),
        (&json!("panel"), &json!("ca"))
    );
    assert_eq!(secret["containers"][0]["volumeMounts"].as_array().unwrap().len(), 4);
    let without = one(&rendered(&panel), "Deployment", "sluice-dashboard").to_string();
    assert!(!without.contains("oidc"), "it is off by default: {without}");
    for missing in [&oidc[..2], &[oidc[0], oidc[2]]] {
        let args: Vec<&str> = panel.iter().chain(missing).flat_map(|set| ["--set", *set]).collect();
        assert!(render(Helm::Four, &args).unwrap_err().contains("dashboard.oidc."), "{missing:?}");
    }
}

#[test]
fn the_image_is_named_by_tag_or_digest() {
    let digest = format!("sha256:{}", "4a".repeat(32));
    let by_digest = format!("image.digest={digest}");
    let own = env!("CARGO_PKG_VERSION");
    for (set, image) in [
        (vec![], format!("sluice:{own}")),
        (vec!["image.repository=here/there/sluice", "image.tag=edge"], "here/there/sluice:edge".to_owned()),
        (vec!["image.tag=edge", by_digest.as_str()], format!("sluice@{digest}")),
    ] {
        let objects = rendered(&set);
        let deployment = one(&objects, "Deployment", "sluice");
        assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], json!(image));
    }
}

#[test]
fn there_are_two_that_are_spread_and_kept_from_being_drained_at_once() {
    let objects = rendered(&[]);
    let budget = &one(&objects, "PodDisruptionBudget", "sluice")["spec"];
    assert_eq!(
        (&budget["maxUnavailable"], &budget["unhealthyPodEvictionPolicy"]),
        (&json!(1), &json!("AlwaysAllow"))
    );
    let deployment = &one(&objects, "Deployment", "sluice")["spec"];
    assert_eq!(deployment["replicas"], 2);
    let args = deployment["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(!args.iter().any(|arg| arg.as_str().unwrap().contains("leader")), "they elect one: {args:?}");
    assert_eq!(deployment["strategy"]["type"], "RollingUpdate");
    let spread = deployment["template"]["spec"]["topologySpreadConstraints"].as_array().unwrap();
    assert_eq!(spread.len(), 2);
    assert_eq!(spread[0]["labelSelector"], budget["selector"]);
    let alone = rendered(&["replicas=1"]);
    assert_eq!(one(&alone, "Deployment", "sluice")["spec"]["strategy"], deployment["strategy"]);
    assert_eq!(kinds(&alone).get("PodDisruptionBudget"), None);
}

/// What one replica needs while another one has more shards, each has.
#[test]
fn several_shards_are_an_argument_and_the_rights_are_the_same_for_any_number() {
    let arg = |objects: &[Value]| {
        let deployment = one(objects, "Deployment", "sluice");
        let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let args: Vec<String> = serde_json::from_value(args).unwrap();
        args.into_iter().find(|arg| arg.contains("shards"))
    };
    let (plain, three) = (rendered(&[]), rendered(&["shards=3", "replicas=4"]));
    assert_eq!((arg(&plain), arg(&three)), (None, Some("--shards=3".to_owned())));
    let role = one(&plain, "Role", "sluice");
    assert_eq!(role, one(&three, "Role", "sluice"));
    let names: Vec<&Value> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["resources"] == json!(["leases"]) && rule["resourceNames"].is_array())
        .flat_map(|rule| rule["resourceNames"].as_array().unwrap())
        .collect();
    assert_eq!(
        (names.len(), names[0], names[15]),
        (16, &json!("sluice-controller"), &json!("sluice-controller-15"))
    );
}

/// Whether the policy that writes names is there, by what is known of the cluster.
#[test]
fn the_mutating_policy_comes_where_the_cluster_has_its_kind() {
    let kind = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";
    for (args, expected) in [
        (vec!["--kube-version", "1.35.4"], false),
        (vec!["--kube-version", "1.36.0"], true),
        (vec!["--kube-version", "1.37.1+vendor.3"], true),
        // A cluster says which kinds it has, whatever its version is.
        (vec!["--kube-version", "1.36.0", "--api-versions", "v1/Pod"], false),
        (vec!["--kube-version", "1.35.0", "--api-versions", "v1/Pod", "--api-versions", kind], true),
        (vec!["--kube-version", "1.35.0", "--set", "admissionPolicies.identity=Always"], true),
        (vec!["--kube-version", "1.36.0", "--set", "admissionPolicies.identity=Never"], false),
    ] {
        let objects = render(Helm::Four, &args).unwrap();
        let kinds = kinds(&objects);
        assert_eq!(kinds.contains_key("MutatingAdmissionPolicy"), expected, "{args:?}");
        assert_eq!(kinds.get("ValidatingAdmissionPolicy"), Some(&1), "{args:?}");
    }
    let refused = render(Helm::Four, &["--kube-version", "1.31.0"]).unwrap_err();
    assert!(refused.contains("requires kubeVersion"), "{refused}");
}

#[test]
fn the_kinds_and_policies_are_those_of_the_program_and_the_kinds_are_kept() {
    let keep = json!({"helm.sh/resource-policy": "keep"});
    let (kept, given_up) = (rendered(&["commonLabels.team=web"]), rendered(&["crds.keep=false"]));
    for file in ["crds", "policies"].iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let copied = format!("charts/sluice/files/{}", path.display());
        assert!(
            std::fs::read_to_string(&copied).is_ok_and(|copy| copy == text),
            "{copied} is another: cp {} {copied}",
            path.display()
        );
        for shipped in super::documents(&text) {
            let (kind, name) =
                (shipped["kind"].as_str().unwrap(), shipped["metadata"]["name"].as_str().unwrap());
            let annotations = if path.starts_with("crds") { keep.clone() } else { Value::Null };
            for (objects, annotations) in [(&kept, annotations), (&given_up, Value::Null)] {
                let mut found = one(objects, kind, name).clone();
                let metadata = found["metadata"].as_object_mut().unwrap();
                assert_eq!(metadata.remove("annotations").unwrap_or_default(), annotations, "{name}");
                let labels = metadata.remove("labels").unwrap();
                assert_eq!(labels["app.kubernetes.io/instance"], "sluice");
                assert!(found == shipped, "{kind} {name} is another in the chart");
            }
        }
    }
    let list = std::fs::read_to_string("charts/sluice/files/crds/kustomization.yaml").unwrap();
    let list: Value = serde_saphyr::from_str(&list).unwrap();
    assert_eq!(list["resources"].as_array().unwrap().len(), std::fs::read_dir("crds").unwrap().count());
}

#[test]
fn the_charts_metadata_is_the_programs() {
    let chart = std::fs::read_to_string("charts/sluice/Chart.yaml").unwrap();
    let chart: Value = serde_saphyr::from_str(&chart).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&json!(version), &json!(version)));
    let list = |of: &str| -> Vec<Value> {
        serde_saphyr::from_str(chart["annotations"][of].as_str().unwrap()).unwrap()
    };
    let described: Vec<Value> = list("artifacthub.io/crds")
        .into_iter()
        .map(|crd| json!([crd["kind"], crd["version"], crd["name"]]))
        .collect();
    let crds = sluice::api::all_crds()
        .into_iter()
        .map(|crd| json!([crd.spec.names.kind, crd.spec.versions[0].name, crd.metadata.name]));
    for crd in crds {
        assert!(described.contains(&crd), "artifacthub.io/crds lacks {crd}");
    }
    let example = list("artifacthub.io/crdsExamples").remove(0);
    let minimal = std::fs::read_to_string("examples/minimal.yaml").unwrap();
    let minimal: Value = serde_saphyr::from_str(&minimal).unwrap();
    assert_eq!(example, minimal);
}

/// Path, default and description of each value in a schema, as rows of the page's table.
fn rows(path: &str, schema: &Value, value: &Value, into: &mut Vec<(String, Value, String)>) {
    if let Some(description) = schema["description"].as_str() {
        into.push((path.to_owned(), value.clone(), description.to_owned()));
        return;
    }
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(schema["additionalProperties"], json!(false), "{path} takes anything");
    let unknown = value.as_object().unwrap().keys().find(|key| !properties.contains_key(*key));
    assert_eq!(unknown, None, "{path}: a default for a value that is refused");
    for (name, schema) in properties {
        // Helm's own.
        if path.is_empty() && name == "global" {
            continue;
        }
        let value = value.get(name).unwrap_or_else(|| panic!("values.yaml has no {path}.{name}"));
        rows(format!("{path}.{name}").trim_start_matches('.'), schema, value, into);
    }
}

#[test]
fn the_page_tells_each_value_as_the_schema_does() {
    let read = |file: &str| std::fs::read_to_string(file).unwrap();
    let schema: Value = serde_json::from_str(&read("charts/sluice/values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&read("charts/sluice/values.yaml")).unwrap();
    let mut expected = Vec::new();
    rows("", &schema, &values, &mut expected);
    let page = read("docs/installation.md");
    let table =
        page.split("| value | default | what it does |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut told: Vec<(String, Value, String)> = Vec::new();
    for line in table.lines().skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').splitn(3, " | ").map(str::trim).collect();
        let default = serde_json::from_str(cells[1].trim_matches('`')).unwrap();
        told.push((cells[0].trim_matches('`').to_owned(), default, cells[2].to_owned()));
    }
    told.sort_by(|a, b| a.0.cmp(&b.0));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told, expected);
}

#[test]
fn the_kustomize_files_are_what_the_chart_renders() {
    let into = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("deploy/kustomize/generate")
        .arg(into.path())
        .env("HELM", Helm::Four.program())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for file in ["base/sluice.yaml", "identity/policy.yaml"] {
        let kept = std::fs::read_to_string(format!("deploy/kustomize/{file}")).unwrap();
        let new = std::fs::read_to_string(into.path().join(file)).unwrap();
        assert!(new == kept, "deploy/kustomize/{file} is out of date: run deploy/kustomize/generate");
    }
}
