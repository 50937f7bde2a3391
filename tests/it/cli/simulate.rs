//! What recorded samples and actions would have done to a rollout, worked out by hand.

use std::path::Path;

use serde_json::{Value, json};

use super::{Ran, sluice, write};
use sluice::api::MicroTime;

/// Minutes after 09:00 on 8 September 2025, UTC.
fn at(minutes: i64) -> String {
    let start: MicroTime = "2025-09-08T09:00:00Z".parse().unwrap();
    (start + jiff::SignedDuration::from_mins(minutes)).to_string()
}

/// Two cohorts, three steps an hour apart; `more` adds to the spec.
fn rollout(more: &str) -> String {
    format!(
        r#"
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {{name: summaries, namespace: maya}}
spec:
  cohorts: [{{name: early, share: 20}}, {{name: rest, share: 80}}]
  schedule: {{startAt: "2025-09-08T09:00:00Z"}}
  phases:
  - name: ga
    gates: [quality]
    steps:
    - {{name: some, cohorts: {{early: 100}}, hold: 1h}}
    - {{name: half, cohorts: {{rest: 50}}, hold: 1h}}
    - {{name: full, cohorts: {{rest: 100}}, hold: 1h}}
  rollback: {{partial: {{keep: [early]}}}}
  criteria:
  - {{name: quality, metric: {{templateRef: {{name: failures}}}}, below: "2", minSamples: 50, interval: 5m}}
{more}"#
    )
}

const ERRORS: &str = r#"
  triggers:
  - name: errors
    metric: {templateRef: {name: errors}}
    interval: 1m
    levels: [{severity: Critical, above: "10", for: 300s, action: ImmediateRollback}]
"#;

fn lines(lines: impl IntoIterator<Item = Value>) -> String {
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}

/// One sample a minute.
fn each_minute(minutes: std::ops::RangeInclusive<i64>, trigger: &str, value: &Value) -> Vec<Value> {
    minutes.map(|minute| json!({"at": at(minute), "trigger": trigger, "value": value})).collect()
}

fn run(dir: &Path, rollout: &str, samples: &[Value], actions: &[Value], more: &[&str]) -> Ran {
    let rollout = write(dir, "rollout.yaml", rollout);
    let samples = write(dir, "samples.jsonl", &lines(samples.iter().cloned()));
    let actions = write(dir, "actions.jsonl", &lines(actions.iter().cloned()));
    let args = ["simulate", "-f", &rollout, "--samples", &samples, "--actions", &actions];
    sluice(&[&args, more].concat())
}

/// The entries as `09:05 some/1 Trigger 0% 0%`, and the one rollout.
fn course(rollout: &str, samples: &[Value], actions: &[Value], more: &[&str]) -> (Vec<String>, Value) {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), rollout, samples, actions, &[&["-o", "json"], more].concat());
    let mut rollouts = ran.json()["rollouts"].as_array().unwrap().clone();
    assert_eq!((rollouts.len(), ran.code), (1, 0));
    let rollout = rollouts.remove(0);
    let entries = rollout["entries"].as_array().unwrap().iter().map(|entry| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        let cohorts: Vec<&str> =
            entry["cohorts"].as_object().unwrap().values().map(|percent| percent.as_str().unwrap()).collect();
        let time = text("at").replace("2025-09-08T", "").replace(":00Z", "");
        format!("{time} {}/{} {} {}", text("phase"), entry["step"], text("cause"), cohorts.join(" "))
    });
    (entries.collect(), rollout)
}

/// The transitions of a reason, as `09:05 message`.
fn said(rollout: &Value, reason: &str) -> Vec<String> {
    let transitions = rollout["transitions"].as_array().unwrap().iter();
    let time = |t: &Value| t["at"].as_str().unwrap().replace("2025-09-08T", "").replace(":00Z", "");
    transitions
        .filter(|t| t["reason"] == reason)
        .map(|t| format!("{} {}", time(t), t["message"].as_str().unwrap()))
        .collect()
}

