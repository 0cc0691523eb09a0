//! Single cases that are easily got wrong.

use crate::check::{assert_agrees, compile};
use classifier::{
    AddressMatch, Family, FlagsMatch, IpBits, Linear, Lookup, MacMatch, PacketKey, PortRange,
    Range16, Rule,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn host(addr: impl Into<IpAddr>) -> AddressMatch {
    AddressMatch::host(addr.into())
}

fn key_v4(src: Ipv4Addr) -> PacketKey {
    PacketKey {
        src: src.to_bits().into(),
        dst: 0x0a00_0001,
        protocol: 6,
        src_port: 40000,
        dst_port: 80,
        ..PacketKey::empty(Family::V4)
    }
}

fn key_v6(src: Ipv6Addr) -> PacketKey {
    PacketKey { src: src.to_bits(), ip: IpBits::new(Family::V6), ..key_v4(Ipv4Addr::UNSPECIFIED) }
}

#[test]
fn an_empty_table_matches_nothing() {
    let keys = [key_v4(Ipv4Addr::LOCALHOST), key_v6(Ipv6Addr::LOCALHOST)];
    assert_eq!(assert_agrees(&[], &compile(&[]), &keys), [None, None]);
}

#[test]
fn a_range_with_its_ends_exchanged_matches_nothing() {
    let backwards = PortRange { low: 81, high: 80 };
    let around = PortRange { low: 40001, high: 39999 };
    for rule in [
        Rule { src_ports: around, ..Rule::ANY },
        Rule { dst_ports: backwards, ..Rule::ANY },
        Rule { src_identities: PortRange { low: 1, high: 0 }, ..Rule::ANY },
        Rule { dst_identities: PortRange { low: u16::MAX, high: 0 }, ..Rule::ANY },
        Rule { lengths: Range16 { low: 1, high: 0 }, ..Rule::ANY },
        Rule {
            src: AddressMatch::Range { family: Family::V4, low: 0x7f00_0001, high: 0x7f00_0000 },
            ..Rule::ANY
        },
    ] {
        let keys = [key_v4(Ipv4Addr::LOCALHOST), key_v6(Ipv6Addr::LOCALHOST)];
        let table = compile(std::slice::from_ref(&rule));
        assert_eq!(assert_agrees(&[rule], &table, &keys), [None, None]);
    }
}

#[test]
fn a_prefix_of_length_zero_matches_its_whole_family_and_no_other() {
    let everything = AddressMatch::prefix(Ipv4Addr::UNSPECIFIED.into(), 0).unwrap();
    let table = compile(&[Rule { src: everything, ..Rule::ANY }]);
    assert_eq!(table.lookup(&key_v4(Ipv4Addr::BROADCAST)), Some(0));
    assert_eq!(table.lookup(&key_v6(Ipv6Addr::UNSPECIFIED)), None);
}

#[test]
fn a_range_over_all_addresses_matches_its_whole_family_and_no_other() {
    for (family, high, answers) in [
        (Family::V4, u128::from(u32::MAX), [Some(0), None]),
        // No address is above the family's last.
        (Family::V4, u128::MAX, [Some(0), None]),
        (Family::V6, u128::MAX, [None, Some(0)]),
    ] {
        let dst = AddressMatch::Range { family, low: 0, high };
        let rules = [Rule { dst, ..Rule::ANY }];
        let keys = [key_v4(Ipv4Addr::BROADCAST), key_v6(Ipv6Addr::LOCALHOST)];
        assert_eq!(assert_agrees(&rules, &compile(&rules), &keys), answers);
    }
}

#[test]
fn a_rule_for_any_address_matches_both_families() {
    let table = compile(&[Rule { protocol: Some(6), ..Rule::ANY }]);
    assert_eq!(table.lookup(&key_v4(Ipv4Addr::LOCALHOST)), Some(0));
    assert_eq!(table.lookup(&key_v6(Ipv6Addr::LOCALHOST)), Some(0));
}

#[test]
fn a_rule_between_families_matches_nothing() {
    let rule = Rule { src: host(Ipv4Addr::LOCALHOST), dst: host(Ipv6Addr::LOCALHOST), ..Rule::ANY };
    let table = compile(&[rule]);
    let key = PacketKey { dst: 1, ..key_v4(Ipv4Addr::LOCALHOST) };
    assert_eq!(table.lookup(&key), None);
    assert_eq!(table.lookup(&PacketKey { ip: IpBits::new(Family::V6), ..key }), None);
}

#[test]
fn an_empty_set_matches_nothing_and_a_set_with_any_everything() {
    let keys = [key_v4(Ipv4Addr::LOCALHOST), key_v6(Ipv6Addr::LOCALHOST)];
    for (members, answers) in [(vec![], [None, None]), (vec![AddressMatch::Any], [Some(0); 2])] {
        let rules = [Rule { src: AddressMatch::set(members), ..Rule::ANY }];
        assert_eq!(assert_agrees(&rules, &compile(&rules), &keys), answers);
    }
}

#[test]
fn a_set_of_both_families_matches_in_both() {
    let src = AddressMatch::set([host(Ipv4Addr::LOCALHOST), host(Ipv6Addr::LOCALHOST)]);
    let rules = [Rule { src, ..Rule::ANY }];
    let keys = [
        key_v4(Ipv4Addr::LOCALHOST),
        key_v6(Ipv6Addr::LOCALHOST),
        key_v4(Ipv4Addr::from_bits(1)),
        key_v6(Ipv6Addr::from_bits(0x7f00_0001)),
    ];
    let answers = assert_agrees(&rules, &compile(&rules), &keys);
    assert_eq!(answers, [Some(0), Some(0), None, None]);
}

#[test]
fn a_prefix_value_with_bits_outside_the_prefix_matches_nothing() {
    let key = key_v4(Ipv4Addr::LOCALHOST);
    for value in [0x7f00_0001, 0x1_7f00_0000] {
        let src = AddressMatch::Prefix { family: Family::V4, value, len: 8 };
        let rules = [Rule { src, ..Rule::ANY }];
        assert_eq!(Linear::new(rules.clone()).lookup(&key), None);
        assert_eq!(compile(&rules).lookup(&key), None);
    }
}

#[test]
fn flags_wanted_outside_their_mask_match_nothing() {
    let rules = [
        Rule { tcp_flags: FlagsMatch { value: 0x12, mask: 0x02 }, ..Rule::ANY },
        Rule { tcp_flags: FlagsMatch { value: 0x01, mask: 0 }, ..Rule::ANY },
    ];
    let keys: Vec<_> =
        (0..512).map(|flags| PacketKey { tcp_flags: flags, ..key_v4([1; 4].into()) }).collect();
    let answers = assert_agrees(&rules, &compile(&rules), &keys);
    assert!(answers.iter().all(Option::is_none));
}

/// Six bits have no 64: the rule is for no packet, not for those of code point 0.
#[test]
fn a_code_point_of_more_than_six_bits_matches_nothing() {
    let rules = [64, 128, 255].map(|dscp| Rule { dscp: Some(dscp), ..Rule::ANY });
    let keys: Vec<_> = (0..64)
        .map(|dscp| PacketKey {
            ip: IpBits::new(Family::V4).with_dscp(dscp),
            ..key_v4(Ipv4Addr::LOCALHOST)
        })
        .collect();
    let answers = assert_agrees(&rules, &compile(&rules), &keys);
    assert!(answers.iter().all(Option::is_none));
}

#[test]
fn hardware_addresses_wanted_outside_their_mask_match_nothing() {
    let odd = MacMatch { value: [1, 0, 0, 0, 0, 1], mask: [1, 0, 0, 0, 0, 0] };
    let rules = [Rule { src_mac: odd, ..Rule::ANY }, Rule { dst_mac: odd, ..Rule::ANY }];
    let keys: Vec<_> = (0..4)
        .map(|bits| {
            let mac = [bits >> 1, 0, 0, 0, 0, bits & 1];
            PacketKey { src_mac: mac, dst_mac: mac, ..key_v4(Ipv4Addr::LOCALHOST) }
        })
        .collect();
    assert_eq!(assert_agrees(&rules, &compile(&rules), &keys), [None; 4]);
}

/// Each octet counts, at its place, in the address of its side.
#[test]
fn hardware_addresses_are_compared_octet_by_octet() {
    let mac = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];
    let rules = [
        Rule { src_mac: MacMatch::one(mac), lengths: Range16::one(1500), ..Rule::ANY },
        Rule { dst_mac: MacMatch::one(mac), ..Rule::ANY },
    ];
    let table = compile(&rules);
    let key = |src_mac, dst_mac, length| PacketKey {
        src_mac,
        dst_mac,
        length,
        ..key_v4(Ipv4Addr::LOCALHOST)
    };
    let mut keys = vec![key(mac, [0; 6], 1500), key([0; 6], mac, 1500), key(mac, mac, 1501)];
    let mut expected = vec![Some(0), Some(1), Some(1)];
    for octet in 0..6 {
        let mut other = mac;
        other[octet] ^= 0x10;
        keys.extend([key(other, other, 1500), key(other, mac, 1500)]);
        expected.extend([None, Some(1)]);
    }
    assert_eq!(assert_agrees(&rules, &table, &keys), expected);
}

