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
    /// Name, unique in its list; the phases' steps use it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// Who these users are, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub profile: Option<String>,
    /// Part of the whole audience that this cohort makes up; needed to tell the exposure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Percent>,
    /// Whom the cohort takes in; everyone when empty. The first cohort of the list that matches wins.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// Tiers of rollouts that this cohort takes part in; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub admits: Option<Vec<Tier>>,
    /// How long after the feature's first exposure this cohort may first be raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
}

/// Conditions on the evaluation context; all of them must hold.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Attributes that must equal these strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), inner(length(max = 256)))]
    pub attributes: BTreeMap<String, String>,
    /// Expressions that must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub expressions: Vec<Expression>,
}

/// One condition on one attribute.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.operator in ['Exists', 'DoesNotExist'] ? (!has(self.values) || size(self.values) == 0) : (has(self.values) && size(self.values) > 0)",
).message("Exists and DoesNotExist take no values, every other operator at least one"))]
#[x_kube(validation = Rule::new(
    "!(self.operator in ['Gt', 'Gte', 'Lt', 'Lte', 'SemVer']) || (has(self.values) && size(self.values) == 1)",
).message("Gt, Gte, Lt, Lte and SemVer take exactly one value"))]
pub struct Expression {
    /// Attribute of the evaluation context.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// How the attribute is compared.
    pub operator: Operator,
    /// What it is compared with. Numbers for Gt, Gte, Lt, Lte; for SemVer an operator and a version such as `>= 2.1.0`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How an [`Expression`] compares.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The attribute is one of the values.
    In,
    /// The attribute is none of the values, or absent.
    NotIn,
    /// The attribute is present and not null.
    Exists,
    /// The attribute is absent or null.
    DoesNotExist,
    /// The attribute begins with one of the values.
    StartsWith,
    /// The attribute ends with one of the values.
    EndsWith,
    /// The attribute is a number above the value.
    Gt,
    /// The attribute is a number at or above the value.
    Gte,
    /// The attribute is a number below the value.
    Lt,
    /// The attribute is a number at or below the value.
    Lte,
    /// The attribute is a semantic version that the value's comparison accepts.
    SemVer,
}

/// How settled a feature is; a cohort says which tiers it admits.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// For those who want the newest.
    Preview,
    /// Settled: the default.
    #[default]
    Stable,
    /// What the product cannot be without.
    Core,
}
