//! The playbook's weeks and percentages, worked out by hand, come out of its objects.

use serde_json::Value;

use super::sluice;

/// Internal staff, then segments A, B, C, D, in per cent.
type Served = [u32; 5];

/// Rollout, playbook week (its Monday at 09:00 in Los Angeles, which is 16:00Z until November), and what is served
/// from then on.
const WEEKS: &[(&str, u32, Served)] = &[
    ("dreams", 3, [100, 100, 0, 0, 0]),
    ("dreams", 4, [100, 100, 50, 50, 50]),
    ("dreams", 5, [100, 100, 100, 100, 100]),
    ("whispers", 3, [100, 0, 0, 0, 0]),
    ("whispers", 4, [100, 25, 0, 0, 0]),
    ("whispers", 5, [100, 75, 0, 0, 0]),
    ("whispers", 6, [100, 100, 0, 0, 0]),
    ("voice-english", 5, [100, 100, 100, 100, 100]),
    ("voice-ambient", 6, [100, 100, 0, 0, 0]),
    ("voice-spanish", 7, [10, 10, 10, 10, 10]),
    ("voice-multilingual", 8, [50, 50, 50, 50, 50]),
    ("admin-roles", 5, [100, 0, 0, 0, 0]),
    ("admin-roles", 8, [100, 100, 100, 100, 100]),
    ("admin-realtime", 6, [100, 0, 0, 0, 0]),
    ("admin-realtime", 8, [100, 100, 100, 100, 100]),
    ("admin-mobile", 7, [100, 100, 0, 0, 0]),
    ("admin-mobile", 8, [100, 100, 100, 100, 100]),
    ("admin-panel", 8, [100, 100, 100, 100, 100]),
    // The gates: A 100, B 25, C 0, D 0; B by its delay of a week.
    ("whispers-voice-capture", 7, [0, 100, 0, 0, 0]),
    ("whispers-voice-capture", 8, [0, 100, 25, 0, 0]),
];

/// Gate A 100, B 75, C 0, D 0: a ramp of segment A a day, and B a week after its begin.
const DREAMS_ADVANCED: &[(&str, Served)] = &[
    ("2025-10-13T16:00:00Z", [0, 5, 0, 0, 0]),
    ("2025-10-14T16:00:00Z", [0, 10, 0, 0, 0]),
    ("2025-10-15T16:00:00Z", [0, 25, 0, 0, 0]),
    ("2025-10-16T16:00:00Z", [0, 50, 0, 0, 0]),
    ("2025-10-17T16:00:00Z", [0, 100, 0, 0, 0]),
    ("2025-10-20T16:00:00Z", [0, 100, 75, 0, 0]),
];

/// The Mondays of weeks 1 to 8.
const MONDAYS: [&str; 8] = ["09-08", "09-15", "09-22", "09-29", "10-06", "10-13", "10-20", "10-27"];

const COHORTS: [&str; 5] = ["internal", "early-adopters", "regular", "casual", "new"];
/// Shares of the audience, in per cent.
const SHARES: [u32; 5] = [0, 10, 60, 25, 5];

