//! JSONPaths that are short, shallow and linear: nothing in them nests far, and nothing multiplies in an answer.

use serde_json_path::JsonPath;

use super::nesting;
use crate::bounds;

/// Most bytes of a path.
const LONGEST: usize = 1024;
/// Most brackets: the parser calls itself for each that is open.
const BRACKETS: usize = 32;
/// Most calls of functions: the parser reads what is in one again where it may be something else, in each of them.
const CALLS: usize = 4;
/// Most comparisons that a filter joins: each is made for each value of the answer.
const JOINS: usize = 15;

/// Reads a path.
///
/// # Errors
/// It is none, or takes more than it may.
pub(super) fn parse(text: &str) -> Result<JsonPath, String> {
    if text.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} characters"));
    }
    if bounds::brackets(text) > BRACKETS {
        return Err(format!("it has more than {BRACKETS} brackets"));
    }
    let bare = nesting::outside_quotes(text);
    let times = |what| bare.matches(what).count();
    if times("..") > 1 || times("?") > 1 || times("$") > 1 || has_union(&bare) {
        return Err("it may have one .., one filter and one $, and no union".to_owned());
    }
    if calls(&bare) > CALLS || times("&&") + times("||") > JOINS {
        return Err(format!("a filter may have {CALLS} calls of functions and {JOINS} times && or ||"));
    }
    #[allow(clippy::disallowed_methods, reason = "it is bounded by now")]
    JsonPath::parse(text).map_err(|error| bounds::cut(&error.to_string()).into_owned())
}

/// Parentheses that follow a name.
fn calls(bare: &str) -> usize {
    let parts: Vec<&str> = bare.split('(').collect();
    let named = |part: &&&str| part.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    parts.iter().rev().skip(1).filter(named).count()
}

/// Whether a comma stands anywhere but between the arguments of a function.
fn has_union(bare: &str) -> bool {
    let mut depth = 0_i32;
    bare.chars().any(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("$")]
    #[case("$.data[?@.name == 'a (b' && (@.at > 1 || !(@.gone))].values[-1]")]
    #[case("$.a['x, ?..y'][?count(@.b) > 1].value")]
    #[case("$[?length(value(@.a)) > 1]")]
    fn may_be_asked(#[case] text: &str) {
        assert!(parse(text).is_ok(), "{:?}", parse(text));
    }

    /// 800 parentheses overflowed a thread's stack, and each call doubled the time.
    #[rstest]
    #[case(format!("$[?{}@.a{}]", "(".repeat(2000), ")".repeat(2000)), "characters")]
    #[case(format!("$[?{}@.a{}]", "(".repeat(40), ")".repeat(40)), "brackets")]
    #[case(format!("$[?{}@.a{}]", "!(".repeat(40), ")".repeat(40)), "brackets")]
    #[case(format!("$[?{}@.a{}]", "count(".repeat(30), ")".repeat(30)), "calls")]
    #[case(format!("${}", "[?@".repeat(20)), "one filter")]
    #[case(format!("$[?@.a{}]", " || @.a".repeat(20)), "&&")]
    fn takes_too_much(#[case] text: String, #[case] says: &str) {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
