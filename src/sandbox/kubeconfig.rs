//! Kubeconfigs for the sandbox, with the certificates inside.

use k8s_openapi::ByteString;
use kube::config::Kubeconfig;
use serde_json::json;

use super::certs::ClientCert;
use super::error::SandboxError;

/// The name of the cluster, the context and its user.
const NAME: &str = "sluice-sandbox";

/// A kubeconfig for the API server at `url`, as the user of the certificate.
pub(super) fn kubeconfig(url: &str, ca_pem: &str, client: &ClientCert) -> Result<Kubeconfig, SandboxError> {
    // By way of JSON, because the keys' type is not one this crate can make.
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{
            "name": NAME,
            "cluster": { "server": url, "certificate-authority-data": base64(ca_pem) },
        }],
        "contexts": [{
            "name": NAME,
            "context": { "cluster": NAME, "user": NAME, "namespace": "default" },
        }],
        "users": [{
            "name": NAME,
            "user": {
                "client-certificate-data": base64(&client.cert_pem),
                "client-key-data": base64(&client.key_pem),
            },
        }],
    }))
    .map_err(|e| SandboxError::Client(e.to_string()))
}

/// The file's text; JSON, which every reader of kubeconfigs takes as YAML.
pub(super) fn text(kubeconfig: &Kubeconfig) -> Result<String, SandboxError> {
    serde_json::to_string_pretty(kubeconfig).map_err(|e| SandboxError::Client(e.to_string()))
}

fn base64(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}
