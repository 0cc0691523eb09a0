//! Points of rules: headers that a rule matches.

use crate::rulegen::{ICMP, TCP, UDP};
use classifier::{
    AddressMatch, Family, FlagsMatch, IdentityRange, IpBits, LengthRange, MacMatch, PacketKey,
    Range16, Rule, ZoneId,
};
use fastrand::Rng;

/// Where in a rule a point lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Anywhere: each field uniform over the values that the rule matches.
    Uniform,
    /// At a corner: each field the lowest or the highest value that the rule matches.
    Corner,
}

/// The fields and values that a rule set names. A field that a rule leaves open gets one of them,
/// and a field that no rule names stays as it is in [`PacketKey::empty`].
#[derive(Clone, Debug)]
pub struct Space {
    zones: Vec<ZoneId>,
    vlans: Vec<u16>,
    dscps: Vec<u8>,
    /// The highest identity named, if any is.
    identities: Option<u16>,
    flags: bool,
    fragments: bool,
    /// Source and destination.
    macs: [bool; 2],
    lengths: bool,
}

impl Space {
    /// What `rules` name.
    pub fn of(rules: &[Rule]) -> Self {
        let zones = |rule: &Rule| [rule.from_zone, rule.to_zone].into_iter().flatten();
        let identities = |rule: &Rule| {
            [rule.src_identities, rule.dst_identities]
                .into_iter()
                .filter(|range| *range != IdentityRange::ANY)
                .map(|range| range.high)
        };
        Space {
            zones: distinct(rules.iter().flat_map(zones).chain([ZoneId::UNKNOWN])),
            vlans: distinct(rules.iter().filter_map(|rule| rule.vlan).chain([0])),
            dscps: distinct(rules.iter().filter_map(|rule| rule.dscp).chain([0])),
            identities: rules.iter().flat_map(identities).max(),
            flags: rules.iter().any(|rule| rule.tcp_flags != FlagsMatch::ANY),
            fragments: rules.iter().any(|rule| rule.fragment.is_some()),
            macs: [
                rules.iter().any(|rule| rule.src_mac != MacMatch::ANY),
                rules.iter().any(|rule| rule.dst_mac != MacMatch::ANY),
            ],
            lengths: rules.iter().any(|rule| rule.lengths != LengthRange::ANY),
        }
    }

    /// A point of `rule`; `None` if it matches nothing.
    pub fn point(&self, rule: &Rule, point: Point, rng: &mut Rng) -> Option<PacketKey> {
        let families = [Family::V4, Family::V6].map(|family| {
            let (src, dst) = (rule.src.ranges(family), rule.dst.ranges(family));
            (!src.is_empty() && !dst.is_empty()).then_some((family, src, dst))
        });
        let mut possible: Vec<_> = families.into_iter().flatten().collect();
        if possible.is_empty() {
            return None;
        }
        let (family, src, dst) = possible.swap_remove(rng.usize(..possible.len()));
        let protocols = rule.protocol.map_or((0, u8::MAX), |protocol| (protocol, protocol));
        let FlagsMatch { value, mask } = rule.tcp_flags;
        if value & !mask != 0 {
            return None;
        }
        Some(PacketKey {
            src: address_of(&src, point, rng),
            dst: address_of(&dst, point, rng),
            ip: IpBits::new(family)
                .with_dscp(rule.dscp.unwrap_or_else(|| any_of(&self.dscps, rng)))
                .with_fragment(rule.fragment.unwrap_or_else(|| self.fragments && rng.bool())),
            protocol: point.of(protocols.0.into(), protocols.1.into(), rng) as u8,
            src_port: within(rule.src_ports, point, rng)?,
            dst_port: within(rule.dst_ports, point, rng)?,
            from_zone: rule.from_zone.unwrap_or_else(|| any_of(&self.zones, rng)),
            to_zone: rule.to_zone.unwrap_or_else(|| any_of(&self.zones, rng)),
            vlan: rule.vlan.unwrap_or_else(|| any_of(&self.vlans, rng)),
            tcp_flags: match self.flags {
                true => value | (point.of(0, u16::MAX.into(), rng) as u16 & !mask),
                false => 0,
            },
            src_identity: self.identity(rule.src_identities, point, rng)?,
            dst_identity: self.identity(rule.dst_identities, point, rng)?,
            length: if self.lengths { within(rule.lengths, point, rng)? } else { 0 },
            src_mac: mac_of(self.macs[0], rule.src_mac, point, rng)?,
            dst_mac: mac_of(self.macs[1], rule.dst_mac, point, rng)?,
        })
    }

