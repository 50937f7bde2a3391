//! Templates of messages: bounded in size, in what they may do and in what they may write.
//!
//! A template can say a variable, decide and repeat. It cannot set variables, join texts or multiply them, nor make lists of
//! variables, as a list that holds another one twice, in a list that holds that twice, is soon without end: what is left
//! takes no more memory than the template and its variables are long, however it is written.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};

/// Steps that a template may take.
const FUEL: u64 = 5000;
/// Most bytes that a template may write.
pub const LONGEST: usize = 8192;

/// Words that begin a statement which is allowed.
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// What a template writes with these variables.
///
/// # Errors
/// What is wrong with it, in a line.
pub fn render(source: &str, variables: &Value) -> Result<String, String> {
    check_form(source)?;
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.add_filter("upper", |text: &Value| text_of(text).map(|text| text.to_uppercase()));
    environment.add_filter("lower", |text: &Value| text_of(text).map(|text| text.to_lowercase()));
    environment.add_filter("default", |text: &Value, other: &Value| {
        let text = text_of(text)?;
        if text.is_empty() { text_of(other) } else { Ok(text) }
    });
    let template = environment.template_from_str(source).map_err(|error| in_words(&error))?;
    let mut out = Bounded::default();
    match template.render_captured_to(variables.clone(), &mut out) {
        Ok(_) => String::from_utf8(out.0).map_err(|_| "it writes no text".to_owned()),
        Err(_) if out.0.len() >= LONGEST => Err(format!("it writes more than {LONGEST} bytes")),
        Err(error) => Err(in_words(&error)),
    }
}

/// A value as a text, where it is not made of others.
fn text_of(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(value.to_string()),
        kind => {
            Err(Error::new(ErrorKind::InvalidOperation, format!("a filter takes a text, and not {kind}")))
        }
    }
}

fn in_words(error: &minijinja::Error) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    super::text::line(&format!("{}{detail}{line}", error.kind()), 300)
}

/// Takes as many bytes as a template may write.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = LONGEST.saturating_sub(self.0.len());
        self.0.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        match bytes.len() <= room {
            true => Ok(bytes.len()),
            false => Err(std::io::ErrorKind::WriteZero.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Refuses what could make more than a template is long.
fn check_form(source: &str) -> Result<(), String> {
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        rest = rest.get(at..).unwrap_or_default();
        let end = match rest.get(..2) {
            Some("{{") => "}}",
            Some("{%") => "%}",
            Some("{#") => "#}",
            _ => {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
        };
        let found = if end == "#}" { rest.find(end).map(|at| (at, String::new())) } else { tag(rest, end) };
        let Some((length, inside)) = found else {
            return Err(format!("there is no {end} to end what was begun"));
        };
        rest = rest.get(length..).unwrap_or_default();
        if end == "#}" {
            continue;
        }
        if let Some(sign) = inside.chars().find(|c| matches!(c, '~' | '+' | '*' | '{' | '}')) {
            return Err(format!("{sign} is not allowed in a template"));
        }
        let words = inside.trim_start_matches(['-', '+']).trim_start();
        let word: String = words.chars().take_while(char::is_ascii_alphabetic).collect();
        if end == "%}" && !STATEMENTS.contains(&word.as_str()) {
            return Err(format!("{word:?} is not allowed in a template, only if and for"));
        }
        check_lists(&inside)?;
    }
    Ok(())
}

/// Where a tag ends, and what is in it, with a `'` for each text in quotes; `None` where it does not end.
fn tag(rest: &str, end: &str) -> Option<(usize, String)> {
    let mut inside = String::new();
    let (mut quote, mut is_escaped) = (None, false);
    for (at, c) in rest.char_indices().skip(2) {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if c == '\\' => is_escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                inside.push('\'');
            }
            None if rest.get(at..).is_some_and(|rest| rest.starts_with(end)) => return Some((at, inside)),
            None => inside.push(c),
        }
    }
    None
}

