//! Every command that reads files, as people type it: with its defaults, so without `--now` and without `--at`.

use serde_json::{Value, json};

use super::{Ran, sluice, write};

const MINIMAL: [&str; 2] = ["-f", "examples/minimal.yaml"];

fn with_defaults(command: &str, more: &[&str]) -> Ran {
    let ran = sluice(&[&[command], &MINIMAL[..], more].concat());
    assert_eq!(ran.code, 0, "{command}: {}{}", ran.out, ran.err);
    ran
}

/// What everyone is served by each entry of a plan's or simulation's only rollout.
fn served(json: &Value) -> Vec<String> {
    let entries = json["rollouts"][0]["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["cohorts"]["everyone"].as_str().unwrap().to_owned()).collect()
}

/// The first thing a newcomer types printed an empty plan: the start that it assumed had nanoseconds, and the decisions
/// are taken to the microsecond, so that the start was for ever a little later than now.
#[test]
fn a_plan_without_now_begins_now_and_completes() {
    let json = with_defaults("plan", &["-o", "json"]).json();
    assert_eq!(served(&json), ["5%", "10%", "25%", "50%", "100%"]);
    assert!(json["rollouts"][0]["completedAt"].is_string(), "{json}");
    let table = with_defaults("plan", &[]).out;
    assert!(!table.contains("never"), "{table}");
    assert_eq!(table.lines().filter(|line| line.contains("Step")).count(), 5, "{table}");
}

/// An instant that a person or a tool gives with nanoseconds is one like any other.
#[test]
fn a_plan_with_nanoseconds_is_the_plan_of_that_microsecond() {
    let plan = |now: &str| with_defaults("plan", &["-o", "json", "--now", now]).json();
    assert_eq!(plan("2027-03-01T08:15:42.123456789Z"), plan("2027-03-01T08:15:42.123456Z"));
    assert_eq!(served(&plan("2027-03-01T08:15:42.999999999Z")).len(), 5);
}

#[test]
fn render_without_times_has_the_first_step() {
    let json = with_defaults("render", &[]).json();
    assert_eq!(json["flags"]["new-search"]["metadata"]["served"], "everyone=5%");
    let json = with_defaults("render", &["--at", "2099-01-01T00:00:00Z"]).json();
    assert_eq!(json["flags"]["new-search"]["metadata"]["served"], "everyone=100%");
}

#[test]
fn evaluate_without_times_gives_the_first_step_and_later_everything() {
    let evaluate = |more: &[&str]| {
        let user = r#"{"targetingKey": "somebody"}"#;
        let json =
            with_defaults("evaluate", &[&["--flag", "new-search", "--context", user], more].concat()).json();
        (json["value"].clone(), json["cohort"].clone())
    };
    assert_eq!(evaluate(&[]).1, json!("everyone"));
    assert_eq!(evaluate(&["--at", "2099-01-01T00:00:00.000000001Z"]), (json!(true), json!("everyone")));
}

/// At 50 % the published evaluators take in other users.
#[test]
fn evaluate_answers_for_the_language_of_the_app() {
    let taken = |more: &[&str]| {
        let taken = |i: &u32| {
            let user = json!({"targetingKey": format!("user-{i}")}).to_string();
            let half = ["--now", "2025-01-01T00:00:00Z", "--at", "2025-01-04T12:00:00Z"];
            let args = [&["--flag", "new-search", "--context", &user], &half[..], more].concat();
            with_defaults("evaluate", &args).json()["value"] == json!(true)
        };
        (0..12).filter(taken).collect::<Vec<_>>()
    };
    assert_ne!(taken(&["--evaluator", "node"]), taken(&[]));
}

#[test]
fn simulate_without_now_begins_now() {
    let dir = tempfile::tempdir().unwrap();
    let samples = write(dir.path(), "samples.jsonl", "");
    let json = with_defaults("simulate", &["-o", "json", "--samples", &samples]).json();
    assert_eq!(served(&json), ["5%", "10%", "25%", "50%", "100%"]);
}

#[test]
fn lint_without_options_finds_nothing_wrong() {
    let out = with_defaults("lint", &[]).out;
    assert_eq!(out, "0 errors and 0 warnings in 1 object of 1 file\n");
}

/// What a plan says besides times, where there is something to say; nothing of it stands in the table of a plain rollout.
#[test]
fn a_plan_says_what_lowers_what_waits_and_what_needs_an_approval() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(
        dir.path(),
        "rollout.yaml",
        r#"
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: menu, namespace: shop}
spec:
  cohorts: [{name: staff, share: 10, match: {attributes: {staff: "true"}}}, {name: all, share: 90}]
  schedule:
    startAt: "2026-03-27T09:00:00Z"
    timeZone: Europe/Berlin
    windows: [{days: [Mon, Tue, Wed, Thu, Fri], from: "10:00", to: "16:00"}]
  phases:
  - name: ga
    steps:
    - {name: some, cohorts: {staff: 100, all: 20}}
    - {name: full, cohorts: {all: 100}, approval: Required}
    - {name: less, cohorts: {staff: 50}}
"#,
    );
    let table = sluice(&["plan", "-f", &file]).out;
    // Friday in winter time, then Saturday has no window; on Monday it is summer time. By hand.
    let expected = "\
AT                     LOCAL                       ROLLOUT     PHASE   STEP     CAUSE   STAFF   ALL    EXPOSURE   NOTE
2026-03-27T09:00:00Z   Fri 2026-03-27 10:00 CET    shop/menu   ga      1 some   Step    100%    20%    28%
2026-03-30T08:00:00Z   Mon 2026-03-30 10:00 CEST   shop/menu   ga      2 full   Step    100%    100%   100%       ◆ ga/full needs an approval; due Sat 2026-03-28 10:00 CET, waits for a window
2026-03-31T08:00:00Z   Tue 2026-03-31 10:00 CEST   shop/menu   ga      3 less   Step    50%     100%   95%        ▼ lowers staff 100% → 50%

COMPLETED              ROLLOUT
2026-04-01T08:00:00Z   shop/menu
";
    assert_eq!(table, expected);
    // Nobody looks at a terminal here, so there are no colours, whatever the environment says.
    let chart = sluice(&["plan", "-f", &file, "-o", "chart"]).out;
    assert!(chart.contains("shop/menu") && chart.contains('▼') && !chart.contains('\u{1b}'), "{chart}");
    assert!(chart.lines().take(4).all(|line| line.chars().count() <= 120), "{chart}");
    let svg = sluice(&["plan", "-f", &file, "-o", "svg"]);
    assert_eq!((svg.code, svg.out.starts_with("<svg "), svg.out.ends_with("</svg>\n")), (0, true, true));
    assert_eq!(svg.out, sluice(&["plan", "-f", &file, "-o", "svg"]).out);
}
