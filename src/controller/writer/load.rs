//! What an offer carries: the rendered flag, and the audience that it is checked by. Most take a few KB. One of the largest takes some
//! hundred as it is used, and thousands may wait for their turn: until then these are compressed.

use std::sync::Arc;

use lz4_flex::block::{compress_prepend_size, decompress_size_prepended};
use serde_json::Value;

use crate::flags::Fragment;
use crate::plan::Audience;

/// From how many bytes of memory on a flag waits compressed.
const HEAVY: usize = 16 * 1024;

/// A rendered flag and its audience.
#[derive(Clone)]
pub struct Load(Form);

#[derive(Clone)]
enum Form {
    Open(Arc<Audience>, Arc<Fragment>),
    /// Compressed JSON of the audience and of the flag's body, with all else of the flag, and what the body weighs.
    Packed(Arc<[u8]>, Arc<Fragment>, usize),
}

impl Load {
    /// Takes in a flag as it was rendered.
    pub fn new(audience: Arc<Audience>, fragment: Fragment) -> Load {
        let weight = weight(&fragment.body);
        let text = (weight > HEAVY).then(|| serde_json::to_vec(&(&*audience, &fragment.body)).ok()).flatten();
        Load(match text {
            Some(text) => {
                let head = Fragment { body: Value::Null, ..fragment };
                Form::Packed(compress_prepend_size(&text).into(), Arc::new(head), weight)
            }
            None => Form::Open(audience, Arc::new(fragment)),
        })
    }

    /// Audience and flag.
    ///
    /// # Errors
    /// When what was packed cannot be read, which nothing should bring about.
    pub fn open(&self) -> Result<(Arc<Audience>, Arc<Fragment>), String> {
        let (packed, head) = match &self.0 {
            Form::Open(audience, fragment) => return Ok((audience.clone(), fragment.clone())),
            Form::Packed(packed, head, _) => (packed, head),
        };
        let text = decompress_size_prepended(packed).map_err(|error| error.to_string())?;
        let (audience, body) = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        Ok((Arc::new(audience), Arc::new(Fragment { body, ..(**head).clone() })))
    }

    /// About how many bytes of memory the flag takes where it is used.
    pub fn weight(&self) -> usize {
        match &self.0 {
            Form::Open(_, fragment) => weight(&fragment.body),
            Form::Packed(.., weight) => *weight,
        }
    }
}

/// About how many bytes of memory a value takes: a map has a node of several hundred bytes for up to eleven entries.
fn weight(value: &Value) -> usize {
    const EACH: usize = 32;
    const NODE: usize = 640;
    EACH + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(map) => {
            map.len().div_ceil(11) * NODE
                + map.iter().map(|(key, value)| key.len() + weight(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::flags::fixtures::everyone;

    fn fragment(body: Value) -> Fragment {
        let text = |text: &str| text.to_owned();
        Fragment {
            key: text("k"),
            namespace: text("ns"),
            rollout: text("r"),
            uid: text("u"),
            revision: 7,
            body,
        }
    }

    #[test]
    fn the_weight_of_a_flag_is_what_it_takes() {
        assert_eq!(weight(&json!("abc")), 35);
        assert!(weight(&json!({"if": [{"==": [{"var": "a"}, 1]}, "x", null]})) > 3 * 640);
    }

    proptest! {
        #[test]
        fn what_is_carried_comes_out_as_it_was(number in any::<f64>(), count in 0_usize..2000, text in ".*") {
            let body = json!({"variants": {"a": number, "b": vec![json!({"x": text}); count]}, "z": [null, true, i64::MIN, u64::MAX]});
            let load = Load::new(Arc::new(everyone()), fragment(body.clone()));
            let is_packed = matches!(load.0, Form::Packed(..));
            prop_assert_eq!(is_packed, weight(&body) > HEAVY);
            prop_assert_eq!(load.weight(), weight(&body));
            let (audience, flag) = load.open().unwrap();
            prop_assert_eq!(&*audience, &everyone());
            prop_assert_eq!(&*flag, &fragment(body));
        }
    }

    #[test]
    fn a_heavy_one_takes_little_while_it_waits() {
        let rule = json!({"and": [{"==": [{"var": "segment"}, "A"]}, {"==": [{"var": "region"}, "eu"]}]});
        let load = Load::new(Arc::new(everyone()), fragment(json!({"targeting": {"or": vec![rule; 200]}})));
        let Form::Packed(packed, ..) = &load.0 else { panic!("it is heavy: {}", load.weight()) };
        assert!(packed.len() * 50 < load.weight(), "{} of {}", packed.len(), load.weight());
    }
}
