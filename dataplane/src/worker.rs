//! The packet's way: receive, parse, flows, rules, verdict, forward, count.

use crate::flows::{Direction, FlowKey, FlowTable, FlowUpdate, Hop, packet_key};
use crate::parse::{Content, IpPacket, Parsed, parse};
use crate::ports::{BURST, Ports};
use crate::recent::{DroppedPacket, RecentDrops};
use crate::table::Table;
use crate::tally::WorkerTally;
use crate::verdict::{Action, DropReason, Outcome, PassReason, Verdict};
use classifier::{PacketKey, RuleIndex, ZoneId};
use crossbeam::queue::ArrayQueue;
use std::sync::Arc;

/// How one of the worker's ports is joined to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// The worker's port that its packets leave by: the other end of the wire.
    pub egress: usize,
    /// Zone of the packets that arrive here.
    pub zone: ZoneId,
}

/// Flow updates on their way to a worker.
pub(crate) type FlowInbox = ArrayQueue<FlowUpdate>;

/// The workers that serve other queues of the same wire.
#[derive(Debug, Default)]
pub(crate) struct Siblings {
    /// This worker's inbox; `None` when it is alone.
    pub inbox: Option<Arc<FlowInbox>>,
    /// The others' inboxes.
    pub others: Vec<Arc<FlowInbox>>,
}

impl Siblings {
    /// Tells every sibling of a flow just opened, or none: `false` when one of them has no room.
    ///
    /// Two workers that race for the last place of a third one's inbox can leave the flow with some
    /// siblings only: a flow that the policy allows, which expires there unused.
    fn tell_news(&self, news: FlowUpdate) -> bool {
        !self.others.iter().any(|inbox| inbox.is_full())
            && self.others.iter().all(|inbox| inbox.push(news).is_ok())
    }

    /// Tells those siblings that have room.
    fn refresh(&self, update: FlowUpdate) {
        for inbox in &self.others {
            // A refresh that finds no room comes again a quarter of a timeout later, and a sibling
            // that misses a FIN keeps the flow for the longer timeout.
            let _ = inbox.push(update);
        }
    }
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
    /// Its siblings.
    pub siblings: Siblings,
    /// EtherTypes that pass unjudged.
    pub ethertypes: Vec<u16>,
    /// Where it counts.
    pub tally: Arc<WorkerTally>,
}

/// Judges and forwards the packets of its ports. One per queue, on a thread of its own.
pub(crate) struct Worker<P: Ports> {
    pub(crate) ports: P,
    pub(crate) flows: FlowTable,
    pub(crate) recent: RecentDrops,
    pub(crate) siblings: Siblings,
    number: usize,
    plan: Vec<PortPlan>,
    table: Arc<Table>,
    ethertypes: Vec<u16>,
    tally: Arc<WorkerTally>,
    burst: Burst<P::Frame>,
}

/// Room for one burst, kept so that no burst allocates.
struct Burst<F> {
    received: Vec<F>,
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
            siblings: parts.siblings,
            number: parts.number,
            plan: parts.plan,
            table: parts.table,
            ethertypes,
            tally: parts.tally,
            burst: Burst {
                received: Vec::with_capacity(BURST),
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
        self.ports.rx_burst(port, &mut self.burst.received);
        self.burst.received.len()
    }

