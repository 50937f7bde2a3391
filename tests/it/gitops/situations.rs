//! Each situation that a rollout can be in: brought about on the real API server, read back, and given to both tools.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use sluice::api::status::{Check, PauseCause};
use sluice::api::{FeatureRollout, FeatureRolloutStatus, State};

use super::{argocd, flux, live};
use crate::actions::applied;
use crate::dead_ends::{READ, grant, limited};
use crate::flag_sets::create;
use crate::status::{Lifted, blockade, edit, half};
use crate::support::bare::{Running, bare_space};
use crate::support::metrics::{Measured, verdict};
use crate::support::raw::object;
use crate::support::{Space, condition, eventually, is_ready};

/// A row of the table of what people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// The file holds what was decided: it waits, or has come to its end.
    Well,
    /// It is on its way.
    UnderWay,
    /// It is paused, and the file holds what was decided.
    Paused,
    /// Nothing goes on until somebody acts.
    Stopped,
}

impl Row {
    /// `Ready`, and which of `Reconciling`, `Stalled` and `Paused` there are; and what Flux and Argo CD say.
    const fn says(self) -> (&'static str, &'static [&'static str], &'static str, &'static str) {
        match self {
            Row::Well => ("True", &[], "Current", "Healthy"),
            Row::UnderWay => ("False", &["Reconciling"], "InProgress", "Progressing"),
            Row::Paused => ("True", &["Paused"], "Current", "Suspended"),
            Row::Stopped => ("False", &["Stalled"], "Failed", "Degraded"),
        }
    }
}

/// The situations as `docs/gitops.md` names them, with those that the spec and people bring about first.
const BY_PEOPLE: [(&str, Row); 18] = [
    ("it waits for its start", Row::Well),
    ("it waits for a window", Row::Well),
    ("a freeze holds it", Row::Well),
    ("it waits for another rollout", Row::Well),
    ("a step is held for a week", Row::Well),
    ("it waits for an approval", Row::Well),
    ("a gate does not pass", Row::Well),
    ("it is completed", Row::Well),
    ("it is paused in git (`spec.suspend`)", Row::Paused),
    ("its FlagSet has `emergency`", Row::Paused),
    ("somebody paused it", Row::Paused),
    ("somebody set percentages", Row::Paused),
    ("it took over what a deleted one of its name served", Row::Paused),
    ("a gradual rollback goes down its ladder", Row::UnderWay),
    ("it is rolled back", Row::Stopped),
    ("its spec is invalid", Row::Stopped),
    ("what it refers to is missing", Row::Stopped),
    ("its ConfigMap belongs to somebody else", Row::Stopped),
];
const BY_METRICS: [(&str, Row); 3] = [
    ("a trigger is not quiet", Row::Well),
    ("a trigger paused it", Row::Paused),
    ("a trigger rolled it back", Row::Stopped),
];
const BY_FAILURES: [(&str, Row); 2] = [
    ("the file could not be written for 10 seconds", Row::UnderWay),
    ("Sluice may not write the ConfigMap", Row::Stopped),
];

/// Asserts that both tools say of each object what the table says, and that all situations of a group are among them.
async fn assert_seen(group: &[(&str, Row)], seen: &[(&str, Value)]) {
    let names = |pairs: &[(&str, Row)]| pairs.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    let met: Vec<String> = seen.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut wanted = names(group);
    let mut brought = met.clone();
    wanted.sort();
    brought.sort();
    assert_eq!(brought, wanted);
    let objects: Vec<Value> = seen.iter().map(|(_, object)| object.clone()).collect();
    let (by_argocd, by_flux) = (argocd(&objects).await, flux(None, &objects).await);
    for (((name, object), argocd), flux) in seen.iter().zip(by_argocd).zip(by_flux) {
        let row = group.iter().find(|(known, _)| known == name).unwrap().1;
        let (ready, present, kstatus, health) = row.says();
        let conditions = object["status"]["conditions"].as_array().unwrap();
        let status_of = |type_: &str| {
            conditions.iter().find(|condition| condition["type"] == type_).map(|c| c["status"].clone())
        };
        let there: Vec<&str> = ["Reconciling", "Stalled", "Paused"]
            .into_iter()
            .filter(|type_| status_of(type_) == Some(json!("True")))
            .collect();
        assert_eq!(
            (status_of("Ready"), there.as_slice()),
            (Some(json!(ready)), present),
            "{name}: {object:#}"
        );
        assert_eq!((flux.status.as_str(), flux.error.as_str()), (kstatus, ""), "{name}: {object:#}");
        assert_eq!((argocd.status.as_str(), argocd.error.as_str()), (health, ""), "{name}: {object:#}");
        let messages: Vec<&str> =
            conditions.iter().filter_map(|condition| condition["message"].as_str()).collect();
        assert!(messages.contains(&argocd.message.as_str()), "{name} in words: {}", argocd.message);
    }
}

const RAMP: &str = "phases: [{name: ga, ramp: {percents: [50, 100], every: 168h}}]";
const ONE: &str = "phases: [{name: ga, steps: [{name: all, cohorts: {all: 100}, hold: 0s}]}]";

fn rollout(name: &str, more: &str) -> Value {
    object("FeatureRollout", name, &format!("cohorts: [{{name: all, share: 100}}]\n{more}"))
}

fn paused_by(status: &FeatureRolloutStatus, cause: PauseCause) -> bool {
    is_ready(status) && status.pauses.iter().any(|pause| pause.cause == cause)
}

fn waits_for(status: &FeatureRolloutStatus, check: Check) -> bool {
    is_ready(status) && status.waiting_for.as_ref().is_some_and(|waiting| waiting.check == check)
}

/// The rollouts of the first group, by what they are called and what they are to come to.
fn begun() -> Vec<(&'static str, Value)> {
    let now = Timestamp::now();
    let at =
        |hours: i64| (now + SignedDuration::from_hours(hours)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let weekday = (now + SignedDuration::from_hours(72)).strftime("%a").to_string();
    let approved = "phases: [{name: ga, steps: [{name: half, cohorts: {all: 50}, hold: 0s}, {name: full, cohorts: {all: 100}, approval: Required}]}]";
    let gate = "criteria: [{name: rating, manual: {value: '1', at: '2025-10-01T00:00:00Z'}, above: '4'}]
phases: [{name: ga, gates: [rating], steps: [{cohorts: {all: 50}}]}]";
    let ladder = format!("{ONE}\nrollback: {{gradual: {{ladder: [50, 25, 0], every: 1h}}}}");
    vec![
        ("start", format!("{RAMP}\nschedule: {{startAt: '{}'}}", at(168))),
        (
            "window",
            format!("{RAMP}\nschedule: {{windows: [{{days: [{weekday}], from: '09:00', to: '10:00'}}]}}"),
        ),
        (
            "freeze",
            format!(
                "{RAMP}\nschedule: {{freezes: [{{name: sale, from: '{}', to: '{}'}}]}}",
                at(-24),
                at(168)
            ),
        ),
        ("depends", format!("{RAMP}\ndependsOn: [{{name: start, condition: Completed}}]")),
        ("hold", RAMP.to_owned()),
        ("approval", approved.to_owned()),
        ("gate", gate.to_owned()),
        ("done", ONE.to_owned()),
        ("suspended", format!("{RAMP}\nsuspend: true")),
        ("emergency", format!("{RAMP}\nflagSetRef: {{name: stopped}}")),
        ("person", RAMP.to_owned()),
        ("set", RAMP.to_owned()),
        ("again", RAMP.to_owned()),
        ("ladder", ladder),
        ("back", ONE.to_owned()),
        ("invalid", format!("{RAMP}\nbaseline: {{nobody: 5}}")),
        ("taken", RAMP.to_owned()),
    ]
    .into_iter()
    .map(|(name, more)| (name, rollout(name, &more)))
    .chain([(
        "missing",
        object("FeatureRollout", "missing", &format!("cohortSetRef: {{name: nowhere}}\n{RAMP}")),
    )])
    .collect()
}

#[tokio::test]
async fn argo_cd_and_flux_say_of_each_situation_what_the_table_says() {
    let space = Space::shared("gitops-situations").await;
    let stranger: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "taken"}, "data": {"flags.json": "mine"}}))
            .unwrap();
    space.api::<ConfigMap>().create(&PostParams::default(), &stranger).await.unwrap();
    create(&space, &[object("FlagSet", "stopped", "{emergency: Control}")]).await;
    for (_, rollout) in begun() {
        create(&space, &[rollout]).await;
    }

    space.until("person", "ready", is_ready).await;
    applied(&space, "person", "pause-it", json!({"action": "Pause"})).await;
    space.until("set", "ready", is_ready).await;
    applied(&space, "set", "set-it", json!({"action": "SetPercent", "setPercent": {"all": 10}})).await;
    for (name, how) in [("ladder", json!({"mode": "Gradual"})), ("back", json!({"mode": "Immediate"}))] {
        space.until(name, "completed", |s| is_ready(s) && s.completed_at.is_some()).await;
        applied(&space, name, &format!("{name}-it"), json!({"action": "Rollback", "rollback": how})).await;
    }
    space.until("again", "ready", |s| is_ready(s) && s.published_seq == s.last_seq()).await;
    assert_eq!(space.delete("FeatureRollout", "again").await.code, 200);
    let again = begun().into_iter().find(|(name, _)| *name == "again").unwrap().1;
    eventually("the deleted one is gone", async || space.create(&again).await.code == 201).await;

    type Wanted = fn(&FeatureRolloutStatus) -> bool;
    let stalled: Wanted = |s| condition(s, "Stalled").is_some();
    let wanted: [(&str, Wanted); 18] = [
        ("start", |s| waits_for(s, Check::Start)),
        ("window", |s| waits_for(s, Check::Window)),
        ("freeze", |s| waits_for(s, Check::Freeze)),
        ("depends", |s| waits_for(s, Check::Dependencies)),
        ("hold", |s| waits_for(s, Check::Hold)),
        ("approval", |s| waits_for(s, Check::Approval)),
        ("gate", |s| waits_for(s, Check::Gates)),
        ("done", |s| is_ready(s) && s.completed_at.is_some()),
        ("suspended", |s| paused_by(s, PauseCause::Suspended)),
        ("emergency", |s| paused_by(s, PauseCause::Emergency)),
        ("person", |s| paused_by(s, PauseCause::Person)),
        ("set", |s| paused_by(s, PauseCause::SetPercent)),
        ("again", |s| paused_by(s, PauseCause::Adopted)),
        ("ladder", |s| s.state == Some(State::RollingBack) && s.is_delivered()),
        ("back", |s| s.state == Some(State::RolledBack) && s.is_delivered()),
        ("invalid", stalled),
        ("missing", stalled),
        ("taken", stalled),
    ];
    let mut seen = Vec::new();
    for ((name, _), (rollout, wanted)) in BY_PEOPLE.iter().zip(wanted) {
        space.until(rollout, name, wanted).await;
        // What is still to be said of it changes no condition.
        seen.push((*name, live(&space, "FeatureRollout", rollout).await));
    }
    assert_seen(&BY_PEOPLE, &seen).await;
    the_expressions_for_flux_do_what_they_say(&seen).await;
}

