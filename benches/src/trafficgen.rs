//! Packets for a rule set: keys drawn uniformly over its rules, and frames that carry them.

use crate::draw::{self, family_of};
use crate::engines::compile;
use crate::rulegen::{ICMP, ICMPV6, TCP, UDP};
use crate::sides::{LEFT, network, network_bits, opposite, zone_of};
use classifier::{AddressMatch, Classifier, Family, Lookup, PacketKey, PortRange, Rule, ZoneId};
use etherparse::{IpNumber, PacketBuilder};
use fastrand::Rng;

/// Bytes of the shortest frame made, FCS not included.
pub const MIN_FRAME: usize = 64;

/// The SYN flag of TCP, as keys carry it (RFC 9293, section 3.1).
const SYN: u16 = 0x02;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct TrafficConfig {
    /// Packets, exactly.
    pub packets: usize,
    /// Same seed and rules, same packets.
    pub seed: u64,
    /// How many in a hundred shall match no rule.
    pub unmatched_percent: u8,
}

/// Keys in no order, each from a rule taken uniformly (an earlier rule may match it first) or,
/// for the share asked for, from none.
///
/// Where the rules leave nothing unmatched, as an empty set leaves nothing matched, all keys are
/// of the other kind.
///
/// # Panics
/// If the rules cannot be compiled.
pub fn keys(rules: &[Rule], config: TrafficConfig) -> Vec<PacketKey> {
    let mut rng = Rng::with_seed(config.seed);
    let table = compile(rules.to_vec()).expect("generated rules can be compiled");
    (0..config.packets)
        .map(|_| {
            let unmatched = rules.is_empty() || rng.u8(..100) < config.unmatched_percent;
            unmatched
                .then(|| unmatched_key(&table, &mut rng))
                .flatten()
                .unwrap_or_else(|| matched_key(&rules[rng.usize(..rules.len())], &mut rng))
        })
        .collect()
}

/// A key that `rule` matches.
fn matched_key(rule: &Rule, rng: &mut Rng) -> PacketKey {
    let family =
        [&rule.src, &rule.dst].into_iter().find_map(family_of).unwrap_or(match rule.protocol {
            Some(ICMP) => Family::V4,
            Some(ICMPV6) => Family::V6,
            _ if rng.u8(..100) < 25 => Family::V6,
            _ => Family::V4,
        });
    let from_zone = rule
        .from_zone
        .or(zone_of(&rule.src))
        .or(rule.to_zone.or(zone_of(&rule.dst)).map(opposite))
        .unwrap_or(LEFT);
    let to_zone = rule.to_zone.unwrap_or(opposite(from_zone));
    let protocol = rule.protocol.unwrap_or(TCP);
    let (src_port, dst_port) = match protocol {
        ICMP | ICMPV6 => (icmp(rule.src_ports, echo_request(protocol)), icmp(rule.dst_ports, 0)),
        _ => (port(rule.src_ports, rng), port(rule.dst_ports, rng)),
    };
    PacketKey {
        src: address(&rule.src, from_zone, family, rng),
        dst: address(&rule.dst, to_zone, family, rng),
        protocol,
        src_port,
        dst_port,
        from_zone,
        to_zone,
        tcp_flags: if protocol == TCP { SYN } else { 0 },
        ..PacketKey::empty(family)
    }
}

/// A key that no rule matches, from the quarter of the zones' networks without rules of its own.
/// `None` if wide rules matched a thousand tries.
fn unmatched_key(table: &Classifier, rng: &mut Rng) -> Option<PacketKey> {
    let candidate = |_| {
        let family = if rng.u8(..100) < 25 { Family::V6 } else { Family::V4 };
        let from_zone = LEFT;
        let to_zone = opposite(from_zone);
        let mut last_quarter = |zone| {
            let host_bits = family.bits() - network(zone, family).1;
            address(&AddressMatch::Any, zone, family, rng) | 0b11 << (host_bits - 2)
        };
        let (src, dst) = (last_quarter(from_zone), last_quarter(to_zone));
        let protocol = if rng.bool() { TCP } else { UDP };
        PacketKey {
            src,
            dst,
            protocol,
            src_port: rng.u16(1024..),
            dst_port: rng.u16(1..),
            from_zone,
            to_zone,
            tcp_flags: if protocol == TCP { SYN } else { 0 },
            ..PacketKey::empty(family)
        }
    };
    (0..1000).map(candidate).find(|key| table.lookup(key).is_none())
}

