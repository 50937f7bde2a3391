//! The CustomResourceDefinitions, put into a cluster.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};

use super::SandboxError;
use crate::error::{call, chain};

/// How long the API server may take to serve a new kind.
const ESTABLISHED: Duration = Duration::from_secs(20);

/// Puts every kind of Sluice into a cluster and waits until they are served.
///
/// # Errors
/// When the API server refuses one, or does not serve it within 20 s.
pub async fn install_crds(client: &Client) -> Result<(), SandboxError> {
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
