//! An edit that comes while the status of the edit before is being written: the write is refused, and everybody whom the newer
//! edit concerns hears of it all the same.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use sluice::api::FeatureRolloutStatus;
use sluice::api::status::Check;

use crate::flag_sets::create;
use crate::support::bare::{Running, bare_space};
use crate::support::proxy::Proxy;
use crate::support::raw::object;
use crate::support::{eventually, is_ready, pause};

/// How late the watch of the kind in question is: the later edit is made within this time.
const LATE: Duration = Duration::from_millis(2500);

const CLIENTS: &str = "match: {attributes: {role: client}}";

fn waits_for(status: &FeatureRolloutStatus, check: Check) -> bool {
    status.waiting_for.as_ref().is_some_and(|waiting| waiting.check == check)
}

/// A plan whose only phase waits for a lawyer.
fn plan(title: &str, done: bool) -> Value {
    json!({"title": title, "startDate": "2020-01-06", "phases": [{
        "name": "first", "weeks": {"from": 1, "to": 2}, "requires": [{"task": "ask"}],
        "sections": [{"title": "Law", "tasks": [{"id": "ask", "title": "Ask a lawyer", "done": done}]}],
    }]})
}

/// `first` concerns no rollout; `second` has to be seen on one.
#[rstest]
#[case::flag_set(
    "FlagSet", "flagsets", "{}", "flagSetRef: {name: shared}",
    json!({"metadata": {"team": "a"}}), json!({"emergency": "Control"}),
    |status: &FeatureRolloutStatus| status.served.as_deref() == Some("all=0%")
)]
#[case::cohort_set(
    "CohortSet", "cohortsets", &format!("cohorts: [{{name: all, {CLIENTS}}}]"), "cohortSetRef: {name: shared}",
    json!({"cohorts": [{"name": "all", "title": "Clients", "match": {"attributes": {"role": "client"}}}]}),
    json!({"cohorts": [{"name": "all", "title": "Clients", "match": {"attributes": {"role": "friend"}}}]}),
    |status: &FeatureRolloutStatus| status.history.iter().any(|entry| entry.reason.as_str() == "AudienceChanged")
)]
#[case::policy(
    "RolloutPolicy", "rolloutpolicies", "{}", "policyRef: {name: shared}",
    json!({"freezes": [{"name": "past", "from": "2020-01-01", "to": "2020-01-02"}]}),
    json!({"freezes": [{"name": "winter", "from": "2020-01-01", "to": "2099-12-31"}]}),
    |status: &FeatureRolloutStatus| waits_for(status, Check::Freeze)
)]
#[case::playbook(
    "Playbook",
    "playbooks",
    &plan("A plan", false).to_string(),
    "playbookRef: {name: shared, phase: first}",
    plan("The plan", false),
    plan("The plan", true),
    |status: &FeatureRolloutStatus| status.served.as_deref() == Some("all=50%")
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_between_the_look_and_the_status_is_heard_by_everybody(
    #[case] kind: &str,
    #[case] plural: &str,
    #[case] spec: &str,
    #[case] reference: &str,
    #[case] first: Value,
    #[case] second: Value,
    #[case] is_seen: fn(&FeatureRolloutStatus) -> bool,
) {
    let space = bare_space(&format!("overtaken-{plural}")).await;
    let proxy = Proxy::with_watch_delay_of(space.client.clone(), &space.name, plural, LATE).await;
    let controller = Running::over(&proxy);
    let cohorts =
        if kind == "CohortSet" { String::new() } else { format!("cohorts: [{{name: all, {CLIENTS}}}]\n") };
    let phases = "phases: [{name: ga, ramp: {percents: [50, 100], every: 1h}}]";
    let rollout = object("FeatureRollout", "one", &format!("{cohorts}{reference}\n{phases}"));
    create(&space, &[object(kind, "shared", spec), rollout]).await;
    space.until("one", "settled", |status| is_ready(status) && !is_seen(status)).await;
    let path = space.path(kind, Some("shared"));
    let written = format!("{}/status", path.split('?').next().unwrap_or_default());
    let statuses =
        |code: u16| proxy.answered().iter().filter(|(path, said)| *path == written && *said == code).count();
    eventually("its status is written", async || statuses(200) > 0).await;
    // What follows from that status has come by the watch, too.
    pause(2 * u64::try_from(LATE.as_millis()).unwrap()).await;
    assert!(!is_seen(&space.status("one").await), "{:#?}", space.status("one").await);

    let refused = statuses(409);
    assert_eq!(space.merge(kind, "shared", &json!({"spec": first})).await.code, 200);
    pause(1000).await;
    assert_eq!(space.merge(kind, "shared", &json!({"spec": second})).await.code, 200);
    eventually("a status of the first edit is refused", async || statuses(409) > refused).await;
    space.until("one", "as the second edit has it", is_seen).await;
    controller.stop().await;
}
