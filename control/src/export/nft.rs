//! A policy as an nftables ruleset, for a Linux router between the same zones.
//!
//! ```text
//! group   -> set addr_NAME_v4, addr_NAME_v6: intervals
//! service -> set ports_NAME_tcp, ...: intervals; ICMP types and whole protocols stand in the rule
//! zone    -> iifname $zone_NAME, oifname $zone_NAME; its sources and fragments: see `zones`
//! rule    -> one nftables rule for each combination of a `from`, a `to`, a service and what else it
//!            asks for (`conditions`), of one family; all carry the rule's id as their comment
//! ```
//!
//! The words are those of nft(8) 1.0; the file replaces the table `inet bulkhead` in one
//! transaction, so it can be loaded again.

mod conditions;
mod zones;

use crate::diagnostic::printable;
use crate::policy::{Detail, End, Policy, Rule, Service, family_of};
use crate::protocol::{ICMP, ICMPV6, name};
use classifier::{AddressMatch, Family, PortRange};
use dataplane::Action;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Interfaces of each zone, by the zone's name.
pub type Interfaces = BTreeMap<String, Vec<String>>;

/// What a strict gateway drops, before connection tracking reassembles, changes or remembers it:
/// the match in nftables' words, and the comment.
///
/// Matches on link-layer addresses are asked of Ethernet only, so that the zero addresses of the
/// loopback interface pass.
const MALFORMED: [(&str, &str); 29] = [
    ("ether saddr & 01:00:00:00:00:00 != 00:00:00:00:00:00", "source MAC a group, IEEE 802.3"),
    ("ether saddr 00:00:00:00:00:00", "source MAC zero"),
    ("ip frag-off & 0x8000 != 0", "IPv4 reserved flag, RFC 791"),
    ("ip hdrlength > 5", "IPv4 options"),
    ("ip saddr 0.0.0.1-0.255.255.255", "address of this network, RFC 1122"),
    ("ip daddr 0.0.0.0/8", "address of this network, RFC 1122"),
    ("ip saddr 240.0.0.0/4", "reserved address, RFC 6890"),
    ("ip daddr 240.0.0.0-255.255.255.254", "reserved address, RFC 6890"),
    ("ip6 saddr ::ffff:0:0/96", "IPv4-mapped address, RFC 4291"),
    ("ip6 daddr ::ffff:0:0/96", "IPv4-mapped address, RFC 4291"),
    ("ip6 daddr ::", "unspecified address, RFC 4291"),
    // Of headers behind the second one, nftables cannot tell the order.
    ("ip6 nexthdr { 0, 43, 44, 60 } @nh,320,8 0", "IPv6 extension headers, RFC 8200, 4.1"),
    ("ip6 nexthdr 60 @nh,320,8 60", "IPv6 extension headers, RFC 8200, 4.1"),
    ("ip6 nexthdr 43 @nh,320,8 43", "IPv6 extension headers, RFC 8200, 4.1"),
    ("ip6 nexthdr 44 @nh,320,8 { 43, 44 }", "IPv6 extension headers, RFC 8200, 4.1"),
    ("rt type 0", "IPv6 routing header type 0, RFC 5095"),
    ("rt seg-left != 0", "IPv6 source route"),
    (
        "meta nfproto ipv6 meta l4proto { 135, 139, 140, 253, 254 }",
        "IPv6 extension header not looked behind, RFC 7045",
    ),
    ("tcp flags & (fin|syn) == (fin|syn)", "TCP flags"),
    ("tcp flags & (syn|rst) == (syn|rst)", "TCP flags"),
    ("tcp flags & (fin|rst) == (fin|rst)", "TCP flags"),
    ("tcp flags & (fin|syn|rst|ack) == 0", "TCP flags"),
    ("tcp flags & (fin|ack) == fin", "TCP flags"),
    ("tcp flags & (rst|urg) == (rst|urg)", "TCP flags"),
    ("tcp flags & (syn|ack|urg) == (syn|ack|urg)", "TCP flags"),
    ("meta l4proto { tcp, udp, sctp } th sport 0", "port 0, RFC 6335"),
    ("meta l4proto { tcp, udp, sctp } th dport 0", "port 0, RFC 6335"),
    ("meta nfproto ipv6 udp checksum 0", "UDP over IPv6 without a checksum, RFC 8200, 8.1"),
    ("sctp vtag 0 sctp chunk init missing", "SCTP tag 0 without INIT, RFC 9260, 8.5.1"),
];

