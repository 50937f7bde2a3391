//! FeatureRollout: how one feature reaches its cohorts, step by step.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::playbook::PlaybookRef;
use super::rollback::Rollback;
use super::status::FeatureRolloutStatus;
use super::trigger::{Criterion, MonitoringPeriod, Trigger};
use super::{Cohort, Duration, Freeze, LocalRef, MicroTime, Percent, Tier, Window};

/// Highest number of phases in a rollout.
pub const MAX_PHASES: usize = 16;
/// Highest number of steps in a phase, and of percentages in a ramp.
pub const MAX_STEPS: usize = 32;

/// The rollout of one feature: who gets it, how much of each cohort, and when.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "FeatureRollout",
    plural = "featurerollouts",
    shortname = "frol",
    category = "sluice",
    namespaced,
    status = "FeatureRolloutStatus",
    derive = "PartialEq",
    derive = "Default",
    selectable = ".spec.flagSetRef.name",
    doc = "A FeatureRollout steps the percentage of each cohort that gets a feature, on a schedule.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the file holds what the rollout has decided"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "What the rollout is doing"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "The phase of the last entered step"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step", description = "The last entered step of all steps"),
    printcolumn(name = "Exposure", type_ = "string", json_path = ".status.exposure", description = "Expected part of the whole audience with the feature"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next", description = "When something changes next, UTC"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", description = "Why: while it waits the check that says no, and what of it"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Served", type_ = "string", json_path = ".status.served", priority = 1, description = "Percentage served to each cohort"),
    printcolumn(name = "FlagSet", type_ = "string", json_path = ".spec.flagSetRef.name", priority = 1, description = "The file the flag is in"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1, description = "Why, in words"),
    validation = Rule::new("(has(self.spec.feature) && has(self.spec.feature.key)) == (has(oldSelf.spec.feature) && has(oldSelf.spec.feature.key)) || ((has(self.spec.feature) && has(self.spec.feature.key)) ? self.spec.feature.key : self.metadata.name) == ((has(oldSelf.spec.feature) && has(oldSelf.spec.feature.key)) ? oldSelf.spec.feature.key : oldSelf.metadata.name)").message("spec.feature.key is immutable: another key is another rollout"),
    validation = Rule::new("(has(self.spec.feature) && has(self.spec.feature.salt)) == (has(oldSelf.spec.feature) && has(oldSelf.spec.feature.salt)) || ((has(self.spec.feature) && has(self.spec.feature.salt)) ? self.spec.feature.salt : ((has(self.spec.feature) && has(self.spec.feature.key)) ? self.spec.feature.key : self.metadata.name)) == ((has(oldSelf.spec.feature) && has(oldSelf.spec.feature.salt)) ? oldSelf.spec.feature.salt : ((has(oldSelf.spec.feature) && has(oldSelf.spec.feature.key)) ? oldSelf.spec.feature.key : oldSelf.metadata.name))").message("spec.feature.salt is immutable: another split is another rollout"),
    validation = Rule::new("!has(self.spec.dependsOn) || self.spec.dependsOn.all(d, d.name != self.metadata.name)").message("spec.dependsOn names the rollout itself")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.feature) == has(oldSelf.feature) || (has(self.feature) && has(self.feature.control) ? self.feature.control : 'disabled') == (has(oldSelf.feature) && has(oldSelf.feature.control) ? oldSelf.feature.control : 'disabled')").message("spec.feature.control is immutable"))]
