//! Whether who asked is known: the admission policy that says so has to be in force.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicySpec, Validation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Api;

use crate::api::MicroTime;
use crate::api::policies::{FILES, PERMISSION};
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

/// How long an API server may take until it enforces a policy that was created or edited: each has a watch of its own.
pub const SETTLING: Duration = Duration::from_secs(10);

/// What was seen last.
pub struct Policies {
    seen: Mutex<Option<(Instant, MicroTime)>>,
    settling: Duration,
}

impl Policies {
    /// Nothing was seen yet. A policy is believed to be enforced so long after its last change.
    pub fn new(settling: Duration) -> Policies {
        Policies { seen: Mutex::default(), settling }
    }

    fn believed(&self) -> Option<MicroTime> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.filter(|(at, _)| at.elapsed() < BELIEVED).map(|(_, since)| since)
    }

    fn saw(&self, since: Option<MicroTime>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
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
                tracing::warn!(
                    "the admission policy {PERMISSION} cannot be read: {}; who asks for actions is not known, and those that raise are rejected",
                    chain(&fault)
                );
                None
            }
            Err(fault) if raising => return Err(fault),
            Err(_) => None,
        },
    };
    Ok(if is_checked(created, since) { Actor::Verified(name.clone()) } else { Actor::Unverified })
}

/// Whether an action has passed the policy: what is older than that never has.
fn is_checked(created: MicroTime, since: Option<MicroTime>) -> bool {
    since.is_some_and(|since| created >= since)
}

/// Since when the policy has refused what it is to refuse, if it does.
///
/// The validating one is enough: it lets nobody in who gives another's name. The mutating one only saves the trouble of
/// giving one's own.
async fn look(ctx: &Context) -> Result<Option<MicroTime>, Fault> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(ctx.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(ctx.client.clone());
    let (policy, binding) =
        tokio::try_join!(call(policies.get_opt(PERMISSION)), call(bindings.get_opt(PERMISSION)))?;
    let (Some(policy), Some(binding)) = (policy, binding) else { return Ok(None) };
    if let Some(difference) = difference(&policy, &binding) {
        tracing::warn!(
            "the admission policy {PERMISSION} is not the one of this version: {difference}; who asks for actions is not known, and those that raise are rejected"
        );
        return Ok(None);
    }
    let changed = last_changed(&policy.metadata).max(last_changed(&binding.metadata));
    let settling = SignedDuration::try_from(ctx.actions.policies.settling).unwrap_or(SignedDuration::MAX);
    Ok(Some(changed.saturating_add(settling)))
}

/// When an object was last changed, by creation and by what its managers are noted to have written since. An action
/// that was created before that may have been let in by something else.
fn last_changed(metadata: &ObjectMeta) -> MicroTime {
    let written = metadata.managed_fields.iter().flatten();
    let written = written.filter(|fields| fields.subresource.as_deref().unwrap_or_default().is_empty());
    let times = written.map(|fields| fields.time.as_ref());
    times
        .chain([metadata.creation_timestamp.as_ref()])
        .map(|time| time.map_or(MicroTime::MAX, |time| MicroTime::from(time.0)))
        .max()
        .unwrap_or(MicroTime::MAX)
}