    /// A header of `family` with random fields, of those that the rules name and the five-tuple.
    /// Most packets are TCP, UDP and ICMP.
    pub fn anywhere(&self, family: Family, rng: &mut Rng) -> PacketKey {
        let protocol = match rng.u8(..100) {
            0..60 => Some(TCP),
            60..85 => Some(UDP),
            85..95 => Some(ICMP),
            _ => None,
        };
        let all = [(0, classifier::prefix_mask(family, family.bits()))];
        let open = Rule { protocol, ..Rule::ANY };
        let drawn = self.point(&open, Point::Uniform, rng);
        let drawn = drawn.expect("a rule that matches every packet of a protocol has points");
        PacketKey {
            src: address_of(&all, Point::Uniform, rng),
            dst: address_of(&all, Point::Uniform, rng),
            ip: IpBits::new(family).with_dscp(drawn.dscp()).with_fragment(drawn.fragment()),
            ..drawn
        }
    }

    fn identity(&self, range: IdentityRange, point: Point, rng: &mut Rng) -> Option<u16> {
        match (range, self.identities) {
            (IdentityRange::ANY, None) => Some(0),
            (IdentityRange::ANY, Some(last)) => within(Range16 { low: 0, high: last }, point, rng),
            _ => within(range, point, rng),
        }
    }
}

impl Point {
    fn of(self, low: u128, high: u128, rng: &mut Rng) -> u128 {
        match self {
            Point::Uniform => rng.u128(low..=high),
            Point::Corner => [low, high][rng.usize(..2)],
        }
    }
}

/// An address of `addresses`, uniform; `None` if it has none of `family`.
pub fn address(addresses: &AddressMatch, family: Family, rng: &mut Rng) -> Option<u128> {
    let ranges = addresses.ranges(family);
    (!ranges.is_empty()).then(|| address_of(&ranges, Point::Uniform, rng))
}

/// The family that `addresses` says by itself: that of a prefix or a range.
pub fn family_of(addresses: &AddressMatch) -> Option<Family> {
    match addresses {
        AddressMatch::Prefix { family, .. } | AddressMatch::Range { family, .. } => Some(*family),
        AddressMatch::Any | AddressMatch::Set(_) => None,
    }
}

/// An address that `mac` wants; all zero where no rule `names` one. `None` if there is none.
fn mac_of(names: bool, mac: MacMatch, point: Point, rng: &mut Rng) -> Option<[u8; 6]> {
    let MacMatch { value, mask } = mac;
    let open: [u8; 6] = match names {
        true => std::array::from_fn(|_| point.of(0, u8::MAX.into(), rng) as u8),
        false => [0; 6],
    };
    let drawn = std::array::from_fn(|i| value[i] | open[i] & !mask[i]);
    mac.contains(drawn).then_some(drawn)
}

fn address_of(ranges: &[(u128, u128)], point: Point, rng: &mut Rng) -> u128 {
    let (low, high) = ranges[rng.usize(..ranges.len())];
    point.of(low, high, rng)
}

fn within(Range16 { low, high }: Range16, point: Point, rng: &mut Rng) -> Option<u16> {
    (low <= high).then(|| point.of(low.into(), high.into(), rng) as u16)
}

