//! Every writer, and what they have said. What is kept of a file goes with its writer, what is kept of a rollout with the
//! rollout.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::api::ObjectMeta;

use super::found::Remembered;
use super::mailbox::Mailbox;
use super::waiting::Waiting;
use super::{Ack, FileReport, Percentages, feature_flag};
use crate::api::flagset::{FileOutput, Orphan};
use crate::clock;
use crate::controller::cache::{ObjectKey, Packer};
use crate::controller::index::{Index, SetId};
use crate::flags::Verdict;

mod texts;

pub(super) use texts::Keeps;

/// Every writer, and what they have said.
#[derive(Default)]
pub struct Hub(Mutex<Inner>, feature_flag::Known, Packer);

#[derive(Default)]
struct Inner {
    // Boxed: a table has room for up to twice as many entries as it has.
    files: HashMap<SetId, Box<Kept>>,
    rollouts: HashMap<ObjectKey, Box<Said>>,
    /// Whose file an output holds: of several where more than one FlagSet names it.
    outputs: HashMap<ObjectKey, Vec<SetId>>,
}

/// What is kept of a file.
#[derive(Default)]
struct Kept {
    mailbox: Arc<Mailbox>,
    report: Option<FileReport>,
    /// What each output was last seen or written with, by this process. A list, as most files have one.
    outputs: Vec<(ObjectKey, Option<Remembered>)>,
    /// UID and generation of the FlagSet that its writer was last told of.
    generation: Option<(String, i64)>,
    /// What is wrong with the FlagSet's own flags, and in which UID and generation of it.
    verdict: Option<((String, i64), Arc<Verdict>)>,
    /// When the FlagSet's status was last written.
    status_written: Option<Instant>,
}

/// What is kept of a rollout.
#[derive(Default)]
struct Said {
    /// UID of the rollout, and what was said of it.
    ack: Option<(String, Ack)>,
    /// UID of the rollout, and the percentages that were seen in a file that does not hold what it wants.
    seen: Option<(String, Percentages)>,
    waiting: Waiting,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn feature_flags(&self) -> &feature_flag::Known {
        &self.1
    }

    /// The mailbox of a set's writer.
    pub(super) fn mailbox(&self, set: &SetId) -> Arc<Mailbox> {
        let mut inner = self.lock();
        if let Some(kept) = inner.files.get(set) {
            return kept.mailbox.clone();
        }
        let kept = Box::<Kept>::default();
        let mailbox = kept.mailbox.clone();
        inner.files.insert(set.clone(), kept);
        mailbox
    }

    /// The mailboxes of all writers.
    pub(super) fn mailboxes(&self) -> Vec<(SetId, Arc<Mailbox>)> {
        self.lock().files.iter().map(|(set, kept)| (set.clone(), kept.mailbox.clone())).collect()
    }

    /// Lets a set's writer end and forgets its file, unless the set `exists`: nobody can begin to use it meanwhile.
    /// Returns where it was written to.
    pub(super) fn end(&self, set: &SetId, exists: impl FnOnce() -> bool) -> Option<Vec<ObjectKey>> {
        let mut inner = self.lock();
        if exists() {
            return None;
        }
        self.feature_flags().forget(set);
        let Some(kept) = inner.files.remove(set) else { return Some(Vec::new()) };
        kept.mailbox.end();
        for (output, _) in &kept.outputs {
            inner.no_output(output, set);
        }
        Some(kept.outputs.into_iter().map(|(output, _)| output).collect())
    }

    /// What is wrong with the flags of a FlagSet's own, where that was found of this UID and generation.
    pub(super) fn verdict(&self, set: &SetId, of: &(String, i64)) -> Option<Arc<Verdict>> {
        let inner = self.lock();
        let known = inner.files.get(set)?.verdict.as_ref();
        known.filter(|(known, _)| known == of).map(|(_, verdict)| verdict.clone())
    }

