//! Measures `bulkhead replay`: what a packet costs under policies of different size.

use benches::machine::Machine;
use benches::stats::Spread;
use benches::workload::{WorkloadConfig, write};
use clap::Parser;
use lab::gateway::{binary, number};
use lab::need::{Need, missing};
use lab::{Error, Result, process};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Packets per second of `bulkhead replay` by the number of rules, on one core
///
/// The workloads are those of gen-workload: generated rules, and packets drawn uniformly over them,
/// so that nearly every packet opens a flow of its own. Trials are interleaved.
#[derive(Parser)]
struct Arguments {
    /// Numbers of rules
    #[arg(long, value_name = "N,...", default_value = "10,1000,10000", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    rules: Vec<u32>,
    /// Packets of each capture
    #[arg(long, value_name = "N", default_value_t = 200_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    packets: u32,
    /// Passes over the capture in one trial
    #[arg(long, value_name = "N", default_value_t = 10)]
    repeat: u32,
    /// Trials of each workload
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Core to run on
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    core: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Time for one trial.
const LIMIT: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments) {
        Ok(results) if arguments.json => println!("{}", document(&arguments, &results)),
        Ok(results) => print(&arguments, &results),
        Err(error) => {
            eprintln!("replay-cost: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// All trials of one workload.
struct Results {
    rules: u32,
    /// Million packets per second, one figure each trial.
    mpps: Vec<f64>,
    /// Flows opened in one pass.
    flows: u64,
    /// Of a thousand packets, those forwarded.
    forwarded_permille: u64,
}

impl Results {
    fn spread(&self) -> Spread {
        Spread::of(self.mpps.iter().copied()).expect("there is at least one round")
    }
}

fn measure(arguments: &Arguments) -> Result<Vec<Results>> {
    if let Some(why) = missing(&[Need::Program("taskset")]) {
        return Err(Error::new(why));
    }
    if !binary().exists() {
        let path = binary();
        let build = "cargo build --release -p bulkhead";
        return Err(Error::new(format!("{} is not there; build it: {build}", path.display())));
    }
    let dir = tempfile::TempDir::with_prefix("bulkhead-replay-")?;
    let place = |rules: u32| dir.path().join(rules.to_string());
    for &rules in &arguments.rules {
        let packets = arguments.packets as usize;
        write(&place(rules), WorkloadConfig { rules: rules as usize, packets, seed: 1 })?;
    }
    let mut results: Vec<Results> = arguments
        .rules
        .iter()
        .map(|&rules| Results { rules, mpps: Vec::new(), flows: 0, forwarded_permille: 0 })
        .collect();
    for round in 1..=arguments.rounds {
        for results in &mut results {
            let report = replay(arguments, &place(results.rules))?;
            let mpps = report["mpps"].as_f64();
            let mpps = mpps.ok_or_else(|| Error::new(format!("no number mpps in {report}")))?;
            eprintln!(
                "round {round} of {}: {:6} rules {mpps:6.3} Mpps",
                arguments.rounds, results.rules
            );
            results.mpps.push(mpps);
            results.flows = number(&report, "flows")?;
            let (forwarded, packets) = (number(&report, "forwarded")?, number(&report, "packets")?);
            results.forwarded_permille = forwarded * 1000 / packets.max(1);
        }
    }
    Ok(results)
}

fn replay(arguments: &Arguments, workload: &Path) -> Result<Value> {
    let path = |name: &str| workload.join(name).display().to_string();
    let (core, repeat) = (arguments.core.to_string(), arguments.repeat.to_string());
    let (program, policy, capture) =
        (binary().display().to_string(), path("policy.yaml"), path("traffic.pcap"));
    let argv = [
        "taskset",
        "--cpu-list",
        &core,
        &program,
        "replay",
        "--policy",
        &policy,
        "--pcap",
        &capture,
        "--repeat",
        &repeat,
        "--json",
    ];
    let output = process::run(workload, &argv, LIMIT)?.expect_success()?;
    Ok(serde_json::from_str(&output.stdout)?)
}

fn print(arguments: &Arguments, results: &[Results]) {
    let Arguments { packets, repeat, rounds, core, .. } = arguments;
    println!("{}", Machine::this());
    println!(
        "{packets} packets, {repeat} passes, core {core}; {rounds} interleaved trials each; million \
         packets per second\n"
    );
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>10} {:>10}",
        "rules", "min", "median", "max", "flows", "forwarded"
    );
    for result in results {
        let Spread { min, median, max } = result.spread();
        println!(
            "{:8} {min:8.3} {median:8.3} {max:8.3} {:10} {:9.1}%",
            result.rules,
            result.flows,
            result.forwarded_permille as f64 / 10.0
        );
    }
}

fn document(arguments: &Arguments, results: &[Results]) -> Value {
    let workloads = results.iter().map(|result| {
        json!({
            "rules": result.rules,
            "mpps": result.spread(),
            "trials_mpps": result.mpps,
            "flows": result.flows,
            "forwarded_permille": result.forwarded_permille,
        })
    });
    json!({
        "machine": Machine::this(),
        "packets": arguments.packets,
        "repeat": arguments.repeat,
        "rounds": arguments.rounds,
        "core": arguments.core,
        "workloads": workloads.collect::<Vec<_>>(),
    })
}
