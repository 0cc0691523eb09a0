//! Frames as they are built, and what of a frame is the same on the other side of a router.

use std::net::IpAddr;

/// IP protocol numbers (IANA).
pub(crate) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
}

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Where the network header of an untagged frame begins.
pub(super) const L3: usize = 14;

/// The two ends of the wires: where packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// Zone `clients`, port `bh0`.
    Left,
    /// Zone `servers`, port `bh1`.
    Right,
}

impl End {
    pub(super) const BOTH: [End; 2] = [End::Left, End::Right];

    pub(super) fn other(self) -> End {
        match self {
            End::Left => End::Right,
            End::Right => End::Left,
        }
    }

    /// The link-layer address of the far end, the source of what it sends.
    pub(super) fn mac(self) -> [u8; 6] {
        [0x02, 0, 0, 0, 0x0e, self as u8]
    }

    /// The link-layer address of the router's port on this side, the destination of what it sends.
    pub(super) fn router_mac(self) -> [u8; 6] {
        [0x02, 0, 0, 0, 0x0b, self as u8]
    }
}

/// An IP packet to be built.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub from: End,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    /// IPv4's identification and IPv6's flow label: what tells packets apart that are otherwise the
    /// same.
    pub mark: u32,
    /// The transport header and what follows; its checksum is filled in.
    pub body: Vec<u8>,
}

impl Datagram {
    /// The whole frame, checksums right.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = self.from.router_mac().to_vec();
        frame.extend(self.from.mac());
        let length = self.body.len() as u16;
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                frame.extend(ETHERTYPE_IPV4.to_be_bytes());
                frame.extend([0x45, 0]);
                frame.extend((20 + length).to_be_bytes());
                frame.extend((self.mark as u16).to_be_bytes());
                frame.extend([0x40, 0, 64, self.protocol, 0, 0]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                frame.extend(ETHERTYPE_IPV6.to_be_bytes());
                frame.extend((6 << 28 | self.mark & 0xf_ffff).to_be_bytes());
                frame.extend(length.to_be_bytes());
                frame.extend([self.protocol, 64]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
            }
            _ => unreachable!("both ends are of one family"),
        }
        frame.extend(&self.body);
        seal(&mut frame);
        frame
    }
}

/// A UDP datagram without its checksum (RFC 768).
pub(crate) fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = [src_port, dst_port, 8 + payload.len() as u16, 0].map(u16::to_be_bytes).concat();
    body.extend(payload);
    body
}

/// An ICMP or ICMPv6 message without its checksum.
pub(crate) fn icmp(kind: u8, code: u8, rest: u32, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![kind, code, 0, 0];
    body.extend(rest.to_be_bytes());
    body.extend(payload);
    body
}

/// TCP flags (RFC 9293, 3.1).
pub(crate) mod flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// Padded to a multiple of four bytes.
    pub options: &'a [u8],
    pub payload: &'a [u8],
}

impl Segment<'_> {
    /// Without its checksum.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = [self.ports.0, self.ports.1].map(u16::to_be_bytes).concat();
        body.extend(self.seq.to_be_bytes());
        body.extend(self.ack.to_be_bytes());
        body.extend([(((20 + self.options.len()) / 4) << 4) as u8, self.flags]);
        body.extend(self.window.to_be_bytes());
        body.extend([0; 4]);
        body.extend(self.options);
        body.extend(self.payload);
        body
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Where the transport header of an untagged frame is, and its protocol: after the IPv4 header with
/// its options, after the IPv6 header itself.
pub(super) fn transport(frame: &[u8]) -> Option<(u8, usize)> {
    match be16(frame, 12)? {
        ETHERTYPE_IPV4 => Some((*frame.get(L3 + 9)?, L3 + usize::from(frame.get(L3)? & 0x0f) * 4)),
        ETHERTYPE_IPV6 => Some((*frame.get(L3 + 6)?, L3 + 40)),
        _ => None,
    }
}

/// Makes the checksums right, as far as the headers can be read.
pub(super) fn seal(frame: &mut [u8]) {
    seal_ip(frame);
    if let Some((protocol, at)) = transport(frame) {
        seal_transport(frame, protocol, at);
    }
}

