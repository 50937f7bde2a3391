//! A timeline as text, as wide as a terminal.

use super::axis::{Tick, TimeAxis};
use super::timeline::{Bar, Fill, Group, Lane, MarkKind, Stretch, Timeline, Tone};
use crate::api::{MicroTime, Percent};
use crate::visible::line;

/// The narrowest picture: a narrower terminal wraps it.
const NARROWEST: usize = 60;
/// The widest: beyond that eyes lose the line.
const WIDEST: usize = 200;
/// The most that names may take of it.
const NAMES: usize = 30;
/// Columns from one label of the scale to the next.
const TICK: usize = 9;

/// Draws a timeline in so many columns; with colours it is for a terminal that obeys them.
///
/// What others wrote is spelt out here, so that the text may be written as it is.
pub fn text(timeline: &Timeline, columns: usize, colours: bool) -> String {
    let columns = columns.clamp(NARROWEST, WIDEST);
    let names = timeline.groups.iter().flat_map(|group| {
        let lanes = shown(group).iter().map(|lane| indented(group, lane).chars().count());
        lanes.chain([line(&group.label).chars().count()]).max()
    });
    let left = names.max().unwrap_or(0).min(NAMES) + 2;
    let canvas = Canvas { axis: &timeline.axis, left, width: columns.saturating_sub(left + 1), colours };
    let mut out = canvas.scale(timeline);
    for group in &timeline.groups {
        canvas.group(group, &mut out);
    }
    out.push('\n');
    out.push_str(&canvas.legend(timeline));
    out
}

/// The lanes that a terminal has room for.
fn shown(group: &Group) -> &[Lane] {
    match &group.summary {
        Some(summary) => std::slice::from_ref(summary),
        None => &group.lanes,
    }
}

/// The name before a lane: a group with a single lane has it on the line of its own name.
fn indented(group: &Group, lane: &Lane) -> String {
    if shown(group).len() == 1 { line(&group.label).into_owned() } else { format!("  {}", line(&lane.label)) }
}

struct Canvas<'a> {
    axis: &'a TimeAxis,
    left: usize,
    width: usize,
    colours: bool,
}

/// One column: a character, and how it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cell(char, Look);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Faint,
    Accent,
    Strong,
    Good,
    Bad,
    Warn,
    Gate,
}

impl Look {
    fn escape(self) -> &'static str {
        match self {
            Look::Plain => "",
            Look::Faint => "\u{1b}[2m",
            Look::Accent => "\u{1b}[34m",
            Look::Strong => "\u{1b}[1m",
            Look::Good => "\u{1b}[32m",
            Look::Bad => "\u{1b}[1;31m",
            Look::Warn => "\u{1b}[33m",
            Look::Gate => "\u{1b}[35m",
        }
    }
}

