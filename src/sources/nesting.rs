//! What of a PromQL text is in quotes, and how deep its syntax tree may become.

/// Most words, operators and parentheses of a query: its tree is walked by recursion.
pub(super) const HEAVIEST: usize = 400;

/// Most classes of characters, times their repetitions, in the quoted texts of a query: each takes time to read.
pub(super) const LARGEST_EXPRESSIONS: usize = 300;

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
            (State::Comment, '\n') => State::Outside,
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

/// How large the regular expressions in quotes may be: their classes, times all repetitions of the same text.
pub(super) fn expressions(text: &str) -> usize {
    let mut quotes = Quotes::default();
    let mut quoted = vec![String::new()];
    for c in text.chars() {
        quotes.step(c);
        match quoted.last_mut() {
            Some(last) if quotes.inside() => last.push(c),
            Some(last) if !last.is_empty() => quoted.push(String::new()),
            _ => {}
        }
    }
    quoted.iter().map(|text| expression(text)).fold(0, usize::saturating_add)
}

/// A repeated group multiplies all there is, for it may hold it; anything else that is repeated adds up.
fn expression(text: &str) -> usize {
    let mut size = 0_usize;
    let mut repeated = 1_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let rest = text.get(at + c.len_utf8()..).unwrap_or_default();
        match c {
            '\\' if rest.starts_with(|c| "wWdDsSpP".contains(c)) => size += 1,
            '{' => {
                let numbers = rest.split('}').next().unwrap_or_default().split(',');
                let most = numbers.filter_map(|number| number.trim().parse::<usize>().ok()).max();
                let most = most.unwrap_or(1).max(1);
                match before {
                    ')' => repeated = repeated.saturating_mul(most),
                    _ => size = size.saturating_add(most),
                }
            }
            _ => {}
        }
        before = c;
    }
    if repeated > 1 { size.max(1).saturating_mul(repeated) } else { size }
}
