//! Rule sets with the structure of real ones.
//!
//! After ClassBench (Taylor and Turner, INFOCOM 2005), in its terms: addresses nest in a tree of
//! prefixes and crowd in some of its branches; ports fall into the classes wildcard (WC), well
//! known (LO), ephemeral (HI), arbitrary range (AR) and exact match (EM); most rules name a
//! protocol. Narrow rules come before wide ones, as operators write them.

use crate::sides::{LEFT, RIGHT, network, network_bits, opposite};
use classifier::{AddressMatch, Family, PortRange, Rule, ZoneId};
use fastrand::Rng;
use std::collections::HashSet;

/// ICMP's protocol number.
pub const ICMP: u8 = 1;
/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's protocol number.
pub const UDP: u8 = 17;
/// ICMPv6's protocol number.
pub const ICMPV6: u8 = 58;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct RuleConfig {
    /// Rules, exactly.
    pub rules: usize,
    /// Same seed, same rules.
    pub seed: u64,
    /// Whether some rules look at source ports. The policy language has no words for that.
    pub source_ports: bool,
}

/// Distinct rules between [`LEFT`] and [`RIGHT`], in priority order. None matches everything, and
/// no prefix lies in the last quarter of a zone's network: there is traffic that no rule matches.
pub fn rules(config: RuleConfig) -> Vec<Rule> {
    let mut rng = Rng::with_seed(config.seed);
    let mut seen = HashSet::with_capacity(config.rules);
    let mut rules = Vec::with_capacity(config.rules);
    while rules.len() < config.rules {
        let rule = rule(&mut rng, config.source_ports);
        if seen.insert(rule.clone()) {
            rules.push(rule);
        }
    }
    rules.sort_by_key(|rule| (wideness(&rule.src) + wideness(&rule.dst)) / 8);
    rules
}

fn rule(rng: &mut Rng, source_ports: bool) -> Rule {
    let family = if rng.u8(..100) < 25 { Family::V6 } else { Family::V4 };
    let from = if rng.u8(..100) < 70 { LEFT } else { RIGHT };
    let to = opposite(from);
    let (src, dst) = match rng.u8(..100) {
        0..70 => (prefix(rng, from, family), prefix(rng, to, family)),
        70..85 => (AddressMatch::Any, prefix(rng, to, family)),
        85..97 => (prefix(rng, from, family), AddressMatch::Any),
        _ => (AddressMatch::Any, AddressMatch::Any),
    };
    let (mut protocol, mut src_ports, mut dst_ports) = service(rng, family);
    if src == AddressMatch::Any && dst == AddressMatch::Any {
        // Between everybody and everybody only one port each: no rule swallows the traffic.
        protocol = Some(if rng.bool() { TCP } else { UDP });
        (src_ports, dst_ports) = (PortRange::ANY, PortRange::one(rng.u16(1..)));
    }
    if source_ports && matches!(protocol, Some(TCP | UDP)) && rng.u8(..100) < 20 {
        src_ports = match rng.u8(..100) {
            0..40 => PortRange { low: 1024, high: u16::MAX },
            40..90 => PortRange::one(rng.u16(1..)),
            _ => range(rng),
        };
    }
    let zones = rng.u8(..100) < 85;
    Rule {
        from_zone: zones.then_some(from),
        to_zone: zones.then_some(to),
        src,
        dst,
        protocol,
        src_ports,
        dst_ports,
        ..Rule::ANY
    }
}

/// Lengths at which prefixes branch, and how many branches each level has: four levels of nesting
/// from sites to hosts. The first level uses three quarters of its zone's network.
fn levels(family: Family) -> [(u8, u32); 5] {
    match family {
        Family::V4 => [(16, 96), (20, 16), (24, 16), (28, 16), (32, 16)],
        Family::V6 => [(48, 0xc000), (56, 16), (64, 16), (96, 16), (128, 16)],
    }
}

fn prefix(rng: &mut Rng, zone: ZoneId, family: Family) -> AddressMatch {
    // Half the prefixes are hosts; of the rest, the sizes of subnets lead.
    let depth = match rng.u8(..100) {
        0..4 => 0,
        4..12 => 1,
        12..34 => 2,
        34..44 => 3,
        _ => 4,
    };
    let levels = levels(family);
    let value =
        levels[..=depth].iter().fold(network_bits(zone, family), |value, &(len, branches)| {
            // The square crowds prefixes into the lower branches, so that they nest.
            let branch = (f64::from(branches) * rng.f64().powi(2)) as u128;
            value | branch << (family.bits() - len)
        });
    debug_assert!(levels[depth].0 > network(zone, family).1);
    AddressMatch::Prefix { family, value, len: levels[depth].0 }
}

/// Destination ports that many rules of real sets name.
const SERVICES: [(u8, u16); 16] = [
    (TCP, 22),
    (TCP, 25),
    (TCP, 53),
    (TCP, 80),
    (TCP, 443),
    (TCP, 445),
    (TCP, 1433),
    (TCP, 1521),
    (TCP, 3306),
    (TCP, 5432),
    (TCP, 8080),
    (UDP, 53),
    (UDP, 123),
    (UDP, 161),
    (UDP, 514),
    (UDP, 4789),
];

