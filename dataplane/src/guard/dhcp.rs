//! Messages of DHCP servers, which tell hosts who their router and name server are.

use crate::parse::IpPacket;
use classifier::Family;

const CLIENT_V4: u16 = 68;
const SERVER_V4: u16 = 67;
const CLIENT_V6: u16 = 546;
const SERVER_V6: u16 = 547;

/// Bytes of a UDP header, after which the message begins.
const UDP_HEADER: usize = 8;

/// Whether a UDP packet is a client's that has no address yet (RFC 2131, 4.1).
pub(super) fn is_from_client(packet: &IpPacket) -> bool {
    packet.family == Family::V4 && packet.src_port == CLIENT_V4 && packet.dst_port == SERVER_V4
}

/// Whether a UDP packet is a server's, or a relay's in its place: to a client, whatever its source
/// port, as clients do not look at that; or to a relay. `None` when the byte that tells is not among
/// those of `datagram`, which begins with the UDP header.
pub(super) fn is_from_server(packet: &IpPacket, datagram: &[u8]) -> Option<bool> {
    match (packet.family, packet.dst_port) {
        (Family::V4, CLIENT_V4) | (Family::V6, CLIENT_V6) => Some(true),
        (Family::V4, SERVER_V4) => {
            const BOOTREPLY: u8 = 2; // RFC 951, 3; RFC 2131, 2
            datagram.get(UDP_HEADER).map(|operation| *operation == BOOTREPLY)
        }
        (Family::V6, SERVER_V6) => {
            // ADVERTISE, REPLY, RECONFIGURE, RELAY-REPL (RFC 8415, 7.3).
            datagram.get(UDP_HEADER).map(|kind| matches!(kind, 2 | 7 | 10 | 13))
        }
        _ => Some(false),
    }
}
