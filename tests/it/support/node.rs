//! A node on this machine: a real kubelet, with containerd and runc. The app of its own image reads a mounted file and tells what it
//! read, from inside of its container.
//!
//! It takes root, and Debian's packages containerd and runc; without them starting one fails and names what is missing.
//! This file leans on none of its neighbours, so that a benchmark can take it in by its path.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Node as NodeObject, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use sluice::api::FlagSet;
use sluice::sandbox::{ControlPlane, Options};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// The one name that every machine resolves.
const NAME: &str = "localhost";
/// What the node's own image is called.
const IMAGE: &str = "sluice.test/app:1";
/// The kubelet's version; one that calls itself v0.0.0 is refused.
const LINKER_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";
/// Longest time that anything here may take before it counts as never happening.
const GIVE_UP: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(5);
/// How often a kubelet lists its containers. Until the next time it looks at no pod that it has just looked at, which
/// nothing shows.
const RELIST: Duration = Duration::from_secs(1);

/// A running node. Dropping it ends it and everything that ran on it.
pub struct Node {
    child: Child,
    folder: PathBuf,
}

/// A pod whose app reads a file.
pub struct App {
    /// Name of the pod.
    pub name: String,
    pods: Api<Pod>,
    socket: PathBuf,
    logs: PathBuf,
}

/// A control plane that nodes can join.
pub async fn control_plane() -> ControlPlane {
    control_plane_with(Options::default()).await
}

/// The same with more than it needs.
pub async fn control_plane_with(options: Options) -> ControlPlane {
    // Added to the RBAC that every sandbox has.
    let extra_api_server_args = ["--authorization-mode=Node", "--enable-admission-plugins=NodeRestriction"];
    let extra_api_server_args = extra_api_server_args.map(str::to_owned).to_vec();
    ControlPlane::start(Options { extra_api_server_args, ..options }).await.unwrap()
}

impl Node {
    /// Builds the node's programs if need be, which takes a minute the first time, and joins a control plane of
    /// [`control_plane`].
    pub async fn join(plane: &ControlPlane) -> Node {
        Node::with_images(plane, &[]).await
    }

    /// The same with further images, each an archive.
    pub async fn with_images(plane: &ControlPlane, images: &[&Path]) -> Node {
        let programs = tokio::task::spawn_blocking(build).await.unwrap();
        // It goes with the control plane, whichever way that goes.
        let folder = plane.data_dir().join("node");
        std::fs::create_dir_all(folder.join("sockets")).unwrap();
        std::fs::copy(programs.join("app"), folder.join("app")).unwrap();
        std::fs::create_dir(folder.join("images")).unwrap();
        for image in images {
            std::fs::copy(image, folder.join("images").join(image.file_name().unwrap())).unwrap();
        }
        let kubeconfig = plane.user_kubeconfig(&format!("system:node:{NAME}"), &["system:nodes"]).unwrap();
        let kubeconfig = serde_json::to_string(&kubeconfig).unwrap();
        std::fs::write(folder.join("kubeconfig"), kubeconfig).unwrap();

        let log = File::create(folder.join("node.log")).unwrap();
        let child = Command::new(programs.join("node"))
            .arg("run")
            .arg(&folder)
            // It ends when this end of the pipe closes, however this process ends.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut node = Node { child, folder };
        node.until_ready(&plane.client().unwrap()).await;
        node
    }

    async fn until_ready(&mut self, client: &Client) {
        let nodes: Api<NodeObject> = Api::all(client.clone());
        let begun = sluice::clock::monotonic();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the node ended, {status}:\n{}", logs(&self.folder));
            }
            let node = nodes.get_opt(NAME).await.unwrap();
            let conditions = node.and_then(|node| node.status).and_then(|status| status.conditions);
            if conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True") {
                return;
            }
            assert!(begun.elapsed() < GIVE_UP, "the node is not ready:\n{}", logs(&self.folder));
            sluice::clock::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Runs a pod that mounts a ConfigMap, its folder or, with `sub_path`, its `flags.json` alone, and waits until its
    /// app reads that file.
    pub async fn run(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
        config_map: &str,
        sub_path: bool,
    ) -> App {
        let sockets = self.folder.join("sockets");
        let mount = if sub_path {
            json!({"name": "flags", "mountPath": "/flags/flags.json", "subPath": "flags.json"})
        } else {
            json!({"name": "flags", "mountPath": "/flags"})
        };
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "nodeName": NAME,
                "hostNetwork": true,
                "terminationGracePeriodSeconds": 0,
                "volumes": [
                    {"name": "flags", "configMap": {"name": config_map}},
                    {"name": "sockets", "hostPath": {"path": sockets, "type": "Directory"}},
                ],
                "containers": [{
                    "name": "app",
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "args": ["serve", format!("/sockets/{name}"), "/flags/flags.json"],
                    "volumeMounts": [mount, {"name": "sockets", "mountPath": "/sockets"}],
                }],
            },
        }))
        .unwrap();
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let app = App { name: name.to_owned(), pods, socket: sockets.join(name), logs: self.folder.clone() };
        app.until("its app reads a file", |_| true).await;
        app
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Closing the pipe is what tells it; what it cleans up is gone when it has ended.
        drop(self.child.stdin.take());
        let _status = self.child.wait();
    }
}

