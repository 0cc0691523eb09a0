//! Live counters of one worker: it alone writes them, anybody reads them.

use crate::counters::Count;
use crate::flowtable::{Class, FlowTable};
use crate::verdict::{DropReason, PassReason};
use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A counter with one writer: a load and a store make the addition.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed) + n, Relaxed);
    }

    #[inline]
    fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Relaxed) - n, Relaxed);
    }

    #[inline]
    fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counts of one port.
#[derive(Debug)]
pub(crate) struct PortTally {
    pub rx_packets: Counter,
    pub rx_bytes: Counter,
    pub tx_packets: Counter,
    pub tx_bytes: Counter,
    /// Judged here, handed to the kernel for transmission, not completed.
    pub held: Counter,
    /// Fragments that wait here for the rest of their datagrams.
    pub reassembling: Counter,
    pub drops: [Counter; DropReason::COUNT],
    pub passed: [Counter; PassReason::COUNT],
    pub suspects: [Counter; DropReason::COUNT],
}

impl Default for PortTally {
    fn default() -> Self {
        PortTally {
            rx_packets: Counter::default(),
            rx_bytes: Counter::default(),
            tx_packets: Counter::default(),
            tx_bytes: Counter::default(),
            held: Counter::default(),
            reassembling: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            passed: std::array::from_fn(|_| Counter::default()),
            suspects: std::array::from_fn(|_| Counter::default()),
        }
    }
}

/// Everything one worker counts, on cache lines of its own.
#[derive(Debug)]
pub(crate) struct WorkerTally {
    pub ports: Box<[CachePadded<PortTally>]>,
    pub common: CachePadded<CommonTally>,
}

/// What a worker counts besides its ports.
#[derive(Debug, Default)]
pub(crate) struct CommonTally {
    pub bursts: Counter,
    pub sleeps: Counter,
    /// Flows at hand, by [`Class`] discriminant.
    pub flows: [Counter; Class::COUNT],
    pub flows_opened: Counter,
    pub flows_closed: Counter,
    pub flows_evicted: Counter,
    /// Datagrams of which some fragments are held.
    pub datagrams_incomplete: Counter,
    /// Whether the worker's thread runs.
    pub alive: AtomicBool,
}

impl WorkerTally {
    pub fn new(ports: usize) -> Self {
        WorkerTally {
            ports: (0..ports).map(|_| CachePadded::default()).collect(),
            common: CachePadded::default(),
        }
    }

    #[inline]
    pub fn received(&self, port: usize, packets: u64, bytes: u64) {
        self.ports[port].rx_packets.add(packets);
        self.ports[port].rx_bytes.add(bytes);
    }

    #[inline]
    pub fn passed(&self, port: usize, reason: PassReason) {
        self.ports[port].passed[reason as usize].add(1);
    }

    #[inline]
    pub fn dropped(&self, port: usize, reason: DropReason) {
        self.ports[port].drops[reason as usize].add(1);
    }

    #[inline]
    pub fn suspected(&self, port: usize, reason: DropReason) {
        self.ports[port].suspects[reason as usize].add(1);
    }

    /// `packets` fragments of `port` wait for the rest of their datagrams.
    pub fn kept(&self, port: usize, packets: u64) {
        self.ports[port].reassembling.add(packets);
    }

    /// `packets` of them wait no longer.
    pub fn released(&self, port: usize, packets: u64) {
        self.ports[port].reassembling.subtract(packets);
    }

    /// `packets` of `ingress` were handed to the kernel.
    #[inline]
    pub fn submitted(&self, ingress: usize, packets: u64) {
        self.ports[ingress].held.add(packets);
    }

    /// `done` left by `egress`; they had come in by `ingress`.
    #[inline]
    pub fn transmitted(&self, egress: usize, ingress: usize, done: Count) {
        self.ports[egress].tx_packets.add(done.packets);
        self.ports[egress].tx_bytes.add(done.bytes);
        self.ports[ingress].held.subtract(done.packets);
    }

    /// A burst is done.
    #[inline]
    pub fn burst_done(&self) {
        self.common.bursts.add(1);
    }

    /// What there is in the worker's tables now: its flows, and `incomplete` datagrams.
    #[inline]
    pub fn commit_tables(&self, flows: &FlowTable, incomplete: usize) {
        for (to, class) in self.common.flows.iter().zip(Class::ALL) {
            to.set(u64::from(flows.flows_of(class)));
        }
        let counts = flows.counts();
        self.common.flows_opened.set(counts.opened);
        self.common.flows_closed.set(counts.closed);
        self.common.flows_evicted.set(counts.evicted);
        self.common.datagrams_incomplete.set(incomplete as u64);
    }

    /// Fragments that wait for the rest of their datagrams, all ports together.
    pub fn reassembling(&self) -> u64 {
        self.ports.iter().map(|port| port.reassembling.get()).sum()
    }

    /// Frames handed to the kernel and not completed, all ports together.
    pub fn held(&self) -> u64 {
        self.ports.iter().map(|port| port.held.get()).sum()
    }
}
