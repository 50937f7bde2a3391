use rstest::rstest;

use super::*;

fn ms(milliseconds: u64) -> Local {
    Duration::from_millis(milliseconds)
}

fn record(version: u64, holder: &str) -> Record {
    let (version, holder) = (version.to_string(), holder.to_owned());
    Record { version, holder, seconds: Some(15), transitions: Some(3), ..Record::default() }
}

fn machine() -> Machine {
    Machine::new("me".to_owned(), Timing::default(), 7)
}

/// The call that is due now.
fn due(machine: &mut Machine, now: u64) -> Call {
    match machine.next(ms(now)) {
        Todo::Call(call, _) => call,
        Todo::WaitUntil(until) => panic!("nothing is due at {now} ms, but at {until:?}"),
    }
}

/// Until when there is nothing to do.
fn waits(machine: &mut Machine, now: u64) -> u64 {
    match machine.next(ms(now)) {
        Todo::Call(call, _) => panic!("{call:?} is due at {now} ms"),
        Todo::WaitUntil(until) => u64::try_from(until.as_millis()).unwrap(),
    }
}

/// Makes the call that is due, which takes a millisecond.
fn answer(machine: &mut Machine, now: u64, answer: Answer) -> Call {
    let call = due(machine, now);
    machine.answered(&call, ms(now), ms(now + 1), answer);
    call
}

/// One that has led since the second 100 by version 5 of the Lease.
fn leader() -> Machine {
    let mut machine = machine();
    let released = Record { holder: String::new(), seconds: Some(RELEASED), ..record(4, "") };
    assert_eq!(answer(&mut machine, 100_000, Answer::Is(released)), Call::Look);
    let taken = answer(&mut machine, 100_001, Answer::Is(record(5, "me")));
    assert!(matches!(&taken, Call::Put(version, claim) if version == "4" && claim.is_new), "{taken:?}");
    assert_eq!((machine.leads_until(ms(100_002)), machine.term()), (Some(ms(110_001)), 1));
    machine
}

#[test]
fn a_released_lease_is_taken_at_once_and_renewed_every_period() {
    let mut machine = leader();
    assert_eq!(waits(&mut machine, 100_002), 102_001);
    let renewal = answer(&mut machine, 102_001, Answer::Is(record(6, "me")));
    let claim = Claim { holder: "me".to_owned(), seconds: 15, transitions: 3, is_new: false };
    assert_eq!(renewal, Call::Put("5".to_owned(), claim));
    assert_eq!(machine.leads_until(ms(102_002)), Some(ms(112_001)), "from before the request");
}

#[test]
fn a_lease_is_taken_when_it_has_not_changed_for_as_long_as_its_leader_may_lead() {
    let mut machine = machine();
    answer(&mut machine, 1_000, Answer::Is(record(1, "other")));
    let mut now = 1_001;
    for version in [2, 2, 2, 2, 2, 2] {
        let next = waits(&mut machine, now);
        assert!((2_000..=2_400).contains(&(next - now)), "{next} after {now}");
        now = next;
        assert_eq!(answer(&mut machine, now, Answer::Is(record(version, "other"))), Call::Look);
        now += 1;
    }
    // Version 2 was seen first about two seconds after version 1, and then no other.
    let (at, call) = loop {
        now = waits(&mut machine, now);
        match due(&mut machine, now) {
            Call::Look => answer(&mut machine, now, Answer::Is(record(2, "other"))),
            call => break (now, call),
        };
        now += 1;
    };
    assert!((18_000..=18_500).contains(&at), "{at}");
    let claim = Claim { holder: "me".to_owned(), seconds: 15, transitions: 4, is_new: true };
    assert_eq!(call, Call::Put("2".to_owned(), claim));
    machine.answered(&call, ms(at), ms(at + 1), Answer::Is(record(3, "me")));
    assert_eq!(machine.leads_until(ms(at + 1)), Some(ms(at + 10_000)));
}

