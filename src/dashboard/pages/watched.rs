//! What watches over a rollout, beside its bounds: triggers and criteria.

use minijinja::Value;

use crate::api::measured::MeasuredKind;
use crate::api::{FeatureRolloutStatus, Verdict};
use crate::dashboard::read::Seen;
use crate::dashboard::text::context;
use crate::dashboard::units::Units;
use crate::plan::guard::CriterionSource;
use crate::plan::{Guard, GuardSpec, guard};

/// What watches over a rollout, as far as the person may read that.
pub fn guard_of(seen: &Seen) -> Guard {
    match &seen.plan {
        Ok(plan) => plan.guard.clone(),
        Err(_) => guard(&GuardSpec::of(&seen.rollout.spec), &[], &mut Vec::new()),
    }
}

/// Triggers and criteria, with what they said last.
pub fn watched(guard: &Guard, status: &FeatureRolloutStatus, units: &Units) -> Vec<Value> {
    let mut rows = Vec::new();
    for trigger in &guard.triggers {
        let with_unit = |text: &str| units.with_unit(MeasuredKind::Trigger, &trigger.name, text);
        let shown = |text: &str| units.value(MeasuredKind::Trigger, &trigger.name, text);
        let bounds: Vec<String> = trigger
            .levels
            .iter()
            .map(|level| {
                let lasting =
                    if level.for_.is_zero() { String::new() } else { format!(" for {:#}", level.for_) };
                let (bound, severity) = (with_unit(&level.bound.to_string()), level.severity.as_str());
                format!("{bound}{lasting}: {} ({severity})", level.action.as_str())
            })
            .collect();
        let limits: Vec<f64> = trigger.levels.iter().map(|level| level.bound.value.value()).collect();
        let known: Vec<_> = status.triggers.iter().filter(|known| known.name == trigger.name).collect();
        let every = format!("{:#}", trigger.interval);
        if known.is_empty() {
            rows.push(context! {
                name => trigger.name, kind => "trigger", every, verdict => "not measured yet", class => "muted",
                bounds, gauge => gauge(None, &limits, false),
            });
            continue;
        }
        for known in known {
            let of = if known.cohort.is_empty() { String::new() } else { format!(" of {}", known.cohort) };
            rows.push(context! {
                name => format!("{}{of}", known.name), kind => "trigger", every, bounds,
                verdict => known.verdict.as_str(), class => class(Some(known.verdict)),
                message => known.message, value => known.value.as_deref().map(shown), since => known.since.to_string(),
                at => known.at.map(|at| at.to_string()),
                gauge => gauge(known.value.as_deref(), &limits, known.verdict == Verdict::Breach),
            });
        }
    }
    for criterion in &guard.criteria {
        let known = status.criteria.iter().find(|known| known.name == criterion.name);
        let verdict = known.and_then(|known| known.verdict);
        let with_unit = |text: &str| units.with_unit(MeasuredKind::Criterion, &criterion.name, text);
        let shown = |text: &str| units.value(MeasuredKind::Criterion, &criterion.name, text);
        let bounds: Vec<String> = criterion.bound.iter().map(|bound| with_unit(&bound.to_string())).collect();
        let limits: Vec<f64> = criterion.bound.iter().map(|bound| bound.value.value()).collect();
        let every = match criterion.source {
            CriterionSource::Metric(_) => Some(format!("{:#}", criterion.interval)),
            CriterionSource::Manual { .. } => None,
        };
        let unmeasured = if criterion.bound.is_some() { "not measured yet" } else { "only recorded" };
        rows.push(context! {
            name => criterion.name, kind => "criterion", every, bounds,
            verdict => verdict.map_or(unmeasured, Verdict::as_str), class => class(verdict),
            message => known.and_then(|known| known.message.clone()),
            value => known.and_then(|known| known.value.as_deref()).map(shown),
            at => known.and_then(|known| known.at).map(|at| at.to_string()),
            since => known.map(|known| known.since.to_string()),
            gauge => gauge(known.and_then(|known| known.value.as_deref()), &limits, verdict == Some(Verdict::Breach)),
        });
    }
    rows
}

