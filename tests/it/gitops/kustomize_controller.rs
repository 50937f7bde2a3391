//! Flux's kustomize-controller itself, with the Kustomizations that people copy, on the real API server and beside the real
//! controller.
//!
//! `flux_sync` runs the code that it applies and waits with. What is left is what it makes of that: what a Kustomization says,
//! when it looks again, and what keeps it from doing so.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice::api::status::{Check, PauseCause};
use sluice::api::{FeatureRollout, State};

use self::running::{Flux, Kustomization, Said};
use super::files::kubectl;
use super::live;
use crate::actions::applied;
use crate::support::bare::{Recorded, Running, assert_never_fell, bare_space};
use crate::support::raw::object;
use crate::support::{Space, condition, eventually, is_ready, is_stalled};

mod force;
mod order;
mod running;

/// Half of everybody for six weeks, and then the rest.
const WEEKS: &str = "phases: [{name: ga, ramp: {percents: [50, 100], every: 1000h}}]";

/// What is in git: a file, and a rollout in it.
fn in_git(space: &Space, more: &str) -> [Value; 2] {
    let cohorts = "cohorts: [{name: all, share: 100}]";
    let rollout = format!("flagSetRef: {{name: shop}}\n{cohorts}\n{more}");
    [object("FlagSet", "shop", "{}"), object("FeatureRollout", "one", &rollout)].map(|mut object| {
        object["metadata"]["namespace"] = json!(space.name);
        object
    })
}

/// A Kustomization of `deploy/flux` that has applied the FlagSet by now: see `order` for one that begins with everything.
async fn with_the_file(flux: &Flux, space: &Space, file: &str) -> Kustomization {
    let revision = flux.commit(&[("rollouts", &in_git(space, WEEKS)[..1])]).await;
    let kustomization = flux.copy(file).await;
    kustomization.until("ready with the FlagSet", |said| said.is_ready(&revision)).await;
    kustomization
}

/// What fails a Kustomization is said by kind and name.
fn names_the_rollout(said: &Said, space: &Space) -> bool {
    let stalled = format!("[FeatureRollout/{}/one status: 'Failed'", space.name);
    said.message.contains("failed early due to stalled resources") && said.message.contains(&stalled)
}

async fn version(space: &Space) -> Option<String> {
    space.api::<FeatureRollout>().get("one").await.unwrap().resource_version()
}

/// What the file says of the flag, by its revisions so far.
async fn percents(recorded: &Recorded) -> Vec<f64> {
    recorded.all_of("one").await.into_iter().map(|(_, served)| served["all"]).collect()
}