#[test]
fn a_lease_that_is_not_there_is_made_without_a_holder_before_anybody_takes_it() {
    let mut machine = machine();
    assert_eq!(answer(&mut machine, 0, Answer::Missing), Call::Look);
    let now = waits(&mut machine, 1);
    assert_eq!(now, 2_001, "a living leader makes it sooner");
    let vacant = Claim { holder: String::new(), seconds: 15, transitions: 0, is_new: true };
    assert_eq!(answer(&mut machine, now, Answer::Is(record(1, ""))), Call::Create(vacant));
    let (mut now, mut call) = (now + 1, Call::Look);
    while call == Call::Look {
        now = waits(&mut machine, now);
        call = answer(&mut machine, now, Answer::Is(record(1, "")));
        now += 1;
    }
    assert!(matches!(&call, Call::Put(version, claim) if version == "1" && claim.holder == "me"), "{call:?}");
    assert_eq!(now, 17_003);
}

#[test]
fn a_leader_whose_renewals_fail_leads_until_its_deadline_and_stays_a_candidate() {
    let mut machine = leader();
    let (mut now, mut tries) = (102_001, 0);
    while now < 110_001 {
        let Todo::Call(call, bound) = machine.next(ms(now)) else { panic!("nothing is due at {now} ms") };
        assert!(matches!(&call, Call::Put(version, _) if version == "5"), "{call:?}");
        assert!(bound <= ms(110_001 - now), "no call outlives the deadline: {bound:?} from {now}");
        assert_eq!(machine.leads_until(ms(now)), Some(ms(110_001)));
        let ended = ms(now) + bound;
        machine.answered(&call, ms(now), ended, Answer::Failed);
        tries += 1;
        now = u64::try_from(ended.as_millis()).unwrap();
        if let Todo::WaitUntil(until) = machine.next(ended) {
            now = u64::try_from(until.as_millis()).unwrap();
        }
    }
    assert_eq!((tries, machine.leads_until(ms(110_001))), (2, None));
    assert!(now < 113_000, "it looks again soon");
    assert_eq!(due(&mut machine, now), Call::Look);
    assert_eq!(machine.lost(), Some(&Loss::Deadline));
}

#[test]
fn an_answer_after_the_deadline_is_no_lead() {
    let mut machine = leader();
    let call = due(&mut machine, 102_001);
    machine.answered(&call, ms(102_001), ms(112_001), Answer::Is(record(6, "me")));
    assert_eq!(machine.leads_until(ms(112_001)), None);
    assert_eq!(machine.lost(), Some(&Loss::Deadline));
}

#[test]
fn a_write_whose_answer_was_lost_is_found_by_the_conflict_of_the_next() {
    let mut machine = leader();
    answer(&mut machine, 102_001, Answer::Failed);
    let next = waits(&mut machine, 102_002);
    assert_eq!(next, 103_002);
    answer(&mut machine, next, Answer::Conflict);
    assert_eq!(answer(&mut machine, next + 1, Answer::Is(record(6, "me"))), Call::Look);
    let again = answer(&mut machine, next + 2, Answer::Is(record(7, "me")));
    assert!(matches!(&again, Call::Put(version, _) if version == "6"), "{again:?}");
    assert_eq!((machine.term(), machine.leads_until(ms(next + 3))), (1, Some(ms(next + 10_002))));
}

#[rstest]
#[case::somebody(record(6, "other"), "other")]
#[case::nobody(record(6, ""), "")]
fn a_leader_that_sees_another_holder_leads_no_more(#[case] seen: Record, #[case] holder: &str) {
    let mut machine = leader();
    machine.hint("6", ms(100_500));
    assert_eq!(answer(&mut machine, 100_500, Answer::Is(seen)), Call::Look);
    assert_eq!(machine.leads_until(ms(100_501)), None);
    assert_eq!(machine.lost(), Some(&Loss::Taken(holder.to_owned())));
    // Whoever it names may not know of it: nobody is in a hurry.
    assert!(waits(&mut machine, 100_501) > 102_000);
}

