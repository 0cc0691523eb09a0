//! What rows look at in a packet, read apart from Bulkhead's own parser.

use super::super::packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, L3, protocol};
use super::Case;

/// IPv6 extension headers that come before what a packet carries: hop-by-hop options, routing,
/// fragment, destination options (RFC 8200, 4.1).
const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];

/// Numbers and bytes of extension headers, then the number of what they lead to, and that.
type Chain<'a> = (Vec<(u8, &'a [u8])>, u8, &'a [u8]);

/// One end of a packet with ports: address and port.
pub(super) type EndOf<'a> = (&'a [u8], &'a [u8]);

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])))
}

impl<'a> Case<'a> {
    pub(super) fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.frame[12], self.frame[13]])
    }

    /// Identifier of the outer VLAN tag.
    pub(super) fn vlan(&self) -> Option<usize> {
        let tagged = matches!(self.ethertype(), 0x8100 | 0x88a8);
        tagged.then(|| be16(self.frame, 14)).flatten().map(|tag| tag & 0xfff)
    }

    pub(super) fn has_two_tags(&self) -> bool {
        self.vlan().is_some() && matches!(be16(self.frame, 16), Some(0x8100 | 0x88a8))
    }

    /// From the header on.
    fn packet(&self, ethertype: u16, length: usize) -> Option<&'a [u8]> {
        let packet = &self.frame[L3..];
        (self.ethertype() == ethertype && packet.len() >= length).then_some(packet)
    }

    /// From the IPv4 header on.
    pub(super) fn v4(&self) -> Option<&'a [u8]> {
        self.packet(ETHERTYPE_IPV4, 20)
    }

    /// From the IPv6 header on.
    pub(super) fn v6(&self) -> Option<&'a [u8]> {
        self.packet(ETHERTYPE_IPV6, 40)
    }

    /// Source and destination.
    pub(super) fn addresses(&self) -> Option<(&'a [u8], &'a [u8])> {
        match (self.v4(), self.v6()) {
            (Some(h), _) => Some((&h[12..16], &h[16..20])),
            (_, Some(h)) => Some((&h[8..24], &h[24..40])),
            _ => None,
        }
    }

    /// The extension headers in order, as far as they can be read.
    fn chain(&self) -> Option<Chain<'a>> {
        let packet = self.v6()?;
        let mut next = packet[6];
        let mut rest = packet[40..].get(..be16(packet, 4)?)?;
        let mut chain = Vec::new();
        while EXTENSIONS.contains(&next) {
            let Some(&[following, length]) = rest.get(..2) else { break };
            let length = if next == 44 { 8 } else { 8 + 8 * usize::from(length) };
            let Some((header, behind)) = rest.split_at_checked(length) else { break };
            chain.push((next, header));
            (next, rest) = (following, behind);
        }
        Some((chain, next, rest))
    }

    /// Number of the protocol over IP, and what is of it.
    pub(super) fn upper(&self) -> Option<(u8, &'a [u8])> {
        if let Some(header) = self.v4() {
            let from = usize::from(header[0] & 0x0f) * 4;
            return Some((header[9], header.get(from..be16(header, 2)?)?));
        }
        self.chain().map(|(_, number, rest)| (number, rest))
    }

    /// Whether extension headers are repeated or not in their order, and that not among the first
    /// two.
    pub(super) fn has_late_disorder(&self) -> bool {
        let Some((chain, next, _)) = self.chain() else { return false };
        // What is cut off counts too: that it is there is said before it.
        let more = EXTENSIONS.contains(&next).then_some(next);
        let numbers: Vec<u8> = chain.iter().map(|(number, _)| *number).chain(more).collect();
        is_in_disorder(&numbers) && !is_in_disorder(&numbers[..2])
    }

    pub(super) fn has_extension_cut_off(&self) -> bool {
        self.chain().is_some_and(|(_, next, _)| EXTENSIONS.contains(&next))
    }

    /// Whether there is an option that Bulkhead does not let pass.
    pub(super) fn has_refused_ipv6_option(&self) -> bool {
        let Some((chain, ..)) = self.chain() else { return false };
        chain.iter().any(|(number, header)| match number {
            0 => refuses(&header[2..], true),
            60 => refuses(&header[2..], false),
            _ => false,
        })
    }

    pub(super) fn has_bytes_behind_udp(&self) -> bool {
        let Some((protocol::UDP, udp)) = self.upper() else { return false };
        be16(udp, 4).is_some_and(|length| (8..udp.len()).contains(&length))
    }

    pub(super) fn has_bad_tcp_option(&self) -> bool {
        let Some((protocol::TCP, tcp)) = self.upper() else { return false };
        let end = tcp.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4);
        let Some(mut rest) = tcp.get(20..end) else { return false };
        let mut seen = Vec::new();
        while let Some((&kind, tail)) = rest.split_first() {
            match kind {
                0 => return tail.iter().any(|byte| *byte != 0),
                1 => rest = tail,
                _ => {
                    let length = tail.first().map_or(0, |length| usize::from(*length));
                    let right = match kind {
                        2 => length == 4,
                        3 => length == 3,
                        4 => length == 2,
                        5 => length > 2 && length % 8 == 2,
                        8 => length == 10,
                        _ => length >= 2,
                    };
                    if !right || length > rest.len() || seen.contains(&kind) {
                        return true;
                    }
                    if kind < 16 {
                        seen.push(kind);
                    }
                    rest = &rest[length..];
                }
            }
        }
        false
    }

    /// Whether the chunks of an SCTP packet do not fill it.
    pub(super) fn has_broken_chunks(&self) -> bool {
        let Some((protocol::SCTP, sctp)) = self.upper() else { return false };
        let Some(mut rest) = sctp.get(12..) else { return false };
        while !rest.is_empty() {
            let Some(length) = be16(rest, 2) else { return true };
            let least = if matches!(rest[0], 1 | 2) { 20 } else { 4 };
            let padded = length.next_multiple_of(4);
            if length < least || padded > rest.len() {
                return true;
            }
            rest = &rest[padded..];
        }
        false
    }

    /// Whether it is UDP to where DHCP clients listen, or an answer to where servers and relays do.
    pub(super) fn is_from_dhcp_server(&self) -> bool {
        let Some((protocol::UDP, datagram)) = self.upper() else { return false };
        let kind = datagram.get(8);
        match be16(datagram, 2) {
            Some(68) => self.v4().is_some(),
            Some(546) => self.v6().is_some(),
            Some(67) => self.v4().is_some() && kind == Some(&2),
            Some(547) => self.v6().is_some() && matches!(kind, Some(2 | 7 | 10 | 13)),
            _ => false,
        }
    }

    pub(super) fn is_neighbour_discovery(&self) -> bool {
        self.v6().is_some_and(|h| {
            h[6] == protocol::ICMPV6 && h[7] == 255 && matches!(h.get(40), Some(135 | 136))
        })
    }

    pub(super) fn stays_on_its_link(&self) -> bool {
        let v4 = |h: &[u8]| matches!(h[16], 224..=239) || h[16..20] == [255; 4];
        let v6 = |h: &[u8]| {
            let link_local = |a: &[u8]| a[0] == 0xfe && a[1] & 0xc0 == 0x80;
            h[24] == 0xff || link_local(&h[8..]) || link_local(&h[24..])
        };
        self.v4().is_some_and(v4) || self.v6().is_some_and(v6)
    }

    /// Whether it is an ICMP message that connection tracking has no use for: no error, no request
    /// or reply that it pairs, and none that it leaves untracked.
    pub(super) fn is_untracked_icmp(&self) -> bool {
        let Some((number, message)) = self.upper() else { return false };
        let Some(&kind) = message.first() else { return false };
        match number {
            protocol::ICMP if self.v4().is_some() => matches!(kind, 1 | 2 | 6 | 7 | 9 | 10 | 19..),
            protocol::ICMPV6 if self.v6().is_some() => {
                matches!(kind, 138 | 141 | 142 | 144..)
            }
            _ => false,
        }
    }

    /// Whether an earlier packet went the other way between the same addresses and ports, and yet
    /// came from the same end.
    pub(super) fn answers_from_the_wrong_side(&self) -> bool {
        let Some((src, dst)) = self.ends() else { return false };
        self.earlier.iter().any(|&(from, frame)| {
            let earlier = Case {
                from,
                frame,
                earlier: Vec::new(),
                passed: Vec::new(),
                stricter: self.stricter,
            };
            from == self.from && earlier.ends() == Some((dst, src))
        })
    }

    /// Whether the other end sent a packet with an IPv6 authentication header between the same
    /// addresses before.
    pub(super) fn answers_what_ah_carries(&self) -> bool {
        let Some((src, dst)) = self.addresses() else { return false };
        self.earlier.iter().any(|&(from, frame)| {
            let earlier = Case {
                from,
                frame,
                earlier: Vec::new(),
                passed: Vec::new(),
                stricter: self.stricter,
            };
            let is_ah = earlier.v6().is_some()
                && earlier.upper().is_some_and(|(number, _)| number == protocol::AH);
            is_ah && from != self.from && earlier.addresses() == Some((dst, src))
        })
    }

    pub(super) fn ends(&self) -> Option<(EndOf<'a>, EndOf<'a>)> {
        let ((src, dst), (number, header)) = (self.addresses()?, self.upper()?);
        let has_ports = matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP);
        let ports = header.get(..4).filter(|_| has_ports)?;
        Some(((src, &ports[..2]), (dst, &ports[2..])))
    }
}