    /// Keeps what was found, as long as the set has a writer.
    pub(super) fn keep_verdict(&self, set: &SetId, of: (String, i64), verdict: Arc<Verdict>) {
        if let Some(kept) = self.lock().files.get_mut(set) {
            kept.verdict = Some((of, verdict));
        }
    }

    /// Whether a set has a writer.
    pub fn has(&self, set: &SetId) -> bool {
        self.lock().files.contains_key(set)
    }

    /// Notes a FeatureFlag that a set's writer has seen.
    pub(super) fn note_feature_flag(&self, set: &SetId, object: &ObjectMeta) {
        let inner = self.lock();
        if inner.files.contains_key(set) {
            self.1.note(set, object);
        }
    }

    /// What was said last of a rollout with this UID.
    pub fn ack(&self, key: &ObjectKey, uid: &str) -> Option<Ack> {
        let inner = self.lock();
        let said = inner.rollouts.get(key)?.ack.as_ref();
        said.filter(|(of, _)| of == uid).map(|(_, ack)| ack.clone())
    }

    /// What a file gives that does not hold what a rollout with this UID wants of it, where that was seen.
    pub fn seen(&self, key: &ObjectKey, uid: &str) -> Option<Percentages> {
        let inner = self.lock();
        let seen = inner.rollouts.get(key)?.seen.as_ref();
        seen.filter(|(of, _)| of == uid).map(|(_, percentages)| percentages.clone())
    }

    /// Notes what was said of a rollout, and what was `seen` in its file; says whether the first is news. Of a rollout that is
    /// gone it is none.
    pub(super) fn say(
        &self,
        index: &Index,
        key: &ObjectKey,
        uid: &str,
        ack: Ack,
        seen: Option<Percentages>,
    ) -> bool {
        let said = Some((uid.to_owned(), ack));
        let mut inner = self.lock();
        if !index.knows(key) {
            return false;
        }
        let known = inner.rollouts.entry(key.clone()).or_default();
        match (&said, seen) {
            (Some((_, Ack::Delivered { .. } | Ack::Removed)), _) => known.seen = None,
            (_, Some(percentages)) => known.seen = Some((uid.to_owned(), percentages)),
            // What was seen last is still the best that is known.
            (_, None) => {}
        }
        let news = known.ack != said;
        known.ack = said;
        news
    }

    /// For how long, in real time, a file has not held what a rollout decides: `revision` now, and it is known to hold
    /// `delivered`. It waits from now on if it has not waited before, or if what it waited for has come.
    pub fn waits(&self, index: &Index, key: &ObjectKey, revision: i64, delivered: i64) -> Duration {
        let mut inner = self.lock();
        if !index.knows(key) {
            return Duration::ZERO;
        }
        inner.rollouts.entry(key.clone()).or_default().waiting.go_on(revision, delivered, clock::monotonic())
    }

    /// Says that nothing of a rollout waits to be delivered.
    pub fn settled(&self, key: &ObjectKey) {
        if let Some(said) = self.lock().rollouts.get_mut(key) {
            said.waiting = Waiting::default();
        }
    }

    /// Forgets a rollout that is gone, and what it wanted of its file.
    pub fn forget(&self, key: &ObjectKey, set: &SetId) {
        let mut inner = self.lock();
        inner.rollouts.remove(key);
        if let Some(kept) = inner.files.get(set) {
            kept.mailbox.forget(key);
        }
    }

    /// Whether a rollout wants something of its file that it does not hold yet, as far as this process has said so.
    pub fn is_wanted(&self, set: &SetId, key: &ObjectKey) -> bool {
        let inner = self.lock();
        inner.files.get(set).is_some_and(|kept| kept.mailbox.lock().offers.contains_key(key))
    }

    /// What a FlagSet's status should say of its file.
    pub fn report(&self, set: &SetId) -> Option<FileReport> {
        self.lock().files.get(set)?.report.clone()
    }

    /// Where a FlagSet's file was looked for last, and whether it was there.
    pub(super) fn seen_outputs(&self, set: &SetId) -> BTreeMap<FileOutput, bool> {
        let inner = self.lock();
        let report = inner.files.get(set).and_then(|kept| kept.report.as_ref());
        report.map(|report| report.outputs.clone()).unwrap_or_default()
    }

