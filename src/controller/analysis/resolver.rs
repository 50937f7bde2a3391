//! What checks are made by: MetricTemplates, and MetricSources with their secrets, read by name from the operator's namespace and kept
//! for a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use serde::Deserialize;
use tokio::sync::Mutex as AsyncMutex;

use super::limits::Place;
use crate::api::{LocalRef, MetricSource, MetricTemplate, Reason};
use crate::clock;
use crate::controller::cache::ObjectKey;
use crate::controller::context::{Context, Key, Shared};
use crate::controller::queue::Priority;
use crate::error::{Fault, chain};
use crate::sources::{self, Resolved};
use crate::watchdog::resting;

/// How long what was read is taken to be so.
const KEPT: Duration = Duration::from_secs(60);
/// How long an API server that does not answer is left alone where something older is known.
const SOON: Duration = Duration::from_secs(5);

/// Why a source cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// For programs.
    pub reason: Reason,
    /// For people who may read sources.
    pub message: String,
}

/// The resolved sources, by UID.
#[derive(Default)]
pub struct Resolver(Mutex<HashMap<String, Slot>>);

/// Locked while it is being read, so that many who ask at once read once.
type Slot = Arc<AsyncMutex<Option<Known>>>;

struct Known {
    generation: i64,
    until: Instant,
    outcome: Result<Resolved, Unready>,
}

impl Resolver {
    /// A source ready to be asked.
    ///
    /// # Errors
    /// Why it cannot be.
    pub async fn resolve(&self, ctx: &Context, source: &MetricSource) -> Result<Resolved, Unready> {
        let uid = source.uid().unwrap_or_default();
        let generation = source.metadata.generation.unwrap_or_default();
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(uid).or_default().clone()
        };
        let mut known = slot.lock().await;
        let now = clock::monotonic();
        let same = known.as_ref().filter(|known| known.generation == generation);
        if let Some(known) = same
            && now < known.until
        {
            return known.outcome.clone();
        }
        let before = same.map(|known| known.outcome.clone());
        let (outcome, kept) = match read(ctx, source).await {
            Ok(outcome) => (outcome, KEPT),
            // What was right a minute ago is better than nothing.
            Err(_) if matches!(before, Some(Ok(_))) => (before.clone().unwrap_or_else(never), SOON),
            Err(fault) => (Err(unreadable(&fault)), SOON),
        };
        let is_news = before.as_ref().map(|b| b.as_ref().err()) != Some(outcome.as_ref().err());
        *known = Some(Known { generation, until: clock::monotonic() + kept, outcome: outcome.clone() });
        if is_news {
            let key = (ctx.namespace.clone(), source.name_any());
            ctx.queue.push(Key::MetricSource(key), Priority::Report);
        }
        outcome
    }

    /// Forgets the sources that are not among these.
    pub fn retain(&self, uids: &std::collections::BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
    }
}

fn never() -> Result<Resolved, Unready> {
    Err(Unready { reason: Reason::Retrying, message: "it has not been read yet".to_owned() })
}

fn unreadable(fault: &Fault) -> Unready {
    Unready { reason: fault.reason(), message: format!("what it names could not be read: {}", chain(fault)) }
}

/// Reads what a source names and puts it together.
async fn read(ctx: &Context, source: &MetricSource) -> Result<Result<Resolved, Unready>, Fault> {
    let wanted = sources::wanted(&source.spec);
    let found = ctx.cluster.secrets(&ctx.namespace, &wanted).await?;
    let complete = found.len() == wanted.iter().collect::<std::collections::BTreeSet<_>>().len();
    Ok(sources::resolve(source, &found).map_err(|problems| Unready {
        reason: if complete { Reason::InvalidSpec } else { Reason::ReferenceNotFound },
        message: problems.join("; "),
    }))
}

/// The template of this name, read where its namespace has more than it may have in memory: what it is for may be about to be
/// rolled back. `namespace` is that of whoever asks.
///
/// # Errors
/// Why there is none, in words.
pub async fn template(ctx: &Shared, key: &ObjectKey, namespace: &str) -> Result<MetricTemplate, String> {
    if !ctx.metric_templates.is_beyond(key) {
        let known = ctx.metric_templates.readable(key);
        return known.ok_or_else(|| format!("there is no MetricTemplate {:?} that can be read", key.1));
    }
    let _place = ctx.analysis.reads.take(namespace, 0).await;
    let found = ctx.cluster.get::<MetricTemplate>(key).await.map_err(|fault| {
        tracing::debug!("MetricTemplate {}/{} could not be read: {}", key.0, key.1, chain(&fault));
        format!("MetricTemplate {:?} could not be read", key.1)
    })?;
    let found = found.and_then(|found| found.0.ok());
    found.ok_or_else(|| format!("there is no MetricTemplate {:?} that can be read", key.1))
}

/// As much of a template as says whom it asks.
#[derive(Deserialize)]
struct OfSource {
    spec: SourceOfSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceOfSpec {
    source_ref: LocalRef,
}

/// A place for asking the source; none where there is nothing that can be asked, which is told without one.
///
/// Nothing is kept meanwhile of what was read: thousands may wait.
pub async fn place(
    ctx: &Shared,
    (template_namespace, template_name): (&str, &str),
    namespace: &str,
) -> Option<Place> {
    let line = {
        let key = (template_namespace.to_owned(), template_name.to_owned());
        let name = match ctx.metric_templates.glance::<OfSource>(&key) {
            Some(known) => known.spec.source_ref.name,
            None => Box::pin(template(ctx, &key, namespace)).await.ok()?.spec.source_ref.name,
        };
        ctx.analysis.limits.line(&ctx.metric_sources.readable(&(ctx.namespace.clone(), name))?)
    };
    Some(resting(line.take(namespace)).await)
}
