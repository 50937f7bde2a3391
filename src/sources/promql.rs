//! PromQL with arguments and a forced matcher: always by way of the syntax tree, never by way of text alone.

use promql_parser::label::{MatchOp, Matcher, Matchers};
use promql_parser::parser::token::{T_EQL_REGEX, T_NEQ_REGEX};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::unquote_string;

use crate::api::metrictemplate::ArgType;
use crate::bounds::{self, Expressions};
use crate::panics::tried;

use super::args::{Piece, Values, known, pieces};
use super::{nesting, place, silent, spelling};

/// A label and the value that every selector must match.
pub(super) type Forced<'a> = (&'a str, &'a str);

/// The finished query: arguments filled in, the matcher forced on every selector.
///
/// # Errors
/// What is wrong with the query.
pub(super) fn finish(text: &str, values: &Values, forced: Option<Forced<'_>>) -> Result<String, String> {
    let mark = unused(text, values);
    let (written, origins) = mark_strings(text, values, &mark)?;
    let older_name = spelling::has_older_name(text)?;
    let marked = spelling::plain(&written);
    // Arguments are literal, so what expressions there are is in the text.
    let mut room = Expressions::default();
    for expression in nesting::expressions(&marked) {
        // What cannot be taken out of its quotes is refused by the parser before it compiles it.
        if let Ok(Ok(expression)) = tried(|| unquote_string(expression)) {
            room.add(&expression)?;
        }
    }
    let mut tree = parse(&marked).map_err(|error| placed(text, &written, &marked, &origins, error))?;
    Work { values, mark: &mark, forced }.visit(&mut tree)?;
    if !matches!(tree.value_type(), ValueType::Vector | ValueType::Scalar) {
        return Err("the query must give a number or an instant vector".to_owned());
    }
    let finished = tree.to_string();
    if finished.contains(&mark) {
        return Err(MISPLACED.to_owned());
    }
    // What is sent must mean what was checked: the printer could have a gap, too.
    if parse(&finished)? != tree {
        return Err("the query has a part that cannot be written back; write it in another way".to_owned());
    }
    Ok(if older_name { spelling::with_older_name(&finished) } else { finished })
}

/// Whether a finished query leaves out what does not compare, as `rate > 1` does and `rate > bool 1` does not.
pub(super) fn compares(query: &str) -> bool {
    let mut tree = parse(query).ok();
    while let Some(Expr::Paren(inner)) = tree {
        tree = Some(*inner.expr);
    }
    matches!(tree, Some(Expr::Binary(binary)) if binary.op.is_comparison_operator() && !binary.return_bool())
}

/// Whether a finished query gives no number while a part of what it counts has never happened.
pub(super) fn falls_silent(query: &str) -> bool {
    parse(query).is_ok_and(|tree| silent::divides_a_part(&tree))
}

/// An error of the parser with its place in the text as it was written.
///
/// `written` has the arguments filled in, and `marked` is the same as the parser reads it.
fn placed(text: &str, written: &str, marked: &str, origins: &Origins, error: String) -> String {
    // The parser is asked often, so it is not to compile every expression each time where they do not matter.
    let looked_at = if error == place::GRAMMAR { nesting::without_quoted(marked) } else { marked.to_owned() };
    let Some(at) = place::of(&looked_at, &error, |text| parse(text).map(|_| ())) else { return error };
    if at >= marked.trim_end().len() {
        return format!(
            "{}: the query ends too early: {error}",
            place::in_words(text, text.trim_end().len())
        );
    }
    let word: String =
        marked.get(at..).unwrap_or_default().split_whitespace().next().unwrap_or_default().into();
    let word: String = word.chars().take(30).collect();
    let at = unspelt(written, at);
    let piece = origins.iter().rev().find(|(out, _)| *out <= at);
    let origin = piece.map_or(at, |(out, origin)| origin + (at - out)).min(text.len());
    format!("{}, at {word:?}: {error}", place::in_words(text, origin))
}

/// The place in a query as it was written of a place in it as the parser reads it.
fn unspelt(written: &str, at: usize) -> usize {
    let begins: Vec<usize> = written.char_indices().map(|(begin, _)| begin).collect();
    let is_before =
        |begin: &usize| written.get(..*begin).is_some_and(|before| spelling::plain(before).len() < at);
    begins.get(begins.partition_point(is_before)).copied().unwrap_or(written.len())
}

/// Where the pieces of a text with arguments filled in begin, in it and in the text as it was written.
type Origins = Vec<(usize, usize)>;

const MISPLACED: &str =
    "an argument may stand only in the quoted value of a label matcher, or for a number or duration";

/// A word that occurs neither in the text nor in an argument.
fn unused(text: &str, values: &Values) -> String {
    let mut mark = "argument".to_owned();
    while text.contains(&mark) || values.values().any(|value| value.text.contains(&mark)) {
        mark.push('q');
    }
    mark
}

