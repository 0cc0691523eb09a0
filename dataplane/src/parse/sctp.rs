//! The SCTP common header and the chunks behind it (RFC 9260).

use super::SctpPacket;
use super::span::{Span, be16, be32};
use super::transport::ports;
use crate::verdict::DropReason;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// Ports of the packet in `l4`, and what its header and first chunk tell.
pub(super) fn parse(l4: Span<'_>) -> Result<((u16, u16), SctpPacket), DropReason> {
    let header = l4.header::<12>(DropReason::SctpHeader)?;
    let ports = ports(header)?;
    let tag = be32::<4, _>(header);
    let [first, flags, ..] = *l4.skip(12).header::<4>(DropReason::SctpChunk)?;
    // 8.5.1: INIT comes before there are tags, and nothing else does.
    if (first == INIT) != (tag == 0) {
        return Err(DropReason::SctpChunk);
    }
    check_chunks(l4.skip(12))?;
    let initiate_tag = match first {
        // 3.3.2 and 3.3.3: behind type, flags and length.
        INIT | INIT_ACK => be32::<4, _>(l4.skip(12).header::<8>(DropReason::SctpChunk)?),
        _ => 0,
    };
    let reflected = matches!(first, ABORT | SHUTDOWN_COMPLETE) && flags & 1 != 0;
    Ok((ports, SctpPacket { chunk: first, tag, initiate_tag, reflected }))
}

/// Checks that chunks follow each other to the end of the packet (3.2), that those that are sent
/// alone are alone (6.10), and that a cookie comes before everything else (5.1), as Linux's
/// conntrack does. In a cut capture, as far as it goes.
fn check_chunks(chunks: Span<'_>) -> Result<(), DropReason> {
    const WRONG: DropReason = DropReason::SctpChunk;
    let mut rest = chunks;
    let mut alone = false;
    while rest.len > 0 {
        let header = match rest.header::<4>(WRONG) {
            Err(DropReason::CaptureCut) => return Ok(()),
            header => header?,
        };
        let kind = header[0];
        let is_first = rest.len == chunks.len;
        let wants_alone = matches!(kind, INIT | INIT_ACK | SHUTDOWN_COMPLETE);
        let wants_first = matches!(kind, COOKIE_ECHO | COOKIE_ACK);
        if alone || (!is_first && (wants_alone || wants_first)) {
            return Err(WRONG);
        }
        alone |= wants_alone;
        let len = usize::from(be16::<2, _>(header));
        // 3.3.2 and 3.3.3: a tag, a window, two stream counts and a sequence number.
        let least = if matches!(kind, INIT | INIT_ACK) { 20 } else { 4 };
        // The padding to four bytes is not counted in the length, but it is sent.
        if len < least || len.next_multiple_of(4) > rest.len {
            return Err(WRONG);
        }
        rest = rest.skip(len.next_multiple_of(4));
    }
    Ok(())
}
