//! Pictures of how cost grows with the number of something.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::prelude::*;

/// One measure by the number of something, a line for each scenario.
pub struct Curve {
    what: &'static str,
    measure: String,
    unit: &'static str,
    pub lines: BTreeMap<&'static str, Vec<(usize, f64)>>,
}

impl Curve {
    pub fn new(what: &'static str, measure: &str, unit: &'static str) -> Curve {
        Curve { what, measure: measure.to_owned(), unit, lines: BTreeMap::new() }
    }

    /// Whether a line has two ends.
    pub fn has_a_line(&self) -> bool {
        self.lines.values().any(|points| points.len() > 1)
    }

    /// Name of its file: letters, digits and hyphens.
    fn file(&self) -> String {
        let words = format!("{} {}", self.what, self.measure).to_lowercase();
        let words: Vec<&str> =
            words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
        format!("{}.svg", words.join("-"))
    }
}

/// The lines' colours, told apart by people who do not see all of them.
const COLOURS: [RGBColor; 2] = [RGBColor(0, 90, 181), RGBColor(220, 50, 32)];

/// Draws a curve into its file in a folder, over axes that begin at nothing.
///
/// # Errors
/// What kept the file from being written.
pub fn draw(folder: &Path, curve: &Curve) -> std::io::Result<()> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (640, 360)).into_drawing_area();
        fill(&area, curve).map_err(std::io::Error::other)?;
    }
    std::fs::write(folder.join(curve.file()), text)
}

fn fill(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    curve: &Curve,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    area.fill(&WHITE)?;
    let points = || curve.lines.values().flatten();
    let most = points().map(|(count, _)| *count).max().unwrap_or(1);
    let highest = points().map(|(_, value)| *value).fold(0.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(&curve.measure, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0..most, 0.0..highest.max(f64::MIN_POSITIVE))?;
    chart.configure_mesh().light_line_style(WHITE).x_desc(curve.what).y_desc(curve.unit).draw()?;
    for ((name, points), colour) in curve.lines.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(*name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    if curve.lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
    }
    area.present()?;
    Ok(())
}