/// Waits until all has been written that follows from what has happened.
async fn settled(space: &Space) {
    space.until("one", "published", |s| s.published_seq == s.last_seq() && s.is_delivered()).await;
}

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
async fn a_kustomization_that_waits_is_ready_while_a_rollout_is_held_for_weeks() {
    let space = bare_space("flux-hold").await;
    let (controller, flux) = (Running::in_space(&space).await, Flux::start(&space, &[]).await);
    let kustomization = with_the_file(&flux, &space, "sync.yaml").await;
    let revision = flux.commit(&[("rollouts", &in_git(&space, WEEKS))]).await;
    let at_once = |said: &Said| {
        assert!(!said.has_failed(), "{said:#?}");
        said.is_ready(&revision)
    };
    let ready = kustomization.until("ready", at_once).await;
    assert_eq!(ready.inventory, ["FeatureRollout one", "FlagSet shop"], "and no ConfigMap");
    let status = space.status("one").await;
    assert!(is_ready(&status), "the file holds it: {status:#?}");
    assert_eq!(status.served.as_deref(), Some("all=50%"));
    assert_eq!(status.waiting_for.map(|waiting| waiting.check), Some(Check::Hold));

    settled(&space).await;
    let before = version(&space).await;
    assert!(kustomization.reconcile().await.is_ready(&revision));
    assert_eq!(version(&space).await, before, "a reconcile without news writes nothing");

    // The rollout is taken out of git, and the flag stays as it was.
    let file = space.file("shop").await.unwrap();
    let revision = flux.commit(&[("rollouts", &in_git(&space, WEEKS)[..1])]).await;
    let pruned = kustomization.until("without it", |said| said.is_ready(&revision)).await;
    assert_eq!(pruned.inventory, ["FlagSet shop"]);
    eventually("it is gone", async || space.api::<FeatureRollout>().get_opt("one").await.unwrap().is_none())
        .await;
    assert_eq!(space.file("shop").await.unwrap()["flags"]["one"], file["flags"]["one"]);
    controller.stop().await;
}

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
#[allow(clippy::disallowed_methods)]
async fn a_spec_that_cannot_be_followed_fails_it_before_its_timeout_and_by_name() {
    let space = bare_space("flux-invalid").await;
    let (controller, flux) = (Running::in_space(&space).await, Flux::start(&space, &[]).await);
    let recorded = Recorded::start(&space, "shop");
    let invalid = format!("{WEEKS}\nbaseline: {{nobody: 5}}");
    let kustomization = with_the_file(&flux, &space, "sync.yaml").await;
    flux.commit(&[("rollouts", &in_git(&space, &invalid))]).await;
    let begun = std::time::Instant::now();
    let failed = kustomization.until("failed", Said::has_failed).await;
    assert!(begun.elapsed().as_secs() < 60, "its timeout is two minutes: {:?}", begun.elapsed());
    assert!(names_the_rollout(&failed, &space), "{}", failed.message);

    let good = flux.commit(&[("rollouts", &in_git(&space, WEEKS))]).await;
    kustomization.until("ready", |said| said.is_ready(&good)).await;
    // The same mistake in a rollout that is under way: what is served stays served.
    let bad = flux.commit(&[("rollouts", &in_git(&space, &invalid))]).await;
    let failed = kustomization.until("failed again", Said::has_failed).await;
    assert!(names_the_rollout(&failed, &space), "{}", failed.message);
    assert_eq!(failed.applied, good, "{bad} is not what it stands at");
    let status = space.status("one").await;
    assert!(is_stalled(&status, "InvalidSpec", "nobody"), "{status:#?}");
    assert_eq!(percents(&recorded).await.last(), Some(&50.0));
    let good = flux.commit(&[("rollouts", &in_git(&space, WEEKS))]).await;
    kustomization.until("mended", |said| said.is_ready(&good)).await;
    assert_never_fell(&recorded.all_of("one").await);
    controller.stop().await;
}

/// A rollout of seconds that asks somebody before it ends.
const ASKING: &str = "phases: [{name: ga, steps: [{name: half, cohorts: {all: 50}, hold: 2s}, \
    {name: full, cohorts: {all: 100}, hold: 2s, approval: Required}]}]";

