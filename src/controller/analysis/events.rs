//! What an edited source or template means for the checks: the next ones use it, and those that could not be made
//! are made again at once.

use std::collections::BTreeSet;

use kube::ResourceExt;

use crate::controller::cache::{News, ObjectKey};
use crate::controller::context::{Context, Key, Shared};
use crate::controller::queue::Priority;

/// A MetricSource came, changed or went.
pub fn metric_source_event(ctx: &Shared, key: &ObjectKey, news: News) {
    ctx.queue.push(Key::MetricSource(key.clone()), Priority::Report);
    if news != News::Spec {
        if !ctx.is_home() {
            // The shard with the operator's own namespace has found out something about it.
            retry_unprepared(ctx, |_| true);
        }
        return;
    }
    if ctx.metric_sources.get(key).is_none() {
        ctx.metrics.checks.forget_source(&key.1);
        forget_sources(ctx);
    }
    for template in ctx.metric_templates.keys() {
        let uses = ctx.metric_templates.readable(&template).is_some_and(|t| t.spec.source_ref.name == key.1);
        if uses {
            ctx.queue.push(Key::MetricTemplate(template), Priority::Report);
        }
    }
    retry_unprepared(ctx, |_| true);
}

/// A MetricTemplate came, changed or went.
pub fn metric_template_event(ctx: &Shared, key: &ObjectKey, news: News) {
    ctx.queue.push(Key::MetricTemplate(key.clone()), Priority::Report);
    if news == News::Spec {
        // Those of the operator's namespace are asked for by the cluster's policies.
        retry_unprepared(ctx, |namespace| namespace == key.0 || key.0 == ctx.namespace);
    }
}

fn forget_sources(ctx: &Context) {
    let uids: BTreeSet<String> = ctx
        .metric_sources
        .keys()
        .iter()
        .filter_map(|key| ctx.metric_sources.get(key))
        .filter_map(|source| source.uid())
        .collect();
    ctx.analysis.sources.retain(&uids);
    ctx.analysis.resolver.retain(&uids);
    ctx.analysis.limits.retain(&uids);
    let mut circuits = ctx.analysis.circuits.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    circuits.retain(|uid, _| uids.contains(uid));
}

/// Has the checks that could not be made made again, in the namespaces that are concerned.
pub(super) fn retry_unprepared(ctx: &Context, concerns: impl Fn(&str) -> bool) {
    let again: Vec<ObjectKey> = {
        let mut watched = ctx.analysis.watched();
        let unprepared = |(key, watched): (&ObjectKey, &mut super::Watched)| {
            (concerns(&key.0) && watched.retry_unprepared()).then(|| key.clone())
        };
        watched.iter_mut().filter_map(unprepared).collect()
    };
    for key in again {
        ctx.analysis.look_again(&key);
    }
}