    /// Notes what a file holds; says whether it is news. `listed` are the orphans that the FlagSet's status names, of which `most` are kept
    /// as they are.
    pub(super) fn set_report(
        &self,
        set: &SetId,
        mut report: FileReport,
        listed: &[Orphan],
        most: usize,
    ) -> bool {
        let mut inner = self.lock();
        let Some(kept) = inner.files.get_mut(set) else { return false };
        let before = kept.report.as_ref().map(|before| &before.orphans);
        report.orphans = Box::new(report.orphans.after(before.map(AsRef::as_ref), listed, most));
        let news = kept.report.as_ref() != Some(&report);
        kept.report = Some(report);
        news
    }

    /// Notes where a set's file is written to; what was kept of other places is forgotten.
    pub(super) fn set_outputs(&self, set: &SetId, outputs: &[ObjectKey]) {
        let mut inner = self.lock();
        let Inner { files, outputs: owners, .. } = &mut *inner;
        let Some(kept) = files.get_mut(set) else { return };
        let gone = kept.outputs.extract_if(.., |(output, _)| !outputs.contains(output));
        let gone: Vec<ObjectKey> = gone.map(|(output, _)| output).collect();
        for output in outputs {
            // Two keys of one ConfigMap are one output here.
            if kept.outputs.iter().all(|(known, _)| known != output) {
                push(&mut kept.outputs, (output.clone(), None));
                push(owners.entry(output.clone()).or_default(), set.clone());
            }
        }
        gone.iter().for_each(|output| inner.no_output(output, set));
        self.1.keep_only(set, outputs);
    }

    /// What an output of a set was last seen or written with, by this process.
    pub(super) fn remembered(&self, set: &SetId, output: &ObjectKey) -> Option<Remembered> {
        let inner = self.lock();
        let (_, kept) = inner.files.get(set)?.outputs.iter().find(|(known, _)| known == output)?;
        kept.clone()
    }

    /// Notes that a FlagSet's writer is told of a generation; says whether that is news.
    pub(super) fn tell_generation(&self, set: &SetId, uid: String, generation: i64) -> bool {
        let mut inner = self.lock();
        let Some(kept) = inner.files.get_mut(set) else { return false };
        // A set that was deleted and created again counts from 1 again.
        let told = Some((uid, generation));
        let news = kept.generation != told;
        kept.generation = told;
        news
    }

    /// How much of `spacing`, in real time, is left until a FlagSet's status may be written again; where nothing is, notes
    /// that it is written now.
    pub fn too_soon(&self, set: &SetId, spacing: Duration) -> Option<Duration> {
        let mut inner = self.lock();
        let kept = inner.files.get_mut(set)?;
        clock::spaced(&mut kept.status_written, spacing)
    }

    /// The sets whose file a ConfigMap holds or is to hold.
    pub fn sets_of_config_map(&self, key: &ObjectKey) -> Vec<SetId> {
        self.lock().outputs.get(key).into_iter().flatten().cloned().collect()
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 6] {
        let inner = self.lock();
        [
            ("writers", inner.files.len()),
            ("outputs", inner.files.values().map(|kept| kept.outputs.len()).sum()),
            ("output_owners", inner.outputs.len()),
            ("answers", inner.rollouts.len()),
            ("feature_flags", self.feature_flags().len()),
            ("put_off", inner.files.values().map(|kept| kept.mailbox.lock().put_off.len()).sum()),
        ]
    }
}

impl Inner {
    fn no_output(&mut self, output: &ObjectKey, set: &SetId) {
        if let Some(sets) = self.outputs.get_mut(output) {
            sets.retain(|other| other != set);
            if sets.is_empty() {
                self.outputs.remove(output);
            }
        }
    }
}

/// Adds to a list that mostly has one entry: left to itself it begins with room for four.
fn push<T>(list: &mut Vec<T>, entry: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(entry);
}

#[cfg(test)]
mod tests {
    use super::super::Orphans;
    use super::*;