#[x_kube(validation = Rule::new("has(self.feature) == has(oldSelf.feature) || (has(self.feature) && has(self.feature.treatment) ? self.feature.treatment : 'enabled') == (has(oldSelf.feature) && has(oldSelf.feature.treatment) ? oldSelf.feature.treatment : 'enabled')").message("spec.feature.treatment is immutable"))]
#[x_kube(validation = Rule::new("has(self.feature) == has(oldSelf.feature) || (has(self.feature) && has(self.feature.bucketBy) ? self.feature.bucketBy : 'targetingKey') == (has(oldSelf.feature) && has(oldSelf.feature.bucketBy) ? oldSelf.feature.bucketBy : 'targetingKey')").message("spec.feature.bucketBy is immutable: another split is another rollout"))]
#[x_kube(validation = Rule::new("has(self.feature) == has(oldSelf.feature) || (has(self.feature) ? (!has(self.feature.variants) || dyn(self.feature.variants) == dyn([{'name': dyn('enabled'), 'value': dyn(true)}, {'name': dyn('disabled'), 'value': dyn(false)}])) : (!has(oldSelf.feature.variants) || dyn(oldSelf.feature.variants) == dyn([{'name': dyn('enabled'), 'value': dyn(true)}, {'name': dyn('disabled'), 'value': dyn(false)}])))").message("spec.feature.variants is immutable: other variants are another rollout"))]
#[x_kube(validation = Rule::new("(has(self.flagSetRef) ? self.flagSetRef.name : '') == (has(oldSelf.flagSetRef) ? oldSelf.flagSetRef.name : '')").message("spec.flagSetRef is immutable: another file is another rollout"))]
#[x_kube(validation = Rule::new("!(has(self.cohorts) && has(self.cohortSetRef))").message("give cohorts or cohortSetRef, not both"))]
#[x_kube(validation = Rule::new("!self.phases.exists(p, has(p.steps) && p.steps.exists(s, has(s.week))) || (has(self.schedule) && has(self.schedule.startAt)) || has(self.playbookRef)").message("a step has a week, so schedule.startAt or a playbook must say when week 1 starts"))]
pub struct FeatureRolloutSpec {
    /// The feature flag: its key, variants and how users are split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Feature>,
    /// The FlagSet whose file holds the flag; without it, a ConfigMap named after the rollout. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag_set_ref: Option<LocalRef>,
    /// The CohortSet that divides the audience. At most one of this and `cohorts`; default: the FlagSet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort_set_ref: Option<LocalRef>,
    /// The cohorts, in order, first match wins. At most one of this and `cohortSetRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.name == c.name))").message("cohort names must be unique"))]
    pub cohorts: Option<Vec<Cohort>>,
    /// Whether the cohorts' delays and tiers apply to this rollout.
    #[serde(default)]
    pub cohort_policy: CohortPolicy,
    /// The phase of a Playbook that the rollout belongs to. Its first step waits until the phase is open: its weeks have begun,
    /// and what it requires is so. `week` in the steps counts from the playbook's start, and `schedule.startAt` defaults to it.
    /// A playbook or a phase that is not there is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook_ref: Option<PlaybookRef>,
    /// Percentages that a fresh object starts from, by cohort. Put the final ones here when the feature has graduated.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub baseline: BTreeMap<String, Percent>,
    /// Raise it to try again after a rollback or a recovery pause. A lower number does nothing.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: i32,
    /// Pauses the rollout from git.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// What becomes of the flag when the rollout is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// When steps may be entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Rollouts of the same namespace that must have come far enough before this one's first step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub depends_on: Vec<Dependency>,
    /// Approvals given in git.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub approvals: Vec<Approval>,
    /// The stretches of the rollout, in order.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(p, self.exists_one(q, q.name == p.name))").message("phase names must be unique"))]
    pub phases: Vec<Phase>,
    /// Metric rules that notify, pause or roll back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(t, self.exists_one(u, u.name == t.name))").message("trigger names must be unique"))]
    pub triggers: Vec<Trigger>,
    /// How gradual and partial rollbacks go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Metric targets that say whether the feature succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.name == c.name))").message("criterion names must be unique"))]
    pub criteria: Vec<Criterion>,
    /// How closely the rollout is watched after its completion, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub monitoring: Vec<MonitoringPeriod>,
}

fn one() -> i32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(attempt: &i32) -> bool {
    *attempt == 1
}

