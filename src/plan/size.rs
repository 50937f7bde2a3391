//! How large a flag becomes, told before it is rendered.
//!
//! A condition is many times as long in a file as what a tenant writes, each structure on the way to an attribute is looked at
//! again from the top, and every rollout that names a CohortSet has all of its conditions. So one small object could ask for
//! any amount of memory and time in the controller, which everybody shares. What is counted here is linear in the text.

use serde_json::Value;

use super::matching::literal;
use super::version::comparisons;
use super::{Feature, FieldError};
use crate::api::cohort::Cohort;
use crate::api::featurerollout::VariantNames;
use crate::api::{Expression, Match, Operator};
use crate::bounds;

/// Adds an error where the conditions of these cohorts together would take more than [`bounds::CONDITIONS`] in each flag.
/// Says whether they fit.
pub(super) fn check_conditions(path: &str, cohorts: &[Cohort], errors: &mut Vec<FieldError>) -> bool {
    // No further than to the bound: it is counted again at each decision.
    let mut left = bounds::CONDITIONS;
    let mut conditions = cohorts.iter().filter_map(|cohort| cohort.matches.as_ref());
    let fits = conditions.all(|matches| {
        let rest = left.checked_sub(of_match(matches));
        left = rest.unwrap_or_default();
        rest.is_some()
    });
    if !fits {
        let most = bounds::CONDITIONS / 1024;
        let message = format!(
            "the conditions would take more than {most} KiB in each flag: have the app set an attribute, such as segment, and \
             compare that"
        );
        errors.push(FieldError::new(path, message));
    }
    fits
}

/// Adds an error where what a flag has for this many cohorts besides their conditions would take more than
/// [`bounds::VARIANTS`]. Says whether it fits.
pub(super) fn check_variants(feature: &Feature, cohorts: usize, errors: &mut Vec<FieldError>) -> bool {
    let of_each = |(name, value): &(String, Value)| {
        let is_rolled_out = *name == feature.control || *name == feature.treatment;
        let copies = match feature.variant_names {
            VariantNames::WithCohort if is_rolled_out => cohorts + 1,
            _ => 1,
        };
        (bounds::bytes(value) + length(name) + NAME).saturating_mul(copies)
    };
    let variants = feature.variants.iter().map(of_each).fold(0, usize::saturating_add);
    let buckets = (2 * of_key(&feature.bucket_by)).saturating_mul(cohorts);
    let fits = variants.saturating_add(buckets) <= bounds::VARIANTS;
    if !fits {
        let most = bounds::VARIANTS / 1024;
        let message = format!(
            "would take more than {most} KiB in the file, with a copy a cohort where variantNames is WithCohort: have the app \
             read large values elsewhere, and let the flag name them"
        );
        errors.push(FieldError::new("spec.feature.variants", message));
    }
    fits
}

/// From this number of texts on they stand in one list.
const MANY: usize = 8;
/// A cohort's name in a variant's, and what stands around both.
const NAME: usize = 72;

/// At least as many bytes as the condition of a match has in a file.
pub fn of_match(matches: &Match) -> usize {
    let mut bytes = 32_usize;
    for (attributes, expressions) in matches.parts() {
        bytes = bytes.saturating_add(32);
        for (key, value) in attributes {
            let value = of_value(Operator::In, key, value, false);
            bytes = bytes.saturating_add(of_key(key)).saturating_add(value);
        }
        for expression in expressions {
            bytes = bytes.saturating_add(of_expression(expression));
        }
    }
    bytes
}

fn of_expression(expression: &Expression) -> usize {
    let Expression { key, operator, values } = expression;
    let is_list = values.len() >= MANY;
    values
        .iter()
        .map(|value| of_value(*operator, key, value, is_list))
        .fold(of_key(key), usize::saturating_add)
}

/// An attribute, the look at each structure on the way to it, and that it has the type that is compared.
fn of_key(key: &str) -> usize {
    let structures = key.bytes().filter(|byte| *byte == b'.').count();
    let once = length(key);
    (2 * once + 64).saturating_mul(structures).saturating_add(once).saturating_add(640)
}

