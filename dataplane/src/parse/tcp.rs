//! The TCP header (RFC 9293, 3.1) and its options.

use super::TcpSegment;
use super::option_list::next_option;
use super::span::{Span, be16, be32};
use super::tcp_flag::{ACK, FIN, RST, SYN, URG};
use super::transport::ports;
use crate::verdict::DropReason;

/// RFC 7323, 2.3: a larger scale counts as this.
const MAX_WINDOW_SCALE: u8 = 14;

/// Ports and segment of the TCP header at the start of `l4`.
#[inline]
pub(super) fn parse(l4: Span<'_>) -> Result<((u16, u16), TcpSegment), DropReason> {
    let header = l4.header::<20>(DropReason::TcpHeader)?;
    let header_len = header_len(header);
    if header_len < 20 || header_len > l4.len {
        return Err(DropReason::TcpHeader);
    }
    let ports = ports(header)?;
    let flags = header[13];
    if POSSIBLE_FLAGS >> (flags & FLAGS_LOOKED_AT) & 1 == 0 {
        return Err(DropReason::TcpFlags);
    }
    let mut window_scale = None;
    if header_len > 20 {
        let options = &l4.prefix(header_len, DropReason::TcpHeader)?[20..];
        // What nearly every segment of a connection carries (RFC 7323, appendix A): two bytes of
        // padding and a timestamp.
        if !(options.len() == 12 && options.starts_with(&[1, 1, 8, 10])) {
            window_scale = check_options(options)?;
        }
    }
    let segment = TcpSegment {
        seq: be32::<4, _>(header),
        ack: be32::<8, _>(header),
        flags,
        window: be16::<14, _>(header),
        payload: (l4.len - header_len) as u16,
        window_scale: window_scale.filter(|_| flags & SYN != 0),
    };
    Ok((ports, segment))
}

/// Bytes of the header by its data offset.
#[inline]
pub(super) fn header_len(header: &[u8; 20]) -> usize {
    usize::from(header[12] >> 4) * 4
}

/// PSH and the bits of explicit congestion notification go with anything.
const FLAGS_LOOKED_AT: u8 = FIN | SYN | RST | ACK | URG;

/// A bit for each set of flags that some state of TCP sends.
const POSSIBLE_FLAGS: u64 = {
    let mut sets = 0;
    let mut flags = 0;
    while flags < 64 {
        sets |= (is_possible(flags) as u64) << flags;
        flags += 1;
    }
    sets
};

/// The rule behind Linux's `tcp_valid_flags` (net/netfilter/nf_conntrack_proto_tcp.c): SYN, RST and
/// FIN exclude each other, everything but the first SYN and a reset acknowledges something, and
/// neither a reset nor a SYN that acknowledges is urgent.
const fn is_possible(flags: u8) -> bool {
    let (ack, urgent) = (flags & ACK != 0, flags & URG != 0);
    match flags & (SYN | RST | FIN) {
        SYN => !(ack && urgent),
        RST => !urgent,
        FIN | 0 => ack,
        _ => false,
    }
}

/// Checks the options of a header. The window scale, where there is one.
///
/// Options that implementations would read differently are refused: lengths that are not those of
/// the standards, and the same option twice. Behind the end of the list is zero (RFC 9293, 3.1,
/// MUST-69).
fn check_options(mut rest: &[u8]) -> Result<Option<u8>, DropReason> {
    const MALFORMED: DropReason = DropReason::TcpOptions;
    let mut seen = 0u16;
    let mut window_scale = None;
    while let Some(option) = next_option(&mut rest, MALFORMED)? {
        let [kind, _, data @ ..] = option else { return Err(MALFORMED) };
        let sound = match *kind {
            // Maximum segment size.
            2 => data.len() == 2,
            // Window scale.
            3 => data.len() == 1,
            // Selective acknowledgement permitted; the blocks (RFC 2018).
            4 => data.is_empty(),
            5 => !data.is_empty() && data.len().is_multiple_of(8),
            // Timestamps (RFC 7323).
            8 => data.len() == 8,
            _ => true,
        };
        let bit = if *kind < 16 { 1 << *kind } else { 0 };
        if !sound || seen & bit != 0 {
            return Err(MALFORMED);
        }
        seen |= bit;
        if let [3, 3, scale] = option {
            window_scale = Some((*scale).min(MAX_WINDOW_SCALE));
        }
    }
    Ok(window_scale)
}
