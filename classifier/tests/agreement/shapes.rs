//! Rule sets of shapes that are hard on trees and hash tables.

use crate::check::assert_set_agrees;
use classifier::{
    AddressMatch, Family, FlagsMatch, MacMatch, PortRange, Range16, Rule, ZoneId, prefix_mask,
};
use fastrand::Rng;

fn prefix(family: Family, address: u128, len: u8) -> AddressMatch {
    AddressMatch::Prefix { family, value: address & prefix_mask(family, len), len }
}

fn random_prefix(family: Family, rng: &mut Rng) -> AddressMatch {
    let all = prefix_mask(family, family.bits());
    prefix(family, rng.u128(..) & all, rng.u8(0..=family.bits()))
}

/// Checks the rules in order, and the other way round: narrow before wide, and wide before narrow.
/// `found` is how many of them keys must find, either way.
fn both_ways(mut rules: Vec<Rule>, found: [usize; 2]) {
    assert_set_agrees(&rules, found[0]);
    rules.reverse();
    assert_set_agrees(&rules, found[1]);
}

const BASE: u128 = 0xa5a5_5a5a_c3c3_3c3c_9669_6996_0ff0_f00f;

#[test]
fn a_chain_of_nested_prefixes() {
    for (family, base) in [(Family::V4, BASE >> 96), (Family::V6, BASE)] {
        let bits = family.bits();
        let lens = || (0..=bits).rev();
        let all = usize::from(bits) + 1;
        let src = |len| Rule { src: prefix(family, base, len), ..Rule::ANY };
        let dst = |len| Rule { dst: prefix(family, base, len), ..Rule::ANY };
        both_ways(lens().map(src).collect(), [all - 5, 1]);
        both_ways(lens().map(dst).collect(), [all - 5, 1]);
        // One end grows while the other shrinks: every rule overlaps every other.
        let crossed = |len| Rule { dst: prefix(family, base, bits - len), ..src(len) };
        both_ways(lens().map(crossed).collect(), [all / 2; 2]);
    }
}

#[test]
fn many_rules_at_each_prefix_of_a_chain() {
    for (family, base) in [(Family::V4, BASE >> 96), (Family::V6, BASE)] {
        let rules = (0..=family.bits()).rev().flat_map(|len| {
            (0..40).map(move |i| Rule {
                dst: prefix(family, base, len),
                protocol: Some(6),
                dst_ports: PortRange { low: 100 * i, high: 100 * i + 10 * u16::from(len % 32) },
                ..Rule::ANY
            })
        });
        both_ways(rules.collect(), [1000, 40]);
    }
}

/// Ranges that all overlap, each within the one before it.
fn nested_ranges(of: fn(Range16) -> Rule) {
    let rules = (0..500).rev().map(|i| of(Range16 { low: i, high: u16::MAX - i }));
    both_ways(rules.collect(), [480, 1]);
}

#[test]
fn nested_ranges_of_source_ports() {
    nested_ranges(|src_ports| Rule { src_ports, ..Rule::ANY });
}

#[test]
fn nested_ranges_of_destination_ports() {
    nested_ranges(|dst_ports| Rule { dst_ports, ..Rule::ANY });
}

#[test]
fn nested_ranges_of_identities() {
    nested_ranges(|src_identities| Rule { src_identities, ..Rule::ANY });
    nested_ranges(|dst_identities| Rule { dst_identities, ..Rule::ANY });
}

#[test]
fn nested_ranges_in_two_fields_at_once() {
    let squares = |i: u16| {
        let range = Range16 { low: i, high: u16::MAX - i };
        Rule { src_ports: range, dst_ports: range, ..Rule::ANY }
    };
    both_ways((0..500).rev().map(squares).collect(), [480, 1]);
    // One grows while the other shrinks.
    let crossed = |i: u16| Rule {
        src_ports: Range16 { low: i, high: u16::MAX - i },
        dst_ports: Range16 { low: 400 - i, high: u16::MAX - 400 + i },
        ..Rule::ANY
    };
    both_ways((0..400).map(crossed).collect(), [300; 2]);
}

