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
