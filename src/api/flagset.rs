//! FlagSet: the file that an app mounts, and what its rollouts share.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::freeze::MAX_FREEZES;
use super::{ChangelogOutput, Condition, Freeze, LocalRef, Window};

/// The file that an app mounts.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "FlagSet",
    plural = "flagsets",
    shortname = "fset",
    category = "sluice",
    namespaced,
    status = "FlagSetStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A FlagSet is a file of feature flags that an app mounts, written by the rollouts that name it.",
    validation = Rule::new("!has(self.status) || !has(self.status.outputs) || self.status.outputs.all(p, !has(p.configMap) || !has(p.key) || (has(self.spec.outputs) ? self.spec.outputs.all(o, o.configMap != p.configMap || o.key == p.key) : (p.configMap != self.metadata.name || p.key == 'flags.json')))").message("spec.outputs: the key of a ConfigMap that holds the file is immutable, as apps may read it: name another ConfigMap, or delete that one first"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the file is written"
    ),
    printcolumn(
        name = "Flags",
        type_ = "integer",
        json_path = ".status.flags",
        description = "Flags in the file"
    ),
    printcolumn(
        name = "Size",
        type_ = "integer",
        json_path = ".status.size",
        description = "Bytes of the file"
    ),
    printcolumn(
        name = "Revision",
        type_ = "integer",
        json_path = ".status.revision",
        description = "Grows with each write of the file"
    ),
    printcolumn(
        name = "Orphans",
        type_ = "string",
        json_path = ".status.orphanKeys",
        description = "Flags whose rollout is gone"
    ),
    printcolumn(
        name = "Emergency",
        type_ = "string",
        json_path = ".spec.emergency",
        description = "Where every rollout of the set is taken, if it is"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "SHA256",
        type_ = "string",
        json_path = ".status.sha256",
        priority = 1,
        description = "Digest of the file"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1,
        description = "Why, in words"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.changelog) || !has(self.outputs) || self.outputs.all(o, o.configMap != self.changelog.configMap)").message("changelog.configMap is one of outputs: the changelog needs a ConfigMap of its own"))]
pub struct FlagSetSpec {
    /// ConfigMaps that the file is written to, at most one entry for each ConfigMap. Default: the key `flags.json` of a
    /// ConfigMap with the FlagSet's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(o, self.exists_one(p, p.configMap == o.configMap))").message("each output needs a ConfigMap of its own"))]
    pub outputs: Option<Vec<Output>>,
    /// A FeatureFlag of the open-feature operator that holds the same flags, for apps that ask flagd: a change reaches
    /// them in less than a second. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_flag: Option<FeatureFlagOutput>,
    /// Metadata of the whole file, which evaluators give to apps with each flag: values are texts, numbers or booleans.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "metadata_schema")]
    pub metadata: BTreeMap<String, Value>,
    /// Flags that no rollout manages, by their key, in flagd's own form. Each has at most 8,000 values in at most 40
    /// levels, and all together have at most 40,000 values; a FlagSet with more than some 12,000 JSON objects is not read.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "flags_schema")]
    pub flags: BTreeMap<String, Value>,
    /// Keys of flags to take out of the file once their rollout is deleted; the flag of a rollout that exists stays.
    /// Default: none, and such a flag stays as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub prune: Vec<String>,
    /// The CohortSet of this namespace for the rollouts of the set that have neither `cohorts` nor `cohortSetRef`.
    /// Default: none, and each rollout has to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort_set_ref: Option<LocalRef>,
    /// The RolloutPolicy of this namespace that binds every rollout of the set, whatever it says itself. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<LocalRef>,
    /// Spans of local time in which the rollouts of the set may raise, besides each rollout's own windows; whatever
    /// lowers is not held back. Default: raises happen at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// Spans of time in which no rollout of the set raises; whatever lowers is not held back. Their dates are local
    /// dates of `timeZone`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_FREEZES), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub freezes: Vec<Freeze>,
    /// Time zone of the windows and of the dates of freezes, and of the rollouts that name none, by its name in the
    /// IANA database, such as `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Takes the feature away from everybody in all rollouts of the set at once, and pauses them. What was served comes
    /// back, when the checks of a raise allow it, after the field is taken out. Static `flags` stay as they are.
    /// Default: no emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// A changelog of the rollouts of the set, as Markdown, as JSON and as an Atom feed: the keys `changelog.md`,
    /// `changelog.json` and `changelog.atom` of a ConfigMap. A rollout that has an `announcement` gets an entry when it is
    /// completed. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changelog: Option<ChangelogOutput>,
}

