//! The CustomResourceDefinitions and the admission policies, put into a cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::SandboxError;
use crate::api::{RolloutAction, RolloutActionSpec, policies};
use crate::clock;
use crate::controller::NAMESPACE;
use crate::error::{Fault, call, chain};

/// How long the API server may take to serve a new kind.
const ESTABLISHED: Duration = Duration::from_secs(20);

/// Puts every kind of Sluice into a cluster and waits until they are served; the operator's own namespace comes with them.
///
/// # Errors
/// When the API server refuses one, or does not serve it within 20 s.
pub async fn install_crds(client: &Client) -> Result<(), SandboxError> {
    ensure_namespace(client, NAMESPACE).await?;
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("sluice").force();
    let crds = crate::api::all_crds();
    for crd in &crds {
        let name = crd.name_any();
        call(api.patch(&name, &params, &Patch::Apply(crd)))
            .await
            .map_err(|fault| SandboxError::Client(format!("CRD {name}: {}", chain(&fault))))?;
    }
    for crd in &crds {
        let name = crd.name_any();
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        match tokio::time::timeout(ESTABLISHED, established).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(SandboxError::Client(format!("CRD {name}: {}", chain(&error)))),
            Err(_) => {
                let seconds = ESTABLISHED.as_secs();
                return Err(SandboxError::Client(format!("CRD {name} was not served within {seconds} s")));
            }
        }
    }
    Ok(())
}

/// Creates a namespace unless it is there.
///
/// # Errors
/// When the API server refuses it.
pub async fn ensure_namespace(client: &Client, name: &str) -> Result<(), SandboxError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    match call(api.create(&PostParams::default(), &namespace)).await {
        Ok(_) | Err(Fault::AlreadyExists(_)) => Ok(()),
        Err(fault) => Err(SandboxError::Client(format!("namespace {name}: {}", chain(&fault)))),
    }
}

/// How long the API server may take to put a policy into force.
const IN_FORCE: Duration = Duration::from_secs(30);
/// How often that is looked for.
const IN_FORCE_POLL: Duration = Duration::from_millis(100);

/// Puts the admission policies of actions into a cluster that has the kinds, and waits until they are in force. On an
/// API server without mutating policies that one is left out.
///
/// # Errors
/// When the API server refuses one, or does not follow it within 30 s.
pub async fn install_policies(client: &Client) -> Result<(), SandboxError> {
    for (_, text) in policies::FILES {
        let mut mutates = false;
        for document in text.split("\n---\n") {
            mutates |= apply(client, document).await?;
        }
        let writes_names = text.contains(policies::IDENTITY);
        if mutates == writes_names {
            until_in_force(client, writes_names).await?;
        }
    }
    Ok(())
}

/// Applies a policy or a binding; says whether it is one that writes into objects.
async fn apply(client: &Client, document: &str) -> Result<bool, SandboxError> {
    let object: Value =
        serde_saphyr::from_str(document).map_err(|error| SandboxError::Client(error.to_string()))?;
    let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let mut resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", &kind));
    resource.plural = match kind.to_lowercase() {
        kind if kind.ends_with('y') => format!("{}ies", kind.trim_end_matches('y')),
        kind => format!("{kind}s"),
    };
    let mutates = kind.starts_with("Mutating");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let params = PatchParams::apply("sluice").force();
    match call(api.patch(&name, &params, &Patch::Apply(&object))).await {
        Ok(_) => Ok(mutates),
        Err(Fault::NotFound(_)) if mutates => {
            tracing::warn!(kind, name, "left out: the API server has no such kind");
            Ok(false)
        }
        Err(fault) => Err(SandboxError::Client(format!("{kind} {name}: {}", chain(&fault)))),
    }
}

/// A policy is not looked at the moment it is created, and one that writes refuses everything for some seconds, as it
/// does not know the kind yet. An action in nobody's name is refused in the end, or has got the caller's.
async fn until_in_force(client: &Client, writes_names: bool) -> Result<(), SandboxError> {
    let api: Api<RolloutAction> = Api::namespaced(client.clone(), "default");
    let mut probe = RolloutAction::new(
        "sluice-probe",
        RolloutActionSpec {
            reason: "whether the admission policies are in force".to_owned(),
            requested_by: Some("nobody".to_owned()),
            ..RolloutActionSpec::default()
        },
    );
    probe.spec.rollout_ref.name = "sluice-probe".to_owned();
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let begun = clock::monotonic();
    let mut last = String::new();
    while begun.elapsed() < IN_FORCE {
        match call(api.create(&params, &probe)).await {
            Ok(created) if created.spec.requested_by != probe.spec.requested_by => return Ok(()),
            Ok(_) => last = "an action in nobody's name was let in".to_owned(),
            Err(fault) => {
                last = chain(&fault);
                if !writes_names && last.contains(policies::PERMISSION) {
                    return Ok(());
                }
            }
        }
        clock::sleep(IN_FORCE_POLL).await;
    }
    let seconds = IN_FORCE.as_secs();
    Err(SandboxError::Client(format!("the admission policies were not in force within {seconds} s: {last}")))
}
