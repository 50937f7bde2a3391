//! What becomes of a panic: a fault of this program or of a library, and never of its input.
//!
//! The task or thread in which it comes about ends, and nothing else does ([`crate::watchdog`] sees to what that means). Where
//! there is a log it is one line of it, bounded as every other: its message may repeat what a tenant wrote.

use std::any::Any;
use std::cell::Cell;
use std::panic::{PanicHookInfo, UnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bounds::cut;
use crate::clock;

/// Least time between two lines of the log.
const SPACING: Duration = Duration::from_secs(1);

thread_local! {
    static TRIES: Cell<bool> = const { Cell::new(false) };
}

static TOLD: Mutex<Option<Instant>> = Mutex::new(None);

/// What a reader gives that panics on some texts, which is how it refuses them: nobody is told.
///
/// # Errors
/// It panicked.
pub fn tried<T>(read: impl FnOnce() -> T + UnwindSafe) -> Result<T, Box<dyn Any + Send>> {
    let before = TRIES.replace(true);
    let result = catch_unwind(read);
    TRIES.set(before);
    result
}

/// Whether a panic now would be such a refusal.
pub fn is_tried() -> bool {
    TRIES.get()
}

/// From now on panics are told in the log where there is one, else as before.
pub fn watch() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        if is_tried() {
            return;
        }
        if !tracing::dispatcher::has_been_set() {
            return before(panic);
        }
        let left = clock::spaced(&mut TOLD.lock().unwrap_or_else(PoisonError::into_inner), SPACING);
        if left.is_none() {
            tracing::error!("{}", words(panic));
        }
    }));
}

fn words(panic: &PanicHookInfo<'_>) -> String {
    let at = panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let message = panic.payload_as_str().map(cut).unwrap_or_default();
    format!("this program has a fault, please report it: panicked{at}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_panics_refuses_and_the_next_panic_is_a_fault_again() {
        assert!(tried(|| panic!("it is meant to")).is_err());
        assert!(!is_tried());
        let inner = tried(|| {
            assert!(tried(|| panic!("it is meant to")).is_err());
            is_tried()
        });
        assert!(inner.unwrap(), "one within another ends only itself");
    }
}
