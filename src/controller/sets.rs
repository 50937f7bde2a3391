//! FlagSets and CohortSets: their own validity, and what their files hold.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::Serialize;

use super::cache::{Cache, Object, ObjectKey, key_of};
use super::context::{Context, Key, Shared};
use super::index::SetId;
use super::persist::{put_status, stall_unreadable};
use super::writer::{self, FileReport, Orphans};
use super::{changelog, events, keys};
use crate::api::conditions::{Condition, Want, is_true, merge, types};
use crate::api::flagset::FileOutput;
use crate::api::{CohortSetStatus, FlagSet, FlagSetStatus, Reason};
use crate::error::Fault;
use crate::plan::{self, Audience, FieldError};

/// Least time between two status writes of a FlagSet: the file is written up to five times a second.
const SPACING: std::time::Duration = std::time::Duration::from_secs(1);

/// Orphans that are named in one line.
const NAMED: usize = 8;

/// Checks a CohortSet and says so in its status.
///
/// # Errors
/// When its status could not be written.
pub async fn cohort_set(ctx: &Context, key: &ObjectKey) -> Result<(), Fault> {
    let Some(set) = ctx.cohort_sets.readable(key) else {
        return stall_unreadable(ctx, &ctx.cohort_sets, key).await;
    };
    let mut errors = Vec::new();
    plan::check_cohort_set(&set.spec, &mut errors);
    let generation = set.metadata.generation.unwrap_or(0);
    let prior = set.status.clone().unwrap_or_default();
    let names: Vec<&str> = set.spec.cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
    let status = CohortSetStatus {
        observed_generation: generation,
        cohorts: Some(names.join(",")),
        audience: Some(Audience::new(&key.1, &set.spec.cohorts).name),
        conditions: conditions(ctx, &prior.conditions, validity(&errors), generation),
    };
    if status == prior {
        return Ok(());
    }
    write_status(ctx, &ctx.cohort_sets, &set, &status).await
}

/// Has the file of a FlagSet written, and says in its status what it holds.
///
/// # Errors
/// When its status could not be written.
pub async fn flag_set(ctx: &Shared, key: &ObjectKey) -> Result<(), Fault> {
    let id = SetId { namespace: key.0.clone(), name: key.1.clone(), shared: true };
    let Some(set) = ctx.flag_sets.readable(key) else {
        if ctx.flag_sets.get(key).is_none() {
            changelog::follow(ctx, key, None);
            writer::left(ctx, &id);
        }
        if ctx.flag_sets.is_beyond(key) {
            ctx.hub.let_go_of_texts(&id);
        }
        return stall_unreadable(ctx, &ctx.flag_sets, key).await;
    };
    if set.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let generation = set.metadata.generation.unwrap_or(0);
    changelog::follow(ctx, key, Some(&set));
    let prior = set.status.clone().unwrap_or_default();
    let report = ctx.hub.report(&id);
    writer::tell_generation(ctx, &id, set.uid().unwrap_or_default(), generation);
    let mut errors = Vec::new();
    plan::check_flag_set(&set.spec, &mut errors);
    let Some(report) = report else { return Ok(()) };
    keys::orphaned(ctx, &id, &report.orphans);
    let outputs = writer::outputs_of_status(&id, &set, &prior, &report);
    let mut status = describe(ctx, &prior, &report, outputs, &errors, generation);
    add_emergency(ctx, &set, &prior, &report, &mut status);
    add_stale_mounts(ctx, &id, &set, &prior, &mut status);
    add_changelog(ctx, key, &set, &prior, &mut status);
    if status == prior {
        return Ok(());
    }
    if let Some(wait) = ctx.hub.too_soon(&id, SPACING) {
        ctx.queue.push_at(Key::FlagSet(key.clone()), Some(ctx.clock.after(wait)));
        return Ok(());
    }
    write_status(ctx, &ctx.flag_sets, &set, &status).await?;
    if let Some((reason, message)) = turn_of_emergency(&prior, &status) {
        events::tell(ctx, "FlagSet", set.meta(), reason, message);
    }
    Ok(())
}

