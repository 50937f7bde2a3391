//! What a NotificationChannel's status holds: its outbox, and its report to people.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, MicroTime, Reason, Severity};

/// Messages that an outbox holds.
pub const MOST_QUEUED: usize = 1024;
/// Rollouts of which is remembered what was taken in last.
pub const MOST_HEARD: usize = 2048;
/// Messages of Slack that are remembered to be edited.
pub const MOST_THREADS: usize = 256;

/// The outbox of a channel, and how it does.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NotificationChannelStatus {
    /// Generation that this status speaks of; -1 before the first.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// From when on is told what happens: when the controller first saw the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
    /// Messages that wait to be sent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1024))]
    pub queued: i32,
    /// Messages that were sent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991i64))]
    pub sent: i64,
    /// Messages that were given up: the outbox was full, they were a day old, or the receiver refused them for good.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991i64))]
    pub dropped: i64,
    /// When a message was sent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent_at: Option<MicroTime>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Failures in a row.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub failures: i32,
    /// Before then nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<MicroTime>,
    /// The generation at which the receiver said that it is gone: nothing is sent until the spec is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_generation: Option<i64>,
    /// The messages that wait, in the order in which they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), extend("x-kubernetes-list-type" = "atomic"))]
    pub outbox: Vec<OutboxEntry>,
    /// Everything that happened up to then has been taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_until: Option<MicroTime>,
    /// What has been taken in of what happened later, by rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2048), extend("x-kubernetes-list-type" = "atomic"))]
    pub heard: Vec<Heard>,
    /// The digests that were sent last, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub digests: Vec<DigestStatus>,
    /// With `slack`, the messages that are edited as their rollouts go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub threads: Vec<Thread>,
    /// Ready, and Reconciling or Stalled when it is.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Default for NotificationChannelStatus {
    fn default() -> NotificationChannelStatus {
        NotificationChannelStatus {
            observed_generation: super::unobserved(),
            since: None,
            queued: 0,
            sent: 0,
            dropped: 0,
            last_sent_at: None,
            last_error: None,
            failures: 0,
            retry_at: None,
            gone_generation: None,
            outbox: Vec::new(),
            heard_until: None,
            heard: Vec::new(),
            digests: Vec::new(),
            threads: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

/// What went wrong.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// When it went wrong.
    pub at: MicroTime,
    /// What went wrong, in words.
    pub message: String,
}

/// The rollout that a message is about, as it was then.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Namespace of the rollout.
    pub namespace: String,
    /// Name of the rollout.
    pub name: String,
    /// UID of the rollout.
    pub uid: String,
    /// Attempt of the rollout.
    #[serde(default)]
    pub attempt: i32,
    /// Title of the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Owner of the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Phase of the step entered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The step entered last of all steps, such as `2/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Expected part of the whole audience that has the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<String>,
    /// Percentage that the file gives each cohort, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    /// Whether a rollback is in force and not verified yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_rolled_back: bool,
}

/// A message that waits to be sent.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OutboxEntry {
    /// The rollout that it is about.
    pub rollout: Subject,
    /// Number of the history entry that it tells.
    pub seq: i64,
    /// When that was decided.
    pub at: MicroTime,
    /// What happened, from a closed set.
    pub reason: Reason,
    /// How bad that is.
    pub severity: Severity,
    /// What happened, in words.
    pub message: String,
    /// Who did it, as the history says it.
    pub who: String,
    /// The trigger that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// When it was taken in, by the machine's clock.
    pub queued_at: MicroTime,
    /// How often it was tried.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub attempts: i32,
    /// Before then it is not tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<MicroTime>,
}

impl OutboxEntry {
    /// What tells this message from every other: UID of the rollout and number of the history entry.
    pub fn id(&self) -> String {
        format!("{}/{}", self.rollout.uid, self.seq)
    }
}

/// What has been taken in of a rollout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Heard {
    /// UID of the rollout.
    pub uid: String,
    /// Number of the last history entry that was taken in.
    pub seq: i64,
    /// When that was decided.
    pub at: MicroTime,
}

/// The digest that was sent last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DigestStatus {
    /// Name of the digest.
    pub name: String,
    /// The time of its schedule that it was sent for.
    pub at: MicroTime,
}

/// A message of Slack that is edited as its rollout goes on.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// UID of the rollout.
    pub uid: String,
    /// Attempt of the rollout.
    pub attempt: i32,
    /// ID of Slack's channel.
    pub channel: String,
    /// What Slack calls the message.
    pub ts: String,
}
