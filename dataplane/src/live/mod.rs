//! The live gateway: interfaces, sockets, XDP programs and worker threads, from start to stop.

mod interface;
mod publish;
mod runner;
mod start;
mod wake;
mod xdp;

pub use crate::ports::af_xdp::SocketError;
pub use start::StartError;
pub use xdp::XdpError;

use crate::counters::{PortSnapshot, QueueSnapshot, Snapshot, SocketStatistics, WorkerSnapshot};
use crate::flowtable::{BytesPerFlow, RuleCounts, Source, Top};
use crate::gateway::{
    DropRecord, FlowRecord, GatewayConfig, GatewayHandle, MAX_QUEUES, OnExit, PublishError,
    Published, RuleFlows, SourceFlows,
};
use crate::handover::Link;
use crate::live::interface::Interface;
use crate::live::publish::Publisher;
use crate::live::runner::{Request, Requests, Runner};
use crate::live::wake::Waker;
use crate::live::xdp::AttachedProgram;
use crate::recent::REMEMBERED;
use crate::table::Table;
use crate::tally::WorkerTally;
use crate::verdict::{DropReason, PassReason};
use crossbeam::channel::bounded;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long control waits for a worker's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A running gateway.
pub struct Gateway {
    publisher: Publisher,
    ports: Vec<Port>,
    workers: Vec<WorkerHandle>,
    stop: Arc<AtomicBool>,
    on_exit: OnExit,
    flow_capacity: u64,
    fragment_capacity: u64,
}

/// A port as control sees it.
struct Port {
    name: String,
    wire: String,
    zone: classifier::ZoneId,
    interface: Interface,
    /// Queues of the interface.
    queues: u32,
    program: AttachedProgram,
}

/// A worker as control sees it.
struct WorkerHandle {
    wire: String,
    queue: u32,
    core: Option<usize>,
    umem_bytes: u64,
    flow_bytes: u64,
    bytes_per_flow: BytesPerFlow,
    fragment_bytes: u64,
    /// The gateway's port for each of the worker's.
    ports: Vec<usize>,
    /// Duplicates of its sockets' descriptors, in the same order.
    sockets: Vec<OwnedFd>,
    /// The ways to its siblings, for each of its ports.
    ways_out: Vec<Vec<Arc<Link>>>,
    tally: Arc<WorkerTally>,
    requests: Arc<Requests>,
    waker: Arc<Waker>,
    /// Gone once joined.
    thread: Mutex<Option<JoinHandle<Runner>>>,
}

impl Gateway {
    /// Opens the sockets, attaches the XDP programs and starts the workers, which judge by `table`.
    /// `table` is made when the number of workers is known.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind but programs that an earlier process had left.
    pub fn start<E>(
        config: GatewayConfig,
        table: impl FnOnce(usize) -> Result<Table, E>,
    ) -> Result<Gateway, StartError<E>> {
        start::start(config, table)
    }

