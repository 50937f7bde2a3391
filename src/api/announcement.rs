//! What the users of a feature are told of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most characters of a title.
pub const MAX_TITLE: usize = 200;
/// Most characters of a body.
pub const MAX_BODY: usize = 2000;
/// Most characters of a link, all of them ASCII.
pub const MAX_LINK: usize = 1024;
/// What a title is: one line.
const TITLE: &str = r"^[^\x00-\x1f\x7f]+$";
/// What a link is: an address for browsers, without anything that would end it in markup.
const LINK: &str = r#"^https?://[\x21\x23-\x3b\x3d\x3f-\x5b\x5d-\x7e]+$"#;

/// What the users of a feature are told of it: in the app, in the changelog and in digests.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// What is new, on one line, such as `Dreams is here`.
    #[schemars(length(min = 1, max = 200), regex(pattern = TITLE))]
    pub title: String,
    /// What it is good for, as plain text; an empty line begins a new paragraph. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub body: Option<String>,
    /// Where users read more: an address that begins with `https://` or `http://`. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = LINK))]
    pub link: Option<String>,
    /// Whether the app is asked to show it as a banner, and not only among its news. The app reads it in the value of
    /// the flag. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub banner: bool,
}

/// The ConfigMap in which the announcements of a FlagSet's finished rollouts are kept for people to read.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct ChangelogOutput {
    /// Name of the ConfigMap, in this namespace; none of `outputs`. It is made where it does not exist; one that belongs
    /// to somebody else is never taken.
    #[schemars(length(min = 1, max = 253), regex(pattern = super::flagset::OBJECT_NAME))]
    pub config_map: String,
    /// Title of the changelog, on one line, such as `What is new in Maya`. Default: `Changelog of` and the name of the
    /// FlagSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = TITLE))]
    pub title: Option<String>,
    /// The page that the feed belongs to: an address that begins with `https://` or `http://`. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = LINK))]
    pub link: Option<String>,
    /// Most entries that are kept, the newest; fewer where they would take more than 512 KiB.
    #[serde(default = "entries")]
    #[schemars(range(min = 1, max = 200))]
    pub entries: i32,
}

fn entries() -> i32 {
    50
}

/// What is wrong with a title, if anything is.
pub fn objection_to_title(title: &str) -> Option<&'static str> {
    let fits = (1..=MAX_TITLE).contains(&title.chars().count());
    (!fits || title.chars().any(|c| c.is_ascii_control()))
        .then_some("is not 1 to 200 characters on one line, without control characters")
}

/// What is wrong with a body, if anything is.
pub fn objection_to_body(body: &str) -> Option<&'static str> {
    (body.chars().count() > MAX_BODY).then_some("has more than 2000 characters")
}

/// What is wrong with a link, if anything is.
pub fn objection_to_link(link: &str) -> Option<&'static str> {
    let rest = ["https://", "http://"].iter().find_map(|scheme| link.strip_prefix(scheme));
    let is_plain =
        |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !r#""<>\"#.contains(c));
    (link.len() > MAX_LINK || !rest.is_some_and(is_plain)).then_some(
        "is no address of at most 1024 characters that begins with https:// or http://, without spaces, quotes, < and >",
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://example.com/news?a=1&b=(2)#x", true)]
    #[case("http://[::1]:8080/", true)]
    #[case("javascript:alert(1)", false)]
    #[case("https://", false)]
    #[case("https://a b", false)]
    #[case("https://a\"onclick=", false)]
    #[case("https://a><script>", false)]
    #[case("https://a\\b", false)]
    #[case("https://münchen.example", false)]
    #[case("https://a\n", false)]
    fn a_link_is_an_address_for_browsers_and_ends_no_markup(#[case] link: &str, #[case] right: bool) {
        assert_eq!(objection_to_link(link).is_none(), right);
        let same = regex_automata::meta::Regex::new(LINK).unwrap();
        assert_eq!(same.is_match(link), right, "the schema says the same");
    }

    #[rstest]
    #[case("Dreams is here", true)]
    #[case("", false)]
    #[case("a\nb", false)]
    #[case("a\u{7f}", false)]
    fn a_title_is_one_line(#[case] title: &str, #[case] right: bool) {
        assert_eq!(objection_to_title(title).is_none(), right);
        let same = regex_automata::meta::Regex::new(TITLE).unwrap();
        assert_eq!(same.is_match(title), right, "the schema says the same");
    }

    #[test]
    fn texts_are_bounded_by_their_characters() {
        assert!(objection_to_title(&"ä".repeat(MAX_TITLE)).is_none());
        assert!(objection_to_title(&"ä".repeat(MAX_TITLE + 1)).is_some());
        assert!(objection_to_body(&"ä".repeat(MAX_BODY)).is_none());
        assert!(objection_to_body(&"ä".repeat(MAX_BODY + 1)).is_some());
        assert!(objection_to_link(&format!("https://{}", "a".repeat(MAX_LINK))).is_some());
    }
}
