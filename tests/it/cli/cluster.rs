//! Commands that ask a cluster: a real one, a dead one, and one that never answers.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{conditions, wait::await_condition};
use kube::{Api, Client};
use serde_json::{Value, json};
use sluice::api::FeatureRollout;
use sluice::sandbox::{ControlPlane, Options};

use super::{command, sluice, write};

fn kubeconfig(dir: &std::path::Path, server: &str) -> String {
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: \"{server}\"}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nusers: [{{name: a, user: {{}}}}]\ncurrent-context: a\n"
    );
    write(dir, "kubeconfig", &text)
}

#[test]
fn the_panel_with_a_kubeconfigs_identity_serves_this_machine_only() {
    let dir = tempfile::tempdir().unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = kubeconfig(dir.path(), &format!("http://{dead}"));
    let ran = sluice(&["dashboard", "--kubeconfig", &config, "--address", "0.0.0.0:0"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("0.0.0.0:0 is no loopback address"), "{}", ran.err);
}

#[test]
fn a_dead_or_silent_api_server_is_named_within_ten_seconds() {
    let dir = tempfile::tempdir().unwrap();
    // One port where nobody listens, and one where connections are taken and never answered.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [dead, silent.local_addr().unwrap()] {
        let server = format!("http://{address}");
        let config = kubeconfig(dir.path(), &server);
        for args in [&["get"][..], &["get", "x"], &["describe", "x"], &["history", "x"], &["watch"]] {
            let begun = Instant::now();
            let ran = sluice(&[args, &["--kubeconfig", &config]].concat());
            assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{args:?}");
            assert!(ran.err.starts_with("error: ") && ran.err.contains(&server), "{}", ran.err);
            assert!(begun.elapsed() < Duration::from_secs(10), "{args:?} {:?}", begun.elapsed());
        }
    }
}

/// An API server that answers one list and is gone.
fn goes_away() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.is_empty()));
        let list = json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRolloutList",
            "metadata": {"resourceVersion": "1"}, "items": []})
        .to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n{list}", list.len()).unwrap();
    });
    server
}

/// It asked again at once, and said so each time: millions of lines in minutes.
#[test]
fn watch_gives_up_a_server_that_goes_away_and_says_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = goes_away();
    let config = kubeconfig(dir.path(), &server);
    let ran = sluice(&["watch", "--kubeconfig", &config, "--give-up-after", "1s"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.err);
    assert!(lines[0].contains(&server) && lines[0].ends_with("; trying again for 1s"), "{}", ran.err);
    assert!(lines[1].starts_with("error: ") && lines[1].contains(&server), "{}", ran.err);
}

async fn install(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for entry in std::fs::read_dir("crds").unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let crd: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
        let crd = crds.create(&PostParams::default(), &crd).await.unwrap();
        let name = crd.metadata.name.unwrap();
        await_condition(crds.clone(), &name, conditions::is_crd_established()).await.unwrap();
    }
}

