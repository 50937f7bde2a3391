//! Sample users of an audience, for the self-check.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::meaning::{read, takes_in};
use crate::api::{Expression, Match, Operator};
use crate::plan::Audience;
use crate::plan::matching::TARGETING_KEY;
use crate::plan::version::{Version, comparisons};

/// A user's attributes.
pub(super) type Context = Map<String, Value>;

/// The first cohort that takes in a user.
pub(super) fn cohort_of(audience: &Audience, context: &Context) -> Option<usize> {
    audience.cohorts.iter().position(|cohort| takes_in(&cohort.matches, context))
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

/// Sets an attribute of a sample user. OpenFeature knows no targeting key but a text, so that no user has a number there,
/// whatever conditions ask for.
fn suggest(context: &mut Context, key: &str, value: Value) {
    let value = match value {
        Value::Number(number) if key == TARGETING_KEY => Value::from(number.to_string()),
        value => value,
    };
    write(context, key, value);
}

/// A user whom this cohort takes in and no earlier one does; `None` where none was found, because earlier ones shadow it
/// or its conditions exclude each other.
pub(super) fn sample(audience: &Audience, cohort: usize) -> Option<Context> {
    let matches = &audience.cohorts.get(cohort)?.matches;
    (0..VARIETY)
        .map(|variety| build(matches, variety))
        .find(|context| cohort_of(audience, context) == Some(cohort))
}

/// The same user with the first attribute that the match looks at in a list, and without it. A targeting key is a text.
pub(super) fn variations(matches: &Match, context: &Context) -> Vec<Context> {
    let mut attributes = keys(matches).filter(|key| *key != TARGETING_KEY);
    let present = attributes.find_map(|key| Some((key, read(context, key)?)));
    let Some((key, value)) = present else { return Vec::new() };
    [Value::Array(vec![value.clone()]), Value::Null]
        .into_iter()
        .filter_map(|other| {
            let mut context = context.clone();
            write(&mut context, key, other).then_some(context)
        })
        .collect()
}

/// A user whom no cohort takes in, where one can be found.
pub(super) fn nobody(audience: &Audience) -> Option<Context> {
    let keys = || audience.cohorts.iter().flat_map(|cohort| keys(&cohort.matches));
    let filled = |value: &Value| {
        let mut context = Context::new();
        for key in keys() {
            suggest(&mut context, key, value.clone());
        }
        context
    };
    [Context::new(), filled(&Value::from("~")), filled(&Value::from(0)), filled(&Value::from("0.0.0"))]
        .into_iter()
        .find(|context| cohort_of(audience, context).is_none())
}

fn keys(matches: &Match) -> impl Iterator<Item = &str> {
    matches.parts().flat_map(|(attributes, expressions)| {
        let attributes = attributes.keys().map(String::as_str);
        attributes.chain(expressions.iter().map(|expression| expression.key.as_str()))
    })
}

/// How many different users are tried for a cohort.
const VARIETY: usize = 16;

fn build(matches: &Match, variety: usize) -> Context {
    let mut context = Context::new();
    fill(&mut context, &matches.attributes, &matches.expressions, variety);
    let groups = matches.any_of.len().max(1);
    if let Some(group) = matches.any_of.get(variety % groups) {
        fill(&mut context, &group.attributes, &group.expressions, variety / groups);
    }
    context
}

fn fill(
    context: &mut Context,
    attributes: &BTreeMap<String, String>,
    expressions: &[Expression],
    variety: usize,
) {
    for expression in expressions {
        let value = expression.values.get(variety % expression.values.len().max(1));
        if let Some(value) = candidate(expression.operator, value.map_or("", String::as_str), variety) {
            // Several conditions on one attribute: different ones win in different varieties.
            if variety.is_multiple_of(2) || read(context, &expression.key).is_none() {
                suggest(context, &expression.key, value);
            }
        }
    }
    for (key, value) in attributes {
        write(context, key, Value::from(value.as_str()));
    }
}

fn candidate(operator: Operator, value: &str, variety: usize) -> Option<Value> {
    let number = |offset: f64| value.parse::<f64>().ok().map(|bound| Value::from(bound + offset));
    // Every other four varieties lie farther from the bound, past what an earlier cohort may take.
    let distance = if variety % 8 < 4 { 1.0 } else { 1_000.0 };
    let at_bound = variety % 8 < 2;
    match operator {
        Operator::In => Some(Value::from(value)),
        Operator::StartsWith => Some(format!("{value}~").into()),
        Operator::EndsWith => Some(format!("~{value}").into()),
        Operator::Contains => Some(format!("~{value}~").into()),
        Operator::Exists => Some(Value::from("~")),
        Operator::NotIn | Operator::NotStartsWith | Operator::NotEndsWith | Operator::NotContains => {
            (variety % 8 >= 4).then(|| Value::from("~"))
        }
        Operator::DoesNotExist => None,
        Operator::Gt => number(distance),
        Operator::Gte => number(if at_bound { 0.0 } else { distance }),
        Operator::Lt => number(-distance),
        Operator::Lte => number(if at_bound { 0.0 } else { -distance }),
        Operator::SemVer => version_near(value, variety).map(Value::from),
    }
}

/// A version at or near the first bound of the comparisons, written in one of the ways that apps have.
fn version_near(value: &str, variety: usize) -> Option<String> {
    let first = comparisons(value).ok()?.into_iter().next()?.version;
    let neighbours: [fn(&Version) -> Version; 4] =
        [Version::clone, Version::next, Version::lowest_of_next_major, Version::lowest_of_minor];
    let version = neighbours.get(variety % 4)?(&first);
    Some(match variety / 4 % 2 {
        0 => version.to_string(),
        _ => format!("v{version}+7"),
    })
}
