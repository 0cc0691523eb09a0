//! The packet's way: receive, parse, hand over what a sibling owns, flows, rules, verdict, forward,
//! count.

use crate::flows::{Direction, FlowKey, FlowTable, Hop, packet_key};
use crate::handover::Handover;
use crate::parse::{Content, FrameView, IpPacket, ParseOptions, Parsed, parse};
use crate::ports::{BURST, Ports};
use crate::recent::{DroppedPacket, RecentDrops};
use crate::table::Table;
use crate::tally::WorkerTally;
use crate::verdict::{Action, DropReason, Outcome, PassReason, Verdict};
use classifier::{PacketKey, RuleIndex, ZoneId};
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
    pub flows: FlowTable,
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
    pub(crate) flows: FlowTable,
    pub(crate) recent: RecentDrops,
    pub(crate) handover: Option<Handover>,
    number: usize,
    plan: Vec<PortPlan>,
    table: Arc<Table>,
    ethertypes: Vec<u16>,
    parse_options: ParseOptions,
    tally: Arc<WorkerTally>,
    burst: Burst<P::Frame>,
}

/// Room for one burst, kept so that no burst allocates.
struct Burst<F> {
    received: Vec<F>,
    /// Whether siblings had received it and handed it over.
    taken_in: bool,
    parsed: Vec<Result<Parsed, DropReason>>,
    verdicts: Vec<Verdict>,
    /// Packets that no flow knows, and what the rules are asked about them.
    misses: Vec<Miss>,
    keys: Vec<PacketKey>,
    matches: Vec<Option<RuleIndex>>,
    /// Packets to be transmitted, and their positions in the burst.
    allowed: Vec<F>,
    allowed_nth: Vec<usize>,
}

/// A packet to be judged by the rules.
#[derive(Clone, Copy)]
struct Miss {
    /// Its position in the burst.
    nth: usize,
    /// The flow it opens if it is allowed.
    flow: Option<(FlowKey, Direction)>,
    tcp_flags: u8,
}

