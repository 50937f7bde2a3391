//! The files of flags that the objects amount to at a time.

use std::collections::BTreeMap;
use std::fmt;

use crate::api::MicroTime;
use crate::cli::files::Kind;
use crate::cli::files::lint::Checked;
use crate::cli::output::Failure;
use crate::engine::forecast::timeline::state_at;
use crate::flags::{self, Identity};
use crate::plan::Plan;

/// One file of flags: a FlagSet's, or that of a rollout without one.
pub struct FlagFile<'c> {
    /// The FlagSet or rollout that it is the file of.
    pub owner: Owner<'c>,
    /// The file.
    pub file: flags::File,
    /// Its bytes.
    pub text: String,
    /// The plans of the rollouts in it, by flag key.
    pub members: BTreeMap<&'c str, &'c Plan>,
}

/// The object that a file belongs to. A FlagSet and a rollout of one name have two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner<'c> {
    /// Its namespace.
    pub namespace: &'c str,
    /// Its name.
    pub name: &'c str,
    /// FlagSet, or FeatureRollout where the rollout has none.
    pub kind: Kind,
}

impl Owner<'_> {
    /// Whether this is the one that somebody means by `NAME`, `fset/NAME` or `frol/NAME`.
    pub fn is(&self, given: &str) -> bool {
        match given.split_once('/') {
            None => given == self.name,
            Some((kind, name)) => {
                let kinds: &[&str] = match self.kind {
                    Kind::FlagSet => &["fset", "flagset", "flagsets"],
                    _ => &["frol", "featurerollout", "featurerollouts"],
                };
                name == self.name && kinds.contains(&kind.to_lowercase().as_str())
            }
        }
    }
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What goes into a file.
#[derive(Default)]
struct Parts<'c> {
    set: Option<flags::SetInfo>,
    plans: Vec<&'c Plan>,
}

/// The files at `at`, by namespace, name and kind of their owners; rollouts without a start begin at `now`.
///
/// # Errors
/// A file that does not take all of its flags: it would be too large.
pub fn flag_files<'c>(
    checked: &'c Checked<'_>,
    now: MicroTime,
    at: MicroTime,
) -> Result<Vec<FlagFile<'c>>, Failure> {
    let mut parts: BTreeMap<Owner<'c>, Parts<'c>> = BTreeMap::new();
    for ((namespace, name), item) in &checked.typed.flag_sets {
        let set = flags::SetInfo {
            uid: stable_uid(namespace, name),
            generation: 1,
            statics: item.typed.spec.flags.clone(),
            metadata: item.typed.spec.metadata.clone(),
            verdict: None,
            prune: item.typed.spec.prune.iter().cloned().collect(),
            // Offline nobody is gone.
            emergency: false,
        };
        let owner = Owner { namespace, name, kind: Kind::FlagSet };
        parts.entry(owner).or_default().set = Some(set);
    }
    for ((namespace, name), plan) in &checked.plans {
        let Some(item) = checked.typed.rollouts.get(&(*namespace, *name)) else { continue };
        let owner = match item.typed.spec.flag_set_ref.as_ref() {
            Some(reference) => Owner { namespace, name: reference.name.as_str(), kind: Kind::FlagSet },
            None => Owner { namespace, name, kind: Kind::FeatureRollout },
        };
        parts.entry(owner).or_default().plans.push(plan);
    }
    parts.into_iter().map(|(owner, parts)| flag_file(owner, &parts, now, at)).collect()
}

/// The file as its writer would make it.
fn flag_file<'c>(
    owner: Owner<'c>,
    parts: &Parts<'c>,
    now: MicroTime,
    at: MicroTime,
) -> Result<FlagFile<'c>, Failure> {
    let candidates: Vec<flags::Candidate> =
        parts.plans.iter().map(|plan| flags::Candidate::Put(fragment(plan, now, at))).collect();
    let merged = flags::merge(&flags::Merge {
        live: &flags::Live::Missing,
        last_good: None,
        at_control: None,
        set: parts.set.as_ref(),
        candidates: &candidates,
        living: None,
    });
    let too_large =
        |size: usize| Failure::Input(format!("file {owner} would have {size} bytes, which is too many"));
    for outcome in &merged.outcomes {
        if let flags::Outcome::TooLarge { size } = outcome {
            return Err(too_large(*size));
        }
    }
    if let flags::SetOutcome::TooLarge { size } = merged.set {
        return Err(too_large(size));
    }
    let members = parts.plans.iter().map(|plan| (plan.feature.key.as_str(), *plan)).collect();
    Ok(FlagFile { owner, file: merged.file, text: merged.text, members })
}