/// What `deploy/flux` waits for and fails on.
async fn the_expressions_for_flux_do_what_they_say(seen: &[(&str, Value)]) {
    let objects: Vec<Value> = seen.iter().map(|(_, object)| object.clone()).collect();
    let complete = flux(Some("deploy/flux/until-complete.yaml"), &objects).await;
    let unharmed = flux(Some("deploy/flux/fail-on-rollback.yaml"), &objects).await;
    for (((name, _), complete), unharmed) in seen.iter().zip(complete).zip(unharmed) {
        assert_eq!((complete.error.as_str(), unharmed.error.as_str()), ("", ""), "{name}");
        let row = BY_PEOPLE.iter().find(|(known, _)| known == name).unwrap().1;
        let wanted = match row {
            Row::Stopped => ("Failed", "Failed"),
            Row::UnderWay => ("InProgress", "Failed"),
            Row::Well if *name == "it is completed" => ("Current", "Current"),
            Row::Well | Row::Paused => ("InProgress", "Current"),
        };
        assert_eq!((complete.status.as_str(), unharmed.status.as_str()), wanted, "{name}");
    }
}

/// A rollout that goes on when there is data.
const HELD: &str = "
metadata: {name: held}
spec:
  cohorts: [{name: all}]
  phases: [{name: ga, steps: [{name: half, cohorts: {all: 50}, hold: 1s}, {name: full, cohorts: {all: 100}}]}]
  triggers:
  - name: traffic
    metric: {templateRef: {name: nothing}}
    interval: 1s
    levels: [{severity: Critical, below: '1', for: 1h, action: ImmediateRollback}]
