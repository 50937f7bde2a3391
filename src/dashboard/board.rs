//! The objects of a kind that one person may list, kept up to date by watches, and what changed in them.
//!
//! All pages of a person share one watch a namespace, or one for the whole cluster. A watch is made with the person's own
//! identity, so that whatever stands here was given to that person by the API server; and it is made anew every minute,
//! which is when the API server asks again whether it may be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::row::Id;
use crate::clock::{monotonic, sleep};
use crate::cluster::{self, Cluster};
use crate::error::{Fault, chain};

use known::{Known, Watching};

mod known;

/// Seconds that a watch lasts: then it is made anew, and the API server asks again whether it may be.
const WATCH: u32 = 60;
/// How long a watch that failed must be quiet before it is asked whether it works again.
const QUIET: Duration = Duration::from_secs(1);
/// How long is waited after a failure, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));

/// What a list shows of an object.
pub trait Shown: PartialEq + Send + Sync + 'static {
    /// The kind of the object.
    type Kind: cluster::Kind + 'static;

    /// What is shown of an object, of one that cannot be read, too.
    fn of(object: &DeserializeGuard<Self::Kind>) -> Self;

    /// Which object it is.
    fn id(&self) -> &Id;
}

/// The name of a kind's objects in addresses and in rights.
pub fn resource<R: Shown>() -> String {
    <R::Kind as kube::Resource>::plural(&()).into_owned()
}

/// Where objects are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In every namespace.
    All,
    /// In one.
    Namespace(String),
}

/// How a watch stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nothing is known yet.
    Listing,
    /// What is shown is what there is.
    Live,
    /// The API server cannot be reached since then, or fails.
    Lost(Instant, String),
    /// The API server says no.
    Refused(String),
}

/// What is known, and who is told when it changes.
pub struct Board<R> {
    client: Client,
    known: Mutex<Known<R>>,
    version: watch::Sender<u64>,
}

impl<R: Shown> Board<R> {
    /// A board that lists with this client, which is the person's. Nothing is watched yet.
    pub fn new(client: Client) -> Arc<Board<R>> {
        Arc::new(Board { client, known: Mutex::default(), version: watch::Sender::new(0) })
    }

    /// Watches these and nothing else: what was known by others is gone at once.
    pub fn follow(self: &Arc<Board<R>>, scopes: &[Scope]) {
        let nowhere = format!("you may list {} in no namespace that this panel knows of", resource::<R>());
        self.watch(scopes, scopes.is_empty().then_some(Standing::Refused(nowhere)));
    }

    /// Watches nothing until somebody looks again.
    pub fn rest(self: &Arc<Board<R>>) {
        self.watch(&[], None);
    }

    fn watch(self: &Arc<Board<R>>, scopes: &[Scope], before: Option<Standing>) {
        let mut known = self.known();
        if known.before != before {
            known.before = before;
            known.version += 1;
        }
        let ended: Vec<Scope> =
            known.watches.keys().filter(|scope| !scopes.contains(scope)).cloned().collect();
        for scope in ended {
            known.watches.remove(&scope);
            known.forget(&scope);
            known.version += 1;
        }
        for scope in scopes {
            if !known.watches.contains_key(scope) {
                // It ends with the board: the task keeps none.
                let task = tokio::spawn(keep(Arc::downgrade(self), self.client.clone(), scope.clone()));
                let watching = Watching { standing: Standing::Listing, task: task.abort_handle() };
                known.watches.insert(scope.clone(), watching);
                known.version += 1;
            }
        }
        self.publish(known);
    }

    /// Whether anything is watched.
    pub fn is_followed(&self) -> bool {
        !self.known().watches.is_empty()
    }

    /// Says that nothing can be watched yet, and why.
    pub fn cannot_begin(&self, why: &str) {
        let mut known = self.known();
        let standing = Standing::Lost(monotonic(), why.to_owned());
        if !matches!(known.before, Some(Standing::Lost(..))) {
            known.before = Some(standing);
            known.version += 1;
        }
        self.publish(known);
    }

    /// Every row, by namespace and name.
    pub fn rows(&self) -> Vec<Arc<R>> {
        self.known().rows.values().map(|(_, row)| row.clone()).collect()
    }

