//! What comes of each packet of a burst: by itself, by its flow, or by the rules.

use super::{Miss, Step, Worker};
use crate::flows::{Answer, ErrorPacket, FlowPacket, Hop, flow_key, opening, packet_key};
use crate::guard::Mode;
use crate::parse::{Content, IpPacket, L4, Parsed};
use crate::ports::Ports;
use crate::table::FragmentMode;
use crate::verdict::{Action, DropReason, Outcome, PassReason, Verdict};

/// What becomes of a packet, and the rule by which.
type Judged = (Outcome, Option<u32>);

impl<P: Ports> Worker<P> {
    /// Sorts the packets of the burst by how they come to their verdicts. Those whose addresses lie
    /// come no further.
    pub(super) fn admit(&mut self, port: usize) {
        let zone = self.plan[port].zone;
        let guard = self.table.guard();
        let fragments = self.table.fragments(zone);
        self.burst.steps.clear();
        for (parsed, frame) in self.burst.parsed.iter().zip(&self.burst.received) {
            let step = match parsed {
                Err(reason) => Step::Decided(Outcome::Drop(*reason)),
                Ok(parsed) => match guard.judge(zone, parsed, self.ports.view(frame)) {
                    Some((reason, Mode::Drop)) => Step::Decided(Outcome::Drop(reason)),
                    suspicion => {
                        if let Some((reason, _)) = suspicion {
                            self.tally.suspected(port, reason);
                        }
                        step(parsed, fragments, &self.ethertypes)
                    }
                },
            };
            self.burst.steps.push(step);
        }
    }

    /// Takes every packet to its flow, and collects those for the rules.
    pub(super) fn ask_flows(&mut self, port: usize, now: u64) {
        let hop = self.hop(port);
        self.find_flows(hop);
        self.burst.verdicts.clear();
        self.burst.misses.clear();
        self.burst.keys.clear();
        self.burst.unopened.clear();
        let mut sought = 0;
        for nth in 0..self.burst.steps.len() {
            let (outcome, rule) = match self.burst.steps[nth] {
                Step::Decided(outcome) => (outcome, None),
                // All that are left were taken out of the burst.
                Step::Fragment => (Outcome::Drop(DropReason::Fragment), None),
                Step::Flow => {
                    sought += 1;
                    self.ask_flow(nth, sought - 1, hop, now)
                }
                Step::Error => self.ask_flow_of_error(nth, hop, now),
                Step::Rules => self.miss(nth, None, false, hop),
            };
            let generation = self.table.generation();
            self.burst.verdicts.push(Verdict { outcome, rule, generation });
        }
    }

    /// Looks up the flows of the burst, all at once.
    fn find_flows(&mut self, hop: Hop) {
        let burst = &mut self.burst;
        burst.directions.clear();
        burst.wanted.clear();
        for (nth, step) in burst.steps.iter_mut().enumerate() {
            if *step != Step::Flow {
                continue;
            }
            let Ok(parsed @ Parsed { content: Content::Ip(packet), .. }) = &burst.parsed[nth]
            else {
                continue;
            };
            match flow_key(packet, parsed.vlan, hop) {
                Some((key, direction)) => {
                    burst.directions.push(direction);
                    burst.wanted.push((self.flows.table.hash(&key), key));
                }
                None => *step = Step::Rules,
            }
        }
        burst.found.clear();
        burst.found.resize(burst.wanted.len(), None);
        self.flows.table.find_burst(&burst.wanted, &mut burst.found);
    }

    /// The verdict of the flow of packet `nth`, which is the `sought`th of those sought, or what
    /// stands until the rules were asked.
    #[inline]
    fn ask_flow(&mut self, nth: usize, sought: usize, hop: Hop, now: u64) -> Judged {
        let (hash, key) = self.burst.wanted[sought];
        if self.burst.unopened.contains(&hash) {
            // Its flow begins in this burst, with a packet that waits for the rules.
            return self.miss(nth, Some(sought), true, hop);
        }
        let mut revoked = None;
        // An earlier packet of the burst may have ended it.
        let slot = self.burst.found[sought].filter(|&slot| self.flows.table.holds(slot, &key));
        if let Some(slot) = slot {
            match self.through_flow(nth, sought, slot, hop, now) {
                Ok(verdict) => return verdict,
                Err(verdict) => revoked = verdict,
            }
        }
        match self.may_open(nth, now) {
            Ok(()) => self.miss(nth, Some(sought), false, hop),
            // That the policy ended its flow says more than that it cannot begin one.
            Err(reason) => revoked.unwrap_or((Outcome::Drop(reason), None)),
        }
    }

