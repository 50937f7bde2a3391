//! What `sluice dev` applies: the given files, or the playbook example that is built in.

use std::path::PathBuf;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::rolloutpolicy::Binding;
use crate::api::{CohortSet, FeatureRollout, FlagSet, GROUP, MicroTime, Playbook, RolloutPolicy, VERSION};
use crate::cli::files::{self, Input, InputArgs, Kind, load};
use crate::cli::output::Failure;
use crate::controller::NAMESPACE;
use crate::engine::forecast::timeline::timeline;
use crate::error::{call, chain};
use crate::plan::policy::{Bound, Found};
use crate::plan::{self, Refs};
use crate::visible::line;

/// The playbook example, so that an installed binary can show it anywhere.
const EXAMPLE: [(&str, &str); 10] = [
    ("05-source.yaml", include_str!("../../../examples/playbook/05-source.yaml")),
    ("10-cohorts.yaml", include_str!("../../../examples/playbook/10-cohorts.yaml")),
    ("15-playbook.yaml", include_str!("../../../examples/playbook/15-playbook.yaml")),
    ("15-policy.yaml", include_str!("../../../examples/playbook/15-policy.yaml")),
    ("20-flagset.yaml", include_str!("../../../examples/playbook/20-flagset.yaml")),
    ("25-metrics.yaml", include_str!("../../../examples/playbook/25-metrics.yaml")),
    ("30-dreams.yaml", include_str!("../../../examples/playbook/30-dreams.yaml")),
    ("40-whispers.yaml", include_str!("../../../examples/playbook/40-whispers.yaml")),
    ("50-voice.yaml", include_str!("../../../examples/playbook/50-voice.yaml")),
    ("60-admin.yaml", include_str!("../../../examples/playbook/60-admin.yaml")),
];

/// Namespace and name of the rollout of the built-in example that is watched with `--with-prometheus`.
pub const WATCHED: (&str, &str) = ("maya", "dreams");

/// Queries for it, with `--with-prometheus`.
const TEMPLATES: &str = include_str!("../../../examples/metrics/20-templates.yaml");

/// An object to be applied.
pub struct Object {
    kind: Kind,
    /// Its namespace.
    pub namespace: String,
    name: String,
    value: Value,
}

/// Reads the files, or the built-in example where there are none.
pub fn load_objects(files: &[PathBuf]) -> Result<Vec<Object>, Failure> {
    let input = if files.is_empty() {
        let mut input = Input::default();
        for (name, text) in EXAMPLE {
            input.add(name, text);
        }
        input
    } else {
        load(&InputArgs::of(files))?
    };
    if !input.problems.is_empty() {
        let problems: Vec<String> =
            input.problems.iter().map(|problem| line(&problem.to_string()).into_owned()).collect();
        return Err(Failure::Input(problems.join("\n")));
    }
    let mut objects: Vec<Object> = input.objects.into_iter().map(Object::from).collect();
    // What is named comes before what names it.
    objects.sort_by_key(|object| match object.kind {
        Kind::CohortSet | Kind::MetricSource | Kind::NotificationChannel | Kind::RolloutPolicy => 0,
        Kind::FlagSet | Kind::MetricTemplate => 1,
        Kind::Playbook | Kind::FeatureRollout => 2,
        Kind::RolloutAction => 3,
    });
    Ok(objects)
}

impl Object {
    fn typed<K: DeserializeOwned>(&self, kind: Kind) -> Option<K> {
        (self.kind == kind).then(|| serde_json::from_value(self.value.clone()).ok()).flatten()
    }

    /// Applies it as a GitOps tool would.
    pub async fn apply(&self, client: &Client) -> Result<(), Failure> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, self.kind.as_str()));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &self.namespace, &resource);
        let params = PatchParams::apply("sluice-dev").force();
        call(api.patch(&self.name, &params, &Patch::Apply(&self.value))).await.map(|_| ()).map_err(|fault| {
            Failure::Cluster(format!("{} {}: {}", self.kind.as_str(), self.name, chain(&fault)))
        })
    }
}

/// The source of `sluice dev`'s own Prometheus, by the name that the examples use.
pub fn source(url: &str) -> Object {
    let (namespace, name) = (NAMESPACE.to_owned(), "prometheus".to_owned());
    let value = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "MetricSource",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "prometheus": {"url": url},
            // It listens on the loopback, where nothing may be asked otherwise.
            "allowAddresses": ["127.0.0.1"],
            "allowedNamespaces": ["*"],
        },
    });
    Object { kind: Kind::MetricSource, namespace, name, value }
}

/// Takes away what the built-in example needs a Prometheus of a real cluster for: without one its gates would never pass, and
/// its triggers would hold every raise back.
pub fn without_metrics(objects: &mut Vec<Object>) {
    objects.retain(|object| !matches!(object.kind, Kind::MetricSource | Kind::MetricTemplate));
    let rollouts = objects
        .iter_mut()
        .filter(|o| matches!(o.kind, Kind::FeatureRollout | Kind::Playbook | Kind::RolloutPolicy));
    for spec in rollouts.filter_map(|object| object.value.get_mut("spec")?.as_object_mut()) {
        // How a rollback goes stays: people roll back by hand, too.
        for field in ["triggers", "criteria", "monitoring", "args", "policyArgs"] {
            spec.remove(field);
        }
        let phases = spec.get_mut("phases").and_then(Value::as_array_mut);
        for phase in phases.into_iter().flatten().filter_map(Value::as_object_mut) {
            phase.remove("gates");
        }
    }
}

