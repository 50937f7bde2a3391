//! A timeline as SVG.

use super::axis::{Tick, TimeAxis};
use super::svg::{Area, Look, Svg, fitting, text_width};
use super::timeline::{Bar, Fill, Group, Lane, Mark, MarkKind, Stretch, Timeline, Tone};
use crate::api::Percent;

const WIDTH: f64 = 1080.0;
/// Where the plot begins: left of it stand the names.
const LEFT: f64 = 228.0;
const RIGHT: f64 = 28.0;
const PLOT: f64 = WIDTH - LEFT - RIGHT;
/// Room for two lines at the head of a group: its name beside the phases, and a remark beside the marks.
const HEAD: f64 = 36.0;
/// The line of the marks, at the bottom of that.
const MARKS: f64 = 18.0;
const LANE: f64 = 22.0;
const BAR: f64 = 17.0;
const GAP: f64 = 12.0;
const LEGEND: f64 = 44.0;
/// Room for the label of a tick.
const TICK: f64 = 64.0;
/// Closed windows narrower than this would be a grey veil over everything.
const NARROW: f64 = 1.5;

/// Draws a timeline. The same timeline gives the same bytes.
pub fn svg(timeline: &Timeline, look: Look) -> String {
    let weeks = timeline.weeks_from.map(|from| timeline.axis.weeks(from)).unwrap_or_default();
    let top = 62.0 + if weeks.is_empty() { 18.0 } else { 34.0 };
    let heights: Vec<f64> = timeline.groups.iter().map(height).collect();
    let bottom = top + heights.iter().sum::<f64>();
    let mut page = Page {
        svg: Svg::new(WIDTH, bottom + LEGEND, &timeline.title, &timeline.subtitle, look),
        axis: &timeline.axis,
    };
    page.svg.rect(Area { x: 0.0, y: 0.0, width: WIDTH, height: bottom + LEGEND }, 0.0, "paper", "");
    page.svg.text((16.0, 28.0), "start", "title", &fitting(&timeline.title, 16.0, WIDTH - 32.0));
    page.svg.text((16.0, 48.0), "start", "soft", &fitting(&timeline.subtitle, 11.0, WIDTH - 32.0));
    let mut y = top;
    for (i, height) in heights.iter().enumerate() {
        if i % 2 == 0 {
            page.svg.rect(Area { x: 0.0, y, width: WIDTH, height: *height }, 0.0, "stripe", "");
        }
        y += height;
    }
    page.scale(top, bottom, &weeks);
    let mut y = top;
    for (group, height) in timeline.groups.iter().zip(&heights) {
        page.group(group, y);
        y += height;
    }
    if let Some(now) = timeline.now.filter(|now| timeline.axis.has(*now)) {
        let x = page.x(now);
        page.svg.line((x, top - 4.0), (x, bottom), "now");
        page.svg.text((x + 3.0, bottom - 3.0), "start", "tick", "now");
    }
    page.legend(timeline, bottom);
    page.svg.finish()
}

fn height(group: &Group) -> f64 {
    HEAD + LANE * group.lanes.len() as f64 + GAP
}

struct Page<'a> {
    svg: Svg,
    axis: &'a TimeAxis,
}

