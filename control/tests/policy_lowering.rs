//! What a policy means does not change when it is lowered: random policies judge packets as a slow
//! evaluator of the same policies does.

mod written;

use classifier::{Linear, Lookup, ZoneId};
use control::policy::{Policy, ZoneMap, compile};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use written::{Pool, ZONES, key, parsed, written};

#[test]
fn lowered_policies_judge_as_their_readers_would() {
    let (seen, matched) = (Cell::new(0u64), Cell::new(0u64));
    let picks = prop::collection::vec(any::<[Index; 7]>(), 100);
    // The gateway's ports are in some of the zones, in an order of its own.
    let order = Just(vec![0usize, 1, 2]).prop_shuffle();
    let strategy = (written(), picks, order, 0..=ZONES.len());
    let mut runner = TestRunner::new(Config { cases: 500, ..Config::default() });
    let result = runner.run(&strategy, |(mut written, picks, order, ports)| {
        let pool = Pool::of(&written);
        let packets: Vec<_> = picks.iter().map(|picks| pool.packet(picks)).collect();
        let policy = parsed(&mut written, &packets);
        let map = ZoneMap::from_names(order[..ports].iter().map(|&zone| ZONES[zone]));
        // Zones without a port are numbered after the others, in the order of the policy.
        let mut next = ports as u16;
        let zones: Vec<_> = (0..ZONES.len())
            .map(|zone| match order[..ports].iter().position(|&z| z == zone) {
                Some(n) => ZoneId(n as u16),
                None => {
                    next += 1;
                    ZoneId(next - 1)
                }
            })
            .collect();
        let lowered = policy.lower(&map).unwrap();
        let linear = Linear::new(lowered.rules);
        let table = compile(&policy, &map, 1, 1).unwrap();
        for packet in &packets {
            let key = key(packet, &zones);
            let expected = written.verdict(packet);
            let found = linear.lookup(&key).map(|n| lowered.entries[n as usize] as usize);
            let found = found.map(|n| (&*lowered.table_rules[n].id, lowered.table_rules[n].action));
            prop_assert_eq!(found, expected, "{:?}\n{}", packet, written.yaml());
            let judged =
                table.judge(&key).map(|(n, action)| (&*table.rules()[n as usize].id, action));
            prop_assert_eq!(judged, expected, "compiled: {:?}\n{}", packet, written.yaml());
            seen.set(seen.get() + 1);
            matched.set(matched.get() + u64::from(expected.is_some()));
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // Or else the packets were drawn badly, and agreeing on them proves little.
    let (seen, matched) = (seen.get(), matched.get());
    assert!((seen / 8..seen * 4 / 5).contains(&matched), "{matched} of {seen} met a rule");
}

#[test]
fn the_networks_of_a_zone_do_not_restrict_rules() {
    let text = "version: 1\nzones:\n  a: { networks: [10.0.0.0/8] }\n  b: {}\nrules:\n  - { id: r, \
                from: a, to: b, service: any, action: allow }\n";
    let policy = Policy::parse("p.yaml", text).unwrap();
    let lowered = policy.lower(&ZoneMap::of(&policy)).unwrap();
    let expected = classifier::Rule {
        from_zone: policy.zone_id("a"),
        to_zone: policy.zone_id("b"),
        ..classifier::Rule::ANY
    };
    assert_eq!(lowered.rules, [expected]);
    assert_eq!(policy.zone_id("a"), Some(ZoneId(0)));
    assert_eq!(policy.zone_id("b"), Some(ZoneId(1)));
    assert_eq!(policy.zone_id("c"), None);
}

#[test]
fn a_table_looks_into_the_tunnels_that_its_policy_names() {
    use dataplane::{Tunnel, Tunnels};
    let inside = |line: &str| {
        let policy = Policy::parse("p.yaml", &format!("version: 1\n{line}rules: []\n")).unwrap();
        compile(&policy, &ZoneMap::of(&policy), 1, 1).unwrap().inside()
    };
    assert_eq!(inside(""), Tunnels::NONE);
    assert_eq!(inside("inside: gre\n"), Tunnels::NONE.with(Tunnel::Gre));
    let both = Tunnels::NONE.with(Tunnel::Vxlan).with(Tunnel::Geneve);
    assert_eq!(inside("inside: [geneve, vxlan]\n"), both);
}