/// An address of `addresses`; of the network of `zone` where they are any.
fn address(addresses: &AddressMatch, zone: ZoneId, family: Family, rng: &mut Rng) -> u128 {
    let (base, len) = (network_bits(zone, family), network(zone, family).1);
    let network = AddressMatch::Prefix { family, value: base, len };
    let addresses = if *addresses == AddressMatch::Any { &network } else { addresses };
    draw::address(addresses, family, rng).expect("the family is that of the rule's addresses")
}

/// A port of the range. Of every port, an ephemeral one.
fn port(ports: PortRange, rng: &mut Rng) -> u16 {
    match ports {
        PortRange::ANY => rng.u16(1024..),
        PortRange { low, high } => rng.u16(low..=high),
    }
}

/// `usual` if the range of types or codes has it, else its first.
fn icmp(range: PortRange, usual: u16) -> u16 {
    if range.contains(usual) { usual } else { range.low }
}

fn echo_request(protocol: u8) -> u16 {
    if protocol == ICMPV6 { 128 } else { 8 }
}

/// An Ethernet frame of at least [`MIN_FRAME`] bytes that carries `key`: headers with the right
/// checksums, no payload, padded behind the packet as Ethernet pads. TCP packets are SYNs, so that
/// each may open a flow.
///
/// Protocols other than TCP, UDP and the two ICMPs end with their IP header: the ports of such keys
/// are not carried. ICMP keys have a type and code below 256.
///
/// # Panics
/// Never: headers of a fixed size fit in every length field.
pub fn frame(key: &PacketKey) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(mac(key.from_zone), mac(key.to_zone));
    let ip = match key.family() {
        Family::V4 => {
            let (src, dst) = (key.src as u32, key.dst as u32);
            ethernet.ipv4(src.to_be_bytes(), dst.to_be_bytes(), 64)
        }
        Family::V6 => ethernet.ipv6(key.src.to_be_bytes(), key.dst.to_be_bytes(), 64),
    };
    let (src_port, dst_port) = (key.src_port, key.dst_port);
    let (icmp_type, icmp_code) = (src_port as u8, dst_port as u8);
    let mut frame = Vec::with_capacity(80);
    let written = match key.protocol {
        TCP => ip.tcp(src_port, dst_port, 1, u16::MAX).syn().write_to_vec(&mut frame, &[]),
        UDP => ip.udp(src_port, dst_port).write_to_vec(&mut frame, &[]),
        ICMP => ip.icmpv4_raw(icmp_type, icmp_code, [0; 4]).write_to_vec(&mut frame, &[]),
        ICMPV6 => ip.icmpv6_raw(icmp_type, icmp_code, [0; 4]).write_to_vec(&mut frame, &[]),
        other => ip.write_to_vec(&mut frame, IpNumber(other), &[]),
    };
    written.expect("headers alone fit in their length fields");
    frame.resize(frame.len().max(MIN_FRAME), 0);
    frame
}

