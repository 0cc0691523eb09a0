//! `bulkhead run`: the gateway, in the foreground.

use super::check::exit_of;
use super::format::count;
use super::{Exit, output};
use crate::config::Config;
use crate::diagnostic::{Diagnostics, LoadError, printable};
use crate::metrics;
use crate::policy::{Compiler, Policy};
use crate::server::{App, Revision, Server};
use clap::Args;
use dataplane::{Forward, Gateway, OnExit, StartError};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Run the gateway in the foreground
///
/// Everything that can be wrong (configuration, policy, control socket, interfaces, privileges) is
/// looked at before an interface is touched. Stops on SIGTERM, SIGINT and SIGHUP, and leaves the ports as
/// `on_exit` in the configuration says: closed unless it says otherwise.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The gateway's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs until told to stop.
pub fn run(args: RunArgs) -> ExitCode {
    match try_run(&args) {
        Ok(()) => Exit::Done.into(),
        Err(Failure { exit, message }) => output::failure(exit, message),
    }
}

/// Why the gateway does not run, and what the process ends with.
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: message.to_string() }
    }

    /// The contents of `file` are wrong.
    fn invalid(exit: Exit, file: &Path, diagnostics: &Diagnostics) -> Self {
        output::complain(format_args!("{diagnostics:#}"));
        Failure::new(exit, format_args!("{} is invalid; nothing was started", file.display()))
    }
}

fn try_run(args: &RunArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(|e| match e {
        LoadError::Invalid(diagnostics) => {
            Failure::invalid(Exit::WrongUse, &args.config, &diagnostics)
        }
        e @ LoadError::Io { .. } => Failure::new(Exit::WrongUse, e),
    })?;
    let invalid_policy = |diagnostics: &Diagnostics| {
        Failure::invalid(Exit::InvalidPolicy, &config.policy, diagnostics)
    };
    let policy = Policy::load(&config.policy).map_err(|e| match e {
        LoadError::Invalid(diagnostics) => invalid_policy(&diagnostics),
        e @ LoadError::Io { .. } => Failure::new(exit_of(&e), e),
    })?;
    refuse_unusable_cores(&args.config, &config.gateway.cores)?;
    let failed = |e: &dyn fmt::Display| Failure::new(Exit::Failed, e);
    let mut signals = Signals::new().map_err(|e| failed(&e))?;
    let server = Server::bind(&config.control_socket).map_err(|e| failed(&e))?;
    let exporter = config.metrics.map(metrics::bind).transpose().map_err(|e| failed(&e))?;

    let mut compiler = Compiler::default();
    let mut first = None;
    let on_exit = config.gateway.on_exit;
    let wires = config.gateway.forward.iter();
    let wires = wires.map(|Forward::Wire { name, .. }| name.clone()).collect();
    let gateway = Gateway::start(config.gateway, |workers| {
        let started = Instant::now();
        let (table, made) = compiler.compile(&policy, &config.zones, 1, workers)?;
        first = Some(Revision::new(&policy, &table, made, started.elapsed()));
        Ok::<_, Diagnostics>(table)
    })
    .map_err(|e| match e {
        StartError::Table(diagnostics) => invalid_policy(&diagnostics),
        e => failed(&e),
    })?;
    let gateway = Arc::new(gateway);
    // The gateway does not start without a table.
    let first = first.ok_or_else(|| failed(&"the gateway started without a table"))?;
    let first = first.audited(&compiler.audit(&policy));
    let app = Arc::new(App::new(gateway.clone(), config.zones, wires, compiler, first));
    let mut serving = vec![server.serve(app.clone()).map_err(|e| failed(&e))?];
    if let Some(exporter) = exporter {
        serving.push(exporter.serve(app.clone()).map_err(|e| failed(&e))?);
    }
    announce(&app, &config.control_socket);

    signals.wait();
    let after = match on_exit {
        OnExit::Closed => "its ports stay closed",
        OnExit::Open => "its ports are given back to the kernel",
    };
    output::complain(format_args!("bulkhead: stopping; {after}"));
    drop(serving);
    gateway.stop().map_err(|failures| Failure::new(Exit::Failed, failures.join("; ")))
}

/// A worker that quietly runs elsewhere than its operator wrote would be found under load.
fn refuse_unusable_cores(file: &Path, cores: &[usize]) -> Result<(), Failure> {
    // Tried on a thread of its own: this one keeps the cores that it was started with.
    let usable = |core: usize| {
        let pin = move || {
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set).is_ok()
        };
        core < CpuSet::MAX_CPU && std::thread::spawn(pin).join().unwrap_or(false)
    };
    match cores.iter().find(|&&core| !usable(core)) {
        None => Ok(()),
        Some(core) => Err(Failure::new(
            Exit::WrongUse,
            format_args!(
                "{}: `workers: cores:` names core {core}, which this machine does not have or \
                 does not let this process use (see: lscpu -e)",
                file.display()
            ),
        )),
    }
}

/// Says what runs, on standard error.
fn announce(app: &App, socket: &Path) {
    let snapshot = app.snapshot();
    for warning in app.warnings(&snapshot) {
        output::complain(format_args!("bulkhead: warning: {warning}"));
    }
    let policy = app.current();
    if let Some(warnings @ 1..) = policy.warnings() {
        let file = printable(policy.file());
        output::complain(format_args!(
            "bulkhead: warning: {} of {file} could be left out; see bulkhead check {file}",
            count(warnings, "rule", "rules")
        ));
    }
    let ports: Vec<String> = snapshot
        .ports
        .iter()
        .map(|port| format!("{} ({}, {})", port.name, port.interface, port.mode.as_str()))
        .collect();
    output::complain(format_args!(
        "bulkhead: running: ports {}; {} workers; {} rules; control socket {}",
        ports.join(", "),
        snapshot.workers.len(),
        snapshot.rules.len(),
        socket.display()
    ));
}

/// The signals that end the gateway, caught from before it starts.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone; `None` where whoever started the process had it ignore that (nohup).
    hang_up: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hang_up = match hang_up_ignored() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        drop(entered);
        Ok(Signals { runtime, terminate, interrupt, hang_up })
    }

    fn wait(&mut self) {
        let Signals { runtime, terminate, interrupt, hang_up } = self;
        let hung_up = async {
            match hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hung_up => {}
            }
        });
    }
}

/// Whether the process was started with SIGHUP ignored (proc_pid_status(5), `SigIgn`).
fn hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 1 is the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}
