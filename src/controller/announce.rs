//! Revisions of a rollout's fragment: the next one, and the one that is announced before its time.

use super::writer::Ack;
use crate::api::status::{Announced, HIGHEST_REVISION};
use crate::api::{FeatureRolloutStatus, MicroTime};
use crate::engine::{self, Facts};
use crate::flags::{self, Identity};
use crate::plan::{Audience, Feature, Plan};

/// Gives the fragment its revision: a new one if it says something else than the last, or than a file that is `beyond` it.
///
/// No two fragments of a rollout have the same: what was announced keeps its own, whether or not it ever comes.
pub(super) fn stamp(
    feature: &Feature,
    identity: &Identity,
    status: &mut FeatureRolloutStatus,
    audience: &Audience,
    beyond: bool,
) -> flags::Fragment {
    let fragment = flags::fragment(feature, identity, status, audience);
    if !renumber(status, flags::digest(&fragment), beyond) {
        return fragment;
    }
    flags::fragment(feature, identity, status, audience)
}

/// Gives a status the revision of a fragment with this digest; says whether that is a new one.
fn renumber(status: &mut FeatureRolloutStatus, digest: String, beyond: bool) -> bool {
    if status.fragment.as_deref() == Some(digest.as_str()) && !beyond {
        return false;
    }
    let next = |revision: i64| revision.saturating_add(1).min(HIGHEST_REVISION);
    status.revision = match status.announced.as_ref().filter(|next| next.revision > status.revision) {
        Some(announced) if announced.fragment == digest => announced.revision,
        Some(announced) => next(announced.revision),
        None => next(status.revision),
    };
    status.fragment = Some(digest);
    true
}

/// Whether the file holds what was announced and no status says yet: the process that put it there was killed, or something
/// else was decided meanwhile.
pub(super) fn is_beyond(status: &FeatureRolloutStatus, ack: Option<&Ack>) -> bool {
    let Some(Ack::Delivered { revision } | Ack::Newer { revision }) = ack else { return false };
    let announced = status.announced.as_ref().map_or(0, |announced| announced.revision);
    *revision > status.revision && *revision <= announced
}

/// Whether this is exactly what was announced.
pub(super) fn is_announced(prior: &FeatureRolloutStatus, status: &FeatureRolloutStatus) -> bool {
    prior.announced.as_ref().is_some_and(|announced| {
        announced.revision == status.revision
            && status.fragment.as_deref() == Some(announced.fragment.as_str())
    })
}

