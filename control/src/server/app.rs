//! What the control socket and the metrics know: the running gateway and the policies it was given.

use crate::policy::{Audit, Compiler, Made, Policy, ZoneMap};
use classifier::ZoneId;
use dataplane::{AttachMode, Established, GatewayHandle, Link, Snapshot, Table};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

/// Generations whose rules are remembered, so that flows and drops judged by a replaced table
/// still name their rule.
const GENERATIONS_KEPT: usize = 8;

/// A rule as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleText {
    /// Its id.
    pub id: String,
    /// Its description, if it has one.
    pub description: Option<String>,
    /// Line of the file it starts on.
    pub line: u32,
    /// What becomes of the flows it allowed when the next policy is published.
    pub established: Established,
}

/// One policy that was compiled and published, under the generation it got.
#[derive(Clone, Debug)]
pub struct Revision {
    generation: u64,
    file: String,
    rules: Vec<RuleText>,
    entries: usize,
    made: Made,
    worst_case: usize,
    applied_at: SystemTime,
    compile: Duration,
    swap: Option<Duration>,
    warnings: Option<usize>,
}

impl Revision {
    /// What is to be remembered of `table`, compiled from `policy` in `compile`.
    pub fn new(policy: &Policy, table: &Table, made: Made, compile: Duration) -> Self {
        let rules = policy.rules().iter().map(|rule| RuleText {
            id: rule.id().into(),
            description: rule.description().map(str::to_owned),
            line: rule.line(),
            established: rule.established(),
        });
        Revision {
            generation: table.generation(),
            file: policy.file().into(),
            rules: rules.collect(),
            entries: table.entries(),
            made,
            worst_case: table.worst_case(),
            applied_at: SystemTime::now(),
            compile,
            swap: None,
            warnings: None,
        }
    }

    /// The same, with what the audit of its policy found.
    pub fn audited(mut self, audit: &Audit) -> Self {
        self.warnings = Some(audit.warnings_total);
        self
    }

    /// Its generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The file it was read from, as named by whoever applied it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its rules in order.
    pub fn rules(&self) -> &[RuleText] {
        &self.rules
    }

    /// Entries of its table.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// How its table was made.
    pub fn made(&self) -> Made {
        self.made
    }

    /// The most cache lines that a lookup in its table touches.
    pub fn worst_case(&self) -> usize {
        self.worst_case
    }

    /// When it was published.
    pub fn applied_at(&self) -> SystemTime {
        self.applied_at
    }

    /// Time from its text to its table.
    pub fn compile(&self) -> Duration {
        self.compile
    }

    /// From its publication until the last worker took it; `None` for the table that the workers
    /// started with and for one that a worker did not take in time.
    pub fn swap(&self) -> Option<Duration> {
        self.swap
    }

    /// Rules that could be left out; `None` until it is audited.
    pub fn warnings(&self) -> Option<usize> {
        self.warnings
    }
}

/// State shared by the control socket and the metrics.
pub struct App {
    pub(super) handle: Arc<dyn GatewayHandle>,
    pub(super) zones: ZoneMap,
    wires: Vec<String>,
    started: Instant,
    /// Newest last, never empty.
    revisions: RwLock<VecDeque<Arc<Revision>>>,
    /// Held from the look at the running generation until the next one is published and audited.
    pub(super) compiler: Arc<tokio::sync::Mutex<Compiler>>,
}

impl App {
    /// The state of a gateway that runs the table of `first`, which `compiler` made.
    ///
    /// `zones` are the ids that the ports were given, `wires` the names of the wires in
    /// configuration order.
    pub fn new(
        handle: Arc<dyn GatewayHandle>,
        zones: ZoneMap,
        wires: Vec<String>,
        compiler: Compiler,
        first: Revision,
    ) -> Self {
        App {
            handle,
            zones,
            wires,
            started: Instant::now(),
            revisions: RwLock::new(VecDeque::from([Arc::new(first)])),
            compiler: Arc::new(tokio::sync::Mutex::new(compiler)),
        }
    }

    /// Reads all counters.
    pub fn snapshot(&self) -> Snapshot {
        self.handle.snapshot()
    }

    /// Since the gateway started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The revision last published.
    pub fn current(&self) -> Arc<Revision> {
        let revisions = self.revisions.read().unwrap_or_else(PoisonError::into_inner);
        revisions.back().cloned().expect("begins with one and keeps the newest")
    }

    /// The revision of `generation`, if it is remembered.
    pub(super) fn revision(&self, generation: u64) -> Option<Arc<Revision>> {
        let revisions = self.revisions.read().unwrap_or_else(PoisonError::into_inner);
        revisions.iter().rev().find(|r| r.generation == generation).cloned()
    }

    /// Remembers `revision` as the newest. Called before its table is published, so that no
    /// packet is judged by a generation that nobody can explain.
    pub(super) fn remember(&self, revision: Revision) {
        let mut revisions = self.revisions.write().unwrap_or_else(PoisonError::into_inner);
        revisions.push_back(Arc::new(revision));
        while revisions.len() > GENERATIONS_KEPT {
            revisions.pop_front();
        }
    }

    /// Notes how long the workers took to take the newest revision.
    pub(super) fn swapped(&self, swap: Duration) {
        self.note(|newest| newest.swap = Some(swap));
    }

    /// Notes what the audit of the newest revision found.
    pub(super) fn audited(&self, audit: &Audit) {
        self.note(|newest| newest.warnings = Some(audit.warnings_total));
    }

    fn note(&self, note: impl FnOnce(&mut Revision)) {
        let mut revisions = self.revisions.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = revisions.back_mut() {
            note(Arc::make_mut(newest));
        }
    }

    /// Name of a wire by its place in the configuration.
    pub(super) fn wire_name(&self, wire: usize) -> String {
        self.wires.get(wire).cloned().unwrap_or_else(|| wire.to_string())
    }

    /// Name of a zone, unless it is unknown.
    pub(super) fn zone_name(&self, zone: ZoneId) -> Option<String> {
        self.zones.name(zone).map(str::to_owned)
    }

    /// Cores that workers are pinned to.
    pub fn worker_cores(&self) -> Vec<usize> {
        self.snapshot().workers.iter().filter_map(|worker| worker.core).collect()
    }

    /// What an operator should know of what the counters show.
    pub fn warnings(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut warnings = Vec::new();
        for port in &snapshot.ports {
            let (name, interface) = (&port.name, &port.interface);
            if port.mode == AttachMode::Generic {
                warnings.push(format!(
                    "port {name} ({interface}): the XDP program runs in generic mode, which is \
                     slower than native mode"
                ));
            }
            match port.link {
                Link::Up => {}
                Link::Down => warnings.push(format!("port {name} ({interface}): the link is down")),
                Link::Gone => warnings.push(format!(
                    "port {name} ({interface}): the interface no longer exists; restart the \
                     gateway when it is back"
                )),
            }
        }
        for worker in &snapshot.workers {
            let (number, wire, queue) = (worker.worker, &worker.wire, worker.queue);
            if !worker.alive {
                warnings.push(format!(
                    "worker {number} stopped: queue {queue} of wire {wire} forwards nothing"
                ));
            } else if worker.generation != snapshot.generation {
                warnings.push(format!(
                    "worker {number} judges by generation {}, not by {}",
                    worker.generation, snapshot.generation
                ));
            }
            if worker.core.is_none() {
                warnings.push(format!("worker {number} is not pinned to a core"));
            }
        }
        warnings
    }
}