#[test]
fn an_error_rate_above_ten_per_cent_for_five_minutes_rolls_back_at_once() {
    // Checks at 09:00, 09:01 and so on. 10 is not above 10, and a pass begins anew: in breach from 09:04 to 09:09.
    let mut samples = each_minute(0..=2, "errors", &json!(12.5));
    samples.extend(each_minute(3..=3, "errors", &json!(10)));
    samples.extend(each_minute(4..=9, "errors", &json!(10.01)));
    let (entries, rollout) = course(&rollout(ERRORS), &samples, &[], &[]);
    assert_eq!(entries, ["09:00 ga/1 Step 100% 0%", "09:09 ga/1 Trigger 0% 0%"]);
    assert_eq!(rollout["entries"][1]["exposure"], "0%");
    assert_eq!(rollout.get("completedAt"), None);
    let last = rollout["transitions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        *last,
        json!({
            "at": "2025-09-08T09:09:00Z", "reason": "RolledBack", "trigger": "errors", "severity": "Critical",
            "message": "immediate rollback: errors was above 10 for 5m; early 100% → 0%",
        })
    );
}

#[test]
fn a_slow_rollout_goes_down_the_ladder_and_stays_there() {
    let slow = r#"
  triggers:
  - name: latency
    metric: {templateRef: {name: latency}}
    interval: 1m
    levels: [{severity: Critical, above: "5000", for: 600s, action: GradualRollback}]
    onNoData: Ignore
"#;
    // 09:00 to 11:30 in good order; in breach from 11:30 on, so it fires at 11:40. The file ends at 11:45, and the
    // ladder 50, 25, 0 goes on every ten minutes: rest is at 100 % by then, early too.
    let mut samples = each_minute(0..=149, "latency", &json!(180));
    samples.extend(each_minute(150..=165, "latency", &json!(6000)));
    let (entries, rollout) = course(&rollout(slow), &samples, &[], &[]);
    assert_eq!(
        entries,
        [
            "09:00 ga/1 Step 100% 0%",
            "10:00 ga/2 Step 100% 50%",
            "11:00 ga/3 Step 100% 100%",
            "11:40 ga/3 Trigger 50% 50%",
            "11:50 ga/3 Ladder 25% 25%",
            "12:00 ga/3 Ladder 0% 0%",
        ]
    );
    assert_eq!(said(&rollout, "RollbackEnded"), ["12:00 at control: early, rest"]);
    // With --until nothing later is looked at.
    let until = at(175);
    let (entries, _) = course(&self::rollout(slow), &samples, &[], &["--until", &until]);
    assert_eq!(entries.last().unwrap(), "11:50 ga/3 Ladder 25% 25%");
}

#[test]
fn a_breach_of_one_cohort_concerns_that_cohort() {
    let each = r#"
  triggers:
  - name: crashes
    perCohort: {label: cohort}
    metric: {templateRef: {name: crashes}}
    interval: 1m
    levels: [{severity: Critical, above: "1", for: 5m, action: ImmediateRollback}]
"#;
    let samples: Vec<Value> = (0..=75)
        .flat_map(|minute| {
            let value = |cohort: &str, value: f64| {
                json!({"at": at(minute), "trigger": "crashes", "cohort": cohort, "value": value})
            };
            // In breach from 10:05 on, for rest only.
            [value("early", 0.2), value("rest", if minute >= 65 { 3.5 } else { 0.3 })]
        })
        .collect();
    let (entries, rollout) = course(&rollout(each), &samples, &[], &[]);
    assert_eq!(
        entries,
        ["09:00 ga/1 Step 100% 0%", "10:00 ga/2 Step 100% 50%", "10:10 ga/2 Trigger 100% 0%"]
    );
    assert_eq!(
        said(&rollout, "RolledBack"),
        ["10:10 immediate rollback: crashes for cohort rest was above 1 for 5m; rest 50% → 0%"]
    );
}

