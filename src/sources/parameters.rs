//! Names of query parameters that a server could take for another one.
//!
//! Servers read `NS`, `ns[]`, `ns%00` and `ns.x` in ways of their own, some of them as `ns`. So beside a parameter that is
//! forced on a query none may stand whose name is only spelt differently.

/// Whether a name can be told from a forced one by every server.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(name: &str, forced: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
    if name == forced || is_plain_text(name, is_plain) && skeleton(name) != skeleton(forced) {
        return Ok(());
    }
    Err(format!(
        "the source gives {forced:?} itself: beside it a name has letters, digits, _ - . [ ] only, and is not just another \
         way of writing that"
    ))
}

fn is_plain_text(name: &str, is_plain: impl Fn(char) -> bool) -> bool {
    !name.is_empty() && name.chars().all(is_plain)
}

/// What servers make of a name: up to the first bracket or dot, whatever the case, and with one sign for several.
fn skeleton(name: &str) -> String {
    let name = name.trim_matches(['[', ']', '.', '-', '_']);
    let name = name.split(['[', ']', '.']).next().unwrap_or_default();
    name.to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("NS")]
    #[case("Ns")]
    #[case("ns[]")]
    #[case("ns[0]")]
    #[case("[ns]")]
    #[case("ns.x")]
    #[case("ns%00")]
    #[case("ns\0")]
    #[case("%6es")]
    #[case("%256es")]
    #[case(" ns")]
    #[case("ns ")]
    #[case("ns\n")]
    #[case("ns;x")]
    #[case("ｎｓ")]
    #[case("n\u{200b}s")]
    #[case("")]
    fn looks_like_the_forced_one(#[case] name: &str) {
        assert!(check(name, "ns").is_err(), "{name:?}");
    }

    #[rstest]
    #[case("service")]
    #[case("namespace")]
    #[case("filter[name]")]
    #[case("nsx")]
    fn is_another(#[case] name: &str) {
        assert_eq!(check(name, "ns"), Ok(()));
    }
}