/// The ruleset of `policy`, which ends with a newline.
///
/// A zone without interfaces stays a variable that nothing defines: nft refuses the file until
/// `--define` does, so that no rule is loaded that silently matches nothing.
///
/// `hardened` adds what a strict gateway drops: malformed packets, and packets that
/// connection tracking finds no place for.
pub fn ruleset(policy: &Policy, interfaces: &Interfaces, hardened: bool) -> String {
    let used = Used::by(policy);
    let mut text = String::new();
    header(&mut text, policy, interfaces, &used);
    // The first line makes the table where there is none, so that the second can delete it.
    text.push_str("table inet bulkhead\ndelete table inet bulkhead\n\ntable inet bulkhead {\n");
    address_sets(&mut text, policy, &used);
    port_sets(&mut text, policy, &used);
    if hardened {
        malformed(&mut text);
    }
    zones::write(&mut text, policy, interfaces, &used);
    text.push_str(
        "    chain forward {\n        type filter hook forward priority filter; policy drop;\n",
    );
    if hardened {
        text.push_str(
            "        ct state invalid counter drop comment \"no connection it could belong to\"\n",
        );
    }
    text.push_str("        ct state established,related counter accept\n");
    if hardened {
        text.push_str(
            "        # A connection begins with a SYN, also where nf_conntrack_tcp_loose is 1.\n        \
             ct state new tcp flags & (fin|syn|rst|ack) != syn counter drop comment \"TCP without a \
             SYN\"\n",
        );
    }
    for rule in policy.rules() {
        write_rule(&mut text, policy, rule);
    }
    text.push_str("        counter comment \"default deny\"\n    }\n}\n");
    text
}

/// The zones, groups and services that rules name: indices into the policy.
#[derive(Default)]
struct Used {
    zones: BTreeSet<usize>,
    groups: BTreeSet<usize>,
    services: BTreeSet<usize>,
}

impl Used {
    fn by(policy: &Policy) -> Self {
        let mut used = Used::default();
        for rule in policy.rules() {
            for end in rule.from.iter().chain(&rule.to) {
                match *end {
                    End::Any => {}
                    End::Zone(zone) => drop(used.zones.insert(zone)),
                    End::Group(group) => {
                        used.groups.insert(group);
                        used.zones.extend(policy.groups[group].zone);
                    }
                }
            }
            used.services.extend(rule.services.iter().flatten());
        }
        used
    }
}

fn header(text: &mut String, policy: &Policy, interfaces: &Interfaces, used: &Used) {
    let _ = write!(
        text,
        "#!/usr/sbin/nft -f\n# {}, written by `bulkhead export nft`.\n#\n# For a router between the \
         zones. Connection tracking is strict with\n#   sysctl -w \
         net.netfilter.nf_conntrack_tcp_loose=0 net.netfilter.nf_conntrack_tcp_be_liberal=0\n",
        printable(policy.file())
    );
    let named = |zone: &usize| &policy.zones()[*zone].name;
    let undefined: Vec<_> =
        used.zones.iter().map(named).filter(|zone| !interfaces.contains_key(*zone)).collect();
    if !undefined.is_empty() {
        text.push_str("#\n# The interfaces of these zones are not in this file; name them with\n");
        let defines =
            undefined.iter().map(|zone| format!(" --define 'zone_{zone}={{ \"eth0\" }}'"));
        let _ = writeln!(text, "#   nft{} -f FILE", defines.collect::<String>());
    }
    if !policy.inside.is_empty() {
        text.push_str(
            "#\n# Packets of tunnels are judged by their outer headers here: the policy's `inside` \
             is not said.\n",
        );
    }
    if policy.rules().iter().any(|rule| !rule.conditions.dst_macs.is_empty()) {
        text.push_str(
            "#\n# A router is who frames are sent to: `ether daddr` is the address of its own \
             interface\n# here, where a gateway on the wire sees that of the next hop.\n",
        );
    }
    if policy.rules().iter().any(|rule| rule.conditions.fragment == Some(true)) {
        text.push_str(
            "#\n# Connection tracking puts fragments together before rules are asked: those for \
             fragments\n# match nothing here.\n",
        );
    }
    text.push('\n');
    for (zone, interfaces) in interfaces {
        let listed = interfaces.iter().map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "define zone_{zone} = {{ {listed} }}");
    }
    if !interfaces.is_empty() {
        text.push('\n');
    }
}

