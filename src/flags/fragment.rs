//! One rollout's part of the file: a flagd flag that serves what its status says.

use serde_json::{Map, Value, json};

use super::announcement::announcement_key;
use super::condition::{condition, has_bucket};
use super::{announcement, canonical, schema};
use crate::api::status::HIGHEST_REVISION;
use crate::api::{FeatureRolloutStatus, MicroTime, Percent, RollbackMode};
use crate::plan::{Audience, Feature};

/// Metadata key that marks a flag as written by a rollout; a static flag never carries [`MANAGER`] there.
pub const MANAGED_BY: &str = "managedBy";
/// Value of [`MANAGED_BY`] in the flags of rollouts.
pub const MANAGER: &str = "sluice.dev";

/// Which object a fragment speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of the rollout.
    pub namespace: String,
    /// Name of the rollout.
    pub name: String,
    /// UID of the rollout.
    pub uid: String,
}

/// A rollout's flag as it goes into the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// Flag key.
    pub key: String,
    /// Namespace of the rollout.
    pub namespace: String,
    /// Name of the rollout.
    pub rollout: String,
    /// UID of the rollout.
    pub uid: String,
    /// `status.revision`: of two fragments of one UID the one with the higher revision is newer.
    pub revision: i64,
    /// The flag in flagd's form, its conditions written out, and in it what its announcement says: [`Fragment::flags`] has
    /// both as readers get them.
    pub body: Value,
}

impl Fragment {
    /// The flags of the rollout as readers get them, by key: the feature's, and its announcement's where it has one.
    pub fn flags(&self) -> Vec<(String, Value)> {
        let feature = (self.key.clone(), announcement::feature_of(&self.body).into_owned());
        let told = announcement::announcement_of(&self.key, &self.body);
        std::iter::once(feature).chain(told.map(|told| (announcement_key(&self.key), told))).collect()
    }
}

/// What the file says of a rollout, read back from a flag's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveFlag {
    /// Namespace of the rollout.
    pub namespace: String,
    /// Name of the rollout.
    pub rollout: String,
    /// UID of the rollout.
    pub uid: String,
    /// Revision of the fragment.
    pub revision: i64,
    /// Attempt in which it was written.
    pub attempt: i32,
    /// Phase of the last entered step; empty before the first.
    pub phase: String,
    /// Name or number of the last entered step; empty before the first.
    pub step: String,
    /// Percentage of each cohort, in the audience's order.
    pub served: Vec<(String, Percent)>,
    /// Raises that were asked for and had not come yet, by cohort.
    pub pending: Vec<(String, Percent)>,
    /// Name of the ControllerRevision that holds the audience.
    pub audience: String,
    /// The rollback in force.
    pub rollback: Option<LiveRollback>,
}

/// What the file says of a rollback in force: enough to keep it in force when the status is lost.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveRollback {
    /// How it goes.
    pub mode: RollbackMode,
    /// When it began.
    pub at: MicroTime,
    /// Who began it.
    pub by: String,
    /// The cohorts that it takes to control.
    pub cohorts: Vec<String>,
}

/// Renders what `status` serves to the cohorts of `audience`, the pinned one. A cohort that status does not know gets
/// control, and so does whoever no cohort takes in.
///
/// 0 % and 100 % are literal variants, so they need no targeting key. In between a user without the bucketing attribute
/// gets control, and the weights total 100 000, so that raising a percentage takes the feature from nobody.
pub fn fragment(
    feature: &Feature,
    identity: &Identity,
    status: &FeatureRolloutStatus,
    audience: &Audience,
) -> Fragment {
    let mut branches = Vec::with_capacity(2 * audience.cohorts.len() + 1);
    for cohort in &audience.cohorts {
        branches.push(condition(&cohort.matches));
        branches.push(outcome(feature, &cohort.name, served(status, &cohort.name)));
    }
    branches.push(Value::String(feature.control.clone()));
    let mut body = json!({
        "state": "ENABLED",
        "variants": variants(feature, audience),
        "defaultVariant": feature.control,
        "targeting": {"if": branches},
        "metadata": metadata(feature, identity, status, audience),
    });
    announcement::announce(&mut body, feature, audience);
    Fragment {
        key: feature.key.clone(),
        namespace: identity.namespace.clone(),
        rollout: identity.name.clone(),
        uid: identity.uid.clone(),
        revision: status.revision,
        body,
    }
}

/// 16 hexadecimal digits that change with anything in the fragment but its revision.
pub fn digest(fragment: &Fragment) -> String {
    let mut body = fragment.body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("revision");
    }
    let mut digest = canonical::sha256_hex(canonical::text(&body).as_bytes());
    digest.truncate(16);
    digest
}

