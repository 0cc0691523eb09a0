//! The JSON documents of the control socket. Field names are stable: scripts read them.
//!
//! Durations are seconds, sizes are bytes, moments are RFC 3339 in UTC. A field that does not
//! apply is left out.

use crate::diagnostic::Diagnostic;
use crate::policy::{Audit, Made};
use crate::yaml;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Largest policy that `POST /v1/apply` takes, bytes: what is valid as a file can be applied.
pub const MAX_POLICY_BYTES: usize = yaml::MAX_BYTES;
/// Most records that one answer lists.
pub const MAX_LIST: usize = 100_000;

/// Query of `GET /v1/flows` and `GET /v1/drops`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Most records to list: 100 if absent, at most 100000.
    #[param(minimum = 0, maximum = 100000)]
    pub limit: Option<usize>,
}

/// Query of `GET /v1/flows/top`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TopQuery {
    /// What flows are counted by: `source` if absent.
    #[serde(default)]
    #[param(inline, required = false)]
    pub by: TopBy,
    /// Most records to list: 100 if absent, at most 100000.
    #[param(minimum = 0, maximum = 100000)]
    pub limit: Option<usize>,
}

/// What flows are counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TopBy {
    /// Who opened them.
    #[default]
    Source,
    /// The rule that allows them.
    Rule,
}

/// Query of `POST /v1/apply`.
///
/// An unknown parameter is refused: a misspelt `if_generation` must not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ApplyQuery {
    /// Apply only if this is the generation in force.
    pub if_generation: Option<u64>,
    /// The file's name, for messages and status.
    #[param(max_length = 4096)]
    pub file: Option<String>,
}

/// Answer of `GET /v1/status`: the gateway as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the running program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Since the gateway started, seconds.
    pub uptime_seconds: f64,
    /// Generation of the table last published.
    pub generation: u64,
    /// The policy that table was compiled from.
    pub policy: PolicyStatus,
    /// What an operator should know: generic mode, a lost link, a worker that stopped.
    pub warnings: Vec<String>,
    /// Ports in configuration order.
    pub ports: Vec<PortStatus>,
    /// Workers in order.
    pub workers: Vec<WorkerStatus>,
    /// The flow tables.
    pub flows: FlowTotals,
    /// What is held of datagrams that are not whole yet.
    pub fragments: FragmentTotals,
    /// Whether every frame received is accounted for.
    pub conservation: Conservation,
    /// Memory held by the data path.
    pub memory: Memory,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyStatus {
    /// File it was read from, as named by whoever applied it.
    pub file: String,
    /// When it was published, RFC 3339 in UTC.
    #[schema(format = DateTime)]
    pub applied_at: String,
    /// Rules of the policy.
    pub rules: usize,
    /// Entries of the compiled table: what the rules were lowered to.
    pub entries: usize,
    /// Rules that could be left out; `bulkhead check` tells which and why. Absent until the policy
    /// is audited, which begins when every worker judges by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<usize>,
    /// How the table was made.
    pub table_made: Made,
    /// The most cache lines that a lookup in the table touches.
    pub worst_case_cache_lines: usize,
    /// Time from the policy's text to its table, seconds.
    pub compile_seconds: f64,
    /// From the publication until the last worker took it, seconds; absent for the first table,
    /// which the workers start with, and when a worker did not take it in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_seconds: Option<f64>,
}

/// Packets and their bytes, Ethernet header included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Traffic {
    /// Frames.
    pub packets: u64,
    /// Bytes of those frames.
    pub bytes: u64,
}

/// One port since the gateway started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortStatus {
    /// Name in the configuration.
    pub name: String,
    /// Linux interface.
    pub interface: String,
    /// Zone of what arrives here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Wire it belongs to.
    pub wire: String,
    /// How the XDP program is attached: `native` or `generic`.
    pub mode: String,
    /// The interface's state: `up`, `down` or `gone`.
    pub link: String,
    /// Received.
    pub rx: Traffic,
    /// Transmitted.
    pub tx: Traffic,
    /// Received here, and neither transmitted yet nor dropped, frames.
    pub held: u64,
    /// Received here and forwarded, frames.
    pub forwarded: u64,
    /// Received here and dropped, frames.
    pub drops: u64,
    /// Received here, and found to lie about addresses by the guard of its zone, which only counts
    /// such frames; what became of them is counted as of any other.
    pub suspects: u64,
    /// The same by queue.
    pub queues: Vec<QueueStatus>,
}

