//! The members of a file from their statuses, read consistently: when the file is gone or nobody vouches for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use serde::Deserialize;
use serde_json::Value;

use super::Offer;
use crate::api::{FeatureRollout, FeatureRolloutStatus};
use crate::cluster::Scope;
use crate::controller::cache::ObjectKey;
use crate::controller::context::Context;
use crate::controller::index::SetId;
use crate::controller::revisions::audiences;
use crate::error::Fault;
use crate::flags::{self, Fragment, Identity};
use crate::plan::{self, Audience, Feature};

/// The members of a file.
#[derive(Default)]
pub(super) struct Members {
    /// Those that can be rendered, as their stored statuses say.
    pub(super) offers: BTreeMap<ObjectKey, Offer>,
    /// The flags of those whose audience is lost, at control, by key.
    pub(super) at_control: BTreeMap<String, Value>,
}

/// Every member of the set that has decided anything.
///
/// A member whose flag itself is invalid cannot be rendered and is left out: its last good fragment stays.
///
/// # Errors
/// When the rollouts or their audiences cannot be read.
pub(super) async fn members(ctx: &Context, set: &SetId) -> Result<Members, Fault> {
    let mut found = Members::default();
    for begun in list(ctx, set).await? {
        let key = (set.namespace.clone(), begun.name.clone());
        match render(ctx, set, begun).await? {
            Rendered::Offer(offer) => drop(found.offers.insert(key, *offer)),
            Rendered::AtControl(fragment) => drop(found.at_control.insert(fragment.key, fragment.body)),
        }
    }
    Ok(found)
}

/// What a member's flag is made of: the flag and the pinned audience are all it takes, and what else of its spec is invalid stops
/// raises only.
struct Begun {
    name: String,
    uid: String,
    feature: Feature,
    status: FeatureRolloutStatus,
}

impl Begun {
    /// A member of the set that has decided anything, and whose flag can be made.
    fn of(ctx: &Context, set: &SetId, rollout: &FeatureRollout) -> Option<Begun> {
        if SetId::of(rollout) != *set || !rollout.has_begun() {
            return None;
        }
        let name = rollout.name_any();
        let ahead = ctx.ahead.status(&(set.namespace.clone(), name.clone()), rollout);
        let status = ahead.as_deref().or(rollout.status.as_ref())?.clone();
        Some(Begun {
            name,
            uid: rollout.uid().unwrap_or_default(),
            feature: plan::feature_alone(rollout)?,
            status,
        })
    }
}

enum Rendered {
    Offer(Box<Offer>),
    AtControl(Fragment),
}

/// As much of a rollout as says in which FlagSet it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member<'a> {
    #[serde(borrow, default)]
    spec: MemberSpec<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemberSpec<'a> {
    #[serde(borrow, default)]
    flag_set_ref: Option<Reference<'a>>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// Whether an object may be a rollout of the FlagSet of this name. Others of its namespace may be many and large, and are passed over
/// without being decoded.
fn is_of(flag_set: &str, bytes: &[u8]) -> bool {
    let read = serde_json::from_slice::<Member<'_>>(bytes);
    read.is_ok_and(|read| read.spec.flag_set_ref.is_some_and(|reference| reference.name == flag_set))
}

async fn list(ctx: &Context, set: &SetId) -> Result<Vec<Begun>, Fault> {
    if set.shared {
        let mut found = Vec::new();
        let scope = Scope::of::<FeatureRollout>(Some(&set.namespace));
        let take = |rollout: FeatureRollout| found.extend(Begun::of(ctx, set, &rollout));
        ctx.cluster.each_wanted(&scope, |bytes| is_of(&set.name, bytes), take).await?;
        return Ok(found);
    }
    let found = ctx.cluster.get::<FeatureRollout>(&(set.namespace.clone(), set.name.clone())).await?;
    let found = found.and_then(|guard| guard.0.ok());
    Ok(found.and_then(|rollout| Begun::of(ctx, set, &rollout)).into_iter().collect())
}

async fn render(ctx: &Context, set: &SetId, begun: Begun) -> Result<Rendered, Fault> {
    let Begun { name, uid, feature, status } = begun;
    let identity = Identity { namespace: set.namespace.clone(), name, uid: uid.clone() };
    let Some(audience) = audiences::serving(ctx, &set.namespace, &status).await? else {
        // Whom its cohorts took in nobody knows any more. What control is, its spec says, and the file need not be asked.
        let nobody = Audience::default();
        return Ok(Rendered::AtControl(flags::fragment(&feature, &identity, &status, &nobody)));
    };
    let fragment = flags::fragment(&feature, &identity, &status, &audience);
    Ok(Rendered::Offer(Box::new(Offer::serve(uid, feature, audience, fragment, Arc::new(status)))))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::of_it(json!({"metadata": {"name": "r"}, "spec": {"flagSetRef": {"name": "app"}}, "status": {"revision": 1e300}}), true)]
    #[case::of_another(json!({"spec": {"flagSetRef": {"name": "apps"}}}), false)]
    #[case::of_none(json!({"spec": {"phases": [{"flagSetRef": {"name": "app"}}]}}), false)]
    #[case::without_a_name(json!({"spec": {"flagSetRef": {}}}), false)]
    #[case::no_object(json!([]), false)]
    #[case::spelt_otherwise(json!({"spec": {"flagSetRef": {"name": "a\u{70}p"}}}), true)]
    fn a_rollout_says_in_which_flag_set_it_is_without_the_rest(
        #[case] object: Value,
        #[case] expected: bool,
    ) {
        assert_eq!(is_of("app", object.to_string().as_bytes()), expected);
    }

    #[test]
    fn however_a_name_is_escaped_and_whatever_stands_beside_it_is_read() {
        let escaped = br#"{"spec":{"flagSetRef":{"name":"\u0061pp"},"x":[[[1e999]]]}}"#;
        assert!(is_of("app", escaped));
        let deep = format!(
            "{{\"x\":{}{},\"spec\":{{\"flagSetRef\":{{\"name\":\"app\"}}}}}}",
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert!(is_of("app", deep.as_bytes()), "however deep what stands beside it is");
        let no_text = b"{\"metadata\":{\"x\":\"\xff\"},\"spec\":{\"flagSetRef\":{\"name\":\"app\"}}}";
        assert!(is_of("app", no_text), "what is no UTF-8 is in a text that nobody asked for");
    }
}