    /// Takes the burst received from `port` the rest of the way.
    #[inline]
    pub(crate) fn judge_burst(&mut self, port: usize) {
        let now = self.ports.now();
        self.hear_siblings();
        self.parse(port);
        self.find_flows(port, now);
        self.judge_misses(now);
        self.forward(port, now);
        self.flows.sweep(now);
        self.tally.commit_flows(&self.flows);
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

    /// Takes in the flows that siblings opened. It happens before any lookup: the update of a flow
    /// was sent before the packet left that caused the reply now in hand.
    pub(crate) fn hear_siblings(&mut self) {
        let Some(inbox) = &self.siblings.inbox else { return };
        // No more than were there when this began, so that siblings cannot keep the worker here.
        for _ in 0..inbox.capacity() {
            let Some(update) = inbox.pop() else { return };
            if self.flows.hear(&update).is_err() {
                self.tally.flow_unheard();
            }
        }
    }

    fn parse(&mut self, port: usize) {
        let mut bytes = 0;
        self.burst.parsed.clear();
        for frame in &self.burst.received {
            let view = self.ports.view(frame);
            bytes += u64::from(view.wire_len);
            self.burst.parsed.push(parse(view));
        }
        self.tally.received(port, self.burst.received.len() as u64, bytes);
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
                Ok(Parsed { content: Content::Arp, .. }) => Outcome::Forward(PassReason::Arp),
                Ok(Parsed { content: Content::Other(ethertype), .. }) => {
                    match self.ethertypes.binary_search(&ethertype) {
                        Ok(_) => Outcome::Forward(PassReason::EtherType),
                        Err(_) => Outcome::Drop(DropReason::EtherType),
                    }
                }
                Ok(Parsed { content: Content::Ip(packet), .. }) if packet.neighbour_discovery => {
                    Outcome::Forward(PassReason::NeighbourDiscovery)
                }
                Ok(Parsed { content: Content::Ip(packet), vlan }) => {
                    let flow = FlowKey::of(&packet, vlan, hop);
                    rule = flow.and_then(|flow| self.rule_of_flow(flow, packet.tcp_flags, now));
                    if rule.is_some() {
                        Outcome::Forward(PassReason::Flow)
                    } else {
                        self.miss(nth, flow, &packet, hop);
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
        hop: Hop,
    ) {
        let flow = flow.filter(|_| FlowKey::may_open(packet));
        self.burst.misses.push(Miss { nth, flow, tcp_flags: packet.tcp_flags });
        self.burst.keys.push(packet_key(packet, hop));
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
            // deny changes nothing, here or at the siblings.
            return None;
        }
        let rule = self.recheck(slot)?;
        self.continue_flow(slot, direction, tcp_flags, now);
        Some(rule)
    }

    /// The rule of the table in force that allows the flow in `slot` (`established: recheck`). A
    /// flow that no rule allows any more is forgotten.
    #[inline]
    fn recheck(&mut self, slot: u32) -> Option<u32> {
        let flow = self.flows.flow(slot);
        let (judged, generation) = (flow.generation, self.table.generation());
        if judged == generation {
            return Some(flow.rule);
        }
        let hop = self.hop(usize::from(flow.key.ingress(flow.opened)));
        let key = flow.key.opening(flow.opened, hop.from_zone, hop.to_zone);
        let rule = match self.table.judge(&key) {
            Some((rule, Action::Allow)) => Some(rule),
            _ => None,
        };
        // A sibling may have judged it by a table that this worker is about to take. This packet
        // passes or not by the table in hand, but the later judgement of the flow stands.
        if judged < generation {
            match rule {
                Some(rule) => self.flows.rejudged(slot, rule, generation),
                None => self.flows.remove(slot),
            }
        }
        rule
    }

    /// Records a packet of the flow in `slot`, and tells the siblings when it is time.
    #[inline]
    fn continue_flow(&mut self, slot: u32, direction: Direction, tcp_flags: u8, now: u64) {
        self.flows.touch(slot, direction, tcp_flags, now);
        if !self.siblings.others.is_empty()
            && let Some(update) = self.flows.announcement(slot, tcp_flags, now)
        {
            self.siblings.refresh(update);
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
            self.continue_flow(slot, direction, tcp_flags, now);
            return Outcome::Forward(PassReason::Flow);
        }
        let generation = self.table.generation();
        let Ok(slot) = self.flows.open(key, direction, rule, generation, now) else {
            return Outcome::Drop(DropReason::FlowTableFull);
        };
        self.flows.touch(slot, direction, tcp_flags, now);
        if !self.siblings.tell_news(self.flows.news(slot)) {
            // A reply on another queue would not find the flow: better no flow than half of one.
            self.flows.remove(slot);
            return Outcome::Drop(DropReason::FlowInboxFull);
        }
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
        let key = match self.burst.parsed[nth] {
            Ok(Parsed { content: Content::Ip(packet), .. }) => {
                Some(packet_key(&packet, self.hop(port)))
            }
            _ => None,
        };
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
        self.tally.handed_over(port, taken as u64);
        let mut refused = std::mem::take(&mut self.burst.allowed);
        for (i, frame) in refused.drain(..).enumerate() {
            let nth = self.burst.allowed_nth[taken + i];
            self.drop_frame(port, nth, frame, DropReason::TxRingFull, now);
        }
        self.burst.allowed = refused;
        self.burst.allowed_nth.clear();
    }
}

#[cfg(test)]
mod tests;
