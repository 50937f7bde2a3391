use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::api::Severity;
use crate::notify::message::example;

const GENERATION: i64 = 1;

fn at(seconds: i64) -> MicroTime {
    MicroTime::from_second(1_000_000 + seconds).unwrap()
}

fn entry(uid: &str, seq: i64, severity: Severity) -> OutboxEntry {
    let mut entry = OutboxEntry { seq, at: at(seq), queued_at: at(0), severity, ..example() };
    entry.rollout.uid = uid.to_owned();
    entry
}

fn info(uid: &str, seq: i64) -> OutboxEntry {
    entry(uid, seq, Severity::Info)
}

fn fresh() -> Outbox {
    let mut outbox = Outbox::load(NotificationChannelStatus::default(), at(0));
    record(&mut outbox);
    outbox
}

fn record(outbox: &mut Outbox) -> NotificationChannelStatus {
    let (status, number) = outbox.to_record();
    outbox.recorded(number, &[]);
    status
}

fn next(outbox: &Outbox, now: i64) -> Next {
    outbox.next(at(now), GENERATION, SignedDuration::ZERO)
}

/// What is to be sent, as `uid/seq`.
fn sends(outbox: &Outbox, now: i64) -> Option<String> {
    match next(outbox, now) {
        Next::Send(entry) => Some(entry.id()),
        _ => None,
    }
}

fn sent(outbox: &mut Outbox, now: i64) -> String {
    let Next::Send(entry) = next(outbox, now) else { panic!("{:?}", next(outbox, now)) };
    outbox.settle(&entry, Settled::Sent(None), at(now), 0.5);
    entry.id()
}

fn failed(outbox: &mut Outbox, now: i64, against: Against, after: Option<u64>) -> String {
    let Next::Send(entry) = next(outbox, now) else { panic!("{:?}", next(outbox, now)) };
    let after = after.map(Duration::from_secs);
    outbox.settle(
        &entry,
        Settled::Failed { why: "HTTP status 500".to_owned(), against, after },
        at(now),
        0.5,
    );
    entry.id()
}

fn take(outbox: &mut Outbox, entry: OutboxEntry, is_first: bool) -> bool {
    let is_news = !outbox.knows(&entry, is_first);
    if is_news {
        outbox.push(entry);
    }
    is_news
}

#[test]
fn what_is_sent_is_counted_and_gone_and_not_taken_in_again() {
    let mut outbox = fresh();
    assert_eq!(next(&outbox, 1), Next::Idle);
    assert!(take(&mut outbox, info("a", 1), true));
    assert!(!take(&mut outbox, info("a", 1), false), "the same again");
    assert_eq!(sent(&mut outbox, 1), "a/1");
    assert!(!take(&mut outbox, info("a", 1), false), "after it was sent, too");
    let status = record(&mut outbox);
    assert_eq!((status.sent, status.queued, status.dropped), (1, 0, 0));
    assert_eq!(next(&outbox, 1), Next::Idle);
}

#[test]
fn one_that_fails_waits_longer_each_time_and_holds_up_its_rollout_alone() {
    let mut outbox = fresh();
    for entry in [info("a", 1), info("a", 2), info("b", 1)] {
        outbox.push(entry);
    }
    assert_eq!(failed(&mut outbox, 0, Against::Message, None), "a/1");
    assert_eq!(next(&outbox, 0), Next::Wait(at(1)));
    record(&mut outbox);
    // After a second both are due again, and a/1 is the first; it fails again, and b goes on once the channel may.
    assert_eq!(failed(&mut outbox, 1, Against::Message, None), "a/1");
    assert_eq!(next(&outbox, 2), Next::Wait(at(3)), "two seconds after the second failure");
    assert_eq!(failed(&mut outbox, 3, Against::Message, None), "a/1");
    outbox.settle(&info("x", 9), Settled::Sent(None), at(3), 0.5);
    assert_eq!(sends(&outbox, 3).as_deref(), Some("b/1"), "a/2 waits for a/1");
    assert_eq!(sent(&mut outbox, 3), "b/1");
    assert_eq!(next(&outbox, 4), Next::Wait(at(7)));
    assert_eq!(sent(&mut outbox, 7), "a/1");
    assert_eq!(sent(&mut outbox, 7), "a/2");
}

