//! Differences between Bulkhead and hardened nftables that have a reason, each a row of the docs.

use super::packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, End, L3, protocol, transport};
use super::worlds::World;

/// A packet that only one of the two let through.
pub(super) struct Case<'a> {
    /// The end that sent it.
    pub from: End,
    pub frame: &'a [u8],
    /// What its script sent before it.
    pub earlier: Vec<(End, &'a [u8])>,
    /// The one that dropped it.
    pub stricter: World,
}

/// A difference that is as it should be.
pub struct Row {
    /// Short name.
    pub id: &'static str,
    /// The one that drops the packet; either, if it depends on the policy.
    stricter: Option<World>,
    /// Why, for the docs.
    pub sentence: &'static str,
    /// Where that is written.
    pub source: &'static str,
    applies: fn(&Case<'_>) -> bool,
}

impl Row {
    /// Which of the two drops the packet.
    pub const fn stricter(&self) -> &'static str {
        match self.stricter {
            Some(World::Gateway) => "Bulkhead",
            Some(World::Nftables) => "nftables",
            None => "either",
        }
    }
}

/// IPv6 extension headers that cannot be followed by rule (RFC 7045, 2.1).
const NOT_LOOKED_BEHIND: [u8; 5] = [135, 139, 140, 253, 254];

/// Every row.
pub const ROWS: &[Row] = &[
    Row {
        id: "wrong side",
        stricter: Some(World::Gateway),
        sentence: "An answer must come from the port that leads to the end it answers for. \
                   Connection tracking knows addresses and ports, and lets it pass from anywhere.",
        source: "RFC 2827",
        applies: answers_from_the_wrong_side,
    },
    Row {
        id: "TTL",
        stricter: Some(World::Nftables),
        sentence: "A router drops a packet whose TTL or hop limit is used up; a wire does not count.",
        source: "RFC 1812, 5.3.1; RFC 8200, 3",
        applies: |case| {
            case.v4().is_some_and(|h| h[8] <= 1) || case.v6().is_some_and(|h| h[7] <= 1)
        },
    },
    Row {
        id: "station",
        stricter: Some(World::Nftables),
        sentence: "A router takes frames for its own link-layer address; a wire carries all of them.",
        source: "RFC 1812, 5.3.4",
        applies: |case| case.frame[..6] != case.from.router_mac(),
    },
    Row {
        id: "VLAN",
        stricter: Some(World::Nftables),
        sentence: "A router without an interface in the VLAN drops a tagged frame; a wire carries it \
                   with its tag.",
        source: "IEEE 802.1Q",
        applies: |case| matches!(case.ethertype(), 0x8100 | 0x88a8),
    },
    Row {
        id: "address resolution",
        stricter: Some(World::Nftables),
        sentence: "ARP and neighbour discovery stay on their link; the two ends of a wire are one link.",
        source: "RFC 826; RFC 4861",
        applies: |case| case.ethertype() == 0x0806 || case.is_neighbour_discovery(),
    },
    Row {
        id: "martian",
        stricter: Some(World::Nftables),
        sentence: "A router does not forward addresses that are none for a router: unspecified, \
                   loopback, link-local, multicast without a route, broadcast. On a wire the policy \
                   and the zones' networks decide.",
        source: "RFC 1812, 5.3.7; RFC 4291, 2.4 to 2.7",
        applies: |case| case.has_martian(),
    },
    Row {
        id: "extension headers in disorder",
        stricter: Some(World::Gateway),
        sentence: "The hop-by-hop options come first and once, and there are at most eight extension \
                   headers. nftables looks for the last header and takes the others as they come.",
        source: "RFC 8200, 4.1",
        applies: |case| {
            let chain = case.extensions();
            chain.len() > 8 || chain.iter().skip(1).any(|&number| number == 0)
        },
    },
    Row {
        id: "hop-by-hop options",
        stricter: Some(World::Nftables),
        sentence: "A router acts on hop-by-hop options, and drops a packet with one that it does not \
                   know and that says so; a wire carries it.",
        source: "RFC 8200, 4.2",
        applies: |case| case.extensions().first() == Some(&0),
    },
    Row {
        id: "extension headers not looked behind",
        stricter: Some(World::Gateway),
        sentence: "Bulkhead drops mobility, host identity, shim6 and experimental headers, unless it \
                   is configured to let them pass; for nftables each is a protocol.",
        source: "RFC 7045, 2.1; RFC 6275; RFC 7401; RFC 5533",
        applies: |case| case.extensions().iter().any(|number| NOT_LOOKED_BEHIND.contains(number)),
    },
    Row {
        id: "no next header",
        stricter: Some(World::Nftables),
        sentence: "Connection tracking has no place for a packet without an upper layer, so that none \
                   passes hardened rules; for Bulkhead it is protocol 59, which rules can allow.",
        source: "RFC 8200, 4.7",
        applies: |case| case.v6().is_some_and(|h| h[6] == 59),
    },
    Row {
        id: "AH",
        stricter: None,
        sentence: "nftables looks behind an IPv6 authentication header for the protocol; for Bulkhead \
                   the header is a protocol of its own, as it is over IPv4.",
        source: "RFC 4302",
        applies: |case| case.is_ah_over_ipv6(),
    },
];

