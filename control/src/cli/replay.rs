//! `bulkhead replay`: judge captures by a policy, without root.

mod report;
mod sides;

use super::check::exit_of;
use super::{Exit, output};
use crate::diagnostic::LoadError;
use crate::policy::{self, Policy, ZoneMap};
use clap::{Args, ValueEnum};
use dataplane::capture::{Capture, Ending};
use dataplane::{Checksums, FlowConfig, ParseOptions, ReplayReport};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Which side is which zone (--map, may be given several times):
  --map clients=10.1.0.0/24,fd00::/64   packets from these addresses come from zone clients
  --map clients=left.pcap               every packet of this capture comes from zone clients
Zones of the policy that list `networks` are known without --map. In a policy of two zones, the
other end of a packet is in the other zone. A packet of which neither end is known matches only
rules that say `any`. That a source is in the wrong zone can be found only where captures tell the zone.

Checksums (--checksums): a capture taken on the host that sends holds packets as they were before the
network card filled their checksums in. With `verify` they are dropped for wrong checksums; accept-partial
lets through what the card would have completed, and off looks at none.

Flows are forgotten between the passes of --repeat, so that every pass comes to the same verdicts;
packets, drops and hits are those of all passes, flows those of one.";

/// Judge captures by a policy
///
/// Takes pcap and pcapng files of Ethernet frames through the packet path of the live gateway and
/// reports what would have happened, without root and without touching an interface. Time is that
/// of the captures.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ReplayArgs {
    /// The policy file
    #[arg(long, value_name = "POLICY")]
    policy: PathBuf,
    /// A capture, pcap or pcapng; may be given several times, and is then merged by time
    #[arg(long, value_name = "FILE", required = true)]
    pcap: Vec<PathBuf>,
    /// Which addresses or which capture are which zone: ZONE=PREFIX[,PREFIX...] or ZONE=FILE
    #[arg(long, value_name = "MAP")]
    map: Vec<String>,
    /// Write the packets that are forwarded to this capture
    #[arg(long, value_name = "FILE")]
    write_allowed: Option<PathBuf>,
    /// Write the packets that are dropped to this capture
    #[arg(long, value_name = "FILE")]
    write_denied: Option<PathBuf>,
    /// What is asked of checksums; see below
    #[arg(long, value_name = "MODE", value_enum, default_value_t = ChecksumMode::Verify)]
    checksums: ChecksumMode,
    /// Judge the captures N times over, from memory
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// [`Checksums`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChecksumMode {
    /// They must be right
    Verify,
    /// They must be right, or as the kernel leaves them for a network card to finish
    #[value(alias = "accept_partial")]
    AcceptPartial,
    /// They are not looked at
    Off,
}

impl From<ChecksumMode> for Checksums {
    fn from(mode: ChecksumMode) -> Self {
        match mode {
            ChecksumMode::Verify => Checksums::Verify,
            ChecksumMode::AcceptPartial => Checksums::AcceptPartial,
            ChecksumMode::Off => Checksums::Off,
        }
    }
}

/// Judges them all.
pub fn run(args: ReplayArgs) -> ExitCode {
    match try_run(&args) {
        Ok(exit) => exit,
        Err((exit, message)) => output::failure(exit, message),
    }
}

fn failed(e: impl fmt::Display) -> (Exit, String) {
    (Exit::Failed, e.to_string())
}

fn try_run(args: &ReplayArgs) -> Result<ExitCode, (Exit, String)> {
    let invalid = |e: LoadError| match &e {
        LoadError::Invalid(diagnostics) => {
            output::complain(format_args!("{diagnostics:#}"));
            (Exit::InvalidPolicy, format!("{} is invalid", args.policy.display()))
        }
        LoadError::Io { .. } => (exit_of(&e), e.to_string()),
    };
    let policy = Policy::load(&args.policy).map_err(invalid)?;
    let zones = ZoneMap::of(&policy);
    let sides = sides::read(&args.map, &args.pcap, &policy, &zones)
        .map_err(|message| (Exit::WrongUse, message))?;
    refuse_overwriting(args)?;
    let table = policy::compile(&policy, &zones, 1, 1).map_err(|e| invalid(e.into()))?;
    let (capture, cut_short) = read(&args.pcap)?;

    let total = capture.records().len() as u64 * u64::from(args.repeat);
    let bar = progress_bar(total, "judging  {bar:40} {pos}/{len} packets  {per_sec}");
    let table_rules: Vec<_> = table.rules().to_vec();
    let flows = FlowConfig::default();
    let parse = ParseOptions { checksums: args.checksums.into(), ..ParseOptions::STRICT };
    let report = dataplane::replay(&capture, &sides, table, flows, parse, args.repeat, |done| {
        bar.set_position(done);
    })
    .map_err(failed)?;
    bar.finish_and_clear();

    write(&capture, &report, args)?;
    let summary = report::Summary::new(&report, &table_rules, cut_short);
    if args.json {
        return Ok(output::json(Exit::Done, &summary));
    }
    Ok(output::facts(Exit::Done, |out| summary.print(out, &report)))
}

/// A capture that is read must not be written over, and the two that are written must differ.
fn refuse_overwriting(args: &ReplayArgs) -> Result<(), (Exit, String)> {
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let written: Vec<&PathBuf> = args.write_allowed.iter().chain(&args.write_denied).collect();
    if let [one, other] = written[..]
        && (one == other || place(one) == place(other))
    {
        let message = "--write-allowed and --write-denied name the same file".to_owned();
        return Err((Exit::WrongUse, message));
    }
    for path in written {
        if args.pcap.iter().any(|input| place(input) == place(path)) {
            let message = format!("{} is read; it cannot be written too", path.display());
            return Err((Exit::WrongUse, message));
        }
    }
    Ok(())
}

/// Reads all captures into memory, so that no file is read while the clock runs. Names those that
/// end in the middle of a packet.
fn read(paths: &[PathBuf]) -> Result<(Capture, Vec<String>), (Exit, String)> {
    let mut capture = Capture::default();
    let mut cut_short = Vec::new();
    for path in paths {
        let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let bar = progress_bar(size, "reading  {bar:40} {bytes}/{total_bytes}  {bytes_per_sec}");
        let position = bar.clone();
        let ending = capture.read(path, move |read| position.set_position(read)).map_err(failed)?;
        bar.finish_and_clear();
        if ending == Ending::CutShort {
            output::complain(format_args!(
                "bulkhead: warning: {} ends in the middle of a packet, which is left out",
                path.display()
            ));
            cut_short.push(path.display().to_string());
        }
    }
    capture.sort();
    Ok((capture, cut_short))
}

fn write(
    capture: &Capture,
    report: &ReplayReport,
    args: &ReplayArgs,
) -> Result<(), (Exit, String)> {
    let forwarded = |nth: usize| report.forwarded_records[nth];
    if let Some(path) = &args.write_allowed {
        capture.write(path, forwarded).map_err(failed)?;
    }
    if let Some(path) = &args.write_denied {
        capture.write(path, |nth| !forwarded(nth)).map_err(failed)?;
    }
    Ok(())
}

/// A bar on standard error, where that is a terminal.
fn progress_bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // The templates are constants; a wrong one would show the default bar.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
