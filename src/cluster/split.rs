//! Cuts the answer to a list into its items while it arrives, so that no answer is held in memory as a whole and no item
//! has a say in what becomes of the others.

/// The answer to a list as far as it has arrived: JSON, of which only the nesting is looked at.
#[derive(Default)]
pub struct Splitter {
    /// Everything but the items.
    envelope: Vec<u8>,
    /// The item that is arriving.
    item: Vec<u8>,
    /// Open objects and lists.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Where in the envelope the last string of the outermost object begins.
    key: usize,
    /// Whether that string is `items` and nothing but a colon came since.
    items_follow: bool,
    in_items: bool,
}

/// Depth of the outermost object's fields.
const FIELDS: usize = 1;
/// Depth inside of the list of items.
const ITEMS: usize = 2;

impl Splitter {
    /// Takes in what has arrived, and gives each item that is complete by now to `take`.
    pub fn feed(&mut self, bytes: &[u8], take: &mut impl FnMut(Vec<u8>)) {
        for &byte in bytes {
            if self.in_string {
                self.in_text(byte);
            } else {
                self.outside_text(byte, take);
            }
        }
    }

    /// The answer without its items, once all of it has arrived.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    fn in_text(&mut self, byte: u8) {
        self.put(byte);
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                if self.depth == FIELDS {
                    self.items_follow = self.envelope.get(self.key..) == Some(b"\"items\"");
                }
            }
            _ => {}
        }
    }

    fn outside_text(&mut self, byte: u8, take: &mut impl FnMut(Vec<u8>)) {
        let opens_items = byte == b'[' && self.depth == FIELDS && self.items_follow;
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == FIELDS {
                    self.key = self.envelope.len();
                }
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if !matches!(byte, b':' | b' ' | b'\t' | b'\n' | b'\r') {
            self.items_follow = false;
        }
        if self.in_items && self.depth == FIELDS {
            self.in_items = false;
        }
        // What stands between the items belongs to none.
        if self.in_items && self.depth == ITEMS && self.item.is_empty() {
            return;
        }
        self.put(byte);
        if self.in_items && self.depth == ITEMS && matches!(byte, b'}' | b']') {
            take(std::mem::take(&mut self.item));
        }
        self.in_items |= opens_items;
    }

    fn put(&mut self, byte: u8) {
        if self.in_items { &mut self.item } else { &mut self.envelope }.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The items and the envelope of an answer that arrives in pieces of this length.
    fn split(text: &str, piece: usize) -> (Vec<String>, String) {
        let (mut splitter, mut items) = (Splitter::default(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            splitter.feed(piece, &mut |item| items.push(String::from_utf8(item).unwrap()));
        }
        (items, String::from_utf8(splitter.envelope().to_vec()).unwrap())
    }

    #[test]
    fn a_list_is_cut_at_its_items_however_it_is_written() {
        let table: [(&str, &[&str], &str); 7] = [
            (
                r#"{"kind":"L","items":[{"a":1},{"b":[2]}],"m":{}}"#,
                &[r#"{"a":1}"#, r#"{"b":[2]}"#],
                r#"{"kind":"L","items":[],"m":{}}"#,
            ),
            (
                "{ \"items\" : [ {\"a\":1} ,\n {\"b\":2} ] }",
                &["{\"a\":1}", "{\"b\":2}"],
                "{ \"items\" : [] }",
            ),
            (r#"{"items":[]}"#, &[], r#"{"items":[]}"#),
            (
                r#"{"items":null,"x":["items",{"items":[{}]}]}"#,
                &[],
                r#"{"items":null,"x":["items",{"items":[{}]}]}"#,
            ),
            (r#"{"x":"items","y":[1]}"#, &[], r#"{"x":"items","y":[1]}"#),
            (
                r#"{"items":[{"t":"\"]}\\"},{"items":[{}]}]}"#,
                &[r#"{"t":"\"]}\\"}"#, r#"{"items":[{}]}"#],
                r#"{"items":[]}"#,
            ),
            (r#"{"\"items\"":[1]}"#, &[], r#"{"\"items\"":[1]}"#),
        ];
        for (text, items, envelope) in table {
            for piece in [1, 2, 7, 1000] {
                let found = split(text, piece);
                assert_eq!(
                    found,
                    (items.iter().map(|i| (*i).to_owned()).collect(), envelope.to_owned()),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn nesting_has_no_limit_here() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let (items, envelope) = split(&format!("{{\"items\":[{deep},{{}}],\"metadata\":{{}}}}"), 4096);
        assert_eq!(items, [deep, "{}".to_owned()]);
        assert_eq!(envelope, "{\"items\":[],\"metadata\":{}}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|n| json!(n)),
            any::<String>().prop_map(|s| json!(s)),
            Just(json!("items")),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
                prop::collection::hash_map(
                    prop_oneof![Just("items".to_owned()), any::<String>()],
                    inner,
                    0..4
                )
                .prop_map(|map| json!(map)),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        prop::collection::hash_map(any::<String>(), value(), 0..4).prop_map(|map| json!(map))
    }

    proptest! {
        #[test]
        fn any_list_comes_out_as_it_went_in(
            items in prop::collection::vec(object(), 0..5),
            metadata in object(),
            piece in 1_usize..64,
            pretty in any::<bool>(),
        ) {
            let list = json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": metadata});
            let text = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) };
            let (found, envelope) = split(&text.unwrap(), piece);
            let found: Vec<Value> = found.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
            prop_assert_eq!(found, items);
            let envelope: Value = serde_json::from_str(&envelope).unwrap();
            prop_assert_eq!(&envelope["metadata"], &metadata);
            prop_assert_eq!(&envelope["items"], &json!([]));
        }
    }
}
