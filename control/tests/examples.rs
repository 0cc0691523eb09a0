//! The examples are right, and do what they say.

use classifier::{Family, PacketKey};
use control::config::Config;
use control::policy::{Audit, Compiler, Policy, ZoneMap, compile};
use dataplane::guard::{Modes, Senders, Sources};
use dataplane::{Action, Forward, FragmentMode, Table, Timeouts};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const CLIENT: &str = "10.77.1.10";
const SERVER: &str = "10.77.1.130";
const CLIENT6: &str = "fd77::1:10";
const SERVER6: &str = "fd77::2:130";
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A policy compiled for a gateway whose ports are in `clients` and `servers`.
struct Compiled {
    zones: ZoneMap,
    table: Table,
}

fn compiled(name: &str) -> Compiled {
    let policy = Policy::load(example(name)).unwrap_or_else(|error| panic!("{error:#}"));
    let zones = ZoneMap::from_names(["clients", "servers"]);
    let table = compile(&policy, &zones, 1, 1).unwrap_or_else(|error| panic!("{error:#}"));
    Compiled { zones, table }
}

impl Compiled {
    /// The id of the rule that decides, and what it does.
    fn judge(
        &self,
        from: &str,
        to: &str,
        protocol: u8,
        ports: (u16, u16),
    ) -> Option<(&str, Action)> {
        let (src, family) = address(from);
        let (dst, _) = address(to);
        let zone = |text: &str| {
            let client = text == CLIENT || text == CLIENT6;
            self.zones.id(if client { "clients" } else { "servers" }).unwrap()
        };
        let key = PacketKey {
            src,
            dst,
            protocol,
            src_port: ports.0,
            dst_port: ports.1,
            from_zone: zone(from),
            to_zone: zone(to),
            ..PacketKey::empty(family)
        };
        let (rule, action) = self.table.judge(&key)?;
        Some((&*self.table.rules()[rule as usize].id, action))
    }
}

fn address(text: &str) -> (u128, Family) {
    match text.parse().unwrap() {
        IpAddr::V4(a) => (u128::from(a.to_bits()), Family::V4),
        IpAddr::V6(a) => (a.to_bits(), Family::V6),
    }
}

#[test]
fn every_example_is_valid() {
    let mut seen = 0;
    for entry in std::fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match name.as_str() {
            "gateway.yaml" => drop(Config::load(&path).unwrap_or_else(|e| panic!("{e:#}"))),
            name if name.starts_with("policy-") => drop(compiled(name)),
            name => panic!("nothing tests {name}"),
        }
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} examples");
}

#[test]
fn every_rule_of_an_example_decides_something() {
    for name in ["policy-two-zones.yaml", "policy-allow-all.yaml", "policy-deny-all.yaml"] {
        let policy = Policy::load(example(name)).unwrap();
        let mut compiler = Compiler::default();
        compiler.compile(&policy, &ZoneMap::of(&policy), 1, 1).unwrap();
        assert_eq!(compiler.audit(&policy), Audit::default(), "{name}");
    }
}

#[test]
fn the_gateway_example_starts_with_the_policy_next_to_it() {
    let config = Config::load(example("gateway.yaml")).unwrap();
    let policy = Policy::load(&config.policy).unwrap();
    assert_eq!(config.policy, example("policy-two-zones.yaml"));
    let table = compile(&policy, &config.zones, 1, 1).unwrap();
    assert_eq!(table.rules().len(), policy.rules().len());
    let [left, right] = &config.gateway.ports[..] else { panic!("two ports") };
    assert_eq!(config.zones.name(left.zone), Some("clients"));
    assert_eq!(config.zones.name(right.zone), Some("servers"));
    let [Forward::Wire { name, ports, .. }] = &config.gateway.forward[..] else { panic!("a wire") };
    assert_eq!((name.as_str(), *ports), ("uplink", [0, 1]));
}

#[test]
fn the_gateway_example_shows_the_defaults() {
    let shown = Config::load(example("gateway.yaml")).unwrap();
    let bare = "version: 1\npolicy: p\nports:\n  a: {interface: a, zone: a}\n  b: {interface: b, \
                zone: b}\nforward:\n  - wire: {ports: [a, b]}\n";
    let default = Config::parse(Path::new("bare.yaml"), bare).unwrap();
    assert_eq!(shown.control_socket, default.control_socket);
    let (shown, default) = (shown.gateway, default.gateway);
    assert_eq!(shown.rings, default.rings);
    assert_eq!(shown.flows, default.flows);
    assert_eq!(shown.fragments, default.fragments);
    assert_eq!(shown.parse, default.parse);
    assert_eq!(shown.poll, default.poll);
    assert_eq!(shown.busy_poll, default.busy_poll);
    assert_eq!(shown.xdp_mode, default.xdp_mode);
    assert_eq!(shown.on_exit, default.on_exit);
    assert_eq!(shown.ethertypes, default.ethertypes);
    assert_eq!(shown.cores, default.cores);
}

#[test]
fn the_gateway_example_shows_every_timeout() {
    let text = std::fs::read_to_string(example("gateway.yaml")).unwrap();
    let mut timeouts = Timeouts::default();
    for (name, _) in Timeouts::NAMES {
        let seconds = timeouts.by_name(name).unwrap().as_secs();
        let shown = text.lines().any(|line| {
            let value = line.split('#').next().unwrap_or_default().trim();
            value == format!("{name}: {seconds}")
        });
        assert!(shown, "{name}: {seconds}");
    }
}

