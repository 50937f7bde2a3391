//! The objects of the files as the types of the API, even where their form is not quite right.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::folder::Seems;
use super::object::{Kind, Object};
use super::problem::{Problem, Severity};
use super::read::Input;
use super::repair::repaired;
use super::schema::{self, Finding, Schemas};
use crate::api::{
    CohortSet, FeatureRollout, FlagSet, MetricSource, MetricTemplate, NotificationChannel, Playbook,
    RolloutAction, RolloutPolicy,
};

/// An object and its typed form.
#[derive(Debug)]
pub struct Item<'a, K> {
    /// Where it stands.
    pub object: &'a Object,
    /// What it says.
    pub typed: K,
    /// What is wrong with its form, and was replaced by a stand-in where the type could not hold it.
    pub findings: Vec<Finding>,
}

/// The objects of the files by namespace and name; of objects that stand twice, the first.
#[derive(Debug, Default)]
pub struct Typed<'a> {
    /// FeatureRollouts.
    pub rollouts: BTreeMap<(&'a str, &'a str), Item<'a, FeatureRollout>>,
    /// CohortSets.
    pub cohort_sets: BTreeMap<(&'a str, &'a str), Item<'a, CohortSet>>,
    /// FlagSets.
    pub flag_sets: BTreeMap<(&'a str, &'a str), Item<'a, FlagSet>>,
    /// MetricSources.
    pub sources: BTreeMap<(&'a str, &'a str), Item<'a, MetricSource>>,
    /// MetricTemplates.
    pub templates: BTreeMap<(&'a str, &'a str), Item<'a, MetricTemplate>>,
    /// NotificationChannels.
    pub channels: BTreeMap<(&'a str, &'a str), Item<'a, NotificationChannel>>,
    /// Playbooks.
    pub playbooks: BTreeMap<(&'a str, &'a str), Item<'a, Playbook>>,
    /// RolloutActions.
    pub actions: BTreeMap<(&'a str, &'a str), Item<'a, RolloutAction>>,
    /// RolloutPolicies.
    pub policies: BTreeMap<(&'a str, &'a str), Item<'a, RolloutPolicy>>,
}

impl<K> Item<'_, K> {
    /// Whether an error at `path` may only follow from a stand-in, or says again what the schema said.
    pub fn is_known(&self, path: &str) -> bool {
        self.findings.iter().filter(|finding| !finding.unknown).any(|finding| {
            let under = |long: &str, short: &str| {
                long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            if finding.entry && path == finding.path {
                return false;
            }
            under(path, &finding.path) || under(&finding.path, path)
        })
    }
}

/// Reads the objects as typed ones; what is wrong with their form is added to `problems`.
pub fn typed<'a>(input: &'a Input, problems: &mut Vec<Problem>) -> Typed<'a> {
    let schemas = Schemas::default();
    let mut typed = Typed::default();
    for object in &input.objects {
        let findings = schemas.findings(object);
        if let Some(folder) = object.kustomized().filter(|_| is_part(&findings)) {
            let seems = Seems::Patch(folder.into());
            problems.push(object.problem(Severity::Warning, "", seems.to_string()));
            continue;
        }
        problems.extend(schema::problems(object, &findings));
        let key = (object.namespace.as_str(), object.name.as_str());
        let schema = schemas.of(object.kind);
        match object.kind {
            Kind::FeatureRollout => add(&mut typed.rollouts, key, object, schema, findings, problems),
            Kind::CohortSet => add(&mut typed.cohort_sets, key, object, schema, findings, problems),
            Kind::FlagSet => add(&mut typed.flag_sets, key, object, schema, findings, problems),
            Kind::MetricSource => add(&mut typed.sources, key, object, schema, findings, problems),
            Kind::MetricTemplate => add(&mut typed.templates, key, object, schema, findings, problems),
            Kind::NotificationChannel => add(&mut typed.channels, key, object, schema, findings, problems),
            Kind::Playbook => add(&mut typed.playbooks, key, object, schema, findings, problems),
            Kind::RolloutAction => add(&mut typed.actions, key, object, schema, findings, problems),
            Kind::RolloutPolicy => add(&mut typed.policies, key, object, schema, findings, problems),
        }
    }
    typed
}

/// Whether all that an object's form lacks is fields: as a patch does.
fn is_part(findings: &[Finding]) -> bool {
    !findings.is_empty() && findings.iter().all(|finding| finding.missing)
}

fn add<'a, K: DeserializeOwned>(
    items: &mut BTreeMap<(&'a str, &'a str), Item<'a, K>>,
    key: (&'a str, &'a str),
    object: &'a Object,
    schema: &Value,
    findings: Vec<Finding>,
    problems: &mut Vec<Problem>,
) {
    if let Some(first) = items.get(&key) {
        if !object.name.is_empty() {
            let message = format!("the object stands twice: first at {}", first.object.location());
            problems.push(object.problem(Severity::Error, "metadata.name", message));
        }
        return;
    }
    let read = |value: &Value| serde_json::from_value::<K>(bare_object(object, value));
    let read = read(&object.value).or_else(|error| {
        let bare = |path: &str| object.bare(path).map(str::to_owned);
        read(&repaired(&object.value, schema, &findings, bare)).map_err(|_| error)
    });
    match read {
        Ok(typed) => {
            items.insert(key, Item { object, typed, findings });
        }
        // The schema has already said why, unless it lets through what the type does not.
        Err(error) if findings.is_empty() => {
            problems.push(object.problem(Severity::Error, "spec", error.to_string()));
        }
        Err(_) => {}
    }
}

/// The object without what only a cluster fills in, and with its namespace.
fn bare_object(object: &Object, value: &Value) -> Value {
    let created = value.pointer("/metadata/creationTimestamp").filter(|created| created.is_string());
    json!({
        "apiVersion": value["apiVersion"],
        "kind": value["kind"],
        "metadata": {
            "name": object.name,
            "namespace": object.namespace,
            "creationTimestamp": created,
        },
        "spec": value["spec"],
    })
}
