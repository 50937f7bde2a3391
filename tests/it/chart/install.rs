//! `docs/installation.md`, run as it is written: Helm 4, Helm 3 and kustomize install Sluice on a real API server, and the
//! controller works with the rights, the arguments and the name that this gives it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use sluice::api::FeatureRollout;
use sluice::sandbox::{ControlPlane, Options};
use tempfile::TempDir;
use tokio::process::Command;

use super::{NAMESPACE, as_service_account, assert_nothing_was_forbidden, copy};
use crate::support::go_tools::Helm;
use crate::support::process::{ControllerProcess, sluice_binary};
use crate::support::{eventually, is_ready, pause};

/// The commands under a heading of the page, up to the next one of its level.
fn commands(heading: &str) -> Vec<String> {
    let page = std::fs::read_to_string("docs/installation.md").unwrap();
    let level = heading.split(' ').next().unwrap();
    let section = page.split(&format!("\n{heading}\n")).nth(1).unwrap();
    let section = section.split(&format!("\n{level} ")).next().unwrap();
    let mut commands: Vec<String> = Vec::new();
    for block in section.split("```console\n").skip(1) {
        for line in block.split("\n```").next().unwrap().lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push(command.to_owned()),
                (None, Some(command)) => command.push_str(&format!("\n{line}")),
                (None, None) => panic!("{line} belongs to no command"),
            }
        }
    }
    assert!(commands.len() > 2, "{heading}: {commands:?}");
    commands
}

/// A cluster without nodes but for one who says that each pod runs, and a shell in a copy of the repository.
struct Place {
    plane: ControlPlane,
    folder: TempDir,
    kubelet: tokio::task::JoinHandle<()>,
}

impl Place {
    async fn start(helm: Helm) -> Place {
        let options = Options { controller_manager: true, audit_log: true, ..Options::default() };
        let plane = ControlPlane::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        for part in ["charts", "deploy", "examples"] {
            copy(Path::new(part), &folder.path().join("repository").join(part));
        }
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let program = tokio::task::spawn_blocking(move || helm.program()).await.unwrap();
        let kubectl = plane.kubectl_path().expect("kubectl is among the programs of the control plane");
        for (name, program) in
            [("helm", program.to_owned()), ("kubectl", kubectl), ("sluice", sluice_binary())]
        {
            std::os::unix::fs::symlink(program, bin.join(name)).unwrap();
        }
        let kubelet = tokio::spawn(say_that_pods_run(plane.client().unwrap()));
        Place { plane, folder, kubelet }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// Runs a command as somebody who has pasted it into a shell; what it printed.
    async fn run(&self, command: &str) -> String {
        let ran = self.try_to_run(command).await;
        ran.unwrap_or_else(|said| panic!("{command}\n{said}"))
    }

    async fn try_to_run(&self, command: &str) -> Result<String, String> {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(self.repository())
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.plane.kubeconfig_path())
            .env("REGISTRY", "registry.test")
            .env_remove("HELM_CACHE_HOME")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (said(&output.stdout), said(&output.stderr));
        if output.status.success() {
            Ok(out)
        } else {
            Err(format!("{out}{err}{}", self.plane.data_dir().display()))
        }
    }

    /// The controller as the Deployment starts it, with the token of its service account.
    async fn controller(&self) -> ControllerProcess {
        let kubeconfig = self.folder.path().join("controller.kubeconfig");
        let text = serde_json::to_string(&as_service_account(&self.plane).await).unwrap();
        std::fs::write(&kubeconfig, text).unwrap();
        let container = self.pod_spec().await.containers.remove(0);
        let args = container.args.unwrap();
        assert_eq!(args[0], "controller");
        // Nothing else listens on ports of its own here.
        let ports = ["--address=", "--probes-address="];
        let args = args[1..].iter().filter(|arg| !ports.iter().any(|port| arg.starts_with(port)));
        let args: Vec<&str> =
            args.map(String::as_str).chain(["--namespace", NAMESPACE, "--leader-elect=true"]).collect();
        ControllerProcess::start_with(&kubeconfig, &self.folder.path().join("controller.log"), &args)
    }

    async fn pod_spec(&self) -> k8s_openapi::api::core::v1::PodSpec {
        let deployments: Api<Deployment> = Api::namespaced(self.plane.client().unwrap(), NAMESPACE);
        deployments.get("sluice").await.unwrap().spec.unwrap().template.spec.unwrap()
    }

