//! Rule sets of any size with the structure of ClassBench's families, and of a segmentation policy.
//!
//! A rule is drawn field by field, in ClassBench's terms (Taylor and Turner, INFOCOM 2005): a pair
//! of prefix lengths, an address of each length from a tree in which addresses nest and crowd, a
//! protocol with a class of source and destination ports. The tables behind it
//! ([`Structure`]) are ours: round numbers that bring out what is found in the published sets.

mod addresses;
mod identities;
mod nesting;
mod structure;

pub use structure::Structure;

use crate::rulegen::{TCP, range, wideness};
use addresses::{Tree, length};
use classifier::{AddressMatch, Family, IdentityRange, PortRange, Rule, ZoneId};
use fastrand::Rng;
use foldhash::fast::FixedState;
use identities::LabelSets;
use std::collections::HashSet;
use std::hash::BuildHasher;
use structure::{Ports, Table};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct SetConfig {
    /// What the rules look like.
    pub structure: Structure,
    /// Rules, exactly.
    pub rules: usize,
    /// Same seed, same rules.
    pub seed: u64,
    /// How many rules in a hundred are IPv6; the others are IPv4.
    pub v6_percent: u8,
    /// Whether rules for TCP look at flags.
    pub flags: bool,
    /// Zones that the rules are between; 0 for none. Most rules name both.
    pub zones: u16,
    /// Label sets, numbered from 0; 0 for none. Rules name ranges of them in place of addresses.
    pub identities: u16,
}

impl SetConfig {
    /// IPv4 rules that name what the structure names: label sets and zones in
    /// [`Structure::Identity`], the five-tuple in the others.
    pub fn new(structure: Structure, rules: usize, seed: u64) -> Self {
        let (zones, identities) = match structure {
            Structure::Identity => (16, 4096),
            _ => (0, 0),
        };
        SetConfig { structure, rules, seed, v6_percent: 0, flags: false, zones, identities }
    }
}

/// Distinct rules in priority order: narrow ones before wide ones, as operators write them.
///
/// Even without their flags no two are the same.
pub fn generate(config: SetConfig) -> Vec<Rule> {
    let mut rng = Rng::with_seed(config.seed);
    let mut source = Source::new(config, &mut rng);
    // By hash: a million rules are not kept twice, and a rule lost to a collision is no loss.
    let hasher = FixedState::default();
    let mut seen = HashSet::with_capacity(config.rules);
    let mut rules = Vec::with_capacity(config.rules);
    while rules.len() < config.rules {
        let mut rule = source.rule(&mut rng);
        if !seen.insert(hasher.hash_one(&rule)) {
            continue;
        }
        if config.flags && rule.protocol == Some(TCP) {
            rule.tcp_flags = pick(source.table.flags, &mut rng);
        }
        rules.push(rule);
    }
    rules.sort_by_key(|rule| breadth(rule) / 8);
    rules
}

/// How wide a rule is, in bits of two IPv4 addresses; a narrow range of identities counts as a
/// narrow prefix.
fn breadth(rule: &Rule) -> u32 {
    let side = |addresses: &AddressMatch, identities: IdentityRange| {
        let sets = u32::from(identities.high - identities.low);
        wideness(addresses).min(2 * (u32::BITS - sets.leading_zeros()))
    };
    side(&rule.src, rule.src_identities) + side(&rule.dst, rule.dst_identities)
}

/// Where the fields of rules come from.
struct Source {
    config: SetConfig,
    table: &'static Table,
    /// Source and destination, of each family.
    v4: [Tree; 2],
    v6: [Tree; 2],
    label_sets: Option<LabelSets>,
    exact: Vec<u16>,
    ranges: Vec<PortRange>,
}

impl Source {
    fn new(config: SetConfig, rng: &mut Rng) -> Self {
        let table = config.structure.table();
        let tree =
            |family, side: usize| Tree::new(family, table.crowding[side], table.nesting[side]);
        let trees = |family| [0, 1].map(|side| tree(family, side));
        let known = structure::KNOWN_PORTS.iter().copied();
        let drawn = std::iter::repeat_with(|| rng.u16(1024..));
        let exact = known.chain(drawn).take(table.exact_ports).collect();
        Source {
            config,
            table,
            v4: trees(Family::V4),
            v6: trees(Family::V6),
            label_sets: (config.identities > 0).then(|| LabelSets::new(config.identities)),
            exact,
            ranges: (0..table.port_ranges).map(|_| range(rng)).collect(),
        }
    }

