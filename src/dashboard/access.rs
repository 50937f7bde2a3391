//! What a person may do: asked of the API server with the person's own identity, and remembered for a moment.
//!
//! Nothing is decided here. The API server and its admission policies decide about every read and every action anyway;
//! what is asked beforehand only says which buttons a page offers and which lists are worth trying.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::api::GROUP;
use crate::api::rolloutaction::Action;
use crate::clock::monotonic;
use crate::error::{Fault, call};

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(20);
/// Questions asked at once.
const AT_ONCE: usize = 12;
/// Most answers that are remembered.
const MOST: usize = 2_000;

/// Every action, in the order in which pages show them.
pub const ACTIONS: [Action; 8] = [
    Action::Rollback,
    Action::Pause,
    Action::Resume,
    Action::Approve,
    Action::Promote,
    Action::SetPercent,
    Action::Retry,
    Action::Acknowledge,
];

/// The RBAC verb of an action, and what stands for it in addresses.
pub const fn verb(action: Action) -> &'static str {
    match action {
        Action::Pause => "pause",
        Action::Resume => "resume",
        Action::Approve => "approve",
        Action::Promote => "promote",
        Action::SetPercent => "setpercent",
        Action::Rollback => "rollback",
        Action::Retry => "retry",
        Action::Acknowledge => "acknowledge",
    }
}

/// The action of a verb.
pub fn of_verb(name: &str) -> Option<Action> {
    ACTIONS.into_iter().find(|action| verb(*action) == name)
}

/// What may be done to one rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Verbs of actions, `override` among them.
    pub verbs: BTreeSet<String>,
}

impl Rights {
    /// Whether an action may be asked for.
    pub fn may(&self, action: Action) -> bool {
        self.verbs.contains(verb(action))
    }

    /// Whether checks may be passed over.
    pub fn may_override(&self) -> bool {
        self.verbs.contains("override")
    }
}

/// The rules of a namespace, as far as they concern actions: what a list of many rollouts is told by.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    creates: bool,
    on_rollouts: Vec<ResourceRule>,
    /// Whether the API server knows of more than it can list, so that a right may be there all the same.
    incomplete: bool,
}

impl Rules {
    /// Whether an action on a rollout of the namespace is worth offering.
    pub fn may(&self, action: Action, rollout: &str) -> bool {
        let named = |rule: &ResourceRule| {
            let names = rule.resource_names.as_deref().unwrap_or_default();
            has(&rule.verbs, verb(action)) && (names.is_empty() || names.iter().any(|name| name == rollout))
        };
        self.incomplete || self.creates && self.on_rollouts.iter().any(named)
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

/// Answers that are believed for a moment.
struct Remembered<K, V>(Mutex<BTreeMap<K, (Instant, V)>>);

impl<K: Ord, V: Clone> Remembered<K, V> {
    fn get(&self, key: &K, now: Instant) -> Option<V> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(at, _)| now.saturating_duration_since(*at) < BELIEVED).map(|(_, v)| v.clone())
    }

    fn put(&self, key: K, value: V, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (at, _)| now.saturating_duration_since(*at) < BELIEVED);
        }
        if known.len() < MOST {
            known.insert(key, (now, value));
        }
    }
}

/// Asks about one person.
pub struct Access {
    client: Client,
    rights: Remembered<(String, String), Rights>,
    rules: Remembered<String, Rules>,
}

impl Access {
    /// Asks with this client, which is the person's.
    pub fn new(client: Client) -> Access {
        let (rights, rules) = (Remembered(Mutex::default()), Remembered(Mutex::default()));
        Access { client, rights, rules }
    }

    /// Whether the person may list and watch objects of a kind of ours, in a namespace or with `None` in all.
    ///
    /// # Errors
    /// The API server cannot be asked.
    pub async fn may_list(&self, resource: &str, namespace: Option<&str>) -> Result<bool, Fault> {
        let ask = |verb: &'static str| self.ask(namespace, resource, verb, None);
        let (list, watch) = futures::try_join!(ask("list"), ask("watch"))?;
        Ok(list && watch)
    }

    /// Of these namespaces, those in which the person may list and watch objects of a kind of ours.
    pub async fn listable(&self, resource: &str, namespaces: Vec<String>) -> Vec<String> {
        let mut listable = Vec::new();
        for some in namespaces.chunks(AT_ONCE) {
            let asked = join_all(some.iter().map(|namespace| self.may_list(resource, Some(namespace)))).await;
            // One that cannot be asked about now is asked about again soon.
            let may = some.iter().zip(asked).filter(|(_, may)| may.as_ref().is_ok_and(|may| *may));
            listable.extend(may.map(|(namespace, _)| namespace.clone()));
        }
        listable
    }

