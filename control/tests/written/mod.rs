//! Random policies, written out as YAML, and a slow evaluator of the same policies.
//!
//! The evaluator knows names, addresses and ports as a reader of the policy does; it shares no code
//! with the crate. Packets are drawn from the policy's own addresses and ports and from just
//! outside them, for random ones would meet no rule.
#![allow(dead_code)] // Each test binary uses a part of it.

mod asks;

use asks::{Asks, Link};
use classifier::{Family, PacketKey, ZoneId};
use control::policy::Policy;
use dataplane::Action;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const ZONES: [&str; 3] = ["red", "green", "blue"];

/// A policy as its reader understands it.
#[derive(Clone, Debug)]
pub struct Written {
    pub groups: Vec<Group>,
    pub services: Vec<Vec<Entry>>,
    pub rules: Vec<Rule>,
}

/// A host (all prefixes whole) or a network.
#[derive(Clone, Debug)]
pub struct Group {
    pub host: bool,
    pub zone: Option<usize>,
    pub members: Vec<(IpAddr, u8)>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub protocol: u8,
    pub ports: Option<Vec<(u16, u16)>>,
    pub icmp_type: Option<u8>,
    pub icmp_code: Option<u8>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    pub from: Vec<End>,
    pub to: Vec<End>,
    pub services: Vec<usize>,
    pub asks: Asks,
    pub allow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Zone(usize),
    Group(usize),
}

#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub from: Option<usize>,
    pub to: Option<usize>,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    /// Ports, or type and code, or nothing.
    pub fields: (u16, u16),
    pub link: Link,
}

// The evaluator.

impl Written {
    pub fn judge(&self, packet: &Packet) -> Option<&Rule> {
        self.rules.iter().find(|rule| self.matches(rule, packet))
    }

    pub fn matches(&self, rule: &Rule, packet: &Packet) -> bool {
        self.is_at(&rule.from, packet.from, packet.src)
            && self.is_at(&rule.to, packet.to, packet.dst)
            && rule.asks.met_by(packet.protocol, &packet.link)
            && (rule.services.is_empty()
                || rule.services.iter().any(|&s| self.services[s].iter().any(|e| e.has(packet))))
    }

    /// Whether an address in a zone is at one of `ends`; none of them stands for `any`.
    pub fn is_at(&self, ends: &[End], zone: Option<usize>, address: IpAddr) -> bool {
        ends.is_empty()
            || ends.iter().any(|end| match *end {
                End::Zone(wanted) => zone == Some(wanted),
                End::Group(group) => {
                    let group = &self.groups[group];
                    group.members.iter().any(|&(net, len)| is_in(address, net, len))
                        && group.zone.is_none_or(|wanted| zone == Some(wanted))
                }
            })
    }
}

impl Entry {
    pub fn has(&self, packet: &Packet) -> bool {
        let (first, second) = packet.fields;
        let family = match self.protocol {
            1 => packet.src.is_ipv4(),
            58 => packet.src.is_ipv6(),
            _ => true,
        };
        family
            && self.protocol == packet.protocol
            && self.ports.as_ref().is_none_or(|p| p.iter().any(|(l, h)| (l..=h).contains(&&second)))
            && self.icmp_type.is_none_or(|t| first == u16::from(t))
            && self.icmp_code.is_none_or(|c| second == u16::from(c))
    }
}

pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

pub fn bit(octets: &[u8], n: u8) -> bool {
    octets[usize::from(n / 8)] >> (7 - n % 8) & 1 == 1
}

pub fn is_in(address: IpAddr, net: IpAddr, len: u8) -> bool {
    let (address, net) = (octets(address), octets(net));
    address.len() == net.len() && (0..len).all(|n| bit(&address, n) == bit(&net, n))
}

// The YAML.

