use rstest::rstest;

use super::*;

const YIELDS: Duration = Duration::from_secs(1);

/// What is tried in the first `end` milliseconds, and at which of them, where each try takes five. `come` adds what comes
/// on in a millisecond.
fn tried(
    end: u64,
    come: impl Fn(u64) -> Vec<Notice>,
    yields: impl Fn(&str, u64) -> Duration,
) -> Vec<(u64, Notice)> {
    let begun = crate::clock::monotonic();
    let mut pending = Pending::default();
    let mut tried = Vec::new();
    let mut under_way: VecDeque<(u64, Notice)> = VecDeque::new();
    for ms in 0..end {
        let now = begun + Duration::from_millis(ms);
        for notice in come(ms) {
            assert_eq!(pending.add(vec![notice], now), Added::default());
        }
        while under_way.front().is_some_and(|(ends, _)| *ends <= ms) {
            let (_, notice) = under_way.pop_front().unwrap();
            pending.settle(&notice, Outcome::Done, now);
        }
        while under_way.len() < AT_ONCE
            && let Some(notice) = pending.take(now, |namespace| yields(namespace, ms))
        {
            tried.push((ms, notice.clone()));
            under_way.push_back((ms + 5, notice));
        }
    }
    tried
}

fn times(tried: &[(u64, Notice)], namespace: &str) -> Vec<u64> {
    tried.iter().filter(|(_, notice)| notice.about.key.0 == namespace).map(|(ms, _)| *ms).collect()
}

#[rstest]
#[case::nothing_goes_first(YIELDS, 0, 0)]
#[case::it_decides_for_a_while(YIELDS, 100, 100)]
#[case::it_is_looked_at_now_and_then(YIELDS, 101, 125)]
#[case::it_decides_without_end(YIELDS, u64::MAX, 1000)]
#[case::it_is_ahead_for_a_while(Duration::from_secs(8), 5000, 5000)]
#[case::it_is_ahead_without_end(Duration::from_secs(8), u64::MAX, 8000)]
fn an_event_lets_other_writes_of_its_namespace_go_first_but_not_for_ever(
    #[case] longest: Duration,
    #[case] until: u64,
    #[case] expected: u64,
) {
    let come = |ms| if ms == 0 { vec![notice("busy", "r", 1)] } else { Vec::new() };
    let yields = |_: &str, ms| if ms < until { longest } else { Duration::ZERO };
    assert_eq!(times(&tried(9000, come, yields), "busy"), [expected]);
}

#[test]
fn a_namespace_that_decides_without_end_holds_up_the_events_of_no_other() {
    let come = |ms: u64| match ms % 10 {
        0 => vec![notice("busy", &format!("b{ms}"), 1)],
        3 => vec![notice("other", &format!("o{ms}"), 1), notice("another", &format!("a{ms}"), 1)],
        _ => Vec::new(),
    };
    let yields = |namespace: &str, _| if namespace == "busy" { YIELDS } else { Duration::ZERO };
    let tried = tried(3000, come, yields);
    let at_once: Vec<u64> = (0..300).map(|i| 10 * i + 3).collect();
    assert_eq!(times(&tried, "other"), at_once);
    assert_eq!(times(&tried, "another"), at_once);
    let its_own: Vec<u64> = (100..300).map(|i| 10 * i).collect();
    assert_eq!(times(&tried, "busy"), its_own, "each a second after it came on");
}

#[test]
fn many_events_wait_together_and_then_go_one_at_a_time_while_their_namespace_decides() {
    let events = || (0..20).flat_map(|i| (1..=5).map(move |seq| notice("busy", &format!("r{i}"), seq)));
    let come = |ms| if ms == 0 { events().collect() } else { Vec::new() };
    let one_at_a_time: Vec<u64> = (0..100).map(|i| 1000 + 5 * i).collect();
    assert_eq!(times(&tried(2000, come, |_, _| YIELDS), "busy"), one_at_a_time);
    let decided = |_: &str, ms| if ms < 500 { YIELDS } else { Duration::ZERO };
    let times = times(&tried(2000, come, decided), "busy");
    assert_eq!((times.first(), times.get(MOST_AT_WORK - 1), times.len()), (Some(&500), Some(&500), 100));
    assert!(times.last().is_some_and(|last| *last < 700), "{times:?}");
}

#[test]
fn the_events_of_one_object_do_not_wait_for_all_that_came_later_one_by_one() {
    let come = |ms: u64| match ms {
        0 => (1..=10).map(|seq| notice("busy", "r", seq)).collect(),
        _ if ms.is_multiple_of(10) => vec![notice("busy", &format!("later{ms}"), 1)],
        _ => Vec::new(),
    };
    let tried = tried(3000, come, |_, _| YIELDS);
    let of_it = tried.iter().filter(|(_, notice)| notice.about.key.1 == "r").map(|(ms, _)| *ms);
    assert_eq!(of_it.collect::<Vec<_>>(), (0..10).map(|i| 1000 + 5 * i).collect::<Vec<_>>());
}

#[test]
fn who_yields_is_looked_at_again_soon_and_what_is_asked_changes_nothing() {
    let now = crate::clock::monotonic();
    let mut pending = pending([notice("busy", "a", 1)], now);
    assert!(!pending.is_ready(now, |_| YIELDS) && pending.take(now, |_| YIELDS).is_none());
    assert_eq!(pending.next_at(), Some(now + LOOK_AGAIN));
    // One that comes on has the namespace looked at, which still yields.
    assert_eq!(pending.add(vec![notice("busy", "b", 1)], now), Added::default());
    assert!(!pending.is_ready(now, |_| YIELDS));
    assert_eq!(pending.next_at(), Some(now + LOOK_AGAIN));
    let again = now + LOOK_AGAIN;
    assert!(pending.is_ready(again, |_| Duration::ZERO) && pending.is_ready(again, |_| Duration::ZERO));
    assert_eq!(take(&mut pending, again).unwrap().about.key.1, "a");
    assert_eq!((pending.order.len() + pending.ready.len(), pending.len()), (1, 2));
    // It may have begun to decide since it was ready.
    assert!(pending.is_ready(again, |_| Duration::ZERO) && pending.take(again, |_| YIELDS).is_none());
}
