//! Interrupts of a measurement: what is under way ends, and everything made is removed.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Set by SIGINT and SIGTERM once they are [caught](catch).
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Relaxed);
}

/// From now on SIGINT and SIGTERM set [`INTERRUPTED`] and do nothing else.
pub fn catch() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler = interrupt as extern "C" fn(libc::c_int);
        // SAFETY: the handler stores into an atomic and does nothing else, which a signal handler
        // may do.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether such a signal has come.
pub fn came() -> bool {
    INTERRUPTED.load(Relaxed)
}