";

/// A rollout that errors pause.
const CAREFUL: &str = "
metadata: {name: careful}
spec:
  cohorts: [{name: all}]
  phases: [{name: ga, ramp: {percents: [50, 100], every: 168h}}]
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Warning, above: '1', for: 2s, action: Pause}]
";

#[tokio::test]
async fn argo_cd_and_flux_see_what_triggers_do() {
    let world = Measured::start("gitops-triggers").await;
    let controller = world.controller();
    world
        .apply_rollout(
            r#"
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Critical, above: "10", for: 2s, action: ImmediateRollback}]
"#,
        )
        .await;
    world.space.apply::<FeatureRollout>(CAREFUL).await.unwrap();
    world.space.apply::<FeatureRollout>(HELD).await.unwrap();
    for rollout in ["dreams", "careful"] {
        let passes = |status: &FeatureRolloutStatus| verdict(status, "error-rate", "") == Some("Pass");
        world.space.until(rollout, "passing", passes).await;
    }
    world.app.set_error_percent(20.0);
    type Wanted = fn(&FeatureRolloutStatus) -> bool;
    let wanted: [(&str, Wanted); 3] = [
        ("held", |s| waits_for(s, Check::Triggers)),
        ("careful", |s| paused_by(s, PauseCause::Trigger)),
        ("dreams", |s| s.state == Some(State::RolledBack) && s.is_delivered()),
    ];
    let mut seen = Vec::new();
    for ((name, _), (rollout, wanted)) in BY_METRICS.iter().zip(wanted) {
        world.space.until(rollout, name, wanted).await;
        seen.push((*name, live(&world.space, "FeatureRollout", rollout).await));
    }
    assert_seen(&BY_METRICS, &seen).await;
    controller.stop().await;
}

