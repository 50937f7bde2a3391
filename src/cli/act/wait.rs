//! An action, created; its answer, and the file that has to follow it, waited for.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Status;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};

use crate::api::MicroTime;
use crate::api::rolloutaction::{Answer, RolloutAction, RolloutActionSpec};
use crate::api::{FeatureRollout, FeatureRolloutStatus, Reason};
use crate::cli::cluster::Cluster;
use crate::cli::output::Failure;
use crate::clock::{monotonic, sleep};
use crate::engine;

/// Manager of the fields. Flux takes over what a manager named kubectl… wrote.
const MANAGER: &str = "sluice";

/// How long after a refusal that will pass an action is created again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

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
    /// Whether apps have it, where the file had to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// Whether the file holds what was applied.
#[derive(serde::Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Whether it does.
    pub delivered: bool,
    /// The revision of the rollout that it has to hold.
    revision: i64,
    /// What it gives to whom, and why that is not what was decided where it is not.
    pub message: String,
}

fn as_text<S: serde::Serializer>(answer: &Answer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(answer.as_str())
}

/// Creates an action. In the seconds after the kinds were installed the policy that writes names does not know them yet,
/// and has every action refused: it is tried again then, for `longest` at most.
async fn create(
    cluster: &Cluster,
    api: &Api<RolloutAction>,
    action: &RolloutAction,
    longest: Duration,
) -> Result<RolloutAction, Failure> {
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let begun = monotonic();
    loop {
        let created = cluster.call(async {
            match api.create(&params, action).await {
                Err(kube::Error::Api(status)) if is_early(&status) && begun.elapsed() < longest => Ok(None),
                other => other.map(Some),
            }
        });
        match created.await? {
            Some(created) => return Ok(created),
            None => sleep(TRY_AGAIN).await,
        }
    }
}

/// Whether something was refused only because a policy does not know its kind yet, so that it surely was not created.
fn is_early(status: &Status) -> bool {
    status.code == 503 && status.message.contains("delay between when CustomResourceDefinitions are created")
}

/// Creates an action, waits for its answer, and then for the file to hold what was applied.
///
/// # Errors
/// The cluster refuses, cannot be reached, or nobody answers in time.
pub async fn ask(
    cluster: Cluster,
    mut spec: RolloutActionSpec,
    timeout: SignedDuration,
) -> Result<Answered, Failure> {
    let longest = Duration::try_from(timeout).unwrap_or_default();
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
    let name = create(&cluster, &api, &action, longest).await?.name_any();
    let Some(seen) = answered(&cluster, &api, &name, longest).await? else {
        return Err(Failure::Cluster(format!("the action {name} was deleted before it was answered")));
    };
    let Some((answer, message)) = answer(&seen) else {
        return Err(Failure::Cluster(format!(
            "nobody has answered the action {name} within {timeout:#}: it may still be carried out, until it expires; \
             is the operator running?"
        )));
    };
    let revision = seen.status.as_ref().and_then(|status| status.revision);
    let delivery = match (answer, revision) {
        (Answer::Applied, Some(revision)) => {
            Some(until_delivered(&cluster, &seen.spec.rollout_ref.name, revision, longest).await?)
        }
        _ => None,
    };
    Ok(Answered {
        delivery,
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
    longest: Duration,
) -> Result<Option<RolloutAction>, Failure> {
    let until = monotonic() + longest;
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

/// Waits until the file of a rollout holds a revision, or somebody has to act before it can, or the time is up.
async fn until_delivered(
    cluster: &Cluster,
    name: &str,
    revision: i64,
    longest: Duration,
) -> Result<Delivery, Failure> {
    let api: Api<FeatureRollout> = cluster.api();
    let is_settled = |rollout: Option<&FeatureRollout>| {
        let Some(rollout) = rollout else { return true };
        rollout.status.as_ref().is_some_and(|status| delivery(status, revision).is_some())
    };
    let wait = await_condition(api, name, is_settled);
    // Whatever ends the waiting, what counts is what a last look finds.
    let _settled = tokio::time::timeout(longest, wait).await;
    let status = cluster.rollout(name).await?.status.unwrap_or_default();
    Ok(delivery(&status, revision).unwrap_or_else(|| {
        let gap = engine::delivery::gap(&status);
        let gap = gap.unwrap_or_else(|| "the file does not hold what was decided".to_owned());
        let why = status.undelivered.as_ref().map(|undelivered| format!(": {}", undelivered.message));
        let message = format!("{gap}{}; it is still being tried", why.unwrap_or_default());
        Delivery { delivered: false, revision, message }
    }))
}

/// Whether the file holds a revision, where that is known for good or until somebody acts.
fn delivery(status: &FeatureRolloutStatus, revision: i64) -> Option<Delivery> {
    if status.delivered_revision >= revision {
        let served = status.cohorts.iter().map(|cohort| format!("{} {}", cohort.name, cohort.served));
        let message = format!("apps get {}", served.collect::<Vec<_>>().join(", "));
        return Some(Delivery { delivered: true, revision, message });
    }
    let undelivered = status.undelivered.as_ref()?;
    // What is tried again by itself may yet come; a failure of an older revision says nothing of this one.
    if undelivered.reason == Reason::Retrying || status.revision < revision {
        return None;
    }
    let message = engine::delivery::undelivered_message(status)?;
    Some(Delivery { delivered: false, revision, message })
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
