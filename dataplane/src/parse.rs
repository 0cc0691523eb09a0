//! From the bytes of a frame to the facts that flows and rules look at.
//!
//! Memory-safe, bounded, and it never guesses: a header that cannot be read whole is a
//! [`DropReason`]. Lengths are checked against the frame as it was on the wire, so that a capture
//! cut by a snap length is judged by its headers when those are whole.

use crate::verdict::DropReason;
use classifier::Family;

/// IP protocol numbers (IANA) that are looked into.
pub(crate) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
}

/// TCP flag bits (RFC 9293, 3.1).
pub(crate) mod tcp_flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const MAX_VLAN_TAGS: usize = 2;
/// RFC 8200 names seven extension headers and lets only destination options come twice.
const MAX_EXTENSION_HEADERS: usize = 8;

/// One frame as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// The bytes there are.
    pub bytes: &'a [u8],
    /// Its length on the wire: more than `bytes` only when a capture cut it.
    pub wire_len: u32,
}

/// What kind of packet a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// IPv4 or IPv6, with its headers read.
    Ip(IpPacket),
    /// ARP (RFC 826).
    Arp,
    /// Another EtherType, or the length field of an 802.3 frame.
    Other(u16),
}

/// A parsed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// VLAN identifiers: the inner or only tag's in the low half, the outer one's of two in the
    /// high half; 0 where there is no tag, or one that carries a priority only.
    pub vlan: u32,
    /// What it carries.
    pub content: Content,
}

/// The headers of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPacket {
    /// Source address, in the low bits.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Address family.
    pub family: Family,
    /// Protocol of the last header read.
    pub protocol: u8,
    /// Source port, or ICMP type.
    pub src_port: u16,
    /// Destination port, or ICMP code.
    pub dst_port: u16,
    /// TCP flags, or 0.
    pub tcp_flags: u8,
    /// Identifier of an ICMP echo, if it is one.
    pub echo: Option<Echo>,
    /// A neighbour solicitation or advertisement that cannot have crossed a router.
    pub neighbour_discovery: bool,
}

/// An ICMP or ICMPv6 echo message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Whether it is the request.
    pub request: bool,
    /// Its identifier.
    pub id: u16,
}

/// Reads the headers of a frame.
///
/// # Errors
/// The [`DropReason`] for which a packet like this is dropped.
#[inline]
pub fn parse(frame: FrameView<'_>) -> Result<Parsed, DropReason> {
    let cut = frame.bytes.len() < frame.wire_len as usize;
    parse_ethernet(frame).map_err(|short| short.reason(cut))
}

/// Why parsing stopped: bytes missing (which a cut capture explains), or bytes that are wrong.
enum Stop {
    Short(DropReason),
    Wrong(DropReason),
}

impl Stop {
    fn reason(self, cut: bool) -> DropReason {
        match self {
            Stop::Short(_) if cut => DropReason::CaptureCut,
            Stop::Short(reason) | Stop::Wrong(reason) => reason,
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn parse_ethernet(frame: FrameView<'_>) -> Result<Parsed, Stop> {
    let FrameView { bytes, wire_len } = frame;
    let short = || Stop::Short(DropReason::EthernetHeader);
    let mut at = 12;
    let mut vlan = 0u32;
    let mut tags = 0;
    let mut ethertype = be16(bytes, at).ok_or_else(short)?;
    while ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ {
        if tags == MAX_VLAN_TAGS {
            return Err(Stop::Wrong(DropReason::VlanDepth));
        }
        let id = be16(bytes, at + 2).ok_or_else(short)? & 0x0fff;
        vlan = vlan << 16 | u32::from(id);
        at += 4;
        tags += 1;
        ethertype = be16(bytes, at).ok_or_else(short)?;
    }
    let l3 = FrameView {
        bytes: &bytes[at + 2..],
        // A capture record may claim a wire length below what it holds; the bytes win.
        wire_len: wire_len.max(bytes.len() as u32) - (at as u32 + 2),
    };
    let content = match ethertype {
        ETHERTYPE_IPV4 => Content::Ip(parse_ipv4(l3)?),
        ETHERTYPE_IPV6 => Content::Ip(parse_ipv6(l3)?),
        ETHERTYPE_ARP => Content::Arp,
        other => Content::Other(other),
    };
    Ok(Parsed { vlan, content })
}

fn parse_ipv4(l3: FrameView<'_>) -> Result<IpPacket, Stop> {
    let wrong = Stop::Wrong(DropReason::Ipv4Header);
    let Some(header) = l3.bytes.first_chunk::<20>() else {
        return Err(Stop::Short(DropReason::Ipv4Header));
    };
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < 20 {
        return Err(wrong);
    }
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if total_len < header_len || total_len > l3.wire_len as usize {
        return Err(Stop::Wrong(DropReason::Ipv4Length));
    }
    // More Fragments, or an offset: a piece of a datagram (RFC 791, 3.1). Don't Fragment and the
    // reserved bit are not looked at.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Err(Stop::Wrong(DropReason::Fragment));
    }
    if l3.bytes.len() < header_len {
        return Err(Stop::Short(DropReason::Ipv4Header));
    }
    let address = |at: usize| {
        u128::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))
    };
    let mut packet = IpPacket {
        src: address(12),
        dst: address(16),
        family: Family::V4,
        protocol: header[9],
        src_port: 0,
        dst_port: 0,
        tcp_flags: 0,
        echo: None,
        neighbour_discovery: false,
    };
    let end = total_len.min(l3.bytes.len());
    parse_transport(&mut packet, &l3.bytes[header_len..end], total_len - header_len)?;
    Ok(packet)
}

