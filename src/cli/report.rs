//! `sluice report`: the record of a rollback as Markdown, for those who look back on it, and how a cohort fares.

use jiff::tz::TimeZone;

use crate::api::status::HistoryEntry;
use crate::api::{Duration, FeatureRollout, FeatureRolloutStatus, MicroTime, Reason};
use crate::chart::course::local;
use crate::cli::cluster::{self, ClusterArgs};
use crate::cli::cohort_report;
use crate::cli::completion;
use crate::cli::output::{self, Failure};
use crate::cli::rules::Rules;
use crate::plan::calendar::zone;
use crate::plan::{GuardSpec, flag_key};
use crate::visible;

/// The longest bar, in letters.
const BAR: usize = 32;

/// Arguments of `sluice report`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the rollout whose last rollback is told, also as frol/NAME
    #[arg(add = completion::rollouts(), required_unless_present = "cohort")]
    rollout: Option<String>,
    /// Tell how the users of this cohort fare instead: what they get of each feature, what has changed, was measured, and comes next
    #[arg(long, value_name = "NAME", conflicts_with = "rollout")]
    cohort: Option<String>,
    /// How far back to look for changes of the cohort, such as 168h; default: the period of its reports, else a week
    #[arg(long, value_name = "DURATION", requires = "cohort")]
    since: Option<Duration>,
    /// The time zone of the report about a cohort; default: UTC
    #[arg(long, value_name = "ZONE", requires = "cohort")]
    time_zone: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Prints the record of the last rollback, or the report about a cohort.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(cohort) = &args.cohort {
        return cohort_report::run(cohort, args.since, args.time_zone.as_deref(), &args.cluster);
    }
    let (rollout, watching) = cluster::with(&args.cluster, async |cluster| {
        let rollout = cluster.rollout(args.rollout.as_deref().unwrap_or_default()).await?;
        let watching = Rules::read(&cluster, &rollout).await.watching(&rollout);
        Ok((rollout, watching))
    })?;
    let name = rollout.metadata.name.clone().unwrap_or_default();
    match report(&rollout, &watching) {
        Some(report) => output::print(&report),
        None => Err(Failure::Input(format!(
            "rollout {name} has not been rolled back, as far as its history goes"
        ))),
    }
}