impl Written {
    pub fn yaml(&self) -> String {
        let mut out = "version: 1\nzones:\n".to_owned();
        for zone in ZONES {
            out += &format!("  {zone}: {{}}\n");
        }
        for (section, list, host) in [("hosts", "addresses", true), ("networks", "networks", false)]
        {
            out += &format!("{section}:\n");
            for (n, group) in self.groups.iter().enumerate().filter(|(_, g)| g.host == host) {
                let zone = group.zone.map_or(String::new(), |z| format!("zone: {}, ", ZONES[z]));
                let member = |(net, len): &(IpAddr, u8)| match host {
                    true => format!("\"{net}\""),
                    false => format!("\"{net}/{len}\""),
                };
                let members: Vec<_> = group.members.iter().map(member).collect();
                out += &format!("  g{n}: {{ {zone}{list}: [{}] }}\n", members.join(", "));
            }
        }
        out += "services:\n";
        for (n, entries) in self.services.iter().enumerate() {
            let entries: Vec<_> = entries.iter().map(Entry::yaml).collect();
            out += &match &entries[..] {
                [entry] => format!("  s{n}: {entry}\n"),
                entries => format!("  s{n}: [{}]\n", entries.join(", ")),
            };
        }
        out += if self.rules.is_empty() { "rules: []\n" } else { "rules:\n" };
        for rule in &self.rules {
            let ends = |ends: &[End]| {
                names(ends, |end| match *end {
                    End::Zone(zone) => ZONES[zone].to_owned(),
                    End::Group(group) => format!("g{group}"),
                })
            };
            out += &format!(
                "  - {{ id: {}, from: {}, to: {}, service: {}, action: {}{} }}\n",
                rule.id,
                ends(&rule.from),
                ends(&rule.to),
                names(&rule.services, |service| format!("s{service}")),
                if rule.allow { "allow" } else { "deny" },
                rule.asks.yaml()
            );
        }
        out
    }
}

impl Entry {
    pub fn yaml(&self) -> String {
        // By name and by number in turn, where there are names.
        let mut fields = vec![match self.protocol {
            1 => "protocol: icmp".to_owned(),
            6 => "protocol: tcp".to_owned(),
            58 => "protocol: icmpv6".to_owned(),
            number => format!("protocol: {number}"),
        }];
        if let Some(ports) = &self.ports {
            let port = |&(low, high): &(u16, u16)| match low == high {
                true => low.to_string(),
                false => format!("{low}-{high}"),
            };
            fields.push(format!(
                "ports: [{}]",
                ports.iter().map(port).collect::<Vec<_>>().join(", ")
            ));
        }
        fields.extend(self.icmp_type.map(|t| format!("type: {t}")));
        fields.extend(self.icmp_code.map(|c| format!("code: {c}")));
        format!("{{ {} }}", fields.join(", "))
    }
}

/// `any`, a name, or a list of names.
pub fn names<T>(items: &[T], name: impl Fn(&T) -> String) -> String {
    match items {
        [] => "any".to_owned(),
        [one] => name(one),
        many => format!("[{}]", many.iter().map(name).collect::<Vec<_>>().join(", ")),
    }
}

// The generators.

pub fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (0..3u8, 0..6u8).prop_map(|(c, d)| IpAddr::V4(Ipv4Addr::new(10, 0, c, d)));
    let v6 = (0..3u16, 0..6u16)
        .prop_map(|(c, d)| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, c, 0, 0, 0, d)));
    prop_oneof![v4, v6]
}

pub fn network() -> impl Strategy<Value = (IpAddr, u8)> {
    (address(), select(vec![0u8, 1, 8, 22, 23, 24, 29, 30, 31, 32]), 0..4u8).prop_map(
        |(address, len, more)| match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                (IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask)), len)
            }
            // Lengths around those that tell the addresses above apart, and whole ones.
            IpAddr::V6(a) => {
                let len = if more == 0 { len } else { (len + 32 * more).min(128) };
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                (IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask)), len)
            }
        },
    )
}