impl App {
    /// What the app reads now, inside of its container; `None` while it does not run or finds no flags.
    pub async fn read(&self) -> Option<Value> {
        let mut text = String::new();
        let mut stream = UnixStream::connect(&self.socket).await.ok()?;
        stream.read_to_string(&mut text).await.ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Waits until the app reads what is wanted; how long that took.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Duration {
        let begun = sluice::clock::monotonic();
        let mut last = None;
        while begun.elapsed() < GIVE_UP {
            last = self.read().await;
            if last.as_ref().is_some_and(&wanted) {
                return begun.elapsed();
            }
            sluice::clock::sleep(POLL).await;
        }
        let pod = self.pods.get(&self.name).await.map(|pod| pod.status);
        panic!("pod {} never: {what}; it read {last:?} and is {pod:#?}\n{}", self.name, logs(&self.logs));
    }

    /// Has the kubelet look at the pod's volumes until its app reads what is wanted.
    pub async fn refreshed_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        self.touch().await;
        self.until(what, wanted).await;
    }

    /// The pod's annotation of this name.
    pub async fn annotation(&self, name: &str) -> Option<String> {
        self.pods.get(&self.name).await.unwrap().metadata.annotations?.remove(name)
    }

    /// Has the kubelet look at the pod's volumes now, as any change of the pod does.
    async fn touch(&self) {
        let stamp = format!("{:?}", sluice::clock::monotonic());
        let patch = json!({"metadata": {"annotations": {"sluice.test/touched": stamp}}});
        self.pods.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
}

/// One emergency: every rollout of a FlagSet is taken to control from git. Returns the time from the answer to that edit
/// until the app reads the flag at control inside of its container.
///
/// Before it, the flag must be served to somebody, and the app must read so.
pub async fn emergency(client: &Client, namespace: &str, flag_set: &str, flag: &str, app: &App) -> Duration {
    edit(client, namespace, flag_set, json!("Control")).await;
    app.until("the flag is at control", |file| is_at_control(file, flag)).await
}

/// Lifts the emergency and waits until the app reads that the flag is served again, so that there can be another.
pub async fn lift(client: &Client, namespace: &str, flag_set: &str, flag: &str, app: &App) {
    edit(client, namespace, flag_set, Value::Null).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let begun = sluice::clock::monotonic();
    loop {
        let map = maps.get(flag_set).await.unwrap();
        let text = map.data.and_then(|mut data| data.remove("flags.json")).unwrap_or_default();
        if serde_json::from_str(&text).is_ok_and(|file| !is_at_control(&file, flag)) {
            break;
        }
        assert!(begun.elapsed() < GIVE_UP, "{flag} is never served again: {text}");
        sluice::clock::sleep(POLL).await;
    }
    // Nobody nudges for a raise.
    app.touch().await;
    app.until("the flag is served again", |file| !is_at_control(file, flag)).await;
    sluice::clock::sleep(RELIST).await;
}

async fn edit(client: &Client, namespace: &str, flag_set: &str, emergency: Value) {
    let sets: Api<FlagSet> = Api::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(json!({"spec": {"emergency": emergency}}));
    sets.patch(flag_set, &PatchParams::default(), &patch).await.unwrap();
}

/// Whether nobody is served by a file's flag.
pub fn is_at_control(file: &Value, flag: &str) -> bool {
    let live = sluice::flags::parse(&file.to_string()).ok().and_then(|file| file.live(flag));
    live.is_some_and(|live| live.served.iter().all(|(_, percent)| percent.thousandths() == 0))
}

/// Builds `node` and `app` with Go, which does nothing where they are up to date; the folder that they are in.
fn build() -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    std::fs::create_dir_all(&out).unwrap();
    for program in ["node", "app"] {
        let output = Command::new("go")
            .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"])
            // As the control plane is built: what both have in common is compiled once.
            .args(["-gcflags=all=-dwarf=false", "-ldflags", LINKER_FLAGS, "-o"])
            .arg(out.join(program))
            .arg(format!("./{program}"))
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control-plane"))
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env("GOGC", "400")
            .output()
            .expect("go is there, from https://go.dev/dl or as the package golang");
        assert!(output.status.success(), "go build {program}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    out
}

/// The ends of a node's logs.
fn logs(folder: &Path) -> String {
    ["node.log", "containerd.log", "kubelet.log"].map(|name| tail(folder, name)).join("\n")
}

fn tail(folder: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("-- {name}\n{}", lines[lines.len().saturating_sub(25)..].join("\n"))
}