#[test]
fn a_staircase_of_port_ranges() {
    let step = |i: u16| Rule {
        protocol: Some(17),
        dst_ports: PortRange { low: 100 * i, high: 100 * i + 4000 },
        ..Rule::ANY
    };
    both_ways((0..600).map(step).collect(), [550; 2]);
}

#[test]
fn random_port_ranges() {
    let mut rng = Rng::with_seed(3);
    let mut range = || {
        let (a, b) = (rng.u16(..), rng.u16(..));
        PortRange { low: a.min(b), high: a.max(b) }
    };
    let one: Vec<_> = (0..300).map(|_| Rule { dst_ports: range(), ..Rule::ANY }).collect();
    assert_set_agrees(&one, 10);
    let two = (0..300).map(|_| Rule { src_ports: range(), dst_ports: range(), ..Rule::ANY });
    assert_set_agrees(&two.collect::<Vec<_>>(), 20);
}

#[test]
fn thousands_of_the_same_rule_above_others() {
    let wide = Rule { protocol: Some(6), dst_ports: PortRange { low: 1, high: 9 }, ..Rule::ANY };
    let mut rules = vec![wide; 5000];
    rules.extend((0..=20).map(|port| Rule { dst_ports: PortRange::one(port), ..Rule::ANY }));
    rules.extend(vec![Rule::ANY; 3000]);
    both_ways(rules, [12, 1]);
}

#[test]
fn random_prefixes_of_every_length() {
    let mut rng = Rng::with_seed(5);
    for family in [Family::V4, Family::V6] {
        let rules = (0..3000).map(|_| Rule {
            src: random_prefix(family, &mut rng),
            dst: random_prefix(family, &mut rng),
            ..Rule::ANY
        });
        assert_set_agrees(&rules.collect::<Vec<_>>(), 100);
    }
}

/// The lengths of random prefixes vary, but none is so short that it hides the others.
#[test]
fn random_prefixes_of_both_families_with_ports() {
    let mut rng = Rng::with_seed(6);
    let rules = (0..4000).map(|i| {
        let family = if i % 2 == 0 { Family::V4 } else { Family::V6 };
        let len = rng.u8(12..=family.bits());
        let address = rng.u128(..) & prefix_mask(family, len);
        let port = rng.u16(0..1000);
        Rule {
            dst: prefix(family, address, len),
            protocol: Some([6, 17][rng.usize(..2)]),
            dst_ports: PortRange { low: port, high: port + rng.u16(0..50) },
            ..Rule::ANY
        }
    });
    assert_set_agrees(&rules.collect::<Vec<_>>(), 2000);
}

#[test]
fn rules_about_nothing_but_a_vlan() {
    both_ways((0..=4094).map(|vlan| Rule { vlan: Some(vlan), ..Rule::ANY }).collect(), [4095; 2]);
}

#[test]
fn rules_about_nothing_but_an_identity() {
    let src = |i| Rule { src_identities: Range16::one(i), ..Rule::ANY };
    both_ways((0..5000).map(src).collect(), [5000; 2]);
    let dst = |i: u16| Rule { dst_identities: Range16::one(i * 13), ..Rule::ANY };
    both_ways((0..5000).map(dst).collect(), [5000; 2]);
    let ranges =
        |i: u16| Rule { src_identities: Range16 { low: 8 * i, high: 8 * i + 12 }, ..Rule::ANY };
    both_ways((0..5000).map(ranges).collect(), [4700; 2]);
}

#[test]
fn rules_from_each_identity_to_each() {
    let pairs = (0..70).flat_map(|src| {
        (0..70).map(move |dst| Rule {
            src_identities: Range16 { low: src * 3, high: src * 3 + 2 },
            dst_identities: Range16::one(dst),
            ..Rule::ANY
        })
    });
    both_ways(pairs.collect(), [4900; 2]);
}

#[test]
fn rules_about_nothing_but_a_protocol() {
    let rules = (0..=255).map(|protocol| Rule { protocol: Some(protocol), ..Rule::ANY });
    both_ways(rules.collect(), [256; 2]);
}