    /// Stops the workers and leaves the ports as the configuration's `on_exit` says. Counters can
    /// still be read afterwards; nothing is forwarded.
    ///
    /// # Errors
    /// The messages of what could not be undone.
    pub fn stop(&self) -> Result<(), Vec<String>> {
        let mut failures = Vec::new();
        // Closed first, then quiet: what `open` removes is removed while the workers still take
        // what arrives.
        for port in &self.ports {
            if let Err(e) = port.program.leave(self.on_exit) {
                failures.push(e.to_string());
            }
        }
        self.stop.store(true, Release);
        for worker in &self.workers {
            worker.waker.wake();
        }
        for worker in &self.workers {
            let thread = worker.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
                failures
                    .push(format!("the worker of queue {} of {} died", worker.queue, worker.wire));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    fn port_snapshot(&self, number: usize) -> PortSnapshot {
        let port = &self.ports[number];
        let queues = (0..port.queues.min(MAX_QUEUES)).map(|queue| {
            let served = self.workers.iter().find_map(|worker| {
                let local = worker.ports.iter().position(|&p| p == number)?;
                (worker.queue == queue).then_some((worker, local))
            });
            let mut snapshot = match served {
                Some((worker, local)) => queue_snapshot(worker, local),
                None => QueueSnapshot::empty(queue),
            };
            // Before its worker's socket was there, or without one, the program dropped.
            let unserved = port.program.dropped(queue);
            snapshot.rx.packets += unserved.packets;
            snapshot.rx.bytes += unserved.bytes;
            snapshot.drops[DropReason::NoWorker as usize] += unserved.packets;
            snapshot
        });
        PortSnapshot {
            name: port.name.clone(),
            interface: port.interface.name.clone(),
            wire: port.wire.clone(),
            zone: port.zone,
            mode: port.program.mode,
            link: port.interface.link(),
            queues: queues.collect(),
        }
    }

    fn worker_snapshot(&self, number: usize) -> WorkerSnapshot {
        let worker = &self.workers[number];
        let common = &worker.tally.common;
        WorkerSnapshot {
            worker: number,
            wire: worker.wire.clone(),
            queue: worker.queue,
            core: worker.core,
            generation: self.publisher.acknowledged(number),
            bursts: common.bursts.get(),
            sleeps: common.sleeps.get(),
            flows: std::array::from_fn(|class| common.flows[class].get()),
            fragments_held: worker.tally.reassembling(),
            datagrams_incomplete: common.datagrams_incomplete.get(),
            umem_bytes: worker.umem_bytes,
            handover_bytes: worker
                .ways_out
                .iter()
                .flatten()
                .map(|link| link.memory_usage() as u64)
                .sum(),
            alive: common.alive.load(Acquire),
        }
    }
}

fn queue_snapshot(worker: &WorkerHandle, local: usize) -> QueueSnapshot {
    let tally = &worker.tally.ports[local];
    let mut snapshot = QueueSnapshot::empty(worker.queue);
    // Held before what fills it and what empties it: a reader between two bursts sees the exact
    // numbers, one during a burst sees at most that burst twice.
    let ways_out = &worker.ways_out[local];
    snapshot.held = tally.held.get()
        + tally.reassembling.get()
        + ways_out.iter().map(|link| link.waiting()).sum::<u64>();
    snapshot.handed_out = ways_out.iter().map(|link| link.handed_out()).sum();
    snapshot.rx.packets = tally.rx_packets.get();
    snapshot.rx.bytes = tally.rx_bytes.get();
    snapshot.tx.packets = tally.tx_packets.get();
    snapshot.tx.bytes = tally.tx_bytes.get();
    for (to, from) in snapshot.drops.iter_mut().zip(&tally.drops) {
        *to = from.get();
    }
    for (to, from) in snapshot.passed.iter_mut().zip(&tally.passed) {
        *to = from.get();
    }
    for (to, from) in snapshot.suspects.iter_mut().zip(&tally.suspects) {
        *to = from.get();
    }
    snapshot.socket = socket_statistics(&worker.sockets[local]);
    snapshot
}

impl QueueSnapshot {
    fn empty(queue: u32) -> Self {
        QueueSnapshot {
            queue,
            rx: Default::default(),
            tx: Default::default(),
            held: 0,
            handed_out: 0,
            drops: [0; DropReason::COUNT],
            suspects: [0; DropReason::COUNT],
            passed: [0; PassReason::COUNT],
            socket: None,
        }
    }
}

/// `XDP_STATISTICS` of one socket.
fn socket_statistics(socket: &OwnedFd) -> Option<SocketStatistics> {
    // SAFETY: all zero bytes are a valid xdp_statistics.
    let mut raw: libc::xdp_statistics = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::xdp_statistics>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes into `raw`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_STATISTICS,
            (&raw mut raw).cast(),
            &raw mut size,
        )
    };
    (result == 0).then_some(SocketStatistics {
        rx_dropped: raw.rx_dropped,
        rx_ring_full: raw.rx_ring_full,
        rx_fill_ring_empty: raw.rx_fill_ring_empty_descs,
        rx_invalid_descriptors: raw.rx_invalid_descs,
        tx_invalid_descriptors: raw.tx_invalid_descs,
        tx_ring_empty: raw.tx_ring_empty_descs,
    })
}

impl GatewayHandle for Gateway {
    fn workers(&self) -> usize {
        self.workers.len()
    }

    fn publish(&self, table: Table) -> Result<Published, PublishError> {
        self.publisher.publish(table)
    }