/// Says that an emergency is in force.
fn add_emergency(
    ctx: &Context,
    set: &FlagSet,
    prior: &FlagSetStatus,
    report: &FileReport,
    status: &mut FlagSetStatus,
) {
    if set.spec.emergency.is_none() {
        return;
    }
    let want = Want {
        type_: types::EMERGENCY,
        status: true,
        reason: Reason::EmergencyControl.as_str(),
        message: emergency(report),
    };
    status.conditions.extend(merge(&prior.conditions, &[want], status.observed_generation, ctx.clock.now()));
}

/// What has become of an emergency, by the file.
fn emergency(report: &FileReport) -> String {
    let becomes = match (&report.failure, report.not_at_control.as_deref()) {
        (Some(_), _) => "the file may give something else as long as it is not well; see Ready".to_owned(),
        (None, None) => {
            "every rollout of the set serves control, windows and freezes notwithstanding".to_owned()
        }
        (None, Some((count, named))) => {
            let (names, more) = (named.join(", "), more(count - named.len()));
            format!("the file does not give control to everybody yet by {names}{more}; see their rollouts")
        }
    };
    format!("spec.emergency is Control: {becomes}; take it out of the spec to let them raise again")
}

/// What an emergency asks for, in words.
const EMERGENCY: &str = "spec.emergency is Control: every rollout of the set goes to control, windows and freezes \
                         notwithstanding; take it out of the spec to let them raise again";

/// Whether an emergency began or was lifted between two statuses, in words.
fn turn_of_emergency(before: &FlagSetStatus, after: &FlagSetStatus) -> Option<(Reason, &'static str)> {
    let is_in_force = |status: &FlagSetStatus| is_true(&status.conditions, types::EMERGENCY);
    match (is_in_force(before), is_in_force(after)) {
        (false, true) => Some((Reason::EmergencyControl, EMERGENCY)),
        (true, false) => Some((
            Reason::EmergencyLifted,
            "spec.emergency was taken away: what the rollouts served before comes back when the checks of a raise allow it",
        )),
        _ => None,
    }
}

fn describe(
    ctx: &Context,
    prior: &FlagSetStatus,
    report: &FileReport,
    outputs: Vec<FileOutput>,
    errors: &[FieldError],
    generation: i64,
) -> FlagSetStatus {
    let changed = prior.sha256.as_deref() != Some(report.sha256.as_str()) && !report.sha256.is_empty();
    let want = match &report.failure {
        Some((reason, message)) => Err((*reason, message.clone())),
        None => validity(errors).map(|_| (Reason::Written, writer::written(report, &outputs))),
    };
    FlagSetStatus {
        observed_generation: generation,
        revision: prior.revision.saturating_add(i64::from(changed)),
        sha256: Some(report.sha256.clone()).filter(|sha256| !sha256.is_empty()).or(prior.sha256.clone()),
        size: i64::try_from(report.size).unwrap_or(i64::MAX),
        flags: i64::try_from(report.flags).unwrap_or(i64::MAX),
        orphan_count: i64::try_from(report.orphans.len()).unwrap_or(i64::MAX),
        orphan_keys: orphan_keys(&report.orphans),
        orphans: report.orphans.newest().to_vec(),
        outputs,
        conditions: conditions(ctx, &prior.conditions, want, generation),
    }
}

