//! What is known of the terminal, if there is one.

use std::io::IsTerminal;
use std::sync::OnceLock;

/// Whether `--no-color` was given.
static PLAIN: OnceLock<bool> = OnceLock::new();

/// Takes note of `--no-color`.
pub fn without_colours(plain: bool) {
    let _ = PLAIN.set(plain);
}

/// How many columns standard output has, where it is a terminal.
pub fn columns() -> Option<usize> {
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// Whether standard output shows colours: it is a terminal, and neither `--no-color` nor `NO_COLOR` nor a dumb terminal
/// asks for none.
pub fn colours() -> bool {
    let given = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let plain = PLAIN.get().copied().unwrap_or(false);
    std::io::stdout().is_terminal() && !plain && !given("NO_COLOR") && !dumb
}
