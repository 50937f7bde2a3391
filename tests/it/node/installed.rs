//! The operator as people run it: its image in a container of a real kubelet, from what the chart renders.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sluice::api::FeatureRollout;
use sluice::sandbox::{ControlPlane, Options};

use crate::chart::{NAMESPACE, rendered};
use crate::dashboard::browser::Browser;
use crate::dashboard::people;
use crate::support::bare::{Recorded, assert_never_fell, served};
use crate::support::node::{self, Node};
use crate::support::process::sluice_binary;
use crate::support::{Space, eventually, is_ready};

const IMAGE: &str = "sluice.test/operator:test";
/// What the pods of the controller and of the panel are labelled with.
pub const CONTROLLER: &str = "sluice";
const PANEL: &str = "sluice-dashboard";

const HELD: &str = r#"{metadata: {name: held}, spec: {cohorts: [{name: all}],
    phases: [{name: ga, steps: [{name: half, cohorts: {all: 50}, hold: 1000h}, {cohorts: {all: 100}}]}]}}"#;
const CLIMBING: &str = r#"{metadata: {name: climbing}, spec: {cohorts: [{name: all}],
    phases: [{name: ga, ramp: {percents: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100], every: 2s}}]}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_image_runs_on_a_node_from_the_chart_and_apps_read_what_it_serves() {
    let options = Options { controller_manager: true, ..Options::default() };
    let plane = node::control_plane_with(options).await;
    let client = plane.client().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("operator.tar");
    image(&sluice_binary(), IMAGE, &archive);
    let node = Node::with_images(&plane, &[&archive]).await;
    let panel = install(&plane, folder.path());
    let operator = until_it_runs(&plane, CONTROLLER, None).await;

    let space = Space::on(client.clone(), "shop").await;
    space.apply::<FeatureRollout>(HELD).await.unwrap();
    space.until("held", "served", |status| status.exposed() && is_ready(status)).await;
    let app = node.run(&client, "shop", "app", "held", false).await;
    assert_eq!(served(&app.read().await.unwrap(), "held").unwrap().1["all"], 50.0);

    // The panel has a pod of its own without any rights: everybody sees there what they may.
    until_it_runs(&plane, PANEL, None).await;
    for (name, verbs, sees) in [("sees", &["get", "list", "watch"][..], true), ("blind", &["get"][..], false)]
    {
        let token = people::token(&space, name, verbs).await;
        let mut browser = Browser::at(panel, people::PUBLIC);
        let entered = browser.send(Method::POST, "/enter", Some(format!("token={token}"))).await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.text);
        if sees {
            browser.until("/?namespace=shop", "/rollouts/shop/held").await;
        } else {
            let page = browser.get("/?namespace=shop").await;
            assert_eq!(page.status, StatusCode::OK);
            assert!(!page.text.contains("held"), "{}", page.text);
        }
    }

    // Its pod is deleted in the middle of the steps: another takes its place, and goes on where it was.
    let recorded = Recorded::start(&space, "climbing");
    space.apply::<FeatureRollout>(CLIMBING).await.unwrap();
    space.until("climbing", "at 30 %", |status| status.served.as_deref() == Some("all=30%")).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    pods.delete(&operator, &DeleteParams::default()).await.unwrap();
    let next = until_it_runs(&plane, CONTROLLER, Some(&operator)).await;
    assert_ne!(next, operator);
    space.until("climbing", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    let versions = recorded.of("climbing");
    assert_never_fell(&versions);
    let steps: Vec<f64> = versions.iter().map(|(_, served)| served["all"]).filter(|all| *all > 0.0).collect();
    assert_eq!(steps, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0], "each step once");

    space.apply::<FeatureRollout>(&HELD.replace("50", "5")).await.unwrap();
    space
        .until("held", "lowered", |status| status.served.as_deref() == Some("all=5%") && is_ready(status))
        .await;
    app.refreshed_until("what the new pod wrote", |file| served(file, "held").unwrap().1["all"] == 5.0).await;
    let output = Command::new(sluice_binary())
        .arg("check")
        .env("KUBECONFIG", plane.kubeconfig_path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// The image of a program, made as the pages say.
pub fn image(program: &Path, name: &str, archive: &Path) {
    let output = Command::new("deploy/oci/layout").arg(program).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(archive, output.stdout).unwrap();
}

/// Applies what the chart renders, changed where this node is none of a cluster: there is no scheduler, no network of pods, and
/// no way to the API server but its own address. Returns where the panel is.
fn install(plane: &ControlPlane, folder: &Path) -> SocketAddr {
    let (repository, tag) = IMAGE.split_once(':').unwrap();
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let values = [
        format!("image.repository={repository}"),
        format!("image.tag={tag}"),
        "image.pullPolicy=Never".to_owned(),
        "replicas=1".to_owned(),
        format!("service.port={}", ports[0]),
        format!("controller.probesPort={}", ports[3]),
        "dashboard.enabled=true".to_owned(),
        format!("dashboard.publicUrl={}", people::PUBLIC),
        "dashboard.namespaces={shop}".to_owned(),
    ];
    let mut objects = rendered(&values.each_ref().map(String::as_str));
    let server = plane.client_config().cluster_url;
    for deployment in objects.iter_mut().filter(|object| object["kind"] == "Deployment") {
        let spec = &mut deployment["spec"];
        // The one that goes still has the port.
        spec["strategy"] = json!({"type": "Recreate"});
        let pod = &mut spec["template"]["spec"];
        pod["nodeName"] = json!("localhost");
        pod["hostNetwork"] = json!(true);
        let container = &mut pod["containers"][0];
        let is_panel = container["name"] == "dashboard";
        let args = container["args"].as_array_mut().unwrap();
        let probed = if is_panel {
            let own = ["--address=", "--probes-address=", "--api-server="];
            args.retain(|arg| !own.iter().any(|own| arg.as_str().unwrap().starts_with(own)));
            args.extend([
                json!(format!("--address=127.0.0.1:{}", ports[1])),
                json!(format!("--probes-address=127.0.0.1:{}", ports[2])),
                json!(format!("--api-server={}", server.to_string().trim_end_matches('/'))),
            ]);
            ports[2]
        } else {
            ports[3]
        };
        container["ports"] = Value::Null;
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            if container[probe].is_object() {
                container[probe]["httpGet"]["port"] = json!(probed);
                // Without a network of pods the kubelet finds them at the loopback.
                container[probe]["httpGet"]["host"] = json!("127.0.0.1");
            }
        }
        if !is_panel {
            container["env"].as_array_mut().unwrap().extend([
                json!({"name": "KUBERNETES_SERVICE_HOST", "value": server.host().unwrap()}),
                json!({"name": "KUBERNETES_SERVICE_PORT", "value": server.port_u16().unwrap().to_string()}),
            ]);
        }
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    objects.insert(0, namespace);
    let file = folder.join("install.json");
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).unwrap();
    let output = Command::new(plane.kubectl_path().unwrap())
        .args(["apply", "--server-side", "--filename"])
        .arg(&file)
        .env("KUBECONFIG", plane.kubeconfig_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    SocketAddr::from(([127, 0, 0, 1], ports[1]))
}

/// A port that nobody listens at.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until a pod of this name, another than this one, is ready by the kubelet's own probes; the pod's name.
pub async fn until_it_runs(plane: &ControlPlane, name: &str, other_than: Option<&str>) -> String {
    let pods: Api<Pod> = Api::namespaced(plane.client().unwrap(), NAMESPACE);
    let mut found = None;
    let log = plane.data_dir().join("node/kubelet.log");
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
    eventually(&format!("{name} runs; see {}", log.display()), async || {
        let all = pods.list(&ours).await.unwrap().items;
        let is_ready = |pod: &Pod| {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
        };
        found = all
            .iter()
            .find(|pod| is_ready(pod) && Some(pod.name_any().as_str()) != other_than)
            .map(ResourceExt::name_any);
        found.is_some()
    })
    .await;
    found.unwrap()
}
