//! What the tests share: one control plane with a controller for those that can share, waiting, and objects.

pub mod bare;
pub mod go_tools;
pub mod hostile;
pub mod languages;
pub mod largest;
pub mod measurements;
pub mod metrics;
pub mod node;
pub mod panics;
pub mod poisons;
pub mod process;
pub mod prom;
pub mod proxy;
mod reads;
pub mod running;

use std::fmt::Debug;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Config, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice::api::{FeatureRollout, FeatureRolloutStatus};
use sluice::controller;
use sluice::sandbox::{ControlPlane, Options, install_crds, install_policies};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub mod raw;

/// A control plane with the kinds installed and one controller, shared by the tests of this process.
pub struct Shared {
    config: Config,
    /// Kept so that it lives as long as the process.
    pub plane: ControlPlane,
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static SHARED: OnceLock<Shared> = OnceLock::new();

/// The shared control plane; started by the first test that asks.
pub fn shared() -> &'static Shared {
    SHARED.get_or_init(|| {
        std::thread::spawn(|| RUNTIME.block_on(start())).join().expect("the shared control plane starts")
    })
}

async fn start() -> Shared {
    panics::watch();
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    install_crds(&plane.client().unwrap()).await.unwrap();
    install_policies(&plane.client().unwrap()).await.unwrap();
    let config = plane.client_config();
    let client = controller::client(config.clone()).unwrap();
    // The process ends without ending the controller: the control plane goes with the process.
    RUNTIME.spawn(controller::run(client, options(), CancellationToken::new()));
    Shared { config, plane }
}

/// How a controller is run in tests: the policies of these control planes are in force from the beginning.
pub fn options() -> controller::Options {
    controller::Options { policy_settling: Duration::ZERO, ..controller::Options::default() }
}

/// A client of the shared control plane that depends on no test's runtime.
pub fn shared_client() -> Client {
    Client::try_from(shared().config.clone()).unwrap()
}

/// A namespace of its own on a control plane.
#[derive(Clone)]
pub struct Space {
    pub client: Client,
    pub name: String,
}

impl Space {
    /// A fresh namespace on the shared control plane.
    pub async fn shared(name: &str) -> Space {
        Space::on(Client::try_from(shared().config.clone()).unwrap(), name).await
    }

    /// A fresh namespace on a control plane.
    pub async fn on(client: Client, name: &str) -> Space {
        let api: Api<Namespace> = Api::all(client.clone());
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        api.create(&PostParams::default(), &namespace).await.unwrap();
        Space { client, name: name.to_owned() }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Applies an object of a kind, from YAML.
    pub async fn apply<K>(&self, yaml: &str) -> Result<K, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + DeserializeOwned
            + Serialize
            + Clone
            + Debug,
    {
        let mut object: Value = serde_saphyr::from_str(yaml).unwrap();
        object["apiVersion"] = json!(K::api_version(&()));
        object["kind"] = json!(K::kind(&()));
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.api::<K>().patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await
    }

    /// The file of a ConfigMap, if it is there.
    pub async fn file(&self, config_map: &str) -> Option<Value> {
        let map = self.api::<ConfigMap>().get_opt(config_map).await.unwrap()?;
        serde_json::from_str(map.data?.get("flags.json")?).ok()
    }

    /// The status of a rollout; empty while it has none.
    pub async fn status(&self, rollout: &str) -> FeatureRolloutStatus {
        self.api::<FeatureRollout>().get(rollout).await.unwrap().status.unwrap_or_default()
    }

    /// Waits until a rollout's status is as wanted.
    pub async fn until(
        &self,
        rollout: &str,
        what: &str,
        wanted: impl Fn(&FeatureRolloutStatus) -> bool,
    ) -> FeatureRolloutStatus {
        let mut last = FeatureRolloutStatus::default();
        for _ in 0..LOOKS {
            last = self.status(rollout).await;
            panics::assert_none();
            if wanted(&last) {
                return last;
            }
            pause(50).await;
        }
        panic!("{rollout} never became {what}: {last:#?}");
    }
}

/// Waits for some milliseconds of real time.
#[allow(clippy::disallowed_methods)]
pub async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// How many looks, 50 ms apart, a test waits for what has to come: two minutes, since half of one has not been enough on a busy
/// machine.
pub const LOOKS: u32 = 2400;

/// Waits until something is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS {
        let so = is_so().await;
        panics::assert_none();
        if so {
            return;
        }
        pause(50).await;
    }
    panic!("never: {what}");
}

/// Reason of the Ready condition.
pub fn ready_reason(status: &FeatureRolloutStatus) -> &str {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
        .map_or("", |condition| condition.reason.as_str())
}

/// Whether Ready is true for the present revision.
pub fn is_ready(status: &FeatureRolloutStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && status.delivered_revision == status.revision
}

/// A condition's status, reason and message, if it is there.
pub fn condition<'a>(status: &'a FeatureRolloutStatus, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .map(|c| (c.status.as_str(), c.reason.as_str(), c.message.as_str()))
}

/// Whether a rollout is Stalled for a reason, with a message that says something.
pub fn is_stalled(status: &FeatureRolloutStatus, reason: &str, says: &str) -> bool {
    condition(status, "Stalled").is_some_and(|(_, r, message)| r == reason && message.contains(says))
}
