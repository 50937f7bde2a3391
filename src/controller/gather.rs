//! The first step of the pipeline: everything that a decision depends on, read once.

use kube::ResourceExt;

use super::cache::{Cache, Object, ObjectKey, key_of};
use super::context::{Context, Shared};
use super::index::SetId;
use super::playbooks::Asked;
use super::references::references;
use super::writer::Ack;
use super::{analysis, keys, playbooks, policies, watch};
use crate::api::flagset::Emergency;
use crate::api::status::PauseCause;
use crate::api::{CohortSet, FeatureRollout, FlagSet, Playbook, Reason};
use crate::engine::{self, Facts, Other};
use crate::error::Fault;
use crate::flags::LiveFlag;
use crate::plan::{self, Feature, FieldError, Plan, Refs};

/// What was found.
pub enum Gathered {
    /// The rollout can be decided on.
    Ready(Box<Observed>),
    /// Somebody must act before it can.
    Stalled(Box<Stalled>),
}

/// Why a rollout cannot be decided on.
pub struct Stalled {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// The flag, where it is valid: what lowers it must reach the file all the same.
    pub feature: Option<Feature>,
    /// Whether the FlagSet's emergency asks for control.
    pub emergency: bool,
    /// Whether the file may hold the rollout's status, and it is not stored yet.
    pub owes_status: bool,
    /// What the file says, where that is a later decision than any that the status knows of.
    pub ahead: Option<LiveFlag>,
}

impl Stalled {
    /// Without anything that could be lowered.
    pub fn new(reason: Reason, message: String) -> Stalled {
        Stalled { reason, message, feature: None, emergency: false, owes_status: false, ahead: None }
    }
}

/// What a decision is made from.
pub struct Observed {
    /// The compiled spec.
    pub plan: Plan,
    /// What is true outside of it.
    pub facts: Facts,
    /// The file.
    pub set: SetId,
    /// Whether the file may hold the rollout's status, and it is not stored yet.
    pub owes_status: bool,
}

/// Reads what the rollout names and what the file says, and compiles the spec. `owes_status` where the rollout's status is in
/// force and not stored yet.
///
/// # Errors
/// When something could not be read; it is tried again.
pub async fn gather(ctx: &Shared, rollout: &FeatureRollout, owes_status: bool) -> Result<Gathered, Fault> {
    let playbook = playbooks::of(ctx, rollout).await?;
    let outline = playbook.as_ref().map(|asked| &*asked.outline);
    let (mut flag_set, cohort_set) = references(ctx, rollout).await?;
    let mut compiled = compile(ctx, rollout, flag_set.as_ref(), cohort_set.as_ref(), outline).await?;
    if let Ok(plan) = &compiled
        && undoes(rollout, flag_set.as_ref(), plan)
        && confirm(ctx, rollout).await?
    {
        let cohort_set;
        (flag_set, cohort_set) = references(ctx, rollout).await?;
        compiled = compile(ctx, rollout, flag_set.as_ref(), cohort_set.as_ref(), outline).await?;
    }
    let emergency = is_emergency(flag_set.as_ref());
    let ahead = file_ahead(ctx, rollout, flag_set.as_ref()).await?;
    let observed = observe(ctx, rollout, flag_set, compiled, ahead.clone(), playbook.as_ref()).await?;
    Ok(match observed {
        Ok(Observed { facts: Facts { no_room: Some(why), .. }, .. }) if !rollout.has_begun() => {
            Gathered::Stalled(Box::new(Stalled::new(Reason::NamespaceFull, why)))
        }
        Ok(observed) => Gathered::Ready(Box::new(Observed { owes_status, ..observed })),
        Err(mut stalled) => {
            // A FlagSet that is gone has left its file behind: what lowers a rollout goes on reaching it.
            stalled.feature = plan::feature_alone(rollout);
            stalled.emergency = emergency;
            stalled.owes_status = owes_status;
            stalled.ahead = ahead;
            Gathered::Stalled(Box::new(stalled))
        }
    })
}

