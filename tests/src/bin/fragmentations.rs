//! Compares what a Linux host behind Bulkhead puts together from fragments with what it is to get.
//! Ends with exit code 1 when anything else came, or something did not.
//!
//! Usage: `fragmentations`; the environment's `DATAGRAMS`, `QUEUES` and `SEED` scale and
//! repeat it.

use lab::endurance::{catch_interrupts, interrupted, number, seed};
use lab::fragmentations::{Options, Report, run};
use lab::need::{Need, missing};
use lab::{Error, Result};
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What is sent when nothing is said.
const DATAGRAMS: u64 = 1_000_000;
/// Time between two lines of progress.
const STEP: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        eprintln!("fragmentations takes no arguments; DATAGRAMS, QUEUES, SEED");
        return ExitCode::from(2);
    }
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fragmentations: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the receiver got what it was to get.
fn compare() -> Result<bool> {
    if let Some(why) = missing(&[Need::Gateway]) {
        return Err(Error::new(why));
    }
    catch_interrupts();
    let options = Options {
        datagrams: number("DATAGRAMS", DATAGRAMS)?,
        queues: number("QUEUES", 1)? as u32,
        seed: seed()?,
    };
    let Options { datagrams, queues, seed } = options;
    println!("fragmentations: {datagrams} datagrams, QUEUES={queues}; SEED={seed}");
    let mut last = Instant::now();
    let report = run(&options, |report| {
        if last.elapsed() >= STEP {
            last = Instant::now();
            progress(report, &options);
        }
        if interrupted() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    print!("{report}");
    if report.datagrams() < options.datagrams {
        return Err(Error::new("interrupted"));
    }
    Ok(report.is_good())
}

fn progress(report: &Report, options: &Options) {
    let datagrams = report.datagrams();
    let rate = datagrams as f64 / report.seconds.max(0.001);
    let wrong = report.missing.values().sum::<u64>() + report.strange + report.complaints;
    println!("  {datagrams} of {} datagrams, {rate:.0} a second; {wrong} wrong", options.datagrams);
    // Whoever waits for it may read it through a pipe; a pipe that has gone is no reason to stop.
    let _ = std::io::stdout().flush();
}
