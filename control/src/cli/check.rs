//! `bulkhead check`: is a policy valid, and what does it become.

use super::format::{bytes, count, seconds};
use super::{Exit, output};
use crate::api::Checked;
use crate::diagnostic::{Diagnostics, LoadError};
use crate::policy::{Audit, Compiler, Policy, ZoneMap};
use clap::Args;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Validate a policy and show what it compiles to
///
/// Reads the file as a gateway would, changes nothing and needs no gateway. Prints the errors
/// found with file, line and column; exits with 3 if there is one. In a valid policy, warns of
/// rules that could be left out because others decide in their place.
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
    let mut compiler = Compiler::default();
    let compiled = Policy::load(&args.policy).and_then(|policy| {
        // Counted for one worker: how many there are is the gateway's affair.
        let (table, _) = compiler.compile(&policy, &ZoneMap::of(&policy), 1, 1)?;
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
                worst_case_cache_lines: table.worst_case(),
                compile_seconds,
                diagnostics: Vec::new(),
                audit: compiler.audit(&policy),
            };
            if args.json {
                return output::json(Exit::Done, &checked);
            }
            complain_of(&checked.audit);
            output::facts(Exit::Done, |out| {
                writeln!(
                    out,
                    "{} is valid: {}, {}, {}; the table takes {}, a lookup touches at most {}, \
                     built in {}{}",
                    crate::diagnostic::printable(&checked.file),
                    count(checked.zones, "zone", "zones"),
                    count(checked.rules, "rule", "rules"),
                    count(checked.entries, "entry", "entries"),
                    bytes(checked.table_bytes),
                    count(checked.worst_case_cache_lines, "cache line", "cache lines"),
                    seconds(checked.compile_seconds),
                    warnings(&checked.audit)
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

/// `, n warnings` at the end of a line, if there is one.
fn warnings(audit: &Audit) -> String {
    match audit.warnings_total {
        0 => String::new(),
        total => format!(", {}", count(total, "warning", "warnings")),
    }
}

/// Prints the warnings of an audit, and what it left open.
pub(super) fn complain_of(audit: &Audit) {
    for warning in &audit.warnings {
        output::complain(format_args!("{warning:#}"));
    }
    let more = audit.warnings_total.saturating_sub(audit.warnings.len());
    if more > 0 {
        let more = count(more, "more warning is", "more warnings are");
        output::complain(format_args!("bulkhead: {more} not shown"));
    }
    if audit.undecided > 0 {
        let rules = count(audit.undecided, "rule overlaps", "rules overlap");
        output::complain(format_args!(
            "bulkhead: {rules} too many others to tell whether all it matches is decided by those"
        ));
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
            worst_case_cache_lines: 0,
            compile_seconds: 0.0,
            diagnostics: diagnostics.0,
            audit: Audit::default(),
        };
        return output::json(Exit::InvalidPolicy, &checked);
    }
    output::complain(format_args!("{diagnostics:#}"));
    let errors = count(diagnostics.0.len(), "error", "errors");
    let file = crate::diagnostic::printable(&file);
    output::failure(Exit::InvalidPolicy, format_args!("{file} is invalid: {errors}"))
}
