//! Keeps a board on what a person may list of a kind, for as long as somebody looks at it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::access::Access;
use super::board::{Board, Scope, Shown, resource};
use crate::clock::{monotonic, sleep};
use crate::error::{Fault, call, chain};

/// How often the API server is asked where the person may list.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// The same while it cannot be asked.
const ASK_AGAIN_SOON: Duration = Duration::from_secs(3);
/// After so long without a page nothing is watched any more, until there is one again.
const UNUSED: Duration = Duration::from_secs(600);
/// Most namespaces that are watched one by one.
const MOST_NAMESPACES: usize = 32;
/// Most namespaces that are asked about.
const MOST_ASKED: usize = 500;

/// A board, and what keeps it. Nothing is watched before the first page is looked at.
pub struct Followed<R> {
    /// What may be listed.
    pub board: Arc<Board<R>>,
    used: Arc<Used>,
    keeper: AbortHandle,
}

#[derive(Default)]
struct Used {
    at: Mutex<Option<Instant>>,
    again: Notify,
}

impl Used {
    fn is_recent(&self) -> bool {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < UNUSED)
    }
}

impl<R> Drop for Followed<R> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl<R: Shown> Followed<R> {
    /// Begins with the client of the person; `namespaces` are tried where the person may not list them.
    pub fn begin(client: Client, namespaces: Vec<String>) -> Followed<R> {
        let board = Board::new(client.clone());
        let used = Arc::<Used>::default();
        let keeper = tokio::spawn(keep(board.clone(), client, namespaces, used.clone())).abort_handle();
        Followed { board, used, keeper }
    }

    /// Notes that a page is looked at.
    pub fn mark_used(&self) {
        *self.used.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(monotonic());
        self.used.again.notify_one();
    }
}

/// Keeps the board on what the person may list, and asks again on a timer.
async fn keep<R: Shown>(board: Arc<Board<R>>, client: Client, namespaces: Vec<String>, used: Arc<Used>) {
    let access = Access::new(client.clone());
    let resource = resource::<R>();
    loop {
        let pause = match used.is_recent() {
            true => match scopes(&access, &client, &resource, &namespaces).await {
                Ok(scopes) => {
                    board.follow(&scopes);
                    ASK_AGAIN
                }
                // What is watched goes on: the watches say themselves that they are lost.
                Err(_) if board.is_followed() => ASK_AGAIN_SOON,
                Err(fault) => {
                    board.cannot_begin(&chain(&fault));
                    ASK_AGAIN_SOON
                }
            },
            false => {
                board.rest();
                used.again.notified().await;
                continue;
            }
        };
        sleep(pause).await;
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
