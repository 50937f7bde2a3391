//! Pictures of time: timelines and curves, as SVG for pages and pull requests, and as text for terminals.
//!
//! A picture is a function of its values: nothing here reads a clock, a file, or the size of a terminal. All text goes
//! through [`visible`](crate::visible) and is escaped, whoever wrote it.

pub mod axis;
pub mod course;
pub mod curves;
pub mod drawing;
pub mod measured;
pub mod style;
pub mod svg;
pub mod terminal;
pub mod timeline;

pub use axis::{TimeAxis, ValueAxis};
pub use curves::{Curve, Curves, Event, Panel};
pub use svg::Look;
pub use timeline::{Bar, Fill, Group, Lane, Mark, MarkKind, Stretch, Timeline, Tone};
