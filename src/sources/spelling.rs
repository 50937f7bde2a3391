//! PromQL as the parser reads it. Prometheus also has texts in backquotes, in which a backslash is a backslash, numbers with
//! underscores between their digits, and an older name of one function; the parser (promql-parser 0.11) refuses them.

use super::nesting::{Quotes, is_word};

/// What Prometheus before version 3, and Thanos and others still, call [`SMOOTHING`].
const HOLT_WINTERS: &str = "holt_winters";
const SMOOTHING: &str = "double_exponential_smoothing";

/// The same query without what the parser does not read.
pub(super) fn plain(text: &str) -> String {
    rewrite(text, |word| if word == HOLT_WINTERS { SMOOTHING.to_owned() } else { without_underscores(word) })
}

/// A query with every word outside of quotes and comments as `f` writes it, and no text in backquotes.
fn rewrite(text: &str, mut f: impl FnMut(&str) -> String) -> String {
    let mut quotes = Quotes::default();
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    let mut backquoted = false;
    for c in text.chars() {
        let before = quotes.inside();
        quotes.step(c);
        let inside = quotes.inside();
        if !before && !inside && !quotes.in_comment() && is_word(c) {
            word.push(c);
            continue;
        }
        out.push_str(&f(&std::mem::take(&mut word)));
        match (before, inside) {
            (false, true) => {
                backquoted = c == '`';
                out.push(if backquoted { '"' } else { c });
            }
            (true, false) if backquoted => out.push('"'),
            (true, true) if backquoted => out.push_str(&escaped(c)),
            _ => out.push(c),
        }
    }
    out.push_str(&f(&word));
    out
}

/// A number without the underscores between its digits; any other word as it is.
fn without_underscores(word: &str) -> String {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return word.to_owned();
    }
    let chars: Vec<char> = word.chars().collect();
    let is_digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_hexdigit);
    let kept = chars
        .iter()
        .enumerate()
        .filter(|(i, c)| **c != '_' || !is_digit(i.checked_sub(1)) || !is_digit(i.checked_add(1)));
    kept.map(|(_, c)| *c).collect()
}

/// A character of a text in backquotes as it stands between double quotes.
fn escaped(c: char) -> String {
    match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c => c.to_string(),
    }
}

/// Whether the query calls the smoothing function by its older name. What is sent calls it by the same name, since each
/// server knows only one of them.
///
/// # Errors
/// It uses both names, which no server knows.
pub(super) fn has_older_name(text: &str) -> Result<bool, String> {
    let (mut older, mut newer) = (false, false);
    rewrite(text, |word| {
        older |= word == HOLT_WINTERS;
        newer |= word == SMOOTHING;
        String::new()
    });
    if older && newer {
        return Err(format!("{HOLT_WINTERS} and {SMOOTHING} are one function: no server knows both names"));
    }
    Ok(older)
}

/// A query that was printed, with the smoothing function called by its older name.
pub(super) fn with_older_name(text: &str) -> String {
    rewrite(text, |word| if word == SMOOTHING { HOLT_WINTERS.to_owned() } else { word.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(r"up{x=~`/v\d+/.*`}", r#"up{x=~"/v\\d+/.*"}"#)]
    #[case(r"up{x=`C:\new`}", r#"up{x="C:\\new"}"#)]
    #[case(r#"up{x=~`.*"bot".*`}"#, r#"up{x=~".*\"bot\".*"}"#)]
    #[case("up{x=`a\nb`}", r#"up{x="a\nb"}"#)]
    #[case("up{x='`', y=\"`\\d`\"} # `\\d`", "up{x='`', y=\"`\\d`\"} # `\\d`")]
    #[case("up / 1_000", "up / 1000")]
    #[case("up / 1_000_000.5_5e1_0", "up / 1000000.55e10")]
    #[case("0x_FF + 0xF_F", "0x_FF + 0xFF")]
    #[case("1__0 + 1_ + _1 + a_1_0", "1__0 + 1_ + _1 + a_1_0")]
    #[case("rate(a_b:c_5_m[5m]) > 1_0", "rate(a_b:c_5_m[5m]) > 10")]
    #[case("up{x='1_0'} + 1_0", "up{x='1_0'} + 10")]
    #[case("holt_winters(a[1h], 0.5, 0.5)", "double_exponential_smoothing(a[1h], 0.5, 0.5)")]
    #[case("my_holt_winters{x='holt_winters'}", "my_holt_winters{x='holt_winters'}")]
    #[case("up # 1_0 and `\\d`\n / 1_0", "up # 1_0 and `\\d`\n / 10")]
    #[case("`", "\"")]
    fn is_read_alike(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(plain(text), expected);
    }

    #[test]
    fn a_comment_names_no_function() {
        assert_eq!(
            has_older_name("double_exponential_smoothing(a[1h], 0.5, 0.5) # was holt_winters"),
            Ok(false)
        );
        assert_eq!(has_older_name("holt_winters(a[1h], 0.5, 0.5)"), Ok(true));
    }
}
