//! A table changed a few rules at a time answers as one built from the rules it then has.

use crate::corners::{Draw, keys};
use crate::edits::edited;
use crate::strategies::rule;
use classifier::{
    AddressMatch, Applied, BuildError, Config, Edit, EditError, Linear, Lookup, Rule, Updater,
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