/// The address of the one host that stands for a zone; locally administered.
fn mac(zone: ZoneId) -> [u8; 6] {
    let [high, low] = zone.0.to_be_bytes();
    [2, 0, 0, 0, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulegen::{self, RuleConfig};
    use classifier::Linear;
    use etherparse::{LinkSlice, NetSlice, SlicedPacket, TransportSlice};

    fn rules(rules: usize) -> Vec<Rule> {
        rulegen::rules(RuleConfig { rules, seed: 5, source_ports: true })
    }

    fn traffic(packets: usize, seed: u64, unmatched_percent: u8) -> TrafficConfig {
        TrafficConfig { packets, seed, unmatched_percent }
    }

    /// The key of a frame as etherparse reads it.
    fn parse(frame: &[u8]) -> PacketKey {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(LinkSlice::Ethernet2(ethernet)) = packet.link else { panic!("no Ethernet") };
        let zone = |mac: [u8; 6]| ZoneId(u16::from_be_bytes([mac[4], mac[5]]));
        let (family, src, dst, protocol) = match packet.net.unwrap() {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                let address = |octets| u32::from_be_bytes(octets).into();
                (
                    Family::V4,
                    address(header.source()),
                    address(header.destination()),
                    header.protocol(),
                )
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                let address = u128::from_be_bytes;
                (
                    Family::V6,
                    address(header.source()),
                    address(header.destination()),
                    header.next_header(),
                )
            }
            NetSlice::Arp(_) => panic!("ARP"),
        };
        let (src_port, dst_port) = match packet.transport.as_ref().unwrap() {
            TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
            TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port()),
            TransportSlice::Icmpv4(icmp) => (icmp.type_u8().into(), icmp.code_u8().into()),
            TransportSlice::Icmpv6(icmp) => (icmp.type_u8().into(), icmp.code_u8().into()),
            other => panic!("{other:?}"),
        };
        let tcp_flags = match packet.transport.unwrap() {
            TransportSlice::Tcp(tcp) if tcp.syn() => SYN,
            _ => 0,
        };
        PacketKey {
            src,
            dst,
            protocol: protocol.0,
            src_port,
            dst_port,
            from_zone: zone(ethernet.source()),
            to_zone: zone(ethernet.destination()),
            tcp_flags,
            ..PacketKey::empty(family)
        }
    }

    #[test]
    fn frames_parse_back_to_their_keys_and_are_long_enough() {
        let keys = keys(&rules(2000), traffic(4000, 1, 20));
        for key in &keys {
            let frame = frame(key);
            assert_eq!(parse(&frame), *key);
            assert!(frame.len() >= MIN_FRAME && frame.len() <= 74, "{} bytes", frame.len());
        }
        for (family, protocol) in [
            (Family::V4, TCP),
            (Family::V4, UDP),
            (Family::V4, ICMP),
            (Family::V6, TCP),
            (Family::V6, UDP),
            (Family::V6, ICMPV6),
        ] {
            assert!(keys.iter().any(|k| k.family() == family && k.protocol == protocol));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_keys_and_another_seed_others() {
        let rules = rules(100);
        assert_eq!(keys(&rules, traffic(500, 1, 10)), keys(&rules, traffic(500, 1, 10)));
        assert_ne!(keys(&rules, traffic(500, 1, 10)), keys(&rules, traffic(500, 2, 10)));
    }

    #[test]
    fn a_key_drawn_from_a_rule_matches_it() {
        let mut rng = Rng::with_seed(3);
        for rule in rules(5000) {
            let key = matched_key(&rule, &mut rng);
            assert!(rule.matches(&key), "{rule:?} {key:?}");
        }
    }

    #[test]
    fn the_share_asked_for_matches_nothing_and_the_rest_reaches_most_rules() {
        let rules = rules(200);
        let linear = Linear::new(&rules[..]);
        let answers: Vec<_> =
            keys(&rules, traffic(10_000, 1, 20)).iter().map(|key| linear.lookup(key)).collect();
        let unmatched = answers.iter().filter(|answer| answer.is_none()).count();
        assert!((1800..2200).contains(&unmatched), "{unmatched}");
        let mut hit: Vec<_> = answers.into_iter().flatten().collect();
        hit.sort_unstable();
        hit.dedup();
        assert!(hit.len() > 180, "{}", hit.len());
    }

    #[test]
    fn addresses_lie_on_the_side_their_zone_says() {
        for key in keys(&rules(1000), traffic(2000, 1, 20)) {
            let side = |addr| {
                let addr = key.family().ip_addr(addr);
                zone_of(&AddressMatch::host(addr))
            };
            assert_eq!((side(key.src), side(key.dst)), (Some(key.from_zone), Some(key.to_zone)));
        }
    }

    #[test]
    fn no_rules_give_keys_that_match_nothing() {
        assert_eq!(keys(&[], traffic(10, 1, 0)).len(), 10);
    }

    #[test]
    fn rules_that_match_everything_leave_only_matched_keys() {
        assert_eq!(keys(&[Rule::ANY], traffic(10, 1, 100)).len(), 10);
    }
}