    /// Short names of FlagSets, which the test's next version has one more of.
    async fn short_names(&self) -> Vec<String> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.plane.client().unwrap());
        crds.get("flagsets.sluice.dev").await.unwrap().spec.names.short_names.unwrap()
    }

    async fn stop(self) {
        self.kubelet.abort();
        self.plane.stop().await.unwrap();
    }
}

/// There is no kubelet here. What one does about a pod that it runs is to say so.
async fn say_that_pods_run(client: Client) {
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    loop {
        pause(100).await;
        let Ok(listed) = pods.list(&ListParams::default()).await else { continue };
        for pod in listed.items {
            if pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running")) {
                continue;
            }
            let status = json!({"status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}],
            }});
            // It may be gone by now.
            let _said =
                pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await;
        }
    }
}

/// The page under "With Helm", with a next version for the upgrade.
async fn as_the_page_says(helm: Helm) {
    let place = Place::start(helm).await;
    let rollouts: Api<FeatureRollout> = Api::namespaced(place.plane.client().unwrap(), "default");
    let mut controller = None;
    let mut before = None;
    let mut deleted = false;
    for command in commands("## With Helm") {
        let first = command.split(' ').take(2).collect::<Vec<_>>().join(" ");
        match first.as_str() {
            "helm upgrade" => {
                before = Some(rollouts.get("new-search").await.unwrap().status.unwrap());
                next_version(&place.repository());
            }
            "helm uninstall" => drop(controller.take()),
            _ => {}
        }
        let said = place.run(&command).await;
        let names = || place.short_names();
        match first.as_str() {
            "helm install" => {
                assert!(
                    said.contains("kubectl rollout status deployment/sluice --namespace sluice-system"),
                    "{said}"
                );
                assert!(said.contains("STATUS: deployed"), "{said}");
                controller = Some(place.controller().await);
            }
            "kubectl label" => may_run_in_a_restricted_namespace(&place).await,
            "helm upgrade" => {
                assert!(names().await.contains(&"fs2".to_owned()), "the kinds are upgraded with the release");
                assert!(
                    place.pod_spec().await.containers[0].image.as_deref()
                        == Some("registry.test/sluice:0.2.0")
                );
            }
            "helm rollback" => {
                assert!(!names().await.contains(&"fs2".to_owned()), "and go back with it");
                let status = rollouts.get("new-search").await.unwrap().status.unwrap();
                assert!(is_ready(&status));
                let served =
                    |status: &sluice::api::FeatureRolloutStatus| (status.revision, status.served.clone());
                assert_eq!(served(&status), served(before.as_ref().unwrap()), "no step by an upgrade");
            }
            "helm uninstall" => {
                // The kinds and all objects are there; an installation under the same name takes them over.
                assert!(rollouts.get("new-search").await.is_ok());
                let release = place.run("kubectl get all,clusterrole,validatingadmissionpolicy --namespace sluice-system --selector app.kubernetes.io/instance=sluice --output name").await;
                assert_eq!(release, "", "something is left");
                place.run(&commands("## With Helm")[0]).await;
                place.run("helm uninstall sluice --namespace sluice-system --wait").await;
            }
            "kubectl delete" => deleted = true,
            _ => {}
        }
        if command.contains("get configmap") {
            assert!(said.contains("\"new-search\""), "{said}");
        }
    }
    assert!(deleted && before.is_some(), "the page went on to the end");
    let maps = place.run("kubectl get configmap new-search --output name").await;
    assert_eq!(maps.trim(), "configmap/new-search", "the file outlives everything");
    assert_nothing_was_forbidden(&place.plane);
    place.stop().await;
}

/// What a release after this one could be, in the copy of the repository.
pub fn next_version(repository: &Path) {
    let chart = repository.join("charts/sluice");
    let edit = |file: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(chart.join(file)).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        std::fs::write(chart.join(file), text.replace(from, to)).unwrap();
    };
    edit("Chart.yaml", "ersion: 0.1.0", "ersion: 0.2.0");
    edit("files/crds/sluice.dev_flagsets.yaml", "    - fset\n", "    - fset\n    - fs2\n");
}

