//! The last look at a fragment before it is written: flagd's schema, then what the official engine makes of it for sample
//! users of every cohort. What it says must equal what status says.

use serde_json::{Map, Value, json};

use super::fragment::{Fragment, live, served};
use super::model::{self, Context};
use super::{announcement, bucket, canonical, engine, meaning, schema};
use crate::api::{FeatureRolloutStatus, Percent};
use crate::plan::{Audience, Feature};

/// Why a fragment must not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// flagd's schema refuses it.
    #[error("flagd's schema refuses the flag: {0}")]
    Schema(#[from] schema::SchemaError),
    /// The flag or its metadata does not say what status says.
    #[error("the flag's {0} is not what status says")]
    Mismatch(&'static str),
    /// The engine cannot evaluate it.
    #[error("the flag cannot be evaluated: {0}")]
    Engine(String),
    /// A sample user would get something else than status says.
    #[error("{cohort} is served {found} instead of {expected}, as {context} shows")]
    Differs {
        /// The user's cohort, or that nobody's match takes the user in.
        cohort: String,
        /// The variant that the engine says.
        found: String,
        /// The variant that status says.
        expected: String,
        /// The user's attributes as JSON.
        context: String,
    },
}

struct Sample {
    cohort: Option<usize>,
    context: Context,
    expected: bool,
}

/// Whether the fragment serves exactly what `status` says to the cohorts of `audience`.
///
/// For each cohort that some user reaches: a user without a bucketing attribute, the same user with an attribute in a list,
/// and without it, and where the percentage is between 0 and 100 the last bucket that has the feature and the first that
/// has not (for one cohort also the first and the last bucket of all); then a user whom nobody's match takes in. Who is in
/// which cohort is told by [`meaning`](super::meaning), which does not know what was rendered.
///
/// # Errors
/// The first difference that was found.
pub fn self_check(
    feature: &Feature,
    status: &FeatureRolloutStatus,
    audience: &Audience,
    fragment: &Fragment,
) -> Result<(), CheckError> {
    for (_, flag) in fragment.flags() {
        schema::validate_flag(&flag)?;
    }
    check_words(feature, status, audience, fragment)?;
    let samples = samples(feature, status, audience);
    let found = evaluate(fragment, &samples)?;
    for (sample, found) in samples.iter().zip(&found) {
        let cohort = sample.cohort.and_then(|index| audience.cohorts.get(index));
        let variant = if sample.expected { &feature.treatment } else { &feature.control };
        let expected =
            cohort.map_or_else(|| variant.clone(), |cohort| feature.variant_in(&cohort.name, variant));
        if found.as_str() != Some(&expected) {
            return Err(CheckError::Differs {
                cohort: cohort
                    .map_or_else(|| "nobody's match".to_owned(), |cohort| format!("cohort {}", cohort.name)),
                found: found.to_string(),
                expected,
                context: Value::Object(sample.context.clone()).to_string(),
            });
        }
    }
    Ok(())
}

fn check_words(
    feature: &Feature,
    status: &FeatureRolloutStatus,
    audience: &Audience,
    fragment: &Fragment,
) -> Result<(), CheckError> {
    let body = &fragment.body;
    let live = live(body).ok_or(CheckError::Mismatch("metadata"))?;
    let percentages = audience.names().map(|name| (name.to_owned(), served(status, name)));
    let checks = [
        ("key", fragment.key == feature.key),
        ("state", body.get("state") == Some(&json!("ENABLED"))),
        ("default variant", body.get("defaultVariant") == Some(&json!(feature.control))),
        ("variants", has_variants(feature, audience, body.get("variants"))),
        ("announcement", announcement::is_as_declared(body, feature, audience)),
        ("rollout", live.namespace == fragment.namespace && live.rollout == fragment.rollout),
        ("UID", live.uid == fragment.uid),
        ("revision", live.revision == status.revision && fragment.revision == status.revision),
        ("attempt", live.attempt == status.attempt),
        ("audience", live.audience == audience.name),
        ("served percentages", percentages.eq(live.served)),
    ];
    match checks.iter().find(|(_, right)| !right) {
        Some((what, _)) => Err(CheckError::Mismatch(what)),
        None => Ok(()),
    }
}

/// Whether a flag has the variants of the feature, with their values, and no others.
fn has_variants(feature: &Feature, audience: &Audience, found: Option<&Value>) -> bool {
    let Some(found) = found.and_then(Value::as_object) else { return false };
    let mut expected: Map<String, Value> = feature.variants.iter().cloned().collect();
    for variant in [&feature.control, &feature.treatment] {
        let Some(value) = expected.get(variant).cloned() else { return false };
        for cohort in audience.names() {
            expected.insert(feature.variant_in(cohort, variant), value.clone());
        }
    }
    *found == expected
}

fn samples(feature: &Feature, status: &FeatureRolloutStatus, audience: &Audience) -> Vec<Sample> {
    let mut samples = Vec::with_capacity(2 * audience.cohorts.len() + 1);
    let mut add = |context: Context| {
        // Judged anew, as a bucketing attribute may be one that cohorts look at.
        let cohort = model::cohort_of(audience, &context);
        let percent = cohort
            .and_then(|index| audience.cohorts.get(index))
            .map_or(Percent::ZERO, |cohort| served(status, &cohort.name));
        if let Some(expected) = has_feature(feature, percent, &context) {
            samples.push(Sample { cohort, context, expected });
        }
    };
    // The salt is the same everywhere, so one cohort's first and last bucket tell another one.
    let mut salt_buckets = vec![0, Percent::FULL.thousandths() - 1];
    for (index, cohort) in audience.cohorts.iter().enumerate() {
        let Some(context) = model::sample(audience, index) else {
            continue;
        };
        let percent = served(status, &cohort.name);
        if percent != Percent::ZERO && percent != Percent::FULL {
            let edges = [percent.thousandths() - 1, percent.thousandths()];
            for bucket in edges.into_iter().chain(salt_buckets.drain(..)) {
                let mut context = context.clone();
                if let Some(user) = bucket::user_in(&feature.salt, bucket)
                    && model::write(&mut context, &feature.bucket_by, Value::String(user))
                {
                    add(context);
                }
            }
        }
        for variation in model::variations(&cohort.matches, &context) {
            add(variation);
        }
        add(context);
    }
    if let Some(context) = model::nobody(audience) {
        add(context);
    }
    samples
}

/// Whether a user of a cohort at this percentage has the feature; `None` where the bucketing attribute is a number, of
/// which evaluators make different texts.
fn has_feature(feature: &Feature, percent: Percent, context: &Context) -> Option<bool> {
    if percent == Percent::ZERO || percent == Percent::FULL {
        return Some(percent == Percent::FULL);
    }
    match meaning::read(context, &feature.bucket_by) {
        None => Some(false),
        Some(attribute) if !meaning::decides_bucket(attribute) => Some(false),
        Some(Value::String(user)) => Some(bucket::bucket(&feature.salt, user) < percent.thousandths()),
        Some(_) => None,
    }
}

/// The variants that the engine gives the samples. All in one evaluation, since compiling the rule costs the most.
fn evaluate(fragment: &Fragment, samples: &[Sample]) -> Result<Vec<Value>, CheckError> {
    let targeting = fragment.body.get("targeting").unwrap_or(&Value::Null);
    let rule = format!("{{\"map\":[{{\"var\":\"sluice.samples\"}},{}]}}", canonical::text(targeting));
    let contexts: Vec<Value> = samples.iter().map(|sample| Value::Object(sample.context.clone())).collect();
    let mut root = Map::new();
    root.insert("sluice".to_owned(), json!({ "samples": contexts }));
    let answer = engine::apply(&fragment.key, &rule, &engine::context(&root))
        .map_err(|error| CheckError::Engine(error.to_string()))?
        .unwrap_or_default();
    match serde_json::from_str(&answer) {
        Ok(Value::Array(found)) if found.len() == samples.len() => Ok(found),
        _ => Err(CheckError::Engine(format!("the engine answered {answer:?}"))),
    }
}

#[cfg(test)]
mod tests;
