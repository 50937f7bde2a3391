use rstest::rstest;

use super::*;
use crate::api::FeatureRolloutStatus;
use crate::api::status::AudienceRef;

const PHASES: &str = "phases: [{name: ga, ramp: {percents: [10], every: 1h}}]";

/// A rollout with the cohorts of its own or of a set, which pins the audience of the set as it was, or as it is known here.
fn moves(own_cohorts: bool, pins_what_is_known: bool) -> bool {
    let set = CohortSet::new("users", serde_saphyr::from_str("{cohorts: [{name: all}]}").unwrap());
    let cohorts = if own_cohorts { "cohorts: [{name: all}]" } else { "cohortSetRef: {name: users}" };
    let spec = serde_saphyr::from_str(&format!("{cohorts}\n{PHASES}\n")).unwrap();
    let mut rollout = FeatureRollout::new("r", spec);
    let plan = plan::compile(&rollout, Refs { cohort_set: Some(&set), ..Refs::default() }).unwrap();
    let pinned = if pins_what_is_known { plan.audience.name.clone() } else { "users-newer".to_owned() };
    rollout.status = Some(FeatureRolloutStatus {
        audience: Some(AudienceRef { name: pinned }),
        ..FeatureRolloutStatus::default()
    });
    undoes(&rollout, None, &plan)
}

#[rstest]
#[case::to_what_a_stale_set_says(false, false, true)]
#[case::nowhere(false, true, false)]
#[case::by_its_own_spec(true, false, false)]
fn a_set_that_would_move_an_audience_is_read_again_first(
    #[case] own_cohorts: bool,
    #[case] pins_what_is_known: bool,
    #[case] expected: bool,
) {
    assert_eq!(moves(own_cohorts, pins_what_is_known), expected);
}