    fn rule(&mut self, rng: &mut Rng) -> Rule {
        let family = if rng.u8(..100) < self.config.v6_percent { Family::V6 } else { Family::V4 };
        let (src_mode, dst_mode) = pick(self.table.lengths, rng);
        let mut side = |side: usize, mode: u8| {
            if let Some(sets) = self.label_sets.as_ref()
                && rng.u8(..100) < self.table.identity_percent
            {
                return (AddressMatch::Any, sets.selected(rng));
            }
            let trees = if family == Family::V4 { &mut self.v4 } else { &mut self.v6 };
            (trees[side].prefix(length(mode, rng), rng), IdentityRange::ANY)
        };
        let (src, src_identities) = side(0, src_mode);
        let (dst, dst_identities) = side(1, dst_mode);
        let (protocol, src_ports, dst_ports) = pick(self.table.services, rng);
        let (from_zone, to_zone) = self.zones(rng);
        Rule {
            from_zone,
            to_zone,
            src,
            dst,
            src_identities,
            dst_identities,
            protocol,
            src_ports: self.ports(src_ports, rng),
            dst_ports: self.ports(dst_ports, rng),
            ..Rule::ANY
        }
    }

    fn ports(&self, class: Ports, rng: &mut Rng) -> PortRange {
        match class {
            Ports::Any => PortRange::ANY,
            Ports::High => PortRange { low: 1024, high: u16::MAX },
            Ports::Exact => PortRange::one(self.exact[skewed(self.exact.len(), rng)]),
            Ports::Range => self.ranges[skewed(self.ranges.len(), rng)],
        }
    }

    /// Both zones for most rules, one for some, none for the rest.
    fn zones(&self, rng: &mut Rng) -> (Option<ZoneId>, Option<ZoneId>) {
        if self.config.zones == 0 {
            return (None, None);
        }
        let mut zone = || ZoneId(skewed(self.config.zones.into(), rng) as u16);
        let (from, to) = (zone(), zone());
        match rng.u8(..100) {
            0..85 => (Some(from), Some(to)),
            85..91 => (Some(from), None),
            91..97 => (None, Some(to)),
            _ => (None, None),
        }
    }
}

/// An entry of a table of weights.
fn pick<T: Copy>(table: &[(u32, T)], rng: &mut Rng) -> T {
    let sum: u32 = table.iter().map(|(weight, _)| weight).sum();
    let mut place = rng.u32(..sum);
    for (weight, entry) in table {
        match place.checked_sub(*weight) {
            Some(rest) => place = rest,
            None => return *entry,
        }
    }
    unreachable!("the place lies below the sum of the weights")
}

