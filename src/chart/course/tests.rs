use super::*;
use crate::api::FeatureRollout;
use crate::api::featurerollout::FeatureRolloutSpec;
use crate::chart::{Look, drawing, terminal};
use crate::engine::forecast::timeline::timeline as forecast;
use crate::plan::{Refs, compile};

/// Two weekdays and a freeze, a delay, an approval and a lowering. Berlin is two hours ahead of UTC until 26 October.
const SPEC: &str = r#"
cohorts:
- {name: staff, share: 10, match: {attributes: {staff: "true"}}}
- {name: regular, share: 60, delay: 72h, match: {attributes: {segment: B}}}
- {name: others, share: 30, match: {attributes: {segment: C}}}
schedule:
  startAt: "2025-09-08T08:00:00Z"
  timeZone: Europe/Berlin
  windows: [{days: [Mon, Tue, Wed, Thu, Fri], from: "10:00", to: "16:00"}]
  freezes: [{name: fair, from: "2025-09-15T00:00:00Z", to: "2025-09-17T00:00:00Z"}]
phases:
- name: beta
  steps:
  - {name: all, cohorts: {staff: 100, regular: 50}, hold: 120h}
- name: ga
  steps:
  - {name: half, cohorts: {others: 50}, hold: 24h}
  - {name: less, cohorts: {staff: 50}, hold: 24h}
  - {name: full, cohorts: {staff: 100, regular: 100, others: 100}, approval: Required}
"#;

fn plan() -> Plan {
    let spec: FeatureRolloutSpec = serde_saphyr::from_str(SPEC).unwrap();
    let mut rollout = FeatureRollout::new("search", spec);
    rollout.metadata.namespace = Some("shop".to_owned());
    compile(&rollout, Refs::default()).unwrap()
}

/// Worked out by hand. Monday 8 September 10:00 in Berlin is 08:00Z. The hold of five days ends on Saturday the 13th: no
/// window before Monday, which is frozen until Wednesday 02:00, and its window opens at 10:00. The delay of three days
/// ends on Thursday the 11th at 10:00, in a window.
#[test]
fn why_something_comes_later_is_said() {
    let plan = plan();
    let course = forecast(&plan, MicroTime::UNIX_EPOCH);
    let notes: Vec<(String, String)> = course
        .entries
        .iter()
        .map(|entry| (local(entry.at, &plan.zone), note(&plan, &course, entry.at)))
        .collect();
    let expected = [
        ("Mon 2025-09-08 10:00 CEST", ""),
        ("Thu 2025-09-11 10:00 CEST", "regular waits for a delay of 72h"),
        ("Wed 2025-09-17 10:00 CEST", "due Sat 2025-09-13 10:00 CEST, waits for a window, then freeze fair"),
        ("Thu 2025-09-18 10:00 CEST", "▼ lowers staff 100% → 50%"),
        ("Fri 2025-09-19 10:00 CEST", "◆ ga/full needs an approval"),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(at, note)| ((*at).to_owned(), (*note).to_owned())).collect();
    assert_eq!(notes, expected);
}

#[test]
fn a_group_has_a_lane_for_those_who_are_served_alike() {
    let plan = plan();
    let course = forecast(&plan, MicroTime::UNIX_EPOCH);
    let drawn = timeline(&[(&plan, &course)]);
    let group = &drawn.groups[0];
    let lanes: Vec<(&str, Vec<&str>)> = group
        .lanes
        .iter()
        .map(|lane| (lane.label.as_str(), lane.bars.iter().map(|bar| bar.label.as_str()).collect()))
        .collect();
    assert_eq!(
        lanes,
        [
            ("staff", vec!["100%", "50%", "100%"]),
            ("regular", vec!["50%", "100%"]),
            ("others", vec!["50%", "100%"]),
        ]
    );
    let phases: Vec<&str> = group.phases.iter().map(|phase| phase.label.as_str()).collect();
    assert_eq!(phases, ["beta", "ga"]);
    assert_eq!(group.freezes.iter().map(|freeze| freeze.label.as_str()).collect::<Vec<_>>(), ["fair"]);
    let kinds: Vec<char> = drawn.kinds().iter().map(|kind| kind.letter()).collect();
    assert_eq!(kinds, ['~', '✓', '◆', '▼']);
    // 10 % + 60 % of 50 % + 30 % of 50 %.
    let exposures = group.summary.as_ref().unwrap().bars.iter().map(|bar| bar.label.as_str());
    assert_eq!(exposures.collect::<Vec<_>>(), ["10%", "40%", "55%", "50%", "100%"]);
    assert_eq!(group.aside, "completed 20 Sep 10:00");
    // Whatever is drawn is drawn whole.
    let svg = drawing::svg(&drawn, Look::Own);
    assert!(
        svg.contains("regular 50% from Thu 2025-09-11 10:00 CEST (2025-09-11T08:00:00Z), beta/all"),
        "{svg}"
    );
    let text = terminal::text(&drawn, 100, false);
    assert!(text.contains("shop/search") && text.contains("55%") && text.contains('▼'), "{text}");
}

#[test]
fn nothing_at_all_is_drawn_too() {
    let drawn = timeline(&[]);
    assert!(drawing::svg(&drawn, Look::Own).ends_with("</svg>\n"));
    assert!(!terminal::text(&drawn, 80, true).is_empty());
}
