//! One rollout: what is served, why it waits, what comes, and what happened.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use kube::{Api, ResourceExt};
use minijinja::Value;

use super::courses::courses;
use super::line::{Line, changes};
use super::watched::{guard_of, watched};
use super::{Problem, base, file_link, link, query, rollout_link, row_values, show};
use crate::api::measured::Measured;
use crate::api::reason::Reason;
use crate::api::rolloutaction::{Action, Answer, RolloutAction};
use crate::api::status::{Check, CohortStatus, HistoryEntry, PauseCause};
use crate::api::{FeatureRolloutStatus, MicroTime, Percent};
use crate::dashboard::access::{ACTIONS, Rights, verb};
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::past::Mark;
use crate::dashboard::person::Person;
use crate::dashboard::read::{self, Seen, said};
use crate::dashboard::text::context;
use crate::dashboard::units::{Units, units};
use crate::engine::delivery;
use crate::engine::forecast::timeline::{Timeline, ahead};
use crate::error::call;
use crate::flags::{self, Identity};
use crate::plan::guard::{Criterion, CriterionSource};
use crate::plan::{Approval, Guard, Plan};

/// Steps to come that are listed; the picture has all.
const STEPS: usize = 12;
/// Seconds after which an open page looks for new measurements, at least and at most.
const OFTEN: i64 = 5;
const SELDOM: i64 = 60;

/// The page.
pub async fn page(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path((namespace, name)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let person = &visitor.person;
    let read = read::rollout(&person.client, &namespace, &name);
    let (seen, rights) = tokio::join!(read, person.access.rights(&namespace, &name));
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return Problem::from(error).page(&app, Some(&visitor)),
    };
    let fields = query(&uri);
    let answer = match fields.text("asked") {
        Some(asked) => answer(person, &namespace, asked, &seen.status()).await,
        None => None,
    };
    let now = app.clock.now();
    let guard = guard_of(&seen);
    let (measured, courses) = measured(&app, &visitor, &seen, &guard).await;
    let units = units(&person.client, &namespace, &guard, measured.as_ref()).await;
    let values = context! {
        answer,
        actions => actions(&seen, &rights.unwrap_or_default()),
        ..context! { ..courses, ..values(&seen, &guard, &units, now), ..base(&app, Some(&visitor), "rollouts") }
    };
    show(&app, "rollout.html", values)
}

/// What was measured lately; with it, drawn, how often it is worth looking again, or why nothing is known of it.
async fn measured(app: &App, visitor: &Visitor, seen: &Seen, guard: &Guard) -> (Option<Measured>, Value) {
    let by_metric = |criterion: &Criterion| matches!(criterion.source, CriterionSource::Metric(_));
    let triggers = guard.triggers.iter().map(|trigger| trigger.interval);
    let criteria = guard.criteria.iter().filter(|criterion| by_metric(criterion));
    let shortest = triggers.chain(criteria.map(|criterion| criterion.interval)).min();
    // What nobody measures has no course, and nobody is asked for one.
    let Some(shortest) = shortest.filter(|_| seen.status().is_begun()) else {
        return (None, context! { courses => Vec::<String>::new() });
    };
    let id = seen.row().id;
    // The person has read the rollout just now, and whoever is asked asks again.
    match app.measurements.of(&visitor.person, &id.namespace, &id.name).await {
        Ok(measured) => {
            let drawn = context! {
                courses => courses(guard, &measured, &seen.zone(), app.clock.now()),
                every => app.clock.in_real_time(shortest).as_secs().clamp(OFTEN, SELDOM),
            };
            (Some(measured), drawn)
        }
        Err(why) => (None, context! { no_courses => why }),
    }
}