/// Refuses lists of anything but texts in quotes and numbers: parentheses are for the values of a filter only.
fn check_lists(inside: &str) -> Result<(), String> {
    let is_constant =
        |c: char| matches!(c, '\'' | ',' | '.' | '-') || c.is_ascii_digit() || c.is_ascii_whitespace();
    let mut before = String::new();
    let mut parentheses = 0_usize;
    let mut rest = inside.chars();
    while let Some(c) = rest.next() {
        match c {
            '[' if !rest.by_ref().take_while(|c| *c != ']').all(is_constant) => {
                return Err("a list has only texts in quotes and numbers".to_owned());
            }
            '(' if parentheses > 0 || !is_filter(&before) => {
                return Err("parentheses are for the values of a filter only".to_owned());
            }
            '(' => parentheses += 1,
            ')' => parentheses = parentheses.saturating_sub(1),
            ',' if parentheses == 0 => return Err(", is for the values of a filter only".to_owned()),
            _ => {}
        }
        before.push(c);
    }
    Ok(())
}

/// Whether what stands before a parenthesis is the name of a filter.
fn is_filter(before: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let before = before.trim_end();
    let rest = before.trim_end_matches(name);
    rest.len() < before.len() && rest.trim_end().ends_with('|')
}

#[cfg(test)]
mod tests {
    use minijinja::context;
    use rstest::rstest;

    use super::*;

    fn said(source: &str) -> Result<String, String> {
        render(
            source,
            &context! { name => "dreams", message => "it went\nwell", empty => "", text => "x".repeat(500) },
        )
    }

    #[rstest]
    #[case("{{ name }}: {{ message }}", "dreams: it went\nwell")]
    #[case("{% if empty %}a{% else %}b{% endif %}", "b")]
    #[case("{{ name|upper }} {{ empty|default('nobody') }}", "DREAMS nobody")]
    #[case("{% for part in [1, 2] %}{{ part }},{% endfor %}", "1,2,")]
    #[case("{% if name in ['dreams', \"x\"] %}yes{% endif %}", "yes")]
    #[case("{{ \"}} [(\" }}", "}} [(")]
    #[case("{{ 5|upper }}{{ empty | default(7) }}", "57")]
    #[case("{# a * note #}plain { braces } 5 * 5", "plain { braces } 5 * 5")]
    fn what_templates_can_do(#[case] source: &str, #[case] expected: &str) {
        assert_eq!(said(source).unwrap(), expected);
    }

    #[rstest]
    #[case("{{ nme }}", "undefined")]
    #[case("{{ name", "no }}")]
    #[case("{{ name }", "no }}")]
    #[case("{% set a = name %}", "\"set\" is not allowed")]
    #[case("{% macro a() %}{% endmacro %}", "\"macro\" is not allowed")]
    #[case("{{ name ~ name }}", "~ is not allowed")]
    #[case("{{ name + name }}", "+ is not allowed")]
    #[case("{{ name * 1000000000 }}", "* is not allowed")]
    #[case("{{ range(1000000) }}", "parentheses are for")]
    #[case("{{ name|indent(10000000) }}", "unknown filter")]
    #[case("{% for a in [name, name] %}{{ a }}{% endfor %}", "a list has only")]
    #[case(
        "{% for a in [[1, 1]] %}{% for b in [a, a] %}{{ b|upper }}{% endfor %}{% endfor %}",
        "a list has only"
    )]
    #[case("{% for a in (name, name) %}{{ a }}{% endfor %}", "parentheses are for")]
    #[case("{% for a in(name, name) %}{{ a }}{% endfor %}", "parentheses are for")]
    #[case("{{ empty|default((name, name)) }}", "parentheses are for")]
    #[case("{% for a in name, name %}{{ a }}{% endfor %}", ", is for")]
    #[case("{% for a in {'a': name} %}{{ a }}{% endfor %}", "{ is not allowed")]
    #[case("{{ [1]|upper }}", "a filter takes a text")]
    #[case("{{ \"}}{#\" }}{% set a = name %}{# #}", "\"set\" is not allowed")]
    #[case("{{ 'it\\'s }}' ~ name }}", "~ is not allowed")]
    #[case("{% include 'x' %}", "\"include\" is not allowed")]
    #[case("{% for a in text %}{% for b in text %}x{% endfor %}{% endfor %}", "")]
    #[case(
        "{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}",
        "more than 8192 bytes"
    )]
    fn what_they_cannot(#[case] source: &str, #[case] says: &str) {
        let error = said(source).unwrap_err();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn one_that_is_nested_without_end_is_refused() {
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(1000), ")".repeat(1000));
        assert!(said(&deep).is_err());
        let deep = format!("{}{}", "{% if 1 %}".repeat(500), "{% endif %}".repeat(500));
        assert!(said(&deep).is_err());
    }
}
