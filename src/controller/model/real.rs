//! What the controller's own functions say: the decision, the reconcile around it, the merge of the file, and who vouches for it.
//! Each is asked once for the same, and statuses, flags and files are known by numbers, so that a state is small.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::given::{ack, compile, percentage, spec_of, text};
use super::state::{Action, Answers, File, Id, Offer, Said, Spec};
use crate::api::rolloutaction::Answer;
use crate::api::{FeatureRolloutStatus, MicroTime};
use crate::controller::actions::follow_up;
use crate::controller::index::SetId;
use crate::controller::reconcile::{Reconcile, Settled, delivery};
use crate::controller::writer::{self, Found, Remembered, Witness};
use crate::engine::{self, Actor, Decision, Facts, Ground, Request};
use crate::flags::merge::{Candidate, Live, Living, Merge, Outcome, SetInfo, merge};
use crate::flags::{self, Fragment, Identity, Keys, LiveFlag, Place};
use crate::plan::Plan;
use jiff::SignedDuration;

/// How long each step is held; the time of a state counts in these.
pub(super) const HOLD: SignedDuration = SignedDuration::from_secs(60);
const BEGIN: &str = "2025-09-08T09:00:00Z";
const NAMESPACE: &str = "ns";
/// Name of the FlagSet.
pub(super) const SET: &str = "app";
/// The one cohort.
pub(super) const COHORT: &str = "everyone";

/// What a turn, or the judgement of an action, is made from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) rollout: usize,
    pub(super) spec: Spec,
    pub(super) generation: u8,
    pub(super) status: Id,
    /// Whether that is in force and not stored yet.
    pub(super) owes_status: bool,
    pub(super) said: Option<Said>,
    pub(super) seen: Option<u32>,
    /// The file, where what it says of the flag counts.
    pub(super) file: Option<Id>,
    pub(super) now: u8,
    /// The action, with its number.
    pub(super) action: Option<(usize, Action)>,
}

/// What comes of it.
#[derive(Clone, Copy)]
pub(super) struct Turned {
    /// Whether the action is applied.
    pub(super) is_applied: bool,
    /// What is decided; `None` where nothing is to be done.
    pub(super) next: Option<Next>,
}

/// What is decided.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub(super) offer: Offer,
    /// Whether the status is to be stored.
    pub(super) is_due: bool,
    pub(super) goes_ahead: bool,
}

/// What the next file is, and what is said of it.
#[derive(Clone)]
pub(super) struct Merged {
    pub(super) text: Id,
    pub(super) answers: Answers,
}

/// The flag that each rollout wants in the file, with its revision.
type Wanted = Vec<Option<(Id, u8)>>;

/// What a file says of a rollout.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) live: LiveFlag,
    pub(super) digest: String,
}

/// Values by number, each once.
struct Numbered<T> {
    numbers: HashMap<String, Id>,
    values: Vec<Rc<T>>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { numbers: HashMap::new(), values: Vec::new() }
    }
}

impl<T> Numbered<T> {
    fn number(&mut self, text: String, value: T) -> Id {
        *self.numbers.entry(text).or_insert_with(|| {
            self.values.push(Rc::new(value));
            Id::try_from(self.values.len() - 1).unwrap()
        })
    }

    fn get(&self, id: Id) -> Rc<T> {
        self.values[id as usize].clone()
    }
}

/// The controller's own functions.
pub(super) struct Real {
    set: SetId,
    keys: Keys,
    rollouts: Vec<Identity>,
    plans: HashMap<(usize, Spec), Rc<Plan>>,
    statuses: Numbered<FeatureRolloutStatus>,
    fragments: Numbered<Fragment>,
    files: Numbered<(String, flags::File)>,
    turns: HashMap<Asked, Turned>,
    merges: HashMap<(Option<Id>, Wanted, bool), Merged>,
    vouched: HashMap<(File, Option<File>), bool>,
    members: HashMap<(Id, usize), Option<Rc<Member>>>,
}

