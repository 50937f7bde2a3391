use super::*;
use crate::api::MicroTime;

mod reports;
mod turn;

fn notice(namespace: &str, name: &str, seq: i64) -> Notice {
    let key = (namespace.to_owned(), name.to_owned());
    Notice {
        about: Arc::new(Regarding { kind: "FeatureRollout".to_owned(), key, uid: format!("uid-{name}") }),
        number: seq.to_string(),
        entry: Some(Entry { seq, at: MicroTime::UNIX_EPOCH }),
        reason: Reason::StepEntered,
        message: "a step".to_owned(),
        at: MicroTime::UNIX_EPOCH,
    }
}

fn pending(notices: impl IntoIterator<Item = Notice>, now: Instant) -> Pending {
    let mut pending = Pending::default();
    for notice in notices {
        assert_eq!(pending.add(vec![notice], now), Added::default());
    }
    pending
}

/// The next one to try, where there is nothing that goes first.
fn take(pending: &mut Pending, now: Instant) -> Option<Notice> {
    pending.take(now, |_| Duration::ZERO)
}

/// Tries what may be tried until `end`, `at_once` at a time, each answered after `takes`; returns the tries.
fn try_until(
    pending: &mut Pending,
    begun: Instant,
    end: Instant,
    takes: Duration,
    at_once: usize,
    answer: impl Fn(&Notice, Instant) -> Outcome,
) -> Vec<(Instant, Notice)> {
    let mut tried = Vec::new();
    let mut under_way: VecDeque<(Instant, Notice)> = VecDeque::new();
    let mut now = begun;
    while now < end {
        while under_way.front().is_some_and(|(ends, _)| *ends <= now) {
            let (_, notice) = under_way.pop_front().unwrap();
            let outcome = answer(&notice, now);
            pending.settle(&notice, outcome, now);
        }
        while under_way.len() < at_once
            && let Some(notice) = take(pending, now)
        {
            tried.push((now, notice.clone()));
            under_way.push_back((now + takes, notice));
        }
        let ends = under_way.front().map(|(ends, _)| *ends);
        let next = pending.next_at().filter(|_| under_way.len() < at_once);
        now = [ends, next].into_iter().flatten().min().unwrap_or(end).max(now);
    }
    tried
}

fn names(tried: &[(Instant, Notice)]) -> Vec<String> {
    tried.iter().map(|(_, notice)| format!("{}{}", notice.about.key.1, notice.number)).collect()
}

#[test]
fn the_events_of_a_rollout_are_published_in_their_order_and_each_once() {
    let now = crate::clock::monotonic();
    let mut pending = pending([notice("ns", "a", 1), notice("ns", "a", 2), notice("ns", "b", 7)], now);
    // What waits already is not taken in again, as whoever hands it over cannot know.
    let again = vec![notice("ns", "a", 1), notice("ns", "a", 2), notice("ns", "a", 3)];
    assert_eq!(pending.add(again, now), Added::default());
    let end = now + Duration::from_secs(1);
    let tried = try_until(&mut pending, now, end, Duration::from_millis(5), 4, |_, _| Outcome::Done);
    assert_eq!(names(&tried), ["a1", "b7", "a2", "a3"]);
    assert_eq!((pending.len(), pending.lines.len(), pending.spaces.len()), (0, 0, 0));
}

/// A dead webhook for events cost one rollout 15,483 calls in half a minute, and a thousand of them more.
#[test]
fn a_thousand_rollouts_whose_events_are_refused_or_hang_for_ten_minutes_cost_a_few_calls() {
    let ten_minutes = Duration::from_secs(600);
    // After the first tries, one in each of 0.5, 1, 2 … 32 s and then one a minute.
    let most = 4 + 7 + 600 / 60;
    for (what, takes) in [("refused", 2), ("hanging", 10_000)] {
        let begun = crate::clock::monotonic();
        let mut pending = pending((0..1000).map(|i| notice("ns", &format!("r{i}"), 1)), begun);
        let end = begun + ten_minutes;
        let takes = Duration::from_millis(takes);
        let tried = try_until(&mut pending, begun, end, takes, 4, |_, _| Outcome::Failed);
        assert!(tried.len() <= most && tried.len() > 10, "{what}: {}", tried.len());
        // When it works again, everything is published, soon, and in order.
        let later = end + LONGEST_RETRY + Duration::from_secs(15);
        try_until(&mut pending, end, later, Duration::from_millis(2), 4, |_, _| Outcome::Done);
        assert_eq!(pending.len(), 0, "{what}");
    }
}

