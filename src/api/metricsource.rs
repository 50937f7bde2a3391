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
    /// A server with the HTTP API of Prometheus; `/api/v1/query` and `/api/v1/query_range` are appended to the path of
    /// the URL. Give this or `http`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Endpoint>,
    /// An endpoint that answers GET with JSON, from which a template's `jsonPath` takes the numbers. Give this or
    /// `prometheus`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Endpoint>,
    /// Credentials that the operator sends with each query. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Authorities that the certificate of an `https` URL must come from. Default: those that the operator's system
    /// trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// A header that names the tenant, of a server that many share. Default: no such header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Label that is set to the rollout's namespace in every selector of every query, such as `namespace`, so that a
    /// namespace sees its own series only; for `http` it is a query parameter. Default: none, and queries see all
    /// series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub namespace_label: Option<String>,
    /// Namespaces whose rollouts may use the source; `*` stands for all. The operator's own namespace always may.
    /// Default: no other namespace may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63), regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_namespaces: Vec<String>,
    /// IP addresses and CIDR blocks, such as `127.0.0.1` or `10.0.0.0/8`, that may be reached although they are refused
    /// by default: those of loopback and link-local interfaces and of the API server. The metadata service of a cloud
    /// must be named by its own address. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 2, max = 49), regex(pattern = r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$")), extend("x-kubernetes-list-type" = "set"))]
    pub allow_addresses: Vec<String>,
    /// Longest time that one query may take, more than 0s and at most 5s.
    #[serde(default = "five_seconds")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s') && duration(self) <= duration('5s')").message("timeout must be more than 0s and at most 5s"))]
    pub timeout: Duration,
    /// How much the source is asked. Namespaces share it fairly. Default: 20 queries in a second, 4 at a time.
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
    /// URL that begins with `http://` or `https://`, such as `https://prometheus.monitoring:9090`, without a user name
    /// and without `#`.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
}

/// How the operator says who it is.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.bearer) != has(self.basic)").message("give exactly one of bearer and basic"))]
pub struct Auth {
    /// A bearer token, sent in the header `Authorization`. Give this or `basic`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Bearer>,
    /// A user name and a password, sent in the header `Authorization`. Give this or `bearer`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,
}

/// A bearer token.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Bearer {
    /// The Secret of the operator's namespace, and the key in it, that holds the token.
    pub secret_ref: KeyRef,
}

/// A user name and a password.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Basic {
    /// The Secret of the operator's namespace that holds `username` and `password`.
    pub secret_ref: LocalRef,
}

/// One key of a Secret or ConfigMap of the operator's namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object, in the operator's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the object under which the value is.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Whom a certificate must come from.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Certificates of the only authorities that are trusted.
    pub ca: Ca,
}

/// Certificates of authorities, PEM.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.secretRef), has(self.configMapRef), has(self.pem)].filter(x, x).size() == 1").message("give exactly one of secretRef, configMapRef and pem"))]
pub struct Ca {
    /// A key of a Secret of the operator's namespace that holds the certificates, PEM. Give exactly one of `secretRef`,
    /// `configMapRef` and `pem`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
    /// A key of a ConfigMap of the operator's namespace that holds the certificates, PEM. Give exactly one of
    /// `secretRef`, `configMapRef` and `pem`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
    /// The certificates themselves, PEM. Give exactly one of `secretRef`, `configMapRef` and `pem`; there is no
    /// default.
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
    /// Value of the header. Default: the namespace of the rollout that the query is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[!-~]+$"))]
    pub value: Option<String>,
}

/// How much a source is asked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Number of queries in a second, and of those that may be sent at once after a quiet second.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: i32,
    /// Number of queries that may be under way at the same time.
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
    /// Generation of the spec that this status is about, `metadata.generation`; -1 before the first one.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// Whether queries are sent to the source. Absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<Circuit>,
    /// `Ready` says whether the source may be asked and answers. `Stalled` is there, and True, while it cannot be used
    /// until somebody corrects it; `Reconciling` while it does not answer and is tried again.
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
    /// Queries are sent.
    #[default]
    Closed,
    /// Queries are not sent, as the source failed five times in a row; it is tried again after 5 seconds, later after
    /// up to 5 minutes.
    Open,
    /// One query is under way that tells whether the source answers again.
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
