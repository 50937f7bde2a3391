//! Which revisions the statuses of rollouts pin: the audiences that they serve or are to serve, and the guards in force.

use serde::Deserialize;

use super::context::Context;
use super::revisions::Pinned;
use crate::api::status::AudienceRef;

/// As much of a rollout as pins something.
#[derive(Deserialize)]
struct Pins {
    status: Option<PinsOfStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PinsOfStatus {
    audience: Option<AudienceRef>,
    pending_audience: Option<AudienceRef>,
    guard: Option<String>,
}

/// What the statuses pin as far as the caches know, and the namespaces where nobody can say so, because of a rollout that cannot be read.
pub fn of_statuses(ctx: &Context) -> Pinned {
    let mut pinned = Pinned::default();
    for key in ctx.rollouts.keys() {
        let Some(Pins { status }) = ctx.rollouts.glance::<Pins>(&key) else {
            pinned.unsure.insert(key.0);
            continue;
        };
        let status = status.unwrap_or_default();
        let audiences = status.audience.into_iter().chain(status.pending_audience);
        let names = audiences.map(|audience| audience.name).chain(status.guard);
        pinned.revisions.extend(names.map(|name| (key.0.clone(), name)));
    }
    pinned
}
