//! The signature of a file: that Sluice wrote these bytes, for this place, and as which of its versions. A digest alone
//! can be computed anew by whoever edits the bytes.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Least bytes of a key: as many as the hash gives.
pub const LEAST_BYTES: usize = 32;

/// The form of the signature, and what is signed besides the file, so that no other use of the key gives the same.
const FORM: &str = "v1";
const PURPOSE: &[u8] = b"sluice.dev/file/v1";
const PURPOSE_OF_ID: &[u8] = b"sluice.dev/key-id/v1";
/// Bytes of a key's name.
const ID_BYTES: usize = 4;

/// Where a signed file is. Somewhere else its signature says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Whose file it is, as the object's annotation says it.
    pub owner: &'a str,
    /// Kind of the object.
    pub kind: &'a str,
    /// Namespace of the object.
    pub namespace: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// Where in the object the file is.
    pub key: &'a str,
}

/// What a valid signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Which version of the file it is: each write has a higher one than the write before.
    pub serial: u64,
    /// Whether the key that signs now has signed it, and not the one before.
    pub is_current: bool,
}

/// Why some bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key needs {LEAST_BYTES} bytes or more, and this one has {0}")]
pub struct ShortKey(pub usize);

/// The key that signs, and the one before it, which is still believed while the keys are changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    current: Key,
    previous: Option<Key>,
}

#[derive(Clone)]
struct Key {
    bytes: Zeroizing<Vec<u8>>,
    state: Hmac<Sha256>,
    id: String,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.id())
    }
}

impl Keys {
    /// The keys of these bytes.
    ///
    /// # Errors
    /// When one of them is too short.
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Result<Keys, ShortKey> {
        Ok(Keys { current: Key::new(current)?, previous: previous.map(Key::new).transpose()? })
    }

    /// Name of the key that signs: 8 hexadecimal digits that tell nothing of it.
    pub fn id(&self) -> &str {
        &self.current.id
    }

    /// The bytes of the key that signs, and of the one before it.
    pub fn bytes(&self) -> (&[u8], Option<&[u8]>) {
        (&self.current.bytes, self.previous.as_ref().map(|key| key.bytes.as_slice()))
    }

    /// The signature of a file: its form, the key's name, the serial and the code, with dots between them.
    pub fn sign(&self, place: &Place<'_>, serial: u64, text: &str) -> String {
        let code = self.current.code(place, serial, text).finalize().into_bytes();
        format!("{FORM}.{}.{serial}.{}", self.id(), hex(&code))
    }

    /// What a signature says of a file; `None` where it is not the signature of this text at this place by either key.
    pub fn verify(&self, place: &Place<'_>, text: &str, signature: &str) -> Option<Signed> {
        let mut parts = signature.split('.');
        let (form, id, serial, code) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if form != FORM || parts.next().is_some() {
            return None;
        }
        let serial: u64 = serial.parse().ok()?;
        let code = unhex(code)?;
        let by = |key: &Key| key.id == id && key.code(place, serial, text).verify_slice(&code).is_ok();
        if by(&self.current) {
            return Some(Signed { serial, is_current: true });
        }
        self.previous.as_ref().is_some_and(by).then_some(Signed { serial, is_current: false })
    }
}

impl Key {
    fn new(bytes: &[u8]) -> Result<Key, ShortKey> {
        if bytes.len() < LEAST_BYTES {
            return Err(ShortKey(bytes.len()));
        }
        // HMAC takes keys of any length.
        let state = Hmac::<Sha256>::new_from_slice(bytes).map_err(|_| ShortKey(bytes.len()))?;
        let mut of_id = state.clone();
        of_id.update(PURPOSE_OF_ID);
        let digest = of_id.finalize().into_bytes();
        let id = hex(digest.get(..ID_BYTES).unwrap_or_default());
        Ok(Key { bytes: Zeroizing::new(bytes.to_vec()), state, id })
    }

