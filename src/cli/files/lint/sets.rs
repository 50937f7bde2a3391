//! Checks of CohortSets and FlagSets, and of what meets in one file.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::missing;
use crate::api::flagset::Output;
use crate::api::{Cohort, CohortSet, FeatureRollout, FlagSet, MicroTime, Percent};
use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::{Item, Typed};
use crate::cli::files::{Input, Kind, Object};
use crate::flags;
use crate::plan::calendar::WindowList;
use crate::plan::{self, Calendar, FieldError};

/// Checks the sets and the files that they and lone rollouts are.
pub fn check(input: &Input, typed: &Typed<'_>, problems: &mut Vec<Problem>) {
    for item in typed.cohort_sets.values() {
        check_cohort_set(item, problems);
    }
    for ((namespace, name), item) in &typed.flag_sets {
        check_flag_set(item, problems);
        if let Some(reference) = &item.typed.spec.cohort_set_ref {
            let path = "spec.cohortSetRef.name";
            problems.extend(missing(input, item.object, Kind::CohortSet, namespace, &reference.name, path));
        }
        check_keys(typed, namespace, name, item, problems);
    }
    check_outputs(typed, problems);
    super::announcements::check(typed, problems);
}

fn check_cohort_set(item: &Item<'_, CohortSet>, problems: &mut Vec<Problem>) {
    let mut errors = Vec::new();
    plan::check_cohort_set(&item.typed.spec, &mut errors);
    add(item, errors, problems);
    check_cohorts(item.object, &item.typed.spec.cohorts, problems);
}

/// What is worth a word about cohorts that are not wrong.
pub fn check_cohorts(object: &Object, cohorts: &[Cohort], problems: &mut Vec<Problem>) {
    check_shares(object, cohorts, problems);
    super::reach::check_order(object, cohorts, problems);
    for remark in plan::matching::remarks("spec.cohorts", cohorts) {
        problems.push(object.problem(Severity::Warning, &remark.path, remark.message));
    }
}

/// Adds errors of an object that its schema does not say already.
pub fn add<K>(item: &Item<'_, K>, errors: Vec<FieldError>, problems: &mut Vec<Problem>) {
    for error in errors.into_iter().filter(|error| !item.is_known(&error.path)) {
        problems.push(item.object.problem(Severity::Error, &error.path, error.words()));
    }
}

/// Cohorts take in no more than everybody.
fn check_shares(object: &Object, cohorts: &[Cohort], problems: &mut Vec<Problem>) {
    let sum: u64 =
        cohorts.iter().filter_map(|cohort| cohort.share).map(|share| u64::from(share.thousandths())).sum();
    if sum > u64::from(Percent::FULL.thousandths()) {
        let decimals = format!("{:03}", sum % 1000);
        let decimals = decimals.trim_end_matches('0');
        let dot = if decimals.is_empty() { "" } else { "." };
        let message =
            format!("the shares add up to {}{dot}{decimals}%: exposures will be too high", sum / 1000);
        problems.push(object.problem(Severity::Warning, "spec.cohorts", message));
    }
}

fn check_flag_set(item: &Item<'_, FlagSet>, problems: &mut Vec<Problem>) {
    let spec = &item.typed.spec;
    if spec.time_zone.is_none() {
        super::meant::check_local(item.object, "spec", &spec.windows, &spec.freezes, problems);
    }
    let mut errors = Vec::new();
    plan::check_flag_set(spec, &mut errors);
    let zone = spec.time_zone.as_deref().and_then(plan::calendar::zone);
    let list =
        WindowList { zone: zone.unwrap_or(TimeZone::UTC), windows: spec.windows.clone(), policy: None };
    let calendar = Calendar::new(vec![list], Vec::new());
    let opens = spec.windows.is_empty() || calendar.next_open(MicroTime::UNIX_EPOCH).is_some();
    if errors.is_empty() && !opens {
        errors.push(FieldError::new("spec.windows", "never open"));
    }
    // The writer itself says what it would leave out.
    let mut info = flags::SetInfo {
        statics: spec.flags.clone(),
        metadata: spec.metadata.clone(),
        ..flags::SetInfo::default()
    };
    let merge = flags::Merge {
        live: &flags::Live::Missing,
        last_good: None,
        at_control: None,
        set: Some(&info),
        candidates: &[],
        living: None,
    };
    let mut refused = flags::merge(&merge).refused;
    if spec.feature_flag.is_some() {
        refused.extend(flags::feature_flag::leave_out(&mut info));
    }
    for (path, why) in refused {
        let path = path.replace('[', ".").replace(']', "");
        // flagd's schema names the place inside of the flag by a pointer.
        let (path, why) = match why.split_once(": ") {
            Some((pointer, why)) if pointer.starts_with('/') && !pointer.contains(' ') => {
                (path + &field_path(pointer), why.to_owned())
            }
            _ => (path, why),
        };
        errors.push(FieldError::new(path, why));
    }
    for (i, output) in spec.outputs.iter().flatten().enumerate() {
        let earlier = spec.outputs.iter().flatten().take(i);
        if earlier.into_iter().any(|other| other.config_map == output.config_map) {
            let message = "each output needs a ConfigMap of its own";
            errors.push(
                FieldError::new(format!("spec.outputs[{i}].configMap"), message)
                    .with_value(&output.config_map),
            );
        }
    }
    add(item, errors, problems);
    if spec.emergency.is_some() {
        let message =
            "takes every rollout of the set to control; plan, render and evaluate assume that it is over";
        problems.push(item.object.problem(Severity::Warning, "spec.emergency", message));
    }
}