/// One queue of a port.
///
/// All packets between two hosts belong to one worker of the wire. What arrives on another worker's
/// queue is handed over, and held, forwarded or dropped on the queue of the worker it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueStatus {
    /// Its number on the interface.
    pub queue: u32,
    /// Whether a worker serves it; without one everything that arrives is dropped.
    pub served: bool,
    /// Received.
    pub rx: Traffic,
    /// Transmitted.
    pub tx: Traffic,
    /// Forwarded by its worker and not yet transmitted by the kernel, or received here and not yet
    /// taken in by another worker, frames.
    pub held: u64,
    /// Received here and handed over to another worker, frames.
    pub handed_out: u64,
    /// Forwarded by its worker, frames.
    pub forwarded: u64,
    /// Dropped by its worker, frames.
    pub drops: u64,
    /// Found by its worker to lie about addresses, and only counted, frames.
    pub suspects: u64,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerStatus {
    /// Its number.
    pub worker: usize,
    /// Wire it serves.
    pub wire: String,
    /// Queue it serves on both ports.
    pub queue: u32,
    /// Core it is pinned to; absent if pinning failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<usize>,
    /// Generation it judges by.
    pub generation: u64,
    /// Whether it runs.
    pub alive: bool,
    /// Bursts that held at least one frame.
    pub bursts: u64,
    /// Times it went to sleep for want of traffic.
    pub sleeps: u64,
    /// Flows open in its table.
    pub flows: u64,
    /// Fragments it holds until their datagrams are whole.
    pub fragments_held: u64,
    /// Datagrams that those are of.
    pub datagrams_incomplete: u64,
}

/// Totals of the flow tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowTotals {
    /// Open now.
    pub open: u64,
    /// The same by how far they are.
    pub classes: FlowClasses,
    /// Most that can be open.
    pub capacity: u64,
    /// Opened since the gateway started.
    pub opened: u64,
    /// Closed since the gateway started, for any cause.
    pub closed: u64,
    /// Those of them that gave way to newcomers because a table was full.
    pub evicted: u64,
    /// Memory that an IPv4 flow takes when the tables are full, bytes; all of it is reserved from
    /// the start.
    pub bytes_per_flow_v4: u64,
    /// The same of an IPv6 flow.
    pub bytes_per_flow_v6: u64,
}

/// Open flows by how far they are. When there is no room, all but established ones may have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowClasses {
    /// A handshake that is not complete.
    pub half_open: u64,
    /// Packets in one direction only.
    pub one_sided: u64,
    /// Both ends take part.
    pub established: u64,
    /// Over, but for what is still on its way.
    pub closing: u64,
}

/// Fragments that are held until their datagrams are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FragmentTotals {
    /// Held now, frames.
    pub held: u64,
    /// Datagrams that those are of.
    pub incomplete: u64,
    /// Most that can be held, frames.
    pub capacity: u64,
}

/// Whether received = transmitted + dropped + held on every wire.
///
/// The sum is exact at a quiet moment. While traffic runs the counters are read one after the
/// other, so that a small difference then means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conservation {
    /// Whether the sums agree on every wire, in each direction.
    pub balanced: bool,
    /// Whether the counters stood still while they were compared.
    pub quiet: bool,
    /// Sum over the wires' directions of the difference, frames: 0 when balanced.
    pub difference: u64,
}

/// Bytes held by the data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Memory {
    /// The compiled table.
    pub table_bytes: u64,
    /// Preallocated for flows.
    pub flow_bytes: u64,
    /// Preallocated for fragments, besides the packet buffers that hold them.
    pub fragment_bytes: u64,
    /// Packet buffers shared with the kernel.
    pub umem_bytes: u64,
    /// Packet buffers between the workers of one wire.
    pub handover_bytes: u64,
}

/// Answer of `GET /v1/rules`: the rules in force, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rules {
    /// Generation of the table they belong to.
    pub generation: u64,
    /// File they were read from.
    pub file: String,
    /// First match wins; what no rule matches is denied.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Its id in the policy.
    pub id: String,
    /// `allow` or `deny`.
    pub action: String,
    /// What becomes of the flows it allowed when the next policy is published: `recheck`, judged
    /// anew at their next packet, or `keep`. Absent for a rule that denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established: Option<String>,
    /// Packets judged by it since the gateway started, those of flows it allowed included.
    pub hits: u64,
    /// What its author wrote about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Line of the file it starts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// Answer of `GET /v1/flows`: open flows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Flows {
    /// Open now; more than are listed where the limit cut the list.
    pub open: u64,
    /// Most that can be open.
    pub capacity: u64,
    /// Up to `limit` of them, in no particular order.
    pub flows: Vec<Flow>,
}

/// One flow, as its first packet had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// Wire it crosses.
    pub wire: String,
    /// Its headers.
    pub headers: Headers,
    /// Id of the rule that allows it; absent when no rule does any more and the flow may finish, and
    /// when the table that judged it is long gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Generation it was last judged by.
    pub generation: u64,
    /// How far it is: `half_open`, `one_sided`, `established` or `closing`.
    pub class: String,
    /// Since its last packet, seconds.
    pub idle_seconds: f64,
    /// Until it is closed if nothing comes, seconds.
    pub expires_in_seconds: f64,
}

