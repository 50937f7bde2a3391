//! The audience: names, order and match of the cohorts. A rollout pins the one it serves.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::cohort::{Cohort, Match};

/// The part of a list of cohorts that decides who gets what.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Audience {
    /// Name of the set or rollout, and the digest of the content: also the ControllerRevision's name.
    pub name: String,
    /// The cohorts in order; first match wins.
    pub cohorts: Vec<AudienceCohort>,
}

/// A cohort's name and condition.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AudienceCohort {
    /// Name.
    pub name: String,
    /// Whom it takes in; everyone when empty.
    #[serde(default, rename = "match")]
    pub matches: Match,
}

impl Audience {
    /// The audience of these cohorts, named after `owner` and its content.
    pub fn new(owner: &str, cohorts: &[Cohort]) -> Audience {
        let cohorts: Vec<AudienceCohort> = cohorts
            .iter()
            .map(|cohort| AudienceCohort {
                name: cohort.name.clone(),
                matches: cohort.matches.clone().unwrap_or_default(),
            })
            .collect();
        let content = serde_json::to_vec(&cohorts).unwrap_or_default();
        Audience { name: format!("{}{}", Audience::prefix(owner), short_digest(&content)), cohorts }
    }

    /// What the names of an owner's audiences begin with. ControllerRevision names are DNS subdomains of 253 characters
    /// at most.
    pub fn prefix(owner: &str) -> String {
        let owner: String = owner.chars().take(230).collect();
        format!("{owner}-")
    }

    /// Names of the cohorts in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cohorts.iter().map(|cohort| cohort.name.as_str())
    }
}

/// The first 10 hexadecimal digits of the SHA-256 of some bytes.
pub fn short_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}
