use super::*;
use futures::FutureExt;
use std::time::Duration;

impl Tenant for &'static str {
    fn tenant(&self) -> &str {
        ""
    }
}

fn queue(clock: Clock) -> Queue<&'static str, char> {
    with_places(clock, 8)
}

fn with_places(clock: Clock, deciding: usize) -> Queue<&'static str, char> {
    let places = Places { deciding, reporting: 1 };
    Queue::new(clock, places, |key: &&'static str| key.chars().next())
}

async fn next(queue: &Queue<&'static str, char>) -> Option<&'static str> {
    tokio::time::timeout(Duration::from_millis(20), queue.next()).await.ok()
}

#[tokio::test]
async fn deciding_goes_before_publishing() {
    let queue = queue(Clock::system());
    queue.push("report", Priority::Report);
    queue.push("step", Priority::Decide);
    queue.push("report", Priority::Report);
    assert_eq!(next(&queue).await, Some("step"));
    assert_eq!(next(&queue).await, Some("report"));
    assert_eq!(next(&queue).await, None);
}

#[tokio::test]
async fn a_key_is_never_worked_on_twice_at_once_and_never_forgotten() {
    let queue = queue(Clock::system());
    queue.push("a", Priority::Decide);
    assert_eq!(next(&queue).await, Some("a"));
    queue.push("a", Priority::Decide);
    assert_eq!(next(&queue).await, None);
    queue.done(&"a");
    assert_eq!(next(&queue).await, Some("a"));
    queue.done(&"a");
    assert_eq!(next(&queue).await, None);
}

#[tokio::test]
async fn a_key_asked_for_with_both_priorities_is_done_once() {
    let queue = queue(Clock::system());
    queue.push("a", Priority::Report);
    queue.push("a", Priority::Decide);
    assert_eq!(next(&queue).await, Some("a"));
    queue.done(&"a");
    assert_eq!(next(&queue).await, None);
}

#[tokio::test]
async fn no_more_than_its_part_is_publishing_and_deciding_goes_on() {
    let queue = queue(Clock::system());
    for report in ["a", "b"] {
        queue.push(report, Priority::Report);
    }
    assert_eq!(next(&queue).await, Some("a"));
    assert_eq!(next(&queue).await, None);
    queue.push("step", Priority::Decide);
    assert_eq!(next(&queue).await, Some("step"));
    queue.done(&"step");
    assert_eq!(next(&queue).await, None);
    queue.done(&"a");
    assert_eq!(next(&queue).await, Some("b"));
    // What turns into a decision is one.
    queue.push("b", Priority::Decide);
    queue.done(&"b");
    assert_eq!(next(&queue).await, Some("b"));
    queue.push("c", Priority::Report);
    assert_eq!(next(&queue).await, Some("c"));
}

#[tokio::test]
async fn one_that_hangs_gives_its_place_back() {
    let queue = queue(Clock::system());
    for report in ["a", "b"] {
        queue.push(report, Priority::Report);
    }
    assert_eq!(next(&queue).await, Some("a"));
    assert_eq!(next(&queue).await, None);
    assert_eq!(tokio::time::timeout(HUNG * 2, queue.next()).await.ok(), Some("b"));
}

#[tokio::test]
async fn the_last_due_time_counts() {
    let clock = Clock::system();
    let queue = queue(clock.clone());
    let soon = clock.now().saturating_add(jiff::SignedDuration::from_millis(5));
    let late = clock.now().saturating_add(jiff::SignedDuration::from_hours(1));
    queue.push_at("a", Some(soon));
    queue.push_at("a", Some(late));
    assert_eq!(next(&queue).await, None);
    queue.push_at("a", Some(soon));
    assert_eq!(next(&queue).await, Some("a"));
}

#[tokio::test]
async fn what_is_due_together_is_done_group_by_group() {
    let clock = Clock::system();
    let queue = queue(clock.clone());
    let before = clock.now().saturating_sub(jiff::SignedDuration::from_secs(1));
    for key in ["a2", "b1", "a1", "c1", "b2"] {
        queue.push_at(key, Some(before));
    }
    for expected in ["a1", "a2", "b1", "b2", "c1"] {
        assert_eq!(next(&queue).await, Some(expected));
    }
}

#[tokio::test]
async fn a_key_is_being_decided_on_from_when_it_waits_until_it_is_done() {
    let queue = queue(Clock::system());
    let deciding = || queue.is_deciding(&'a', |_| true);
    queue.push("a", Priority::Report);
    assert!(!deciding());
    queue.push("a", Priority::Decide);
    assert!(deciding() && !queue.is_deciding(&'a', |key| *key != "a") && !queue.is_deciding(&'b', |_| true));
    assert_eq!(next(&queue).await, Some("a"));
    assert!(deciding());
    queue.push("a", Priority::Decide);
    queue.done(&"a");
    assert!(deciding());
    assert_eq!(next(&queue).await, Some("a"));
    queue.push("a", Priority::Report);
    queue.done(&"a");
    assert!(!deciding());
}

#[tokio::test]
async fn what_may_take_something_away_goes_before_other_decisions() {
    let queue = queue(Clock::system());
    for key in ["a", "b", "c"] {
        queue.push(key, Priority::Decide);
    }
    queue.push("c", Priority::Urgent);
    for expected in ["c", "a", "b"] {
        assert_eq!(next(&queue).await, Some(expected));
    }
    assert_eq!(next(&queue).await, None);
}

#[tokio::test]
async fn decisions_that_hang_give_their_places_back() {
    let queue = with_places(Clock::system(), 4);
    for key in ["a", "b", "c", "d", "e"] {
        queue.push(key, Priority::Decide);
    }
    for _ in 0..4 {
        assert!(next(&queue).await.is_some());
    }
    assert_eq!(next(&queue).await, None, "all places are taken");
    queue.push("rollback", Priority::Urgent);
    assert_eq!(tokio::time::timeout(HUNG * 2, queue.next()).await.ok(), Some("rollback"));
    assert_eq!(next(&queue).await, Some("e"));
}

#[tokio::test]
async fn while_decisions_wait_one_report_at_a_time_goes_on() {
    let queue =
        Queue::<&'static str, char>::new(Clock::system(), Places { deciding: 1, reporting: 4 }, |_| None);
    for key in ["a", "b"] {
        queue.push(key, Priority::Decide);
    }
    for key in ["x", "y"] {
        queue.push(key, Priority::Report);
    }
    assert_eq!(next(&queue).await, Some("a"));
    assert_eq!(next(&queue).await, Some("x"));
    assert_eq!(next(&queue).await, None);
    queue.done(&"a");
    assert_eq!(next(&queue).await, Some("b"));
    assert_eq!(next(&queue).await, Some("y"));
}

#[tokio::test]
async fn a_failing_key_comes_back_once_and_its_reports_come_with_that() {
    let queue = queue(Clock::system());
    for cause in [Cause::Conflict, Cause::Failure, Cause::Conflict] {
        queue.failed(&"a", cause);
    }
    queue.push("a", Priority::Report);
    assert_eq!(queue.next().now_or_never(), None, "not before its time");
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), queue.next()).await.ok(), Some("a"));
    queue.push("a", Priority::Report);
    queue.done(&"a");
    queue.recovered(&"a", &Cause::OF_WORK);
    assert_eq!(next(&queue).await, Some("a"), "a report that was asked for meanwhile is made");
    queue.done(&"a");
    assert_eq!(next(&queue).await, None);
    // What changes what is served does not wait for the retry.
    queue.failed(&"a", Cause::Invalid);
    queue.push("a", Priority::Decide);
    assert_eq!(next(&queue).await, Some("a"));
}