async fn observe(
    ctx: &Context,
    rollout: &FeatureRollout,
    flag_set: Option<FlagSet>,
    compiled: Result<Plan, Vec<FieldError>>,
    ahead: Option<LiveFlag>,
    playbook: Option<&Asked>,
) -> Result<Result<Observed, Stalled>, Fault> {
    let key: ObjectKey = (rollout.namespace().unwrap_or_default(), rollout.name_any());
    let plan = match compiled {
        Ok(plan) => plan,
        Err(errors) => return Ok(Err(invalid(&errors))),
    };
    if let Some(circle) = ctx.index.circle(&key) {
        let message = format!("spec.dependsOn: rollouts wait for each other: {}", circle.join(" → "));
        return Ok(Err(Stalled::new(Reason::DependencyCycle, message)));
    }
    let set = SetId::of(rollout);
    if let Some(conflict) = keys::conflict(ctx, &key, &set, &plan, flag_set.as_ref()) {
        return Ok(Err(Stalled::new(Reason::KeyConflict, conflict)));
    }
    let uid = rollout.uid().unwrap_or_default();
    let status = rollout.status.clone().unwrap_or_default();
    let live = if status.uid.as_deref() == Some(uid.as_str()) {
        ahead
    } else {
        match live(ctx, &key, &uid, &set, &plan, flag_set.as_ref()).await? {
            Ok(live) => live,
            Err(conflict) => return Ok(Err(Stalled::new(Reason::KeyConflict, conflict))),
        }
    };
    let live = match live {
        Some(live) if status.uid.as_deref() != Some(uid.as_str()) => {
            Some(with_known_audience(ctx, &key.0, live, &plan).await?)
        }
        live => live,
    };
    let cohorts = plan.audience.cohorts.len().max(status.cohorts.len());
    let unmeasured = analysis::admit(ctx, rollout, &plan.guard, cohorts);
    let facts = Facts {
        metrics: ctx.analysis.metrics(&key, &uid),
        uid,
        deleting: rollout.metadata.deletion_timestamp.is_some(),
        delivered: status.delivered_revision == status.revision,
        emergency: is_emergency(flag_set.as_ref()),
        unmet: unmet(ctx, &key.0, &plan),
        requirements: playbooks::requirements(ctx, rollout, &plan, playbook),
        no_room: no_room(ctx, rollout, flag_set.as_ref()).or(unmeasured),
        live,
    };
    Ok(Ok(Observed { plan, facts, set, owes_status: false }))
}

/// Compiles a rollout with what it names and what binds it.
async fn compile(
    ctx: &Context,
    rollout: &FeatureRollout,
    flag_set: Option<&FlagSet>,
    cohort_set: Option<&CohortSet>,
    playbook: Option<&Playbook>,
) -> Result<Result<Plan, Vec<FieldError>>, Fault> {
    let binds = policies::of(ctx, rollout, flag_set).await?;
    Ok(plan::compile(rollout, Refs { flag_set, cohort_set, playbook, policies: &binds.bound() }))
}

/// Why nothing may be raised, where the rollout or a set of it is beyond what its namespace may have in memory.
fn no_room(ctx: &Context, rollout: &FeatureRollout, flag_set: Option<&FlagSet>) -> Option<String> {
    let key = key_of(rollout);
    let flag_set_name = rollout.spec.flag_set_ref.as_ref().map(|reference| reference.name.as_str());
    let cohort_set_name = plan::cohort_set_name(rollout, flag_set);
    let of = |kind: &str, name: Option<&str>, refusal: &dyn Fn(&ObjectKey) -> Option<String>| {
        let why = refusal(&(key.0.clone(), name?.to_owned()))?;
        Some(format!("{kind} {}: {why}", name?))
    };
    let of_rollout = ctx.rollouts.refusal(&key);
    of_rollout
        .or_else(|| of("FlagSet", flag_set_name, &|set| ctx.flag_sets.refusal(set)))
        .or_else(|| of("CohortSet", cohort_set_name, &|set| ctx.cohort_sets.refusal(set)))
}

fn is_emergency(flag_set: Option<&FlagSet>) -> bool {
    flag_set.is_some_and(|set| set.spec.emergency == Some(Emergency::Control))
}

/// Whether the sets, as they are known here, would end an emergency, begin one again that was ended, or move the
/// audience of a rollout.
///
/// Its status may have been decided with newer sets by a controller that has just handed over.
fn undoes(rollout: &FeatureRollout, flag_set: Option<&FlagSet>, plan: &Plan) -> bool {
    let Some(status) = &rollout.status else { return false };
    let held = status.pause(PauseCause::Emergency).is_some();
    let lifts = held && !is_emergency(flag_set);
    // A first emergency is believed at once: it must not wait for a read.
    let ends = [Reason::EmergencyControl, Reason::EmergencyLifted];
    let last = status.history.iter().rev().map(|entry| entry.reason).find(|reason| ends.contains(reason));
    let repeats = !held && is_emergency(flag_set) && last == Some(Reason::EmergencyLifted);
    let moves = rollout.spec.cohorts.is_none()
        && status.audience.as_ref().is_some_and(|pinned| pinned.name != plan.audience.name);
    lifts || repeats || moves
}

