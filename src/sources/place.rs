//! Where a query that does not parse goes wrong. The parser does not say, so it is asked about beginnings of the text.

use super::nesting::Quotes;

/// What the parser says of every error of grammar.
pub(super) const GRAMMAR: &str = "invalid promql query";

/// Bytes of a query that is looked through: it is parsed some hundred times.
const LONGEST: usize = 2000;

/// What may come next after a beginning that is right so far, outside of the brackets that are open.
const NEXT: [&str; 13] =
    ["", " x", " 1", "x", "(x)", " (x) x", "()", "[5m]", " 5m", "5m", "\"a\"", "=\"a\"", "x=\"a\""];
/// What may come after the brackets are closed.
const LAST: [&str; 4] = ["", " x", " (x)", "(x) x"];

/// The byte at which the parser would first have to say no; `None` where that cannot be told.
pub(super) fn of(text: &str, error: &str, parse: impl Fn(&str) -> Result<(), String>) -> Option<usize> {
    if text.len() > LONGEST {
        return None;
    }
    if let Some(quote) = open_quote(text) {
        return Some(quote);
    }
    // What the parser finds at the end of a text goes back to where it was opened.
    if let Some((open, _)) = open(text).last().filter(|_| error != GRAMMAR) {
        return Some(*open);
    }
    let ends = ends(text);
    let wrong = |end: &usize| {
        let begin = text.get(..*end).unwrap_or_default();
        if error == GRAMMAR {
            !may_go_on(begin, &parse)
        } else {
            parse(begin).is_err_and(|said| said == error)
        }
    };
    // A beginning that is wrong stays wrong, whatever follows.
    let first = ends.partition_point(|end| !wrong(end));
    let Some(end) = ends.get(first).copied() else { return Some(text.len()) };
    let start = first.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    let word = text.get(start..end)?;
    Some(start + word.len() - word.trim_start().len())
}

/// `line 3, column 14`, both from 1, columns in characters.
pub(super) fn in_words(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
    format!("line {line}, column {column}")
}

/// Whether something can follow that makes a query of it, or at least one that is wrong for another reason than grammar.
fn may_go_on(begin: &str, parse: &impl Fn(&str) -> Result<(), String>) -> bool {
    let close = closing(begin);
    NEXT.iter().any(|next| {
        LAST.iter()
            .any(|last| !parse(&format!("{begin}{next}{close}{last}")).is_err_and(|said| said == GRAMMAR))
    })
}

/// What closes the brackets that are open at the end of a text.
fn closing(text: &str) -> String {
    open(text).into_iter().rev().map(|(_, close)| close).collect()
}

/// The brackets that are open at the end of a text, outermost first: where each stands, and what closes it.
fn open(text: &str) -> Vec<(usize, char)> {
    let mut open = Vec::new();
    for (at, c) in outside(text) {
        match c {
            '(' => open.push((at, ')')),
            '[' => open.push((at, ']')),
            '{' => open.push((at, '}')),
            ')' | ']' | '}' => _ = open.pop(),
            _ => {}
        }
    }
    open
}

/// The ends of the words of a text, its quoted texts being words too.
fn ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut before: Option<char> = None;
    for (at, c) in outside(text) {
        let inside_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.');
        if before.is_some_and(|before| !(before.is_whitespace() || inside_word(before) && inside_word(c))) {
            ends.push(at);
        }
        before = Some(c);
    }
    ends.push(text.len());
    ends
}

/// The characters that are not inside of quotes, quotes themselves included.
fn outside(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quotes = Quotes::default();
    text.char_indices().filter(move |(_, c)| {
        let before = quotes.inside();
        quotes.read(c.encode_utf8(&mut [0; 4]));
        !before
    })
}

/// Where a quote opens that is never closed.
fn open_quote(text: &str) -> Option<usize> {
    let mut quotes = Quotes::default();
    let mut open = None;
    for (at, c) in text.char_indices() {
        let before = quotes.inside();
        quotes.read(c.encode_utf8(&mut [0; 4]));
        if quotes.inside() && !before {
            open = Some(at);
        }
    }
    open.filter(|_| quotes.inside())
}
