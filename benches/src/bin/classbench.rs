//! Measures one engine on a rule set and a trace, and checks what it finds.

use benches::classbench::{self, Flags, read_rules, read_trace};
use benches::edits::{self, Updates};
use benches::engines::{self, Cost, Engine};
use benches::machine::Machine;
use benches::measure::{self, Check};
use benches::search::{self, SearchConfig};
use benches::stats::{Spread, percentile};
use clap::{Parser, ValueEnum};
use classifier::{BuildError, Finding, FindingKind, Lookup, PacketKey, Rule, RuleIndex, Simd};
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Nanoseconds per lookup, build time, memory and worst case of one engine on ClassBench files
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 4 an answer was not the linear scan's.
#[derive(Parser)]
struct Arguments {
    /// Rule set, plain or .xz
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Headers to look up, plain or .xz
    #[arg(long, value_name = "FILE", required_unless_present = "serve")]
    trace: Option<PathBuf>,
    /// What finds the rules
    #[arg(long, value_enum, default_value_t = Engine::Compiled)]
    engine: Engine,
    /// Instructions that the compiled engine uses
    #[arg(long, value_enum, default_value_t = Instructions::Best)]
    simd: Instructions,
    /// Headers of one call
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch: u32,
    /// Timed passes over the trace, and updates; by default as many as take half a second, at
    /// least 5
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Compare the answers to the first N headers with a linear scan
    #[arg(long, value_name = "N", default_value_t = 0)]
    check: usize,
    /// Write the index of the rule found for each header, or -1, one a line
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// Search for the headers that cost the most, with so many climbs, and time those as well
    #[arg(long, value_name = "CLIMBS", num_args = 0..=1, default_missing_value = "64",
          value_parser = clap::value_parser!(u32).range(1..))]
    worst: Option<u32>,
    /// List the rules that no packet can reach because earlier ones match first; compiled engine only
    #[arg(long)]
    shadowed: bool,
    /// Time updates of the table by N random edits each, and check what is found after each;
    /// compiled engine only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    update: Option<u32>,
    /// Match TCP flags, too, and not the five-tuple alone
    #[arg(long)]
    flags: bool,
    /// Build, then do what each line on stdin says and answer in a line of JSON: `trace FILE` reads
    /// other headers, `pass` times one pass over them, `dump FILE` does as --dump, `quit`
    #[arg(long,
          conflicts_with_all = ["repeat", "check", "dump", "worst", "shadowed", "update", "json"])]
    serve: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Instructions {
    Portable,
    Avx2,
    Avx512,
    /// The best that the processor has
    Best,
}

/// Exit code for a check that failed.
const CHECK_FAILED: u8 = 4;
/// Exit code for wrong use, as clap has it.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("classbench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the build of a table came to.
#[derive(Serialize)]
struct Built {
    engine: Engine,
    /// For the compiled engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    simd: Option<String>,
    rules: usize,
    packets: usize,
    batch: usize,
    build_ms: f64,
    memory_bytes: usize,
    worst_case: usize,
}

/// What the passes and the check came to, beside the build.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    built: &'a Built,
    ns_per_lookup: f64,
    median: f64,
    p99: f64,
    passes: usize,
    /// Headers for which a rule was found, of one.
    matched_share: f64,
    #[serde(flatten)]
    check: &'a Check,
    #[serde(flatten)]
    worst: Option<Worst>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadowed: Option<Shadowed>,
    #[serde(flatten)]
    updates: Option<Updates>,
    machine: Machine,
}

/// What the search for the costliest headers came to.
#[derive(Serialize)]
struct Worst {
    /// In the unit of `worst_case`.
    worst_found: usize,
    /// Of passes over the headers found.
    worst_ns_per_lookup: f64,
}

/// Rules that could be left out, as nothing that they match gets to them.
#[derive(Serialize)]
struct Shadowed {
    audit_ms: f64,
    /// Rules that match no packet at all.
    empty: usize,
    /// Rules that earlier ones hide.
    hidden: usize,
    /// Rules for which the search was given up.
    undecided: usize,
    findings: Vec<Hidden>,
}

/// One of them; all rules by index, from 0.
#[derive(Serialize)]
struct Hidden {
    rule: RuleIndex,
    /// Those that match first.
    by: Vec<RuleIndex>,
}

fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let simd = match fitting(arguments) {
        Ok(simd) => simd,
        Err(why) => {
            eprintln!("classbench: {why}");
            return Ok(ExitCode::from(WRONG_USE));
        }
    };
    let flags = if arguments.flags { Flags::Read } else { Flags::Ignored };
    let rules = read_rules(&arguments.rules, flags)?;
    let keys = match &arguments.trace {
        Some(trace) => read_keys(trace, flags)?,
        None => Vec::new(),
    };
    let batch = arguments.batch as usize;

    let owned = rules.clone();
    let start = Instant::now();
    let table = &*arguments.engine.build(owned, simd)?;
    let build_ms = start.elapsed().as_secs_f64() * 1e3;
    let built = Built {
        engine: arguments.engine,
        simd: (arguments.engine == Engine::Compiled).then(|| format!("{simd:?}").to_lowercase()),
        rules: rules.len(),
        packets: keys.len(),
        batch,
        build_ms,
        memory_bytes: table.memory_usage(),
        worst_case: table.worst_case(),
    };
    if arguments.serve {
        serve(&built, table, keys, flags)?;
        return Ok(ExitCode::SUCCESS);
    }

    let answers = measure::answers(table, &keys, batch);
    if let Some(path) = &arguments.dump {
        dump(path, &answers)?;
    }
    let checked = arguments.check.min(keys.len());
    let check = measure::check(&rules, &keys[..checked], &answers[..checked]);
    let figures = measure::passes(table, &keys, batch, arguments.repeat.map(|n| n as usize));
    let spread = Spread::of(figures.iter().copied()).expect("there is at least one pass");
    let climbs = arguments.worst.map(|climbs| climbs as usize);
    let worst = climbs.map(|climbs| worst(table, &rules, climbs, batch));
    let shadowed = arguments.shadowed.then(|| shadowed(&rules)).transpose()?;
    let edits = arguments.update.map(|edits| edits as usize);
    let repeat = arguments.repeat.map(|repeat| repeat as usize);
    let updates = edits.map(|edits| edits::updates(rules, edits, repeat)).transpose()?;
    let matched = answers.iter().flatten().count();
    let report = Report {
        built: &built,
        ns_per_lookup: spread.min,
        median: spread.median,
        p99: percentile(&figures, 99).expect("there is at least one pass"),
        passes: figures.len(),
        matched_share: matched as f64 / keys.len() as f64,
        check: &check,
        worst,
        shadowed,
        updates,
        machine: Machine::this(),
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    let of_updates = report.updates.as_ref().map_or(0, |updates| updates.check.mismatches);
    let failed = check.mismatches + of_updates > 0;
    Ok(if failed { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS })
}

fn read_keys(trace: &Path, flags: Flags) -> Result<Vec<PacketKey>, classbench::Error> {
    Ok(read_trace(trace, flags)?.into_iter().map(|header| header.key).collect())
}

/// The instructions asked for, if the processor and the engine have them and whatever else is asked
/// for; else why not.
fn fitting(arguments: &Arguments) -> Result<Simd, &'static str> {
    if arguments.engine != Engine::Compiled && (arguments.shadowed || arguments.update.is_some()) {
        return Err("--shadowed and --update are for --engine compiled");
    }
    let simd = match arguments.simd {
        Instructions::Best => return Ok(Simd::best()),
        Instructions::Portable => Simd::Portable,
        Instructions::Avx2 => Simd::Avx2,
        Instructions::Avx512 => Simd::Avx512,
    };
    match arguments.engine {
        Engine::Linear | Engine::Tuple if simd != Simd::Portable => {
            Err("--simd is for --engine compiled: the others are portable")
        }
        _ if !simd.is_supported() => Err("this processor has no such instructions: --simd best"),
        _ => Ok(simd),
    }
}

fn worst(table: &dyn Cost, rules: &[Rule], climbs: usize, batch: usize) -> Worst {
    let config = SearchConfig { climbs, ..SearchConfig::default() };
    let found = search::worst(rules, &|key| table.cost(key), config);
    let keys: Vec<PacketKey> = found.iter().map(|found| found.key).collect();
    let figures = measure::passes(table, &keys, batch, None);
    Worst {
        worst_found: found.first().map_or(0, |found| found.cost),
        worst_ns_per_lookup: figures.into_iter().fold(f64::INFINITY, f64::min),
    }
}