/// `is_list` where values that are compared as a whole stand in one list.
fn of_value(operator: Operator, key: &str, value: &str, is_list: bool) -> usize {
    let bytes = length(value);
    match operator {
        Operator::SemVer => {
            let (key, found) = (length(key), comparisons(value).map_or(0, |found| found.len()));
            (8 * key + 640).saturating_mul(found) + 8 * bytes + 32 * key + 2048
        }
        Operator::In | Operator::NotIn if literal(value).is_some() => 2 * bytes + 256,
        // By its characters and, where those are others, by its units of UTF-16.
        Operator::StartsWith | Operator::NotStartsWith | Operator::EndsWith | Operator::NotEndsWith => {
            2 * bytes + 112
        }
        Operator::In | Operator::NotIn if is_list => bytes + 1,
        _ => bytes + 48,
    }
}

/// Bytes of a text in JSON.
fn length(text: &str) -> usize {
    bounds::bytes_of_text(text)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::api::FeatureRollout;

    fn matches(value: serde_json::Value) -> Match {
        serde_json::from_value(value).unwrap()
    }

    #[rstest]
    #[case::one_attribute_in_many_structures(json!({"attributes": {(vec!["a"; 5000].join(".")): "x"}}))]
    #[case::many_short_values(json!({"anyOf": vec![json!({"expressions": vec![
        json!({"key": "a", "operator": "StartsWith", "values": vec!["x"; 64]}); 8]}); 8]}))]
    #[case::many_versions(json!({"anyOf": vec![json!({"expressions": vec![
        json!({"key": "a", "operator": "SemVer", "values": [">1 ".repeat(80)]}); 8]}); 8]}))]
    fn conditions_that_grow_in_the_file_are_refused(#[case] value: serde_json::Value) {
        let cohort = Cohort { name: "a".to_owned(), matches: Some(matches(value)), ..Cohort::default() };
        let mut errors = Vec::new();
        assert!(!check_conditions("spec.cohorts", &[cohort], &mut errors));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().starts_with("spec.cohorts: the conditions would take more than"));
    }

    /// Names of users, as somebody might list them.
    #[test]
    fn a_thousand_names_fit() {
        let expression = |part: usize| {
            let names: Vec<String> = (0..64).map(|i| format!("user-{:012}", part * 64 + i)).collect();
            json!({"key": "userId", "operator": "In", "values": names})
        };
        let cohort = |parts: std::ops::Range<usize>| Cohort {
            name: "a".to_owned(),
            matches: Some(matches(json!({"expressions": parts.map(expression).collect::<Vec<_>>()}))),
            ..Cohort::default()
        };
        let mut errors = Vec::new();
        assert!(check_conditions("spec.cohorts", &[cohort(0..8), cohort(8..16)], &mut errors), "{errors:?}");
    }

    #[test]
    fn variants_count_as_often_as_they_are_in_the_file() {
        let spec = json!({"cohorts": [{"name": "a"}], "phases": []});
        let rollout = FeatureRollout::new("f", serde_json::from_value(spec).unwrap());
        let mut feature = crate::plan::feature_alone(&rollout).unwrap();
        feature.variants[0].1 = json!({"text": "x".repeat(bounds::VARIANTS / 4)});
        assert!(check_variants(&feature, 16, &mut Vec::new()));
        feature.variant_names = VariantNames::WithCohort;
        assert!(check_variants(&feature, 1, &mut Vec::new()));
        let mut errors = Vec::new();
        assert!(!check_variants(&feature, 16, &mut errors));
        assert_eq!(errors[0].path, "spec.feature.variants");
        feature.variant_names = VariantNames::Plain;
        feature.variants[0].1 = json!(true);
        feature.bucket_by = vec!["a"; 128].join(".");
        let mut errors = Vec::new();
        assert!(check_variants(&feature, 1, &mut errors) && !check_variants(&feature, 16, &mut errors));
    }
}
