//! Whose token it is and whether that person may read a rollout, or the metrics: asked of the API server, and believed for
//! seconds.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use sha2::{Digest, Sha256};

use crate::api::GROUP;
use crate::clock::{Monotonic, monotonic};
use crate::controller::context::Context;
use crate::error::{Fault, call};
use crate::fair::Turns;
use crate::server::bounded::peer;

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(10);
/// Most answers that are remembered.
const MOST: usize = 4_096;
/// Questions to the API server at once.
const AT_ONCE: usize = 8;
/// Questions that may be begun in a second: whoever brings made-up tokens is to cost the API server little.
const A_SECOND: u32 = 50;
/// How long somebody waits for a place.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the API server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The person may read it.
    Yes,
    /// The person may not, or there is no such thing.
    No,
    /// The token is nobody's.
    Nobody,
}

/// What somebody wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// A FeatureRollout: `get` of it.
    Rollout {
        /// Its namespace.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// The metrics: `get` of the path `/metrics`, as Kubernetes' own components ask it.
    Metrics,
}

/// The path that a ClusterRole names in `nonResourceURLs` for whoever may read the metrics.
const METRICS_PATH: &str = "/metrics";

/// A digest of the token and of what it is to open: no token is kept.
type Question = [u8; 32];

/// What was asked lately.
pub struct Reviews {
    known: Mutex<HashMap<Question, (Instant, Answer)>>,
    /// Divided among the addresses that ask: made-up tokens from one keep nobody at another from being asked about.
    places: Turns,
}

impl Default for Reviews {
    fn default() -> Reviews {
        Reviews { known: Mutex::default(), places: Turns::new(AT_ONCE, Some(A_SECOND), Monotonic::default()) }
    }
}

