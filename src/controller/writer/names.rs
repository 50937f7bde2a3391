//! Names of ConfigMaps that files may be made under. Who may write a FlagSet or a rollout has a file made under a name of their
//! choice; there are names that others of the namespace read without asking who wrote them.

use std::fmt;
use std::str::FromStr;

/// The names that are allowed where nothing else is said: all but those of the cluster's own ConfigMaps and of certificates.
pub const DEFAULT: &str = "*,!kube-*,!*-ca,!*-ca-*,!*-ca.*,!*-root-cert*";

/// Patterns of names, in which `*` stands for any text. A name is allowed that one of them takes in and none of those with
/// a `!` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputNames {
    allowed: Vec<String>,
    refused: Vec<String>,
}

/// Why patterns cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A pattern has something in it that no name has.
    #[error(
        "{0:?} is no pattern of names: it takes lower-case letters, digits, '-', '.' and '*', with '!' before what is refused"
    )]
    Pattern(String),
    /// Nothing is allowed.
    #[error("no pattern allows a name: begin with '*' to allow all but the refused ones")]
    Nothing,
}

impl FromStr for OutputNames {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<OutputNames, PatternError> {
        let mut names = OutputNames { allowed: Vec::new(), refused: Vec::new() };
        for pattern in text.split(',').map(str::trim) {
            let (list, glob) = match pattern.strip_prefix('!') {
                Some(glob) => (&mut names.refused, glob),
                None => (&mut names.allowed, pattern),
            };
            let is_one = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.*".contains(c);
            if glob.is_empty() || !glob.chars().all(is_one) {
                return Err(PatternError::Pattern(pattern.to_owned()));
            }
            list.push(glob.to_owned());
        }
        if names.allowed.is_empty() { Err(PatternError::Nothing) } else { Ok(names) }
    }
}

impl fmt::Display for OutputNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.refused.iter().map(|glob| format!("!{glob}"));
        let all: Vec<String> = self.allowed.iter().cloned().chain(refused).collect();
        f.write_str(&all.join(","))
    }
}

impl Default for OutputNames {
    fn default() -> OutputNames {
        let all = || OutputNames { allowed: vec!["*".to_owned()], refused: Vec::new() };
        DEFAULT.parse().unwrap_or_else(|_| all())
    }
}

impl OutputNames {
    /// Whether a file may be made under a name.
    pub fn allow(&self, name: &str) -> bool {
        let any = |globs: &[String]| globs.iter().any(|glob| takes_in(glob, name));
        any(&self.allowed) && !any(&self.refused)
    }
}

/// Whether a pattern takes in a name: its parts between stars are there, in order, the first at the beginning and the last at
/// the end.
fn takes_in(glob: &str, name: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else { return glob == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match name.find(part) {
            Some(at) => name = name.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("new-search", true)]
    #[case("search-categories", true)]
    #[case("my-cats", true)]
    #[case("ca", true)]
    #[case("kube-root-ca.crt", false)]
    #[case("kube-proxy", false)]
    #[case("istio-ca-root-cert", false)]
    #[case("trusted-ca", false)]
    #[case("trusted-ca-bundle", false)]
    #[case("openshift-service-ca.crt", false)]
    #[case("linkerd-identity-trust-root-certs", false)]
    fn by_default_no_file_takes_the_name_of_certificates_or_of_the_clusters_own(
        #[case] name: &str,
        #[case] allowed: bool,
    ) {
        assert_eq!(OutputNames::default().allow(name), allowed);
        assert_eq!(DEFAULT.parse(), Ok(OutputNames::default()));
        assert_eq!(OutputNames::default().to_string(), DEFAULT);
    }

    #[rstest]
    #[case("flags-*", "flags-web", true)]
    #[case("flags-*", "flags-", true)]
    #[case("flags-*", "my-flags-web", false)]
    #[case("web", "web", true)]
    #[case("web", "webs", false)]
    #[case("a*b*c", "abc", true)]
    #[case("a*b*c", "a-b-b-c", true)]
    #[case("a*b*c", "acb", false)]
    #[case("*aa", "aa", true)]
    #[case("a*a", "a", false)]
    #[case("flags-*,web, !*-old", "web", true)]
    #[case("flags-*,web, !*-old", "flags-old", false)]
    fn a_star_is_any_text(#[case] patterns: &str, #[case] name: &str, #[case] allowed: bool) {
        assert_eq!(patterns.parse::<OutputNames>().unwrap().allow(name), allowed);
    }

    #[rstest]
    #[case("")]
    #[case("*,")]
    #[case("!")]
    #[case("Web")]
    #[case("a/b")]
    #[case("*,!é")]
    fn what_no_name_has_is_no_pattern(#[case] patterns: &str) {
        assert!(matches!(patterns.parse::<OutputNames>(), Err(PatternError::Pattern(_))));
        assert_eq!("!kube-*".parse::<OutputNames>(), Err(PatternError::Nothing));
    }

    proptest! {
        #[test]
        fn a_pattern_is_what_the_same_regular_expression_is(glob in "[ab*]{1,8}", name in "[ab]{0,8}") {
            let same = regex_automata::meta::Regex::new(&format!("^{}$", glob.replace('*', ".*"))).unwrap();
            prop_assert_eq!(takes_in(&glob, &name), same.is_match(&name));
        }
    }
}
