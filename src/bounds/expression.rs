//! How large regular expressions become when they are compiled. What their text says of it can be hidden in many ways, so
//! they are compiled here, by the engine that others compile them with, and no further than to a size.

use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

/// Most bytes of all expressions of a query, compiled.
const COMPILED: usize = 1 << 20;
/// Most classes of characters of all expressions of a query: some take long to read, whatever becomes of them.
const CLASSES: usize = 100;
/// Most groups and repetitions inside of each other.
const NESTED: u32 = 40;

const TOO_LARGE: &str = "the regular expressions have too large classes and repetitions";

/// What the regular expressions of one query may still take.
#[derive(Debug)]
pub struct Expressions {
    compiled: usize,
    classes: usize,
}

impl Default for Expressions {
    fn default() -> Expressions {
        Expressions { compiled: COMPILED, classes: CLASSES }
    }
}

impl Expressions {
    /// Counts an expression, as a PromQL matcher has it.
    ///
    /// # Errors
    /// It is none, or there is no room for it.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        self.classes = self.classes.checked_sub(classes(text)).ok_or(TOO_LARGE)?;
        let size = match self.compile(text) {
            // As Go reads it: braces without numbers are just braces.
            Err(error) if error.size_limit().is_none() => self.compile(&braced(text)),
            other => other,
        };
        let size = size.map_err(|error| match error.size_limit() {
            Some(_) => TOO_LARGE.to_owned(),
            None => "a regular expression is none, or is nested too deep".to_owned(),
        })?;
        self.compiled = self.compiled.checked_sub(size).ok_or(TOO_LARGE)?;
        Ok(())
    }

    fn compile(&self, text: &str) -> Result<usize, Box<thompson::BuildError>> {
        let compiled = thompson::Compiler::new()
            .syntax(syntax::Config::new().nest_limit(NESTED))
            .configure(thompson::Config::new().nfa_size_limit(Some(self.compiled)))
            .build(&format!("^(?:{text})$"))?;
        Ok(compiled.memory_usage())
    }
}

/// The classes of characters in an expression, at least.
fn classes(text: &str) -> usize {
    let mut before = ' ';
    let mut classes = 0;
    for c in text.chars() {
        let is_class = c == '[' || before == '\\' && "wWdDsSpP".contains(c);
        classes += usize::from(is_class);
        before = c;
    }
    classes
}

/// The expression with every brace escaped that begins no repetition.
fn braced(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == '{' && !escaped && !repeats(text.get(at + 1..).unwrap_or_default()) {
            out.push('\\');
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// Whether a text begins with the rest of a repetition, such as `3}` or `3,5}`.
fn repeats(text: &str) -> bool {
    let Some((inside, _)) = text.split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && is_number(least) && is_number(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("")]
    #[case("staging|testing|[a-z]{2,63}-\\d{3}|\\w+|/api/v{1}/.*")]
    #[case("[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}")]
    #[case("aaa{bbb}ccc{")]
    #[case("(a{2,100}){4}")]
    #[case("\\pL+.\\w{10}")]
    fn fits(#[case] text: &str) {
        assert_eq!(Expressions::default().add(text), Ok(()));
    }

    /// The sizes multiply, whatever stands between the repetitions.
    #[rstest]
    #[case("\\w{1000}")]
    #[case("(\\w{100}){100}")]
    #[case("a{100}{100}{100}")]
    #[case("a{100}?{100}{100}")]
    #[case("a{100}+{1000}")]
    #[case("(?x) a {100} # what\n {100} {100}")]
    #[case("((a{100}){100}){100}")]
    #[case("a{bbb}((a{100}){100}){100}")]
    #[case("(?:){1000}(a{0,100}){1000}")]
    fn is_too_large(#[case] text: &str) {
        assert_eq!(Expressions::default().add(text), Err(TOO_LARGE.to_owned()));
    }

    #[test]
    fn all_of_a_query_share_the_room() {
        let mut some = Expressions::default();
        let refused = (0..200).position(|_| some.add("\\w{10}").is_err());
        assert!(refused.is_some_and(|at| at > 1), "{refused:?}");
        let mut classes = Expressions::default();
        assert!(classes.add(&"[^a]".repeat(CLASSES)).is_ok() && classes.add("[a]").is_err());
    }

    #[rstest]
    #[case("(".repeat(4000))]
    #[case(format!("{}a{}", "(".repeat(4000), ")".repeat(4000)))]
    #[case(format!("a{}", "{1}".repeat(1000)))]
    #[case("[".repeat(90))]
    fn is_none(#[case] text: String) {
        assert!(Expressions::default().add(&text).is_err());
    }
}