    fn snapshot(&self) -> Snapshot {
        let (table, rules) = self.publisher.published();
        let sum = |each: fn(&WorkerTally) -> u64| {
            self.workers.iter().map(|worker| each(&worker.tally)).sum()
        };
        // The workers' tables are all of one size.
        let per_flow = |of: fn(&BytesPerFlow) -> usize| {
            self.workers.first().map_or(0, |worker| of(&worker.bytes_per_flow) as u64)
        };
        Snapshot {
            generation: table.generation(),
            entries: table.entries(),
            table_bytes: table.memory_usage(),
            ports: (0..self.ports.len()).map(|port| self.port_snapshot(port)).collect(),
            workers: (0..self.workers.len()).map(|n| self.worker_snapshot(n)).collect(),
            rules,
            flow_capacity: self.flow_capacity,
            flow_bytes: self.workers.iter().map(|worker| worker.flow_bytes).sum(),
            bytes_per_flow_v4: per_flow(BytesPerFlow::v4),
            bytes_per_flow_v6: per_flow(BytesPerFlow::v6),
            flows_opened: sum(|tally| tally.common.flows_opened.get()),
            flows_closed: sum(|tally| tally.common.flows_closed.get()),
            flows_evicted: sum(|tally| tally.common.flows_evicted.get()),
            fragment_capacity: self.fragment_capacity,
            fragment_bytes: self.workers.iter().map(|worker| worker.fragment_bytes).sum(),
        }
    }

    fn flows(&self, limit: usize) -> Vec<FlowRecord> {
        let mut records = Vec::new();
        for worker in &self.workers {
            let mut start = Some(0);
            while let Some(slot) = start
                && records.len() < limit
            {
                let (answer, result) = bounded(1);
                let room = Vec::with_capacity((limit - records.len()).min(1024));
                let request = Request::Flows { start: slot, records: room, answer };
                let Some((listed, next)) = worker.ask(request, &result) else { break };
                records.extend(listed);
                start = next;
            }
        }
        records
    }

    fn top_sources(&self, limit: usize) -> Vec<SourceFlows> {
        let mut flows: HashMap<Source, u64> = HashMap::new();
        for worker in &self.workers {
            let mut start = Some(0);
            while let Some(entry) = start {
                let (answer, result) = bounded(1);
                let sources = Vec::with_capacity(4096);
                let request = Request::Sources { start: entry, sources, answer };
                let Some((listed, next)) = worker.ask(request, &result) else { break };
                for (source, count) in listed {
                    *flows.entry(source).or_default() += u64::from(count);
                }
                start = next;
            }
        }
        let mut top = Top::new(limit);
        flows.into_iter().for_each(|(source, flows)| top.offer(flows, source));
        let named = |(flows, source): (u64, Source)| SourceFlows {
            address: source.family().ip_addr(source.address()),
            flows,
        };
        top.into_sorted().into_iter().map(named).collect()
    }

    fn top_rules(&self, limit: usize) -> RuleFlows {
        let (table, _) = self.publisher.published();
        let generation = table.generation();
        let flows = vec![0; table.rules().len()];
        let mut counts = RuleCounts { generation: generation as u32, flows, others: 0 };
        for worker in &self.workers {
            let mut start = Some(0);
            while let Some(slot) = start {
                let (answer, result) = bounded(1);
                let request = Request::Rules { start: slot, counts: counts.clone(), answer };
                let Some((counted, next)) = worker.ask(request, &result) else { break };
                counts = counted;
                start = next;
            }
        }
        let mut top = Top::new(limit);
        for (rule, flows) in (0..).zip(counts.flows).filter(|(_, flows)| *flows > 0) {
            top.offer(flows, rule);
        }
        let rules = top.into_sorted().into_iter().map(|(flows, rule)| (rule, flows)).collect();
        RuleFlows { generation, rules, others: counts.others }
    }

    fn recent_drops(&self, limit: usize) -> Vec<DropRecord> {
        let mut records = Vec::new();
        for worker in &self.workers {
            let (answer, result) = bounded(1);
            let room = Vec::with_capacity(REMEMBERED.min(limit));
            let request = Request::Drops { records: room, answer };
            records.extend(worker.ask(request, &result).into_iter().flatten());
        }
        records.sort_by_key(|drop| drop.age);
        records.truncate(limit);
        records
    }
}

impl WorkerHandle {
    fn ask<T>(&self, request: Request, result: &crossbeam::channel::Receiver<T>) -> Option<T> {
        self.requests.push(request).ok()?;
        self.waker.wake();
        result.recv_timeout(ANSWER_TIMEOUT).ok()
    }
}
