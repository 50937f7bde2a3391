//! What the model shows: within small bounds whenever tests run, within larger ones by
//! `cargo test --lib controller::model -- --ignored --nocapture`, which says how many states there were.

use rstest::rstest;

use super::state::Disturbances;
use super::{ALL, Bounds, Guards, look_at_all};

const NONE: Disturbances =
    Disturbances { crashes: 0, lost_leads: 0, lost_answers: 0, late: 0, edits: 0, actions: 0 };

/// One rollout, one step and the beginning of the next, and caches that are a version behind.
const SMALL: Bounds = Bounds { rollouts: 1, holds: 1, lag: 1, disturbances: NONE, states: 20_000 };
fn assert_all_hold(name: &str, bounds: Bounds) {
    let begun = crate::clock::monotonic();
    match look_at_all(bounds, ALL) {
        Ok(searched) => {
            println!("{name}, {:?}: {searched:?} in {:.1?}", bounds.disturbances, begun.elapsed())
        }
        Err(found) => panic!("{name}: {}:\n{}", found.broken, found.path.join("\n")),
    }
}

#[rstest]
#[case::nothing_happens(Bounds { holds: 2, lag: 2, ..SMALL })]
#[case::two_rollouts(Bounds { rollouts: 2, ..SMALL })]
#[case::a_crash_and_a_lost_answer(of(Disturbances { crashes: 1, lost_answers: 1, ..NONE }))]
#[case::a_lost_lead_and_a_late_write(of(Disturbances { lost_leads: 1, late: 1, ..NONE }))]
#[case::an_edit(of(Disturbances { edits: 1, ..NONE }))]
#[case::an_action(of(Disturbances { actions: 1, ..NONE }))]
fn no_order_of_crashes_late_answers_and_stale_reads_breaks_a_rule_or_keeps_the_end_away(
    #[case] bounds: Bounds,
) {
    assert_all_hold("small", bounds);
}

fn of(disturbances: Disturbances) -> Bounds {
    Bounds { disturbances, ..SMALL }
}

#[rstest]
#[case::late_writes_of_who_led(to_the_end(Disturbances { lost_leads: 1, late: 1, ..NONE }))]
#[case::late_writes_of_who_died(to_the_end(Disturbances { crashes: 1, late: 1, ..NONE }))]
#[case::an_edit(Bounds { holds: 2, ..larger(Disturbances { edits: 1, lost_leads: 1, ..NONE }) })]
#[case::an_action(larger(Disturbances { actions: 1, lost_leads: 1, ..NONE }))]
#[case::a_late_action(larger(Disturbances { actions: 1, late: 1, ..NONE }))]
#[case::two_actions(larger(Disturbances { actions: 2, ..NONE }))]
#[case::an_edit_and_an_action(larger(Disturbances { edits: 1, actions: 1, ..NONE }))]
#[case::two_rollouts(Bounds { rollouts: 2, ..larger(Disturbances { lost_leads: 1, ..NONE }) })]
#[ignore = "takes minutes"]
fn no_rule_is_broken_within_larger_bounds(#[case] bounds: Bounds) {
    assert_all_hold("larger", bounds);
}

fn larger(disturbances: Disturbances) -> Bounds {
    Bounds { disturbances, states: 1_000_000, ..SMALL }
}

/// To the end of the rollout, and with caches that are two versions behind.
fn to_the_end(disturbances: Disturbances) -> Bounds {
    Bounds { holds: 2, lag: 2, ..larger(disturbances) }
}

/// Each guard is needed: without it a rule is broken, by no more than one thing that goes wrong.
#[rstest]
#[case::the_version_of_a_status(
    Guards { status_precondition: false, ..ALL },
    Disturbances { lost_leads: 1, ..NONE },
    "entry 1 of the history is undone"
)]
#[case::the_version_of_the_file(
    Guards { file_precondition: false, ..ALL },
    Disturbances { late: 1, ..NONE },
    "is taken out of the file"
)]
#[case::the_revisions_in_the_file(
    Guards { file_revisions: false, ..ALL },
    Disturbances { lost_leads: 1, ..NONE },
    "the file goes back from revision 2 to 1"
)]
#[case::the_gate_of_the_lead(
    Guards { gate: false, ..ALL },
    Disturbances { lost_leads: 1, ..NONE },
    "a process writes without the lead"
)]
#[case::the_look_before_a_step_that_was_announced(
    Guards { look: false, ..ALL },
    Disturbances { edits: 1, ..NONE },
    "the file goes ahead although the rollout is stopped"
)]
fn a_guard_that_is_dropped_is_missed(
    #[case] guards: Guards,
    #[case] disturbances: Disturbances,
    #[case] says: &str,
) {
    let bounds = Bounds { disturbances, ..SMALL };
    let found = look_at_all(bounds, guards).expect_err("a way to a broken rule");
    assert!(found.broken.contains(says), "{}:\n{}", found.broken, found.path.join("\n"));
    assert!(look_at_all(bounds, ALL).is_ok(), "with all guards the same bounds hold");
}