/// Most bytes of one text of a flag's metadata, but for the lists of cohorts: an object's namespace and name have 317 at the most, who began
/// a rollback 512.
const MOST_TOLD: usize = 640;
/// The same of a UID: those of Kubernetes have 36.
const MOST_UID: usize = 128;
/// Most bytes of a list of cohorts: there are 16 at the most and as many that were taken away, each with a name of 63 and a percentage.
const MOST_LISTED: usize = 4096;
/// Most bytes of a flag's key, by the schema.
pub const MOST_KEY: usize = 253;

/// What the metadata of a flag says of its rollout; `None` for a flag that no rollout wrote, or whose metadata was damaged.
pub fn live(body: &Value) -> Option<LiveFlag> {
    let metadata = body.get("metadata")?.as_object()?;
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    if text(MANAGED_BY) != Some(MANAGER) {
        return None;
    }
    // Whoever edits a file writes texts of any length, and these get into statuses.
    let told = |key: &str| text(key).filter(|text| text.len() <= MOST_TOLD);
    let (namespace, rollout) = told("rollout")?.split_once('/')?;
    Some(LiveFlag {
        namespace: namespace.to_owned(),
        rollout: rollout.to_owned(),
        uid: told("uid").filter(|uid| uid.len() <= MOST_UID)?.to_owned(),
        // Others are none that Sluice has written, nor could it count on from them.
        revision: metadata.get("revision")?.as_i64().filter(|it| (0..=HIGHEST_REVISION).contains(it))?,
        attempt: i32::try_from(metadata.get("attempt")?.as_i64()?).ok()?,
        phase: told("phase")?.to_owned(),
        step: told("step")?.to_owned(),
        served: read_served(text("served")?)?,
        pending: text("pending").and_then(read_served).unwrap_or_default(),
        audience: told("audience")?.to_owned(),
        rollback: read_rollback(told("rollback"), text("rollbackCohorts")),
    })
}

/// `Gradual 2025-09-08T09:05:00Z trigger/errors`, and the names of the cohorts.
fn read_rollback(rollback: Option<&str>, cohorts: Option<&str>) -> Option<LiveRollback> {
    let cohorts = cohorts.filter(|names| names.len() <= MOST_LISTED);
    let mut words = rollback?.splitn(3, ' ');
    let mode = RollbackMode::ALL.into_iter().find(|mode| Some(mode.as_str()) == words.clone().next())?;
    words.next();
    Some(LiveRollback {
        mode,
        at: words.next()?.parse().ok()?,
        by: words.next()?.to_owned(),
        cohorts: cohorts?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
    })
}

/// A flag that a rollout wrote, with every cohort at control, under the next revision; `None` where everybody gets
/// control already, and for a flag that no rollout wrote.
///
/// It needs neither the rollout nor its audience: what serves control serves it to anybody.
pub fn at_control(body: &Value) -> Option<Value> {
    let live = live(body)?;
    let control = body.get("defaultVariant")?.clone();
    if live.served.iter().all(|(_, percent)| percent.is_zero()) {
        return None;
    }
    let mut body = body.clone();
    match body.pointer_mut("/targeting/if").and_then(Value::as_array_mut) {
        Some(branches) => {
            branches.iter_mut().skip(1).step_by(2).for_each(|outcome| *outcome = control.clone())
        }
        None => body["targeting"] = json!({}),
    }
    let served: Vec<String> =
        live.served.iter().map(|(name, _)| format!("{name}={}", Percent::ZERO)).collect();
    body["metadata"]["served"] = served.join(",").into();
    body["metadata"]["revision"] = live.revision.saturating_add(1).into();
    if let Some(metadata) = body["metadata"].as_object_mut() {
        // What was promised goes with what was served.
        metadata.remove("pending");
    }
    Some(body)
}

/// What is left of a flag that nobody vouches for: control for everybody, as the flag itself says what that is, whose it
/// is said to be, and nothing that a rollout could begin from. `None` for what flagd would refuse.
pub fn unconfirmed(body: &Value) -> Option<Value> {
    let said = live(body);
    let mut metadata = Map::from_iter([(MANAGED_BY.to_owned(), Value::from(MANAGER))]);
    if let Some(live) = said {
        let rollout = format!("{}/{}", live.namespace, live.rollout);
        let texts = [("rollout", rollout.as_str()), ("uid", &live.uid)];
        let nothing = ["phase", "step", "served", "audience"].map(|key| (key, ""));
        metadata
            .extend(texts.into_iter().chain(nothing).map(|(key, text)| (key.to_owned(), Value::from(text))));
        metadata.extend(["revision", "attempt"].map(|key| (key.to_owned(), Value::from(0))));
    }
    let control = body.get("defaultVariant")?;
    let variants = body.get("variants")?;
    variants.get(control.as_str()?)?;
    let mut flag = json!({
        "state": "ENABLED",
        "variants": variants,
        "defaultVariant": control,
        "targeting": {},
        "metadata": metadata,
    });
    schema::validate_flag(&flag).ok()?;
    if let Some(silence) = announcement::silenced(body) {
        announcement::put(&mut flag, silence);
    }
    Some(flag)
}

