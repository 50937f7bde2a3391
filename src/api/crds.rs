//! What the derived CustomResourceDefinitions still lack.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use serde_json::json;

/// Gives a fresh object the status that tells kstatus and Flux that nobody has seen it yet.
///
/// Without it an object without status counts as current before its first reconcile.
pub fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(json!({"observedGeneration": super::unobserved()})));
            status.nullable = None;
            drop_generated_defaults(status);
        }
    }
    crd
}

/// Removes the defaults of fields inside of `status`: what a status does not say stays unsaid.
fn drop_generated_defaults(status: &mut JSONSchemaProps) {
    for field in status.properties.iter_mut().flat_map(|p| p.values_mut()) {
        field.default = None;
    }
}