#[test]
fn without_data_nothing_is_raised() {
    // A sample is good for the interval of a minute: at 09:57 there is still one of 09:56, at 09:58 there is none. The
    // step of 10:00 waits; 10:10 has an error, 10:15 no value, and 10:20 at last a number.
    let mut samples = each_minute(0..=56, "errors", &json!(0.4));
    samples.push(json!({"at": at(70), "trigger": "errors", "error": "connection refused"}));
    samples.push(json!({"at": at(75), "trigger": "errors", "value": null}));
    samples.push(json!({"at": at(80), "trigger": "errors", "value": 0.5, "rollout": "maya/summaries"}));
    let (entries, rollout) = course(&rollout(ERRORS), &samples, &[], &[]);
    assert_eq!(entries, ["09:00 ga/1 Step 100% 0%", "10:20 ga/2 Step 100% 50%"]);
    assert_eq!(rollout.get("completedAt"), None);
    // Between two checks a sample is there for the next one: 59.5 minutes for the check of 10:00.
    let mut fresh = each_minute(0..=58, "errors", &json!(0.4));
    fresh.push(json!({"at": "2025-09-08T09:59:30Z", "trigger": "errors", "value": 0.5}));
    let (entries, _) = course(&self::rollout(ERRORS), &fresh, &[], &["--until", &at(60)]);
    assert_eq!(entries, ["09:00 ga/1 Step 100% 0%", "10:00 ga/2 Step 100% 50%"]);
}

#[test]
fn missing_data_may_roll_back_once_the_initial_delay_is_over() {
    let strict = r#"
  triggers:
  - name: errors
    metric: {templateRef: {name: errors}}
    interval: 1m
    initialDelay: 90s
    levels: [{severity: Critical, above: "10", action: ImmediateRollback}]
    onNoData: ImmediateRollback
"#;
    // Measured at 09:00, 09:01 and so on; the delay is over at 09:01:30, and by default three intervals may be missing.
    let (entries, _) = course(&rollout(strict), &[], &[], &[]);
    assert_eq!(entries, ["09:00 ga/1 Step 100% 0%", "09:03 ga/1 Trigger 0% 0%"]);
    let (entries, _) = course(&rollout(&format!("{strict}    missingFor: 1m\n")), &[], &[], &[]);
    assert_eq!(entries, ["09:00 ga/1 Step 100% 0%", "09:02 ga/1 Trigger 0% 0%"]);
}

#[test]
fn a_gate_waits_for_its_criterion_and_one_without_samples_passes() {
    let (entries, rollout) = course(&rollout(""), &[], &[], &[]);
    assert_eq!(entries, ["09:00 ga/1 Step 100% 0%", "10:00 ga/2 Step 100% 50%", "11:00 ga/3 Step 100% 100%"]);
    assert_eq!(rollout["completedAt"], "2025-09-08T12:00:00Z");
    // Too few samples are no data at 09:00, 2.5 is too many failures at 09:05, and 1.5 of 60 will do at 09:10.
    let quality = |minute, value: f64, count: u64| json!({"at": at(minute), "criterion": "quality", "value": value, "count": count});
    let samples = [quality(0, 1.0, 49), quality(4, 2.5, 60), quality(8, 1.5, 60)];
    let (entries, _) = course(&self::rollout(""), &samples, &[], &["--until", &at(60)]);
    assert_eq!(entries, ["09:10 ga/1 Step 100% 0%"]);
}

