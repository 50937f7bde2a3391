//! Trying a spec out: its plan beside that of the rollout as it is, by the same engine. Nothing is applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use kube::ResourceExt;
use minijinja::Value;

use super::line::Line;
use super::{Problem, base, checked, query, show};
use crate::api::{FeatureRollout, FeatureRolloutStatus, MicroTime};
use crate::cli::files::lint;
use crate::cli::files::problem::{Problem as Found, Severity};
use crate::cli::files::{Input, Kind};
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::preview::changes;
use crate::dashboard::read::{self, ReadError, Seen, said};
use crate::dashboard::text::context;
use crate::engine::Facts;
use crate::engine::decide;
use crate::engine::forecast::timeline::{Entry, Timeline, ahead, timeline};
use crate::error::Fault;
use crate::plan::Plan;

/// Most bytes of a spec: more than the API server stores.
const MOST_SPEC: usize = 512 * 1024;
/// Namespace of a spec that names none, where none is given.
const DEFAULT_NAMESPACE: &str = "default";
/// Most rows of the table.
const MOST_ROWS: usize = 200;

const EXAMPLE: &str = "\
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: my-feature}
spec:
  cohorts: [{name: everyone}]
  phases:
  - name: ga
    ramp: {percents: [5, 10, 25, 50, 100], every: 24h}
";

/// The page, with the rollout that an address names, or with an example.
pub async fn page(State(app): State<Arc<App>>, visitor: Visitor, uri: Uri) -> Response {
    let fields = query(&uri);
    let namespace = fields.text("namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned();
    let spec = match fields.text("rollout") {
        None => EXAMPLE.to_owned(),
        Some(name) => match read::rollout(&visitor.person.client, &namespace, name).await {
            Ok(seen) => text_of(&seen.rollout),
            Err(error) => return Problem::from(error).page(&app, Some(&visitor)),
        },
    };
    let values = context! { spec, namespace, ..base(&app, Some(&visitor), "try") };
    show(&app, "try.html", values)
}

/// What somebody edits: what stands in git, without what the cluster has added.
fn text_of(rollout: &FeatureRollout) -> String {
    let value = serde_json::json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "FeatureRollout",
        "metadata": {"name": rollout.name_any(), "namespace": rollout.namespace()},
        "spec": rollout.spec,
    });
    serde_saphyr::to_string(&value).unwrap_or_else(|error| error.to_string())
}

