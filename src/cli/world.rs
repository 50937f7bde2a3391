//! The files of flags that the objects amount to at a time.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Failure;
use super::check::Checked;
use crate::engine::timeline::state_at;
use crate::flags::{self, Identity};
use crate::plan::Plan;

/// One file of flags: a FlagSet's, or that of a rollout without one.
pub struct FlagFile<'c> {
    /// Name of the FlagSet or rollout.
    pub name: &'c str,
    /// Its namespace.
    pub namespace: &'c str,
    /// The file.
    pub file: flags::File,
    /// Its bytes.
    pub text: String,
    /// The plans of the rollouts in it, by flag key.
    pub members: BTreeMap<&'c str, &'c Plan>,
}

/// What goes into a file.
#[derive(Default)]
struct Parts<'c> {
    set: Option<flags::SetInfo>,
    plans: Vec<&'c Plan>,
}

/// The files at `at`, by namespace and name; rollouts without a start begin at `now`.
///
/// # Errors
/// A file that does not take all of its flags: it would be too large.
pub fn flag_files<'c>(
    checked: &'c Checked<'_>,
    now: Timestamp,
    at: Timestamp,
) -> Result<Vec<FlagFile<'c>>, Failure> {
    let mut parts: BTreeMap<(&str, &str), Parts<'c>> = BTreeMap::new();
    for ((namespace, name), item) in &checked.typed.flag_sets {
        let set = flags::SetInfo {
            uid: stable_uid(namespace, name),
            generation: 1,
            statics: item.typed.spec.flags.clone(),
            metadata: item.typed.spec.metadata.clone(),
            prune: item.typed.spec.prune.iter().cloned().collect(),
            // Offline nobody is gone.
            emergency: false,
        };
        parts.entry((namespace, name)).or_default().set = Some(set);
    }
    for ((namespace, name), plan) in &checked.plans {
        let Some(item) = checked.typed.rollouts.get(&(*namespace, *name)) else { continue };
        let reference = item.typed.spec.flag_set_ref.as_ref();
        let file = reference.map_or(*name, |reference| reference.name.as_str());
        parts.entry((namespace, file)).or_default().plans.push(plan);
    }
    parts.into_iter().map(|((namespace, name), parts)| flag_file(namespace, name, &parts, now, at)).collect()
}

/// The file as its writer would make it.
fn flag_file<'c>(
    namespace: &'c str,
    name: &'c str,
    parts: &Parts<'c>,
    now: Timestamp,
    at: Timestamp,
) -> Result<FlagFile<'c>, Failure> {
    let candidates: Vec<flags::Candidate> =
        parts.plans.iter().map(|plan| flags::Candidate::Put(fragment(plan, now, at))).collect();
    let merged = flags::merge(&flags::Merge {
        live: &flags::Live::Missing,
        last_good: None,
        set: parts.set.as_ref(),
        candidates: &candidates,
        living: None,
    });
    let too_large = |size: usize| {
        Failure::Input(format!("file {namespace}/{name} would have {size} bytes, which is too many"))
    };
    for outcome in &merged.outcomes {
        if let flags::Outcome::TooLarge { size } = outcome {
            return Err(too_large(*size));
        }
    }
    if let flags::SetOutcome::TooLarge { size } = merged.set {
        return Err(too_large(size));
    }
    let members = parts.plans.iter().map(|plan| (plan.feature.key.as_str(), *plan)).collect();
    Ok(FlagFile { name, namespace, file: merged.file, text: merged.text, members })
}

/// The flag of a rollout at a time. There is no cluster to number revisions and name UIDs: the number of history
/// entries so far, and namespace and name, are as stable.
fn fragment(plan: &Plan, now: Timestamp, at: Timestamp) -> flags::Fragment {
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
        files.iter().filter(|file| name.is_none_or(|name| name == file.name)).collect();
    let names = |files: &[&FlagFile<'_>]| {
        let names = files.iter().map(|file| format!("{}/{}", file.namespace, file.name));
        names.collect::<Vec<_>>().join(", ")
    };
    match (fitting.as_slice(), name) {
        ([one], _) => Ok(one),
        ([], Some(name)) => {
            let all: Vec<&FlagFile<'_>> = files.iter().collect();
            Err(Failure::Input(format!("there is no file {name}: there are {}", names(&all))))
        }
        ([], None) => Err(Failure::Input("there is no rollout and no FlagSet in the files".to_owned())),
        (several, Some(_)) => {
            Err(Failure::Input(format!("several namespaces have it: choose with -n: {}", names(several))))
        }
        (several, None) => Err(Failure::Input(format!(
            "there are several files: choose with --flag-set: {}",
            names(several)
        ))),
    }
}
