//! FeatureRollout: how one feature reaches its cohorts, step by step.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::feature::{Feature, Variant, VariantNames};
use super::freeze::MAX_FREEZES;
use super::playbook::PlaybookRef;
use super::rollback::Rollback;
use super::status::FeatureRolloutStatus;
use super::trigger::{Criterion, MonitoringPeriod, Trigger};
use super::{Announcement, Cohort, Freeze, Hold, LocalRef, MicroTime, Percent, Window};

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
    /// The feature flag that the app evaluates: its key, its variants, and how users are split. Optional: without it
    /// the flag has the rollout's name as its key and is `true` for whoever gets the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Feature>,
    /// The FlagSet of this namespace whose file holds the flag. Immutable. Default: none, and the rollout has a file of
    /// its own, the key `flags.json` of a ConfigMap with the rollout's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag_set_ref: Option<LocalRef>,
    /// The CohortSet of this namespace that divides the audience. Give this or `cohorts`, not both. Default: the
    /// CohortSet that the FlagSet names; where none of the three is given, the rollout is Stalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort_set_ref: Option<LocalRef>,
    /// The RolloutPolicy of this namespace that binds the rollout, besides those of its FlagSet and of the cluster, which
    /// bind in any case. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<LocalRef>,
    /// Values of the arguments of the policies that bind the rollout, by name. One that a policy needs and that is not
    /// here is named in status, and nothing is raised until it is given. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::trigger::args_schema")]
    pub policy_args: BTreeMap<String, String>,
    /// The cohorts that divide the audience, in order. A user is in the first cohort that matches; whoever matches none
    /// gets the control variant. Give this or `cohortSetRef`, not both. Default: the CohortSet that the FlagSet names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.name == c.name))").message("cohort names must be unique"))]
    pub cohorts: Option<Vec<Cohort>>,
    /// Whether the cohorts' `delay` and `admits` apply to this rollout.
    #[serde(default)]
    pub cohort_policy: CohortPolicy,
    /// The phase of a Playbook of this namespace that the rollout belongs to. Its first step waits until the phase is
    /// open: its weeks have begun, and what it requires is so. `week` in the steps counts from the playbook's start,
    /// and `schedule.startAt` defaults to it. A playbook or phase that is not there is waited for. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook_ref: Option<PlaybookRef>,
    /// Percentage that each named cohort gets when the object is seen for the first time, before any step; it is not
    /// read again. Put the final percentages here when the feature has graduated, such as `everyone: 100`, so that a
    /// rebuilt cluster serves them at once. Default: every cohort starts at the control variant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub baseline: BTreeMap<String, Percent>,
    /// Number of the attempt. Raise it by 1 to start again from the first step after a rollback, or after a pause with
    /// the cause StatusLost, Restored, Adopted or PositionLost. At any other time a raise is only noted. A lower number
    /// does nothing, so a `git revert` is harmless. Default: 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: i32,
    /// Pauses the rollout from git. While it is true nothing is raised and no step is entered; what is served stays
    /// served, a percentage that is lowered in git applies at once, and triggers still roll back. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// What becomes of the flag when the rollout is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// When steps may be entered: the start, the time zone, windows and freezes. Optional: without it the rollout
    /// starts when it is first seen and may raise at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Rollouts of the same namespace that must have come far enough before the first step of this one is entered. One
    /// that does not exist yet is waited for. What was met once stays met in this attempt. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub depends_on: Vec<Dependency>,
    /// Approvals, given in git, of steps that have `approval: Required`. A step can also be approved by an action,
    /// `sluice approve ROLLOUT --phase PHASE --step STEP --reason TEXT`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub approvals: Vec<Approval>,
    /// The phases of the rollout, in order: each is a named list of steps, or a ramp. The steps of all phases together
    /// are the schedule.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(p, self.exists_one(q, q.name == p.name))").message("phase names must be unique"))]
    pub phases: Vec<Phase>,
    /// Metric rules that notify, pause the rollout or roll it back. They are measured from the first exposure of users
    /// on, and after the completion too. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(t, self.exists_one(u, u.name == t.name))").message("trigger names must be unique"))]
    pub triggers: Vec<Trigger>,
    /// How gradual and partial rollbacks go. Optional: without it a gradual rollback goes to 50 %, 25 % and 0 % ten
    /// minutes apart, and there are no partial ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Metric targets that say whether the feature succeeded. A phase that names one in its `gates` waits for it.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.name == c.name))").message("criterion names must be unique"))]
    pub criteria: Vec<Criterion>,
    /// How closely the rollout is watched after its completion: periods that follow each other from the completion on.
    /// Optional: without it everything is measured as often as before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub monitoring: Vec<MonitoringPeriod>,
    /// What users are told of the feature. The file gets a flag for it beside the feature's, with the key of the feature
    /// and `.announcement` behind it: its value is this object for whoever has the feature, and an empty object for all
    /// others. It goes into the FlagSet's changelog when the rollout is completed. Optional; an edit applies at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<Announcement>,
}

impl FeatureRollout {
    /// Whether it has decided anything that a file could hold. Before that its status may be another object's of its name.
    pub fn has_begun(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.uid.is_some() && status.uid == self.metadata.uid)
    }
}

fn one() -> i32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(attempt: &i32) -> bool {
    *attempt == 1
}

/// Whether the cohorts' delays and tiers apply.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CohortPolicy {
    /// The cohorts' delays and tiers apply.
    #[default]
    Apply,
    /// They do not apply: every cohort that a step names may be raised with it.
    Ignore,
}

/// What becomes of the flag when its rollout is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The flag stays in the file as it is, and apps go on getting what they got.
    #[default]
    Retain,
    /// The flag stays in the file and serves the control variant to everyone.
    Control,
    /// The flag is taken out of the file; apps that still ask for it get the default that their code gives.
    Remove,
}

