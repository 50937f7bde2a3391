use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Fate, Guard, SMOOTH, Trouble, World};
use super::*;

/// Some of each shard, however many there are.
const NAMESPACES: [&str; 8] = ["maya", "shop", "search", "mobile", "team-1", "team-2", "team-3", "default"];

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let lost = prop_oneof![8 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    let slow = prop_oneof![6 => 0..100u64, 2 => 100..3_000u64, 1 => 3_000..20_000u64];
    let fate = (slow.clone(), slow, lost).prop_map(|(there, back, lost)| Fate { there, back, lost });
    vec(fate, 1..60)
}

/// Troubles among processes that want a number of shards from `least` on.
fn troubles(least: u16) -> impl Strategy<Value = Vec<(u64, Trouble)>> {
    let who = 0..4usize;
    let shards = least..=3u16;
    let trouble = prop_oneof![
        // Where one shard is wanted a first Lease that is not there says that there is one.
        1 => (u16::from(least == 1)..3).prop_map(Trouble::Delete),
        2 => (who.clone(), 1_000..40_000u64).prop_map(|(i, length)| Trouble::Stop(i, length)),
        3 => (who.clone(), shards.clone()).prop_map(|(i, shards)| Trouble::Kill(i, shards)),
        3 => (who, shards).prop_map(|(i, shards)| Trouble::End(i, shards)),
    ];
    vec((0..240_000u64, trouble), 0..20)
}

/// Numbers of shards, speeds of clocks in per cent, and what they show at first: hours apart.
fn processes(least: u16) -> impl Strategy<Value = Vec<(u16, u64, u64)>> {
    vec((least..=3u16, 88..=112u64, 0..10_000_000u64), 4)
}

proptest! {
    #[test]
    fn no_namespace_ever_has_two_writers_whatever_numbers_of_shards_are_wanted(
        processes in processes(1),
        fates in fates(),
        troubles in troubles(1),
        draining in 0..8_000u64,
    ) {
        let mut world = World::new(&processes, fates);
        world.draining = draining;
        world.run(300_000, &troubles);
    }

    #[test]
    fn nor_where_somebody_deletes_the_first_lease(
        processes in processes(2),
        fates in fates(),
        troubles in troubles(2),
    ) {
        World::new(&processes, fates).run(300_000, &troubles);
    }

    #[test]
    fn every_shard_has_a_writer_again_when_all_want_the_same_and_the_trouble_is_over(
        processes in processes(1),
        fates in fates(),
        troubles in troubles(1),
        shards in 1..=3u16,
    ) {
        let mut world = World::new(&processes, fates);
        world.run(240_000, &troubles);
        world.smooth();
        for i in 0..world.processes.len() {
            world.trouble(&Trouble::Kill(i, shards));
        }
        world.run(400_000, &[]);
        let mut led: Vec<u16> = world.writers().iter().map(|(_, shard)| shard.index()).collect();
        led.sort_unstable();
        prop_assert_eq!(led, (0..shards).collect::<Vec<_>>(), "{:?}", world.leases);
    }
}

/// Processes that all want so many shards, which are in force, and that have found who leads which.
fn settled(shards: u16, processes: usize) -> World {
    let clocks = [(100, 0), (105, 77), (96, 5_000), (101, 900_000)];
    let processes: Vec<_> =
        clocks.into_iter().take(processes).map(|(speed, origin)| (shards, speed, origin)).collect();
    let mut world = World::new(&processes, vec![SMOOTH]).in_force(shards);
    world.hears = true;
    world.run(60_000, &[]);
    assert_eq!(world.writers().len(), usize::from(shards), "{:?}", world.writers());
    world
}

/// How many shards each process writes as, the fewest first.
fn shares(world: &World) -> Vec<usize> {
    let mut shares: Vec<usize> =
        world.processes.iter().map(|process| process.writes(world.now).len()).collect();
    shares.sort_unstable();
    shares
}

#[test]
fn processes_that_begin_together_lead_about_as_many_shards_each() {
    assert_eq!(shares(&settled(3, 3)), [1, 1, 1]);
    assert_eq!(shares(&settled(3, 2)), [1, 2]);
    assert_eq!(shares(&settled(2, 4)), [0, 0, 1, 1]);
    assert_eq!(shares(&settled(1, 3)), [0, 0, 1]);
}

