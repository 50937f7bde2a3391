//! Phases unrolled into the one list of steps that the engine walks.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::audience::short_digest;
use super::policy::ApprovalAbove;
use super::weeks::Weeks;
use super::{Approval, FieldError, Hold, Step};
use crate::api::featurerollout::{self as api, ApprovalPolicy, FeatureRolloutSpec};
use crate::api::playbook::LAST_WEEK;
use crate::api::{MicroTime, Percent};

/// How long a step is kept when nothing else is said.
const DEFAULT_HOLD: SignedDuration = SignedDuration::from_hours(24);

/// What the steps of a spec are compiled against.
pub(super) struct Context<'a> {
    pub cohorts: &'a [String],
    /// What `week` counts from.
    pub weeks: Option<&'a Weeks>,
    /// Whether that is for a playbook to say.
    pub joins: bool,
    /// Above which percentage a policy asks for an approval.
    pub approval_above: Option<&'a ApprovalAbove>,
}

impl Context<'_> {
    /// Whether a step asks a cohort for more than needs an approval, and for more than the steps before it.
    fn is_above(&self, asks: &BTreeMap<String, Percent>, asked: &BTreeMap<String, Percent>) -> bool {
        let Some(above) = self.approval_above else { return false };
        asks.iter()
            .any(|(name, ask)| *ask > above.percent && *ask > asked.get(name).copied().unwrap_or_default())
    }
}

/// Every step of every phase in order; errors are added to `errors`.
pub(super) fn steps(
    spec: &FeatureRolloutSpec,
    context: &Context<'_>,
    errors: &mut Vec<FieldError>,
) -> Vec<Step> {
    if spec.phases.is_empty() {
        errors.push(FieldError::new("spec.phases", "is empty: a rollout has at least one phase"));
    }
    let mut drafts: Vec<Draft> = Vec::new();
    let mut names = BTreeSet::new();
    for (p, phase) in spec.phases.iter().enumerate() {
        let path = format!("spec.phases[{p}]");
        if !names.insert(phase.name.as_str()) {
            errors.push(
                FieldError::new(format!("{path}.name"), "is the name of another phase too")
                    .with_value(&phase.name),
            );
        }
        for (g, gate) in phase.gates.iter().enumerate() {
            match spec.criteria.iter().find(|criterion| criterion.name == *gate) {
                None => errors.push(
                    FieldError::new(
                        format!("{path}.gates[{g}]"),
                        "there is no criterion of this name in spec.criteria",
                    )
                    .with_value(gate),
                ),
                Some(criterion) if !criterion.has_bound() => errors.push(
                    FieldError::new(
                        format!("{path}.gates[{g}]"),
                        "is a criterion without a bound, which never passes",
                    )
                    .with_value(gate),
                ),
                Some(_) => {}
            }
        }
        let asked = asked_before(&drafts);
        match (&phase.steps, &phase.ramp) {
            (Some(steps), None) => drafts.extend(plain(spec, (phase, steps), asked, &path, context, errors)),
            (None, Some(ramp)) => {
                drafts.extend(unrolled(spec, (phase, ramp), &asked, &path, context, errors));
            }
            (Some(_), Some(_)) => {
                errors.push(FieldError::new(&path, "has steps and a ramp: give exactly one"))
            }
            (None, None) => {
                errors.push(FieldError::new(&path, "has neither steps nor a ramp: give exactly one"))
            }
        }
    }
    settle_holds(drafts)
}

/// A step whose hold may still depend on the next one's date.
struct Draft {
    step: Step,
    hold: Option<Hold>,
}

fn settle_holds(drafts: Vec<Draft>) -> Vec<Step> {
    let dates: Vec<Option<MicroTime>> = drafts.iter().map(|draft| draft.step.date).collect();
    drafts
        .into_iter()
        .enumerate()
        .map(|(i, draft)| {
            let next = dates.get(i + 1).copied().flatten();
            let between = draft.step.date.zip(next).map(|(this, next)| next.duration_since(this));
            let hold = draft.hold.unwrap_or_else(|| match between {
                Some(distance) => Hold::Time(distance.clamp(SignedDuration::ZERO, DEFAULT_HOLD)),
                None => Hold::Time(DEFAULT_HOLD),
            });
            Step { hold, ..draft.step }
        })
        .collect()
}

