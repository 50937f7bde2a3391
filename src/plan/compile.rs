//! A spec and what it names, compiled into a [`Plan`] or into every error.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::announcement;
use super::calendar::{self, WindowList};
use super::freeze::FreezeSpan;
use super::guard::SHORTEST_INTERVAL;
use super::matching;
use super::policy;
use super::size;
use super::steps::{self, steps};
use super::weeks::Weeks;
use super::{Audience, Calendar, Cohort, Dependency, FieldError, Joins, Need, Plan, Refs, cohort_set_name};
use crate::api::cohort::{Cohort as ApiCohort, Match};
use crate::api::{Duration, FeatureRollout, Freeze, MicroTime, Percent, Window};

/// Compiles a rollout.
///
/// # Errors
/// All that is wrong with the spec, each with its field path. Errors with `missing` set end when the named object
/// appears; the others only when somebody edits the spec.
pub fn compile(rollout: &FeatureRollout, refs: Refs<'_>) -> Result<Plan, Vec<FieldError>> {
    let spec = &rollout.spec;
    let mut errors = Vec::new();
    let feature = super::feature::feature(rollout, &mut errors);
    announcement::check(spec.announcement.as_ref(), &mut errors);

    if let Some(reference) = &spec.flag_set_ref
        && refs.flag_set.is_none()
    {
        errors.push(
            FieldError::missing("spec.flagSetRef.name", "there is no such FlagSet")
                .with_value(&reference.name),
        );
    }
    let (owner, declared) = cohorts(rollout, refs, &mut errors);
    let names: Vec<String> = declared.iter().map(|cohort| cohort.name.clone()).collect();
    size::check_variants(&feature, names.len(), &mut errors);

    let schedule = spec.schedule.clone().unwrap_or_default();
    let set_zone = refs
        .flag_set
        .and_then(|set| set.spec.time_zone.as_deref())
        .and_then(|name| zone(name, "FlagSet spec.timeZone", &mut errors))
        .unwrap_or(TimeZone::UTC);
    let own_zone = schedule
        .time_zone
        .as_deref()
        .map(|name| zone(name, "spec.schedule.timeZone", &mut errors).unwrap_or(TimeZone::UTC))
        .unwrap_or_else(|| set_zone.clone());

    // What is wrong with a playbook is said of it, and holds back what has not begun.
    let of_playbook = refs.playbook.and_then(|playbook| Weeks::of(&playbook.spec, &mut Vec::new()));
    let joins = joins(rollout, refs, of_playbook.as_ref());
    let first = of_playbook.as_ref().and_then(|weeks| weeks.begins(1));
    let start_at = schedule.start_at.or(first);
    let weeks = match joins {
        Some(_) => of_playbook,
        None => start_at.map(|start| Weeks::since(start, own_zone.clone())),
    };
    let mut composed = policy::compose(rollout, refs, &names, &mut errors);
    composed.guard.cohorts = watched(&declared);
    let approval_above = composed.approval_above;
    let context = steps::Context {
        cohorts: &names,
        weeks: weeks.as_ref(),
        joins: joins.is_some(),
        approval_above: approval_above.as_ref(),
    };
    let steps = steps(spec, &context, &mut errors);

    for cohort in spec.baseline.keys() {
        if !names.is_empty() && !names.contains(cohort) {
            errors.push(FieldError::new(
                format!("spec.baseline.{cohort}"),
                format!("there is no cohort {cohort:?}: the cohorts are {}", names.join(", ")),
            ));
        }
    }
    check_times("spec.schedule", &schedule.windows, &schedule.freezes, &mut errors);
    if let Some(set) = refs.flag_set {
        check_times("FlagSet spec", &set.spec.windows, &set.spec.freezes, &mut errors);
    }
    let is_utc = |zone: &TimeZone| *zone == TimeZone::UTC;
    let in_utc = composed.in_utc
        && is_utc(&own_zone)
        && is_utc(&set_zone)
        && weeks.as_ref().map(Weeks::zone).is_none_or(is_utc);
    let zone_data = (!in_utc).then(calendar::zone_data);
    let calendar = allowed_times(refs, (&own_zone, &schedule.windows), set_zone, &schedule.freezes)
        .and(composed.windows, composed.freezes);
    check_opens(&calendar, start_at, &mut errors);
    let depends_on = dependencies(rollout, &mut errors);
    let guard = super::guard(&composed.guard, &names, &mut errors);
    if spec.attempt < 1 {
        errors.push(FieldError::new("spec.attempt", "counts from 1").with_value(spec.attempt));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // A single cohort that takes in everyone is the whole audience.
    let everyone = declared.len() == 1
        && declared
            .iter()
            .all(|cohort| cohort.matches.as_ref().is_none_or(|matches| *matches == Match::default()));
    let share = everyone.then_some(Percent::FULL);
    Ok(Plan {
        namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
        name: rollout.metadata.name.clone().unwrap_or_default(),
        feature,
        audience: Audience::new(&owner, &declared),
        cohorts: declared
            .into_iter()
            .map(|cohort| Cohort {
                name: cohort.name,
                share: cohort.share.or(share),
                admits: cohort.admits,
                delay: cohort.delay.unwrap_or_default().signed(),
            })
            .collect(),
        cohort_policy: spec.cohort_policy,
        baseline: spec.baseline.clone(),
        attempt: spec.attempt,
        suspend: spec.suspend,
        deletion_policy: spec.deletion_policy,
        start_at,
        zone: own_zone,
        joins,
        calendar,
        zone_data,
        on_missed: schedule.on_missed,
        depends_on,
        steps,
        guard,
        guard_spec: composed.guard,
        approval_above,
        policies: composed.bound,
    })
}

/// How often cohorts ask triggers to be measured while they have the feature.
fn watched(cohorts: &[ApiCohort]) -> BTreeMap<String, Duration> {
    let interval = |cohort: &ApiCohort| Some((cohort.name.clone(), cohort.monitoring.as_ref()?.interval?));
    cohorts.iter().filter_map(interval).collect()
}

/// The phase of a playbook that a rollout belongs to, and when it opens.
fn joins(rollout: &FeatureRollout, refs: Refs<'_>, weeks: Option<&Weeks>) -> Option<Joins> {
    let reference = rollout.spec.playbook_ref.as_ref()?;
    let phases = refs.playbook.map_or(&[][..], |playbook| &playbook.spec.phases);
    let phase = phases.iter().find(|phase| phase.name == reference.phase);
    let opens_at = phase.zip(weeks).and_then(|(phase, weeks)| weeks.begins(phase.weeks.from));
    Some(Joins { playbook: reference.name.clone(), phase: reference.phase.clone(), opens_at })
}

/// Who owns the cohorts, and the cohorts.
fn cohorts(
    rollout: &FeatureRollout,
    refs: Refs<'_>,
    errors: &mut Vec<FieldError>,
) -> (String, Vec<ApiCohort>) {
    let name = rollout.metadata.name.clone().unwrap_or_default();
    if let Some(inline) = &rollout.spec.cohorts {
        if rollout.spec.cohort_set_ref.is_some() {
            errors.push(FieldError::new("spec.cohortSetRef", "stands beside spec.cohorts: give one of them"));
        }
        check_cohorts("spec.cohorts", inline, errors);
        return (name, inline.clone());
    }
    let Some(set_name) = cohort_set_name(rollout, refs.flag_set) else {
        if rollout.spec.flag_set_ref.is_none() || refs.flag_set.is_some() {
            errors.push(FieldError::new(
                "spec.cohorts",
                "there are no cohorts: give cohorts or cohortSetRef, or a FlagSet that names a CohortSet",
            ));
        }
        return (name, Vec::new());
    };
    match refs.cohort_set {
        Some(set) => {
            check_cohorts(&format!("CohortSet {set_name} spec.cohorts"), &set.spec.cohorts, errors);
            (set_name.to_owned(), set.spec.cohorts.clone())
        }
        None => {
            let path = if rollout.spec.cohort_set_ref.is_some() {
                "spec.cohortSetRef.name"
            } else {
                "FlagSet spec.cohortSetRef.name"
            };
            errors.push(FieldError::missing(path, "there is no such CohortSet").with_value(set_name));
            (set_name.to_owned(), Vec::new())
        }
    }
}

/// Checks a list of cohorts, wherever it stands; `path` is where.
pub(crate) fn check_cohorts(path: &str, cohorts: &[ApiCohort], errors: &mut Vec<FieldError>) {
    if cohorts.is_empty() {
        errors.push(FieldError::new(path, "is empty: there is at least one cohort"));
    }
    if !size::check_conditions(path, cohorts, errors) {
        return;
    }
    let mut names = BTreeSet::new();
    for (i, cohort) in cohorts.iter().enumerate() {
        if !names.insert(cohort.name.as_str()) {
            errors.push(
                FieldError::new(format!("{path}[{i}].name"), "is the name of another cohort too")
                    .with_value(&cohort.name),
            );
        }
        let interval = cohort.monitoring.as_ref().and_then(|monitoring| monitoring.interval);
        if let Some(interval) = interval.filter(|interval| interval.signed() < SHORTEST_INTERVAL) {
            let error = FieldError::new(format!("{path}[{i}].monitoring.interval"), "is shorter than 1s");
            errors.push(error.with_value(interval));
        }
        if let Some(matches) = &cohort.matches {
            matching::check_match(&format!("{path}[{i}].match"), matches, errors);
        }
    }
}

/// The zone of an IANA name; an error is added when there is none.
pub(crate) fn zone(name: &str, path: &str, errors: &mut Vec<FieldError>) -> Option<TimeZone> {
    match calendar::zone(name) {
        Some(zone) => Some(zone),
        None => {
            errors.push(
                FieldError::new(path, "is no time zone of the IANA database, such as America/Los_Angeles")
                    .with_value(name),
            );
            None
        }
    }
}

/// Checks windows and freezes, wherever they stand; `path` is where.
pub(crate) fn check_times(path: &str, windows: &[Window], freezes: &[Freeze], errors: &mut Vec<FieldError>) {
    for (i, window) in windows.iter().enumerate() {
        if window.from >= window.to {
            errors.push(
                FieldError::new(
                    format!("{path}.windows[{i}]"),
                    "from must come before to; a window does not cross midnight: write two",
                )
                .with_value(format!("{} to {}", window.from, window.to)),
            );
        }
        if window.days.as_ref().is_some_and(Vec::is_empty) {
            errors.push(FieldError::new(
                format!("{path}.windows[{i}].days"),
                "is empty: leave it out for every day",
            ));
        }
    }
    for (i, freeze) in freezes.iter().enumerate() {
        if let Err(message) = FreezeSpan::new(freeze, &TimeZone::UTC) {
            let error = FieldError::new(format!("{path}.freezes[{i}]"), message);
            errors.push(error.with_value(&freeze.name));
        }
    }
}

fn allowed_times(
    refs: Refs<'_>,
    (own_zone, own_windows): (&TimeZone, &[Window]),
    set_zone: TimeZone,
    own_freezes: &[Freeze],
) -> Calendar {
    let set_windows = refs.flag_set.map_or(&[][..], |set| &set.spec.windows);
    let set_freezes = refs.flag_set.map_or(&[][..], |set| &set.spec.freezes);
    let spans = |zone: &TimeZone, freezes: &[Freeze]| -> Vec<FreezeSpan> {
        freezes.iter().filter_map(|freeze| FreezeSpan::new(freeze, zone).ok()).collect()
    };
    let freezes = [spans(own_zone, own_freezes), spans(&set_zone, set_freezes)].concat();
    let lists = [(own_zone.clone(), own_windows), (set_zone, set_windows)]
        .into_iter()
        .filter(|(_, windows)| !windows.is_empty())
        .map(|(zone, windows)| WindowList { zone, windows: windows.to_vec(), policy: None })
        .collect();
    Calendar::new(lists, freezes)
}

/// A raise must be possible at some time after the start and the freezes.
fn check_opens(calendar: &Calendar, start_at: Option<MicroTime>, errors: &mut Vec<FieldError>) {
    let probe = calendar.of_valid_windows();
    // Zones change seldom: any recent instant will do for a rollout without a start.
    let recent = MicroTime::from_second(1_735_689_600).unwrap_or_default();
    if probe.next_open(start_at.unwrap_or(recent)).is_none() {
        errors.push(FieldError::new(
            "spec.schedule.windows",
            "never open: no instant within 400 days lies in a window of the rollout, of its FlagSet and of its policies, and in no freeze",
        ));
    }
}

fn dependencies(rollout: &FeatureRollout, errors: &mut Vec<FieldError>) -> Vec<Dependency> {
    let mut found = Vec::new();
    for (i, dependency) in rollout.spec.depends_on.iter().enumerate() {
        let path = format!("spec.dependsOn[{i}]");
        if rollout.metadata.name.as_deref() == Some(dependency.name.as_str()) {
            errors.push(
                FieldError::new(format!("{path}.name"), "is the rollout itself").with_value(&dependency.name),
            );
        }
        let need = match (dependency.condition, &dependency.phase) {
            (Some(condition), None) => Need::Condition(condition),
            (None, Some(phase)) => Need::Phase(phase.clone()),
            _ => {
                errors.push(FieldError::new(path, "give exactly one of condition and phase"));
                continue;
            }
        };
        found.push(Dependency { name: dependency.name.clone(), need });
    }
    found
}

/// Everything that is wrong with a CohortSet.
pub fn check_cohort_set(spec: &crate::api::CohortSetSpec, errors: &mut Vec<FieldError>) {
    check_cohorts("spec.cohorts", &spec.cohorts, errors);
}

/// Everything that is wrong with a FlagSet by itself.
pub fn check_flag_set(spec: &crate::api::FlagSetSpec, errors: &mut Vec<FieldError>) {
    if let Some(name) = &spec.time_zone {
        zone(name, "spec.timeZone", errors);
    }
    check_times("spec", &spec.windows, &spec.freezes, errors);
    announcement::check_changelog(spec.changelog.as_ref(), errors);
}
