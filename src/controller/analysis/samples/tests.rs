use super::*;
use crate::api::Finite;
use crate::plan::{GuardSpec, guard};

fn guarded(template: &str, interval: &str) -> Guard {
    let text = format!(
        r#"{{"triggers": [{{"name": "errors", "metric": {{"templateRef": {{"name": "{template}"}}}},
            "interval": "{interval}", "levels": [{{"severity": "Critical", "above": "1", "action": "Pause"}}]}}]}}"#
    );
    let spec: GuardSpec = serde_json::from_str(&text).unwrap();
    let mut errors = Vec::new();
    let guard = guard(&spec, &[], &mut errors);
    assert_eq!(errors, []);
    guard
}

fn at(seconds: i64) -> MicroTime {
    MicroTime::from_second(seconds).unwrap()
}

fn due(seconds: i64) -> Due {
    let interval = SignedDuration::from_secs(10);
    Due { subject: errors(), at: at(seconds), next: at(seconds + 10), interval }
}

fn errors() -> Subject {
    Subject::Trigger("errors".to_owned())
}

fn sample(seconds: i64) -> (Option<String>, Sample) {
    let reading = Reading::Value { value: Finite::new(1.0).unwrap(), samples: None };
    (None, Sample { at: at(seconds), due: at(seconds), reading })
}

fn watched() -> Watched {
    Watched::new("u".to_owned(), "f".to_owned(), Arc::new(guarded("a", "10s")))
}

#[test]
fn a_slot_is_asked_for_once_and_a_missed_one_is_told() {
    let mut watched = watched();
    let first = watched.begin(&due(100), at(101)).unwrap();
    assert!(first.missed && !first.again, "nothing is known of the time before a start");
    assert_eq!(watched.begin(&due(110), at(111)), None, "under way");
    watched.give_up(&errors(), first.ticket + 1);
    assert_eq!(watched.begin(&due(110), at(111)), None, "another check is given up");
    assert!(watched.end(&errors(), first.ticket, Ended::default(), vec![sample(100)]));
    assert_eq!(watched.begin(&due(100), at(109)), None);
    let second = watched.begin(&due(110), at(111)).unwrap();
    assert!(!second.missed && second.again);
    assert!(watched.end(&errors(), second.ticket, Ended::default(), Vec::new()));
    let third = watched.begin(&due(130), at(130)).unwrap();
    assert!(third.missed);
    watched.give_up(&errors(), third.ticket);
    assert!(watched.begin(&due(140), at(140)).is_some(), "nobody waits for one that was given up");
}

#[test]
fn the_first_measurement_is_waited_for_while_it_is_under_way_and_no_other() {
    let mut watched = watched();
    assert!(!watched.is_beginning(), "nothing is due");
    let first = watched.begin(&due(100), at(100)).unwrap();
    assert!(watched.is_beginning());
    assert!(watched.end(&errors(), first.ticket, Ended::default(), vec![sample(100)]));
    assert!(!watched.is_beginning());
    let _second = watched.begin(&due(110), at(110)).unwrap();
    assert!(!watched.is_beginning(), "the one before is known");
}

#[test]
fn a_measurement_is_due_since_the_first_that_the_limits_left_no_room_for() {
    let mut watched = watched();
    let crowded = Ended { crowded: true, ..Ended::default() };
    for (seconds, ended, due_at) in [
        (100, Ended::default(), 100),
        (110, crowded, 110),
        (120, crowded, 110),
        (150, Ended::default(), 110),
        (160, Ended::default(), 160),
    ] {
        let begun = watched.begin(&due(seconds), at(seconds)).unwrap();
        assert_eq!(begun.due, at(due_at), "at {seconds}");
        assert!(watched.end(&errors(), begun.ticket, ended, vec![sample(seconds)]));
    }
    let begun = watched.begin(&due(170), at(170)).unwrap();
    watched.end(&errors(), begun.ticket, crowded, Vec::new());
    let set_back = watched.begin(&due(90), at(91)).unwrap();
    assert_eq!(set_back.due, at(90), "nothing is owed of a time to come");
}

#[test]
fn an_answer_for_another_rollout_of_the_name_is_not_taken() {
    let (mut before, mut after) = (watched(), watched());
    let old = before.begin(&due(100), at(100)).unwrap();
    let new = after.begin(&due(100), at(100)).unwrap();
    assert!(!after.end(&errors(), old.ticket, Ended::default(), vec![sample(100)]));
    assert_eq!(after.measurements(), []);
    assert!(after.end(&errors(), new.ticket, Ended::default(), vec![sample(100)]));
}

#[test]
fn a_clock_that_was_set_back_stops_no_check() {
    let mut watched = watched();
    let begun = watched.begin(&due(1000), at(1000)).unwrap();
    watched.end(&errors(), begun.ticket, Ended::default(), Vec::new());
    assert!(watched.begin(&due(100), at(101)).is_some());
}

