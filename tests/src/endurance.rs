//! What the programs that run for long have in common: numbers from the environment, and an early but
//! orderly end.

use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Set by SIGINT and SIGTERM.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// The number that the environment gives for `name`.
///
/// # Errors
/// If it gives something that is no number.
pub fn number(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| Error::new(format!("{name}={text} is not a number"))),
        Err(_) => Ok(default),
    }
}

/// The environment's `SEED`, or one that no run before had.
///
/// # Errors
/// If it is no number.
pub fn seed() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    number("SEED", now.as_micros() as u64)
}

/// From now on SIGINT and SIGTERM do not end the process but make [`interrupted`] true.
pub fn catch_interrupts() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler = interrupt as extern "C" fn(libc::c_int);
        // SAFETY: the handler stores into an atomic and does nothing else, which a signal handler
        // may do.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether the process was told to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
