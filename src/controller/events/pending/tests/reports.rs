use super::*;

#[test]
fn a_report_waits_for_its_events_only_while_events_go_through() {
    let now = crate::clock::monotonic();
    let mut pending = pending([notice("ns", "a", 1), notice("ns", "b", 1)], now);
    let key = |name: &str| ("ns".to_owned(), name.to_owned());
    let kind = "FeatureRollout";
    assert!(!pending.is_awaited(kind, &key("a"), now));
    assert!(pending.await_report(kind, &key("a"), now) && pending.await_report(kind, &key("b"), now));
    assert!(pending.is_awaited(kind, &key("a"), now));
    assert!(!pending.await_report(kind, &key("c"), now), "nothing of it waits");
    let first = take(&mut pending, now).unwrap();
    assert!(pending.settle(&first, Outcome::Failed, now).has_turned);
    let mut released = pending.release("ns");
    released.sort();
    assert_eq!(released, [key("a"), key("b")]);
    assert!(!pending.await_report(kind, &key("b"), now), "events fail");
    let later = now + Duration::from_secs(1);
    let second = take(&mut pending, later).unwrap();
    let after = pending.settle(&second, Outcome::Done, later);
    assert!(after.has_turned && after.is_empty && !after.was_awaited, "it had been released");
    assert!(!pending.await_report(kind, &key("a"), later), "its own has failed");
    assert_eq!(pending.add(vec![notice("ns", "c", 1)], now), Added::default());
    assert!(pending.await_report(kind, &key("c"), later), "events go through again");
    let third = take(&mut pending, later).unwrap();
    assert_eq!(third.about.key, key("c"));
    let after = pending.settle(&third, Outcome::Done, later);
    assert!(after.is_empty && after.was_awaited);
    assert_eq!(pending.next_late_at(), None);
}

#[test]
fn a_report_does_not_wait_for_an_event_without_an_answer() {
    let now = crate::clock::monotonic();
    let mut pending = pending([notice("ns", "a", 1)], now);
    let key = ("ns".to_owned(), "a".to_owned());
    let _under_way = take(&mut pending, now).unwrap();
    assert!(pending.await_report("FeatureRollout", &key, now));
    assert_eq!(pending.release("ns"), std::slice::from_ref(&key));
    assert!(!pending.await_report("FeatureRollout", &key, now));
}

#[test]
fn a_report_waits_for_a_bounded_time_from_when_it_asks_whatever_becomes_of_its_event() {
    let begun = crate::clock::monotonic();
    let at = |ms| begun + Duration::from_millis(ms);
    let mut pending = pending([notice("ns", "a", 1), notice("ns", "b", 1), notice("ns", "c", 1)], begun);
    let key = |name: &str| ("ns".to_owned(), name.to_owned());
    let kind = "FeatureRollout";
    assert!(pending.await_report(kind, &key("a"), at(0)) && pending.await_report(kind, &key("b"), at(500)));
    assert!(pending.await_report(kind, &key("a"), at(1900)), "asking again lengthens nothing");
    assert_eq!((pending.release_late(at(1999)), pending.next_late_at()), (Vec::new(), Some(at(2000))));
    assert!(pending.is_awaited(kind, &key("a"), at(1999)) && !pending.is_awaited(kind, &key("a"), at(2000)));
    assert_eq!(pending.release_late(at(2000)), [key("a")]);
    assert_eq!(pending.next_late_at(), Some(at(2500)));
    assert_eq!(pending.len(), 3, "the events wait as they did");
    assert!(pending.await_report(kind, &key("c"), at(2000)), "the others' events may still go through");
    // Under way or not.
    let first = take(&mut pending, at(2100)).unwrap();
    let second = take(&mut pending, at(2100)).unwrap();
    assert_eq!((&first.about.key, &second.about.key), (&key("a"), &key("b")));
    assert_eq!(pending.release_late(at(2500)), [key("b")]);
    for late in [first, second] {
        let after = pending.settle(&late, Outcome::Done, at(2600));
        assert!(after.is_empty && !after.was_awaited, "its rollout is told all the same, by its entry");
    }
    let third = take(&mut pending, at(2700)).unwrap();
    assert!(pending.settle(&third, Outcome::Done, at(2700)).was_awaited);
    assert_eq!((pending.next_late_at(), pending.awaited.len()), (None, 0));
}

#[test]
fn nothing_is_kept_of_a_report_whose_events_are_gone() {
    let now = crate::clock::monotonic();
    let mut pending = pending([notice("ns", "a", 1), notice("ns", "b", 1), notice("other", "a", 1)], now);
    let key = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
    for (namespace, name) in [("ns", "a"), ("ns", "b"), ("other", "a")] {
        assert!(pending.await_report("FeatureRollout", &key(namespace, name), now));
    }
    let first = take(&mut pending, now).unwrap();
    assert_eq!(first.about.key, key("ns", "a"));
    pending.settle(&first, Outcome::Failed, now);
    pending.forget("FeatureRollout", &key("ns", "b"));
    assert_eq!(pending.awaited.len(), 2);
    assert_eq!(pending.release("ns"), [key("ns", "a")], "and of no other namespace");
    assert_eq!(pending.awaited.len(), 1);
}