/// The text with numbers and durations filled in, and a word of its own in place of each argument in quotes.
fn mark_strings(text: &str, values: &Values, mark: &str) -> Result<(String, Origins), String> {
    let mut quotes = nesting::Quotes::default();
    let mut out = String::with_capacity(text.len());
    let mut origins = Origins::new();
    for piece in pieces(text)? {
        let (Piece::Text(part) | Piece::Placeholder(part)) = &piece;
        origins.push((out.len(), (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)));
        match piece {
            Piece::Text(text) => {
                quotes.read(text);
                out.push_str(text);
            }
            Piece::Placeholder(name) => {
                let value = known(name, values)?;
                if quotes.inside() {
                    out.push_str(&placeholder(mark, name));
                } else if value.type_ == ArgType::String || out.ends_with(nesting::is_word) {
                    return Err(format!("{{{{{name}}}}}: {MISPLACED}"));
                } else if value.text.starts_with('-') {
                    // Its own parentheses keep a sign from changing what the neighbours mean.
                    out.push_str(&format!("({})", value.text));
                } else {
                    out.push_str(&value.text);
                }
            }
        }
    }
    Ok((out, origins))
}

fn placeholder(mark: &str, name: &str) -> String {
    format!("{mark}_{name}_{mark}")
}

/// Parses, whatever the text.
fn parse(text: &str) -> Result<Expr, String> {
    if nesting::weight(text) > nesting::HEAVIEST {
        return Err(format!(
            "the query has more than {} words, operators and parentheses",
            nesting::HEAVIEST
        ));
    }
    // The parser slices some escapes and turns some durations without looking: its panics are its own errors.
    #[allow(clippy::disallowed_methods, reason = "it is bounded by now")]
    let parsed = tried(|| parser::parse(text));
    parsed
        .unwrap_or_else(|_| Err(place::GRAMMAR.to_owned()))
        .map_err(|error| bounds::cut(&error).into_owned())
}

struct Work<'a> {
    values: &'a Values,
    mark: &'a str,
    forced: Option<Forced<'a>>,
}

impl Work<'_> {
    /// Every node. The parser's own visitor leaves out the parameters of aggregations.
    fn visit(&self, node: &mut Expr) -> Result<(), String> {
        match node {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&mut matrix.vs),
            Expr::Aggregate(aggregate) => {
                if matches!(&aggregate.modifier, Some(LabelModifier::Include(labels)) if labels.is_empty()) {
                    aggregate.modifier = None;
                }
                if let Some(param) = &mut aggregate.param {
                    self.visit(param)?;
                }
                self.visit(&mut aggregate.expr)
            }
            Expr::Unary(unary) => self.visit(&mut unary.expr),
            Expr::Paren(paren) => self.visit(&mut paren.expr),
            Expr::Subquery(subquery) => self.visit(&mut subquery.expr),
            Expr::Binary(binary) => {
                if let Some(modifier) = &mut binary.modifier
                    && matches!(&modifier.matching, Some(LabelModifier::Exclude(labels)) if labels.is_empty())
                {
                    modifier.matching = None;
                }
                self.visit(&mut binary.lhs)?;
                self.visit(&mut binary.rhs)
            }
            Expr::Call(call) => {
                if self.forced.is_some() && call.func.name == "info" {
                    return Err("info() reads series that no matcher can be forced on".to_owned());
                }
                call.args.args.iter_mut().try_for_each(|arg| self.visit(arg))
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(()),
            Expr::Extension(_) => Err("the query has a part that is not known".to_owned()),
        }
    }

    fn selector(&self, selector: &mut VectorSelector) -> Result<(), String> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err("alternatives (or) within a selector are not supported".to_owned());
        }
        // A quoted name would be printed without its quotes.
        if let Some(name) = selector.name.take_if(|name| !is_plain(name)) {
            selector.matchers.matchers.push(Matcher::new(MatchOp::Equal, "__name__", &name));
        }
        for matcher in &mut selector.matchers.matchers {
            self.fill(matcher)?;
        }
        let Matchers { matchers, .. } = &mut selector.matchers;
        if let Some((label, value)) = self.forced {
            let forced = Matcher::new(MatchOp::Equal, label, value);
            matchers.retain(|matcher| *matcher != forced);
            matchers.push(forced);
        }
        // They are printed in the order of their text, and compared with what is read back.
        matchers.sort_by_cached_key(ToString::to_string);
        Ok(())
    }

    fn fill(&self, matcher: &mut Matcher) -> Result<(), String> {
        if !matcher.value.contains(self.mark) {
            return Ok(());
        }
        let id = match &matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Re(_) => Some(T_EQL_REGEX),
            MatchOp::NotRe(_) => Some(T_NEQ_REGEX),
        };
        let mut value = String::new();
        let mut rest = matcher.value.as_str();
        while let Some((before, after)) = rest.split_once(self.mark) {
            let (name, after) = after.split_once(self.mark).ok_or(MISPLACED)?;
            let name = name.strip_prefix('_').and_then(|name| name.strip_suffix('_')).ok_or(MISPLACED)?;
            let arg = known(name, self.values)?;
            value.push_str(before);
            match id {
                Some(_) => value.push_str(&literally(&arg.text)),
                None => value.push_str(&arg.text),
            }
            rest = after;
        }
        value.push_str(rest);
        match id {
            None => matcher.value = value,
            Some(id) => *matcher = Matcher::new_matcher(id, matcher.name.clone(), value)?,
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// The text as a regular expression that matches just it.
fn literally(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
#[path = "promql_tests.rs"]
mod tests;