/// How many there are besides those that were named.
fn more(more: usize) -> String {
    if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// The first few keys and how many more there are, in one line.
fn orphan_keys(orphans: &Orphans) -> Option<String> {
    let named: Vec<&str> = orphans.newest().iter().take(NAMED).map(|orphan| orphan.key.as_str()).collect();
    let more = more(orphans.len() - named.len());
    (!named.is_empty()).then(|| format!("{}{more}", named.join(",")))
}

/// Adds what was seen of pods that no update reaches; what was said before stands until somebody has looked again.
fn add_stale_mounts(
    ctx: &Context,
    id: &SetId,
    set: &FlagSet,
    prior: &FlagSetStatus,
    status: &mut FlagSetStatus,
) {
    let type_ = types::STALE_MOUNTS;
    let maps: Vec<String> =
        writer::outputs(id, Some(set)).into_iter().map(|output| output.config_map).collect();
    match ctx.nudger.stale_mounts(id, &maps) {
        Some(message) if message.is_empty() => {}
        Some(message) => {
            let want = Want { type_, status: true, reason: Reason::SubPathMount.as_str(), message };
            let (generation, now) = (status.observed_generation, ctx.clock.now());
            status.conditions.extend(merge(&prior.conditions, &[want], generation, now));
        }
        None => {
            let kept = prior.conditions.iter().filter(|condition| condition.type_ == type_);
            status.conditions.extend(kept.cloned());
        }
    }
}

/// Adds what became of the changelog; what was said before stands until that is known.
fn add_changelog(
    ctx: &Context,
    key: &ObjectKey,
    set: &FlagSet,
    prior: &FlagSetStatus,
    status: &mut FlagSetStatus,
) {
    if set.spec.changelog.is_none() {
        return;
    }
    match ctx.changelogs.condition(key) {
        Some(want) => {
            let (generation, now) = (status.observed_generation, ctx.clock.now());
            status.conditions.extend(merge(&prior.conditions, &[want], generation, now));
        }
        None => {
            let kept = prior.conditions.iter().filter(|condition| condition.type_ == types::CHANGELOG);
            status.conditions.extend(kept.cloned());
        }
    }
}

pub(super) fn validity(errors: &[FieldError]) -> Result<(Reason, String), (Reason, String)> {
    if errors.is_empty() {
        Ok((Reason::Valid, "valid".to_owned()))
    } else {
        Err((Reason::InvalidSpec, plan::join_errors(errors)))
    }
}

/// Ready, and Stalled where it is, of an object that is valid or not.
pub(super) fn conditions(
    ctx: &Context,
    prior: &[Condition],
    want: Result<(Reason, String), (Reason, String)>,
    generation: i64,
) -> Vec<Condition> {
    let wants = match want {
        Ok((reason, message)) => {
            vec![Want { type_: types::READY, status: true, reason: reason.as_str(), message }]
        }
        Err((reason, message)) => {
            let ready = Want { type_: types::READY, status: false, reason: reason.as_str(), message };
            let stalled = Want { type_: types::STALLED, status: true, ..ready.clone() };
            vec![ready, stalled]
        }
    };
    merge(prior, &wants, generation, ctx.clock.now())
}

/// Writes a status; where somebody else has written one since, the cache holds that afterwards.
pub(super) async fn write_status<K>(
    ctx: &Context,
    cache: &Cache<K>,
    object: &K,
    status: &impl Serialize,
) -> Result<(), Fault>
where
    K: Object + Resource<Scope = k8s_openapi::NamespaceResourceScope> + std::fmt::Debug,
{
    let written = put_status(ctx, cache, object, status).await;
    if let Err(Fault::Conflict(_) | Fault::NotFound(_)) = &written {
        let key = key_of(object);
        let before = cache.version_of(&key);
        match ctx.cluster.get::<K>(&key).await? {
            // Another spec is left to the watch, which has everybody looked at again whom it concerns: of what is known it tells nothing.
            Some(found) => {
                if is_same_spec(found.meta(), object.meta()) {
                    cache.apply(found);
                }
            }
            None => {
                cache.forget(&key, before);
            }
        }
    }
    written
}

/// Whether two versions of an object have the same spec: the generation counts its changes.
fn is_same_spec(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.uid == other.uid && one.generation.is_some() && one.generation == other.generation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::fixtures::member;
    use crate::flags::{self, File};

    /// It said that everybody serves control while one whose status could not be written served half of its users.
    #[test]
    fn an_emergency_is_told_by_what_the_file_gives() {
        let told = |percents: &[u32], failure: Option<(Reason, String)>| {
            let members = percents.iter().enumerate().map(|(i, percent)| {
                let fragment = member(&format!("f{i}"), "u", 1, *percent);
                (fragment.key, fragment.body)
            });
            let file = File { members: members.collect(), ..File::default() };
            let file = flags::parse(&flags::compose(&file)).unwrap();
            emergency(&FileReport {
                not_at_control: writer::not_at_control(&file),
                failure,
                ..FileReport::default()
            })
        };
        assert!(told(&[0, 0], None).contains("every rollout of the set serves control"));
        let some = told(&[0, 50_000, 0, 100_000], None);
        assert!(some.contains("by f1, f3;") && !some.contains("serves control"), "{some}");
        let many = told(&[1000; 20], None);
        assert!(many.contains("f0") && many.contains(" more;"), "{many}");
        let unwritten = told(&[0], Some((Reason::Conflict, "a stranger's".to_owned())));
        assert!(!unwritten.contains("serves control"), "{unwritten}");
    }
}
