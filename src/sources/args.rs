//! Arguments of a template: what each may be, and where `{{name}}` stands for one.

use std::collections::BTreeMap;

use crate::api::Duration;
use crate::api::metrictemplate::{Arg, ArgType, BUILT_IN_ARGS, MetricTemplateSpec};

use super::request::Context;

/// Longest text of an argument, in characters.
const LONGEST: usize = 256;

/// An argument that is what its type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub type_: ArgType,
    /// In the form that queries use.
    pub text: String,
}

pub(super) type Values = BTreeMap<String, Value>;

/// Reads one argument.
pub(super) fn value(type_: ArgType, text: &str) -> Result<Value, String> {
    let text = match type_ {
        ArgType::String => {
            let length = text.chars().count();
            if length == 0 || length > LONGEST || text.chars().any(char::is_control) {
                return Err(format!("a String has 1 to {LONGEST} characters and no control characters"));
            }
            text.to_owned()
        }
        ArgType::Integer => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if !are_digits(digits) {
                return Err("an Integer has 1 to 15 digits".to_owned());
            }
            text.to_owned()
        }
        ArgType::Decimal => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
            if !are_digits(whole) || !are_digits(part) || whole.len() + part.len() > 16 {
                return Err("a Decimal has 1 to 15 digits, such as 0.95".to_owned());
            }
            text.to_owned()
        }
        ArgType::Duration => text.parse::<Duration>().map_err(|error| error.to_string())?.to_string(),
    };
    Ok(Value { type_, text })
}

fn are_digits(text: &str) -> bool {
    (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Every argument of a query: the built-in ones, and those that are declared, from what is given or their defaults.
pub(super) fn values(
    template: &MetricTemplateSpec,
    given: &BTreeMap<String, String>,
    context: &Context<'_>,
    problems: &mut Vec<String>,
) -> Values {
    let mut values = built_in(context);
    for name in given.keys() {
        if !template.args.iter().any(|arg| arg.name == *name) {
            problems.push(format!("args.{name}: the template has no such argument"));
        }
    }
    for arg in &template.args {
        match given.get(&arg.name).or(arg.default.as_ref()).map(|text| value(arg.type_, text)) {
            Some(Ok(value)) => _ = values.insert(arg.name.clone(), value),
            Some(Err(problem)) => problems.push(format!("args.{}: {problem}", arg.name)),
            None => problems.push(format!("args.{}: the template needs it", arg.name)),
        }
    }
    values
}

fn built_in(context: &Context<'_>) -> Values {
    let text = |text: &str| Value { type_: ArgType::String, text: text.to_owned() };
    let interval = Duration::from_secs(context.interval.as_secs().max(1));
    Values::from([
        ("flag".to_owned(), text(context.flag)),
        ("interval".to_owned(), Value { type_: ArgType::Duration, text: interval.to_string() }),
        ("namespace".to_owned(), text(context.namespace)),
        ("rollout".to_owned(), text(context.rollout)),
    ])
}

/// The arguments, by their place, that no query of the template has: whatever is given for them changes nothing. None where a
/// query cannot be read.
pub fn unused(template: &MetricTemplateSpec) -> Vec<usize> {
    let texts = template.promql.iter().chain(&template.sample_count).chain(template.parameters.values());
    let Ok(read) = texts.map(|text| pieces(text)).collect::<Result<Vec<_>, _>>() else { return Vec::new() };
    let is_used =
        |arg: &Arg| read.iter().flatten().any(|piece| *piece == Piece::Placeholder(arg.name.as_str()));
    template.args.iter().enumerate().filter(|(_, arg)| !is_used(arg)).map(|(i, _)| i).collect()
}

/// What is wrong with the declarations themselves.
pub(super) fn declared(args: &[Arg], problems: &mut Vec<String>) {
    for (i, arg) in args.iter().enumerate() {
        if BUILT_IN_ARGS.contains(&arg.name.as_str()) {
            problems.push(format!("args[{i}].name: {} is given to every query", arg.name));
        }
        if args.iter().take(i).any(|other| other.name == arg.name) {
            problems.push(format!("args[{i}].name: {} is declared twice", arg.name));
        }
        if let Some(Err(problem)) = arg.default.as_ref().map(|text| value(arg.type_, text)) {
            problems.push(format!("args[{i}].default: {problem}"));
        }
    }
}

/// Text of a template, cut at its placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// Cuts a text at its placeholders `{{name}}`.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or("a {{ has no }}")?;
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err("between {{ and }} there must be the name of an argument".to_owned());
        }
        pieces.extend([Piece::Text(before), Piece::Placeholder(name)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// The text with its placeholders filled in as they are.
pub(super) fn fill(text: &str, values: &Values) -> Result<String, String> {
    let mut out = String::new();
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Placeholder(name) => out.push_str(&known(name, values)?.text),
        }
    }
    Ok(out)
}

pub(super) fn known<'a>(name: &str, values: &'a Values) -> Result<&'a Value, String> {
    values.get(name).ok_or_else(|| format!("{{{{{name}}}}}: there is no such argument"))
}
