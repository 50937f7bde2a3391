//! A control plane with the kinds installed and no controller: each test runs its own, through a proxy that shows it
//! nothing but the test's namespace.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{ListParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, Config, ResourceExt};
use serde_json::Value;
use sluice::api::FeatureRolloutStatus;
use sluice::controller;
use sluice::sandbox::{ControlPlane, Options, install_crds, install_policies};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::proxy::Proxy;
use super::{Space, eventually, panics, pause};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static PLANE: OnceLock<ControlPlane> = OnceLock::new();

/// The control plane that these tests share; started by the first that asks. It writes an audit log.
pub fn bare() -> &'static ControlPlane {
    PLANE.get_or_init(|| {
        std::thread::spawn(|| RUNTIME.block_on(start())).join().expect("the bare control plane starts")
    })
}

async fn start() -> ControlPlane {
    let plane = ControlPlane::start(Options { audit_log: true, ..Options::default() }).await.unwrap();
    install_crds(&plane.client().unwrap()).await.unwrap();
    install_policies(&plane.client().unwrap()).await.unwrap();
    plane
}

/// A fresh namespace on the control plane without a controller.
pub async fn bare_space(name: &str) -> Space {
    Space::on(bare().client().unwrap(), name).await
}

/// A controller in this process that ends when dropped.
pub struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// A controller that sees one namespace.
    pub async fn in_space(space: &Space) -> Running {
        Running::over(&Proxy::start(space.client.clone(), &space.name).await)
    }

    /// A controller that uses a proxy.
    pub fn over(proxy: &Proxy) -> Running {
        Running::with(proxy.config())
    }

    /// A controller with a configuration of its own.
    pub fn with(config: Config) -> Running {
        Running::as_told(config, super::options())
    }

    /// A controller that annotates pods in an emergency.
    pub fn nudging(config: Config) -> Running {
        Running::as_told(config, controller::Options { nudge_pods: true, ..super::options() })
    }

    /// A controller that is run in a way of its own.
    pub fn as_told(config: Config, options: controller::Options) -> Running {
        panics::watch();
        let client = controller::client(config).unwrap();
        let shutdown = CancellationToken::new();
        let ended = shutdown.clone();
        let task = tokio::spawn(async move {
            controller::run(client, options, ended).await.unwrap();
        });
        Running { shutdown, task }
    }

    /// Ends it in order and waits for that.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap();
        panics::assert_none();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Lets the user of a space's name read namespaces, as the chart's role does: their labels say which policies bind there.
pub async fn let_read_namespaces(space: &Space) {
    let name = format!("namespaces-{}", space.name);
    let role: ClusterRole = serde_json::from_value(serde_json::json!({
        "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}],
    }))
    .unwrap();
    let roles: Api<ClusterRole> = Api::all(space.client.clone());
    if roles.get_opt(&name).await.unwrap().is_some() {
        return;
    }
    roles.create(&PostParams::default(), &role).await.unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(serde_json::json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": space.name}],
    }))
    .unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(space.client.clone());
    bindings.create(&PostParams::default(), &binding).await.unwrap();
}

/// Everything that a ConfigMap has held, in order.
#[derive(Clone)]
pub struct Recorded {
    seen: Arc<Mutex<Seen>>,
    task: Arc<JoinHandle<()>>,
    api: Api<ConfigMap>,
    name: String,
}

#[derive(Default)]
struct Seen {
    files: Vec<Value>,
    version: Option<String>,
}

impl Recorded {
    /// Begins to record; the ConfigMap need not exist yet.
    pub fn start(space: &Space, config_map: &str) -> Recorded {
        let config = watcher::Config::default().fields(&format!("metadata.name={config_map}"));
        let api = space.api::<ConfigMap>();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(record(api.clone(), config, seen.clone()));
        Recorded { seen, task: Arc::new(task), api, name: config_map.to_owned() }
    }

    /// Revision and served percentages of a flag, version by version, as far as they have been heard of.
    pub fn of(&self, flag: &str) -> Vec<(i64, BTreeMap<String, f64>)> {
        assert!(
            !self.task.is_finished(),
            "the recorder of {} has died: it has seen nothing since",
            self.name
        );
        self.seen.lock().unwrap().files.iter().filter_map(|file| served(file, flag)).collect()
    }