/// When steps may be entered.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// First instant at which a step may be entered; week 1 of the steps with a `week` begins at its local date and
    /// time. With a playbook, weeks count from the playbook's start in any case. Default: the start of the playbook
    /// that the rollout joins, else when the object is first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<MicroTime>,
    /// Time zone of the windows, weeks, dates of freezes and holds in days, by its name in the IANA database, such as
    /// `America/Los_Angeles`. Default: the time zone of the FlagSet, else UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Spans of local time in which raises happen; whatever lowers is not held back. The rollout's windows and its
    /// FlagSet's must both be open. Default: raises happen at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// Spans of time in which nothing is raised; whatever lowers is not held back. Their dates are local dates of
    /// `timeZone`. The FlagSet's freezes apply as well. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_FREEZES), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub freezes: Vec<Freeze>,
    /// What becomes of steps whose time has passed without their being entered, such as after a pause.
    #[serde(default)]
    pub on_missed: OnMissed,
}

/// What happens to steps whose time has passed unused.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissed {
    /// Missed steps are entered one after the other, each with its checks and its hold.
    #[default]
    OneAtATime,
    /// Entering a step also enters every later step up to the last one whose own date has come; it stops before a step
    /// that lacks an approval or a gate.
    Latest,
    /// A step whose checks are asked 15 minutes or more after its time, counted while windows allowed it, waits for a
    /// Promote.
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
    /// Condition that the other rollout must have. Give this or `phase`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<DependencyCondition>,
    /// Name of a phase of the other rollout, of which at least one step must have been entered. Give this or
    /// `condition`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub phase: Option<String>,
}

/// A condition of another rollout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyCondition {
    /// The last hold of the other rollout is over, and nothing is pending there.
    Completed,
}

/// An approval given in git.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Name of the phase that the approved step is in.
    #[schemars(length(min = 1, max = 63))]
    pub phase: String,
    /// Name of the approved step.
    #[schemars(length(min = 1, max = 63))]
    pub step: String,
    /// Number of the attempt that is approved. An approval is for one entry of the step, so a new attempt needs another
    /// approval: an action, or this entry with the new number. Default: the attempt that comes to the step first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: Option<i32>,
}

/// A named part of the rollout. Exactly one of `steps` and `ramp`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.steps) != has(self.ramp)").message("give exactly one of steps and ramp"))]
pub struct Phase {
    /// Name of the phase, unique in the rollout, such as `beta`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What this phase is for. Optional; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub goal: Option<String>,
    /// Names of criteria, each of which must pass before any raise of this phase. A gate that does not pass or was not
    /// measured holds the phase back until it does. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 40)), extend("x-kubernetes-list-type" = "set"))]
    pub gates: Vec<String>,
    /// The steps of the phase, in order: each is a set of percentages. Give this or `ramp`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(s, !has(s.name) || self.exists_one(t, has(t.name) && t.name == s.name))").message("step names must be unique in their phase"))]
    pub steps: Option<Vec<Step>>,
    /// Shorthand for steps that raise the same cohorts through a list of percentages. It never lowers a cohort. Give
    /// this or `steps`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
}

/// A set of percentages, entered at a time and kept for at least `hold`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.at) && has(self.week))").message("give at or week, not both"))]
#[x_kube(validation = Rule::new("!has(self.approval) || self.approval == 'NotRequired' || has(self.name)").message("a step that requires approval needs a name"))]
pub struct Step {
    /// Name of the step, unique in its phase. Optional; a step that requires approval needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Earliest instant at which the step is entered. Give this or `week`, not both. Default: as soon as the hold of
    /// the step before is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<MicroTime>,
    /// Earliest entry as a week of the rollout: week 1 begins at the start of the playbook that the rollout joins, else
    /// at `schedule.startAt`, and week n at the same local date and time n - 1 weeks later. Give this or `at`, not
    /// both. Default: as soon as the hold of the step before is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 520))]
    pub week: Option<i32>,
    /// Percentage that the step asks for each named cohort, such as `{regular: 50, new: "0.5%"}`. Cohorts that are not
    /// named stay as they are. A percentage below what a cohort has lowers it.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub cohorts: BTreeMap<String, Percent>,
    /// How long the step is kept before the next one may be entered; it does not count down while the rollout is
    /// paused. It is a length of time such as `36h`, or whole days of the calendar such as `7d`, which end at the same
    /// local time of `schedule.timeZone`, also over a change of clocks. Default: 24h, or the distance to the date of
    /// the next step where both steps have a date and that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Whether somebody must approve the step before it is entered. It is given by an entry in `spec.approvals`, or by
    /// `sluice approve`. Default: `NotRequired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalPolicy>,
}

/// Whether a step needs approval.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApprovalPolicy {
    /// The step is entered when the other checks allow it.
    #[default]
    NotRequired,
    /// The step waits for an approval of this attempt.
    Required,
}

/// Steps that raise the same cohorts through a list of percentages, each named by its percentage.
///
/// A ramp never lowers: each step asks a cohort for the larger of its percentage and what the steps before the ramp ask
/// of that cohort. So a phase that gives staff 100 % can be followed by a ramp for everybody.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Ramp {
    /// Names of the cohorts that the ramp raises. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub cohorts: Option<Vec<String>>,
    /// Percentages, in order, such as `[5, 10, 25, 50, 100]`: one step each, named by its percentage. A cohort that
    /// already has more than a percentage of the ramp keeps what it has.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub percents: Vec<Percent>,
    /// How long each step of the ramp is kept before the next one may be entered: a length of time such as `36h`, or
    /// whole days of the calendar such as `1d`, which end at the same local time of `schedule.timeZone`, also over a
    /// change of clocks. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Hold>,
}
