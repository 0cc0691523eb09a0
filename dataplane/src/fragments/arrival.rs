//! What can be said of a fragment before its datagram is looked at.

use super::Fragment;
use crate::parse::checksum::{fold, sum};
use crate::parse::protocol;
use crate::verdict::DropReason;
use classifier::Family;

/// Most extension headers in the fragmentable part, as in the parser: RFC 8200 names seven and lets
/// only destination options come twice.
const MAX_EXTENSION_HEADERS: usize = 8;

/// A fragment that is well-formed by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Its first byte's place in the datagram.
    pub start: u32,
    /// Behind its last byte.
    pub end: u32,
    pub more: bool,
    /// Protocol, or next header.
    pub next: u8,
    /// Where its data starts in the frame.
    pub payload_offset: u16,
    /// Bytes of the whole frame.
    pub frame_len: u32,
    /// The bit of its ECN codepoint: Not-ECT's is the lowest.
    pub ecn: u8,
    /// Ones' complement sum of its data, of the first fragment's from the transport header on.
    pub sum: u16,
    /// What a fragment at offset 0 tells of its datagram.
    pub first: Option<First>,
}

/// What the first fragment tells of its datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    /// Bytes of its IP header, an IPv6 fragment header included.
    pub header_len: u16,
    pub next: u8,
    /// Protocol at the end of the header chain.
    pub protocol: u8,
    /// Where that header starts in the data.
    pub transport_offset: u16,
}

/// Not-ECT among the bits of [`Arrival::ecn`].
pub(super) const NOT_ECT: u8 = 1;

impl Arrival {
    /// Reads `fragment` in its `frame`.
    ///
    /// # Errors
    /// The reason for which this fragment is dropped, and its datagram with it.
    pub fn read(frame: &[u8], family: Family, fragment: &Fragment) -> Result<Self, DropReason> {
        let payload = payload_of(frame, fragment.payload_offset, u32::from(fragment.payload_len))
            .ok_or(DropReason::CaptureCut)?;
        if payload.is_empty() {
            return Err(DropReason::FragmentEmpty);
        }
        if fragment.more && !payload.len().is_multiple_of(8) {
            return Err(DropReason::FragmentLength);
        }
        // RFC 3128: the second fragment of a TCP segment whose first one hides the flags.
        if family == Family::V4 && fragment.next == protocol::TCP && fragment.offset == 8 {
            return Err(DropReason::FragmentTiny);
        }
        let first = match fragment.offset {
            0 => Some(First::read(family, fragment, payload)?),
            _ => None,
        };
        let summed = first.map_or(0, |first| usize::from(first.transport_offset));
        let start = u32::from(fragment.offset);
        Ok(Arrival {
            start,
            end: start + payload.len() as u32,
            more: fragment.more,
            next: fragment.next,
            payload_offset: fragment.payload_offset,
            frame_len: frame.len() as u32,
            ecn: 1 << ecn(frame, family, fragment).ok_or(DropReason::CaptureCut)?,
            sum: u16::from_be(fold(sum(&payload[summed..]))),
            first,
        })
    }

    /// Bytes of data.
    pub fn len(&self) -> u32 {
        self.end - self.start
    }
}

/// `len` bytes of `frame` from `offset` on, if it has them.
pub(super) fn payload_of(frame: &[u8], offset: u16, len: u32) -> Option<&[u8]> {
    frame.get(usize::from(offset)..usize::from(offset) + len as usize)
}

/// The ECN field (RFC 3168, 5).
fn ecn(frame: &[u8], family: Family, fragment: &Fragment) -> Option<u8> {
    let header = usize::from(fragment.payload_offset.checked_sub(fragment.header_len)?);
    let second = *frame.get(header + 1)?;
    Some(match family {
        Family::V4 => second & 3,
        Family::V6 => second >> 4 & 3,
    })
}

impl First {
    fn read(family: Family, fragment: &Fragment, payload: &[u8]) -> Result<Self, DropReason> {
        let (protocol, offset) = match family {
            Family::V4 => (fragment.next, 0),
            Family::V6 => end_of_chain(fragment.next, payload).ok_or(DropReason::FragmentChain)?,
        };
        let transport = payload.get(offset..).unwrap_or_default();
        // An atomic fragment (RFC 6946) has everything there is: its transport header is judged as
        // that of any whole packet.
        if fragment.more {
            if transport.is_empty() {
                return Err(DropReason::FragmentChain);
            }
            if transport.len() < transport_header_len(family, protocol, transport) {
                return Err(DropReason::FragmentTiny);
            }
        }
        Ok(First {
            header_len: fragment.header_len,
            next: fragment.next,
            protocol,
            transport_offset: offset as u16,
        })
    }
}

/// Protocol and offset of the header at the end of the chain (RFC 8200, 4) that begins at the start
/// of `payload`; `None` when `payload` does not hold the chain (RFC 7112), or the chain holds what
/// cannot be fragmented.
fn end_of_chain(first: u8, payload: &[u8]) -> Option<(u8, usize)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;
    const MOBILITY: u8 = 135;
    const HIP: u8 = 139;
    const SHIM6: u8 = 140;

    let mut next = first;
    let mut offset = 0;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        match next {
            HOP_BY_HOP | FRAGMENT => return None,
            ROUTING | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 => {}
            protocol => return Some((protocol, offset)),
        }
        let &[following, length] = payload.get(offset..offset + 2)? else { return None };
        offset += 8 + usize::from(length) * 8;
        if offset > payload.len() {
            return None;
        }
        next = following;
    }
    None
}

/// Bytes of the transport header that begins with `transport`, of which the first fragment must
/// have every one (RFC 1858, 4.2.1); 0 for protocols that are not looked into.
fn transport_header_len(family: Family, protocol: u8, transport: &[u8]) -> usize {
    match protocol {
        // The options too: they tell the window's scale. An impossible data offset is for the
        // parser to judge.
        protocol::TCP => transport.get(12).map_or(20, |b| usize::from(b >> 4) * 4).max(20),
        protocol::UDP => 8,
        protocol::SCTP => 12,
        protocol::ICMP if family == Family::V4 => 8,
        protocol::ICMPV6 if family == Family::V6 => 8,
        _ => 0,
    }
}
