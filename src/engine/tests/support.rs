//! From YAML to a plan, and a driver that lives through it.

use jiff::SignedDuration;

use crate::api::featurerollout::FeatureRolloutSpec;
use crate::api::rolloutaction::RolloutActionSpec;
use crate::api::{CohortSet, FeatureRollout, FeatureRolloutStatus, FlagSet, FlagSetSpec, MicroTime, Reading};
use crate::engine::forecast::timeline::timeline;
use crate::engine::{
    Actor, Facts, Ground, Measurement, Metrics, Outcome, Request, Subject, act, decide, deliver,
};
use crate::plan::{Plan, Refs, compile};

pub const UID: &str = "uid-1";

/// An instant.
pub fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

/// `hours` after an instant.
pub fn after(start: &str, hours: i64) -> MicroTime {
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
    compile(&rollout(spec), Refs { flag_set: Some(&set), ..Refs::default() }).unwrap()
}

/// The plan of a spec with a CohortSet, whole objects as they stand in a file.
pub fn plan_of_objects(rollout: &str, cohort_set: &str) -> Plan {
    let rollout: FeatureRollout = serde_saphyr::from_str(rollout).unwrap();
    let set: CohortSet = serde_saphyr::from_str(cohort_set).unwrap();
    compile(&rollout, Refs { cohort_set: Some(&set), ..Refs::default() }).unwrap()
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
    pub now: MicroTime,
    pub wake_at: Option<MicroTime>,
    /// Actions created so far: each gets a UID of its own.
    pub actions: u32,
}

/// When the rollouts of [`Life::watched`] begin: a Monday.
pub const START: &str = "2025-09-08T09:00:00Z";

/// An action by its fields; name of the rollout and reason are filled in.
pub fn action(fields: serde_json::Value) -> RolloutActionSpec {
    let mut spec = serde_json::json!({"rolloutRef": {"name": "r"}, "reason": "because"});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

/// A request that nothing speaks against, created at `created`.
pub fn request<'a>(uid: &'a str, spec: &'a RolloutActionSpec, created: MicroTime) -> Request<'a> {
    let actor = Actor::Verified("ada".to_owned());
    Request {
        uid,
        spec,
        created,
        speed: 1,
        version: 1,
        actor,
        tracked_by: None,
        rollout_uid: UID,
        generation: 1,
    }
}

impl Life {
    /// First seen at `now`.
    pub fn begin(spec: &str, now: &str) -> Life {
        Life::of(plan(spec), Facts::favourable(UID), FeatureRolloutStatus::default(), now)
    }

    /// First decided on at `now`, with this much known.
    pub fn of(plan: Plan, facts: Facts, status: FeatureRolloutStatus, now: &str) -> Life {
        let mut life = Life { plan, facts, status, now: t(now), wake_at: None, actions: 0 };
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
            if self.facts.delivered {
                deliver(&mut self.status, self.now);
            }
            if stable {
                return;
            }
        }
        panic!("never settles: {:?}", self.status);
    }

    /// Lives on until `at`, deciding at every wake-up on the way and at `at` itself.
    pub fn until(&mut self, at: MicroTime) -> &mut Life {
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
        let parts: Vec<String> = self
            .status
            .cohorts
            .iter()
            .map(|cohort| format!("{}={}", cohort.name, cohort.decided()))
            .collect();
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
    pub fn completed_at(&self) -> Option<MicroTime> {
        self.status.completed_at
    }

    /// First seen at [`START`], with metrics that have not been measured yet.
    pub fn watched(spec: &str) -> Life {
        let facts = Facts { metrics: Metrics::Measured(Vec::new()), ..Facts::favourable(UID) };
        Life::of(plan(spec), facts, FeatureRolloutStatus::default(), START)
    }

    /// Lives on for some seconds.
    pub fn wait(&mut self, seconds: i64) -> &mut Life {
        self.until(self.now + SignedDuration::from_secs(seconds))
    }

    /// Takes a measurement of now: from then on the newest of its subject and cohort.
    pub fn measure(&mut self, subject: Subject, cohort: Option<&str>, reading: Reading) -> &mut Life {
        let cohort = cohort.map(str::to_owned);
        let mut known = self.facts.metrics.measurements().to_vec();
        known.retain(|known| known.subject != subject || known.cohort != cohort);
        known.push(Measurement { subject, cohort, at: self.now, due: self.now, reading });
        self.facts.metrics = Metrics::Measured(known);
        self.settle();
        self
    }

    /// A trigger's metric says this.
    pub fn says(&mut self, trigger: &str, value: f64) -> &mut Life {
        self.measure(Subject::Trigger(trigger.to_owned()), None, Reading::of(value, None))
    }

    /// A trigger's metric says this of a cohort.
    pub fn says_of(&mut self, trigger: &str, cohort: &str, value: f64) -> &mut Life {
        self.measure(Subject::Trigger(trigger.to_owned()), Some(cohort), Reading::of(value, None))
    }

    /// A trigger's source does not answer.
    pub fn fails(&mut self, trigger: &str) -> &mut Life {
        self.measure(
            Subject::Trigger(trigger.to_owned()),
            None,
            Reading::Error("connection refused".to_owned()),
        )
    }

    /// A criterion's metric says this, from so many samples.
    pub fn counts(&mut self, criterion: &str, value: f64, samples: Option<u64>) -> &mut Life {
        self.measure(Subject::Criterion(criterion.to_owned()), None, Reading::of(value, samples))
    }

    /// A trigger's metric says these values, the first now, the others so many seconds apart.
    pub fn series(&mut self, trigger: &str, apart: i64, values: &[f64]) -> &mut Life {
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.wait(apart);
            }
            self.says(trigger, *value);
        }
        self
    }

    /// Somebody asks for something; what is applied is lived on with. `Applied: …`.
    pub fn ask(&mut self, fields: serde_json::Value) -> String {
        let outcome = self.outcome(fields);
        self.status = outcome.status;
        self.settle();
        format!("{}: {}", outcome.answer.as_str(), outcome.message)
    }

    /// What would become of an action now.
    pub fn outcome(&mut self, fields: serde_json::Value) -> Outcome {
        self.actions += 1;
        let uid = format!("action-{}", self.actions);
        act(
            Ground::Plan(&self.plan, &self.facts),
            &self.status,
            &request(&uid, &action(fields), self.now),
            self.now,
        )
    }

    /// The controller restarts: nothing is left but the status as it was stored.
    pub fn restart(&mut self) -> &mut Life {
        let stored = serde_json::to_string(&self.status).unwrap();
        self.status = serde_json::from_str(&stored).unwrap();
        self.settle();
        self
    }

    /// Seconds since [`START`].
    pub fn seconds(&self) -> i64 {
        self.now.duration_since(t(START)).as_secs()
    }

    /// What happened, oldest first: `300 RolledBack trigger/errors`, in seconds since [`START`].
    pub fn told(&self) -> Vec<String> {
        let entries = self.status.history.iter().map(|entry| {
            let seconds = entry.at.duration_since(t(START)).as_secs();
            format!("{seconds} {} {}", entry.reason, entry.who)
        });
        entries.collect()
    }

    /// What the trigger said last, of the whole rollout or of a cohort.
    pub fn verdict(&self, trigger: &str, cohort: &str) -> &'static str {
        let found = self.status.triggers.iter().find(|known| known.name == trigger && known.cohort == cohort);
        found.map_or("none", |known| known.verdict.as_str())
    }

    /// Why the next raise waits.
    pub fn why(&self) -> &str {
        self.status.waiting_for.as_ref().map_or("", |waiting| &waiting.message)
    }
}
