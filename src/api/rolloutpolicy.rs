//! RolloutPolicy: the guardrails of many rollouts, written once.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::freeze::MAX_FREEZES;
use super::rollback::Rollback;
use super::trigger::{MonitoringPeriod, Trigger};
use super::{Condition, Freeze, Percent, Window};

/// Highest number of policies that may bind one rollout.
pub const MAX_POLICIES: usize = 8;
/// Longest name of a policy: the names of its rules begin with it.
pub const MAX_NAME: usize = 63;

/// Guardrails that are written once and hold for every rollout that they bind.
///
/// There are three ways to bind: a rollout's `policyRef`; a FlagSet's `policyRef`, which binds all its rollouts whatever they
/// say; and a `namespaceSelector` of a policy in the operator's own namespace, which binds the rollouts of every namespace
/// whose labels match. All that bind hold together: every window list must allow, freezes add up, triggers add up under the
/// names `POLICY/TRIGGER`, and the lowest `approvalAbove` counts. Of `rollback.gradual`, `rollback.partial` and `monitoring`
/// the nearest counts: the rollout's own, then that of the policy it names, then of its FlagSet's, then of the cluster's.
///
/// An edit of a policy is an edit of every rollout that it binds: nothing is raised or begun again by it, and what is stricter
/// holds at once. While a policy that is named is missing, or one that binds is invalid, nothing is raised, and the triggers
/// that were valid last stay in force.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "RolloutPolicy",
    plural = "rolloutpolicies",
    shortname = "rpol",
    category = "sluice",
    namespaced,
    status = "RolloutPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A RolloutPolicy holds guardrails of many rollouts, written once: triggers, rollback, monitoring, windows, freezes and approvals.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the policy is valid"
    ),
    printcolumn(
        name = "Rollouts",
        type_ = "integer",
        json_path = ".status.rollouts",
        description = "How many rollouts it binds"
    ),
    printcolumn(
        name = "Triggers",
        type_ = "integer",
        json_path = ".status.triggers",
        description = "How many triggers it has"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1,
        description = "Why, in words"
    ),
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name of a policy has 63 characters at most: the names of its rules begin with it")
)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPolicySpec {
    /// What differs from rollout to rollout. `$(name)` in the value of a metric's argument stands for it, and is filled from
    /// the rollout's `policyArgs`; `$$(name)` stands for the text `$(name)`. Default: nothing differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub args: Vec<PolicyArg>,
    /// IANA time zone of the windows and of the dates of freezes, such as `Europe/Berlin`; default UTC, whatever the rollouts
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Raises happen only inside of one of these. The windows of the rollout, of its FlagSet and of each other policy must
    /// allow, too. Default: the policy allows raises at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// Nothing is raised inside of any of these. Their dates are local dates of `timeZone`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_FREEZES), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub freezes: Vec<Freeze>,
    /// Metric rules that notify, pause or roll back, beside those of the rollout. Their templates are looked for in the
    /// policy's own namespace, and asked about the rollout's. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(t, self.exists_one(u, u.name == t.name))").message("trigger names must be unique"))]
    pub triggers: Vec<Trigger>,
    /// How gradual and partial rollbacks go, where nothing nearer to the rollout says so. A cohort in `partial.keep` that a
    /// rollout does not have means nothing there. Default: the policy says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// How closely a rollout is watched after its completion, in the order of time, where nothing nearer to it says so.
    /// Default: the policy says nothing of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub monitoring: Vec<MonitoringPeriod>,
    /// A raise of any cohort to more than this percentage needs an approval of the step that asks for it, in the rollout's
    /// `approvals` or by an Approve action. `0` means every raise. Default: only those steps need one that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_above: Option<Percent>,
    /// Binds every rollout of the namespaces whose labels match, in a policy of the operator's own namespace; elsewhere it has
    /// no effect, and the policy says so. `{}` matches every namespace. Default: nothing is bound by labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,
}

/// What differs from rollout to rollout; without a default the rollout must give it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyArg {
    /// Name, as `$(name)` uses it.
    #[schemars(length(min = 1, max = 63), regex(pattern = ARG_NAME))]
    pub name: String,
    /// What it is where a rollout does not give it. Default: none, and each rollout that is bound has to give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub default: Option<String>,
    /// What it means, for people. Default: nothing is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
}

/// How the name of an argument is written.
pub const ARG_NAME: &str = r"^[a-zA-Z][a-zA-Z0-9_]*$";

/// Which namespaces are meant, by their labels: all of `matchLabels` and of `matchExpressions` must hold.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that a namespace must have, with these values, such as `kubernetes.io/metadata.name: shop`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that a namespace's labels must meet besides. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelRequirement>,
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// A requirement on one label.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)").message("In and NotIn take values, Exists and DoesNotExist take none"))]
pub struct LabelRequirement {
    /// Key of the label that is looked at.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// Values that `In` and `NotIn` compare the label with. Default: none, as `Exists` and `DoesNotExist` need none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    /// It is there and has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl NamespaceSelector {
    /// Whether a namespace with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl LabelRequirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_one = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => is_one,
            LabelOperator::NotIn => !is_one,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// How a policy has come to bind a rollout, the nearest first.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub enum Binding {
    /// The rollout names it.
    #[default]
    Rollout,
    /// The rollout's FlagSet names it.
    FlagSet,
    /// Its `namespaceSelector` matches the rollout's namespace.
    Cluster,
}

impl Binding {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Binding::Rollout => "Rollout",
            Binding::FlagSet => "FlagSet",
            Binding::Cluster => "Cluster",
        }
    }
}

/// A policy that binds a rollout, as the rollout's status names it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct BoundPolicy {
    /// Name of the policy.
    pub name: String,
    /// Its namespace, where that is not the rollout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// How it binds: `Rollout`, `FlagSet` or `Cluster`.
    pub binding: Binding,
}

/// What the controller found.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPolicyStatus {
    /// Generation that this status speaks of; -1 before the first.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// How many rollouts the policy binds.
    #[serde(default)]
    pub rollouts: i64,
    /// How many triggers it has.
    #[serde(default)]
    pub triggers: i64,
    /// Ready, and Stalled when it is.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Default for RolloutPolicyStatus {
    fn default() -> RolloutPolicyStatus {
        RolloutPolicyStatus {
            observed_generation: super::unobserved(),
            rollouts: 0,
            triggers: 0,
            conditions: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::empty("{}", true)]
    #[case::label("{matchLabels: {team: pay}}", true)]
    #[case::other_value("{matchLabels: {team: search}}", false)]
    #[case::one_of_two_labels("{matchLabels: {team: pay, tier: gold}}", false)]
    #[case::one_of("{matchExpressions: [{key: team, operator: In, values: [search, pay]}]}", true)]
    #[case::none_of("{matchExpressions: [{key: team, operator: NotIn, values: [search, pay]}]}", false)]
    #[case::none_of_an_absent_one("{matchExpressions: [{key: tier, operator: NotIn, values: [gold]}]}", true)]
    #[case::there("{matchExpressions: [{key: env, operator: Exists}]}", true)]
    #[case::not_there("{matchExpressions: [{key: env, operator: DoesNotExist}]}", false)]
    #[case::both("{matchLabels: {team: pay}, matchExpressions: [{key: env, operator: DoesNotExist}]}", false)]
    fn namespaces_are_told_by_their_labels(#[case] selector: &str, #[case] matches: bool) {
        let selector: NamespaceSelector = serde_saphyr::from_str(selector).unwrap();
        let labels = [("team", "pay"), ("env", "prod")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(selector.matches(&labels.into()), matches);
    }
}
