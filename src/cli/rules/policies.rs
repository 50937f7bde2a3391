//! Policies in words, for `plan` and `describe`: which rule comes from where.

use crate::api::RolloutPolicySpec;
use crate::api::rolloutpolicy::BoundPolicy;

use crate::cli::files::lint::Checked;
use crate::cli::files::problem::count;
use crate::cli::output::table::table;
use crate::plan::Plan;

/// What a policy holds rollouts to, in a few words: `1 window, 2 freezes, 5 triggers, rollback, approval above 50%`.
pub fn holds(spec: &RolloutPolicySpec) -> String {
    let counted = [
        (spec.windows.len(), "window"),
        (spec.freezes.len(), "freeze"),
        (spec.triggers.len(), "trigger"),
        (spec.monitoring.len(), "monitoring period"),
    ];
    let mut parts: Vec<String> =
        counted.into_iter().filter(|(of, _)| *of > 0).map(|(of, what)| count(of, what)).collect();
    parts.extend(spec.rollback.as_ref().map(|_| "rollback".to_owned()));
    parts.extend(spec.approval_above.map(|above| format!("approval above {above}")));
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// A policy as its place tells it: `standard`, or `sluice-system/winter` where it is not in the rollout's namespace.
pub fn title(policy: &BoundPolicy) -> String {
    match &policy.namespace {
        Some(namespace) => format!("{namespace}/{}", policy.name),
        None => policy.name.clone(),
    }
}

/// Which policies bind which rollout, and what each holds it to, below an empty line; nothing where there are none.
pub fn bound_table(checked: &Checked<'_>) -> String {
    let row = |plan: &Plan, policy: &BoundPolicy| {
        let namespace = policy.namespace.as_deref().unwrap_or(&plan.namespace);
        let spec = checked.typed.policies.get(&(namespace, policy.name.as_str()));
        vec![
            format!("{}/{}", plan.namespace, plan.name),
            title(policy),
            policy.binding.as_str().to_owned(),
            spec.map_or_else(|| "-".to_owned(), |item| holds(&item.typed.spec)),
        ]
    };
    let plans = checked.plans.values();
    let rows: Vec<Vec<String>> =
        plans.flat_map(|plan| plan.policies.iter().map(move |policy| row(plan, policy))).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", table(&["ROLLOUT", "POLICY", "BOUND BY", "HOLDS"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_holds_is_said_in_a_few_words() {
        let spec: RolloutPolicySpec = serde_saphyr::from_str(
            "
windows: [{from: '09:00', to: '16:00'}]
freezes: [{name: a, from: '12-20', to: '01-02', yearly: true}, {name: b, from: '2025-11-26', to: '2025-11-28'}]
rollback: {gradual: {ladder: [50, 0], every: 10m}}
approvalAbove: 50",
        )
        .unwrap();
        assert_eq!(holds(&spec), "1 window, 2 freezes, rollback, approval above 50%");
        assert_eq!(holds(&RolloutPolicySpec::default()), "nothing");
    }
}
