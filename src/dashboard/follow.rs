//! Keeps a board on what a person may list of a kind, for as long as somebody looks at it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::access::Access;
use super::board::{Board, Scope, Shown, resource};
use super::circle::Watching;
use crate::clock::{monotonic, sleep};
use crate::error::{Fault, call, chain};

/// How soon the API server is asked again where the person may list, while it cannot be asked.
const ASK_AGAIN_SOON: Duration = Duration::from_secs(3);
/// Most namespaces that are watched one by one.
const MOST_NAMESPACES: usize = 32;
/// Most namespaces that are asked about.
const MOST_ASKED: usize = 500;

/// A board, and what keeps it. Nothing is watched before the first page is looked at, nor a while after the last.
pub struct Followed<R> {
    /// What may be listed.
    pub board: Arc<Board<R>>,
    used: Arc<Used>,
    keeper: AbortHandle,
}

/// Who looks at it.
#[derive(Default)]
struct Used {
    /// When somebody came or went last.
    at: Mutex<Option<Instant>>,
    /// How many open pages there are.
    pages: AtomicUsize,
    changed: Notify,
}

/// How long a board is needed still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// As long as the pages are open.
    Open,
    /// Somebody may come back within this.
    For(Duration),
    /// By nobody.
    No,
}

/// An open page; it is not looked at any more when this is dropped.
pub struct Page(Arc<Used>);

impl Drop for Page {
    fn drop(&mut self) {
        self.0.pages.fetch_sub(1, Ordering::AcqRel);
        self.0.note();
    }
}

impl Used {
    fn note(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(monotonic());
        self.changed.notify_one();
    }

    fn needed(&self, unused: Duration, now: Instant) -> Needed {
        if self.pages.load(Ordering::Acquire) > 0 {
            return Needed::Open;
        }
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let left = at.and_then(|at| unused.checked_sub(now.saturating_duration_since(at)));
        left.filter(|left| !left.is_zero()).map_or(Needed::No, Needed::For)
    }
}

impl<R> Drop for Followed<R> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl<R: Shown> Followed<R> {
    /// Begins with the client of the person; `namespaces` are tried where the person may not list them.
    pub fn begin(client: Client, namespaces: Vec<String>, watching: Watching) -> Followed<R> {
        let board = Board::new(client.clone());
        let used = Arc::<Used>::default();
        let keeping = Keeping { board: board.clone(), client, namespaces, used: used.clone(), watching };
        let keeper = tokio::spawn(keeping.keep()).abort_handle();
        Followed { board, used, keeper }
    }

    /// Notes that a page is looked at.
    pub fn mark_used(&self) {
        self.used.note();
    }

    /// Notes that a page is open until it is dropped.
    pub fn open(&self) -> Page {
        self.used.pages.fetch_add(1, Ordering::AcqRel);
        self.used.note();
        Page(self.used.clone())
    }
}

struct Keeping<R> {
    board: Arc<Board<R>>,
    client: Client,
    namespaces: Vec<String>,
    used: Arc<Used>,
    watching: Watching,
}

impl<R: Shown> Keeping<R> {
    /// Keeps the board on what the person may list, and asks again on a timer.
    async fn keep(self) {
        let access = Access::new(self.client.clone());
        let resource = resource::<R>();
        loop {
            if self.used.needed(self.watching.unused, monotonic()) == Needed::No {
                self.board.rest();
                self.used.changed.notified().await;
                continue;
            }
            let pause = match scopes(&access, &self.client, &resource, &self.namespaces).await {
                Ok(scopes) => {
                    self.board.follow(&scopes);
                    self.watching.ask_again
                }
                // What is watched goes on: the watches say themselves that they are lost.
                Err(_) if self.board.is_followed() => ASK_AGAIN_SOON,
                Err(fault) => {
                    self.board.cannot_begin(&chain(&fault));
                    ASK_AGAIN_SOON
                }
            };
            self.wait(pause).await;
        }
    }

    /// Waits until it is to be asked again, or nobody looks any more.
    async fn wait(&self, pause: Duration) {
        let until = monotonic() + pause;
        loop {
            let now = monotonic();
            let left = until.saturating_duration_since(now);
            let most = match self.used.needed(self.watching.unused, now) {
                Needed::Open => left,
                Needed::For(needed) => left.min(needed),
                Needed::No => return,
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = sleep(most) => {}
                () = self.used.changed.notified() => {}
            }
        }
    }
}

/// Where the person may list: everywhere, else in which of the namespaces that are named or can be listed.
async fn scopes(
    access: &Access,
    client: &Client,
    resource: &str,
    named: &[String],
) -> Result<Vec<Scope>, Fault> {
    if access.may_list(resource, None).await? {
        return Ok(vec![Scope::All]);
    }
    let all: Api<Namespace> = Api::all(client.clone());
    let limit = u32::try_from(MOST_ASKED).unwrap_or(u32::MAX);
    // Whoever may not list namespaces has those that were named.
    let listed = call(all.list_metadata(&ListParams::default().limit(limit))).await;
    let listed = listed.map(|list| list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    let mut asked: Vec<String> = named.to_vec();
    for name in listed.unwrap_or_default() {
        if !asked.contains(&name) {
            asked.push(name);
        }
    }
    let may = access.listable(resource, asked).await;
    Ok(may.into_iter().take(MOST_NAMESPACES).map(Scope::Namespace).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_needed_while_a_page_is_open_and_a_while_longer() {
        let (used, unused) = (Arc::<Used>::default(), Duration::from_secs(60));
        let now = monotonic();
        assert_eq!(used.needed(unused, now), Needed::No, "nobody has looked yet");
        used.pages.fetch_add(2, Ordering::AcqRel);
        let pages = [Page(used.clone()), Page(used.clone())];
        assert_eq!(used.needed(unused, now + unused * 100), Needed::Open);
        let [first, second] = pages;
        drop(first);
        assert_eq!(used.needed(unused, now + unused * 100), Needed::Open, "another one is open");
        drop(second);
        let at = monotonic();
        assert!(matches!(used.needed(unused, at), Needed::For(left) if left <= unused && left > unused / 2));
        assert_eq!(used.needed(unused, at + unused), Needed::No);
    }
}
