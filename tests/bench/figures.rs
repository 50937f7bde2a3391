//! What was measured, next to what is wanted.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::curves::{Curve, draw};
use crate::machine::Machine;

/// Form of the output.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// How many of what there were.
#[derive(Clone, Copy, Debug, Serialize)]
struct Of {
    what: &'static str,
    count: usize,
}

#[derive(Serialize)]
struct Figure {
    scenario: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Of>,
    measure: String,
    bar: Option<&'static str>,
    value: f64,
    unit: &'static str,
}

/// Everything measured so far.
#[derive(Default)]
pub struct Figures {
    all: Vec<Figure>,
    of: Option<Of>,
}

impl Figures {
    /// The figures to come are of so many of these.
    pub fn of(&mut self, what: &'static str, count: usize) {
        self.of = Some(Of { what, count });
    }

    /// The figures to come are of no number of anything.
    pub fn of_nothing(&mut self) {
        self.of = None;
    }

    /// Notes a figure, and what it should be, in words, if anything.
    pub fn add(
        &mut self,
        scenario: &'static str,
        measure: impl Into<String>,
        bar: Option<&'static str>,
        value: f64,
        unit: &'static str,
    ) {
        self.all.push(Figure { scenario, of: self.of, measure: measure.into(), bar, value, unit });
    }

    /// Draws these measures by the number of what they are of, a picture each, the scenarios as its lines.
    ///
    /// # Errors
    /// What kept a file from being written.
    pub fn draw(&self, folder: &Path, measures: &[&str]) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut curves: BTreeMap<(&str, &str), Curve> = BTreeMap::new();
        for Figure { scenario, of, measure, value, unit, .. } in &self.all {
            let Some(of) = of.filter(|_| measures.contains(&measure.as_str())) else { continue };
            let curve =
                curves.entry((of.what, measure)).or_insert_with(|| Curve::new(of.what, measure, unit));
            curve.lines.entry(scenario).or_default().push((of.count, *value));
        }
        for curve in curves.into_values().filter(Curve::has_a_line) {
            draw(folder, &curve)?;
        }
        Ok(())
    }

    /// Prints all figures, with the machine before and after.
    pub fn print(&self, output: Output, before: &Machine, after: &Machine) {
        match output {
            Output::Json => {
                let all =
                    json!({"machine": before, "loadAverageAfter": after.load_average, "figures": self.all});
                println!("{all:#}");
            }
            Output::Table => self.table(before, after),
        }
    }

    fn table(&self, before: &Machine, after: &Machine) {
        println!(
            "{}: {}, {} cores, {} MiB, Linux {}, load {} before, {} after\n",
            before.at,
            before.cpu,
            before.cores,
            before.memory_mib,
            before.kernel,
            before.load_average,
            after.load_average
        );
        let said = |Figure { of, measure, .. }: &Figure| match of {
            Some(Of { what, count }) => format!("{count} {what}: {measure}"),
            None => measure.clone(),
        };
        let wide = self.all.iter().map(|figure| said(figure).chars().count()).max().unwrap_or(0);
        println!("{:<9} {:<wide$} {:>10} {:>10}", "SCENARIO", "MEASURE", "BAR", "FIGURE");
        for figure in &self.all {
            let Figure { scenario, bar, value, unit, .. } = figure;
            let measure = said(figure);
            let digits = if value.fract() == 0.0 { 0 } else { 2 };
            println!(
                "{scenario:<9} {measure:<wide$} {:>10} {value:>10.digits$} {unit}",
                bar.unwrap_or_default()
            );
        }
    }
}

/// Milliseconds of a length of time.
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// The value that this share of the sorted values does not exceed.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
