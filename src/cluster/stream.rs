//! A list and a watch for whoever shows objects to people: what is told comes one by one, and so does what goes wrong, so that
//! it can be shown, too.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use kube::client::Body;
use kube::runtime::watcher::Event;

use super::watch::{Guarded, Lines, SILENCE, WORKED, is_lost, no_version};
use super::{Cluster, Kind, Scope, decode, piece};
use crate::clock;
use crate::error::Fault;

/// How long is waited where a watch ended at once and without a word.
const PAUSE: Duration = Duration::from_secs(1);

/// What is told of objects, or why nothing can be heard: then the caller waits before it asks for more.
type Told<K> = Result<Event<Guarded<K>>, Fault>;

/// How far the stream is.
enum Stage {
    /// In a list, at the page that begins there; without one it has not begun.
    List(Option<String>),
    /// Between two watches, at this version.
    Between(String),
    /// In a watch.
    Watch { version: String, body: Body, lines: Lines, begun: std::time::Instant, is_silent: bool },
}

struct Feed<'a, K> {
    cluster: &'a Cluster,
    scope: Scope,
    stage: Stage,
    told: VecDeque<Event<Guarded<K>>>,
}

impl Cluster {
    /// Lists and watches these objects for as long as somebody asks for more: [`Event::Init`] comes before every list and
    /// [`Event::InitDone`] when it is complete. After an error it goes on where it was, or with a new list.
    pub fn events<K: Kind + 'static>(&self, scope: Scope) -> impl Stream<Item = Told<K>> + Send + '_ {
        let feed = Feed { cluster: self, scope, stage: Stage::List(None), told: VecDeque::new() };
        futures::stream::unfold(feed, |mut feed| async move {
            loop {
                if let Some(event) = feed.told.pop_front() {
                    return Some((Ok(event), feed));
                }
                if let Err(fault) = feed.go_on().await {
                    feed.begin_after(&fault);
                    return Some((Err(fault), feed));
                }
            }
        })
    }
}

impl<K: Kind> Feed<'_, K> {
    async fn go_on(&mut self) -> Result<(), Fault> {
        match std::mem::replace(&mut self.stage, Stage::List(None)) {
            Stage::List(next) => self.list(next).await,
            Stage::Between(version) => {
                self.stage = Stage::Between(version.clone());
                let body = self.cluster.open(self.scope.watch(&version)).await?;
                let begun = clock::monotonic();
                self.stage = Stage::Watch { version, body, lines: Lines::default(), begun, is_silent: true };
                Ok(())
            }
            Stage::Watch { mut version, mut body, mut lines, begun, is_silent } => {
                let heard = tokio::time::timeout(SILENCE, piece(&mut body)).await;
                // Where it breaks off, it goes on from here.
                self.stage = Stage::Between(version.clone());
                let Some(bytes) = heard.unwrap_or(Ok(None))? else {
                    if is_silent && begun.elapsed() < WORKED {
                        clock::sleep(PAUSE).await;
                    }
                    return Ok(());
                };
                let mut failed = Ok(());
                lines.feed(&bytes, &mut |line| {
                    if failed.is_ok() {
                        let told = &mut self.told;
                        failed = self.cluster.line(&self.scope, line, &mut version, &mut |event| {
                            told.push_back(event);
                        });
                    }
                });
                self.stage = Stage::Between(version.clone());
                failed?;
                self.stage = Stage::Watch { version, body, lines, begun, is_silent: false };
                Ok(())
            }
        }
    }

    async fn list(&mut self, next: Option<String>) -> Result<(), Fault> {
        if next.is_none() {
            self.told.push_back(Event::Init);
        }
        let told = &mut self.told;
        let page = self.cluster.page(self.scope.list(next.as_deref()), |bytes| {
            told.push_back(Event::InitApply(decode::object(&bytes)));
        });
        let metadata = page.await?;
        self.stage = match metadata.next {
            Some(next) => Stage::List(Some(next)),
            None => {
                self.told.push_back(Event::InitDone);
                Stage::Between(metadata.resource_version.ok_or_else(no_version)?)
            }
        };
        Ok(())
    }

    /// Where to go on after a failure.
    fn begin_after(&mut self, fault: &Fault) {
        if is_lost(fault) || matches!(self.stage, Stage::List(_)) {
            // What was told of a list that broke off is told again.
            self.told.clear();
            self.stage = Stage::List(None);
        }
    }
}
