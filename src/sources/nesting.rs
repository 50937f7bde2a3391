//! What of a PromQL text is in quotes, and how deep its syntax tree may become.

/// Most words, operators and parentheses of a query: its tree is walked by recursion.
pub(super) const HEAVIEST: usize = 400;

/// Follows a text through its quotes and comments.
#[derive(Default)]
pub(super) struct Quotes {
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Outside,
    Comment,
    Quoted(char),
    /// After a backslash.
    Escaped(char),
}

impl Quotes {
    pub fn read(&mut self, text: &str) {
        for c in text.chars() {
            self.step(c);
        }
    }

    /// Goes past one character.
    pub fn step(&mut self, c: char) {
        self.state = match (self.state, c) {
            (State::Outside, '"' | '\'' | '`') => State::Quoted(c),
            (State::Outside, '#') => State::Comment,
            (State::Comment, '\n' | '\r') => State::Outside,
            (State::Quoted(quote), '\\') if quote != '`' => State::Escaped(quote),
            (State::Quoted(quote), _) if c == quote => State::Outside,
            (State::Escaped(quote), _) => State::Quoted(quote),
            (state, _) => state,
        };
    }

    /// Whether what follows is in a comment.
    pub fn in_comment(&self) -> bool {
        self.state == State::Comment
    }

    /// Whether what follows is in quotes.
    pub fn inside(&self) -> bool {
        matches!(self.state, State::Quoted(_) | State::Escaped(_))
    }
}

/// An upper bound of the depth of a text's syntax tree.
pub(super) fn weight(text: &str) -> usize {
    let mut quotes = Quotes::default();
    let mut weight = 0;
    let mut in_word = false;
    let mut selectors = false;
    for c in text.chars() {
        let outside = quotes.state == State::Outside;
        quotes.step(c);
        if !outside {
            continue;
        }
        match c {
            '{' => selectors = true,
            '}' => selectors = false,
            _ => {}
        }
        let word = is_word(c);
        // Words count, too: `and`, `or`, `unless` and others are operators. In braces nothing nests.
        if !selectors && (word && !in_word || "([+-*/%^<>=!@".contains(c)) {
            weight += 1;
        }
        in_word = word;
    }
    weight
}

/// Whether a character may be part of a name or a number.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':' | '.')
}

/// The characters of a text that are not in quotes.
pub(super) fn outside_quotes(text: &str) -> String {
    let mut quotes = Quotes::default();
    text.chars()
        .filter(|&c| {
            let before = quotes.inside();
            quotes.step(c);
            !before && !quotes.inside()
        })
        .collect()
}

/// The texts in quotes that are regular expressions, quotes included: those after `=~` and `!~`.
pub(super) fn expressions(text: &str) -> Vec<&str> {
    let mut quotes = Quotes::default();
    let mut begin = None;
    let mut before = ' ';
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        let was_inside = quotes.inside();
        quotes.step(c);
        match (was_inside, quotes.inside()) {
            (false, true) => begin = (before == '~').then_some(at),
            (true, false) => found.extend(begin.and_then(|begin| text.get(begin..=at))),
            (false, false) if !c.is_whitespace() && !quotes.in_comment() => before = c,
            _ => {}
        }
        if was_inside {
            before = c;
        }
    }
    // One that is never closed is no query, and is not compiled.
    found
}

/// The text with the same number of bytes, and nothing but letters in its quotes.
pub(super) fn without_quoted(text: &str) -> String {
    let mut quotes = Quotes::default();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let was_inside = quotes.inside();
        quotes.step(c);
        match was_inside && quotes.inside() {
            true => out.extend(std::iter::repeat_n('x', c.len_utf8())),
            false => out.push(c),
        }
    }
    out
}
