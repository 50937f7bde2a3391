//! Which users a split gives the feature, as each published evaluator tells it, and users whose bucket is known beforehand, to
//! check a split at its very edge.
//!
//! flagd hashes the CBOR form of `salt:key` with murmur3 (x86, 32 bits, seed 0) and takes `hash · total >> 32` as the
//! bucket. The last block of a key whose length is a multiple of four can be computed backwards from the hash that is wanted.

use crate::api::Percent;

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;
const C1_INVERSE: u32 = inverse(C1);
const C2_INVERSE: u32 = inverse(C2);
const FIVE_INVERSE: u32 = inverse(5);
const MIX_1: u32 = 0x85eb_ca6b;
const MIX_2: u32 = 0xc2b2_ae35;
const MIX_1_INVERSE: u32 = inverse(MIX_1);
const MIX_2_INVERSE: u32 = inverse(MIX_2);
/// About one block in 300 is made of letters and digits, so this many attempts fail once in 10¹⁴ times.
const ATTEMPTS: u32 = 10_000;

/// The inverse of an odd number modulo 2³², by Newton's method.
const fn inverse(odd: u32) -> u32 {
    let mut result = odd;
    let mut round = 0;
    while round < 5 {
        result = result.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(result)));
        round += 1;
    }
    result
}

/// How an evaluator tells a user's bucket. The shares are the same, the users are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hash {
    /// Of the text in CBOR, as the evaluators for Rust and Python do.
    #[default]
    Cbor,
    /// Of the text itself, as the one for Go does.
    Text,
    /// Of the text itself, as the one for Node does, which has a way of its own with anything but ASCII.
    Ascii,
    /// Of the text itself, in percentages of single precision, as the one for Java does.
    Percentage,
}

/// Whether a user has the feature at this percentage in thousandths; `None` where that is not known.
pub(super) fn has_feature(hash: Hash, salt: &str, user: &str, thousandths: u32) -> Option<bool> {
    let text = format!("{salt}:{user}");
    Some(match hash {
        Hash::Ascii if !text.is_ascii() => return None,
        Hash::Cbor => bucket(salt, user) < thousandths,
        Hash::Text | Hash::Ascii => scaled(murmur(text.as_bytes())) < thousandths,
        Hash::Percentage => {
            #[allow(
                clippy::cast_possible_wrap,
                clippy::cast_precision_loss,
                reason = "Java reads the bits so"
            )]
            let (hash, thousandths) =
                ((murmur(text.as_bytes()) as i32).wrapping_abs() as f32, thousandths as f32);
            hash / 2_147_483_647_f32 * 100.0 < thousandths * 100.0 / 100_000.0
        }
    })
}

/// The bucket of a user among 100 000; of those below a percentage's thousandths each has the feature.
pub fn bucket(salt: &str, user: &str) -> u32 {
    scaled(murmur(&cbor(&format!("{salt}:{user}"))))
}

fn scaled(hash: u32) -> u32 {
    let bucket = (u64::from(hash) * u64::from(Percent::FULL.thousandths())) >> 32;
    u32::try_from(bucket).unwrap_or(u32::MAX)
}

fn murmur(bytes: &[u8]) -> u32 {
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = blocks.iter().fold(0, |hash, block| step(hash, u32::from_le_bytes(*block)));
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash ^= scramble(last);
    }
    finish(hash ^ length(bytes))
}

/// A user of this bucket; `None` for a bucket beyond the last.
pub(super) fn user_in(salt: &str, bucket: u32) -> Option<String> {
    let total = u64::from(Percent::FULL.thousandths());
    let first = (u64::from(bucket) << 32).div_ceil(total);
    let end = (u64::from(bucket + 1) << 32).div_ceil(total);
    // The last four bytes are the unknown ones; what goes before is filled up to whole blocks.
    let mut user = String::from("user-");
    while !cbor(&format!("{salt}:{user}????")).len().is_multiple_of(4) {
        user.push('-');
    }
    let bytes = cbor(&format!("{salt}:{user}????"));
    let (blocks, _) = bytes.as_chunks::<4>();
    let (_, known) = blocks.split_last()?;
    let state = known.iter().fold(0, |hash, block| step(hash, u32::from_le_bytes(*block)));
    (first..end)
        .take(ATTEMPTS as usize)
        .filter_map(|hash| u32::try_from(hash).ok())
        .map(|hash| last_block(state, unfinish(hash) ^ length(&bytes)).to_le_bytes())
        .find(|block| block.iter().all(u8::is_ascii_alphanumeric))
        .map(|block| block.iter().fold(user, |user, byte| user + &char::from(*byte).to_string()))
}

/// A text as CBOR: its length in bytes, then the bytes.
fn cbor(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 3);
    match u8::try_from(text.len()) {
        Ok(length) if length < 24 => bytes.push(0x60 | length),
        Ok(length) => bytes.extend([0x78, length]),
        Err(_) => {
            bytes.push(0x79);
            bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    bytes.extend(text.as_bytes());
    bytes
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn scramble(block: u32) -> u32 {
    block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

fn step(hash: u32, block: u32) -> u32 {
    (hash ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

/// The block that takes the state from `before` to `after`.
fn last_block(before: u32, after: u32) -> u32 {
    let scrambled = after.wrapping_sub(0xe654_6b64).wrapping_mul(FIVE_INVERSE).rotate_right(13) ^ before;
    scrambled.wrapping_mul(C2_INVERSE).rotate_right(15).wrapping_mul(C1_INVERSE)
}

fn finish(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(MIX_1);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX_2);
    hash ^ hash >> 16
}

fn unfinish(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(MIX_2_INVERSE);
    hash ^= hash >> 13 ^ hash >> 26;
    hash = hash.wrapping_mul(MIX_1_INVERSE);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_user_is_found_for_every_bucket(salt in "[a-z.é]{0,200}", wanted in 0u32..100_000) {
            let user = user_in(&salt, wanted);
            prop_assert_eq!(user.map(|user| bucket(&salt, &user)), Some(wanted));
        }
    }

    #[test]
    fn there_is_no_bucket_beyond_the_last() {
        assert_eq!(user_in("salt", 100_000), None);
    }
}
