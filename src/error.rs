//! What can go wrong with the API server, told apart by what to do about it.

use std::error::Error;
use std::time::Duration;

use kube::core::Status;
use kube::runtime::watcher;

use crate::api::Reason;

/// Longest time that one API call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for which an API server that says when to come again is left alone: what waits may take a feature away.
pub const LONGEST_ASKED: Duration = Duration::from_secs(10);

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
    /// The API server has too much to do, or is only starting: it is to be asked again later.
    #[error("the API server is busy")]
    Busy(#[source] Box<kube::Error>),
    /// Nobody answers where the API server should be.
    #[error("the API server cannot be reached")]
    Unreachable(#[source] Box<kube::Error>),
    /// The API server, or what it asks before it answers, failed: it may well work in a moment.
    #[error("the API server could not do it")]
    Transient(#[source] Box<kube::Error>),
    /// It took too long.
    #[error("the API server did not answer within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
    /// This process does not lead, so it wrote nothing, or does not wait for what became of a write: whoever leads decides.
    #[error("{NotLeading}")]
    NotLeading,
}

/// Refuses a write in a process that does not lead, or gives one up that was under way when its lead ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this process does not lead")]
pub struct NotLeading;

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Fault {
        let (code, reason, namespace_ends) = match &error {
            kube::Error::Api(status) => (status.code, status.reason.clone(), namespace_ends(status)),
            kube::Error::Service(why) if why.is::<NotLeading>() => return Fault::NotLeading,
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
                return Fault::Unreachable(Box::new(error));
            }
            _ => (0, String::new(), false),
        };
        let is_too_large = matches!(&error, kube::Error::Api(status) if is_too_large(status));
        let error = Box::new(error);
        match code {
            403 | 404 if namespace_ends => Fault::NamespaceTerminating(error),
            409 if reason == "AlreadyExists" => Fault::AlreadyExists(error),
            409 => Fault::Conflict(error),
            404 => Fault::NotFound(error),
            401 | 403 => Fault::Forbidden(error),
            400 | 413 | 422 => Fault::Invalid(error),
            429 => Fault::Busy(error),
            500 if is_too_large => Fault::Invalid(error),
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

/// Whether etcd takes no object of this size. The API server answers as if something had failed.
fn is_too_large(status: &Status) -> bool {
    status.message.contains("etcdserver: request is too large")
}

impl Fault {
    /// What conditions and events say of it. The one place where that is decided: what to do about a reason is documented.
    pub fn reason(&self) -> Reason {
        match self {
            Fault::Forbidden(_) => Reason::Forbidden,
            Fault::Invalid(_) => Reason::Refused,
            Fault::NamespaceTerminating(_) => Reason::NamespaceTerminating,
            Fault::Busy(_)
            | Fault::Unreachable(_)
            | Fault::Conflict(_)
            | Fault::NotFound(_)
            | Fault::AlreadyExists(_)
            | Fault::Transient(_)
            | Fault::TimedOut
            | Fault::NotLeading => Reason::Retrying,
        }
    }

    /// What the API server said, where it said something.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Fault::Conflict(error)
            | Fault::NotFound(error)
            | Fault::AlreadyExists(error)
            | Fault::Forbidden(error)
            | Fault::NamespaceTerminating(error)
            | Fault::Invalid(error)
            | Fault::Busy(error)
            | Fault::Unreachable(error)
            | Fault::Transient(error) => match &**error {
                kube::Error::Api(status) => Some(&**status),
                _ => None,
            },
            Fault::TimedOut | Fault::NotLeading => None,
        }
    }

    /// How long the API server asks to be left alone, [`LONGEST_ASKED`] at most; zero where it does not say, and where an
    /// answer is no refusal for the time being (429 or 503).
    pub fn asks_to_wait(&self) -> Duration {
        let (Fault::Busy(error) | Fault::Transient(error)) = self else { return Duration::ZERO };
        let kube::Error::Api(status) = &**error else { return Duration::ZERO };
        let asked = status.details.as_ref().filter(|_| matches!(status.code, 429 | 503));
        let seconds = asked.map_or(0, |details| details.retry_after_seconds);
        Duration::from_secs(seconds.into()).min(LONGEST_ASKED)
    }

    /// Whether trying again soon may help without anybody acting.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Fault::Busy(_)
                | Fault::Unreachable(_)
                | Fault::Transient(_)
                | Fault::TimedOut
                | Fault::NotLeading
                | Fault::Conflict(_)
        )
    }
}

/// Most characters of one error: an API server, or a proxy before it, may answer with a whole page.
const MOST_WORDS: usize = 400;

/// An error and its causes in one line of words, for logs, events, statuses and answers.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = words(error);
        if !words.is_empty() && !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        next = error.source();
    }
    text
}

/// What an error says by itself. The client library's own words repeat their causes, some of them as a dump of the
/// answer; the causes come by themselves.
fn words(error: &(dyn Error + 'static)) -> String {
    if let Some(watch) = error.downcast_ref::<watcher::Error>() {
        return match watch {
            watcher::Error::InitialListFailed(_) => "the list failed".to_owned(),
            watcher::Error::WatchStartFailed(_) => "the watch could not be started".to_owned(),
            watcher::Error::WatchFailed(_) => "the watch broke off".to_owned(),
            watcher::Error::WatchError(_) => "the API server ended the watch".to_owned(),
            watcher::Error::NoResourceVersion => "the answer has no version".to_owned(),
        };
    }
    let status = error.downcast_ref::<Status>();
    if let Some(status) = status.or_else(|| error.downcast_ref::<Box<Status>>().map(AsRef::as_ref)) {
        return of_status(status);
    }
    let client = error.downcast_ref::<kube::Error>();
    match client.or_else(|| error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref)) {
        // What it says is its source's.
        Some(kube::Error::Api(_) | kube::Error::Service(_) | kube::Error::HyperError(_)) => String::new(),
        Some(kube::Error::SerdeError(_)) => "the answer cannot be read".to_owned(),
        Some(kube::Error::ReadEvents(_)) => "the connection broke".to_owned(),
        _ => one_line(&error.to_string()),
    }
}

/// A refusal in the API server's own words; where it has none, its reason or its code.
fn of_status(status: &Status) -> String {
    match (status.message.trim(), status.reason.trim()) {
        ("", "") => format!("HTTP status {}", status.code),
        ("", reason) => reason.to_owned(),
        (message, _) => one_line(message),
    }
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST_WORDS {
        return line;
    }
    line.chars().take(MOST_WORDS).chain(['…']).collect()
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
mod tests;
