//! Checks of metric sources and templates, of those who use them, and of actions that stand in files.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::api::trigger::{Criterion, Metric, Trigger};
use crate::api::{Duration, FeatureRollout, MetricSource, MetricTemplate};
use crate::cli::files::Object;
use crate::cli::files::misfits::misfits;
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::{Item, Typed};
use crate::cli::files::wording::near;
use crate::plan::guard::{CRITERION_INTERVAL, TRIGGER_INTERVAL};
use crate::plan::{Plan, flag_key};
use crate::sources::{self, Context};

/// Below this a trigger asks its source often, and hears hardly more.
const SHORT_INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// Checks everything about metrics, and actions.
pub fn check(typed: &Typed<'_>, plans: &BTreeMap<(&str, &str), Plan>, problems: &mut Vec<Problem>) {
    for item in typed.sources.values() {
        check_source(item, problems);
    }
    for item in typed.templates.values() {
        for problem in sources::check(&item.typed.spec) {
            add(item, &problem, "spec", problems);
        }
        if sources::is_alert(&item.typed.spec) {
            let message = "compares by itself, as an alert does: while all is well it gives no number, which counts as \
                           missing data; give the number, and set the limit in the trigger";
            problems.push(item.object.problem(Severity::Warning, "spec.promql", message));
        }
        if sources::is_silent(&item.typed.spec) {
            let message = "gives no number until what stands before the division has happened once, as there is no series of it \
                           before, and missing data holds back every raise: write `(PART or 0 * WHOLE) / WHOLE`";
            problems.push(item.object.problem(Severity::Warning, "spec.promql", message));
        }
    }
    for item in typed.actions.values() {
        for (field, message) in misfits(&item.typed.spec) {
            problems.push(item.object.problem(Severity::Error, &format!("spec.{field}"), message));
        }
        let message = "an action does one thing once: applied by a GitOps tool it is rejected; create it, or \
                       use sluice pause, rollback and so on";
        problems.push(item.object.problem(Severity::Warning, "", message));
    }
    for item in typed.policies.values() {
        check_triggers(item.object, &item.typed.spec.triggers, problems);
    }
    for (key, item) in &typed.rollouts {
        check_triggers(item.object, &item.typed.spec.triggers, problems);
        let triggers = item.typed.spec.triggers.iter().enumerate().map(|(i, t)| {
            let interval = t.interval.map_or(TRIGGER_INTERVAL, |interval| interval.signed());
            (format!("spec.triggers[{i}]"), &t.metric, interval, None)
        });
        let asked = triggers.chain(asked_by_criteria(&item.typed.spec.criteria));
        check_metrics(typed, item, flag_key(&item.typed), asked, problems);
        if let Some(plan) = plans.get(key) {
            check_metrics_of_policies(typed, item, plan, problems);
        }
    }
    for item in typed.playbooks.values() {
        let asked = asked_by_criteria(&item.typed.spec.criteria);
        check_metrics(typed, item, &item.object.name, asked, problems);
    }
}

/// A problem in the words of [`sources`], which begin with the field.
fn add<K>(item: &Item<'_, K>, problem: &str, base: &str, problems: &mut Vec<Problem>) {
    let field = problem.split_once(": ").filter(|(field, _)| !field.contains([' ', '{']));
    let (path, message) = match field {
        Some((field, message)) => (format!("{base}.{field}"), message),
        None => (base.to_owned(), problem),
    };
    if !item.is_known(&path) {
        problems.push(item.object.problem(Severity::Error, &path, message));
    }
}

/// What the API server would refuse beyond the schema.
fn check_source(item: &Item<'_, MetricSource>, problems: &mut Vec<Problem>) {
    let spec = &item.typed.spec;
    let mut wrong = |path: &str, message: &str| {
        if !item.is_known(path) {
            problems.push(item.object.problem(Severity::Error, path, message));
        }
    };
    if spec.prometheus.is_some() == spec.http.is_some() {
        wrong("spec", "give exactly one of prometheus and http");
    }
    if spec.auth.as_ref().is_some_and(|auth| auth.bearer.is_some() == auth.basic.is_some()) {
        wrong("spec.auth", "give exactly one of bearer and basic");
    }
    let given = |ca: &crate::api::metricsource::Ca| {
        [ca.secret_ref.is_some(), ca.config_map_ref.is_some(), ca.pem.is_some()]
            .iter()
            .filter(|is| **is)
            .count()
    };
    if spec.tls.as_ref().is_some_and(|tls| given(&tls.ca) != 1) {
        wrong("spec.tls.ca", "give exactly one of secretRef, configMapRef and pem");
    }
    let timeout = spec.timeout.signed();
    if timeout <= SignedDuration::ZERO || timeout > SignedDuration::from_secs(5) {
        wrong("spec.timeout", "must be more than 0s and at most 5s");
    }
}

fn check_triggers(object: &Object, triggers: &[Trigger], problems: &mut Vec<Problem>) {
    for (t, trigger) in triggers.iter().enumerate() {
        let interval = trigger.interval.map_or(TRIGGER_INTERVAL, |interval| interval.signed());
        let shown = Duration::from_signed(interval);
        if interval < SHORT_INTERVAL {
            let message = format!("{shown} asks the source often: 10s and more says hardly less");
            let path = format!("spec.triggers[{t}].interval");
            problems.push(object.problem(Severity::Warning, &path, message));
        }
        for (l, level) in trigger.levels.iter().enumerate() {
            let Some(for_) = level.for_.filter(|for_| for_.signed() > SignedDuration::ZERO) else { continue };
            if for_.signed() < interval {
                let message = format!(
                    "{for_} is shorter than the interval, and two samples are needed: it takes {shown}"
                );
                let path = format!("spec.triggers[{t}].levels[{l}].for");
                problems.push(object.problem(Severity::Warning, &path, message));
            }
        }
    }
}

