//! Any history of writes, removals, prunes, edits by hand and lost files.

use proptest::prelude::*;

use super::tests::{flag, living, put, set};
use super::*;
use crate::flags::file::{compose, parse};
use crate::flags::fixtures::member;

/// One write of the file: what happened to it before, and what is wanted of it.
#[derive(Clone, Debug)]
struct Write {
    before: Before,
    candidates: Vec<Candidate>,
    /// Generation of the FlagSet, and what it prunes; none for a file without one.
    set: Option<(i64, Vec<&'static str>)>,
    knows_the_living: bool,
}

/// What happened to the file since it was last written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    Deleted,
    Garbled,
    /// A flag was taken out by hand.
    Edited,
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let parts = (prop::sample::select(KEYS.to_vec()), prop::sample::select(vec!["u", "v"]), 0i64..6);
    (parts, 0u32..=100_000, prop::bool::weighted(0.2)).prop_map(|((key, uid, revision), served, removes)| {
        match removes {
            true => Candidate::Remove { key: key.to_owned(), uid: uid.to_owned(), revision },
            false => put(member(key, uid, revision, served)),
        }
    })
}

fn any_write() -> impl Strategy<Value = Write> {
    let before = prop_oneof![
        6 => Just(Before::Nothing),
        1 => Just(Before::Deleted),
        1 => Just(Before::Garbled),
        1 => Just(Before::Edited),
    ];
    let pruned = prop::sample::subsequence(KEYS.to_vec(), 0..=2);
    let set = prop::option::of((0i64..4, pruned));
    (before, prop::collection::vec(any_candidate(), 0..4), set, any::<bool>()).prop_map(
        |(before, candidates, set, knows_the_living)| Write { before, candidates, set, knows_the_living },
    )
}

fn set_of(generation: i64, prune: &[&str]) -> SetInfo {
    SetInfo {
        statics: [("s".to_owned(), flag(generation))].into(),
        prune: prune.iter().map(|key| (*key).to_owned()).collect(),
        ..set(generation)
    }
}

/// The file as it is found, and the last good one that the writer remembers.
fn found(before: Before, file: &File) -> Live {
    match before {
        Before::Nothing => Live::Trusted(file.clone()),
        Before::Deleted => Live::Missing,
        Before::Garbled => Live::Untrusted(None),
        Before::Edited => {
            let mut edited = file.clone();
            edited.members.pop_first();
            Live::Untrusted(Some(edited))
        }
    }
}

proptest! {
    #[test]
    fn no_history_loses_a_key_or_goes_back(writes in prop::collection::vec(any_write(), 1..20)) {
        // Of the key `c` every rollout is gone.
        let alive = living(&[("a", "u"), ("b", "v")]);
        let mut file = File::default();
        for write in writes {
            let live = found(write.before, &file);
            let info = write.set.as_ref().map(|(generation, prune)| set_of(*generation, prune));
            let input = Merge {
                live: &live,
                last_good: Some(&file),
                at_control: None,
                set: info.as_ref(),
                candidates: &write.candidates,
                living: write.knows_the_living.then_some(&alive),
            };
            let merged = merge(&input);
            prop_assert_eq!(&merged.text, &compose(&merged.file));
            prop_assert_eq!(&parse(&merged.text).unwrap(), &merged.file);
            prop_assert_eq!(merged.outcomes.len(), write.candidates.len());
            for key in file.members.keys() {
                let taken_out = write.candidates.iter().zip(&merged.outcomes).any(|(candidate, outcome)| {
                    let of_key = matches!(candidate, Candidate::Remove { key: removed, .. } if removed == key);
                    of_key && *outcome == Outcome::Removed
                });
                if !merged.file.members.contains_key(key) {
                    prop_assert!(taken_out || merged.pruned.contains(key), "{key} vanished");
                }
            }
            for key in &merged.pruned {
                let uid = file.live(key).unwrap().uid;
                prop_assert!(write.knows_the_living && alive.iter().all(|rollout| rollout.uid != uid), "{key}");
            }
            if write.before == Before::Nothing {
                for (key, body) in &file.members {
                    let (old, new) = (live_of(body), merged.file.live(key));
                    let goes_back = new.is_some_and(|new| new.uid == old.uid && new.revision < old.revision);
                    prop_assert!(!goes_back || was_replaced(key, &write.candidates), "{key} went back");
                }
                let generation = |file: &File| file.set.as_ref().map_or(-1, |mark| mark.generation);
                prop_assert!(generation(&merged.file) >= generation(&file));
            }
            check_again(&merged, &input)?;
            file = merged.file;
        }
    }
}

fn live_of(body: &Value) -> LiveFlag {
    crate::flags::live(body).unwrap()
}

/// Whether the flag was taken out and put anew in one write: then its revision counts from nothing.
fn was_replaced(key: &str, candidates: &[Candidate]) -> bool {
    candidates
        .iter()
        .any(|candidate| matches!(candidate, Candidate::Remove { key: removed, .. } if removed == key))
}

/// The same again changes nothing, where no two candidates want the same flag: what was written is unchanged then.
fn check_again(merged: &Merged, input: &Merge<'_>) -> Result<(), TestCaseError> {
    let key_of = |candidate: &Candidate| match candidate {
        Candidate::Put(fragment) => fragment.key.clone(),
        Candidate::Remove { key, .. } => key.clone(),
    };
    let keys: BTreeSet<String> = input.candidates.iter().map(key_of).collect();
    if keys.len() < input.candidates.len() {
        return Ok(());
    }
    let live = Live::Trusted(merged.file.clone());
    let again = merge(&Merge { live: &live, ..*input });
    prop_assert_eq!(&again.text, &merged.text);
    for (outcome, again) in merged.outcomes.iter().zip(&again.outcomes) {
        if matches!(outcome, Outcome::Written | Outcome::Removed) {
            prop_assert_eq!(again, &Outcome::Unchanged);
        }
    }
    Ok(())
}