#[test]
fn an_icmp_type_and_code_are_told_apart_from_ports() {
    let ping = Rule {
        protocol: Some(1),
        src_ports: PortRange::one(8),
        dst_ports: PortRange::one(0),
        ..Rule::ANY
    };
    let table = compile(&[ping]);
    let echo = PacketKey { protocol: 1, src_port: 8, dst_port: 0, ..key_v4([1; 4].into()) };
    assert_eq!(table.lookup(&echo), Some(0));
    for other in [
        PacketKey { src_port: 0, ..echo },
        PacketKey { dst_port: 1, ..echo },
        PacketKey { src_port: 0, dst_port: 8, ..echo },
        PacketKey { protocol: 17, ..echo },
        PacketKey { protocol: 58, ..echo },
    ] {
        assert_eq!(table.lookup(&other), None, "{other:?}");
    }
}

#[test]
fn the_first_of_rules_for_the_same_keys_wins() {
    let rules = vec![Rule { dst_ports: PortRange { low: 1, high: 9 }, ..Rule::ANY }; 10_000];
    let keys = [PacketKey { dst_port: 9, ..key_v4(Ipv4Addr::LOCALHOST) }];
    assert_eq!(assert_agrees(&rules, &compile(&rules), &keys), [Some(0)]);
}