/// Where a metric is asked for, which, how often, and how many samples it needs.
pub type Asked<'a> = (String, &'a Metric, SignedDuration, Option<i64>);

/// The metrics that criteria ask for; those that people measure ask for none.
pub fn asked_by_criteria(criteria: &[Criterion]) -> impl Iterator<Item = Asked<'_>> {
    criteria.iter().enumerate().filter_map(|(i, c)| {
        let interval = c.interval.map_or(CRITERION_INTERVAL, |interval| interval.signed());
        Some((format!("spec.criteria[{i}]"), c.metric.as_ref()?, interval, c.min_samples))
    })
}

/// The queries that triggers and criteria ask for, where the files have their templates. Others may be in the cluster.
fn check_metrics<'a, K>(
    typed: &Typed<'_>,
    item: &Item<'_, K>,
    flag: &str,
    asked: impl Iterator<Item = Asked<'a>>,
    problems: &mut Vec<Problem>,
) {
    for (path, metric, interval, min_samples) in asked {
        let key = (item.object.namespace.as_str(), metric.template_ref.name.as_str());
        let Some(template) = typed.templates.get(&key) else {
            // It may be in the cluster; beside others of its namespace a name like theirs is mostly a slip.
            let beside = typed.templates.keys().filter(|(namespace, _)| *namespace == key.0);
            if let Some(meant) = near(key.1, beside.map(|(_, name)| *name)) {
                let message = format!(
                    "{:?}: there is no such MetricTemplate in the files: did you mean {meant}? Else it must be in the cluster",
                    key.1
                );
                let path = format!("{path}.metric.templateRef.name");
                problems.push(item.object.problem(Severity::Warning, &path, message));
            }
            continue;
        };
        if min_samples.is_some() && template.typed.spec.sample_count.is_none() {
            let message = format!(
                "template {} counts no samples: without sampleCount there is never enough data",
                metric.template_ref.name
            );
            let path = format!("{path}.minSamples");
            problems.push(item.object.problem(Severity::Warning, &path, message));
        }
        check_query(typed, (item, flag), template, (&path, metric, interval), problems);
    }
}

/// The queries of the triggers that policies add, with the rollout's arguments filled in.
fn check_metrics_of_policies(
    typed: &Typed<'_>,
    item: &Item<'_, FeatureRollout>,
    plan: &Plan,
    problems: &mut Vec<Problem>,
) {
    let own = item.typed.spec.triggers.len();
    for declared in plan.guard_spec.triggers.iter().skip(own) {
        let trigger = &declared.trigger;
        let namespace = declared.template_namespace.as_deref().unwrap_or(&item.object.namespace);
        let key = (namespace, trigger.metric.template_ref.name.as_str());
        let Some(template) = typed.templates.get(&key) else { continue };
        let interval = trigger.interval.map_or(TRIGGER_INTERVAL, |interval| interval.signed());
        let of = (item, flag_key(&item.typed));
        check_query(typed, of, template, (&declared.path, &trigger.metric, interval), problems);
    }
}

fn check_query<K>(
    typed: &Typed<'_>,
    (item, flag): (&Item<'_, K>, &str),
    template: &Item<'_, MetricTemplate>,
    (path, metric, interval): (&str, &Metric, SignedDuration),
    problems: &mut Vec<Problem>,
) {
    let spec = &template.typed.spec;
    let by_itself = sources::check(spec);
    let source = typed.sources.iter().find(|((_, name), _)| *name == spec.source_ref.name);
    let context = Context {
        operator_namespace: source.map_or("", |((namespace, _), _)| *namespace),
        template_namespace: &template.object.namespace,
        namespace: &item.object.namespace,
        rollout: &item.object.name,
        flag,
        interval,
    };
    let found = sources::prepare(&context, spec, source.map(|(_, item)| &item.typed), &metric.args);
    let defaults: BTreeMap<&str, bool> =
        spec.args.iter().map(|arg| (arg.name.as_str(), arg.default.is_some())).collect();
    for problem in found.err().into_iter().flatten() {
        let field = problem.split_once(": ").map_or("", |(field, _)| field);
        match field.strip_prefix("args.") {
            // A default that is wrong is the template's.
            Some(name) if !metric.args.contains_key(name) && defaults.get(name) == Some(&true) => {}
            Some(_) => add(item, &problem, &format!("{path}.metric"), problems),
            // Sources belong to admins: who may use them, and whether there are any, is the cluster's to say.
            None if field == "sourceRef" && (source.is_none() || problem.contains("does not allow")) => {}
            None if field == "sourceRef" => add(template, &problem, "spec", problems),
            None if by_itself.contains(&problem) => {}
            None => {
                let message = format!("template {}: {problem}", metric.template_ref.name);
                problems.push(item.object.problem(Severity::Error, &format!("{path}.metric"), message));
            }
        }
    }
}
