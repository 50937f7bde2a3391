//! What is found where a file is to be written: ours or a stranger's, as we wrote it or edited by hand.

use std::collections::BTreeMap;

use crate::api::FlagSet;
use crate::controller::cache::Packed;
use crate::controller::index::SetId;
use crate::controller::revisions::{MANAGED_BY, MANAGER};
use crate::flags::{self, File, Keys, Place};
use crate::visible;

/// Digest of the bytes, for people and tools to compare.
pub(super) const SHA256: &str = "sluice.dev/sha256";
/// That Sluice wrote the bytes.
pub(super) const SIGNATURE: &str = "sluice.dev/signature";
/// Who the object belongs to: kind/namespace/name.
pub const OWNER: &str = "sluice.dev/owner";

/// What is there.
pub(in crate::controller) enum Found<S> {
    /// No object of the name.
    Nothing,
    /// One that belongs to somebody else; their name, if they give one.
    Strangers(Option<String>),
    /// Ours, as Sluice wrote it.
    Trusted {
        /// The object.
        stored: S,
        /// What it says.
        file: File,
        /// The same in its own bytes.
        text: String,
        /// Which version of the file it is, as far as that is known.
        serial: u64,
        /// Whether the marks are those that it would be written with now.
        is_sealed: bool,
    },
    /// Ours, but nobody vouches for what it says: edited by hand, emptied, or not signed.
    Edited {
        /// The object.
        stored: S,
        /// Its bytes, unread: they may be anything, and take a lot of memory once they are.
        text: Option<String>,
    },
}

impl<S> Found<S> {
    /// The same in another object.
    pub(super) fn map<T>(self, other: impl FnOnce(S) -> T) -> Found<T> {
        match self {
            Found::Nothing => Found::Nothing,
            Found::Strangers(owner) => Found::Strangers(owner),
            Found::Trusted { stored, file, text, serial, is_sealed } => {
                Found::Trusted { stored: other(stored), file, text, serial, is_sealed }
            }
            Found::Edited { stored, text } => Found::Edited { stored: other(stored), text },
        }
    }

    /// Whether nobody vouches for it.
    pub(super) fn is_edited(&self) -> bool {
        matches!(self, Found::Edited { .. })
    }
}

/// Most bytes that are told of an owner: a kind, and two names of which each has 253 at the most, are fewer.
const MOST_OWNER: usize = 520;

/// An owner as it may be told: whoever can annotate a ConfigMap may write anything there, and that of any length.
pub fn named(owner: &str) -> String {
    visible::line(&visible::cut(owner, MOST_OWNER)).into_owned()
}

/// What this process last saw or wrote somewhere, and knew to be Sluice's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) struct Remembered {
    /// Digest of the bytes, hexadecimal.
    pub(in crate::controller) sha256: Box<str>,
    /// The bytes, as the hub has packed them; `None` where the namespace has no room for them.
    pub(in crate::controller) text: Option<Packed>,
    /// Which version of the file they are.
    pub(in crate::controller) serial: u64,
}

#[cfg(test)]
impl Remembered {
    /// This text, packed by a packer of its own.
    pub(in crate::controller) fn of(text: &str, serial: u64) -> Remembered {
        let packed = crate::controller::cache::Packer::default().pack(text.as_bytes());
        Remembered { sha256: flags::sha256_hex(text.as_bytes()).into(), text: Some(packed), serial }
    }
}

/// Who vouches for what a file says.
pub(in crate::controller) struct Witness<'a> {
    /// The keys that files are signed with.
    pub(in crate::controller) keys: &'a Keys,
    /// Where the file is.
    pub(in crate::controller) place: Place<'a>,
    /// What this process remembers of that place.
    pub(in crate::controller) remembered: Option<Remembered>,
    /// Digest of the file that the FlagSet's status tells of.
    pub(in crate::controller) recorded: Option<&'a str>,
}

impl Witness<'_> {
    /// The serial of a text that Sluice wrote there last, and whether its marks are those of now; `None` where nobody
    /// vouches for it.
    ///
    /// A signature alone is not enough: whoever kept a signed file can put it back. One older than what this process
    /// remembers is an edit. Where it remembers nothing and the signature is of a key that is gone, or of no key, what the
    /// FlagSet's status tells of is as good.
    fn vouch(&self, annotations: &BTreeMap<String, String>, text: &str) -> Option<(u64, bool)> {
        let signature = annotations.get(SIGNATURE);
        let signed = signature.and_then(|signature| self.keys.verify(&self.place, text, signature));
        let serial = signed.map_or(0, |signed| signed.serial);
        let digest = flags::sha256_hex(text.as_bytes());
        let is_sealed =
            signed.is_some_and(|signed| signed.is_current) && annotations.get(SHA256) == Some(&digest);
        match &self.remembered {
            Some(known) if *known.sha256 == *digest => Some((serial.max(known.serial), is_sealed)),
            Some(known) => signed.filter(|signed| signed.serial > known.serial).map(|_| (serial, is_sealed)),
            None if signed.is_some() => Some((serial, is_sealed)),
            None => (self.recorded == Some(digest.as_str())).then_some((0, false)),
        }
    }

    /// Whether the annotations hold a signature of Sluice's for this text, however old.
    fn is_signed(&self, annotations: &BTreeMap<String, String>, text: &str) -> bool {
        let signature = annotations.get(SIGNATURE);
        signature.is_some_and(|signature| self.keys.verify(&self.place, text, signature).is_some())
    }
}