/// The keys of a zone stand in a comment, as most zones need none of them.
#[test]
fn two_zones_shows_every_key_of_a_zone_with_its_default() {
    let text = std::fs::read_to_string(example("policy-two-zones.yaml")).unwrap();
    let shown = text.lines().skip_while(|line| !line.starts_with("#   sources:"));
    let shown: Vec<_> = shown.map_while(|line| line.strip_prefix("#   ")).collect();
    let keys = shown.iter().filter(|line| !line.starts_with(' ')).count();
    assert_eq!(keys, 5, "{shown:#?}");
    let zone = shown.join("\n    ");
    let text =
        format!("version: 1\nzones:\n  a:\n    networks: [10.0.0.0/8]\n    {zone}\nrules: []\n");
    let policy = Policy::parse("p.yaml", &text).unwrap_or_else(|e| panic!("{e:#}\n{text}"));
    let zone = &policy.zones()[0];
    assert_eq!((&zone.sources, zone.modes), (&Sources::Networks, Modes::default()));
    assert_eq!(zone.fragments, FragmentMode::default());
    // These have no default that could be written.
    let listed =
        |senders: &Senders| matches!(senders, Senders::Listed(listed) if listed.len() == 1);
    assert!(listed(&zone.routers) && listed(&zone.dhcp_servers));
}

#[test]
fn two_zones_lets_clients_use_the_services_of_servers() {
    let policy = compiled("policy-two-zones.yaml");
    for (from, to) in [(CLIENT, SERVER), (CLIENT6, SERVER6)] {
        for (rule, protocol, port) in [
            ("web", TCP, 80),
            ("web", TCP, 443),
            ("database", TCP, 5432),
            ("admin", TCP, 22),
            ("names", UDP, 53),
            ("names", TCP, 53),
            ("throughput", TCP, 5201),
            ("throughput", UDP, 5201),
        ] {
            let verdict = policy.judge(from, to, protocol, (40_000, port));
            assert_eq!(verdict, Some((rule, Action::Allow)), "{from} {to} {protocol} {port}");
        }
    }
    assert_eq!(policy.judge(CLIENT, SERVER, ICMP, (8, 0)), Some(("ping", Action::Allow)));
    assert_eq!(policy.judge(CLIENT6, SERVER6, ICMPV6, (128, 0)), Some(("ping", Action::Allow)));
}

#[test]
fn two_zones_lets_nothing_else_through() {
    let policy = compiled("policy-two-zones.yaml");
    for (from, to) in [(CLIENT, SERVER), (CLIENT6, SERVER6)] {
        for (protocol, port) in [(TCP, 79), (TCP, 81), (UDP, 80), (UDP, 22), (TCP, 3306), (132, 80)]
        {
            let verdict = policy.judge(from, to, protocol, (40_000, port));
            assert_eq!(verdict, None, "{from} {to} {protocol} {port}");
        }
        // A client's port does not make it a server.
        assert_eq!(policy.judge(to, from, TCP, (80, 40_000)), None);
        assert_eq!(policy.judge(to, from, TCP, (40_000, 80)), None);
    }
    assert_eq!(policy.judge(SERVER, CLIENT, ICMP, (8, 0)), None);
    assert_eq!(policy.judge(CLIENT, SERVER, ICMP, (13, 0)), None);
    // ICMP of the other family means nothing.
    assert_eq!(policy.judge(CLIENT6, SERVER6, ICMP, (8, 0)), None);
    assert_eq!(policy.judge(CLIENT, SERVER, ICMPV6, (128, 0)), None);
}

#[test]
fn two_zones_denies_telnet_by_a_rule_both_ways() {
    let policy = compiled("policy-two-zones.yaml");
    let denied = Some(("no-telnet", Action::Deny));
    assert_eq!(policy.judge(CLIENT, SERVER, TCP, (40_000, 23)), denied);
    assert_eq!(policy.judge(SERVER6, CLIENT6, TCP, (40_000, 23)), denied);
}

#[test]
fn two_zones_tells_sides_by_networks_that_do_not_overlap() {
    let policy = Policy::load(example("policy-two-zones.yaml")).unwrap();
    for (text, zone) in
        [(CLIENT, "clients"), (CLIENT6, "clients"), (SERVER, "servers"), (SERVER6, "servers")]
    {
        let (bits, family) = address(text);
        let holds =
            |z: &&control::policy::Zone| z.networks.iter().any(|n| n.contains(family, bits));
        let found: Vec<_> = policy.zones().iter().filter(holds).map(|z| &z.name).collect();
        assert_eq!(found, [zone], "{text}");
    }
}

#[test]
fn allow_all_allows_and_deny_all_denies() {
    let (allow, deny) = (compiled("policy-allow-all.yaml"), compiled("policy-deny-all.yaml"));
    for (from, to) in [(CLIENT, SERVER), (SERVER, CLIENT), (CLIENT6, SERVER6), (SERVER6, CLIENT6)] {
        for protocol in [0, ICMP, TCP, UDP, 47, ICMPV6, 255] {
            let verdict = allow.judge(from, to, protocol, (1, 65_535));
            assert_eq!(verdict, Some(("everything", Action::Allow)));
            assert_eq!(deny.judge(from, to, protocol, (1, 65_535)), None);
        }
    }
    // Replay may not know a packet's zone.
    let key = PacketKey { protocol: TCP, ..PacketKey::empty(Family::V4) };
    assert!(allow.table.judge(&key).is_some());
}
