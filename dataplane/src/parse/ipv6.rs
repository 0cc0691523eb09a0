//! The IPv6 header (RFC 8200).

use super::extensions::{self, Chain, HOP_BY_HOP};
use super::span::{Span, be16, be128};
use super::{IpPacket, L4, ParseOptions, addresses, checksum, protocol, transport};
use crate::verdict::DropReason;
use classifier::Family;

/// Reads the packet in `l3`, which starts at byte `start` of the frame. Bytes behind its payload
/// length are padding of the frame.
#[inline]
pub(super) fn parse(
    l3: Span<'_>,
    start: usize,
    options: &ParseOptions,
) -> Result<IpPacket, DropReason> {
    let header = l3.header::<40>(DropReason::Ipv6Header)?;
    if header[0] >> 4 != 6 {
        return Err(DropReason::Ipv6Header);
    }
    let payload_len = be16::<4, _>(header);
    // RFC 2675, 3: length 0 before a hop-by-hop header announces a length in its jumbo option, and
    // without one there is no room for the header.
    if payload_len == 0 && header[6] == HOP_BY_HOP {
        return Err(DropReason::Ipv6Jumbogram);
    }
    let payload = l3.skip(40);
    if usize::from(payload_len) > payload.len {
        return Err(DropReason::Ipv6Length);
    }
    if header[7] == 0 {
        return Err(DropReason::HopLimitZero);
    }
    let payload = payload.limit(usize::from(payload_len));
    let chain = match header[6] {
        protocol::TCP | protocol::UDP | protocol::ICMPV6 => Chain::none(header[6]),
        first => extensions::walk(first, payload, start + 40, options)?,
    };
    let l4 = payload.skip(chain.len);
    let mut found = IpPacket {
        src: be128::<8, _>(header),
        dst: be128::<24, _>(header),
        family: Family::V6,
        protocol: chain.protocol,
        // The traffic class lies across the first two bytes; its upper six bits are the code point.
        dscp: (be16::<0, _>(header) >> 6 & 0x3f) as u8,
        hop_limit: header[7],
        length: payload_len.saturating_add(40),
        src_port: 0,
        dst_port: 0,
        l4: L4::None,
        fragment: chain.fragment,
        reassembled: false,
        l4_offset: (start + 40 + chain.len) as u16,
        l4_len: l4.len as u16,
        neighbour_discovery: false,
    };
    if let Some(fragment) = chain.fragment
        && !fragment.is_atomic()
    {
        if fragment.offset == 0 {
            transport::whole_header(found.protocol, l4, DropReason::Ipv6FirstFragment)?;
        }
        found.l4_offset = fragment.payload_offset;
        found.l4_len = fragment.payload_len;
        addresses::check(&found)?;
        return Ok(found);
    }
    transport::parse(&mut found, l4)?;
    // RFC 4861, 7.1: hop limit 255 shows that no router forwarded it. A solicitation or
    // advertisement takes 24 bytes; behind extension headers it is judged by the policy instead.
    found.neighbour_discovery = found.protocol == protocol::ICMPV6
        && chain.len == 0
        && header[7] == 255
        && payload_len >= 24
        && matches!(found.src_port, 135 | 136)
        && found.dst_port == 0;
    addresses::check(&found)?;
    // RFC 8200, 8.1: the pseudo-header names the end of the route.
    let addresses = (!chain.routed_on).then_some(&header[8..40]);
    checksum::verify(&found, addresses, l4, options.checksums)?;
    Ok(found)
}
