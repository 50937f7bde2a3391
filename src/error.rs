//! What can go wrong with the API server, told apart by what to do about it.

use std::time::Duration;

/// Longest time that one API call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an API call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The object has changed since it was read: read again, decide again.
    #[error("the object has changed since it was read")]
    Conflict(#[source] Box<kube::Error>),
    /// The object is not there.
    #[error("the object does not exist")]
    NotFound(#[source] Box<kube::Error>),
    /// An object of this name is already there.
    #[error("an object of this name exists already")]
    AlreadyExists(#[source] Box<kube::Error>),
    /// RBAC or an admission policy says no: somebody must act, it is tried again now and then.
    #[error("the API server forbids it")]
    Forbidden(#[source] Box<kube::Error>),
    /// The namespace is being deleted, or is gone: nothing can be created in it any more.
    #[error("the namespace is being deleted")]
    NamespaceTerminating(#[source] Box<kube::Error>),
    /// The API server finds the object invalid: somebody must act.
    #[error("the API server refuses the object")]
    Invalid(#[source] Box<kube::Error>),
    /// It may well work in a moment.
    #[error("the API server does not answer properly")]
    Transient(#[source] Box<kube::Error>),
    /// It took too long.
    #[error("the API server did not answer within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Fault {
        let (code, reason, namespace_ends) = match &error {
            kube::Error::Api(status) => (status.code, status.reason.clone(), namespace_ends(status)),
            _ => (0, String::new(), false),
        };
        let error = Box::new(error);
        match code {
            403 | 404 if namespace_ends => Fault::NamespaceTerminating(error),
            409 if reason == "AlreadyExists" => Fault::AlreadyExists(error),
            409 => Fault::Conflict(error),
            404 => Fault::NotFound(error),
            401 | 403 => Fault::Forbidden(error),
            400 | 413 | 422 => Fault::Invalid(error),
            _ => Fault::Transient(error),
        }
    }
}

/// Whether the API server refuses something because its namespace is being deleted or is gone.
fn namespace_ends(status: &kube::core::Status) -> bool {
    let Some(details) = &status.details else { return false };
    let is_terminating = details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating");
    is_terminating || (status.code == 404 && details.kind == "namespaces")
}

impl Fault {
    /// Whether trying again soon may help without anybody acting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Fault::Transient(_) | Fault::TimedOut | Fault::Conflict(_))
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// One API call, bounded in time, its error told apart.
///
/// # Errors
/// What the call's error means.
pub async fn call<T>(future: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Fault> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(result) => result.map_err(Fault::from),
        Err(_) => Err(Fault::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fault(status: Value) -> Fault {
        Fault::from(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn a_namespace_that_ends_is_told_from_a_missing_permission_and_a_missing_object() {
        let refused = |causes: Value| {
            fault(json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": "m",
                "details": {"name": "web", "kind": "configmaps", "causes": causes}}))
        };
        let cause =
            json!([{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]);
        assert!(matches!(refused(cause), Fault::NamespaceTerminating(_)));
        assert!(matches!(refused(json!([])), Fault::Forbidden(_)));
        let missing = |kind: &str| {
            fault(json!({"status": "Failure", "code": 404, "reason": "NotFound", "message": "m",
                "details": {"name": "shop", "kind": kind}}))
        };
        assert!(matches!(missing("namespaces"), Fault::NamespaceTerminating(_)));
        assert!(matches!(missing("configmaps"), Fault::NotFound(_)));
        assert!(!missing("namespaces").is_transient());
    }
}
