//! What two packets of one flow have in common.

use crate::parse::{IpPacket, outer_vlan, protocol};
use classifier::{Family, PacketKey, ZoneId};

/// Where a packet is on its way: the port it came in by, the one it would leave by, and their
/// zones. Ports are numbered within the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Port of arrival.
    pub ingress: u16,
    /// Port it would leave by.
    pub egress: u16,
    /// Zone of the port of arrival.
    pub from_zone: ZoneId,
    /// Zone of the other.
    pub to_zone: ZoneId,
}

/// Which way a packet goes through its flow.
///
/// The key has two ends in an order that both directions agree on: for ICMP echo the requester
/// comes first, for everything else the end with the lower address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first end of the key to the second.
    Forward,
    /// From the second to the first.
    Reverse,
}

/// Identity of a flow, the same for both of its directions. 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    first: u128,
    second: u128,
    /// Ports of the two ends; an echo carries its identifier in the first.
    first_port: u16,
    second_port: u16,
    /// [`Parsed::vlan`](crate::parse::Parsed::vlan).
    vlan: u32,
    /// The worker's port behind which the first end lives: a packet from the wrong side is another
    /// flow.
    first_side: u16,
    /// The worker's port behind which the second end lives.
    second_side: u16,
    protocol: u8,
    family: Family,
}

impl FlowKey {
    /// The key of `packet` and its direction; `None` for ICMP messages that have no flow (all but
    /// echo), which are judged one by one.
    #[inline]
    pub fn of(packet: &IpPacket, vlan: u32, hop: Hop) -> Option<(FlowKey, Direction)> {
        let mut source = (packet.src, packet.src_port, hop.ingress);
        let mut target = (packet.dst, packet.dst_port, hop.egress);
        let direction = if is_icmp(packet.protocol) {
            let echo = packet.echo()?;
            source.1 = if echo.request { echo.id } else { 0 };
            target.1 = if echo.request { 0 } else { echo.id };
            if echo.request { Direction::Forward } else { Direction::Reverse }
        } else if source <= target {
            Direction::Forward
        } else {
            Direction::Reverse
        };
        let (first, second) = match direction {
            Direction::Forward => (source, target),
            Direction::Reverse => (target, source),
        };
        let key = FlowKey {
            first: first.0,
            second: second.0,
            first_port: first.1,
            second_port: second.1,
            vlan,
            first_side: first.2,
            second_side: second.2,
            protocol: packet.protocol,
            family: packet.family,
        };
        Some((key, direction))
    }

    /// Whether `packet` may open the flow that its key names. An echo reply may not: its flow's
    /// other direction is a request that no rule was asked about.
    #[inline]
    pub fn may_open(packet: &IpPacket) -> bool {
        packet.echo().is_none_or(|echo| echo.request)
    }

    /// IP protocol.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The worker's port by which packets in `direction` arrive.
    pub fn ingress(&self, direction: Direction) -> u16 {
        match direction {
            Direction::Forward => self.first_side,
            Direction::Reverse => self.second_side,
        }
    }

    /// The key that rules are asked about for a flow opened in `direction` between these zones:
    /// what its first packet was judged by.
    pub fn opening(&self, direction: Direction, from_zone: ZoneId, to_zone: ZoneId) -> PacketKey {
        let ends = [(self.first, self.first_port), (self.second, self.second_port)];
        let [source, target] = match direction {
            Direction::Forward => ends,
            Direction::Reverse => [ends[1], ends[0]],
        };
        let (src_port, dst_port) = match self.protocol {
            // Type and code of an echo request.
            protocol::ICMP => (8, 0),
            protocol::ICMPV6 => (128, 0),
            _ => (source.1, target.1),
        };
        PacketKey {
            src: source.0,
            dst: target.0,
            protocol: self.protocol,
            src_port,
            dst_port,
            from_zone,
            to_zone,
            vlan: outer_vlan(self.vlan),
            ..PacketKey::empty(self.family)
        }
    }
}

fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, protocol::ICMP | protocol::ICMPV6)
}

/// What rules are asked about for one packet; `vlan` is [`Parsed::vlan`](crate::parse::Parsed::vlan).
#[inline]
pub(crate) fn packet_key(packet: &IpPacket, vlan: u32, hop: Hop) -> PacketKey {
    PacketKey {
        src: packet.src,
        dst: packet.dst,
        protocol: packet.protocol,
        src_port: packet.src_port,
        dst_port: packet.dst_port,
        from_zone: hop.from_zone,
        to_zone: hop.to_zone,
        vlan: outer_vlan(vlan),
        tcp_flags: u16::from(packet.tcp_flags()),
        dscp: packet.dscp,
        fragment: packet.is_partial(),
        ..PacketKey::empty(packet.family)
    }
}
