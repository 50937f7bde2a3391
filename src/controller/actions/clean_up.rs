//! Old actions: answered ones are kept for a week, as a record beside the audit log, and then deleted.

use jiff::SignedDuration;
use kube::api::{DeleteParams, Preconditions};

use crate::api::MicroTime;
use crate::api::rolloutaction::RolloutAction;
use crate::clock;
use crate::cluster::Scope;
use crate::controller::cache::{ObjectKey, key_of};
use crate::controller::context::Context;
use crate::error::{Fault, chain};

/// How long an answered action is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many are deleted at once; the others are the next time.
const MOST: usize = 10_000;

/// Deletes the actions that were answered more than a week ago.
///
/// # Errors
/// When they cannot be listed; one that cannot be deleted is tried again the next time.
pub async fn sweep(ctx: &Context) -> Result<(), Fault> {
    let answered = Scope::of::<RolloutAction>(None).fields("status.answer!=");
    let now = clock::real_now();
    let mut old = Vec::new();
    ctx.cluster
        .each(&answered, |action: RolloutAction| {
            if old.len() < MOST && ctx.owns(&key_of(&action).0) && is_old(&action, now) {
                old.push((key_of(&action), action.metadata.uid));
            }
        })
        .await?;
    for (key, uid) in old {
        delete(ctx, &key, uid).await;
    }
    Ok(())
}

/// Whether an action was answered so long ago that it goes. One without an answer stays, whatever its age.
fn is_old(action: &RolloutAction, now: MicroTime) -> bool {
    let answered = action.status.as_ref().and_then(|status| status.answer.and(status.answered_at));
    answered.is_some_and(|at| now.duration_since(at) >= KEPT)
}

async fn delete(ctx: &Context, (namespace, name): &ObjectKey, uid: Option<String>) {
    let request = Scope::of::<RolloutAction>(Some(namespace)).request();
    let preconditions = Some(Preconditions { uid, resource_version: None });
    let params = DeleteParams { preconditions, ..DeleteParams::default() };
    match ctx.cluster.tell(request.delete(name, &params)).await {
        Ok(()) | Err(Fault::NotFound(_) | Fault::Conflict(_)) => {}
        Err(fault) => tracing::warn!(
            "the old RolloutAction {namespace}/{name} could not be deleted: {}; that is tried again in an hour",
            chain(&fault)
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_action_goes_a_week_after_its_answer_and_never_without_one() {
        let action = |status: serde_json::Value| -> RolloutAction {
            serde_json::from_value(json!({
                "apiVersion": "sluice.dev/v1alpha1", "kind": "RolloutAction",
                "metadata": {"name": "a", "creationTimestamp": "2020-01-01T00:00:00Z"},
                "spec": {"rolloutRef": {"name": "r"}, "action": "Pause", "reason": "test"},
                "status": status,
            }))
            .unwrap()
        };
        let answered = action(json!({"answer": "Rejected", "answeredAt": "2026-01-01T00:00:00.000000Z"}));
        assert!(!is_old(&answered, "2026-01-07T23:59:59Z".parse().unwrap()));
        assert!(is_old(&answered, "2026-01-08T00:00:00Z".parse().unwrap()));
        assert!(!is_old(&action(json!({})), "2026-01-08T00:00:00Z".parse().unwrap()));
    }
}
