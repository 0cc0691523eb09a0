//! Packets inside of packets: VXLAN (RFC 7348), GENEVE (RFC 8926) and GRE (RFC 2784, RFC 2890).
//!
//! A pass of its own over packets that are read already, so that gateways that do not look inside
//! pay nothing for those that do. What the tunnel's sender must leave zero has to be zero here,
//! although receivers ignore it: extensions live there, and what they mean is for nobody to guess.

use super::checksum::{is_right, sum};
use super::ethernet::{self, IPV4, IPV6};
use super::span::{Span, be16, be32};
use super::{Checksums, Content, FrameView, IpPacket, ParseOptions, Parsed, ipv4, ipv6, protocol};
use crate::verdict::DropReason;

/// Transparent Ethernet bridging (RFC 1701, RFC 8926): the EtherType of a frame in a packet.
const BRIDGED: u16 = 0x6558;

/// A protocol that carries packets in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// UDP to port 4789 (RFC 7348).
    Vxlan,
    /// UDP to port 6081 (RFC 8926).
    Geneve,
    /// IP protocol 47 (RFC 2784).
    Gre,
}

impl Tunnel {
    /// The tunnel that `packet` belongs to by its protocol and port, if it does.
    ///
    /// A fragment has no port, and what it carries is known only when its datagram is whole.
    #[inline]
    pub fn of(packet: &IpPacket) -> Option<Tunnel> {
        match (packet.protocol, packet.dst_port) {
            _ if packet.is_partial() => None,
            (protocol::UDP, 4789) => Some(Tunnel::Vxlan),
            (protocol::UDP, 6081) => Some(Tunnel::Geneve),
            (protocol::GRE, _) => Some(Tunnel::Gre),
            _ => None,
        }
    }
}

/// A set of tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tunnels(u8);

impl Tunnels {
    /// No tunnel.
    pub const NONE: Self = Tunnels(0);

    /// The set with `tunnel` in it as well.
    #[must_use]
    pub const fn with(self, tunnel: Tunnel) -> Self {
        Tunnels(self.0 | 1 << tunnel as u8)
    }

    /// Whether `tunnel` is in the set.
    pub const fn contains(self, tunnel: Tunnel) -> bool {
        self.0 >> (tunnel as u8) & 1 == 1
    }

    /// Whether there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a tunnel packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// How.
    pub tunnel: Tunnel,
    /// The network identifier of VXLAN and GENEVE (24 bits), or the key of GRE; 0 for none.
    pub id: u32,
    /// The frame in the packet, to be judged in the place of the one that brought it: always an IP
    /// packet that is no fragment. Where the tunnel carries packets without frames, the hardware
    /// addresses and VLANs are those of the outer frame. Offsets are from the start of the outer
    /// frame.
    pub parsed: Parsed,
}

/// Reads what the packet of `parsed`, which was read from `frame`, carries, if it belongs to a
/// tunnel of [`ParseOptions::inside`].
///
/// What is inside is read as strictly as what is outside; a tunnel in it is not looked into. Fragments
/// inside, ARP and everything else that is not IP are refused: there is no rule to judge them by. Of
/// a fragment of a tunnel packet nothing is read; its datagram, when it is whole, has a
/// [`Tunnel::of`].
///
/// # Errors
/// [`DropReason::TunnelHeader`] and [`DropReason::TunnelInner`], or [`DropReason::CaptureCut`].
#[inline]
pub fn inner(
    frame: FrameView<'_>,
    parsed: &Parsed,
    options: &ParseOptions,
) -> Result<Option<Inner>, DropReason> {
    if options.inside.is_empty() {
        return Ok(None);
    }
    let Content::Ip(packet) = &parsed.content else { return Ok(None) };
    let Some(tunnel) = Tunnel::of(packet).filter(|tunnel| options.inside.contains(*tunnel)) else {
        return Ok(None);
    };
    read(frame, parsed, packet, tunnel, options).map(Some)
}

fn read(
    frame: FrameView<'_>,
    outer: &Parsed,
    packet: &IpPacket,
    tunnel: Tunnel,
    options: &ParseOptions,
) -> Result<Inner, DropReason> {
    let len = (frame.wire_len as usize).max(frame.bytes.len());
    let l4 =
        Span { bytes: frame.bytes, len }.skip(packet.l4_offset.into()).limit(packet.l4_len.into());
    let Header { id, ethertype, len } = match tunnel {
        Tunnel::Vxlan => vxlan(l4)?,
        Tunnel::Geneve => geneve(l4)?,
        Tunnel::Gre => gre(l4, options.checksums)?,
    };
    let (payload, start) = (l4.skip(len), usize::from(packet.l4_offset) + len);
    let parsed = carried(payload, start, ethertype, outer, options).map_err(|reason| {
        if reason == DropReason::CaptureCut { reason } else { DropReason::TunnelInner }
    })?;
    Ok(Inner { tunnel, id, parsed })
}