/// Whether these extension headers are not those of RFC 8200, 4.1, each at most once and in order,
/// with destination options twice only around a routing header.
fn is_in_disorder(numbers: &[u8]) -> bool {
    let mut places = [0, 60, 43, 44, 60].into_iter();
    let ordered = numbers.iter().all(|number| places.any(|place| place == *number));
    let twice = numbers.iter().filter(|number| **number == 60).count() > 1;
    !ordered || (twice && !numbers.contains(&43))
}

/// Whether Bulkhead lets no header with these options pass.
fn refuses(mut rest: &[u8], hop_by_hop: bool) -> bool {
    let (mut options, mut padding, mut alerts) = (0, 0, 0);
    while let Some((&kind, tail)) = rest.split_first() {
        if kind == 0 {
            (rest, padding) = (tail, padding + 1);
        } else {
            let Some((&length, tail)) = tail.split_first() else { return true };
            let Some((data, tail)) = tail.split_at_checked(usize::from(length)) else {
                return true;
            };
            rest = tail;
            if kind == 1 {
                padding += 2 + data.len();
                if data.iter().any(|byte| *byte != 0) {
                    return true;
                }
            } else {
                (padding, options) = (0, options + 1);
                let alert = kind == 5 && hop_by_hop;
                alerts += u32::from(alert);
                // To be skipped by who does not know it, and not hop by hop, or router alert.
                let known = alert && data.len() == 2 && alerts == 1;
                if !known && (hop_by_hop || kind >> 6 != 0) {
                    return true;
                }
            }
        }
        if padding > 7 || options > 8 {
            return true;
        }
    }
    false
}
