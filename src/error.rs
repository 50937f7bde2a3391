//! What can go wrong with the API server, told apart by what to do about it.

use std::time::Duration;

use crate::api::Reason;

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
        let (code, reason) = match &error {
            kube::Error::Api(status) => (status.code, status.reason.clone()),
            _ => (0, String::new()),
        };
        let error = Box::new(error);
        match code {
            409 if reason == "AlreadyExists" => Fault::AlreadyExists(error),
            409 => Fault::Conflict(error),
            404 => Fault::NotFound(error),
            401 | 403 => Fault::Forbidden(error),
            400 | 413 | 422 => Fault::Invalid(error),
            _ => Fault::Transient(error),
        }
    }
}

impl Fault {
    /// What conditions and events say of it. The one place where that is decided: what to do about a reason is documented.
    pub fn reason(&self) -> Reason {
        match self {
            Fault::Forbidden(_) => Reason::Forbidden,
            Fault::Invalid(_) => Reason::Refused,
            Fault::Conflict(_)
            | Fault::NotFound(_)
            | Fault::AlreadyExists(_)
            | Fault::Transient(_)
            | Fault::TimedOut => Reason::Retrying,
        }
    }

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
    use kube::core::Status;
    use rstest::rstest;

    use super::*;

    /// A refused object was told as one that RBAC forbids, and the file's writer told it as somebody else's.
    #[rstest]
    #[case(403, "Forbidden", Reason::Forbidden)]
    #[case(401, "Unauthorized", Reason::Forbidden)]
    #[case(422, "Invalid", Reason::Refused)]
    #[case(400, "BadRequest", Reason::Refused)]
    #[case(413, "RequestEntityTooLarge", Reason::Refused)]
    #[case(404, "NotFound", Reason::Retrying)]
    #[case(409, "Conflict", Reason::Retrying)]
    #[case(409, "AlreadyExists", Reason::Retrying)]
    #[case(500, "InternalError", Reason::Retrying)]
    fn what_the_api_server_says_has_one_reason(
        #[case] code: u16,
        #[case] reason: &str,
        #[case] expected: Reason,
    ) {
        let status = Status::failure("no", reason).with_code(code).boxed();
        assert_eq!(Fault::from(kube::Error::Api(status)).reason(), expected);
    }

    #[test]
    fn a_call_that_takes_too_long_is_tried_again() {
        assert_eq!(Fault::TimedOut.reason(), Reason::Retrying);
    }
}
