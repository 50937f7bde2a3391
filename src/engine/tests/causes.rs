//! Why data is missing: said where people look, and not written anew with each text.

use super::support::Life;
use super::triggers::{ERRORS, watched};
use crate::api::Reading;
use crate::engine::{Measurement, Metrics, Subject};

const REFUSED: &str = "the source refuses the connection";
const DENIED: &str = "the source answered 401";

/// Takes a measurement beside the ones before it, as the controller does.
fn fails(life: &mut Life, subject: &Subject, why: &str) {
    let mut known = life.facts.metrics.measurements().to_vec();
    let (subject, reading) = (subject.clone(), Reading::Error(why.to_owned()));
    known.push(Measurement { subject, cohort: None, at: life.now, due: life.now, reading });
    life.facts.metrics = Metrics::Measured(known);
    life.settle();
}

fn said(life: &Life) -> &str {
    life.status.triggers[0].message.as_deref().unwrap()
}

#[test]
fn the_cause_is_in_the_message_and_texts_that_alternate_write_nothing() {
    let mut life = watched(ERRORS);
    let errors = Subject::Trigger("errors".to_owned());
    life.pass(30);
    fails(&mut life, &errors, REFUSED);
    assert_eq!(life.why(), format!("errors has an error of its source: {REFUSED}"));
    let before = life.status.clone();
    for _ in 0..50 {
        for why in [DENIED, DENIED, REFUSED] {
            life.wait(30);
            fails(&mut life, &errors, why);
            assert_eq!(life.status, before, "each difference is a write");
        }
    }
}

#[test]
fn a_cause_that_stays_takes_the_place_of_the_first_one() {
    let mut life = watched(ERRORS);
    let errors = Subject::Trigger("errors".to_owned());
    life.pass(30);
    for (why, expected) in
        [(REFUSED, REFUSED), (DENIED, REFUSED), (DENIED, REFUSED), (DENIED, DENIED), (REFUSED, DENIED)]
    {
        fails(&mut life, &errors, why);
        assert_eq!(
            (said(&life), life.why()),
            (expected, &*format!("errors has an error of its source: {expected}"))
        );
        life.wait(30);
    }
    // That it is left alone for a while after that is no other cause.
    let before = life.status.clone();
    for _ in 0..5 {
        fails(&mut life, &errors, &format!("{DENIED}; after repeated errors it is left alone"));
        assert_eq!(life.status, before);
        life.wait(30);
    }
}

#[test]
fn a_cause_that_another_only_begins_like_is_not_taken_for_it() {
    let mut life = watched(ERRORS);
    let errors = Subject::Trigger("errors".to_owned());
    life.pass(30);
    for why in ["no answer of the cohort", "no answer", "no answer", "no answer"] {
        fails(&mut life, &errors, why);
        life.wait(30);
    }
    assert_eq!(said(&life), "no answer");
}

#[test]
fn a_criterion_says_its_cause_likewise() {
    let mut life = Life::watched(
        "
cohorts: [{name: a}]
phases: [{name: ga, gates: [quality], steps: [{cohorts: {a: 10}}]}]
criteria: [{name: quality, metric: {templateRef: {name: m}}, below: '2', interval: 1h}]",
    );
    let quality = Subject::Criterion("quality".to_owned());
    let why = |cause: &str| format!("gate quality could not be measured: an error of its source: {cause}");
    for (cause, expected) in [(REFUSED, REFUSED), (DENIED, REFUSED), (DENIED, REFUSED), (DENIED, DENIED)] {
        fails(&mut life, &quality, cause);
        assert_eq!(life.why(), why(expected));
        life.pass(1);
    }
}