#[test]
fn the_others_go_on_while_the_shard_of_one_that_is_gone_is_taken_by_who_is_free() {
    let mut world = settled(2, 3);
    let of = |world: &World, index| {
        world
            .processes
            .iter()
            .position(|process| process.writes(world.now).iter().any(|s| s.index() == index))
    };
    let (first, second) = (of(&world, 0).unwrap(), of(&world, 1).unwrap());
    world.watch(&NAMESPACES);
    let begun = world.now;
    world.run(begun + 60_000, &[(begun, Trouble::Kill(second, 2))]);
    assert!((10_000..=17_000).contains(&world.longest_gap()), "{} ms", world.longest_gap());
    assert_eq!(of(&world, 0), Some(first), "it has not noticed");
    assert_ne!(of(&world, 1), Some(first), "it has one, and another has none");

    let begun = world.now;
    let last = of(&world, 1).unwrap();
    world.watch(&NAMESPACES);
    world.run(begun + 60_000, &[(begun, Trouble::End(last, 2))]);
    assert!(world.longest_gap() <= 3_500, "{} ms", world.longest_gap());
}

/// What a rolling update does: a new process, the end of an old one, and so on.
fn update(world: &mut World, shards: u16, end: fn(usize, u16) -> Trouble) {
    world.watch(&NAMESPACES);
    for i in 0..world.processes.len() {
        let begun = world.now;
        world.run(begun + 30_000, &[(begun, end(i, shards))]);
    }
    world.run(world.now + 60_000, &[]);
    let writers = world.writers();
    assert!(writers.iter().all(|(_, shard)| shard.shards().count() == shards), "{writers:?}");
    assert_eq!(writers.len(), usize::from(shards), "{writers:?}");
}

#[test]
fn another_number_of_shards_comes_into_force_in_moments_by_an_update_and_within_a_lease_where_processes_die()
{
    for (before, after) in [(1, 2), (2, 3), (3, 2), (3, 1), (1, 3), (2, 1)] {
        let mut world = settled(before, 4);
        update(&mut world, after, Trouble::End);
        let gap = world.longest_gap();
        assert!(gap <= 5_000, "{before} to {after}: nobody for {gap} ms");
        println!("{before} to {after} shards: nobody for {gap} ms at most");

        let mut world = settled(before, 4);
        update(&mut world, after, Trouble::Kill);
        let gap = world.longest_gap();
        assert!(gap <= 18_000, "{before} to {after}: nobody for {gap} ms");
        println!("{before} to {after} shards, with kill -9: nobody for {gap} ms at most");
    }
}

/// What becomes of a change of the number without a guard.
fn update_without(guard: Guard) {
    let mut world = settled(2, 4);
    world.dropped = Some(guard);
    update(&mut world, 3, Trouble::End);
}

#[test]
#[should_panic(expected = "ms there are")]
fn it_would_be_noticed_if_whoever_holds_a_lease_did_not_ask_how_many_shards_are_in_force() {
    update_without(Guard::AsksTheFirst);
}

#[test]
#[should_panic(expected = "ms there are")]
fn it_would_be_noticed_if_whoever_changes_the_number_did_not_wait_for_the_others() {
    update_without(Guard::WaitsForTheOthers);
}

#[test]
fn who_wants_another_number_waits_while_the_first_shard_is_led() {
    let mut world = settled(2, 3);
    let idle = world.processes.iter().position(|process| process.writes(world.now).is_empty()).unwrap();
    let before = world.writers();
    world.watch(&NAMESPACES);
    let begun = world.now;
    world.run(begun + 120_000, &[(begun, Trouble::End(idle, 3))]);
    assert_eq!(world.writers(), before);
    assert_eq!(world.longest_gap(), 0);
}

#[test]
fn a_single_process_without_shards_asks_for_its_lease_alone_and_says_nothing_of_shards() {
    let timing = Timing::default();
    let mut candidate = Candidate::new("me".to_owned(), Shard::WHOLE, timing, 7);
    let ms = Duration::from_millis;
    let record = |version: u32, holder: &str| Record {
        version: version.to_string(),
        holder: holder.to_owned(),
        seconds: Some(if holder.is_empty() { 1 } else { 15 }),
        ..Record::default()
    };
    let mut now = 0;
    for i in 0..20 {
        match candidate.next(ms(now), Around::default()) {
            Todo::WaitUntil(until) => now = u64::try_from(until.as_millis()).unwrap(),
            Todo::Call(ask, _) => {
                assert_eq!(ask.lease, 0);
                assert!(ask.note.is_none_or(|note| note == Note::default()), "{ask:?}");
                let answer = Answer::Is(if i == 0 { record(1, "") } else { record(i + 1, "me") });
                candidate.answered(&ask, ms(now), ms(now + 1), answer);
                now += 1;
                assert_eq!(candidate.writes_until(ms(now)).is_some(), i > 0, "as soon as it holds the Lease");
            }
        }
    }
}
