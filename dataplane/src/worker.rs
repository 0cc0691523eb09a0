//! The packet's way: receive, parse, hand over what a sibling owns, hold its addresses against its
//! zone, put fragments together, flows, rules, verdict, forward, count.

mod forward;
mod fragments;
mod judge;

use crate::flows::{Flows, Hop, packet_key};
use crate::flowtable::{Direction, FlowKey};
use crate::fragments::{Ended, FragmentConfig, FragmentTable};
use crate::handover::Handover;
use crate::parse::{Content, FrameView, ParseOptions, Parsed, parse};
use crate::ports::{BURST, Ports};
use crate::recent::{DroppedPacket, RecentDrops};
use crate::table::Table;
use crate::tally::WorkerTally;
use crate::verdict::{DropReason, Outcome, Verdict};
use classifier::{PacketKey, RuleIndex, ZoneId};
use fragments::Assembled;
use std::sync::Arc;

/// How one of the worker's ports is joined to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// The worker's port that its packets leave by: the other end of the wire.
    pub egress: usize,
    /// Zone of the packets that arrive here.
    pub zone: ZoneId,
}

/// What a worker is made of, besides its ports.
pub(crate) struct WorkerParts {
    /// Its number among the table's workers.
    pub number: usize,
    /// One for each port.
    pub plan: Vec<PortPlan>,
    /// The table to start with.
    pub table: Arc<Table>,
    /// Its flows.
    pub flows: Flows,
    /// How many fragments it holds, and for how long.
    pub fragments: FragmentConfig,
    /// Its part in the hand-over between the workers of its wire; `None` when it is alone.
    pub handover: Option<Handover>,
    /// EtherTypes that pass unjudged.
    pub ethertypes: Vec<u16>,
    /// How strictly frames are read.
    pub parse: ParseOptions,
    /// Where it counts.
    pub tally: Arc<WorkerTally>,
}

/// Judges and forwards the packets of its ports. One per queue, on a thread of its own.
pub(crate) struct Worker<P: Ports> {
    pub(crate) ports: P,
    pub(crate) flows: Flows,
    pub(crate) recent: RecentDrops,
    pub(crate) handover: Option<Handover>,
    number: usize,
    plan: Vec<PortPlan>,
    table: Arc<Table>,
    ethertypes: Vec<u16>,
    parse_options: ParseOptions,
    tally: Arc<WorkerTally>,
    fragments: FragmentTable<P::Frame>,
    /// What the fragments gave back in this burst.
    ended: Ended<P::Frame>,
    burst: Burst<P::Frame>,
}

/// Room for one burst, kept so that no burst allocates. Packets are named by their position in it;
/// a datagram that was put together from fragments is one packet.
struct Burst<F> {
    /// A frame of each packet.
    received: Vec<F>,
    /// Whether siblings had received it and handed it over.
    taken_in: bool,
    parsed: Vec<Result<Parsed, DropReason>>,
    /// What is to be done with each packet.
    steps: Vec<Step>,
    verdicts: Vec<Verdict>,
    /// Packets that belong to flows or would open them, in order: their flows by hash and key, their
    /// directions there, and the slots of the flows that there are.
    wanted: Vec<(u64, FlowKey)>,
    directions: Vec<Direction>,
    found: Vec<Option<u32>>,
    /// Hashes of the flows that packets among the misses would open.
    unopened: Vec<u64>,
    /// Packets that no flow knows, and what the rules are asked about them.
    misses: Vec<Miss>,
    keys: Vec<PacketKey>,
    matches: Vec<Option<RuleIndex>>,
    /// Datagrams that were put together, in order.
    assembled: Vec<Assembled>,
    /// Room for the frames received while fragments are taken out of them.
    arrived: Vec<F>,
    /// Packets to be transmitted, and their positions in the burst.
    allowed: Vec<F>,
    allowed_nth: Vec<usize>,
}

/// How a packet comes to its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It has it.
    Decided(Outcome),
    /// It is a part of a datagram, to be judged with the others.
    Fragment,
    /// By its flow, or else by the rules.
    Flow,
    /// By the flow of the packet that it quotes.
    Error,
    /// By the rules alone: its protocol has no flows.
    Rules,
}

