//! Curves over time, in panels one below the other, with what happened: as SVG, and in a line of text.

use super::axis::{TimeAxis, ValueAxis};
use super::style::colour;
use super::svg::{Area, Look, Svg, fitting, text_width};
use crate::api::MicroTime;

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 28.0;
const PLOT: f64 = WIDTH - LEFT - RIGHT;
const TOP: f64 = 92.0;
const PANEL: f64 = 124.0;
/// From one panel to the next.
const EACH: f64 = PANEL + 30.0;
const TICK: f64 = 64.0;
const LINE: f64 = 18.0;

/// Panels over one axis of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// What it is a picture of.
    pub title: String,
    /// A line below that.
    pub subtitle: String,
    /// The time from left to right.
    pub axis: TimeAxis,
    /// The panels, from top to bottom.
    pub panels: Vec<Panel>,
    /// What happened, in order: numbered lines through all panels, explained below them.
    pub events: Vec<Event>,
}

/// Curves of one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What is measured.
    pub label: String,
    /// The values from bottom to top.
    pub axis: ValueAxis,
    /// The unit behind the values of the scale.
    pub unit: String,
    /// The curves.
    pub curves: Vec<Curve>,
    /// Values that must not be crossed.
    pub limits: Vec<Limit>,
}

/// Values over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What it is called.
    pub label: String,
    /// The values, oldest first; `None` where there was none, and the curve is lifted.
    pub points: Vec<(MicroTime, Option<f64>)>,
    /// Whether a value holds until the next one, as percentages do.
    pub stepped: bool,
}

/// A value that must not be crossed.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The value.
    pub value: f64,
    /// What follows from crossing it.
    pub label: String,
    /// Whether something is taken away then.
    pub severe: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: MicroTime,
    /// What, in a line.
    pub label: String,
}

/// Draws the curves. The same curves give the same bytes.
pub fn svg(curves: &Curves) -> String {
    let bottom = TOP + EACH * curves.panels.len() as f64;
    let height = bottom + LINE * curves.events.len() as f64 + 16.0;
    let mut svg = Svg::new(WIDTH, height, &curves.title, &curves.subtitle, Look::Own);
    svg.rect(Area { x: 0.0, y: 0.0, width: WIDTH, height }, 0.0, "paper", "");
    svg.text((16.0, 28.0), "start", "title", &fitting(&curves.title, 16.0, WIDTH - 32.0));
    svg.text((16.0, 48.0), "start", "soft", &fitting(&curves.subtitle, 11.0, WIDTH - 32.0));
    let x = |at: MicroTime| LEFT + PLOT * curves.axis.position(at);
    let plot_end = bottom - (EACH - PANEL);
    for tick in curves.axis.ticks((PLOT / TICK) as usize) {
        svg.line((x(tick.at), TOP), (x(tick.at), plot_end), "grid");
        svg.text((x(tick.at), plot_end + 15.0), "middle", "tick", &tick.label);
    }
    for (i, panel) in curves.panels.iter().enumerate() {
        draw(&mut svg, panel, TOP + EACH * i as f64, &x);
    }
    let mut edge = f64::NEG_INFINITY;
    for (i, event) in curves.events.iter().enumerate().filter(|(_, event)| curves.axis.has(event.at)) {
        let x = x(event.at);
        svg.line((x, TOP - 8.0), (x, plot_end), "event");
        // Of several at one place the first has its number; the list below has all of them.
        if x - edge >= 17.0 {
            badge(&mut svg, (x, TOP - 14.0), i + 1, &event.label);
            edge = x;
        }
    }
    for (i, event) in curves.events.iter().enumerate() {
        let y = bottom + 6.0 + LINE * i as f64;
        badge(&mut svg, (26.0, y), i + 1, "");
        let time = event.at.to_zoned(curves.axis.zone().clone()).strftime("%a %-d %b %H:%M:%S").to_string();
        svg.text((44.0, y + 4.0), "start", "soft", &time);
        svg.text((LEFT - 30.0, y + 4.0), "start", "lane", &fitting(&event.label, 12.0, WIDTH - LEFT));
    }
    svg.finish()
}

fn badge(svg: &mut Svg, (x, y): (f64, f64), number: usize, tip: &str) {
    let number = number.to_string();
    svg.element_with_tip(
        "circle",
        &[("cx", x.into()), ("cy", y.into()), ("r", 8.0.into()), ("class", "badge".into())],
        tip,
    );
    svg.text((x, y + 4.0), "middle", "inside on", &number);
}

