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
    assert_eq!(ran.out, "0 errors and 0 warnings in 21 objects of 12 files\n");
}
