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
        Audience { name: format!("{}{}", Audience::prefix(owner), content(&cohorts)), cohorts }
    }

    /// Whether the name is the one that this content has, whoever owns it.
    pub fn is_named_by_content(&self) -> bool {
        names_content(&self.name, &content(&self.cohorts))
    }

    /// The audience of this name, where it is one of these cohorts in this order, none of which has a condition. Its name
    /// tells whether it is, so that nothing need be stored to find it again.
    pub fn without_conditions<'a>(name: &str, cohorts: impl Iterator<Item = &'a str>) -> Option<Audience> {
        let cohort = |name: &str| AudienceCohort { name: name.to_owned(), matches: Match::default() };
        let audience = Audience { name: name.to_owned(), cohorts: cohorts.map(cohort).collect() };
        audience.is_named_by_content().then_some(audience)
    }

    /// What the names of an owner's audiences begin with. ControllerRevision names are DNS subdomains of 253 characters
    /// at most.
    pub fn prefix(owner: &str) -> String {
        let owner: String = owner.chars().take(200).collect();
        format!("{owner}-")
    }

    /// Names of the cohorts in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cohorts.iter().map(|cohort| cohort.name.as_str())
    }
}

/// Digest of the content of an audience.
fn content(cohorts: &[AudienceCohort]) -> String {
    name_digest(&serde_json::to_vec(cohorts).unwrap_or_default())
}

/// Whether a name that ends in a digest is that of the content with this digest. Names of earlier versions have the first
/// 10 digits of it.
pub fn names_content(name: &str, content: &str) -> bool {
    let digest = name.rsplit_once('-').map(|(_, digest)| digest);
    digest.is_some_and(|digest| digest.len() >= SHORT && content.starts_with(digest))
}

/// Digits of a digest that only has to tell the contents of one owner apart.
const SHORT: usize = 10;

/// The first 10 hexadecimal digits of the SHA-256 of some bytes. Whoever wants to finds other bytes that have them.
pub fn short_digest(bytes: &[u8]) -> String {
    let mut digest = name_digest(bytes);
    digest.truncate(SHORT);
    digest
}

/// The first 32 hexadecimal digits of the SHA-256 of some bytes: so many that nobody finds other bytes that have them.
pub fn name_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(yaml: &str) -> Audience {
        let cohorts: Vec<Cohort> = serde_saphyr::from_str(yaml).unwrap();
        Audience::new("maya-users", &cohorts)
    }

    const STAFF: &str = "[{name: staff, match: {attributes: {role: staff}, expressions: [{key: a, operator: In, \
                         values: [x]}]}}, {name: rest}]";

    /// Another form of the content would make every rollout move to another audience, and believe none that is stored.
    #[test]
    fn names_stay_and_stored_contents_have_them() {
        let audience = audience(STAFF);
        assert_eq!(audience.name, "maya-users-73952d2b8cf6cd6d00cfcdb27c825dd7");
        let stored = serde_json::to_value(&audience).unwrap();
        let read: Audience = serde_json::from_value(stored).unwrap();
        assert!(read == audience && read.is_named_by_content());
    }

    #[test]
    fn an_audience_without_conditions_is_found_by_its_name_and_cohorts() {
        let all = audience("[{name: staff}, {name: rest, match: {}}]");
        assert_eq!(Audience::without_conditions(&all.name, ["staff", "rest"].into_iter()), Some(all.clone()));
        assert_eq!(
            Audience::without_conditions(&all.name, ["rest", "staff"].into_iter()),
            None,
            "another order"
        );
        assert_eq!(Audience::without_conditions(&all.name, ["staff"].into_iter()), None, "one is missing");
        let some = audience(STAFF);
        assert_eq!(Audience::without_conditions(&some.name, some.names()), None, "it has a condition");
    }

    #[test]
    fn another_content_does_not_have_the_name() {
        let audience = audience(STAFF);
        let with = |name: &str, cohorts: &[AudienceCohort]| {
            Audience { name: name.to_owned(), cohorts: cohorts.to_vec() }.is_named_by_content()
        };
        let (name, cohorts) = (audience.name.as_str(), audience.cohorts.as_slice());
        let everyone = AudienceCohort { name: "staff".to_owned(), matches: Match::default() };
        assert!(with(name, cohorts));
        assert!(!with(name, &[everyone, cohorts[1].clone()]), "without its match");
        assert!(!with(name, &cohorts[..1]) && !with(name, &[]));
        let short = &name[..name.len() - 22];
        assert!(with(short, cohorts), "of an earlier version");
        assert!(!with(&short[..short.len() - 1], cohorts));
        assert!(!with("maya-users-", cohorts) && !with("", cohorts) && !with("maya", cohorts));
    }
}
