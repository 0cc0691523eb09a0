//! Counters as they are reported: what was counted up to one moment.

use crate::gateway::FlowClass;
use crate::verdict::{DropReason, PassReason};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Bytes of those frames, Ethernet header included, FCS not.
    pub bytes: u64,
}

/// The kernel's own counters of one AF_XDP socket (`XDP_STATISTICS`): frames that never became
/// the worker's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Dropped by the kernel for other reasons, such as a frame too long for the umem's.
    pub rx_dropped: u64,
    /// Dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Times the kernel found the fill ring empty.
    pub rx_fill_ring_empty: u64,
    /// Dropped for an invalid descriptor in the fill ring.
    pub rx_invalid_descriptors: u64,
    /// Not sent for an invalid descriptor in the transmit ring.
    pub tx_invalid_descriptors: u64,
    /// Times the kernel found the transmit ring empty.
    pub tx_ring_empty: u64,
}

/// One queue of one port at one moment.
///
/// A frame that another worker of the wire owns is received on one queue and transmitted or dropped
/// by the worker of another.
///
/// Conservation: the `rx` of a wire's one port is the `tx` of its other port, plus the first one's
/// `drops` and `held`, all queues together. Exact whenever the wire's workers are between bursts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSnapshot {
    /// The queue's number on its interface.
    pub queue: u32,
    /// Frames received, those that the XDP program dropped for want of a worker included.
    pub rx: Count,
    /// Frames whose transmission the kernel completed.
    pub tx: Count,
    /// Frames that wait for the worker that owns them, received here, and frames that this queue's
    /// worker handed to the kernel for transmission and that it has not completed.
    pub held: u64,
    /// Frames received here and handed over to the worker that owns them.
    pub handed_out: u64,
    /// Frames dropped by this queue's worker, by [`DropReason`] discriminant.
    pub drops: [u64; DropReason::COUNT],
    /// Frames that this queue's worker found to lie about addresses, where its zone's guard only
    /// counts them, by [`DropReason`] discriminant. What became of them is counted elsewhere.
    pub suspects: [u64; DropReason::COUNT],
    /// Frames that this queue's worker judged to pass, by [`PassReason`] discriminant. Those that
    /// then found the transmit ring full are among `drops` too.
    pub passed: [u64; PassReason::COUNT],
    /// The kernel's counters of the socket; `None` on a queue without a worker.
    pub socket: Option<SocketStatistics>,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver (DRV).
    Native,
    /// In the generic receive path (SKB): slower; on veth everything arrives on queue 0.
    Generic,
}

impl AttachMode {
    /// The word for it in configuration, JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            AttachMode::Native => "native",
            AttachMode::Generic => "generic",
        }
    }
}

/// What is known of a port's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Carrier present.
    Up,
    /// Interface there, no carrier or not up.
    Down,
    /// The interface no longer exists.
    Gone,
}

impl Link {
    /// The word for it in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Link::Up => "up",
            Link::Down => "down",
            Link::Gone => "gone",
        }
    }
}

/// One port at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSnapshot {
    /// Name in the configuration.
    pub name: String,
    /// Interface.
    pub interface: String,
    /// Wire it belongs to.
    pub wire: String,
    /// Zone of its packets, an index into the policy's zones.
    pub zone: classifier::ZoneId,
    /// How the XDP program is attached.
    pub mode: AttachMode,
    /// The interface's state.
    pub link: Link,
    /// Every queue of the interface, with or without a worker.
    pub queues: Vec<QueueSnapshot>,
}

/// One worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSnapshot {
    /// Its number, from 0.
    pub worker: usize,
    /// Wire it serves.
    pub wire: String,
    /// Queue it serves, on both ports.
    pub queue: u32,
    /// Core it is pinned to; `None` if pinning failed.
    pub core: Option<usize>,
    /// Generation of the table it judges by.
    pub generation: u64,
    /// Bursts that held at least one frame.
    pub bursts: u64,
    /// Times it went to sleep in poll.
    pub sleeps: u64,
    /// Flows in its table, by [`FlowClass`] discriminant.
    pub flows: [u64; FlowClass::COUNT],
    /// Fragments it holds until their datagrams are whole.
    pub fragments_held: u64,
    /// Datagrams that those are of.
    pub datagrams_incomplete: u64,
    /// Bytes of umem.
    pub umem_bytes: u64,
    /// Bytes of the buffers in which it hands frames over to other workers of its wire.
    pub handover_bytes: u64,
    /// Whether it still runs; `false` is a bug or a lost interface, and status shows it.
    pub alive: bool,
}

impl WorkerSnapshot {
    /// Flows in its table, whatever their class.
    pub fn open_flows(&self) -> u64 {
        self.flows.iter().sum()
    }
}

/// Hits of one rule since the gateway started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHits {
    /// The rule's id.
    pub id: Box<str>,
    /// What it does.
    pub action: crate::verdict::Action,
    /// Packets judged by it, directly or through a flow it allowed. Monotonic across swaps while
    /// the id stays.
    pub hits: u64,
}

/// Everything that can be counted, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Generation last published.
    pub generation: u64,
    /// Rules of that table as lowered for the classifier.
    pub entries: usize,
    /// Bytes of that table.
    pub table_bytes: usize,
    /// Ports in configuration order.
    pub ports: Vec<PortSnapshot>,
    /// Workers in order.
    pub workers: Vec<WorkerSnapshot>,
    /// Rules of the published table, in order.
    pub rules: Vec<RuleHits>,
    /// Most flows all tables can hold.
    pub flow_capacity: u64,
    /// Bytes preallocated for flows.
    pub flow_bytes: u64,
    /// Bytes of them that one IPv4 flow takes when the tables are full.
    pub bytes_per_flow_v4: u64,
    /// The same for one IPv6 flow.
    pub bytes_per_flow_v6: u64,
    /// Flows opened since the start.
    pub flows_opened: u64,
    /// Flows that are no more, for any cause, since the start.
    pub flows_closed: u64,
    /// Those of them that gave way to newcomers because there was no room.
    pub flows_evicted: u64,
    /// Most fragments that all workers can hold.
    pub fragment_capacity: u64,
    /// Bytes preallocated for fragments, besides the frames that hold them.
    pub fragment_bytes: u64,
}

impl Snapshot {
    /// Flows open now.
    pub fn flows(&self) -> u64 {
        self.workers.iter().map(WorkerSnapshot::open_flows).sum()
    }

    /// Flows of one class open now.
    pub fn flows_of(&self, class: FlowClass) -> u64 {
        self.workers.iter().map(|w| w.flows[class as usize]).sum()
    }

    /// Fragments held now.
    pub fn fragments_held(&self) -> u64 {
        self.workers.iter().map(|w| w.fragments_held).sum()
    }

    /// Datagrams incomplete now.
    pub fn datagrams_incomplete(&self) -> u64 {
        self.workers.iter().map(|w| w.datagrams_incomplete).sum()
    }

    /// Bytes of umem, all workers together.
    pub fn umem_bytes(&self) -> u64 {
        self.workers.iter().map(|w| w.umem_bytes).sum()
    }

    /// Bytes of hand-over buffers, all workers together.
    pub fn handover_bytes(&self) -> u64 {
        self.workers.iter().map(|w| w.handover_bytes).sum()
    }
}