fn address_sets(text: &mut String, policy: &Policy, used: &Used) {
    for &group in &used.groups {
        let group = &policy.groups[group];
        let addresses = AddressMatch::set(group.addresses.iter().cloned());
        for family in [Family::V4, Family::V6] {
            let intervals: Vec<_> = addresses
                .ranges(family)
                .into_iter()
                .map(|(low, high)| interval(family, low, high))
                .collect();
            write_set(text, &address_set(&group.name, family), kind_of(family), &intervals);
        }
    }
}

/// The type of a set's addresses.
const fn kind_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}

fn port_sets(text: &mut String, policy: &Policy, used: &Used) {
    for &service in &used.services {
        let service = &policy.services[service];
        for (protocol, ports) in ports_of(service) {
            let intervals: Vec<_> = ports
                .iter()
                .map(|&PortRange { low, high }| match low == high {
                    true => low.to_string(),
                    false => format!("{low}-{high}"),
                })
                .collect();
            write_set(text, &port_set(&service.name, protocol), "inet_service", &intervals);
        }
    }
}

/// A set, unless it would be empty.
fn write_set(text: &mut String, name: &str, kind: &str, intervals: &[String]) {
    if !intervals.is_empty() {
        let _ = write!(
            text,
            "    set {name} {{\n        type {kind}\n        flags interval\n        elements = {{ \
             {} }}\n    }}\n\n",
            intervals.join(",\n                     ")
        );
    }
}

// Names of a policy may begin with a digit and may be words of nftables: a prefix keeps them apart.
fn address_set(group: &str, family: Family) -> String {
    let family = match family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    format!("addr_{group}_{family}")
}

fn port_set(service: &str, protocol: u8) -> String {
    format!("ports_{service}_{}", name(protocol))
}

/// The ports of each protocol that a service names ports of; ranges neither overlap nor touch,
/// because nftables refuses intervals that do.
fn ports_of(service: &Service) -> BTreeMap<u8, Vec<PortRange>> {
    let mut found = BTreeMap::<u8, Vec<PortRange>>::new();
    for entry in &service.entries {
        if let Detail::Ports(ports) = &entry.detail {
            found.entry(entry.protocol).or_default().extend(ports);
        }
    }
    for ports in found.values_mut() {
        ports.sort_unstable_by_key(|range| range.low);
        let mut merged: Vec<PortRange> = Vec::with_capacity(ports.len());
        for range in ports.drain(..) {
            match merged.last_mut() {
                Some(last) if u32::from(range.low) <= u32::from(last.high) + 1 => {
                    last.high = last.high.max(range.high);
                }
                _ => merged.push(range),
            }
        }
        *ports = merged;
    }
    found
}

/// `low-high` as one address, a prefix, or a range.
fn interval(family: Family, low: u128, high: u128) -> String {
    let address = family.ip_addr(low);
    // Bits in which the two differ; a prefix when `low` has none of them and `high` all.
    let differing = 128 - (low ^ high).leading_zeros();
    let mask = 1u128.checked_shl(differing).map_or(u128::MAX, |bit| bit - 1);
    if low == high {
        address.to_string()
    } else if low & mask == 0 && high & mask == mask {
        format!("{address}/{}", u32::from(family.bits()) - differing)
    } else {
        format!("{address}-{}", family.ip_addr(high))
    }
}

fn malformed(text: &mut String) {
    text.push_str(
        "    # Before connection tracking, which reassembles fragments at priority -400.\n    chain \
         malformed {\n        type filter hook prerouting priority -450; policy accept;\n",
    );
    for (matches, comment) in MALFORMED {
        let _ = writeln!(text, "        {matches} counter drop comment \"{comment}\"");
    }
    text.push_str("    }\n\n");
}

/// One alternative of a rule's end or service.
struct Part {
    /// The match, with a blank after it unless it is empty.
    words: String,
    /// The family that its packets are of, if it leaves no choice.
    family: Option<Family>,
}