fn values(seen: &Seen, guard: &Guard, units: &Units, now: MicroTime) -> Value {
    let status = seen.status();
    let row = seen.row();
    let plan = seen.plan.as_ref().ok();
    let coming = plan.map(|plan| ahead(plan, &status, now));
    let none = Timeline::default();
    let zone = seen.zone();
    let line = Line {
        status: &status,
        ahead: coming.as_ref().unwrap_or(&none),
        plan,
        zone: &zone,
        now,
        title: format!("Percentages of {} by cohort over time: {}", row.title, served(&status)),
        id: "rollout",
    };
    let picture = line.values();
    let why = row.breach.as_ref().map_or_else(|| row.why.clone(), |breach| breach.words(units));
    let attribute = |name: &str| picture.as_ref().and_then(|picture| picture.get_attr(name).ok());
    let (kind, owner) = match &seen.rollout.spec.flag_set_ref {
        Some(reference) => ("flagset", reference.name.clone()),
        None => ("rollout", row.id.name.clone()),
    };
    let file_name = match kind {
        "flagset" => format!("the file of FlagSet {owner}"),
        _ => "a file of its own".to_owned(),
    };
    context! {
        row => context! { why, ..row_values(&row) },
        zone, picture, file_name,
        legend => attribute("legend"),
        freezes => attribute("freezes"),
        closed => attribute("closed"),
        oldest => attribute("oldest"),
        file_link => file_link(&row.id.namespace, kind, &owner),
        try_link => link("/try", &[("namespace", &row.id.namespace), ("rollout", &row.id.name)]),
        tier => seen.rollout.spec.feature.as_ref().map(|feature| format!("{:?}", feature.tier)),
        remarks => remarks(seen, &status),
        on_record => on_record(&status),
        cohorts => status.cohorts.iter().map(|one| cohort(one, &status)).collect::<Vec<_>>(),
        plan => steps(plan, coming.as_ref(), &status),
        completes => coming.as_ref().and_then(|c| c.completed_at).map(|at| at.to_string()),
        no_plan => no_plan(seen, &status),
        watched => watched(guard, &status, units),
        history => status.history.iter().rev().map(|entry| told(entry, &status)).collect::<Vec<_>>(),
        fragment => fragment(seen, &status),
        fragment_says => format!("The flag as the status decides it, revision {}; the file holds revision {}.",
            status.revision, status.delivered_revision),
        yaml => yaml(seen),
    }
}

fn served(status: &FeatureRolloutStatus) -> String {
    let told = status.cohorts.iter().map(|cohort| format!("{} {}", cohort.name, cohort.served));
    told.collect::<Vec<_>>().join(", ")
}

/// What stands beside what it waits for.
fn remarks(seen: &Seen, status: &FeatureRolloutStatus) -> Vec<String> {
    let mut remarks = seen.unread.clone();
    if let Err(why) = &seen.plan {
        remarks.push(format!("The spec cannot be followed: {why}"));
    }
    if let Some(pending) = &status.pending_audience {
        remarks
            .push(format!("An edited audience, {}, waits to replace the one that is served.", pending.name));
    }
    let generation = seen.rollout.metadata.generation.unwrap_or_default();
    if status.is_begun() && status.observed_generation != generation {
        remarks.push(format!(
            "The spec was edited: generation {generation} is not taken up yet, {} is.",
            status.observed_generation
        ));
    }
    remarks
}

/// Whether a rollback is verified, and who has acknowledged it, each with when that was.
fn on_record(status: &FeatureRolloutStatus) -> Vec<Value> {
    let Some(rollback) = &status.rollback else { return Vec::new() };
    let verified = rollback.trigger.as_ref().map(|_| match rollback.verified_at {
        Some(at) => {
            context! { word => "Verified: its triggers are quiet again, since", at => at.to_string() }
        }
        None => context! { word => "Not verified yet: its triggers have not been quiet for long enough." },
    });
    let by = |at: MicroTime| {
        let is_it = |entry: &&HistoryEntry| entry.reason == Reason::Acknowledged && entry.at == at;
        let entry = status.history.iter().rev().find(is_it);
        entry.map(|entry| format!("by {}, {}", entry.who, entry.message))
    };
    let acknowledged = match rollback.acknowledged_at {
        Some(at) => context! { word => "Acknowledged", at => at.to_string(), more => by(at) },
        None => context! { word => "Nobody has acknowledged it yet." },
    };
    verified.into_iter().chain([acknowledged]).collect()
}

