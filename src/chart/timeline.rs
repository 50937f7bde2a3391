//! What a timeline shows: groups of lanes with bars, marks, phases, and stretches in which nothing moves.

use super::axis::TimeAxis;
use crate::api::{MicroTime, Percent};

/// A timeline: one axis, and groups one below the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// What it is a picture of.
    pub title: String,
    /// A line below that.
    pub subtitle: String,
    /// The time from left to right.
    pub axis: TimeAxis,
    /// From when weeks are counted, where they are.
    pub weeks_from: Option<MicroTime>,
    /// The present, where it is worth a line.
    pub now: Option<MicroTime>,
    /// The groups, from top to bottom.
    pub groups: Vec<Group>,
}

/// Lanes that belong together: a rollout, or a phase of a playbook.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Group {
    /// Its name.
    pub label: String,
    /// What else there is to say, in few words.
    pub aside: String,
    /// Named stretches above the lanes: phases.
    pub phases: Vec<Stretch>,
    /// Stretches with a name in which nothing rises: freezes.
    pub freezes: Vec<Stretch>,
    /// Other stretches in which nothing rises: closed windows.
    pub closed: Vec<Stretch>,
    /// The lanes, from top to bottom.
    pub lanes: Vec<Lane>,
    /// All lanes in one, for where there is room for one: absent where the lanes themselves are to be shown.
    pub summary: Option<Lane>,
    /// What happens at single instants.
    pub marks: Vec<Mark>,
}

/// A stretch of time with a name; the name may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first instant.
    pub from: MicroTime,
    /// The first instant after it.
    pub to: MicroTime,
    /// What it is called.
    pub label: String,
}

/// One row of bars.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Lane {
    /// Its name.
    pub label: String,
    /// The bars, in order, none over another.
    pub bars: Vec<Bar>,
}

/// A stretch of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its first instant.
    pub from: MicroTime,
    /// The first instant after it; absent where it goes on beyond the axis.
    pub to: Option<MicroTime>,
    /// How it is filled.
    pub fill: Fill,
    /// What stands in it, where there is room.
    pub label: String,
    /// What shows while somebody points at it.
    pub tip: String,
}

/// How a bar is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The more, the darker.
    Share(Percent),
    /// By what state something is in.
    Tone(Tone),
}

/// The state that a bar shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It is to come.
    Planned,
    /// It is under way.
    Running,
    /// It is done.
    Done,
    /// Something is in its way.
    Blocked,
    /// It should have been done by now.
    Late,
}

impl Tone {
    /// Every tone, in the order in which a legend has them.
    pub const ALL: [Tone; 5] = [Tone::Done, Tone::Running, Tone::Planned, Tone::Blocked, Tone::Late];

    /// It in a word.
    pub const fn word(self) -> &'static str {
        match self {
            Tone::Planned => "planned",
            Tone::Running => "running",
            Tone::Done => "done",
            Tone::Blocked => "blocked",
            Tone::Late => "late",
        }
    }
}

/// Something at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: MicroTime,
    /// What kind of thing.
    pub kind: MarkKind,
    /// What shows while somebody points at it.
    pub tip: String,
}

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// Something waited from this instant on to the one given here.
    Waited(MicroTime),
    /// Everything is done.
    Completed,
    /// An approval that is given.
    Approved,
    /// An approval that somebody has to give.
    Approval,
    /// Something is taken away from somebody.
    Lowered,
}

impl MarkKind {
    /// The one letter that stands for it in a terminal.
    pub const fn letter(self) -> char {
        match self {
            MarkKind::Waited(_) => '~',
            MarkKind::Completed => '✓',
            MarkKind::Approved => '◇',
            MarkKind::Approval => '◆',
            MarkKind::Lowered => '▼',
        }
    }

    /// What a legend says of it.
    pub const fn meaning(self) -> &'static str {
        match self {
            MarkKind::Waited(_) => "waits for a window or a freeze",
            MarkKind::Completed => "completed",
            MarkKind::Approved => "approved in git",
            MarkKind::Approval => "needs an approval",
            MarkKind::Lowered => "lowers",
        }
    }
}

impl Timeline {
    /// The kinds of marks that it has, each once; those that waited as one.
    pub fn kinds(&self) -> Vec<MarkKind> {
        let mut kinds: Vec<MarkKind> = Vec::new();
        for mark in self.groups.iter().flat_map(|group| &group.marks) {
            if !kinds.iter().any(|kind| kind.letter() == mark.kind.letter()) {
                kinds.push(mark.kind);
            }
        }
        kinds.sort();
        kinds
    }
}
