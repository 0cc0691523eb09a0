//! A table changed a few rules at a time answers as one built from the rules it then has.

use crate::check::assert_agrees;
use crate::corners::{Draw, keys};
use crate::edits::edited;
use crate::strategies::rule;
use classifier::{
    AddressMatch, Applied, BuildError, Config, Edit, EditError, Family, Linear, Lookup, PacketKey,
    PortRange, Rule, Updater, prefix_mask,
};
use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// What an edit does, before positions are known to exist.
#[derive(Clone, Debug)]
enum Wish {
    Insert(Rule),
    Remove,
    Replace(Rule),
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        3 => rule().prop_map(Wish::Insert),
        2 => Just(Wish::Remove),
        2 => rule().prop_map(Wish::Replace),
    ]
}

/// Edits at positions that are there, none twice.
fn edits(wishes: Vec<(u32, Wish)>, rules: usize) -> Vec<Edit> {
    let mut taken = std::collections::HashSet::new();
    let mut edits = Vec::new();
    for (at, wish) in wishes {
        let place = at % (rules as u32 + 1);
        match wish {
            Wish::Insert(rule) => edits.push(Edit::Insert { at: place, rule }),
            _ if place as usize == rules || !taken.insert(place) => {}
            Wish::Remove => edits.push(Edit::Remove { at: place }),
            Wish::Replace(rule) => edits.push(Edit::Replace { at: place, rule }),
        }
    }
    edits
}