#[test]
fn a_channel_that_is_away_is_asked_after_doubling_waits_of_five_minutes_at_most() {
    let mut outbox = fresh();
    outbox.push(info("a", 1));
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..12 {
        failed(&mut outbox, now, Against::Channel, None);
        let Next::Wait(until) = next(&outbox, now) else { panic!() };
        waits.push(until.duration_since(at(now)).as_secs());
        now += waits.last().unwrap();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    let status = record(&mut outbox);
    assert_eq!((status.failures, status.outbox[0].attempts, status.queued), (12, 12, 1));
    assert_eq!(status.last_error.unwrap().message, "HTTP status 500");
    assert_eq!(sent(&mut outbox, now), "a/1");
    assert_eq!(record(&mut outbox).failures, 0);
}

#[test]
fn a_receiver_that_asks_to_be_left_alone_is() {
    let mut outbox = fresh();
    outbox.push(info("a", 1));
    failed(&mut outbox, 0, Against::Channel, Some(77));
    assert_eq!(next(&outbox, 76), Next::Wait(at(77)));
    assert_eq!(sends(&outbox, 77).as_deref(), Some("a/1"));
    failed(&mut outbox, 77, Against::Channel, Some(0));
    assert_eq!(next(&outbox, 77), Next::Wait(at(78)), "a second at least");
}

#[test]
fn a_receiver_that_is_gone_is_sent_nothing_until_the_spec_is_edited() {
    let mut outbox = fresh();
    outbox.push(info("a", 1));
    let Next::Send(first) = next(&outbox, 0) else { panic!() };
    outbox.settle(&first, Settled::Gone { why: "410".to_owned(), generation: 1 }, at(0), 0.5);
    assert_eq!(next(&outbox, 99_999), Next::Idle);
    let mut again = Outbox::load(record(&mut outbox), at(5));
    assert_eq!(next(&again, 99_999), Next::Idle, "nor by the next process");
    assert!(matches!(again.next(at(0), 2, SignedDuration::ZERO), Next::Send(_)));
    again.retry_now();
    assert_eq!(sends(&again, 0).as_deref(), Some("a/1"));
}

#[test]
fn one_that_is_refused_for_good_is_dropped_and_the_next_one_goes() {
    let mut outbox = fresh();
    outbox.push(info("a", 1));
    outbox.push(info("a", 2));
    let Next::Send(first) = next(&outbox, 0) else { panic!() };
    outbox.settle(&first, Settled::Refused("400".to_owned()), at(0), 0.5);
    assert_eq!(sent(&mut outbox, 0), "a/2");
    assert_eq!(record(&mut outbox).dropped, 1);
}

#[test]
fn when_it_is_full_the_least_severe_goes_first_and_of_those_the_oldest() {
    let mut outbox = fresh();
    for seq in 1..=i64::try_from(MOST_QUEUED).unwrap() {
        let severity = if seq == 1 { Severity::Critical } else { Severity::Info };
        outbox.push(entry(&format!("r{}", seq % 7), seq, severity));
    }
    assert_eq!(record(&mut outbox).dropped, 0);
    outbox.push(entry("x", 5000, Severity::Warning));
    outbox.push(entry("x", 5001, Severity::Info));
    let status = record(&mut outbox);
    assert_eq!((status.outbox.len(), status.dropped), (MOST_QUEUED, 2));
    let numbers: Vec<i64> = status.outbox.iter().take(3).map(|entry| entry.seq).collect();
    assert_eq!(numbers, [1, 4, 5], "the Critical one is the oldest and stays");
}

/// An object of the API server has room for a mebibyte and a half.
#[test]
fn a_full_outbox_fits_into_an_object_whatever_tenants_write() {
    let mut outbox = fresh();
    for seq in 1..2000 {
        let mut entry = info(&format!("00000000-0000-0000-0000-{seq:012}"), seq);
        entry.message = "x".repeat(512);
        entry.rollout.namespace = "n".repeat(63);
        entry.rollout.name = "r".repeat(253);
        entry.who = "w".repeat(240);
        entry.trigger = Some("t".repeat(40));
        for text in [&mut entry.rollout.title, &mut entry.rollout.owner, &mut entry.rollout.served] {
            *text = Some("y".repeat(240));
        }
        outbox.push(entry);
    }
    let status = record(&mut outbox);
    let bytes = serde_json::to_string(&status).unwrap().len();
    assert!(bytes < 1_100_000 && bytes > 600_000, "{bytes}");
    assert_eq!(i64::try_from(status.outbox.len()).unwrap() + status.dropped, 1999);
}

#[test]
fn what_is_a_day_old_is_given_up() {
    let mut outbox = fresh();
    outbox.push(info("a", 1));
    outbox.expire(at(86_400));
    assert_eq!(record(&mut outbox).queued, 1);
    outbox.expire(at(86_401));
    let status = record(&mut outbox);
    assert_eq!((status.queued, status.dropped), (0, 1));
}

#[test]
fn no_more_is_sent_than_may_be_repeated() {
    let mut outbox = fresh();
    for seq in 1..=20 {
        outbox.push(info("a", seq));
    }
    for seq in 1..=MOST_UNRECORDED {
        assert_eq!(sent(&mut outbox, 0), format!("a/{seq}"));
    }
    assert_eq!(next(&outbox, 0), Next::Record);
    let (_, number) = outbox.to_record();
    outbox.recorded(number, &[]);
    assert_eq!(sent(&mut outbox, 0), "a/9");
}

#[test]
fn what_was_before_the_channel_is_not_told_and_what_another_process_heard_is_not_told_again() {
    let mut outbox = Outbox::load(NotificationChannelStatus::default(), at(10));
    assert!(!take(&mut outbox, info("a", 10), true), "before its time");
    assert!(take(&mut outbox, info("a", 11), false));
    assert!(take(&mut outbox, info("b", 20), true));
    outbox.hear_until(at(15));
    let status = record(&mut outbox);
    let heard: Vec<&str> = status.heard.iter().map(|heard| heard.uid.as_str()).collect();
    assert_eq!((status.heard_until, heard), (Some(at(15)), vec!["b"]), "what is earlier need not be listed");

    let mut again = Outbox::load(status, at(99));
    assert!(!take(&mut again, info("a", 11), true), "heard of before");
    assert!(!take(&mut again, info("b", 20), true), "heard of, too");
    assert!(take(&mut again, info("b", 21), true));
    assert!(take(&mut again, info("c", 16), true), "decided just before the crash");
    again.hear_until(at(60));
    assert!(!take(&mut again, info("b", 20), true), "what was known at the start stays known");
    assert!(take(&mut again, info("c", 17), false), "decided long ago and stored late");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut outbox = fresh();
    for seq in 1..=i64::try_from(MOST_HEARD).unwrap() + 100 {
        outbox.push(info(&format!("r{seq}"), seq));
        outbox.hear_until(at(0));
    }
    let status = record(&mut outbox);
    assert_eq!((status.heard.len(), status.heard_until), (MOST_HEARD, Some(at(100))));
    for i in 0..MOST_THREADS + 10 {
        let entry = info(&format!("t{i}"), 1);
        let thread = Thread { uid: format!("t{i}"), attempt: 1, channel: "C".to_owned(), ts: "1".to_owned() };
        outbox.settle(&entry, Settled::Sent(Some(thread)), at(1), 0.5);
        assert!(outbox.thread(&entry).is_some());
    }
    assert_eq!(record(&mut outbox).threads.len(), MOST_THREADS);
    assert!(outbox.thread(&info("t0", 1)).is_none());
}

#[test]
fn a_clock_that_was_set_back_stops_nothing() {
    let mut outbox = fresh();
    outbox.push(info("a", 1));
    failed(&mut outbox, 500_000, Against::Message, None);
    assert_eq!(sends(&outbox, 0).as_deref(), Some("a/1"));
}

/// What a process does, and when it dies.
#[derive(Clone, Debug)]
enum Event {
    Decide(u8),
    Send,
    Fail(bool),
    Record,
    Crash,
    Pass(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0u8..4).prop_map(Event::Decide),
        6 => Just(Event::Send),
        1 => any::<bool>().prop_map(Event::Fail),
        3 => Just(Event::Record),
        1 => Just(Event::Crash),
        1 => (1i64..30).prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 1..200)
}

