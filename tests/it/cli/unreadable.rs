//! Commands in a namespace where somebody has stored what no decoder takes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use sluice::api::{FeatureRollout, Playbook};

use super::{Ran, command, write};
use crate::dashboard::PLAN;
use crate::support::bare::{bare, bare_space};
use crate::support::poisons;

const FINE: &str = "apiVersion: sluice.dev/v1alpha1\nkind: FeatureRollout\nmetadata: {name: fine, namespace: cli-unreadable}\nspec: {cohorts: [{name: all}],
  playbookRef: {name: maya, phase: first}, phases: [{name: ga, steps: [{cohorts: {all: 5}, hold: 1000h}]}]}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_object_that_cannot_be_read_is_named_and_hides_no_other() {
    let space = bare_space("cli-unreadable").await;
    space.apply::<FeatureRollout>(FINE).await.unwrap();
    space.apply::<Playbook>(PLAN).await.unwrap();
    poisons::store_valid(&space.client, &space.name).await;
    let config = bare().kubeconfig_path().to_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "fine.yaml", FINE);
    let run = move |args: &[&str]| -> Ran {
        let args = [args, &["-n", "cli-unreadable"]].concat();
        command(&args).env("KUBECONFIG", &config).stdin(Stdio::null()).output().unwrap().into()
    };
    tokio::task::spawn_blocking(move || {
        let get = run(&["get", "-o", "wide"]);
        assert_eq!(get.code, 0, "{}", get.err);
        let row = |name: &str| {
            get.out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{}", get.out))
        };
        assert!(
            row("nested").contains("Unreadable")
                && row("nested").contains("nested more than 127 levels deep")
        );
        assert!(!row("fine").contains("Unreadable") && !row("record").contains("Unreadable"));
        let names = run(&["get", "-o", "name"]).out;
        assert_eq!(names.lines().count(), 3, "{names}");
        let everywhere = command(&["get", "-A", "-o", "name"])
            .env("KUBECONFIG", bare().kubeconfig_path())
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&everywhere.stdout).contains("/nested"));

        let described = run(&["describe", "nested"]);
        assert_eq!(described.code, 3);
        assert!(
            described.err.contains("FeatureRollout nested cannot be read: spec.feature.variants"),
            "{}",
            described.err
        );
        assert_eq!(run(&["describe", "record"]).code, 0);

        let plan = run(&["plan", &file, "--live"]);
        assert_eq!(plan.code, 0, "{}", plan.err);
        assert!(plan.out.contains("cli-unreadable/fine: new"), "{}", plan.out);
        let left_out =
            |kind: &str| format!("{kind} cli-unreadable/nested cannot be read and is left out: spec");
        for kind in ["FlagSet", "FeatureRollout"] {
            assert_eq!(plan.err.matches(&left_out(kind)).count(), 1, "{}", plan.err);
        }
        let playbook = run(&["playbook", "maya"]);
        assert_eq!(playbook.code, 0, "{}", playbook.err);
        assert!(playbook.err.contains(&left_out("FeatureRollout")), "{}", playbook.err);

        let mut watch = command(&["watch", "-n", "cli-unreadable"])
            .env("KUBECONFIG", bare().kubeconfig_path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
        let shown: Vec<String> = lines.take(3).collect();
        watch.kill().unwrap();
        watch.wait().unwrap();
        assert!(shown.iter().any(|line| line.contains("cli-unreadable/nested Unreadable")), "{shown:#?}");
        assert!(shown.iter().any(|line| line.contains("cli-unreadable/record")), "{shown:#?}");
    })
    .await
    .unwrap();
}