fn cohort(cohort: &CohortStatus, status: &FeatureRolloutStatus) -> Value {
    let is_back = status.rollback.is_some();
    let is_set = status.pauses.iter().any(|pause| pause.cause == PauseCause::SetPercent);
    let served = cohort.served.percent();
    let pending = cohort.pending.as_ref();
    let to_come = pending.map(|pending| pending.percent).or(cohort.restore);
    let why = match pending {
        Some(pending) => Some(pending.check.as_str()),
        None if cohort.restore.is_some() => Some("Emergency"),
        None if cohort.tier_refused => Some("Tier"),
        // What a step asks for counts again with a retry, or once somebody resumes.
        None if is_back && cohort.asked != cohort.decided() => Some("Rolled back"),
        None if is_set && cohort.asked != cohort.decided() => Some("Set by a person"),
        None => None,
    };
    context! {
        name => cohort.name,
        share => cohort.share.map(|share| share.to_string()),
        served => served.to_string(),
        served_width => served.thousandths(),
        pending_width => to_come.unwrap_or_default().max(cohort.decided()).max(served).thousandths(),
        decided => (cohort.decided() != served).then(|| cohort.decided().to_string()),
        asked => cohort.asked.to_string(),
        pending => to_come.map(|percent| percent.to_string()),
        why,
        due => pending.map(|pending| pending.due.to_string()),
    }
}

/// The steps to come, as far as they are listed.
fn steps(plan: Option<&Plan>, ahead: Option<&Timeline>, status: &FeatureRolloutStatus) -> Vec<Value> {
    let (Some(plan), Some(ahead)) = (plan, ahead) else { return Vec::new() };
    let mut before: Vec<(String, Percent)> =
        status.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.decided())).collect();
    let mut told = Vec::new();
    for entry in ahead.entries.iter().take(STEPS) {
        let is_it = |step: &&crate::plan::Step| {
            step.phase == entry.phase && step.number as i64 == i64::from(entry.step)
        };
        let given = |step: &crate::plan::Step| {
            let by_action = |approval: &crate::api::status::ApprovalStatus| {
                approval.phase == step.phase && Some(&approval.step) == step.name.as_ref()
            };
            status.approvals.iter().any(by_action)
        };
        let asks = plan.steps.iter().find(is_it);
        let approval = asks.is_some_and(|step| step.approval == Approval::Missing && !given(step));
        told.push(context! {
            at => entry.at.to_string(), step => entry.step_name(), changes => changes(entry, &before), approval,
        });
        before.clone_from(&entry.cohorts);
    }
    told
}

/// Why nothing comes by itself.
fn no_plan(seen: &Seen, status: &FeatureRolloutStatus) -> &'static str {
    if seen.plan.is_err() {
        return "Nothing can be planned before the spec is valid.";
    }
    if status.rollback.is_some() {
        return "Nothing by itself: it is rolled back until somebody retries.";
    }
    if !status.pauses.is_empty() {
        return "Nothing by itself: the schedule stands still.";
    }
    if status.completed_at.is_some() {
        return "Nothing: every step is done.";
    }
    "Nothing by itself."
}

fn told(entry: &HistoryEntry, status: &FeatureRolloutStatus) -> Value {
    let class = match Mark::of(entry) {
        Some(Mark::Rollback) => "rollback",
        Some(Mark::Pause) => "pause",
        Some(Mark::Person) => "person",
        Some(Mark::Edit) => "edit",
        None => "",
    };
    context! {
        at => entry.at.to_string(), reason => entry.reason.as_str(), who => entry.who, class,
        message => entry.told(status.delivered_revision),
    }
}

/// The flag as it goes into the file.
fn fragment(seen: &Seen, status: &FeatureRolloutStatus) -> Option<String> {
    let plan = seen.plan.as_ref().ok()?;
    let identity = Identity {
        namespace: plan.namespace.clone(),
        name: plan.name.clone(),
        uid: seen.rollout.uid().unwrap_or_default(),
    };
    let fragment = flags::fragment(&plan.feature, &identity, status, &plan.audience);
    let flags: serde_json::Map<String, serde_json::Value> = fragment.flags().into_iter().collect();
    serde_json::to_string_pretty(&flags).ok()
}

/// The object, without what only machines read.
fn yaml(seen: &Seen) -> String {
    let mut rollout = seen.rollout.clone();
    rollout.metadata.managed_fields = None;
    let value = serde_json::to_value(&rollout).unwrap_or_default();
    serde_saphyr::to_string(&value).unwrap_or_else(|error| error.to_string())
}

