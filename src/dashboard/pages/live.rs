//! Tells a page that something has changed, as it happens. What has changed the page reads itself, with the rights that
//! count for every page.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::future::{FutureExt, select_all};
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::query;
use crate::clock::sleep;
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::board::{Board, Shown, Standing};
use crate::dashboard::circle::Circle;
use crate::dashboard::follow::Page;
use crate::dashboard::row::Id;

/// How often a page hears that all is as it was. One that hears nothing for two and a half times as long says that it is cut off.
pub(super) const BEAT: Duration = Duration::from_secs(4);
/// How long changes are collected: a thousand at once are one message.
const TOGETHER: Duration = Duration::from_millis(50);
/// Most rollouts that are named in one message; more are everything.
const NAMED: usize = 50;

struct Stream {
    app: Arc<App>,
    visitor: Visitor,
    watched: Watched,
    of_playbooks: bool,
    is_first: bool,
    is_over: bool,
    /// Among all pages and among those of this person, given back when the page goes.
    _places: [OwnedSemaphorePermit; 2],
}

/// What a page follows, which is kept up to date for as long as this is here.
struct Watched {
    circle: Arc<Circle>,
    follows: Vec<Follow>,
    _open: Vec<Page>,
}

impl Watched {
    fn of(circle: Arc<Circle>, of_playbooks: bool) -> Watched {
        let (mut open, mut follows) =
            (vec![circle.rollouts.open()], vec![Follow::of(&circle.rollouts.board)]);
        if of_playbooks {
            open.push(circle.playbooks.open());
            follows.push(Follow::of(&circle.playbooks.board));
        }
        Watched { circle, follows, _open: open }
    }
}

/// A board that a page follows.
struct Follow {
    board: Arc<dyn Changing>,
    version: watch::Receiver<u64>,
    seen: u64,
}

impl Follow {
    fn of<R: Shown>(board: &Arc<Board<R>>) -> Follow {
        let version = board.subscribe();
        let seen = *version.borrow();
        Follow { board: board.clone(), version, seen }
    }
}

/// A board of whichever kind.
trait Changing: Send + Sync {
    /// How its watches stand.
    fn standing(&self) -> Standing;

    /// What has changed after a version; `None` where that is not known any more.
    fn since(&self, version: u64) -> Option<Vec<Id>>;
}

impl<R: Shown> Changing for Board<R> {
    fn standing(&self) -> Standing {
        Board::standing(self)
    }

    fn since(&self, version: u64) -> Option<Vec<Id>> {
        Board::since(self, version)
    }
}

/// The stream of one page: of rollouts, and where the address asks for it, of playbooks.
pub async fn stream(State(app): State<Arc<App>>, visitor: Visitor, uri: Uri) -> Response {
    let circle = visitor.person.circle();
    let Ok(own) = circle.pages.clone().try_acquire_owned() else {
        return (StatusCode::TOO_MANY_REQUESTS, "you have too many pages open").into_response();
    };
    let Ok(place) = app.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open").into_response();
    };
    let of_playbooks = query(&uri).text("of") == Some("playbooks");
    let watched = Watched::of(circle, of_playbooks);
    let _places = [own, place];
    let stream = Stream { app, visitor, watched, of_playbooks, is_first: true, is_over: false, _places };
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
                (changed, ..) = select_all(self.watched.follows.iter_mut().map(|one| one.version.changed().boxed())) => {
                    changed.ok()?;
                    sleep(TOGETHER).await;
                }
            }
        }
        if !self.app.is_signed_in(&self.visitor) {
            self.is_over = true;
            return Some(Event::default().event("over").data("signed out"));
        }
        let circle = self.visitor.person.circle();
        if !Arc::ptr_eq(&circle, &self.watched.circle) {
            // The API server takes the person for another by now, who may list other things.
            self.watched = Watched::of(circle, self.of_playbooks);
            return Some(Event::default().event("changed").data("*"));
        }
        Some(self.tell())
    }

    fn tell(&mut self) -> Event {
        let lost = self.watched.follows.iter().find_map(|follow| match follow.board.standing() {
            Standing::Lost(since, _) => Some(since),
            Standing::Listing | Standing::Live | Standing::Refused(_) => None,
        });
        if let Some(since) = lost {
            return Event::default().event("lost").data(since.elapsed().as_secs().to_string());
        }
        let (mut is_news, mut names, mut is_all) = (false, Vec::new(), false);
        for follow in &mut self.watched.follows {
            let version = *follow.version.borrow_and_update();
            if version == follow.seen {
                continue;
            }
            is_news = true;
            match follow.board.since(follow.seen) {
                Some(ids) => names.extend(ids.iter().map(Id::to_string)),
                None => is_all = true,
            }
            follow.seen = version;
        }
        if !is_news {
            return Event::default().event("live").data("as it was");
        }
        let is_all = is_all || names.is_empty() || names.len() > NAMED;
        let names = if is_all { "*".to_owned() } else { names.join(" ") };
        Event::default().event("changed").data(names)
    }
}
