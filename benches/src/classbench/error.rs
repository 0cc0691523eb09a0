//! Why a file was not read or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Names the file, what is wrong in it or with it, and what to do.
#[derive(Debug)]
pub enum Error {
    /// The file could not be opened, read or written.
    Io(PathBuf, io::Error),
    /// An `.xz` file could not be decompressed, and why.
    Xz(PathBuf, String),
    /// A line is not as it should be.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What was expected, and what is there.
        message: String,
    },
    /// There is not one line to read.
    Empty(PathBuf),
}

impl Error {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Error {
        move |error| Error::Io(path.to_owned(), error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Error::Xz(path, why) => write!(f, "{}: {why}", path.display()),
            Error::Line { path, line, message } => {
                write!(f, "{}:{line}: {message}", path.display())
            }
            Error::Empty(path) => write!(f, "{}: there is nothing in it", path.display()),
        }
    }
}

impl std::error::Error for Error {}