/// The actions that the person may ask for, those first that the state asks for.
fn actions(seen: &Seen, rights: &Rights) -> Vec<Value> {
    let row = seen.row();
    let status = seen.status();
    let mut offered: Vec<(usize, Value)> = Vec::new();
    for action in ACTIONS.into_iter().filter(|action| rights.may(*action)) {
        let (rank, style) = match (action, fits(action, &status)) {
            (Action::Rollback, true) => (0, "danger"),
            // It is always possible, and seldom what a state asks for.
            (Action::SetPercent, true) => (2, ""),
            (_, true) => (1, ""),
            (_, false) => (3, "quiet"),
        };
        let wanted = status.waiting_for.as_ref().is_some_and(|w| w.check == Check::Approval);
        let style = if action == Action::Approve && wanted { "primary" } else { style };
        let link = format!("{}/{}", rollout_link(&row.id.namespace, &row.id.name), verb(action));
        offered.push((rank, context! { link, style, title => title(action) }));
    }
    offered.sort_by_key(|(rank, _)| *rank);
    offered.into_iter().map(|(_, value)| value).collect()
}

/// Whether an action does something in this state, as far as a glance tells: the preview tells exactly.
fn fits(action: Action, status: &FeatureRolloutStatus) -> bool {
    let is_back = status.rollback.is_some();
    match action {
        Action::Rollback => status.exposed(),
        Action::Pause => status.pauses.is_empty() && !is_back && status.completed_at.is_none(),
        Action::Resume => !status.pauses.is_empty() && !is_back,
        Action::Approve => status.waiting_for.as_ref().is_some_and(|w| w.check == Check::Approval),
        Action::Promote => !is_back && status.pauses.is_empty() && status.completed_at.is_none(),
        Action::SetPercent => true,
        Action::Retry => is_back || status.pauses.iter().any(|pause| pause.cause.is_recovery()),
        Action::Acknowledge => match &status.rollback {
            Some(rollback) => rollback.acknowledged_at.is_none(),
            None => !status.pauses.is_empty(),
        },
    }
}

/// What an action is called on a button.
pub const fn title(action: Action) -> &'static str {
    match action {
        Action::Pause => "Pause",
        Action::Resume => "Resume",
        Action::Approve => "Approve",
        Action::Promote => "Promote",
        Action::SetPercent => "Set percentages",
        Action::Rollback => "Roll back",
        Action::Retry => "Retry",
        Action::Acknowledge => "Acknowledge",
    }
}

/// What became of an action that was asked for on this page.
async fn answer(
    person: &Person,
    namespace: &str,
    name: &str,
    status: &FeatureRolloutStatus,
) -> Option<Value> {
    let api: Api<RolloutAction> = Api::namespaced(person.client.clone(), namespace);
    let action = match call(api.get_opt(name)).await {
        Ok(Some(action)) => action,
        Ok(None) => return None,
        Err(fault) => {
            let message = said(&fault);
            return Some(context! {
                action => "The action", word => "asked for", kind => "open", open => false,
                message => format!("Its answer cannot be read, look at the history: {message}"),
            });
        }
    };
    let said = action.status.clone().unwrap_or_default();
    let delivered = said.revision.is_none_or(|revision| status.delivered_revision >= revision);
    let (word, kind, open) = match said.answer {
        None => ("asked for, and not answered yet", "open", true),
        Some(Answer::Applied) => ("applied", "good", !delivered),
        Some(Answer::Rejected) => ("rejected", "bad", false),
        Some(Answer::Expired) => ("expired", "bad", false),
    };
    let delivery = (said.answer == Some(Answer::Applied)).then(|| match delivered {
        true => format!("Apps have it: {}.", served(status)),
        false => {
            let gap = delivery::undelivered_message(status);
            format!(
                "Apps do not have it yet: {}.",
                gap.unwrap_or_else(|| "the file is being written".to_owned())
            )
        }
    });
    let waits = "The operator has not answered yet. It may still be carried out, until it expires.";
    Some(context! {
        action => title(action.spec.action), word, kind, open, delivery,
        message => said.message.unwrap_or_else(|| waits.to_owned()),
        by => action.spec.requested_by, reason => action.spec.reason,
    })
}

#[cfg(test)]
mod tests;
