//! What every command prints: facts to standard output, complaints to standard error.

use super::Exit;
use serde::Serialize;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// Prints facts with `print` and ends with `exit`.
///
/// A reader that has gone (`bulkhead rules | head`) is no failure: it has seen what it wanted.
pub fn facts(exit: Exit, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    match print(&mut out).and_then(|()| out.flush()) {
        Ok(()) => exit.into(),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is left in the buffer has no reader either.
            let _ = out.into_parts();
            exit.into()
        }
        Err(error) => failure(Exit::Failed, format_args!("standard output: {error}")),
    }
}

/// Prints `document` as JSON and ends with `exit`.
pub fn json(exit: Exit, document: &impl Serialize) -> ExitCode {
    facts(exit, |out| {
        serde_json::to_writer_pretty(&mut *out, document)?;
        writeln!(out)
    })
}

/// Says on standard error what went wrong and ends with `exit`.
pub fn failure(exit: Exit, message: impl fmt::Display) -> ExitCode {
    // With standard error gone there is only the exit code left to tell.
    let _ = writeln!(io::stderr().lock(), "bulkhead: {message}");
    exit.into()
}

/// Writes lines as they are on standard error.
pub fn complain(lines: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{lines}");
}