#[test]
fn rules_about_nothing_but_a_code_point() {
    both_ways((0..64).map(|dscp| Rule { dscp: Some(dscp), ..Rule::ANY }).collect(), [64; 2]);
}

#[test]
fn rules_about_nothing_but_fragments() {
    let rules = [true, false].map(|fragment| Rule { fragment: Some(fragment), ..Rule::ANY });
    both_ways(rules.to_vec(), [2; 2]);
}

#[test]
fn rules_about_nothing_but_flags() {
    let rule = |value, mask| Rule { tcp_flags: FlagsMatch { value, mask }, ..Rule::ANY };
    both_ways((0..512).map(|value| rule(value, 0x1ff)).collect(), [512; 2]);
    // Under every mask, with every second flag wanted: most overlap.
    both_ways((1..512).rev().map(|mask| rule(mask & 0x155, mask)).collect(), [70, 1]);
    // Single flags, set and cleared.
    let single = (0..9).flat_map(|bit| [rule(1 << bit, 1 << bit), rule(0, 1 << bit)]);
    both_ways(single.collect(), [2; 2]);
}

/// One of many hardware addresses that differ in their first octets and in their last.
fn mac(n: u16) -> MacMatch {
    let [high, low] = n.wrapping_mul(0x9e37).to_be_bytes();
    MacMatch::one([high & 0xfc | 2, low, 0, 0, n as u8, (n >> 8) as u8])
}

#[test]
fn rules_about_nothing_but_hardware_addresses() {
    both_ways((0..5000).map(|n| Rule { src_mac: mac(n), ..Rule::ANY }).collect(), [5000; 2]);
    both_ways((0..5000).map(|n| Rule { dst_mac: mac(n), ..Rule::ANY }).collect(), [5000; 2]);
    let pair = |n| Rule { src_mac: mac(n), dst_mac: mac(n / 7), ..Rule::ANY };
    both_ways((0..3000).map(pair).collect(), [3000; 2]);
    // Makers by their first three octets, and single cards of theirs before them.
    let maker = |n: u8| MacMatch { value: [2, n, n, 0, 0, 0], mask: [255, 255, 255, 0, 0, 0] };
    let card = |n: u8, m: u8| MacMatch::one([2, n, n, m, 1, m]);
    let cards = (0..40).flat_map(|n| (0..40).map(move |m| card(n, m)));
    let rules = cards.chain((0..40).map(maker)).map(|src_mac| Rule { src_mac, ..Rule::ANY });
    assert_set_agrees(&rules.collect::<Vec<_>>(), 1640);
    // Under every mask of some bits, with every second bit wanted: most overlap.
    let mask = |n: u8| [n & 0xf, 0, 0, 0, 0, n >> 4];
    let overlapping = |n: u8| MacMatch { value: mask(n & 0x55), mask: mask(n) };
    let rules = (1..=255).rev().map(|n| Rule { dst_mac: overlapping(n), ..Rule::ANY });
    assert_set_agrees(&rules.collect::<Vec<_>>(), 30);
}

#[test]
fn rules_about_nothing_but_lengths() {
    let one = |n| Rule { lengths: Range16::one(n), ..Rule::ANY };
    both_ways((0..5000).map(|n| one(n * 11)).collect(), [5000; 2]);
    let up_to = |n: u16| Rule { lengths: Range16 { low: 0, high: n * 13 }, ..Rule::ANY };
    both_ways((0..3000).map(up_to).collect(), [2000, 1]);
}

#[test]
fn rules_about_nothing_but_zones() {
    let pairs = (0..60).flat_map(|from| {
        (0..60).map(move |to| Rule {
            from_zone: Some(ZoneId(from)),
            to_zone: Some(ZoneId(to)),
            ..Rule::ANY
        })
    });
    both_ways(pairs.collect(), [3600; 2]);
    let from = |zone| Rule { from_zone: Some(ZoneId(zone)), ..Rule::ANY };
    both_ways((0..3000).map(from).collect(), [3000; 2]);
}

