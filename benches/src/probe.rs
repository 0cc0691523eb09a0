//! The traffic of the live measurement: UDP flows from the left zone to the right one that differ
//! in their source port, in frames of the least length.

use crate::rulegen::{self, RuleConfig, TCP, UDP};
use crate::sides::{self, LEFT, RIGHT};
use crate::workload;
use classifier::{AddressMatch, Family, PacketKey, PortRange, Rule, prefix_mask};
use etherparse::PacketBuilder;
use fastrand::Rng;
use std::net::Ipv4Addr;

/// Bytes of a frame, FCS not included: Ethernet's least.
pub const FRAME_BYTES: usize = 60;
/// Source port of the first flow; the others follow.
pub const FIRST_PORT: u16 = 5000;
/// Most flows.
pub const MAX_FLOWS: u16 = u16::MAX - FIRST_PORT;
/// Destination port of every flow: discard (RFC 863).
pub const TARGET_PORT: u16 = 9;
/// The ends, of the network for benchmarks (RFC 2544, C.2.2): no generated prefix contains them.
const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const TARGET: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);

const HEADERS: usize = 14 + 20 + 8;
/// Where the UDP checksum lies in a frame.
const UDP_CHECKSUM: usize = 40;

/// The frame of flow 0 between two Ethernet addresses. The other flows' differ in the source port
/// alone: the UDP checksum is 0, which says that there is none (RFC 768).
///
/// # Panics
/// Never: headers of a fixed size fit in every length field.
pub fn frame(source: [u8; 6], target: [u8; 6]) -> [u8; FRAME_BYTES] {
    let mut bytes = Vec::with_capacity(FRAME_BYTES);
    PacketBuilder::ethernet2(source, target)
        .ipv4(SOURCE.octets(), TARGET.octets(), 64)
        .udp(FIRST_PORT, TARGET_PORT)
        .write_to_vec(&mut bytes, &[0; FRAME_BYTES - HEADERS])
        .expect("a short payload fits in the length fields");
    bytes[UDP_CHECKSUM..UDP_CHECKSUM + 2].fill(0);
    bytes.try_into().expect("headers and payload are as long as a frame")
}

/// What rules are asked about a packet of `flow`.
pub fn key(flow: u16) -> PacketKey {
    PacketKey {
        src: SOURCE.to_bits().into(),
        dst: TARGET.to_bits().into(),
        protocol: UDP,
        src_port: FIRST_PORT + flow,
        dst_port: TARGET_PORT,
        from_zone: LEFT,
        to_zone: RIGHT,
        ..PacketKey::empty(Family::V4)
    }
}

/// `count` rules, at least one: the last one matches the traffic, the others are generated ones
/// that do not.
pub fn rules(count: usize) -> Vec<Rule> {
    let generated = count.saturating_sub(1);
    let mut rules = rulegen::rules(RuleConfig { rules: generated, seed: 1, source_ports: false });
    rules.push(Rule {
        from_zone: Some(LEFT),
        to_zone: Some(RIGHT),
        protocol: Some(UDP),
        dst_ports: PortRange::one(TARGET_PORT),
        ..Rule::ANY
    });
    rules
}

/// `count` rules, at least one, no two of which match the same packet: what such a policy allows does
/// not depend on the order of its rules, so that it can be looked up in a set as well. The last one
/// matches the traffic. All are between prefixes, for a port or a few of TCP or UDP, from the left
/// zone to the right one.
///
/// # Panics
/// If there are not enough destinations for `count`.
pub fn disjoint_rules(count: usize) -> Vec<Rule> {
    let mut rng = Rng::with_seed(1);
    let mut rules: Vec<Rule> =
        (0..count.saturating_sub(1)).map(|n| disjoint_rule(n, &mut rng)).collect();
    rules.push(Rule {
        from_zone: Some(LEFT),
        to_zone: Some(RIGHT),
        src: AddressMatch::host(SOURCE.into()),
        dst: AddressMatch::host(TARGET.into()),
        protocol: Some(UDP),
        dst_ports: PortRange::one(TARGET_PORT),
        ..Rule::ANY
    });
    rules
}

/// Services of a destination, each for sources of its own.
const SERVICES: [(u8, PortRange); 4] = [
    (TCP, PortRange { low: 443, high: 443 }),
    (UDP, PortRange { low: 53, high: 53 }),
    (TCP, PortRange { low: 8000, high: 8099 }),
    (TCP, PortRange { low: 5432, high: 5432 }),
];

/// Destinations are blocks of so many bits, or hosts that have one to themselves.
const BLOCK: u8 = 4;