fn parse_ipv6(l3: FrameView<'_>) -> Result<IpPacket, Stop> {
    let Some(header) = l3.bytes.first_chunk::<40>() else {
        return Err(Stop::Short(DropReason::Ipv6Header));
    };
    if header[0] >> 4 != 6 {
        return Err(Stop::Wrong(DropReason::Ipv6Header));
    }
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let hop_by_hop = header[6] == 0;
    // Length 0 before a hop-by-hop header announces a jumbogram (RFC 2675).
    if 40 + payload_len > l3.wire_len as usize || (payload_len == 0 && hop_by_hop) {
        return Err(Stop::Wrong(DropReason::Ipv6Length));
    }
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        u128::from_be_bytes(octets)
    };
    let end = (40 + payload_len).min(l3.bytes.len());
    let payload = &l3.bytes[40..end];
    let (protocol, offset) = walk_extensions(header[6], payload, payload_len)?;
    let mut packet = IpPacket {
        src: address(8),
        dst: address(24),
        family: Family::V6,
        protocol,
        src_port: 0,
        dst_port: 0,
        tcp_flags: 0,
        echo: None,
        neighbour_discovery: false,
    };
    let transport = payload.get(offset..).unwrap_or_default();
    parse_transport(&mut packet, transport, payload_len - offset)?;
    // RFC 4861, 7.1: hop limit 255 shows that no router forwarded it. A solicitation or
    // advertisement takes 24 bytes; behind extension headers it is judged by the policy instead.
    packet.neighbour_discovery = protocol == self::protocol::ICMPV6
        && offset == 0
        && header[7] == 255
        && payload_len >= 24
        && matches!(packet.src_port, 135 | 136)
        && packet.dst_port == 0;
    Ok(packet)
}

/// Follows the chain of extension headers (RFC 8200, 4). The protocol at its end and the offset of
/// that header in `payload`, of which `payload_len` bytes were on the wire.
fn walk_extensions(first: u8, payload: &[u8], payload_len: usize) -> Result<(u8, usize), Stop> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;
    const MOBILITY: u8 = 135;
    const HIP: u8 = 139;
    const SHIM6: u8 = 140;

    let wrong = || Stop::Wrong(DropReason::Ipv6Extensions);
    let mut next = first;
    let mut offset = 0;
    for nth in 0..=MAX_EXTENSION_HEADERS {
        match next {
            HOP_BY_HOP if nth > 0 => return Err(wrong()),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 => {}
            FRAGMENT => return Err(Stop::Wrong(DropReason::Fragment)),
            protocol => return Ok((protocol, offset)),
        }
        if offset + 8 > payload_len {
            return Err(wrong());
        }
        let Some(&[following, length]) = payload.get(offset..offset + 2) else {
            return Err(Stop::Short(DropReason::Ipv6Extensions));
        };
        offset += 8 + usize::from(length) * 8;
        if offset > payload_len {
            return Err(wrong());
        }
        next = following;
    }
    Err(wrong())
}

/// Reads the transport header in `bytes`, of which `wire_len` bytes were on the wire.
fn parse_transport(packet: &mut IpPacket, bytes: &[u8], wire_len: usize) -> Result<(), Stop> {
    match packet.protocol {
        protocol::TCP => {
            let header = header::<20>(bytes, wire_len, DropReason::TcpHeader)?;
            let header_len = usize::from(header[12] >> 4) * 4;
            if header_len < 20 || header_len > wire_len {
                return Err(Stop::Wrong(DropReason::TcpHeader));
            }
            read_ports(packet, header);
            packet.tcp_flags = header[13];
        }
        protocol::UDP => {
            let header = header::<8>(bytes, wire_len, DropReason::UdpHeader)?;
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            if length < 8 || length > wire_len {
                return Err(Stop::Wrong(DropReason::UdpHeader));
            }
            read_ports(packet, header);
        }
        protocol::SCTP => {
            let header = header::<12>(bytes, wire_len, DropReason::SctpHeader)?;
            read_ports(packet, header);
        }
        protocol::ICMP if packet.family == Family::V4 => {
            read_icmp(packet, bytes, wire_len, 8, 0)?;
        }
        protocol::ICMPV6 if packet.family == Family::V6 => {
            read_icmp(packet, bytes, wire_len, 128, 129)?;
        }
        _ => {}
    }
    Ok(())
}

/// The first `N` bytes, or why they are not there: the packet is too short, or the capture.
fn header<const N: usize>(
    bytes: &[u8],
    wire_len: usize,
    reason: DropReason,
) -> Result<&[u8; N], Stop> {
    if wire_len < N {
        return Err(Stop::Wrong(reason));
    }
    bytes.first_chunk::<N>().ok_or(Stop::Short(reason))
}

fn read_ports<const N: usize>(packet: &mut IpPacket, header: &[u8; N]) {
    packet.src_port = u16::from_be_bytes([header[0], header[1]]);
    packet.dst_port = u16::from_be_bytes([header[2], header[3]]);
}

/// Every ICMP message has eight bytes of header (RFC 792), and so does every ICMPv6 message in use
/// (RFC 4443, RFC 4861, RFC 3810).
fn read_icmp(
    packet: &mut IpPacket,
    bytes: &[u8],
    wire_len: usize,
    echo_request: u8,
    echo_reply: u8,
) -> Result<(), Stop> {
    let header = header::<8>(bytes, wire_len, DropReason::IcmpHeader)?;
    let [kind, code] = [header[0], header[1]];
    packet.src_port = u16::from(kind);
    packet.dst_port = u16::from(code);
    if code == 0 && (kind == echo_request || kind == echo_reply) {
        let id = u16::from_be_bytes([header[4], header[5]]);
        packet.echo = Some(Echo { request: kind == echo_request, id });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
