//! What stands behind the IP header: UDP, ICMP, ICMPv6, and the way to TCP and SCTP.

use super::span::{Span, be16, be32};
use super::{Echo, Icmp, IpPacket, L4, protocol, sctp, tcp};
use crate::verdict::DropReason;
use classifier::Family;

/// Reads the transport header at the start of `l4` into `packet`, which knows its protocol and
/// family. Other protocols (GRE, ESP, AH, IP in IP) are matched by their number alone.
#[inline]
pub(super) fn parse(packet: &mut IpPacket, l4: Span<'_>) -> Result<(), DropReason> {
    match packet.protocol {
        protocol::TCP => {
            let (ports, segment) = tcp::parse(l4)?;
            (packet.src_port, packet.dst_port) = ports;
            packet.l4 = L4::Tcp(segment);
        }
        protocol::UDP => {
            let header = l4.header::<8>(DropReason::UdpHeader)?;
            // A shorter length is legal for Linux and leaves bytes behind that no checksum covers
            // and no filter reads. Options for UDP (RFC 9868) would stand there; nobody sends them
            // across zones unasked.
            if usize::from(be16::<4, _>(header)) != l4.len {
                return Err(DropReason::UdpHeader);
            }
            (packet.src_port, packet.dst_port) = ports(header)?;
        }
        protocol::SCTP => {
            let (ports, sctp) = sctp::parse(l4)?;
            (packet.src_port, packet.dst_port) = ports;
            packet.l4 = L4::Sctp(sctp);
        }
        protocol::ICMP if packet.family == Family::V4 => {
            let icmp = read_icmp(l4, |kind| match kind {
                0 | 8 => Some(8),
                13 | 14 => Some(13),
                15 | 16 => Some(15),
                17 | 18 => Some(17),
                _ => None,
            })?;
            // RFC 1122, 3.2.2: unreachable, source quench, redirect, time exceeded, parameter
            // problem.
            let is_error = matches!(icmp.kind, 3 | 4 | 5 | 11 | 12);
            set_icmp(packet, Icmp { is_error, ..icmp });
        }
        protocol::ICMPV6 if packet.family == Family::V6 => {
            let icmp = read_icmp(l4, |kind| match kind {
                128 | 129 => Some(128),
                139 | 140 => Some(139),
                _ => None,
            })?;
            // RFC 4443, 2.1.
            let is_error = icmp.kind < 128;
            set_icmp(packet, Icmp { is_error, ..icmp });
        }
        // No host speaks the other family's; neither rules nor checksums would look into it, and
        // Linux's connection tracking takes it for invalid.
        protocol::ICMP | protocol::ICMPV6 => return Err(DropReason::IcmpFamily),
        _ => {}
    }
    Ok(())
}

/// The ports at the start of a header. Port 0 is reserved (RFC 6335, 6); UDP's source port may be 0
/// when no answer is wanted (RFC 768), which no state can be kept for.
#[inline]
pub(super) fn ports<const N: usize>(header: &[u8; N]) -> Result<(u16, u16), DropReason> {
    let ports = (be16::<0, N>(header), be16::<2, N>(header));
    if ports.0 == 0 || ports.1 == 0 { Err(DropReason::PortZero) } else { Ok(ports) }
}

/// Every ICMP message has eight bytes of header (RFC 792), and so does every ICMPv6 message in use
/// (RFC 4443, RFC 4861, RFC 3810). `asks` gives the type of the request for those of requests and
/// replies.
#[inline]
fn read_icmp(l4: Span<'_>, asks: impl Fn(u8) -> Option<u8>) -> Result<Icmp, DropReason> {
    let header = l4.header::<8>(DropReason::IcmpHeader)?;
    let [kind, code, ..] = *header;
    let echo = asks(kind).map(|request| Echo {
        request: kind == request,
        id: be16::<4, _>(header),
        asks: [request, code],
    });
    Ok(Icmp { kind, code, echo, rest: be32::<4, _>(header), is_error: false })
}

#[inline]
fn set_icmp(packet: &mut IpPacket, icmp: Icmp) {
    packet.src_port = u16::from(icmp.kind);
    packet.dst_port = u16::from(icmp.code);
    packet.l4 = L4::Icmp(icmp);
}

/// Checks that a first fragment holds the whole header of its transport protocol (RFC 7112).
#[cold]
pub(super) fn whole_header(
    protocol: u8,
    l4: Span<'_>,
    reason: DropReason,
) -> Result<(), DropReason> {
    let len = match protocol {
        protocol::TCP => tcp::header_len(l4.header::<20>(reason)?),
        protocol::UDP | protocol::ICMPV6 => 8,
        protocol::SCTP => 12,
        _ => 0,
    };
    l4.prefix(len, reason)?;
    Ok(())
}
