//! Acting on a rollout: what an action would do, and asking for it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use kube::ResourceExt;
use minijinja::Value;

use super::breach::breach_words;
use super::rollout::title;
use super::{Problem, base, checked, lead, link, query, rollout_link, row_values, show};
use crate::api::rolloutaction::{Action, RolloutActionSpec};
use crate::api::status::Check;
use crate::api::{Percent, RollbackMode};
use crate::dashboard::access::{Rights, of_verb, verb};
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::ask::ask;
use crate::dashboard::form::{self, Fields, Subject};
use crate::dashboard::preview::{Preview, preview};
use crate::dashboard::read::{self, Seen, said};
use crate::dashboard::text::context;
use crate::error::Fault;
use crate::plan::{Approval, GuardSpec, Step, guard};

type Named = Path<(String, String, String)>;

/// What is known when the form is shown.
struct Filled<'a> {
    action: Action,
    fields: &'a Fields,
    /// What is wrong with what was filled in.
    wrong: Vec<String>,
    /// What the API server said.
    refused: Option<String>,
}

/// The form, with what the action would do as it is filled in.
pub async fn page(State(app): State<Arc<App>>, visitor: Visitor, Path(named): Named, uri: Uri) -> Response {
    let (namespace, name, verb) = named;
    let Some(action) = of_verb(&verb) else {
        return Problem::Missing(format!("there is no action {verb}")).page(&app, Some(&visitor));
    };
    let seen = match read::rollout(&visitor.person.client, &namespace, &name).await {
        Ok(seen) => seen,
        Err(error) => return Problem::from(error).page(&app, Some(&visitor)),
    };
    let fields = query(&uri);
    let filled = Filled { action, fields: &fields, wrong: Vec::new(), refused: None };
    show_form(&app, &visitor, &seen, filled).await
}

/// Asks for the action, and leads to what became of it.
pub async fn submit(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(named): Named,
    body: Bytes,
) -> Response {
    let (namespace, name, verb) = named;
    let fields = match checked(&app, &visitor, &body) {
        Ok(fields) => fields,
        Err(problem) => return problem.page(&app, Some(&visitor)),
    };
    let Some(action) = of_verb(&verb) else {
        return Problem::Missing(format!("there is no action {verb}")).page(&app, Some(&visitor));
    };
    // An action for a rollout that is not there would wait for one of its name.
    let seen = match read::rollout(&visitor.person.client, &namespace, &name).await {
        Ok(seen) => seen,
        Err(error) => return Problem::from(error).page(&app, Some(&visitor)),
    };
    let (spec, wrong) = spec(&seen, action, &fields);
    if !wrong.is_empty() {
        let filled = Filled { action, fields: &fields, wrong, refused: None };
        return (StatusCode::BAD_REQUEST, show_form(&app, &visitor, &seen, filled).await).into_response();
    }
    match ask(&visitor.person, &namespace, spec).await {
        Ok(asked) => lead(&link(&rollout_link(&namespace, &name), &[("asked", &asked)])),
        Err(fault) => {
            let code = match &fault {
                Fault::Forbidden(_) => StatusCode::FORBIDDEN,
                Fault::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::BAD_GATEWAY,
            };
            let refused = Some(said(&fault));
            let filled = Filled { action, fields: &fields, wrong: Vec::new(), refused };
            (code, show_form(&app, &visitor, &seen, filled).await).into_response()
        }
    }
}

fn spec(seen: &Seen, action: Action, fields: &Fields) -> (RolloutActionSpec, Vec<String>) {
    let uid = seen.rollout.uid().unwrap_or_default();
    form::action(action, Subject { name: &seen.rollout.name_any(), uid: &uid }, fields)
}

async fn show_form(app: &App, visitor: &Visitor, seen: &Seen, filled: Filled<'_>) -> Response {
    let row = seen.row();
    let Filled { action, fields, wrong, refused } = filled;
    let rights = match visitor.person.access.rights(&row.id.namespace, &row.id.name).await {
        Ok(rights) => rights,
        Err(fault) => return Problem::from(fault).page(app, Some(visitor)),
    };
    let allowed = rights.may(action);
    let not_allowed = format!(
        "{} may not {} this rollout: that takes the verb {} on featurerollouts.sluice.dev and create on rolloutactions.sluice.dev.",
        visitor.person.name,
        title(action).to_lowercase(),
        verb(action)
    );
    let why = breach_words(app, visitor, &row, Some(seen)).await.unwrap_or_else(|| row.why.clone());
    let (preview, no_preview) = tried(app, visitor, seen, action, fields);
    let action_link = format!("{}/{}", rollout_link(&row.id.namespace, &row.id.name), verb(action));
    let values = context! {
        title => title(action),
        row => context! { why, ..row_values(&row) },
        verb => verb(action),
        zone => seen.zone(),
        generation => seen.rollout.metadata.generation,
        explains => explains(action),
        button => button(action),
        style => if action == Action::Rollback { "danger" } else { "primary" },
        reason => fields.whole("reason"),
        wrong, refused, allowed, not_allowed, preview, no_preview, action_link,
        ..context! {
            ..choices(seen, action, fields, &rights),
            ..base(app, Some(visitor), "rollouts")
        }
    };
    show(app, "act.html", values)
}

