//! Whether who asked is known: the admission policy that says so has to be in force.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;

use crate::api::MicroTime;
use crate::api::policies::PERMISSION;
use crate::api::rolloutaction::RolloutAction;
use crate::clock;
use crate::controller::context::Context;
use crate::engine::Actor;
use crate::error::{Fault, call, chain};

/// How long it is believed that the policy is in force, of actions that raise nobody. That it is not, is never believed
/// without a look.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long a look may take: others wait behind the action.
const LOOKING: Duration = Duration::from_secs(2);

/// What was seen last.
#[derive(Default)]
pub struct Policies(Mutex<Option<(Instant, MicroTime)>>);

impl Policies {
    fn believed(&self) -> Option<MicroTime> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.filter(|(at, _)| at.elapsed() < BELIEVED).map(|(_, since)| since)
    }

    fn saw(&self, since: Option<MicroTime>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            since.map(|since| (clock::monotonic(), since));
    }
}

/// Who asks for an action.
///
/// For an action that raises the policy is looked at every time: since the last look it may have been taken away, and
/// then the name is anybody's.
///
/// # Errors
/// When an action raises and it cannot be found out now. One that lowers does not wait for that, and where looking is
/// forbidden nobody is known.
pub async fn actor(ctx: &Context, action: &RolloutAction, raising: bool) -> Result<Actor, Fault> {
    let created = action.metadata.creation_timestamp.as_ref().map(|time| MicroTime::from(time.0));
    let (Some(name), Some(created)) = (&action.spec.requested_by, created) else {
        return Ok(Actor::Unverified);
    };
    let since = match ctx.actions.policies.believed().filter(|_| !raising) {
        Some(since) => Some(since),
        None => match tokio::time::timeout(LOOKING, look(ctx)).await.unwrap_or(Err(Fault::TimedOut)) {
            Ok(since) => {
                ctx.actions.policies.saw(since);
                since
            }
            Err(fault @ Fault::Forbidden(_)) => {
                tracing::warn!(fault = chain(&fault), "the admission policies cannot be looked at");
                None
            }
            Err(fault) if raising => return Err(fault),
            Err(_) => None,
        },
    };
    // What is older than the policy has never passed it.
    let is_checked = since.is_some_and(|since| created >= since);
    Ok(if is_checked { Actor::Verified(name.clone()) } else { Actor::Unverified })
}

/// Since when the policy has been in force, if it is.
///
/// The validating one is enough: it lets nobody in who gives another's name. The mutating one only saves the trouble of
/// giving one's own.
async fn look(ctx: &Context) -> Result<Option<MicroTime>, Fault> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(ctx.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(ctx.client.clone());
    let (policy, binding) =
        tokio::try_join!(call(policies.get_opt(PERMISSION)), call(bindings.get_opt(PERMISSION)))?;
    let (Some(policy), Some(binding)) = (policy, binding) else { return Ok(None) };
    Ok(denies(&policy, &binding).then(|| {
        let created = [&policy.metadata, &binding.metadata]
            .into_iter()
            .filter_map(|metadata| metadata.creation_timestamp.as_ref().map(|time| MicroTime::from(time.0)));
        created.max().unwrap_or(MicroTime::MAX)
    }))
}

/// Whether a policy refuses, everywhere, what it does not allow.
fn denies(policy: &ValidatingAdmissionPolicy, binding: &ValidatingAdmissionPolicyBinding) -> bool {
    let binding = &binding.spec;
    policy.spec.as_ref().is_some_and(|spec| spec.failure_policy.as_deref() != Some("Ignore"))
        && binding.policy_name == PERMISSION
        && binding.match_resources.is_none()
        && binding.validation_actions.iter().any(|action| action == "Deny")
}