#[test]
fn rules_about_nothing_but_ports() {
    let src = |port| Rule { src_ports: PortRange::one(port), ..Rule::ANY };
    both_ways((0..5000).map(|port| src(port * 11)).collect(), [5000; 2]);
    let dst = |port| Rule { dst_ports: PortRange::one(port), ..Rule::ANY };
    both_ways((0..5000).map(dst).collect(), [5000; 2]);
}

#[test]
fn rules_about_every_icmp_message() {
    let rules = (0..64).flat_map(|kind| {
        (0..16).map(move |code| Rule {
            protocol: Some(1),
            src_ports: PortRange::one(kind),
            dst_ports: PortRange::one(code),
            ..Rule::ANY
        })
    });
    both_ways(rules.collect(), [1024; 2]);
}

/// `each` rules about each of `fields`, numbers in the order of the struct, in random order.
fn about_one_field_each(fields: &[usize], each: usize) -> Vec<Rule> {
    let mut rng = Rng::with_seed(8);
    let mut rules = Vec::new();
    for i in (0..each).flat_map(|i| fields.iter().map(move |field| (i, *field))) {
        let n = i.0 as u16;
        let range = Range16 { low: n * 30, high: n * 30 + 35 };
        let host = AddressMatch::host(rng.u32(..).to_be_bytes().into());
        rules.push(match i.1 {
            0 => Rule { from_zone: Some(ZoneId(n)), ..Rule::ANY },
            1 => Rule { to_zone: Some(ZoneId(n)), ..Rule::ANY },
            2 => Rule { vlan: Some(n), ..Rule::ANY },
            3 => Rule { src: host, ..Rule::ANY },
            4 => Rule { dst: host, ..Rule::ANY },
            5 => Rule { src_identities: range, ..Rule::ANY },
            6 => Rule { dst_identities: range, ..Rule::ANY },
            7 => Rule { protocol: Some(n as u8), ..Rule::ANY },
            8 => Rule { src_ports: range, ..Rule::ANY },
            9 => Rule { dst_ports: range, ..Rule::ANY },
            10 => Rule { tcp_flags: FlagsMatch { value: n & 0x1ff, mask: 0x1ff }, ..Rule::ANY },
            11 => Rule { dscp: Some(n as u8 & 63), ..Rule::ANY },
            12 => Rule { fragment: Some(true), dst_ports: PortRange::one(n), ..Rule::ANY },
            13 => Rule { src_mac: mac(n), ..Rule::ANY },
            14 => Rule { dst_mac: mac(n), ..Rule::ANY },
            _ => Rule { lengths: range, ..Rule::ANY },
        });
    }
    rng.shuffle(&mut rules);
    rules
}

#[test]
fn rules_about_one_field_each() {
    let all: Vec<_> = (0..16).collect();
    assert_set_agrees(&about_one_field_each(&all, 20), 150);
}

/// Lists of what is forbidden, each about another field.
#[test]
fn long_lists_about_one_field_each() {
    assert_set_agrees(&about_one_field_each(&[3, 4, 9], 2000), 3900);
    assert_set_agrees(&about_one_field_each(&[0, 2, 3, 4, 5, 9], 1000), 3000);
    assert_set_agrees(&about_one_field_each(&[4, 13, 14, 15], 1000), 2000);
}

#[test]
fn dense_hosts() {
    let v4 = |i: u32| AddressMatch::host((0x0a00_0000 + i).to_be_bytes().into());
    let v6 = |i: u32| AddressMatch::host((BASE + u128::from(i)).to_be_bytes().into());
    let rules =
        (0..20_000).map(|i| Rule { dst: if i % 2 == 0 { v4(i) } else { v6(i) }, ..Rule::ANY });
    both_ways(rules.collect(), [4900; 2]);
}

#[test]
fn each_source_prefix_with_each_destination_prefix() {
    let net =
        |i: u32| prefix(Family::V4, u128::from(i.wrapping_mul(0x9e37_79b1)), (8 + i % 25) as u8);
    let pairs = (0..80).flat_map(|src| {
        (0..80).map(move |dst| Rule { src: net(src), dst: net(dst + 1000), ..Rule::ANY })
    });
    both_ways(pairs.collect(), [1000; 2]);
}