/// The rule for the `n`-th pair of a destination and a service.
fn disjoint_rule(n: usize, rng: &mut Rng) -> Rule {
    let (block, (protocol, dst_ports)) = (n / SERVICES.len(), SERVICES[n % SERVICES.len()]);
    let (family, lengths) = match block % 4 {
        3 => (Family::V6, [48, 56, 64, 128]),
        _ => (Family::V4, [16, 20, 24, 32]),
    };
    let network = |zone| (sides::network_bits(zone, family), sides::network(zone, family).1);
    let (right, len) = network(RIGHT);
    assert!(block < 1 << (family.bits() - len - BLOCK).min(32), "{n} rules need more destinations");
    let (left, zone_len) = network(LEFT);
    let src_len = lengths[rng.usize(..lengths.len())];
    let src = (left | rng.u128(..) & !prefix_mask(family, zone_len)) & prefix_mask(family, src_len);
    Rule {
        from_zone: Some(LEFT),
        to_zone: Some(RIGHT),
        src: AddressMatch::Prefix { family, value: src, len: src_len },
        dst: AddressMatch::Prefix {
            family,
            value: right | (block as u128) << BLOCK,
            len: if block.is_multiple_of(3) { family.bits() - BLOCK } else { family.bits() },
        },
        protocol: Some(protocol),
        dst_ports,
        ..Rule::ANY
    }
}

/// The policy file of [`rules`], and the id of the rule that allows the traffic. `zones` are the
/// names of the zones it comes from and goes to.
pub fn policy(count: usize, zones: [&str; 2]) -> (String, String) {
    let rules = rules(count);
    let allow: Vec<bool> = (1..=rules.len()).map(|n| n == rules.len() || n % 3 != 0).collect();
    (workload::policy(&rules, &allow, zones), format!("r{}", rules.len()))
}

/// The same of [`disjoint_rules`], which all allow.
///
/// # Panics
/// As [`disjoint_rules`].
pub fn disjoint_policy(count: usize, zones: [&str; 2]) -> (String, String) {
    let rules = disjoint_rules(count);
    (workload::policy(&rules, &vec![true; rules.len()], zones), format!("r{}", rules.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::compile;
    use classifier::Lookup;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    /// RFC 1071: the ones' complement sum over a header with its checksum is all ones.
    fn ones_complement_sum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn the_frame_has_the_least_length_and_a_right_ipv4_checksum() {
        let frame = frame([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(ones_complement_sum(&frame[14..34]), 0xffff);
        assert_eq!(frame[40..42], [0, 0]);
    }

    #[test]
    fn the_frame_carries_the_key_of_flow_0_and_lengths_that_fill_it() {
        let frame = frame([2; 6], [4; 6]);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
        let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
        let key = key(0);
        assert_eq!(u128::from(ip.header().source_addr().to_bits()), key.src);
        assert_eq!(u128::from(ip.header().destination_addr().to_bits()), key.dst);
        assert_eq!(ip.header().total_len(), 46);
        assert_eq!((udp.source_port(), udp.destination_port()), (key.src_port, key.dst_port));
        assert_eq!(udp.length(), 26);
    }

    #[test]
    fn only_the_last_rule_matches_the_traffic() {
        for count in [1, 2, 10, 1000, 10_000] {
            let rules = rules(count);
            assert_eq!(rules.len(), count);
            let table = compile(rules).unwrap();
            for flow in [0, 1, 63, MAX_FLOWS - 1] {
                assert_eq!(table.lookup(&key(flow)), Some(count as u32 - 1), "{count} rules");
            }
        }
    }

    #[test]
    fn no_two_disjoint_rules_match_the_same_packet_and_the_last_one_matches_the_traffic() {
        let overlap = |a: &Rule, b: &Rule| {
            let common = |a: &AddressMatch, b: &AddressMatch| match (a, b) {
                (
                    &AddressMatch::Prefix { family: one, value: a, len: a_len },
                    &AddressMatch::Prefix { family: other, value: b, len: b_len },
                ) => {
                    let mask = prefix_mask(one, a_len.min(b_len));
                    one == other && a & mask == b & mask
                }
                _ => panic!("{a:?} {b:?}"),
            };
            common(&a.src, &b.src)
                && common(&a.dst, &b.dst)
                && a.protocol == b.protocol
                && a.dst_ports.low <= b.dst_ports.high
                && b.dst_ports.low <= a.dst_ports.high
        };
        let rules = disjoint_rules(600);
        assert_eq!(rules.len(), 600);
        for (n, a) in rules.iter().enumerate() {
            assert!(rules[..n].iter().all(|b| !overlap(a, b)), "{a:?}");
        }
        assert!(overlap(&rules[3], &rules[3]));
        let v6 = rules
            .iter()
            .filter(|rule| matches!(rule.src, AddressMatch::Prefix { family: Family::V6, .. }));
        assert_eq!(v6.count(), 148);

        let table = compile(disjoint_rules(100_000)).unwrap();
        assert_eq!(table.lookup(&key(0)), Some(99_999));
    }

    #[test]
    fn the_policy_ends_with_the_rule_that_allows_the_traffic() {
        let (text, id) = policy(100, ["clients", "servers"]);
        let last = text.lines().last().unwrap();
        assert_eq!(id, "r100");
        assert!(last.starts_with("  - { id: r100, from: clients, to: servers, "), "{last}");
        assert!(last.ends_with("action: allow }"), "{last}");
    }
}
