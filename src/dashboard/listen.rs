//! Serves the pages, and drops sessions that are over.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::app::App;
use crate::clock::{self, monotonic};
use crate::server::bounded::{self, Bounds};

/// Connections of browsers, each of which opens up to six and keeps them. Whoever loses one gets it back: a page comes back by
/// itself.
const BROWSERS: Bounds = Bounds {
    what: "the panel",
    most: 1_024,
    head: Duration::from_secs(30),
    whole: None,
    keep_alive: true,
    read_ahead: 64 * 1024,
    ending: Some(Duration::from_secs(3)),
};
/// How often what is over is dropped.
const TIDY: Duration = Duration::from_secs(60);

/// Serves until `shutdown`.
pub async fn serve(listener: TcpListener, pages: Router, app: Arc<App>, shutdown: CancellationToken) {
    let tidying = async {
        loop {
            clock::sleep(TIDY).await;
            app.sessions.tidy(monotonic());
        }
    };
    tokio::select! {
        () = bounded::serve(listener, pages, BROWSERS, shutdown) => {}
        () = tidying => {}
    }
}
