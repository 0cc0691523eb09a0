//! Random rule sets.

use crate::check::{assert_agrees, compile};
use crate::corners::{Draw, keys};
use crate::strategies::{addresses, far_range, mac, only, prefix, range16, rule};
use classifier::{AddressMatch, Family, FlagsMatch, Range16, Rule};
use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

fn agree(rules: &[Rule], mixed: usize, near: usize, seed: u64) -> Result<(), TestCaseError> {
    let draw = Draw { accepted: rules.len(), corners: 30, mixed, near };
    let keys = keys(rules, draw, &mut Rng::with_seed(seed));
    assert_agrees(rules, &compile(rules), &keys);
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn of_rules_that_ask_for_anything(rules in vec(rule(), 0..60), seed: u64) {
        agree(&rules, 12, 6, seed)?;
    }

    /// Few fields and many rules: they overlap, hide each other and nest.
    #[test]
    fn of_rules_that_ask_for_a_few_fields(
        rules in vec(rule(), 0..200),
        fields in vec(0..16u32, 1..4),
        seed: u64,
    ) {
        let fields = fields.into_iter().fold(0, |bits, field| bits | 1 << field);
        let rules: Vec<_> = rules.into_iter().map(|rule| only(fields, rule)).collect();
        agree(&rules, 24, 60, seed)?;
    }

    #[test]
    fn of_rules_that_share_all_but_their_ranges(
        base in rule(),
        ranges in vec((range16(), range16(), range16(), range16()), 1..60),
        ends: bool,
        seed: u64,
    ) {
        let rules: Vec<_> = ranges
            .into_iter()
            .map(|(src_ports, dst_ports, src_identities, dst_identities)| {
                let ported = Rule { src_ports, dst_ports, ..base.clone() };
                if ends { Rule { src_identities, dst_identities, ..ported } } else { ported }
            })
            .collect();
        agree(&rules, 24, 60, seed)?;
    }

    #[test]
    fn of_rules_that_share_all_but_their_addresses(
        base in rule(),
        ends in vec((addresses(), addresses()), 1..60),
        seed: u64,
    ) {
        let rules: Vec<_> =
            ends.into_iter().map(|(src, dst)| Rule { src, dst, ..base.clone() }).collect();
        agree(&rules, 24, 60, seed)?;
    }

    #[test]
    fn of_rules_that_share_all_but_hardware_addresses_and_lengths(
        base in rule(),
        links in vec((mac(), mac(), range16()), 1..60),
        seed: u64,
    ) {
        let rules: Vec<_> = links
            .into_iter()
            .map(|(src_mac, dst_mac, lengths)| Rule { src_mac, dst_mac, lengths, ..base.clone() })
            .collect();
        agree(&rules, 24, 60, seed)?;
    }

    #[test]
    fn of_rules_that_share_all_but_their_flags(
        base in rule(),
        flags in vec((any::<u16>(), any::<u16>(), 0..8u8), 1..60),
        seed: u64,
    ) {
        let rules: Vec<_> = flags
            .into_iter()
            .map(|(value, mask, junk)| {
                let mask = mask & 0x1ff;
                let value = if junk == 0 { value } else { value & mask };
                Rule { tcp_flags: FlagsMatch { value, mask }, ..base.clone() }
            })
            .collect();
        agree(&rules, 24, 60, seed)?;
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// Each becomes hundreds of prefixes on a side, and their product where both sides are such.
    #[test]
    fn of_rules_between_far_ranges(
        ends in vec((far_range(), addresses(), any::<bool>()), 1..12),
        seed: u64,
    ) {
        let rules: Vec<_> = ends
            .into_iter()
            .map(|(far, other, swap)| {
                let (src, dst) = if swap { (far, other) } else { (other, far) };
                Rule { src, dst, ..Rule::ANY }
            })
            .collect();
        agree(&rules, 24, 12, seed)?;
    }

    #[test]
    fn of_sets_of_addresses(
        sets in vec((vec(addresses_of_one(), 0..80), vec(addresses_of_one(), 0..80)), 1..12),
        ports in vec(range16(), 12),
        seed: u64,
    ) {
        let rules: Vec<_> = sets
            .into_iter()
            .zip(ports)
            .map(|((src, dst), dst_ports)| Rule {
                src: AddressMatch::set(src),
                dst: AddressMatch::set(dst),
                dst_ports,
                ..Rule::ANY
            })
            .collect();
        agree(&rules, 40, 12, seed)?;
    }

    /// Prefixes of every length of random addresses, in both families.
    #[test]
    fn of_random_prefixes(
        prefixes in vec((any::<u128>(), 0..=128u8, any::<u128>(), 0..=128u8), 0..300),
        shared in 0..=128u8,
        ports in range16(),
        seed: u64,
    ) {
        let rules: Vec<_> = prefixes
            .into_iter()
            .enumerate()
            .map(|(i, (src, src_len, dst, dst_len))| {
                let family = if i % 2 == 0 { Family::V4 } else { Family::V6 };
                // The first bits alike, so that they nest.
                let (src, dst) = (src.checked_shr(shared.into()).unwrap_or(0), dst >> 3);
                Rule {
                    src: prefix_of(family, src, src_len),
                    dst: prefix_of(family, dst, dst_len),
                    dst_ports: if i % 5 == 0 { ports } else { Range16::ANY },
                    ..Rule::ANY
                }
            })
            .collect();
        agree(&rules, 24, 300, seed)?;
    }
}

fn addresses_of_one() -> impl Strategy<Value = AddressMatch> {
    prop_oneof![
        4 => prefix(Family::V4),
        4 => prefix(Family::V6),
        // Single addresses in a row with gaps.
        4 => (0..400u32).prop_map(|n| AddressMatch::host((n * n).to_be_bytes().into())),
    ]
}

/// The first `len` bits of `address` taken as an address of `family`; `len` wraps around.
fn prefix_of(family: Family, address: u128, len: u8) -> AddressMatch {
    let bits = family.bits();
    let address = if bits == 32 { address >> 96 } else { address };
    AddressMatch::prefix(family.ip_addr(address), len % (bits + 1)).expect("not too long")
}
