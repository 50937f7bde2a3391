//! Objects of kinds that count in the operator's own namespace alone, and are in another one: nobody asks or tells them, and
//! each says so of itself. Without a word of anybody tools that wait for a status would wait for ever.
//!
//! They are watched by themselves, and nothing of them is kept: where they cannot be listed, or there are many, the ones that
//! count are known all the same.

use kube::ResourceExt;
use kube::core::{DeserializeGuard, DynamicObject};
use kube::runtime::watcher::Event;

use super::cache::{ObjectKey, key_of};

use super::context::{Context, Key, Shared};
use super::persist::{say_stalled, stalled_conditions};
use super::queue::Priority;
use super::watch;
use crate::api::{Condition, MetricSource, NotificationChannel, Reason};
use crate::cluster::Scope;
use crate::error::Fault;

/// A kind that counts in the operator's own namespace alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stray {
    /// A source of metrics.
    MetricSource,
    /// A place where people are told.
    NotificationChannel,
}

impl Stray {
    /// Every such kind.
    const ALL: [Stray; 2] = [Stray::MetricSource, Stray::NotificationChannel];

    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stray::MetricSource => "MetricSource",
            Stray::NotificationChannel => "NotificationChannel",
        }
    }

    fn scope(self, namespace: Option<&str>) -> Scope {
        match self {
            Stray::MetricSource => Scope::of::<MetricSource>(namespace),
            Stray::NotificationChannel => Scope::of::<NotificationChannel>(namespace),
        }
    }

    /// Why it does nothing where it is, and where it would.
    fn message(self, namespace: &str, own: &str) -> String {
        let kind = self.as_str();
        let serves = match self {
            Stray::MetricSource => "templates",
            Stray::NotificationChannel => "rollouts",
        };
        format!(
            "it is used by nobody here: only those of Sluice's own namespace count; whoever runs Sluice can create this \
             {kind} in {own}, with {namespace} among its allowedNamespaces to serve the {serves} of this namespace"
        )
    }
}

/// Has each that does not say yet that it is in the wrong place say so, until the end of the term.
pub fn watch(ctx: &Shared) {
    for kind in Stray::ALL {
        let elsewhere = kind
            .scope(None)
            .fields(&format!("metadata.namespace!={}", ctx.namespace))
            .called(&format!("{} of other namespaces", kind.as_str()));
        let take = move |ctx: &Shared, event: Event<DeserializeGuard<DynamicObject>>| {
            if let Event::Apply(object) | Event::InitApply(object) = event
                && !says_so(ctx, kind, &object)
            {
                ctx.queue.push(Key::Stray(kind, key_of(&object)), Priority::Report);
            }
        };
        tokio::spawn(watch::follow(ctx.clone(), elsewhere, take));
    }
}

/// Whether an object says what there is to say.
fn says_so(ctx: &Context, kind: Stray, object: &DeserializeGuard<DynamicObject>) -> bool {
    let Ok(object) = &object.0 else { return false };
    let conditions = object.data.pointer("/status/conditions").cloned().unwrap_or_default();
    let prior: Vec<Condition> = serde_json::from_value(conditions).unwrap_or_default();
    let message = kind.message(&object.namespace().unwrap_or_default(), &ctx.namespace);
    let generation = object.metadata.generation.unwrap_or(0);
    stalled_conditions(&prior, (Reason::WrongNamespace, &message), generation, ctx.clock.now()) == prior
}

/// Says on an object that it is in the wrong place, once for each of its generations.
///
/// # Errors
/// When it could not be read, or its status not be written.
pub async fn say(ctx: &Context, kind: Stray, key: &ObjectKey) -> Result<(), Fault> {
    let scope = kind.scope(Some(&key.0));
    let Some(stored) = ctx.cluster.parts(&scope, &key.1).await? else { return Ok(()) };
    if stored.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let message = kind.message(&key.0, &ctx.namespace);
    say_stalled(ctx, &scope, &stored, Reason::WrongNamespace, &message).await
}
