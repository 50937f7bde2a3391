//! Percentages over time, as SVG: what was served, what comes, and what stood in the way.
//!
//! The picture has no style of its own: classes are in the panel's style sheet, so that it follows light and dark. It says
//! nothing that the tables beside it do not say, too.

use std::fmt::Write;

use jiff::tz::TimeZone;

use super::past::{Mark, Point};
use crate::api::{MicroTime, Percent};
use crate::chart::TimeAxis;
use crate::chart::svg::escape;

/// One line of the picture.
pub struct Series {
    /// Name of the cohort.
    pub name: String,
    /// What it had and will have, each from its instant on, oldest first.
    pub points: Vec<(MicroTime, Percent)>,
}

/// A stretch of time in which nothing is raised.
pub struct Band {
    /// From when.
    pub from: MicroTime,
    /// Until when.
    pub to: MicroTime,
    /// What it is called; windows have no names.
    pub name: Option<String>,
}

/// Something that happened, or that needs somebody.
pub struct Event {
    /// When.
    pub at: MicroTime,
    /// What sort of thing.
    pub mark: Mark,
    /// What, in words.
    pub text: String,
}

/// What is drawn.
pub struct Picture {
    /// The lines, one a cohort.
    pub series: Vec<Series>,
    /// What stands in the way of raises.
    pub bands: Vec<Band>,
    /// What happened.
    pub events: Vec<Event>,
    /// What is past, and what is planned.
    pub now: MicroTime,
    /// The first instant shown.
    pub from: MicroTime,
    /// The last instant shown.
    pub to: MicroTime,
    /// The zone of the times under it.
    pub zone: TimeZone,
    /// What the picture shows, for whoever does not see it.
    pub title: String,
    /// Tells the pictures of one page apart.
    pub id: String,
}

/// How large it is drawn.
#[derive(Clone, Copy)]
pub struct Size {
    /// Width in units.
    pub width: f64,
    /// Height in units.
    pub height: f64,
    /// Most times under the picture.
    pub ticks: usize,
    /// Tells the parts of two pictures on one page apart.
    pub id: &'static str,
}

/// For wide screens.
pub const WIDE: Size = Size { width: 960.0, height: 280.0, ticks: 8, id: "wide" };
/// For phones.
pub const NARROW: Size = Size { width: 360.0, height: 260.0, ticks: 3, id: "narrow" };

const LEFT: f64 = 44.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 28.0;

impl Point {
    /// The points of several cohorts, taken apart.
    pub fn of(points: &[Point], index: usize) -> Vec<(MicroTime, Percent)> {
        points.iter().filter_map(|point| Some((point.at, *point.percents.get(index)?))).collect()
    }
}

/// Draws a picture.
pub fn svg(picture: &Picture, size: Size) -> String {
    let axis = TimeAxis::new(picture.from, picture.to, picture.zone.clone());
    let drawing = Drawing { picture, axis, size };
    let mut out = String::new();
    let Size { width, height, id, .. } = size;
    let (title, of) = (escape(&picture.title), escape(&picture.id));
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r#"<svg class="over-time {id}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{of}-{id}" focusable="false"><title id="{of}-{id}">{title}</title>"#
    );
    drawing.bands(&mut out);
    drawing.axes(&mut out);
    drawing.lines(&mut out);
    drawing.now(&mut out);
    drawing.events(&mut out);
    out.push_str("</svg>");
    out
}

struct Drawing<'a> {
    picture: &'a Picture,
    axis: TimeAxis,
    size: Size,
}

