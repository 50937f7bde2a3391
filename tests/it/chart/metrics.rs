//! Protected metrics: told to whoever may `get` the path `/metrics`, over TLS, and at no other port.

use std::net::SocketAddr;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Api, PostParams};
use serde_json::json;
use sluice::sandbox::ControlPlane;

use super::{NAMESPACE, kinds, one, rendered};
use crate::support::eventually;
use crate::support::measurements::get;

/// A service account that the chart's role for readers of metrics is bound to reads them, and nobody else does.
pub async fn are_told_to_their_readers_alone(
    plane: &ControlPlane,
    certificates: &str,
    address: SocketAddr,
    controllers_own: &str,
) {
    let (prometheus, other) = (account(plane, "prometheus").await, account(plane, "other").await);
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "prometheus-reads-sluice"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sluice-metrics-reader",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": NAMESPACE}],
    }))
    .unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(plane.client().unwrap());
    bindings.create(&PostParams::default(), &binding).await.unwrap();

    let read =
        async |authorization: &str| get(certificates, address, authorization, "/metrics").await.unwrap();
    let prometheus = format!("Bearer {prometheus}");
    // The API server has to hear of the binding, and what it said before is believed for seconds.
    eventually("the metrics are read", async || read(&prometheus).await.0 == 200).await;
    let (_, text) = read(&prometheus).await;
    assert!(text.contains("sluice_build_info{") && text.ends_with("# EOF\n"), "{text}");
    for (authorization, code) in [
        (format!("Bearer {other}"), 403),
        (format!("Bearer {controllers_own}"), 403),
        (format!("{prometheus}x"), 401),
        ("Basic cHJvbWV0aGV1czp4".to_owned(), 401),
    ] {
        let (status, text) = read(&authorization).await;
        assert_eq!(status, code, "{text}");
        assert!(!text.contains("sluice_"), "{text}");
    }
    let measurements = format!("/measurements/{NAMESPACE}/one");
    let (status, _) = get(certificates, address, &prometheus, &measurements).await.unwrap();
    assert_eq!(status, 403, "who reads metrics reads no rollout");
}

/// The token of a new account in the operator's namespace, without any rights.
async fn account(plane: &ControlPlane, name: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.client().unwrap(), NAMESPACE);
    let account = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    answer.status.unwrap().token.unwrap()
}

#[test]
fn no_other_port_tells_them_and_prometheus_asks_where_they_are() {
    let others = ["serviceMonitor.enabled=true", "networkPolicy.enabled=true"];
    let objects = rendered(&["metrics.protected=true", others[0], others[1]]);
    let container = &one(&objects, "Deployment", "sluice")["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].to_string();
    assert!(args.contains("--protect-metrics") && !args.contains("--address="), "{args}");
    let ports: Vec<_> = container["ports"].as_array().unwrap().iter().map(|port| &port["name"]).collect();
    assert_eq!(ports, ["probes", "measurements"]);
    assert_eq!(kinds(&objects)["Service"], 1, "that of the measurements");
    let endpoint = &one(&objects, "ServiceMonitor", "sluice")["spec"]["endpoints"][0];
    assert_eq!((&endpoint["port"], &endpoint["scheme"]), (&json!("measurements"), &json!("https")));
    let name = format!("sluice-measurements.{NAMESPACE}.svc");
    assert_eq!(endpoint["tlsConfig"]["serverName"], name);
    assert!(args.contains(&format!("--measurements-name={name}\"")), "{args}");
    let ingress = &one(&objects, "NetworkPolicy", "sluice")["spec"]["ingress"];
    assert_eq!(ingress[0]["ports"][0]["port"], "measurements");

    let plain = rendered(&others);
    assert!(!plain.iter().any(|object| object["metadata"]["name"] == "sluice-metrics-reader"));
    assert_eq!(one(&plain, "ServiceMonitor", "sluice")["spec"]["endpoints"][0]["port"], "http");
    assert_eq!(one(&plain, "NetworkPolicy", "sluice")["spec"]["ingress"][0]["ports"][0]["port"], "http");
}