impl Page<'_> {
    fn x(&self, at: crate::api::MicroTime) -> f64 {
        LEFT + PLOT * self.axis.position(at)
    }

    /// The edges of a stretch; `None` where nothing of it is on the axis.
    fn span(&self, from: crate::api::MicroTime, to: Option<crate::api::MicroTime>) -> Option<(f64, f64)> {
        let to = to.unwrap_or(self.axis.to());
        (from <= self.axis.to() && to >= self.axis.from()).then(|| (self.x(from), self.x(to)))
    }

    fn scale(&mut self, top: f64, bottom: f64, weeks: &[Tick]) {
        for tick in self.axis.ticks((PLOT / TICK) as usize) {
            let x = self.x(tick.at);
            self.svg.line((x, top - 6.0), (x, bottom), "grid");
            self.svg.text((x, top - 10.0), "middle", "tick", &tick.label);
        }
        let each = PLOT / weeks.len().max(1) as f64;
        for (i, week) in weeks.iter().enumerate() {
            // Where weeks are narrow, their numbers are enough, and of many of them some.
            let number = week.label.trim_start_matches("week ");
            let every = (22.0 / each).ceil().max(1.0) as usize;
            let label = if each > 52.0 || i == 0 { week.label.as_str() } else { number };
            if i % every == 0 {
                let x = self.x(week.at);
                self.svg.text((x + 2.0, top - 28.0), "start", "week", label);
                self.svg.line((x, top - 38.0), (x, top - 24.0), "rule");
            }
        }
        self.svg.line((LEFT, top), (WIDTH - RIGHT, top), "rule");
    }

    fn group(&mut self, group: &Group, y: f64) {
        let lanes = y + HEAD;
        let body = LANE * group.lanes.len() as f64;
        self.svg.text((16.0, y + 16.0), "start", "label", &fitting(&group.label, 14.0, LEFT - 28.0));
        self.svg.text((16.0, y + 31.0), "start", "soft", &fitting(&group.aside, 11.0, LEFT - 28.0));
        // Over the marks too: below full bars they would not be seen.
        self.closures(group, lanes - MARKS, body + MARKS);
        self.phases(&group.phases, y, lanes + body);
        for (i, lane) in group.lanes.iter().enumerate() {
            self.lane(lane, lanes + LANE * i as f64);
        }
        for mark in &group.marks {
            self.mark(mark, y + 27.0);
        }
    }

    fn closures(&mut self, group: &Group, y: f64, height: f64) {
        for closed in &group.closed {
            if let Some((from, to)) = self.span(closed.from, Some(closed.to)).filter(|(a, b)| b - a >= NARROW)
            {
                self.svg.rect(Area { x: from, y, width: to - from, height }, 0.0, "closed", &closed.label);
            }
        }
        for freeze in &group.freezes {
            let Some((from, to)) = self.span(freeze.from, Some(freeze.to)) else { continue };
            let width = (to - from).max(2.0);
            self.svg.rect(
                Area { x: from, y, width, height },
                0.0,
                "freeze",
                &format!("freeze {}", freeze.label),
            );
            let label = format!("❄ {}", freeze.label);
            if text_width(&label, 10.0) + 4.0 < width {
                self.svg.text((from + 3.0, y + 11.0), "start", "cold", &label);
            }
        }
    }

    fn phases(&mut self, phases: &[Stretch], y: f64, bottom: f64) {
        let mut free = LEFT;
        for phase in phases {
            let Some((from, to)) = self.span(phase.from, Some(phase.to)) else { continue };
            self.svg.line((from, y + 6.0), (from, bottom), "rule");
            let room = (to - from - 6.0).max(46.0).min(WIDTH - from - 6.0);
            let label = fitting(&phase.label, 11.0, room);
            // Of phases that are short the first ones have their names; the line and the tip tell of the others.
            if from + 4.0 >= free {
                self.svg.text((from + 4.0, y + 16.0), "start", "phase", &label);
                free = from + 10.0 + text_width(&label, 11.0);
            }
        }
    }

    fn lane(&mut self, lane: &Lane, y: f64) {
        self.svg.text((LEFT - 10.0, y + 15.0), "end", "lane", &fitting(&lane.label, 12.0, LEFT - 30.0));
        for bar in &lane.bars {
            let Some((from, to)) = self.span(bar.from, bar.to) else { continue };
            self.bar(bar, Area { x: from, y: y + 2.0, width: (to - from).max(2.0), height: BAR });
        }
    }

    fn bar(&mut self, bar: &Bar, area: Area) {
        // A hair of paper between two bars: they stay two where their shades are close.
        let width = if area.width > 4.0 { area.width - 1.0 } else { area.width };
        let (class, opacity, on) = match bar.fill {
            Fill::Share(share) if share.is_zero() => ("none", 1.0, false),
            Fill::Share(share) => {
                let part = part(share);
                ("bar", 0.16 + 0.84 * part, part > 0.55)
            }
            Fill::Tone(Tone::Planned) => ("planned", 1.0, false),
            Fill::Tone(Tone::Running) => ("running", 1.0, true),
            Fill::Tone(Tone::Done) => ("done", 1.0, true),
            Fill::Tone(Tone::Blocked) => ("blocked", 1.0, true),
            Fill::Tone(Tone::Late) => ("late", 1.0, true),
        };
        self.svg.element_with_tip(
            "rect",
            &[
                ("x", area.x.into()),
                ("y", area.y.into()),
                ("width", width.into()),
                ("height", area.height.into()),
                ("rx", 2.5.into()),
                ("class", class.into()),
                ("fill-opacity", opacity.into()),
            ],
            &bar.tip,
        );
        if text_width(&bar.label, 11.0) + 8.0 < area.width {
            let class = if on { "inside on" } else { "inside" };
            self.svg.text((area.x + 5.0, area.y + 12.5), "start", class, &bar.label);
        }
    }

    fn mark(&mut self, mark: &Mark, y: f64) {
        if !self.axis.has(mark.at) {
            return;
        }
        let x = self.x(mark.at);
        if let MarkKind::Waited(to) = mark.kind {
            let to = self.x(to);
            let d = format!("M{x:.1} {y:.1}H{to:.1}M{to:.1} {:.1}v6", y - 3.0);
            self.svg.element_with_tip(
                "path",
                &[("d", d.as_str().into()), ("class", "wait".into())],
                &mark.tip,
            );
            return;
        }
        self.symbol(mark.kind, x, y, &mark.tip);
    }

    fn symbol(&mut self, kind: MarkKind, x: f64, y: f64, tip: &str) {
        let (class, d) = match kind {
            MarkKind::Approval => ("gate", format!("M{x:.1} {:.1}l6 6l-6 6l-6 -6z", y - 6.0)),
            MarkKind::Approved => ("given", format!("M{x:.1} {:.1}l6 6l-6 6l-6 -6z", y - 6.0)),
            MarkKind::Lowered => ("down", format!("M{:.1} {:.1}h12l-6 9z", x - 6.0, y - 4.0)),
            MarkKind::Completed => ("check", format!("M{:.1} {y:.1}l3.5 4l6.5 -8.5", x - 4.0)),
            MarkKind::Waited(_) => ("wait", format!("M{:.1} {y:.1}h20m0 -3v6", x - 10.0)),
        };
        self.svg.element_with_tip("path", &[("d", d.as_str().into()), ("class", class.into())], tip);
    }

    fn legend(&mut self, timeline: &Timeline, y: f64) {
        self.svg.line((LEFT, y), (WIDTH - RIGHT, y), "rule");
        let line = y + 25.0;
        let mut x = LEFT;
        let word = |page: &mut Self, x: &mut f64, text: &str| {
            page.svg.text((*x, line + 4.0), "start", "soft", text);
            *x += text_width(text, 11.0) + 22.0;
        };
        let bars = || timeline.groups.iter().flat_map(|group| &group.lanes).flat_map(|lane| &lane.bars);
        if bars().any(|bar| matches!(bar.fill, Fill::Share(_))) {
            for percent in [5, 25, 50, 75, 100] {
                let share = Percent::from_whole(percent).unwrap_or_default();
                let bar = Bar {
                    from: self.axis.from(),
                    to: None,
                    fill: Fill::Share(share),
                    label: String::new(),
                    tip: share.to_string(),
                };
                self.bar(&bar, Area { x, y: line - 7.0, width: 15.0, height: 13.0 });
                x += 15.0;
            }
            x += 6.0;
            word(self, &mut x, "5 % to 100 %");
        }
        for kind in timeline.kinds() {
            x += 10.0;
            self.symbol(kind, x, line, kind.meaning());
            x += 14.0;
            word(self, &mut x, kind.meaning());
        }
        let has = |tone| bars().any(|bar| bar.fill == Fill::Tone(tone));
        let tones = Tone::ALL.map(|tone| (tone.word(), tone.word(), has(tone)));
        let others = [
            ("freeze", "freeze", timeline.groups.iter().any(|group| !group.freezes.is_empty())),
            ("closed", "no window open", self.shows_closed(timeline)),
        ];
        for (class, text, _) in tones.into_iter().chain(others).filter(|(_, _, shown)| *shown) {
            self.svg.rect(Area { x, y: line - 7.0, width: 15.0, height: 13.0 }, 0.0, class, "");
            x += 20.0;
            word(self, &mut x, text);
        }
    }

    fn shows_closed(&self, timeline: &Timeline) -> bool {
        let closed = |group: &Group| {
            let spans = group.closed.iter().filter_map(|closed| self.span(closed.from, Some(closed.to)));
            spans.map(|(from, to)| to - from).any(|width| width >= NARROW)
        };
        timeline.groups.iter().any(closed)
    }
}