    /// How the watches stand, the worst of them first.
    pub fn standing(&self) -> Standing {
        let known = self.known();
        let weight = |standing: &Standing| match standing {
            Standing::Lost(..) => 0,
            Standing::Listing => 1,
            Standing::Refused(_) => 2,
            Standing::Live => 3,
        };
        let worst = known.watches.values().map(|watching| &watching.standing).min_by_key(|s| weight(s));
        worst.or(known.before.as_ref()).cloned().unwrap_or(Standing::Listing)
    }

    /// Waits until everything is listed or cannot be, but no longer than `most`.
    pub async fn listed(&self, most: Duration) {
        let mut version = self.version.subscribe();
        let listed = async {
            while self.standing() == Standing::Listing {
                if version.changed().await.is_err() {
                    break;
                }
            }
        };
        // Whoever asks is shown what there is, and that it is not all.
        let _in_time = tokio::time::timeout(most, listed).await;
    }

    /// Tells whenever something changes: the number grows.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What has changed after a version; `None` where that is not known any more, so that all may have.
    pub fn since(&self, version: u64) -> Option<Vec<Id>> {
        self.known().since(version)
    }

    fn known(&self) -> MutexGuard<'_, Known<R>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, known: MutexGuard<'_, Known<R>>) {
        let version = known.version;
        drop(known);
        self.version.send_if_modified(|seen| std::mem::replace(seen, version) != version);
    }

    fn change(&self, scope: &Scope, change: impl FnOnce(&mut Known<R>)) {
        let mut known = self.known();
        // A watch that was ended meanwhile has nothing to say any more.
        if known.watches.contains_key(scope) {
            change(&mut known);
        }
        self.publish(known);
    }

    fn stand(&self, scope: &Scope, standing: Standing) {
        self.change(scope, |known| known.stand(scope, standing));
    }
}

/// Follows one scope until it is aborted or the board is gone.
async fn keep<R: Shown>(board: std::sync::Weak<Board<R>>, client: Client, scope: Scope) {
    let cluster = Cluster::of_person(client);
    let listed_there = cluster::Scope::of::<R::Kind>(match &scope {
        Scope::All => None,
        Scope::Namespace(name) => Some(name),
    });
    let mut events = std::pin::pin!(cluster.events::<R::Kind>(listed_there.clone().lasting(WATCH)));
    let mut listed = BTreeMap::new();
    let mut pause = AGAIN.0;
    let mut is_lost = false;
    loop {
        // A watch that goes on where it was says nothing before something changes.
        let next = match is_lost {
            true => tokio::time::timeout(QUIET, events.next()).await.ok(),
            false => Some(events.next().await),
        };
        let Some(event) = next else {
            let answers = cluster.answers(&listed_there).await.is_ok();
            let Some(board) = board.upgrade() else { return };
            if answers {
                board.stand(&scope, Standing::Live);
                is_lost = false;
            }
            continue;
        };
        let (Some(event), Some(board)) = (event, board.upgrade()) else { return };
        is_lost = false;
        if event.is_ok() && !matches!(event, Ok(Event::Init)) {
            pause = AGAIN.0;
        }
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                let row = R::of(&object);
                listed.insert(row.id().clone(), row);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                board.change(&scope, |known| {
                    known.replace(&scope, listed);
                    known.stand(&scope, Standing::Live);
                });
            }
            Ok(Event::Apply(object)) => {
                let row = R::of(&object);
                board.change(&scope, |known| {
                    known.put(&scope, row);
                    known.stand(&scope, Standing::Live);
                });
            }
            Ok(Event::Delete(object)) => {
                let id = R::of(&object).id().clone();
                board.change(&scope, |known| {
                    known.remove(&id);
                    known.stand(&scope, Standing::Live);
                });
            }
            Err(fault) => {
                match refusal(&fault) {
                    // What it may not be given any more, nobody is shown any more.
                    Some(why) => board.change(&scope, |known| {
                        known.forget(&scope);
                        known.stand(&scope, Standing::Refused(why));
                    }),
                    None => {
                        board.stand(&scope, Standing::Lost(monotonic(), chain(&fault)));
                        is_lost = true;
                    }
                }
                drop(board);
                sleep(pause).await;
                pause = (pause * 2).min(AGAIN.1);
            }
        }
    }
}

/// What the API server says where it does not allow to list or to watch.
fn refusal(fault: &Fault) -> Option<String> {
    fault.status().filter(|status| matches!(status.code, 401 | 403)).map(|status| status.message.clone())
}