pub fn group() -> impl Strategy<Value = Group> {
    let zone = || proptest::option::weighted(0.3, 0..ZONES.len());
    let whole = |a: IpAddr| (a, if a.is_ipv4() { 32 } else { 128 });
    let host = (zone(), prop::collection::vec(address().prop_map(whole), 1..4))
        .prop_map(|(zone, members)| Group { host: true, zone, members });
    let net = (zone(), prop::collection::vec(network(), 1..4)).prop_map(|(zone, members)| Group {
        host: false,
        zone,
        members,
    });
    prop_oneof![host, net]
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let bare = Entry { protocol: 0, ports: None, icmp_type: None, icmp_code: None };
    let range = prop_oneof![
        select(vec![0u16, 1, 22, 80, 443, 65_534, 65_535]).prop_map(|p| (p, p)),
        (75..85u16, 0..10u16).prop_map(|(low, more)| (low, low + more)),
        Just((0, 65_535)),
    ];
    let ports = proptest::option::weighted(0.8, prop::collection::vec(range, 1..4));
    let (with_ports, with_types, plain) = (bare.clone(), bare.clone(), bare);
    prop_oneof![
        (select(vec![6u8, 17, 132]), ports).prop_map(move |(protocol, ports)| Entry {
            protocol,
            ports,
            ..with_ports.clone()
        }),
        (select(vec![1u8, 58]), proptest::option::of((0..3u8, proptest::option::of(0..3u8))))
            .prop_map(move |(protocol, detail)| Entry {
                protocol,
                icmp_type: detail.map(|(t, _)| t),
                icmp_code: detail.and_then(|(_, c)| c),
                ..with_types.clone()
            }),
        select(vec![0u8, 2, 47, 50, 255])
            .prop_map(move |protocol| Entry { protocol, ..plain.clone() }),
    ]
}

pub fn written() -> impl Strategy<Value = Written> {
    let groups = prop::collection::vec(group(), 1..5);
    let services = prop::collection::vec(prop::collection::vec(entry(), 1..4), 1..4);
    let picks = || prop::collection::vec(any::<Index>(), 0..4);
    let rules = prop::collection::vec((picks(), picks(), picks(), any::<bool>()), 0..7);
    (groups, services, rules).prop_map(|(groups, services, rules)| {
        let mut written = Written { groups, services, rules: Vec::new() };
        for (n, (from, to, services, allow)) in rules.into_iter().enumerate() {
            let rule = written.rule(format!("r{n}"), &from, &to, &services, allow);
            written.rules.push(rule);
        }
        written
    })
}

/// The items picked, each once.
pub fn chosen<T: Copy + PartialEq>(picks: &[Index], items: &[T]) -> Vec<T> {
    let mut chosen = Vec::new();
    for pick in picks {
        let item = *pick.get(items);
        if !chosen.contains(&item) {
            chosen.push(item);
        }
    }
    chosen
}

/// The addresses, protocols and fields that a policy mentions, and those next to them.
pub struct Pool {
    pub addresses: Vec<IpAddr>,
    pub protocols: Vec<u8>,
    pub fields: Vec<u16>,
}

impl Pool {
    pub fn of(written: &Written) -> Pool {
        let mut addresses =
            vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for &(net, len) in written.groups.iter().flat_map(|group| &group.members) {
            match net {
                IpAddr::V4(a) => {
                    let last = a.to_bits() | u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
                    for bits in
                        [a.to_bits(), a.to_bits().wrapping_sub(1), last, last.wrapping_add(1)]
                    {
                        addresses.push(IpAddr::V4(bits.into()));
                    }
                }
                IpAddr::V6(a) => {
                    let last = a.to_bits() | u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
                    for bits in
                        [a.to_bits(), a.to_bits().wrapping_sub(1), last, last.wrapping_add(1)]
                    {
                        addresses.push(IpAddr::V6(bits.into()));
                    }
                }
            }
        }
        let entries = || written.services.iter().flatten();
        let mut protocols: Vec<_> = entries().map(|entry| entry.protocol).collect();
        protocols.extend([1, 6, 58]);
        let mut fields = vec![0, 8, 255];
        for entry in entries() {
            for &(low, high) in entry.ports.iter().flatten() {
                fields.extend([low.saturating_sub(1), low, high, high.saturating_add(1)]);
            }
            fields.extend([entry.icmp_type, entry.icmp_code].into_iter().flatten().map(u16::from));
        }
        Pool { addresses, protocols, fields }
    }

    pub fn packet(&self, picks: &[Index; 7]) -> Packet {
        let [from, to, src, dst, protocol, first, second] = picks;
        let zone = |pick: &Index| Some(pick.index(ZONES.len() + 1)).filter(|&z| z < ZONES.len());
        let src = *src.get(&self.addresses);
        let same: Vec<_> =
            self.addresses.iter().filter(|a| a.is_ipv4() == src.is_ipv4()).copied().collect();
        let protocol = *protocol.get(&self.protocols);
        Packet {
            from: zone(from),
            to: zone(to),
            src,
            dst: *dst.get(&same),
            protocol,
            fields: (*first.get(&self.fields), *second.get(&self.fields)),
            link: Link::drawn(picks, protocol),
        }
    }
}

