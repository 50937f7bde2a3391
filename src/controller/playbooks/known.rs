//! What is kept of playbooks. All of it can be found again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;

use super::asked::{Asked, outline};
use super::members::{Members, Stamp};
use super::naming::Naming;
use super::told::{Frame, Heard, Told, Whom, whom};
use crate::api::{MicroTime, Playbook};
use crate::clock;
use crate::controller::cache::{ObjectKey, version};
use crate::plan::FieldError;
use crate::playbook::business::Answer;
use crate::playbook::{self, Book, Unmet};

/// Least time between two looks at a playbook: each of many rollouts that step at once asks for one.
const SPACING: Duration = Duration::from_millis(500);

/// The playbooks, and the rollouts that they look at. No lock is held while something is decoded, compiled or computed.
#[derive(Default)]
pub struct Playbooks {
    inner: Mutex<Inner>,
    /// The rollouts that they look at.
    pub members: Members,
}

#[derive(Default)]
struct Inner {
    playbooks: HashMap<ObjectKey, Known>,
    naming: Naming,
}

/// A generation of a playbook.
pub struct Compiled {
    uid: String,
    generation: i64,
    /// What it is compiled into.
    pub book: Result<Book, Vec<FieldError>>,
    frame: Arc<Frame>,
}

impl Compiled {
    /// A generation of a playbook, compiled now.
    pub fn of(key: &ObjectKey, playbook: &Playbook) -> Compiled {
        let book = playbook::compile(&key.1, &playbook.spec);
        let frame =
            Arc::new(Frame::of(&playbook.spec, book.as_ref().err().and_then(|errors| errors.first())));
        let generation = playbook.metadata.generation.unwrap_or(0);
        Compiled { uid: playbook.uid().unwrap_or_default(), generation, book, frame }
    }
}

struct Known {
    compiled: Arc<Compiled>,
    looked: Option<Instant>,
    /// What rollouts take from a version of it.
    outline: Option<(u64, Arc<Playbook>)>,
    /// What its phases lack, and what that was found from.
    unmet: Option<(Basis, Arc<Unmet>)>,
    /// What those who wait for it were told last.
    told: Option<Told>,
    /// The slot that each criterion was asked for last, and what was said.
    asked: HashMap<String, MicroTime>,
    answers: HashMap<String, Answer>,
}

/// What it depends on what the phases of one generation lack. The time is not part of it: a week that comes is waited for beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The rollouts.
    pub stamp: Stamp,
    /// Which of the playbook's own criteria pass.
    pub passing: Vec<bool>,
}

impl Playbooks {
    /// A playbook compiled, once for each of its generations.
    pub fn compiled(&self, key: &ObjectKey, playbook: &Playbook) -> Arc<Compiled> {
        let uid = playbook.uid().unwrap_or_default();
        let generation = playbook.metadata.generation.unwrap_or(0);
        let is_it = |known: &Known| known.compiled.uid == uid && known.compiled.generation == generation;
        if let Some(known) = self.lock().playbooks.get(key).filter(|known| is_it(known)) {
            return known.compiled.clone();
        }
        self.lock().take_in(key, Compiled::of(key, playbook))
    }

    /// A version of a playbook as rollouts go by it, where it is the one that was asked last.
    pub fn asked(&self, key: &ObjectKey, version: u64) -> Option<Asked> {
        let inner = self.lock();
        let known = inner.playbooks.get(key)?;
        let (_, outline) = known.outline.as_ref().filter(|(of, _)| *of == version)?;
        Some(Asked { outline: outline.clone(), compiled: known.compiled.clone() })
    }

