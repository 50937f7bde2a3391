//! An action, created, and its answer, waited for.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};

use crate::api::MicroTime;
use crate::api::rolloutaction::{Answer, RolloutAction, RolloutActionSpec};
use crate::cli::Failure;
use crate::cli::cluster::Cluster;
use crate::clock::{monotonic, sleep};

/// Manager of the fields. Flux takes over what a manager named kubectl… wrote.
const MANAGER: &str = "sluice";

/// What became of an action: a stable contract.
#[derive(serde::Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    namespace: String,
    rollout: String,
    action: String,
    /// Name of the RolloutAction.
    name: String,
    requested_by: Option<String>,
    /// The answer.
    #[serde(serialize_with = "as_text")]
    pub answer: Answer,
    /// The answer, in words.
    pub message: String,
    answered_at: Option<MicroTime>,
}

fn as_text<S: serde::Serializer>(answer: &Answer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(answer.as_str())
}

/// Creates an action and waits for its answer.
///
/// # Errors
/// The cluster refuses, cannot be reached, or nobody answers in time.
pub async fn ask(
    cluster: Cluster,
    mut spec: RolloutActionSpec,
    timeout: SignedDuration,
) -> Result<Answered, Failure> {
    // An action for a rollout that does not exist would stay, and be carried out when one of that name is created.
    cluster.must_have(&spec.rollout_ref.name).await?;
    spec.requested_by = whoami(&cluster).await;
    let verb = spec.action.as_str().to_lowercase();
    let action = RolloutAction {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-{verb}-", prefix(&spec.rollout_ref.name))),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    let api: Api<RolloutAction> = cluster.api();
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let created = cluster.call(api.create(&params, &action)).await?;
    let name = created.name_any();
    let Some(seen) = answered(&cluster, &api, &name, timeout).await? else {
        return Err(Failure::Cluster(format!("the action {name} was deleted before it was answered")));
    };
    let Some((answer, message)) = answer(&seen) else {
        return Err(Failure::Cluster(format!(
            "nobody has answered the action {name} within {timeout:#}: it may still be carried out, until it expires; \
             is the operator running?"
        )));
    };
    Ok(Answered {
        namespace: cluster.namespace.clone(),
        rollout: seen.spec.rollout_ref.name.clone(),
        action: seen.spec.action.as_str().to_owned(),
        name,
        requested_by: seen.spec.requested_by.clone(),
        answer,
        message,
        answered_at: seen.status.as_ref().and_then(|status| status.answered_at),
    })
}

/// The action when it has been answered, or as it is when the time is up. A watch that breaks is begun again.
async fn answered(
    cluster: &Cluster,
    api: &Api<RolloutAction>,
    name: &str,
    timeout: SignedDuration,
) -> Result<Option<RolloutAction>, Failure> {
    let until = monotonic() + Duration::try_from(timeout).unwrap_or_default();
    let mut pause = Duration::from_millis(200);
    loop {
        let has_answer =
            |action: Option<&RolloutAction>| action.is_some_and(|action| answer(action).is_some());
        let wait = await_condition(api.clone(), name, has_answer);
        let left = until.saturating_duration_since(monotonic());
        match tokio::time::timeout(left, wait).await {
            Ok(Ok(seen)) => return Ok(seen),
            Ok(Err(_)) if left > pause => sleep(pause).await,
            Ok(Err(_)) | Err(_) => return cluster.call(api.get_opt(name)).await,
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

fn answer(action: &RolloutAction) -> Option<(Answer, String)> {
    let status = action.status.as_ref()?;
    Some((status.answer?, status.message.clone().unwrap_or_default()))
}

/// Who asks, for clusters whose admission does not say so itself. One that cannot tell gets nothing, and its policy
/// decides.
async fn whoami(cluster: &Cluster) -> Option<String> {
    let reviews: Api<SelfSubjectReview> = cluster.all();
    let review = SelfSubjectReview::default();
    let reviewed = cluster.call(reviews.create(&PostParams::default(), &review)).await.ok()?;
    reviewed.status?.user_info?.username
}

/// As much of a rollout's name as leaves room for the rest.
fn prefix(rollout: &str) -> String {
    rollout.chars().take(200).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}
