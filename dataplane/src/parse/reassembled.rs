//! Datagrams that were put together from fragments, each of which was parsed by itself.

use super::checksum::{self, advance};
use super::span::Span;
use super::{Checksums, IpPacket, L4, ParseOptions, protocol, transport};
use crate::fragments::Whole;
use crate::verdict::DropReason;
use classifier::Family;

/// Reads the transport header of the datagram `whole`, one of whose fragments was parsed as `part`.
/// Offsets in the packet are those in [`Whole::head`].
///
/// The checksum of SCTP is for [`verify_sctp`].
///
/// # Errors
/// The [`DropReason`] for which a datagram like this is dropped.
pub(crate) fn parse(
    part: &IpPacket,
    whole: &Whole,
    options: &ParseOptions,
) -> Result<IpPacket, DropReason> {
    let l4_len = whole.transport_len();
    let mut packet = IpPacket {
        protocol: whole.protocol,
        length: whole.packet_len,
        l4: L4::None,
        fragment: None,
        reassembled: true,
        l4_offset: 0,
        l4_len,
        ..*part
    };
    // The head is what there is, like the beginning of a capture that was cut.
    let l4 = Span { bytes: whole.head.bytes(), len: usize::from(l4_len) };
    transport::parse(&mut packet, l4)?;
    if options.checksums != Checksums::Off {
        verify(&packet, whole)?;
    }
    Ok(packet)
}

fn verify(packet: &IpPacket, whole: &Whole) -> Result<(), DropReason> {
    // The words of the pseudo-header are summed in the byte order of the machine.
    let sum = u64::from(whole.sum.to_be());
    let (sum, reason) = match (packet.protocol, packet.family) {
        (protocol::TCP, _) => (pseudo_header(packet) + sum, DropReason::TcpChecksum),
        (protocol::UDP, family) => {
            // None was made (RFC 768; RFC 8200, 8.1).
            if whole.head.bytes().get(6..8) == Some(&[0, 0]) && family == Family::V4 {
                return Ok(());
            }
            (pseudo_header(packet) + sum, DropReason::UdpChecksum)
        }
        (protocol::ICMP, Family::V4) => (sum, DropReason::IcmpChecksum),
        (protocol::ICMPV6, Family::V6) => (pseudo_header(packet) + sum, DropReason::IcmpChecksum),
        _ => return Ok(()),
    };
    if checksum::is_right(sum) { Ok(()) } else { Err(reason) }
}

/// Sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
fn pseudo_header(packet: &IpPacket) -> u64 {
    let addresses = match packet.family {
        Family::V4 => {
            checksum::sum(&(packet.src as u32).to_be_bytes())
                + checksum::sum(&(packet.dst as u32).to_be_bytes())
        }
        Family::V6 => {
            checksum::sum(&packet.src.to_be_bytes()) + checksum::sum(&packet.dst.to_be_bytes())
        }
    };
    addresses + checksum::pseudo_numbers(packet.protocol, packet.l4_len)
}

/// Checks the checksum of an SCTP packet that lies in `parts`, behind the first `skip` bytes of the
/// first one, which holds the common header.
///
/// # Errors
/// [`DropReason::SctpChecksum`].
pub(crate) fn verify_sctp<'a>(
    skip: usize,
    mut parts: impl Iterator<Item = &'a [u8]>,
) -> Result<(), DropReason> {
    const WRONG: DropReason = DropReason::SctpChecksum;
    let first = parts.next().and_then(|part| part.get(skip..)).unwrap_or_default();
    let Some((head, [a, b, c, d, chunks @ ..])) = first.split_at_checked(8) else {
        return Err(WRONG);
    };
    let field = u32::from_le_bytes([*a, *b, *c, *d]);
    let begun = advance(advance(advance(!0, head), &[0; 4]), chunks);
    if !parts.fold(begun, advance) == field { Ok(()) } else { Err(WRONG) }
}
