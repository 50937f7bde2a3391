//! Tells a page that something has changed, as it happens. What has changed the page reads itself, with the rights that
//! count for every page.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::clock::{monotonic, sleep};
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::board::{Board, Standing};

/// How often a page hears that all is as it was.
const BEAT: Duration = Duration::from_secs(10);
/// How long changes are collected: a thousand at once are one message.
const TOGETHER: Duration = Duration::from_millis(50);
/// Most rollouts that are named in one message; more are everything.
const NAMED: usize = 50;

struct Stream {
    app: Arc<App>,
    visitor: Visitor,
    board: Arc<Board>,
    version: watch::Receiver<u64>,
    seen: u64,
    is_first: bool,
    is_over: bool,
    /// Given back when the page goes.
    _place: OwnedSemaphorePermit,
}

/// The stream of one page.
pub async fn stream(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    let Ok(place) = app.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open").into_response();
    };
    let board = visitor.person.board.clone();
    let version = board.subscribe();
    let seen = *version.borrow();
    let stream = Stream { app, visitor, board, version, seen, is_first: true, is_over: false, _place: place };
    let events = stream::unfold(stream, |mut stream| async {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Sse::new(events).into_response()
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        if !std::mem::take(&mut self.is_first) {
            tokio::select! {
                () = sleep(BEAT) => {}
                () = self.app.shutdown.cancelled() => return None,
                changed = self.version.changed() => {
                    changed.ok()?;
                    sleep(TOGETHER).await;
                }
            }
        }
        if !self.is_signed_in() {
            self.is_over = true;
            return Some(Event::default().event("over").data("signed out"));
        }
        self.visitor.person.mark_used();
        Some(self.tell())
    }

    fn is_signed_in(&self) -> bool {
        let session = self.visitor.session.as_deref();
        session.is_none_or(|name| self.app.sessions.is_open(name, monotonic()))
    }

    fn tell(&mut self) -> Event {
        if let Standing::Lost(since, _) = self.board.standing() {
            return Event::default().event("lost").data(since.elapsed().as_secs().to_string());
        }
        let version = *self.version.borrow_and_update();
        if version == self.seen {
            return Event::default().event("live").data("as it was");
        }
        let changed = self.board.since(self.seen).filter(|changed| changed.len() <= NAMED);
        self.seen = version;
        let names = changed.map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        Event::default()
            .event("changed")
            .data(names.filter(|n| !n.is_empty()).unwrap_or_else(|| "*".to_owned()))
    }
}
