//! Rollouts for the tests of this module.

use serde_json::json;

use super::fragment::{Fragment, Identity, fragment};
use super::merge::{Live, Merge, Merged, SetInfo, merge};
use crate::api::featurerollout::VariantNames;
use crate::api::status::{AudienceRef, CohortStatus};
use crate::api::{FeatureRolloutStatus, Match, Percent, Tier};
use crate::plan::{Audience, AudienceCohort, Feature};

pub fn feature(key: &str) -> Feature {
    Feature {
        key: key.to_owned(),
        variants: vec![("enabled".to_owned(), json!(true)), ("disabled".to_owned(), json!(false))],
        control: "disabled".to_owned(),
        treatment: "enabled".to_owned(),
        bucket_by: "targetingKey".to_owned(),
        salt: key.to_owned(),
        title: None,
        owner: None,
        tier: Tier::default(),
        variant_names: VariantNames::default(),
        announcement: None,
    }
}

pub fn identity(name: &str, uid: &str) -> Identity {
    Identity { namespace: "maya".to_owned(), name: name.to_owned(), uid: uid.to_owned() }
}

/// Cohorts told apart by the attribute `segment`.
pub fn segments(names: &[&str]) -> Audience {
    Audience {
        name: "maya-users-0123456789".to_owned(),
        cohorts: names
            .iter()
            .map(|name| AudienceCohort {
                name: (*name).to_owned(),
                matches: Match {
                    attributes: [("segment".to_owned(), (*name).to_owned())].into(),
                    ..Match::default()
                },
            })
            .collect(),
    }
}

/// One cohort that takes in everyone.
pub fn everyone() -> Audience {
    Audience {
        name: "everyone-0123456789".to_owned(),
        cohorts: vec![AudienceCohort { name: "everyone".to_owned(), matches: Match::default() }],
    }
}

pub fn percent(thousandths: u32) -> Percent {
    Percent::from_thousandths(thousandths).unwrap()
}

/// A status that serves these thousandths of a per cent to the cohorts in order.
pub fn status(audience: &Audience, served: &[u32], revision: i64) -> FeatureRolloutStatus {
    FeatureRolloutStatus {
        uid: Some("u".to_owned()),
        attempt: 1,
        revision,
        audience: Some(AudienceRef { name: audience.name.clone() }),
        cohorts: audience
            .names()
            .zip(served)
            .map(|(name, served)| CohortStatus::deciding(name, percent(*served)))
            .collect(),
        ..FeatureRolloutStatus::default()
    }
}

/// Fragment of the rollout `key` with this UID, for everyone.
pub fn member(key: &str, uid: &str, revision: i64, served: u32) -> Fragment {
    let audience = everyone();
    fragment(&feature(key), &identity(key, uid), &status(&audience, &[served], revision), &audience)
}

/// The first file of a FlagSet that has no members.
pub fn alone(set: &SetInfo) -> Merged {
    merge(&Merge {
        live: &Live::Missing,
        last_good: None,
        at_control: None,
        set: Some(set),
        candidates: &[],
        living: None,
    })
}
