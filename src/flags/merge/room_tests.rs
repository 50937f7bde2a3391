use serde_json::json;

use super::tests::{file, put, run, set};
use super::*;
use crate::flags::budget::{LIMIT, RAISE_LIMIT};
use crate::flags::file::compose;
use crate::flags::fixtures::member;

/// A file with a static flag that leaves this many bytes below `limit` beside the members.
fn nearly_full(members: File, limit: usize, left: usize) -> File {
    let mut file = members;
    let filled = |padding: usize| json!({"state": "ENABLED", "variants": {"v": "x".repeat(padding)}});
    file.statics.insert("padding".to_owned(), filled(0));
    let padding = limit - left - compose(&file).len();
    file.statics.insert("padding".to_owned(), filled(padding));
    file
}

#[test]
fn a_raise_leaves_room_for_lowering() {
    let live = Live::Trusted(nearly_full(
        file([member("a", "u", 1, 100_000), member("b", "v", 1, 0), member("c", "w", 1, 500)]),
        RAISE_LIMIT,
        10,
    ));
    let candidates = [
        put(member("b", "v", 2, 50_000)),
        put(member("new", "n", 1, 0)),
        put(member("a", "u", 2, 50_000)),
        put(member("c", "w", 2, 100_000)),
    ];
    let merged = merge(&run(&live, &candidates));
    assert!(matches!(merged.outcomes[0], Outcome::TooLarge { size } if size > RAISE_LIMIT));
    assert!(matches!(merged.outcomes[1], Outcome::TooLarge { .. }));
    assert_eq!(merged.outcomes[2], Outcome::Written, "a lowering, though it grows");
    assert_eq!(merged.outcomes[3], Outcome::Written, "a raise that shrinks");
    assert_eq!(merged.file.live("b").unwrap().revision, 1);
    assert!(merged.text.len() > RAISE_LIMIT - 200 && merged.text.len() <= LIMIT);
}

#[test]
fn a_lowering_stops_at_the_limit_too() {
    let live = Live::Trusted(nearly_full(file([member("a", "u", 1, 100_000)]), LIMIT, 10));
    let candidates = [put(member("a", "u", 2, 50_000))];
    let merged = merge(&run(&live, &candidates));
    assert!(matches!(merged.outcomes[0], Outcome::TooLarge { size } if size > LIMIT));
    let candidates = [put(member("a", "u", 2, 0))];
    let merged = merge(&run(&live, &candidates));
    assert_eq!(merged.outcomes, [Outcome::Written], "to nothing it shrinks");
}

#[test]
fn a_set_that_does_not_fit_leaves_the_old_one() {
    let statics = [("s".to_owned(), json!({"state": "ENABLED", "variants": {"v": "x".repeat(LIMIT)}}))];
    let set = SetInfo { statics: statics.into(), ..set(2) };
    let candidates = [put(member("a", "u", 1, 500))];
    let merged = merge(&Merge { set: Some(&set), ..run(&Live::Missing, &candidates) });
    assert!(matches!(merged.set, SetOutcome::TooLarge { .. }));
    assert_eq!(merged.outcomes, [Outcome::Written]);
    assert_eq!(merged.file.set, None);
}

/// Each try takes a copy of the whole file, and whoever may create rollouts has a thousand of them ask.
#[test]
fn what_is_no_shorter_than_what_did_not_fit_is_not_tried() {
    let live = Live::Trusted(nearly_full(file([member("z", "z", 1, 500)]), RAISE_LIMIT, 10));
    let new = |i: usize| put(member(&format!("m{i:04}"), &format!("u{i:04}"), 1, 500));
    let mut candidates: Vec<Candidate> = (0..1000).map(new).collect();
    candidates.push(put(member("z", "z", 2, 100_000)));
    crate::flags::budget::TRIED.set(0);
    let merged = merge(&run(&live, &candidates));
    let (last, others) = merged.outcomes.split_last().unwrap();
    assert_eq!(*last, Outcome::Written, "it becomes shorter");
    let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::TooLarge { size } if *size > RAISE_LIMIT);
    assert!(others.iter().all(is_refused));
    assert_eq!(crate::flags::budget::TRIED.get(), 2);
}

#[test]
fn what_is_shorter_than_what_did_not_fit_is_tried_and_not_without_end() {
    let live = Live::Trusted(nearly_full(File::default(), RAISE_LIMIT, 600));
    // The longer a name, the longer the flag.
    let candidates: Vec<Candidate> =
        (0..200).map(|i| put(member(&"k".repeat(250 - i), &format!("u{i:04}"), 1, 500))).collect();
    crate::flags::budget::TRIED.set(0);
    let merged = merge(&run(&live, &candidates));
    assert!(merged.outcomes.iter().all(|outcome| matches!(outcome, Outcome::TooLarge { .. })));
    assert!((3..40).contains(&crate::flags::budget::TRIED.get()), "{}", crate::flags::budget::TRIED.get());
    let short = [put(member(&"k".repeat(250), "u", 1, 500)), put(member("k", "v", 1, 0))];
    let live = Live::Trusted(nearly_full(File::default(), RAISE_LIMIT, 900));
    let merged = merge(&run(&live, &short));
    assert!(matches!(merged.outcomes[0], Outcome::TooLarge { .. }));
    assert_eq!(merged.outcomes[1], Outcome::Written);
}
