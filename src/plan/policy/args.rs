//! Arguments of a policy: `$(name)` stands for one in the value of a metric's argument.

use std::collections::BTreeMap;

use crate::api::rolloutpolicy::PolicyArg;

/// A text cut at its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Arg(&'a str),
}

/// Cuts a text at its arguments. `$$(name)` is the text `$(name)`, and a `$` that no bracket follows is itself.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        let (name, behind) =
            after.split_once(')').ok_or("has a $( without a ): write $(name), or $$( for the text $(")?;
        if let Some(before) = before.strip_suffix('$') {
            // The text goes on with `$(`, which begins where the second `$` stands.
            let literal = rest.get(before.len() + 1..rest.len() - behind.len()).unwrap_or_default();
            pieces.extend([Piece::Text(before), Piece::Text(literal)]);
        } else {
            let mut letters = name.bytes();
            let begins_well = letters.next().is_some_and(|b| b.is_ascii_alphabetic());
            if !begins_well || !letters.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err("has something else than the name of an argument between $( and )");
            }
            pieces.extend([Piece::Text(before), Piece::Arg(name)]);
        }
        rest = behind;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// A text with its arguments filled in: with what the rollout gives, else with the policy's defaults.
///
/// # Errors
/// The names of those that have neither.
pub(super) fn fill(
    text: &str,
    declared: &[PolicyArg],
    given: &BTreeMap<String, String>,
) -> Result<String, Vec<String>> {
    let default =
        |name: &str| declared.iter().find(|arg| arg.name == name).and_then(|arg| arg.default.as_ref());
    let (mut filled, mut missing) = (String::new(), Vec::new());
    for piece in pieces(text).unwrap_or_default() {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Arg(name) => match given.get(name).or_else(|| default(name)) {
                Some(value) => filled.push_str(value),
                None => missing.push(name.to_owned()),
            },
        }
    }
    if missing.is_empty() { Ok(filled) } else { Err(missing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("plain", Ok("plain"))]
    #[case("$(service)", Ok("dreams"))]
    #[case("svc-$(service)-$(zone)", Ok("svc-dreams-eu"))]
    #[case("$$(service)", Ok("$(service)"))]
    #[case("a$$(x)b$(zone)", Ok("a$(x)beu"))]
    #[case("5$ and $", Ok("5$ and $"))]
    #[case("", Ok(""))]
    #[case("$(team)/$(other)/$(service)", Err(&["team", "other"][..]))]
    fn arguments_are_filled_in(#[case] text: &str, #[case] filled: Result<&str, &[&str]>) {
        let arg = |name: &str, default: Option<&str>| PolicyArg {
            name: name.to_owned(),
            default: default.map(str::to_owned),
            description: None,
        };
        let declared =
            [arg("service", Some("web")), arg("zone", Some("eu")), arg("team", None), arg("other", None)];
        let given = BTreeMap::from([("service".to_owned(), "dreams".to_owned())]);
        let filled =
            filled.map(str::to_owned).map_err(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(fill(text, &declared, &given), filled);
    }

    #[rstest]
    #[case("$(")]
    #[case("$(service")]
    #[case("$()")]
    #[case("$(1)")]
    #[case("$(a b)")]
    #[case("$$(")]
    fn what_is_no_argument_is_refused(#[case] text: &str) {
        assert!(pieces(text).is_err());
    }
}