    /// What the person may do to a rollout.
    ///
    /// # Errors
    /// The API server cannot be asked.
    pub async fn rights(&self, namespace: &str, rollout: &str) -> Result<Rights, Fault> {
        let key = (namespace.to_owned(), rollout.to_owned());
        if let Some(known) = self.rights.get(&key, monotonic()) {
            return Ok(known);
        }
        let mut rights = Rights::default();
        if self.ask(Some(namespace), "rolloutactions", "create", None).await? {
            let verbs: Vec<&'static str> = ACTIONS.into_iter().map(verb).chain(["override"]).collect();
            let ask = |verb: &&'static str| self.ask(Some(namespace), "featurerollouts", verb, Some(rollout));
            let answers = join_all(verbs.iter().map(ask)).await;
            for (verb, may) in verbs.into_iter().zip(answers) {
                if may? {
                    rights.verbs.insert(verb.to_owned());
                }
            }
        }
        self.rights.put(key, rights.clone(), monotonic());
        Ok(rights)
    }

    /// What the person may do to the rollouts of a namespace; nothing where that cannot be found out.
    pub async fn rules(&self, namespace: &str) -> Rules {
        if let Some(known) = self.rules.get(&namespace.to_owned(), monotonic()) {
            return known;
        }
        let rules = self.review_rules(namespace).await.unwrap_or_default();
        self.rules.put(namespace.to_owned(), rules.clone(), monotonic());
        rules
    }

    async fn review_rules(&self, namespace: &str) -> Result<Rules, Fault> {
        let api: Api<SelfSubjectRulesReview> = Api::all(self.client.clone());
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let status = call(api.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
        let of = |resource: &str| -> Vec<ResourceRule> {
            let concerns = |rule: &&ResourceRule| {
                has(rule.api_groups.as_deref().unwrap_or_default(), GROUP)
                    && has(rule.resources.as_deref().unwrap_or_default(), resource)
            };
            status.resource_rules.iter().filter(concerns).cloned().collect()
        };
        let creates = |rule: &ResourceRule| {
            has(&rule.verbs, "create") && rule.resource_names.as_deref().unwrap_or_default().is_empty()
        };
        Ok(Rules {
            creates: of("rolloutactions").iter().any(creates),
            on_rollouts: of("featurerollouts"),
            incomplete: status.incomplete,
        })
    }

    async fn ask(
        &self,
        namespace: Option<&str>,
        resource: &str,
        verb: &str,
        name: Option<&str>,
    ) -> Result<bool, Fault> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let attributes = ResourceAttributes {
            group: Some(GROUP.to_owned()),
            resource: Some(resource.to_owned()),
            verb: Some(verb.to_owned()),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let reviewed = call(api.create(&PostParams::default(), &review)).await?;
        Ok(reviewed.status.is_some_and(|status| status.allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], names: &[&str]) -> ResourceRule {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        ResourceRule {
            verbs: list(verbs),
            resource_names: (!names.is_empty()).then(|| list(names)),
            ..ResourceRule::default()
        }
    }

    #[test]
    fn a_rule_gives_its_verbs_on_its_names_to_those_who_may_create_actions() {
        let on_rollouts = vec![rule(&["get", "rollback"], &["mine"]), rule(&["pause"], &[])];
        let rules = Rules { creates: true, on_rollouts, incomplete: false };
        assert!(rules.may(Action::Rollback, "mine") && rules.may(Action::Pause, "other"));
        assert!(!rules.may(Action::Rollback, "other") && !rules.may(Action::Promote, "mine"));
        assert!(!Rules { creates: false, ..rules.clone() }.may(Action::Pause, "mine"));
        assert!(!Rules::default().may(Action::Pause, "mine"));
        assert!(Rules { incomplete: true, ..Rules::default() }.may(Action::Pause, "mine"));
        let all = Rules { on_rollouts: vec![rule(&["*"], &[])], ..rules };
        assert!(ACTIONS.into_iter().all(|action| all.may(action, "any")));
    }

    #[test]
    fn each_verb_is_the_name_of_its_action_in_lower_case() {
        for action in ACTIONS {
            assert_eq!(verb(action), action.as_str().to_lowercase());
            assert_eq!(of_verb(verb(action)), Some(action));
        }
        assert_eq!(of_verb("delete"), None);
    }
}