impl Reviews {
    /// Whether whoever has this token may read what is wanted.
    ///
    /// # Errors
    /// Why that cannot be found out now, in words for people.
    pub async fn may_read(
        &self,
        ctx: &Context,
        token: &str,
        wanted: Wanted<'_>,
    ) -> Result<Answer, &'static str> {
        let question = question(token, wanted);
        if let Some(answer) = self.known(&question, monotonic()) {
            return Ok(answer);
        }
        let asker = peer().map(|peer| peer.to_string()).unwrap_or_default();
        let place = tokio::time::timeout(PATIENCE, self.places.take(&asker, 0)).await;
        let _place = place.map_err(|_| "too many ask at once")?;
        // Somebody with the same question may have had the place before.
        if let Some(answer) = self.known(&question, monotonic()) {
            return Ok(answer);
        }
        let answer = ask(ctx, token, wanted).await.map_err(|fault| {
            tracing::debug!("whoever asks cannot be reviewed: {}", crate::error::chain(&fault));
            "the API server cannot be asked who you are and what you may"
        })?;
        self.remember(question, answer, monotonic());
        Ok(answer)
    }

    fn known(&self, question: &Question, now: Instant) -> Option<Answer> {
        let (at, answer) = *lock(&self.known).get(question)?;
        (now.saturating_duration_since(at) < BELIEVED).then_some(answer)
    }

    fn remember(&self, question: Question, answer: Answer, now: Instant) {
        let mut known = lock(&self.known);
        if known.len() >= MOST {
            known.retain(|_, (at, _)| now.saturating_duration_since(*at) < BELIEVED);
        }
        if known.len() < MOST {
            known.insert(question, (now, answer));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn question(token: &str, wanted: Wanted<'_>) -> Question {
    let (kind, namespace, name) = match wanted {
        Wanted::Rollout { namespace, name } => ("rollout", namespace, name),
        Wanted::Metrics => ("metrics", "", ""),
    };
    let mut digest = Sha256::new();
    for part in [kind, token, namespace, name] {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().into()
}

async fn ask(ctx: &Context, token: &str, wanted: Wanted<'_>) -> Result<Answer, Fault> {
    let Some(user) = whose(ctx, token).await? else { return Ok(Answer::Nobody) };
    let mut spec = SubjectAccessReviewSpec {
        user: user.username,
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
        ..SubjectAccessReviewSpec::default()
    };
    match wanted {
        Wanted::Rollout { namespace, name } => {
            spec.resource_attributes = Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some("featurerollouts".to_owned()),
                verb: Some("get".to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ResourceAttributes::default()
            });
        }
        Wanted::Metrics => {
            spec.non_resource_attributes = Some(NonResourceAttributes {
                path: Some(METRICS_PATH.to_owned()),
                verb: Some("get".to_owned()),
            });
        }
    }
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let reviews: Api<SubjectAccessReview> = Api::all(ctx.client.clone());
    let status = call(reviews.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
    // An authorizer that failed has allowed nothing.
    let is_allowed = status.allowed && status.denied != Some(true);
    Ok(if is_allowed { Answer::Yes } else { Answer::No })
}

async fn whose(ctx: &Context, token: &str) -> Result<Option<UserInfo>, Fault> {
    let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviews: Api<TokenReview> = Api::all(ctx.client.clone());
    let status = call(reviews.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
    let is_somebody = status.authenticated == Some(true);
    let user = status.user.filter(|user| user.username.as_ref().is_some_and(|name| !name.is_empty()));
    Ok(user.filter(|_| is_somebody))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_answer_is_believed_for_seconds_for_this_token_and_this_rollout_only() {
        let (reviews, now) = (Reviews::default(), monotonic());
        let of = |token, namespace, name| question(token, Wanted::Rollout { namespace, name });
        let asked = of("token", "maya", "dreams");
        reviews.remember(asked, Answer::Yes, now);
        assert_eq!(reviews.known(&asked, now + BELIEVED / 2), Some(Answer::Yes));
        assert_eq!(reviews.known(&asked, now + BELIEVED), None);
        for (token, namespace, name) in [
            ("token2", "maya", "dreams"),
            ("token", "may", "adreams"),
            ("token", "maya", "dream"),
            ("tokenm", "aya", "dreams"),
        ] {
            assert_eq!(reviews.known(&of(token, namespace, name), now), None);
        }
        assert_eq!(reviews.known(&question("token", Wanted::Metrics), now), None);
    }

    #[tokio::test]
    async fn whoever_floods_it_takes_no_memory_and_begins_few_questions() {
        let (reviews, now) = (Reviews::default(), monotonic());
        for i in 0..3 * MOST {
            reviews.remember(question(&i.to_string(), Wanted::Metrics), Answer::Nobody, now);
        }
        assert_eq!(lock(&reviews.known).len(), MOST);
        let later = now + BELIEVED;
        reviews.remember(question("t", Wanted::Metrics), Answer::Yes, later);
        assert_eq!(lock(&reviews.known).len(), 1, "what is believed no more gives way");
        let begun = (0..1_000).filter(|_| reviews.places.take("flood", 0).now_or_never().is_some()).count();
        // A second's worth, and what comes while this is counted.
        assert!((A_SECOND as usize..2 * A_SECOND as usize).contains(&begun), "{begun}");
    }

    /// All places and all questions of a second went to whoever came first: made-up tokens kept everybody from the metrics.
    #[tokio::test]
    async fn whoever_floods_it_keeps_nobody_at_another_address_from_being_asked_about() {
        let reviews = Reviews::default();
        let mut flood: Vec<_> = (0..100).map(|_| Box::pin(reviews.places.take("10.0.0.2", 0))).collect();
        let held: Vec<_> = flood.iter_mut().filter_map(|waits| waits.as_mut().now_or_never()).collect();
        assert!(!held.is_empty() && held.len() < AT_ONCE, "{}", held.len());
        assert!(reviews.places.take("10.0.0.1", 0).now_or_never().is_some());
    }
}
