//! What an action would do: the API server is asked whether it would take it, and the engine what would come of it.

use std::collections::BTreeSet;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ObjectMeta, PostParams};
use serde::Serialize;

use crate::api::rolloutaction::{Answer, RolloutAction, RolloutActionSpec};
use crate::cli::cluster::{Cluster, schedule_clock};
use crate::cli::output::Failure;
use crate::cli::plan::live;
use crate::engine::forecast::stored::facts_for;
use crate::engine::{Actor, Ground, Request, act};

/// What would come of an action: a stable contract.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Foreseen {
    dry_run: &'static str,
    namespace: String,
    rollout: String,
    action: &'static str,
    requested_by: Option<String>,
    /// The answer that it would get now.
    pub answer: &'static str,
    /// The same, in words.
    pub message: String,
}

impl Foreseen {
    /// Whether it would be applied.
    pub fn is_applied(&self) -> bool {
        self.answer == Answer::Applied.as_str()
    }
}

/// Foresees an action; nothing is written.
///
/// # Errors
/// The API server refuses the action, which it says why, or cannot be reached.
pub async fn foresee(cluster: Cluster, mut spec: RolloutActionSpec) -> Result<Foreseen, Failure> {
    let name = spec.rollout_ref.name.clone();
    let rollout = cluster.rollout(&name).await?;
    let reviews = cluster.all::<SelfSubjectReview>();
    let review =
        cluster.call(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await.ok();
    spec.requested_by = review.and_then(|review| review.status?.user_info?.username);
    let action = RolloutAction {
        metadata: ObjectMeta { generate_name: Some("dry-run-".to_owned()), ..ObjectMeta::default() },
        spec: spec.clone(),
        status: None,
    };
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let created = cluster.call(cluster.api::<RolloutAction>().create(&params, &action)).await?;
    // Admission may have written the name of whoever asks.
    let requested_by = created.spec.requested_by.or(spec.requested_by.clone());
    let now = schedule_clock::now(&cluster).await;
    let namespace = cluster.namespace.clone();
    let stored = live::read(&cluster, BTreeSet::from([namespace.clone()])).await.map_err(unforeseen)?;
    let Some((plan, facts)) = live::plan_and_facts(&stored, &rollout, now) else {
        return Err(Failure::Cluster(format!(
            "the spec of rollout {name} is invalid, so there is no telling: what lowers and stops works all the same"
        )));
    };
    let status = rollout.status.clone().unwrap_or_default();
    let uid = rollout.metadata.uid.clone().unwrap_or_default();
    let request = Request {
        uid: "dry-run",
        spec: &spec,
        created: now,
        version: i64::MAX,
        actor: Actor::Verified(requested_by.clone().unwrap_or_default()),
        tracked_by: None,
        speed: 1,
        rollout_uid: &uid,
        generation: rollout.metadata.generation.unwrap_or_default(),
    };
    let facts = facts_for(spec.action, &facts, &status, now);
    let outcome = act(Ground::Plan(&plan, &facts), &status, &request, now);
    Ok(Foreseen {
        dry_run: "server",
        namespace,
        rollout: name,
        action: spec.action.as_str(),
        requested_by,
        answer: outcome.answer.as_str(),
        message: outcome.message,
    })
}

/// Whoever has the right of the action alone may not read what its outcome is judged by.
fn unforeseen(why: Failure) -> Failure {
    match why {
        Failure::Cluster(why) => Failure::Cluster(format!(
            "the API server would take the action; what would come of it is told to whoever may read the namespace, as by the \
             ClusterRole view: {why}"
        )),
        other => other,
    }
}
