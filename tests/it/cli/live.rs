//! What files would change of what a cluster serves, and the other commands that look before they leap.

use serde_json::json;
use sluice::api::{FeatureRollout, RolloutPolicy};

use super::{Ran, command, write};
use crate::support::bare::{Running, bare, bare_space};
use crate::support::is_ready;

const HALF: &str = r"
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: half, namespace: NAMESPACE}
spec:
  cohorts: [{name: staff, match: {attributes: {group: staff}}}, {name: everyone}]
  phases:
  - name: ga
    steps:
    - {name: first, cohorts: {staff: 100, everyone: 50}, hold: 1000h}
    - {name: second, cohorts: {everyone: 75}, hold: 1000h, approval: Required}
";

/// Runs the program against the test's cluster, by the environment, with what the file is to hold.
async fn run(args: &[&str], files: &str) -> Ran {
    let kubeconfig = bare().kubeconfig_path().to_str().unwrap().to_owned();
    let (args, files) = (args.iter().map(ToString::to_string).collect::<Vec<_>>(), files.to_owned());
    tokio::task::spawn_blocking(move || {
        let dir = tempfile::tempdir().unwrap();
        let file = write(dir.path(), "rollout.yaml", &files);
        let args: Vec<&str> =
            args.iter().map(|arg| if arg == "FILE" { file.as_str() } else { arg.as_str() }).collect();
        command(&args).env("KUBECONFIG", kubeconfig).output().unwrap().into()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_happen_is_said_before_it_does() {
    let space = bare_space("cli-live").await;
    let name = space.name.clone();
    let files = HALF.replace("NAMESPACE", &name);
    let fresh = run(&["plan", "FILE", "--live"], &files).await;
    assert_eq!(fresh.code, 0, "{}", fresh.err);
    assert!(
        fresh.out.starts_with(&format!("{name}/half: new; its first step would be entered ")),
        "{}",
        fresh.out
    );

    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(&files).await.unwrap();
    space.until("half", "served", |status| is_ready(status) && status.exposed()).await;

    let same = run(&["plan", "FILE", "--live"], &files).await;
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    assert!(same.out.starts_with(&format!("{name}/half: nothing changes\n")), "{}", same.out);

    let lower = files.replace("everyone: 50", "everyone: 25");
    let lowers = run(&["plan", "FILE", "--live"], &lower).await;
    assert_eq!(lowers.code, 6, "{}{}", lowers.out, lowers.err);
    assert!(lowers.out.starts_with(&format!("{name}/half: ▼ lowers")), "{}", lowers.out);
    assert!(lowers.out.contains("everyone   50%    25% ▼"), "{}", lowers.out);
    let allowed = run(&["plan", "FILE", "--live", "--fail-on", "pauses"], &lower).await;
    assert_eq!(allowed.code, 0, "{}", allowed.err);
    let stops = run(&["plan", "FILE", "--live", "-o", "json"], &format!("{files}  suspend: true\n")).await;
    assert_eq!(stops.code, 6, "{}", stops.err);
    let json = stops.json();
    assert_eq!(json["rollouts"][0]["effects"][0], json!("Pauses"), "{json}");
    assert_eq!(json["rollouts"][0]["byTheFiles"]["pauses"], json!(["Suspended"]));
    let other = run(&["plan", "FILE", "--live"], &format!("{files}  feature: {{salt: other}}\n")).await;
    assert_eq!(other.code, 6);
    assert!(other.out.contains("the API server refuses it: spec.feature.salt"), "{}", other.out);

    // An action, without doing it; an approval is missing for the next step.
    let n = ["-n", &name];
    let back = run(&[&["rollback", "half", "--reason", "x", "--dry-run=server"], &n[..]].concat(), "").await;
    assert_eq!(back.code, 0, "{}", back.err);
    assert!(back.out.starts_with("Would be applied: immediate rollback"), "{}", back.out);
    let on = run(&[&["promote", "half", "--reason", "x", "--dry-run=server"], &n[..]].concat(), "").await;
    assert_eq!(on.code, 4, "{}", on.out);
    assert!(on.out.starts_with("Would be rejected: ") && on.out.contains("approval"), "{}", on.out);

    // It is where a script wants it, or not in time.
    let phase = run(&[&["wait", "half", "--for", "phase=ga"], &n[..]].concat(), "").await;
    assert_eq!((phase.code, phase.out.starts_with("phase=ga: ")), (0, true), "{}", phase.err);
    let never = run(&[&["wait", "half", "--timeout", "300ms"], &n[..]].concat(), "").await;
    assert_eq!((never.code, never.out.as_str()), (6, ""));
    assert!(never.err.contains("not Completed within 300ms"), "{}", never.err);
    let no_phase = run(&[&["wait", "half", "--for", "phase=gaa"], &n[..]].concat(), "").await;
    assert_eq!(no_phase.code, 1, "{}", no_phase.err);

    let all = run(&["get", "-A", "-o", "wide"], "").await.out;
    let line = all.lines().find(|line| line.contains(&name)).unwrap_or_default();
    assert!(all.starts_with("NAMESPACE") && line.contains("half"), "{all}");
    let names = run(&[&["get", "-o", "name"], &n[..]].concat(), "").await.out;
    assert_eq!(names, "featurerollout.sluice.dev/half\n");
    let yaml = run(&[&["get", "half", "-o", "yaml"], &n[..]].concat(), "").await.out;
    assert!(yaml.contains("served: staff=100%,everyone=50%\n"), "{yaml}");

    // A script asks for what may stand in a place.
    let offers = |words: &'static [&'static str], index: &'static str| {
        let (kubeconfig, name) = (bare().kubeconfig_path().to_path_buf(), name.clone());
        tokio::task::spawn_blocking(move || {
            let mut typed = vec!["--", "sluice"];
            typed.extend(words);
            let typed: Vec<&str> =
                typed.iter().map(|word| if *word == "NAMESPACE" { &name } else { *word }).collect();
            let mut command = command(&typed);
            command.env("KUBECONFIG", kubeconfig).env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index);
            Ran::from(command.output().unwrap()).out
        })
    };
    assert!(offers(&["get", "-n", "NAMESPACE", "ha"], "4").await.unwrap().contains("half"));
    let steps =
        offers(&["approve", "half", "-n", "NAMESPACE", "--phase", "ga", "--step", ""], "8").await.unwrap();
    assert!(steps.contains("first") && steps.contains("second"), "{steps}");
    let cohorts = offers(&["set-percent", "half", "-n", "NAMESPACE", "st"], "5").await.unwrap();
    assert!(cohorts.contains("staff="), "{cohorts}");

    let nothing = run(&[&["report", "half"], &n[..]].concat(), "").await;
    assert_eq!((nothing.code, nothing.out.as_str()), (1, ""));
    assert!(nothing.err.contains("has not been rolled back"), "{}", nothing.err);
    let cohort = run(&[&["report", "--cohort", "everyone"], &n[..]].concat(), "").await;
    assert_eq!((cohort.code, cohort.err.as_str()), (0, ""));
    let section = |heading: &str| cohort.out.split(heading).nth(1).unwrap_or_default();
    let feature = "| half | ";
    assert!(cohort.out.starts_with("# ") && cohort.out.contains("everyone"), "{}", cohort.out);
    assert!(section("## What they get").contains(&format!("{feature}50%")), "{}", cohort.out);
    assert!(section("## What comes next").contains(feature), "{}", cohort.out);
    let nobody = run(&[&["report", "--cohort", "nobody"], &n[..]].concat(), "").await;
    assert_eq!((nobody.code, nobody.out.as_str()), (1, ""));
    assert!(
        nobody.err.contains(&format!("namespace {name}")) && nobody.err.contains("nobody"),
        "{}",
        nobody.err
    );

    // What was foreseen is what happens.
    space.apply::<FeatureRollout>(&lower).await.unwrap();
    let decided = |status: &sluice::api::FeatureRolloutStatus| {
        status.cohort("everyone").is_some_and(|cohort| cohort.served.to_string() == "25%")
    };
    space.until("half", "lowered", decided).await;
    controller.stop().await;
}