/// What the file holds next if nothing but time passes until `at`.
///
/// A rollout that is paused or rolled back announces nothing. Neither does one that is being measured, mostly: at `at` its present
/// measurements will be too old.
pub(super) fn announce(
    plan: &Plan,
    identity: &Identity,
    status: &FeatureRolloutStatus,
    facts: &Facts,
    audience: &Audience,
    at: MicroTime,
) -> Option<Announced> {
    if !status.pauses.is_empty() || status.rollback.is_some() || status.retry.is_some() {
        return None;
    }
    let facts = Facts { delivered: true, ..facts.clone() };
    let mut next = engine::decide(plan, status, &facts, at).status;
    if next.audience != status.audience {
        return None;
    }
    let fragment = flags::digest(&flags::fragment(&plan.feature, identity, &next, audience));
    let is_new = renumber(&mut next, fragment.clone(), false);
    is_new.then_some(Announced { revision: next.revision, fragment })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::FeatureRollout;
    use crate::api::status::PauseCause;
    use crate::engine::decide;
    use crate::plan::{Refs, compile};

    fn plan(spec: &str) -> Plan {
        compile(&FeatureRollout::new("r", serde_saphyr::from_str(spec).unwrap()), Refs::default()).unwrap()
    }

    fn identity() -> Identity {
        Identity { namespace: "ns".to_owned(), name: "r".to_owned(), uid: "uid".to_owned() }
    }

    fn facts() -> Facts {
        Facts::favourable("uid")
    }

    const TWO: &str = "{cohorts: [{name: all}], phases: [{name: ga, ramp: {percents: [10, 50], every: 1h}}]}";

    /// The first decision on a plan, stamped, and when the next one is due.
    fn begun(plan: &Plan, now: MicroTime) -> (FeatureRolloutStatus, Option<MicroTime>) {
        let decision = decide(plan, &FeatureRolloutStatus::default(), &facts(), now);
        let mut status = decision.status;
        stamp(&plan.feature, &identity(), &mut status, &plan.audience, false);
        (status, decision.wake_at)
    }

    #[rstest]
    #[case::steps(TWO, 2)]
    #[case::dates(
        "{cohorts: [{name: all}], schedule: {startAt: '2026-01-10T00:00:00Z'}, phases: [{name: ga, ramp: {percents: [1, 2, 3], every: 24h}}]}",
        3
    )]
    #[case::delays(
        "{cohorts: [{name: beta, share: 10, match: {attributes: {a: b}}}, {name: all, delay: 2h, share: 90}], phases: [{name: ga, ramp: {percents: [10, 60], every: 24h}}]}",
        3
    )]
    fn what_is_announced_is_what_comes(#[case] spec: &str, #[case] changes: usize) {
        let plan = plan(spec);
        let start: MicroTime = "2026-01-01T00:00:00Z".parse().unwrap();
        let (mut status, mut wake_at) = begun(&plan, start);
        let mut seen = usize::from(status.exposed());
        while let Some(at) = wake_at {
            let announced = announce(&plan, &identity(), &status, &facts(), &plan.audience, at);
            let before = FeatureRolloutStatus { announced: announced.clone(), ..status };
            let late = at + SignedDuration::from_secs(3);
            let decision = decide(&plan, &before, &facts(), late);
            (status, wake_at) = (decision.status, decision.wake_at);
            stamp(&plan.feature, &identity(), &mut status, &plan.audience, false);
            assert_eq!(announced.is_some(), status.revision != before.revision);
            assert_eq!(announced.is_some(), is_announced(&before, &status), "{announced:?}");
            seen += usize::from(announced.is_some());
            status.announced = None;
        }
        assert!(status.completed_at.is_some());
        assert_eq!(seen, changes);
    }

    /// Sets every number that is counted on from; those of a step are narrower.
    fn numbers(value: &mut Value, number: i64) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| numbers(item, number)),
            Value::Object(object) => object.iter_mut().for_each(|(key, item)| match key.as_str() {
                "attempt" | "number" | "of" => *item = i32::try_from(number).unwrap_or(i32::MAX).into(),
                "revision" | "deliveredRevision" | "publishedSeq" | "seq" | "observedGeneration" => {
                    *item = number.into();
                }
                _ => numbers(item, number),
            }),
            _ => {}
        }
    }

    /// A revision of `i64::MAX` in a file became one of -2⁶³ in a status.
    #[rstest]
    fn no_number_of_a_status_is_counted_on_beyond_its_type(
        #[values(i64::MAX, i64::MIN, i64::from(i32::MAX), i64::from(i32::MIN), -1, 0)] number: i64,
    ) {
        let plan = plan(TWO);
        let start: MicroTime = "2026-01-01T00:00:00Z".parse().unwrap();
        let (status, wake_at) = begun(&plan, start);
        let at = wake_at.unwrap();
        let mut stored = serde_json::to_value(&status).unwrap();
        stored["announced"] = json!({"revision": 1, "fragment": "x"});
        numbers(&mut stored, number);
        let stored: FeatureRolloutStatus = serde_json::from_value(stored).unwrap();
        let mut next = decide(&plan, &stored, &facts(), at).status;
        stamp(&plan.feature, &identity(), &mut next, &plan.audience, true);
        assert!(next.revision > number || next.revision == HIGHEST_REVISION);
        assert!(next.last_seq() >= stored.last_seq());
        announce(&plan, &identity(), &next, &facts(), &plan.audience, at);
        is_beyond(&stored, Some(&Ack::Newer { revision: number }));
    }

    #[test]
    fn a_rollout_that_stands_still_announces_nothing() {
        let plan = plan(TWO);
        let (status, wake_at) = begun(&plan, "2026-01-01T00:00:00Z".parse().unwrap());
        let at = wake_at.unwrap();
        let announce = |status: &FeatureRolloutStatus| {
            announce(&plan, &identity(), status, &facts(), &plan.audience, at)
        };
        assert!(announce(&status).is_some());
        let mut paused = status.clone();
        engine::take_to_control(&mut paused, at);
        assert!(paused.pause(PauseCause::Emergency).is_some());
        assert_eq!(announce(&paused), None);
    }

    #[rstest]
    #[case::nothing_said(None, false)]
    #[case::as_said(Some(Ack::Delivered { revision: 4 }), false)]
    #[case::as_announced(Some(Ack::Delivered { revision: 6 }), true)]
    #[case::as_announced_before_something_else_was(Some(Ack::Newer { revision: 5 }), true)]
    #[case::of_a_status_that_was_lost(Some(Ack::Newer { revision: 7 }), false)]
    fn a_file_is_beyond_its_status_where_it_holds_what_is_only_announced(
        #[case] ack: Option<Ack>,
        #[case] expected: bool,
    ) {
        let announced = Some(Announced { revision: 6, fragment: "x".to_owned() });
        let status = FeatureRolloutStatus { revision: 4, announced, ..FeatureRolloutStatus::default() };
        assert_eq!(is_beyond(&status, ack.as_ref()), expected);
    }

    #[test]
    fn what_was_announced_keeps_its_revision_for_itself() {
        let plan = plan(TWO);
        let (mut status, wake_at) = begun(&plan, "2026-01-01T00:00:00Z".parse().unwrap());
        let at = wake_at.unwrap();
        status.announced = announce(&plan, &identity(), &status, &facts(), &plan.audience, at);
        assert_eq!(status.announced.as_ref().unwrap().revision, 2);
        let next = |mut status: FeatureRolloutStatus, beyond| {
            stamp(&plan.feature, &identity(), &mut status, &plan.audience, beyond);
            status.revision
        };
        assert_eq!(next(status.clone(), false), 1, "unchanged");
        assert_eq!(next(status.clone(), true), 3, "newer than what is in the file");
        assert_eq!(next(decide(&plan, &status, &facts(), at).status, false), 2, "as announced");
        let mut other = status.clone();
        engine::leave_at_control(&mut other, at);
        assert_eq!(next(other, false), 3, "something else");
    }
}
