//! What was measured, next to what is wanted.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::machine::Machine;

/// Form of the output.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Serialize)]
struct Figure {
    scenario: &'static str,
    measure: String,
    bar: Option<&'static str>,
    value: f64,
    unit: &'static str,
}

/// Everything measured so far.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Notes a figure, and what it should be, in words, if anything.
    pub fn add(
        &mut self,
        scenario: &'static str,
        measure: impl Into<String>,
        bar: Option<&'static str>,
        value: f64,
        unit: &'static str,
    ) {
        self.0.push(Figure { scenario, measure: measure.into(), bar, value, unit });
    }

    /// Prints all figures, with the machine before and after.
    pub fn print(&self, output: Output, before: &Machine, after: &Machine) {
        match output {
            Output::Json => {
                let all =
                    json!({"machine": before, "loadAverageAfter": after.load_average, "figures": self.0});
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
        let wide = self.0.iter().map(|figure| figure.measure.chars().count()).max().unwrap_or(0);
        println!("{:<9} {:<wide$} {:>10} {:>10}", "SCENARIO", "MEASURE", "BAR", "FIGURE");
        for Figure { scenario, measure, bar, value, unit } in &self.0 {
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
