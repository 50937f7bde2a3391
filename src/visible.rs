//! Text that others wrote, as it may be printed.
//!
//! Reasons, messages, names of flags and the like come from whoever may write an object. A terminal obeys some characters:
//! escapes move the cursor and hide lines, a carriage return overwrites one, a newline forges a row, and marks of
//! direction turn letters around. Whatever is printed passes [`text`]; what belongs on one line passes [`line`] before.

use std::borrow::Cow;
use std::fmt::Write;

/// At most so many bytes of a text, whole characters of it; what is left out is told by an ellipsis.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most.saturating_sub('…'.len_utf8())).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", text.get(..end.unwrap_or(0)).unwrap_or_default())
}

/// The text with everything that a terminal would obey or hide spelt out, but for the ends of its lines.
pub fn text(text: &str) -> Cow<'_, str> {
    spelt(text, |c| c != '\n' && is_hidden(c), |out, c| _ = write!(out, "{}", c.escape_default()))
}

/// The same on one line: the ends of lines are spelt out, too.
pub fn line(text: &str) -> Cow<'_, str> {
    spelt(text, is_hidden, |out, c| _ = write!(out, "{}", c.escape_default()))
}

/// JSON that reads as before, with those characters as JSON escapes. They can stand only in its strings.
pub fn json(text: &str) -> Cow<'_, str> {
    spelt(
        text,
        |c| c != '\n' && is_hidden(c),
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

/// The text as it may stand in an element of HTML or XML, and in an attribute's quotes.
pub fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The text as it may stand in Markdown, on one line: it forges no cell, no markup, no link, and calls nobody.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in line(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("&#64;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn spelt(text: &str, hidden: impl Fn(char) -> bool, spell: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) { spell(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Whether a character does something else than being seen: controls, marks of direction, invisible ones.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, Arabic letter mark, the Mongolian vowel separator and its kin.
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            // Zero-width spaces and joiners, and marks of direction.
            | '\u{200b}'..='\u{200f}'
            // Separators of lines and paragraphs, embeddings and overrides of direction.
            | '\u{2028}'..='\u{202e}'
            // Word joiner, invisible operators, isolates of direction, deprecated controls.
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            // Shorthand and musical controls, tags.
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("Träume für alle → 5 %, 東京 🙂", "Träume für alle → 5 %, 東京 🙂")]
    #[case::colours("\u{1b}[31mred", "\\u{1b}[31mred")]
    #[case::c1("\u{9b}2J", "\\u{9b}2J")]
    #[case::overwrites("bad\rgood", "bad\\rgood")]
    #[case::forges_a_row("x\ndefault/evil  True", "x\\ndefault/evil  True")]
    #[case::tab("a\tb", "a\\tb")]
    #[case::turns_around("50\u{202e}%", "50\\u{202e}%")]
    #[case::isolates("\u{2066}a\u{2069}", "\\u{2066}a\\u{2069}")]
    #[case::paragraph("a\u{2029}b", "a\\u{2029}b")]
    #[case::nothing_to_see("ad\u{200b}min", "ad\\u{200b}min")]
    #[case::tags("a\u{e0041}", "a\\u{e0041}")]
    #[case::deletes("a\u{7f}", "a\\u{7f}")]
    fn what_a_terminal_would_obey_is_spelt_out(#[case] given: &str, #[case] shown: &str) {
        assert_eq!(line(given), shown);
        assert_eq!(text(given), shown.replace("\\n", "\n"));
    }

    proptest! {
        #[test]
        fn json_stays_the_same_value_and_holds_nothing_hidden(given in any::<String>()) {
            let value = serde_json::json!({"reason": given});
            let written = serde_json::to_string_pretty(&value).unwrap();
            let shown = json(&written);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
            prop_assert!(shown.chars().all(|c| c == '\n' || !is_hidden(c)));
        }
    }
}
