//! Whatever is logged, no token of a person is in it.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Stdio};

use super::people::{self, PUBLIC};
use super::*;
use crate::support::eventually;
use crate::support::measurements::{asked, certificates, listening};
use crate::support::process::{ControllerProcess, sluice_binary};
use crate::support::proxy::Proxy;

/// The panel as a process of its own; it ends with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_gets_into_the_log_of_the_panel_or_of_the_controller_whatever_is_logged() {
    let space = bare_space("panel-logs").await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    std::fs::write(file("proxy"), proxy.kubeconfig()).unwrap();
    let listening = listening();
    let told_at = listening.address.to_string();
    let args = ["--namespace", &space.name, "--measurements-address", &told_at];
    let controller = ControllerProcess::start_traced_with(&file("proxy"), &file("controller.log"), &args);
    space.apply::<FeatureRollout>(STEPS).await.unwrap();
    std::fs::write(file("ca.crt"), certificates(&space).await).unwrap();

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let log = File::create(file("panel.log")).unwrap();
    let panel = Command::new(sluice_binary())
        .args(["dashboard", "--sign-in", "token", "--public-url", PUBLIC, "--namespaces", &space.name])
        .args(["--address", &address.to_string(), "--kubeconfig"])
        .arg(bare().kubeconfig_path())
        .args(["--measurements-url", &format!("https://localhost:{}", listening.address.port())])
        .arg("--measurements-certificate-authority")
        .arg(file("ca.crt"))
        .env("RUST_LOG", "trace")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let _panel = Process(panel);
    eventually("the panel listens", async || std::net::TcpStream::connect(address).is_ok()).await;

    let token = people::token(&space, "acts", &["get", "list", "watch", "pause"]).await;
    let mut browser = Browser::at(address, PUBLIC);
    for wrong in ["wrong-but-secret", &format!("{token}x")] {
        browser.send(Method::POST, "/enter", Some(format!("token={wrong}"))).await;
        browser.get(&format!("/enter?token={wrong}")).await;
    }
    browser.send(Method::POST, "/enter", Some(format!("token={token}"))).await;
    let page = page_of(&space);
    browser.until("/", "Dreams").await;
    browser.until(&page, &format!("{page}/pause\"")).await;
    let csrf = hidden(&browser.until(&format!("{page}/pause"), "name=\"reason\"").await.text, "csrf");
    browser.form(&format!("{page}/pause"), &csrf, "").await;
    let session = browser.session();
    let rollout = format!("{}/dreams", space.name);
    let ca = std::fs::read_to_string(file("ca.crt")).unwrap();
    for authorization in [format!("Bearer {token}"), "Bearer wrong-but-secret".to_owned()] {
        asked(&ca, listening.address, &authorization, &rollout).await.unwrap();
    }
    browser.form("/leave", &csrf, "").await;
    assert!(controller.stop().await.success());
    for name in ["panel.log", "controller.log"] {
        let text = std::fs::read_to_string(file(name)).unwrap();
        assert!(!text.is_empty(), "{name}: nothing is logged");
        // The last part of a token is its signature, without which the rest opens nothing.
        let signature = token.rsplit('.').next().unwrap();
        for secret in [token.as_str(), signature, "wrong-but-secret", session.as_str(), csrf.as_str()] {
            assert!(!text.contains(secret), "{name} has {secret}");
        }
    }
}