impl Real {
    /// For so many rollouts of one FlagSet.
    pub(super) fn new(rollouts: usize) -> Real {
        let identity = |at: usize| Identity {
            namespace: NAMESPACE.to_owned(),
            name: format!("r{at}"),
            uid: format!("uid-{at}"),
        };
        Real {
            set: SetId { namespace: NAMESPACE.to_owned(), name: SET.to_owned(), shared: true },
            keys: Keys::new(&[7; 32], None).unwrap(),
            rollouts: (0..rollouts).map(identity).collect(),
            plans: HashMap::new(),
            statuses: Numbered::default(),
            fragments: Numbered::default(),
            files: Numbered::default(),
            turns: HashMap::new(),
            merges: HashMap::new(),
            vouched: HashMap::new(),
            members: HashMap::new(),
        }
    }

    /// What the clock shows.
    pub(super) fn at(now: u8) -> MicroTime {
        BEGIN.parse::<MicroTime>().unwrap() + HOLD * i32::from(now)
    }

    /// UID of an action.
    pub(super) fn uid(action: usize) -> String {
        format!("action-{action}")
    }

    pub(super) fn status(&self, id: Id) -> Rc<FeatureRolloutStatus> {
        self.statuses.get(id)
    }

    pub(super) fn number(&mut self, status: FeatureRolloutStatus) -> Id {
        self.statuses.number(text(&status), status)
    }

    /// Whether a status is a rollout's own.
    pub(super) fn has_begun(&self, rollout: usize, status: Id) -> bool {
        self.status(status).uid.as_deref() == Some(&self.rollouts[rollout].uid)
    }

    pub(super) fn plan(&mut self, rollout: usize, spec: Spec) -> Rc<Plan> {
        let identity = &self.rollouts[rollout];
        let plan = self.plans.entry((rollout, spec)).or_insert_with(|| Rc::new(compile(identity, spec)));
        plan.clone()
    }

    /// A turn of a rollout, or an action's part of one.
    pub(super) fn turn(&mut self, asked: Asked) -> Turned {
        if let Some(known) = self.turns.get(&asked) {
            return *known;
        }
        let turned = self.turn_anew(asked);
        self.turns.insert(asked, turned);
        turned
    }

    fn turn_anew(&mut self, asked: Asked) -> Turned {
        let plan = self.plan(asked.rollout, asked.spec);
        let (prior, identity) = (self.status(asked.status), self.rollouts[asked.rollout].clone());
        let (ack, now) = (asked.said.map(ack), Real::at(asked.now));
        let seen = asked.seen.map(|percent| vec![(COHORT.to_owned(), percentage(percent))]);
        let reconcile = Reconcile {
            plan: &plan,
            identity: &identity,
            prior: &prior,
            has_begun: self.has_begun(asked.rollout, asked.status),
            owes_status: asked.owes_status,
            is_ordinary: asked.action.is_none(),
            ack: ack.as_ref(),
            seen: seen.as_deref(),
            generation: i64::from(asked.generation),
            now,
        };
        let known = reconcile.known();
        let live = asked.file.and_then(|file| Some(self.member(file, asked.rollout)?.live.clone()));
        let facts = Facts { delivered: known.is_delivered(), live, ..Facts::favourable(&identity.uid) };
        let (is_applied, decision) = match asked.action {
            None => (false, Some(engine::decide(&plan, &known, &facts, now))),
            Some((number, action)) => judge(number, action, (&plan, &facts), &known, &asked),
        };
        let Some(decision) = decision else { return Turned { is_applied, next: None } };
        let settled = reconcile.settle(&known, &facts, &plan.audience, decision, 0, |status| {
            delivery(status, ack.as_ref(), || Duration::ZERO)
        });
        let Settled { status, fragment, is_news, goes_ahead, .. } = settled;
        let known = self.fragments.values.len();
        let checked = (status.clone(), fragment.clone());
        let offer = Offer {
            revision: u8::try_from(status.revision).unwrap(),
            fragment: self.fragments.number(fragment.body.to_string(), fragment),
            status: asked.status,
            ahead_of_current: None,
        };
        if self.fragments.values.len() > known {
            flags::self_check(&plan.feature, &checked.0, &plan.audience, &checked.1).unwrap();
        }
        let is_due = is_news || status != *prior || asked.owes_status;
        let offer = Offer { status: self.number(status), ..offer };
        Turned { is_applied, next: Some(Next { offer, is_due, goes_ahead }) }
    }

