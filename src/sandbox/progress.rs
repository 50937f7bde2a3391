//! Says on standard error what a long piece of work is doing.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);

/// A spinner with the elapsed time on a terminal; elsewhere plain lines at
/// the start, at every [`Progress::beat`] and at the end.
pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    what: String,
    doing: String,
}

impl Progress {
    /// Begins to tell about `what`.
    pub(super) fn start(what: String) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            let bar = ProgressBar::new_spinner();
            // The template is a constant; the plain spinner is good enough
            // should it ever be wrong.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_message(what.clone());
            bar.enable_steady_tick(TURN);
            bar
        } else {
            eprintln!("{what}");
            // Hidden, it still counts the time.
            ProgressBar::hidden()
        };
        Self { bar, terminal, what, doing: String::new() }
    }

    /// What is being done right now.
    pub(super) fn doing(&mut self, doing: String) {
        if self.terminal {
            self.bar.set_message(format!("{}: {doing}", self.what));
        }
        self.doing = doing;
    }

    /// Call now and then: shows a log's reader that the work goes on.
    pub(super) fn beat(&self) {
        if !self.terminal {
            let elapsed = HumanDuration(self.bar.elapsed());
            eprintln!("{} ({elapsed} so far): {}", self.what, self.doing);
        }
    }

    /// The work is done.
    pub(super) fn done(self, result: &str) {
        let elapsed = HumanDuration(self.bar.elapsed());
        self.bar.finish_and_clear();
        eprintln!("{result} after {elapsed}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