/// A key of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Of(&'static str, u8);

impl Tenant for Of {
    fn tenant(&self) -> &str {
        self.0
    }
}

#[tokio::test]
async fn it_is_known_of_each_namespace_whether_decisions_or_files_of_it_wait() {
    let places = Places { deciding: 8, reporting: 1 };
    let queue = Queue::new(Clock::system(), places, |key: &Of| Some(key.0));
    let decided = || ["a", "b", "c"].map(|namespace| queue.is_decided(namespace));
    assert_eq!(decided(), [true; 3]);
    queue.push(Of("a", 0), Priority::Decide);
    queue.push(Of("b", 0), Priority::Urgent);
    queue.push(Of("c", 0), Priority::Report);
    assert_eq!(decided(), [false, false, true]);
    assert_eq!(queue.next().await, Of("b", 0));
    assert_eq!(decided(), [false, true, true], "what is worked on does not wait");
    assert_eq!(queue.next().await, Of("a", 0));
    assert_eq!(decided(), [true; 3]);
    let (first, second, other) = (queue.file_waits("a"), queue.file_waits("a"), queue.file_waits("c"));
    assert_eq!(decided(), [false, true, false]);
    drop(first);
    assert_eq!(decided(), [false, true, false], "one still waits");
    drop(second);
    assert_eq!(decided(), [true, true, false]);
    drop(other);
    assert_eq!((decided(), queue.lock().files_waiting.len()), ([true; 3], 0));
}