    /// The same, with everything up to now.
    pub async fn all_of(&self, flag: &str) -> Vec<(i64, BTreeMap<String, f64>)> {
        eventually("the recorder has heard of the present file", async || {
            let now = self.api.get_opt(&self.name).await.unwrap().and_then(|map| map.resource_version());
            now.is_none() || self.seen.lock().unwrap().version == now
        })
        .await;
        self.of(flag)
    }
}

async fn record(api: Api<ConfigMap>, config: watcher::Config, seen: Arc<Mutex<Seen>>) {
    let mut events = std::pin::pin!(watcher::watcher(api, config));
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(map) | watcher::Event::InitApply(map)) => {
                let mut seen = seen.lock().unwrap();
                seen.version = map.resource_version();
                let text = map.data.unwrap_or_default().remove("flags.json").unwrap_or_default();
                // A file that somebody has broken has no flags.
                seen.files.push(serde_json::from_str(&text).unwrap_or_default());
            }
            Ok(_) => {}
            // The API server is away; the watch goes on from where it was.
            Err(_) => pause(50).await,
        }
    }
}

/// Revision and served percentages of a flag, by the metadata that the file carries.
pub fn served(file: &Value, flag: &str) -> Option<(i64, BTreeMap<String, f64>)> {
    let live = sluice::flags::parse(&file.to_string()).ok()?.live(flag)?;
    let percent = |percent: sluice::api::Percent| f64::from(percent.thousandths()) / 1000.0;
    Some((live.revision, live.served.into_iter().map(|(name, value)| (name, percent(value))).collect()))
}

/// Asserts that no version of a flag is older than one before, and that nothing served ever fell.
pub fn assert_never_fell(versions: &[(i64, BTreeMap<String, f64>)]) {
    assert!(!versions.is_empty(), "nothing was recorded");
    for pair in versions.windows(2) {
        let ((before, served), (after, now)) = (&pair[0], &pair[1]);
        assert!(after >= before, "revision {after} after {before}: {versions:?}");
        for (cohort, percent) in served {
            assert!(now[cohort] >= *percent, "{cohort} fell: {versions:?}");
        }
    }
}

/// The events of a rollout as `reason: note`, in the order of their history entries.
pub async fn events(space: &Space, rollout: &str) -> Vec<String> {
    let mut events = space.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    events.retain(|event| event.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(rollout));
    events.sort_by_key(|event| (event.event_time.as_ref().map(|time| time.0), event.name_any()));
    events
        .into_iter()
        .map(|event| format!("{}: {}", event.reason.unwrap_or_default(), event.note.unwrap_or_default()))
        .collect()
}

/// What the events of a history say, as `reason: note`: each entry is one, but for a beginning that enters its first step
/// in the same decision.
pub fn told(status: &FeatureRolloutStatus) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut beginning = None;
    for entry in &status.history {
        let reason = entry.reason.as_str();
        let is_one = |at: &sluice::api::MicroTime| reason == "StepEntered" && *at == entry.at;
        if beginning.take().is_some_and(|at| is_one(&at)) {
            let start = told.pop().unwrap().replace("Started: ", "");
            told.push(format!("{reason}: {start}; {}", entry.message));
            continue;
        }
        beginning = (reason == "Started").then_some(entry.at);
        told.push(format!("{reason}: {}", entry.message));
    }
    told
}

/// Writes of sluice in a namespace by the audit log: verb, resource with subresource, name, HTTP code.
pub fn audited_writes(plane: &ControlPlane, namespace: &str) -> Vec<(String, String, String, i64)> {
    let log = std::fs::read_to_string(plane.audit_log_path().unwrap()).unwrap();
    let needle = format!("\"namespace\":\"{namespace}\"");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    log.lines()
        .filter(|line| line.contains(&needle))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| {
            ["create", "update", "patch", "delete"].contains(&event["verb"].as_str().unwrap_or_default())
        })
        .map(|event| {
            let object = &event["objectRef"];
            let sub = object["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
            let code = event["responseStatus"]["code"].as_i64().unwrap_or(0);
            (text(&event["verb"]), text(&object["resource"]) + &sub, text(&object["name"]), code)
        })
        .collect()
}
