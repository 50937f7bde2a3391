//! How users fall into buckets: flagd's evaluators hash by one of three generations of its rule.
//!
//! The engine used here is of the third, as the providers for Rust and Python are. The second, of Node and Go, is computed here
//! for the keys that both hash alike. The first is not: its rounding differs from language to language.

use open_feature::EvaluationContext;
use serde_json::Value;

use super::engine;

/// The generation of an evaluator's hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generation {
    /// MurmurHash3 of the text: Node and Go.
    Second,
    /// MurmurHash3 of the text as CBOR: Rust and Python.
    #[default]
    Third,
}

/// The rule with every split decided as evaluators of the second generation decide it.
///
/// # Errors
/// Why a split cannot be decided so.
pub(super) fn settled(rule: &Value, key: &str, context: &EvaluationContext) -> Result<Value, String> {
    Ok(match rule {
        Value::Object(map) => match map.get("fractional") {
            Some(split) if map.len() == 1 => decide(split, key, context)?,
            _ => {
                let settle =
                    |(name, value): (&String, &Value)| Ok((name.clone(), settled(value, key, context)?));
                Value::Object(map.iter().map(settle).collect::<Result<_, String>>()?)
            }
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| settled(item, key, context));
            Value::Array(items.collect::<Result<_, String>>()?)
        }
        literal => literal.clone(),
    })
}

/// The variant of the bucket that the user falls into; null, as the rule has it, for a user without a key.
fn decide(split: &Value, key: &str, context: &EvaluationContext) -> Result<Value, String> {
    let parts = split.as_array().ok_or("a split is no list")?;
    let (user, buckets) = match parts.split_first() {
        Some((by, buckets)) if !by.is_array() => {
            let rule = serde_json::json!({"if": [true, by]}).to_string();
            (engine::apply(key, &rule, context).map_err(|error| error.to_string())?, buckets)
        }
        // Without an expression the users of each flag are shuffled anew.
        _ => (context.targeting_key.as_ref().map(|user| format!("{key}{user}")), parts.as_slice()),
    };
    let Some(user) = user else { return Ok(Value::Null) };
    if !user.is_ascii() {
        return Err(format!(
            "Node and Go hash {user:?} differently, as it is not ASCII: there is no common answer"
        ));
    }
    let weight = |bucket: &Value| bucket.get(1).map_or(Some(1), Value::as_u64);
    let weights: Option<Vec<u64>> = buckets.iter().map(weight).collect();
    let weights = weights.ok_or("a split has a weight that is no whole number")?;
    let total: u64 = weights.iter().sum();
    let place = (u64::from(murmur3(user.as_bytes())).saturating_mul(total)) >> 32;
    let mut end = 0;
    for (bucket, weight) in buckets.iter().zip(weights) {
        end += weight;
        if place < end {
            return Ok(bucket.get(0).cloned().unwrap_or_default());
        }
    }
    Ok(Value::Null)
}

/// MurmurHash3, 32 bits, seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let mut hash: u32 = 0;
    let chunks = bytes.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        hash = (hash ^ mix(word(chunk))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !rest.is_empty() {
        hash ^= mix(word(rest));
    }
    #[allow(clippy::cast_possible_truncation, reason = "the length is taken modulo 2^32")]
    let length = bytes.len() as u32;
    hash ^= length;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    // Published vectors of the algorithm.
    #[rstest]
    #[case("", 0)]
    #[case("test", 0xba6b_d213)]
    #[case("hello", 0x248b_fa47)]
    #[case("The quick brown fox jumps over the lazy dog", 0x2e4f_f723)]
    fn the_hash_is_murmur3(#[case] text: &str, #[case] hash: u32) {
        assert_eq!(murmur3(text.as_bytes()), hash);
    }

    fn takes_in(user: &str, weight: u32) -> Result<Value, String> {
        let split = json!({"fractional": [
            {"cat": ["dreams", ":", {"var": "targetingKey"}]}, ["enabled", weight], ["disabled", 100_000 - weight]
        ]});
        let context = json!({"targetingKey": user});
        settled(&split, "dreams", &engine::context(context.as_object().unwrap()))
    }

    // What @openfeature/flagd-core 4.0.1 answered: of user-0, user-1 and so on, the first eight that are taken in.
    #[rstest]
    #[case(500, &[46, 186, 289, 624, 952, 1118, 1349, 1527])]
    #[case(25_000, &[4, 6, 8, 10, 15, 23, 24, 25])]
    #[case(99_500, &[0, 1, 2, 3, 4, 5, 6, 7])]
    fn the_second_generation_takes_in_whom_node_takes_in(#[case] weight: u32, #[case] users: &[u32]) {
        let taken = (0..2000).filter(|i| takes_in(&format!("user-{i}"), weight) == Ok(json!("enabled")));
        assert_eq!(taken.take(8).collect::<Vec<u32>>(), users);
    }

    #[test]
    fn where_node_and_go_differ_there_is_no_answer() {
        assert!(takes_in("Jürgen", 50_000).is_err());
    }

    #[test]
    fn a_split_is_settled_wherever_it_stands() {
        let rule = json!({"if": [{"==": [1, 1]}, {"fractional": [["a", 1], ["b", 0]]}, "c"]});
        let context = json!({"targetingKey": "u"});
        let settled = settled(&rule, "k", &engine::context(context.as_object().unwrap()));
        assert_eq!(settled, Ok(json!({"if": [{"==": [1, 1]}, "a", "c"]})));
    }
}
