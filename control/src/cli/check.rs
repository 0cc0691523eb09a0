//! `bulkhead check`: is a policy valid, and what does it become.

use super::format::{bytes, count, seconds};
use super::{Exit, output};
use crate::api::Checked;
use crate::diagnostic::{Diagnostics, LoadError};
use crate::policy::{self, Policy, ZoneMap};
use clap::Args;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Validate a policy and show what it compiles to
///
/// Reads the file as a gateway would, changes nothing and needs no gateway. Prints the errors
/// found with file, line and column; exits with 3 if there is one.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The policy file
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let started = Instant::now();
    let compiled = Policy::load(&args.policy).and_then(|policy| {
        // Counted for one worker: how many there are is the gateway's affair.
        let table = policy::compile(&policy, &ZoneMap::of(&policy), 1, 1)?;
        Ok((policy, table))
    });
    let compile_seconds = started.elapsed().as_secs_f64();
    let file = args.policy.display().to_string();
    match compiled {
        Ok((policy, table)) => {
            let checked = Checked {
                valid: true,
                file,
                zones: policy.zones().len(),
                rules: policy.rules().len(),
                entries: table.entries(),
                table_bytes: table.memory_usage() as u64,
                compile_seconds,
                diagnostics: Vec::new(),
            };
            if args.json {
                return output::json(Exit::Done, &checked);
            }
            output::facts(Exit::Done, |out| {
                writeln!(
                    out,
                    "{} is valid: {}, {}, {}; the table takes {}, built in {}",
                    crate::diagnostic::printable(&checked.file),
                    count(checked.zones, "zone", "zones"),
                    count(checked.rules, "rule", "rules"),
                    count(checked.entries, "entry", "entries"),
                    bytes(checked.table_bytes),
                    seconds(checked.compile_seconds)
                )
            })
        }
        Err(LoadError::Invalid(diagnostics)) => invalid(args.json, file, diagnostics),
        Err(error @ LoadError::Io { .. }) => output::failure(exit_of(&error), error),
    }
}

/// A file that cannot be read is a failure; one whose contents cannot be text is no policy.
pub(super) fn exit_of(error: &LoadError) -> Exit {
    match error {
        LoadError::Io { error, .. } if error.kind() != io::ErrorKind::InvalidData => Exit::Failed,
        _ => Exit::InvalidPolicy,
    }
}

fn invalid(json: bool, file: String, diagnostics: Diagnostics) -> ExitCode {
    if json {
        let checked = Checked {
            valid: false,
            file,
            zones: 0,
            rules: 0,
            entries: 0,
            table_bytes: 0,
            compile_seconds: 0.0,
            diagnostics: diagnostics.0,
        };
        return output::json(Exit::InvalidPolicy, &checked);
    }
    output::complain(format_args!("{diagnostics:#}"));
    let errors = count(diagnostics.0.len(), "error", "errors");
    let file = crate::diagnostic::printable(&file);
    output::failure(Exit::InvalidPolicy, format_args!("{file} is invalid: {errors}"))
}
