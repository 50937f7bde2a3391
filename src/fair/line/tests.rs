use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::monotonic;

/// Those that have a place, in the order in which they got it.
fn admitted(line: &mut Line, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| line.admit(now)).collect()
}

#[test]
fn one_alone_has_all_but_a_quarter_and_others_have_that() {
    for (places, most) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 3), (8, 6), (16, 12), (64, 48)] {
        let now = monotonic();
        let mut line = Line::new(places, None, now);
        for _ in 0..100 {
            line.ask("greedy", 0);
        }
        assert_eq!(admitted(&mut line, now).len(), most, "{places} places");
        let modest = line.ask("modest", 0);
        let free = places.max(1) > most;
        assert_eq!(admitted(&mut line, now).contains(&modest.number), free, "{places} places");
    }
}

#[test]
fn a_place_that_becomes_free_goes_to_whoever_has_the_fewest() {
    let now = monotonic();
    let mut line = Line::new(2, None, now);
    let greedy: Vec<Ticket> = (0..10).map(|_| line.ask("greedy", 0)).collect();
    assert_eq!(admitted(&mut line, now), [1, 2]);
    let modest: Vec<Ticket> = (0..2).map(|_| line.ask("modest", 0)).collect();
    line.leave(&greedy[0]);
    assert_eq!(admitted(&mut line, now), [modest[0].number]);
    line.leave(&modest[0]);
    assert_eq!(admitted(&mut line, now), [modest[1].number], "the other still has one");
    line.leave(&greedy[1]);
    assert_eq!(admitted(&mut line, now), [3], "each has one again");
}

#[test]
fn where_only_the_rate_is_short_they_take_turns() {
    let mut now = monotonic();
    let mut line = Line::new(64, Some(1), now);
    let mut tickets = BTreeMap::new();
    let mut ask = |line: &mut Line, tenant: &'static str| {
        let ticket = line.ask(tenant, 0);
        tickets.insert(ticket.number, (tenant, ticket));
    };
    (0..10).for_each(|_| ask(&mut line, "many"));
    ask(&mut line, "serial");
    let mut order = Vec::new();
    for _ in 0..8 {
        for number in admitted(&mut line, now) {
            let (tenant, ticket) = tickets.remove(&number).unwrap();
            order.push(tenant);
            line.leave(&ticket);
            // Whoever asks again as soon as it was answered gets no more than its turns.
            if tenant == "serial" {
                let ticket = line.ask(tenant, 0);
                tickets.insert(ticket.number, (tenant, ticket));
            }
        }
        assert_eq!(line.admit(now), None);
        assert_eq!(line.ready_at(now), Some(now + Duration::from_secs(1)));
        now += Duration::from_secs(1);
    }
    assert_eq!(order, ["many", "serial"].repeat(4));
}

#[test]
fn of_one_tenant_the_lower_rank_goes_first_and_then_who_came_first() {
    let now = monotonic();
    let mut line = Line::new(4, None, now);
    let ranks = [2, 1, 2, 0, 1];
    let held: Vec<Ticket> = (0..3).map(|_| line.ask("a", 0)).collect();
    assert_eq!(admitted(&mut line, now).len(), 3);
    let tickets: Vec<Ticket> = ranks.iter().map(|rank| line.ask("a", *rank)).collect();
    let mut order = Vec::new();
    let mut leaving = held;
    while let Some(ticket) = leaving.pop() {
        line.leave(&ticket);
        for number in admitted(&mut line, now) {
            let at = tickets.iter().position(|ticket| ticket.number == number).unwrap();
            order.push(at);
            leaving.push(tickets[at].clone());
        }
    }
    assert_eq!(order, [3, 1, 4, 0, 2]);
}

#[test]
fn nothing_is_kept_of_those_that_have_gone() {
    let now = monotonic();
    let mut line = Line::new(4, Some(100), now);
    let tickets: Vec<Ticket> = (0..50).map(|i| line.ask(&format!("ns-{i}"), 0)).collect();
    let _let_in = admitted(&mut line, now);
    tickets.iter().for_each(|ticket| line.leave(ticket));
    assert!(line.tenants.is_empty());
    assert_eq!(line.held, 0);
}

/// A query that uses up its time-out, the longest one that there is.
const SLOW: u64 = 5_000;
/// How long they do so.
const LONG: u64 = 120_000;

