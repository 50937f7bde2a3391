//! NotificationChannel: where people are told what happens to rollouts.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metricsource::{KeyRef, Tls, URL_PATTERN};
use super::{Duration, LocalRef, Reason, Severity};

pub use super::channel_status::{
    DigestStatus, Heard, LastError, MOST_HEARD, MOST_QUEUED, MOST_THREADS, NotificationChannelStatus,
    OutboxEntry, Subject, Thread,
};

/// Highest number of seconds that one message may take to be sent.
pub const MAX_TIMEOUT_SECONDS: i64 = 30;

/// A place where people are told what happens to rollouts. Only those in the operator's own namespace are used, so they
/// belong to admins.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "NotificationChannel",
    plural = "notificationchannels",
    shortname = "nchan",
    category = "sluice",
    namespaced,
    status = "NotificationChannelStatus",
    derive = "PartialEq",
    doc = "A NotificationChannel is a place where people are told what happens to rollouts: a chat, a pager, a webhook. Only those in the operator's namespace are used.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether messages go through"
    ),
    printcolumn(
        name = "Queued",
        type_ = "integer",
        json_path = ".status.queued",
        description = "Messages that wait to be sent"
    ),
    printcolumn(
        name = "Sent",
        type_ = "integer",
        json_path = ".status.sent",
        description = "Messages that were sent"
    ),
    printcolumn(
        name = "Dropped",
        type_ = "integer",
        json_path = ".status.dropped",
        description = "Messages that were given up"
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
#[x_kube(validation = Rule::new("[has(self.slack), has(self.slackWebhook), has(self.teams), has(self.webhook), has(self.pagerDuty), has(self.alertmanager), has(self.email)].exists_one(given, given)").message("give exactly one of slack, slackWebhook, teams, webhook, pagerDuty, alertmanager and email"))]
#[x_kube(validation = Rule::new("!has(self.digests) || !(has(self.pagerDuty) || has(self.alertmanager))").message("incidents have no digests"))]
#[x_kube(validation = Rule::new("self.transitions == 'Sent' || has(self.digests) && self.digests.size() > 0").message("without transitions and without digests nothing is told"))]
pub struct NotificationChannelSpec {
    /// Slack, by a bot's token: one message for each attempt of a rollout, which is edited as the rollout goes on, with
    /// what happened in its thread. The bot needs the scope `chat:write` and is a member of the channel. Give exactly
    /// one receiver; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Slack>,
    /// Slack, or a chat that takes the same messages, by an incoming webhook: one message for everything that happens.
    /// Give exactly one receiver; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack_webhook: Option<SecretUrl>,
    /// Microsoft Teams, by the webhook of a workflow, with an Adaptive Card. Give exactly one receiver; there is no
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams: Option<SecretUrl>,
    /// Any program that takes a CloudEvent by HTTP, signed as Standard Webhooks says. Give exactly one receiver; there
    /// is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// PagerDuty, by its Events API v2. An incident is triggered by what is Critical; it is acknowledged or resolved
    /// when somebody acknowledges the rollout, and resolved when a rollback is verified or the rollout is started
    /// again. Give exactly one receiver; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pager_duty: Option<PagerDuty>,
    /// Alertmanager, by its API v2. What is Warning or Critical fires an alert; it is resolved as PagerDuty's incidents
    /// are. Give exactly one receiver; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<Alertmanager>,
    /// Email by SMTP, as text and HTML. Give exactly one receiver; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// Namespaces whose rollouts are told of here; `*` means all. The operator's own namespace always is. Default: no
    /// other namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63), regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_namespaces: Vec<String>,
    /// Whether each thing that happens is told when it happens: `Sent` (default), or `Omitted` where a channel is for digests
    /// alone.
    #[serde(default)]
    pub transitions: Transitions,
    /// Summaries at fixed times, of the same rollouts. Not with pagerDuty and alertmanager. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub digests: Vec<Digest>,
    /// What of these rollouts is told here. Everything when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// The words of messages. Those of a reason come before those without one; what no template gives has default words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub templates: Vec<Template>,
    /// Where people look at a rollout, as a template of a URL with the variables of `templates`, such as
    /// `https://argocd.example.com/applications/{{ namespace }}?resource={{ name }}`. Messages have no link when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 1024), regex(pattern = r"^https?://"))]
    pub link: Option<String>,
    /// Authorities that the certificate of an `https` URL must come from. Default: those that the operator's system
    /// trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Addresses and CIDR blocks that may be reached although they are refused by default: loopback, link-local and the
    /// API server's. An address of a cloud's metadata service must be named itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 2, max = 49), regex(pattern = r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$")), extend("x-kubernetes-list-type" = "set"))]
    pub allow_addresses: Vec<String>,
    /// Longest time that sending one message may take, at most 30s; default 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s') && duration(self) <= duration('30s')").message("timeout must be more than 0s and at most 30s"))]
    pub timeout: Option<Duration>,
}

/// A channel of Slack, by a bot.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Slack {
    /// The channel's ID, such as `C024BE91L`, or its name, such as `#releases`.
    #[schemars(length(min = 1, max = 80), regex(pattern = r"^[#A-Za-z0-9][-_.A-Za-z0-9]*$"))]
    pub channel: String,
    /// The key of a Secret of the operator's namespace that holds the bot's token, such as `xoxb-…`.
    pub token_secret_ref: KeyRef,
    /// URL of Slack's Web API; default `https://slack.com/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: Option<String>,
}

