//! What names a file.

use kube::ResourceExt;

use crate::api::FeatureRollout;

/// The file that a rollout's flag is in: a FlagSet's, or the rollout's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId {
    /// Namespace.
    pub namespace: String,
    /// Name of the FlagSet or of the rollout.
    pub name: String,
    /// Whether it is a FlagSet.
    pub shared: bool,
}

impl SetId {
    /// The set of a rollout.
    pub fn of(rollout: &FeatureRollout) -> SetId {
        let namespace = rollout.namespace().unwrap_or_default();
        match &rollout.spec.flag_set_ref {
            Some(reference) => SetId { namespace, name: reference.name.clone(), shared: true },
            None => SetId { namespace, name: rollout.name_any(), shared: false },
        }
    }

    /// The set that a ConfigMap names as its owner.
    pub fn parse(owner: &str) -> Option<SetId> {
        let mut parts = owner.split('/');
        let shared = match parts.next()? {
            "FlagSet" => true,
            "FeatureRollout" => false,
            _ => return None,
        };
        let (namespace, name) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        parts.next().is_none().then_some(SetId { namespace, name, shared })
    }

    /// How the ConfigMap names its owner.
    pub fn owner(&self) -> String {
        let kind = if self.shared { "FlagSet" } else { "FeatureRollout" };
        format!("{kind}/{}/{}", self.namespace, self.name)
    }
}