    /// What a stored status wants of the file.
    pub(super) fn offer(&mut self, rollout: usize, spec: Spec, status: Id) -> Offer {
        let plan = self.plan(rollout, spec);
        let stored = self.status(status);
        let fragment = flags::fragment(&plan.feature, &self.rollouts[rollout], &stored, &plan.audience);
        Offer {
            revision: u8::try_from(stored.revision).unwrap(),
            fragment: self.fragments.number(fragment.body.to_string(), fragment),
            status,
            ahead_of_current: None,
        }
    }

    /// Which of these offers the last look at their rollouts confirms, of those that go ahead of their status.
    pub(super) fn look(&mut self, spec: &[Spec], offers: &[Option<Offer>], is_held: &[bool]) -> Vec<bool> {
        let names: Vec<String> = self.rollouts.iter().map(|rollout| rollout.name.clone()).collect();
        let key = |rollout: usize| (NAMESPACE.to_owned(), names[rollout].clone());
        let mut real = BTreeMap::new();
        for (rollout, offer) in offers.iter().enumerate() {
            let Some(offer) = offer.filter(|offer| offer.ahead_of_current.is_some()) else { continue };
            let plan = self.plan(rollout, spec[rollout]);
            let (fragment, status) = (self.fragments.get(offer.fragment), self.status(offer.status));
            let (feature, audience) = (plan.feature.clone(), Arc::new(plan.audience.clone()));
            let (uid, status) = (self.rollouts[rollout].uid.clone(), Arc::new((*status).clone()));
            let serve = writer::Offer::serve(uid, feature, audience, (*fragment).clone(), status);
            let decided_on = if offer.ahead_of_current == Some(true) { "2" } else { "1" };
            real.insert(key(rollout), writer::Offer { ahead_of: Some(decided_on.to_owned()), ..serve });
        }
        let ahead: Vec<_> = real.keys().cloned().collect();
        let current = ahead.iter().map(|(_, name)| (name.clone(), "2".to_owned())).collect();
        let is_wanted =
            |of: &(String, String), _| (0..is_held.len()).any(|at| key(at) == *of && !is_held[at]);
        let confirmed = writer::part(real, ahead, Some(&current), is_wanted);
        (0..offers.len()).map(|rollout| confirmed.offers.contains_key(&key(rollout))).collect()
    }

    /// Whether what was found in the ConfigMap counts as Sluice's own, by its signature and by what is remembered.
    pub(super) fn is_vouched(&mut self, file: File, remembered: Option<File>) -> bool {
        if let Some(known) = self.vouched.get(&(file, remembered)) {
            return *known;
        }
        let owner = self.set.owner();
        let place =
            Place { owner: &owner, kind: "ConfigMap", namespace: NAMESPACE, name: SET, key: "flags.json" };
        let text = self.files.get(file.text).0.clone();
        let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        let signature = self.keys.sign(&place, u64::from(file.serial), &text);
        writer::mark(&self.set, &text, &signature, &mut labels, &mut annotations);
        let text_of = |known: File| self.files.get(known.text).0.clone();
        let remembered_here =
            remembered.map(|known| Remembered::of(&text_of(known), u64::from(known.serial)));
        let witness = Witness { keys: &self.keys, place, remembered: remembered_here, recorded: None };
        let found = writer::judge(&self.set, &witness, &annotations, Some(text), ());
        let is_vouched = matches!(found, Found::Trusted { .. });
        self.vouched.insert((file, remembered), is_vouched);
        is_vouched
    }

    /// The next file. Without `checks_revisions` what the file holds may be replaced by something older.
    pub(super) fn merge(
        &mut self,
        live: Option<Id>,
        offers: &[Option<Offer>],
        checks_revisions: bool,
    ) -> Merged {
        let wanted = offers.iter().map(|offer| offer.map(|offer| (offer.fragment, offer.revision)));
        let key = (live, wanted.collect(), checks_revisions);
        if let Some(known) = self.merges.get(&key) {
            return known.clone();
        }
        let merged = self.merge_anew(live, offers, checks_revisions);
        self.merges.insert(key, merged.clone());
        merged
    }