    /// The verdict of the flow in `slot` on its packet `nth`.
    ///
    /// # Errors
    /// The flow is no more, and the packet is to be judged as the first of its own; with the verdict
    /// if the policy ended the flow.
    #[inline]
    fn through_flow(
        &mut self,
        nth: usize,
        sought: usize,
        slot: u32,
        hop: Hop,
        now: u64,
    ) -> Result<Judged, Option<Judged>> {
        let Ok(Parsed { content: Content::Ip(packet), .. }) = &self.burst.parsed[nth] else {
            return Err(None);
        };
        let (hash, key) = self.burst.wanted[sought];
        let direction = self.burst.directions[sought];
        let at = FlowPacket { key, hash, direction, packet, hop };
        match self.flows.judge(slot, &at, &self.table, now) {
            Answer::Pass(rule) => Ok((Outcome::Forward(PassReason::Flow), rule)),
            Answer::Drop(reason) => Ok((Outcome::Drop(reason), None)),
            Answer::Reopen => Err(None),
            Answer::Revoked(rule) => Err(Some(revocation(rule))),
        }
    }

    #[inline]
    fn may_open(&self, nth: usize, now: u64) -> Result<(), DropReason> {
        match &self.burst.parsed[nth] {
            Ok(Parsed { content: Content::Ip(packet), .. }) => self.flows.may_open(packet, now),
            _ => Ok(()),
        }
    }

    #[cold]
    fn ask_flow_of_error(&mut self, nth: usize, hop: Hop, now: u64) -> Judged {
        let Ok(Parsed { content: Content::Ip(packet), vlan, .. }) = &self.burst.parsed[nth] else {
            return (Outcome::Drop(DropReason::IcmpErrorQuote), None);
        };
        let L4::Icmp(icmp) = packet.l4 else {
            return (Outcome::Drop(DropReason::IcmpErrorQuote), None);
        };
        let assembled = self.burst.assembled.iter().find(|datagram| datagram.nth == nth);
        let bytes = match assembled {
            Some(datagram) => datagram.head.bytes(),
            None => self.ports.view(&self.burst.received[nth]).bytes,
        };
        let (start, len) = (usize::from(packet.l4_offset), usize::from(packet.l4_len));
        let message = bytes.get(start..bytes.len().min(start + len)).unwrap_or_default();
        // Eight bytes of its own (RFC 792; RFC 4443, 3).
        let quote = message.get(8..).unwrap_or_default();
        let error = ErrorPacket { packet, icmp, quote, vlan: *vlan, hop };
        match self.flows.judge_error(&error, &self.table, now) {
            Answer::Pass(rule) => (Outcome::Forward(PassReason::Flow), rule),
            Answer::Drop(reason) => (Outcome::Drop(reason), None),
            Answer::Revoked(rule) => revocation(rule),
            Answer::Reopen => (Outcome::Drop(DropReason::IcmpErrorFlow), None),
        }
    }

    /// Leaves a packet for the rules. What stands if none matches.
    #[inline]
    fn miss(&mut self, nth: usize, flow: Option<usize>, late: bool, hop: Hop) -> Judged {
        if let Ok(parsed @ Parsed { content: Content::Ip(packet), .. }) = &self.burst.parsed[nth] {
            self.burst.keys.push(packet_key(parsed, packet, hop));
            self.burst.misses.push(Miss { nth, flow, late });
            if let Some(flow) = flow {
                self.burst.unopened.push(self.burst.wanted[flow].0);
            }
        }
        (Outcome::Drop(DropReason::PolicyDefault), None)
    }