/// The flag of a rollout at a time. There is no cluster to number revisions and name UIDs: the number of history
/// entries so far, and namespace and name, are as stable.
fn fragment(plan: &Plan, now: MicroTime, at: MicroTime) -> flags::Fragment {
    let mut status = state_at(plan, now, at);
    status.revision = status.last_seq();
    let identity = Identity {
        namespace: plan.namespace.clone(),
        name: plan.name.clone(),
        uid: stable_uid(&plan.namespace, &plan.name),
    };
    flags::fragment(&plan.feature, &identity, &status, &plan.audience)
}

/// In the form of a UID, from namespace and name.
fn stable_uid(namespace: &str, name: &str) -> String {
    let digest = flags::sha256_hex(format!("{namespace}/{name}").as_bytes());
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// The file of this name, or the only one.
///
/// # Errors
/// When there is none, or several and no name.
pub fn choose<'f, 'c>(files: &'f [FlagFile<'c>], name: Option<&str>) -> Result<&'f FlagFile<'c>, Failure> {
    let fitting: Vec<&FlagFile<'_>> =
        files.iter().filter(|file| name.is_none_or(|name| file.owner.is(name))).collect();
    let names = |files: &[&FlagFile<'_>]| {
        files.iter().map(|file| file.owner.to_string()).collect::<Vec<_>>().join(", ")
    };
    match (fitting.as_slice(), name) {
        ([one], _) => Ok(one),
        ([], Some(name)) => {
            let all: Vec<&FlagFile<'_>> = files.iter().collect();
            Err(Failure::Input(format!("there is no file {name}: there are {}", names(&all))))
        }
        ([], None) => Err(Failure::Input("there is no rollout and no FlagSet in the files".to_owned())),
        ([one, other], Some(name)) if one.owner.namespace == other.owner.namespace => {
            Err(Failure::Input(format!(
                "a FlagSet and a rollout are called {name}: choose with --flag-set fset/{name} or frol/{name}"
            )))
        }
        (several, Some(_)) => {
            Err(Failure::Input(format!("several namespaces have it: choose with -n: {}", names(several))))
        }
        (several, None) => Err(Failure::Input(format!(
            "there are several files: choose with --flag-set: {}",
            names(several)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::files::Input;
    use crate::cli::files::lint::check;

    const TWO: &str = "apiVersion: sluice.dev/v1alpha1
kind: FlagSet
metadata: {name: app}
spec:
  outputs: [{configMap: flags}]
  flags: {banner: {state: ENABLED, variants: {a: true}, defaultVariant: a}}
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: app}
spec:
  cohorts: [{name: all}]
  phases: [{name: ga, ramp: {percents: [100]}}]
";

    #[test]
    fn a_flag_set_and_a_rollout_of_one_name_have_two_files() {
        let mut input = Input::default();
        input.add("-", TWO);
        let checked = check(&input);
        assert_eq!(checked.problems, vec![]);
        let files = flag_files(&checked, MicroTime::UNIX_EPOCH, MicroTime::UNIX_EPOCH).unwrap_or_default();
        let flags = |name: &str| {
            let file = choose(&files, Some(name)).map(|file| &file.file);
            file.map(|file| file.flags().into_keys().map(std::borrow::Cow::into_owned).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        assert_eq!(flags("fset/app"), ["banner"]);
        assert_eq!(flags("frol/app"), ["app"]);
        let Err(Failure::Input(message)) = choose(&files, Some("app")) else {
            panic!("one of two was chosen")
        };
        assert!(message.contains("fset/app or frol/app"), "{message}");
    }
}
