//! What an audit says of rules is so, and it leaves no hidden rule out.

use crate::check::compile;
use crate::strategies::{only, rule};
use classifier::{
    AddressMatch, Family, Finding, FindingKind, IpBits, Linear, Lookup, MacMatch, PacketKey,
    PortRange, Rule, audit,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A key of every kind that `rules`, which ask for source addresses, ports, flags, fragments, hardware
/// addresses in [`OCTETS`] and lengths, can tell apart: for each field the first value, and every one where some rule begins or has ended.
fn kinds(rules: &[Rule]) -> Vec<PacketKey> {
    let firsts = |ranges: &mut dyn Iterator<Item = (u128, u128)>| {
        let mut firsts: Vec<_> =
            ranges.flat_map(|(low, high)| [low, high.saturating_add(1)]).collect();
        firsts.push(0);
        firsts.sort_unstable();
        firsts.dedup();
        firsts
    };
    let ports = |of: fn(&Rule) -> PortRange| {
        let ranges = rules.iter().map(of).map(|ports| (ports.low.into(), ports.high.into()));
        let firsts = firsts(&mut { ranges });
        firsts.into_iter().filter_map(|first| u16::try_from(first).ok()).collect::<Vec<_>>()
    };
    let (src_ports, dst_ports) = (ports(|rule| rule.src_ports), ports(|rule| rule.dst_ports));
    let masks = rules.iter().fold(0, |masks, rule| masks | rule.tcp_flags.mask);
    let flags: Vec<u16> = (0..=masks).filter(|flags| flags & !masks == 0).collect();
    let links = links(rules, &ports(|rule| rule.lengths));
    let mut keys = Vec::new();
    for family in [Family::V4, Family::V6] {
        let sources = firsts(&mut rules.iter().flat_map(|rule| rule.src.ranges(family)));
        let last = AddressMatch::Any.ranges(family)[0].1;
        for src in sources.into_iter().filter(|src| *src <= last) {
            for &src_port in &src_ports {
                for &dst_port in &dst_ports {
                    for &tcp_flags in &flags {
                        for link in &links {
                            keys.extend([false, true].map(|fragment| PacketKey {
                                src,
                                src_port,
                                dst_port,
                                tcp_flags,
                                ip: IpBits::new(family).with_fragment(fragment),
                                ..*link
                            }));
                        }
                    }
                }
            }
        }
    }
    keys
}

/// The octets of a hardware address that rules ask for, and the bits of each.
const OCTETS: [(usize, u8); 2] = [(0, 0x81), (5, 0x01)];

/// Keys with every hardware address and length that rules can tell apart.
fn links(rules: &[Rule], lengths: &[u16]) -> Vec<PacketKey> {
    let addresses = |of: fn(&Rule) -> MacMatch| {
        let mut addresses = vec![[0; 6]];
        for (octet, bits) in OCTETS {
            let asked = rules.iter().fold(0, |asked, rule| asked | of(rule).mask[octet]) & bits;
            for bit in (0..8).map(|bit| 1 << bit).filter(|bit| asked & bit != 0) {
                let mut others = addresses.clone();
                others.iter_mut().for_each(|address| address[octet] |= bit);
                addresses.extend(others);
            }
        }
        addresses
    };
    let (sources, targets) = (addresses(|rule| rule.src_mac), addresses(|rule| rule.dst_mac));
    let mut links = Vec::new();
    for &src_mac in &sources {
        for &dst_mac in &targets {
            links.extend(lengths.iter().map(|&length| PacketKey {
                src_mac,
                dst_mac,
                length,
                ..PacketKey::empty(Family::V4)
            }));
        }
    }
    links
}

/// `mac` as it is in [`OCTETS`], open elsewhere.
fn in_octets(mac: MacMatch) -> MacMatch {
    let mut reduced = MacMatch::ANY;
    for (octet, bits) in OCTETS {
        reduced.mask[octet] = mac.mask[octet] & bits;
        // As it was outside its mask: such a rule matches nothing.
        reduced.value[octet] = mac.value[octet] & bits;
    }
    reduced
}

fn check(rules: &[Rule], outcomes: &[u32]) -> Result<(), TestCaseError> {
    let keys = kinds(rules);
    let linear = Linear::new(rules);
    let answers: Vec<_> = keys.iter().map(|key| linear.lookup(key)).collect();
    let outcome = |rule: u32| outcomes[rule as usize];
    let audit = audit(&compile(rules), rules, outcome);
    for rule in 0..rules.len() as u32 {
        let finding = audit.findings.iter().find(|finding| finding.rule == rule);
        let matched = |key: &&PacketKey| rules[rule as usize].matches(key);
        let hidden = !answers.contains(&Some(rule));
        let undecided = audit.undecided.contains(&rule);
        prop_assert!(!hidden || undecided || finding.is_some(), "{} is hidden", rule);
        let Some(finding) = finding else { continue };
        prop_assert!(!undecided);
        let by = &finding.by;
        let none = !keys.iter().any(|key| matched(&key));
        prop_assert_eq!(finding.kind == FindingKind::Empty, none, "{:?}", finding);
        prop_assert_eq!(by.is_empty(), none, "{:?}", finding);
        let others = |key: &PacketKey| by.iter().any(|by| rules[*by as usize].matches(key));
        prop_assert!(keys.iter().filter(matched).all(others), "{:?}", finding);
        prop_assert!(by.is_sorted() && !by.contains(&rule), "{:?}", finding);
        // Without it, no key has another outcome.
        let mut without = rules.to_vec();
        without.remove(rule as usize);
        let linear = Linear::new(without);
        for (key, before) in keys.iter().zip(&answers) {
            let after = linear.lookup(key).map(|after| after + u32::from(after >= rule));
            prop_assert_eq!(after.map(outcome), before.map(outcome), "{:?} {:?}", finding, key);
        }
        let alike = by.iter().all(|by| outcome(*by) == outcome(rule));
        prop_assert_eq!(finding.kind == FindingKind::Shadowed, !none && !alike, "{:?}", finding);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn of_a_few_rules(
        rules in vec(rule(), 1..8),
        fields in prop_oneof![
            Just(0b1_0001_0000_1000),
            Just(0b1_0111_0000_0000),
            Just(0b1_0011_0000_1000),
            Just(0b1110_0000_0000_0000),
            Just(0b1010_0001_0000_0000),
            Just(0b0100_0100_0000_1000),
        ],
        outcomes in vec(0..2u32, 8),
    ) {
        let rules: Vec<_> = rules
            .into_iter()
            .map(|rule| {
                let mut rule = only(fields, rule);
                rule.tcp_flags.mask &= 0x13;
                rule.src_mac = in_octets(rule.src_mac);
                rule.dst_mac = in_octets(rule.dst_mac);
                rule
            })
            .collect();
        check(&rules, &outcomes)?;
    }
}

#[test]
fn a_rule_hidden_by_two_together_is_found() {
    let ports = |low, high| Rule { dst_ports: PortRange { low, high }, ..Rule::ANY };
    let rules = [ports(0, 99), ports(100, 200), ports(50, 150), ports(50, 201)];
    let found = audit(&compile(&rules), &rules, |_| 0).findings;
    // Rule 1 is so by a later one with the same outcome.
    let by = |rule, by: &[u32]| Finding { rule, kind: FindingKind::Redundant, by: by.to_vec() };
    assert_eq!(found, [by(1, &[3]), by(2, &[0, 1])]);
    let found = audit(&compile(&rules), &rules, |rule| rule).findings;
    let kind = FindingKind::Shadowed;
    assert_eq!(found, [Finding { rule: 2, kind, by: vec![0, 1] }]);
}