    /// A playbook as rollouts go by it.
    pub fn asked_anew(&self, key: &ObjectKey, playbook: &Playbook) -> Asked {
        let compiled = self.compiled(key, playbook);
        let asked = Asked { outline: Arc::new(outline(playbook)), compiled };
        let mut inner = self.lock();
        let known = inner.playbooks.get_mut(key);
        if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.compiled, &asked.compiled)) {
            known.outline = Some((version(playbook), asked.outline.clone()));
        }
        asked
    }

    /// The playbooks that name a rollout.
    pub fn naming(&self, rollout: &ObjectKey) -> Vec<ObjectKey> {
        self.lock().naming.of(rollout).cloned().collect()
    }

    /// Whether any playbook names a rollout.
    pub fn names(&self, rollout: &ObjectKey) -> bool {
        self.lock().naming.of(rollout).next().is_some()
    }

    /// How much of the spacing is left; where nothing is, notes that the playbook is looked at now.
    pub fn too_soon(&self, key: &ObjectKey) -> Option<Duration> {
        let mut inner = self.lock();
        let known = inner.playbooks.get_mut(key)?;
        clock::spaced(&mut known.looked, SPACING)
    }

    /// What the phases of a generation lack, where it was found from the same.
    pub fn unmet(&self, key: &ObjectKey, compiled: &Arc<Compiled>, basis: &Basis) -> Option<Arc<Unmet>> {
        let inner = self.lock();
        let known = inner.playbooks.get(key).filter(|known| Arc::ptr_eq(&known.compiled, compiled))?;
        let (from, unmet) = known.unmet.as_ref()?;
        let holds = from.passing == basis.passing && from.stamp.holds(basis.stamp, unmet.in_circles);
        holds.then(|| unmet.clone())
    }

    /// Keeps what the phases of a generation lack.
    pub fn keep_unmet(&self, key: &ObjectKey, compiled: &Arc<Compiled>, basis: Basis, unmet: &Arc<Unmet>) {
        let mut inner = self.lock();
        let known = inner.playbooks.get_mut(key);
        if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.compiled, compiled)) {
            known.unmet = Some((basis, unmet.clone()));
        }
    }

    /// Notes what is told of the phases from now on; says whom that concerns.
    pub fn tell(&self, key: &ObjectKey, compiled: &Compiled, unmet: Arc<Unmet>) -> Whom {
        let told = Told::new(compiled.frame.clone(), unmet);
        let mut inner = self.lock();
        let Some(known) = inner.playbooks.get_mut(key) else { return Whom::All };
        let whom = whom(known.told.as_ref(), &told);
        known.told = Some(told);
        whom
    }

    /// Notes what a rollout goes by that joins a phase; says whether the playbook has to be looked at for it, as that is not what
    /// was told last. Otherwise nobody would tell that rollout when it is so again.
    pub fn hears(&self, key: &ObjectKey, compiled: &Compiled, unmet: &Unmet, phase: usize) -> bool {
        let mut inner = self.lock();
        let Some(known) = inner.playbooks.get_mut(key) else { return false };
        let Some(told) = known.told.as_mut() else { return false };
        let heard = told.hears(&compiled.frame, unmet, phase);
        if heard == Heard::Otherwise {
            known.told = None;
        }
        heard != Heard::Same
    }

    /// Notes that nothing counts that was told of a playbook; says whether anything did.
    pub fn untell(&self, key: &ObjectKey) -> bool {
        self.lock().playbooks.get_mut(key).is_some_and(|known| known.told.take().is_some())
    }

    /// What was measured of a playbook's criteria.
    pub fn answers(&self, key: &ObjectKey) -> Vec<Answer> {
        let inner = self.lock();
        inner.playbooks.get(key).map(|known| known.answers.values().cloned().collect()).unwrap_or_default()
    }

    /// Notes that a criterion is asked for a slot; says whether it has not been yet.
    pub fn ask(&self, key: &ObjectKey, criterion: &str, slot: MicroTime) -> bool {
        let mut inner = self.lock();
        let Some(known) = inner.playbooks.get_mut(key) else { return false };
        known.asked.insert(criterion.to_owned(), slot) != Some(slot)
    }

    /// Notes what was measured.
    pub fn answer(&self, key: &ObjectKey, answer: Answer) {
        if let Some(known) = self.lock().playbooks.get_mut(key) {
            known.answers.insert(answer.name.clone(), answer);
        }
    }

    /// Forgets a playbook that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        let mut inner = self.lock();
        if let Some(gone) = inner.playbooks.remove(key) {
            inner.naming.remove(key, gone.compiled.names());
        }
    }

    /// How many entries there are of what is kept.
    pub fn census(&self) -> [(&'static str, usize); 3] {
        let (playbooks, named) = {
            let inner = self.lock();
            (inner.playbooks.len(), inner.naming.len())
        };
        [("playbooks", playbooks), ("playbook_rollouts", self.members.len()), ("playbook_names", named)]
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Compiled {
    /// The rollouts that it names.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.book.iter().flat_map(Book::names)
    }
}

impl Inner {
    /// Takes in a generation, unless somebody else has compiled it meanwhile.
    fn take_in(&mut self, key: &ObjectKey, compiled: Compiled) -> Arc<Compiled> {
        let is_it = |known: &&Known| {
            known.compiled.uid == compiled.uid && known.compiled.generation == compiled.generation
        };
        if let Some(known) = self.playbooks.get(key).filter(is_it) {
            return known.compiled.clone();
        }
        let compiled = Arc::new(compiled);
        let before = self.playbooks.remove(key);
        if let Some(before) = &before {
            self.naming.remove(key, before.compiled.names());
        }
        self.naming.add(key, compiled.names());
        let before = before.filter(|before| before.compiled.uid == compiled.uid);
        // What the rollouts were told is compared with what is so now: most edits concern few of them.
        let (looked, told) = before.map_or((None, None), |before| (before.looked, before.told));
        let known = Known {
            compiled: compiled.clone(),
            looked,
            outline: None,
            unmet: None,
            told,
            asked: HashMap::new(),
            answers: HashMap::new(),
        };
        self.playbooks.insert(key.clone(), known);
        compiled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playbook(generation: i64, done: bool) -> Playbook {
        let spec = format!(
            "{{startDate: '2025-09-08', phases: [{{name: one, weeks: {{from: 1, to: 2}}, requires: [{{task: rls}}, {{rollout: {{name: dreams, condition: Completed}}}}],
                sections: [{{title: Security, tasks: [{{id: rls, title: Fix policies, done: {done}}}]}}]}}]}}"
        );
        let mut playbook = Playbook::new("maya", serde_saphyr::from_str(&spec).unwrap());
        playbook.metadata.uid = Some("uid".to_owned());
        playbook.metadata.generation = Some(generation);
        playbook
    }

    fn key(name: &str) -> ObjectKey {
        ("space".to_owned(), name.to_owned())
    }

    #[test]
    fn what_phases_lack_is_kept_for_one_generation_and_what_it_was_found_from() {
        let known = Playbooks::default();
        known.members.look(&key("dreams"), 1, || true, || Some((1, seen())));
        let first = known.compiled(&key("maya"), &playbook(1, false));
        assert!(Arc::ptr_eq(&first, &known.compiled(&key("maya"), &playbook(1, false))));
        let basis =
            |passing: bool| Basis { stamp: known.members.stamp("space").unwrap(), passing: vec![passing] };
        let unmet = Arc::new(Unmet::default());
        known.keep_unmet(&key("maya"), &first, basis(false), &unmet);
        assert!(known.unmet(&key("maya"), &first, &basis(false)).is_some());
        assert!(known.unmet(&key("maya"), &first, &basis(true)).is_none(), "a criterion passes");
        let before = basis(false);
        known.members.forget(&key("dreams"));
        known.members.look(&key("dreams"), 1, || true, || Some((1, seen())));
        assert!(known.unmet(&key("maya"), &first, &before).is_some());
        assert!(known.unmet(&key("maya"), &first, &basis(false)).is_none(), "a rollout is another");
        let second = known.compiled(&key("maya"), &playbook(2, true));
        assert!(known.unmet(&key("maya"), &second, &before).is_none(), "the plan is another");
    }

    #[test]
    fn a_playbook_names_rollouts_until_it_is_gone() {
        let known = Playbooks::default();
        assert!(!known.names(&key("dreams")));
        known.compiled(&key("maya"), &playbook(1, false));
        known.compiled(&key("maya"), &playbook(2, true));
        assert_eq!(known.naming(&key("dreams")), [key("maya")]);
        known.forget(&key("maya"));
        assert!(!known.names(&key("dreams")));
        assert!(known.census().iter().all(|(_, count)| *count == 0));
    }

    fn seen() -> playbook::Seen {
        playbook::Seen::of(&crate::api::FeatureRollout::new("dreams", Default::default()))
    }
}
