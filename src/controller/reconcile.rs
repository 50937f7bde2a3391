//! What a reconcile makes of a decision: which revision its fragment gets, what is said of the file, and whether the file may go
//! ahead of the status. Like the decision it is a function of values, so that every order of crashes, late answers and stale
//! reads can be tried on it (`src/controller/model/`).

use std::time::Duration;

use super::announce::{announce, is_announced, is_beyond, stamp};
use super::writer::Ack;
use crate::api::{FeatureRolloutStatus, MicroTime, Percent};
use crate::engine::{self, Decision, Delivery, Facts, Report};
use crate::flags::{Fragment, Identity};
use crate::plan::{Audience, Plan};

/// How long, in real time, a file may lag behind before Ready says so.
pub(super) const LATE: Duration = Duration::from_secs(10);

/// What a reconcile knows of its rollout.
pub(super) struct Reconcile<'a> {
    /// The compiled spec.
    pub(super) plan: &'a Plan,
    /// Whose flag it is.
    pub(super) identity: &'a Identity,
    /// The status that is stored, or in force although it is not stored yet.
    pub(super) prior: &'a FeatureRolloutStatus,
    /// Whether that is this object's own.
    pub(super) has_begun: bool,
    /// Whether it is in force and not stored yet.
    pub(super) owes_status: bool,
    /// Whether it can wait: then it may be announced what comes next, and what was announced may go ahead.
    pub(super) is_ordinary: bool,
    /// What the file's writer said last.
    pub(super) ack: Option<&'a Ack>,
    /// What a file gives that does not hold what the rollout wants of it, where that was seen.
    pub(super) seen: Option<&'a [(String, Percent)]>,
    /// Generation of the spec.
    pub(super) generation: i64,
    /// The time.
    pub(super) now: MicroTime,
}

/// What came of a reconcile.
pub(super) struct Settled {
    /// The status to be stored.
    pub(super) status: FeatureRolloutStatus,
    /// The flag as that status says.
    pub(super) fragment: Fragment,
    /// How the file stands to it.
    pub(super) delivery: Delivery,
    /// Whether something was decided, besides what is only reported.
    pub(super) is_news: bool,
    /// Whether the file may hold it before the status says so: it is what was announced.
    pub(super) goes_ahead: bool,
}

impl Reconcile<'_> {
    /// The status with what the file's writer has said: what is decided on.
    pub(super) fn known(&self) -> FeatureRolloutStatus {
        let mut known = self.prior.clone();
        if self.has_begun {
            note_file(&mut known, self.ack, self.seen, self.now);
        }
        known
    }

    /// What a decision on `known` comes to. `published_seq` says up to which entry events are known to be published,
    /// `delivery` how the file stands to a status.
    pub(super) fn settle(
        &self,
        known: &FeatureRolloutStatus,
        facts: &Facts,
        audience: &Audience,
        decision: Decision,
        published_seq: i64,
        delivery: impl FnOnce(&FeatureRolloutStatus) -> Delivery,
    ) -> Settled {
        let Reconcile { plan, identity, prior, ack, now, .. } = *self;
        let mut status = decision.status;
        let is_beyond = is_beyond(prior, ack);
        let fragment = stamp(&plan.feature, identity, &mut status, audience, is_beyond);
        if status.revision != known.revision {
            engine::delivery::mark_entries(&mut status, known.last_seq());
        }
        // What is only to be reported may wait for the events that it reports on.
        let is_news = status != *known;
        if self.has_begun {
            // It may be what was announced, and in the file.
            note_file(&mut status, ack, self.seen, now);
            status.published_seq = status.published_seq.max(published_seq);
        }

        let delivery = delivery(&status);
        let generation = self.generation;
        let no_room = facts.no_room.as_deref();
        let report =
            Report { plan, delivery: delivery.clone(), next: decision.next, no_room, generation, now };
        engine::report(&mut status, &report);

        status.announced = status.announced.take().filter(|announced| announced.revision > status.revision);
        if status != *prior && delivery == Delivery::Done && self.is_ordinary {
            let announced =
                decision.wake_at.and_then(|at| announce(plan, identity, &status, facts, audience, at));
            status.announced = announced.or(status.announced);
        }

        engine::trim(&mut status);
        let goes_ahead = self.is_ordinary
            && !self.owes_status
            && facts.delivered
            && delivery == Delivery::UnderWay
            && !is_beyond
            && is_announced(prior, &status);
        Settled { status, fragment, delivery, is_news, goes_ahead }
    }
}

/// Takes into a state what the file's writer has said, and what was `seen` in a file that holds something else.
pub(super) fn note_file(
    status: &mut FeatureRolloutStatus,
    ack: Option<&Ack>,
    seen: Option<&[(String, Percent)]>,
    now: MicroTime,
) {
    status.delivered_revision = delivered(status, ack);
    if status.is_delivered() {
        engine::deliver(status, now);
    } else if let Some(in_file) = seen {
        engine::delivery::note_file(status, in_file);
    }
}

/// The revision that the file is known to hold, by the status and by what its writer said last.
pub(super) fn delivered(status: &FeatureRolloutStatus, ack: Option<&Ack>) -> i64 {
    let known = status.delivered_revision;
    match ack {
        // Somebody else has changed it since, and it cannot be put right.
        Some(ack) if known > 0 && ack.denies(known) => known.min(status.revision).saturating_sub(1),
        ack => known.max(ack.map_or(0, Ack::delivered).min(status.revision)),
    }
}

/// How the file stands to a status, by what its writer said last and, where that is not enough, by how long it has lagged
/// behind.
pub(super) fn delivery(
    status: &FeatureRolloutStatus,
    ack: Option<&Ack>,
    waits: impl FnOnce() -> Duration,
) -> Delivery {
    if let Some(Ack::Failed { revision, reason, message }) = ack
        && *revision >= status.revision
    {
        return Delivery::Failed(*reason, message.clone());
    }
    if status.is_delivered() {
        return Delivery::Done;
    }
    if waits() < LATE {
        return Delivery::UnderWay;
    }
    let why = match ack {
        Some(Ack::Retrying { message } | Ack::Lost { message, .. }) => message.clone(),
        _ => "the file has not been written for 10 s".to_owned(),
    };
    Delivery::Late(why)
}