fn assert_follows(updater: &Updater, rules: &[Rule], seed: u64) {
    assert_eq!(updater.rules(), rules);
    let linear = Linear::new(rules);
    let table = updater.classifier();
    for key in keys(
        rules,
        Draw { accepted: 60, corners: 6, mixed: 4, near: 60 },
        &mut Rng::with_seed(seed),
    ) {
        assert_eq!(table.lookup(&key), linear.lookup(&key), "{key:?}\n{rules:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn an_updated_table_answers_as_its_rules_do(
        rules in vec(rule(), 0..60),
        rounds in vec(vec((any::<u32>(), wish()), 0..8), 1..5),
        seed: u64,
    ) {
        let mut updater = Updater::new(Config::default(), rules.clone()).unwrap();
        let mut rules = rules;
        for wishes in rounds {
            let edits = edits(wishes, rules.len());
            rules = edited(&rules, &edits);
            updater.apply(&edits).unwrap();
            assert_follows(&updater, &rules, seed);
        }
    }
}

fn host(address: Ipv4Addr) -> AddressMatch {
    AddressMatch::host(address.into())
}

/// Hosts talking to hosts on one port, and one rule for the rest.
fn many(count: u32) -> Vec<Rule> {
    let source = |i: u32| Ipv4Addr::from_bits(i.wrapping_mul(0x9e37_79b1)); // odd: a permutation
    let mut rules: Vec<Rule> = (0..count)
        .map(|i| Rule { src: host(source(i)), dst: host(source(i / 8)), ..Rule::ANY })
        .collect();
    rules.push(Rule::ANY);
    rules
}

#[test]
fn few_edits_of_a_large_table_are_a_patch_and_many_are_a_build() {
    let mut rules = many(20_000);
    let mut updater = Updater::new(Config::default(), rules.clone()).unwrap();
    let before = updater.classifier();
    let wide = Rule { protocol: Some(6), ..Rule::ANY };
    let few: Vec<Edit> = (0..16)
        .map(|i| Edit::Remove { at: i * 37 })
        .chain(
            (0..16)
                .map(|i| Edit::Replace { at: 5000 + i * 31, rule: many(16)[i as usize].clone() }),
        )
        .chain(
            (0..16).map(|i| Edit::Insert {
                at: i * 999,
                rule: many(90_000)[80_000 + i as usize].clone(),
            }),
        )
        .chain([Edit::Insert { at: 19_000, rule: wide }])
        .collect();
    assert_eq!(updater.apply(&few), Ok(Applied::Patched));
    let unpatched = Linear::new(&rules[..]);
    rules = edited(&rules, &few);
    assert_eq!(updater.rules(), rules);
    // Every changed rule, its neighbours, and some of the others.
    let linear = Linear::new(&rules[..]);
    let table = updater.classifier();
    let probes: Vec<Rule> = rules.iter().step_by(41).chain(&many(64)).cloned().collect();
    for key in
        keys(&probes, Draw { accepted: 600, corners: 4, mixed: 1, near: 4 }, &mut Rng::with_seed(1))
    {
        assert_eq!(table.lookup(&key), linear.lookup(&key), "{key:?}");
        assert_eq!(before.lookup(&key), unpatched.lookup(&key), "the table before has changed");
    }

    let all: Vec<Edit> = (0..1000).map(|at| Edit::Remove { at }).collect();
    assert_eq!(updater.apply(&all), Ok(Applied::Rebuilt));
    assert_eq!(updater.rules().len(), rules.len() - 1000);
}

/// A network of `len` bits: one of few, so that they lie in one another.
fn network(len: u8, rng: &mut Rng) -> AddressMatch {
    let address = rng.u32(..16).wrapping_mul(0x9e37_79b1) ^ rng.u32(..4) << 12;
    let value = u128::from(address) & prefix_mask(Family::V4, len);
    AddressMatch::Prefix { family: Family::V4, value, len }
}

/// A rule between networks of up to `most` bits, as in the chains of a packet filter: many of them
/// have so few bits in common that large parts of a table hold them together.
fn link(most: u8, rng: &mut Rng) -> Rule {
    let mut side = || {
        let len = [0, 4, 8, 12, 16, 20, 24, 27, 32][rng.usize(..9)];
        network(len.min(most), rng)
    };
    Rule {
        src: side(),
        dst: side(),
        protocol: [Some(17), Some(6), None][rng.usize(..3)],
        dst_ports: match rng.u8(..4) {
            0 => PortRange { low: 1024, high: u16::MAX },
            1 => PortRange::ANY,
            _ => PortRange::one(rng.u16(..400)),
        },
        ..Rule::ANY
    }
}

/// Where a slot has too many entries to be planted anew, they are put into its leaves one by one,
/// and what one that goes has hidden there comes back; rules with many places stand aside.
#[test]
fn edits_of_a_chain_are_patches_also_of_wide_rules() {
    let mut rng = Rng::with_seed(11);
    let mut rules: Vec<Rule> = (0..10_000).map(|_| link(32, &mut rng)).collect();
    let mut updater = Updater::new(Config::default(), rules.clone()).unwrap();
    for most in [32, 32, 16, 8, 8, 4, 32] {
        let wide = |rule: &Rule| {
            [&rule.src, &rule.dst]
                .iter()
                .all(|side| matches!(side, AddressMatch::Prefix { len, .. } if *len <= most))
        };
        let mut places: Vec<u32> =
            (0..).zip(&rules).filter(|(_, rule)| wide(rule)).map(|(at, _)| at).collect();
        rng.shuffle(&mut places);
        let edits: Vec<Edit> = (0..)
            .zip(places.iter().take(30))
            .map(|(i, at)| match i % 3 {
                0 => Edit::Insert { at: *at, rule: link(most, &mut rng) },
                1 => Edit::Replace { at: *at, rule: link(most, &mut rng) },
                _ => Edit::Remove { at: *at },
            })
            .collect();
        assert_eq!(updater.apply(&edits), Ok(Applied::Patched));
        let changed = edits.iter().map(|edit| match edit {
            Edit::Insert { rule, .. } | Edit::Replace { rule, .. } => rule,
            Edit::Remove { at } => &rules[*at as usize],
        });
        let changed: Vec<Rule> = changed.cloned().collect();
        rules = edited(&rules, &edits);
        let draw = Draw { accepted: 400, corners: 30, mixed: 16, near: 30 };
        let mut probes = keys(&changed, draw, &mut rng);
        // What else there is in those that went.
        let among = Draw { accepted: 2000, corners: 0, mixed: 0, near: 1 };
        let other = keys(&rules, among, &mut rng).into_iter();
        probes.extend(other.filter(|key| changed.iter().any(|rule| rule.matches(key))));
        assert_agrees(&rules, &updater.classifier(), &probes);
    }
}

#[test]
fn a_rule_that_a_removed_one_hid_comes_back() {
    let hidden = Rule { protocol: Some(6), src: host(Ipv4Addr::LOCALHOST), ..Rule::ANY };
    let mut rules = vec![Rule { protocol: Some(6), ..Rule::ANY }, hidden.clone(), hidden.clone()];
    rules.extend(vec![Rule::ANY; 40]);
    let mut updater = Updater::new(Config::default(), rules.clone()).unwrap();
    for _ in 0..rules.len() {
        updater.apply(&[Edit::Remove { at: 0 }]).unwrap();
        rules.remove(0);
        assert_follows(&updater, &rules, 7);
    }
}

/// Windows of ports that overlap stay together: too many to be planted anew.
#[test]
fn what_a_removed_rule_hid_among_very_many_comes_back() {
    let window = |low: u16, high: u16| Rule {
        dst_ports: PortRange { low, high },
        protocol: Some(17),
        ..Rule::ANY
    };
    // One that fills the parts that ports are divided into, and one that is there twice.
    let (filling, twice) = (window(0, 8191), window(62_000, 62_010));
    let mut rules = vec![filling.clone(), twice.clone()];
    rules.extend((0..6000).rev().map(|i| window(10 * i, 10 * i + 1000)));
    rules.push(twice.clone());
    let mut updater = Updater::new(Config::default(), rules.clone()).unwrap();
    for edits in [
        vec![Edit::Remove { at: 0 }, Edit::Remove { at: 1 }],
        vec![Edit::Insert { at: 0, rule: filling }, Edit::Insert { at: 0, rule: twice }],
        vec![Edit::Remove { at: 2 }, Edit::Remove { at: 0 }],
        vec![Edit::Remove { at: 0 }, Edit::Remove { at: 6000 }],
    ] {
        assert_eq!(updater.apply(&edits), Ok(Applied::Patched));
        rules = edited(&rules, &edits);
        let ports =
            (0..8200).step_by(29).chain((8200..=u16::MAX).step_by(1001)).chain(61_998..62_012);
        let keys: Vec<_> = ports
            .flat_map(|port| [Family::V4, Family::V6].map(|family| (port, family)))
            .map(|(port, family)| PacketKey {
                dst_port: port,
                protocol: 17,
                ..PacketKey::empty(family)
            })
            .collect();
        assert_agrees(&rules, &updater.classifier(), &keys);
    }
}

#[test]
fn edits_that_cannot_be_are_refused_and_change_nothing() {
    let mut updater =
        Updater::new(Config { max_rules: 3, ..Config::default() }, vec![Rule::ANY; 3]).unwrap();
    let before = updater.clone();
    let insert = |at| Edit::Insert { at, rule: Rule::ANY };
    let cases = [
        (vec![Edit::Remove { at: 3 }], EditError::NoSuchRule { at: 3, rules: 3 }),
        (vec![insert(4)], EditError::NoSuchRule { at: 4, rules: 3 }),
        (
            vec![Edit::Remove { at: 1 }, Edit::Replace { at: 1, rule: Rule::ANY }],
            EditError::Twice { at: 1 },
        ),
        (vec![insert(3)], EditError::Build(BuildError::TooManyRules { rules: 4, limit: 3 })),
    ];
    for (edits, error) in cases {
        assert_eq!(updater.apply(&edits), Err(error));
        assert_eq!(updater.rules(), before.rules());
    }
    assert_eq!(updater.apply(&[Edit::Remove { at: 1 }, insert(1)]), Ok(Applied::Patched));
}