/// The page with what the spec would do.
pub async fn submit(State(app): State<Arc<App>>, visitor: Visitor, body: Bytes) -> Response {
    let fields = match checked(&app, &visitor, &body) {
        Ok(fields) => fields,
        Err(problem) => return problem.page(&app, Some(&visitor)),
    };
    let spec = fields.whole("spec").unwrap_or_default().to_owned();
    let namespace = fields.text("namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned();
    let start = context! { spec, namespace, ..base(&app, Some(&visitor), "try") };
    let (values, code) = match tried(&app, &visitor, &spec, &namespace).await {
        Ok((result, remarks)) => (context! { result, remarks, ..start }, StatusCode::OK),
        Err(wrong) => (context! { wrong, ..start }, StatusCode::BAD_REQUEST),
    };
    (code, show(&app, "try.html", values)).into_response()
}

async fn tried(
    app: &App,
    visitor: &Visitor,
    text: &str,
    namespace: &str,
) -> Result<(Value, Vec<String>), Vec<String>> {
    let (mut rollout, mut remarks) = understood(text, namespace)?;
    let (namespace, name) = (rollout.namespace().unwrap_or_default(), rollout.name_any());
    let client = &visitor.person.client;
    let living = read::rollout(client, &namespace, &name).await;
    // Its status tells which policies of the cluster bind it, and they bind it with this edit, too.
    rollout.status = living.as_ref().ok().and_then(|living| living.rollout.status.clone());
    let mut seen = read::with_references(client, rollout).await;
    let plan = match &seen.plan {
        Ok(plan) => plan.clone(),
        Err(why) => {
            seen.unread.push(why.clone());
            return Err(seen.unread);
        }
    };
    remarks.append(&mut seen.unread);
    remarks.append(&mut seen.unused);
    let now = app.clock.now();
    let living = match living {
        Ok(living) => Some(living),
        Err(ReadError::Fault(Fault::NotFound(_))) => {
            remarks.push(format!(
                "There is no rollout {namespace}/{name} to compare with: this is how a new one would go."
            ));
            None
        }
        // That it could not be read does not mean that it is not there.
        Err(error) => {
            let why = match &error {
                ReadError::Fault(fault) => said(fault),
                ReadError::Unreadable(_) => error.to_string(),
            };
            remarks.push(format!(
                "The rollout {namespace}/{name} as it is cannot be read, so nothing is compared: {why}"
            ));
            None
        }
    };
    Ok((result(&seen, &plan, living.as_ref(), now), remarks))
}

/// The one rollout of a text, or all that is wrong with it.
fn understood(text: &str, namespace: &str) -> Result<(FeatureRollout, Vec<String>), Vec<String>> {
    if text.len() > MOST_SPEC {
        return Err(vec![format!("the text is longer than {MOST_SPEC} bytes")]);
    }
    let mut input = Input::default();
    input.add("-", text);
    for object in &mut input.objects {
        let names_one = object.value.pointer("/metadata/namespace").and_then(serde_json::Value::as_str);
        if names_one.is_none_or(str::is_empty) {
            object.namespace = namespace.to_owned();
        }
    }
    let checked = lint::check(&input);
    // What other files would have is read from the cluster here, the policies among it that ask for arguments.
    let elsewhere = |problem: &Found| {
        let message = &problem.message;
        let is_argument =
            problem.severity == Severity::Warning && problem.path.starts_with("spec.policyArgs.");
        is_argument || message.contains("of the files") || message.contains("in the files")
    };
    let (mut wrong, mut remarks) = (Vec::new(), Vec::new());
    for problem in checked.problems.iter().filter(|problem| !elsewhere(problem)) {
        let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
        let told = format!("line {}: {path}{}", problem.line.max(1), problem.message);
        match problem.severity {
            Severity::Error => wrong.push(told),
            Severity::Warning => remarks.push(told),
        }
    }
    let others = input.objects.iter().filter(|object| object.kind != Kind::FeatureRollout).count();
    if others > 0 {
        remarks
            .push("Only the FeatureRollout is tried: what it refers to is read from the cluster.".to_owned());
    }
    let mut rollouts = checked.typed.rollouts.values();
    match (rollouts.next(), rollouts.next()) {
        _ if !wrong.is_empty() => Err(wrong),
        (None, _) => Err(vec!["there is no FeatureRollout in it".to_owned()]),
        (Some(_), Some(_)) => Err(vec!["there are several FeatureRollouts in it: give one".to_owned()]),
        (Some(item), None) => Ok((item.typed.clone(), remarks)),
    }
}

fn result(seen: &Seen, plan: &Plan, living: Option<&Seen>, now: MicroTime) -> Value {
    let none = FeatureRolloutStatus::default();
    let status = living.map(Seen::status).unwrap_or_default();
    let is_begun = status.is_begun();
    let zone = seen.zone();
    let (after, tried) = match is_begun {
        true => {
            let facts = Facts::favourable(status.uid.as_deref().unwrap_or_default());
            let after = decide(plan, &status, &facts, now).status;
            let tried = ahead(plan, &after, now);
            (after, tried)
        }
        false => (none.clone(), timeline(plan, now)),
    };
    let today = living.filter(|_| is_begun).and_then(|seen| Some((seen, seen.plan.as_ref().ok()?)));
    let today = today.map(|(seen, plan)| (seen, plan, ahead(plan, &status, now)));
    let draw = |status: &FeatureRolloutStatus,
                plan: &Plan,
                ahead: &Timeline,
                zone: &str,
                (id, what): (&str, &str)| {
        let title = format!("{what} of {}/{}", plan.namespace, plan.name);
        Line { status, ahead, plan: Some(plan), zone, now, title, id }.values()
    };
    let drawn = draw(&after, plan, &tried, &zone, ("tried", "The plan with this edit"));
    let drawn_today = today.as_ref().and_then(|(seen, plan, coming)| {
        draw(&status, plan, coming, &seen.zone(), ("today", "The plan as it is"))
    });
    let coming = today.as_ref().map(|(_, _, coming)| coming);
    let (served, then) = (told_now(&status), told_now(&after));
    context! {
        title => format!("{}/{}", plan.namespace, plan.name),
        zone,
        at_once => status.is_begun().then(|| changes(&status, &after)),
        legend => drawn.as_ref().and_then(|drawn| drawn.get_attr("legend").ok()),
        tried => drawn,
        today => drawn_today,
        entries => compared(now, (&tried, &then), coming.map(|coming| (coming, served.as_str()))),
    }
}

/// Two plans side by side, each with what it begins with: at each instant of either, and now where they begin differently, what
/// each gives from then on.
fn compared(now: MicroTime, tried: (&Timeline, &str), today: Option<(&Timeline, &str)>) -> Vec<Value> {
    let instants =
        |(plan, _): (&Timeline, &str)| plan.entries.iter().map(|entry| entry.at).collect::<Vec<_>>();
    let mut all: BTreeSet<MicroTime> = instants(tried).into_iter().collect();
    all.extend(today.into_iter().flat_map(instants));
    if today.is_some_and(|(_, begins)| begins != tried.1) {
        all.insert(now);
    }
    let row = |at: MicroTime| {
        let new = last(&tried.0.entries, at);
        let old = today.and_then(|(plan, _)| last(&plan.entries, at));
        let named = new.filter(|entry| entry.at == at).or(old.filter(|entry| entry.at == at));
        let new = new.map_or_else(|| tried.1.to_owned(), told);
        let old = today.map(|(_, begins)| old.map_or_else(|| begins.to_owned(), told));
        let differs = old.as_ref().is_some_and(|old| *old != new);
        context! { at => at.to_string(), step => named.map(Entry::step_name), differs, tried => new, today => old }
    };
    all.into_iter().take(MOST_ROWS).map(row).collect()
}

fn last(entries: &[Entry], at: MicroTime) -> Option<&Entry> {
    entries.iter().rev().find(|entry| entry.at <= at)
}

fn told(entry: &Entry) -> String {
    let told = entry.cohorts.iter().map(|(name, percent)| format!("{name} {percent}"));
    told.collect::<Vec<_>>().join(", ")
}

fn told_now(status: &FeatureRolloutStatus) -> String {
    let told = status.cohorts.iter().map(|cohort| format!("{} {}", cohort.name, cohort.decided()));
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_understood_or_everything_is_said_that_is_wrong() {
        let (rollout, _) = understood(EXAMPLE, "maya").unwrap();
        assert_eq!(
            (rollout.namespace().as_deref(), rollout.name_any().as_str()),
            (Some("maya"), "my-feature")
        );
        let wrong = understood(&EXAMPLE.replace("every: 24h", "every: soon").replace("25,", "250,"), "maya");
        let wrong = wrong.unwrap_err();
        assert!(
            wrong.len() >= 2 && wrong.iter().all(|said| said.starts_with("line 8: spec.phases[0].ramp")),
            "{wrong:?}"
        );
        for (text, said) in [
            ("", "is empty"),
            ("{", "line 1"),
            ("a: b", "no Kubernetes object"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}", "no FeatureRollout"),
            (&format!("{EXAMPLE}---\n{}", EXAMPLE.replace("my-feature", "other")), "several"),
            (&"a".repeat(MOST_SPEC + 1), "longer than"),
        ] {
            let wrong = understood(text, "maya").unwrap_err();
            assert!(wrong.iter().any(|problem| problem.contains(said)), "{said}: {wrong:?}");
        }
    }

    #[test]
    fn sets_that_other_files_have_are_looked_for_in_the_cluster() {
        let text = EXAMPLE.replace("cohorts: [{name: everyone}]", "cohortSetRef: {name: maya-users}");
        assert!(understood(&text, "maya").is_ok());
    }

    #[test]
    fn whether_a_policy_asks_for_an_argument_the_cluster_tells() {
        let text = EXAMPLE
            .replace("spec:\n", "spec:\n  flagSetRef: {name: maya}\n  policyArgs: {service: dreams}\n");
        let (_, remarks) = understood(&text, "maya").unwrap();
        assert!(remarks.iter().all(|remark| !remark.contains("policyArgs")), "{remarks:?}");
    }
}
