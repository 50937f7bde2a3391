//! The verbs: each creates an action, waits for its answer, prints it, and says by its exit code what became of it.

use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use sluice::api::{FeatureRollout, RolloutAction};

use super::{Ran, sluice};
use crate::support::bare::{Running, bare, bare_space};
use crate::support::is_ready;

const HALF: &str = r"
metadata: {name: half}
spec:
  cohorts: [{name: staff, match: {attributes: {group: staff}}}, {name: everyone}]
  phases:
  - name: ga
    steps:
    - {name: first, cohorts: {staff: 100, everyone: 50}, hold: 1000h}
    - {name: second, cohorts: {everyone: 75}, hold: 1000h, approval: Required}
";

pub async fn ask(args: &'static [&'static str], namespace: &str) -> Ran {
    let kubeconfig = bare().kubeconfig_path().to_str().unwrap().to_owned();
    let namespace = namespace.to_owned();
    tokio::task::spawn_blocking(move || {
        sluice(&[args, &["--kubeconfig", &kubeconfig, "-n", &namespace]].concat())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_verb_prints_its_answer_and_ends_with_the_code_for_it() {
    let space = bare_space("cli-act").await;
    let name = space.name.clone();
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    space.until("half", "served", |status| is_ready(status) && status.exposed()).await;

    let paused = ask(&["pause", "half", "--reason", "lunch"], &name).await;
    assert_eq!(
        (paused.code, paused.out.as_str()),
        (0, "Applied: paused; next: nothing by itself; resume to let the schedule go on\n"),
        "{}",
        paused.err
    );
    let resumed = ask(&["resume", "frol/half", "--reason", "back", "-o", "json"], &name).await;
    assert_eq!(resumed.code, 0, "{}", resumed.err);
    let json = resumed.json();
    let (said, action) = (&json["answer"], json["name"].as_str().unwrap());
    assert_eq!(
        (said, &json["rollout"], &json["action"]),
        (&json!("Applied"), &json!("half"), &json!("Resume"))
    );
    assert_eq!(json["requestedBy"], json!("sluice-sandbox-admin"));
    assert!(action.starts_with("half-resume-"), "{action}");

    let typo = ask(&["pause", "hlaf", "--reason", "lunch"], &name).await;
    assert_eq!((typo.code, typo.out.as_str()), (3, ""));
    assert!(typo.err.contains("there is no FeatureRollout hlaf in namespace"), "{}", typo.err);
    let actions = space.api::<RolloutAction>().list(&ListParams::default()).await.unwrap().items;
    assert!(
        actions.iter().all(|action| action.spec.rollout_ref.name == "half"),
        "a typo leaves no action behind"
    );
    for args in [&["describe", "frol/half"][..], &["get", "FeatureRollout/half"], &["history", "frol/half"]] {
        let told = ask(Box::leak(Box::new(args.to_vec())), &name).await;
        assert_eq!(told.code, 0, "{args:?}: {}", told.err);
    }
    let nobody = ask(&["watch", "hlaf"], &name).await;
    assert_eq!(nobody.code, 3);
    assert!(nobody.err.contains("there is no FeatureRollout hlaf in namespace"), "{}", nobody.err);

    let early = ask(&["promote", "half", "--reason", "hurry"], &name).await;
    assert_eq!(early.code, 4, "{}", early.err);
    assert!(early.out.starts_with("Rejected: ") && early.out.contains("approval"), "{}", early.out);
    let wrong = ask(&["approve", "half", "--reason", "fine", "--phase", "ga", "--step", "last"], &name).await;
    assert_eq!((wrong.code, wrong.out.as_str()), (4, "Rejected: there is no step ga/last\n"));
    let given =
        ask(&["approve", "half", "--reason", "fine", "--phase", "ga", "--step", "second"], &name).await;
    assert_eq!(given.code, 0);
    assert!(
        given.out.starts_with("Applied: approved ga/second; next: the hold before ga/second "),
        "{}",
        given.out
    );
    let promoted =
        ask(&["promote", "half", "--reason", "now", "--override", "window,freeze,gates"], &name).await;
    assert_eq!(promoted.code, 0, "{}", promoted.out);
    let set = ask(&["set-percent", "half", "everyone=12.5%", "staff=50", "--reason", "test"], &name).await;
    assert!(
        set.out.starts_with(
            "Applied: set everyone 75% → 12.5%, staff 100% → 50%; next: nothing by itself; resume to let the schedule go on"
        ),
        "{}",
        set.out
    );
    assert!(set.out.ends_with("\nDelivered: apps get staff 50%, everyone 12.5%\n"), "{}", set.out);
    assert_eq!(set.code, 0);
    let partly =
        ["rollback", "half", "--reason", "x", "--mode", "partial", "--cohort", "staff", "-o", "json"];
    let partly = ask(Box::leak(Box::new(partly)), &name).await.json();
    assert!(partly["message"].as_str().unwrap().contains("partial rollback"), "{partly}");
    let seen = ask(&["ack", "half", "--reason", "seen"], &name).await;
    assert_eq!(
        seen.out,
        "Applied: acknowledged; next: nothing by itself; a retry or a raised spec.attempt starts again\n"
    );
    let again = ask(&["retry", "half", "--from", "phase", "--reason", "fixed"], &name).await;
    let ends =
        "starts again from phase ga; this ends a pause: sluice-sandbox-admin set everyone 75% → 12.5%, ";
    assert!(again.out.starts_with(&format!("Applied: {ends}")), "{}", again.out);
    let late = ask(&["pause", "half", "--reason", "late", "--expires-after", "0s"], &name).await;
    assert_eq!(late.code, 4);
    assert!(late.out.starts_with("Expired: "), "{}", late.out);

    let actions = space.api::<RolloutAction>().list(&ListParams::default()).await.unwrap().items;
    assert!(actions.iter().all(|action| action.managed_fields().iter().all(|fields| {
        // Flux takes over the fields of managers whose name starts with kubectl.
        !fields.manager.as_deref().unwrap_or_default().starts_with("kubectl")
    })));
    controller.stop().await;

    // Without a controller nobody answers.
    let alone = ask(&["pause", "half", "--reason", "x", "--timeout", "300ms"], &name).await;
    assert_eq!(alone.code, 3);
    assert!(alone.err.contains("is the operator running?"), "{}", alone.err);
}

#[test]
fn wrong_usage_is_told_before_any_cluster_is_asked() {
    for args in [
        &["pause", "half"][..],
        &["set-percent", "half", "--reason", "x"],
        &["set-percent", "half", "everyone=101", "--reason", "x"],
        &["approve", "half", "--reason", "x", "--phase", "ga"],
        &["rollback", "half", "--reason", "x", "--mode", "slow"],
        &["pause", "half", "--reason", "x", "--override", "window"],
        &["pause", "half", "--reason", "  "],
    ] {
        assert_eq!(sluice(args).code, 2, "{args:?}");
    }
    let kind = sluice(&["pause", "deployment/half", "--reason", "x"]);
    assert_eq!(kind.code, 1, "{}", kind.err);
    let twice = sluice(&["set-percent", "half", "a=1", "a=2", "--reason", "x"]);
    assert_eq!(twice.code, 1, "{}", twice.err);
}
