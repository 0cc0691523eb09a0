//! A policy file and a capture that belong together, to measure `bulkhead replay` with.

use crate::rulegen::{self, ICMP, ICMPV6, RuleConfig, TCP, UDP};
use crate::sides::{self, LEFT, RIGHT};
use crate::trafficgen::{self, TrafficConfig};
use classifier::{AddressMatch, Family, PortRange, Rule, ZoneId};
use fastrand::Rng;
use pcap_file::PcapError;
use pcap_file::pcap::{PcapPacket, PcapWriter};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::Hash;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct WorkloadConfig {
    /// Rules of the policy, exactly.
    pub rules: usize,
    /// Packets of the capture, exactly.
    pub packets: usize,
    /// Same seed, same files.
    pub seed: u64,
}

/// How many packets in a hundred no rule matches.
const UNMATCHED_PERCENT: u8 = 5;
/// How many rules in a hundred allow.
const ALLOW_PERCENT: u8 = 70;

/// Writes `policy.yaml` and `traffic.pcap` into `dir`, which is made if it is not there.
///
/// # Errors
/// What the file system says.
pub fn write(dir: &Path, config: WorkloadConfig) -> io::Result<()> {
    let WorkloadConfig { rules, packets, seed } = config;
    let rules = rulegen::rules(RuleConfig { rules, seed, source_ports: false });
    let mut rng = Rng::with_seed(seed);
    let allow: Vec<bool> = rules.iter().map(|_| rng.u8(..100) < ALLOW_PERCENT).collect();
    let traffic = TrafficConfig { packets, seed, unmatched_percent: UNMATCHED_PERCENT };

    fs::create_dir_all(dir)?;
    fs::write(dir.join("policy.yaml"), policy(&rules, &allow, [LEFT, RIGHT].map(sides::name)))?;
    let file = BufWriter::new(File::create(dir.join("traffic.pcap"))?);
    let mut pcap = PcapWriter::new(file).map_err(io_error)?;
    for (key, micros) in trafficgen::keys(&rules, traffic).iter().zip(0..) {
        let frame = trafficgen::frame(key);
        let packet = PcapPacket::new(Duration::from_micros(micros), frame.len() as u32, &frame);
        pcap.write_packet(&packet).map_err(io_error)?;
    }
    pcap.into_writer().flush()
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// The policy file of `rules`, one rule each in the same order, with the ids r1, r2 and so on;
/// `allow` says which allow, `zones` how [`LEFT`] and [`RIGHT`] are called.
///
/// Of the rules' source ports only ICMP types are told: the policy language has no source ports.
///
/// # Panics
/// If a rule names addresses by range or set: generated rules name prefixes.
pub fn policy(rules: &[Rule], allow: &[bool], zones: [&str; 2]) -> String {
    let zone_name = |zone: ZoneId| if zone == LEFT { zones[0] } else { zones[1] };
    let mut hosts = Names::new("h");
    let mut networks = Names::new("n");
    let mut services = Names::new("s");
    let mut body = String::new();
    for ((rule, allow), number) in rules.iter().zip(allow).zip(1..) {
        let mut side = |zone: Option<ZoneId>, addresses: &AddressMatch| match *addresses {
            AddressMatch::Any => zone.map_or("any", zone_name).to_owned(),
            AddressMatch::Prefix { family, value, len } if len == family.bits() => {
                hosts.of((zone, family, value))
            }
            AddressMatch::Prefix { family, value, len } => networks.of((zone, family, value, len)),
            _ => panic!("rule {number} has {addresses:?}; a workload's rules have prefixes"),
        };
        let from = side(rule.from_zone, &rule.src);
        let to = side(rule.to_zone, &rule.dst);
        let service = match rule.protocol {
            None => "any".to_owned(),
            Some(protocol) => services.of(service(protocol, rule)),
        };
        let action = if *allow { "allow" } else { "deny" };
        let _ = writeln!(
            body,
            "  - {{ id: r{number}, from: {from}, to: {to}, service: {service}, action: {action} }}"
        );
    }

    let mut text = String::from("version: 1\nzones:\n");
    for zone in [LEFT, RIGHT] {
        let [v4, v6] = [Family::V4, Family::V6].map(|family| {
            let (addr, len) = sides::network(zone, family);
            format!("\"{addr}/{len}\"")
        });
        let _ = writeln!(text, "  {}: {{ networks: [{v4}, {v6}] }}", zone_name(zone));
    }
    let in_zone = |zone: Option<ZoneId>| {
        zone.map_or(String::new(), |zone| format!("zone: {}, ", zone_name(zone)))
    };
    hosts.write(&mut text, "hosts", |(zone, family, value)| {
        let addr = family.ip_addr(*value);
        format!("{}addresses: [\"{addr}\"]", in_zone(*zone))
    });
    networks.write(&mut text, "networks", |(zone, family, value, len)| {
        let addr = family.ip_addr(*value);
        format!("{}networks: [\"{addr}/{len}\"]", in_zone(*zone))
    });
    services.write(&mut text, "services", String::clone);
    if rules.is_empty() {
        text.push_str("rules: []\n");
    } else {
        text.push_str("rules:\n");
        text.push_str(&body);
    }
    text
}

/// The fields of a service entry.
fn service(protocol: u8, rule: &Rule) -> String {
    match (protocol, rule.src_ports, rule.dst_ports) {
        (ICMP | ICMPV6, icmp_type, code) => {
            let name = if protocol == ICMP { "icmp" } else { "icmpv6" };
            let mut text = format!("protocol: {name}");
            for (field, range) in [("type", icmp_type), ("code", code)] {
                if range.low == range.high {
                    let _ = write!(text, ", {field}: {}", range.low);
                }
            }
            text
        }
        (TCP | UDP, _, ports) => {
            let name = if protocol == TCP { "tcp" } else { "udp" };
            match ports {
                PortRange::ANY => format!("protocol: {name}"),
                PortRange { low, high } if low == high => {
                    format!("protocol: {name}, ports: [{low}]")
                }
                PortRange { low, high } => format!("protocol: {name}, ports: [{low}-{high}]"),
            }
        }
        (other, ..) => format!("protocol: {other}"),
    }
}

/// A section of the policy: a name for each thing, made when it is first used.
struct Names<T> {
    prefix: &'static str,
    numbers: HashMap<T, usize>,
    /// In the order of their numbers, so that the file is the same each time.
    things: Vec<T>,
}

impl<T: Clone + Eq + Hash> Names<T> {
    fn new(prefix: &'static str) -> Self {
        Names { prefix, numbers: HashMap::new(), things: Vec::new() }
    }

    fn of(&mut self, thing: T) -> String {
        let number = *self.numbers.entry(thing).or_insert_with_key(|thing| {
            self.things.push(thing.clone());
            self.things.len()
        });
        format!("{}{number}", self.prefix)
    }

    /// Appends the section, unless it is empty.
    fn write(&self, text: &mut String, section: &str, fields: impl Fn(&T) -> String) {
        if !self.things.is_empty() {
            let _ = writeln!(text, "{section}:");
        }
        for (thing, number) in self.things.iter().zip(1..) {
            let _ = writeln!(text, "  {}{number}: {{ {} }}", self.prefix, fields(thing));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::PcapReader;
    use pcap_file::{DataLink, TsResolution};

    fn generate(rules: usize, packets: usize, seed: u64) -> (String, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("made");
        write(&out, WorkloadConfig { rules, packets, seed }).unwrap();
        let policy = fs::read_to_string(out.join("policy.yaml")).unwrap();
        (policy, fs::read(out.join("traffic.pcap")).unwrap())
    }

    #[test]
    fn the_same_seed_gives_the_same_files_and_another_seed_others() {
        assert_eq!(generate(100, 100, 1), generate(100, 100, 1));
        assert_ne!(generate(100, 100, 1).0, generate(100, 100, 2).0);
        assert_ne!(generate(100, 100, 1).1, generate(100, 100, 2).1);
    }

    #[test]
    fn policy_and_capture_hold_exactly_as_many_as_asked_for() {
        let (policy, pcap) = generate(1000, 321, 1);
        assert_eq!(policy.lines().filter(|line| line.starts_with("  - { id: ")).count(), 1000);
        assert!(policy.contains("action: allow") && policy.contains("action: deny"));
        let mut reader = PcapReader::new(&pcap[..]).unwrap();
        assert_eq!(reader.header().datalink, DataLink::ETHERNET);
        assert_eq!(reader.header().ts_resolution, TsResolution::MicroSecond);
        let mut packets = 0;
        while let Some(packet) = reader.next_packet() {
            assert!(packet.unwrap().data.len() >= trafficgen::MIN_FRAME);
            packets += 1;
        }
        assert_eq!(packets, 321);
    }

    #[test]
    fn a_policy_says_what_its_rules_say() {
        let host = |addr: &str| AddressMatch::host(addr.parse().unwrap());
        let prefix = |addr: &str, len| AddressMatch::prefix(addr.parse().unwrap(), len).unwrap();
        let rules = [
            Rule {
                from_zone: Some(LEFT),
                to_zone: Some(RIGHT),
                src: host("10.0.0.1"),
                dst: prefix("10.128.16.0", 20),
                protocol: Some(TCP),
                dst_ports: PortRange::one(80),
                ..Rule::ANY
            },
            Rule {
                from_zone: Some(RIGHT),
                to_zone: Some(LEFT),
                dst: host("fd00:a::1"),
                protocol: Some(ICMPV6),
                src_ports: PortRange::one(128),
                ..Rule::ANY
            },
            Rule {
                src: host("10.0.0.1"),
                protocol: Some(UDP),
                dst_ports: PortRange { low: 1024, high: 65535 },
                ..Rule::ANY
            },
            Rule { from_zone: Some(LEFT), src: host("10.0.0.1"), ..Rule::ANY },
        ];
        let expected = r#"version: 1
zones:
  left: { networks: ["10.0.0.0/9", "fd00:a::/32"] }
  right: { networks: ["10.128.0.0/9", "fd00:b::/32"] }
hosts:
  h1: { zone: left, addresses: ["10.0.0.1"] }
  h2: { zone: left, addresses: ["fd00:a::1"] }
  h3: { addresses: ["10.0.0.1"] }
networks:
  n1: { zone: right, networks: ["10.128.16.0/20"] }
services:
  s1: { protocol: tcp, ports: [80] }
  s2: { protocol: icmpv6, type: 128 }
  s3: { protocol: udp, ports: [1024-65535] }
rules:
  - { id: r1, from: h1, to: n1, service: s1, action: allow }
  - { id: r2, from: right, to: h2, service: s2, action: deny }
  - { id: r3, from: h3, to: any, service: s3, action: allow }
  - { id: r4, from: h1, to: any, service: any, action: deny }
"#;
        let allow = [true, false, true, false];
        assert_eq!(policy(&rules, &allow, ["left", "right"]), expected);
        let renamed = policy(&rules, &allow, ["clients", "servers"]);
        assert!(renamed.contains("\n  clients: {"), "{renamed}");
        assert!(renamed.contains("h2: { zone: clients, "), "{renamed}");
        assert!(renamed.contains("from: servers, to: h2"), "{renamed}");
        assert!(!renamed.contains("left") && !renamed.contains("right"), "{renamed}");
    }
}
