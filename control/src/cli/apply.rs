//! `bulkhead apply`: put a policy in force.

use super::check::complain_of;
use super::format::{count, seconds};
use super::{Exit, SocketArgs, output};
use crate::client::{Client, ClientError};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::yaml;
use clap::Args;
use hyper::StatusCode;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Put a policy in force in the running gateway
///
/// The gateway compiles it beside the traffic and swaps it in whole between two bursts of packets;
/// the command returns when every worker judges by it. A policy that is invalid changes nothing:
/// its errors are printed and the exit code is 3. Rules that could be left out are printed as
/// warnings.
#[derive(Args, Debug)]
pub(super) struct ApplyArgs {
    /// The policy file
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Apply only if this generation is in force; otherwise change nothing and exit with 4
    #[arg(long, value_name = "N")]
    if_generation: Option<u64>,
    #[command(flatten)]
    socket: SocketArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ApplyArgs) -> ExitCode {
    let file = args.policy.display().to_string();
    let text = match yaml::text_of(&args.policy) {
        Ok(text) => text,
        Err(error) => {
            let invalid = error.kind() == io::ErrorKind::InvalidData;
            let exit = if invalid { Exit::InvalidPolicy } else { Exit::Failed };
            return output::failure(exit, format_args!("cannot read {file}: {error}"));
        }
    };
    let client = match Client::new(&args.socket.socket) {
        Ok(client) => client,
        Err(error) => return output::failure(Exit::Failed, error),
    };
    match client.apply(&file, text.clone(), args.if_generation) {
        Ok(applied) if args.json => output::json(Exit::Done, &applied),
        Ok(mut applied) => {
            // The gateway sends places; the lines they point at are here.
            applied.audit.show_sources(&text);
            complain_of(&applied.audit);
            output::facts(Exit::Done, |out| {
                writeln!(
                    out,
                    "generation {} -> {}: {}, {}, compiled in {} ({}), swapped in {}",
                    applied.previous_generation,
                    applied.generation,
                    count(applied.rules, "rule", "rules"),
                    count(applied.entries, "entry", "entries"),
                    seconds(applied.compile_seconds),
                    applied.table_made.as_str(),
                    seconds(applied.swap_seconds)
                )
            })
        }
        Err(ClientError::Refused { status, mut error }) => {
            let exit = match status {
                StatusCode::UNPROCESSABLE_ENTITY => Exit::InvalidPolicy,
                StatusCode::CONFLICT => Exit::AssertionFailed,
                _ => Exit::Failed,
            };
            if args.json {
                return output::json(exit, &error);
            }
            if !error.diagnostics.is_empty() {
                Diagnostic::show_sources(&mut error.diagnostics, &text);
                output::complain(format_args!("{:#}", Diagnostics(error.diagnostics)));
            }
            output::failure(exit, error.error)
        }
        Err(error) => output::failure(Exit::Failed, error),
    }
}