/// What `payload`, which starts at byte `start` of the outer frame, holds. Reasons are those of what
/// is inside.
fn carried(
    payload: Span<'_>,
    start: usize,
    ethertype: u16,
    outer: &Parsed,
    options: &ParseOptions,
) -> Result<Parsed, DropReason> {
    let mut parsed = match ethertype {
        BRIDGED => ethernet::read(payload, start, options)?,
        IPV4 | IPV6 => {
            let packet = match ethertype {
                IPV4 => ipv4::parse(payload, start, options)?,
                _ => ipv6::parse(payload, start, options)?,
            };
            // Frames are padded, packets are not: bytes behind would reach nobody but by mistake.
            let end = usize::from(packet.l4_offset) + usize::from(packet.l4_len);
            if end != start + payload.len {
                return Err(DropReason::TunnelInner);
            }
            Parsed { content: Content::Ip(packet), ..*outer }
        }
        _ => return Err(DropReason::TunnelInner),
    };
    match &mut parsed.content {
        Content::Ip(packet) if !packet.is_partial() => {
            // What passes unasked on a link is asked for in a tunnel: its other end may be anywhere.
            packet.neighbour_discovery = false;
            Ok(parsed)
        }
        _ => Err(DropReason::TunnelInner),
    }
}

/// What a tunnel's header says.
struct Header {
    id: u32,
    /// EtherType of what follows.
    ethertype: u16,
    /// Bytes from the transport header to what follows.
    len: usize,
}

const UDP_HEADER: usize = 8;

/// RFC 7348, 5: the I flag, 24 bits of identifier, and zeroes.
fn vxlan(l4: Span<'_>) -> Result<Header, DropReason> {
    let header = l4.skip(UDP_HEADER).header::<8>(DropReason::TunnelHeader)?;
    let [flags, a, b, c, .., last] = *header;
    if flags != 0x08 || [a, b, c, last] != [0; 4] {
        return Err(DropReason::TunnelHeader);
    }
    let id = be32::<4, _>(header) >> 8;
    Ok(Header { id, ethertype: BRIDGED, len: UDP_HEADER + 8 })
}

/// RFC 8926, 3.4: version 0; how long the options are; the flags O and C; the protocol; the
/// identifier.
fn geneve(l4: Span<'_>) -> Result<Header, DropReason> {
    const CONTROL: u8 = 0x80;
    const CRITICAL: u8 = 0x40;
    let l4 = l4.skip(UDP_HEADER);
    let header = l4.header::<8>(DropReason::TunnelHeader)?;
    let [version_len, flags, .., last] = *header;
    if version_len >> 6 != 0 || flags & !(CONTROL | CRITICAL) != 0 || last != 0 {
        return Err(DropReason::TunnelHeader);
    }
    let len = 8 + usize::from(version_len & 0x3f) * 4;
    let critical = options(&l4.prefix(len, DropReason::TunnelHeader)?[8..])?;
    if critical != (flags & CRITICAL != 0) {
        return Err(DropReason::TunnelHeader);
    }
    // Nobody on the way may interpret what a control packet carries.
    if flags & CONTROL != 0 {
        return Err(DropReason::TunnelInner);
    }
    let (id, ethertype) = (be32::<4, _>(header) >> 8, be16::<2, _>(header));
    Ok(Header { id, ethertype, len: UDP_HEADER + len })
}

/// Whether an option is critical. They fill their place exactly (RFC 8926, 3.5).
fn options(mut rest: &[u8]) -> Result<bool, DropReason> {
    let mut critical = false;
    while !rest.is_empty() {
        let [_, _, kind, len, ..] = *rest else { return Err(DropReason::TunnelHeader) };
        // Three reserved bits stand before the length.
        let len = if len >> 5 == 0 { 4 + usize::from(len) * 4 } else { usize::MAX };
        rest = rest.get(len..).ok_or(DropReason::TunnelHeader)?;
        critical |= kind & 0x80 != 0;
    }
    Ok(critical)
}

/// RFC 2784, 2.1 and RFC 2890, 2: the flags C, K and S; version 0; the protocol; and checksum, key
/// and sequence number where the flags say so.
fn gre(l4: Span<'_>, checksums: Checksums) -> Result<Header, DropReason> {
    const CHECKSUM: u16 = 1 << 15;
    const KEY: u16 = 1 << 13;
    const SEQUENCE: u16 = 1 << 12;
    let header = l4.header::<4>(DropReason::TunnelHeader)?;
    let flags = be16::<0, _>(header);
    if flags & !(CHECKSUM | KEY | SEQUENCE) != 0 {
        return Err(DropReason::TunnelHeader);
    }
    let mut len = 4;
    let mut word = |flag: u16| {
        if flags & flag == 0 {
            return Ok(0);
        }
        let word = l4.skip(len).header::<4>(DropReason::TunnelHeader)?;
        len += 4;
        Ok(be32::<0, _>(word))
    };
    // Its low half is reserved.
    let checksum = word(CHECKSUM)? as u16 == 0;
    let (id, _) = (word(KEY)?, word(SEQUENCE)?);
    let whole = flags & CHECKSUM != 0 && checksums != Checksums::Off && l4.whole();
    if !checksum || whole && !is_right(sum(l4.bytes)) {
        return Err(DropReason::TunnelHeader);
    }
    Ok(Header { id, ethertype: be16::<2, _>(header), len })
}