/// What the action would do as it is filled in, or why that is not said.
fn tried(
    app: &App,
    visitor: &Visitor,
    seen: &Seen,
    action: Action,
    fields: &Fields,
) -> (Option<Preview>, String) {
    let status = seen.status();
    let uid = seen.rollout.uid().unwrap_or_default();
    if status.uid.as_deref() != Some(uid.as_str()) {
        return (None, "The operator has not seen this rollout yet.".to_owned());
    }
    let (mut spec, wrong) = spec(seen, action, fields);
    // The reason is what is written last, and changes nothing.
    let wrong: Vec<String> = wrong.into_iter().filter(|said| !said.starts_with("say why")).collect();
    if action == Action::Approve && spec.approve.is_none() {
        spec.approve = waiting_step(seen).and_then(|step| {
            let (phase, step) = step.split_once('/')?;
            Some(crate::api::rolloutaction::Approve { phase: phase.to_owned(), step: step.to_owned() })
        });
    } else if !wrong.is_empty() {
        return (None, wrong.join("; "));
    }
    if action == Action::Approve && spec.approve.is_none() {
        let says = if approvable(seen).next().is_some() { "Choose a step." } else { "Nothing." };
        return (None, says.to_owned());
    }
    let generation = seen.rollout.metadata.generation.unwrap_or_default();
    let subject = (uid.as_str(), generation);
    let now = app.clock.now();
    (Some(preview(&seen.basis(now), &status, &spec, subject, &visitor.person.name, now)), String::new())
}

/// The step that waits for an approval, as `phase/step`.
fn waiting_step(seen: &Seen) -> Option<String> {
    let waiting = seen.rollout.status.as_ref()?.waiting_for.as_ref()?;
    let which = waiting.which.clone().filter(|_| waiting.check == Check::Approval)?;
    let named = |step: &&crate::plan::Step| {
        let full = step.name.as_ref().map(|name| format!("{}/{name}", step.phase));
        full.as_ref() == Some(&which) || step.name.as_ref() == Some(&which)
    };
    let step = seen.plan.as_ref().ok()?.steps.iter().find(named)?;
    Some(format!("{}/{}", step.phase, step.name.as_ref()?))
}

/// The steps that require an approval, each with its name as `phase/step`.
fn approvable(seen: &Seen) -> impl Iterator<Item = (String, &Step)> {
    let steps = seen.plan.iter().flat_map(|plan| &plan.steps);
    let asking = steps.filter(|step| step.approval != Approval::NotRequired);
    asking.filter_map(|step| Some((format!("{}/{}", step.phase, step.name.as_ref()?), step)))
}

/// What there is to choose for an action.
fn choices(seen: &Seen, action: Action, fields: &Fields, rights: &Rights) -> Value {
    let status = seen.status();
    let mode = fields.text("mode").unwrap_or("Immediate");
    let guard = match &seen.plan {
        Ok(plan) => plan.guard.clone(),
        Err(_) => guard(&GuardSpec::of(&seen.rollout.spec), &[], &mut Vec::new()),
    };
    let was_filled = fields.all("cohorts").next().is_some();
    let cohort = |cohort: &crate::api::status::CohortStatus| {
        let now = cohort.decided();
        let typed = fields.text(&format!("percent.{}", cohort.name)).map(str::to_owned);
        let number = typed.unwrap_or_else(|| now.to_string().trim_end_matches('%').to_owned());
        context! {
            name => cohort.name, now => now.to_string(), number,
            slider => (now.thousandths() + 500) / 1000,
            chosen => !was_filled || fields.all("cohort").any(|name| name == cohort.name),
        }
    };
    let ladder: Vec<String> = guard.ladder.iter().map(ToString::to_string).collect();
    let kept = match guard.keep.is_empty() {
        true => "the cohorts chosen below".to_owned(),
        false => format!("{} keep it, unless you choose whom to take it from", guard.keep.join(", ")),
    };
    let modes = [
        (RollbackMode::Immediate, "to control at once".to_owned()),
        (RollbackMode::Gradual, format!("{}, one more every {:#}", ladder.join(" → "), guard.every)),
        (RollbackMode::Partial, kept),
    ];
    let modes = modes.map(|(value, says)| {
        let value = value.as_str();
        context! { value, title => value, says, chosen => value == mode }
    });
    let waiting = waiting_step(seen);
    let chosen_step = fields.text("step").map(str::to_owned).or_else(|| waiting.clone());
    let steps: Vec<Value> = approvable(seen)
        .map(|(value, step)| {
            let asks: Vec<String> = step
                .asks
                .iter()
                .map(|(name, percent): (&String, &Percent)| format!("{name} {percent}"))
                .collect();
            let waits = if waiting.as_ref() == Some(&value) { "waits for it now; " } else { "" };
            let chosen = chosen_step.as_ref() == Some(&value);
            context! { chosen, says => format!("{waits}asks {}", asks.join(", ")), value }
        })
        .collect();
    context! {
        cohorts => status.cohorts.iter().map(cohort).collect::<Vec<_>>(),
        modes => modes.to_vec(),
        steps,
        from => fields.text("from"),
        overrides => overrides(action, fields, rights),
    }
}

