//! Sends digests when they are due.

use std::sync::Arc;

use kube::ResourceExt;
use kube::core::DeserializeGuard;

use super::Channels;
use super::line::Line;
use crate::api::notificationchannel::NotificationChannelSpec;
use crate::api::{CohortSet, FeatureRollout, MicroTime, RolloutPolicy};
use crate::notify::channel::{Channel, Planned};
use crate::notify::digest::{Division, Told};
use crate::notify::form::DigestOf;
use crate::notify::message::Message;
use crate::notify::outbox::Settled;
use crate::notify::send::{now, send_digest};
use crate::notify::{digest, filter};
use crate::plan;

/// A digest that is due.
pub struct Due<'a> {
    planned: &'a Planned,
    /// The time of its schedule that it was sent for last.
    sent: MicroTime,
    /// The time of its schedule that it is due for.
    at: MicroTime,
}

/// The first digest that is due, if any is. Of several times that passed while nobody looked, the last one counts.
pub fn due<'a>(channels: &Channels, line: &Line, channel: &'a Channel) -> Option<Due<'a>> {
    let shown = channels.clock.now();
    channel.digests.iter().find_map(|planned| {
        let sent = line.with(|outbox| outbox.digest_at(&planned.digest.name)).flatten()?;
        let at = planned.schedule.last(shown).filter(|at| *at > sent)?;
        Some(Due { planned, sent, at })
    })
}

/// Sends a digest. Says whether it is done with: sent, or without anything to say.
pub async fn send(
    channels: &Channels,
    line: &Line,
    spec: &NotificationChannelSpec,
    (channel, generation): (&Channel, i64),
    Due { planned, sent, at }: Due<'_>,
) -> bool {
    let names: Vec<&str> = spec.digests.iter().map(|digest| digest.name.as_str()).collect();
    let name = planned.digest.name.as_str();
    let Some(message) = compose(channels, spec, planned, sent, at) else {
        line.with(|outbox| outbox.keep_digest(name, at, &names));
        return true;
    };
    let id = format!("{}/{name}/{}", line.uid, at.as_second());
    let of = DigestOf {
        id: &id,
        namespace: &channels.namespace,
        channel: &line.name,
        kind: planned.digest.kind,
        at,
    };
    let settled = send_digest(channel, generation, of, &message).await;
    let is_sent = matches!(settled, Settled::Sent(_));
    line.with(|outbox| outbox.settle_digest((name, at, &names), settled, now(), fastrand::f64()));
    is_sent
}

/// When the next digest is due.
pub fn next(channels: &Channels, channel: &Channel) -> Option<MicroTime> {
    let shown = channels.clock.now();
    channel.digests.iter().filter_map(|planned| planned.schedule.next(shown)).min()
}

fn compose(
    channels: &Channels,
    spec: &NotificationChannelSpec,
    planned: &Planned,
    since: MicroTime,
    at: MicroTime,
) -> Option<Message> {
    let is_told = |rollout: &FeatureRollout| {
        let namespace = rollout.namespace().unwrap_or_default();
        filter::serves(spec, &channels.namespace, &namespace) && filter::digests(spec, rollout.labels())
    };
    let known = (channels.rollouts)(&is_told);
    let told: Vec<Told<'_>> = known.iter().filter_map(Known::told).collect();
    digest::of(planned, &told, since, at)
}

/// A rollout as it is stored, with what is known of whom it concerns.
pub struct Known {
    /// The rollout.
    pub rollout: Arc<DeserializeGuard<FeatureRollout>>,
    /// The policies that bind it, the nearest first.
    pub policies: Vec<Arc<DeserializeGuard<RolloutPolicy>>>,
    /// The CohortSet that divides its users, with its name; absent where it has cohorts for itself.
    pub set: Option<(String, Arc<DeserializeGuard<CohortSet>>)>,
}

impl Known {
    fn told(&self) -> Option<Told<'_>> {
        let rollout = self.rollout.0.as_ref().ok()?;
        let policies = self.policies.iter().filter_map(|policy| policy.0.as_ref().ok());
        let own = rollout.spec.cohorts.as_ref().map(|cohorts| Division { set: None, cohorts });
        let shared = self.set.as_ref().and_then(|(name, set)| {
            let cohorts = &set.0.as_ref().ok()?.spec.cohorts;
            Some(Division { set: Some(name), cohorts })
        });
        Some(Told {
            rollout,
            monitoring: plan::policy::monitoring(rollout, policies.map(|policy| &policy.spec)),
            division: own.or(shared),
        })
    }
}
