//! What an audience means, told without flagd: a second opinion for the self-check, and sample users for it.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::condition::literal;
use crate::api::{Expression, Match, Operator};
use crate::plan::Audience;

/// A user's attributes.
pub(super) type Context = Map<String, Value>;

/// The first cohort that takes in a user.
pub(super) fn cohort_of(audience: &Audience, context: &Context) -> Option<usize> {
    audience
        .cohorts
        .iter()
        .position(|cohort| matches(&cohort.matches, context))
}

/// Whether a match takes in a user.
pub(super) fn matches(matches: &Match, context: &Context) -> bool {
    matches
        .attributes
        .iter()
        .all(|(key, value)| read(context, key).is_some_and(|found| is_spelled(found, value)))
        && matches
            .expressions
            .iter()
            .all(|expression| holds(expression, read(context, &expression.key)))
}

fn holds(expression: &Expression, attribute: Option<&Value>) -> bool {
    let values = &expression.values;
    let any = |test: &dyn Fn(&str, &str) -> bool| {
        let text = attribute.and_then(Value::as_str);
        text.is_some_and(|text| values.iter().any(|value| test(text, value)))
    };
    let compared = |accepted: &[Ordering]| {
        let bound = values.first().and_then(|value| value.parse::<f64>().ok());
        let number = attribute.and_then(Value::as_f64);
        number
            .zip(bound)
            .and_then(|(number, bound)| number.partial_cmp(&bound))
            .is_some_and(|ordering| accepted.contains(&ordering))
    };
    let is_one =
        || attribute.is_some_and(|found| values.iter().any(|value| is_spelled(found, value)));
    match expression.operator {
        Operator::In => is_one(),
        Operator::NotIn => !is_one(),
        Operator::Exists => attribute.is_some(),
        Operator::DoesNotExist => attribute.is_none(),
        Operator::StartsWith => any(&|text, value| text.starts_with(value)),
        Operator::EndsWith => any(&|text, value| text.ends_with(value)),
        Operator::Gt => compared(&[Ordering::Greater]),
        Operator::Gte => compared(&[Ordering::Greater, Ordering::Equal]),
        Operator::Lt => compared(&[Ordering::Less]),
        Operator::Lte => compared(&[Ordering::Less, Ordering::Equal]),
        Operator::SemVer => any(&version_fits),
    }
}

/// Whether an attribute has this text; a whole number is written without a fraction.
fn is_spelled(attribute: &Value, text: &str) -> bool {
    match attribute {
        Value::String(found) => found == text,
        Value::Bool(found) => literal(text) == Some(Value::Bool(*found)),
        Value::Number(found) => literal(text)
            .is_some_and(|number| number.is_number() && number.as_f64() == found.as_f64()),
        _ => false,
    }
}

/// Versions of samples are plain `a.b.c`; a pre-release of either side is for flagd alone to order.
fn version_fits(found: &str, value: &str) -> bool {
    let value = value.trim();
    let version = value.trim_start_matches(|c: char| !c.is_ascii_digit());
    let operator = value.strip_suffix(version).unwrap_or_default().trim();
    let (Some(found), Some(bound)) = (core(found), core(version)) else {
        return false;
    };
    let (found, bound) = (&found, &bound);
    match operator {
        "=" => found == bound,
        "!=" => found != bound,
        ">" => found > bound,
        ">=" => found >= bound,
        "<" => found < bound,
        "<=" => found <= bound,
        "^" => found[0] == bound[0],
        "~" => found[..2] == bound[..2],
        _ => false,
    }
}

fn core(version: &str) -> Option<[u64; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let core = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(core)
}

/// The attribute that a key names, dots leading into structures; null counts as absent.
pub(super) fn read<'a>(context: &'a Context, key: &str) -> Option<&'a Value> {
    let mut path = key.split('.');
    let mut value = context.get(path.next()?)?;
    for field in path {
        value = value.as_object()?.get(field)?;
    }
    (!value.is_null()).then_some(value)
}