#[test]
fn a_namespace_that_fails_keeps_no_other_from_its_events() {
    let begun = crate::clock::monotonic();
    let failing = (0..100).map(|i| notice("bad", &format!("r{i}"), 1));
    let mut pending = pending(failing.chain((0..100).map(|i| notice("good", &format!("g{i}"), 1))), begun);
    let answer = |notice: &Notice, _| match notice.about.key.0.as_str() {
        "bad" => Outcome::Failed,
        _ => Outcome::Done,
    };
    let end = begun + Duration::from_secs(1);
    let tried = try_until(&mut pending, begun, end, Duration::from_millis(5), 4, answer);
    let good = tried.iter().filter(|(_, notice)| notice.about.key.0 == "good").count();
    assert_eq!((good, tried.len() - good <= 4 + 2), (100, true), "{}", tried.len());
}

#[test]
fn a_line_that_fails_for_itself_backs_off_by_itself_however_often_its_namespace_works() {
    let begun = crate::clock::monotonic();
    let mut pending = pending([notice("ns", "bad", 1)], begun);
    let mut bad = 0;
    for second in 0..600 {
        let now = begun + Duration::from_secs(second);
        let good = vec![notice("ns", "good", i64::try_from(second).unwrap())];
        assert_eq!(pending.add(good, now), Added::default());
        let end = now + Duration::from_secs(1);
        let answer = |notice: &Notice, _| match notice.about.key.1.as_str() {
            "bad" => Outcome::Failed,
            _ => Outcome::Done,
        };
        let tried = try_until(&mut pending, now, end, Duration::from_millis(2), 4, answer);
        bad += tried.iter().filter(|(_, notice)| notice.about.key.1 == "bad").count();
    }
    assert!(bad <= 7 + 600 / 60 + 1, "{bad}");
    assert!(pending.len() <= 2, "the others are published: {}", pending.len());
}

#[test]
fn what_waits_is_bounded_and_what_finds_no_room_comes_out_of_no_order() {
    let now = crate::clock::monotonic();
    let mut pending = Pending::default();
    let many = (1..=50).map(|seq| notice("ns", "a", seq));
    let added = pending.add(many.collect(), now);
    assert_eq!(added.left_out, Some((Dropped::ObjectFull, 50 - MOST_OF_ONE)));
    assert_eq!(pending.len(), MOST_OF_ONE);
    let mut add = |namespace: &str, i: usize| {
        pending.add(vec![notice(namespace, &format!("r{i}"), 1)], now).left_out.map(|(why, _)| why)
    };
    let of_one = (0..2 * MOST).filter_map(|i| add("ns", i)).collect::<Vec<_>>();
    assert_eq!(of_one, vec![Dropped::NamespaceFull; 2 * MOST + MOST_OF_ONE - MOST_OF_SPACE]);
    let of_other = (0..MOST).filter_map(|i| add("other", i)).collect::<Vec<_>>();
    assert_eq!(of_other, vec![Dropped::NamespaceFull; MOST - MOST_OF_SPACE]);
    assert_eq!(pending.len(), MOST);
    let end = now + Duration::from_secs(60);
    let tried = try_until(&mut pending, now, end, Duration::from_millis(1), 4, |_, _| Outcome::Done);
    let of_a: Vec<&str> =
        tried.iter().filter(|(_, n)| n.about.key.1 == "a").map(|(_, n)| n.number.as_str()).collect();
    assert_eq!(of_a, (1..=20).map(|seq| seq.to_string()).collect::<Vec<_>>());
    assert_eq!(pending.len(), 0);
}

/// Twenty namespaces of one tenant fill all the room there is.
#[test]
fn where_there_is_no_room_the_newest_of_whoever_has_the_most_gives_way() {
    let now = crate::clock::monotonic();
    let mut pending = Pending::default();
    for i in 0..MOST {
        let of = format!("flood-{}", i % 20);
        assert_eq!(pending.add(vec![notice(&of, &format!("r{i}"), 1)], now), Added::default());
    }
    let mut gave_way = 0;
    for i in 0..100 {
        let added = pending.add(vec![notice("small", &format!("s{i}"), 1)], now);
        assert_eq!(added.left_out, None);
        gave_way += added.gave_way.len();
        assert!(
            added.gave_way.iter().all(|gave_way| gave_way.is_entry && gave_way.key.0.starts_with("flood"))
        );
    }
    assert_eq!((gave_way, pending.len()), (100, MOST));
    let counts: Vec<usize> = (0..20).map(|i| pending.waiting_of(&format!("flood-{i}"))).collect();
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    // One that has as many as the others has none of theirs.
    let flood = pending.add(vec![notice("flood-0", "more", 1)], now);
    assert_eq!((flood.left_out, flood.gave_way), (Some((Dropped::Full, 1)), Vec::new()));
    let end = now + Duration::from_secs(600);
    let tried = try_until(&mut pending, now, end, Duration::from_millis(1), 4, |_, _| Outcome::Done);
    assert_eq!((tried.len(), pending.len(), pending.spaces.len()), (MOST, 0, 0));
    assert!(pending.order.is_empty() && pending.ready.is_empty() && pending.lines.is_empty());
}