    fn merge_anew(&mut self, live: Option<Id>, offers: &[Option<Offer>], checks_revisions: bool) -> Merged {
        let file = live.map(|live| self.files.get(live).1.clone());
        let served = |member: Rc<Member>| Some(member.live.served.first()?.1.thousandths());
        let before: Vec<Option<u32>> =
            (0..offers.len()).map(|rollout| self.member(live?, rollout).and_then(served)).collect();
        let set = SetInfo { uid: "uid-of-the-set".to_owned(), generation: 1, ..SetInfo::default() };
        let asking: Vec<usize> = (0..offers.len()).filter(|at| offers[*at].is_some()).collect();
        let candidates: Vec<Candidate> = offers
            .iter()
            .flatten()
            .map(|offer| Candidate::Put((*self.fragments.get(offer.fragment)).clone()))
            .collect();
        let living: BTreeSet<Living> = self
            .rollouts
            .iter()
            .map(|of| Living { name: of.name.clone(), uid: of.uid.clone(), key: of.name.clone() })
            .collect();
        let (live_file, last_good) = match &file {
            None => (Live::Missing, None),
            Some(file) if checks_revisions => (Live::Trusted(file.clone()), None),
            // Of what nobody vouches for no revision counts.
            Some(file) => (Live::Untrusted(Some(file.clone())), Some(file)),
        };
        let merged = merge(&Merge {
            live: &live_file,
            last_good,
            at_control: None,
            set: Some(&set),
            candidates: &candidates,
            living: Some(&living),
        });
        let mut answers = vec![None; offers.len()];
        for (rollout, outcome) in asking.into_iter().zip(&merged.outcomes) {
            answers[rollout] = match outcome {
                Outcome::Written | Outcome::Unchanged => {
                    offers[rollout].map(|offer| (Said::Delivered(offer.revision), None))
                }
                Outcome::Stale { live } => Some((Said::Newer(u8::try_from(*live).unwrap()), before[rollout])),
                other => panic!("a rollout of its own key and few bytes: {other:?}"),
            };
        }
        Merged { text: self.files.number(merged.text.clone(), (merged.text, merged.file)), answers }
    }

    /// What a file says of a rollout, if anything.
    pub(super) fn member(&mut self, file: Id, rollout: usize) -> Option<Rc<Member>> {
        if let Some(known) = self.members.get(&(file, rollout)) {
            return known.clone();
        }
        let (text, _) = &*self.files.get(file);
        // As it is read by whoever finds it.
        let parsed = flags::parse(text).unwrap();
        let Identity { namespace, name, uid } = self.rollouts[rollout].clone();
        let member = parsed.members.get(&name).map(|body| {
            let live = parsed.live(&name).unwrap();
            let (revision, body) = (live.revision, body.clone());
            let fragment =
                Fragment { key: name.clone(), namespace, rollout: name.clone(), uid, revision, body };
            Rc::new(Member { live, digest: flags::digest(&fragment) })
        });
        self.members.insert((file, rollout), member.clone());
        member
    }
}

/// Judges an action as its lane does. What it decides, if it is applied.
fn judge(
    number: usize,
    action: Action,
    (plan, facts): (&Plan, &Facts),
    known: &FeatureRolloutStatus,
    asked: &Asked,
) -> (bool, Option<Decision>) {
    let spec = spec_of(action.verb, &facts.uid);
    let uid = Real::uid(number);
    let request = Request {
        speed: 1,
        uid: &uid,
        spec: &spec,
        created: Real::at(action.created),
        version: i64::try_from(number).unwrap(),
        actor: Actor::Verified("ada".to_owned()),
        tracked_by: None,
        rollout_uid: &facts.uid,
        generation: i64::from(asked.generation),
    };
    let now = Real::at(asked.now);
    let outcome = engine::act(Ground::Plan(plan, facts), known, &request, now);
    let decision = follow_up(plan, facts, known, &outcome, now, true);
    (outcome.answer == Answer::Applied, decision)
}
