//! How many revisions that nobody pins any more an owner may have, and a namespace: whoever edits at full speed makes one with each edit,
//! and whoever creates rollouts and deletes them one with each of these.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::api::MicroTime;

/// Namespace and name.
type ObjectKey = (String, String);

/// Revisions of one owner that are kept beside those in use, for whoever still works by them.
pub const MOST: usize = 8;
/// Revisions of all owners of a namespace, of those that are gone, too, that are kept beside those in use.
const MOST_OF_NAMESPACE: usize = 256;

/// A revision that nobody pins.
#[derive(Clone, Debug)]
pub struct Unpinned {
    /// Its namespace and name.
    pub key: ObjectKey,
    /// When it was stored.
    pub created: Option<MicroTime>,
    /// For how long nobody has been known to pin it.
    pub for_: Duration,
}

/// Those that have been unpinned for long enough: the newest of each owner, and of each namespace, for as long as `kept`, the others for as
/// long as `crowded`.
pub fn expired(mut unpinned: Vec<Unpinned>, kept: Duration, crowded: Duration) -> Vec<ObjectKey> {
    unpinned.sort_by_key(|revision| std::cmp::Reverse(revision.created));
    let mut of_owner = BTreeMap::<(String, String), usize>::new();
    let mut of_namespace = BTreeMap::<String, usize>::new();
    let is_expired = |revision: &Unpinned| {
        let (namespace, name) = &revision.key;
        let newer = of_owner.entry((namespace.clone(), owner(name).to_owned())).or_default();
        *newer += 1;
        let mut is_crowded = *newer > MOST;
        if !is_crowded {
            let newer = of_namespace.entry(namespace.clone()).or_default();
            *newer += 1;
            is_crowded = *newer > MOST_OF_NAMESPACE;
        }
        revision.for_ >= if is_crowded { kept.min(crowded) } else { kept }
    };
    unpinned.retain(is_expired);
    unpinned.into_iter().map(|revision| revision.key).collect()
}

/// What comes before the digest in a revision's name.
fn owner(name: &str) -> &str {
    name.rsplit_once('-').map_or("", |(owner, _)| owner)
}

/// The names of what was stored for each owner, the newest last.
#[derive(Debug, Default)]
pub struct Stored(HashMap<ObjectKey, VecDeque<String>>);

impl Stored {
    /// Notes that an owner uses a name from now on.
    pub fn uses(&mut self, owner: &ObjectKey, name: &str) {
        let names = self.0.entry(owner.clone()).or_default();
        names.retain(|known| known != name);
        names.push_back(name.to_owned());
    }

    /// The names that are one too many, which are forgotten. Those in use are none.
    pub fn too_many(&mut self, owner: &ObjectKey, is_used: impl Fn(&str) -> bool) -> Vec<String> {
        let Some(names) = self.0.get_mut(owner) else { return Vec::new() };
        let mut over = names.len().saturating_sub(MOST + 1);
        let mut gone = Vec::new();
        names.retain(|name| {
            let goes = over > 0 && !is_used(name);
            if goes {
                over -= 1;
                gone.push(name.clone());
            }
            !goes
        });
        gone
    }

    /// Forgets an owner.
    pub fn forget(&mut self, owner: &ObjectKey) {
        self.0.remove(owner);
    }

    /// How many owners have something.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpinned(name: &str, second: i64, minutes: u64) -> Unpinned {
        Unpinned {
            key: ("ns".to_owned(), name.to_owned()),
            created: MicroTime::from_second(second).ok(),
            for_: Duration::from_secs(60 * minutes),
        }
    }

    fn names(expired: Vec<ObjectKey>) -> Vec<String> {
        expired.into_iter().map(|(_, name)| name).collect()
    }

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_newest_of_each_owner_are_kept_for_an_hour_and_a_crowd_of_older_ones_for_a_minute() {
        let mut all: Vec<Unpinned> =
            (0..20).map(|i| unpinned(&format!("web-guard-{i}"), i, if i == 19 { 60 } else { 2 })).collect();
        all.extend((0..8).map(|i| unpinned(&format!("web-{i}"), i, 2)));
        all.push(unpinned("other-1", 1, 59));
        all.push(unpinned("other-2", 2, 60));
        let mut expired = names(expired(all, HOUR, MINUTE));
        expired.sort();
        let mut wanted: Vec<String> = (0..12).map(|i| format!("web-guard-{i}")).collect();
        wanted.extend(["other-2".to_owned(), "web-guard-19".to_owned()]);
        wanted.sort();
        assert_eq!(expired, wanted);
    }

    #[test]
    fn of_many_owners_of_a_namespace_the_newest_are_kept_for_an_hour() {
        let mut all: Vec<Unpinned> = (0..1000).map(|i| unpinned(&format!("r{i:04}-1"), i, 2)).collect();
        let elsewhere = Unpinned { key: ("calm".to_owned(), "web-1".to_owned()), ..unpinned("web-1", 0, 2) };
        all.push(elsewhere);
        let mut expired = names(expired(all, HOUR, MINUTE));
        expired.sort();
        let wanted: Vec<String> = (0..1000 - 256).map(|i| format!("r{i:04}-1")).collect();
        assert_eq!(expired, wanted);
    }

    #[test]
    fn what_has_just_been_unpinned_stays_however_many_there_are() {
        let all: Vec<Unpinned> = (0..100).map(|i| unpinned(&format!("web-{i}"), i, 0)).collect();
        assert_eq!(expired(all, HOUR, MINUTE), []);
    }

    #[test]
    fn an_owner_that_edits_at_full_speed_has_only_so_many_and_what_is_used_stays() {
        let web = ("ns".to_owned(), "web".to_owned());
        let mut stored = Stored::default();
        let mut gone = Vec::new();
        for i in 0..100 {
            stored.uses(&web, &format!("g{i}"));
            // An edit is taken back now and then.
            stored.uses(&web, "g0");
            gone.extend(stored.too_many(&web, |name| name == "g3" || name == format!("g{i}")));
        }
        let wanted: Vec<String> = (1..100 - 7).filter(|i| *i != 3).map(|i| format!("g{i}")).collect();
        assert_eq!(gone, wanted);
        assert_eq!(stored.0[&web].len(), MOST + 1);
        assert_eq!(stored.too_many(&("ns".to_owned(), "other".to_owned()), |_| false), Vec::<String>::new());
        stored.forget(&web);
        assert_eq!(stored.len(), 0);
    }
}
