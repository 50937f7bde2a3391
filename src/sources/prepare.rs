//! From a template, its source and a rollout's arguments to the finished query, or everything that is wrong.

use std::collections::BTreeMap;

use crate::api::metricsource::{MetricSource, RESERVED_HEADERS};
use crate::api::metrictemplate::{ArgType, MetricTemplateSpec};
use jiff::SignedDuration;

use super::args::{self, Value, Values};
use super::promql::{self, Forced};
use super::request::{Ask, Context, Query};
use super::{json_path, parameters};

/// How old a sample may be where the template does not say: what Prometheus itself looks back.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

/// The finished query of a template for a rollout.
///
/// `source` is the MetricSource of the name in the template's `sourceRef`, if there is one.
///
/// # Errors
/// Everything that is wrong, each with its field, in words that name no secret.
pub fn prepare(
    context: &Context<'_>,
    template: &MetricTemplateSpec,
    source: Option<&MetricSource>,
    given: &BTreeMap<String, String>,
) -> Result<Query, Vec<String>> {
    let mut problems = Vec::new();
    args::declared(&template.args, &mut problems);
    let values = args::values(template, given, context, &mut problems);
    let name = &template.source_ref.name;
    let Some(source) =
        source.filter(|source| source.metadata.namespace.as_deref() == Some(context.operator_namespace))
    else {
        let namespace = context.operator_namespace;
        problems.push(format!(
            "sourceRef: there is no MetricSource {name:?} in the operator's namespace, {namespace}"
        ));
        return Err(problems);
    };
    if !is_allowed(source, context) {
        problems.push(format!(
            "sourceRef: the MetricSource {name:?} does not allow the namespace {:?}",
            context.template_namespace
        ));
    }
    let spec = &source.spec;
    let forced = spec.namespace_label.as_deref().map(|label| (label, context.namespace));
    let is_forced = |name: &str| forced.is_some_and(|(label, _)| label == name);
    let (promql, http) = (spec.prometheus.is_some(), spec.http.as_ref());
    let ask = if promql == http.is_some() {
        problems.push(format!("sourceRef: the MetricSource {name:?} is neither prometheus nor http"));
        None
    } else if promql != template.promql.is_some() {
        let wants = if promql { "promql" } else { "jsonPath" };
        problems.push(format!("sourceRef: the MetricSource {name:?} wants a template with {wants}"));
        None
    } else {
        // Arguments that are missing have been said: a query without them would only repeat it.
        problems.is_empty().then(|| ask(template, &values, forced, &mut problems)).flatten()
    };
    let fixed = http.and_then(|endpoint| super::address::url(&endpoint.url).ok());
    if let (Some(url), Some(Ask::Json { parameters: given, .. })) = (fixed, &ask) {
        for (key, _) in url.query_pairs() {
            if given.iter().any(|(name, _)| *name == key) {
                problems.push(format!("parameters.{key}: the source's URL has it already"));
            }
            for (name, _) in given.iter().filter(|(name, _)| !is_forced(name)) {
                let problem = parameters::check(name, &key).err();
                problems.extend(problem.map(|problem| format!("parameters.{name}: {problem}")));
            }
        }
    }
    let tenant = spec.tenant.as_ref().map(|tenant| {
        if RESERVED_HEADERS.contains(&tenant.header.to_ascii_lowercase().as_str()) {
            problems.push("sourceRef: the MetricSource's tenant header is reserved".to_owned());
        }
        (tenant.header.clone(), tenant.value.clone().unwrap_or_else(|| context.namespace.to_owned()))
    });
    match ask {
        Some(ask) if problems.is_empty() => Ok(Query {
            namespace: context.namespace.to_owned(),
            ask,
            tenant,
            reducer: template.reducer,
            max_age: template.max_age.map_or(MAX_AGE, |age| age.signed()),
        }),
        _ => Err(problems),
    }
}

/// What is wrong with a template by itself, whatever its source and arguments are.
pub fn check(template: &MetricTemplateSpec) -> Vec<String> {
    let mut problems = Vec::new();
    args::declared(&template.args, &mut problems);
    let values = sample_values(template);
    if template.promql.is_some() == template.json_path.is_some() {
        problems.push("give exactly one of promql and jsonPath".to_owned());
        return problems;
    }
    ask(template, &values, None, &mut problems);
    problems
}

/// Whether a template's query compares by itself, as an alert does: then it gives no number at all while all is well.
pub fn is_alert(template: &MetricTemplateSpec) -> bool {
    match ask(template, &sample_values(template), None, &mut Vec::new()) {
        Some(Ask::Promql { query, .. }) => promql::compares(&query),
        _ => false,
    }
}

/// Whether a template's query gives no number until something has gone wrong for the first time.
pub fn is_silent(template: &MetricTemplateSpec) -> bool {
    match ask(template, &sample_values(template), None, &mut Vec::new()) {
        Some(Ask::Promql { query, .. }) => promql::falls_silent(&query),
        _ => false,
    }
}

/// A value for each argument that a query may name.
fn sample_values(template: &MetricTemplateSpec) -> Values {
    let sample = |type_| match type_ {
        ArgType::String => "x",
        ArgType::Integer | ArgType::Decimal => "1",
        ArgType::Duration => "1m",
    };
    let value = |type_| Value { type_, text: sample(type_).to_owned() };
    let mut values: Values = template.args.iter().map(|arg| (arg.name.clone(), value(arg.type_))).collect();
    let built_in = [("interval", ArgType::Duration), ("flag", ArgType::String)];
    let built_in = built_in.into_iter().chain([("namespace", ArgType::String), ("rollout", ArgType::String)]);
    values.extend(built_in.map(|(name, type_)| (name.to_owned(), value(type_))));
    values
}

fn is_allowed(source: &MetricSource, context: &Context<'_>) -> bool {
    context.template_namespace == context.operator_namespace
        || source.spec.allowed_namespaces.iter().any(|name| name == "*" || name == context.template_namespace)
}

fn ask(
    template: &MetricTemplateSpec,
    values: &Values,
    forced: Option<Forced<'_>>,
    problems: &mut Vec<String>,
) -> Option<Ask> {
    let mut keep = |field: &str, result: Result<String, String>| {
        result.map_err(|problem| problems.push(format!("{field}: {problem}"))).ok()
    };
    if let Some(text) = &template.promql {
        let query = keep("promql", promql::finish(text, values, forced));
        let count = match &template.sample_count {
            Some(text) => Some(keep("sampleCount", promql::finish(text, values, forced))?),
            None => None,
        };
        return Some(Ask::Promql { query: query?, count });
    }
    let path = keep("jsonPath", path_text(template.json_path.as_deref().unwrap_or_default()));
    let count = match &template.sample_count {
        Some(text) => Some(keep("sampleCount", path_text(text))?),
        None => None,
    };
    let mut given = Vec::new();
    for (name, text) in &template.parameters {
        let field = format!("parameters.{name}");
        if forced.is_some_and(|(label, _)| label == name) {
            keep(&field, Err("the source gives it the rollout's namespace".to_owned()));
            continue;
        }
        if let Some((label, _)) = forced
            && keep(&field, parameters::check(name, label).map(|()| String::new())).is_none()
        {
            continue;
        }
        given.extend(keep(&field, args::fill(text, values)).map(|text| (name.clone(), text)));
    }
    given.extend(forced.map(|(label, namespace)| (label.to_owned(), namespace.to_owned())));
    Some(Ask::Json { parameters: given, path: path?, count })
}

fn path_text(text: &str) -> Result<String, String> {
    json_path::parse(text).map(|_| text.to_owned())
}