#[test]
fn actions_do_what_they_would_have_done() {
    let samples = each_minute(0..=300, "errors", &json!(0.4));
    let actions = [
        json!({"at": at(10), "action": "Promote", "reason": "looks good"}),
        json!({"at": at(20), "action": "Rollback", "rollback": {"mode": "Partial"}}),
        json!({"at": at(30), "action": "Promote"}),
        json!({"at": at(40), "action": "Retry", "retry": {"from": "Phase"}, "rolloutRef": {"name": "summaries"}}),
        json!({"at": at(60), "action": "SetPercent", "setPercent": {"rest": "12.5%"}}),
        json!({"at": at(130), "action": "Resume"}),
    ];
    // Promoted at 09:10 and rolled back at 09:20, all but early. A promote meets the latch. The retry enters the phase's
    // first step at 09:40, which raises nobody who kept the feature; set by hand at 10:00 the schedule stands still
    // until 11:10, and the hold of an hour has 20 minutes behind it: half comes at 11:50, full at 12:50.
    let (entries, rollout) = course(&rollout(ERRORS), &samples, &actions, &[]);
    assert_eq!(
        entries,
        [
            "09:00 ga/1 Step 100% 0%",
            "09:10 ga/2 Action 100% 50%",
            "09:20 ga/2 Action 100% 0%",
            "10:00 ga/1 Action 100% 12.5%",
            "11:50 ga/2 Step 100% 50%",
            "12:50 ga/3 Step 100% 100%",
        ]
    );
    assert_eq!(rollout["completedAt"], "2025-09-08T13:50:00Z");
    assert_eq!(
        said(&rollout, "Rejected"),
        ["09:30 Promote was not carried out: rolled back at 2025-09-08T09:20:00Z; retry to start again"]
    );
    assert_eq!(said(&rollout, "Promoted").len() + said(&rollout, "Retried").len(), 2);
}

#[test]
fn a_retry_enters_the_first_step_again_as_a_step() {
    let actions = [
        json!({"at": at(10), "action": "Promote"}),
        json!({"at": at(20), "action": "Rollback", "rollback": {"mode": "Gradual"}}),
        json!({"at": at(35), "action": "Retry"}),
    ];
    // The ladder has taken its second rung at 09:30; the retry gives early its 100 % again, and lowers nobody.
    let (entries, _) = course(&rollout(""), &[], &actions, &[]);
    assert_eq!(
        entries,
        [
            "09:00 ga/1 Step 100% 0%",
            "09:10 ga/2 Action 100% 50%",
            "09:20 ga/2 Action 50% 25%",
            "09:30 ga/2 Ladder 25% 0%",
            "09:35 ga/1 Step 100% 0%",
            "10:35 ga/2 Step 100% 50%",
            "11:35 ga/3 Step 100% 100%",
        ]
    );
}

#[test]
fn a_missed_step_waits_for_a_promote_although_the_plan_takes_it() {
    let strict = rollout("").replace("startAt:", "onMissed: Hold, startAt:");
    // Paused from 09:50 to 10:30 the first hold ends at 10:40: a hold moves with a pause, so nothing is missed.
    let actions = [json!({"at": at(50), "action": "Pause"}), json!({"at": at(90), "action": "Resume"})];
    let (entries, _) = course(&strict, &[], &actions, &[]);
    assert_eq!(entries, ["09:00 ga/1 Step 100% 0%", "10:40 ga/2 Step 100% 50%", "11:40 ga/3 Step 100% 100%"]);
    // A start does not move with a pause: at 12:00 its step is three hours late.
    let actions = [
        json!({"at": at(-30), "action": "Pause"}),
        json!({"at": at(180), "action": "Resume"}),
        json!({"at": at(300), "action": "Promote"}),
    ];
    let (entries, _) = course(&strict, &[], &actions, &[]);
    assert_eq!(
        entries,
        ["14:00 ga/1 Action 100% 0%", "15:00 ga/2 Step 100% 50%", "16:00 ga/3 Step 100% 100%"]
    );
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let args = ["simulate", "-f", "examples/simulate", "--samples", "examples/simulate/samples.jsonl"];
    let actions = ["--actions", "examples/simulate/actions.jsonl"];
    for form in ["table", "json"] {
        let run = || sluice(&[&args[..], &actions, &["-o", form]].concat());
        let (first, second) = (run(), run());
        assert_eq!((first.code, first.err.as_str()), (0, ""));
        assert_eq!(first.out, second.out);
    }
}