/// No two rules count as alike: the files do not say what a rule does.
fn shadowed(rules: &[Rule]) -> Result<Shadowed, BuildError> {
    let classifier = engines::compile(rules.to_vec())?;
    let start = Instant::now();
    let audit = classifier::audit(&classifier, rules, |rule| rule);
    let audit_ms = start.elapsed().as_secs_f64() * 1e3;
    let empty = audit.findings.iter().filter(|found| found.kind == FindingKind::Empty).count();
    Ok(Shadowed {
        audit_ms,
        empty,
        hidden: audit.findings.len() - empty,
        undecided: audit.undecided.len(),
        findings: audit
            .findings
            .into_iter()
            .map(|Finding { rule, by, .. }| Hidden { rule, by })
            .collect(),
    })
}

fn dump(path: &Path, answers: &[Option<RuleIndex>]) -> Result<(), String> {
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        for answer in answers {
            match answer {
                Some(rule) => writeln!(out, "{rule}")?,
                None => writeln!(out, "-1")?,
            }
        }
        out.flush()
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

/// Lets a driver alternate passes with those of another program, over several traces.
fn serve(
    built: &Built,
    table: &dyn Lookup,
    mut keys: Vec<PacketKey>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut say = |value: serde_json::Value| -> io::Result<()> {
        writeln!(out, "{value}")?;
        out.flush()
    };
    say(json!({ "ready": built }))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("quit", "") => break,
            ("trace", path) if !path.is_empty() => {
                keys = read_keys(Path::new(path), flags)?;
                json!({ "packets": keys.len() })
            }
            _ if keys.is_empty() => json!({ "error": "there are no headers yet: trace FILE" }),
            ("pass", "") => json!({ "ns_per_lookup": measure::pass(table, &keys, built.batch) }),
            ("dump", path) if !path.is_empty() => {
                dump(Path::new(path), &measure::answers(table, &keys, built.batch))?;
                json!({ "dumped": keys.len() })
            }
            _ => json!({ "error": "expected: trace FILE, pass, dump FILE or quit" }),
        };
        say(answer)?;
    }
    Ok(())
}

fn print(report: &Report<'_>) {
    let Report { built, check, .. } = report;
    println!("{}", report.machine);
    println!(
        "{} rules, built in {:.3} ms; {} bytes; no lookup touches more than {} cache lines",
        built.rules, built.build_ms, built.memory_bytes, built.worst_case
    );
    println!(
        "{:.2} ns per lookup (best of {} passes; median {:.2}, p99 {:.2}), {} headers in batches of \
         {}, {:.1}% matched",
        report.ns_per_lookup,
        report.passes,
        report.median,
        report.p99,
        built.packets,
        built.batch,
        report.matched_share * 100.0
    );
    if let Some(worst) = &report.worst {
        println!(
            "{} cache lines and {:.2} ns for the costliest headers found",
            worst.worst_found, worst.worst_ns_per_lookup
        );
    }
    if check.checked > 0 {
        println!("{} of {} answers checked are wrong", check.mismatches, check.checked);
    }
    if let Some(first) = &check.first_mismatch {
        println!("the first: {first}");
    }
    if let Some(shadowed) = &report.shadowed {
        print_shadowed(shadowed);
    }
    if let Some(updates) = &report.updates {
        print_updates(updates);
    }
}

fn print_shadowed(shadowed: &Shadowed) {
    /// Findings told in full.
    const FIRST: usize = 10;
    let Shadowed { audit_ms, empty, hidden, undecided, findings } = shadowed;
    println!(
        "{hidden} rules are hidden by earlier ones, {empty} match nothing, {undecided} undecided; \
         audited in {audit_ms:.3} ms"
    );
    for Hidden { rule, by } in findings.iter().take(FIRST) {
        println!("    rule {rule} by {by:?}");
    }
    if findings.len() > FIRST {
        println!("    and {} more: --json has them all", findings.len() - FIRST);
    }
}

fn print_updates(updates: &Updates) {
    let Updates { edits, ms, patched, rebuilt, check } = updates;
    println!(
        "{edits} edits in {:.3} ms (median {:.3}, at most {:.3}); of {} updates {patched} patched the \
         table and {rebuilt} built it whole; {} of {} answers checked after them are wrong",
        ms.min,
        ms.median,
        ms.max,
        patched + rebuilt,
        check.mismatches,
        check.checked
    );
}
