//! Fragments on their way through a burst: taken out of it until their datagram is whole, which then
//! is one packet of the burst that completed it.

use super::judge::step;
use super::{Step, Worker};
use crate::fragments::{DatagramKey, Dropped, Head, Offered, Whole};
use crate::guard::Mode;
use crate::parse::{
    Checksums, Content, Fragment, IpPacket, Parsed, outer_vlan, parse, protocol, reassembled,
};
use crate::ports::Ports;
use crate::recent::DroppedPacket;
use crate::table::FragmentMode;
use crate::verdict::{DropReason, Outcome};
use classifier::{IpBits, PacketKey};

/// A datagram that was put together from fragments.
#[derive(Clone, Copy)]
pub(super) struct Assembled {
    /// Its position in the burst, where its last frame by offset is.
    pub nth: usize,
    /// Its other frames, which are the next among those that the fragment table gave back.
    pub others: usize,
    /// What it begins with from the transport header on.
    pub head: Head,
}

impl<P: Ports> Worker<P> {
    /// Takes the fragments out of the burst, and puts those datagrams in that they complete.
    pub(super) fn reassemble(&mut self, port: usize, now: u64) {
        self.burst.assembled.clear();
        if self.fragments.held().packets > 0 {
            self.expire_fragments(now);
        }
        if self.burst.steps.contains(&Step::Fragment) {
            self.take_fragments(port, now);
        }
    }

    /// Drops the fragments whose datagrams were not whole in time.
    pub(super) fn expire_fragments(&mut self, now: u64) {
        self.fragments.expire(now, &mut self.ended);
        self.drop_ended(now);
    }

    /// Drops every fragment that is held: its datagram will not get whole any more.
    pub(crate) fn give_up_fragments(&mut self) {
        let now = self.ports.now();
        self.fragments.drain(&mut self.ended);
        self.drop_ended(now);
        self.commit_tables();
    }

    #[cold]
    fn take_fragments(&mut self, port: usize, now: u64) {
        let mut arrived = std::mem::take(&mut self.burst.arrived);
        std::mem::swap(&mut self.burst.received, &mut arrived);
        let mut kept = 0;
        for (nth, frame) in arrived.drain(..).enumerate() {
            let packet = match self.burst.steps[nth] {
                Step::Fragment => self.offer(port, kept, frame, self.burst.parsed[nth], now),
                step => Some((frame, self.burst.parsed[nth], step)),
            };
            let Some((frame, parsed, step)) = packet else { continue };
            self.burst.received.push(frame);
            self.burst.parsed[kept] = parsed;
            self.burst.steps[kept] = step;
            kept += 1;
        }
        self.burst.parsed.truncate(kept);
        self.burst.steps.truncate(kept);
        self.burst.arrived = arrived;
        self.drop_ended(now);
    }

    /// Gives a fragment to the table. The datagram that it completes, as the packet at position
    /// `place` of the burst.
    fn offer(
        &mut self,
        port: usize,
        place: usize,
        frame: P::Frame,
        parsed: Result<Parsed, DropReason>,
        now: u64,
    ) -> Option<(P::Frame, Result<Parsed, DropReason>, Step)> {
        let Some((parsed, part, fragment)) = fragment_of(parsed) else {
            return Some((frame, parsed, Step::Decided(Outcome::Drop(DropReason::Fragment))));
        };
        let key =
            DatagramKey::new(part.family, part.src, part.dst, &fragment, parsed.vlan, port as u16);
        self.tally.kept(port, 1);
        let offered =
            self.fragments.offer(&self.ports, key, &fragment, frame, now, &mut self.ended);
        let Offered::Complete(whole) = offered else { return None };
        self.tally.released(port, u64::from(whole.frames));
        let (parsed, step) = match self.read_whole(&part, &whole) {
            Ok(packet) => {
                let parsed = Parsed { content: Content::Ip(packet), ..parsed };
                (parsed, self.admit_whole(port, &parsed, &packet, &whole))
            }
            Err(reason) => (parsed, Step::Decided(Outcome::Drop(reason))),
        };
        let frame = self.ended.whole.pop()?;
        let others = usize::from(whole.frames) - 1;
        self.burst.assembled.push(Assembled { nth: place, others, head: whole.head });
        Some((frame, Ok(parsed), step))
    }

    /// Reads a datagram of which `part` was parsed last. Its frames are the last that the table gave
    /// back.
    fn read_whole(&self, part: &IpPacket, whole: &Whole) -> Result<IpPacket, DropReason> {
        let packet = reassembled::parse(part, whole, &self.parse_options)?;
        if packet.protocol == protocol::SCTP && self.parse_options.checksums != Checksums::Off {
            let first = self.ended.whole.len() - usize::from(whole.frames);
            let parts = self.ended.whole[first..].iter().map(|frame| {
                let view = self.ports.view(frame);
                let read = fragment_of(parse(view, &self.parse_options));
                let (start, len) = read.map_or((0, 0), |(_, _, fragment)| {
                    (usize::from(fragment.payload_offset), usize::from(fragment.payload_len))
                });
                view.bytes.get(start..start + len).unwrap_or_default()
            });
            reassembled::verify_sctp(usize::from(whole.transport_offset), parts)?;
        }
        Ok(packet)
    }

    /// How a whole datagram comes to its verdict. Its addresses are believed.
    fn admit_whole(&self, port: usize, parsed: &Parsed, packet: &IpPacket, whole: &Whole) -> Step {
        let zone = self.plan[port].zone;
        match self.table.guard().judge_reassembled(zone, packet, whole.head.bytes()) {
            Some((reason, Mode::Drop)) => return Step::Decided(Outcome::Drop(reason)),
            Some((reason, _)) => self.tally.suspected(port, reason),
            None => {}
        }
        step(parsed, FragmentMode::Drop, &self.ethertypes)
    }

    fn drop_ended(&mut self, now: u64) {
        let generation = self.table.generation();
        let mut dropped = std::mem::take(&mut self.ended.dropped);
        for Dropped { frame, reason, datagram } in dropped.drain(..) {
            let port = usize::from(datagram.port);
            let hop = self.hop(port);
            let key = PacketKey {
                src: datagram.src,
                dst: datagram.dst,
                protocol: datagram.protocol,
                from_zone: hop.from_zone,
                to_zone: hop.to_zone,
                vlan: outer_vlan(datagram.vlan),
                ip: IpBits::new(datagram.family).with_fragment(true),
                ..PacketKey::empty(datagram.family)
            };
            self.tally.released(port, 1);
            self.tally.dropped(port, reason);
            self.recent.push(DroppedPacket {
                at: now,
                port,
                reason,
                key: Some(key),
                rule: None,
                generation,
                length: self.ports.view(&frame).wire_len,
            });
            self.ports.recycle(frame);
        }
        self.ended.dropped = dropped;
    }
}

fn fragment_of(parsed: Result<Parsed, DropReason>) -> Option<(Parsed, IpPacket, Fragment)> {
    match parsed {
        Ok(parsed @ Parsed { content: Content::Ip(packet), .. }) => {
            Some((parsed, packet, packet.fragment?))
        }
        _ => None,
    }
}