/// Answer of `GET /v1/flows/top`: who opened most of the open flows, or which rules allow most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopFlows {
    /// Open now.
    pub open: u64,
    /// Most that can be open.
    pub capacity: u64,
    /// By rule: generation of the table whose rules these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// By rule: flows that another table judged last, which count for no rule until their next
    /// packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<u64>,
    /// Up to `limit` of them, most flows first.
    pub top: Vec<FlowCount>,
}

/// The open flows of one source or rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowCount {
    /// By source: an IPv4 address, or an IPv6 /64, which counts as one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// By rule: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Its flows.
    pub flows: u64,
}

/// The header fields that rules look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Headers {
    /// Zone it came from; absent when the policy has no such zone any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Zone it was going to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `gre`, `esp`, `ah`, or the protocol's number.
    pub protocol: String,
    /// Source address.
    pub source: String,
    /// Source port, where the protocol has ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Destination address.
    pub destination: String,
    /// Destination port, where the protocol has ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// ICMP or ICMPv6 type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u16>,
    /// ICMP or ICMPv6 code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u16>,
    /// Hardware address of the sender; absent for a flow, as what follows is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mac: Option<String>,
    /// Hardware address it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_mac: Option<String>,
    /// Bytes of the IP packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u16>,
    /// Flags of a TCP segment that are set: `fin`, `syn`, `rst`, `psh`, `ack`, `urg`, `ece`, `cwr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<Vec<String>>,
    /// Differentiated services code point, unless it is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dscp: Option<u8>,
    /// VLAN of the outer tag, unless there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Whether it was a fragment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fragment: bool,
}

/// Answer of `GET /v1/drops`: what was dropped and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// Dropped since the gateway started, frames.
    pub dropped: u64,
    /// By port and reason, those that happened.
    pub totals: Vec<ReasonTotal>,
    /// Packets that the guard of their zone found to lie about addresses and only counted, by port
    /// and reason, those that happened. What became of them is counted elsewhere.
    #[serde(default)]
    pub suspects: Vec<ReasonTotal>,
    /// Up to `limit` of the last ones, newest first.
    pub recent: Vec<Drop>,
}

/// Packets of one port for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonTotal {
    /// Port they arrived on.
    pub port: String,
    /// The reason to drop them, as in the metrics.
    pub reason: String,
    /// The reason in a sentence.
    pub description: String,
    /// Frames.
    pub packets: u64,
}

/// One dropped packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drop {
    /// How long ago, seconds.
    pub age_seconds: f64,
    /// Port it arrived on.
    pub port: String,
    /// Queue it arrived on.
    pub queue: u32,
    /// Why, as in the metrics.
    pub reason: String,
    /// Its headers, when they could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Headers>,
    /// Id of the rule that denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Generation it was judged by.
    pub generation: u64,
    /// Bytes on the wire.
    pub length: u32,
}

/// Answer of `POST /v1/apply`: the policy is in force on every worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The new generation.
    pub generation: u64,
    /// The one it replaced.
    pub previous_generation: u64,
    /// Rules of the policy.
    pub rules: usize,
    /// Entries of the compiled table: what the rules were lowered to.
    pub entries: usize,
    /// How that table was made.
    pub table_made: Made,
    /// Its bytes.
    pub table_bytes: u64,
    /// The most cache lines that a lookup in it touches.
    pub worst_case_cache_lines: usize,
    /// Time from the policy's text to its table, beside the traffic, seconds.
    pub compile_seconds: f64,
    /// From the publication until the last worker took it, seconds.
    pub swap_seconds: f64,
    /// Rules that could be left out.
    pub audit: Audit,
}

/// Every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiError {
    /// What went wrong and what to do about it.
    pub error: String,
    /// Where the policy is wrong, when that is the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// What `bulkhead check --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// Whether the policy can be applied.
    pub valid: bool,
    /// The file.
    pub file: String,
    /// Zones it declares.
    pub zones: usize,
    /// Its rules.
    pub rules: usize,
    /// Entries of the compiled table: what the rules were lowered to.
    pub entries: usize,
    /// Bytes of that table, for one worker.
    pub table_bytes: u64,
    /// The most cache lines that a lookup in it touches.
    pub worst_case_cache_lines: usize,
    /// Time from the policy's text to its table, seconds.
    pub compile_seconds: f64,
    /// What is wrong; empty when valid.
    pub diagnostics: Vec<Diagnostic>,
    /// Rules that could be left out of a valid policy.
    pub audit: Audit,
}
