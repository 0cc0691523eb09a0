//! Waiting for a condition, always with a deadline.

use crate::{Error, Result};
use std::time::{Duration, Instant};

/// How long one look at a condition is from the next.
const STEP: Duration = Duration::from_millis(10);

/// Asks `condition` until it answers `Some`, for at most `limit`.
///
/// # Errors
/// Names `what` was waited for when the time is over.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(Error::new(format!("waited {limit:?} in vain for {what}")));
        }
        std::thread::sleep(STEP);
    }
}

/// Asks `condition` until it answers `Ok`, for at most `limit`; the last error when it never does.
///
/// # Errors
/// The last error of `condition`, with `what` was waited for.
pub fn until_ok<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut last = None;
    until(what, limit, || condition().map_err(|e| last = Some(e)).ok()).map_err(|e| match last {
        Some(last) => Error::new(format!("{e}: {last}")),
        None => e,
    })
}