/// The record; `None` where the history knows of no rollback.
fn report(rollout: &FeatureRollout, watching: &GuardSpec) -> Option<String> {
    let status = rollout.status.as_ref()?;
    let begins = |entry: &HistoryEntry| matches!(entry.reason, Reason::RolledBack | Reason::RollingBack);
    let first = status.history.iter().rposition(begins)?;
    let begun = status.history.get(first)?;
    let schedule = rollout.spec.schedule.as_ref();
    let zone = schedule.and_then(|schedule| zone(schedule.time_zone.as_deref()?)).unwrap_or(TimeZone::UTC);
    let when = |at: MicroTime| match zone == TimeZone::UTC {
        true => format!("{at:.0}"),
        false => format!("{at:.0} ({})", local(at, &zone)),
    };
    let after = |reason: Reason| {
        status.history.iter().skip(first).find(|entry| entry.reason == reason).map(|entry| entry.at)
    };
    let namespace = rollout.metadata.namespace.clone().unwrap_or_default();
    let name = rollout.metadata.name.clone().unwrap_or_default();
    let feature = rollout.spec.feature.as_ref();
    let mut out = format!(
        "# Rollback of {} on {}\n\n",
        visible::markdown(&name),
        begun.at.to_zoned(zone.clone()).date()
    );
    let mut row = |label: &str, value: String| out.push_str(&format!("| {label} | {value} |\n"));
    row(
        "What",
        format!(
            "{} / {}, flag {}",
            visible::markdown(&namespace),
            visible::markdown(&name),
            visible::markdown(flag_key(rollout))
        ),
    );
    row("---", "---".to_owned());
    if let Some(owner) = feature.and_then(|feature| feature.owner.as_deref()) {
        row("Owner", visible::markdown(owner));
    }
    row("When", when(begun.at));
    row("What fired", visible::markdown(&begun.message));
    row("Who", visible::markdown(&begun.who));
    if let Some(severity) = begun.severity {
        row("Severity", severity.as_str().to_owned());
    }
    let current = status.rollback.as_ref().filter(|rollback| rollback.at == begun.at);
    let at_control = current.and_then(|rollback| rollback.ended_at).or_else(|| after(Reason::RollbackEnded));
    // What goes at once is at control with the decision itself.
    let at_control = at_control.or((begun.reason == Reason::RolledBack).then_some(begun.at));
    row("At control", since(at_control, begun.at, &when, "not yet"));
    let verified =
        current.and_then(|rollback| rollback.verified_at).or_else(|| after(Reason::RollbackVerified));
    let not_verified = if begun.trigger.is_some() { "not yet" } else { "-" };
    row("Verified quiet", since(verified, begun.at, &when, not_verified));
    let seen = current.and_then(|rollback| rollback.acknowledged_at).or_else(|| after(Reason::Acknowledged));
    row("Acknowledged", since(seen, begun.at, &when, "by nobody"));
    row("Started again", since(after(Reason::Retried), begun.at, &when, "not yet"));
    if let Some(chart) = begun.trigger.as_deref().and_then(|trigger| chart(watching, status, trigger)) {
        out.push_str(&format!("\n## Last value\n\n```\n{chart}```\n"));
    }
    out.push_str("\n## What happened\n\n| At | What | Who | Why |\n|---|---|---|---|\n");
    // The entry before it says what was served until then.
    for entry in status.history.iter().skip(first.saturating_sub(1)) {
        out.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            when(entry.at),
            entry.reason,
            visible::markdown(&entry.who),
            visible::markdown(&entry.told(status.delivered_revision))
        ));
    }
    out.push_str("\n## What we learnt\n\n- Impact:\n- Cause:\n- What helped:\n- What to change:\n");
    Some(out)
}

/// An instant, and how long after the beginning that was.
fn since(at: Option<MicroTime>, begun: MicroTime, when: &impl Fn(MicroTime) -> String, none: &str) -> String {
    at.map_or_else(
        || none.to_owned(),
        |at| {
            let after = at.duration_since(begun);
            let after = jiff::SignedDuration::from_secs(after.as_secs());
            format!("{}, after {after:#}", when(at))
        },
    )
}