/// Digest of a set's file by its status, which nobody but the controller writes.
pub(super) fn recorded(flag_set: Option<&FlagSet>) -> Option<&str> {
    flag_set?.status.as_ref()?.sha256.as_deref()
}

/// The marks that an object of a set carries.
pub(in crate::controller) fn mark(
    set: &SetId,
    text: &str,
    signature: &str,
    labels: &mut BTreeMap<String, String>,
    annotations: &mut BTreeMap<String, String>,
) {
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    annotations.insert(OWNER.to_owned(), set.owner());
    annotations.insert(SHA256.to_owned(), flags::sha256_hex(text.as_bytes()));
    annotations.insert(SIGNATURE.to_owned(), signature.to_owned());
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
pub(in crate::controller) fn judge<S>(
    set: &SetId,
    witness: &Witness<'_>,
    annotations: &BTreeMap<String, String>,
    text: Option<String>,
    stored: S,
) -> Found<S> {
    let owner = annotations.get(OWNER).cloned();
    // Taking the owner's annotation away gives nothing to anybody: the signature says whose the file is, too.
    let lost_mark =
        || owner.is_none() && text.as_ref().is_some_and(|text| witness.is_signed(annotations, text));
    if owner.as_ref() != Some(&set.owner()) && !lost_mark() {
        return Found::Strangers(owner.as_deref().map(named));
    }
    let Some(text) = text else { return Found::Edited { stored, text: None } };
    let vouched = witness.vouch(annotations, &text);
    let read = vouched.and_then(|vouched| Some((flags::parse(&text).ok()?, vouched)));
    match read {
        Some((file, (serial, is_sealed))) => Found::Trusted { stored, file, text, serial, is_sealed },
        None => Found::Edited { stored, text: Some(text) },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn set(shared: bool) -> SetId {
        SetId { namespace: "maya".to_owned(), name: "app".to_owned(), shared }
    }

    fn keys(byte: u8) -> Keys {
        Keys::new(&[byte; 32], None).unwrap()
    }

    fn place(owner: &str) -> Place<'_> {
        Place { owner, kind: "ConfigMap", namespace: "maya", name: "app", key: "flags.json" }
    }

    fn witness<'a>(keys: &'a Keys, owner: &'a str) -> Witness<'a> {
        Witness { keys, place: place(owner), remembered: None, recorded: None }
    }

    fn remembered(text: &str, serial: u64) -> Option<Remembered> {
        Some(Remembered::of(text, serial))
    }

    /// The annotations of a text that was signed.
    fn annotations(set: &SetId, keys: &Keys, serial: u64, text: &str) -> BTreeMap<String, String> {
        let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        let signature = keys.sign(&place(&set.owner()), serial, text);
        mark(set, text, &signature, &mut labels, &mut annotations);
        assert!(is_marked(set, &labels, &annotations));
        annotations
    }

    fn empty(metadata: &str) -> String {
        format!("{{\"flags\":{{}},\"metadata\":{{\"a\":\"{metadata}\"}}}}")
    }

    #[rstest]
    #[case::nobodys(None)]
    #[case::of_another_set_with_the_same_output(Some("FlagSet/maya/other"))]
    #[case::of_a_rollout_of_the_name(Some("FeatureRollout/maya/app"))]
    #[case::of_another_namespace(Some("FlagSet/sky/app"))]
    #[case::of_no_kind_of_ours(Some("Deployment/maya/app"))]
    fn what_is_marked_as_anybody_elses_is_never_taken(#[case] owner: Option<&str>) {
        let text = "{\"flags\":{}}";
        let (keys, set) = (keys(1), set(true));
        let mut annotations = BTreeMap::from([(SHA256.to_owned(), flags::sha256_hex(text.as_bytes()))]);
        annotations.extend(owner.map(|owner| (OWNER.to_owned(), owner.to_owned())));
        for text in [Some(text.to_owned()), Some("theirs".to_owned()), None] {
            let found = judge(&set, &witness(&keys, &set.owner()), &annotations, text.clone(), ());
            assert!(matches!(&found, Found::Strangers(whose) if whose.as_deref() == owner), "{text:?}");
        }
        // Signed for a set of another name: its signature is nothing to this one.
        let signature = keys.sign(&place("FlagSet/maya/other"), 1, text);
        annotations.insert(SIGNATURE.to_owned(), signature);
        let found = judge(&set, &witness(&keys, &set.owner()), &annotations, Some(text.to_owned()), ());
        assert!(matches!(found, Found::Strangers(_)));
    }

    #[rstest]
    #[case::a_sets(true)]
    #[case::a_rollouts(false)]
    fn what_is_marked_as_ours_is_ours_edited_or_not(#[case] shared: bool) {
        let (set, keys) = (set(shared), keys(1));
        let text = flags::compose(&File::default());
        let mut annotations = annotations(&set, &keys, 4, &text);
        let owner = set.owner();
        let found = |annotations: &BTreeMap<String, String>, text: Option<&str>| {
            judge(&set, &witness(&keys, &owner), annotations, text.map(str::to_owned), ())
        };
        let trusted = |found: &Found<()>| match found {
            Found::Trusted { serial, is_sealed, .. } => Some((*serial, *is_sealed)),
            _ => None,
        };
        assert_eq!(trusted(&found(&annotations, Some(&text))), Some((4, true)));
        for edited in [Some(format!("{text} ")), Some("no json".to_owned()), None] {
            assert!(found(&annotations, edited.as_deref()).is_edited(), "{edited:?}");
        }
        // The digest of an edited text is no signature of it.
        let edited = format!("{text} ");
        annotations.insert(SHA256.to_owned(), flags::sha256_hex(edited.as_bytes()));
        assert!(found(&annotations, Some(&edited)).is_edited());
        assert_eq!(trusted(&found(&annotations, Some(&text))), Some((4, false)), "to be marked anew");
        annotations.remove(OWNER);
        assert_eq!(trusted(&found(&annotations, Some(&text))), Some((4, false)), "the signature says whose");
        annotations.remove(SIGNATURE);
        assert!(matches!(found(&annotations, Some(&text)), Found::Strangers(None)));
    }

    #[rstest]
    #[case::written_here(remembered(&empty("now"), 7), None, Some((7, true)))]
    #[case::written_by_another_process_since(remembered(&empty("old"), 6), None, Some((7, true)))]
    #[case::put_back_by_somebody(remembered(&empty("newer"), 8), None, None)]
    #[case::put_back_under_the_same_serial(remembered(&empty("newer"), 7), None, None)]
    #[case::first_seen(None, None, Some((7, true)))]
    #[case::first_seen_and_another_recorded(None, Some("other"), Some((7, true)))]
    fn a_signed_file_is_believed_unless_a_later_one_is_known(
        #[case] remembered: Option<Remembered>,
        #[case] recorded: Option<&str>,
        #[case] expected: Option<(u64, bool)>,
    ) {
        let (set, keys, text) = (set(true), keys(1), empty("now"));
        let (owner, annotations) = (set.owner(), annotations(&set, &keys, 7, &text));
        let witness = Witness { remembered, recorded, ..witness(&keys, &owner) };
        assert_eq!(witness.vouch(&annotations, &text), expected);
    }

    #[rstest]
    #[case::nobody(None, None, false)]
    #[case::this_process(remembered(&empty("now"), 7), None, true)]
    #[case::this_process_of_another_text(remembered(&empty("old"), 7), None, false)]
    #[case::the_status(None, Some(flags::sha256_hex(empty("now").as_bytes())), true)]
    #[case::the_status_of_another_text(None, Some(flags::sha256_hex(b"old")), false)]
    #[case::the_status_and_not_this_process(
        remembered(&empty("old"), 7),
        Some(flags::sha256_hex(empty("now").as_bytes())),
        false
    )]
    fn without_a_valid_signature_somebody_else_has_to_vouch_and_it_is_signed_anew(
        #[case] remembered: Option<Remembered>,
        #[case] recorded: Option<String>,
        #[case] expected: bool,
    ) {
        let (set, mine, text) = (set(true), keys(1), empty("now"));
        let owner = set.owner();
        let signed_by_a_lost_key = annotations(&set, &keys(2), 7, &text);
        let mut unsigned = signed_by_a_lost_key.clone();
        unsigned.remove(SIGNATURE);
        for annotations in [signed_by_a_lost_key, unsigned] {
            let witness = Witness {
                remembered: remembered.clone(),
                recorded: recorded.as_deref(),
                ..witness(&mine, &owner)
            };
            let vouched = witness.vouch(&annotations, &text);
            assert_eq!(vouched.map(|(_, is_sealed)| is_sealed), expected.then_some(false));
        }
    }

    /// Each rollout of a set keeps what it is told of a stranger.
    #[test]
    fn of_an_owner_no_more_is_told_than_a_name_has_room_for_and_on_one_line() {
        let keys = keys(1);
        for owner in [
            "A".repeat(255_000),
            "é\n<b>".repeat(9_000),
            "FeatureRollout/maya/".to_owned() + &"n".repeat(253),
        ] {
            let annotations = BTreeMap::from([(OWNER.to_owned(), owner.clone())]);
            let found = judge(&set(true), &witness(&keys, "FlagSet/maya/app"), &annotations, None, ());
            let Found::Strangers(Some(told)) = found else { panic!("it is not ours") };
            assert!(told.len() < 2_000 && !told.contains('\n'), "{} bytes", told.len());
            assert_eq!(told == owner, owner.len() < 300);
        }
    }
}