#[test]
fn the_run_in_the_manual_is_what_the_command_prints() {
    let manual = std::fs::read_to_string("docs/cli.md").unwrap();
    let run = manual.split("```").find(|block| block.contains("$ sluice simulate")).unwrap();
    let (command, output) = run.split_once("jsonl\n").unwrap();
    let args = format!("{command}jsonl").replace(['\\', '\n'], " ");
    let args: Vec<&str> = args.split_whitespace().skip_while(|word| *word != "simulate").collect();
    assert_eq!(sluice(&args).out, output.split_once("jsonl\n").map_or(output, |(_, output)| output));
}

#[test]
fn every_wrong_line_is_said_with_field_value_and_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let samples = [
        json!({"at": "yesterday", "trigger": "errors", "value": "12 %"}),
        json!({"at": at(1), "trigger": "error", "value": 1, "cohorts": "x"}),
        json!({"at": at(1), "trigger": "errors", "criterion": "quality", "value": 1}),
        json!({"at": at(1), "trigger": "errors", "cohort": "early", "count": -1, "value": 1}),
        json!({"trigger": "errors"}),
        json!([1]),
        json!({"at": at(1), "trigger": "errors", "value": 1, "rollout": "summaries"}),
    ];
    let actions = [
        json!({"at": at(1), "action": "Stop"}),
        json!({"at": at(1), "action": "Approve", "retry": {}}),
        json!({"action": "Pause", "rolloutRef": {"name": "other"}}),
    ];
    let ran = run(dir.path(), &rollout(ERRORS), &samples, &actions, &[]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let said: Vec<String> = ran
        .err
        .lines()
        .map(|line| line.replace(&format!("{}/", dir.path().display()), "").replace("jsonl:", ""))
        .collect();
    assert_eq!(
        said,
        [
            "actions.1: error: action: \"Stop\" is none of Pause, Resume, Approve, Promote, SetPercent, Rollback, Retry, Acknowledge",
            "actions.2: error: approve: is missing: Approve needs it",
            "actions.2: error: retry: belongs to the action Retry",
            "actions.3: error: at: is missing: give an instant such as 2025-09-08T09:00:00Z",
            "actions.3: error: rolloutRef.name: there is no rollout \"other\": there are summaries",
            "samples.1: error: at: \"yesterday\" is no instant: write one such as 2025-09-08T09:00:00Z",
            "samples.1: error: value: \"12 %\" is no number: write one such as 12.5, or null for no data",
            "samples.2: error: cohorts: there is no such field: did you mean cohort?",
            "samples.2: error: trigger: there is no trigger \"error\": there are errors",
            "samples.3: error: criterion: stands beside trigger: give one of the two",
            "samples.4: error: cohort: \"early\": errors measures all cohorts together: leave it out",
            "samples.4: error: count: -1 is no number of samples: write one such as 500",
            "samples.5: error: at: is missing: give an instant such as 2025-09-08T09:00:00Z",
            "samples.5: error: value: is missing: give a number, null for no data, or error for a failed query",
            "samples.6: error: [1] is no JSON object",
            "samples.7: error: rollout: \"summaries\": there is no such rollout: there are maya/summaries",
        ]
    );
}

