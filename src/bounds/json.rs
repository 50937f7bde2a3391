//! How deep and how large a JSON value is.

use serde_json::Value;

/// How deep and how large a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most lists and objects inside of each other.
    pub depth: usize,
    /// Most values, those in lists and objects included.
    pub values: usize,
}

/// A flag in flagd's form: the schema of its rules takes a dozen calls a level.
pub const FLAG: Limits = Limits { depth: 40, values: 8000 };

/// All static flags of a FlagSet together.
pub const FLAGS: Limits = Limits { depth: FLAG.depth, values: 40_000 };

/// A variant's value, or one of a file's metadata. In a file it is some levels deeper, and a file deeper than 128 levels
/// could not be read back.
pub const VALUE: Limits = Limits { depth: 32, values: 4000 };

/// Most bytes that the conditions of all cohorts of a rollout may take in its flag, as `plan::size` tells them.
pub const CONDITIONS: usize = 48 << 10;

/// Most bytes that the variants of a rollout may take in its flag, with a copy a cohort where their names tell the cohort.
pub const VARIANTS: usize = 256 << 10;

/// Most bytes of memory that an object of the API server may take once it is decoded, as [`decoded`] tells them. It is held by whoever
/// works on it, some forty at once.
pub const OBJECT_DECODED: usize = 3 << 20;

/// The same of a FlagSet or a Playbook, which few hold at once.
pub const LARGE_OBJECT_DECODED: usize = 8 << 20;

/// The same of a source's answer.
pub const ANSWER_DECODED: usize = 8 << 20;

/// The same of a file that nobody vouches for, with what its references stand for.
pub const FILE_DECODED: usize = 12 << 20;

/// What an object takes: a tree's first node has room for eleven keys and values, however many there are.
const OBJECT: usize = 640;
/// What any other value takes at most, with what a growing list keeps free.
const OTHER: usize = 64;

/// About how many bytes of memory a JSON text takes once it is decoded: short texts may take a hundred times as much as they are long.
/// It is told by its signs alone, before anything is decoded.
pub fn decoded(text: &[u8]) -> usize {
    let (mut bytes, mut quoted, mut escaped) = (text.len(), false, false);
    for sign in text {
        match sign {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' => bytes += OBJECT,
            b'[' | b',' => bytes += OTHER,
            _ => {}
        }
    }
    bytes
}

/// The same of a value.
pub fn decoded_value(value: &Value) -> usize {
    let mut bytes = 0;
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        bytes += OTHER;
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(object) => {
                bytes += OBJECT + object.keys().map(String::len).sum::<usize>();
                left.extend(object.values());
            }
            Value::String(text) => bytes += text.len(),
            _ => {}
        }
    }
    bytes
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too deep.
    #[error("has lists and objects nested more than {0} deep")]
    Depth(usize),
    /// Too large.
    #[error("has more than {0} values")]
    Values(usize),
}

/// How many values there are, the value itself included. Reads no further than the limits, and without recursion.
///
/// # Errors
/// Which limit it exceeds.
pub fn measure(value: &Value, limits: Limits) -> Result<usize, Excess> {
    let mut values = 1;
    let mut left = vec![(value, 0)];
    while let Some((value, depth)) = left.pop() {
        let (below, inside): (usize, &mut dyn Iterator<Item = &Value>) = match value {
            Value::Array(items) => (items.len(), &mut items.iter()),
            Value::Object(object) => (object.len(), &mut object.values()),
            _ => continue,
        };
        if depth == limits.depth {
            return Err(Excess::Depth(limits.depth));
        }
        values += below;
        if values > limits.values {
            return Err(Excess::Values(limits.values));
        }
        left.extend(inside.map(|value| (value, depth + 1)));
    }
    Ok(values)
}

/// About how many bytes a value has as text, and not fewer than its texts have. Without recursion.
pub fn bytes(value: &Value) -> usize {
    let mut bytes = 0;
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        bytes += 2;
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(object) => {
                bytes += object.keys().map(|key| bytes_of_text(key) + 1).sum::<usize>();
                left.extend(object.values());
            }
            Value::String(text) => bytes += bytes_of_text(text),
            Value::Number(_) => bytes += 24,
            Value::Bool(_) | Value::Null => bytes += 5,
        }
    }
    bytes
}

/// How many bytes a text has in JSON.
pub fn bytes_of_text(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    2 + text.bytes().map(byte).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, level| match level % 2 {
            0 => Value::Array(vec![inner]),
            _ => Value::Object([("a".to_owned(), inner)].into_iter().collect()),
        })
    }

    #[rstest]
    #[case(json!(-1.234_567_890_123_456_7e-300))]
    #[case(json!([null, true, false, {"a\"\u{1}": "\\é\u{1f}", "": {}}]))]
    fn no_text_is_longer_than_was_told(#[case] value: Value) {
        let told = bytes(&value);
        let text = value.to_string().len();
        assert!(text <= told && told <= text + 24 * measure(&value, FLAGS).unwrap(), "{text}, {told}");
    }

    #[rstest]
    #[case("", 0)]
    #[case("1", 1)]
    #[case(r#"{"a":[1,2,{}]}"#, 14 + 2 * OBJECT + 3 * OTHER)]
    #[case(r#"["{[,","\"{[,\\",{}]"#, 20 + OBJECT + 3 * OTHER)]
    #[case("\"{{{{", 5)]
    fn what_a_text_takes_once_it_is_decoded_is_told_by_its_signs(
        #[case] text: &str,
        #[case] expected: usize,
    ) {
        assert_eq!(decoded(text.as_bytes()), expected);
    }

    #[test]
    fn short_texts_that_take_much_are_told_apart_from_long_ones_that_do_not() {
        let objects = format!("[{}]", vec![r#"{"":1}"#; 10_000].join(","));
        assert!(decoded(objects.as_bytes()) > 90 * objects.len());
        let value: Value = serde_json::from_str(&objects).unwrap();
        assert!(decoded_value(&value) >= decoded(objects.as_bytes()) * 9 / 10);
        let long = format!("[{:?}]", "{".repeat(70_000));
        assert!(decoded(long.as_bytes()) < 70_100);
    }

    #[rstest]
    #[case(json!(1), Ok(1))]
    #[case(json!([]), Ok(1))]
    #[case(json!({"a": [1, 2], "b": {}}), Ok(5))]
    #[case(nested(4), Ok(5))]
    #[case(nested(5), Err(Excess::Depth(4)))]
    #[case(nested(100_000), Err(Excess::Depth(4)))]
    #[case(json!([1, 2, 3, 4, 5, 6, 7, 8, 9]), Ok(10))]
    #[case(json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), Err(Excess::Values(10)))]
    fn is_measured_without_recursion(#[case] value: Value, #[case] expected: Result<usize, Excess>) {
        assert_eq!(measure(&value, Limits { depth: 4, values: 10 }), expected);
        // Dropping a value is recursive, too.
        std::mem::forget(value);
    }
}