/// kubectl is asked what it would send, for scalars that its reader and YAML 1.2 disagree about.
fn reads_as_kubectl_does(kubectl: &std::path::Path, config: &str) {
    let text = "apiVersion: sluice.dev/v1alpha1\nkind: FeatureRollout\nmetadata: {name: odd}\nspec:\n  odd:\n  \
        scalars: [on, Off, yes, n, Y, oN, 'on', 010, 0o17, 0x1F, 0b11, 1_000, -5, +5, 75.0, 0.5, .5, 1e3, 5., \
        0.5%, 09:00, 12:30:45, 2025-09-08, 2025-09-08T09:00:00Z, 168h, ~, '', null, '~', !!str on, 1.2.3, 0, 08, \
        -0, 1e-7, 123456789012345678, 0x, _1, 1_, '010']\n\
        \x20 merged: {<<: &base {a: 1, b: 2}, a: 3}\n  folded: >\n    a\n    b\n"
        .replace("  odd:\n", "");
    let mut child = std::process::Command::new(kubectl)
        .args([
            "--kubeconfig",
            config,
            "create",
            "--dry-run=client",
            "--validate=false",
            "-o",
            "json",
            "-f",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let sent = child.wait_with_output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
    let mut input = sluice::cli::files::Input::default();
    input.add("-", &text);
    assert_eq!(input.objects[0].value["spec"], sent["spec"]);
}

fn status() -> Value {
    json!({"status": {
        "observedGeneration": 1, "uid": "u", "attempt": 1, "revision": 2, "deliveredRevision": 2,
        "state": "Holding", "phase": "ga", "step": "1/5", "exposure": "5%", "served": "everyone=5%",
        "next": "2030-01-01T00:00:00Z",
        "cohorts": [{"name": "everyone", "served": 5, "asked": 5}],
        "position": {"phase": "ga", "number": 1, "of": 5, "step": "5%", "content": "c",
            "enteredAt": "2025-09-08T09:00:00.000000Z", "holdFrom": "2025-09-08T09:00:00.000000Z"},
        "waitingFor": {"check": "Hold", "message": "the hold before ga/10% lasts", "until": "2030-01-01T00:00:00.000000Z"},
        "history": [{"seq": 1, "at": "2025-09-08T09:00:00.000000Z", "reason": "Started", "message": "first seen", "who": "git"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Holding", "message": "serving everyone 5%",
            "lastTransitionTime": "2025-09-08T09:00:00Z"}]
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_takes_the_crds_and_examples_and_tells_about_a_rollout() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = plane.client().unwrap();
    let config = plane.kubeconfig_path().to_str().unwrap().to_owned();
    let ask = |args: &[&str]| sluice(&[args, &["--kubeconfig", &config, "-n", "told"]].concat());
    let without = ask(&["get"]);
    assert_eq!(without.code, 3);
    assert!(without.err.contains("are the CustomResourceDefinitions installed?"), "{}", without.err);

    install(&client).await;
    let kubectl = plane.kubectl_path().expect("the control plane comes with kubectl");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    // The operator's namespace, where the playbook's MetricSource is, comes with the operator.
    let operators: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "sluice-system"}})).unwrap();
    namespaces.create(&PostParams::default(), &operators).await.unwrap();
    let apply = std::process::Command::new(&kubectl)
        .args(["--kubeconfig", &config, "apply", "-f", "examples/playbook"])
        .output()
        .unwrap();
    assert!(apply.status.success(), "{}", String::from_utf8_lossy(&apply.stderr));
    assert_eq!(String::from_utf8_lossy(&apply.stdout).lines().count(), 25);
    reads_as_kubectl_does(&kubectl, &config);

    let told: Namespace = serde_json::from_value(json!({"metadata": {"name": "told"}})).unwrap();
    namespaces.create(&PostParams::default(), &told).await.unwrap();
    let rollouts: Api<FeatureRollout> = Api::namespaced(client.clone(), "told");
    let text = std::fs::read_to_string("examples/minimal.yaml").unwrap();
    let minimal: FeatureRollout = serde_saphyr::from_str(&text).unwrap();
    rollouts.create(&PostParams::default(), &minimal).await.unwrap();

    let fresh = ask(&["describe", "new-search"]);
    assert!(fresh.out.contains("not seen by the controller yet"), "{}{}", fresh.out, fresh.err);
    let mut watch =
        command(&["watch", "--kubeconfig", &config, "-n", "told"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("told/new-search"));

    let params = PatchParams::default();
    rollouts.patch_status("new-search", &params, &Patch::Merge(status())).await.unwrap();
    let change = lines.next().unwrap();
    assert!(change.ends_with(
        "told/new-search Holding, phase ga, step 1/5, exposure 5%, served everyone=5%, next 2030-01-01T00:00:00Z"
    ), "{change}");

    let get = ask(&["get", "new-search"]);
    assert_eq!(get.code, 0, "{}", get.err);
    assert_eq!(get.out.lines().count(), 2);
    assert!(!get.out.contains("everyone=5%"), "{}", get.out);
    let wide = ask(&["get", "new-search", "-o", "wide"]);
    assert!(wide.out.contains("everyone=5%"), "{}", wide.out);
    let json = ask(&["get", "new-search", "-o", "json"]).json();
    assert_eq!((&json["step"], &json["ready"]), (&json!("1/5"), &json!("True")));
    assert_eq!(ask(&["get", "-o", "json"]).json().as_array().unwrap().len(), 1);
    let describe = ask(&["describe", "new-search"]).out;
    assert!(describe.contains("Position:     ga/5% (1/5), entered 2025-09-08T09:00:00Z"), "{describe}");
    assert!(
        describe.contains("Waits for:    Hold: the hold before ga/10% lasts (until 2030-01-01T00:00:00Z)")
    );
    assert_eq!(ask(&["describe", "new-search", "-o", "json"]).json()["status"]["revision"], json!(2));
    // Whoever may write an action's reason must not write to an admin's terminal.
    let forged = json!({"status": {"history": [{"seq": 2, "at": "2025-09-08T10:00:00.000000Z", "reason": "Paused", "who": "eve\u{202e}",
        "message": "lunch\n3     2025-09-08T11:00:00Z   Resumed   git   \r\u{1b}[2Kall is well\u{9b}1A"}]}});
    rollouts.patch_status("new-search", &params, &Patch::Merge(forged)).await.unwrap();
    for args in [
        &["history", "new-search"][..],
        &["describe", "new-search"],
        &["history", "new-search", "-o", "json"],
    ] {
        let shown = ask(args).out;
        assert!(shown.contains("lunch\\n3 "), "{shown:?}");
        assert!(shown.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')), "{shown:?}");
    }
    rollouts.patch_status("new-search", &params, &Patch::Merge(status())).await.unwrap();
    let history = ask(&["history", "new-search"]).out;
    assert_eq!(
        history,
        "SEQ   AT                     REASON    WHO   MESSAGE\n1     2025-09-08T09:00:00Z   Started   git   first seen\n"
    );
    let missing = ask(&["history", "gone"]);
    assert_eq!(missing.code, 3);
    assert!(missing.err.contains("there is no FeatureRollout gone in namespace told"), "{}", missing.err);

    rollouts.delete("new-search", &DeleteParams::default()).await.unwrap();
    assert!(lines.next().unwrap().ends_with("told/new-search Deleted"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(ask(&["get"]).err, "no rollouts found\n");
    plane.stop().await.unwrap();
}