/// Prometheus' API writes numbers as strings, and what is no number too.
#[test]
fn samples_may_be_spelt_as_prometheus_spells_them() {
    let dir = tempfile::tempdir().unwrap();
    let rollout = rollout(ERRORS).replace("    gates: [quality]\n", "");
    let json = |values: [Value; 2]| {
        let [bad, odd] = values;
        let mut samples = each_minute(0..=9, "errors", &bad);
        samples.extend(each_minute(10..=12, "errors", &odd));
        let ran = run(dir.path(), &rollout, &samples, &[], &["-o", "json"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran.json()
    };
    let numbers = json([json!(12.5), Value::Null]);
    assert!(numbers.to_string().contains("RolledBack"), "{numbers}");
    let without_words = |json: &Value| {
        json.to_string().replace("the value is NaN", "").replace("the sample has no value", "")
    };
    assert_eq!(without_words(&json([json!("12.5"), json!("NaN")])), without_words(&numbers));
    assert_eq!(
        json([json!("1.25e+01"), json!("+Inf")])["rollouts"][0]["entries"],
        numbers["rollouts"][0]["entries"]
    );
    let ran = run(dir.path(), &rollout, &each_minute(0..=0, "errors", &json!("a lot")), &[], &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("samples.jsonl:1: error: value: \"a lot\" is no number"), "{}", ran.err);
}

/// Errors of 12 % on the third day, in three lines: the whole of what somebody has to write.
#[test]
fn ranges_and_constants_stand_for_thousands_of_samples() {
    let dir = tempfile::tempdir().unwrap();
    let day = |day: i64| at(day * 24 * 60);
    let daily = rollout(ERRORS).replace("hold: 1h", "hold: 48h");
    let samples = [
        json!({"from": day(0), "trigger": "errors", "value": 0.4}),
        json!({"from": at(2 * 24 * 60 + 30), "to": at(2 * 24 * 60 + 36), "every": "1m", "trigger": "errors", "value": 12}),
    ];
    let ran = run(dir.path(), &daily, &samples, &[], &["-o", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rolled = said(&ran.json()["rollouts"][0], "RolledBack");
    // In breach from 09:30 to 09:35 on the third day, which is five minutes.
    assert_eq!(rolled.len(), 1, "{}", ran.out);
    assert!(rolled[0].starts_with("2025-09-10T09:35"), "{}", rolled[0]);
    // And what it waits for then is said.
    let table = run(dir.path(), &daily, &samples, &[], &[]).out;
    assert!(table.contains("waits for RolledBack: rolled back at 2025-09-10T09:35:00Z"), "{table}");
    assert!(table.contains("on nothing changes, however long the samples go on as they are"), "{table}");
    // Well for ever: it is completed, and the end is the completion.
    let well = run(dir.path(), &daily, &samples[..1], &[], &["-o", "json"]).json();
    assert_eq!(well["rollouts"][0]["completedAt"], json!(day(6)));
    let svg = run(dir.path(), &daily, &samples, &[], &["-o", "svg"]).out;
    assert!(svg.starts_with("<svg ") && svg.contains("above 10: ImmediateRollback"), "{svg}");
}

/// A sample each millisecond for two days is more than anybody can look at one by one.
#[test]
fn a_picture_of_a_dense_range_is_drawn_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let samples = [
        json!({"from": at(0), "every": "1ms", "to": at(2 * 24 * 60), "trigger": "errors", "value": 0.4}),
        json!({"at": at(600), "trigger": "errors", "value": 9}),
    ];
    let until = at(2 * 24 * 60);
    let ran = run(dir.path(), &rollout(ERRORS), &samples, &[], &["-o", "svg", "--until", &until]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("<svg ") && ran.out.len() < 1_000_000, "{}", ran.out.len());
}

#[test]
fn a_range_that_is_none_is_refused_with_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let samples = [
        json!({"from": at(5), "to": at(1), "trigger": "errors", "value": 1}),
        json!({"at": at(0), "from": at(1), "trigger": "errors", "value": 1}),
        json!({"to": at(1), "trigger": "errors", "value": 1}),
        json!({"from": at(1), "every": "0s", "trigger": "errors", "value": 1}),
        json!({"from": at(1), "every": "1 minute", "trigger": "errors", "value": 1}),
    ];
    let ran = run(dir.path(), &rollout(ERRORS), &samples, &[], &[]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let fields: Vec<&str> = ran.err.lines().map(|line| line.split(": ").nth(2).unwrap()).collect();
    assert_eq!(fields, ["to", "from", "from", "every", "every"], "{}", ran.err);
}
