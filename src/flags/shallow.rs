//! What a file names without being read as a whole: what nobody vouches for may become a hundred times its text once it is decoded.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Root<'a> {
    #[serde(borrow)]
    flags: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Flag<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

#[derive(Deserialize)]
struct Metadata {
    audience: String,
}

/// The audiences that flags of a file name in their metadata, whoever's they are and whatever else is wrong with them; none where the
/// text is no file.
pub fn audiences_in(text: &str) -> Vec<String> {
    let Ok(Root { flags }) = serde_json::from_str::<Root<'_>>(text) else { return Vec::new() };
    let metadata = flags.values().filter_map(|flag| serde_json::from_str::<Flag<'_>>(flag.get()).ok());
    let named = metadata.filter_map(|flag| serde_json::from_str::<Metadata>(flag.metadata.get()).ok());
    named.map(|metadata| metadata.audience).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_are_found_whatever_else_is_there() {
        let file = r#"{"$schema": 1, "flags": {
            "a": {"state": "ENABLED", "variants": [{"": 1}, {"": 1}], "metadata": {"audience": "a-1", "x": [[1e999]]}},
            "b": {"metadata": {"audience": 7}}, "c": {"metadata": "none"}, "d": 1, "e": {"targeting": {}},
            "f": {"metadata": {"audience": "f-1"}}}}"#;
        assert_eq!(audiences_in(file), ["a-1", "f-1"]);
        for none in
            ["", "[]", "{}", r#"{"flags": []}"#, "{\"flags\": {\"a\": {\"metadata\": {\"audience\": \"x\"}}"]
        {
            assert_eq!(audiences_in(none), Vec::<String>::new(), "{none}");
        }
    }
}
