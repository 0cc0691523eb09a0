//! Bindings against a scan of everything that was configured.

use super::super::sources::{Binding, Bindings, IntervalMap};
use super::*;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeMap;

/// A prefix as the scan understands it.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    family: Family,
    value: u128,
    len: u8,
}

impl Prefix {
    fn has(&self, family: Family, address: u128) -> bool {
        let host = u32::from(self.family.bits() - self.len);
        let same = host == 128 || address >> host == self.value >> host;
        family == self.family && same
    }

    fn ends(&self) -> [u128; 2] {
        let host = u32::from(self.family.bits() - self.len);
        let ones = if host == 128 { u128::MAX } else { (1 << host) - 1 };
        [self.value & !ones, self.value | ones]
    }

    fn matched(&self) -> AddressMatch {
        AddressMatch::prefix(self.family.ip_addr(self.value), self.len).unwrap()
    }
}

/// Few bits of difference, so that prefixes nest, meet and coincide.
fn prefix() -> impl Strategy<Value = Prefix> {
    let bits = select(vec![0u8, 0, 1, 1, 0x40, 0x7f, 0x80, 0xff]);
    (any::<bool>(), prop::collection::vec(bits, 16), 0..=8u8, any::<bool>()).prop_map(
        |(v6, octets, len, deep)| {
            let octets: [u8; 16] = octets.try_into().unwrap();
            let (family, value) = match v6 {
                true => (Family::V6, u128::from_be_bytes(octets)),
                false => (Family::V4, u128::from_be_bytes(octets) >> 96),
            };
            let len = if deep { family.bits() - len } else { len };
            let host = u32::from(family.bits() - len);
            let value = if host == 128 { 0 } else { value >> host << host };
            Prefix { family, value, len }
        },
    )
}

#[derive(Clone, Debug)]
enum Kind {
    Any,
    Networks,
    Listed(Vec<Prefix>),
}

fn zone() -> impl Strategy<Value = (Vec<Prefix>, Kind)> {
    let list = prop::collection::vec(prefix(), 1..6);
    let kind = prop_oneof![Just(Kind::Any), Just(Kind::Networks), list.prop_map(Kind::Listed)];
    (prop::collection::vec(prefix(), 0..12), kind)
}

/// What the words of [`Sources`] and [`ZoneGuard::networks`] say.
fn scanned(zones: &[(Vec<Prefix>, Kind)], zone: usize, family: Family, address: u128) -> Binding {
    let mut narrowest: Option<u8> = None;
    let mut owners = Vec::new();
    for (nth, (networks, _)) in zones.iter().enumerate() {
        for network in networks.iter().filter(|network| network.has(family, address)) {
            if narrowest.is_none_or(|len| network.len > len) {
                narrowest = Some(network.len);
                owners.clear();
            }
            if narrowest == Some(network.len) {
                owners.push(nth);
            }
        }
    }
    let own = owners.contains(&zone);
    let others = !owners.is_empty() && !own;
    match zones.get(zone).map(|(_, kind)| kind) {
        Some(Kind::Listed(list)) if list.iter().any(|p| p.has(family, address)) => Binding::Named,
        Some(Kind::Any | Kind::Networks) if own => Binding::Named,
        _ if others => Binding::OtherZone,
        Some(Kind::Any) | None => Binding::Free,
        Some(Kind::Networks | Kind::Listed(_)) => Binding::Unlisted,
    }
}

#[test]
fn bindings_are_those_of_a_scan() {
    let seen = std::cell::RefCell::new(BTreeMap::new());
    let zones = prop::collection::vec(zone(), 1..5);
    let strategy = (zones, prop::collection::vec(any::<(Index, Index)>(), 40));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 2_000,
        ..ProptestConfig::default()
    });
    let result = runner.run(&strategy, |(zones, picks)| {
        let config: Vec<_> = zones
            .iter()
            .map(|(networks, kind)| ZoneGuard {
                networks: networks.iter().map(Prefix::matched).collect(),
                sources: match kind {
                    Kind::Any => Sources::Any,
                    Kind::Networks => Sources::Networks,
                    Kind::Listed(list) => {
                        Sources::Listed(list.iter().map(Prefix::matched).collect())
                    }
                },
                ..ZoneGuard::default()
            })
            .collect();
        let bindings = Bindings::new(&config);
        // The ends of every prefix, and the addresses just outside.
        let mut addresses = vec![(Family::V4, 0), (Family::V6, u128::MAX)];
        for (networks, kind) in &zones {
            let list = if let Kind::Listed(list) = kind { &list[..] } else { &[] };
            for prefix in networks.iter().chain(list) {
                let [low, high] = prefix.ends();
                let last =
                    if prefix.family == Family::V4 { u128::from(u32::MAX) } else { u128::MAX };
                let around = [low, high, low.saturating_sub(1), high.saturating_add(1).min(last)];
                addresses.extend(around.map(|address| (prefix.family, address)));
            }
        }
        for (zone, address) in &picks {
            // One more than there are: a zone that is not configured.
            let zone = zone.index(zones.len() + 1);
            let &(family, address) = address.get(&addresses);
            let expected = scanned(&zones, zone, family, address);
            let found = bindings.of(ZoneId(zone as u16), family, address);
            prop_assert_eq!(found, expected, "zone {} {}", zone, family.ip_addr(address));
            *seen.borrow_mut().entry(format!("{expected:?}")).or_insert(0u32) += 1;
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // Or else the addresses were drawn badly.
    let seen = seen.into_inner();
    assert!(seen.len() == 4 && seen.values().all(|n| *n > 1_000), "{seen:?}");
}

#[test]
fn ranges_that_are_no_prefixes_are_kept_apart() {
    let range = |low, high| AddressMatch::Range { family: Family::V4, low, high };
    let last = u128::from(u32::MAX);
    let entries = [
        (range(10, 20), 'a'),
        (range(15, 18), 'b'),
        (range(18, 40), 'c'),
        (range(last, last), 'd'),
    ];
    let map = IntervalMap::narrowest(&entries, '-', |labels| labels[0]);
    let expected = [
        (0, '-'),
        (9, '-'),
        (10, 'a'),
        (14, 'a'),
        (15, 'b'),
        (18, 'b'),
        (19, 'a'),
        (20, 'a'),
        (21, 'c'),
        (40, 'c'),
        (41, '-'),
        (last - 1, '-'),
        (last, 'd'),
    ];
    for (address, value) in expected {
        assert_eq!(map.at(Family::V4, address), value, "{address}");
    }
    assert_eq!(map.at(Family::V6, 15), '-');
}