fn plain(
    spec: &FeatureRolloutSpec,
    (phase, steps): (&api::Phase, &[api::Step]),
    mut asked: BTreeMap<String, Percent>,
    path: &str,
    context: &Context<'_>,
    errors: &mut Vec<FieldError>,
) -> Vec<Draft> {
    if steps.is_empty() {
        errors.push(FieldError::new(format!("{path}.steps"), "is empty: a phase has at least one step"));
    }
    let mut names = BTreeSet::new();
    steps
        .iter()
        .enumerate()
        .map(|(s, step)| {
            let path = format!("{path}.steps[{s}]");
            if let Some(name) = &step.name
                && !names.insert(name.as_str())
            {
                errors.push(
                    FieldError::new(format!("{path}.name"), "is the name of another step of the phase too")
                        .with_value(name),
                );
            }
            if step.cohorts.is_empty() {
                errors.push(FieldError::new(
                    format!("{path}.cohorts"),
                    "is empty: a step asks at least one cohort",
                ));
            }
            for cohort in step.cohorts.keys() {
                known_cohort(cohort, format!("{path}.cohorts.{cohort}"), context, errors);
            }
            let approval = approval(spec, phase, step, &path, errors);
            let date = date(step, &path, context, errors);
            let by_policy = approval == Approval::NotRequired && context.is_above(&step.cohorts, &asked);
            asked.extend(step.cohorts.clone());
            Draft {
                hold: step.hold.map(Hold::from),
                step: Step {
                    date,
                    undated: step.week.filter(|_| context.joins && context.weeks.is_none()),
                    approval: if by_policy { given(spec, phase, step.name.as_deref()) } else { approval },
                    approval_by_policy: by_policy,
                    ..bare(phase, s, steps.len(), step.name.clone(), step.cohorts.clone())
                },
            }
        })
        .collect()
}

/// What the steps so far ask of each cohort: the ask of the last one that names it.
fn asked_before(drafts: &[Draft]) -> BTreeMap<String, Percent> {
    drafts.iter().flat_map(|draft| draft.step.asks.clone()).collect()
}

/// The steps of a ramp. It never lowers: each asks a cohort for the larger of its percentage and `asked`, what the steps
/// before the ramp ask of it.
fn unrolled(
    spec: &FeatureRolloutSpec,
    (phase, ramp): (&api::Phase, &api::Ramp),
    asked: &BTreeMap<String, Percent>,
    path: &str,
    context: &Context<'_>,
    errors: &mut Vec<FieldError>,
) -> Vec<Draft> {
    let path = format!("{path}.ramp");
    if ramp.percents.is_empty() {
        errors.push(FieldError::new(
            format!("{path}.percents"),
            "is empty: a ramp has at least one percentage",
        ));
    }
    if let Some(i) = ramp.percents.windows(2).position(|pair| matches!(pair, [a, b] if a >= b)) {
        errors.push(
            FieldError::new(
                format!("{path}.percents[{}]", i + 1),
                "is not above the one before: the percentages of a ramp rise",
            )
            .with_value(ramp.percents.get(i + 1).copied().unwrap_or_default()),
        );
    }
    let cohorts = ramp.cohorts.as_deref().unwrap_or(context.cohorts);
    for (i, cohort) in ramp.cohorts.iter().flatten().enumerate() {
        known_cohort(cohort, format!("{path}.cohorts[{i}]"), context, errors);
    }
    let of = ramp.percents.len();
    let mut asked_of_ramp = asked.clone();
    ramp.percents
        .iter()
        .enumerate()
        .map(|(i, percent)| {
            let ask = |name: &String| asked.get(name).copied().unwrap_or_default().max(*percent);
            let asks: BTreeMap<String, Percent> =
                cohorts.iter().map(|name| (name.clone(), ask(name))).collect();
            let name = percent.to_string();
            let by_policy = context.is_above(&asks, &asked_of_ramp);
            asked_of_ramp.extend(asks.clone());
            let approval = if by_policy { given(spec, phase, Some(&name)) } else { Approval::NotRequired };
            Draft {
                hold: Some(ramp.every.map_or(Hold::Time(DEFAULT_HOLD), Hold::from)),
                step: Step {
                    ramp: Some(*percent),
                    approval,
                    approval_by_policy: by_policy,
                    ..bare(phase, i, of, Some(name), asks)
                },
            }
        })
        .collect()
}