#[tokio::test]
async fn one_report_at_a_time_goes_on_while_files_wait() {
    let places = Places { deciding: 8, reporting: 2 };
    let queue = Queue::new(Clock::system(), places, |key: &&'static str| key.chars().next());
    let (first, second) = (queue.file_waits(""), queue.file_waits(""));
    queue.push("a", Priority::Report);
    queue.push("b", Priority::Report);
    assert_eq!(next(&queue).await, Some("a"));
    assert_eq!(next(&queue).await, None, "b waits for the files");
    drop(first);
    assert_eq!(next(&queue).await, None, "one still waits");
    queue.push("c", Priority::Decide);
    assert_eq!(next(&queue).await, Some("c"), "decisions do not wait for files");
    queue.done(&"c");
    drop(second);
    assert_eq!(next(&queue).await, Some("b"));
}

#[tokio::test]
async fn of_a_namespace_whose_keys_are_dear_two_are_worked_on_at_once() {
    let places = Places { deciding: 8, reporting: 1 };
    let queue = Queue::new(Clock::system(), places, |key: &Of| Some(key.0));
    let next = || async { tokio::time::timeout(Duration::from_millis(20), queue.next()).await.ok() };
    queue.note_cost(&Of("dear", 0), Took { processor: Duration::from_millis(50), ..Took::default() });
    for i in 0..4 {
        queue.push(Of("dear", i), Priority::Decide);
    }
    for i in 0..3 {
        queue.push(Of("maya", i), Priority::Decide);
    }
    let mut first = Vec::new();
    while let Some(key) = next().await {
        first.push(key);
    }
    let expected = [Of("dear", 0), Of("dear", 1), Of("maya", 0), Of("maya", 1), Of("maya", 2)];
    assert_eq!(first, expected, "the others wait for the first two");
    queue.push(Of("dear", 7), Priority::Urgent);
    assert_eq!(next().await, Some(Of("dear", 7)), "what is urgent waits for nobody");
    queue.done(&Of("dear", 7));
    queue.done(&Of("dear", 0));
    assert_eq!(next().await, Some(Of("dear", 2)));
    // What hangs keeps no processor busy.
    assert_eq!(tokio::time::timeout(HUNG * 2, queue.next()).await.ok(), Some(Of("dear", 3)));
}

#[tokio::test]
async fn reports_of_a_namespace_do_not_wait_for_the_decisions_of_another() {
    let places = Places { deciding: 1, reporting: 3 };
    let queue = Queue::new(Clock::system(), places, |key: &Of| Some(key.0));
    let next = || async { tokio::time::timeout(Duration::from_millis(20), queue.next()).await.ok() };
    for i in 0..3 {
        queue.push(Of("busy", i), Priority::Decide);
        queue.push(Of("busy", 10 + i), Priority::Report);
        queue.push(Of("maya", i), Priority::Report);
    }
    let found: Vec<Of> =
        [next().await, next().await, next().await, next().await].into_iter().flatten().collect();
    assert_eq!(found, [Of("busy", 0), Of("busy", 10), Of("maya", 0), Of("maya", 1)]);
    queue.done(&Of("maya", 0));
    assert_eq!(next().await, Some(Of("maya", 2)));
    queue.done(&Of("maya", 1));
    assert_eq!(next().await, None, "one at a time, where decisions of its own namespace wait");
    queue.done(&Of("busy", 10));
    assert_eq!(next().await, Some(Of("busy", 11)));
}

#[tokio::test]
async fn reports_of_two_namespaces_that_decide_without_end_take_turns() {
    let places = Places { deciding: 1, reporting: 3 };
    let queue = Queue::new(Clock::system(), places, |key: &Of| Some(key.0));
    let next = || async { tokio::time::timeout(Duration::from_millis(20), queue.next()).await.ok() };
    for name in ["a", "b"] {
        for i in 0..3 {
            queue.push(Of(name, i), Priority::Decide);
            queue.push(Of(name, 10 + i), Priority::Report);
        }
    }
    assert_eq!(next().await, Some(Of("a", 0)), "it is decided on until the end");
    let mut told = Vec::new();
    while let Some(key) = next().await {
        assert_eq!(next().await, None, "one at a time");
        queue.done(&key);
        told.push(key.0);
    }
    assert_eq!(told, ["a", "b", "a", "b", "a", "b"]);
}