#[test]
fn what_gives_way_is_the_end_of_a_line_and_its_report_waits_no_more() {
    let now = crate::clock::monotonic();
    let mut pending = Pending::default();
    for i in 0..MOST / 4 {
        let entries = (1..=2).map(|seq| notice("flood", &format!("r{i}"), seq));
        assert_eq!(pending.add(entries.collect(), now), Added::default());
        let other = (1..=2).map(|seq| notice(&format!("x{}", i % 8), &format!("r{i}"), seq));
        assert_eq!(pending.add(other.collect(), now), Added::default());
    }
    let newest = ("flood".to_owned(), format!("r{}", MOST / 4 - 1));
    assert!(pending.await_report("FeatureRollout", &newest, now));
    let gave_way = |pending: &mut Pending, seq| {
        let mut added = pending.add(vec![notice("small", "s", seq)], now);
        let gave_way = added.gave_way.remove(0);
        assert_eq!(gave_way.key, newest);
        gave_way.was_awaited
    };
    assert!(!gave_way(&mut pending, 1), "the first of its entries still waits");
    assert!(gave_way(&mut pending, 2));
    assert!(!pending.is_awaited("FeatureRollout", &newest, now));
    assert_eq!(pending.next_late_at(), None);
}

/// A thousand objects of one tenant wait, each with several events.
#[test]
fn a_flood_keeps_anothers_event_for_no_longer_than_the_calls_under_way() {
    let begun = crate::clock::monotonic();
    let flood = (0..1000).flat_map(|i| (1..=2).map(move |seq| notice("flood", &format!("r{i}"), seq)));
    let mut pending = pending(flood, begun);
    let takes = Duration::from_millis(5);
    let now = begun + Duration::from_millis(100);
    try_until(&mut pending, begun, now, takes, AT_ONCE, |_, _| Outcome::Done);
    for i in 0..3 {
        assert_eq!(pending.add(vec![notice("small", &format!("s{i}"), 1)], now), Added::default());
    }
    let end = now + Duration::from_millis(100);
    let tried = try_until(&mut pending, now, end, takes, AT_ONCE, |_, _| Outcome::Done);
    let last = tried.iter().rfind(|(_, notice)| notice.about.key.0 == "small").unwrap();
    assert!(last.0 - now <= takes * 3, "{:?}", last.0 - now);
}

/// Each call of one tenant's events hangs, as behind a webhook of its own.
#[test]
fn calls_that_hang_leave_one_for_others() {
    let begun = crate::clock::monotonic();
    let mut pending = pending((0..10).map(|i| notice("hangs", &format!("r{i}"), 1)), begun);
    let held: Vec<Notice> = std::iter::from_fn(|| take(&mut pending, begun)).collect();
    assert_eq!(held.len(), MOST_AT_WORK);
    assert_eq!(pending.add(vec![notice("small", "s", 1)], begun), Added::default());
    assert_eq!(take(&mut pending, begun).unwrap().about.key.0, "small");
}

#[test]
fn nothing_is_kept_of_a_rollout_that_is_gone_where_events_fail() {
    let now = crate::clock::monotonic();
    let mut pending = pending((0..100).map(|i| notice("ns", &format!("r{i}"), 1)), now);
    let key = |i: usize| ("ns".to_owned(), format!("r{i}"));
    pending.forget("FeatureRollout", &key(0));
    assert_eq!(pending.len(), 100, "its last events are still of use");
    let first = take(&mut pending, now).unwrap();
    pending.settle(&first, Outcome::Failed, now);
    for i in 0..100 {
        pending.forget("FeatureRollout", &key(i));
    }
    assert_eq!((pending.len(), pending.lines.len(), pending.spaces.len(), pending.order.len()), (0, 0, 0, 0));
}

#[test]
fn a_namespace_is_left_alone_for_as_long_as_the_api_server_asks() {
    let now = crate::clock::monotonic();
    let mut pending = pending([notice("ns", "a", 1), notice("other", "a", 1)], now);
    let first = take(&mut pending, now).unwrap();
    pending.settle(&first, Outcome::Failed, now);
    let until = now + Duration::from_secs(5);
    pending.hold_back(&first.about.key.0, until);
    let other = take(&mut pending, now).unwrap();
    assert_ne!(other.about.key.0, first.about.key.0, "others go on");
    pending.settle(&other, Outcome::Done, now);
    assert!(take(&mut pending, until - Duration::from_millis(1)).is_none());
    assert_eq!(take(&mut pending, until).unwrap().about.key, first.about.key);
}
