//! A policy that follows another one: the table that is patched answers as one that is built.

mod written;

use classifier::Config as Limits;
use control::policy::{Compiler, Made, Policy, ZoneMap, compile};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::fmt::Write;
use written::{Pool, change, key, parsed, written};

/// A policy of `rules`, on hosts and services that all rules of these tests use.
fn policy(rules: &str) -> Policy {
    let text = format!(
        "version: 1\nzones: {{ a: {{}}, b: {{}} }}\nhosts:\n  web: {{ addresses: [10.0.0.1, \
         10.0.0.2, 10.0.0.3] }}\n  db: {{ addresses: [10.0.1.1, 10.0.1.2, 10.0.1.3] }}\nservices:\n  \
         http: {{ protocol: tcp, ports: [80] }}\n  high: {{ protocol: tcp, ports: [1024-65535] }}\n\
         rules:\n{rules}"
    );
    Policy::parse("p.yaml", &text).unwrap_or_else(|error| panic!("{error:#}\n{text}"))
}

fn rule(id: &str, ends: &str, action: &str) -> String {
    let (from, to) = ends.split_once(' ').unwrap();
    format!("  - {{ id: {id}, from: {from}, to: {to}, service: http, action: {action} }}\n")
}

#[test]
fn tables_of_policies_that_follow_each_other_judge_as_their_readers_would() {
    let (patched, tables) = (Cell::new(0), Cell::new(0));
    let picks = prop::collection::vec(any::<[Index; 7]>(), 60);
    let rounds = prop::collection::vec(prop::collection::vec(change(), 0..4), 1..8);
    let mut runner = TestRunner::new(Config { cases: 150, ..Config::default() });
    let result = runner.run(&(written(), rounds, picks), |(mut written, rounds, picks)| {
        let mut compiler = Compiler::default();
        for (round, changes) in rounds.into_iter().enumerate() {
            for (n, change) in changes.into_iter().enumerate() {
                written.change(change, format!("x{round}-{n}"));
            }
            let pool = Pool::of(&written);
            let packets: Vec<_> = picks.iter().map(|picks| pool.packet(picks)).collect();
            let policy = parsed(&mut written, &packets);
            let map = ZoneMap::of(&policy);
            let zones: Vec<_> = written::ZONES.iter().map(|zone| map.id(zone).unwrap()).collect();
            let (table, made) = compiler.compile(&policy, &map, round as u64, 1).unwrap();
            let fresh = compile(&policy, &map, round as u64, 1).unwrap();
            patched.set(patched.get() + u32::from(made == Made::Patched));
            tables.set(tables.get() + 1);
            for packet in &packets {
                let key = key(packet, &zones);
                let judged =
                    table.judge(&key).map(|(n, action)| (&*table.rules()[n as usize].id, action));
                let expected = written.verdict(packet);
                prop_assert_eq!(judged, expected, "{:?} {:?}\n{}", made, packet, written.yaml());
                prop_assert_eq!(table.judge(&key), fresh.judge(&key));
            }
            // What is found to be useless does not depend on how the table was made.
            let mut anew = Compiler::default();
            anew.compile(&policy, &map, round as u64, 1).unwrap();
            prop_assert_eq!(compiler.audit(&policy), anew.audit(&policy));
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // Or else nothing was proved of those.
    let (patched, tables) = (patched.get(), tables.get());
    assert!(patched > tables / 4, "{patched} of {tables} tables were patched");
}

/// Compiles policies one after another; how each table was made.
fn made(policies: &[&Policy]) -> Vec<Made> {
    let mut compiler = Compiler::default();
    let zones = ZoneMap::of(policies[0]);
    policies.iter().map(|policy| compiler.compile(policy, &zones, 1, 1).unwrap().1).collect()
}

#[test]
fn a_few_differences_are_patched_in_and_many_are_not() {
    let many = |service: &str, count: usize| {
        let mut rules = String::new();
        for n in 0..count {
            writeln!(rules, "  - {{ id: r{n}, from: a, to: b, service: s{n}, action: allow }}")
                .unwrap();
        }
        let services: String = (0..count)
            .map(|n| format!("  s{n}: {{ protocol: {service}, ports: [{}] }}\n", n + 1))
            .collect();
        let text = format!(
            "version: 1\nzones: {{ a: {{}}, b: {{}} }}\nservices:\n{services}rules:\n{rules}"
        );
        Policy::parse("p.yaml", &text).unwrap()
    };
    let (tcp, more, udp) = (many("tcp", 1_000), many("tcp", 1_003), many("udp", 1_000));
    use Made::{Patched, Rebuilt};
    assert_eq!(made(&[&tcp, &tcp, &more, &tcp]), [Rebuilt, Patched, Patched, Patched]);
    assert_eq!(made(&[&tcp, &udp, &tcp]), [Rebuilt, Rebuilt, Rebuilt]);
}

#[test]
fn a_rule_that_only_does_or_is_called_something_else_is_another_rule() {
    let first = policy(&rule("web", "any web", "allow"));
    let second = policy(&rule("www", "any web", "deny"));
    let zones = ZoneMap::of(&first);
    let mut compiler = Compiler::default();
    let mut rules = |policy| compiler.compile(policy, &zones, 1, 1).unwrap().0.rules().to_vec();
    let of = |rules: Vec<dataplane::TableRule>| (rules[0].id.to_string(), rules[0].action.as_str());
    assert_eq!(of(rules(&first)), ("web".into(), "allow"));
    assert_eq!(of(rules(&second)), ("www".into(), "deny"));
}

/// What `bulkhead` says of a policy that passes a limit: each line, its source, and its caret.
fn refusal(limits: Limits, policy: &Policy) -> String {
    let refused = Compiler::new(limits).compile(policy, &ZoneMap::of(policy), 1, 1);
    format!("{:#}", refused.expect_err("it passes the limit"))
}

#[test]
fn a_policy_that_passes_a_limit_is_told_which_rules_do_it() {
    let rules = [rule("one", "any web", "allow"), rule("many", "web db", "deny")].concat();
    let policy = policy(&rules);
    let said = refusal(Limits { max_rules: 5, ..Limits::default() }, &policy);
    assert_eq!(
        said,
        "p.yaml:11:5: the policy becomes 12 combinations of addresses and services, over the limit \
         of 5, which `many` (line 11) passes\n 11 |   - { id: many, from: web, to: db, service: http, \
         action: deny }\n    |     ^"
    );
    let said = refusal(Limits { max_memory: 300, ..Limits::default() }, &policy);
    assert!(said.contains(":5: the compiled table takes "), "{said}");
    assert!(said.contains(" bytes or more, over the limit of 300; most of it is for "), "{said}");
    assert!(said.contains("`many` (line 11)"), "{said}");
    let said = refusal(Limits { max_worst_case: 2, ..Limits::default() }, &policy);
    assert!(said.contains(": judging a packet takes up to "), "{said}");
    assert!(said.contains(" cache lines, over the limit of 2; too many rules overlap"), "{said}");
    assert!(said.contains("`one` (line 10)") || said.contains("`many` (line 11)"), "{said}");
    // Never by the numbers of entries, which nobody has written.
    assert!(!said.contains("rules at"), "{said}");
}

#[test]
fn a_refused_policy_leaves_what_the_next_one_is_compared_with() {
    let first = policy(&rule("one", "web db", "allow"));
    let zones = ZoneMap::of(&first);
    let mut compiler = Compiler::new(Limits { max_rules: 12, ..Limits::default() });
    compiler.compile(&first, &zones, 1, 1).unwrap();
    let too_much =
        policy(&[rule("one", "web db", "allow"), rule("two", "db web", "allow")].concat());
    assert!(compiler.compile(&too_much, &zones, 2, 1).is_err());
    assert_eq!(compiler.audit(&first).warnings_total, 0);
    let second =
        policy(&[rule("one", "web db", "allow"), rule("two", "any web", "allow")].concat());
    let (table, made) = compiler.compile(&second, &zones, 2, 1).unwrap();
    assert_eq!((table.entries(), made), (12, Made::Patched));
}
