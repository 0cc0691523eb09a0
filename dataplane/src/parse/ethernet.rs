//! Ethernet II, 802.3 and VLAN tags (IEEE 802.3, 802.1Q).

use super::span::{Span, be16};
use super::{Content, FrameView, ParseOptions, Parsed, arp, ipv4, ipv6};
use crate::verdict::DropReason;

pub(super) const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;
/// Customer tag.
const CUSTOMER_TAG: u16 = 0x8100;
/// Service tag (802.1ad). The 0x9100 of switches older than the standard is an EtherType like any
/// other, dropped unless configured: nothing says what a receiver makes of it.
const SERVICE_TAG: u16 = 0x88a8;
const MAX_TAGS: usize = 2;
/// Reserved by 802.1Q, never on a wire.
const RESERVED_ID: u16 = 0xfff;

/// Reads a frame.
///
/// A frame may be shorter than the 60 bytes of a wire: the kernel hands over what a virtual
/// interface sent, which nobody padded.
#[inline]
pub(super) fn parse(frame: FrameView<'_>, options: &ParseOptions) -> Result<Parsed, DropReason> {
    let wire_len = frame.wire_len as usize;
    // A capture record may claim a wire length below what it holds; the bytes win.
    let span = Span { bytes: frame.bytes, len: wire_len.max(frame.bytes.len()) };
    if span.len > options.max_frame as usize {
        return Err(DropReason::FrameTooLong);
    }
    read(span, 0, options)
}

/// Reads the frame in `span`, which starts at byte `at` of the one that was received: 0, unless it is
/// inside another.
#[inline]
pub(super) fn read(
    span: Span<'_>,
    at: usize,
    options: &ParseOptions,
) -> Result<Parsed, DropReason> {
    let header = span.header::<14>(DropReason::EthernetHeader)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, _, _] = *header;
    let (dst_mac, src_mac) = ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5]);
    // Broadcast is a group address too (802.3, 3.2.3).
    if s0 & 1 != 0 || src_mac == [0; 6] {
        return Err(DropReason::SourceMac);
    }
    let mut ethertype = be16::<12, _>(header);
    let mut start = 14;
    let mut vlan = 0;
    if is_tag(ethertype) {
        (vlan, ethertype, start) = read_tags(span, ethertype)?;
    }
    let (l3, start) = (span.skip(start), at + start);
    let content = match ethertype {
        IPV4 => Content::Ip(ipv4::parse(l3, start, options)?),
        IPV6 => Content::Ip(ipv6::parse(l3, start, options)?),
        ARP => Content::Arp(arp::parse(l3)?),
        other => Content::Other(other),
    };
    Ok(Parsed { src_mac, dst_mac, vlan, content })
}

fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, CUSTOMER_TAG | SERVICE_TAG)
}

/// Identifiers as [`Parsed::vlan`] has them, the EtherType behind the tags, and where that begins.
fn read_tags(frame: Span<'_>, mut ethertype: u16) -> Result<(u32, u16, usize), DropReason> {
    let (mut vlan, mut start, mut tags) = (0, 14, 0);
    while is_tag(ethertype) {
        if tags == MAX_TAGS {
            return Err(DropReason::VlanDepth);
        }
        let tag = frame.skip(start).header::<4>(DropReason::EthernetHeader)?;
        let id = be16::<0, _>(tag) & 0xfff;
        // A tag inside a priority tag belongs to the native VLAN for a switch, and to its own for a
        // Linux host, which takes priority tags off first: it would be judged in one and arrive in
        // the other.
        let inside_priority_tag = tags > 0 && vlan == 0;
        if id == RESERVED_ID || inside_priority_tag {
            return Err(DropReason::VlanTag);
        }
        vlan = vlan << 16 | u32::from(id);
        ethertype = be16::<2, _>(tag);
        start += 4;
        tags += 1;
    }
    Ok((vlan, ethertype, start))
}