proptest! {
    /// Whatever comes in whatever order: nothing is lost, without a crash nothing is sent twice, and each crash repeats no
    /// more than may be in flight, each once.
    #[test]
    fn nothing_is_lost_and_a_crash_repeats_what_was_in_flight_once(events in events()) {
        // The histories, which outlive every crash.
        let mut decided: Vec<OutboxEntry> = Vec::new();
        let (mut stored, mut outbox) = (NotificationChannelStatus::default(), fresh());
        stored.clone_from(outbox.status());
        let mut delivered: std::collections::BTreeMap<String, usize> = Default::default();
        let (mut now, mut crashes, mut seqs) = (1i64, 0usize, [0i64; 4]);
        for event in events {
            match event {
                Event::Decide(rollout) => {
                    now += 1;
                    let seq = &mut seqs[usize::from(rollout)];
                    *seq += 1;
                    let mut entry = info(&format!("r{rollout}"), *seq);
                    (entry.at, entry.queued_at) = (at(now), at(now));
                    prop_assert!(take(&mut outbox, entry.clone(), false));
                    decided.push(entry);
                }
                Event::Send | Event::Fail(_) => {
                    let Next::Send(entry) = next(&outbox, now) else { continue };
                    let settled = match event {
                        Event::Fail(of_channel) => {
                            let against = if of_channel { Against::Channel } else { Against::Message };
                            Settled::Failed { why: "no".to_owned(), against, after: None }
                        }
                        _ => {
                            *delivered.entry(entry.id()).or_default() += 1;
                            Settled::Sent(None)
                        }
                    };
                    outbox.settle(&entry, settled, at(now), 0.5);
                }
                Event::Record => {
                    outbox.hear_until(at(now - 60));
                    stored = record(&mut outbox);
                }
                Event::Crash => {
                    crashes += 1;
                    outbox = Outbox::load(stored.clone(), at(now));
                    for entry in &decided {
                        take(&mut outbox, entry.clone(), true);
                    }
                }
                Event::Pass(seconds) => now += seconds,
            }
        }
        for _ in 0..decided.len() + 1 {
            now += 400;
            while let Next::Send(entry) = next(&outbox, now) {
                *delivered.entry(entry.id()).or_default() += 1;
                outbox.settle(&entry, Settled::Sent(None), at(now), 0.5);
            }
            record(&mut outbox);
        }
        let missing: Vec<String> =
            decided.iter().map(OutboxEntry::id).filter(|id| !delivered.contains_key(id)).collect();
        prop_assert!(missing.is_empty(), "lost: {missing:?}");
        let repeated: usize = delivered.values().map(|times| times - 1).sum();
        prop_assert!(repeated <= crashes * MOST_UNRECORDED, "{repeated} after {crashes} crashes");
        prop_assert!(delivered.values().all(|times| times - 1 <= crashes));
    }
}