/// What the API server takes for the name of a ConfigMap and of most objects.
pub const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// What it takes for a key of a ConfigMap, as far as that ends in `.json`: no two dots at the beginning.
pub const FILE_KEY: &str = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*\.json$";

fn metadata_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"x-kubernetes-preserve-unknown-fields": true}
    })
}

fn flags_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    })
}

/// One place the file is written to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Name of the ConfigMap, in this namespace. It is made where it does not exist; one that belongs to somebody else
    /// is never taken.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub config_map: String,
    /// Key of the file in the ConfigMap; it ends in `.json`.
    #[serde(default = "flags_json")]
    #[schemars(length(min = 6, max = 253), regex(pattern = FILE_KEY))]
    pub key: String,
    /// Format of the file.
    #[serde(default)]
    pub format: Format,
}

/// One place where the file is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct FileOutput {
    /// Name of the ConfigMap; absent where it is a FeatureFlag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub config_map: Option<String>,
    /// Key of the file in the ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub key: Option<String>,
    /// Name of the FeatureFlag; absent where it is a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub feature_flag: Option<String>,
    /// Whether the spec names it no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub former: bool,
}

impl FileOutput {
    /// Whether both are the same object, whatever the key.
    pub fn is_same_object(&self, other: &FileOutput) -> bool {
        (&self.config_map, &self.feature_flag) == (&other.config_map, &other.feature_flag)
    }

    /// Kind and name, for people.
    pub fn title(&self) -> String {
        match (&self.config_map, &self.feature_flag) {
            (Some(name), _) => format!("ConfigMap {name}"),
            (None, name) => format!("FeatureFlag {}", name.as_deref().unwrap_or_default()),
        }
    }
}

/// A FeatureFlag of the open-feature operator (`core.openfeature.dev/v1beta1`), from which flagd hears of a change at
/// once.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FeatureFlagOutput {
    /// Name of the FeatureFlag, in this namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

fn flags_json() -> String {
    "flags.json".to_owned()
}

impl Output {
    /// Where the file goes when nothing else is said: key `flags.json` of the ConfigMap `name`.
    pub fn default_for(name: &str) -> Output {
        Output { config_map: name.to_owned(), key: flags_json(), format: Format::Flagd }
    }
}

/// Form of the file.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// flagd's flag definitions as JSON, which OpenFeature's flagd providers read.
    #[default]
    Flagd,
}

/// What to do at once, from git.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emergency {
    /// Every rollout of the set serves the control variant to everyone.
    Control,
}

/// What the controller wrote.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FlagSetStatus {
    /// Generation of the spec that this status is about, `metadata.generation`; -1 before the first one.
    #[serde(default = "super::unobserved")]
    pub observed_generation: i64,
    /// Number that grows with each write of the file.
    #[serde(default)]
    pub revision: i64,
    /// SHA-256 digest of the bytes of the file, in hexadecimal digits. Absent before the first write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Size of the file in bytes; the limit is 1 MiB, of which 5 % are kept free for what lowers.
    #[serde(default)]
    pub size: i64,
    /// Number of flags in the file.
    #[serde(default)]
    pub flags: i64,
    /// Number of flags in the file whose rollout is deleted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub orphan_count: i64,
    /// Flags in the file whose rollout is deleted, the newest first, at most 64. They stay as they are until `prune`
    /// names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub orphans: Vec<Orphan>,
    /// Keys of the newest orphans and the number of the others, in one line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphan_keys: Option<String>,
    /// Where the file is: what `outputs` and `featureFlag` name first, then where it was written to before, the last 16 of
    /// these. Apps may read on what is no output any more, so it is kept up to date until somebody deletes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub outputs: Vec<FileOutput>,
    /// `Ready` says whether the file holds what its rollouts have decided. `Stalled` is there, and True, while nothing
    /// goes on until somebody acts. `Emergency` is there, and True, while `spec.emergency` is in force; `StaleMounts`
    /// while pods mount the file by `subPath`, where no update arrives. `Changelog` says whether the changelog is written,
    /// where there is one.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &i64) -> bool {
    *count == 0
}

impl Default for FlagSetStatus {
    fn default() -> FlagSetStatus {
        FlagSetStatus {
            observed_generation: super::unobserved(),
            revision: 0,
            sha256: None,
            size: 0,
            flags: 0,
            orphan_count: 0,
            orphans: Vec::new(),
            orphan_keys: None,
            outputs: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

/// A flag whose rollout is gone.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// Key of the flag in the file.
    pub key: String,
    /// Name of the rollout that wrote it.
    pub rollout: String,
    /// UID of that rollout.
    pub uid: String,
}
