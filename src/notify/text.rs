//! What others wrote, as it may stand in a message.

use crate::visible::{self, cut};

/// A text on one line with nothing hidden in it, of at most so many bytes.
pub fn line(text: &str, most: usize) -> String {
    cut(&visible::line(text.trim()), most)
}

/// The same with the ends of its lines kept.
pub fn lines(text: &str, most: usize) -> String {
    cut(&visible::text(text.trim()), most)
}

/// Words that call everybody of a chat.
const CALLS: [&str; 5] = ["channel", "here", "everyone", "group", "all"];

/// A text that calls nobody: `@channel` is written with another at sign.
pub fn quiet(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let word = from.get(1..).unwrap_or_default();
        let calls = CALLS.iter().any(|call| {
            word.get(..call.len()).is_some_and(|start| start.eq_ignore_ascii_case(call))
                && !word.get(call.len()..).is_some_and(|next| next.starts_with(char::is_alphanumeric))
        });
        out.push(if calls { '＠' } else { '@' });
        rest = word;
    }
    out.push_str(rest);
    out
}

/// A text as Slack's own markup writes it: no mention, link or command can begin in it.
pub fn slack(text: &str) -> String {
    quiet(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A text for a place that reads Markdown: it looks as it was written.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in quiet(text).chars() {
        if matches!(
            c,
            '\\' | '`'
                | '*'
                | '_'
                | '{'
                | '}'
                | '['
                | ']'
                | '('
                | ')'
                | '<'
                | '>'
                | '#'
                | '+'
                | '-'
                | '!'
                | '|'
                | '~'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("hello @channel", "hello ＠channel")]
    #[case("@HERE, look", "＠HERE, look")]
    #[case("@everyone@all", "＠everyone＠all")]
    #[case("ada@hereford.example", "ada@hereford.example")]
    #[case("a@b @channels", "a@b @channels")]
    #[case("@", "@")]
    fn nobody_is_called(#[case] given: &str, #[case] shown: &str) {
        assert_eq!(quiet(given), shown);
    }

    #[test]
    fn no_mention_and_no_link_of_slack_can_begin() {
        assert_eq!(
            slack("<!channel> & <https://x|y> @here"),
            "&lt;!channel&gt; &amp; &lt;https://x|y&gt; ＠here"
        );
        assert_eq!(markdown("[x](http://y) *b*"), "\\[x\\]\\(http://y\\) \\*b\\*");
    }

    #[test]
    fn texts_are_bounded_and_have_nothing_hidden() {
        assert_eq!(line("a\nb\u{202e}", 100), "a\\nb\\u{202e}");
        assert_eq!(lines("a\nb\u{1b}", 100), "a\nb\\u{1b}");
        let long = line(&"ä".repeat(100), 21);
        assert!(long.len() <= 21 && long.ends_with('…'), "{long}");
    }
}