/// What one that asks only now and then waits for at most, beside others that always ask for more and always for the longest
/// time: the longest wait, in milliseconds.
fn longest_wait(places: usize, rate: u32, greedy: usize, every: u64, offset: u64) -> u64 {
    let start = monotonic();
    let mut line = Line::new(places, Some(rate), start);
    let mut running: Vec<(u64, Ticket)> = Vec::new();
    let mut waiting: BTreeMap<u64, Ticket> = BTreeMap::new();
    let mut asked: Option<(u64, u64)> = None;
    let mut longest = 0;
    for ms in (0..LONG).step_by(50) {
        let now = start + Duration::from_millis(ms);
        running.retain(|(until, ticket)| {
            let is_over = *until <= ms;
            if is_over {
                line.leave(ticket);
            }
            !is_over
        });
        for i in 0..greedy {
            let name = format!("greedy-{i}");
            let waits = waiting.values().filter(|ticket| ticket.tenant == name).count();
            for _ in waits..places + 2 {
                let ticket = line.ask(&name, 0);
                waiting.insert(ticket.number, ticket);
            }
        }
        if ms % every == offset % every && asked.is_none() {
            let ticket = line.ask("victim", 0);
            asked = Some((ms, ticket.number));
            waiting.insert(ticket.number, ticket);
        }
        while let Some(number) = line.admit(now) {
            let ticket = waiting.remove(&number).unwrap();
            let mut takes = SLOW;
            if let Some((since, _)) = asked.filter(|(_, of)| *of == number) {
                longest = longest.max(ms - since);
                asked = None;
                takes = 50;
            }
            running.push((ms + takes, ticket));
        }
    }
    longest.max(asked.map_or(0, |(since, _)| LONG - since))
}

/// A namespace at its worst leaves the check of another within one interval of its time: it waits for one time-out at the
/// most where there are not even four places, and for its token where there are.
#[test]
fn one_at_its_worst_keeps_another_for_less_than_its_interval() {
    for (places, rate, allowed) in [
        (1, 20, SLOW),
        (2, 20, SLOW),
        (3, 1, SLOW),
        (4, 20, 100),
        (4, 1, 1_000),
        (16, 5, 400),
        (64, 1000, 50),
    ] {
        let waited = longest_wait(places, rate, 1, 10_000, 1_250);
        assert!(waited <= allowed, "{places} places, {rate} a second: {waited} ms");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However many are at their worst together, another waits for one time-out for each of them that a place stands for,
    /// and for their tokens.
    #[test]
    fn many_at_their_worst_keep_another_for_their_turns(
        places in 1usize..20, rate in 1u32..50, greedy in 1usize..6, offset in 0u64..10_000,
    ) {
        let waited = longest_wait(places, rate, greedy, 10_000, offset);
        let rounds = (greedy as u64).div_ceil(places as u64);
        let tokens = (greedy as u64 + 1) * 1000 / u64::from(rate);
        prop_assert!(waited <= rounds * SLOW + tokens + 100, "{waited} ms");
    }

    /// No more places are given than there are, and none lies idle while somebody may have it.
    #[test]
    fn places_are_counted(steps in prop::collection::vec((0u8..6, any::<bool>()), 1..200), places in 1usize..9) {
        let now = monotonic();
        let mut line = Line::new(places, None, now);
        let (mut waiting, mut held): (Vec<Ticket>, Vec<Ticket>) = Default::default();
        for (tenant, asks) in steps {
            let name = format!("ns-{}", tenant % 3);
            if asks {
                waiting.push(line.ask(&name, tenant / 3));
            } else if tenant < 3 && !held.is_empty() {
                line.leave(&held.remove(0));
            } else if !waiting.is_empty() {
                line.leave(&waiting.remove(0));
            }
            for number in admitted(&mut line, now) {
                let at = waiting.iter().position(|ticket| ticket.number == number).unwrap();
                held.push(waiting.remove(at));
            }
            let most = places - places / 4;
            let of = |all: &[Ticket], name: &str| all.iter().filter(|ticket| ticket.tenant == name).count();
            prop_assert!(held.len() <= places);
            for name in ["ns-0", "ns-1", "ns-2"] {
                prop_assert!(of(&held, name) <= most);
                let may = of(&waiting, name) > 0 && of(&held, name) < most;
                prop_assert!(!may || held.len() == places, "a place lies idle");
            }
        }
    }
}
