//! Texts that are kept by the thousand and seldom read, compressed against the first of them: they resemble each other.

use std::sync::OnceLock;

use lz4_flex::block::{compress_with_dict, decompress_with_dict};

/// Most bytes of the first text that the others are compressed against. LZ4 looks no further back than 64 KiB, and the table
/// that it makes of them is made anew for each text.
const EXAMPLE: usize = 16 * 1024;

/// Packs texts of one kind.
#[derive(Default)]
pub struct Packer(OnceLock<Box<[u8]>>);

/// A packed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    bytes: Box<[u8]>,
    /// Bytes of the text.
    length: usize,
}

impl Packer {
    /// Packs a text. The first one is kept besides, for as long as the packer is.
    pub fn pack(&self, text: &[u8]) -> Packed {
        let example = self.0.get_or_init(|| text.iter().copied().take(EXAMPLE).collect());
        let bytes = compress_with_dict(text, example).into_boxed_slice();
        Packed { bytes, length: text.len() }
    }

    /// The text.
    ///
    /// # Errors
    /// When it was not packed here.
    pub fn unpack(&self, packed: &Packed) -> Result<Vec<u8>, lz4_flex::block::DecompressError> {
        let example = self.0.get().map(|example| &**example).unwrap_or_default();
        decompress_with_dict(&packed.bytes, packed.length, example)
    }
}

impl Packed {
    /// How many bytes the text has.
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many bytes are kept of it.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_was_packed_comes_back(texts in prop::collection::vec("(?s).{0,400}", 1..6)) {
            let packer = Packer::default();
            let packed: Vec<Packed> = texts.iter().map(|text| packer.pack(text.as_bytes())).collect();
            for (text, packed) in texts.iter().zip(&packed) {
                prop_assert_eq!(packed.length(), text.len());
                prop_assert_eq!(packer.unpack(packed).unwrap(), text.as_bytes());
            }
        }
    }

    #[test]
    fn what_resembles_the_first_takes_little_room_and_what_is_longer_than_it_comes_back_too() {
        let packer = Packer::default();
        let text =
            |name: &str| format!("{{\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{}}}", "[1,2]".repeat(200));
        packer.pack(text("first").as_bytes());
        let second = packer.pack(text("second").as_bytes());
        assert!(second.size() < 60, "{} of {} bytes", second.size(), second.length());
        let large = "{\"a\":\"b\"}".repeat(EXAMPLE);
        assert_eq!(packer.unpack(&packer.pack(large.as_bytes())).unwrap(), large.as_bytes());
    }

    #[test]
    fn what_another_has_packed_is_an_error_and_no_panic() {
        let (one, other) = (Packer::default(), Packer::default());
        one.pack(b"something that is an example of what comes");
        let packed = one.pack(b"something that is an example of what comes, and more");
        assert!(other.unpack(&packed).is_err());
    }
}