fn bare(
    phase: &api::Phase,
    index: usize,
    of: usize,
    name: Option<String>,
    asks: BTreeMap<String, Percent>,
) -> Step {
    Step {
        phase: phase.name.clone(),
        number: index + 1,
        of,
        name,
        ramp: None,
        content: short_digest(&serde_json::to_vec(&asks).unwrap_or_default()),
        date: None,
        undated: None,
        asks,
        hold: Hold::Time(DEFAULT_HOLD),
        approval: Approval::NotRequired,
        approval_by_policy: false,
        gates: phase.gates.clone(),
    }
}

fn known_cohort(cohort: &str, path: String, context: &Context<'_>, errors: &mut Vec<FieldError>) {
    if !context.cohorts.is_empty() && !context.cohorts.iter().any(|known| known == cohort) {
        errors.push(FieldError::new(
            path,
            format!("there is no cohort {cohort:?}: the cohorts are {}", context.cohorts.join(", ")),
        ));
    }
}

fn approval(
    spec: &FeatureRolloutSpec,
    phase: &api::Phase,
    step: &api::Step,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Approval {
    if step.approval.unwrap_or_default() == ApprovalPolicy::NotRequired {
        return Approval::NotRequired;
    }
    let Some(name) = &step.name else {
        errors.push(FieldError::new(
            format!("{path}.name"),
            "is missing: a step that requires approval has a name",
        ));
        return Approval::Missing;
    };
    given(spec, phase, Some(name))
}

/// How a step that needs an approval stands with git: rather one that names the attempt than one for any.
fn given(spec: &FeatureRolloutSpec, phase: &api::Phase, step: Option<&str>) -> Approval {
    let is_of_step = |given: &&api::Approval| given.phase == phase.name && Some(given.step.as_str()) == step;
    let of_step = spec.approvals.iter().filter(is_of_step);
    of_step
        .map(|given| given.attempt)
        .filter(|attempt| attempt.is_none_or(|attempt| attempt == spec.attempt))
        .max()
        .map_or(Approval::Missing, Approval::Given)
}

/// The step's own date.
fn date(
    step: &api::Step,
    path: &str,
    context: &Context<'_>,
    errors: &mut Vec<FieldError>,
) -> Option<MicroTime> {
    match (step.at, step.week) {
        (Some(_), Some(_)) => {
            errors.push(FieldError::new(path, "has at and week: give one of them"));
            None
        }
        (Some(at), None) => Some(at),
        (None, None) => None,
        (None, Some(week)) => {
            let path = format!("{path}.week");
            if !(1..=LAST_WEEK).contains(&week) {
                let message = format!("is not between 1 and {LAST_WEEK}");
                errors.push(FieldError::new(path, message).with_value(week));
                return None;
            }
            match context.weeks.map(|weeks| weeks.begins(week)) {
                Some(Some(date)) => Some(date),
                Some(None) => {
                    errors.push(FieldError::new(path, "is beyond the calendar").with_value(week));
                    None
                }
                // The rollout waits until the playbook says when that is.
                None if context.joins => None,
                None => {
                    let message =
                        "needs a start: set spec.schedule.startAt, or join a playbook by spec.playbookRef";
                    errors.push(FieldError::new(path, message).with_value(week));
                    None
                }
            }
        }
    }
}