/// The policy is in the cluster only, as where another team commits it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_policies_of_the_cluster_hold_back_is_foreseen() {
    let space = bare_space("cli-live-policy").await;
    let name = space.name.clone();
    space.apply::<RolloutPolicy>("{metadata: {name: calm}, spec: {approvalAbove: 60}}").await.unwrap();
    let files = HALF
        .replace("NAMESPACE", &name)
        .replace(", approval: Required", "")
        .replace("staff: 100", "staff: 60");
    let files = format!("{files}  policyRef: {{name: calm}}\n");
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(&files).await.unwrap();
    space.until("half", "served", |status| is_ready(status) && status.exposed()).await;
    let same = run(&["plan", "FILE", "--live"], &files).await;
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    assert!(same.out.starts_with(&format!("{name}/half: nothing changes\n")), "{}", same.out);
    let promote = run(&["promote", "half", "--reason", "x", "--dry-run=server", "-n", &name], "").await;
    assert!(promote.out.contains("raises above the 60% of policy calm"), "{}{}", promote.out, promote.err);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_is_sound_and_what_is_not() {
    let space = bare_space("cli-check").await;
    let ran = run(&["check", "-n", &space.name, "--operator-namespace", &space.name, "-o", "json"], "").await;
    // Nobody leads in a namespace of a test.
    assert_eq!(ran.code, 6, "{}", ran.err);
    let json = ran.json();
    let result = |check: &str| {
        let all = json.as_array().unwrap();
        let found = all.iter().find(|one| one["check"] == check).unwrap_or_else(|| panic!("{check}: {json}"));
        found["result"].as_str().unwrap().to_owned()
    };
    for kind in sluice::api::all_crds() {
        assert_eq!(result(&format!("kind {}", kind.spec.names.kind)), "Ok", "{json}");
    }
    assert_eq!([result("API server"), result("admission policy"), result("your rights")], ["Ok"; 3]);
    assert_eq!([result("controller"), result("metric sources")], ["Failed", "Warning"], "{json}");
}
