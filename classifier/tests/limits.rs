//! What a build refuses.

use classifier::{AddressMatch, BuildError, Builder, Config, Family, Lookup, PacketKey, Rule};
use std::net::Ipv4Addr;

fn host(bits: u32) -> Rule {
    Rule { src: AddressMatch::host(Ipv4Addr::from_bits(bits).into()), ..Rule::ANY }
}

/// Builds `rules` within `config`: worst case and bytes.
fn build(
    config: Config,
    rules: impl IntoIterator<Item = Rule>,
) -> Result<(usize, usize), BuildError> {
    let mut builder = Builder::new(config);
    for rule in rules {
        builder.push(rule);
    }
    builder.build().map(|table| (table.worst_case(), table.memory_usage()))
}

#[test]
fn more_rules_than_the_limit_are_refused() {
    let build = |max_rules, rules| {
        build(Config { max_rules, ..Config::default() }, vec![Rule::ANY; rules]).map(|_| ())
    };
    assert_eq!(build(3, 3), Ok(()));
    assert_eq!(build(3, 4), Err(BuildError::TooManyRules { rules: 4, limit: 3 }));
}

#[test]
fn a_table_over_the_memory_limit_is_refused() {
    let build = |max_memory| {
        build(Config { max_memory, ..Config::default() }, (0..100).map(host))
            .map(|(_, bytes)| bytes)
    };
    let bytes = build(usize::MAX).unwrap();
    assert_eq!(build(bytes), Ok(bytes));
    assert_eq!(build(bytes - 1), Err(BuildError::TooMuchMemory { bytes, limit: bytes - 1 }));
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
