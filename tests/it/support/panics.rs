//! Panics of the program under test that nothing else would show: a task that panics ends alone, whatever it was for.

use std::sync::{Mutex, Once};

static WATCHING: Once = Once::new();
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on every panic outside of the tests' own code is kept. Called wherever a controller is started in this process.
pub fn watch() {
    WATCHING.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            let of_a_test = panic.location().is_none_or(|at| at.file().starts_with("tests/"));
            // A reader that refuses a text by panicking is expected to.
            if !of_a_test && !sluice::panics::is_tried() {
                FOUND.lock().unwrap().push(panic.to_string());
            }
        }));
    });
}

/// Fails the test that calls it if the program under test has panicked in this process, in whichever test that was: which
/// of them started the task, nobody can tell.
pub fn assert_none() {
    let found = FOUND.lock().unwrap().clone();
    assert!(found.is_empty() || std::thread::panicking(), "the program under test panicked: {found:#?}");
}
