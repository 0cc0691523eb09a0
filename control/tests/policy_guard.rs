//! What a policy says of its zones and of established flows is what the data path is told.

use classifier::AddressMatch;
use control::policy::{Compiler, Made, Policy, ZoneMap, compile};
use dataplane::guard::{GuardConfig, Mode, Modes, Senders, Sources, ZoneGuard};
use dataplane::{Established, FragmentMode, Table, ZoneSettings};

fn policy(text: &str) -> Policy {
    Policy::parse("p.yaml", text).unwrap_or_else(|error| panic!("{error:#}"))
}

fn settings(text: &str, zones: &[&str]) -> ZoneSettings {
    policy(text).lower(&ZoneMap::from_names(zones.iter().copied())).unwrap().zones
}

fn guard(text: &str, zones: &[&str]) -> GuardConfig {
    settings(text, zones).guard
}

fn networks(list: &[&str]) -> Vec<AddressMatch> {
    let network = |text: &&str| {
        let (address, len) = text.split_once('/').unwrap();
        AddressMatch::prefix(address.parse().unwrap(), len.parse().unwrap()).unwrap()
    };
    list.iter().map(network).collect()
}

fn addresses(list: &[&str]) -> Senders {
    Senders::Listed(list.iter().map(|address| address.parse().unwrap()).collect())
}

#[test]
fn a_zone_that_says_nothing_gets_the_defaults() {
    let found =
        guard("version: 1\nzones: { a: {}, b: , c: { networks: [] } }\nrules: []\n", &["a"]);
    assert_eq!(found, GuardConfig { zones: vec![ZoneGuard::default(); 3] });
    // Spelt out, for they are what a reader of the documents relies on.
    let modes = Modes {
        spoofed: Mode::Drop,
        bogons: Mode::Drop,
        not_global: Mode::Off,
        arp: Mode::Drop,
        neighbour: Mode::Drop,
        router_advertisements: Mode::Drop,
        dhcp_server: Mode::Drop,
    };
    let expected = ZoneGuard {
        networks: Vec::new(),
        sources: Sources::Any,
        modes,
        routers: Senders::Nobody,
        dhcp_servers: Senders::Nobody,
    };
    assert_eq!(found.zones[0], expected);
}

#[test]
fn every_key_of_a_zone_reaches_the_data_path() {
    let text = r#"
version: 1
zones:
  clients:
    networks: [10.0.0.0/16, "2001:db8:1::/48"]
    guard: { spoofed: count, bogons: off, arp: drop }
    routers: ["fe80::1", "fe80::2"]
    dhcp_servers: allowed
  servers:
    networks: [10.1.0.0/16]
    sources: any
    guard:
      not_global: drop
      neighbour: "off"
      router_advertisements: count
      dhcp_server: off
    routers: allowed
    dhcp_servers: [10.1.0.67, "fe80::67"]
  outside:
    sources: [203.0.113.0/24, "2001:db8:f::/48"]
    routers: "fe80::3"
  spare:
    networks: [10.2.0.0/16]
    sources: networks
  one:
    sources: 10.3.0.0/16
rules: []
"#;
    // The gateway's ports are in two of the zones, in an order of its own.
    let found = guard(text, &["outside", "clients"]);
    let outside = ZoneGuard {
        sources: Sources::Listed(networks(&["203.0.113.0/24", "2001:db8:f::/48"])),
        routers: addresses(&["fe80::3"]),
        ..ZoneGuard::default()
    };
    let clients = ZoneGuard {
        networks: networks(&["10.0.0.0/16", "2001:db8:1::/48"]),
        sources: Sources::Networks,
        modes: Modes { spoofed: Mode::Count, bogons: Mode::Off, ..Modes::default() },
        routers: addresses(&["fe80::1", "fe80::2"]),
        dhcp_servers: Senders::Everybody,
    };
    let servers = ZoneGuard {
        networks: networks(&["10.1.0.0/16"]),
        sources: Sources::Any,
        modes: Modes {
            not_global: Mode::Drop,
            neighbour: Mode::Off,
            router_advertisements: Mode::Count,
            dhcp_server: Mode::Off,
            ..Modes::default()
        },
        routers: Senders::Everybody,
        dhcp_servers: addresses(&["10.1.0.67", "fe80::67"]),
    };
    let spare = ZoneGuard {
        networks: networks(&["10.2.0.0/16"]),
        sources: Sources::Networks,
        ..ZoneGuard::default()
    };
    let one =
        ZoneGuard { sources: Sources::Listed(networks(&["10.3.0.0/16"])), ..ZoneGuard::default() };
    assert_eq!(found.zones, [outside, clients, servers, spare, one]);
}

