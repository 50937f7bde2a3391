//! The course of one measured value beside what it must not cross: small enough for a phone, and a part of a page that has the
//! look.

use super::axis::{TimeAxis, ValueAxis};
use super::curves::{Curve, Limit};
use super::style::colour;
use super::svg::{Area, Look, Svg, fitting, text_width};
use crate::api::MicroTime;

/// How wide it is drawn; a page may show it wider.
pub const WIDTH: f64 = 360.0;
/// How high.
pub const HEIGHT: f64 = 190.0;

/// Room for the scale on the left: at least, and at most where its words are long.
const LEFT: f64 = 50.0;
const LEFT_AT_MOST: f64 = 96.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
const TICK: f64 = 90.0;
const SMALL: f64 = 11.0;
/// How many ways there are to break a line, so that curves differ by more than their colour: the classes `d0` to `d4`.
pub const BREAKS: usize = 5;

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// What is measured.
    pub title: String,
    /// The same in a sentence, for whoever does not see it.
    pub description: String,
    /// The time from left to right.
    pub axis: TimeAxis,
    /// The unit behind the values of the scale.
    pub unit: String,
    /// The values, one curve for each cohort.
    pub curves: Vec<Curve>,
    /// What must not be crossed.
    pub limits: Vec<Limit>,
    /// Stretches of time without a value.
    pub gaps: Vec<Gap>,
}

/// A stretch of time without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From when.
    pub from: MicroTime,
    /// Until when.
    pub to: MicroTime,
    /// Why, in a few words.
    pub label: String,
}

/// The classes of the curve of this number.
pub fn class(number: usize) -> String {
    format!("curve {} d{}", colour(number), number % BREAKS)
}

/// Draws a course. The same course gives the same bytes.
pub fn svg(course: &Course) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT, &course.title, &course.description, Look::OfPage);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let values = course.curves.iter().flat_map(|curve| curve.points.iter().filter_map(|(_, value)| *value));
    let axis = ValueAxis::of(values.chain(course.limits.iter().map(|limit| limit.value)), 4);
    let y = |value: f64| TOP + (bottom - TOP) * (1.0 - axis.position(value));
    let label = |tick: f64| format!("{}{}", ValueAxis::label(tick), course.unit);
    let widest = axis.ticks().into_iter().map(|tick| text_width(&label(tick), SMALL)).fold(0.0, f64::max);
    let left = (widest + 8.0).ceil().clamp(LEFT, LEFT_AT_MOST);
    let x = |at: MicroTime| left + (right - left) * course.axis.position(at);

    for gap in &course.gaps {
        let (from, to) = (x(gap.from), x(gap.to));
        let width = (to - from).max(2.0);
        svg.rect(Area { x: from, y: TOP, width, height: bottom - TOP }, 0.0, "gap", &gap.label);
        if text_width(&gap.label, SMALL) + 6.0 < width {
            svg.text((from + width / 2.0, bottom - 5.0), "middle", "cold", &gap.label);
        }
    }
    for tick in axis.ticks() {
        svg.line((left, y(tick)), (right, y(tick)), "grid");
        svg.text((left - 5.0, y(tick) + 4.0), "end", "tick", &fitting(&label(tick), SMALL, left - 6.0));
    }
    for tick in course.axis.ticks(((right - left) / TICK) as usize) {
        svg.line((x(tick.at), bottom), (x(tick.at), bottom + 4.0), "rule");
        let half = text_width(&tick.label, SMALL) / 2.0;
        let middle = x(tick.at).clamp(left + half - 20.0, right - half + 8.0);
        svg.text((middle, bottom + 17.0), "middle", "tick", &tick.label);
    }
    svg.line((left, bottom), (right, bottom), "rule");
    limits(&mut svg, &course.limits, left, &y);
    for (i, curve) in course.curves.iter().enumerate() {
        let class = class(i);
        svg.polyline(curve.points.iter().map(|(at, value)| value.map(|value| (x(*at), y(value)))), &class);
        for (at, value) in alone(&curve.points) {
            let at: [(&'static str, super::svg::Value<'_>); 4] = [
                ("cx", x(at).into()),
                ("cy", y(value).into()),
                ("r", 2.0.into()),
                ("class", class.as_str().into()),
            ];
            svg.element("circle", &at);
        }
    }
    svg.finish()
}