/// By the API server's own Pod Security admission.
async fn may_run_in_a_restricted_namespace(place: &Place) {
    let pods: Api<Pod> = Api::namespaced(place.plane.client().unwrap(), NAMESPACE);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut spec = place.pod_spec().await;
    let pod = |spec| Pod {
        metadata: kube::api::ObjectMeta { name: Some("like-it".to_owned()), ..Default::default() },
        spec: Some(spec),
        status: None,
    };
    pods.create(&dry_run, &pod(spec.clone())).await.unwrap();
    spec.containers[0].security_context = None;
    let refused = pods.create(&dry_run, &pod(spec)).await.unwrap_err().to_string();
    assert!(refused.contains("restricted"), "the namespace is watched over: {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_4_installs_upgrades_rolls_back_and_uninstalls_it_as_the_page_says() {
    as_the_page_says(Helm::Four).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_3_installs_upgrades_rolls_back_and_uninstalls_it_as_the_page_says() {
    as_the_page_says(Helm::Three).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kustomize_installs_it_as_the_page_says() {
    let place = Place::start(Helm::Four).await;
    for command in commands("## With kustomize") {
        place.run(&command).await;
    }
    assert_eq!(place.pod_spec().await.containers[0].image.as_deref(), Some("registry.test/sluice:0.1.0"));
    // Allowed by an API server that was told to enforce the standard before the pod came.
    may_run_in_a_restricted_namespace(&place).await;
    let controller = place.controller().await;
    place.run("kubectl apply --filename examples/minimal.yaml").await;
    place.run("kubectl wait --for=condition=Ready featurerollout/new-search --timeout=60s").await;
    place.run("sluice pause new-search --reason 'trying it'").await;
    place.run("sluice resume new-search --reason 'it works'").await;
    controller.stop().await;
    assert_nothing_was_forbidden(&place.plane);
    people_may_do_what_the_page_says(&place).await;
    place.stop().await;
}

/// By the API server itself, after the cluster's own roles have taken in those of the chart.
async fn people_may_do_what_the_page_says(place: &Place) {
    for role in ["view", "edit", "admin", "sluice-action-rollback", "sluice-action-override"] {
        place.run(&format!("kubectl create rolebinding {role} --clusterrole={role} --user={role}")).await;
    }
    let may = async |who: &str, verb: &str, what: &str| {
        let asked = format!("kubectl auth can-i --as={who} --namespace=default {verb} {what}");
        // It exits with 1 for no.
        place.try_to_run(&format!("{asked} || true")).await.unwrap().trim() == "yes"
    };
    eventually("the cluster's roles have taken in those of the chart", async || {
        may("admin", "create", "metricsources.sluice.dev").await
    })
    .await;
    let kinds = ["featurerollouts", "cohortsets", "flagsets", "metrictemplates", "playbooks"];
    for who in ["view", "edit", "admin"] {
        for kind in kinds.into_iter().chain(["metricsources", "rolloutactions", "rolloutpolicies"]) {
            let kind = format!("{kind}.sluice.dev");
            assert!(may(who, "list", &kind).await, "{who} reads {kind}");
            assert!(
                !may(who, "update", &format!("{kind} --subresource=status")).await,
                "{who} and the status of {kind}"
            );
        }
        for kind in kinds {
            let kind = format!("{kind}.sluice.dev");
            assert_eq!(may(who, "update", &kind).await, who != "view", "{who} writes {kind}");
        }
        for kind in ["metricsources.sluice.dev", "rolloutpolicies.sluice.dev"] {
            assert_eq!(may(who, "update", kind).await, who == "admin", "{who} writes {kind}");
        }
        assert!(!may(who, "create", "rolloutactions.sluice.dev").await, "{who} acts without a verb");
        assert!(!may(who, "pause", "featurerollouts.sluice.dev").await, "{who} has a verb");
    }
    for (who, verb, what, allowed) in [
        ("sluice-action-rollback", "create", "rolloutactions.sluice.dev", true),
        ("sluice-action-rollback", "rollback", "featurerollouts.sluice.dev/new-search", true),
        ("sluice-action-rollback", "promote", "featurerollouts.sluice.dev/new-search", false),
        ("sluice-action-rollback", "update", "featurerollouts.sluice.dev", false),
        ("sluice-action-override", "override", "featurerollouts.sluice.dev/new-search", true),
        ("sluice-action-override", "create", "rolloutactions.sluice.dev", false),
    ] {
        assert_eq!(may(who, verb, what).await, allowed, "{who} {verb} {what}");
    }
}

/// Those who had the kinds before there was a chart keep everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_are_there_already_are_taken_over_when_helm_is_told_so() {
    let place = Place::start(Helm::Four).await;
    place.run("sluice crds --with-policies | kubectl apply --server-side --filename -").await;
    let install = "helm install sluice charts/sluice --namespace sluice-system --create-namespace";
    let refused = place.try_to_run(install).await.unwrap_err();
    assert!(refused.contains("cannot be imported into the current release"), "{refused}");
    place.run(&format!("{install} --take-ownership --force-conflicts")).await;
    assert!(place.run("helm list --namespace sluice-system").await.contains("sluice-0.1.0"));
    place.stop().await;
}