/// A packet to be judged by the rules.
#[derive(Clone, Copy)]
struct Miss {
    nth: usize,
    /// The flow it opens if it is allowed, as a position among those wanted.
    flow: Option<usize>,
    /// An earlier packet of the burst is to open that flow.
    late: bool,
}

impl<P: Ports> Worker<P> {
    pub(crate) fn new(ports: P, parts: WorkerParts) -> Self {
        let mut ethertypes = parts.ethertypes;
        ethertypes.sort_unstable();
        // A burst can complete as many datagrams as it has frames, out of all that are held.
        let most_allowed = BURST + parts.fragments.max_frames as usize;
        Worker {
            ports,
            flows: parts.flows,
            recent: RecentDrops::default(),
            handover: parts.handover,
            number: parts.number,
            plan: parts.plan,
            table: parts.table,
            ethertypes,
            parse_options: parts.parse,
            tally: parts.tally,
            fragments: FragmentTable::new(&parts.fragments),
            ended: Ended::new(&parts.fragments),
            burst: Burst {
                received: Vec::with_capacity(BURST),
                taken_in: false,
                parsed: Vec::with_capacity(BURST),
                steps: Vec::with_capacity(BURST),
                verdicts: Vec::with_capacity(BURST),
                wanted: Vec::with_capacity(BURST),
                directions: Vec::with_capacity(BURST),
                unopened: Vec::with_capacity(BURST),
                found: Vec::with_capacity(BURST),
                misses: Vec::with_capacity(BURST),
                keys: Vec::with_capacity(BURST),
                matches: Vec::with_capacity(BURST),
                assembled: Vec::with_capacity(BURST),
                arrived: Vec::with_capacity(BURST),
                allowed: Vec::with_capacity(most_allowed),
                allowed_nth: Vec::with_capacity(most_allowed),
            },
        }
    }

    /// Judges by `table` from the next packet on.
    pub(crate) fn take_table(&mut self, table: Arc<Table>) {
        self.table = table;
    }

    /// Generation of the table in force.
    pub(crate) fn generation(&self) -> u64 {
        self.table.generation()
    }

    /// How the worker's ports are joined.
    pub(crate) fn plan(&self) -> &[PortPlan] {
        &self.plan
    }

    /// Receives one burst from `port`. Frames received; [`judge_burst`](Self::judge_burst) must
    /// follow before the next one.
    ///
    /// The two are apart so that a newer table is looked for in between: a packet caused by one
    /// that the newer table let through is never judged by an older one.
    #[inline]
    pub(crate) fn receive(&mut self, port: usize) -> usize {
        self.burst.taken_in = false;
        self.ports.rx_burst(port, &mut self.burst.received);
        self.burst.received.len()
    }

    /// Takes in one burst of what arrived by `port` at siblings and is this worker's, in the place
    /// of [`receive`](Self::receive). Frames taken in, those included that no frame was free for.
    #[inline]
    pub(crate) fn take_in(&mut self, port: usize) -> usize {
        if self.handover.is_some() { self.take_in_from_siblings(port) } else { 0 }
    }

    fn take_in_from_siblings(&mut self, port: usize) -> usize {
        let hop = self.hop(port);
        let generation = self.table.generation();
        let Some(handover) = &mut self.handover else { return 0 };
        self.burst.taken_in = true;
        handover.take_in(port, |bytes| {
            if let Some(frame) = self.ports.adopt(bytes) {
                self.burst.received.push(frame);
                return;
            }
            let length = bytes.len() as u32;
            let key =
                headers(&parse(FrameView { bytes, wire_len: length }, &self.parse_options), hop);
            self.tally.dropped(port, DropReason::HandoverFull);
            let now = self.ports.now();
            self.recent.push(lost_on_the_way(now, port, key, generation, length));
        })
    }

