//! The feature flag of a rollout: key, variants, and how users are split.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Tier;

/// The feature flag that the app evaluates.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.key) || !has(oldSelf.key) || self.key == oldSelf.key").message("spec.feature.key is immutable: another key is another rollout"))]
#[x_kube(validation = Rule::new("!has(self.salt) || !has(oldSelf.salt) || self.salt == oldSelf.salt").message("spec.feature.salt is immutable: another split is another rollout"))]
#[x_kube(validation = Rule::new("(has(self.control) ? self.control : 'disabled') == (has(oldSelf.control) ? oldSelf.control : 'disabled')").message("spec.feature.control is immutable"))]
#[x_kube(validation = Rule::new("(has(self.treatment) ? self.treatment : 'enabled') == (has(oldSelf.treatment) ? oldSelf.treatment : 'enabled')").message("spec.feature.treatment is immutable"))]
#[x_kube(validation = Rule::new("(has(self.bucketBy) ? self.bucketBy : 'targetingKey') == (has(oldSelf.bucketBy) ? oldSelf.bucketBy : 'targetingKey')").message("spec.feature.bucketBy is immutable: another split is another rollout"))]
#[x_kube(validation = Rule::new("has(self.variants) ? (has(oldSelf.variants) ? self.variants == oldSelf.variants : dyn(self.variants) == dyn([{'name': dyn('enabled'), 'value': dyn(true)}, {'name': dyn('disabled'), 'value': dyn(false)}])) : (!has(oldSelf.variants) || dyn(oldSelf.variants) == dyn([{'name': dyn('enabled'), 'value': dyn(true)}, {'name': dyn('disabled'), 'value': dyn(false)}]))").message("spec.feature.variants is immutable: other variants are another rollout"))]
#[x_kube(validation = Rule::new("(has(self.control) ? self.control : 'disabled') != (has(self.treatment) ? self.treatment : 'enabled')").message("control and treatment must be two variants"))]
#[x_kube(validation = Rule::new("has(self.variants) ? self.variants.exists(v, v.name == (has(self.control) ? self.control : 'disabled')) : (!has(self.control) || self.control in ['enabled', 'disabled'])").message("control must be the name of a variant"))]
#[x_kube(validation = Rule::new("has(self.variants) ? self.variants.exists(v, v.name == (has(self.treatment) ? self.treatment : 'enabled')) : (!has(self.treatment) || self.treatment in ['enabled', 'disabled'])").message("treatment must be the name of a variant"))]
pub struct Feature {
    /// Key of the flag that the app asks for, such as `dreams.advanced`. Immutable. Default: the rollout's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"))]
    pub key: Option<String>,
    /// Values that the flag can take, all of one JSON type. Immutable. Default: `enabled` with the value true and
    /// `disabled` with the value false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(v, self.exists_one(w, w.name == v.name))").message("variant names must be unique"))]
    pub variants: Option<Vec<Variant>>,
    /// Name of the variant that is served where the feature is off. Immutable. Default: `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub control: Option<String>,
    /// Name of the variant that is rolled out. Immutable. Default: `enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub treatment: Option<String>,
    /// Attribute of the evaluation context whose value, a text or a number, decides whether a user is among the
    /// percentage; users with the same value always get the same. A dot leads into a structured attribute:
    /// `organisation.id` is the field `id` of the attribute `organisation`. Whoever has no such text or number gets the
    /// control variant while the percentage is between 0 and 100. Immutable. Default: `targetingKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[^.]+(\.[^.]+)*$"))]
    pub bucket_by: Option<String>,
    /// Text that is hashed together with the attribute of `bucketBy`. Flags with the same salt choose the same users at
    /// the same percentage; flags with different salts choose independently. Immutable. Default: the key of the flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub salt: Option<String>,
    /// Name of the feature for people, such as `Dreams, advanced`. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// Who answers for the feature, such as `team-dreams`. Optional; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub owner: Option<String>,
    /// How settled the feature is. A cohort whose `admits` does not list the tier stays at what it has: no step raises
    /// it. It may change in git.
    #[serde(default)]
    pub tier: Tier,
    /// How an evaluation names the variant that a user gets, which apps use as a label of their metrics. It changes no
    /// value and nobody's share, and may change in git in the middle of a rollout.
    #[serde(default)]
    pub variant_names: VariantNames,
}

/// How an evaluation names the variant that a user gets.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VariantNames {
    /// By the name in `variants`, such as `enabled`.
    #[default]
    Plain,
    /// By that name and the user's cohort, such as `enabled@early-adopters`, so that the app learns the cohort, too;
    /// whoever is in no cohort gets the plain name of the control variant. It makes the flag in the file larger, by two
    /// variants a cohort.
    WithCohort,
}

/// One value of a flag.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Name of the variant, without `"`, `\`, `<`, `>` and `&`. Avoid words that YAML 1.1 reads as booleans: `on`,
    /// `off`, `yes` and `no`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r#"^[^"\\<>&]+$"#))]
    pub name: String,
    /// Value that the app gets: any JSON value, of the same type in all variants of the flag.
    #[schemars(schema_with = "any_value")]
    pub value: Value,
}

fn any_value(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}
