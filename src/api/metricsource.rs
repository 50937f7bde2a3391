//! MetricSource: a provider of measurements that admins let rollouts ask.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Duration, LocalRef};

/// Highest number of seconds that one query may take.
pub const MAX_TIMEOUT_SECONDS: i64 = 5;

/// The pattern of a URL: `http` or `https`, a host without user information, no fragment.
pub const URL_PATTERN: &str = r"^https?://[^\s/?#@\\]+(/[^\s?#\\]*)?(\?[^\s#\\]*)?$";

/// A provider of measurements. Only those in the operator's own namespace are used, so they belong to admins.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "MetricSource",
    plural = "metricsources",
    shortname = "msrc",
    category = "sluice",
    namespaced,
    status = "MetricSourceStatus",
    derive = "PartialEq",
    doc = "A MetricSource is a provider of measurements: a Prometheus-compatible server or a JSON endpoint. Only those in the operator's namespace are used.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the source can be asked"
    ),
    printcolumn(
        name = "Circuit",
        type_ = "string",
        json_path = ".status.circuit",
        description = "Closed while the source answers"
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
#[x_kube(validation = Rule::new("has(self.prometheus) != has(self.http)").message("give exactly one of prometheus and http"))]
pub struct MetricSourceSpec {
    /// A server with Prometheus' HTTP API; `/api/v1/query` and `/api/v1/query_range` are appended to the URL's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Endpoint>,
    /// An endpoint that answers GET with JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Endpoint>,
    /// How the operator says who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whom an `https` URL's certificate must come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// A header that names the tenant of a server shared by many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Label that every selector of a query must match with the rollout's namespace; for `http` a query parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub namespace_label: Option<String>,
    /// Namespaces whose rollouts may ask; `*` means all. The operator's own may always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63), regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_namespaces: Vec<String>,
    /// Addresses and CIDR blocks that may be reached although they are refused by default: loopback, link-local and the
    /// API server's. An address of a cloud's metadata service must be named itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 2, max = 49), regex(pattern = r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$")), extend("x-kubernetes-list-type" = "set"))]
    pub allow_addresses: Vec<String>,
    /// Longest time that one query may take, at most 5s.
    #[serde(default = "five_seconds")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s') && duration(self) <= duration('5s')").message("timeout must be more than 0s and at most 5s"))]
    pub timeout: Duration,
    /// How much the source is asked.
    #[serde(default)]
    pub limits: Limits,
}

fn five_seconds() -> Duration {
    Duration::from_secs(MAX_TIMEOUT_SECONDS)
}

/// Where a provider is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// URL with `http` or `https`, without user information and fragment.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
}

/// How the operator says who it is.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.bearer) != has(self.basic)").message("give exactly one of bearer and basic"))]
pub struct Auth {
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Bearer>,
    /// A user name and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,
}

/// A bearer token.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Bearer {
    /// The Secret of the operator's namespace that holds the token.
    pub secret_ref: KeyRef,
}

/// A user name and a password.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Basic {
    /// The Secret of the operator's namespace with the keys `username` and `password`.
    pub secret_ref: LocalRef,
}

/// One key of a Secret or ConfigMap of the operator's namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Whom a certificate must come from.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The only authorities that are trusted; those of the system when `tls` is absent.
    pub ca: Ca,
}

/// Certificates of authorities, PEM.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.secretRef), has(self.configMapRef), has(self.pem)].filter(x, x).size() == 1").message("give exactly one of secretRef, configMapRef and pem"))]
pub struct Ca {
    /// In a Secret of the operator's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
    /// In a ConfigMap of the operator's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
    /// The certificates themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub pem: Option<String>,
}

/// Headers that belong to the connection or to `auth` and name no tenant.
pub const RESERVED_HEADERS: [&str; 11] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "proxy-authorization",
    "transfer-encoding",
    "upgrade",
];

/// A header that names the tenant.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.header.lowerAscii() in ['accept', 'accept-encoding', 'authorization', 'connection', 'content-length', 'content-type', 'cookie', 'host', 'proxy-authorization', 'transfer-encoding', 'upgrade'])").message("this header names no tenant"))]
pub struct Tenant {
    /// Name of the header, such as `X-Scope-OrgID`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9][-A-Za-z0-9]*$"))]
    pub header: String,
    /// Its value; the rollout's namespace when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[!-~]+$"))]
    pub value: Option<String>,
}

/// How much a source is asked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Queries a second, and how many may come at once after a quiet second.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: i32,
    /// Queries under way at the same time.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: i32,
}

fn twenty() -> i32 {
    20
}

fn four() -> i32 {
    4
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { requests_per_second: twenty(), concurrency: four() }
    }
}

/// What the controller found.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MetricSourceStatus {
    /// Generation that this status speaks of; -1 before the first.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// Whether queries are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<Circuit>,
    /// Ready, and Stalled when it is.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Default for MetricSourceStatus {
    fn default() -> MetricSourceStatus {
        MetricSourceStatus { observed_generation: super::unobserved(), circuit: None, conditions: Vec::new() }
    }
}

/// Whether a source is sent queries.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circuit {
    /// Yes.
    #[default]
    Closed,
    /// No: it failed several times in a row. It is tried again after a while.
    Open,
    /// One query is under way to see whether it answers again.
    HalfOpen,
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Circuit::Closed => "Closed",
            Circuit::Open => "Open",
            Circuit::HalfOpen => "HalfOpen",
        })
    }
}