/// Sets the attribute that a key names; false when another attribute is in the way.
pub(super) fn write(context: &mut Context, key: &str, value: Value) -> bool {
    match key.split_once('.') {
        None => {
            context.insert(key.to_owned(), value);
            true
        }
        Some((outer, rest)) => context
            .entry(outer)
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .is_some_and(|object| write(object, rest, value)),
    }
}

/// A user whom this cohort takes in and no earlier one does; `None` where none was found, because earlier ones shadow it
/// or its conditions exclude each other.
pub(super) fn sample(audience: &Audience, cohort: usize) -> Option<Context> {
    let matches = &audience.cohorts.get(cohort)?.matches;
    (0..VARIETY)
        .map(|variety| build(matches, variety))
        .find(|context| cohort_of(audience, context) == Some(cohort))
}

/// A user whom no cohort takes in, where one can be found.
pub(super) fn nobody(audience: &Audience) -> Option<Context> {
    let keys = || {
        audience
            .cohorts
            .iter()
            .flat_map(|cohort| keys(&cohort.matches))
    };
    let filled = |value: &Value| {
        let mut context = Context::new();
        for key in keys() {
            write(&mut context, key, value.clone());
        }
        context
    };
    [
        Context::new(),
        filled(&Value::from("~")),
        filled(&Value::from(0)),
        filled(&Value::from("0.0.0")),
    ]
    .into_iter()
    .find(|context| cohort_of(audience, context).is_none())
}

fn keys(matches: &Match) -> impl Iterator<Item = &str> {
    let attributes = matches.attributes.keys().map(String::as_str);
    attributes.chain(
        matches
            .expressions
            .iter()
            .map(|expression| expression.key.as_str()),
    )
}

/// How many different users are tried for a cohort.
const VARIETY: usize = 8;

fn build(matches: &Match, variety: usize) -> Context {
    let mut context = Context::new();
    for expression in &matches.expressions {
        let value = expression
            .values
            .get(variety % expression.values.len().max(1));
        if let Some(value) = candidate(
            expression.operator,
            value.map_or("", String::as_str),
            variety,
        ) {
            // Several conditions on one attribute: different ones win in different varieties.
            if variety.is_multiple_of(2) || read(&context, &expression.key).is_none() {
                write(&mut context, &expression.key, value);
            }
        }
    }
    for (key, value) in &matches.attributes {
        write(&mut context, key, Value::from(value.as_str()));
    }
    context
}

fn candidate(operator: Operator, value: &str, variety: usize) -> Option<Value> {
    let number = |offset: f64| {
        value
            .parse::<f64>()
            .ok()
            .map(|bound| Value::from(bound + offset))
    };
    // Varieties 4 to 7 lie farther from the bound, past what an earlier cohort may take.
    let distance = if variety < 4 { 1.0 } else { 1_000.0 };
    match operator {
        Operator::In => Some(Value::from(value)),
        Operator::StartsWith => Some(format!("{value}~").into()),
        Operator::EndsWith => Some(format!("~{value}").into()),
        Operator::Exists => Some(Value::from("~")),
        Operator::NotIn if variety >= 4 => Some(Value::from("~")),
        Operator::NotIn | Operator::DoesNotExist => None,
        Operator::Gt => number(distance),
        Operator::Gte => number(if variety < 2 { 0.0 } else { distance }),
        Operator::Lt => number(-distance),
        Operator::Lte => number(if variety < 2 { 0.0 } else { -distance }),
        Operator::SemVer => version_near(value, variety).map(Value::from),
    }
}

fn version_near(value: &str, variety: usize) -> Option<String> {
    let [major, minor, patch] = core(value.trim_start_matches(|c: char| !c.is_ascii_digit()))?;
    let [major, minor, patch] = match variety % 4 {
        0 => [major, minor, patch],
        1 => [major, minor, patch + 1],
        2 => [major + 1, minor, patch],
        _ => [major, minor.saturating_sub(1), 0],
    };
    Some(format!("{major}.{minor}.{patch}"))
}