impl<P: Ports> Worker<P> {
    pub(crate) fn new(ports: P, parts: WorkerParts) -> Self {
        let mut ethertypes = parts.ethertypes;
        ethertypes.sort_unstable();
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
            burst: Burst {
                received: Vec::with_capacity(BURST),
                taken_in: false,
                parsed: Vec::with_capacity(BURST),
                verdicts: Vec::with_capacity(BURST),
                misses: Vec::with_capacity(BURST),
                keys: Vec::with_capacity(BURST),
                matches: Vec::with_capacity(BURST),
                allowed: Vec::with_capacity(BURST),
                allowed_nth: Vec::with_capacity(BURST),
            },
        }
    }

    /// Judges by `table` from the next packet on.
    pub(crate) fn take_table(&mut self, table: Arc<Table>) {
        self.table = table;
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
        self.find_flows(port, now);
        self.judge_misses(now);
        self.forward(port, now);
        self.flows.sweep(now);
        self.tally.commit_burst(&self.flows);
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

    /// Decides every packet that needs no rule, and collects the others.
    fn find_flows(&mut self, port: usize, now: u64) {
        let hop = self.hop(port);
        let generation = self.table.generation();
        self.burst.verdicts.clear();
        self.burst.misses.clear();
        self.burst.keys.clear();
        for nth in 0..self.burst.parsed.len() {
            let mut rule = None;
            let outcome = match self.burst.parsed[nth] {
                Err(reason) => Outcome::Drop(reason),
                Ok(Parsed { content: Content::Arp(_), .. }) => Outcome::Forward(PassReason::Arp),
                Ok(Parsed { content: Content::Other(ethertype), .. }) => {
                    match self.ethertypes.binary_search(&ethertype) {
                        Ok(_) => Outcome::Forward(PassReason::EtherType),
                        Err(_) => Outcome::Drop(DropReason::EtherType),
                    }
                }
                Ok(Parsed { content: Content::Ip(packet), .. }) if packet.neighbour_discovery => {
                    Outcome::Forward(PassReason::NeighbourDiscovery)
                }
                Ok(Parsed { content: Content::Ip(packet), .. }) if packet.is_partial() => {
                    Outcome::Drop(DropReason::Fragment)
                }
                Ok(Parsed { content: Content::Ip(packet), vlan, .. }) => {
                    let flow = FlowKey::of(&packet, vlan, hop);
                    rule = flow.and_then(|flow| self.rule_of_flow(flow, packet.tcp_flags(), now));
                    if rule.is_some() {
                        Outcome::Forward(PassReason::Flow)
                    } else {
                        self.miss(nth, flow, &packet, vlan, hop);
                        // What stands if no rule matches.
                        Outcome::Drop(DropReason::PolicyDefault)
                    }
                }
            };
            self.burst.verdicts.push(Verdict { outcome, rule, generation });
        }
    }

    fn miss(
        &mut self,
        nth: usize,
        flow: Option<(FlowKey, Direction)>,
        packet: &IpPacket,
        vlan: u32,
        hop: Hop,
    ) {
        let flow = flow.filter(|_| FlowKey::may_open(packet));
        self.burst.misses.push(Miss { nth, flow, tcp_flags: packet.tcp_flags() });
        self.burst.keys.push(packet_key(packet, vlan, hop));
    }

    /// The rule by which a flow lets its packet pass, if there is a flow that still may.
    #[inline]
    fn rule_of_flow(
        &mut self,
        (key, direction): (FlowKey, Direction),
        tcp_flags: u8,
        now: u64,
    ) -> Option<u32> {
        let slot = self.flows.find(&key, now)?;
        if self.flows.reopens(slot, tcp_flags) {
            // The rules are asked. The closed flow stays until a new one takes its place: what they
            // deny changes nothing.
            return None;
        }
        let rule = self.recheck(slot)?;
        self.flows.touch(slot, direction, tcp_flags, now);
        Some(rule)
    }

    /// The rule of the table in force that allows the flow in `slot` (`established: recheck`). A
    /// flow that no rule allows any more is forgotten.
    #[inline]
    fn recheck(&mut self, slot: u32) -> Option<u32> {
        let flow = self.flows.flow(slot);
        let generation = self.table.generation();
        if flow.generation == generation {
            return Some(flow.rule);
        }
        let hop = self.hop(usize::from(flow.key.ingress(flow.opened)));
        let key = flow.key.opening(flow.opened, hop.from_zone, hop.to_zone);
        match self.table.judge(&key) {
            Some((rule, Action::Allow)) => {
                self.flows.rejudged(slot, rule, generation);
                Some(rule)
            }
            _ => {
                self.flows.remove(slot);
                None
            }
        }
    }

    /// Asks the rules about the misses of the burst, all at once.
    fn judge_misses(&mut self, now: u64) {
        let count = self.burst.misses.len();
        self.burst.matches.clear();
        self.burst.matches.resize(count, None);
        self.table.lookup_batch(&self.burst.keys, &mut self.burst.matches);
        for i in 0..count {
            let Miss { nth, flow, tcp_flags } = self.burst.misses[i];
            let Some(entry) = self.burst.matches[i] else { continue };
            let (rule, action) = self.table.rule_of(entry);
            let outcome = match action {
                Action::Deny => Outcome::Drop(DropReason::PolicyDeny),
                Action::Allow => self.open_flow(flow, rule, tcp_flags, now),
            };
            self.burst.verdicts[nth].outcome = outcome;
            self.burst.verdicts[nth].rule = Some(rule);
        }
    }

    /// Opens the flow of a packet that `rule` allows.
    fn open_flow(
        &mut self,
        flow: Option<(FlowKey, Direction)>,
        rule: u32,
        tcp_flags: u8,
        now: u64,
    ) -> Outcome {
        let Some((key, direction)) = flow else { return Outcome::Forward(PassReason::Rule) };
        // An earlier packet of this burst may have opened it.
        if let Some(slot) = self.flows.find(&key, now)
            && !self.flows.reopens(slot, tcp_flags)
        {
            self.flows.touch(slot, direction, tcp_flags, now);
            return Outcome::Forward(PassReason::Flow);
        }
        let generation = self.table.generation();
        let Ok(slot) = self.flows.open(key, direction, rule, generation, now) else {
            return Outcome::Drop(DropReason::FlowTableFull);
        };
        self.flows.touch(slot, direction, tcp_flags, now);
        Outcome::Forward(PassReason::Rule)
    }

    /// Sends what is allowed on its way, takes back the rest, and counts both.
    fn forward(&mut self, port: usize, now: u64) {
        let mut received = std::mem::take(&mut self.burst.received);
        for (nth, frame) in received.drain(..).enumerate() {
            let verdict = self.burst.verdicts[nth];
            if let Some(rule) = verdict.rule {
                self.table.hit(self.number, rule);
            }
            match verdict.outcome {
                Outcome::Forward(reason) => {
                    self.tally.passed(port, reason);
                    self.burst.allowed.push(frame);
                    self.burst.allowed_nth.push(nth);
                }
                Outcome::Drop(reason) => self.drop_frame(port, nth, frame, reason, now),
            }
        }
        self.burst.received = received;
        if !self.burst.allowed.is_empty() {
            self.transmit(port, now);
        }
    }

    fn drop_frame(
        &mut self,
        port: usize,
        nth: usize,
        frame: P::Frame,
        reason: DropReason,
        now: u64,
    ) {
        let verdict = self.burst.verdicts[nth];
        let key = headers(&self.burst.parsed[nth], self.hop(port));
        self.tally.dropped(port, reason);
        self.recent.push(DroppedPacket {
            at: now,
            port,
            reason,
            key,
            rule: verdict.rule,
            generation: verdict.generation,
            length: self.ports.view(&frame).wire_len,
        });
        self.ports.recycle(frame);
    }

    /// Hands the allowed frames to the other port. What its ring has no room for is dropped: a
    /// gateway that waits for one port starves the others.
    fn transmit(&mut self, port: usize, now: u64) {
        let egress = self.plan[port].egress;
        let offered = self.burst.allowed.len();
        self.ports.tx_burst(egress, &mut self.burst.allowed);
        // Frames are taken in order, so those that stay were offered last.
        let taken = offered - self.burst.allowed.len();
        self.tally.submitted(port, taken as u64);
        let mut refused = std::mem::take(&mut self.burst.allowed);
        for (i, frame) in refused.drain(..).enumerate() {
            let nth = self.burst.allowed_nth[taken + i];
            self.drop_frame(port, nth, frame, DropReason::TxRingFull, now);
        }
        self.burst.allowed = refused;
        self.burst.allowed_nth.clear();
    }
}

/// The headers of a dropped packet, when they could be read.
fn headers(parsed: &Result<Parsed, DropReason>, hop: Hop) -> Option<PacketKey> {
    match parsed {
        Ok(Parsed { content: Content::Ip(packet), vlan, .. }) => {
            Some(packet_key(packet, *vlan, hop))
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
