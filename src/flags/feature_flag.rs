//! The file in the form of a FeatureFlag's `spec.flagSpec`, and back.

use serde_json::Value;

use super::file::written;
use super::merge::SetInfo;

/// What a FeatureFlag has of a file: all but `$schema`, which its own schema does not know.
pub fn write(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap_or_default();
    if let Some(root) = value.as_object_mut() {
        root.remove("$schema");
    }
    value
}

/// The text of the file that a `flagSpec` is; `None` when it is none. What its references stand for is not put in their place: it may be
/// hundreds of times as long, and nobody has vouched for it yet.
pub fn read(mut flag_spec: Value) -> Option<String> {
    write_whole_numbers(&mut flag_spec);
    written(&flag_spec)
}

/// The file as it comes back from a FeatureFlag: the API server spells whole numbers without a fraction.
pub fn spelling(text: &str) -> String {
    read(write(text)).unwrap_or_else(|| text.to_owned())
}

/// Takes out the static flags that no FeatureFlag can hold; their paths in the FlagSet's spec, and why.
pub fn leave_out(set: &mut SetInfo) -> Vec<(String, String)> {
    let mut left_out = Vec::new();
    set.statics.retain(|key, body| {
        let fits = body.get("defaultVariant").is_some_and(Value::is_string);
        if !fits {
            let why = "without a defaultVariant it cannot be in a FeatureFlag";
            left_out.push((format!("spec.flags[{key}]"), why.to_owned()));
        }
        fits
    });
    left_out
}

fn write_whole_numbers(value: &mut Value) {
    /// Beyond it not every whole number is a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT);
            #[allow(clippy::cast_possible_truncation, reason = "it is whole and in range")]
            if let Some(whole) = whole {
                *value = Value::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(write_whole_numbers),
        Value::Object(object) => object.values_mut().for_each(write_whole_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{feature, identity, segments, status};
    use super::super::fragment::fragment;
    use super::super::{File, compose, parse};
    use super::*;

    #[test]
    fn a_file_comes_back_as_it_went() {
        let mut file = File::default();
        let variants = json!({"a": {"rate": 2.0, "share": 0.5, "much": 1e300}});
        file.set_statics([(
            "limits".to_owned(),
            json!({"state": "ENABLED", "variants": variants, "defaultVariant": "a"}),
        )]);
        file.set_metadata([("team".to_owned(), json!("web"))]);
        let text = compose(&file);
        let spelt = spelling(&text);
        assert!(spelt.contains(r#""rate":2,"#) && spelt.contains(r#""share":0.5"#), "{spelt}");
        // As the API server gives it back.
        let stored: Value = serde_json::from_str(&write(&spelt).to_string()).unwrap();
        assert!(stored.get("$schema").is_none() && stored["flags"]["limits"]["variants"]["a"]["rate"] == 2);
        assert_eq!(read(stored).as_deref(), Some(spelt.as_str()));
        assert_eq!(spelling(&spelt), spelt);
    }

    #[test]
    fn what_members_share_comes_back_as_it_went_and_takes_no_more_room() {
        let audience = segments(&["people of the north", "people of the south", "people of the east"]);
        let members = (0..40).map(|i| {
            let status = status(&audience, &[0, 50_000, 100_000], i);
            let fragment =
                fragment(&feature(&format!("f{i}")), &identity(&format!("r{i}"), "uid"), &status, &audience);
            (fragment.key, fragment.body)
        });
        let file = File { members: members.collect(), ..File::default() };
        let text = compose(&file);
        assert!(text.contains("$evaluators") && text.contains("$ref"), "{text}");
        let spelt = spelling(&text);
        let whole: Value = serde_json::from_str(&text).unwrap();
        let mut numbers = whole.clone();
        write_whole_numbers(&mut numbers);
        assert_eq!(serde_json::from_str::<Value>(&spelt).unwrap(), numbers);
        assert_eq!(parse(&spelt).unwrap().members.len(), 40);
        assert_eq!(spelling(&spelt), spelt);
        if numbers == whole {
            assert_eq!(spelt, text, "in the very bytes of a ConfigMap");
        }
        // Of any file: some letters may stand for half of it.
        let flags: serde_json::Map<String, Value> =
            (0..4000).map(|i| (format!("f{i}"), json!({"targeting": {"$ref": "e"}}))).collect();
        let stands = json!({"$evaluators": {"e": "x".repeat(27_000)}, "flags": flags});
        assert!(read(stands).unwrap().len() < 400_000);
        for none in [json!({}), json!({"flags": []}), json!([]), json!({"flags": {}, "$evaluators": 1})] {
            assert_eq!(read(none), None);
        }
    }

    #[test]
    fn a_static_flag_without_default_variant_is_left_out() {
        let statics = json!({
            "with": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"},
            "without": {"state": "ENABLED", "variants": {"a": 1}},
            "null": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": null},
        });
        let mut info = SetInfo { statics: serde_json::from_value(statics).unwrap(), ..SetInfo::default() };
        let paths: Vec<String> = leave_out(&mut info).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["spec.flags[null]", "spec.flags[without]"]);
        assert!(info.statics.keys().eq(["with"]));
    }
}
