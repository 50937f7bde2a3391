//! MetricTemplate: a query with typed arguments that rollouts share.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Duration, LocalRef};

/// Arguments that every query has without declaring them.
pub const BUILT_IN_ARGS: [&str; 4] = ["flag", "interval", "namespace", "rollout"];

/// A query with typed arguments.
///
/// `{{name}}` stands for an argument. In PromQL it may stand in the quoted value of a label matcher, where it is
/// escaped (and taken literally in a regular expression); outside of quotes an Integer or Decimal may stand for a
/// number and a Duration for a duration. In `parameters` it may stand anywhere. Nowhere else.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "MetricTemplate",
    plural = "metrictemplates",
    shortname = "mtpl",
    category = "sluice",
    namespaced,
    status = "MetricTemplateStatus",
    derive = "PartialEq",
    doc = "A MetricTemplate is a query with typed arguments that the rollouts of its namespace share.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the query is valid and its source may be asked"
    ),
    printcolumn(
        name = "Source",
        type_ = "string",
        json_path = ".spec.sourceRef.name",
        description = "The MetricSource that is asked"
    ),
    printcolumn(
        name = "Unit",
        type_ = "string",
        json_path = ".spec.unit",
        description = "Unit of the result"
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
#[x_kube(validation = Rule::new("has(self.promql) != has(self.jsonPath)").message("give exactly one of promql and jsonPath"))]
#[x_kube(validation = Rule::new("!has(self.parameters) || has(self.jsonPath)").message("parameters go with jsonPath"))]
#[x_kube(validation = Rule::new("!has(self.maxAge) || has(self.promql)").message("maxAge goes with promql"))]
pub struct MetricTemplateSpec {
    /// The MetricSource that is asked, in the operator's namespace; it must allow this namespace.
    pub source_ref: LocalRef,
    /// Query for a Prometheus-compatible source. `{{name}}` stands for an argument: in the quoted value of a label
    /// matcher, where it is escaped; an Integer or Decimal also in place of a number, and a Duration in place of a
    /// duration. Give this or `jsonPath`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub promql: Option<String>,
    /// Where the numbers are in the answer of an HTTP source, as RFC 9535 writes it, such as `$.data.value`: without
    /// arguments, unions and regular expressions, with at most one `..`, one filter, 32 brackets and 4 calls of
    /// functions. Where cohorts are told apart by a label, it finds objects that have the label beside a `value`. Give
    /// this or `promql`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub json_path: Option<String>,
    /// Query parameters of the request to an HTTP source, by name; `{{name}}` may stand anywhere in a value. Default:
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "parameters_schema")]
    pub parameters: BTreeMap<String, String>,
    /// Arguments that rollouts give. `flag`, `interval`, `namespace` and `rollout` are given to every query by Sluice.
    /// Default: no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub args: Vec<Arg>,
    /// How several series of the result become one number.
    #[serde(default)]
    pub reducer: Reducer,
    /// Query or JSONPath that says from how many samples the number was computed, for a criterion's `minSamples`;
    /// several series are added up. Default: the number is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub sample_count: Option<String>,
    /// How old a sample may be; older ones are no data. Only with `promql`. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// Unit of the result for people, such as `%` or `ms`. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub unit: Option<String>,
}

fn parameters_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 1024}
    })
}

/// An argument that rollouts give; one without a default must be given.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.name in ['flag', 'interval', 'namespace', 'rollout'])").message("flag, interval, namespace and rollout are given to every query"))]
pub struct Arg {
    /// Name of the argument, as `{{name}}` in the query uses it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z][a-zA-Z0-9_]*$"))]
    pub name: String,
    /// What the argument may be.
    #[serde(rename = "type", default)]
    pub type_: ArgType,
    /// Value where a rollout does not give the argument. Optional; an argument without a default must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub default: Option<String>,
    /// What the argument means. Optional; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
}

/// What an argument may be.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArgType {
    /// A text of 1 to 256 characters, none of them a control character.
    #[default]
    String,
    /// A whole number of up to 15 digits, such as `500`.
    Integer,
    /// A decimal number of up to 15 digits, such as `0.95`.
    Decimal,
    /// A duration, such as `90s`, `10m` or `1h30m`.
    Duration,
}

/// How several series become one number.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reducer {
    /// There must be exactly one series; several are no data.
    #[default]
    One,
    /// The largest of the numbers counts.
    Max,
    /// The smallest of the numbers counts.
    Min,
    /// The mean of the numbers counts.
    Avg,
    /// The sum of the numbers counts.
    Sum,
}

/// What the controller found.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MetricTemplateStatus {
    /// Generation of the spec that this status is about, `metadata.generation`; -1 before the first one.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// `Ready` says whether the query is valid and its source may be asked from this namespace. `Stalled` is there, and
    /// True, while somebody has to correct the template or the source.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Default for MetricTemplateStatus {
    fn default() -> MetricTemplateStatus {
        MetricTemplateStatus { observed_generation: super::unobserved(), conditions: Vec::new() }
    }
}