/// Where a policy refuses less than the one that this program ships, if it does. It may refuse more.
fn difference(
    policy: &ValidatingAdmissionPolicy,
    binding: &ValidatingAdmissionPolicyBinding,
) -> Option<String> {
    let said = |what: &str| Some(what.to_owned());
    let Some(spec) = &policy.spec else { return said("it has no spec") };
    let binding = &binding.spec;
    let Some(ours) = &*SHIPPED else { return said("the one that this program ships cannot be read") };
    if spec.failure_policy.as_deref().unwrap_or("Fail") != "Fail" {
        return said("spec.failurePolicy is not Fail");
    }
    if spec.match_conditions.iter().flatten().next().is_some() {
        return said("spec.matchConditions leave requests out");
    }
    if spec.param_kind.is_some() {
        return said("spec.paramKind makes it depend on another object");
    }
    let (Some(matched), Some(wanted)) = (&spec.match_constraints, &ours.match_constraints) else {
        return said("spec.matchConstraints is missing");
    };
    if !covers(matched, wanted) {
        return said("spec.matchConstraints do not take in every RolloutAction that is created");
    }
    for variable in ours.variables.iter().flatten() {
        if !spec.variables.iter().flatten().any(|known| known == variable) {
            return Some(format!("the variable {} is another", variable.name));
        }
    }
    for (i, validation) in ours.validations.iter().flatten().enumerate() {
        let known = |known: &Validation| known.expression == validation.expression;
        if !spec.validations.iter().flatten().any(known) {
            return Some(format!(
                "validation {} of {} is missing",
                i + 1,
                ours.validations.iter().flatten().count()
            ));
        }
    }
    if binding.policy_name != PERMISSION {
        return said("its binding names another policy");
    }
    if binding.param_ref.is_some() {
        return said("its binding has spec.paramRef");
    }
    if binding.match_resources.is_some() {
        return said("its binding has spec.matchResources and leaves requests out");
    }
    if !binding.validation_actions.iter().any(|action| action == "Deny") {
        return said("its binding does not say Deny");
    }
    None
}

/// Whether constraints take in whatever the wanted ones do, everywhere.
fn covers(matched: &MatchResources, wanted: &MatchResources) -> bool {
    let selects_all =
        |selector: &Option<LabelSelector>| selector.as_ref().is_none_or(|s| *s == LabelSelector::default());
    let takes_in = |rule: &NamedRuleWithOperations, wanted: &NamedRuleWithOperations| {
        let has = |known: &Option<Vec<String>>, wanted: &Option<Vec<String>>| {
            let known: Vec<&String> = known.iter().flatten().collect();
            known.iter().any(|known| *known == "*")
                || wanted.iter().flatten().all(|wanted| known.contains(&wanted))
        };
        rule.resource_names.iter().flatten().next().is_none()
            && rule.scope.as_deref().is_none_or(|scope| scope == "*" || scope == "Namespaced")
            && has(&rule.api_groups, &wanted.api_groups)
            && has(&rule.api_versions, &wanted.api_versions)
            && has(&rule.operations, &wanted.operations)
            && has(&rule.resources, &wanted.resources)
    };
    selects_all(&matched.namespace_selector)
        && selects_all(&matched.object_selector)
        && matched.exclude_resource_rules.iter().flatten().next().is_none()
        && wanted
            .resource_rules
            .iter()
            .flatten()
            .all(|wanted| matched.resource_rules.iter().flatten().any(|rule| takes_in(rule, wanted)))
}

