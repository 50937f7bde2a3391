use std::collections::BTreeMap;

use super::*;

#[test]
fn logs_have_colours_on_a_terminal_only() {
    assert!(coloured(true, None) && coloured(true, Some(OsStr::new(""))));
    assert!(!coloured(false, None) && !coloured(true, Some(OsStr::new("1"))));
}

#[test]
fn whoever_stands_by_shows_no_object_and_nothing_that_waits() {
    let metrics = Metrics::default();
    let text = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
        text
    };
    let before = text();
    metrics.count(0, tally(3));
    assert_ne!(text(), before);
    metrics.stands_by(0);
    assert_eq!(text(), before);
}

fn tally(count: usize) -> Tally {
    let (objects, entries) = (BTreeMap::from([("FlagSet", count)]), BTreeMap::from([("writers", count)]));
    let beyond = BTreeMap::from([("CohortSet", count)]);
    Tally { objects, beyond, entries, queue: count, events: count }
}

#[test]
fn a_process_shows_the_sums_of_the_shards_that_it_leads() {
    let metrics = Metrics::default();
    let shown = |line: &str| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
        text.lines().any(|shown| shown == line)
    };
    for (shard, count) in [(0, 3), (2, 4)] {
        metrics.set_leads(shard, true);
        metrics.count(shard, tally(count));
    }
    for sum in [
        "objects{kind=\"FlagSet\"} 7",
        "objects_beyond_share{kind=\"CohortSet\"} 7",
        "entries{of=\"writers\"} 7",
        "queue_depth 7",
        "events_waiting 7",
    ] {
        assert!(shown(&format!("sluice_{sum}")), "{sum}");
    }
    assert!(shown("sluice_leader 1") && shown("sluice_shard_leader{shard=\"2\"} 1"));
    metrics.set_leads(0, false);
    metrics.stands_by(0);
    assert!(shown("sluice_queue_depth 4") && shown("sluice_objects{kind=\"FlagSet\"} 4"));
    assert!(shown("sluice_leader 1") && shown("sluice_shard_leader{shard=\"0\"} 0"));
    metrics.set_leads(2, false);
    assert!(shown("sluice_leader 0"));
}

#[test]
fn the_versions_are_a_metric() {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &Metrics::default().registry()).unwrap();
    let line = format!("time_zone_data=\"{}\"", crate::plan::calendar::zone_data());
    assert!(
        text.lines().any(|found| found.starts_with("sluice_build_info{") && found.contains(&line)),
        "{text}"
    );
}