#[test]
fn a_rule_repeated_many_times_costs_no_more_than_once() {
    let rule = Rule { dst_ports: PortRange { low: 1, high: 9 }, ..Rule::ANY };
    let once = compile(std::slice::from_ref(&rule));
    let often = compile(&vec![rule; 10_000]);
    assert!(often.worst_case() <= once.worst_case());
    assert!(often.memory_usage() <= once.memory_usage());
}

/// Rules of several kinds by turns, and keys that match one of each: wherever an engine keeps them,
/// it must find the first, and not stop at the second.
#[test]
fn the_first_of_rules_of_several_kinds_wins() {
    let kind = |kind: usize, n: u16| match kind {
        0 => Rule { src: host(Ipv4Addr::from_bits(n.into())), ..Rule::ANY },
        1 => Rule { dst: host(Ipv4Addr::from_bits(n.into())), ..Rule::ANY },
        2 => Rule { dst_ports: PortRange::one(n), ..Rule::ANY },
        _ => Rule { vlan: Some(n), ..Rule::ANY },
    };
    let keys: Vec<_> = (0..5u16.pow(4))
        .map(|n| {
            // Each field of some of the first rules, or of none.
            let [src, dst, dst_port, vlan] = [1, 5, 25, 125].map(|place| n / place % 5 + 96);
            let (src, dst) = (src.into(), dst.into());
            PacketKey { src, dst, dst_port, vlan, ..PacketKey::empty(Family::V4) }
        })
        .collect();
    for first in 0..4 {
        let rules: Vec<_> = (0..400).map(|i| kind((first + i) % 4, 100 - (i / 4) as u16)).collect();
        let answers = assert_agrees(&rules, &compile(&rules), &keys);
        assert!(answers.iter().all(Option::is_some));
    }
}