/// The row that explains `case`.
pub(super) fn find(case: &Case<'_>) -> Option<&'static Row> {
    let fits = |row: &&Row| row.stricter.is_none_or(|world| world == case.stricter);
    ROWS.iter().filter(fits).find(|row| (row.applies)(case))
}

impl Case<'_> {
    fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.frame[12], self.frame[13]])
    }

    fn header(&self, ethertype: u16, length: usize) -> Option<&[u8]> {
        (self.ethertype() == ethertype).then(|| self.frame.get(L3..L3 + length)).flatten()
    }

    /// The IPv4 header without options.
    fn v4(&self) -> Option<&[u8]> {
        self.header(ETHERTYPE_IPV4, 20)
    }

    /// The IPv6 header.
    fn v6(&self) -> Option<&[u8]> {
        self.header(ETHERTYPE_IPV6, 40)
    }

    fn is_neighbour_discovery(&self) -> bool {
        let kind = self.frame.get(L3 + 40);
        self.v6().is_some_and(|h| h[6] == protocol::ICMPV6 && h[7] == 255)
            && kind.is_some_and(|kind| matches!(kind, 135 | 136))
    }

    fn is_ah_over_ipv6(&self) -> bool {
        self.v6().is_some_and(|h| h[6] == protocol::AH)
    }

    /// Extension headers in order, as far as they can be read, with what Bulkhead looks behind
    /// (RFC 8200, 4; IANA, IPv6 Extension Header Types).
    fn extensions(&self) -> Vec<u8> {
        let mut chain = Vec::new();
        let (mut next, mut at) = match self.v6() {
            Some(header) => (header[6], L3 + 40),
            None => return chain,
        };
        while matches!(next, 0 | 43 | 60) || NOT_LOOKED_BEHIND.contains(&next) {
            chain.push(next);
            let Some(&[following, length]) = self.frame.get(at..at + 2) else { break };
            next = following;
            at += 8 + usize::from(length) * 8;
        }
        chain
    }

    fn has_martian(&self) -> bool {
        let v4 = |h: &[u8]| {
            let [src, dst] = [&h[12..16], &h[16..20]];
            matches!(src[0], 0 | 127 | 224..=239)
                || matches!(dst[0], 0 | 127 | 224..=239)
                || [src, dst].contains(&&[255; 4][..])
        };
        let v6 = |h: &[u8]| {
            let none = |a: &[u8]| {
                // Unspecified and loopback differ in the last bit.
                a[0] == 0xff
                    || (a[0] == 0xfe && a[1] & 0xc0 == 0x80)
                    || (a[..15] == [0; 15] && a[15] < 2)
            };
            none(&h[8..24]) || none(&h[24..40])
        };
        self.v4().is_some_and(v4) || self.v6().is_some_and(v6)
    }
}

/// Whether an earlier packet went the other way between the same addresses and ports, and yet came
/// from the same end.
fn answers_from_the_wrong_side(case: &Case<'_>) -> bool {
    let Some((src, dst)) = addressed(case.frame) else { return false };
    case.earlier
        .iter()
        .any(|(from, frame)| *from == case.from && addressed(frame) == Some((dst, src)))
}

/// The two ends of a packet with ports: addresses and ports.
type Addressed<'a> = (&'a [u8], &'a [u8]);