/// A URL that is itself a secret.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretUrl {
    /// The key of a Secret of the operator's namespace that holds the URL: who knows it may post there.
    pub url_secret_ref: KeyRef,
}

/// A program that takes CloudEvents.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.urlSecretRef)").message("give exactly one of url and urlSecretRef"))]
pub struct Webhook {
    /// URL that events are posted to: it begins with `http://` or `https://`, such as `https://example.com/events`,
    /// without a user name and without `#`. Give this or `urlSecretRef`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: Option<String>,
    /// The key of a Secret of the operator's namespace that holds the URL. Give this or `url`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<KeyRef>,
    /// Keys of Secrets of the operator's namespace to sign with, as Standard Webhooks writes them: `whsec_` and 24 to
    /// 64 bytes in base64. Two sign side by side while one takes the other's place. Default: none, and requests are not
    /// signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "atomic"))]
    pub signing_secret_refs: Vec<KeyRef>,
}

/// A service of PagerDuty.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PagerDuty {
    /// The key of a Secret of the operator's namespace that holds the integration key (also called routing key).
    pub routing_key_secret_ref: KeyRef,
    /// Where events go; default `https://events.pagerduty.com/v2/enqueue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: Option<String>,
}

/// An Alertmanager.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Alertmanager {
    /// Its URL; `/api/v2/alerts` is appended to the URL's path.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
    /// The Secret of the operator's namespace that holds `username` and `password`. Default: none are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth_secret_ref: Option<LocalRef>,
}

/// Email by SMTP.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Email {
    /// Name or address of the SMTP server, such as `smtp.example.com`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([-.:A-Za-z0-9]*[A-Za-z0-9])?$"))]
    pub server: String,
    /// Its port; default 587 for `StartTls`, 465 for `Tls`, 25 for `Plain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: MailSecurity,
    /// The sender, such as `Sluice <sluice@example.com>`.
    #[schemars(length(min = 3, max = 320), regex(pattern = r"^[^@\x00-\x1f]+@[^@\x00-\x1f]+$"))]
    pub from: String,
    /// The addresses that every message goes to, such as `oncall@example.com`.
    #[schemars(length(min = 1, max = 32), inner(length(min = 3, max = 320), regex(pattern = r"^[^@\x00-\x1f]+@[^@\x00-\x1f]+$")), extend("x-kubernetes-list-type" = "atomic"))]
    pub to: Vec<String>,
    /// The Secret of the operator's namespace with the keys `username` and `password`, where the server asks who one is.
    /// Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret_ref: Option<LocalRef>,
}

