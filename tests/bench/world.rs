//! A control plane with the kinds installed, and objects on it.

use std::path::PathBuf;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use sluice::api::{CohortSet, FeatureRollout, FlagSet};
use sluice::sandbox::{ControlPlane, Options, install_crds, install_policies};

use crate::audit::Audit;
use crate::controller::Controller;
use crate::node;
use crate::recorder::Recorder;

/// Name of the user that the controller is, so that the audit log tells its requests from ours.
pub const CONTROLLER: &str = "bench-controller";
/// The CohortSet of every FlagSet.
const COHORT_SET: &str = "users";
/// Namespace of all objects but those of `scale`, which has many.
pub const NAMESPACE: &str = "bench";
/// How many clients create objects at the same time.
pub const CLIENTS: usize = 16;

/// A control plane of one scenario.
pub struct World {
    plane: ControlPlane,
    pub client: Client,
    kubeconfig: PathBuf,
    concurrency: Option<u16>,
    nodes: bool,
}

impl World {
    /// Starts a control plane with the kinds and a namespace; one that nodes may join, if there are to be any.
    pub async fn start(concurrency: Option<u16>, nodes: bool) -> World {
        let plane = if nodes {
            node::control_plane().await
        } else {
            let options = Options { audit_log: true, ..Options::default() };
            ControlPlane::start(options).await.expect("the control plane starts")
        };
        let client = plane.client().unwrap();
        install_crds(&client).await.unwrap();
        install_policies(&client).await.unwrap();
        let kubeconfig = plane.data_dir().join("controller.kubeconfig");
        let user = plane.user_kubeconfig(CONTROLLER, &["system:masters"]).unwrap();
        std::fs::write(&kubeconfig, serde_json::to_vec(&user).unwrap()).unwrap();
        let world = World { plane, client, kubeconfig, concurrency, nodes };
        world.create_namespace(NAMESPACE).await;
        world
    }

    /// Creates a namespace with the CohortSet of its FlagSets.
    pub async fn create_namespace(&self, name: &str) {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let cohort_set: CohortSet = serde_json::from_value(json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "CohortSet",
            "metadata": {"name": COHORT_SET, "namespace": name},
            "spec": {"cohorts": cohorts()},
        }))
        .unwrap();
        Api::namespaced(self.client.clone(), name).create(&PostParams::default(), &cohort_set).await.unwrap();
    }

    /// The control plane.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Ends the control plane.
    pub async fn stop(self) {
        self.plane.stop().await.unwrap();
    }

    /// Starts a controller and waits until it has listed everything.
    pub async fn controller(&self) -> Controller {
        let controller = self.unready_controller();
        controller.until_ready().await;
        controller
    }

    /// Starts a controller.
    pub fn unready_controller(&self) -> Controller {
        let log = std::env::temp_dir().join("sluice-bench-controller.log");
        Controller::start(&self.kubeconfig, &log, self.concurrency, self.nodes)
    }

    /// Starts a controller that decides once it holds the Lease, with the defaults that people have.
    pub fn candidate(&self) -> Controller {
        let log = std::env::temp_dir().join("sluice-bench-controller.log");
        Controller::with(&self.kubeconfig, &log, &[])
    }

    /// Starts a controller that reaches the API server in another way.
    pub fn controller_with(&self, kubeconfig: &std::path::Path) -> Controller {
        let log = std::env::temp_dir().join("sluice-bench-controller.log");
        Controller::start(kubeconfig, &log, self.concurrency, self.nodes)
    }

    /// Records every ConfigMap of the controller from now on.
    pub async fn recorder(&self) -> Recorder {
        Recorder::start(self.client.clone()).await
    }

    /// Counts writes from now on.
    pub fn audit(&self) -> Audit {
        Audit::from_here(self.plane.audit_log_path().unwrap().to_path_buf())
    }

    pub fn rollouts(&self) -> Api<FeatureRollout> {
        self.rollouts_in(NAMESPACE)
    }

    pub fn rollouts_in(&self, namespace: &str) -> Api<FeatureRollout> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates a FlagSet.
    pub async fn create_flag_set(&self, name: &str) {
        self.create_flag_set_in(NAMESPACE, name).await;
    }

    /// Creates a FlagSet in one of many namespaces.
    pub async fn create_flag_set_in(&self, namespace: &str, name: &str) {
        let object = json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "FlagSet",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"cohortSetRef": {"name": COHORT_SET}},
        });
        let set: FlagSet = serde_json::from_value(object).unwrap();
        Api::namespaced(self.client.clone(), namespace).create(&PostParams::default(), &set).await.unwrap();
    }

    /// Creates rollouts where they say, several at the same time.
    pub async fn create(&self, rollouts: impl IntoIterator<Item = FeatureRollout>) {
        let clients: Vec<Client> = (0..CLIENTS).map(|_| self.plane.client().unwrap()).collect();
        futures::stream::iter(rollouts.into_iter().enumerate())
            .for_each_concurrent(CLIENTS, |(index, rollout)| {
                let namespace = rollout.namespace().unwrap();
                let api = Api::<FeatureRollout>::namespaced(clients[index % CLIENTS].clone(), &namespace);
                async move {
                    api.create(&PostParams::default(), &rollout).await.unwrap();
                }
            })
            .await;
    }
}

fn cohorts() -> Value {
    json!([
        {"name": "staff", "share": 5, "match": {"attributes": {"group": "staff"}}},
        {"name": "everyone", "share": 95},
    ])
}

/// A rollout to one cohort, in a FlagSet or with a file of its own.
pub fn rollout(name: &str, set: Option<&str>, steps: &[Value]) -> FeatureRollout {
    let mut object = json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "FeatureRollout",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "feature": {"title": format!("Feature {name}"), "owner": "team-bench"},
            "phases": [{"name": "ga", "steps": steps}],
        },
    });
    match set {
        Some(set) => object["spec"]["flagSetRef"] = json!({"name": set}),
        None => object["spec"]["cohorts"] = cohorts(),
    }
    serde_json::from_value(object).unwrap()
}