/// The value that status has of a trigger, beside its limits.
fn chart(watching: &GuardSpec, status: &FeatureRolloutStatus, name: &str) -> Option<String> {
    let mut values: Vec<(String, f64)> = Vec::new();
    let declared = watching.triggers.iter().find(|declared| declared.trigger.name == name);
    for level in declared.into_iter().flat_map(|declared| &declared.trigger.levels) {
        let bounds = [&level.above, &level.below, &level.at_least, &level.at_most];
        let bound = bounds.into_iter().flatten().next()?;
        values.push((format!("limit of {}", level.action.as_str()), bound.value()));
    }
    for known in status.triggers.iter().filter(|known| known.name == name) {
        let cohort = if known.cohort.is_empty() { String::new() } else { format!(" of {}", known.cohort) };
        let value = known.value.as_ref().and_then(|value| value.parse().ok());
        values.extend(value.map(|value| (format!("measured{cohort}"), value)));
    }
    let most = values.iter().map(|(_, value)| value.abs()).fold(0.0, f64::max);
    let width = values.iter().map(|(label, _)| label.chars().count()).max()?;
    let line = |(label, value): &(String, f64)| {
        let length = if most > 0.0 { (value.abs() / most * BAR as f64).round() as usize } else { 0 };
        format!("{:width$}  {:<BAR$}  {value}\n", visible::line(label), "█".repeat(length.min(BAR)))
    };
    Some(values.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(history: serde_json::Value) -> FeatureRollout {
        serde_json::from_value(json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
            "metadata": {"name": "dreams", "namespace": "maya"},
            "spec": {
                "schedule": {"timeZone": "America/Los_Angeles"},
                "phases": [{"name": "ga"}],
                "triggers": [{"name": "error-rate", "metric": {"templateRef": {"name": "errors"}},
                    "levels": [{"severity": "Critical", "above": "10", "for": "5m", "action": "ImmediateRollback"}]}]
            },
            "status": {"history": history, "deliveredRevision": 9, "triggers": [
                {"name": "error-rate", "verdict": "Breach", "since": "2025-09-08T16:00:00.000000Z", "value": "12.5"}]},
        }))
        .unwrap()
    }

    /// The report of a rollout that no policy binds.
    fn report(rollout: &FeatureRollout) -> Option<String> {
        super::report(rollout, &GuardSpec::of(&rollout.spec))
    }

    fn entry(seq: i64, at: &str, reason: &str, who: &str, message: &str) -> serde_json::Value {
        json!({"seq": seq, "at": format!("2025-09-08T{at}.000000Z"), "reason": reason, "who": who, "message": message,
            "trigger": (reason == "RolledBack").then_some("error-rate")})
    }

    #[test]
    fn the_record_says_when_what_who_and_for_how_long() {
        let report = report(&rollout(json!([
            entry(1, "16:00:00", "StepEntered", "schedule", "entered ga/half"),
            entry(2, "16:10:00", "RolledBack", "trigger/error-rate", "error-rate was above 10 for 5m"),
            entry(3, "16:15:00", "Acknowledged", "ana", "acknowledged: @channel | <b>bad</b>"),
            entry(4, "16:45:30", "RollbackVerified", "trigger/error-rate", "quiet"),
        ])))
        .unwrap();
        for line in [
            "# Rollback of dreams on 2025-09-08",
            "| When | 2025-09-08T16:10:00Z (Mon 2025-09-08 09:10 PDT) |",
            "| What fired | error-rate was above 10 for 5m |",
            "| Verified quiet | 2025-09-08T16:45:30Z (Mon 2025-09-08 09:45:30 PDT), after 35m 30s |",
            "| Started again | not yet |",
            "limit of ImmediateRollback  ██████████████████████████        10",
            "measured                    ████████████████████████████████  12.5",
        ] {
            assert!(report.lines().any(|found| found == line), "{line}\n{report}");
        }
        assert!(report.contains("acknowledged: &#64;channel \\| &lt;b&gt;bad&lt;/b&gt;"), "{report}");
        assert!(report.contains("entered ga/half"), "what was served before: {report}");
    }

    /// The trigger of a policy has the policy's name before its own.
    #[test]
    fn the_limits_are_those_of_the_very_trigger() {
        let mut rollout = rollout(json!([]));
        let mut watching = GuardSpec::of(&rollout.spec);
        let mut of_policy = watching.triggers[0].clone();
        of_policy.trigger.name = "standard/error-rate".to_owned();
        of_policy.trigger.levels[0].above = Some("8".parse().unwrap());
        watching.triggers.push(of_policy);
        let status = rollout.status.as_mut().unwrap();
        status.triggers[0].name = "standard/error-rate".to_owned();
        let drawn = chart(&watching, status, "standard/error-rate").unwrap();
        assert!(drawn.contains("limit of ImmediateRollback") && drawn.contains("  8\n"), "{drawn}");
        assert!(
            chart(&GuardSpec::of(&rollout.spec), rollout.status.as_ref().unwrap(), "standard/error-rate")
                .is_none_or(|drawn| !drawn.contains("limit"))
        );
    }

    #[test]
    fn where_nothing_was_rolled_back_there_is_no_record() {
        assert_eq!(report(&rollout(json!([entry(1, "16:00:00", "Started", "git", "first seen")]))), None);
    }
}
