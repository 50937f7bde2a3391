//! `sluice wait`: until a rollout is where a script wants it, or cannot get there by itself any more.

use std::str::FromStr;
use std::time::Duration as Length;

use kube::runtime::wait::await_condition;

use crate::api::conditions::{is_true, types};
use crate::api::{Duration, FeatureRollout, FeatureRolloutStatus};
use crate::cli::cluster::patience::Patience;
use crate::cli::cluster::{self, Cluster, ClusterArgs, Guarded};
use crate::cli::completion;
use crate::cli::output::summary::Summary;
use crate::cli::output::{self, Failure};
use crate::clock::{monotonic, sleep};
use crate::visible::line;

/// How long a cluster may be out of reach while somebody waits.
const AWAY: Length = Length::from_secs(60);

/// Arguments of `sluice wait`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the rollout, also as frol/NAME
    #[arg(add = completion::rollouts())]
    rollout: String,
    /// What is waited for: Ready, Completed, Paused, RolledBack, or phase=NAME for a phase that is entered
    #[arg(long = "for", value_name = "WHAT", default_value = "Completed", add = completion::targets(&STATES))]
    target: Target,
    /// How long at most
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: Duration,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What can be waited for, besides a phase.
const STATES: [&str; 4] = ["Ready", "Completed", "Paused", "RolledBack"];

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The file holds what is decided for the newest spec.
    Ready,
    Completed,
    Paused,
    RolledBack,
    /// This phase is entered, or one behind it.
    Phase(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let (kind, name) = text.split_once('=').map_or((text, None), |(kind, name)| (kind, Some(name)));
        match (kind.to_lowercase().replace('-', "").as_str(), name) {
            ("ready", None) => Ok(Target::Ready),
            ("completed", None) => Ok(Target::Completed),
            ("paused", None) => Ok(Target::Paused),
            ("rolledback", None) => Ok(Target::RolledBack),
            ("phase", Some(name)) if !name.is_empty() => Ok(Target::Phase(name.to_owned())),
            _ => Err("say Ready, Completed, Paused, RolledBack or phase=NAME".to_owned()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Ready => f.write_str("Ready"),
            Target::Completed => f.write_str("Completed"),
            Target::Paused => f.write_str("Paused"),
            Target::RolledBack => f.write_str("RolledBack"),
            Target::Phase(name) => write!(f, "phase={name}"),
        }
    }
}

/// How a rollout stands towards what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    There,
    OnItsWay,
    /// Not without somebody's help: it is rolled back, or cannot be decided on.
    Stuck,
}

/// Waits.
pub fn run(args: &Args) -> Result<(), Failure> {
    cluster::with(&args.cluster, |cluster| until(cluster, args))
}

async fn until(cluster: Cluster, args: &Args) -> Result<(), Failure> {
    let name = cluster::rollout_name(&args.rollout)?.to_owned();
    cluster.must_have(&name).await?;
    if let Target::Phase(phase) = &args.target {
        let rollout = cluster.rollout(&name).await?;
        let phases: Vec<&str> = rollout.spec.phases.iter().map(|phase| phase.name.as_str()).collect();
        if !phases.contains(&phase.as_str()) {
            let known = phases.join(", ");
            return Err(Failure::Input(format!("rollout {name} has no phase {phase:?}: it has {known}")));
        }
    }
    let longest = args.timeout.signed().unsigned_abs();
    let begun = monotonic();
    let mut patience = Patience::new(AWAY);
    loop {
        let settled = |object: Option<&Guarded>| match object {
            Some(object) => standing_of(object, &args.target) != Standing::OnItsWay,
            None => true,
        };
        let left = longest.saturating_sub(begun.elapsed());
        let wait = await_condition(cluster.rollouts(), &name, settled);
        match tokio::time::timeout(left, wait).await {
            Ok(Ok(Some(object))) => return told(&object, &args.target),
            Ok(Ok(None)) => return Err(Failure::Cluster(format!("rollout {name} was deleted"))),
            Ok(Err(error)) => match patience.failed(monotonic()) {
                Some(pause) => sleep(pause.length.min(left)).await,
                None => return Err(cluster.failure(&error)),
            },
            Err(_) => {
                let last = cluster.rollout(&name).await?;
                output::complain(&format!("not {} within {}: {}", args.target, args.timeout, said(&last)));
                return Err(Failure::No);
            }
        }
    }
}

fn told(object: &Guarded, target: &Target) -> Result<(), Failure> {
    match &object.0 {
        Ok(rollout) if standing(rollout, target) == Standing::There => {
            output::print(&format!("{target}: {}\n", said(rollout)))
        }
        Ok(rollout) => {
            output::complain(&format!("not {target} without somebody's help: {}", said(rollout)));
            Err(Failure::No)
        }
        Err(invalid) => Err(Failure::Cluster(format!("it cannot be read: {invalid}"))),
    }
}

