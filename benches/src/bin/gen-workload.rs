//! Writes a policy and a capture that belong together, to measure `bulkhead replay` with.

use benches::workload::{WorkloadConfig, write};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write DIR/policy.yaml and DIR/traffic.pcap: a policy, and packets drawn uniformly over its rules
#[derive(Parser)]
struct Arguments {
    /// Rules of the policy
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    rules: u32,
    /// Packets of the capture
    #[arg(long, value_name = "N")]
    packets: u32,
    /// Where to write; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Same seed, same files
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Arguments { rules, packets, out, seed } = Arguments::parse();
    let config = WorkloadConfig { rules: rules as usize, packets: packets as usize, seed };
    if let Err(error) = write(&out, config) {
        eprintln!("gen-workload: {}: {error}", out.display());
        return ExitCode::FAILURE;
    }
    println!("{rules} rules and {packets} packets in {}", out.display());
    ExitCode::SUCCESS
}