/// Lines with words on them, each as near to its line as those before leave room.
fn limits(svg: &mut Svg, limits: &[Limit], left: f64, y: &impl Fn(f64) -> f64) {
    let mut taken: Vec<f64> = Vec::new();
    for limit in limits {
        let at = y(limit.value);
        let class = if limit.severe { "limit" } else { "limit soft-limit" };
        svg.polyline([Some((left, at)), Some((WIDTH - RIGHT, at))], class);
        let is_free = |line: f64| line > TOP + 8.0 && taken.iter().all(|other| (other - line).abs() >= SMALL);
        let places = [at - 4.0, at + SMALL + 1.0, at - SMALL - 5.0, at + 2.0 * SMALL + 2.0];
        let line = places.into_iter().find(|line| is_free(*line)).unwrap_or(at + SMALL + 1.0);
        taken.push(line);
        let label = fitting(&limit.label, SMALL, WIDTH - RIGHT - left - 8.0);
        svg.text((WIDTH - RIGHT - 4.0, line), "end", "tick", &label);
    }
}

/// Values without a neighbour, which no line would show.
fn alone(points: &[(MicroTime, Option<f64>)]) -> impl Iterator<Item = (MicroTime, f64)> + '_ {
    let has = |i: Option<usize>| i.and_then(|i| points.get(i)).is_some_and(|(_, value)| value.is_some());
    points.iter().enumerate().filter_map(move |(i, (at, value))| {
        let is_alone = !has(i.checked_sub(1)) && !has(i.checked_add(1));
        value.filter(|_| is_alone).map(|value| (*at, value))
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn t(minute: i64) -> MicroTime {
        MicroTime::from_second(1_757_322_000 + 60 * minute).unwrap()
    }

    fn course() -> Course {
        let points = [(0, Some(0.0)), (25, Some(10.0)), (50, None), (75, Some(5.0)), (100, None)];
        Course {
            title: "errors <b>".to_owned(),
            description: "a & b".to_owned(),
            axis: TimeAxis::new(t(0), t(100), TimeZone::UTC),
            unit: "%".to_owned(),
            curves: vec![Curve {
                label: "all".to_owned(),
                points: points.iter().map(|(at, value)| (t(*at), *value)).collect(),
                stepped: false,
            }],
            limits: vec![
                Limit { value: 10.0, label: "Critical: above 10%".to_owned(), severe: true },
                Limit { value: 9.9, label: "Warning: above 9.9%".to_owned(), severe: false },
            ],
            gaps: vec![Gap { from: t(40), to: t(60), label: "no data <i>".to_owned() }],
        }
    }

    #[test]
    fn values_are_where_they_belong_and_one_alone_is_a_dot() {
        let drawn = svg(&course());
        // The plot is 300 wide from 50 on, and 156 high from 10 on; the scale ends at 10.
        assert!(drawn.contains(r#"d="M50 166L125 10M275 88" class="curve c0 d0""#), "{drawn}");
        assert!(drawn.contains(r#"<circle cx="275" cy="88" r="2" class="curve c0 d0"/>"#), "{drawn}");
        assert!(drawn.contains(r#"d="M50 10L350 10" class="limit""#), "{drawn}");
        assert!(drawn.contains(r#"x="170" y="10" width="60""#), "{drawn}");
        assert!(drawn.contains("no data &lt;i&gt;") && !drawn.contains("<b>"), "{drawn}");
        assert!(!drawn.contains("style"), "the page has the look");
    }

    #[test]
    fn the_words_of_two_limits_do_not_lie_on_each_other() {
        let drawn = svg(&course());
        let line = |words: &str| -> f64 {
            let (before, _) = drawn.split_once(words).unwrap();
            let (_, y) = before.rsplit_once(" y=\"").unwrap();
            y.split('"').next().unwrap().parse().unwrap()
        };
        let (critical, warning) = (line("Critical: above"), line("Warning: above"));
        assert!((critical - warning).abs() >= SMALL && critical > TOP, "{critical} and {warning}");
    }

    #[test]
    fn the_scale_has_room_for_its_unit() {
        let mut slow = course();
        slow.unit = " ms".to_owned();
        slow.limits = vec![Limit { value: 5_000.0, label: "above 5000 ms".to_owned(), severe: true }];
        let drawn = svg(&slow);
        assert!(drawn.contains(">4000 ms<") && !drawn.contains('…'), "{drawn}");
        assert!(!drawn.contains(r#"M50 "#), "the plot begins where the scale ends: {drawn}");
    }

    #[test]
    fn whatever_is_measured_is_drawn_within_the_picture() {
        let mut odd = course();
        odd.curves[0].points = vec![(t(0), Some(f64::MAX)), (t(10), Some(-f64::MAX)), (t(9), Some(0.0))];
        odd.limits.clear();
        let drawn = svg(&odd);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        odd.curves.clear();
        assert!(svg(&odd).ends_with("</svg>\n") || svg(&odd).ends_with("</svg>"));
    }
}