fn any_of<T: Copy>(values: &[T], rng: &mut Rng) -> T {
    values[rng.usize(..values.len())]
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn everything_named() -> Rule {
        let prefix = AddressMatch::prefix(Ipv4Addr::new(10, 1, 0, 0).into(), 16).unwrap();
        let range = AddressMatch::Range { family: Family::V4, low: 5, high: 9 };
        Rule {
            from_zone: Some(ZoneId(3)),
            to_zone: Some(ZoneId(4)),
            vlan: Some(7),
            src: AddressMatch::set([prefix, range]),
            dst: AddressMatch::Range { family: Family::V4, low: 100, high: 200 },
            src_identities: IdentityRange { low: 10, high: 20 },
            dst_identities: IdentityRange::one(30),
            protocol: Some(6),
            src_ports: Range16 { low: 1024, high: u16::MAX },
            dst_ports: Range16::one(80),
            tcp_flags: FlagsMatch { value: 0x02, mask: 0x12 },
            dscp: Some(46),
            fragment: Some(false),
            src_mac: MacMatch { value: [2, 0, 0, 0, 0, 0], mask: [3, 0, 0, 0, 0, 0] },
            dst_mac: MacMatch::one([2, 0, 0, 0, 0, 9]),
            lengths: Range16 { low: 40, high: 60 },
        }
    }

    #[test]
    fn points_of_a_rule_match_it_whatever_fields_it_names() {
        let rules = [everything_named(), Rule::ANY];
        let space = Space::of(&rules);
        let mut rng = Rng::with_seed(1);
        for point in [Point::Uniform, Point::Corner] {
            for rule in &rules {
                for _ in 0..200 {
                    let key = space.point(rule, point, &mut rng).unwrap();
                    assert!(rule.matches(&key), "{rule:?} {key:?}");
                }
            }
        }
    }

    #[test]
    fn uniform_points_spread_and_corners_lie_at_the_ends() {
        let rule = everything_named();
        let space = Space::of(std::slice::from_ref(&rule));
        let mut rng = Rng::with_seed(2);
        let mut ports = |point| {
            distinct((0..300).map(|_| space.point(&rule, point, &mut rng).unwrap().src_port))
        };
        assert!(ports(Point::Uniform).len() > 250);
        assert_eq!(ports(Point::Corner), [1024, u16::MAX]);
    }

    #[test]
    fn fields_that_no_rule_names_stay_empty() {
        let rules = [Rule { dst_ports: Range16::one(80), ..Rule::ANY }];
        let key = Space::of(&rules).point(&rules[0], Point::Uniform, &mut Rng::with_seed(3));
        let key = key.unwrap();
        let named = PacketKey {
            src: key.src,
            dst: key.dst,
            protocol: key.protocol,
            src_port: key.src_port,
            dst_port: 80,
            ..PacketKey::empty(key.family())
        };
        assert_eq!(key, named);
    }

    #[test]
    fn a_rule_that_matches_nothing_has_no_points() {
        let host = |addr: &str| AddressMatch::host(addr.parse().unwrap());
        let nothing = [
            Rule { src_ports: Range16 { low: 2, high: 1 }, ..Rule::ANY },
            Rule { src: host("10.0.0.1"), dst: host("fd00::1"), ..Rule::ANY },
            Rule { tcp_flags: FlagsMatch { value: 2, mask: 1 }, ..Rule::ANY },
            Rule { src_mac: MacMatch { value: [1; 6], mask: [0; 6] }, ..Rule::ANY },
            Rule { lengths: Range16 { low: 2, high: 1 }, ..Rule::ANY },
            Rule { dst: AddressMatch::set([]), ..Rule::ANY },
        ];
        let space = Space::of(&nothing);
        for rule in &nothing {
            assert_eq!(space.point(rule, Point::Uniform, &mut Rng::with_seed(4)), None, "{rule:?}");
        }
    }

    #[test]
    fn random_headers_are_of_the_family_asked_for() {
        let space = Space::of(&[]);
        let mut rng = Rng::with_seed(5);
        for _ in 0..100 {
            assert!(space.anywhere(Family::V4, &mut rng).src <= u32::MAX.into());
            assert_eq!(space.anywhere(Family::V6, &mut rng).family(), Family::V6);
        }
    }
}
