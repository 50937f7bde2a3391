//! CohortSet: an ordered division of the audience that rollouts share.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Cohort, Condition};

/// An ordered division of the audience into cohorts.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "CohortSet",
    plural = "cohortsets",
    shortname = "cset",
    category = "sluice",
    namespaced,
    status = "CohortSetStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A CohortSet divides an audience into ordered cohorts that rollouts share.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the set is valid"
    ),
    printcolumn(
        name = "Cohorts",
        type_ = "string",
        json_path = ".status.cohorts",
        description = "Names of the cohorts, in order"
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
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CohortSetSpec {
    /// The cohorts, in order. A user is in the first cohort that matches; whoever matches none gets the control variant
    /// of every flag.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.name == c.name))").message("cohort names must be unique"))]
    pub cohorts: Vec<Cohort>,
}

/// What the controller found.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CohortSetStatus {
    /// Generation of the spec that this status is about, `metadata.generation`; -1 before the first one.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// Names of the cohorts in their order, in one line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohorts: Option<String>,
    /// Name of the ControllerRevision that keeps these cohorts for the rollouts that serve them. Absent while the set
    /// is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// `Ready` says whether the set is valid. `Stalled` is there, and True, while it is not: then rollouts go on with
    /// the cohorts that they have, and nothing moves to the edited ones until somebody corrects the set.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Default for CohortSetStatus {
    fn default() -> CohortSetStatus {
        CohortSetStatus {
            observed_generation: super::unobserved(),
            cohorts: None,
            audience: None,
            conditions: Vec::new(),
        }
    }
}