/// Protocol, source ports (or ICMP type) and destination ports (or code).
fn service(rng: &mut Rng, family: Family) -> (Option<u8>, PortRange, PortRange) {
    let protocol = match rng.u8(..100) {
        0..66 => TCP,
        66..88 => UDP,
        88..95 if family == Family::V4 => return icmp(rng, ICMP, [0, 3, 8, 11]),
        88..95 => return icmp(rng, ICMPV6, [1, 3, 128, 129]),
        _ => return (None, PortRange::ANY, PortRange::ANY),
    };
    match rng.u8(..100) {
        0..35 => {
            let (protocol, port) = SERVICES[rng.usize(..SERVICES.len())];
            (Some(protocol), PortRange::ANY, PortRange::one(port))
        }
        35..60 => (Some(protocol), PortRange::ANY, PortRange::one(rng.u16(1..))),
        60..75 => (Some(protocol), PortRange::ANY, PortRange::ANY),
        75..85 => (Some(protocol), PortRange::ANY, PortRange { low: 1024, high: u16::MAX }),
        85..88 => (Some(protocol), PortRange::ANY, PortRange { low: 1, high: 1023 }),
        _ => (Some(protocol), PortRange::ANY, range(rng)),
    }
}

fn icmp(rng: &mut Rng, protocol: u8, types: [u16; 4]) -> (Option<u8>, PortRange, PortRange) {
    let icmp_type = match rng.u8(..100) {
        0..30 => PortRange::ANY,
        _ => PortRange::one(types[rng.usize(..types.len())]),
    };
    (Some(protocol), icmp_type, PortRange::ANY)
}

/// An arbitrary range, short more often than long.
pub(crate) fn range(rng: &mut Rng) -> PortRange {
    let low = rng.u16(1..60_000);
    let length = 1u16 << rng.u32(1..12);
    PortRange { low, high: low + length }
}

/// Wildcard bits of an address field, of 32 whatever the family.
pub(crate) fn wideness(addresses: &AddressMatch) -> u32 {
    match addresses {
        AddressMatch::Prefix { family, len, .. } => {
            32 - u32::from(*len) * 32 / u32::from(family.bits())
        }
        _ => 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sides::zone_of;

    fn generate(rules: usize, seed: u64) -> Vec<Rule> {
        super::rules(RuleConfig { rules, seed, source_ports: true })
    }

    #[test]
    fn the_same_seed_gives_the_same_rules_and_another_seed_others() {
        assert_eq!(generate(500, 7), generate(500, 7));
        assert_ne!(generate(500, 7), generate(500, 8));
    }

    #[test]
    fn exactly_as_many_rules_as_asked_for_and_all_distinct() {
        for count in [0, 1, 10, 1000, 20_000] {
            let rules = generate(count, 1);
            assert_eq!(rules.len(), count);
            assert_eq!(rules.iter().collect::<HashSet<_>>().len(), count);
        }
    }

    #[test]
    fn prefixes_lie_in_the_network_of_their_zone_and_have_no_host_bits() {
        for rule in generate(5000, 2) {
            for (addresses, zone) in [(&rule.src, rule.from_zone), (&rule.dst, rule.to_zone)] {
                if let AddressMatch::Prefix { family, value, len } = *addresses {
                    let found = zone_of(addresses).expect("in one of the networks");
                    assert!(zone.is_none_or(|zone| zone == found), "{rule:?}");
                    let masked = AddressMatch::prefix(family.ip_addr(value), len);
                    assert_eq!(masked.as_ref(), Ok(addresses));
                }
            }
        }
    }

    #[test]
    fn rule_sets_have_the_variety_of_real_ones() {
        let rules = generate(5000, 3);
        let share = |what: &dyn Fn(&Rule) -> bool| {
            rules.iter().filter(|rule| what(rule)).count() as f64 / rules.len() as f64
        };
        let has_family = |rule: &Rule, wanted| {
            [&rule.src, &rule.dst]
                .iter()
                .any(|a| matches!(a, AddressMatch::Prefix { family, .. } if *family == wanted))
        };
        let is_range = |ports: PortRange| ports.low != ports.high && ports != PortRange::ANY;
        assert!(share(&|rule| has_family(rule, Family::V4)) > 0.6);
        assert!(share(&|rule| has_family(rule, Family::V6)) > 0.2);
        assert!(share(&|rule| rule.src == AddressMatch::Any) > 0.1);
        assert!(share(&|rule| rule.protocol == Some(TCP)) > 0.5);
        assert!(share(&|rule| rule.protocol == Some(UDP)) > 0.15);
        assert!(share(&|rule| matches!(rule.protocol, Some(ICMP | ICMPV6))) > 0.04);
        assert!(share(&|rule| is_range(rule.dst_ports)) > 0.15);
        assert!(share(&|rule| is_range(rule.src_ports)) > 0.05);

        let nested = rules.iter().filter(|inner| {
            rules.iter().any(|outer| match (&inner.src, &outer.src) {
                (
                    AddressMatch::Prefix { family, value, len },
                    AddressMatch::Prefix { len: outer_len, .. },
                ) => outer_len < len && outer.src.contains(*family, *value),
                _ => false,
            })
        });
        assert!(nested.count() > rules.len() / 3);
    }
}