/// Makes the IPv4 header checksum right (RFC 791).
pub(crate) fn seal_ip(frame: &mut [u8]) {
    if be16(frame, 12) != Some(ETHERTYPE_IPV4) {
        return;
    }
    let Some((_, end)) = transport(frame) else { return };
    if end < L3 + 20 || end > frame.len() {
        return;
    }
    frame[L3 + 10..L3 + 12].fill(0);
    let sum = checksum(0, &frame[L3..end]);
    frame[L3 + 10..L3 + 12].copy_from_slice(&sum.to_be_bytes());
}

/// Makes the checksum of the transport header at `at` right, over everything to the end of the
/// frame.
pub(super) fn seal_transport(frame: &mut [u8], protocol: u8, at: usize) {
    let place = at
        + match protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            protocol::ICMP | protocol::ICMPV6 => 2,
            protocol::SCTP => return seal_sctp(frame, at),
            _ => return,
        };
    if frame.len() < place + 2 {
        return;
    }
    let length = (frame.len() - at) as u32;
    // The pseudo-header: addresses, length, protocol (RFC 9293, 3.1; RFC 8200, 8.1).
    let addresses = match be16(frame, 12) {
        Some(ETHERTYPE_IPV4) if protocol == protocol::ICMP => &frame[..0],
        Some(ETHERTYPE_IPV4) => &frame[L3 + 12..L3 + 20],
        _ => &frame[L3 + 8..L3 + 40],
    };
    let pseudo = match addresses {
        [] => 0,
        addresses => sum(length + u32::from(protocol), addresses),
    };
    frame[place..place + 2].fill(0);
    let mut value = checksum(pseudo, &frame[at..]);
    if value == 0 && protocol == protocol::UDP {
        value = 0xffff;
    }
    frame[place..place + 2].copy_from_slice(&value.to_be_bytes());
}

/// CRC32c, least significant byte first (RFC 9260, 6.8).
fn seal_sctp(frame: &mut [u8], at: usize) {
    if frame.len() < at + 12 {
        return;
    }
    frame[at + 8..at + 12].fill(0);
    let mut crc = u32::MAX;
    for &byte in &frame[at..] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    frame[at + 8..at + 12].copy_from_slice(&(!crc).to_le_bytes());
}