fn draw(svg: &mut Svg, panel: &Panel, top: f64, x: &impl Fn(MicroTime) -> f64) {
    let y = |value: f64| top + PANEL * (1.0 - panel.axis.position(value));
    svg.text((16.0, top + 10.0), "start", "label", &fitting(&panel.label, 13.0, LEFT - 72.0));
    for (i, curve) in panel.curves.iter().enumerate() {
        let line = top + 30.0 + LINE * i as f64;
        // One curve needs no name beside that of the panel.
        if panel.curves.len() > 1 && line < top + PANEL + 12.0 {
            svg.polyline([Some((16.0, line - 4.0)), Some((32.0, line - 4.0))], &class(i));
            svg.text((38.0, line), "start", "lane", &fitting(&curve.label, 12.0, LEFT - 96.0));
        }
    }
    for tick in panel.axis.ticks() {
        svg.line((LEFT, y(tick)), (LEFT + PLOT, y(tick)), "grid");
        let label = format!("{}{}", ValueAxis::label(tick), panel.unit);
        svg.text((LEFT - 8.0, y(tick) + 4.0), "end", "tick", &fitting(&label, 11.0, 60.0));
    }
    for limit in &panel.limits {
        let at = y(limit.value);
        let class = if limit.severe { "limit" } else { "limit soft-limit" };
        svg.polyline([Some((LEFT, at)), Some((LEFT + PLOT, at))], class);
        let width = text_width(&limit.label, 11.0);
        svg.text((LEFT + PLOT - width - 4.0, at - 4.0), "start", "tick", &limit.label);
    }
    for (i, curve) in panel.curves.iter().enumerate() {
        let mut points: Vec<Option<(f64, f64)>> = Vec::new();
        let mut last: Option<f64> = None;
        for (at, value) in &curve.points {
            if let (true, Some(before)) = (curve.stepped, last) {
                points.push(Some((x(*at), y(before))));
            }
            points.push(value.map(|value| (x(*at), y(value))));
            last = *value;
        }
        if let (true, Some(before)) = (curve.stepped, last) {
            points.push(Some((LEFT + PLOT, y(before))));
        }
        svg.polyline(points, &class(i));
    }
    svg.line((LEFT, top + PANEL), (LEFT + PLOT, top + PANEL), "rule");
}

fn class(number: usize) -> String {
    format!("curve {}", colour(number))
}

/// Values in one line of text, the higher the taller, `·` where there is none: `▁▁▂▅█·`.
pub fn spark(values: &[Option<f64>], limit: Option<f64>) -> String {
    const TALL: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let axis = ValueAxis::of(values.iter().flatten().copied().chain(limit), 4);
    let letter = |value: &Option<f64>| {
        let tall = value.map(|value| (axis.position(value) * (TALL.len() - 1) as f64).round() as usize);
        tall.and_then(|tall| TALL.get(tall).copied()).unwrap_or('·')
    };
    values.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn t(minute: i64) -> MicroTime {
        MicroTime::from_second(1_757_322_000 + 60 * minute).unwrap()
    }

    #[test]
    fn a_curve_is_where_its_values_are() {
        let curve = |stepped, points: &[(i64, Option<f64>)]| Curve {
            label: "errors <b>".to_owned(),
            points: points.iter().map(|(at, value)| (t(*at), *value)).collect(),
            stepped,
        };
        let panel = |curve| Panel {
            label: "errors".to_owned(),
            axis: ValueAxis::PERCENT,
            unit: "%".to_owned(),
            curves: vec![curve],
            limits: vec![Limit { value: 50.0, label: "above 50: rollback".to_owned(), severe: true }],
        };
        let text = svg(&Curves {
            title: "What happened".to_owned(),
            subtitle: String::new(),
            axis: TimeAxis::new(t(0), t(100), TimeZone::UTC),
            panels: vec![
                panel(curve(false, &[(0, Some(0.0)), (50, Some(100.0)), (60, None), (100, Some(25.0))])),
                panel(curve(true, &[(0, Some(0.0)), (50, Some(100.0))])),
            ],
            events: vec![Event { at: t(50), label: "rolled <back>".to_owned() }],
        });
        // The plot is 842 wide from 210 on, and 124 high from 92 and from 246 on.
        assert!(text.contains("d=\"M210 216L631 92M1052 185\""), "{text}");
        assert!(text.contains("d=\"M210 370L631 370L631 246L1052 246\""), "{text}");
        assert!(text.contains("d=\"M210 154L1052 154\" class=\"limit\""), "{text}");
        assert!(text.contains("rolled &lt;back&gt;") && !text.contains("<b>"), "{text}");
    }

    #[test]
    fn a_line_of_text_tells_high_from_low_and_from_nothing() {
        let values = [Some(0.0), Some(5.0), None, Some(10.0), Some(f64::NAN)];
        assert_eq!(spark(&values, None), "▁▅·█▁");
        assert_eq!(spark(&[Some(5.0)], Some(10.0)), "▅");
        assert_eq!(spark(&[], None), "");
    }
}
