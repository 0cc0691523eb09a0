//! The classifier beside DPDK's librte_acl: the same rules, the same headers, one core, passes in
//! turn.
//!
//! Both run as programs of their own ([`Program`]): each has the memory and the instructions that
//! suit it, and no answer passes from one to the other. Before anything is timed, what they find is
//! compared header by header ([`dumps`]).

pub mod dumps;
pub mod goals;
mod program;
mod report;
mod rounds;
mod sets;

pub use program::{Program, Ready};
pub use report::{Failed, Figures, Lookups, PeerBuild, PeerLane, Report, SetReport, Setting};
pub use rounds::{Lane, Side, Timed, alternate};
pub use sets::{Prepared, Selection, Set, Trace, select};

use std::fmt;

/// Why a contest cannot go on.
#[derive(Debug)]
pub enum Error {
    /// In words.
    Failed(String),
    /// The programs do not agree.
    Mismatch(String),
}

impl Error {
    /// Says what failed.
    pub fn new(message: impl fmt::Display) -> Self {
        Error::Failed(message.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Failed(message) | Error::Mismatch(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// What a step of a contest comes to.
pub type Result<T> = std::result::Result<T, Error>;
