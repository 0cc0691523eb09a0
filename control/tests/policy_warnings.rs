//! Rules that could be left out: each is told, and what decides in its place.

mod written;

use control::policy::{Audit, Compiler, Policy, WarningCode, ZoneMap};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::fmt::Write;
use written::{Pool, parsed, written};

/// A case of `policy_warnings.txt`.
struct Case {
    title: &'static str,
    policy: String,
    expected: Vec<&'static str>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("policy_warnings.txt").lines() {
        if let Some(title) = line.strip_prefix("### ") {
            cases.push(Case { title, policy: String::new(), expected: Vec::new() });
        } else if let (Some(expected), Some(case)) = (line.strip_prefix(">>> "), cases.last_mut()) {
            case.expected.push(expected);
        } else if let Some(case) = cases.last_mut()
            && case.expected.is_empty()
        {
            case.policy += line;
            case.policy += "\n";
        }
    }
    cases
}

fn audit(policy: &Policy) -> Audit {
    let mut compiler = Compiler::default();
    compiler.compile(policy, &ZoneMap::of(policy), 1, 1).unwrap_or_else(|error| panic!("{error}"));
    compiler.audit(policy)
}

fn audit_of(text: &str) -> Audit {
    audit(&Policy::parse("p.yaml", text).unwrap_or_else(|error| panic!("{error:#}\n{text}")))
}

#[test]
fn every_rule_that_could_be_left_out_is_told_with_those_that_hide_it() {
    let mut failures = String::new();
    for Case { title, policy, expected } in cases() {
        let Audit { warnings, warnings_total, undecided } = audit_of(&policy);
        assert_eq!((warnings.len(), undecided), (warnings_total, 0), "{title}");
        let found: Vec<String> = warnings
            .iter()
            .map(|warning| {
                let by: Vec<_> = warning.hidden_by.iter().map(|by| by.rule.as_str()).collect();
                assert_eq!(by.len(), warning.hidden_by_total, "{title}");
                let place = warning.diagnostic.line.zip(warning.diagnostic.column);
                let (line, column) = place.expect("a rule has a place");
                let code = format!("{:?}", warning.code).to_lowercase();
                let message = &warning.diagnostic.message;
                format!("{line}:{column} {} {code} {}: {message}", warning.rule, by.join(","))
            })
            .collect();
        let expected = if expected == ["nothing"] { &[] } else { &expected[..] };
        if found != expected {
            failures += &format!("\n{title}:\n{}\n", found.join("\n"));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_warning_shows_its_line() {
    let text = "version: 1\nrules:\n  - { id: all, from: any, to: any, service: any, action: allow \
                }\n  - id: late\n    from: any\n    to: any\n    service: any\n    action: deny\n";
    let audit = audit_of(text);
    assert_eq!(
        format!("{:#}", audit.warnings[0]),
        "p.yaml:4:5: warning: rule `late` is shadowed: all that it would deny is decided by `all` \
         (line 3, allow); move it above `all` to let it decide, or leave it out\n 4 |   - id: late\n   \
         |     ^"
    );
}

/// Rules `r0` to `r{count - 1}` that all allow the same.
fn alike(count: usize) -> String {
    let mut text = "version: 1\nrules:\n".to_owned();
    for n in 0..count {
        writeln!(text, "  - {{ id: r{n}, from: any, to: any, service: any, action: allow }}")
            .unwrap();
    }
    text
}

#[test]
fn warnings_beyond_a_hundred_are_counted_not_listed() {
    let audit = audit_of(&alike(1_001));
    assert_eq!((audit.warnings.len(), audit.warnings_total), (100, 1_000));
    assert_eq!((&*audit.warnings[0].rule, &*audit.warnings[99].rule), ("r1", "r100"));
}

#[test]
fn hiding_rules_beyond_the_first_are_counted_not_listed() {
    let hosts: String =
        (0..40).map(|n| format!("  h{n}: {{ addresses: [10.0.0.{n}] }}\n")).collect();
    let all: Vec<_> = (0..40).map(|n| format!("h{n}")).collect();
    let allow: String = (0..40)
        .map(|n| format!("  - {{ id: r{n}, from: h{n}, to: any, service: any, action: allow }}\n"))
        .collect();
    let all = all.join(", ");
    let audit = audit_of(&format!(
        "version: 1\nhosts:\n{hosts}rules:\n{allow}  - {{ id: rest, from: [{all}], to: any, service: \
         any, action: deny }}\n"
    ));
    let [warning] = &audit.warnings[..] else { panic!("{audit:?}") };
    assert_eq!((warning.hidden_by.len(), warning.hidden_by_total), (16, 40));
    let named = "`r0` (line 44, allow), `r1` (line 45, allow), `r2` (line 46, allow), `r3` (line 47, \
                 allow) and 36 more";
    assert!(warning.diagnostic.message.contains(named), "{}", warning.diagnostic.message);
}

/// Whatever is reported: without all of it, no packet is judged otherwise. And a rule that is written
/// down twice is reported.
#[test]
fn without_what_is_reported_every_packet_is_judged_the_same() {
    let reported = Cell::new([0; 2]);
    let picks = prop::collection::vec(any::<[Index; 7]>(), 100);
    let twice = proptest::option::of((any::<Index>(), any::<bool>()));
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let result = runner.run(&(written(), picks, twice), |(mut written, picks, twice)| {
        let pool = Pool::of(&written);
        let packets: Vec<_> = picks.iter().map(|picks| pool.packet(picks)).collect();
        parsed(&mut written, &packets);
        let twice = twice.filter(|_| !written.rules.is_empty());
        if let Some((at, allow)) = twice {
            let rule = at.get(&written.rules).clone();
            written.rules.push(written::Rule { id: "twice".into(), allow, ..rule });
        }
        let audit = audit(&parsed(&mut written, &packets));
        if twice.is_some() && audit.undecided == 0 {
            prop_assert!(audit.warnings.iter().any(|warning| warning.rule == "twice"));
        }
        let mut without = written.clone();
        for warning in &audit.warnings {
            let rule = written.rules.iter().find(|rule| rule.id == warning.rule).unwrap();
            let does = if rule.allow { "allow" } else { "deny" };
            let otherwise = warning.hidden_by.iter().any(|by| by.action != does);
            prop_assert_eq!(warning.code == WarningCode::Shadowed, otherwise, "{:?}", warning);
            prop_assert!(warning.hidden_by_total > 0 && warning.code != WarningCode::Empty);
            prop_assert!(warning.hidden_by.iter().all(|by| by.rule != warning.rule));
            without.rules.retain(|rule| rule.id != warning.rule);
            let mut counts = reported.get();
            counts[usize::from(otherwise)] += 1;
            reported.set(counts);
        }
        for packet in &packets {
            let action = |verdict: Option<(&str, _)>| verdict.map(|(_, action)| action);
            let (before, after) = (written.verdict(packet), without.verdict(packet));
            prop_assert_eq!(action(before), action(after), "{:?}\n{}", packet, written.yaml());
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let [redundant, shadowed] = reported.get();
    assert!(redundant > 50 && shadowed > 50, "{redundant} were redundant, {shadowed} shadowed");
}
