//! The changelog of a FlagSet: what its finished rollouts announced, the newest first.
//!
//! What there is already comes from the text that was written last, what is new from the living rollouts. So a rollout that is
//! deleted keeps its entry, and a changelog that is lost has those of the living again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::announcement::{objection_to_body, objection_to_link, objection_to_title};
use crate::api::{Announcement, FeatureRollout, MicroTime};
use crate::flags::sha256_hex;

mod text;

pub use text::{Heading, KEYS, Texts, texts};

/// One rollout that was completed.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// A URN that stays the same for this rollout and attempt.
    pub id: String,
    /// Name of the rollout.
    pub rollout: String,
    /// Key of its flag.
    pub flag: String,
    /// What is new.
    pub title: String,
    /// What it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// When the rollout was completed.
    pub published_at: MicroTime,
    /// When the words, or whether it is there, changed last.
    pub updated_at: MicroTime,
    /// Since when nobody has the feature any more, by a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<MicroTime>,
}

/// What a living rollout tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Told {
    /// The URN of its entry.
    pub id: String,
    /// Its name.
    pub rollout: String,
    /// Key of its flag.
    pub flag: String,
    /// Its words.
    pub announcement: Announcement,
    /// How far it has come.
    pub standing: Standing,
}

/// How far a rollout has come, as its users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not completed, or not any more.
    UnderWay,
    /// Completed, at this instant.
    Completed(MicroTime),
    /// A rollback that began at this instant has taken it from everybody.
    TakenBack(MicroTime),
}

impl Told {
    /// What a rollout tells; `None` where it announces nothing, what cannot be shown, or where nothing was decided of it.
    pub fn of(rollout: &FeatureRollout) -> Option<Told> {
        let announcement = rollout.spec.announcement.clone()?;
        let status = rollout.status.as_ref().filter(|status| status.uid == rollout.metadata.uid)?;
        let standing = match (status.completed_at, &status.rollback) {
            (Some(at), _) => Standing::Completed(at),
            (None, Some(rollback)) if !status.exposed() => Standing::TakenBack(rollback.at),
            _ => Standing::UnderWay,
        };
        let told = Told {
            id: urn(status.uid.as_deref()?, status.attempt),
            rollout: rollout.metadata.name.clone()?,
            flag: crate::plan::flag_key(rollout).to_owned(),
            announcement,
            standing,
        };
        told.entry(MicroTime::UNIX_EPOCH).can_be_shown().then_some(told)
    }

    fn entry(&self, at: MicroTime) -> Entry {
        Entry {
            id: self.id.clone(),
            rollout: self.rollout.clone(),
            flag: self.flag.clone(),
            title: self.announcement.title.clone(),
            body: self.announcement.body.clone(),
            link: self.announcement.link.clone(),
            published_at: at,
            updated_at: at,
            withdrawn_at: None,
        }
    }
}

impl Entry {
    fn says_the_same(&self, other: &Entry) -> bool {
        (&self.rollout, &self.flag, &self.title, &self.body, &self.link)
            == (&other.rollout, &other.flag, &other.title, &other.body, &other.link)
    }

    /// Whether an entry is one that Sluice may have written. Others' edits are kept as far as they are.
    fn can_be_shown(&self) -> bool {
        let is_short = |text: &str| text.len() <= 253;
        self.id.starts_with("urn:uuid:")
            && self.id.len() == "urn:uuid:".len() + 36
            && self.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':' || b == b'-')
            && is_short(&self.rollout)
            && is_short(&self.flag)
            && objection_to_title(&self.title).is_none()
            && self.body.as_deref().and_then(objection_to_body).is_none()
            && self.link.as_deref().and_then(objection_to_link).is_none()
    }
}

/// The URN of an entry: a UUID made of the rollout's UID and its attempt.
fn urn(uid: &str, attempt: i32) -> String {
    let digest = sha256_hex(format!("sluice.dev/changelog/{uid}/{attempt}").as_bytes());
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    // Version 8, of the maker's own design, and the variant of RFC 9562.
    format!("urn:uuid:{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// The entries of a changelog as it was written, the newest first, at most so many; what is none is passed over, unread: whoever may
/// write the ConfigMap may have written anything.
pub fn read(json: &str, most: usize) -> Vec<Entry> {
    #[derive(Default, Deserialize)]
    struct Written<'a> {
        #[serde(borrow, default)]
        entries: Vec<&'a RawValue>,
    }
    let written: Written<'_> = serde_json::from_str(json).unwrap_or_default();
    let read = |entry: &RawValue| {
        let entry: Entry = serde_json::from_str(entry.get()).ok()?;
        Some(entry).filter(Entry::can_be_shown)
    };
    let mut seen = BTreeSet::new();
    let entries = written.entries.into_iter().filter_map(read);
    entries.filter(|entry| seen.insert(entry.id.clone())).take(most).collect()
}

/// The entries after what living rollouts tell at `now`, the newest first, at most so many.
///
/// A rollout and attempt has one entry, which follows its words as long as the rollout has any; another attempt has one of its
/// own where it has other words. One that a rollback took from
/// everybody stays and says so, since whoever reads a feed has read it; when it is completed again, that is taken back.
pub fn grow(mut entries: Vec<Entry>, told: &[Told], now: MicroTime, most: usize) -> Vec<Entry> {
    for told in told {
        let completed_at = match told.standing {
            Standing::Completed(at) => at,
            Standing::TakenBack(_) | Standing::UnderWay => now,
        };
        let fresh = told.entry(completed_at);
        let place = entries.iter().position(|entry| entry.id == told.id);
        // The same rollout has another URN after a restore, and in another attempt, and the same words are nothing new.
        let place = place.or_else(|| entries.iter().position(|entry| entry.says_the_same(&fresh)));
        let Some(entry) = place.and_then(|place| entries.get_mut(place)) else {
            if matches!(told.standing, Standing::Completed(_)) {
                entries.push(fresh);
            }
            continue;
        };
        let withdrawn_at = match told.standing {
            Standing::Completed(_) => None,
            Standing::TakenBack(at) => entry.withdrawn_at.or(Some(at)),
            Standing::UnderWay => entry.withdrawn_at,
        };
        if !entry.says_the_same(&fresh) || entry.withdrawn_at != withdrawn_at {
            let (id, published_at) = (entry.id.clone(), entry.published_at);
            *entry = Entry { id, published_at, updated_at: now.max(published_at), withdrawn_at, ..fresh };
        }
    }
    entries.sort_by(|a, b| (b.published_at, &a.id).cmp(&(a.published_at, &b.id)));
    entries.truncate(most);
    entries
}

#[cfg(test)]
mod tests;