fn class(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Pass) => "good",
        Some(Verdict::Breach) => "bad",
        Some(_) => "none",
        None => "muted",
    }
}

/// A value beside its bounds, on one rail.
fn gauge(value: Option<&str>, limits: &[f64], is_bad: bool) -> String {
    let Some(value) = value.and_then(|value| value.parse::<f64>().ok()).filter(|value| value.is_finite())
    else {
        return String::new();
    };
    let most = limits.iter().copied().fold(value, f64::max) * 1.15;
    if limits.is_empty() || value < 0.0 || most <= 0.0 || !most.is_finite() || limits.iter().any(|l| *l < 0.0)
    {
        return String::new();
    }
    let x = |number: f64| (number / most * 1000.0).round() / 10.0;
    let class = if is_bad { "val bad" } else { "val" };
    let marks: String =
        limits.iter().map(|limit| format!(r#"<path class="limit" d="M{} 0V12"/>"#, x(*limit))).collect();
    format!(
        r#"<svg class="gauge" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true"><rect class="rail" y="4" width="100" height="4"/><rect class="{class}" y="3" width="{}" height="6"/>{marks}</svg>"#,
        x(value)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rollout that is watched by a trigger and a criterion, with this status.
    fn rows(status: &serde_json::Value) -> String {
        let spec: GuardSpec = serde_json::from_str(
            r#"{"triggers": [{"name": "errors", "metric": {"templateRef": {"name": "a"}}, "interval": "30s", "levels": [
                  {"severity": "Critical", "above": "10", "for": "5m", "action": "ImmediateRollback"}]}],
                "criteria": [{"name": "speed", "metric": {"templateRef": {"name": "b"}}, "below": "300"}]}"#,
        )
        .unwrap();
        let status: FeatureRolloutStatus = serde_json::from_value(status.clone()).unwrap();
        let units =
            Units::of(&[(MeasuredKind::Trigger, "errors", "%"), (MeasuredKind::Criterion, "speed", "ms")]);
        serde_json::to_string(&watched(&guard(&spec, &[], &mut Vec::new()), &status, &units)).unwrap()
    }

    #[test]
    fn values_and_bounds_have_the_unit_of_their_template() {
        let at = "2025-09-08T09:00:00.000000Z";
        let measured = rows(&serde_json::json!({
            "triggers": [{"name": "errors", "verdict": "Breach", "since": at, "at": at, "value": "12.503871"}],
            "criteria": [{"name": "speed", "verdict": "Pass", "since": at, "at": at, "value": "120"}],
        }));
        for words in [
            r#""value":"12.5%""#,
            "above 10% for 5m: ImmediateRollback (Critical)",
            r#""value":"120 ms""#,
            "below 300 ms",
        ] {
            assert!(measured.contains(words), "{words}: {measured}");
        }
        let unmeasured = rows(&serde_json::json!({}));
        assert!(unmeasured.contains("above 10% for 5m") && unmeasured.contains("not measured yet"));
    }

    #[test]
    fn a_gauge_shows_a_value_beside_its_bounds() {
        let drawn = gauge(Some("5"), &[10.0], false);
        assert!(drawn.contains(r#"class="val" y="3" width="43.5""#) && drawn.contains("M87 0V12"), "{drawn}");
        assert!(gauge(Some("20"), &[10.0], true).contains("val bad"));
        for (value, limits) in [
            (None, &[1.0][..]),
            (Some("NaN"), &[1.0]),
            (Some("x"), &[1.0]),
            (Some("1"), &[]),
            (Some("-1"), &[1.0]),
        ] {
            assert_eq!(gauge(value, limits, false), "");
        }
    }
}