/// Adds metrics to the built-in example: the templates of the metrics example, and a trigger for Dreams whose times are
/// those of a week a minute.
pub fn watch_the_example(objects: &mut Vec<Object>) {
    let mut input = Input::default();
    input.add("20-templates.yaml", &TEMPLATES.replace("namespace: shop", "namespace: maya"));
    objects.extend(input.objects.into_iter().map(Object::from));
    let spec = objects
        .iter_mut()
        .find(|object| object.kind == Kind::FeatureRollout && object.name == WATCHED.1)
        .and_then(|dreams| dreams.value.get_mut("spec"));
    if let Some(spec) = spec.and_then(Value::as_object_mut) {
        // At a week a minute 12 hours are 4 seconds.
        let triggers = json!([{
            "name": "error-rate",
            "metric": {
                "templateRef": {"name": "http-error-rate"},
                "args": {"service": "dreams", "window": "15s"},
            },
            "interval": "12h",
            "levels": [{"severity": "Critical", "above": "10", "for": "24h", "action": "GradualRollback"}],
        }]);
        spec.insert("triggers".to_owned(), triggers);
        let gradual = json!({"ladder": [50, 25, 0], "every": "24h"});
        let rollback = spec.entry("rollback").or_insert_with(|| json!({}));
        if let Some(rollback) = rollback.as_object_mut() {
            rollback.insert("gradual".to_owned(), gradual);
        }
    }
}

impl From<files::Object> for Object {
    fn from(object: files::Object) -> Object {
        Object { kind: object.kind, namespace: object.namespace, name: object.name, value: object.value }
    }
}

/// When the first of the rollouts first changes what is served, if all goes well.
pub fn first_change(objects: &[Object], now: MicroTime) -> Option<MicroTime> {
    let find = |kind, namespace: &str, name: &str| {
        objects
            .iter()
            .find(|object| object.kind == kind && object.namespace == namespace && object.name == name)
    };
    let first = |object: &Object| {
        let rollout: FeatureRollout = object.typed(Kind::FeatureRollout)?;
        let flag_set: Option<FlagSet> = rollout.spec.flag_set_ref.as_ref().and_then(|reference| {
            find(Kind::FlagSet, &object.namespace, &reference.name)?.typed(Kind::FlagSet)
        });
        let cohort_set: Option<CohortSet> = plan::cohort_set_name(&rollout, flag_set.as_ref())
            .and_then(|name| find(Kind::CohortSet, &object.namespace, name)?.typed(Kind::CohortSet));
        let policies = policies(objects, object, &rollout, flag_set.as_ref());
        let policies: Vec<Bound<'_>> = policies
            .iter()
            .map(|(binding, policy)| Bound {
                binding: *binding,
                namespace: policy.metadata.namespace.as_deref().unwrap_or_default(),
                name: policy.metadata.name.as_deref().unwrap_or_default(),
                found: Found::Spec(&policy.spec),
            })
            .collect();
        let playbook: Option<Playbook> = rollout.spec.playbook_ref.as_ref().and_then(|reference| {
            find(Kind::Playbook, &object.namespace, &reference.name)?.typed(Kind::Playbook)
        });
        let refs = Refs {
            flag_set: flag_set.as_ref(),
            cohort_set: cohort_set.as_ref(),
            playbook: playbook.as_ref(),
            policies: &policies,
        };
        let plan = plan::compile(&rollout, refs).ok()?;
        timeline(&plan, now).entries.first().map(|entry| entry.at)
    };
    objects.iter().filter_map(first).min()
}

/// The policies that bind a rollout; namespaces are told by their names alone.
fn policies(
    objects: &[Object],
    of: &Object,
    rollout: &FeatureRollout,
    flag_set: Option<&FlagSet>,
) -> Vec<(Binding, RolloutPolicy)> {
    let labels = [("kubernetes.io/metadata.name".to_owned(), of.namespace.clone())].into();
    let names: Vec<(Binding, &str)> = plan::policy::names(rollout, flag_set).collect();
    objects
        .iter()
        .filter_map(|object| {
            let policy: RolloutPolicy = object.typed(Kind::RolloutPolicy)?;
            let named =
                names.iter().find(|(_, name)| object.namespace == of.namespace && *name == object.name);
            let selects = policy.spec.namespace_selector.as_ref().is_some_and(|s| s.matches(&labels));
            let binding = named.map(|(binding, _)| *binding).or(selects.then_some(Binding::Cluster))?;
            Some((binding, policy))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People who try it roll back by hand, too, and `partial` asks for what the rollout keeps.
    #[test]
    fn the_example_without_metrics_still_says_how_to_roll_back() {
        let Ok(mut objects) = load_objects(&[]) else { panic!("the built-in example is wrong") };
        without_metrics(&mut objects);
        watch_the_example(&mut objects);
        let rollback = |kind: Kind, name: &str| {
            let object = objects.iter().find(|object| object.kind == kind && object.name == name);
            object.unwrap().value.pointer("/spec/rollback").unwrap().clone()
        };
        assert_eq!(rollback(Kind::RolloutPolicy, "standard")["partial"]["keep"], json!(["early-adopters"]));
        assert_eq!(rollback(Kind::FeatureRollout, "dreams")["gradual"]["every"], json!("24h"));
    }
}