#[test]
fn a_leader_creates_its_lease_anew_when_somebody_deleted_it() {
    let mut machine = leader();
    machine.hint("", ms(100_500));
    assert_eq!(answer(&mut machine, 100_500, Answer::Missing), Call::Look);
    let created = answer(&mut machine, 100_501, Answer::Is(record(9, "me")));
    assert!(matches!(created, Call::Create(_)), "{created:?}");
    assert_eq!((machine.term(), machine.leads_until(ms(100_502))), (1, Some(ms(110_501))));
    // The same where a renewal finds that it is gone.
    answer(&mut machine, 102_501, Answer::Missing);
    assert!(matches!(due(&mut machine, 102_502), Call::Create(_)));
}

#[test]
fn conflicts_without_end_are_met_with_pauses() {
    let mut machine = leader();
    let (mut now, mut calls) = (102_001, 0);
    while machine.leads_until(ms(now)).is_some() {
        match machine.next(ms(now)) {
            Todo::WaitUntil(until) => now = u64::try_from(until.as_millis()).unwrap(),
            Todo::Call(call, _) => {
                let seen = if call == Call::Look { Answer::Is(record(now, "me")) } else { Answer::Conflict };
                answer(&mut machine, now, seen);
                (now, calls) = (now + 1, calls + 1);
            }
        }
    }
    assert!((10..40).contains(&calls), "{calls} calls");
}

#[test]
fn what_it_has_written_itself_is_no_hint() {
    let mut machine = leader();
    machine.hint("5", ms(100_500));
    machine.hint("4", ms(100_500));
    assert_eq!(waits(&mut machine, 100_500), 102_001, "one that comes late is none either");
    let mut fresh = self::machine();
    answer(&mut fresh, 0, Answer::Missing);
    fresh.hint("", ms(10));
    assert!(waits(&mut fresh, 10) > 2_000);
    fresh.hint("8", ms(11));
    assert_eq!(due(&mut fresh, 11), Call::Look);
}

#[test]
fn a_leader_that_ends_leaves_the_lease_to_the_next_at_once() {
    let mut machine = leader();
    let call = machine.resign(ms(100_500)).unwrap();
    let claim = Claim { holder: String::new(), seconds: RELEASED, transitions: 3, is_new: false };
    assert_eq!(call, Call::Put("5".to_owned(), claim));
    assert_eq!(machine.leads_until(ms(100_500)), None);
    assert_eq!(machine.resign(ms(100_500)), None, "once");
    assert_eq!(self::machine().resign(ms(0)), None, "a candidate has nothing to leave");
    let renewed = machine.release(&record(6, "me"));
    assert!(matches!(renewed, Some(Call::Put(version, _)) if version == "6"), "a renewal came before it");
    assert_eq!(machine.release(&record(6, "other")), None);
}

#[rstest]
#[case(None, None)]
#[case(Some(-5), Some(-1))]
#[case(Some(0), Some(i32::MAX))]
#[case(Some(i32::MAX), Some(i32::MIN))]
fn whatever_is_in_the_lease_it_is_taken_in_the_end(
    #[case] seconds: Option<i32>,
    #[case] transitions: Option<i32>,
) {
    let mut machine = machine();
    let odd = Record { seconds, transitions, ..record(1, "other") };
    let (mut now, mut looks) = (0, 0);
    let claim = loop {
        match machine.next(ms(now)) {
            Todo::WaitUntil(until) => now = u64::try_from(until.as_millis()).unwrap(),
            Todo::Call(Call::Look, _) => {
                answer(&mut machine, now, Answer::Is(odd.clone()));
                (now, looks) = (now + 1, looks + 1);
            }
            Todo::Call(Call::Put(_, claim), _) => break claim,
            Todo::Call(call, _) => panic!("{call:?}"),
        }
    };
    assert!(looks > 3 && now <= 300_001, "{looks} looks, {now} ms");
    assert!(claim.transitions >= 0 && claim.seconds == 15, "{claim:?}");
}
