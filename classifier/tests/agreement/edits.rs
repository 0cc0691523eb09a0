//! A table that follows the edits of its rules answers as one built from the rules after them.

use crate::check::assert_agrees;
use crate::corners::{Draw, keys};
use crate::strategies::{only, rule};
use classifier::{AddressMatch, Applied, Config, Edit, EditError, PortRange, Rule, Updater};
use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::Cell;

/// What the documentation of [`Edit`] says, word for word.
pub fn edited(rules: &[Rule], edits: &[Edit]) -> Vec<Rule> {
    let mut after = Vec::new();
    for place in 0..=rules.len() {
        let here = |at: &u32| *at as usize == place;
        after.extend(edits.iter().filter_map(|edit| match edit {
            Edit::Insert { at, rule } if here(at) => Some(rule.clone()),
            _ => None,
        }));
        let instead = edits.iter().find_map(|edit| match edit {
            Edit::Remove { at } if here(at) => Some(None),
            Edit::Replace { at, rule } if here(at) => Some(Some(rule)),
            _ => None,
        });
        after.extend(instead.unwrap_or(rules.get(place)).cloned());
    }
    after
}

/// One edit as it is drawn: what it does, where, and with which rule.
type Drawn = (u8, Index, Rule);

/// Edits of a list of `len` rules, no two of which remove or replace the same one.
fn edits(drawn: Vec<Drawn>, len: usize) -> Vec<Edit> {
    let mut taken = vec![false; len];
    let edits = drawn.into_iter().filter_map(|(kind, at, rule)| {
        let insert = kind % 3 == 0 || len == 0;
        let place = at.index(len + usize::from(insert));
        if !insert && std::mem::replace(&mut taken[place], true) {
            return None;
        }
        let at = place as u32;
        Some(match kind % 3 {
            _ if insert => Edit::Insert { at, rule },
            1 => Edit::Remove { at },
            _ => Edit::Replace { at, rule },
        })
    });
    edits.collect()
}

/// Applies rounds of edits one after another and compares after each; how many were patched in.
fn follow(rules: Vec<Rule>, rounds: Vec<Vec<Drawn>>, seed: u64) -> Result<u32, TestCaseError> {
    let mut rng = Rng::with_seed(seed);
    let mut updater = Updater::new(Config::default(), rules.clone()).unwrap();
    let mut rules = rules;
    let mut patched = 0;
    for drawn in rounds {
        let edits = edits(drawn, rules.len());
        let before = updater.classifier();
        let applied = updater.apply(&edits).unwrap();
        let after = edited(&rules, &edits);
        prop_assert_eq!(updater.rules(), &after[..]);
        patched += u32::from(applied == Applied::Patched);
        // Around the rules that were, those that are, those that came, and those that went.
        let draw = Draw { accepted: 200, corners: 8, mixed: 24, near: 60 };
        let mut around = keys(&rules, draw, &mut rng);
        around.extend(keys(&after, draw, &mut rng));
        let came = edits.iter().filter_map(|edit| match edit {
            Edit::Insert { rule, .. } | Edit::Replace { rule, .. } => Some(rule.clone()),
            Edit::Remove { .. } => None,
        });
        let went = edits.iter().filter_map(|edit| match edit {
            Edit::Remove { at } | Edit::Replace { at, .. } => Some(rules[*at as usize].clone()),
            Edit::Insert { .. } => None,
        });
        for changed in [came.collect::<Vec<_>>(), went.collect()] {
            around.extend(keys(&changed, draw, &mut rng));
        }
        assert_agrees(&after, &updater.classifier(), &around);
        // Whoever has the table before keeps it as it was.
        assert_agrees(&rules, &before, &around);
        rules = after;
    }
    Ok(patched)
}

/// Runs a property over rules and rounds of edits; some of the rounds must have been patched in.
fn check(
    cases: u32,
    rules: impl Strategy<Value = Vec<Rule>>,
    round: impl Strategy<Value = Vec<Drawn>>,
) {
    let patched = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let result = runner.run(&(rules, vec(round, 1..6), any::<u64>()), |(rules, rounds, seed)| {
        patched.set(patched.get() + follow(rules, rounds, seed)?);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(patched.get() > cases / 4, "{} of {cases} cases' rounds were patched", patched.get());
}

fn drawn(rule: impl Strategy<Value = Rule>) -> impl Strategy<Value = Drawn> {
    (any::<u8>(), any::<Index>(), rule)
}

#[test]
fn of_rules_that_ask_for_anything() {
    check(80, vec(rule(), 0..80), vec(drawn(rule()), 0..6));
}

#[test]
fn of_rules_that_ask_for_addresses_and_ports() {
    let rule = || rule().prop_map(|rule| only(0b11_1001_1000, rule));
    check(80, vec(rule(), 0..200), vec(drawn(rule()), 0..6));
}

#[test]
fn of_rules_that_ask_for_hardware_addresses_and_lengths() {
    let rule = || rule().prop_map(|rule| only(0b1110_0010_0000_1000, rule));
    check(80, vec(rule(), 0..200), vec(drawn(rule()), 0..6));
}

#[test]
fn of_many_hosts() {
    let host = || {
        (0..5000u32, 0..3u8, 0..100u16).prop_map(|(n, kind, port)| {
            let host = AddressMatch::host(n.wrapping_mul(0x9e37_79b1).to_be_bytes().into());
            let ports = PortRange { low: port, high: port + 20 };
            match kind {
                0 => Rule { src: host, dst_ports: ports, ..Rule::ANY },
                1 => Rule { dst: host, dst_ports: ports, ..Rule::ANY },
                _ => Rule { src: host, protocol: Some(6), ..Rule::ANY },
            }
        })
    };
    check(20, vec(host(), 1000..2000), vec(drawn(host()), 1..30));
}

#[test]
fn edits_are_applied_all_or_none() {
    let one = |port| Rule { dst_ports: PortRange::one(port), ..Rule::ANY };
    let rules: Vec<_> = (0..3).map(one).collect();
    let mut updater =
        Updater::new(Config { max_rules: 4, ..Config::default() }, rules.clone()).unwrap();
    let remove = |at| Edit::Remove { at };
    let insert = |at| Edit::Insert { at, rule: one(99) };
    let replace = |at| Edit::Replace { at, rule: one(99) };
    for (edits, error) in [
        (vec![insert(0), remove(3)], EditError::NoSuchRule { at: 3, rules: 3 }),
        (vec![insert(4)], EditError::NoSuchRule { at: 4, rules: 3 }),
        (vec![replace(u32::MAX)], EditError::NoSuchRule { at: u32::MAX, rules: 3 }),
        (vec![remove(1), replace(1)], EditError::Twice { at: 1 }),
        (vec![insert(1), remove(1), remove(1)], EditError::Twice { at: 1 }),
    ] {
        assert_eq!(updater.apply(&edits), Err(error));
        assert_eq!(updater.rules(), rules);
    }
    let full = updater.apply(&[insert(3), insert(3)]);
    assert!(matches!(full, Err(EditError::Build(_))), "{full:?}");
    assert_eq!(updater.rules(), rules);
    // At the end is a position as well.
    updater.apply(&[insert(3), remove(0)]).unwrap();
    assert_eq!(updater.rules(), [one(1), one(2), one(99)]);
}