/// Which end of a packet a part is about.
#[derive(Clone, Copy)]
enum Way {
    From,
    To,
}

fn write_rule(text: &mut String, policy: &Policy, rule: &Rule) {
    text.push('\n');
    for line in rule.description().into_iter().flat_map(str::lines) {
        let _ = writeln!(text, "        # {}", line.trim_end());
    }
    let verdict = match rule.action() {
        Action::Allow => "accept",
        Action::Deny => "drop",
    };
    let (from, to) = (parts(policy, &rule.from, Way::From), parts(policy, &rule.to, Way::To));
    let mut lists = vec![from, to, service_parts(policy, rule)];
    lists.extend(conditions::parts(&rule.conditions));
    for Part { words, .. } in combined(&lists) {
        let _ = writeln!(text, "        {words}counter {verdict} comment \"{}\"", rule.id());
    }
}

/// One part of each list in every combination that is of one family, the last list the fastest.
fn combined(lists: &[Vec<Part>]) -> Vec<Part> {
    let first = vec![Part { words: String::new(), family: None }];
    lists.iter().fold(first, |all, list| {
        let with = |part: &Part, next: &Part| {
            let differ = part.family.zip(next.family).is_some_and(|(part, next)| part != next);
            let words = format!("{}{}", part.words, next.words);
            (!differ).then(|| Part { words, family: part.family.or(next.family) })
        };
        all.iter().flat_map(|part| list.iter().filter_map(move |next| with(part, next))).collect()
    })
}

fn parts(policy: &Policy, ends: &[End], way: Way) -> Vec<Part> {
    let (interface, address) = match way {
        Way::From => ("iifname", "saddr"),
        Way::To => ("oifname", "daddr"),
    };
    let in_zone = |zone: Option<usize>| {
        zone.map_or_else(String::new, |zone| {
            format!("{interface} $zone_{} ", policy.zones()[zone].name)
        })
    };
    let mut parts = Vec::new();
    for end in ends {
        match *end {
            End::Any => parts.push(Part { words: String::new(), family: None }),
            End::Zone(zone) => parts.push(Part { words: in_zone(Some(zone)), family: None }),
            End::Group(group) => {
                let group = &policy.groups[group];
                for (family, ip) in [(Family::V4, "ip"), (Family::V6, "ip6")] {
                    if group.addresses.iter().any(|a| !a.ranges(family).is_empty()) {
                        let set = address_set(&group.name, family);
                        let words = format!("{}{ip} {address} @{set} ", in_zone(group.zone));
                        parts.push(Part { words, family: Some(family) });
                    }
                }
            }
        }
    }
    parts
}

fn service_parts(policy: &Policy, rule: &Rule) -> Vec<Part> {
    let Some(services) = &rule.services else {
        return vec![Part { words: String::new(), family: None }];
    };
    let wanted = rule.conditions.protocol();
    let wanted = |protocol: u8| wanted.is_none_or(|wanted| wanted == protocol);
    let mut parts = Vec::new();
    for service in services.iter().map(|&service| &policy.services[service]) {
        for protocol in ports_of(service).into_keys().filter(|protocol| wanted(*protocol)) {
            let set = port_set(&service.name, protocol);
            parts.push(Part {
                words: format!("{} dport @{set} ", name(protocol)),
                family: family_of(protocol),
            });
        }
        for entry in service.entries.iter().filter(|entry| wanted(entry.protocol)) {
            let family = family_of(entry.protocol);
            let words = match (&entry.detail, entry.protocol) {
                (Detail::Ports(_), _) => continue,
                (Detail::Icmp { icmp_type, code }, protocol) => {
                    let icmp = name(protocol);
                    let code = code.map_or_else(String::new, |code| format!("{icmp} code {code} "));
                    format!("{icmp} type {icmp_type} {code}")
                }
                // The number alone would match the other family's packets too.
                (Detail::Everything, ICMP) => format!("meta nfproto ipv4 meta l4proto {ICMP} "),
                (Detail::Everything, ICMPV6) => format!("meta nfproto ipv6 meta l4proto {ICMPV6} "),
                (Detail::Everything, protocol) => format!("meta l4proto {protocol} "),
            };
            parts.push(Part { words, family });
        }
    }
    parts
}

#[cfg(test)]
mod tests;
