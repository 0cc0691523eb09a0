//! The traffic of the live measurement: UDP flows from the left zone to the right one that differ
//! in their source port, in frames of the least length.

use crate::rulegen::{self, RuleConfig, UDP};
use crate::sides::{LEFT, RIGHT};
use crate::workload;
use classifier::{Family, PacketKey, PortRange, Rule};
use etherparse::PacketBuilder;
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

/// The policy file of [`rules`], and the id of the rule that allows the traffic. `zones` are the
/// names of the zones it comes from and goes to.
pub fn policy(count: usize, zones: [&str; 2]) -> (String, String) {
    let rules = rules(count);
    let allow: Vec<bool> = (1..=rules.len()).map(|n| n == rules.len() || n % 3 != 0).collect();
    (workload::policy(&rules, &allow, zones), format!("r{}", rules.len()))
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
    fn the_policy_ends_with_the_rule_that_allows_the_traffic() {
        let (text, id) = policy(100, ["clients", "servers"]);
        let last = text.lines().last().unwrap();
        assert_eq!(id, "r100");
        assert!(last.starts_with("  - { id: r100, from: clients, to: servers, "), "{last}");
        assert!(last.ends_with("action: allow }"), "{last}");
    }
}