fn said(rollout: &FeatureRollout) -> String {
    let summary = Summary::of(rollout);
    if rollout.status.as_ref().is_none_or(|status| !status.is_begun() && status.conditions.is_empty()) {
        return format!(
            "{} has not been seen by the controller yet: `sluice check` says whether one leads",
            summary.line().trim_end()
        );
    }
    let message = summary.message.clone().map(|message| format!("; {}", line(&message))).unwrap_or_default();
    format!("{}{message}", summary.line())
}

fn standing_of(object: &Guarded, target: &Target) -> Standing {
    object.0.as_ref().map_or(Standing::Stuck, |rollout| standing(rollout, target))
}

/// How a rollout stands. What its status says counts only for the spec that is stored now.
fn standing(rollout: &FeatureRollout, target: &Target) -> Standing {
    let nothing = FeatureRolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&nothing);
    let is = |condition: &str| is_true(&status.conditions, condition);
    let current =
        rollout.metadata.generation.is_none_or(|generation| status.observed_generation >= generation);
    let there = match target {
        Target::Ready => current && is(types::READY),
        Target::Completed => current && is(types::COMPLETED),
        Target::Paused => !status.pauses.is_empty(),
        Target::RolledBack => status.rollback.is_some(),
        Target::Phase(name) => entered(rollout, status, name),
    };
    let upwards = matches!(target, Target::Ready | Target::Completed | Target::Phase(_));
    // A rollback that is done has a file that holds it, and yet is not what anybody waits for who went forward.
    let stuck = current && (status.rollback.is_some() || is(types::STALLED));
    match (there, upwards && stuck) {
        (true, _) => Standing::There,
        (false, true) => Standing::Stuck,
        (false, false) => Standing::OnItsWay,
    }
}

fn entered(rollout: &FeatureRollout, status: &FeatureRolloutStatus, phase: &str) -> bool {
    let index = |name: &str| rollout.spec.phases.iter().position(|phase| phase.name == name);
    let at = status.position.as_ref().and_then(|position| index(&position.phase));
    status.rollback.is_none() && index(phase).zip(at).is_some_and(|(wanted, at)| at >= wanted)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn rollout(status: Value) -> FeatureRollout {
        serde_json::from_value(json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
            "metadata": {"name": "dreams", "generation": 2},
            "spec": {"phases": [{"name": "beta"}, {"name": "ga"}]},
            "status": status,
        }))
        .unwrap()
    }

    fn condition(name: &str) -> Value {
        json!([{"type": name, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2025-09-08T09:00:00Z"}])
    }

    fn position(phase: &str) -> Value {
        json!({"phase": phase, "number": 1, "of": 1, "content": "c",
            "enteredAt": "2025-09-08T09:00:00.000000Z", "holdFrom": "2025-09-08T09:00:00.000000Z"})
    }

    #[rstest]
    #[case::completed("completed", json!({"observedGeneration": 2, "conditions": condition("Completed")}), Standing::There)]
    #[case::of_the_old_spec("Completed", json!({"observedGeneration": 1, "conditions": condition("Completed")}), Standing::OnItsWay)]
    #[case::stalled("Completed", json!({"observedGeneration": 2, "conditions": condition("Stalled")}), Standing::Stuck)]
    #[case::stalled_before("Completed", json!({"observedGeneration": 1, "conditions": condition("Stalled")}), Standing::OnItsWay)]
    #[case::paused("paused", json!({"pauses": [{"cause": "Person", "since": "2025-09-08T09:00:00.000000Z", "message": "m"}]}), Standing::There)]
    #[case::not_paused("Paused", json!({"observedGeneration": 2, "conditions": condition("Completed")}), Standing::OnItsWay)]
    #[case::phase("phase=beta", json!({"position": position("beta")}), Standing::There)]
    #[case::behind_it("phase=beta", json!({"position": position("ga")}), Standing::There)]
    #[case::before_it("phase=ga", json!({"position": position("beta")}), Standing::OnItsWay)]
    #[case::nothing_yet("Ready", json!({}), Standing::OnItsWay)]
    fn how_it_stands(#[case] target: &str, #[case] status: Value, #[case] expected: Standing) {
        assert_eq!(standing(&rollout(status), &target.parse().unwrap()), expected);
    }

    #[test]
    fn what_can_be_waited_for_is_said() {
        for wrong in ["", "phase", "phase=", "completed=x", "done"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
        assert_eq!("rolled-back".parse(), Ok(Target::RolledBack));
    }
}