fn overrides(action: Action, fields: &Fields, rights: &Rights) -> Option<Vec<Value>> {
    if !rights.may_override() {
        return None;
    }
    const WINDOW: [&str; 3] = ["Window", "Windows", "raise outside of the hours in which raises happen"];
    const FREEZE: [&str; 3] = ["Freeze", "Freezes", "raise on days that are closed to raises"];
    const GATES: [&str; 3] = ["Gates", "Gates", "raise without the criteria that this phase has to pass"];
    let offered: &[[&str; 3]] = match action {
        Action::Promote | Action::Retry => &[WINDOW, FREEZE, GATES],
        Action::SetPercent => &[WINDOW, FREEZE],
        _ => return None,
    };
    let check = |[value, title, says]: &[&str; 3]| {
        context! { value, title, says, chosen => fields.all("override").any(|chosen| chosen == *value) }
    };
    Some(offered.iter().map(check).collect())
}

fn explains(action: Action) -> &'static str {
    match action {
        Action::Pause => "Stops the schedule. What is served stays as it is, and triggers go on watching.",
        Action::Resume => "Lets the schedule go on from where it stands.",
        Action::Approve => "Lets a step that requires an approval be entered when everything else allows it.",
        Action::Promote => "Enters the next step now instead of at its time. All other checks count.",
        Action::SetPercent => "Serves these percentages and holds the schedule until somebody resumes.",
        Action::Rollback => {
            "Takes the feature away. Nothing stands in its way, and it stays so until somebody retries."
        }
        Action::Retry => {
            "Ends a rollback or a recovery and starts again. The first step has to pass the checks as any."
        }
        Action::Acknowledge => "Says that you have seen it. It changes nothing else.",
    }
}

fn button(action: Action) -> &'static str {
    match action {
        Action::Pause => "Pause now",
        Action::Resume => "Resume now",
        Action::Approve => "Approve",
        Action::Promote => "Promote now",
        Action::SetPercent => "Set percentages now",
        Action::Rollback => "Roll back now",
        Action::Retry => "Retry now",
        Action::Acknowledge => "Acknowledge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::text::templates;

    /// The form of an action, with these choices.
    fn form(verb: &str, choices: Value) -> String {
        let base = context! {
            here => "rollouts", cluster => "test", assets => super::super::assets::links(), who => "ada", csrf => "x",
            may_sign_out => false, now => "2025-09-08T09:00:00Z", beat => 4, zone => "UTC",
        };
        let row = row_values(&crate::dashboard::row::Row::default());
        let none = context! {
            refused => None::<String>, wrong => Vec::<String>::new(), allowed => true, preview => None::<Preview>,
            no_preview => "", action_link => "/", title => "", explains => "", button => "Go", style => "primary",
            generation => 1, reason => "", overrides => None::<Vec<Value>>,
        };
        let values =
            context! { ..context! { verb, row }, ..context! { ..choices, ..context! { ..none, ..base } } };
        templates().unwrap().get_template("act.html").unwrap().render(values).unwrap()
    }

    #[test]
    fn where_no_step_requires_an_approval_none_can_be_given() {
        let none = form("approve", context! { steps => Vec::<Value>::new() });
        assert!(
            none.contains("No step of this rollout requires") && none.contains("disabled>Go</button>"),
            "{none}"
        );
        let step = context! { value => "ga/full", says => "asks all 100%", chosen => false };
        let one = form("approve", context! { steps => vec![step] });
        assert!(one.contains("ga/full") && !one.contains("disabled>"), "{one}");
    }

    #[test]
    fn the_focus_is_where_something_has_to_be_said() {
        let focused = |page: &str| {
            let (before, _) = page.split_once(" autofocus").unwrap();
            before.rsplit('<').next().unwrap().to_owned()
        };
        assert!(
            focused(&form("pause", context! { steps => Vec::<Value>::new() }))
                .starts_with("input id=\"reason\"")
        );
        let cohort = context! { name => "all", now => "5%", number => "5", slider => 5, chosen => true };
        let percents = form("setpercent", context! { cohorts => vec![cohort.clone(), cohort] });
        assert!(focused(&percents).starts_with("input id=\"p-1\""), "{percents}");
        assert_eq!(percents.matches(" autofocus").count(), 1, "{percents}");
    }

    #[test]
    fn what_may_be_passed_over_is_explained() {
        let all = context! { value => "Freeze", title => "Freezes", says => "raise on closed days", chosen => false };
        let page = form("promote", context! { overrides => vec![all] });
        assert!(page.contains("<b>Freezes</b><small>raise on closed days</small>"), "{page}");
    }
}