/// How a connection to an SMTP server is protected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailSecurity {
    /// By STARTTLS, without which nothing is sent.
    #[default]
    StartTls,
    /// By TLS from the beginning.
    Tls,
    /// Not at all. Then nobody is told a password.
    Plain,
}

/// Whether things are told when they happen.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transitions {
    /// What happens is sent when it happens.
    #[default]
    Sent,
    /// They are not: the channel is for digests.
    Omitted,
}

/// A summary at fixed times.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.cohorts) || self.kind == 'Cohorts'").message("cohorts belong to the kind Cohorts"))]
pub struct Digest {
    /// Name, unique among the channel's digests.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When, as cron says it: minute, hour, day of the month, month, day of the week, such as `0 9 * * MON-FRI`; at most every
    /// quarter of an hour.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[-0-9A-Za-z*,/#?LW ]+$"))]
    pub schedule: String,
    /// The IANA time zone of the schedule and of the times in the digest, such as `America/Los_Angeles`; default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// What the digest says: how every rollout stands, what was completed, or how each cohort fares.
    pub kind: DigestKind,
    /// The only cohorts that are reported on, such as `early-adopters`; with the kind `Cohorts` alone. Default: every cohort
    /// whose `monitoring` has a `report`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub cohorts: Vec<String>,
}

/// What a digest says.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestKind {
    /// What needs attention, which reviews are due, what waits and what is served.
    Status,
    /// What was completed since the digest before. It is not sent where that is nothing.
    Highlights,
    /// A report about each cohort for which one is due, by `monitoring.report` of the cohort: the first time of the schedule
    /// in each day, week or month, in the time zone of the digest. It is not sent where none is due.
    Cohorts,
}

impl DigestKind {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            DigestKind::Status => "Status",
            DigestKind::Highlights => "Highlights",
            DigestKind::Cohorts => "Cohorts",
        }
    }
}

/// What is told. What is given must all hold.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// The lowest severity that is told: `Info` (everything; the default), `Warning` (what somebody should look at, such as a
    /// file that cannot be written) or `Critical` (rollbacks, emergencies, Critical levels of triggers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The only reasons that are told, as events and the history spell them, such as `StepEntered`. Default: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub reasons: Vec<Reason>,
    /// Labels of the rollouts that are told of; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_selector: Option<Selector>,
}

/// A label selector. What is given must all hold.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels with their values, such as `team: dreams`, which a rollout must all have. Default: none are asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub match_labels: BTreeMap<String, String>,
    /// Rules for labels, which must all hold. Default: none are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// A rule for a label.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)").message("In and NotIn take values, Exists and DoesNotExist take none"))]
pub struct Requirement {
    /// Key of the label, such as `team`.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// `In`: it has one of the values. `NotIn`: it has none of them, or is not there. `Exists` and `DoesNotExist`: whether
    /// it is there.
    pub operator: SelectorOperator,
    /// Values that the operators In and NotIn compare with. Default: none, for Exists and DoesNotExist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label is judged.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is not there.
    NotIn,
    /// The label is there, whatever its value.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// Words of messages, as templates with `{{ variable }}`, `{% if %}` and `{% for %}`. Variables: `namespace`, `name`, `uid`,
/// `title` (the feature's, else the name), `owner`, `attempt`, `seq`, `at`, `reason`, `severity`, `headline` (the reason in
/// words), `message`, `who`, `trigger`, `phase`, `step`, `exposure`, `served` and `link`; what is unknown is empty. The filters
/// are `upper`, `lower` and `default`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.title) || has(self.text)").message("give title, text or both"))]
pub struct Template {
    /// The reason whose messages have these words, such as `Completed`; all others' when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<super::Reason>,
    /// The first line; default `{{ title }}: {{ headline }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub title: Option<String>,
    /// What follows it; default `{{ message }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub text: Option<String>,
}
