//! Measures the compiled classifier beside DPDK's librte_acl, over many rule sets and traces.

use benches::contest::goals::Scale;
use benches::contest::{
    Error, Failed, Figures, Lane, Lookups, PeerBuild, PeerLane, Prepared, Program, Report, Result,
    Selection, Set, SetReport, Setting, Side, Trace, alternate, dumps, select,
};
use benches::machine::Machine;
use benches::{interrupt, measure};
use clap::Parser;
use rustix::thread::sched_getaffinity;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Nanoseconds per lookup, memory and build time of the compiled classifier and of DPDK's
/// librte_acl, side by side
///
/// For each rule set and trace both run as programs of their own on one core, and make their passes
/// in turn. What they find is compared before anything is timed. Prints tables in Markdown;
/// progress goes to standard error.
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 4 the programs do not find the same rules.
#[derive(Parser)]
struct Arguments {
    /// The program acl-bench; without it only Bulkhead is measured
    #[arg(long, value_name = "PROGRAM")]
    acl: Option<PathBuf>,
    /// No sets of 100,000 rules, two traces each
    #[arg(long)]
    quick: bool,
    /// Only rule sets whose names contain one of these, as in `generated/acl1_10k_v6`
    #[arg(long, value_name = "PATTERN,...", value_delimiter = ',')]
    sets: Vec<String>,
    /// Rules of the generated sets; by default 1,000, 10,000 and 100,000
    #[arg(long, value_name = "N,...", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rules: Vec<u32>,
    /// The folder of published rule sets, besides the generated ones
    #[arg(long, value_name = "DIR")]
    shared: Option<PathBuf>,
    /// Rounds on each trace
    #[arg(long, value_name = "N", default_value_t = 25,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    passes: u32,
    /// Most headers of a trace
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    packets: u32,
    /// The core that all programs run on; by default the last that there is
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Longest build of a table
    #[arg(long, value_name = "SECONDS", default_value_t = 600,
          value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Write everything measured, as one JSON object
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Headers of one call, for every engine.
const BATCH: usize = 256;
/// Headers that are looked up in a linear scan where there is no peer to compare with.
const SAMPLE: usize = 2000;
/// A build that takes less is repeated, and the quickest counts, in milliseconds.
const QUICK_BUILD: f64 = 300.0;
/// Exit code for answers that differ.
const MISMATCH: u8 = 4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    interrupt::catch();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-classifier: {error}");
            match error {
                Error::Mismatch(_) => ExitCode::from(MISMATCH),
                Error::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let sets = select(&Selection {
        quick: arguments.quick,
        names: arguments.sets.clone(),
        rules: arguments.rules.iter().map(|rules| *rules as usize).collect(),
        shared: arguments.shared.clone(),
    })?;
    let core = match arguments.core {
        Some(core) => core,
        None => last_core()?,
    };
    let contest = Contest { arguments, core, classbench: classbench()? };
    let no_peer = arguments.acl.is_none().then(|| "no program was given with --acl".to_owned());
    if let Some(why) = &no_peer {
        eprintln!("bench-classifier: rte_acl is NOT measured: {why}");
    }
    let mut reports = Vec::new();
    for (set, number) in sets.iter().zip(1..) {
        eprintln!("[{number}/{}] {}", sets.len(), set.name);
        let report = contest.of(set).map_err(|error| match error {
            Error::Failed(why) => Error::Failed(format!("{}: {why}", set.name)),
            Error::Mismatch(why) => Error::Mismatch(format!("{}: {why}", set.name)),
        })?;
        reports.push(report);
    }
    let report = Report {
        machine: Machine::this(),
        core,
        batch: BATCH,
        passes: arguments.passes as usize,
        no_peer,
        sets: reports,
    };
    print!("{}", report.markdown());
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec(&report).map_err(Error::new)?;
        fs::write(path, json).map_err(|why| at(path, &why))?;
    }
    Ok(())
}

fn at(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(format!("{}: {why}", path.display()))
}

fn last_core() -> Result<usize> {
    let allowed = sched_getaffinity(None).map_err(Error::new)?;
    let last = (0..rustix::thread::CpuSet::MAX_CPU).rev().find(|core| allowed.is_set(*core));
    last.ok_or_else(|| Error::new("no core is allowed"))
}

