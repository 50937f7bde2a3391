//! The controller as a process, the Kustomizations that people copy, and what stands for git: an archive of its files, served
//! and announced as Flux's source-controller does.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use sluice::flags::sha256_hex;
use tokio::sync::OnceCell;

use crate::gitops::files::kubectl;
use crate::support::bare::bare;
use crate::support::go_tools::{flux_crds, kustomize_controller};
use crate::support::{Space, panics, pause};

/// Where the Kustomizations of `deploy/flux` are.
const NAMESPACE: &str = "flux-system";
/// What Flux polls what it waits for by, and what a slow machine takes besides.
const PATIENCE: Duration = Duration::from_secs(120);

type Archives = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// The controller, with a repository of its own; it sees the Kustomizations of one test. It ends when dropped.
pub struct Flux {
    child: Child,
    folder: tempfile::TempDir,
    client: Client,
    /// The name of the GitRepository, and the label of the Kustomizations.
    name: String,
    address: SocketAddr,
    archives: Archives,
}

impl Flux {
    /// Starts it as Flux's own manifests do, and with more arguments.
    pub async fn start(space: &Space, args: &[&str]) -> Flux {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let program = tokio::task::spawn_blocking(kustomize_controller).await.unwrap();
        INSTALLED.get_or_init(install).await;
        let archives = Archives::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(archive).with_state(archives.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args(["--watch-all-namespaces", "--enable-leader-election=false"])
            .args(["--metrics-addr=0", "--health-addr=0"])
            .arg(format!("--watch-label-selector=test={}", space.name))
            .args(args)
            .env("KUBECONFIG", bare().kubeconfig_path())
            .env("RUNTIME_NAMESPACE", NAMESPACE)
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let flux =
            Flux { child, folder, client: space.client.clone(), name: space.name.clone(), address, archives };
        let repository = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": flux.name},
            "spec": {"interval": "1h", "url": "https://git.example.com/shop.git"},
        });
        let repository = serde_json::from_value(repository).unwrap();
        flux.sources().create(&PostParams::default(), &repository).await.unwrap();
        flux
    }

    fn sources(&self) -> Api<DynamicObject> {
        api(&self.client, "source.toolkit.fluxcd.io", "GitRepository", "gitrepositories")
    }

    /// A commit: each folder has these objects and no others. Its revision.
    pub async fn commit(&self, folders: &[(&str, &[Value])]) -> String {
        let tree = tempfile::tempdir().unwrap();
        for (folder, objects) in folders {
            let folder = tree.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            for object in *objects {
                let file = format!("{}-{}.yaml", object["kind"], object["metadata"]["name"]).replace('"', "");
                // JSON, which is YAML, too.
                std::fs::write(folder.join(file), format!("{object:#}\n")).unwrap();
            }
        }
        let names = folders.iter().map(|(folder, _)| folder);
        let packed =
            Command::new("tar").arg("-C").arg(tree.path()).args(["-czf", "-"]).args(names).output().unwrap();
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        let digest = sha256_hex(&packed.stdout);
        let (revision, path) = (format!("main@sha1:{:.40}", digest), format!("/{digest}.tar.gz"));
        let artifact = json!({
            "url": format!("http://{}{path}", self.address), "path": path, "revision": revision,
            "digest": format!("sha256:{digest}"), "size": packed.stdout.len(), "lastUpdateTime": now(),
        });
        self.archives.lock().unwrap().insert(path, packed.stdout.into());
        let status = Patch::Merge(json!({"status": {"artifact": artifact}}));
        self.sources().patch_status(&self.name, &PatchParams::default(), &status).await.unwrap();
        revision
    }

    /// Applies a Kustomization of `deploy/flux` as it stands, but for its name and that of its source.
    pub async fn copy(&self, file: &str) -> Kustomization {
        let text = std::fs::read_to_string(Path::new("deploy/flux").join(file)).unwrap();
        let mut object: Value = serde_saphyr::from_str(&text).unwrap();
        let name = format!("{}-{}", self.name, object["metadata"]["name"].as_str().unwrap());
        assert_eq!(object["metadata"]["namespace"], NAMESPACE);
        object["metadata"] = json!({"name": name, "labels": {"test": self.name}});
        object["spec"]["sourceRef"]["name"] = json!(self.name);
        let api = api(&self.client, "kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations");
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
        Kustomization { api, name, log: self.folder.path().join("log") }
    }
}