    fn orphans(keys: &[&str]) -> Vec<Orphan> {
        let orphan = |key: &&str| Orphan {
            key: (*key).to_owned(),
            rollout: (*key).to_owned(),
            uid: format!("uid-{key}"),
        };
        keys.iter().map(orphan).collect()
    }

    fn report(keys: &[&str]) -> FileReport {
        FileReport { orphans: Box::new(Orphans::found(orphans(keys))), ..FileReport::default() }
    }

    #[test]
    fn the_newest_orphans_come_first_over_a_restart_too() {
        let set = SetId { namespace: "ns".to_owned(), name: "app".to_owned(), shared: true };
        let hub = Hub::default();
        hub.mailbox(&set);
        let order = |hub: &Hub| -> Vec<String> {
            hub.report(&set).unwrap().orphans.newest().iter().map(|orphan| orphan.key.clone()).collect()
        };
        assert!(hub.set_report(&set, report(&["b", "d"]), &[], 64));
        assert!(hub.set_report(&set, report(&["a", "b", "c", "d"]), &[], 64));
        assert_eq!(order(&hub), ["a", "c", "b", "d"]);
        assert!(!hub.set_report(&set, report(&["a", "b", "c", "d"]), &[], 64), "no news");
        assert!(hub.set_report(&set, report(&["b", "c", "d", "e"]), &[], 64));
        assert_eq!(order(&hub), ["e", "c", "b", "d"]);

        let hub = Hub::default();
        hub.mailbox(&set);
        // The status had room for two.
        assert!(hub.set_report(&set, report(&["b", "c", "d", "e"]), &orphans(&["e", "c"]), 64));
        assert_eq!(order(&hub), ["e", "c", "b", "d"]);
    }

    /// Whoever may edit a file may write thousands of them.
    #[test]
    fn of_many_orphans_the_newest_are_kept_and_of_all_that_they_are_there() {
        let set = SetId { namespace: "ns".to_owned(), name: "app".to_owned(), shared: true };
        let hub = Hub::default();
        hub.mailbox(&set);
        let keys: Vec<String> = (0..500).map(|i| format!("k{i:03}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert!(hub.set_report(&set, report(&keys[1..]), &[], 4));
        assert!(hub.set_report(&set, report(&keys), &[], 4));
        let known = hub.report(&set).unwrap().orphans;
        let newest: Vec<&str> = known.newest().iter().map(|orphan| orphan.key.as_str()).collect();
        assert_eq!((known.len(), newest), (500, vec!["k000", "k001", "k002", "k003"]));
        assert!(keys.iter().all(|key| known.have(key)) && !known.have("k500"));
    }

    #[test]
    fn nothing_of_a_file_is_kept_once_its_writer_ends_and_none_that_has_a_rollout_does() {
        let set = SetId { namespace: "ns".to_owned(), name: "app".to_owned(), shared: false };
        let (map, other) = (("ns".to_owned(), "app".to_owned()), ("ns".to_owned(), "old".to_owned()));
        let hub = Hub::default();
        let mailbox = hub.mailbox(&set);
        hub.set_outputs(&set, &[map.clone(), other.clone()]);
        hub.keep_last_good(&set, &map, "{\"flags\": {}}", 1, Keeps::Text);
        assert!(hub.last_good(&set, &map).is_some());
        assert_eq!(hub.sets_of_config_map(&other), std::slice::from_ref(&set));
        hub.set_outputs(&set, std::slice::from_ref(&map));
        assert_eq!(hub.sets_of_config_map(&other), []);

        assert_eq!(hub.end(&set, || true), None);
        assert!(!mailbox.lock().ended);
        assert_eq!(hub.end(&set, || false), Some(vec![map.clone()]));
        assert!(mailbox.lock().ended);
        hub.keep_last_good(&set, &map, "{}", 2, Keeps::Text);
        assert!(!hub.set_report(&set, FileReport::default(), &[], 64));
        assert_eq!(hub.census().map(|(_, entries)| entries), [0; 6]);
    }
}