    /// Takes the burst received from `port` the rest of the way.
    #[inline]
    pub(crate) fn judge_burst(&mut self, port: usize) {
        let now = self.ports.now();
        let bytes = self.parse();
        if !self.burst.taken_in {
            self.tally.received(port, self.burst.received.len() as u64, bytes);
            if self.handover.is_some() {
                self.hand_out(port, now);
            }
        }
        self.flows.advance(now);
        self.admit(port);
        self.reassemble(port, now);
        self.ask_flows(port, now);
        self.ask_rules(port, now);
        self.forward(port, now);
        self.tally.burst_done();
        self.commit_tables();
    }

    /// What bursts do on their way, for when there are none: flows and fragments expire.
    pub(crate) fn keep_house(&mut self) {
        let now = self.ports.now();
        self.flows.advance(now);
        self.expire_fragments(now);
        self.commit_tables();
    }

    #[inline]
    fn commit_tables(&self) {
        self.tally.commit_tables(&self.flows.table, self.fragments.incomplete());
    }

    /// Bytes reserved for fragments, besides the frames that hold them.
    pub(crate) fn fragment_bytes(&self) -> usize {
        self.fragments.memory_usage() + self.ended.memory_usage()
    }

    /// Counts the transmissions that were completed, so that their frames are no longer held.
    #[inline]
    pub(crate) fn collect_completed(&mut self) {
        for egress in 0..self.plan.len() {
            let done = self.ports.completed(egress);
            if done.packets > 0 {
                self.tally.transmitted(egress, self.plan[egress].egress, done);
            }
        }
    }

    /// Reads the headers of the burst. Its bytes on the wire.
    fn parse(&mut self) -> u64 {
        let mut bytes = 0;
        self.burst.parsed.clear();
        for frame in &self.burst.received {
            let view = self.ports.view(frame);
            bytes += u64::from(view.wire_len);
            self.burst.parsed.push(parse(view, &self.parse_options));
        }
        bytes
    }

    /// Hands the frames that siblings own over to them; the others stay, in order. A sibling that
    /// does not keep up costs frames: a worker that waits for another starves its own queue.
    fn hand_out(&mut self, port: usize, now: u64) {
        let hop = self.hop(port);
        let generation = self.table.generation();
        let Some(handover) = &mut self.handover else { return };
        let Burst { received, parsed, .. } = &mut self.burst;
        let mut kept = 0;
        for nth in 0..received.len() {
            let view = self.ports.view(&received[nth]);
            let owner = match &parsed[nth] {
                Ok(Parsed { content: Content::Ip(packet), .. }) => {
                    handover.owner(packet, view.bytes)
                }
                _ => None,
            };
            let Some(sibling) = owner else {
                if kept < nth {
                    received.swap(kept, nth);
                    parsed.swap(kept, nth);
                }
                kept += 1;
                continue;
            };
            if !handover.hand_out(sibling, port, view.bytes) {
                self.tally.dropped(port, DropReason::HandoverFull);
                let key = headers(&parsed[nth], hop);
                self.recent.push(lost_on_the_way(now, port, key, generation, view.wire_len));
            }
        }
        parsed.truncate(kept);
        for frame in received.drain(kept..) {
            self.ports.recycle(frame);
        }
    }

    fn hop(&self, port: usize) -> Hop {
        let PortPlan { egress, zone } = self.plan[port];
        Hop {
            ingress: port as u16,
            egress: egress as u16,
            from_zone: zone,
            to_zone: self.plan[egress].zone,
        }
    }
}

/// The headers of a dropped packet, when they could be read.
fn headers(parsed: &Result<Parsed, DropReason>, hop: Hop) -> Option<PacketKey> {
    match parsed {
        Ok(parsed @ Parsed { content: Content::Ip(packet), .. }) => {
            Some(packet_key(parsed, packet, hop))
        }
        _ => None,
    }
}

/// A packet for which there was no room on the way to the worker that owns it.
fn lost_on_the_way(
    at: u64,
    port: usize,
    key: Option<PacketKey>,
    generation: u64,
    length: u32,
) -> DroppedPacket {
    let reason = DropReason::HandoverFull;
    DroppedPacket { at, port, reason, key, rule: None, generation, length }
}

#[cfg(test)]
mod tests;
