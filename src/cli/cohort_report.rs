//! `sluice report --cohort`: how the users of a cohort fare, as Markdown.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::api::cohort::ReportPeriod;
use crate::api::{CohortSet, Duration, FeatureRollout, FlagSet, MicroTime};
use crate::cli::cluster::{Cluster, ClusterArgs, schedule_clock, with};
use crate::cli::output::{self, Failure};
use crate::notify::cohorts;
use crate::notify::digest::{Division, Told};
use crate::notify::message::{Chapter, Row};
use crate::plan::calendar::zone;
use crate::plan::cohort_set_name;
use crate::visible;

/// How far back a report looks at a cohort that has none at fixed times.
const A_WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What a namespace has.
struct Found {
    rollouts: Vec<FeatureRollout>,
    flag_sets: Vec<FlagSet>,
    cohort_sets: Vec<CohortSet>,
    namespace: String,
    now: MicroTime,
}

/// Prints the report about the cohorts of a name.
pub fn run(
    name: &str,
    since: Option<Duration>,
    time_zone: Option<&str>,
    cluster: &ClusterArgs,
) -> Result<(), Failure> {
    let zone = match time_zone {
        None => TimeZone::UTC,
        Some(name) => zone(name)
            .ok_or_else(|| Failure::Input(format!("--time-zone {} is no time zone", visible::line(name))))?,
    };
    let found = with(cluster, read)?;
    let chapters = report(&found, name, since, &zone);
    if chapters.is_empty() {
        let namespace = &found.namespace;
        return Err(Failure::Input(format!(
            "no rollout of the namespace {namespace} that has begun has a cohort {}",
            visible::line(name)
        )));
    }
    output::print(&chapters.iter().map(markdown).collect::<Vec<_>>().join("\n"))
}

async fn read(cluster: Cluster) -> Result<Found, Failure> {
    let namespace = cluster.namespace.clone();
    let (rollouts, flag_sets, cohort_sets, now) = futures::join!(
        cluster.list::<FeatureRollout>(&namespace),
        cluster.list::<FlagSet>(&namespace),
        cluster.list::<CohortSet>(&namespace),
        schedule_clock::now(&cluster),
    );
    Ok(Found { rollouts: rollouts?, flag_sets: flag_sets?, cohort_sets: cohort_sets?, namespace, now })
}

fn report(found: &Found, name: &str, since: Option<Duration>, zone: &TimeZone) -> Vec<Chapter> {
    let told: Vec<Told<'_>> = found.rollouts.iter().map(|rollout| told(found, rollout)).collect();
    let back = since.map(Duration::signed).unwrap_or_else(|| usual(&told, name));
    cohorts::of_name(&told, name, found.now.saturating_sub(back), found.now, zone)
}

fn told<'a>(found: &'a Found, rollout: &'a FeatureRollout) -> Told<'a> {
    let flag_set = rollout.spec.flag_set_ref.as_ref().and_then(|reference| {
        found.flag_sets.iter().find(|set| set.metadata.name.as_ref() == Some(&reference.name))
    });
    let shared = cohort_set_name(rollout, flag_set).and_then(|name| {
        let set = found.cohort_sets.iter().find(|set| set.metadata.name.as_deref() == Some(name))?;
        Some(Division { set: set.metadata.name.as_deref(), cohorts: &set.spec.cohorts })
    });
    let own = rollout.spec.cohorts.as_ref().map(|cohorts| Division { set: None, cohorts });
    Told { rollout, monitoring: &rollout.spec.monitoring, division: own.or(shared) }
}

/// How far back the reports of the cohort look.
fn usual(told: &[Told<'_>], name: &str) -> SignedDuration {
    let cohorts = told.iter().filter_map(|told| told.division).flat_map(|division| division.cohorts);
    let mut reports =
        cohorts.filter(|cohort| cohort.name == name).filter_map(|cohort| cohort.monitoring.as_ref()?.report);
    match reports.next() {
        Some(ReportPeriod::Daily) => SignedDuration::from_hours(24),
        Some(ReportPeriod::Weekly) | None => A_WEEK,
        Some(ReportPeriod::Monthly) => SignedDuration::from_hours(31 * 24),
    }
}

fn markdown(chapter: &Chapter) -> String {
    let row =
        |row: &Row| format!("| {} | {} |\n", visible::markdown(&row.name), visible::markdown(&row.says));
    let about: String = chapter.about.iter().map(|line| format!("{}\n\n", visible::markdown(line))).collect();
    let sections = chapter.sections.iter().map(|section| {
        let rows: String = section.rows.iter().map(row).collect();
        format!("\n## {}\n\n| Feature | |\n|---|---|\n{rows}", section.heading)
    });
    let sections: String = sections.collect();
    format!("# {}\n\n{about}In short: {}.\n{sections}", visible::markdown(&chapter.title), chapter.summary)
}