pub fn key(packet: &Packet, zones: &[ZoneId]) -> PacketKey {
    let bits = |address| match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    };
    let zone = |zone: Option<usize>| zone.map_or(ZoneId::UNKNOWN, |zone| zones[zone]);
    let key = PacketKey {
        src: bits(packet.src),
        dst: bits(packet.dst),
        protocol: packet.protocol,
        src_port: packet.fields.0,
        dst_port: packet.fields.1,
        from_zone: zone(packet.from),
        to_zone: zone(packet.to),
        ..PacketKey::empty(if packet.src.is_ipv4() { Family::V4 } else { Family::V6 })
    };
    packet.link.put(key)
}

/// Parses `written`. Rules that the parser says match nothing are taken out of it, after a look
/// whether that is so.
pub fn parsed(written: &mut Written, packets: &[Packet]) -> Policy {
    let errors = match Policy::parse("p.yaml", &written.yaml()) {
        Ok(policy) => return policy,
        Err(errors) => errors,
    };
    let useless: Vec<String> = errors
        .0
        .iter()
        .map(|error| {
            assert!(error.message.contains("matches nothing"), "{error:#}\n{}", written.yaml());
            error.message.split('`').nth(1).unwrap().to_owned()
        })
        .collect();
    for rule in written.rules.iter().filter(|rule| useless.contains(&rule.id)) {
        for packet in packets {
            assert!(!written.matches(rule, packet), "{} matches {packet:?}", rule.id);
        }
    }
    written.rules.retain(|rule| !useless.contains(&rule.id));
    Policy::parse("p.yaml", &written.yaml()).unwrap()
}

// One policy after another.

/// A change of a policy.
#[derive(Clone, Debug)]
pub enum Change {
    /// Takes a rule out.
    Remove(Index),
    /// Puts a rule in: ends and services as in [`written`], and whether it allows.
    Insert(Index, [Vec<Index>; 3], bool),
    /// Puts a rule in the place of another.
    Swap(Index, Index),
    /// Allows what was denied, or denies what was allowed.
    Flip(Index),
    /// A group has other members.
    Regroup(Index, Group),
}

pub fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let picks = || prop::collection::vec(at(), 0..4);
    prop_oneof![
        2 => at().prop_map(Change::Remove),
        3 => (at(), [picks(), picks(), picks()], any::<bool>())
            .prop_map(|(at, picks, allow)| Change::Insert(at, picks, allow)),
        1 => (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
        1 => at().prop_map(Change::Flip),
        1 => (at(), group()).prop_map(|(at, group)| Change::Regroup(at, group)),
    ]
}

impl Written {
    /// Changes the policy; the id of a new rule is `fresh`.
    pub fn change(&mut self, change: Change, fresh: String) {
        let count = self.rules.len();
        match change {
            Change::Insert(at, [from, to, services], allow) => {
                let rule = self.rule(fresh, &from, &to, &services, allow);
                self.rules.insert(at.index(count + 1), rule);
            }
            Change::Regroup(at, group) => {
                let at = at.index(self.groups.len());
                self.groups[at] = group;
            }
            _ if count == 0 => {}
            Change::Remove(at) => drop(self.rules.remove(at.index(count))),
            Change::Swap(a, b) => self.rules.swap(a.index(count), b.index(count)),
            Change::Flip(at) => self.rules[at.index(count)].allow ^= true,
        }
    }

    fn rule(
        &self,
        id: String,
        from: &[Index],
        to: &[Index],
        services: &[Index],
        allow: bool,
    ) -> Rule {
        let ends: Vec<End> =
            (0..ZONES.len()).map(End::Zone).chain((0..self.groups.len()).map(End::Group)).collect();
        let kinds: Vec<usize> = (0..self.services.len()).collect();
        Rule {
            id,
            from: chosen(from, &ends),
            to: chosen(to, &ends),
            services: chosen(services, &kinds),
            asks: Asks::drawn(&[from, to, services].concat()),
            allow,
        }
    }

    /// The id of the rule that decides about `packet`, and what it does.
    pub fn verdict(&self, packet: &Packet) -> Option<(&str, Action)> {
        let action = |allow| if allow { Action::Allow } else { Action::Deny };
        self.judge(packet).map(|rule| (rule.id.as_str(), action(rule.allow)))
    }
}