#[test]
fn hosts_and_networks_that_name_a_zone_belong_to_it() {
    let text = "version: 1
zones:
  a: { networks: [10.0.0.0/16] }
  b: {}
hosts:
  printer: { zone: a, addresses: [192.168.1.9, \"fd00::9\"] }
  web: { zone: b, addresses: [10.0.9.1] }
  anywhere: { addresses: [10.9.9.9] }
networks:
  annex: { zone: a, networks: [10.7.0.0/24] }
rules: []
";
    let [a, b] = &guard(text, &[]).zones[..] else { panic!("two zones") };
    assert_eq!(
        a.networks,
        networks(&["10.0.0.0/16", "192.168.1.9/32", "fd00::9/128", "10.7.0.0/24"])
    );
    assert_eq!(a.sources, Sources::Networks);
    // Hosts are not all of a zone: it stays open to others.
    assert_eq!(b.networks, networks(&["10.0.9.1/32"]));
    assert_eq!(b.sources, Sources::Any);
}

#[test]
fn fragments_are_reassembled_unless_their_zone_drops_them() {
    let text = "version: 1
zones: { a: { fragments: drop }, b: {}, c: { fragments: reassemble }, d: { fragments: drop } }
rules: []
";
    use FragmentMode::{Drop, Reassemble};
    assert_eq!(settings(text, &[]).fragments, [Drop, Reassemble, Reassemble, Drop]);
    // By the number that the gateway gave the zone: c is 0, d is 1.
    assert_eq!(settings(text, &["c", "d"]).fragments, [Reassemble, Drop, Drop, Reassemble]);
}

/// What becomes of the flows of each rule.
fn established(text: &str) -> Vec<Established> {
    let policy = policy(text);
    let table = compile(&policy, &ZoneMap::of(&policy), 1, 1).unwrap();
    let said: Vec<_> = policy.rules().iter().map(|rule| rule.established()).collect();
    let told: Vec<_> = table.rules().iter().map(|rule| rule.established).collect();
    assert_eq!(said, told);
    told
}

#[test]
fn established_flows_are_checked_again_unless_the_policy_or_the_rule_keeps_them() {
    use Established::{Keep, Recheck};
    let with = |top: &str| {
        format!(
            "version: 1\n{top}zones: {{ a: {{}}, b: {{}} }}\nrules:\n  - {{ id: x, from: a, to: b, \
             service: any, action: allow }}\n  - {{ id: y, from: b, to: a, service: any, action: \
             allow, established: keep }}\n  - {{ id: z, from: b, to: b, service: any, action: \
             allow, established: recheck }}\n"
        )
    };
    assert_eq!(established(&with("")), [Recheck, Keep, Recheck]);
    assert_eq!(established(&with("established: recheck\n")), [Recheck, Keep, Recheck]);
    assert_eq!(established(&with("established: keep\n")), [Keep, Keep, Recheck]);
}

/// What `table` has of zones: its guard, and what becomes of fragments.
fn of_zones(table: &Table) -> String {
    let whole = format!("{table:?}");
    let (_, zones) = whole.split_once("guard: Guard").expect("a table has a guard");
    zones.to_owned()
}

#[test]
fn a_table_has_what_its_policy_says_of_zones_also_when_nothing_else_changed() {
    let with = |zone: &str, rule: &str| {
        policy(&format!(
            "version: 1\nzones: {{ a: {{ networks: [10.1.0.0/16]{zone} }}, b: {{}} }}\nrules:\n  - {{ \
             id: x, from: a, to: b, service: any, action: allow{rule} }}\n"
        ))
    };
    let policies = [
        with("", ""),
        with(", guard: { spoofed: count }", ""),
        with(", sources: any", ""),
        with(", routers: allowed", ""),
        with(", fragments: drop", ""),
        with("", ", established: keep"),
        with("", ""),
    ];
    // The gateway numbers the zones in another order than the policies do.
    let zones = ZoneMap::from_names(["b", "a"]);
    let mut compiler = Compiler::default();
    let mut seen = Vec::new();
    for (nth, policy) in policies.iter().enumerate() {
        let (table, made) = compiler.compile(policy, &zones, 1, 1).unwrap();
        assert_eq!(made, if nth == 0 { Made::Rebuilt } else { Made::Patched });
        let fresh = compile(policy, &zones, 1, 1).unwrap();
        assert_eq!(of_zones(&table), of_zones(&fresh));
        assert_eq!(table.rules(), fresh.rules());
        let Ok(lowered) = policy.lower(&zones) else { panic!("it has both zones") };
        let classifier = classifier::Builder::new(classifier::Config::default()).build().unwrap();
        let told = Table::new(1, classifier, Vec::new(), Vec::new(), 1).with_zones(&lowered.zones);
        assert_eq!(of_zones(&table), of_zones(&told));
        seen.push(of_zones(&table));
    }
    // They differ, but for the one that says something of a rule, and the last, which is the first.
    let (plain, others) = seen.split_first().unwrap();
    let same: Vec<_> = others.iter().map(|other| other == plain).collect();
    assert_eq!(same, [false, false, false, false, true, true]);
}
