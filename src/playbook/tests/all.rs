//! What all phases require, found at once.

use super::*;

#[test]
fn what_all_phases_lack_is_what_each_of_them_lacks() {
    let with_member = CIRCLE.replace("{milestone: two-done}", "{rollout: {name: a, condition: Completed}}");
    let plans = [book(PLAN), ticked(&["rls", "keys"]), book(CIRCLE), book(&with_member)];
    let started = rollout("a", "one", at_phase("beta"));
    let worlds = [
        vec![],
        vec![rollout("dreams", "experience", at_phase("beta"))],
        vec![rollout("a", "one", json!({})), rollout("b", "two", completed())],
        vec![started, rollout("dreams", "experience", completed())],
    ];
    for (book, rollouts) in plans.iter().flat_map(|book| worlds.iter().map(move |world| (book, world))) {
        let world = world(book, rollouts.clone());
        let all = unmet_of_all(book, &world);
        let names = book.phases.iter().map(|phase| phase.declared.name.as_str());
        let each: Vec<Vec<_>> = names.map(|phase| unmet(book, phase, &world)).collect();
        assert_eq!(all.phases, each);
        let requires = book.phases.iter().filter(|phase| !phase.requires.is_empty());
        let circles = requires.filter(|phase| cycle_of(book, &phase.declared.name, &world).is_some());
        assert_eq!(all.in_circles, circles.count() > 0);
    }
}

#[test]
fn of_what_a_phase_lacks_as_much_is_kept_as_a_message_says() {
    let lack = |message: String| crate::engine::Requirement { which: "x".to_owned(), message };
    let few =
        Unmet { phases: vec![vec![], vec![lack("a".to_owned()), lack("b".to_owned())]], in_circles: true };
    assert_eq!(few.clone().as_told(), few);
    let many = Unmet { phases: vec![(0..200).map(|_| lack("x".repeat(300))).collect()], in_circles: false };
    assert_eq!(many.as_told().phases[0].len(), 4, "of 300 bytes each, until more than 1024 are there");
    let long = Unmet { phases: vec![vec![lack("x".repeat(100_000))]], in_circles: false };
    assert!(long.as_told().phases[0][0].message.len() <= 512);
}

#[test]
fn a_circle_of_phases_is_found_behind_thousands_of_rollouts_that_wait_for_each_other() {
    let mut rollouts: Vec<Seen> = (0..6000).map(|i| rollout(&format!("r{i:04}"), "one", json!({}))).collect();
    for (i, seen) in rollouts.iter_mut().enumerate() {
        seen.depends_on = (1..=16).map(|next| format!("r{:04}", (i + next) % 6000)).collect();
    }
    let circle = book(CIRCLE);
    let world = world(&circle, rollouts);
    let all = unmet_of_all(&circle, &world);
    assert!(all.in_circles);
    assert!(all.phases[0][0].message.starts_with("itself (phase one → milestone two-done"), "{all:?}");
    assert!(all.phases[2].is_empty());
}