fn addressed(frame: &[u8]) -> Option<(Addressed<'_>, Addressed<'_>)> {
    let (number, at) = transport(frame)?;
    if !matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP) {
        return None;
    }
    let addresses = match frame.get(12..14)? {
        [0x08, 0x00] => frame.get(L3 + 12..L3 + 20)?,
        _ => frame.get(L3 + 8..L3 + 40)?,
    };
    let (src, dst) = addresses.split_at(addresses.len() / 2);
    Some(((src, frame.get(at..at + 2)?), (dst, frame.get(at + 2..at + 4)?)))
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Datagram, seal, udp};
    use super::*;

    /// A UDP datagram between these addresses, from the left.
    fn frame(src: &str, dst: &str, ports: (u16, u16)) -> Vec<u8> {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        let body = udp(ports.0, ports.1, b"0123456789abcdef");
        Datagram { from: End::Left, src, dst, protocol: protocol::UDP, mark: 1, body }.frame()
    }

    fn row_of(frame: &[u8], stricter: World) -> Option<&'static str> {
        let case = Case { from: End::Left, frame, earlier: Vec::new(), stricter };
        find(&case).map(|row| row.id)
    }

    #[test]
    fn nothing_explains_that_a_good_packet_is_dropped() {
        for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("fd77::1", "fd77::2")] {
            let good = frame(src, dst, (1, 2));
            assert_eq!(World::BOTH.map(|world| row_of(&good, world)), [None, None]);
        }
    }

    #[test]
    fn a_changed_field_is_explained_where_the_router_is_stricter_and_not_the_other_way() {
        let changed = |src: &str, dst: &str, at: usize, bytes: &[u8]| {
            let mut frame = frame(src, dst, (1, 2));
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            seal(&mut frame);
            frame
        };
        let v4 = |at: usize, bytes: &[u8]| changed("10.0.0.1", "10.0.0.2", at, bytes);
        let v6 = |at: usize, bytes: &[u8]| changed("fd77::1", "fd77::2", at, bytes);
        let cases = [
            (v4(0, &[2]), None),
            (v4(0, &[4]), Some("station")),
            (v4(12, &[0x81, 0]), Some("VLAN")),
            (v4(12, &[8, 6]), Some("address resolution")),
            (v4(L3 + 8, &[2]), None),
            (v4(L3 + 8, &[1]), Some("TTL")),
            (v6(L3 + 7, &[0]), Some("TTL")),
            (v4(L3 + 12, &[126]), None),
            (v4(L3 + 12, &[127]), Some("martian")),
            (v4(L3 + 16, &[223]), None),
            (v4(L3 + 16, &[224]), Some("martian")),
            (v4(L3 + 16, &[255; 4]), Some("martian")),
            (v6(L3 + 24, &[0xfe, 0xbf]), Some("martian")),
            (v6(L3 + 24, &[0xfe, 0xc0]), None),
            (v6(L3 + 6, &[59]), Some("no next header")),
        ];
        for (frame, row) in cases {
            assert_eq!(row_of(&frame, World::Nftables), row, "{frame:02x?}");
            assert_eq!(row_of(&frame, World::Gateway), None, "{frame:02x?}");
        }
    }

    #[test]
    fn extension_headers_are_read_in_order() {
        let extended = |headers: &[u8]| {
            let mut frame = frame("fd77::1", "fd77::2", (1, 2));
            for (nth, next) in headers[1..].iter().chain(&[protocol::UDP]).enumerate() {
                let at = L3 + 40 + 8 * nth;
                frame.splice(at..at, [*next, 0, 1, 4, 0, 0, 0, 0]);
            }
            frame[L3 + 6] = headers[0];
            frame
        };
        let disorder = Some("extension headers in disorder");
        for (headers, row) in [
            (&[0, 60][..], None),
            (&[60, 0], disorder),
            (&[0, 0], disorder),
            (&[60; 8], None),
            (&[60; 9], disorder),
            (&[60, 135], Some("extension headers not looked behind")),
            (&[253], Some("extension headers not looked behind")),
        ] {
            assert_eq!(row_of(&extended(headers), World::Gateway), row, "{headers:?}");
        }
        assert_eq!(row_of(&extended(&[0]), World::Nftables), Some("hop-by-hop options"));
        assert_eq!(row_of(&extended(&[60]), World::Nftables), None);
    }

    #[test]
    fn an_answer_is_from_the_wrong_side_when_its_request_came_from_there() {
        let request = frame("10.0.0.1", "10.0.0.2", (1, 2));
        let answer = frame("10.0.0.2", "10.0.0.1", (2, 1));
        let other = frame("10.0.0.2", "10.0.0.1", (2, 3));
        for (answer, asked_from, row) in [
            (&answer, End::Left, Some("wrong side")),
            (&answer, End::Right, None),
            (&other, End::Left, None),
        ] {
            let earlier = vec![(asked_from, &*request)];
            let stricter = World::Gateway;
            let case = Case { from: End::Left, frame: answer, earlier, stricter };
            assert_eq!(find(&case).map(|row| row.id), row);
        }
    }
}
