//! What a build refuses.

use classifier::{
    AddressMatch, BuildError, Builder, Config, Family, Lookup, PacketKey, PortRange, Rule,
};
use std::net::Ipv4Addr;

fn host(bits: u32) -> Rule {
    Rule { src: AddressMatch::host(Ipv4Addr::from_bits(bits).into()), ..Rule::ANY }
}

/// Builds `rules` within `config`: bytes and worst case.
fn build(
    config: Config,
    rules: impl IntoIterator<Item = Rule>,
) -> Result<(usize, usize), BuildError> {
    let mut builder = Builder::new(config);
    for rule in rules {
        builder.push(rule);
    }
    builder.build().map(|table| (table.memory_usage(), table.worst_case()))
}

fn unlimited() -> Config {
    Config { max_rules: usize::MAX, max_memory: usize::MAX, max_worst_case: usize::MAX }
}

#[test]
fn more_rules_than_the_limit_are_refused() {
    let build = |max_rules, rules| {
        build(Config { max_rules, ..unlimited() }, vec![Rule::ANY; rules]).map(|_| ())
    };
    assert_eq!(build(3, 3), Ok(()));
    assert_eq!(build(3, 4), Err(BuildError::TooManyRules { rules: 4, limit: 3 }));
}

#[test]
fn a_table_over_the_memory_limit_is_refused() {
    let build = |max_memory| {
        build(Config { max_memory, ..unlimited() }, (0..100).map(host)).map(|(bytes, _)| bytes)
    };
    let bytes = build(usize::MAX).unwrap();
    assert_eq!(build(bytes), Ok(bytes));
    let error = build(bytes - 1).unwrap_err();
    let BuildError::TooMuchMemory { bytes: needed, limit, .. } = error else { panic!("{error}") };
    assert_eq!((needed, limit), (bytes, bytes - 1));
}

#[test]
fn a_table_slower_than_the_limit_is_refused() {
    // All of them overlap: no field tells them apart.
    let nested = |i| Rule { dst_ports: PortRange { low: i, high: u16::MAX - i }, ..Rule::ANY };
    let build = |max_worst_case| {
        let config = Config { max_worst_case, ..unlimited() };
        build(config, (0..100).rev().map(nested)).map(|(_, lines)| lines)
    };
    let lines = build(usize::MAX).unwrap();
    assert!(lines > 2);
    assert_eq!(build(lines), Ok(lines));
    let error = build(lines - 1).unwrap_err();
    let BuildError::TooSlow { lines: needed, limit, .. } = &error else { panic!("{error}") };
    assert_eq!((*needed, *limit), (lines, lines - 1));
    assert!(!error.rules().is_empty() && error.rules().iter().all(|rule| *rule < 100));
}

/// Sets on both sides become the product of their prefixes: an author must not fill the memory with
/// two lists before the limit is looked at.
#[test]
fn a_product_of_sets_over_the_memory_limit_is_refused_before_it_is_made() {
    let set = |salt: u32| {
        let odd = (0..20_000u32).map(|i| (2 * i).wrapping_mul(0x9e37_79b1) ^ salt | 1);
        AddressMatch::set(odd.map(|bits| AddressMatch::host(Ipv4Addr::from_bits(bits).into())))
    };
    let product = Rule { src: set(0), dst: set(1 << 20), ..Rule::ANY };
    let error = build(Config::default(), [host(1), product, host(2)]).unwrap_err();
    let BuildError::TooMuchMemory { bytes, limit, .. } = &error else { panic!("{error}") };
    assert!(bytes > limit && *limit == Config::default().max_memory);
    assert_eq!(error.rules().first(), Some(&1), "{error}");
}

#[test]
fn a_million_rules_build_and_answer() {
    let source = |i: u32| i.wrapping_mul(0x9e37_79b1); // odd: a permutation
    let mut builder = Builder::new(Config::default());
    for i in 0..1_000_000 {
        builder.push(host(source(i)));
    }
    let table = builder.build().unwrap();
    let key = |i| PacketKey { src: source(i).into(), ..PacketKey::empty(Family::V4) };
    for i in (0..1_000_000).step_by(997) {
        assert_eq!(table.lookup(&key(i)), Some(i));
    }
    assert_eq!(table.lookup(&key(1_000_000)), None);
    let least = 1_000_000 * (4 + size_of::<Ipv4Addr>());
    assert!((least..=Config::default().max_memory).contains(&table.memory_usage()));
}