/// What status serves a cohort: nothing when it does not know it.
pub(super) fn served(status: &FeatureRolloutStatus, cohort: &str) -> Percent {
    status.cohort(cohort).map_or(Percent::ZERO, |cohort| cohort.decided())
}

/// Every variant that the flag can say, with its value: where names tell the cohort, there is one of each cohort besides.
pub(super) fn variants(feature: &Feature, audience: &Audience) -> Map<String, Value> {
    let plain = feature.variants.iter().cloned();
    let rolled_out = |name: &String| *name == feature.control || *name == feature.treatment;
    let of_cohorts =
        feature.variants.iter().filter(|(name, _)| rolled_out(name)).flat_map(|(name, value)| {
            audience.names().map(move |cohort| (feature.variant_in(cohort, name), value.clone()))
        });
    plain.chain(of_cohorts).collect()
}

fn outcome(feature: &Feature, cohort: &str, percent: Percent) -> Value {
    let treatment = &feature.variant_in(cohort, &feature.treatment);
    let control = &feature.variant_in(cohort, &feature.control);
    if percent == Percent::ZERO {
        return json!(control);
    }
    if percent == Percent::FULL {
        return json!(treatment);
    }
    let bucket_by = json!({"var": feature.bucket_by});
    let weight = percent.thousandths();
    let rest = Percent::FULL.thousandths() - weight;
    // Without the guard everyone who lacks the attribute would share one bucket.
    json!({"if": [
        has_bucket(&feature.bucket_by),
        {"fractional": [
            {"cat": [feature.salt, ":", bucket_by]},
            [treatment, weight],
            [control, rest],
        ]},
        control,
    ]})
}

fn metadata(
    feature: &Feature,
    identity: &Identity,
    status: &FeatureRolloutStatus,
    audience: &Audience,
) -> Map<String, Value> {
    let mut metadata = Map::new();
    let mut put = |key: &str, value: Value| {
        metadata.insert(key.to_owned(), value);
    };
    put(MANAGED_BY, MANAGER.into());
    put("rollout", format!("{}/{}", identity.namespace, identity.name).into());
    put("uid", identity.uid.as_str().into());
    put("revision", status.revision.into());
    put("attempt", status.attempt.into());
    let position = status.position.as_ref();
    put("phase", position.map_or("", |position| position.phase.as_str()).into());
    put("step", position.map_or_else(String::new, step).into());
    put("served", write_served(status, audience).into());
    let pending = write_pending(status, audience);
    if !pending.is_empty() {
        put("pending", pending.into());
    }
    put("audience", audience.name.as_str().into());
    // A rollback stays in force until somebody starts again, also where the status is rebuilt from here.
    if let Some(rollback) = &status.rollback {
        let (mode, at) = (rollback.mode.as_str(), rollback.at);
        put("rollback", format!("{mode} {at} {}", rollback.by).into());
        put("rollbackCohorts", rollback.cohorts.join(",").into());
    }
    if let Some(title) = &feature.title {
        put("title", title.as_str().into());
    }
    if let Some(owner) = &feature.owner {
        put("owner", owner.as_str().into());
    }
    metadata
}

fn step(position: &crate::api::status::Position) -> String {
    match &position.step {
        Some(name) => name.clone(),
        None => position.number.to_string(),
    }
}

fn write_served(status: &FeatureRolloutStatus, audience: &Audience) -> String {
    audience.names().map(|name| format!("{name}={}", served(status, name))).collect::<Vec<_>>().join(",")
}

fn write_pending(status: &FeatureRolloutStatus, audience: &Audience) -> String {
    let pending = audience.names().filter_map(|name| {
        let pending = status.cohort(name)?.pending.as_ref()?;
        Some(format!("{name}={}", pending.percent))
    });
    pending.collect::<Vec<_>>().join(",")
}

fn read_served(text: &str) -> Option<Vec<(String, Percent)>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    if text.len() > MOST_LISTED {
        return None;
    }
    text.split(',')
        .map(|entry| {
            let (name, percent) = entry.split_once('=')?;
            Some((name.to_owned(), percent.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