/// The program that is built with this one.
fn classbench() -> Result<PathBuf> {
    let path = std::env::current_exe().map_err(Error::new)?.with_file_name("classbench");
    if path.exists() { Ok(path) } else { Err(at(&path, &"not there: build it, too")) }
}

struct Contest<'a> {
    arguments: &'a Arguments,
    core: usize,
    classbench: PathBuf,
}

/// The programs over one rule set: the product, then the peer's tables, then the references.
struct Field {
    programs: Vec<Program>,
    /// Settings of those that are the peer's, which follow the first.
    settings: Vec<Setting>,
    /// Names of the last ones.
    references: Vec<&'static str>,
    failed: Vec<Failed>,
}

impl Contest<'_> {
    fn of(&self, set: &Set) -> Result<SetReport> {
        let dir = tempfile::tempdir().map_err(Error::new)?;
        let prepared = set.prepare(dir.path(), self.arguments.packets as usize)?;
        let mut field = self.field(set, &prepared)?;
        let lookups = prepared
            .traces
            .iter()
            .map(|trace| self.lookups(&prepared, trace, &mut field, dir.path()))
            .collect::<Result<_>>()?;
        let readies = field.programs[1..].iter().map(|program| program.ready.clone());
        let report = SetReport {
            name: set.name.clone(),
            scale: Scale::of(prepared.rules.len()),
            ours: field.programs[0].ready.clone(),
            worst_found: prepared.worst_found,
            peer: field
                .settings
                .into_iter()
                .zip(readies)
                .map(|(setting, ready)| PeerBuild { setting, ready })
                .collect(),
            failed: field.failed,
            lookups,
            goals: Vec::new(),
        };
        Ok(report.judged())
    }

    /// Starts everything that can be measured on `set`.
    fn field(&self, set: &Set, prepared: &Prepared) -> Result<Field> {
        let batch = BATCH.to_string();
        let serve = |program: &Path, more: &[&str]| {
            let mut command = Command::new(program);
            command.arg("--rules").arg(&prepared.file).args(["--serve", "--batch", &batch]);
            command.args(more);
            command
        };
        let mut field = Field {
            programs: vec![self.start("Bulkhead", &mut serve(&self.classbench, &[]))?],
            settings: Vec::new(),
            references: Vec::new(),
            failed: Vec::new(),
        };
        if let (Some(acl), true) = (&self.arguments.acl, set.five_tuple) {
            for setting in Setting::ALL {
                let name = format!("rte_acl, max_size {setting}");
                let size = setting.0.to_string();
                match self.start(&name, &mut serve(acl, &["--max-size", &size])) {
                    Ok(program) => {
                        field.programs.push(program);
                        field.settings.push(setting);
                    }
                    Err(error) => field.fail(name, &error)?,
                }
            }
        }
        if Scale::of(prepared.rules.len()) == Scale::Small {
            // A tuple space knows the five-tuple alone, too.
            let engines: &[_] = if set.five_tuple { &["tuple", "linear"] } else { &["linear"] };
            for name in engines {
                match self.start(name, &mut serve(&self.classbench, &["--engine", name])) {
                    Ok(program) => {
                        field.programs.push(program);
                        field.references.push(name);
                    }
                    Err(error) => field.fail((*name).to_owned(), &error)?,
                }
            }
        }
        Ok(field)
    }

    /// Starts a program; a build that is quickly done is done three times, and the best kept.
    fn start(&self, name: &str, command: &mut Command) -> Result<Program> {
        let limit = Duration::from_secs(self.arguments.limit);
        let mut program = Program::start(name, command, self.core, limit)?;
        if program.ready.build_ms < QUICK_BUILD {
            for _ in 0..2 {
                let again = Program::start(name, command, self.core, limit)?.ready.build_ms;
                program.ready.build_ms = program.ready.build_ms.min(again);
            }
        }
        eprintln!(
            "    {name}: built in {:.2} ms, {} KiB",
            program.ready.build_ms,
            program.ready.memory_bytes.div_ceil(1024)
        );
        Ok(program)
    }

    /// Compares what the programs find for one trace, and then how long they take.
    fn lookups(
        &self,
        prepared: &Prepared,
        trace: &Trace,
        field: &mut Field,
        dir: &Path,
    ) -> Result<Lookups> {
        for program in &mut field.programs {
            let read = program.trace(&trace.file)?;
            if read != trace.keys.len() {
                let wrote = trace.keys.len();
                return Err(Error::new(format!("{}: {read} of {wrote} headers read", trace.name)));
            }
        }
        let (found, checked_with) = agreed(prepared, trace, field, dir)?;
        let lanes = field.lanes();
        let passes = alternate(&mut field.programs, &lanes, self.arguments.passes as usize)?;
        let of_lane = |passes: &[f64]| Figures::of(passes).expect("every lane makes a pass");
        let mut lookups = Lookups {
            trace: trace.name.to_owned(),
            packets: trace.keys.len(),
            matched_share: found as f64 / trace.keys.len() as f64,
            checked_with: checked_with.to_owned(),
            ours: of_lane(&passes[0]),
            peer: Vec::new(),
            references: Vec::new(),
            goals: Vec::new(),
        };
        for (lane, passes) in lanes.iter().zip(&passes) {
            let figures = of_lane(passes);
            match lane.side {
                Side::Ours => {}
                Side::Peer => lookups.peer.push(PeerLane {
                    setting: field.settings[lane.program - 1],
                    variant: lane.variant.clone().unwrap_or_default(),
                    figures,
                }),
                Side::Reference => {
                    let name = field.references[lane.program - 1 - field.settings.len()];
                    lookups.references.push((name.to_owned(), figures));
                }
            }
        }
        let beside = lookups.best().map_or(String::new(), |best| {
            let PeerLane { setting, variant, figures } = best;
            let times = figures.min / lookups.ours.min;
            format!("; rte_acl {:.1} ns ({variant}, {setting}), {times:.2}x", figures.min)
        });
        eprintln!("    {}: {:.1} ns{beside}", trace.name, lookups.ours.min);
        Ok(lookups)
    }
}