/// A pointer as the end of a field path. A number is taken for an index, as keys of rules and variants hardly are one.
fn field_path(pointer: &str) -> String {
    let part = |part: &str| match part.parse::<usize>() {
        Ok(index) => format!("[{index}]"),
        Err(_) => format!(".{part}"),
    };
    pointer.split('/').skip(1).map(part).collect()
}

/// One flag key, one owner: of two rollouts the older one, then the first by name; never a static flag as well.
fn check_keys(
    typed: &Typed<'_>,
    namespace: &str,
    name: &str,
    set: &Item<'_, FlagSet>,
    problems: &mut Vec<Problem>,
) {
    let member = |item: &&Item<'_, FeatureRollout>| {
        item.object.namespace == namespace
            && item.typed.spec.flag_set_ref.as_ref().is_some_and(|reference| reference.name == name)
    };
    let mut members: Vec<&Item<'_, FeatureRollout>> = typed.rollouts.values().filter(member).collect();
    let created =
        |item: &Item<'_, FeatureRollout>| item.typed.metadata.creation_timestamp.as_ref().map(|at| at.0);
    members.sort_by(|a, b| {
        // An object that the cluster already has is older than one that it has yet to get.
        let missing = |item| created(item).is_none();
        (missing(a), created(a), &a.object.name).cmp(&(missing(b), created(b), &b.object.name))
    });
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for item in &members {
        let key = plan::flag_key(&item.typed);
        let written = item.typed.spec.feature.as_ref().is_some_and(|feature| feature.key.is_some());
        let path = if written { "spec.feature.key" } else { "metadata.name" };
        if let Some(owner) = owners.get(key) {
            let message = format!("{key:?}: FlagSet {name} already has this flag from rollout {owner}");
            problems.push(item.object.problem(Severity::Error, path, message));
            continue;
        }
        owners.insert(key, &item.object.name);
        if set.typed.spec.flags.contains_key(key) {
            let message = format!(
                "rollout {} manages this flag: a static one of its key is never served",
                item.object.name
            );
            problems.push(set.object.problem(Severity::Error, &format!("spec.flags.{key}"), message));
        }
        if let Some(i) = set.typed.spec.prune.iter().position(|pruned| pruned == key) {
            let message = format!(
                "{key:?}: rollout {} manages this flag: it is not pruned while that lives",
                item.object.name
            );
            problems.push(set.object.problem(Severity::Warning, &format!("spec.prune[{i}]"), message));
        }
    }
    for item in members.iter().filter(|item| item.typed.spec.announcement.is_some()) {
        let key = flags::announcement_key(plan::flag_key(&item.typed));
        let holder = match owners.get(key.as_str()) {
            Some(owner) => format!("the flag of rollout {owner}"),
            None if set.typed.spec.flags.contains_key(&key) => format!("a static flag of FlagSet {name}"),
            None => continue,
        };
        let message = format!("its flag {key:?} is {holder} already: nobody would be told of the feature");
        problems.push(item.object.problem(Severity::Error, "spec.announcement", message));
    }
}

/// Two owners of one ConfigMap or FeatureFlag: the second never gets it.
fn check_outputs(typed: &Typed<'_>, problems: &mut Vec<Problem>) {
    let mut owners: BTreeMap<(&str, &str, String), String> = BTreeMap::new();
    let flags = typed.flag_sets.values().filter_map(|item| {
        let output = item.typed.spec.feature_flag.as_ref()?;
        Some((item.object, "FeatureFlag", output.name.clone(), "spec.featureFlag.name"))
    });
    let sets = typed.flag_sets.values().flat_map(|item| {
        let outputs = item.typed.spec.outputs.clone();
        let outputs = outputs.unwrap_or_else(|| vec![Output::default_for(&item.object.name)]);
        outputs.into_iter().map(move |output| (item.object, "ConfigMap", output.config_map, "metadata.name"))
    });
    let alone = typed.rollouts.values().filter(|item| item.typed.spec.flag_set_ref.is_none());
    let alone = alone.map(|item| (item.object, "ConfigMap", item.object.name.clone(), "metadata.name"));
    let changelogs = typed.flag_sets.values().filter_map(|item| {
        let changelog = item.typed.spec.changelog.as_ref()?;
        Some((item.object, "ConfigMap", changelog.config_map.clone(), "spec.changelog.configMap"))
    });
    for (object, kind, name, path) in sets.chain(alone).chain(flags) {
        let title = object.title();
        let key = (object.namespace.as_str(), kind, name.clone());
        let owner = owners.entry(key).or_insert_with(|| title.clone());
        if *owner != title {
            let message = format!("{kind} {name} is written by {owner} already");
            problems.push(object.problem(Severity::Error, path, message));
        }
    }
    for (object, kind, name, path) in changelogs {
        // Its own flags are not to be in it, either.
        let key = (object.namespace.as_str(), kind, name.clone());
        if let Some(owner) = owners.insert(key, format!("the changelog of {}", object.title())) {
            let message = format!("{kind} {name} is written by {owner} already");
            problems.push(object.problem(Severity::Error, path, message));
        }
    }
}