/// Reads the sets of a rollout past the cache; says whether one was news.
async fn confirm(ctx: &Shared, rollout: &FeatureRollout) -> Result<bool, Fault> {
    let namespace = rollout.namespace().unwrap_or_default();
    let mut news = false;
    if let Some(reference) = &rollout.spec.flag_set_ref {
        let key = (namespace.clone(), reference.name.clone());
        if update(ctx, &ctx.flag_sets, &key).await? {
            // The watch will not tell the others: what is in the cache by then is no news to it.
            watch::flag_set(ctx, &key);
            news = true;
        }
    }
    let (flag_set, _) = references(ctx, rollout).await?;
    if let Some(name) = plan::cohort_set_name(rollout, flag_set.as_ref()) {
        let key = (namespace, name.to_owned());
        if update(ctx, &ctx.cohort_sets, &key).await? {
            watch::cohort_set(ctx, &key);
            news = true;
        }
    }
    Ok(news)
}

async fn update<K>(ctx: &Context, cache: &Cache<K>, key: &ObjectKey) -> Result<bool, Fault>
where
    K: Object + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope> + std::fmt::Debug,
{
    match ctx.cluster.get(key).await? {
        Some(found) => Ok(cache.apply(found)),
        // Its deletion comes by the watch.
        None => Ok(false),
    }
}

fn invalid(errors: &[FieldError]) -> Stalled {
    let reason = if errors.iter().all(|error| error.missing) {
        Reason::ReferenceNotFound
    } else {
        Reason::InvalidSpec
    };
    Stalled::new(reason, plan::join_errors(errors))
}

/// What the file says of a rollout's flag, where its writer has found a later decision there than any that the status
/// knows of: the status was set back, by a restore of some of the objects or by hand.
///
/// Where it is only this process that does not know the status yet, what is made of it is never stored.
async fn file_ahead(
    ctx: &Context,
    rollout: &FeatureRollout,
    flag_set: Option<&FlagSet>,
) -> Result<Option<LiveFlag>, Fault> {
    let key = key_of(rollout);
    let uid = rollout.uid().unwrap_or_default();
    let Some(status) = rollout.status.as_ref().filter(|status| status.uid.as_deref() == Some(uid.as_str()))
    else {
        return Ok(None);
    };
    let announced = status.announced.as_ref().map_or(0, |announced| announced.revision);
    let is_later = |revision: i64| revision > status.revision.max(announced);
    let Some(Ack::Newer { revision }) = ctx.hub.ack(&key, &uid) else { return Ok(None) };
    if !is_later(revision) {
        return Ok(None);
    }
    let flag = plan::flag_key(rollout);
    let live = super::writer::live_flag(ctx, &SetId::of(rollout), flag_set, flag).await?;
    Ok(live.filter(|live| live.uid == uid && is_later(live.revision)))
}

/// What the file says of the flag; `Err` when it belongs to the orphan of another rollout.
async fn live(
    ctx: &Context,
    key: &ObjectKey,
    uid: &str,
    set: &SetId,
    plan: &Plan,
    flag_set: Option<&FlagSet>,
) -> Result<Result<Option<LiveFlag>, String>, Fault> {
    let flag = &plan.feature.key;
    let Some(found) = super::writer::live_flag(ctx, set, flag_set, flag).await? else {
        return Ok(Ok(None));
    };
    let own = found.uid == uid || (found.namespace == key.0 && found.rollout == key.1);
    if !own {
        let pruned = flag_set.is_some_and(|set| set.spec.prune.contains(flag));
        if pruned {
            return Ok(Ok(None));
        }
        return Ok(Err(format!(
            "spec.feature.key: {flag:?} is in the file as the flag of rollout {}, which is gone: name it in spec.prune of FlagSet {}",
            found.rollout, set.name
        )));
    }
    // A flag that nobody vouched for is at control and says nothing that could be gone on from.
    Ok(Ok(Some(found).filter(|found| !found.served.is_empty())))
}

/// A beginning from the file serves that file's audience. Where its definition is gone nobody knows whom its cohorts took
/// in: no audience is named then, and cohorts of the same names may be other people.
async fn with_known_audience(
    ctx: &Context,
    namespace: &str,
    mut live: LiveFlag,
    plan: &Plan,
) -> Result<LiveFlag, Fault> {
    if live.audience != plan.audience.name {
        let names = live.served.iter().map(|(name, _)| name.as_str());
        if super::revisions::audiences::find(ctx, namespace, &live.audience, names).await?.is_none() {
            live.audience.clear();
        }
    }
    Ok(live)
}

/// The dependencies that are not met, in words. A missing one waits.
fn unmet(ctx: &Context, namespace: &str, plan: &Plan) -> Vec<String> {
    engine::unmet(plan, |name| match ctx.rollouts.get(&(namespace.to_owned(), name.to_owned())) {
        Some(stored) => match &stored.0 {
            Ok(rollout) => Other::Known(rollout.clone()),
            Err(_) => Other::Unreadable,
        },
        None => Other::Missing,
    })
}

#[cfg(test)]
mod tests;