/// An index below `len`, low ones more often: the first tenth is drawn three times in ten.
fn skewed(len: usize, rng: &mut Rng) -> usize {
    (len as f64 * rng.f64().powi(2)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::family_of;
    use clap::ValueEnum;
    use classifier::FlagsMatch;

    fn set(structure: Structure, rules: usize) -> Vec<Rule> {
        generate(SetConfig::new(structure, rules, 7))
    }

    fn share(rules: &[Rule], what: impl Fn(&Rule) -> bool) -> f64 {
        rules.iter().filter(|rule| what(rule)).count() as f64 / rules.len() as f64
    }

    fn len(addresses: &AddressMatch) -> u8 {
        let AddressMatch::Prefix { len, .. } = addresses else { panic!("{addresses:?}") };
        *len
    }

    #[test]
    fn the_same_seed_gives_the_same_rules_and_another_seed_others() {
        for structure in Structure::value_variants() {
            let config = SetConfig { v6_percent: 30, ..SetConfig::new(*structure, 300, 1) };
            assert_eq!(generate(config), generate(config));
            assert_ne!(generate(config), generate(SetConfig { seed: 2, ..config }));
        }
    }

    #[test]
    fn exactly_as_many_rules_as_asked_for_and_all_distinct_without_their_flags() {
        for structure in Structure::value_variants() {
            for count in [0, 1, 10, 3000] {
                let config = SetConfig { flags: true, ..SetConfig::new(*structure, count, 1) };
                let rules = generate(config);
                assert_eq!(rules.len(), count);
                let without =
                    rules.into_iter().map(|rule| Rule { tcp_flags: FlagsMatch::ANY, ..rule });
                assert_eq!(without.collect::<HashSet<_>>().len(), count);
            }
        }
    }

    #[test]
    fn narrow_rules_come_first() {
        for structure in Structure::value_variants() {
            let rules = set(*structure, 1000);
            assert!(rules.is_sorted_by_key(|rule| breadth(rule) / 8));
        }
    }

    #[test]
    fn prefix_lengths_are_those_of_the_structure() {
        let acl1 = set(Structure::Acl1, 4000);
        assert!(share(&acl1, |rule| len(&rule.src) >= 30 && len(&rule.dst) >= 30) > 0.6);
        let fw1 = set(Structure::Fw1, 4000);
        assert!(
            (0.5..0.7).contains(&share(&fw1, |rule| len(&rule.src) <= 2 && len(&rule.dst) > 2))
        );
        let fw2 = set(Structure::Fw2, 4000);
        assert!((0.6..0.8).contains(&share(&fw2, |rule| len(&rule.dst) <= 2)));
        let acl2 = set(Structure::Acl2, 4000);
        let pairs: HashSet<_> = acl2.iter().map(|rule| (len(&rule.src), len(&rule.dst))).collect();
        assert!(pairs.len() > 150, "{}", pairs.len());
    }

    #[test]
    fn ports_and_protocols_are_those_of_the_structure() {
        let exact = |ports: PortRange| ports.low == ports.high;
        let acl1 = set(Structure::Acl1, 4000);
        assert!(acl1.iter().all(|rule| rule.src_ports == PortRange::ANY));
        assert!(share(&acl1, |rule| rule.protocol == Some(TCP)) > 0.8);
        let ports: HashSet<_> =
            acl1.iter().map(|rule| rule.dst_ports).filter(|ports| exact(*ports)).collect();
        assert!((50..=73).contains(&ports.len()), "{}", ports.len());
        let fw1 = set(Structure::Fw1, 4000);
        assert!((0.1..0.25).contains(&share(&fw1, |rule| exact(rule.src_ports))));
        let fw2 = set(Structure::Fw2, 4000);
        assert!(fw2.iter().all(|rule| rule.dst_ports == PortRange::ANY));
    }

    #[test]
    fn addresses_crowd_in_some_sets_and_spread_in_others() {
        let distinct = |structure| {
            let rules = set(structure, 4000);
            let sources: HashSet<_> = rules.iter().map(|rule| rule.src.clone()).collect();
            let targets: HashSet<_> = rules.iter().map(|rule| rule.dst.clone()).collect();
            (sources.len(), targets.len())
        };
        let ((_, acl1), (_, acl2), (ipc1, _)) =
            (distinct(Structure::Acl1), distinct(Structure::Acl2), distinct(Structure::Ipc1));
        assert!(acl1 < 1200 && acl2 > 3000 && ipc1 < 1200, "{acl1} {acl2} {ipc1}");
    }

    #[test]
    fn prefixes_nest_no_deeper_than_the_structure_says() {
        // How many of the prefixes hold each of them, wildcards aside.
        let deepest = |prefixes: HashSet<&AddressMatch>| {
            let depth = |inner: &AddressMatch| {
                let AddressMatch::Prefix { family, value, len } = *inner else { return 0 };
                let above = (4..len).filter(|above| {
                    let value = value & classifier::prefix_mask(family, *above);
                    prefixes.contains(&AddressMatch::Prefix { family, value, len: *above })
                });
                above.count() + 1
            };
            prefixes.iter().map(|inner| depth(inner)).max().unwrap_or(0)
        };
        for structure in [Structure::Acl1, Structure::Fw1, Structure::Ipc1] {
            let rules = set(structure, 3000);
            let sources = deepest(rules.iter().map(|rule| &rule.src).collect());
            let targets = deepest(rules.iter().map(|rule| &rule.dst).collect());
            let [of_sources, of_targets] = structure.table().nesting.map(usize::from);
            // One more where a set is so crowded that there was no room.
            assert!(sources <= of_sources + 1, "{structure:?}: {sources}");
            assert!(targets <= of_targets + 1, "{structure:?}: {targets}");
        }
    }

    #[test]
    fn families_are_mixed_as_asked_for_and_never_in_a_rule() {
        for (percent, low, high) in [(0, 0.0, 0.0), (30, 0.25, 0.35), (100, 1.0, 1.0)] {
            let config =
                SetConfig { v6_percent: percent, ..SetConfig::new(Structure::Acl2, 2000, 1) };
            let rules = generate(config);
            assert!(rules.iter().all(|rule| family_of(&rule.src) == family_of(&rule.dst)));
            let v6 = share(&rules, |rule| family_of(&rule.src) == Some(Family::V6));
            assert!((low..=high).contains(&v6), "{v6}");
        }
    }

    #[test]
    fn flags_zones_and_label_sets_are_there_when_asked_for_and_else_not() {
        let plain = set(Structure::Fw1, 500);
        let five_tuple = |rule: &Rule| Rule {
            src: rule.src.clone(),
            dst: rule.dst.clone(),
            protocol: rule.protocol,
            src_ports: rule.src_ports,
            dst_ports: rule.dst_ports,
            ..Rule::ANY
        };
        assert!(plain.iter().all(|rule| *rule == five_tuple(rule)));

        let config = SetConfig::new(Structure::Fw1, 500, 1);
        let rules = generate(SetConfig { flags: true, zones: 5, identities: 100, ..config });
        assert!(share(&rules, |rule| rule.tcp_flags != FlagsMatch::ANY) > 0.3);
        assert!(share(&rules, |rule| rule.from_zone.is_some() && rule.to_zone.is_some()) > 0.8);
        assert!(rules.iter().all(|rule| rule.from_zone.is_none_or(|zone| zone.0 < 5)));
        let named = share(&rules, |rule| rule.src_identities != IdentityRange::ANY);
        assert!((0.4..0.55).contains(&named), "{named}");
    }

    #[test]
    fn a_segmentation_policy_names_thousands_of_label_sets() {
        let rules = set(Structure::Identity, 5000);
        let mut named = HashSet::new();
        for range in rules.iter().flat_map(|rule| [rule.src_identities, rule.dst_identities]) {
            if range != IdentityRange::ANY {
                named.extend(range.low..=range.high);
            }
        }
        assert_eq!(named.len(), 4096);
        assert!(share(&rules, |rule| rule.src == AddressMatch::Any) > 0.8);
    }
}
