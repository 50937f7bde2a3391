//! A simulation as a picture: percentages and metrics over time, and what happened.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::api::trigger::LevelAction;
use crate::api::{MicroTime, Percent};
use crate::chart::curves::Limit;
use crate::chart::{Curve, Curves, Event, Panel, TimeAxis, ValueAxis};
use crate::engine::Subject;
use crate::engine::forecast::simulate::{Recorded, Simulation};
use crate::plan::Plan;
use crate::plan::guard::{Bound, CRITERION_INTERVAL, TRIGGER_INTERVAL};

/// What happened is listed below the curves; more than this is a table's business.
const MOST_EVENTS: usize = 40;
/// Stretches of time of which a curve shows the lowest and the highest value: more than a page has columns.
const COLUMNS: i64 = 1000;
/// Equal samples of a range that are looked at in each of them.
const A_STRETCH: i32 = 4;

/// One simulated rollout.
pub type Simulated<'a> = (&'a Plan, &'a Simulation, &'a Recorded);

/// The picture of these rollouts.
pub fn picture(rollouts: &[Simulated<'_>]) -> Curves {
    let axis = axis(rollouts);
    let several = rollouts.len() > 1;
    let of = |plan: &Plan| format!("{}/{}", plan.namespace, plan.name);
    let mut panels = Vec::new();
    for (plan, course, recorded) in rollouts {
        panels.push(percentages(plan, course, &axis, &of(plan)));
        for (subject, cohorts) in recorded.subjects() {
            panels.push(metric(plan, recorded, &axis, &subject, &cohorts));
        }
    }
    let mut events: Vec<Event> = Vec::new();
    for (plan, course, _) in rollouts {
        let name = if several { format!("{}: ", of(plan)) } else { String::new() };
        events.extend(course.transitions.iter().map(|transition| Event {
            at: transition.at,
            label: format!("{name}{}: {}", transition.reason, transition.message),
        }));
    }
    events.sort_by_key(|event| event.at);
    events.truncate(MOST_EVENTS);
    let title = match rollouts {
        [(plan, ..)] => format!("Simulation of {}", of(plan)),
        several => format!("Simulation of {} rollouts", several.len()),
    };
    let ends = rollouts.iter().map(|(plan, course, _)| match several {
        true => format!("{}: {}", of(plan), super::end(course)),
        false => super::end(course),
    });
    Curves { title, subtitle: ends.collect::<Vec<_>>().join("; "), axis, panels, events }
}

/// From the first thing that happened to the last.
fn axis(rollouts: &[Simulated<'_>]) -> TimeAxis {
    let instants = || {
        rollouts.iter().flat_map(|(_, course, recorded)| {
            let happened = course.transitions.iter().map(|transition| transition.at);
            happened.chain(course.entries.iter().map(|entry| entry.at)).chain(recorded.last())
        })
    };
    let from = instants().min().unwrap_or(MicroTime::UNIX_EPOCH);
    let to = instants().max().unwrap_or(from);
    let room = SignedDuration::from_secs(to.duration_since(from).as_secs() / 40);
    let mut zones = rollouts.iter().map(|(plan, ..)| plan.zone.clone());
    let first = zones.next().unwrap_or(TimeZone::UTC);
    let zone = if zones.all(|zone| zone == first) { first } else { TimeZone::UTC };
    TimeAxis::new(from, to.saturating_add(room), zone)
}

fn percentages(plan: &Plan, course: &Simulation, axis: &TimeAxis, label: &str) -> Panel {
    let number = |percent: Percent| f64::from(percent.thousandths()) / 1000.0;
    let curves = plan.cohorts.iter().map(|cohort| {
        let name = cohort.name.as_str();
        let baseline = plan.baseline.get(name).copied().unwrap_or_default();
        let mut points = vec![(axis.from(), Some(number(baseline)))];
        for entry in &course.entries {
            let served = entry.cohorts.iter().find(|(cohort, _)| cohort == name);
            points.extend(served.map(|(_, percent)| (entry.at, Some(number(*percent)))));
        }
        Curve { label: name.to_owned(), points, stepped: true }
    });
    Panel {
        label: label.to_owned(),
        axis: ValueAxis::PERCENT,
        unit: "%".to_owned(),
        curves: curves.collect(),
        limits: Vec::new(),
    }
}

fn metric(
    plan: &Plan,
    recorded: &Recorded,
    axis: &TimeAxis,
    subject: &Subject,
    cohorts: &[Option<String>],
) -> Panel {
    let (label, interval, limits) = match subject {
        Subject::Trigger(name) => {
            let trigger = plan.guard.trigger(name);
            let levels = trigger.into_iter().flat_map(|trigger| &trigger.levels);
            let limits = levels.map(|level| {
                let severe = level.action > LevelAction::Pause;
                limit(&level.bound, &format!("{}: {}", level.bound, level.action.as_str()), severe)
            });
            (name, trigger.map_or(TRIGGER_INTERVAL, |trigger| trigger.interval), limits.collect::<Vec<_>>())
        }
        Subject::Criterion(name) => {
            let criterion = plan.guard.criterion(name);
            let bound = criterion.and_then(|criterion| criterion.bound.as_ref());
            let limits = bound.map(|bound| limit(bound, &format!("{bound}: met"), false));
            let interval = criterion.map_or(CRITERION_INTERVAL, |criterion| criterion.interval);
            (name, interval, limits.into_iter().collect())
        }
    };
    let curves: Vec<Curve> = cohorts
        .iter()
        .map(|cohort| Curve {
            label: cohort.clone().unwrap_or_default(),
            points: points(recorded, subject, cohort.as_ref(), axis, interval),
            stepped: false,
        })
        .collect();
    let values = curves.iter().flat_map(|curve| curve.points.iter().filter_map(|(_, value)| *value));
    let axis = ValueAxis::of(values.chain(limits.iter().map(|limit| limit.value)), 4);
    Panel { label: label.clone(), axis, unit: String::new(), curves, limits }
}

fn limit(bound: &Bound, label: &str, severe: bool) -> Limit {
    Limit { value: bound.value.value(), label: label.to_owned(), severe }
}

/// The samples of a subject: of each narrow stretch of time the lowest and the highest, so that no peak is lost, and a
/// gap where there was none for longer than an interval.
fn points(
    recorded: &Recorded,
    subject: &Subject,
    cohort: Option<&String>,
    axis: &TimeAxis,
    interval: SignedDuration,
) -> Vec<(MicroTime, Option<f64>)> {
    let stretch = (axis.to().duration_since(axis.from()).as_secs() / COLUMNS).max(1);
    let apart = SignedDuration::from_secs(stretch) / A_STRETCH;
    let mut stretches: BTreeMap<i64, Vec<(MicroTime, Option<f64>)>> = BTreeMap::new();
    let mut points = Vec::new();
    for sample in recorded.samples_of(subject, cohort, (axis.from(), axis.to()), apart) {
        let number = sample.at.duration_since(axis.from()).as_secs() / stretch;
        let of_stretch = stretches.entry(number).or_default();
        if sample.before.is_some_and(|before| sample.at.duration_since(before) > interval) {
            of_stretch.push((sample.at, None));
        }
        of_stretch.push((sample.at, sample.value));
        if of_stretch.len() > 8 {
            thin(of_stretch);
        }
    }
    stretches.into_values().for_each(|of_stretch| points.extend(of_stretch));
    points
}

/// Leaves the first, the lowest, the highest and the last value, in their order, and one that is missing.
fn thin(points: &mut Vec<(MicroTime, Option<f64>)>) {
    let by = |a: &&(MicroTime, Option<f64>), b: &&(MicroTime, Option<f64>)| {
        a.1.unwrap_or(0.0).total_cmp(&b.1.unwrap_or(0.0))
    };
    let there = || points.iter().filter(|point| point.1.is_some());
    let missing = points.iter().find(|point| point.1.is_none());
    let kept = points.first().into_iter().chain(there().min_by(by)).chain(there().max_by(by));
    let mut kept: Vec<_> = kept.chain(missing).chain(points.last()).copied().collect();
    kept.sort_by_key(|(at, value)| (*at, value.is_some()));
    kept.dedup();
    *points = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peak_is_lost_where_samples_are_dense() {
        let at = |second: i64| MicroTime::from_second(second).unwrap();
        let mut points: Vec<_> = (0..9).map(|second| (at(second), Some(1.0))).collect();
        points[4].1 = Some(40.0);
        points[6].1 = Some(-3.0);
        thin(&mut points);
        assert_eq!(
            points.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            [1.0, 40.0, -3.0, 1.0].map(Some)
        );
    }
}