/// Follows a Kustomization until the rollout waits to be approved, and asserts that it waits all the while.
async fn waits_for_the_approval(space: &Space, kustomization: &Kustomization) {
    kustomization.until("waiting", Said::is_waiting).await;
    let mut held = 0;
    eventually("the hold is over, and somebody is to approve", async || {
        let said = kustomization.said().await;
        assert!(said.is_waiting(), "{said:#?}");
        let waiting = space.status("one").await.waiting_for.map(|waiting| waiting.check);
        held += usize::from(waiting == Some(Check::Hold));
        waiting == Some(Check::Approval)
    })
    .await;
    assert!(held > 0, "the hold was seen");
}

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
async fn the_one_that_waits_until_complete_is_ready_then_and_does_nothing_else_before() {
    let space = bare_space("flux-complete").await;
    let (controller, flux) = (Running::in_space(&space).await, Flux::start(&space, &[]).await);
    let objects = in_git(&space, ASKING);
    let kustomization = with_the_file(&flux, &space, "until-complete.yaml").await;
    let first = kustomization.said().await.applied;
    let revision = flux.commit(&[("rollouts", &objects)]).await;
    waits_for_the_approval(&space, &kustomization).await;
    // While it waits it takes back nothing and takes in nothing, not even when it is asked to.
    kubectl(&["annotate", "--namespace", &space.name, "featurerollout/one", "note=seen"]).await.unwrap();
    let titled = in_git(&space, &format!("{ASKING}\nfeature: {{title: Search}}"));
    let later = flux.commit(&[("rollouts", &titled)]).await;
    kustomization.ask().await;
    // Longer than Flux takes from one look to the next.
    for _ in 0..15 {
        crate::support::pause(500).await;
        assert!(kustomization.said().await.is_waiting());
    }
    let one = live(&space, "FeatureRollout", "one").await;
    assert_eq!(
        (&one["metadata"]["annotations"]["note"], &one["spec"]["feature"]["title"]),
        (&json!("seen"), &Value::Null)
    );

    applied(
        &space,
        "one",
        "approve",
        json!({"action": "Approve", "approve": {"phase": "ga", "step": "full"}}),
    )
    .await;
    let mut seen: Vec<String> = Vec::new();
    let note = |said: &Said| {
        seen.push(said.applied.clone());
        said.is_ready(&later)
    };
    kustomization.until("ready with the later one", note).await;
    seen.dedup();
    assert_eq!(seen, [first, revision, later.clone()], "one after the other");
    let status = space.status("one").await;
    assert_eq!((status.state, status.served.as_deref()), (Some(State::Completed), Some("all=100%")));
    let one = live(&space, "FeatureRollout", "one").await;
    assert_eq!(
        (&one["metadata"]["annotations"], &one["spec"]["feature"]["title"]),
        (&Value::Null, &json!("Search"))
    );
    controller.stop().await;
}

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
async fn a_commit_ends_the_wait_where_flux_is_told_to_let_it() {
    let space = bare_space("flux-cancel").await;
    let controller = Running::in_space(&space).await;
    let flux = Flux::start(&space, &["--feature-gates=CancelHealthCheckOnNewRevision=true"]).await;
    let kustomization = with_the_file(&flux, &space, "until-complete.yaml").await;
    flux.commit(&[("rollouts", &in_git(&space, ASKING))]).await;
    waits_for_the_approval(&space, &kustomization).await;
    flux.commit(&[("rollouts", &in_git(&space, &format!("{ASKING}\nsuspend: true")))]).await;
    space.until("one", "suspended", |s| s.pause(PauseCause::Suspended).is_some() && is_ready(s)).await;
    kustomization.until("waiting again", Said::is_waiting).await;
    controller.stop().await;
}

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
async fn what_people_change_with_kubectl_is_taken_back_and_nothing_that_is_served_changes() {
    let space = bare_space("flux-strips").await;
    let (controller, flux) = (Running::in_space(&space).await, Flux::start(&space, &[]).await);
    let recorded = Recorded::start(&space, "shop");
    let kustomization = with_the_file(&flux, &space, "sync.yaml").await;
    let revision = flux.commit(&[("rollouts", &in_git(&space, WEEKS))]).await;
    kustomization.until("ready", |said| said.is_ready(&revision)).await;

    let patch = async |kind: &str, patch: &str| {
        let args = ["patch", "--namespace", &space.name, "featurerollout/one", kind, patch];
        kubectl(&args).await.unwrap();
    };
    kubectl(&["annotate", "--namespace", &space.name, "featurerollout/one", "note=seen"]).await.unwrap();
    patch("--type=merge", r#"--patch={"spec": {"suspend": true}}"#).await;
    let longer = r#"--patch=[{"op": "replace", "path": "/spec/phases/0/ramp/every", "value": "2000h"}]"#;
    patch("--type=json", longer).await;
    let ops = PatchParams { field_manager: Some("ops".to_owned()), ..PatchParams::default() };
    let title = json!({"spec": {"feature": {"title": "Search"}}});
    space.api::<FeatureRollout>().patch("one", &ops, &Patch::Merge(&title)).await.unwrap();
    applied(&space, "one", "pause", json!({"action": "Pause"})).await;
    let edited = space
        .until("one", "paused twice", |s| {
            [PauseCause::Person, PauseCause::Suspended].iter().all(|cause| s.pause(*cause).is_some())
                && is_ready(s)
        })
        .await;

    let said = kustomization.reconcile().await;
    assert!(said.is_ready(&revision), "a pause keeps nothing waiting: {said:#?}");
    let after =
        space.until("one", "taken back", |s| s.pause(PauseCause::Suspended).is_none() && is_ready(s)).await;
    let one = live(&space, "FeatureRollout", "one").await;
    let every = &one["spec"]["phases"][0]["ramp"]["every"];
    assert_eq!(
        (&one["metadata"]["annotations"], &one["spec"]["suspend"], every),
        (&Value::Null, &Value::Null, &json!("1000h"))
    );
    assert_eq!(one["spec"]["feature"]["title"], "Search", "what another manager added stays");
    assert!(after.pause(PauseCause::Person).is_some(), "a pause by an action stays");
    assert_eq!(
        (&after.served, after.revision, &after.position, after.cohorts.len()),
        (&edited.served, edited.revision, &edited.position, edited.cohorts.len())
    );
    assert!(percents(&recorded).await.iter().all(|percent| *percent == 50.0));
    controller.stop().await;
}

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
async fn a_rollback_fails_it_from_its_next_reconcile_on_and_no_reconcile_raises_anything() {
    let space = bare_space("flux-back").await;
    let (controller, flux) = (Running::in_space(&space).await, Flux::start(&space, &[]).await);
    let recorded = Recorded::start(&space, "shop");
    let kustomization = with_the_file(&flux, &space, "sync.yaml").await;
    let revision = flux.commit(&[("rollouts", &in_git(&space, WEEKS))]).await;
    kustomization.until("ready", |said| said.is_ready(&revision)).await;
    applied(&space, "one", "back", json!({"action": "Rollback"})).await;
    space.until("one", "rolled back", |s| s.state == Some(State::RolledBack) && s.is_delivered()).await;
    assert!(kustomization.said().await.is_ready(&revision), "it looks again after its interval");

    settled(&space).await;
    let before = version(&space).await;
    for _ in 0..2 {
        let failed = kustomization.reconcile().await;
        assert!(failed.has_failed() && names_the_rollout(&failed, &space), "{failed:#?}");
    }
    // Nor does a commit that changes something else.
    assert_eq!(version(&space).await, before, "a reconcile without news writes nothing");
    let titled = format!("{WEEKS}\nfeature: {{title: Search}}");
    flux.commit(&[("rollouts", &in_git(&space, &titled))]).await;
    let is_titled =
        async || live(&space, "FeatureRollout", "one").await["spec"]["feature"]["title"] == "Search";
    eventually("it is applied", is_titled).await;
    let failed = kustomization.reconcile().await;
    assert!(failed.has_failed() && names_the_rollout(&failed, &space), "{failed:#?}");
    settled(&space).await;
    let mut seen = percents(&recorded).await;
    seen.dedup();
    assert_eq!(seen, [50.0, 0.0]);

    let retry = flux.commit(&[("rollouts", &in_git(&space, &format!("{titled}\nattempt: 2")))]).await;
    kustomization.until("ready", |said| said.is_ready(&retry)).await;
    assert_eq!(space.status("one").await.served.as_deref(), Some("all=50%"));
    controller.stop().await;
}

#[tokio::test]
#[ignore = "builds a program of 86 MB, for five minutes"]
async fn the_one_that_fails_on_a_rollback_does_so_while_a_gradual_one_is_under_way() {
    let space = bare_space("flux-ladder").await;
    let (controller, flux) = (Running::in_space(&space).await, Flux::start(&space, &[]).await);
    let ladder = format!("{WEEKS}\nrollback: {{gradual: {{ladder: [20, 0], every: 1000h}}}}");
    let kustomization = with_the_file(&flux, &space, "fail-on-rollback.yaml").await;
    let revision = flux.commit(&[("rollouts", &in_git(&space, &ladder))]).await;
    kustomization.until("ready", |said| said.is_ready(&revision)).await;
    let gradual = json!({"action": "Rollback", "rollback": {"mode": "Gradual"}});
    applied(&space, "one", "down-the-ladder", gradual).await;
    let failed = kustomization.reconcile().await;
    assert!(failed.has_failed() && names_the_rollout(&failed, &space), "{failed:#?}");
    let status = space.status("one").await;
    assert_eq!((status.state, status.served.as_deref()), (Some(State::RollingBack), Some("all=20%")));
    assert!(condition(&status, "Stalled").is_none(), "{status:#?}");
    controller.stop().await;
}
