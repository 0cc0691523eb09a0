//! The narrow, message-like interface between control and the running workers.

use crate::counters::Snapshot;
use crate::flows::FlowConfig;
pub use crate::flowtable::Class as FlowClass;
use crate::fragments::FragmentConfig;
use crate::parse::ParseOptions;
use crate::table::Table;
use crate::verdict::DropReason;
use classifier::{PacketKey, ZoneId};
use std::time::Duration;

/// One port: an interface that belongs to a zone.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Name in the configuration, used in counters and messages.
    pub name: String,
    /// Linux interface name.
    pub interface: String,
    /// Zone of the packets that arrive here.
    pub zone: ZoneId,
}

/// Most queues of a port that can have workers: `MAX_QUEUES` in bpf/port.bpf.c.
pub const MAX_QUEUES: u32 = 64;

/// A way to forward between ports.
#[derive(Clone, Debug)]
pub enum Forward {
    /// Two ports as a wire: what is allowed leaves by the other port, unchanged.
    Wire {
        /// Name in the configuration.
        name: String,
        /// The two ports, as indices into [`GatewayConfig::ports`].
        ports: [usize; 2],
        /// Queues served, from 0, each by a worker of its own; `None` serves every queue that both
        /// interfaces have.
        queues: Option<u32>,
    },
}

/// How a worker waits for traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Poll {
    /// Never sleeps.
    Spin,
    /// Spins while there is traffic, sleeps in poll when idle.
    #[default]
    Adaptive,
}

/// Kernel busy polling of the sockets (`SO_PREFER_BUSY_POLL`, `SO_BUSY_POLL`,
/// `SO_BUSY_POLL_BUDGET`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// `SO_BUSY_POLL`, microseconds.
    pub micros: u32,
    /// `SO_BUSY_POLL_BUDGET`, packets.
    pub budget: u32,
}

/// Where the XDP program is to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum XdpMode {
    /// Native, or generic with a warning where the driver cannot.
    #[default]
    Auto,
    /// Native or not at all.
    Native,
    /// Generic.
    Generic,
}

/// What a clean stop leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnExit {
    /// The XDP programs stay and drop everything.
    #[default]
    Closed,
    /// The XDP programs are removed, and the kernel gets the packets.
    Open,
}

/// Sizes of rings and umem. Every ring is a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Receive descriptors per socket.
    pub rx: u32,
    /// Transmit descriptors per socket.
    pub tx: u32,
    /// Fill descriptors per socket.
    pub fill: u32,
    /// Completion descriptors per socket.
    pub completion: u32,
    /// Frames per worker, shared by its two ports.
    pub frames: u32,
    /// Bytes per frame: 2048 or 4096.
    pub frame_size: u32,
}

impl Default for Rings {
    fn default() -> Self {
        Rings { rx: 2048, tx: 2048, fill: 2048, completion: 2048, frames: 8192, frame_size: 2048 }
    }
}

/// Everything a gateway needs to start.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Ports.
    pub ports: Vec<PortConfig>,
    /// How they are joined.
    pub forward: Vec<Forward>,
    /// Cores to pin workers to, in turn; empty takes every core but 0 (core 0 where it is alone).
    pub cores: Vec<usize>,
    /// How workers wait.
    pub poll: Poll,
    /// Kernel busy polling, if wanted.
    pub busy_poll: Option<BusyPoll>,
    /// Where the XDP program goes.
    pub xdp_mode: XdpMode,
    /// Ring and umem sizes.
    pub rings: Rings,
    /// Flow table size and timeouts.
    pub flows: FlowConfig,
    /// How many fragments are held, and for how long.
    pub fragments: FragmentConfig,
    /// EtherTypes that pass unjudged, besides ARP.
    pub ethertypes: Vec<u16>,
    /// How strictly frames are read.
    pub parse: ParseOptions,
    /// What a clean stop leaves behind.
    pub on_exit: OnExit,
}

/// A table taken by every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its generation.
    pub generation: u64,
    /// From the publication until the last worker took it.
    pub swap: Duration,
}

/// One flow, as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// Wire index in configuration order.
    pub wire: usize,
    /// The key of its opening direction.
    pub key: PacketKey,
    /// Index into the rules of the table of `generation`: the one that allows it; `None` when no rule
    /// of it does, and the flow may finish nevertheless.
    pub rule: Option<u32>,
    /// How far it is.
    pub class: FlowClass,
    /// Generation it was last judged by.
    pub generation: u64,
    /// Since its last packet.
    pub idle: Duration,
    /// Until it is closed if nothing comes.
    pub expires_in: Duration,
}

/// Who opened flows, and how many of those at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFlows {
    /// The source: an IPv4 address, or the lowest of an IPv6 /64.
    pub address: std::net::IpAddr,
    /// Its flows, those of all workers together.
    pub flows: u64,
}

/// Flows at hand by the rule that allows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleFlows {
    /// Generation of the table whose rules are meant.
    pub generation: u64,
    /// Rules, as indices into those of that table, and the flows of each, most first.
    pub rules: Vec<(u32, u64)>,
    /// Flows last judged by another table, which count for no rule until their next packet.
    pub others: u64,
}

/// One dropped packet, as remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropRecord {
    /// How long ago.
    pub age: Duration,
    /// Ingress port, index in configuration order.
    pub port: usize,
    /// Queue of the worker that dropped it: the one it arrived on, or its owner's.
    pub queue: u32,
    /// Why.
    pub reason: DropReason,
    /// The headers, when they could be read.
    pub key: Option<PacketKey>,
    /// The rule it was judged by, an index into the rules of the table of `generation`: the one
    /// that denied it, or the one that allows it when there was no room for it.
    pub rule: Option<u32>,
    /// Generation it was judged by.
    pub generation: u64,
    /// Bytes on the wire.
    pub length: u32,
}

/// A running gateway: the workers and what control may ask of them.
///
/// Shared by reference: every call is safe from any thread.
pub trait GatewayHandle: Send + Sync {
    /// How many workers a [`Table`] must count for.
    fn workers(&self) -> usize;

    /// Hands `table` to every worker and waits until each has taken it.
    ///
    /// # Errors
    /// [`PublishError`] when a worker does not take it in time; those that did keep it.
    fn publish(&self, table: Table) -> Result<Published, PublishError>;

    /// Reads all counters. Costs the workers nothing.
    fn snapshot(&self) -> Snapshot;

    /// Up to `limit` open flows, each once.
    fn flows(&self, limit: usize) -> Vec<FlowRecord>;

    /// The up to `limit` sources that opened most of the flows at hand, most first.
    fn top_sources(&self, limit: usize) -> Vec<SourceFlows>;

    /// The up to `limit` rules of the table in force with the most flows at hand.
    fn top_rules(&self, limit: usize) -> RuleFlows;

    /// Up to `limit` of the drops last seen, newest first.
    fn recent_drops(&self, limit: usize) -> Vec<DropRecord>;
}

/// A worker did not take the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishError {
    /// The generation published.
    pub generation: u64,
    /// Workers that did not acknowledge it.
    pub workers: Vec<usize>,
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "workers {:?} did not take generation {} in time", self.workers, self.generation)
    }
}

impl std::error::Error for PublishError {}