impl Canvas<'_> {
    fn empty(&self) -> Vec<Cell> {
        vec![Cell(' ', Look::Plain); self.width]
    }

    /// The column of an instant.
    fn column(&self, at: MicroTime) -> usize {
        let last = self.width.saturating_sub(1);
        ((self.axis.position(at) * self.width as f64) as usize).min(last)
    }

    /// A row: a name, and cells behind it.
    fn row(&self, out: &mut String, name: &str, look: Look, cells: &[Cell]) {
        let name: String = name.chars().take(self.left.saturating_sub(2)).collect();
        let pad = self.left - name.chars().count();
        self.put(out, &name, look);
        let used = cells.iter().rposition(|cell| cell.0 != ' ').map_or(0, |last| last + 1);
        if used > 0 {
            out.push_str(&" ".repeat(pad));
        }
        let mut cells = cells.iter().take(used).peekable();
        while let Some(Cell(first, look)) = cells.next() {
            let mut run = String::from(*first);
            while let Some(Cell(c, _)) = cells.next_if(|cell| cell.1 == *look) {
                run.push(*c);
            }
            self.put(out, &run, *look);
        }
        out.push('\n');
    }

    fn put(&self, out: &mut String, text: &str, look: Look) {
        match self.colours && look != Look::Plain && !text.is_empty() {
            true => out.push_str(&format!("{}{text}\u{1b}[0m", look.escape())),
            false => out.push_str(text),
        }
    }

    /// Writes a text from a column on, where nothing is in its way; whether it did.
    fn write(&self, cells: &mut [Cell], column: usize, text: &str, look: Look) -> bool {
        let length = text.chars().count();
        let Some(room) = cells.get_mut(column..column.saturating_add(length)) else { return false };
        if room.iter().any(|cell| cell.0 != ' ') {
            return false;
        }
        for (cell, c) in room.iter_mut().zip(text.chars()) {
            *cell = Cell(c, look);
        }
        true
    }

    fn scale(&self, timeline: &Timeline) -> String {
        let mut out = String::new();
        self.row(&mut out, "", Look::Plain, &self.labels(&self.axis.ticks(self.width / TICK), Look::Faint));
        if let Some(first) = timeline.weeks_from {
            let weeks = self.axis.weeks(first);
            self.row(&mut out, "", Look::Plain, &self.labels(&weeks, Look::Plain));
        }
        out
    }

    /// As many labels as have room, each behind a mark at its instant.
    fn labels(&self, ticks: &[Tick], look: Look) -> Vec<Cell> {
        let mut cells = self.empty();
        let mut free = 0;
        for tick in ticks {
            let column = self.column(tick.at);
            let label = format!("│{}", tick.label);
            if column >= free && self.write(&mut cells, column, &label, look) {
                free = column + label.chars().count() + 1;
            }
        }
        cells
    }

    fn group(&self, group: &Group, out: &mut String) {
        let lanes = shown(group);
        if lanes.len() != 1 {
            self.row(out, &line(&group.label), Look::Strong, &[]);
        }
        for lane in lanes {
            let look = if lanes.len() == 1 { Look::Strong } else { Look::Plain };
            self.row(out, &indented(group, lane), look, &self.lane(group, lane));
        }
        let below = self.below(group);
        if below.iter().any(|cell| cell.0 != ' ') {
            self.row(out, "", Look::Plain, &below);
        }
    }

    fn lane(&self, group: &Group, lane: &Lane) -> Vec<Cell> {
        let mut cells = self.empty();
        self.fill_whole(&mut cells, &group.closed, Cell('·', Look::Faint));
        for bar in &lane.bars {
            self.bar(&mut cells, bar);
        }
        cells
    }

    fn bar(&self, cells: &mut [Cell], bar: &Bar) {
        if bar.from > self.axis.to() || bar.to.is_some_and(|to| to < self.axis.from()) {
            return;
        }
        let from = self.column(bar.from);
        let to = match bar.to {
            Some(to) if to < self.axis.to() => self.column(to).max(from + 1),
            _ => self.width,
        };
        let Some(room) = cells.get_mut(from..to) else { return };
        room.fill(filled(bar.fill));
        let label = line(&bar.label);
        // Its label and one cell of its shade at least.
        if label.chars().count() < room.len() {
            for (cell, c) in room.iter_mut().zip(label.chars()) {
                *cell = Cell(c, Look::Strong);
            }
        }
    }

    /// Fills the columns that lie in a stretch as a whole.
    fn fill_whole(&self, cells: &mut [Cell], stretches: &[Stretch], with: Cell) {
        let each = self.axis.to().duration_since(self.axis.from()).as_secs_f64() / self.width as f64;
        for stretch in stretches {
            let position = |at: MicroTime| at.duration_since(self.axis.from()).as_secs_f64() / each;
            let from = position(stretch.from).ceil().max(0.0) as usize;
            let to = position(stretch.to).floor().max(0.0) as usize;
            cells.iter_mut().take(to).skip(from).for_each(|cell| *cell = with);
        }
    }

    /// Fills the columns that a stretch has any part in.
    fn fill_any(&self, cells: &mut [Cell], stretches: &[Stretch], with: Cell) {
        for stretch in stretches {
            if stretch.to >= self.axis.from() && stretch.from <= self.axis.to() {
                let (from, to) = (self.column(stretch.from), self.column(stretch.to));
                cells.iter_mut().take(to + 1).skip(from).for_each(|cell| *cell = with);
            }
        }
    }

    /// The line below the lanes: marks, and the names of phases and freezes where there is room between those.
    fn below(&self, group: &Group) -> Vec<Cell> {
        let mut cells = self.empty();
        let mut marks: Vec<_> = group.marks.iter().filter(|mark| self.axis.has(mark.at)).collect();
        marks.sort_by_key(|mark| mark.kind);
        for mark in marks {
            let look = match mark.kind {
                MarkKind::Completed => Look::Good,
                MarkKind::Approval | MarkKind::Approved => Look::Gate,
                MarkKind::Lowered => Look::Bad,
                MarkKind::Waited(_) => Look::Warn,
            };
            let from = self.column(mark.at);
            let to =
                if let MarkKind::Waited(to) = mark.kind { self.column(to).max(from + 1) } else { from + 1 };
            // What is marked later is the more important.
            cells.iter_mut().take(to).skip(from).for_each(|cell| *cell = Cell(mark.kind.letter(), look));
        }
        for phase in &group.phases {
            let column = self.column(phase.from);
            let label = line(&phase.label);
            // Beside a mark at the very beginning.
            let _ = self.write(&mut cells, column, &label, Look::Faint)
                || self.write(&mut cells, column + 2, &label, Look::Faint);
        }
        for freeze in &group.freezes {
            let _ = self.write(&mut cells, self.column(freeze.from), &line(&freeze.label), Look::Faint);
        }
        // A freeze shows here where a bar lies over it.
        let mut frozen = self.empty();
        self.fill_any(&mut frozen, &group.freezes, Cell('×', Look::Faint));
        for (cell, frozen) in cells.iter_mut().zip(frozen).filter(|(cell, _)| cell.0 == ' ') {
            *cell = frozen;
        }
        cells
    }

    fn legend(&self, timeline: &Timeline) -> String {
        let mut parts: Vec<String> = Vec::new();
        let fills: Vec<Fill> = timeline
            .groups
            .iter()
            .flat_map(shown)
            .flat_map(|lane| lane.bars.iter().map(|bar| bar.fill))
            .collect();
        if fills.iter().any(|fill| matches!(fill, Fill::Share(_))) {
            parts.push("░ to 25%  ▒ to 50%  ▓ below 100%  █ 100%".to_owned());
        }
        for tone in Tone::ALL.into_iter().filter(|tone| fills.contains(&Fill::Tone(*tone))) {
            parts.push(format!("{} {}", filled(Fill::Tone(tone)).0, tone.word()));
        }
        parts.extend(timeline.kinds().iter().map(|kind| format!("{} {}", kind.letter(), kind.meaning())));
        if timeline.groups.iter().any(|group| !group.freezes.is_empty()) {
            parts.push("× freeze".to_owned());
        }
        let mut lanes = timeline.groups.iter().flat_map(|group| {
            shown(group).iter().flat_map(|lane| self.lane(group, lane)).collect::<Vec<_>>()
        });
        if lanes.any(|cell| cell.0 == '·') {
            parts.push("· no window open".to_owned());
        }
        let mut out = String::new();
        self.put(&mut out, &parts.join("  "), Look::Faint);
        out.push('\n');
        out
    }
}

fn filled(fill: Fill) -> Cell {
    match fill {
        Fill::Share(share) => Cell(shade(share), Look::Accent),
        Fill::Tone(Tone::Planned) => Cell('░', Look::Faint),
        Fill::Tone(Tone::Running) => Cell('▓', Look::Accent),
        Fill::Tone(Tone::Done) => Cell('█', Look::Good),
        Fill::Tone(Tone::Blocked) => Cell('▒', Look::Warn),
        Fill::Tone(Tone::Late) => Cell('▒', Look::Bad),
    }
}

/// The shade of a percentage.
pub fn shade(share: Percent) -> char {
    match share.thousandths() {
        0 => '╌',
        1..=25_000 => '░',
        25_001..=50_000 => '▒',
        50_001..=99_999 => '▓',
        _ => '█',
    }
}

#[cfg(test)]
mod tests;
