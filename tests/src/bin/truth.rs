//! Compares Bulkhead with hardened nftables, packet by packet. Ends with exit code 1 when they
//! differ and no row of the docs explains it.
//!
//! Usage: `truth [--classes udp,icmp,...] [--table]`; the environment's `PACKETS`, `POLICIES` and
//! `SEED` scale and repeat it. `--table` adds what became of each kind of packet. `truth --rows`
//! prints the explained differences as `tests/DIFFERENCES.md` has them.

use lab::endurance::{catch_interrupts, interrupted, number, seed};
use lab::need::{Need, missing};
use lab::oracle::explained::differences;
use lab::oracle::{Class, Options, Report, run};
use lab::{Error, Result};
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What is compared when nothing is said.
const PACKETS: u64 = 10_000_000;
const POLICIES: u64 = 1_000;
/// All classes.
const CLASSES: [Class; 7] = [
    Class::Udp,
    Class::Icmp,
    Class::TcpHandshake,
    Class::Protocols,
    Class::TcpState,
    Class::IcmpState,
    Class::Mutations,
];
/// Time between two lines of progress.
const STEP: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match wanted(&arguments) {
        Some(Wanted::Rows) => {
            print!("{}", differences());
            Ok(true)
        }
        Some(Wanted::Comparison { classes, table }) => {
            classes.and_then(|classes| compare(classes, table))
        }
        None => {
            eprintln!(
                "truth [--classes NAME,...] [--table] | --rows; PACKETS, POLICIES, SEED\n\nClasses:"
            );
            for class in Class::ALL {
                eprintln!("  {:14} {}", class.as_str(), class.describe());
            }
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("truth: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
enum Wanted {
    Rows,
    Comparison { classes: Result<Vec<Class>>, table: bool },
}

/// `None` for words that are none of its own.
fn wanted(arguments: &[String]) -> Option<Wanted> {
    let mut arguments = arguments.iter().map(String::as_str).peekable();
    if arguments.peek() == Some(&"--rows") {
        return (arguments.count() == 1).then_some(Wanted::Rows);
    }
    let (mut classes, mut table) = (Ok(CLASSES.to_vec()), false);
    while let Some(word) = arguments.next() {
        match word {
            "--table" => table = true,
            "--classes" => classes = arguments.next()?.split(',').map(str::parse).collect(),
            _ => return None,
        }
    }
    Some(Wanted::Comparison { classes, table })
}

/// Whether all differences are explained.
fn compare(classes: Vec<Class>, table: bool) -> Result<bool> {
    if let Some(why) = missing(&[Need::Gateway, Need::Program("nft")]) {
        return Err(Error::new(why));
    }
    catch_interrupts();
    let options = Options {
        packets: number("PACKETS", PACKETS)?,
        policies: number("POLICIES", POLICIES)?,
        classes,
        seed: seed()?,
    };
    let names: Vec<_> = options.classes.iter().map(|class| class.as_str()).collect();
    println!(
        "truth: {} packets under {} policies; {}; SEED={}",
        options.packets,
        options.policies,
        names.join(", "),
        options.seed
    );
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
    if table {
        println!("{}", report.table());
    }
    print!("{report}");
    if report.policies < options.policies {
        return Err(Error::new("interrupted"));
    }
    Ok(report.unexplained.is_empty())
}

fn progress(report: &Report, options: &Options) {
    let (packets, (explained, unexplained)) = (report.packets(), report.differences());
    println!(
        "  {packets} packets, {} of {} policies, {:.0} packets a second; {explained} differences \
         explained, {unexplained} not",
        report.policies,
        options.policies,
        packets as f64 / report.seconds.max(0.001)
    );
    // Whoever waits for it may read it through a pipe; a pipe that has gone is no reason to stop.
    let _ = std::io::stdout().flush();
}
