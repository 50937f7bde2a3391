//! What MetricSources and MetricTemplates say of themselves. Written only when it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt;

use crate::api::conditions::{Condition, Want, merge, types};
use crate::api::metricsource::Circuit;
use crate::api::metrictemplate::ArgType;
use crate::api::{MetricSource, MetricSourceStatus, MetricTemplate, MetricTemplateStatus, Reason};
use crate::controller::cache::ObjectKey;
use crate::controller::context::{Context, Key, Shared};
use crate::controller::persist::stall_unreadable;
use crate::controller::sets::write_status;
use crate::error::Fault;
use crate::sources::{self, Context as For};

/// When a source that is not ready is looked at again: what it names is in no watch.
const AGAIN: Duration = Duration::from_secs(60);

/// Says on a MetricSource whether it can be asked.
///
/// # Errors
/// When its status could not be written.
pub async fn metric_source(ctx: &Shared, key: &ObjectKey) -> Result<(), Fault> {
    let Some(source) = ctx.metric_sources.readable(key).filter(|_| ctx.analysis.is_listed()) else {
        return stall_unreadable(ctx, &ctx.metric_sources, key).await;
    };
    let resolved = ctx.analysis.resolver.resolve(ctx, &source).await;
    let (circuit, cause) = shown_of(ctx, &source.uid().unwrap_or_default());
    let want = match resolved {
        Err(unready) => Err((unready.reason, unready.message)),
        Ok(_) if circuit == Circuit::Open => Err((Reason::Retrying, open_words(cause))),
        Ok(_) => Ok("it may be asked".to_owned()),
    };
    let again = (want.is_err() && circuit == Circuit::Closed).then(|| ctx.clock.after(AGAIN));
    ctx.queue.push_at(Key::MetricSource(key.clone()), again);
    if again.is_none() {
        super::events::retry_unprepared(ctx, |_| true);
    }
    let generation = source.metadata.generation.unwrap_or(0);
    let prior = source.status.clone().unwrap_or_default();
    let status = MetricSourceStatus {
        observed_generation: generation,
        circuit: Some(circuit),
        conditions: conditions(ctx, &prior.conditions, want, generation),
    };
    if status == prior {
        return Ok(());
    }
    write_status(ctx, &ctx.metric_sources, &source, &status).await
}

/// A circuit as status shows it, and why it is open: a probe that is under way is no news.
pub fn shown_of(ctx: &Context, uid: &str) -> (Circuit, Option<&'static str>) {
    match ctx.analysis.sources.circuit(uid) {
        Circuit::Closed => (Circuit::Closed, None),
        Circuit::Open | Circuit::HalfOpen => (Circuit::Open, ctx.analysis.sources.cause(uid)),
    }
}

fn open_words(cause: Option<&str>) -> String {
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    format!(
        "the circuit is open after several errors in a row, and the source is asked again only after a while{cause}"
    )
}

/// Says on a MetricTemplate whether its query is valid and its source may be asked.
///
/// # Errors
/// When its status could not be written.
pub async fn metric_template(ctx: &Shared, key: &ObjectKey) -> Result<(), Fault> {
    let Some(template) = ctx.metric_templates.readable(key).filter(|_| ctx.analysis.is_listed()) else {
        return stall_unreadable(ctx, &ctx.metric_templates, key).await;
    };
    let name = &template.spec.source_ref.name;
    let source = ctx.metric_sources.readable(&(ctx.namespace.clone(), name.clone()));
    let generation = template.metadata.generation.unwrap_or(0);
    let prior = template.status.clone().unwrap_or_default();
    let want = match problems(ctx, &key.0, &template, source.as_ref()) {
        problems if problems.is_empty() => Ok("the query is valid and its source may be asked".to_owned()),
        problems if source.is_none() => Err((Reason::ReferenceNotFound, problems.join("; "))),
        problems => Err((Reason::InvalidSpec, problems.join("; "))),
    };
    let status = MetricTemplateStatus {
        observed_generation: generation,
        conditions: conditions(ctx, &prior.conditions, want, generation),
    };
    if status == prior {
        return Ok(());
    }
    write_status(ctx, &ctx.metric_templates, &template, &status).await
}

/// What is wrong with a template by itself, or else with its source as a rollout of its namespace would ask it.
fn problems(
    ctx: &Context,
    namespace: &str,
    template: &MetricTemplate,
    source: Option<&MetricSource>,
) -> Vec<String> {
    let problems = sources::check(&template.spec);
    if !problems.is_empty() {
        return problems;
    }
    let sample = |type_| match type_ {
        ArgType::String => "x",
        ArgType::Integer | ArgType::Decimal => "1",
        ArgType::Duration => "1m",
    };
    let args: BTreeMap<String, String> =
        template.spec.args.iter().map(|arg| (arg.name.clone(), sample(arg.type_).to_owned())).collect();
    let context = For {
        operator_namespace: &ctx.namespace,
        template_namespace: namespace,
        namespace,
        rollout: "x",
        flag: "x",
        interval: jiff::SignedDuration::from_mins(1),
    };
    sources::prepare(&context, &template.spec, source, &args).err().unwrap_or_default()
}

fn conditions(
    ctx: &Context,
    prior: &[Condition],
    want: Result<String, (Reason, String)>,
    generation: i64,
) -> Vec<Condition> {
    let wants = match want {
        Ok(message) => {
            let reason = Reason::Valid.as_str();
            vec![Want { type_: types::READY, status: true, reason, message }]
        }
        Err((reason, message)) => {
            let message = crate::engine::short(&message);
            let ready = Want { type_: types::READY, status: false, reason: reason.as_str(), message };
            // What goes on by itself is not stalled.
            let by_itself = reason == Reason::Retrying;
            let type_ = if by_itself { types::RECONCILING } else { types::STALLED };
            let other = Want { type_, status: true, ..ready.clone() };
            vec![ready, other]
        }
    };
    merge(prior, &wants, generation, ctx.clock.now())
}
