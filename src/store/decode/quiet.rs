//! Decoders that panic.
//!
//! `image` 0.25 panics on some malformed files. Such a panic is caught here and costs
//! that one file; its message must not appear on the terminal between the lines of the
//! scan, where it would look like a crash of the program.
//!
//! The message is written by the process-wide panic hook, before the panic can be caught.
//! So the hook is replaced once by one that looks at a thread-local flag and otherwise
//! calls the hook it found. The alternatives are worse: taking and restoring the hook
//! around each decode swallows the real panics of other threads meanwhile, and a process
//! per decode costs more than the decode. What remains: a program that embeds this
//! library and installs its own hook later sees the messages again, which is its choice.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Installs the hook; further calls do nothing.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A thread that is going away has no flag any more and is not decoding.
            if !QUIET.try_with(Cell::get).unwrap_or(false) {
                previous(info);
            }
        }));
    });
}

/// Runs `decode`; a panic in it becomes `None`. What `decode` leaves behind half-done
/// must not be used afterwards: it owns its buffers, so nothing is.
pub(super) fn catch<T>(decode: impl FnOnce() -> T) -> Option<T> {
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(decode));
    QUIET.set(before);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_one_decode() {
        install_hook();
        assert_eq!(catch(|| -> u8 { panic!("must not be printed") }), None);
        assert_eq!(catch(|| 7), Some(7));
        assert!(!QUIET.get());
    }
}
