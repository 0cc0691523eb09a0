//! Waking a worker that sleeps in poll.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst, fence};

/// An eventfd beside a flag that says whether anybody sleeps on it, so that waking a worker that
/// is awake costs no system call.
#[derive(Debug)]
pub(crate) struct Waker {
    event: File,
    asleep: AtomicBool,
}

impl Waker {
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain system call; the result is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let event = unsafe { File::from_raw_fd(fd) };
        Ok(Waker { event, asleep: AtomicBool::new(false) })
    }

    /// Wakes the sleeper, if there is one. Whatever was written before this call is seen by the
    /// worker before it sleeps: it looks again after it raised its flag.
    pub fn wake(&self) {
        // Either this load sees the raised flag, or the sleeper's second look sees the work.
        fence(SeqCst);
        if self.asleep.load(SeqCst) {
            // The only refusal is a full counter, and then the sleeper wakes anyway.
            let _ = (&self.event).write(&1u64.to_ne_bytes());
        }
    }

    /// What the sleeper polls beside its sockets.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Raises the flag; look for work once more before sleeping.
    pub fn about_to_sleep(&self) {
        self.asleep.store(true, SeqCst);
        fence(SeqCst);
    }

    /// Lowers the flag and forgets past wakes.
    pub fn woke_up(&self) {
        self.asleep.store(false, SeqCst);
        let mut count = [0; 8];
        // Empty when another descriptor or the timeout ended the sleep.
        let _ = (&self.event).read(&mut count);
    }
}