impl Drawing<'_> {
    fn x(&self, at: MicroTime) -> f64 {
        round(LEFT + self.axis.position(at) * (self.size.width - LEFT - RIGHT))
    }

    fn y(&self, percent: Percent) -> f64 {
        let part = f64::from(percent.thousandths()) / f64::from(Percent::FULL.thousandths());
        round(TOP + (1.0 - part) * (self.size.height - TOP - BOTTOM))
    }

    fn bands(&self, out: &mut String) {
        let height = round(self.size.height - TOP - BOTTOM);
        for band in &self.picture.bands {
            let (x, end) = (self.x(band.from), self.x(band.to));
            let width = round((end - x).max(0.5));
            let class = if band.name.is_some() { "freeze" } else { "closed" };
            let _ = write!(
                out,
                r#"<g><rect class="{class}" x="{x}" y="{TOP}" width="{width}" height="{height}"/>"#
            );
            if let Some(name) = &band.name {
                let name = escape(name);
                let _ = write!(out, "<title>{name}</title>");
                if width > 70.0 {
                    let (x, y) = (round(x + 4.0), round(TOP + 12.0));
                    let _ = write!(out, r#"<text class="band" x="{x}" y="{y}">{name}</text>"#);
                }
            }
            out.push_str("</g>");
        }
    }

    fn axes(&self, out: &mut String) {
        let (right, bottom) = (self.size.width - RIGHT, self.y(Percent::ZERO));
        for whole in [0, 25, 50, 75, 100] {
            let y = self.y(Percent::from_whole(whole).unwrap_or_default());
            let (text_x, text_y) = (LEFT - 6.0, round(y + 4.0));
            let _ = write!(
                out,
                r#"<line class="grid" x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}"/><text class="tick end" x="{text_x}" y="{text_y}">{whole}%</text>"#
            );
        }
        for tick in self.axis.ticks(self.size.ticks) {
            let (x, text) = (self.x(tick.at), escape(&tick.label));
            let (end, text_y) = (round(bottom + 4.0), round(bottom + 18.0));
            let anchor = match x {
                x if x > right - 30.0 => "tick end",
                x if x < LEFT + 20.0 => "tick",
                _ => "tick middle",
            };
            let _ = write!(
                out,
                r#"<line class="axis" x1="{x}" y1="{bottom}" x2="{x}" y2="{end}"/><text class="{anchor}" x="{x}" y="{text_y}">{text}</text>"#
            );
        }
    }

    fn lines(&self, out: &mut String) {
        let Picture { now, from, to, .. } = self.picture;
        for (i, series) in self.picture.series.iter().enumerate() {
            let before = series.points.iter().rposition(|(at, _)| at <= now);
            let at_now = before.and_then(|i| series.points.get(i)).map(|(_, percent)| *percent);
            let past: Vec<(MicroTime, Percent)> =
                series.points.iter().filter(|(at, _)| at <= now).copied().collect();
            let mut future: Vec<(MicroTime, Percent)> =
                at_now.map(|percent| (*now, percent)).into_iter().collect();
            future.extend(series.points.iter().filter(|(at, _)| at > now).copied());
            let class = i % 8;
            let name = escape(&series.name);
            for (points, end, kind) in [(past, *now.min(to), "was"), (future, *to, "will")] {
                let path = self.path(&points, *from, end, self.beside(i));
                if !path.is_empty() {
                    let _ = write!(
                        out,
                        r#"<path class="s{class} {kind}" d="{path}"><title>{name}</title></path>"#
                    );
                }
            }
        }
    }

    /// How far a line is moved, so that those of one percentage lie beside each other.
    #[allow(clippy::cast_precision_loss, reason = "there are at most 16")]
    fn beside(&self, i: usize) -> f64 {
        let middle = self.picture.series.len().saturating_sub(1) as f64 / 2.0;
        (i as f64 - middle) * 2.2
    }

    /// Steps: each percentage stays until the next.
    fn path(&self, points: &[(MicroTime, Percent)], from: MicroTime, end: MicroTime, beside: f64) -> String {
        let mut path = String::new();
        for (at, percent) in points {
            let (x, y) = (self.x((*at).max(from)), round(self.y(*percent) + beside));
            let _ = match path.is_empty() {
                true => write!(path, "M{x} {y}"),
                false => write!(path, "H{x}V{y}"),
            };
        }
        if !path.is_empty() {
            let _ = write!(path, "H{}", self.x(end));
        }
        path
    }

    fn now(&self, out: &mut String) {
        let Picture { now, from, to, .. } = self.picture;
        if now < from || now > to {
            return;
        }
        let (x, bottom) = (self.x(*now), self.y(Percent::ZERO));
        let anchor = if x > self.size.width - 60.0 { "now end" } else { "now" };
        let text_x = if anchor == "now" { round(x + 4.0) } else { round(x - 4.0) };
        let text_y = TOP - 14.0;
        let top = TOP - 22.0;
        let _ = write!(
            out,
            r#"<line class="now" x1="{x}" y1="{top}" x2="{x}" y2="{bottom}"/><text class="{anchor}" x="{text_x}" y="{text_y}">now</text>"#
        );
    }

    fn events(&self, out: &mut String) {
        let y = TOP - 6.0;
        let shown =
            self.picture.events.iter().filter(|e| e.at >= self.picture.from && e.at <= self.picture.to);
        for event in shown {
            let x = self.x(event.at);
            let shape = match event.mark {
                Mark::Rollback => {
                    format!("M{} {}H{}L{x} {}Z", round(x - 6.0), y - 5.0, round(x + 6.0), y + 5.0)
                }
                Mark::Pause => {
                    format!(
                        "M{} {}v10h3v-10zM{} {}v10h3v-10z",
                        round(x - 4.0),
                        y - 5.0,
                        round(x + 1.0),
                        y - 5.0
                    )
                }
                Mark::Person => format!("M{x} {}l5 5l-5 5l-5 -5z", y - 5.0),
                Mark::Edit => format!("M{} {}h8v8h-8z", round(x - 4.0), y - 4.0),
            };
            let class = match event.mark {
                Mark::Rollback => "rollback",
                Mark::Pause => "pause",
                Mark::Person => "person",
                Mark::Edit => "edit",
            };
            let text = escape(&event.text);
            let _ = write!(out, r#"<path class="mark {class}" d="{shape}"><title>{text}</title></path>"#);
        }
    }
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;
