//! The compiled table answers as the linear scan does.

mod corners;

use classifier::{
    AddressMatch, BuildError, Builder, Classifier, Config, Family, Linear, Lookup, PacketKey,
    PortRange, Rule, ZoneId, prefix_mask,
};
use corners::{assert_agree, keys};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn compile(rules: &[Rule]) -> Classifier {
    let mut builder = Builder::new(Config::default());
    for rule in rules {
        builder.push(*rule);
    }
    builder.build().unwrap()
}

/// Prefixes of a few addresses that differ in their first, middle and last bits: they nest and
/// touch each other.
fn address_match() -> impl Strategy<Value = AddressMatch> {
    let prefix = |family: Family, lens: &'static [u8]| {
        let bits = family.bits();
        let differing = [0, 1, bits / 2, bits - 1];
        (select(lens), proptest::bits::u8::between(0, 4)).prop_map(move |(len, flips)| {
            let base = 0xa5a5_a5a5_a5a5_a5a5_a5a5_a5a5_a5a5_a5a5;
            let flipped = differing.iter().enumerate().fold(base, |value: u128, (i, bit)| {
                value ^ (u128::from(flips >> i & 1) << (bits - 1 - bit))
            });
            AddressMatch::Prefix { family, value: flipped & prefix_mask(family, len), len }
        })
    };
    prop_oneof![
        2 => Just(AddressMatch::Any),
        4 => prefix(Family::V4, &[0, 1, 2, 16, 17, 31, 32]),
        4 => prefix(Family::V6, &[0, 1, 2, 32, 64, 65, 127, 128]),
    ]
}

