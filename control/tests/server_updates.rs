//! Policies applied to a running gateway one after another: each is in force as if it were the first.

mod server_fake;
mod written;

use control::policy::{Compiler, Policy, ZoneMap, compile};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use server_fake::{Gateway, POLICY};
use std::cell::Cell;
use written::{Pool, change, key, parsed, written};

#[test]
fn what_is_applied_judges_as_its_reader_would_whatever_was_applied_before() {
    let patched = Cell::new(0);
    let picks = prop::collection::vec(any::<[Index; 7]>(), 100);
    let rounds = prop::collection::vec(prop::collection::vec(change(), 0..4), 10);
    // A pair of policies that have nothing to do with each other, and many small steps.
    let strategy = (written(), written(), rounds, picks);
    let mut runner = TestRunner::new(Config { cases: 8, ..Config::default() });
    let result = runner.run(&strategy, |(mut first, mut second, rounds, picks)| {
        parsed(&mut first, &[]);
        let gateway = Gateway::with(Compiler::default(), &first.yaml());
        for (round, changes) in rounds.into_iter().enumerate() {
            for (n, change) in changes.into_iter().enumerate() {
                second.change(change, format!("x{round}-{n}"));
            }
            let pool = Pool::of(&second);
            let packets: Vec<_> = picks.iter().map(|picks| pool.packet(picks)).collect();
            let policy = parsed(&mut second, &packets);
            let (status, applied) = gateway.apply("", second.yaml().as_bytes());
            prop_assert_eq!(status, 200, "{}", applied);
            patched.set(patched.get() + u32::from(applied["table_made"] == "patched"));
            let zones = ZoneMap::of(&policy);
            let ids: Vec<_> = written::ZONES.iter().map(|zone| zones.id(zone).unwrap()).collect();
            let fresh = compile(&policy, &zones, round as u64, 1).unwrap();
            let state = gateway.fake.state();
            prop_assert_eq!(state.table.generation(), round as u64 + 2);
            prop_assert_eq!(state.table.rules(), fresh.rules());
            for packet in &packets {
                let key = key(packet, &ids);
                let judged = state.table.judge(&key);
                prop_assert_eq!(judged, fresh.judge(&key), "{:?}\n{}", packet, second.yaml());
                let verdict =
                    judged.map(|(n, action)| (&*state.table.rules()[n as usize].id, action));
                prop_assert_eq!(verdict, second.verdict(packet), "{:?}\n{}", packet, second.yaml());
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(patched.get() > 20, "only {} tables were patched", patched.get());
}

#[test]
fn the_answer_tells_how_the_table_was_made() {
    let gateway = Gateway::start();
    let apply = |policy: &str| {
        let (status, applied) = gateway.apply("", policy.as_bytes());
        assert_eq!(status, 200, "{applied}");
        let (_, status) = gateway.request("GET", "/v1/status");
        for field in ["table_made", "worst_case_cache_lines", "compile_seconds", "entries"] {
            assert_eq!(status["policy"][field], applied[field], "{field}");
        }
        assert_eq!(status["policy"]["warnings"], applied["audit"]["warnings_total"]);
        applied["table_made"].clone()
    };
    assert_eq!(apply(POLICY), "patched");
    let rules: String = (1..=400)
        .map(|n| {
            format!("  - {{ id: r{n}, from: clients, to: servers, service: s{n}, action: deny }}\n")
        })
        .collect();
    let services: String =
        (1..=400).map(|n| format!("  s{n}: {{ protocol: tcp, ports: [{n}] }}\n")).collect();
    let head = "version: 1\nzones: { clients: {}, servers: {} }\n";
    let many = format!("{head}services:\n{services}rules:\n{rules}");
    assert_eq!(apply(&many), "rebuilt");
    assert_eq!(apply(&many.replace("ports: [200]", "ports: [2000]")), "patched");
    assert_eq!(apply(POLICY), "rebuilt");
}

#[test]
fn what_is_applied_has_the_guard_of_its_own_zones() {
    let gateway = Gateway::start();
    let in_force = || {
        let table = format!("{:?}", gateway.fake.state().table);
        table.split_once("guard: Guard").expect("a table has a guard").1.to_owned()
    };
    let begun = in_force();
    let stricter = POLICY.replace("clients: {}", "clients: { networks: [10.77.1.0/25] }");
    let (status, applied) = gateway.apply("", stricter.as_bytes());
    assert_eq!((status, &applied["table_made"]), (200, &json!("patched")));
    let policy = Policy::parse("p.yaml", &stricter).unwrap();
    let fresh = format!("{:?}", compile(&policy, &ZoneMap::of(&policy), 1, 2).unwrap());
    assert!(fresh.ends_with(&in_force()));
    assert_ne!(in_force(), begun);
    assert_eq!(gateway.apply("", POLICY.as_bytes()).0, 200);
    assert_eq!(in_force(), begun);
}

#[test]
fn a_policy_that_was_published_but_not_taken_is_what_the_next_one_is_patched_from() {
    let gateway = Gateway::start();
    gateway.fake.state().stubborn = Some(1);
    let denied =
        POLICY.replace("action: allow", "action: deny").replace("ports: [80]", "ports: [81]");
    assert_eq!(gateway.apply("", denied.as_bytes()).0, 504);
    // Nobody has looked for rules to leave out: there was nobody to tell.
    assert_eq!(gateway.client().status().unwrap().policy.warnings, None);
    let (status, applied) = gateway.apply("", POLICY.as_bytes());
    assert_eq!((status, &applied["table_made"]), (200, &json!("patched")));
    let state = gateway.fake.state();
    let web = state.table.judge(&server_fake::key(6, 40_000, 80));
    assert_eq!(web.map(|(rule, _)| rule), Some(0));
    assert_eq!(state.table.judge(&server_fake::key(6, 40_000, 81)), None);
}
