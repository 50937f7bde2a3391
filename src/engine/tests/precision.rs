//! Instants as clocks and people give them, to the nanosecond.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::random::{EPOCH, cases, rollout};
use super::support::t;
use crate::api::MicroTime;
use crate::api::featurerollout::OnMissed;
use crate::engine::forecast::timeline::{state_at, timeline};

/// Some nanoseconds after [`EPOCH`], by the clock's own type.
fn by_the_clock(nanoseconds: i64) -> Timestamp {
    Timestamp::from(t(EPOCH)) + SignedDuration::from_nanos(nanoseconds)
}

proptest! {
    #![proptest_config(cases(500))]

    /// A start that is taken from the clock once was some nanoseconds later than what the decision called now, for ever.
    #[test]
    fn a_rollout_without_a_start_begins_with_the_clock_and_completes(
        random in rollout(), nanoseconds in 0i64..1_000_000_000_000
    ) {
        let clock = by_the_clock(nanoseconds);
        let now = MicroTime::from(clock);
        let mut plan = random.plan;
        plan.on_missed = OnMissed::OneAtATime;
        plan.start_at = None;
        let found = timeline(&plan, now);
        prop_assert!(found.completed_at.is_some());
        plan.start_at = Some(clock.into());
        prop_assert_eq!(&timeline(&plan, now), &found);
        if let Some(first) = found.entries.first() {
            prop_assert!(first.at >= now);
            let state = state_at(&plan, now, first.at);
            let served: Vec<_> =
                state.cohorts.iter().map(|cohort| (cohort.name.clone(), cohort.decided())).collect();
            prop_assert_eq!(&served, &first.cohorts);
        }
    }
}