pub(crate) fn sum(start: u32, bytes: &[u8]) -> u32 {
    let words =
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | c.get(1).map_or(0, |b| u32::from(*b)));
    start + words.sum::<u32>()
}

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = sum(start, bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// `frame` without its outer VLAN tag: what a packet socket hears of it, which is told of the tag
/// beside.
pub(super) fn untagged(frame: &[u8]) -> Vec<u8> {
    match be16(frame, 12) {
        Some(0x8100 | 0x88a8) if frame.len() >= 18 => [&frame[..12], &frame[16..]].concat(),
        _ => frame.to_vec(),
    }
}

/// What a router leaves as it is: all from the EtherType behind VLAN tags, of which Linux takes off
/// those that carry a priority only, to the end of the IP packet, without TTL
/// and header checksum (RFC 1812, 5.3.1), without padding, and without the header of an atomic
/// fragment, which Linux takes for the only part of a datagram and puts together
/// (net/ipv6/netfilter/nf_conntrack_reasm.c). Tells packets apart.
pub(super) fn identity(frame: &[u8]) -> Vec<u8> {
    let mut rest = frame.get(12..).unwrap_or_default();
    while let [0x81, 0x00, _, _, behind @ ..] | [0x88, 0xa8, _, _, behind @ ..] = rest {
        rest = behind;
    }
    let mut rest = rest.to_vec();
    let available = rest.len().saturating_sub(2);
    match be16(&rest, 0) {
        Some(ETHERTYPE_IPV4) if available >= 20 => {
            let length = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
            rest[2 + 8] = 0;
            rest[2 + 10..2 + 12].fill(0);
            if (20..=available).contains(&length) {
                rest.truncate(2 + length);
            }
        }
        Some(ETHERTYPE_IPV6) if available >= 40 => {
            let length = 40 + usize::from(u16::from_be_bytes([rest[6], rest[7]]));
            rest[2 + 7] = 0;
            rest.truncate(2 + length.min(available));
            put_together(&mut rest[2..]).inspect(|at| drop(rest.drain(2 + at..10 + at)));
        }
        _ => {}
    }
    rest
}

/// Makes the IPv6 headers of `packet` right without the fragment header, if that says that the packet
/// is whole (RFC 6946): where it is.
fn put_together(packet: &mut [u8]) -> Option<usize> {
    let (mut number, mut at) = (6, 40);
    while matches!(packet[number], 0 | 43 | 60) {
        number = at;
        at += 8 + 8 * usize::from(*packet.get(at + 1)?);
        packet.get(number)?;
    }
    let atomic = packet[number] == 44 && be16(packet, at + 2)? & 0xfff9 == 0;
    packet.get(at + 7).filter(|_| atomic)?;
    packet[number] = packet[at];
    let length = be16(packet, 4)?.wrapping_sub(8);
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    Some(at)
}

/// Hexadecimal digits, for messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(protocol: u8, body: Vec<u8>) -> Datagram {
        let (src, dst) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        Datagram { from: End::Left, src, dst, protocol, mark: 7, body }
    }

    /// The example of RFC 1071, 3: its sum is 0xddf2.
    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn a_sealed_packet_sums_up_to_all_ones() {
        for protocol in [protocol::UDP, protocol::TCP] {
            let body = match protocol {
                protocol::UDP => udp(1, 2, b"odd"),
                _ => {
                    let (options, payload) = (&[][..], &b"odd"[..]);
                    let ports = (1, 2);
                    Segment { ports, seq: 3, ack: 4, flags: 2, window: 5, options, payload }.bytes()
                }
            };
            let frame = datagram(protocol, body).frame();
            assert_eq!(checksum(0, &frame[14..34]), 0);
            let pseudo = sum((frame.len() - 34) as u32 + u32::from(protocol), &frame[26..34]);
            assert_eq!(checksum(pseudo, &frame[34..]), 0);
        }
    }

    #[test]
    fn identity_is_what_a_router_leaves() {
        let sent = datagram(protocol::UDP, udp(1, 2, b"x")).frame();
        let mut routed = sent.clone();
        routed[..12].copy_from_slice(&[9; 12]);
        routed[L3 + 8] -= 1;
        seal_ip(&mut routed);
        routed.extend([0; 5]);
        assert_eq!(identity(&sent), identity(&routed));
        let tag = [0x81, 0x00, 0x00, 0x05];
        let tagged = [&sent[..12], &tag, &sent[12..]].concat();
        assert_eq!(untagged(&tagged), sent);
        assert_eq!(identity(&tagged), identity(&sent));
        routed[L3 + 12] ^= 1;
        assert_ne!(identity(&sent), identity(&routed));
    }

    #[test]
    fn an_atomic_fragment_is_known_without_its_header() {
        let (src, dst) = ("fd77::1".parse().unwrap(), "fd77::2".parse().unwrap());
        let (from, body) = (End::Left, udp(1, 2, b"x"));
        let whole = Datagram { from, src, dst, protocol: protocol::UDP, mark: 7, body }.frame();
        // With these headers before the datagram, the length made right.
        let before = |first: u8, headers: &[u8]| {
            let mut frame = whole.clone();
            frame[L3 + 6] = first;
            frame[L3 + 5] += headers.len() as u8;
            frame.splice(L3 + 40..L3 + 40, headers.iter().copied());
            frame
        };
        let options = [17, 0, 1, 4, 0, 0, 0, 0];
        let with_fragment = |more: u8| [17, 0, 0, more, 0, 0, 0, 7];
        assert_eq!(identity(&before(44, &with_fragment(0))), identity(&whole));
        assert_ne!(identity(&before(44, &with_fragment(1))), identity(&whole));
        let mut both = options.to_vec();
        both[0] = 44;
        both.extend(with_fragment(6));
        assert_eq!(identity(&before(60, &both)), identity(&before(60, &options)));
    }
}
