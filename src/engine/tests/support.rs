//! From YAML to a plan, and a driver that lives through it.

use jiff::{SignedDuration, Timestamp};

use crate::api::featurerollout::FeatureRolloutSpec;
use crate::api::{CohortSet, FeatureRollout, FeatureRolloutStatus, FlagSet, FlagSetSpec, MicroTime};
use crate::engine::timeline::timeline;
use crate::engine::{Facts, decide};
use crate::plan::{Plan, Refs, compile};

pub const UID: &str = "uid-1";

/// An instant.
pub fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// `hours` after an instant.
pub fn after(start: &str, hours: i64) -> Timestamp {
    t(start) + SignedDuration::from_hours(hours)
}

/// A rollout named `r`, from its spec.
pub fn rollout(spec: &str) -> FeatureRollout {
    FeatureRollout::new("r", serde_saphyr::from_str::<FeatureRolloutSpec>(spec).unwrap())
}

/// The plan of a spec that stands alone.
pub fn plan(spec: &str) -> Plan {
    compile(&rollout(spec), Refs::default()).unwrap()
}

/// The plan of a spec with a FlagSet.
pub fn plan_in_set(spec: &str, flag_set: &str) -> Plan {
    let set = FlagSet::new("s", serde_saphyr::from_str::<FlagSetSpec>(flag_set).unwrap());
    compile(&rollout(spec), Refs { flag_set: Some(&set), cohort_set: None }).unwrap()
}

/// The plan of a spec with a CohortSet, whole objects as they stand in a file.
pub fn plan_of_objects(rollout: &str, cohort_set: &str) -> Plan {
    let rollout: FeatureRollout = serde_saphyr::from_str(rollout).unwrap();
    let set: CohortSet = serde_saphyr::from_str(cohort_set).unwrap();
    compile(&rollout, Refs { flag_set: None, cohort_set: Some(&set) }).unwrap()
}

/// What `sluice plan` says, one line an entry and one for the completion:
/// `2025-09-08T09:00:00Z ga/1 Step a=5% b=0% 2.5%`.
pub fn lines(plan: &Plan, now: &str) -> Vec<String> {
    let timeline = timeline(plan, t(now));
    let mut lines: Vec<String> = timeline
        .entries
        .iter()
        .map(|entry| {
            let cohorts: String =
                entry.cohorts.iter().map(|(name, percent)| format!(" {name}={percent}")).collect();
            let exposure = entry.exposure.map(|exposure| format!(" {exposure}")).unwrap_or_default();
            format!("{} {}/{} {}{cohorts}{exposure}", entry.at, entry.phase, entry.step, entry.cause.as_str())
        })
        .collect();
    lines.push(match timeline.completed_at {
        Some(at) => format!("{at} completed"),
        None => "never completed".to_owned(),
    });
    lines
}

/// Asserts the whole timeline; `now` is years before any start that the specs give.
pub fn assert_timeline(plan: &Plan, expected: &[&str]) {
    assert_eq!(lines(plan, "2010-01-01T00:00:00Z"), expected);
}

/// A rollout that lives: time passes, its wake-ups come, and the file holds at once what is decided.
pub struct Life {
    pub plan: Plan,
    pub facts: Facts,
    pub status: FeatureRolloutStatus,
    pub now: Timestamp,
    pub wake_at: Option<Timestamp>,
}

impl Life {
    /// First seen at `now`.
    pub fn begin(spec: &str, now: &str) -> Life {
        Life::of(plan(spec), Facts::favourable(UID), FeatureRolloutStatus::default(), now)
    }

    /// First decided on at `now`, with this much known.
    pub fn of(plan: Plan, facts: Facts, status: FeatureRolloutStatus, now: &str) -> Life {
        let mut life = Life { plan, facts, status, now: t(now), wake_at: None };
        life.settle();
        life
    }

    /// Decides until nothing changes: each decision is delivered before the next.
    pub fn settle(&mut self) {
        for _ in 0..1000 {
            let decision = decide(&self.plan, &self.status, &self.facts, self.now);
            assert!(decision.wake_at.is_none_or(|at| at > self.now), "wakes in the past");
            let stable = decision.status == self.status;
            self.status = decision.status;
            self.wake_at = decision.wake_at;
            if stable {
                return;
            }
        }
        panic!("never settles: {:?}", self.status);
    }

    /// Lives on until `at`, deciding at every wake-up on the way and at `at` itself.
    pub fn until(&mut self, at: Timestamp) -> &mut Life {
        while let Some(wake) = self.wake_at.filter(|wake| *wake <= at) {
            self.now = wake;
            self.settle();
        }
        self.now = at;
        self.settle();
        self
    }

    /// Lives on for some hours.
    pub fn pass(&mut self, hours: i64) -> &mut Life {
        self.until(self.now + SignedDuration::from_hours(hours))
    }

    /// The spec is edited.
    pub fn edit(&mut self, spec: &str) -> &mut Life {
        self.change(plan(spec))
    }

    /// The plan is another one from now on.
    pub fn change(&mut self, plan: Plan) -> &mut Life {
        self.plan = plan;
        self.settle();
        self
    }

    /// The facts change.
    pub fn fact(&mut self, change: impl FnOnce(&mut Facts)) -> &mut Life {
        change(&mut self.facts);
        self.settle();
        self
    }

    /// The plan changes in place.
    pub fn tweak(&mut self, change: impl FnOnce(&mut Plan)) -> &mut Life {
        change(&mut self.plan);
        self.settle();
        self
    }

    /// What is served: `a=10% b=0%`.
    pub fn served(&self) -> String {
        let parts: Vec<String> =
            self.status.cohorts.iter().map(|cohort| format!("{}={}", cohort.name, cohort.served)).collect();
        parts.join(" ")
    }

    /// What is asked of a cohort.
    pub fn asked(&self, cohort: &str) -> String {
        self.status.cohort(cohort).unwrap().asked.to_string()
    }

    /// What is pending for a cohort, if anything.
    pub fn pending(&self, cohort: &str) -> Option<String> {
        let pending = self.status.cohort(cohort).unwrap().pending.as_ref();
        pending.map(|pending| pending.percent.to_string())
    }

    /// Where the rollout stands: `ga/2`.
    pub fn position(&self) -> String {
        match &self.status.position {
            Some(position) => format!("{}/{}", position.phase, position.number),
            None => "none".to_owned(),
        }
    }

    /// The check that the next raise waits for.
    pub fn waits(&self) -> String {
        self.status.waiting_for.as_ref().map(|waiting| format!("{:?}", waiting.check)).unwrap_or_default()
    }

    /// The causes of the pauses.
    pub fn pauses(&self) -> Vec<String> {
        self.status.pauses.iter().map(|pause| format!("{:?}", pause.cause)).collect()
    }

    /// The reasons in the history, oldest first.
    pub fn reasons(&self) -> Vec<&'static str> {
        self.status.history.iter().map(|entry| entry.reason.as_str()).collect()
    }

    /// When it was completed.
    pub fn completed_at(&self) -> Option<Timestamp> {
        self.status.completed_at.map(MicroTime::timestamp)
    }
}