/// The feature flag that the app evaluates.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.key) || !has(oldSelf.key) || self.key == oldSelf.key").message("spec.feature.key is immutable: another key is another rollout"))]
#[x_kube(validation = Rule::new("!has(self.salt) || !has(oldSelf.salt) || self.salt == oldSelf.salt").message("spec.feature.salt is immutable: another split is another rollout"))]
#[x_kube(validation = Rule::new("(has(self.control) ? self.control : 'disabled') == (has(oldSelf.control) ? oldSelf.control : 'disabled')").message("spec.feature.control is immutable"))]
#[x_kube(validation = Rule::new("(has(self.treatment) ? self.treatment : 'enabled') == (has(oldSelf.treatment) ? oldSelf.treatment : 'enabled')").message("spec.feature.treatment is immutable"))]
#[x_kube(validation = Rule::new("(has(self.bucketBy) ? self.bucketBy : 'targetingKey') == (has(oldSelf.bucketBy) ? oldSelf.bucketBy : 'targetingKey')").message("spec.feature.bucketBy is immutable: another split is another rollout"))]
#[x_kube(validation = Rule::new("has(self.variants) ? (has(oldSelf.variants) ? self.variants == oldSelf.variants : dyn(self.variants) == dyn([{'name': dyn('enabled'), 'value': dyn(true)}, {'name': dyn('disabled'), 'value': dyn(false)}])) : (!has(oldSelf.variants) || dyn(oldSelf.variants) == dyn([{'name': dyn('enabled'), 'value': dyn(true)}, {'name': dyn('disabled'), 'value': dyn(false)}]))").message("spec.feature.variants is immutable: other variants are another rollout"))]
#[x_kube(validation = Rule::new("(has(self.control) ? self.control : 'disabled') != (has(self.treatment) ? self.treatment : 'enabled')").message("control and treatment must be two variants"))]
#[x_kube(validation = Rule::new("has(self.variants) ? self.variants.exists(v, v.name == (has(self.control) ? self.control : 'disabled')) : (!has(self.control) || self.control in ['enabled', 'disabled'])").message("control must be the name of a variant"))]
#[x_kube(validation = Rule::new("has(self.variants) ? self.variants.exists(v, v.name == (has(self.treatment) ? self.treatment : 'enabled')) : (!has(self.treatment) || self.treatment in ['enabled', 'disabled'])").message("treatment must be the name of a variant"))]
pub struct Feature {
    /// Flag key that the app asks for; default: the rollout's name. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"))]
    pub key: Option<String>,
    /// Values the flag can take, all of one JSON type; default: `enabled` true and `disabled` false. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(v, self.exists_one(w, w.name == v.name))").message("variant names must be unique"))]
    pub variants: Option<Vec<Variant>>,
    /// Variant served when the feature is off; default `disabled`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub control: Option<String>,
    /// Variant being rolled out; default `enabled`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub treatment: Option<String>,
    /// Context attribute whose value, a text or a number, decides a user's bucket; default `targetingKey`. A dot leads into
    /// a structured attribute: `organisation.id` is the field `id` of the attribute `organisation`. Whoever has no such
    /// text or number gets control while the percentage is between 0 and 100. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^.]+(\.[^.]+)*$"))]
    pub bucket_by: Option<String>,
    /// Text hashed with the bucketing attribute; default: the key. Flags with the same salt have aligned buckets. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub salt: Option<String>,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// Who answers for the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub owner: Option<String>,
    /// How settled the feature is; cohorts admit tiers. May change in git.
    #[serde(default)]
    pub tier: Tier,
}

/// One value of a flag.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Name, without `"`, `\`, `<`, `>` and `&`; avoid words that YAML 1.1 reads as booleans (`on`, `off`, `yes`, `no`).
    #[schemars(length(min = 1, max = 63), regex(pattern = r#"^[^"\\<>&]+$"#))]
    pub name: String,
    /// Any JSON value.
    #[schemars(schema_with = "any_value")]
    pub value: Value,
}

fn any_value(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// Whether the cohorts' delays and tiers apply.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CohortPolicy {
    /// They apply.
    #[default]
    Apply,
    /// They do not; status says so.
    Ignore,
}