/// Every port, one, some, and ranges with the ends exchanged.
fn port_range() -> impl Strategy<Value = PortRange> {
    let edges = &[0, 1, 2, 79, 80, 81, 1023, 1024, 65534, 65535][..];
    prop_oneof![
        3 => Just(PortRange::ANY),
        3 => select(edges).prop_map(PortRange::one),
        4 => (select(edges), select(edges)).prop_map(|(a, b)| PortRange {
            low: a.min(b),
            high: a.max(b),
        }),
        1 => (select(edges), select(edges)).prop_map(|(low, high)| PortRange { low, high }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let zone = || option::weighted(0.4, select(&[0, 1, 2, 65534][..]).prop_map(ZoneId));
    let protocol = option::weighted(0.6, select(&[0, 1, 6, 7, 17, 255][..]));
    (zone(), zone(), address_match(), address_match(), protocol, port_range(), port_range())
        .prop_map(|(from_zone, to_zone, src, dst, protocol, src_ports, dst_ports)| Rule {
            from_zone,
            to_zone,
            src,
            dst,
            protocol,
            src_ports,
            dst_ports,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn compiled_agrees_with_linear_on_the_corners_of_its_rules(
        rules in vec(rule(), 0..60),
        seed: u64,
    ) {
        let keys = keys(&rules, 10, 6, &mut fastrand::Rng::with_seed(seed));
        assert_agree(&rules, &compile(&rules), &keys);
    }

    #[test]
    fn compiled_agrees_with_linear_when_rules_share_their_exact_fields(
        base in rule(),
        ranges in vec((port_range(), port_range()), 1..60),
        seed: u64,
    ) {
        let rules: Vec<_> = ranges
            .into_iter()
            .map(|(src_ports, dst_ports)| Rule { src_ports, dst_ports, ..base })
            .collect();
        let keys = keys(&rules, 10, 60, &mut fastrand::Rng::with_seed(seed));
        assert_agree(&rules, &compile(&rules), &keys);
    }
}

fn host(addr: impl Into<IpAddr>) -> AddressMatch {
    AddressMatch::host(addr.into())
}

fn key_v4(src: Ipv4Addr) -> PacketKey {
    PacketKey {
        src: src.to_bits().into(),
        dst: 0x0a00_0001,
        family: Family::V4,
        protocol: 6,
        src_port: 40000,
        dst_port: 80,
        from_zone: ZoneId::UNKNOWN,
        to_zone: ZoneId::UNKNOWN,
    }
}

fn key_v6(src: Ipv6Addr) -> PacketKey {
    PacketKey { src: src.to_bits(), family: Family::V6, ..key_v4(Ipv4Addr::UNSPECIFIED) }
}

#[test]
fn an_empty_table_matches_nothing_and_costs_nothing() {
    let table = compile(&[]);
    assert_eq!(table.lookup(&key_v4(Ipv4Addr::LOCALHOST)), None);
    assert_eq!(table.lookup(&key_v6(Ipv6Addr::LOCALHOST)), None);
    assert_eq!((table.worst_case(), table.memory_usage()), (0, 0));
}

#[test]
fn a_range_with_its_ends_exchanged_matches_nothing() {
    let backwards = PortRange { low: 81, high: 80 };
    let table = compile(&[
        Rule { src_ports: PortRange { low: 40001, high: 39999 }, ..Rule::ANY },
        Rule { dst_ports: backwards, ..Rule::ANY },
    ]);
    assert_eq!(table.lookup(&key_v4(Ipv4Addr::LOCALHOST)), None);
    assert_eq!(table.worst_case(), 0);
}

#[test]
fn a_prefix_of_length_zero_matches_its_whole_family_and_no_other() {
    let everything = AddressMatch::prefix(Ipv4Addr::UNSPECIFIED.into(), 0).unwrap();
    let table = compile(&[Rule { src: everything, ..Rule::ANY }]);
    assert_eq!(table.lookup(&key_v4(Ipv4Addr::BROADCAST)), Some(0));
    assert_eq!(table.lookup(&key_v6(Ipv6Addr::UNSPECIFIED)), None);
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
    assert_eq!(table.lookup(&PacketKey { family: Family::V6, ..key }), None);
}

#[test]
fn a_prefix_value_with_bits_outside_the_prefix_matches_nothing() {
    let key = key_v4(Ipv4Addr::LOCALHOST);
    for value in [0x7f00_0001, 0x1_7f00_0000] {
        let src = AddressMatch::Prefix { family: Family::V4, value, len: 8 };
        let rules = [Rule { src, ..Rule::ANY }];
        assert_eq!(Linear::new(rules).lookup(&key), None);
        assert_eq!(compile(&rules).lookup(&key), None);
    }
}

#[test]
fn worst_case_counts_a_probe_per_tuple_and_the_longest_bucket_of_each() {
    let ranged = |protocol, low| Rule {
        protocol: Some(protocol),
        dst_ports: PortRange { low, high: low + 10 },
        ..Rule::ANY
    };
    let five_in_one_bucket: Vec<_> = (0..5).map(|i| ranged(6, i * 100)).collect();
    assert_eq!(compile(&five_in_one_bucket).worst_case(), 1 + 5);

    let shorter_buckets = [1, 17].map(|protocol| ranged(protocol, 0));
    let one_tuple = [&five_in_one_bucket[..], &shorter_buckets].concat();
    assert_eq!(compile(&one_tuple).worst_case(), 1 + 5);

    let hosts: Vec<_> =
        (0..5).map(|i| Rule { src: host(Ipv4Addr::from_bits(i)), ..Rule::ANY }).collect();
    assert_eq!(compile(&hosts).worst_case(), 1 + 1);

    // The IPv4 side has both tuples, the IPv6 side only the first.
    let both: Vec<_> = five_in_one_bucket.into_iter().chain(hosts).collect();
    assert_eq!(compile(&both).worst_case(), (1 + 5) + (1 + 1));
}

#[test]
fn a_rule_repeated_many_times_costs_as_one() {
    let repeated = Rule { dst_ports: PortRange { low: 1, high: 9 }, ..Rule::ANY };
    let table = compile(&vec![repeated; 10_000]);
    assert_eq!(table.worst_case(), 2);
    assert_eq!(table.lookup(&PacketKey { dst_port: 9, ..key_v4(Ipv4Addr::LOCALHOST) }), Some(0));
}

#[test]
fn a_million_rules_build_and_answer() {
    let source = |i: u32| Ipv4Addr::from_bits(i.wrapping_mul(0x9e37_79b1)); // odd: a permutation
    let mut builder = Builder::new(Config::default());
    for i in 0..1_000_000 {
        builder.push(Rule { src: host(source(i)), ..Rule::ANY });
    }
    let table = builder.build().unwrap();
    for i in (0..1_000_000).step_by(997) {
        assert_eq!(table.lookup(&key_v4(source(i))), Some(i));
    }
    assert_eq!(table.lookup(&key_v4(source(1_000_000))), None);
    assert_eq!(table.worst_case(), 2);
    let least = 1_000_000 * (4 + size_of::<Ipv4Addr>());
    assert!(table.memory_usage() >= least && table.memory_usage() <= Config::default().max_memory);
}

#[test]
fn more_rules_than_the_limit_are_refused() {
    let build = |max_rules, rules| {
        let mut builder = Builder::new(Config { max_rules, ..Config::default() });
        (0..rules).for_each(|_| _ = builder.push(Rule::ANY));
        builder.build().map(|_| ())
    };
    assert_eq!(build(3, 3), Ok(()));
    assert_eq!(build(3, 4), Err(BuildError::TooManyRules { rules: 4, limit: 3 }));
}

#[test]
fn a_table_over_the_memory_limit_is_refused() {
    let rules: Vec<_> =
        (0..100).map(|i| Rule { src: host(Ipv4Addr::from_bits(i)), ..Rule::ANY }).collect();
    let bytes = compile(&rules).memory_usage();
    let build = |max_memory| {
        let mut builder = Builder::new(Config { max_memory, ..Config::default() });
        rules.iter().for_each(|rule| _ = builder.push(*rule));
        builder.build().map(|_| ())
    };
    assert_eq!(build(bytes), Ok(()));
    assert_eq!(build(bytes - 1), Err(BuildError::TooMuchMemory { bytes, limit: bytes - 1 }));
}