#[test]
fn every_line_of_the_playbook_comes_out() {
    let plan = sluice(&["plan", "-f", "examples/playbook", "-o", "json"]).json();
    let rollouts = plan["rollouts"].as_array().unwrap();
    let mut names: Vec<&str> = WEEKS.iter().map(|(name, ..)| *name).chain(["dreams-advanced"]).collect();
    names.sort_unstable();
    names.dedup();
    let found: Vec<&str> = rollouts.iter().map(|rollout| rollout["name"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    for rollout in rollouts {
        let name = rollout["name"].as_str().unwrap();
        let by_week = WEEKS
            .iter()
            .filter(|(rollout, ..)| *rollout == name)
            .map(|(_, week, served)| (format!("2025-{}T16:00:00Z", MONDAYS[*week as usize - 1]), *served));
        let mut expected: Vec<(String, Served)> = by_week.collect();
        if name == "dreams-advanced" {
            expected = DREAMS_ADVANCED.iter().map(|(at, served)| ((*at).to_owned(), *served)).collect();
        }
        let entries: Vec<(String, Served)> =
            rollout["entries"].as_array().unwrap().iter().map(|entry| row(name, entry)).collect();
        assert_eq!(entries, expected, "{name}");
    }
}

fn row(name: &str, entry: &Value) -> (String, Served) {
    let percent = |text: &Value| -> f64 { text.as_str().unwrap().trim_end_matches('%').parse().unwrap() };
    let served = COHORTS.map(|cohort| percent(&entry["cohorts"][cohort]) as u32);
    let sum: u32 = served.iter().zip(SHARES).map(|(served, share)| served * share).sum();
    assert_eq!(percent(&entry["exposure"]), f64::from(sum) / 100.0, "{name}");
    (entry["at"].as_str().unwrap().to_owned(), served)
}

#[test]
fn the_examples_are_clean() {
    let ran = sluice(&["lint", "-f", "examples/"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        ran.out,
        concat!(
            "0 errors and 0 warnings in 39 objects of 19 files\n",
            "passed over 3 files: examples/app/node/package-lock.json, examples/app/node/package.json, examples/playbook/00-namespace.yaml\n",
        )
    );
}

/// Trigger, its level's action, bound and time.
const TRIGGERS: [(&str, &str, &str, &str); 8] = [
    ("error-rate", "Notify", "above 1", "5m"),
    ("error-rate", "Pause", "above 5", "5m"),
    ("error-rate", "ImmediateRollback", "above 10", "300s"),
    ("crash-rate", "ImmediateRollback", "above 1", "300s"),
    ("latency-p50", "Notify", "above 200", "10m"),
    ("latency-p95", "Notify", "above 800", "10m"),
    ("latency-p95", "GradualRollback", "above 5000", "600s"),
    ("latency-p99", "Notify", "above 2000", "10m"),
];

/// Journey and quality, the same for each system. What is one number of the whole product is the playbook's.
const JOURNEY: [(&str, &str); 4] = [
    ("first-interaction", "atMost 24"),
    ("time-to-value", "below 10"),
    ("stickiness", "above 60"),
    ("critical-bugs", "below 2"),
];

/// Success criteria and adoption by rollout, and what gates which phase.
type Success = (&'static str, &'static [(&'static str, &'static str)], (&'static str, &'static str));
const SUCCESS: [Success; 4] = [
    (
        "dreams",
        &[
            ("adoption", "atLeast 70"),
            ("engagement", "atLeast 3"),
            ("weave-quality", "below 2"),
            ("satisfaction", "above 4.2"),
            ("first-use", ""),
            ("retention", ""),
        ],
        ("ga", "weave-quality"),
    ),
    (
        "whispers",
        &[
            ("opt-in", "atLeast 40"),
            ("daily-usage", "atLeast 8"),
            ("relevance", "above 70"),
            ("ranking-latency", "below 200"),
        ],
        ("beta", "ranking-latency"),
    ),
    (
        "voice-english",
        &[
            ("usage", "atLeast 30"),
            ("transcription", "below 5"),
            ("latency", "below 3000"),
            ("satisfaction", "above 4.0"),
        ],
        ("everybody", ""),
    ),
    (
        "admin-panel",
        &[
            ("uptime", "atLeast 99.9"),
            ("load-time", "below 500"),
            ("usage", "atLeast 80"),
            ("accuracy", "atMost 0"),
        ],
        ("ga", "load-time accuracy"),
    ),
];

/// The specs of the playbook's objects of a kind, by name.
fn specs(kind: &str) -> std::collections::BTreeMap<String, Value> {
    let mut input = sluice::cli::files::Input::default();
    for entry in std::fs::read_dir("examples/playbook").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            input.add("-", &std::fs::read_to_string(path).unwrap());
        }
    }
    let found = input.objects.into_iter().filter(|object| object.value["kind"] == kind);
    found.map(|object| (object.name, object.value["spec"].clone())).collect()
}

/// The bound of a level or criterion, as `above 10`.
fn bound(value: &Value) -> String {
    let bounds = ["above", "below", "atLeast", "atMost"];
    let given = bounds.iter().filter_map(|name| Some(format!("{name} {}", value[*name].as_str()?)));
    given.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_figure_of_the_playbook_is_watched() {
    let rollouts = specs("FeatureRollout");
    assert_eq!(rollouts.len(), 12);
    assert_eq!(specs("FlagSet")["maya"]["policyRef"]["name"], "standard", "it binds all of them");
    for (name, spec) in &rollouts {
        assert_eq!(spec["flagSetRef"]["name"], "maya", "{name}");
        assert!(spec["policyArgs"]["service"].is_string(), "{name}");
        for own in ["triggers", "rollback", "monitoring"] {
            assert!(spec[own].is_null(), "{name} has {own} of its own");
        }
    }
    for (name, spec) in &specs("RolloutPolicy") {
        let levels: Vec<(&str, &str, String, &str)> = spec["triggers"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|trigger| {
                trigger["levels"].as_array().unwrap().iter().map(move |level| (trigger, level))
            })
            .map(|(trigger, level)| {
                let text = |value: &'static str| level[value].as_str().unwrap();
                (trigger["name"].as_str().unwrap(), text("action"), bound(level), text("for"))
            })
            .collect();
        let expected = TRIGGERS.map(|(name, action, bound, for_)| (name, action, bound.to_owned(), for_));
        assert_eq!(levels, expected, "{name}");
        assert_eq!(
            spec["rollback"],
            serde_json::json!({"gradual": {"ladder": [50, 25, 0], "every": "10m"}, "partial": {"keep": ["early-adopters"]}})
        );
        let periods: Vec<String> =
            spec["monitoring"].as_array().unwrap().iter().map(|period| period.to_string()).collect();
        assert_eq!(periods.len(), 3, "{name}");
        for (period, figures) in periods.iter().zip([
            ["168h", "1h", "15m", "24h"],
            ["672h", "6h", "1h", "72h"],
            ["standard", "24h", "4h", "168h"],
        ]) {
            assert!(figures.iter().all(|figure| period.contains(&format!("\"{figure}\""))), "{period}");
        }
    }
    for (name, success, (phase, gates)) in SUCCESS {
        let spec = &rollouts[name];
        let criteria: Vec<(&str, String)> = spec["criteria"]
            .as_array()
            .unwrap()
            .iter()
            .map(|criterion| (criterion["name"].as_str().unwrap(), bound(criterion)))
            .collect();
        let expected: Vec<(&str, String)> =
            success.iter().chain(&JOURNEY).map(|(name, bound)| (*name, (*bound).to_owned())).collect();
        assert_eq!(criteria, expected, "{name}");
        let phases = spec["phases"].as_array().unwrap();
        let gated = phases.iter().find(|other| other["name"] == phase).unwrap();
        let found: Vec<&str> =
            gated["gates"].as_array().into_iter().flatten().map(|gate| gate.as_str().unwrap()).collect();
        assert_eq!(found.join(" "), gates, "{name}");
    }
}