    /// Asks the rules about the misses of the burst, all at once.
    pub(super) fn ask_rules(&mut self, port: usize, now: u64) {
        let hop = self.hop(port);
        let count = self.burst.misses.len();
        self.burst.matches.clear();
        self.burst.matches.resize(count, None);
        self.table.lookup_batch(&self.burst.keys, &mut self.burst.matches);
        for i in 0..count {
            let Miss { nth, flow, late } = self.burst.misses[i];
            let by_flow = flow.filter(|_| late).and_then(|flow| self.ask_late(nth, flow, hop, now));
            let judged = by_flow.or_else(|| {
                let (rule, action) = self.table.rule_of(self.burst.matches[i]?);
                let outcome = match action {
                    Action::Deny => Outcome::Drop(DropReason::PolicyDeny),
                    Action::Allow => self.open_flow(nth, flow, rule, hop, now),
                };
                Some((outcome, Some(rule)))
            });
            if let Some((outcome, rule)) = judged {
                self.burst.verdicts[nth].outcome = outcome;
                self.burst.verdicts[nth].rule = rule;
            }
        }
    }

    /// The verdict of a flow that an earlier packet of the burst opened, or was to open; `None` when
    /// packet `nth` is for the rules nevertheless.
    fn ask_late(&mut self, nth: usize, flow: usize, hop: Hop, now: u64) -> Option<Judged> {
        let (hash, key) = self.burst.wanted[flow];
        let mut revoked = None;
        if let Some(slot) = self.flows.table.find(&key, hash) {
            match self.through_flow(nth, flow, slot, hop, now) {
                Ok(verdict) => return Some(verdict),
                Err(verdict) => revoked = verdict,
            }
        }
        let reason = self.may_open(nth, now).err()?;
        Some(revoked.unwrap_or((Outcome::Drop(reason), None)))
    }

    /// Opens the flow of a packet that `rule` allows, if its protocol has flows.
    fn open_flow(
        &mut self,
        nth: usize,
        flow: Option<usize>,
        rule: u32,
        hop: Hop,
        now: u64,
    ) -> Outcome {
        const BY_RULE: Outcome = Outcome::Forward(PassReason::Rule);
        let Some(flow) = flow else { return BY_RULE };
        let Ok(parsed @ Parsed { content: Content::Ip(packet), .. }) = &self.burst.parsed[nth]
        else {
            return BY_RULE;
        };
        let (hash, key) = self.burst.wanted[flow];
        let direction = self.burst.directions[flow];
        let at = FlowPacket { key, hash, direction, packet, hop };
        match self.flows.open(&at, opening(parsed, packet), rule, &self.table, now) {
            Ok(()) => BY_RULE,
            Err(reason) => Outcome::Drop(reason),
        }
    }
}

/// How a packet whose addresses are believed comes to its verdict.
#[inline]
pub(super) fn step(parsed: &Parsed, fragments: FragmentMode, ethertypes: &[u16]) -> Step {
    let packet: &IpPacket = match &parsed.content {
        Content::Arp(_) => return Step::Decided(Outcome::Forward(PassReason::Arp)),
        Content::Other(ethertype) => {
            return Step::Decided(match ethertypes.binary_search(ethertype) {
                Ok(_) => Outcome::Forward(PassReason::EtherType),
                Err(_) => Outcome::Drop(DropReason::EtherType),
            });
        }
        Content::Ip(packet) => packet,
    };
    if packet.neighbour_discovery {
        return Step::Decided(Outcome::Forward(PassReason::NeighbourDiscovery));
    }
    if packet.is_partial() {
        return match fragments {
            FragmentMode::Reassemble => Step::Fragment,
            FragmentMode::Drop => Step::Decided(Outcome::Drop(DropReason::Fragment)),
        };
    }
    match packet.l4 {
        L4::Icmp(icmp) if icmp.is_error => Step::Error,
        _ => Step::Flow,
    }
}

/// The verdict on a packet whose flow the table in force ended.
fn revocation(rule: Option<u32>) -> Judged {
    let reason = if rule.is_some() { DropReason::PolicyDeny } else { DropReason::PolicyDefault };
    (Outcome::Drop(reason), rule)
}
