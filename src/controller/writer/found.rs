//! What is found where a file is to be written: ours or a stranger's, as we wrote it or edited by hand.

use std::collections::BTreeMap;

use crate::api::FlagSet;
use crate::controller::index::SetId;
use crate::controller::revisions::{MANAGED_BY, MANAGER};
use crate::flags::{self, File};

/// Digest of the bytes that Sluice wrote: another one tells a hand edit.
pub(super) const SHA256: &str = "sluice.dev/sha256";
/// Who the object belongs to: kind/namespace/name.
pub(super) const OWNER: &str = "sluice.dev/owner";

/// What is there.
pub(super) enum Found<S> {
    /// No object of the name.
    Nothing,
    /// One that belongs to somebody else; their name, if they give one.
    Strangers(Option<String>),
    /// Ours, as we wrote it.
    Trusted(S, File, String),
    /// Ours, but edited by hand or emptied; what it says where that can be read.
    Edited(S, Option<File>),
}

impl<S> Found<S> {
    /// The same in another object.
    pub(super) fn map<T>(self, other: impl FnOnce(S) -> T) -> Found<T> {
        match self {
            Found::Nothing => Found::Nothing,
            Found::Strangers(owner) => Found::Strangers(owner),
            Found::Trusted(stored, file, text) => Found::Trusted(other(stored), file, text),
            Found::Edited(stored, file) => Found::Edited(other(stored), file),
        }
    }
}

/// The marks that an object of a set carries.
pub(super) fn mark(
    set: &SetId,
    text: &str,
    labels: &mut BTreeMap<String, String>,
    annotations: &mut BTreeMap<String, String>,
) {
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    annotations.insert(OWNER.to_owned(), set.owner());
    annotations.insert(SHA256.to_owned(), flags::sha256_hex(text.as_bytes()));
}

/// Whether an object carries the marks by which the watch and other writers know it as this set's.
pub(super) fn is_marked(
    set: &SetId,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> bool {
    annotations.get(OWNER) == Some(&set.owner())
        && labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

/// Tells what is there by its annotations and the text in it.
pub(super) fn judge<S>(
    set: &SetId,
    flag_set: Option<&FlagSet>,
    annotations: &BTreeMap<String, String>,
    text: Option<String>,
    stored: S,
) -> Found<S> {
    let owner = annotations.get(OWNER).cloned();
    let file = text.as_ref().and_then(|text| flags::parse(text).ok());
    let unedited = text
        .as_ref()
        .is_some_and(|text| annotations.get(SHA256) == Some(&flags::sha256_hex(text.as_bytes())));
    // Taking the owner's annotation away gives nothing to anybody: a file that says itself whose it is stays theirs.
    let lost_mark =
        owner.is_none() && unedited && file.as_ref().is_some_and(|file| says(file, set, flag_set));
    if owner.as_ref() != Some(&set.owner()) && !lost_mark {
        return Found::Strangers(owner);
    }
    let Some(text) = text else { return Found::Edited(stored, None) };
    match file {
        Some(file) if unedited => Found::Trusted(stored, file, text),
        file => Found::Edited(stored, file),
    }
}

/// Whether a file says of itself that it is this set's.
fn says(file: &File, set: &SetId, flag_set: Option<&FlagSet>) -> bool {
    match (&file.set, flag_set) {
        (Some(mark), Some(flag_set)) => Some(&mark.uid) == flag_set.metadata.uid.as_ref(),
        (None, None) => {
            let mut members = file.members.keys().map(|key| file.live(key)).peekable();
            members.peek().is_some()
                && members.all(|live| {
                    live.is_some_and(|live| live.namespace == set.namespace && live.rollout == set.name)
                })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn set(shared: bool) -> SetId {
        SetId { namespace: "maya".to_owned(), name: "app".to_owned(), shared }
    }

    #[rstest]
    #[case::nobodys(None)]
    #[case::of_another_set_with_the_same_output(Some("FlagSet/maya/other"))]
    #[case::of_a_rollout_of_the_name(Some("FeatureRollout/maya/app"))]
    #[case::of_another_namespace(Some("FlagSet/sky/app"))]
    #[case::of_no_kind_of_ours(Some("Deployment/maya/app"))]
    fn what_is_marked_as_anybody_elses_is_never_taken(#[case] owner: Option<&str>) {
        let text = "{\"flags\":{}}";
        let mut annotations = BTreeMap::from([(SHA256.to_owned(), flags::sha256_hex(text.as_bytes()))]);
        annotations.extend(owner.map(|owner| (OWNER.to_owned(), owner.to_owned())));
        for text in [Some(text.to_owned()), Some("theirs".to_owned()), None] {
            let found = judge(&set(true), None, &annotations, text.clone(), ());
            assert!(matches!(&found, Found::Strangers(whose) if whose.as_deref() == owner), "{text:?}");
        }
    }

    #[rstest]
    #[case::a_sets(true)]
    #[case::a_rollouts(false)]
    fn what_is_marked_as_ours_is_ours_edited_or_not(#[case] shared: bool) {
        let set = set(shared);
        let text = flags::compose(&File::default());
        let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        mark(&set, &text, &mut labels, &mut annotations);
        assert!(is_marked(&set, &labels, &annotations));
        let found = |text: Option<&str>| judge(&set, None, &annotations, text.map(str::to_owned), ());
        assert!(matches!(found(Some(&text)), Found::Trusted((), _, _)));
        assert!(matches!(found(Some(&format!("{text} "))), Found::Edited((), Some(_))));
        assert!(matches!(found(Some("no json")), Found::Edited((), None)));
        assert!(matches!(found(None), Found::Edited((), None)));
    }
}