impl Field {
    /// Goes on without a program, unless all are to end.
    fn fail(&mut self, what: String, error: &Error) -> Result<()> {
        if interrupt::came() {
            return Err(Error::new("interrupted"));
        }
        let why = error.to_string();
        eprintln!("    NOT measured: {why}");
        let why = why.strip_prefix(&format!("{what}: ")).unwrap_or(&why).to_owned();
        self.failed.push(Failed { what, why });
        Ok(())
    }

    fn lanes(&self) -> Vec<Lane> {
        let mut lanes = vec![Lane { program: 0, variant: None, side: Side::Ours }];
        for program in 1..self.programs.len() {
            if program > self.settings.len() {
                lanes.push(Lane { program, variant: None, side: Side::Reference });
                continue;
            }
            // Its default is one of the others.
            let variants = self.programs[program].ready.variants.iter();
            lanes.extend(variants.filter(|variant| *variant != "default").map(|variant| Lane {
                program,
                variant: Some(variant.clone()),
                side: Side::Peer,
            }));
        }
        lanes
    }
}

/// Sees that all find the same; how many headers a rule matches, and who agreed.
fn agreed(
    prepared: &Prepared,
    trace: &Trace,
    field: &mut Field,
    dir: &Path,
) -> Result<(usize, &'static str)> {
    let (rules, keys) = (&prepared.rules, &trace.keys);
    let mut dump = |program: usize| {
        let path = dir.join("dump");
        field.programs[program].dump(&path)?;
        dumps::read(&path, keys.len())
    };
    let ours = dump(0)?;
    let place = |error| match error {
        Error::Mismatch(why) => Error::Mismatch(format!("{}: {why}", trace.name)),
        other => other,
    };
    for (setting, program) in field.settings.clone().into_iter().zip(1..) {
        let name = format!("rte_acl, max_size {setting},");
        dumps::compare(rules, keys, ("Bulkhead", &ours), (&name, &dump(program)?))
            .map_err(place)?;
    }
    let found = ours.iter().flatten().count();
    if !field.settings.is_empty() {
        return Ok((found, "rte_acl"));
    }
    let sample = keys.len().min(SAMPLE);
    let check = measure::check(rules, &keys[..sample], &ours[..sample]);
    match check.first_mismatch {
        Some(first) => Err(place(Error::Mismatch(first.to_string()))),
        None => Ok((found, "a linear scan of a sample")),
    }
}