    fn code(&self, place: &Place<'_>, serial: u64, text: &str) -> Hmac<Sha256> {
        let mut code = self.state.clone();
        code.update(PURPOSE);
        code.update(&serial.to_be_bytes());
        for part in [place.owner, place.kind, place.namespace, place.name, place.key, text] {
            // With its length before it, no part can be taken for the end of another.
            code.update(&(part.len() as u64).to_be_bytes());
            code.update(part.as_bytes());
        }
        code
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    digits.chunks_exact(2).map(|pair| u8::try_from(pair.first()? * 16 + pair.last()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PLACE: Place<'_> = Place {
        owner: "FlagSet/maya/app",
        kind: "ConfigMap",
        namespace: "maya",
        name: "app",
        key: "flags.json",
    };

    fn keys(current: u8, previous: Option<u8>) -> Keys {
        let bytes = |byte: u8| vec![byte; LEAST_BYTES];
        Keys::new(&bytes(current), previous.map(bytes).as_deref()).unwrap()
    }

    /// As computed by another implementation (Python's hmac): nobody's files lose their signature by a slip here.
    #[test]
    fn the_form_stays() {
        let signature = keys(7, None).sign(&PLACE, 3, "{}");
        assert_eq!(
            signature,
            "v1.9c4706d3.3.e51675ffa1ceca713c891821841171b74b4988690bfe0e65c6412b027abba5cb"
        );
    }

    #[test]
    fn what_was_signed_is_known_by_both_keys_and_by_no_other() {
        let signature = keys(1, None).sign(&PLACE, 9, "{}");
        let signed = |is_current| Some(Signed { serial: 9, is_current });
        assert_eq!(keys(1, None).verify(&PLACE, "{}", &signature), signed(true));
        assert_eq!(keys(2, Some(1)).verify(&PLACE, "{}", &signature), signed(false));
        assert_eq!(keys(2, None).verify(&PLACE, "{}", &signature), None);
        assert_eq!(keys(2, Some(3)).verify(&PLACE, "{}", &signature), None);
    }

    #[rstest]
    #[case::of_another_owner(Place { owner: "FlagSet/maya/other", ..PLACE })]
    #[case::of_another_kind(Place { kind: "FeatureFlag", ..PLACE })]
    #[case::of_another_namespace(Place { namespace: "sky", ..PLACE })]
    #[case::of_another_name(Place { name: "other", ..PLACE })]
    #[case::of_another_key(Place { key: "other.json", ..PLACE })]
    #[case::with_a_part_moved_over(Place { namespace: "may", name: "aapp", ..PLACE })]
    fn a_signature_is_worth_nothing_in_another_place(#[case] elsewhere: Place<'_>) {
        let keys = keys(1, None);
        let signature = keys.sign(&PLACE, 1, "{}");
        assert_eq!(keys.verify(&elsewhere, "{}", &signature), None);
    }

    #[test]
    fn nothing_of_a_signature_can_be_changed() {
        let keys = keys(1, Some(2));
        let signature = keys.sign(&PLACE, 12, "{}");
        assert!(keys.verify(&PLACE, "{ }", &signature).is_none());
        for (i, _) in signature.char_indices() {
            for other in ["", "0", "1", "f", ".", "ä", "G"] {
                let mut changed = signature.clone();
                changed.replace_range(i..=i, other);
                let holds = keys.verify(&PLACE, "{}", &changed).is_some();
                assert_eq!(holds, changed == signature, "{changed}");
            }
        }
        for text in ["", "v1", "v1...", "v1.00000000.-1.00", "v1.x.99999999999999999999.00"] {
            assert_eq!(keys.verify(&PLACE, "{}", text), None, "{text}");
        }
    }

    #[test]
    fn a_key_needs_its_length_and_is_shown_to_nobody() {
        assert_eq!(Keys::new(&[0; 31], None), Err(ShortKey(31)));
        assert_eq!(Keys::new(&[0; 32], Some(&[])), Err(ShortKey(0)));
        let shown = format!("{:?}", keys(0x41, Some(0x42)));
        assert_eq!(shown, format!("Keys({})", keys(0x41, None).id()));
        assert_ne!(keys(1, None), keys(1, Some(2)));
    }
}