/// What becomes of the flag when its rollout is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The flag stays in the file as it is.
    #[default]
    Retain,
    /// The flag stays and serves control to everyone.
    Control,
    /// The flag leaves the file: evaluations of it fail from then on.
    Remove,
}

/// When steps may be entered.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// First instant at which a step may be entered, and the start of week 1; default: the start of the playbook that the
    /// rollout joins, else when the object is first seen. With a playbook, weeks count from the playbook's start in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<MicroTime>,
    /// IANA time zone of windows and weeks; default: the FlagSet's, else UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Raises happen only inside of one of these; at any time when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// Nothing is raised inside of any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub freezes: Vec<Freeze>,
    /// What happens to steps whose time has passed unused.
    #[serde(default)]
    pub on_missed: OnMissed,
}

/// What happens to steps whose time has passed unused.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissed {
    /// They are taken one at a time, each with its hold.
    #[default]
    OneAtATime,
    /// Entering a step also enters every later one through the last whose own date has come.
    Latest,
    /// A step first considered 15 minutes or more after its time and windows allowed it waits for a Promote.
    Hold,
}

/// How far another rollout must have come. Exactly one of `condition` and `phase`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.condition) != has(self.phase)").message("give exactly one of condition and phase"))]
pub struct Dependency {
    /// Name of a FeatureRollout of the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A condition that the other rollout must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<DependencyCondition>,
    /// A phase that the other rollout must have entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub phase: Option<String>,
}

/// A condition of another rollout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyCondition {
    /// Its last hold is over and nothing is pending.
    Completed,
}

/// An approval given in git.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Phase of the approved step.
    #[schemars(length(min = 1, max = 63))]
    pub phase: String,
    /// Name of the approved step.
    #[schemars(length(min = 1, max = 63))]
    pub step: String,
    /// The attempt that is approved; default: whichever comes. An approval is for one entry, so a new attempt needs
    /// another one: an action, or this entry with the number of the new attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: Option<i32>,
}

/// A named stretch of the rollout. Exactly one of `steps` and `ramp`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.steps) != has(self.ramp)").message("give exactly one of steps and ramp"))]
pub struct Phase {
    /// Name, unique in the rollout.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What this phase is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub goal: Option<String>,
    /// Names of criteria that must pass before any raise of this phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 40)), extend("x-kubernetes-list-type" = "set"))]
    pub gates: Vec<String>,
    /// Sets of percentages, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(s, !has(s.name) || self.exists_one(t, has(t.name) && t.name == s.name))").message("step names must be unique in their phase"))]
    pub steps: Option<Vec<Step>>,
    /// Shorthand for steps named by their percentages; it never lowers a cohort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
}

/// A set of percentages, entered at a time and kept for at least `hold`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.at) && has(self.week))").message("give at or week, not both"))]
#[x_kube(validation = Rule::new("!has(self.approval) || self.approval == 'NotRequired' || has(self.name)").message("a step that requires approval needs a name"))]
pub struct Step {
    /// Name, unique in its phase; needed where approval is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Earliest entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// Earliest entry as a week counted from the start: week 1 begins at the start of the playbook that the rollout joins, else
    /// at `schedule.startAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 520))]
    pub week: Option<i32>,
    /// Percentage asked for each named cohort; the others stay as they are.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub cohorts: BTreeMap<String, Percent>,
    /// How long the step is kept at least; default 24h, or the distance to the next step's date where both have one and it is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Whether somebody must approve the step before it is entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalPolicy>,
}

/// Whether a step needs approval.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApprovalPolicy {
    /// The step is entered when its time has come.
    #[default]
    NotRequired,
    /// The step waits for an approval.
    Required,
}

/// Steps that raise the same cohorts through a list of percentages, each named by its percentage.
///
/// A ramp never lowers: each step asks a cohort for the larger of its percentage and what the steps before the ramp ask
/// of that cohort. So a phase that gives staff 100 % can be followed by a ramp for everybody.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Ramp {
    /// The cohorts; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub cohorts: Option<Vec<String>>,
    /// Percentages, in order.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub percents: Vec<Percent>,
    /// How long each is kept at least; default 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
}
