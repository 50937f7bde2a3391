//! What goes wrong with lists and watches between a controller and an API server.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::watch;

/// What goes wrong with reads at present.
pub(super) struct Faults {
    /// Watches are told that their version is gone.
    compacted: AtomicBool,
    /// Objects a page of a list, and how many later pages are told to begin anew.
    page: AtomicUsize,
    expiring: AtomicUsize,
    expired: AtomicUsize,
    forbidden: Mutex<String>,
    /// Watches that were begun at an earlier count end.
    ended: watch::Sender<usize>,
    /// Watches that were begun at an earlier count deliver nothing any more, and stay open.
    silent: Arc<AtomicUsize>,
    /// Who does not name this token is not known.
    token: Mutex<Option<String>>,
    unknown: AtomicUsize,
    away: AtomicBool,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            compacted: AtomicBool::default(),
            page: AtomicUsize::default(),
            expiring: AtomicUsize::default(),
            expired: AtomicUsize::default(),
            forbidden: Mutex::default(),
            ended: watch::Sender::new(0),
            silent: Arc::default(),
            token: Mutex::default(),
            unknown: AtomicUsize::default(),
            away: AtomicBool::default(),
        }
    }
}

impl Faults {
    pub(super) fn compact(&self) {
        self.compacted.store(true, Ordering::SeqCst);
        self.ended.send_modify(|count| *count += 1);
    }

    pub(super) fn let_watch(&self) {
        self.compacted.store(false, Ordering::SeqCst);
    }

    pub(super) fn expire_pages(&self, size: usize, times: usize) {
        self.page.store(size, Ordering::SeqCst);
        self.expiring.store(times, Ordering::SeqCst);
    }

    pub(super) fn expired(&self) -> usize {
        self.expired.load(Ordering::SeqCst)
    }

    pub(super) fn forbid_reading(&self, plural: &str) {
        plural.clone_into(&mut self.forbidden.lock().unwrap());
        self.ended.send_modify(|count| *count += 1);
    }

    pub(super) fn fall_silent(&self) {
        self.silent.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn know_only(&self, token: &str) {
        *self.token.lock().unwrap() = Some(token.to_owned());
        self.ended.send_modify(|count| *count += 1);
    }

    pub(super) fn unknown(&self) -> usize {
        self.unknown.load(Ordering::SeqCst)
    }

    pub(super) fn be_away(&self, is_away: bool) {
        self.away.store(is_away, Ordering::SeqCst);
        self.ended.send_modify(|count| *count += 1);
    }

    /// The answer to a request that nobody looks at: nobody is there, or whoever asks is not known.
    pub(super) fn unheard(&self, request: &Request) -> Option<Response> {
        if self.away.load(Ordering::SeqCst) {
            return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        let known = self.token.lock().unwrap().clone()?;
        let given = request.headers().get("authorization").and_then(|given| given.to_str().ok());
        if given == Some(&format!("Bearer {known}")) {
            return None;
        }
        self.unknown.fetch_add(1, Ordering::SeqCst);
        Some(status(401, "Unauthorized", "Unauthorized").into_response())
    }

    /// The answer to a read that is not to be forwarded.
    pub(super) fn refusal(&self, request: &Request) -> Option<Response> {
        if request.method() != Method::GET {
            return None;
        }
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let forbidden = self.forbidden.lock().unwrap().clone();
        if !forbidden.is_empty() && path.ends_with(&format!("/{forbidden}")) {
            return Some(status(403, "Forbidden", "you may not").into_response());
        }
        let counts_down = |count: usize| count.checked_sub(1);
        let is_later_page = query.contains("continue=");
        if is_later_page
            && self.expiring.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counts_down).is_ok()
        {
            self.expired.fetch_add(1, Ordering::SeqCst);
            return Some(
                status(410, "Expired", "the provided continue parameter is too old").into_response(),
            );
        }
        if query.contains("watch=true") && self.compacted.load(Ordering::SeqCst) {
            self.expired.fetch_add(1, Ordering::SeqCst);
            // The API server tells so within the watch.
            let (_, _, told) = status(410, "Expired", "too old resource version: 1 (2)");
            let line = format!("{{\"type\": \"ERROR\", \"object\": {told}}}\n");
            return Some(([("content-type", "application/json")], line).into_response());
        }
        None
    }

    /// A query for a page of a list that is no larger than it may be.
    pub(super) fn paged(&self, query: String) -> String {
        let size = self.page.load(Ordering::SeqCst);
        if size == 0 {
            return query;
        }
        let limited = |part: &str| match part.starts_with("limit=") {
            true => format!("limit={size}"),
            false => part.to_owned(),
        };
        let parts: Vec<String> = query.trim_start_matches('?').split('&').map(limited).collect();
        format!("?{}", parts.join("&"))
    }

    /// A watch's body, to its end, until the watches end, or until it delivers nothing any more.
    pub(super) fn until_ended(&self, body: Body) -> Body {
        let (silent, begun) = (self.silent.clone(), self.silent.load(Ordering::SeqCst));
        let body = Body::from_stream(body.into_data_stream().then(move |piece| {
            let is_silent = silent.load(Ordering::SeqCst) != begun;
            async move { if is_silent { std::future::pending().await } else { piece } }
        }));
        let mut ended = self.ended.subscribe();
        ended.mark_unchanged();
        let end = async move {
            let _ended = ended.changed().await;
        };
        Body::from_stream(body.into_data_stream().take_until(end))
    }
}

fn status(code: u16, reason: &str, message: &str) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": message,
    });
    (StatusCode::from_u16(code).unwrap(), [("content-type", "application/json")], status.to_string())
}