/// A percentage as a part of 1.
fn part(share: Percent) -> f64 {
    f64::from(share.thousandths()) / f64::from(Percent::FULL.thousandths())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::api::MicroTime;

    fn t(day: u32) -> MicroTime {
        format!("2025-09-{day:02}T00:00:00Z").parse().unwrap()
    }

    fn example(label: &str) -> Timeline {
        let bar = |from, to: Option<u32>, percent| Bar {
            from: t(from),
            to: to.map(t),
            fill: Fill::Share(Percent::from_whole(percent).unwrap()),
            label: format!("{percent}%"),
            tip: format!("{percent}% from day {from}"),
        };
        Timeline {
            title: format!("Plan of {label}"),
            subtitle: "days in UTC".to_owned(),
            axis: TimeAxis::new(t(1), t(29), TimeZone::UTC),
            weeks_from: Some(t(1)),
            now: Some(t(8)),
            groups: vec![Group {
                label: label.to_owned(),
                phases: vec![Stretch { from: t(1), to: t(15), label: label.to_owned() }],
                freezes: vec![Stretch { from: t(20), to: t(25), label: "move".to_owned() }],
                lanes: vec![Lane {
                    label: label.to_owned(),
                    bars: vec![bar(1, Some(15), 25), bar(15, Some(22), 0), bar(22, None, 100)],
                }],
                marks: vec![Mark { at: t(15), kind: MarkKind::Lowered, tip: label.to_owned() }],
                ..Group::default()
            }],
        }
    }

    #[test]
    fn a_bar_is_as_long_as_it_lasts_and_as_dark_as_its_percentage() {
        let text = svg(&example("shop/search"), Look::Own);
        // 824 px are 28 days: 14 days are 412, 7 days 206.
        assert!(text.contains("<rect x=\"228\" y=\"134\" width=\"411\" height=\"17\" rx=\"2.5\" class=\"bar\" fill-opacity=\"0.37\"><title>25% from day 1</title>"), "{text}");
        assert!(
            text.contains("<rect x=\"640\" y=\"134\" width=\"205\" height=\"17\" rx=\"2.5\" class=\"none\""),
            "{text}"
        );
        assert!(text.contains("class=\"bar\" fill-opacity=\"1\"><title>100% from day 22</title>"), "{text}");
        assert!(text.contains(">❄ move</text>") && text.contains(">lowers</text>"), "{text}");
        assert_eq!(text, svg(&example("shop/search"), Look::Own), "the same bytes every time");
    }

    #[test]
    fn names_are_escaped_wherever_they_stand() {
        let text = svg(&example("<script>\"'&\u{1b}]8;;"), Look::Own);
        assert!(!text.contains("<script") && !text.contains('\u{1b}'), "{text}");
    }
}
