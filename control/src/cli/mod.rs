//! The command line: one file per command, each `run(args) -> ExitCode`.

mod apply;
mod check;
mod export;
mod format;
pub mod output;
pub mod replay;
#[cfg(feature = "gateway")]
pub mod run;
mod show;
mod table;

use crate::config::DEFAULT_SOCKET;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong use: arguments, or gateway.yaml
  3  the policy is invalid
  4  a check or assertion failed, such as --if-generation";

/// How a command ended, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// It could not.
    Failed = 1,
    /// It was asked wrongly: arguments, or a bad gateway.yaml.
    WrongUse = 2,
    /// The policy is invalid.
    InvalidPolicy = 3,
    /// What was asserted does not hold.
    AssertionFailed = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Micro-segmentation gateway: filters packets between zones in user space
#[derive(Parser)]
#[command(name = "bulkhead", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "gateway")]
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Apply(apply::ApplyArgs),
    Export(export::ExportArgs),
    Status(show::StatusArgs),
    Rules(show::RulesArgs),
    Flows(show::FlowsArgs),
    Drops(show::DropsArgs),
    Replay(replay::ReplayArgs),
}

/// How to reach the running gateway.
#[derive(Args, Clone, Debug)]
struct SocketArgs {
    /// Control socket of the gateway
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, env = "BULKHEAD_SOCKET")]
    socket: PathBuf,
}

/// The whole program.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        #[cfg(feature = "gateway")]
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Status(args) => show::status(&args),
        Command::Rules(args) => show::rules(&args),
        Command::Flows(args) => show::flows(&args),
        Command::Drops(args) => show::drops(&args),
        Command::Replay(args) => replay::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_explains_itself() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let place = format!("{} {}", command.get_name(), argument.get_id());
                assert!(argument.get_help().is_some(), "{place}");
            }
        }
    }
}
