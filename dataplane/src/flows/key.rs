//! What a packet is known by: to its flow, and to the rules.

use crate::flowtable::{Direction, End, FlowKey, Opening};
use crate::parse::{Echo, IpPacket, Parsed, outer_vlan, protocol};
use classifier::{Family, IpBits, PacketKey, ZoneId};

/// Where a packet is on its way: the port it came in by, the one it would leave by, and their
/// zones. Ports are numbered within the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// Port of arrival.
    pub ingress: u16,
    /// Port it would leave by.
    pub egress: u16,
    /// Zone of the port of arrival.
    pub from_zone: ZoneId,
    /// Zone of the other.
    pub to_zone: ZoneId,
}

impl Hop {
    /// The way back.
    pub fn reversed(self) -> Hop {
        Hop {
            ingress: self.egress,
            egress: self.ingress,
            from_zone: self.to_zone,
            to_zone: self.from_zone,
        }
    }
}

/// The flow that `packet` belongs to or would open, and its direction there; `None` for ICMP messages
/// that neither ask nor answer. `vlan` is [`Parsed::vlan`].
///
/// ICMP requests with the same identifier that go in opposite directions are different flows, so the
/// end that asks comes first; it has the identifier for a port, and the other one what is asked.
#[inline]
pub(crate) fn flow_key(packet: &IpPacket, vlan: u32, hop: Hop) -> Option<(FlowKey, Direction)> {
    let source = End { address: packet.src, port: packet.src_port, side: hop.ingress };
    let target = End { address: packet.dst, port: packet.dst_port, side: hop.egress };
    if !matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) {
        return Some(FlowKey::between(source, target, packet.protocol, vlan, packet.family));
    }
    let echo = packet.echo()?;
    Some(echo_key([source, target], echo, packet.protocol, vlan, packet.family))
}

/// The flow of an ICMP request or reply from the first to the second of `ends`.
#[inline]
pub(super) fn echo_key(
    [source, target]: [End; 2],
    Echo { request, id, asks }: Echo,
    protocol: u8,
    vlan: u32,
    family: Family,
) -> (FlowKey, Direction) {
    let (asking, answering, direction) = if request {
        (source, target, Direction::Forward)
    } else {
        (target, source, Direction::Reverse)
    };
    let asking = End { port: id, ..asking };
    let answering = End { port: u16::from_be_bytes(asks), ..answering };
    (FlowKey::ordered(asking, answering, protocol, vlan, family), direction)
}

/// What rules are asked about `packet`, which was parsed as `parsed` or put together from fragments
/// of which that was the last to arrive.
#[inline]
pub(crate) fn packet_key(parsed: &Parsed, packet: &IpPacket, hop: Hop) -> PacketKey {
    PacketKey {
        src: packet.src,
        dst: packet.dst,
        protocol: packet.protocol,
        src_port: packet.src_port,
        dst_port: packet.dst_port,
        from_zone: hop.from_zone,
        to_zone: hop.to_zone,
        vlan: outer_vlan(parsed.vlan),
        tcp_flags: u16::from(packet.tcp_flags()),
        ip: ip_bits(packet),
        length: packet.length,
        src_mac: parsed.src_mac,
        dst_mac: parsed.dst_mac,
        ..PacketKey::empty(packet.family)
    }
}

/// A datagram that was put together is a fragment to the rules: they can still treat it as one.
#[inline]
fn ip_bits(packet: &IpPacket) -> IpBits {
    let fragment = packet.reassembled || packet.is_partial();
    IpBits::new(packet.family).with_dscp(packet.dscp).with_fragment(fragment)
}

/// What a flow keeps of the packet that opens it.
pub(crate) fn opening(parsed: &Parsed, packet: &IpPacket) -> Opening {
    Opening {
        src_mac: parsed.src_mac,
        dst_mac: parsed.dst_mac,
        length: packet.length,
        ip: ip_bits(packet),
        tcp_flags: packet.tcp_flags(),
    }
}

/// What rules were asked about the first packet of the flow `key`, which went in direction `opened`
/// between these zones.
pub(crate) fn opening_key(
    key: &FlowKey,
    opened: Direction,
    opening: &Opening,
    from_zone: ZoneId,
    to_zone: ZoneId,
) -> PacketKey {
    let [first, second] = key.ends();
    let [source, target] = match opened {
        Direction::Forward => [first, second],
        Direction::Reverse => [second, first],
    };
    let (src_port, dst_port) = match key.protocol() {
        // Type and code of the request.
        protocol::ICMP | protocol::ICMPV6 => (second.1 >> 8, second.1 & 0xff),
        _ => (source.1, target.1),
    };
    PacketKey {
        src: source.0,
        dst: target.0,
        protocol: key.protocol(),
        src_port,
        dst_port,
        from_zone,
        to_zone,
        vlan: outer_vlan(key.vlan()),
        tcp_flags: u16::from(opening.tcp_flags),
        ip: opening.ip,
        length: opening.length,
        src_mac: opening.src_mac,
        dst_mac: opening.dst_mac,
        ..PacketKey::empty(key.family())
    }
}