/// What the policy says that this program ships.
static SHIPPED: LazyLock<Option<ValidatingAdmissionPolicySpec>> = LazyLock::new(|| {
    let (_, text) = FILES.iter().find(|(file, _)| file.starts_with("rolloutaction-permission"))?;
    let (policy, _) = text.split_once("\n---\n")?;
    serde_saphyr::from_str::<ValidatingAdmissionPolicy>(policy).ok()?.spec
});

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The policy and its binding as this program ships them, edited.
    fn shipped(edit: impl FnOnce(&mut Value, &mut Value)) -> Option<String> {
        let (_, text) = FILES[0];
        let (policy, binding) = text.split_once("\n---\n").unwrap();
        let mut policy: Value = serde_saphyr::from_str(policy).unwrap();
        let mut binding: Value = serde_saphyr::from_str(binding).unwrap();
        edit(&mut policy["spec"], &mut binding["spec"]);
        difference(&serde_json::from_value(policy).unwrap(), &serde_json::from_value(binding).unwrap())
    }

    #[test]
    fn the_policy_that_is_shipped_is_believed_as_the_api_server_stores_it_and_with_more_validations() {
        assert_eq!(shipped(|_, _| {}), None);
        let stored = shipped(|policy, _| {
            policy["matchConstraints"]["matchPolicy"] = json!("Equivalent");
            policy["matchConstraints"]["namespaceSelector"] = json!({});
            policy["matchConstraints"]["objectSelector"] = json!({});
            policy["matchConstraints"]["resourceRules"][0]["scope"] = json!("*");
            policy["validations"].as_array_mut().unwrap().insert(0, json!({"expression": "false"}));
        });
        assert_eq!(stored, None);
    }

    /// Only the failure policy and the binding were looked at: whoever could edit the rest was anybody.
    #[test]
    fn a_policy_that_refuses_less_than_the_shipped_one_is_not_believed() {
        type Edit = fn(&mut Value, &mut Value);
        let weaker: [(&str, Edit); 15] = [
            ("failurePolicy", |policy, _| policy["failurePolicy"] = json!("Ignore")),
            ("matchConditions", |policy, _| {
                policy["matchConditions"] =
                    json!([{"name": "not-me", "expression": "request.userInfo.username != 'me'"}]);
            }),
            ("paramKind", |policy, _| policy["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"})),
            ("matchConstraints", |policy, _| policy["matchConstraints"]["resourceRules"] = json!([])),
            ("matchConstraints", |policy, _| {
                policy["matchConstraints"]["resourceRules"][0]["operations"] = json!(["UPDATE"]);
            }),
            ("matchConstraints", |policy, _| {
                policy["matchConstraints"]["resourceRules"][0]["resourceNames"] = json!(["only-this"]);
            }),
            ("matchConstraints", |policy, _| {
                policy["matchConstraints"]["resourceRules"][0]["scope"] = json!("Cluster");
            }),
            ("matchConstraints", |policy, _| {
                policy["matchConstraints"]["excludeResourceRules"] =
                    policy["matchConstraints"]["resourceRules"].clone();
            }),
            ("matchConstraints", |policy, _| {
                policy["matchConstraints"]["namespaceSelector"] = json!({"matchLabels": {"strict": "yes"}});
            }),
            ("matchConstraints", |policy, _| {
                policy["matchConstraints"]["objectSelector"] = json!({"matchLabels": {"strict": "yes"}});
            }),
            ("validation 1", |policy, _| {
                policy["validations"].as_array_mut().unwrap().remove(0);
            }),
            ("validation 3", |policy, _| policy["validations"][2]["expression"] = json!("true")),
            ("variable verb", |policy, _| policy["variables"][1]["expression"] = json!("'pause'")),
            ("Deny", |_, binding| binding["validationActions"] = json!(["Warn", "Audit"])),
            ("matchResources", |_, binding| {
                binding["matchResources"] = json!({"namespaceSelector": {"matchLabels": {"strict": "yes"}}});
            }),
        ];
        for (what, edit) in weaker {
            let said = shipped(edit).unwrap_or_else(|| panic!("{what} is believed"));
            assert!(said.contains(what), "{what}: {said}");
        }
        let other = shipped(|_, binding| binding["policyName"] = json!("another"));
        assert!(other.unwrap().contains("another policy"));
    }

    #[test]
    fn a_name_is_believed_only_of_an_action_that_the_policy_has_certainly_seen() {
        let at = |second: i64| MicroTime::from_second(second).unwrap();
        assert!(!is_checked(at(100), None), "there is no such policy");
        assert!(!is_checked(at(99), Some(at(100))), "it was created before the policy was in force");
        assert!(is_checked(at(100), Some(at(100))));
    }

    #[test]
    fn an_edit_of_the_policy_counts_as_its_beginning_and_a_status_does_not() {
        let metadata = |managed: Value| -> ObjectMeta {
            let created = "2026-01-01T00:00:00Z";
            serde_json::from_value(json!({"creationTimestamp": created, "managedFields": managed})).unwrap()
        };
        let at = |text: &str| text.parse::<MicroTime>().unwrap();
        assert_eq!(last_changed(&metadata(json!([]))), at("2026-01-01T00:00:00Z"));
        let edited = metadata(json!([
            {"manager": "helm", "time": "2026-02-01T00:00:00Z"},
            {"manager": "kube-controller-manager", "subresource": "status", "time": "2026-03-01T00:00:00Z"},
        ]));
        assert_eq!(last_changed(&edited), at("2026-02-01T00:00:00Z"));
        assert_eq!(last_changed(&ObjectMeta::default()), MicroTime::MAX, "nobody knows when that was");
    }
}