#[test]
fn another_query_begins_anew_and_another_interval_does_not() {
    let mut watched = watched();
    let begun = watched.begin(&due(100), at(100)).unwrap();
    watched.end(&errors(), begun.ticket, Ended::default(), vec![sample(100)]);
    watched.follow(&guarded("a", "20s"));
    assert_eq!(watched.measurements().len(), 1);
    let begun = watched.begin(&due(110), at(110)).unwrap();
    watched.follow(&guarded("b", "20s"));
    assert_eq!(watched.measurements(), []);
    assert!(
        !watched.end(&errors(), begun.ticket, Ended::default(), vec![sample(110)]),
        "it answers the old query"
    );
    assert_eq!(watched.measurements(), []);
    assert!(watched.begin(&due(110), at(110)).is_some());
}

#[test]
fn a_backfill_is_kept_until_it_was_seen_and_then_shrinks() {
    let mut watched = watched();
    let begun = watched.begin(&due(2000), at(2000)).unwrap();
    watched.end(&errors(), begun.ticket, Ended::default(), (0..200).map(|i| sample(i * 10)).collect());
    assert!(watched.measurements().len() > 190);
    for i in 201..500 {
        let begun = watched.begin(&due(i * 10), at(i * 10)).unwrap();
        watched.end(&errors(), begun.ticket, Ended::default(), vec![sample(i * 10)]);
    }
    let kept = watched.measurements();
    assert_eq!(kept.len(), KEPT);
    assert_eq!(kept.last().unwrap().at, at(4990));
}

#[test]
fn one_backfill_after_the_other_is_kept_within_bounds() {
    let mut watched = watched();
    for i in 1..10 {
        let begun = watched.begin(&due(i * 2000), at(i * 2000)).unwrap();
        let batch = (0..200).map(|k| sample(i * 2000 - 2000 + k * 10)).collect();
        watched.end(&errors(), begun.ticket, Ended::default(), batch);
    }
    let kept = watched.measurements();
    assert_eq!(kept.len(), MOST);
    assert_eq!(kept.last().unwrap().at, at(17_990));
}

#[test]
fn what_could_not_be_asked_is_asked_again_when_told() {
    let mut watched = watched();
    let begun = watched.begin(&due(100), at(100)).unwrap();
    let ended = Ended { unprepared: true, ..Ended::default() };
    watched.end(&errors(), begun.ticket, ended, vec![sample(100)]);
    assert_eq!(watched.begin(&due(100), at(101)), None);
    assert!(watched.retry_unprepared());
    assert!(watched.begin(&due(100), at(101)).is_some());
    assert!(!watched.retry_unprepared());
}

#[test]
fn the_course_of_each_subject_is_told_with_what_is_missing_and_goes_with_its_query() {
    let mut watched = watched();
    for i in 0..200 {
        let begun = watched.begin(&due(i * 10), at(i * 10)).unwrap();
        let (_, mut one) = sample(i * 10);
        if i % 10 == 9 {
            one.reading = Reading::NoData("there is no series".to_owned());
        }
        watched.end(&errors(), begun.ticket, Ended::default(), vec![(None, one)]);
    }
    let course = watched.course();
    assert_eq!(course.len(), 1);
    let series = &course[0];
    assert_eq!(
        (series.kind, series.name.as_str(), series.interval_seconds),
        (MeasuredKind::Trigger, "errors", 10)
    );
    assert_eq!((series.at.len(), series.at[0], series.at[119]), (120, 800, 1990));
    assert_eq!(series.said[0].value(), Some(1.0));
    assert_eq!(series.said.iter().filter(|said| said.value().is_none()).count(), 12);
    assert_eq!(series.message.as_deref(), Some("there is no series"), "the newest has no value");
    watched.follow(&guarded("b", "10s"));
    assert_eq!((watched.course(), watched.course_bytes()), (Vec::new(), 0));
}

/// What a thousand rollouts with two triggers each take for the courses. The bound is what the documents say.
#[test]
fn the_courses_of_a_thousand_rollouts_with_two_triggers_take_three_mebibytes() {
    let guard = Arc::new(guarded("a", "10s"));
    let subjects = ["errors", "latency"].map(|name| Subject::Trigger(name.to_owned()));
    let mut rollouts: Vec<Watched> =
        (0..1_000).map(|i| Watched::new(format!("uid-{i}"), "f".to_owned(), guard.clone())).collect();
    for i in 0..200 {
        for watched in &mut rollouts {
            for subject in &subjects {
                let due = Due { subject: subject.clone(), ..due(i * 10) };
                let begun = watched.begin(&due, at(i * 10)).unwrap();
                watched.end(subject, begun.ticket, Ended::default(), vec![sample(i * 10)]);
            }
        }
    }
    let bytes: usize = rollouts.iter().map(Watched::course_bytes).sum();
    assert!(bytes <= 3 * 1024 * 1024, "{bytes}");
}
