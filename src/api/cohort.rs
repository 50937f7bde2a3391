//! Cohorts: named parts of the audience, as a CohortSet or a FeatureRollout declares them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Percent};

/// Highest number of cohorts in one list.
pub const MAX_COHORTS: usize = 16;

/// A named part of the audience, told apart by attributes of the evaluation context.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Cohort {
    /// Name of the cohort, unique in its list, such as `early-adopters`. Steps name cohorts by it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Name of the cohort for people. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// Who these users are. Optional; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub profile: Option<String>,
    /// Part of all users that is in this cohort. It only serves to compute the exposure and changes nothing for users.
    /// Default: unknown, and no exposure is shown; a single cohort that matches everyone has 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Percent>,
    /// Conditions on the evaluation context that say who is in the cohort. The first cohort of the list that matches a
    /// user is the user's. Default: everyone.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// Tiers of features that this cohort takes part in. A rollout of a tier that is not listed leaves the cohort at
    /// what it has. Default: all tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub admits: Option<Vec<Tier>>,
    /// How long after the first exposure of a feature, in each attempt, this cohort may first be raised. A raise that a
    /// step asks for earlier is pending until then. It does not count down while the rollout is paused. Default: 0s, no
    /// delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// How the cohort is looked after. Default: as every other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<CohortMonitoring>,
}

/// How a cohort is looked after.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CohortMonitoring {
    /// How often, at the least, the triggers of a rollout are measured while somebody of the cohort has the feature; at least
    /// 1s. Of several such cohorts the most often counts, and a trigger's own `interval` where that is more often still.
    /// Default: the cohort asks for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How often there is a report about the cohort: what its users get of each feature, what has changed, what was
    /// measured, and what comes next. It goes to the NotificationChannels that have a digest of the kind `Cohorts`, at the
    /// first time of that digest's schedule in each period. Default: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportPeriod>,
}

/// How often there is a report.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportPeriod {
    /// Once a day.
    Daily,
    /// Once a week; weeks begin on Monday.
    Weekly,
    /// Once a month.
    Monthly,
}

impl ReportPeriod {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReportPeriod::Daily => "Daily",
            ReportPeriod::Weekly => "Weekly",
            ReportPeriod::Monthly => "Monthly",
        }
    }
}

/// Conditions on the evaluation context. All attributes and expressions must hold, and where there are groups in `anyOf`,
/// one of the groups as well.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Attributes and the value that each must have, such as `segment: premium`. It is short for an expression with the
    /// operator `In` and one value, so `"true"` and `"3"` also match the boolean true and the number 3. A dot in a name
    /// leads into a structured attribute. Default: none are asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), inner(length(max = 256)))]
    pub attributes: BTreeMap<String, String>,
    /// Expressions that must all hold. Default: none are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub expressions: Vec<Expression>,
    /// Groups of conditions, of which at least one must hold besides `attributes` and `expressions`. Default: no group
    /// is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub any_of: Vec<MatchGroup>,
}

/// Conditions on the evaluation context that must all hold for the group to hold. There is at least one.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.attributes) || has(self.expressions)").message("a group needs attributes or expressions"))]
pub struct MatchGroup {
    /// Attributes and the value that each must have, such as `segment: premium`. It is short for an expression with the
    /// operator `In` and one value, so `"true"` and `"3"` also match the boolean true and the number 3. A dot in a name
    /// leads into a structured attribute. Default: none are asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 8), inner(length(max = 256)))]
    pub attributes: BTreeMap<String, String>,
    /// Expressions that must all hold for the group to hold. Default: none are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub expressions: Vec<Expression>,
}

impl Match {
    /// The lists of conditions: what always must hold, then the groups.
    pub fn parts(&self) -> impl Iterator<Item = (&BTreeMap<String, String>, &[Expression])> {
        let groups = self.any_of.iter().map(|group| (&group.attributes, group.expressions.as_slice()));
        std::iter::once((&self.attributes, self.expressions.as_slice())).chain(groups)
    }
}

/// One condition on one attribute of the evaluation context.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.operator in ['Exists', 'DoesNotExist'] ? (!has(self.values) || size(self.values) == 0) : (has(self.values) && size(self.values) > 0)",
).message("Exists and DoesNotExist take no values, every other operator at least one"))]
#[x_kube(validation = Rule::new(
    "!(self.operator in ['Gt', 'Gte', 'Lt', 'Lte', 'SemVer']) || (has(self.values) && size(self.values) == 1)",
).message("Gt, Gte, Lt, Lte and SemVer take exactly one value"))]
pub struct Expression {
    /// Name of the attribute, such as `country`. A dot leads into a structured attribute: `device.os` is the field `os`
    /// of the attribute `device`. An attribute whose own name has a dot cannot be reached: give it nested.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^.]+(\.[^.]+)*$"))]
    pub key: String,
    /// How the attribute is compared. A list holds where any of its elements does, and for the operators that begin with
    /// `Not`, where none does; SemVer, Exists and DoesNotExist do not look into lists.
    pub operator: Operator,
    /// What the attribute is compared with. `Gt`, `Gte`, `Lt` and `Lte` take one number, such as `"18"` or `"2.5"`;
    /// `SemVer` takes one text of comparisons that must all hold, such as `">= 2.1.0 < 3"`; `Exists` and `DoesNotExist`
    /// take none, which is the default; the others take texts, of which one is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How an [`Expression`] compares.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The attribute is one of the values: the same text, or a number or boolean that is written like the value.
    In,
    /// The attribute is none of the values, or absent.
    NotIn,
    /// The attribute is present and not null.
    Exists,
    /// The attribute is absent or null.
    DoesNotExist,
    /// The attribute is a text that begins with one of the values.
    StartsWith,
    /// The attribute is no text that begins with one of the values, or absent.
    NotStartsWith,
    /// The attribute is a text that ends with one of the values.
    EndsWith,
    /// The attribute is no text that ends with one of the values, or absent.
    NotEndsWith,
    /// The attribute is a text that has one of the values in it.
    Contains,
    /// The attribute is no text that has one of the values in it, or absent.
    NotContains,
    /// The attribute is a number above the value.
    Gt,
    /// The attribute is a number at or above the value.
    Gte,
    /// The attribute is a number below the value.
    Lt,
    /// The attribute is a number at or below the value.
    Lte,
    /// The attribute is a text with a version that all comparisons of the value accept.
    SemVer,
}

/// How settled a feature is; a cohort says which tiers it admits.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// For those who want the newest.
    Preview,
    /// Settled; most features are.
    #[default]
    Stable,
    /// What the product cannot be without.
    Core,
}
