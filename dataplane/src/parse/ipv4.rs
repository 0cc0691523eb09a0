//! The IPv4 header (RFC 791) and its options.

use super::option_list::next_option;
use super::span::{Span, be16, be32};
use super::{
    Checksums, Fragment, IpPacket, Ipv4Options, L4, ParseOptions, addresses, checksum, transport,
};
use crate::verdict::DropReason;
use classifier::Family;

const RESERVED: u16 = 0x8000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Reads the packet in `l3`, which starts at byte `start` of the frame. Bytes behind its total
/// length are padding of the frame (RFC 894).
#[inline]
pub(super) fn parse(
    l3: Span<'_>,
    start: usize,
    options: &ParseOptions,
) -> Result<IpPacket, DropReason> {
    let header = l3.header::<20>(DropReason::Ipv4Header)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < 20 {
        return Err(DropReason::Ipv4Header);
    }
    let length = be16::<2, _>(header);
    let packet = l3.limit(usize::from(length));
    if usize::from(length) < header_len || usize::from(length) > l3.len {
        return Err(DropReason::Ipv4Length);
    }
    let mut sum = checksum::sum(header);
    let mut option_bytes: &[u8] = &[];
    if header_len > 20 {
        // The cut of a capture is the only thing that can be in the way.
        option_bytes = &packet.prefix(header_len, DropReason::Ipv4Header)?[20..];
        sum += checksum::sum(option_bytes);
    }
    if options.checksums != Checksums::Off && !checksum::is_right(sum) {
        return Err(DropReason::Ipv4Checksum);
    }
    let flags = be16::<6, _>(header);
    if flags & RESERVED != 0 {
        return Err(DropReason::Ipv4ReservedFlag);
    }
    if header[8] == 0 {
        return Err(DropReason::HopLimitZero);
    }
    // A source route that is not used up ends at an address other than the header's.
    let routed_on = header_len > 20 && check_options(option_bytes, options.ipv4_options)?;
    let l4 = packet.skip(header_len);
    let mut found = IpPacket {
        src: u128::from(be32::<12, _>(header)),
        dst: u128::from(be32::<16, _>(header)),
        family: Family::V4,
        protocol: header[9],
        dscp: header[1] >> 2,
        hop_limit: header[8],
        length,
        src_port: 0,
        dst_port: 0,
        l4: L4::None,
        fragment: None,
        reassembled: false,
        l4_offset: (start + header_len) as u16,
        l4_len: l4.len as u16,
        neighbour_discovery: false,
    };
    // Don't Fragment may stand beside an offset: Linux itself sends such fragments when it puts a
    // datagram together and must cut it again (net/ipv4/ip_fragment.c, IPSKB_FRAG_PMTU).
    if flags & (MORE_FRAGMENTS | OFFSET) != 0 {
        found.fragment = Some(Fragment {
            id: u32::from(be16::<4, _>(header)),
            offset: (flags & OFFSET) << 3,
            more: flags & MORE_FRAGMENTS != 0,
            next: found.protocol,
            header_len: header_len as u16,
            payload_offset: found.l4_offset,
            payload_len: found.l4_len,
        });
        addresses::check(&found)?;
        return Ok(found);
    }
    transport::parse(&mut found, l4)?;
    addresses::check(&found)?;
    // The pseudo-header names the end of the route.
    let addresses = (!routed_on).then_some(&header[12..20]);
    checksum::verify(&found, addresses, l4, options.checksums)?;
    Ok(found)
}

/// Checks the options of a header (RFC 791, 3.1). Whether a source route among them leads on to
/// another address than the header's destination.
///
/// Padding alone is refused as well: nothing but an option needs it.
#[cold]
fn check_options(mut rest: &[u8], allowed: Ipv4Options) -> Result<bool, DropReason> {
    const MALFORMED: DropReason = DropReason::Ipv4OptionMalformed;
    let mut seen = Ipv4Options::NONE;
    let mut refused = false;
    let mut routed_on = false;
    while let Some(option) = next_option(&mut rest, MALFORMED)? {
        let [kind, _, data @ ..] = option else { return Err(MALFORMED) };
        let (found, exclusive) = match *kind {
            7 => (Ipv4Options::RECORD_ROUTE, Ipv4Options::RECORD_ROUTE),
            68 => (Ipv4Options::TIMESTAMP, Ipv4Options::TIMESTAMP),
            131 => (Ipv4Options::LOOSE_SOURCE_ROUTE, SOURCE_ROUTES),
            137 => (Ipv4Options::STRICT_SOURCE_ROUTE, SOURCE_ROUTES),
            148 => (Ipv4Options::ROUTER_ALERT, Ipv4Options::ROUTER_ALERT),
            _ => {
                refused = true;
                continue;
            }
        };
        // Two of a kind, and two source routes of either kind (RFC 1812, 5.2.4.1).
        if seen.overlaps(exclusive) {
            return Err(MALFORMED);
        }
        seen = seen.with(found);
        refused |= !allowed.contains(found);
        let sound = match found {
            Ipv4Options::TIMESTAMP => timestamp_is_sound(option),
            // RFC 2113, 2.1: four bytes; a value says what to look for.
            Ipv4Options::ROUTER_ALERT => data.len() == 2,
            _ => {
                let pointer = route_pointer(option).ok_or(MALFORMED)?;
                routed_on |= exclusive == SOURCE_ROUTES && pointer <= option.len();
                true
            }
        };
        if !sound {
            return Err(MALFORMED);
        }
    }
    if refused || seen == Ipv4Options::NONE {
        return Err(DropReason::Ipv4Option);
    }
    Ok(routed_on)
}

const SOURCE_ROUTES: Ipv4Options =
    Ipv4Options::LOOSE_SOURCE_ROUTE.with(Ipv4Options::STRICT_SOURCE_ROUTE);

/// The pointer of a record route or source route option: type, length, the pointer, which counts
/// from 1, and addresses. It is at an address or just behind the last one.
fn route_pointer(option: &[u8]) -> Option<usize> {
    let &[_, _, pointer, ref route @ ..] = option else { return None };
    let pointer = usize::from(pointer);
    let sound = route.len().is_multiple_of(4)
        && pointer >= 4
        && pointer.is_multiple_of(4)
        && pointer <= option.len() + 1;
    sound.then_some(pointer)
}

/// Internet timestamp: type, length, a pointer that counts from 1, four bits of overflow count and
/// four of flag, and entries of four bytes, or of eight where addresses stand beside the times.
fn timestamp_is_sound(option: &[u8]) -> bool {
    let &[_, _, pointer, flag, ref entries @ ..] = option else { return false };
    let size = match flag & 0x0f {
        0 => 4,
        1 | 3 => 8,
        _ => return false,
    };
    let pointer = usize::from(pointer);
    entries.len().is_multiple_of(size)
        && pointer >= 5
        && (pointer - 5).is_multiple_of(size)
        && pointer <= option.len() + 1
}
