//! The table of `sluice plan`, and that of `sluice simulate`.

use jiff::tz::TimeZone;

use crate::api::MicroTime;
use crate::chart::course;
use crate::cli::output::table::table;
use crate::engine::forecast::timeline::{Entry, Timeline};
use crate::plan::Plan;

/// The plans of all rollouts: what is served when, with what there is to say of it, and when each is completed.
pub fn as_table(plans: &[(&Plan, Timeline)]) -> String {
    let courses: Vec<(&Plan, &[Entry])> =
        plans.iter().map(|(plan, timeline)| (*plan, timeline.entries.as_slice())).collect();
    let notes = |which: usize, entry: &Entry| {
        plans.get(which).map(|(plan, timeline)| course::note(plan, timeline, entry.at)).unwrap_or_default()
    };
    let mut out = entries_table(&courses, notes);
    let ends: Vec<Vec<String>> = plans
        .iter()
        .map(|(plan, timeline)| {
            let end = timeline.completed_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            vec![end, format!("{}/{}", plan.namespace, plan.name)]
        })
        .collect();
    if !ends.is_empty() {
        out.push('\n');
        out.push_str(&table(&["COMPLETED", "ROLLOUT"], &ends));
    }
    out
}

/// The changes of all rollouts, by time. Local times are shown where a rollout has a zone, and a column for notes where
/// there are any; `notes` is asked for the number of the rollout and an entry.
pub fn entries_table(courses: &[(&Plan, &[Entry])], notes: impl Fn(usize, &Entry) -> String) -> String {
    let mut cohorts: Vec<&str> = Vec::new();
    for (plan, _) in courses {
        for name in plan.audience.names() {
            if !cohorts.contains(&name) {
                cohorts.push(name);
            }
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for (i, (plan, entries)) in courses.iter().enumerate() {
        rows.extend(entries.iter().map(|entry| Row::of(plan, entry, &cohorts, notes(i, entry))));
    }
    // By time: what happens to the product, not to one rollout. The sort is stable, so rollouts keep their order.
    rows.sort_by_key(|row| row.at);
    let has_local = rows.iter().any(|row| row.local.is_some());
    let has_notes = rows.iter().any(|row| !row.note.is_empty());
    let mut headings: Vec<String> = vec!["AT".to_owned()];
    headings.extend(has_local.then(|| "LOCAL".to_owned()));
    headings.extend(["ROLLOUT", "PHASE", "STEP", "CAUSE"].map(str::to_owned));
    headings.extend(cohorts.iter().map(|name| name.to_uppercase()));
    headings.push("EXPOSURE".to_owned());
    headings.extend(has_notes.then(|| "NOTE".to_owned()));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.cells(has_local, has_notes)).collect();
    table(&headings, &rows)
}

/// One change.
struct Row {
    at: MicroTime,
    local: Option<String>,
    middle: Vec<String>,
    note: String,
}

impl Row {
    fn of(plan: &Plan, entry: &Entry, cohorts: &[&str], note: String) -> Row {
        let step = match &entry.name {
            Some(name) => format!("{} {name}", entry.step),
            None => entry.step.to_string(),
        };
        let mut middle = vec![
            format!("{}/{}", plan.namespace, plan.name),
            entry.phase.clone(),
            step,
            entry.cause.as_str().to_owned(),
        ];
        middle.extend(cohorts.iter().map(|cohort| {
            let served = entry.cohorts.iter().find(|(name, _)| name == cohort);
            served.map_or_else(|| "-".to_owned(), |(_, percent)| percent.to_string())
        }));
        middle.push(entry.exposure.map_or_else(|| "-".to_owned(), |exposure| exposure.to_string()));
        let local = (plan.zone != TimeZone::UTC).then(|| course::local(entry.at, &plan.zone));
        Row { at: entry.at, local, middle, note }
    }

    fn cells(self, has_local: bool, has_notes: bool) -> Vec<String> {
        let mut cells = vec![self.at.to_string()];
        cells.extend(has_local.then(|| self.local.unwrap_or_else(|| "-".to_owned())));
        cells.extend(self.middle);
        cells.extend(has_notes.then_some(self.note));
        cells
    }
}