/// A set of `count` prefixes and ranges of both families.
fn big_set(count: usize, rng: &mut Rng) -> AddressMatch {
    AddressMatch::set((0..count).map(|i| {
        let family = if i % 2 == 0 { Family::V4 } else { Family::V6 };
        let len = rng.u8(16..=family.bits());
        let low = rng.u128(..) & prefix_mask(family, len);
        let high = low.saturating_add(rng.u128(0..70)).min(prefix_mask(family, family.bits()));
        if i % 3 == 0 {
            AddressMatch::Range { family, low, high }
        } else {
            AddressMatch::Prefix { family, value: low, len }
        }
    }))
}

#[test]
fn a_set_of_many_addresses() {
    let mut rng = Rng::with_seed(9);
    let rules = [
        Rule { src: big_set(20_000, &mut rng), protocol: Some(6), ..Rule::ANY },
        Rule { dst: big_set(20_000, &mut rng), ..Rule::ANY },
        Rule { fragment: Some(true), ..Rule::ANY },
    ];
    assert_set_agrees(&rules, 3);
}

#[test]
fn overlapping_sets_of_many_addresses() {
    let mut rng = Rng::with_seed(10);
    let few: Vec<_> = (0..8).map(|_| big_set(500, &mut rng)).collect();
    let mut some = || {
        let chosen = few.iter().filter(|_| rng.bool()).cloned();
        AddressMatch::set(chosen.collect::<Vec<_>>())
    };
    let rules =
        (0..40).map(|i| Rule { src: some(), dst_ports: PortRange::one(i % 7), ..Rule::ANY });
    assert_set_agrees(&rules.collect::<Vec<_>>(), 7);
}

#[test]
fn sets_on_both_sides() {
    let mut rng = Rng::with_seed(11);
    let rules = (0..6).map(|i| Rule {
        src: big_set(60, &mut rng),
        dst: big_set(60, &mut rng),
        dst_ports: PortRange { low: i, high: 2 * i },
        ..Rule::ANY
    });
    assert_set_agrees(&rules.collect::<Vec<_>>(), 6);
}

/// A default at the end, exceptions at the beginning, and rules that never match in between.
#[test]
fn a_default_behind_everything() {
    let mut rng = Rng::with_seed(12);
    let rules: Vec<_> = (0..2000)
        .map(|i| match i {
            0..1000 => Rule { src: random_prefix(Family::V6, &mut rng), ..Rule::ANY },
            1000..1999 => Rule {
                src: AddressMatch::host(rng.u32(..).to_be_bytes().into()),
                dst: AddressMatch::host([0; 16].into()),
                ..Rule::ANY
            },
            _ => Rule::ANY,
        })
        .collect();
    assert_set_agrees(&rules, 3);
}

/// The engine hashes by multiplication, which can be undone: whoever writes the policy can choose
/// addresses that fall into one slot, however many slots there are.
#[test]
fn hosts_whose_hashes_collide() {
    const MULTIPLIER: u32 = 0x85a3_08d3;
    // Newton's iteration doubles the bits that are right, from the three that every odd number has.
    let inverse = (0..4).fold(MULTIPLIER, |inverse, _| {
        inverse.wrapping_mul(2u32.wrapping_sub(MULTIPLIER.wrapping_mul(inverse)))
    });
    assert_eq!(MULTIPLIER.wrapping_mul(inverse), 1);
    let host = |i: u32| AddressMatch::host(i.wrapping_mul(inverse).to_be_bytes().into());
    let src = (0..5000).map(|i| Rule { src: host(i), ..Rule::ANY });
    assert_set_agrees(&src.collect::<Vec<_>>(), 4900);
    let dst = (0..5000).map(|i| Rule { dst: host(i), ..Rule::ANY });
    assert_set_agrees(&dst.collect::<Vec<_>>(), 4900);
}