impl Drop for Flux {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The kinds of Flux and its namespace, on the control plane that these tests share.
async fn install() {
    for kinds in tokio::task::spawn_blocking(flux_crds).await.unwrap() {
        let kinds = kinds.to_str().unwrap();
        kubectl(&["apply", "--server-side", "--filename", kinds]).await.unwrap();
        kubectl(&["wait", "--for=condition=Established", "--filename", kinds]).await.unwrap();
    }
    kubectl(&["create", "namespace", NAMESPACE]).await.unwrap();
}

async fn archive(State(archives): State<Archives>, uri: Uri) -> Result<Bytes, StatusCode> {
    archives.lock().unwrap().get(uri.path()).cloned().ok_or(StatusCode::NOT_FOUND)
}

fn api(client: &Client, group: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(group, "v1", kind);
    Api::namespaced_with(client.clone(), NAMESPACE, &ApiResource::from_gvk_with_plural(&kind, plural))
}

#[allow(clippy::disallowed_methods)]
fn now() -> String {
    Timestamp::now().to_string()
}

/// A Kustomization in the cluster.
pub struct Kustomization {
    api: Api<DynamicObject>,
    pub name: String,
    log: std::path::PathBuf,
}

/// What a Kustomization says of itself.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its `Ready`.
    pub status: String,
    pub reason: String,
    pub message: String,
    /// What it is doing, or has failed in.
    pub reconciling: String,
    /// The revision that was applied last, and waited for.
    pub applied: String,
    /// Kind and name of what it has applied.
    pub inventory: Vec<String>,
    handled: String,
}

impl Said {
    /// Whether it is as it should be with a revision.
    pub fn is_ready(&self, revision: &str) -> bool {
        self.status == "True" && self.applied == revision
    }

    /// Whether what it has applied fails.
    pub fn has_failed(&self) -> bool {
        self.status == "False" && self.reason == "HealthCheckFailed"
    }

    /// Whether it waits for what it has applied.
    pub fn is_waiting(&self) -> bool {
        self.status == "Unknown" && self.reconciling.starts_with("Running health checks")
    }
}

impl Kustomization {
    pub async fn said(&self) -> Said {
        let object = serde_json::to_value(self.api.get(&self.name).await.unwrap()).unwrap();
        let status = &object["status"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = |type_: &str| {
            let conditions = status["conditions"].as_array();
            conditions.and_then(|all| all.iter().find(|c| c["type"] == type_)).cloned().unwrap_or_default()
        };
        let ready = of("Ready");
        let entries = status["inventory"]["entries"].as_array().cloned().unwrap_or_default();
        // NAMESPACE_NAME_GROUP_KIND
        let named = |entry: &Value| {
            let parts: Vec<String> = text(&entry["id"]).split('_').map(str::to_owned).collect();
            format!("{} {}", parts[3], parts[1])
        };
        let mut inventory: Vec<String> = entries.iter().map(named).collect();
        inventory.sort();
        Said {
            status: text(&ready["status"]),
            reason: text(&ready["reason"]),
            message: text(&ready["message"]),
            reconciling: text(&of("Reconciling")["message"]),
            applied: text(&status["lastAppliedRevision"]),
            inventory,
            handled: text(&status["lastHandledReconcileAt"]),
        }
    }

    /// Waits until it says what is wanted, and prints what it says until then.
    #[allow(clippy::disallowed_methods)]
    pub async fn until(&self, what: &str, mut wanted: impl FnMut(&Said) -> bool) -> Said {
        let (begun, mut before) = (Instant::now(), String::new());
        loop {
            let said = self.said().await;
            panics::assert_none();
            if said.message != before {
                println!("{} {}: {}: {}", self.name, said.status, said.reason, said.message);
                before.clone_from(&said.message);
            }
            if wanted(&said) {
                println!("{} is {what}", self.name);
                return said;
            }
            if begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("{} never is {what}: {said:#?}\n{log}", self.name);
            }
            pause(100).await;
        }
    }

    /// Asks for a reconcile, as `flux reconcile` does, and for nothing else.
    pub async fn ask(&self) -> String {
        let at = now();
        self.change(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": at}}})).await;
        at
    }

    /// Merges a patch into it.
    pub async fn change(&self, patch: Value) {
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// A reconcile from its beginning to its end, and what it comes to.
    pub async fn reconcile(&self) -> Said {
        let at = self.ask().await;
        self.until("reconciled", |said| said.handled == at && said.status != "Unknown").await
    }
}
