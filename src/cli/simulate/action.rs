//! Lines of actions.

use serde_json::{Map, Value, json};

use super::recording::{Found, Line, Plans};
use crate::api::rolloutaction::RolloutActionSpec;
use crate::cli::files::misfits::misfits;
use crate::cli::files::schema::Schemas;
use crate::cli::files::{Input, Kind};
use crate::plan::Plan;

/// Takes in a line of an action.
pub fn action(
    line: &mut Line<'_>,
    mut fields: Map<String, Value>,
    plans: &Plans<'_>,
    schemas: &Schemas,
    found: &mut Found,
) {
    let at = line.at(&fields);
    fields.remove("at");
    if !fields.contains_key("rolloutRef") {
        let names: Vec<&str> = plans.keys().map(|(_, name)| *name).collect();
        match names.as_slice() {
            [only] => _ = fields.insert("rolloutRef".to_owned(), json!({"name": only})),
            [] => return,
            several => {
                return line.wrong("rolloutRef", format!("is missing: name one of {}", several.join(", ")));
            }
        }
    }
    fields.entry("reason").or_insert(json!("no reason was recorded"));
    let object = json!({
        "apiVersion": format!("{}/{}", crate::api::GROUP, crate::api::VERSION),
        "kind": Kind::RolloutAction.as_str(),
        "metadata": {"name": "recorded"},
        "spec": fields,
    });
    let mut input = Input::default();
    input.add("", &object.to_string());
    let findings = input.objects.iter().flat_map(|object| schemas.findings(object)).collect::<Vec<_>>();
    for finding in &findings {
        line.wrong(finding.path.trim_start_matches("spec").trim_start_matches('.'), finding.message.clone());
    }
    let spec = object.get("spec").cloned().unwrap_or_default();
    let mut spec: RolloutActionSpec = match serde_json::from_value(spec) {
        Ok(spec) => spec,
        Err(error) if findings.is_empty() => return line.wrong("", error.to_string()),
        Err(_) => return,
    };
    misfits(&spec).into_iter().for_each(|(field, message)| line.wrong(field, message));
    let name = spec.rollout_ref.name.clone();
    let named: Vec<&Plan> = plans.values().filter(|plan| plan.name == name).collect();
    let plan = match named.as_slice() {
        [plan] => *plan,
        [] => {
            let names: Vec<&str> = plans.keys().map(|(_, name)| *name).collect();
            let message = format!("there is no rollout {name:?}: there are {}", names.join(", "));
            return line.wrong("rolloutRef.name", message);
        }
        _ => {
            let message = format!("{name:?}: several namespaces have it: choose one with -n");
            return line.wrong("rolloutRef.name", message);
        }
    };
    // There is no cluster that gives UIDs and generations.
    spec.rollout_ref.uid = None;
    spec.expected_generation = None;
    let Some(at) = at.filter(|_| findings.is_empty()) else { return };
    found.entry((plan.namespace.clone(), plan.name.clone())).or_default().actions.push((at, spec));
}