#[tokio::test]
async fn argo_cd_and_flux_see_what_cannot_be_written() {
    let late = Space::shared("gitops-late").await;
    create(&late, &[rollout("one", &half(50))]).await;
    let before = late.until("one", "ready", is_ready).await;
    let hooks: Api<ValidatingWebhookConfiguration> = Api::all(late.client.clone());
    let lifted = Lifted(late.name.clone());
    hooks.create(&PostParams::default(), &blockade(&late.name)).await.unwrap();
    eventually("the blockade works", async || {
        let map = serde_json::from_value(json!({"metadata": {"name": "probe"}})).unwrap();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        late.api::<ConfigMap>().create(&params, &map).await.is_err()
    })
    .await;
    edit(&late, "one", &half(20)).await;
    late.until("one", "late", |s| s.revision > before.revision && condition(s, "Reconciling").is_some())
        .await;
    let mut seen = vec![(BY_FAILURES[0].0, live(&late, "FeatureRollout", "one").await)];
    drop(lifted);

    let space = bare_space("gitops-forbidden").await;
    grant(&space, &READ, &["create"]).await;
    let controller: Running = limited(&space).await;
    create(&space, &[rollout("two", RAMP)]).await;
    space.until("two", "stalled", |s| condition(s, "Stalled").is_some()).await;
    seen.push((BY_FAILURES[1].0, live(&space, "FeatureRollout", "two").await));
    assert_seen(&BY_FAILURES, &seen).await;
    controller.stop().await;
}

#[test]
fn the_table_of_the_page_has_these_situations_and_says_what_the_tools_say() {
    let page = std::fs::read_to_string("docs/gitops.md").unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| situation |")).skip(2);
    let told: Vec<Vec<String>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    let wanted: Vec<Vec<String>> = [&BY_PEOPLE[..], &BY_METRICS, &BY_FAILURES]
        .concat()
        .into_iter()
        .map(|(name, row)| {
            let (ready, present, kstatus, health) = row.says();
            let beside = present.iter().map(|type_| format!("`{type_}`")).collect::<Vec<_>>().join(", ");
            let beside = if beside.is_empty() { "–".to_owned() } else { beside };
            [name, ready, &beside, kstatus, health].map(str::to_owned).to_vec()
        })
        .collect();
    let sorted = |mut rows: Vec<Vec<String>>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(told), sorted(wanted));
}
