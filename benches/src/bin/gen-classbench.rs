//! Writes rule sets and traces in the files of ClassBench, made from a seed.

use benches::classbench::{Flags, Header, read_rules, write_rules, write_trace};
use benches::engines::Engine;
use benches::rulesets::{self, SetConfig, Structure};
use benches::search::{SearchConfig, worst};
use benches::traces::{self, Pattern};
use clap::{Args, Parser, ValueEnum};
use classifier::{Rule, Simd};
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make ClassBench rule sets and traces: the same seed gives the same files
///
/// Exit codes: 0 done, 1 failed, 2 wrong use.
#[derive(Parser)]
enum Arguments {
    /// Write a rule set
    Rules(RulesArguments),
    /// Write a trace for a rule set
    Trace(TraceArguments),
}

#[derive(Args)]
struct RulesArguments {
    /// What the rules look like
    #[arg(long, value_enum)]
    structure: Structure,
    /// How many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rules: u32,
    /// How many in a hundred are IPv6
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u8).range(..=100))]
    v6_percent: u8,
    /// Let rules for TCP look at flags
    #[arg(long)]
    flags: bool,
    /// Zones that the rules are between, 0 for none; by default what the structure has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=4096))]
    zones: Option<u16>,
    /// Label sets that rules name in place of addresses, 0 for none; by default what the structure
    /// has
    #[arg(long, value_name = "N")]
    identities: Option<u16>,
    /// Same seed, same rules
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
struct TraceArguments {
    /// Rule set, plain or .xz
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// What the headers are like
    #[arg(long, value_enum)]
    pattern: Kind,
    /// How many headers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    packets: u32,
    /// The engine to find the worst headers of
    #[arg(long, value_enum, default_value_t = Engine::Compiled)]
    engine: Engine,
    /// Climbs of the search for the worst
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..))]
    climbs: u32,
    /// Match TCP flags, too, and not the five-tuple alone
    #[arg(long)]
    flags: bool,
    /// Same seed and rules, same headers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A random point of a random rule
    Uniform,
    /// A random corner of a random rule, as ClassBench's generator
    Corners,
    /// Flows of which few have most of the packets, in trains
    Zipf,
    /// Source, destination and ports of three different headers
    Mixed,
    /// Random fields: almost no rule matches
    Random,
    /// Headers that cost an engine the most cache lines, found by search
    Worst,
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Rules(arguments) => make_rules(&arguments),
        Arguments::Trace(arguments) => make_trace(&arguments),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("gen-classbench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make_rules(arguments: &RulesArguments) -> Result<String, Box<dyn Error>> {
    let &RulesArguments { structure, rules, v6_percent, flags, zones, identities, seed, ref out } =
        arguments;
    let default = SetConfig::new(structure, rules as usize, seed);
    let set = rulesets::generate(SetConfig {
        v6_percent,
        flags,
        zones: zones.unwrap_or(default.zones),
        identities: identities.unwrap_or(default.identities),
        ..default
    });
    write(out, |file| write_rules(file, &set))?;
    Ok(format!("{rules} rules in {}", out.display()))
}

fn make_trace(arguments: &TraceArguments) -> Result<String, Box<dyn Error>> {
    let &TraceArguments { ref rules, pattern, packets, engine, climbs, flags, seed, ref out } =
        arguments;
    let flags = if flags { Flags::Read } else { Flags::Ignored };
    let rules = read_rules(rules, flags)?;
    let drawn = |pattern| traces::generate(&rules, pattern, packets as usize, seed);
    let (trace, more) = match pattern {
        Kind::Uniform => (drawn(Pattern::Uniform), String::new()),
        Kind::Corners => (drawn(Pattern::Corners), String::new()),
        Kind::Zipf => (drawn(Pattern::ZIPF), String::new()),
        Kind::Mixed => (drawn(Pattern::Mixed), String::new()),
        Kind::Random => (drawn(Pattern::Random), String::new()),
        Kind::Worst => {
            let config = SearchConfig { climbs: climbs as usize, seed, ..SearchConfig::default() };
            worst_of(&rules, engine, packets as usize, config)?
        }
    };
    write(out, |file| write_trace(file, &trace))?;
    Ok(format!("{packets} headers in {}{more}", out.display()))
}

/// As many headers as asked for: those found, again and again.
fn worst_of(
    rules: &[Rule],
    engine: Engine,
    packets: usize,
    config: SearchConfig,
) -> Result<(Vec<Header>, String), Box<dyn Error>> {
    let table = engine.build(rules.to_vec(), Simd::best())?;
    let found = worst(rules, &|key| table.cost(key), config);
    let most = found.first().map_or(0, |found| found.cost);
    let headers = found.iter().map(|found| Header::from(found.key));
    let trace = headers.cycle().take(packets).collect();
    Ok((
        trace,
        format!("; the first costs {most} cache lines, none more than {}", table.worst_case()),
    ))
}

fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let written = File::create(path).and_then(|file| content(&mut BufWriter::new(file)));
    written.map_err(|error| format!("{}: {error}", path.display()).into())
}
