//! The one place that creates an action: with the client of the person who asks, so that the API server and its admission
//! policies judge that person and the audit log names nobody else.

use std::time::Duration;

use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};

use super::person::Person;
use crate::api::rolloutaction::{RolloutAction, RolloutActionSpec};
use crate::clock::{monotonic, sleep};
use crate::error::{Fault, call};

/// Manager of the fields. Flux takes over what a manager named kubectl… wrote.
const MANAGER: &str = "sluice";
/// How long the answer is waited for before the page is shown; it follows the answer by itself after that.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// As much of a rollout's name as leaves room for the rest.
const PREFIX: usize = 200;

/// Creates an action and waits a moment for its answer. Returns its name.
///
/// # Errors
/// What the API server says where it refuses.
pub async fn ask(person: &Person, namespace: &str, mut spec: RolloutActionSpec) -> Result<String, Fault> {
    // On clusters whose admission does not say who asks it has to be said, and is compared.
    spec.requested_by = Some(person.name.clone());
    let prefix: String = spec.rollout_ref.name.chars().take(PREFIX).collect();
    let prefix = prefix.trim_end_matches(['-', '.']);
    let verb = super::access::verb(spec.action);
    let action = RolloutAction {
        metadata: ObjectMeta { generate_name: Some(format!("{prefix}-{verb}-")), ..ObjectMeta::default() },
        spec,
        status: None,
    };
    let api: Api<RolloutAction> = Api::namespaced(person.client.clone(), namespace);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let name = call(api.create(&params, &action)).await?.name_any();
    let begun = monotonic();
    while begun.elapsed() < PATIENCE {
        match call(api.get(&name)).await {
            Ok(seen) if seen.status.as_ref().is_none_or(|status| status.answer.is_none()) => {
                sleep(LOOK).await
            }
            // It is answered; or whoever may create it may not read it, or not now.
            Ok(_) | Err(_) => break,
        }
    }
    Ok(name)
}
