//! Requests as a client without a library sends them, and objects written briefly.

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use super::Space;

/// What the API server answered.
pub struct Answer {
    pub code: u16,
    /// Values of the `Warning` headers.
    pub warnings: Vec<String>,
    pub body: Value,
}

impl Answer {
    /// The status message of a refusal.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

/// One request; the query asks for strict field validation, so that unknown fields are refused.
pub async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(serde_json::to_vec(body).unwrap().into())
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let warnings =
        response.headers().get_all("warning").iter().map(|v| v.to_str().unwrap().to_owned()).collect();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    Answer { code, warnings, body: serde_json::from_slice(&bytes).unwrap() }
}

/// An object of the group from its kind, name and spec as YAML.
pub fn object(kind: &str, name: &str, spec: &str) -> Value {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    json!({"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

impl Space {
    /// Where objects of a kind are; with a name, where that one is. Field validation is strict.
    pub fn path(&self, kind: &str, name: Option<&str>) -> String {
        let name = name.map(|name| format!("/{name}")).unwrap_or_default();
        let (space, kind) = (&self.name, kind.to_lowercase());
        let plural = kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
        format!("/apis/sluice.dev/v1alpha1/namespaces/{space}/{plural}{name}?fieldValidation=Strict")
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value) -> Answer {
        let path = self.path(object["kind"].as_str().unwrap(), None);
        send(&self.client, Method::POST, &path, object).await
    }

    /// Merges a patch into an object.
    pub async fn merge(&self, kind: &str, name: &str, patch: &Value) -> Answer {
        send(&self.client, Method::PATCH, &self.path(kind, Some(name)), patch).await
    }

    /// Deletes an object.
    pub async fn delete(&self, kind: &str, name: &str) -> Answer {
        send(&self.client, Method::DELETE, &self.path(kind, Some(name)), &json!({})).await
    }
}
