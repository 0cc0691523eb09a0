//! Random policies, and the ends of packets drawn from their rules.
//!
//! Every policy has addresses of its own, so that no flow of an earlier one has a say: block `n` is
//! `10.0.0.0/20 + n` and `fd77:0:n::/48`.

use super::packet::{End, protocol};
use fastrand::Rng;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks there are: up to 10.249.255.255.
pub(super) const BLOCKS: u32 = 4000;

/// The zones: of the left end, of the right end, and one that no packet comes from or goes to.
pub(super) const ZONES: [&str; 3] = ["clients", "servers", "office"];

/// Addresses that only sentinels have; no block has them.
pub(super) const SENTINELS: [Ipv4Addr; 2] =
    [Ipv4Addr::new(10, 254, 0, 1), Ipv4Addr::new(10, 254, 0, 2)];

/// An IP version, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Addresses of one family from `low` to `high`.
#[derive(Clone, Copy, Debug)]
struct Network {
    family: Family,
    low: u128,
    high: u128,
}

/// A host or network of a policy.
#[derive(Clone, Debug)]
struct Group {
    name: String,
    zone: Option<usize>,
    members: Vec<Network>,
}

#[derive(Clone, Debug)]
struct Service {
    name: &'static str,
    text: String,
    /// Protocol and ports, or type and code; the whole protocol where there are none.
    elements: Vec<(u8, Option<(u16, u16)>)>,
}

#[derive(Clone, Copy, Debug)]
enum RuleEnd {
    Any,
    Zone(usize),
    Group(usize),
}

#[derive(Clone, Debug)]
struct Rule {
    id: String,
    from: Vec<RuleEnd>,
    to: Vec<RuleEnd>,
    /// Any service where there are none.
    services: Vec<usize>,
    allow: bool,
}

/// A policy and what packets are drawn from.
#[derive(Debug)]
pub(super) struct Policy {
    block: u32,
    groups: Vec<Group>,
    services: Vec<Service>,
    rules: Vec<Rule>,
}

/// The ends of a packet, drawn from a rule.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    /// The rule's id.
    pub rule: String,
    /// Where it comes from.
    pub from: End,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Destination port; for ICMP the type in the high byte, the code in the low one.
    pub port: u16,
}

impl Policy {
    /// A policy in block `block`.
    pub(super) fn random(block: u32, rng: &mut Rng) -> Policy {
        let mut policy =
            Policy { block, groups: Vec::new(), services: Vec::new(), rules: Vec::new() };
        for n in 0..rng.usize(3..=8) {
            let group = policy.random_group(n, rng);
            policy.groups.push(group);
        }
        for name in ["s0", "s1", "s2", "s3", "s4", "s5"] {
            policy.services.push(random_service(name, rng));
        }
        for n in 0..rng.usize(2..=14) {
            let rule = policy.random_rule(n, rng);
            policy.rules.push(rule);
        }
        policy
    }

    /// A policy in block `block` that allows everything.
    pub(super) fn allow_all(block: u32) -> Policy {
        let any = || vec![RuleEnd::Any];
        let (id, services) = ("everything".to_owned(), Vec::new());
        let rule = Rule { id, from: any(), to: any(), services, allow: true };
        Policy { block, groups: Vec::new(), services: Vec::new(), rules: vec![rule] }
    }

    fn random_group(&self, n: usize, rng: &mut Rng) -> Group {
        let host = rng.bool();
        let members = (0..rng.usize(1..=3))
            .map(|_| {
                let family = if rng.u8(0..5) < 3 { Family::V4 } else { Family::V6 };
                let bits = match family {
                    _ if host => 0,
                    Family::V4 => rng.u32(0..=12),
                    Family::V6 => *rng.choice(&[0, 1, 4, 16, 32, 33, 64, 79]).unwrap_or(&0),
                };
                let low = self.any(family, rng) >> bits << bits;
                Network { family, low, high: low | ((1 << bits) - 1) }
            })
            .collect();
        let zone =
            *rng.choice(&[None, None, None, Some(0), Some(1), Some(1), Some(2)]).unwrap_or(&None);
        let name = format!("{}{n}", if host { "host" } else { "net" });
        Group { name, zone, members }
    }

    /// An address of the block. Few bits vary in IPv6, so that networks hold others.
    fn any(&self, family: Family, rng: &mut Rng) -> u128 {
        let low = self.lowest(family);
        match family {
            Family::V4 => low | u128::from(rng.u16(0..1 << 12)),
            Family::V6 => {
                let part = |rng: &mut Rng| u128::from(rng.u8(0..4));
                low | part(rng) << 64 | part(rng) << 32 | part(rng) << 14 | u128::from(rng.u8(..))
            }
        }
    }

    fn lowest(&self, family: Family) -> u128 {
        match family {
            Family::V4 => u128::from(10u32 << 24 | self.block << 12),
            Family::V6 => 0xfd77 << 112 | u128::from(self.block) << 80,
        }
    }

    fn random_rule(&self, n: usize, rng: &mut Rng) -> Rule {
        // What is of no one family matches nothing, and no policy may say it.
        loop {
            let (from, to) = (self.random_ends(0, rng), self.random_ends(1, rng));
            let count = rng.usize(1..=2);
            let services = match rng.u8(0..10) {
                0 => Vec::new(),
                _ => rng.choose_multiple(0..self.services.len(), count),
            };
            let rule = Rule { id: format!("r{n}"), from, to, services, allow: rng.u8(0..4) > 0 };
            if [Family::V4, Family::V6].into_iter().any(|family| self.has(&rule, family)) {
                return rule;
            }
        }
    }

    fn random_ends(&self, zone: usize, rng: &mut Rng) -> Vec<RuleEnd> {
        match rng.u8(0..10) {
            0 => vec![RuleEnd::Any],
            // Mostly the side that packets come from, or go to.
            1..4 => vec![RuleEnd::Zone(if rng.u8(0..4) == 0 { rng.usize(0..3) } else { zone })],
            4 => vec![RuleEnd::Zone(zone), RuleEnd::Group(rng.usize(0..self.groups.len()))],
            _ => {
                let count = rng.usize(1..=2);
                let groups = rng.choose_multiple(0..self.groups.len(), count);
                groups.into_iter().map(RuleEnd::Group).collect()
            }
        }
    }

    /// Whether `rule` can match packets of `family`.
    fn has(&self, rule: &Rule, family: Family) -> bool {
        let end = |end: &RuleEnd| match *end {
            RuleEnd::Any | RuleEnd::Zone(_) => true,
            RuleEnd::Group(g) => self.groups[g].members.iter().any(|m| m.family == family),
        };
        let suits = |&(number, _): &(u8, _)| match number {
            protocol::ICMP => family == Family::V4,
            protocol::ICMPV6 => family == Family::V6,
            _ => true,
        };
        rule.from.iter().any(end)
            && rule.to.iter().any(end)
            && (rule.services.is_empty()
                || rule.services.iter().any(|&s| self.services[s].elements.iter().any(suits)))
    }

    /// The policy's text.
    pub(super) fn text(&self) -> String {
        // Datagrams in fragments have an oracle of their own.
        let mut text = String::from(
            "version: 1\nzones:\n  clients: { fragments: drop }\n  servers: { fragments: drop }\n  \
             office: { fragments: drop }\n",
        );
        let [a, b] = SENTINELS;
        for (section, key, prefix) in
            [("hosts", "addresses", "host"), ("networks", "networks", "net")]
        {
            let _ = writeln!(text, "{section}:");
            if prefix == "host" {
                let _ = writeln!(text, "  sentinels: {{ addresses: [{a}, {b}] }}");
            } else {
                let _ = writeln!(text, "  elsewhere: {{ networks: [10.255.0.0/16] }}");
            }
            for group in self.groups.iter().filter(|group| group.name.starts_with(prefix)) {
                let zone = group.zone.map_or_else(String::new, |z| format!("zone: {}, ", ZONES[z]));
                let written = |member: &Network| member.text(prefix == "net");
                let members: Vec<_> = group.members.iter().map(written).collect();
                let members = members.join(", ");
                let _ = writeln!(text, "  {}: {{ {zone}{key}: [{members}] }}", group.name);
            }
        }
        text.push_str("services:\n  sentinel: { protocol: udp, ports: [9] }\n");
        for service in &self.services {
            let _ = writeln!(text, "  {}: {}", service.name, service.text);
        }
        text.push_str(
            "rules:\n  - { id: sentinel, from: sentinels, to: sentinels, service: sentinel, \
             action: allow }\n",
        );
        for rule in &self.rules {
            let (from, to) = (self.names(&rule.from), self.names(&rule.to));
            let services: Vec<_> = rule.services.iter().map(|&s| self.services[s].name).collect();
            let service = match services.join(", ") {
                none if none.is_empty() => "any".to_owned(),
                some => format!("[{some}]"),
            };
            let action = if rule.allow { "allow" } else { "deny" };
            let _ = writeln!(
                text,
                "  - {{ id: {}, from: {from}, to: {to}, service: {service}, action: {action} }}",
                rule.id
            );
        }
        text
    }

    fn names(&self, ends: &[RuleEnd]) -> String {
        let name = |end: &RuleEnd| match *end {
            RuleEnd::Any => "any",
            RuleEnd::Zone(zone) => ZONES[zone],
            RuleEnd::Group(group) => &self.groups[group].name,
        };
        match ends {
            [one] => name(one).to_owned(),
            several => format!("[{}]", several.iter().map(name).collect::<Vec<_>>().join(", ")),
        }
    }

    /// The ends of a packet of `protocol` (ICMP stands for ICMPv6 too), at a corner of a rule.
    pub(super) fn draw(&self, number: u8, rng: &mut Rng) -> Draw {
        let icmp = number == protocol::ICMP;
        let is_wanted = |p: u8| p == number || (icmp && p == protocol::ICMPV6);
        // A rule that says something of the protocol, if a few tries find one.
        let mut rule = &self.rules[rng.usize(0..self.rules.len())];
        for _ in 0..4 {
            let elements = rule.services.iter().flat_map(|&s| &self.services[s].elements);
            if rule.services.is_empty() || elements.into_iter().any(|&(p, _)| is_wanted(p)) {
                break;
            }
            rule = &self.rules[rng.usize(0..self.rules.len())];
        }
        loop {
            let mut family = if rng.u8(0..5) < 3 { Family::V4 } else { Family::V6 };
            let (from, src) = self.draw_end(&rule.from, &mut family, rng);
            let (to, dst) = self.draw_end(&rule.to, &mut family.clone(), rng);
            // The second end's family is its own where its group has no other: drawn anew then.
            let Some((src, dst)) = same_family(src, dst) else { continue };
            if src == dst {
                continue;
            }
            let side = match (from, to) {
                _ if rng.u8(0..8) == 0 => *rng.choice(&End::BOTH).unwrap_or(&End::Left),
                (Some(1), _) | (None | Some(2), Some(0)) => End::Right,
                (Some(0), _) | (None | Some(2), Some(1)) => End::Left,
                _ => *rng.choice(&End::BOTH).unwrap_or(&End::Left),
            };
            let wanted: Vec<_> = rule
                .services
                .iter()
                .flat_map(|&s| &self.services[s].elements)
                .filter(|(p, what)| is_wanted(*p) && what.is_some())
                .filter(|(p, _)| !icmp || (*p == protocol::ICMPV6) == src.is_ipv6())
                .collect();
            let port = match rng.choice(wanted) {
                Some(&(_, Some(range))) => corner_of(range, icmp, rng),
                _ => rng.u16(1..),
            };
            return Draw { rule: rule.id.clone(), from: side, src, dst, port };
        }
    }

    /// A zone and an address that one of `ends` means, or nearly.
    fn draw_end(
        &self,
        ends: &[RuleEnd],
        family: &mut Family,
        rng: &mut Rng,
    ) -> (Option<usize>, IpAddr) {
        match ends[rng.usize(0..ends.len())] {
            RuleEnd::Any => (None, address(*family, self.any(*family, rng))),
            RuleEnd::Zone(zone) => (Some(zone), address(*family, self.any(*family, rng))),
            RuleEnd::Group(group) => {
                let Group { zone, members, .. } = &self.groups[group];
                let mut member = members[rng.usize(0..members.len())];
                if let Some(same) = members.iter().find(|m| m.family == *family)
                    && member.family != *family
                {
                    member = *same;
                }
                *family = member.family;
                (*zone, address(member.family, self.corner(member, rng)))
            }
        }
    }

    /// An address inside, at an edge of, or beside `network`; never out of the block.
    fn corner(&self, network: Network, rng: &mut Rng) -> u128 {
        let Network { family, low, high } = network;
        let inside = low + rng.u128(..) % (high - low + 1);
        let bits = if family == Family::V4 { 12 } else { 80 };
        let block = (self.lowest(family), self.lowest(family) | ((1 << bits) - 1));
        match rng.u8(0..10) {
            0 => low,
            1 => high,
            2 if low > block.0 => low - 1,
            3 if high < block.1 => high + 1,
            4 => self.any(family, rng),
            _ => inside,
        }
    }
}

impl Network {
    /// Its address, with the length of its prefix where there is to be one.
    fn text(&self, prefixed: bool) -> String {
        let all = if self.family == Family::V4 { 32 } else { 128 };
        let bits = all - (self.high - self.low).count_ones();
        let prefix = if prefixed { format!("/{bits}") } else { String::new() };
        format!("\"{}{prefix}\"", address(self.family, self.low))
    }
}

fn address(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(bits as u32).into(),
        Family::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}

fn same_family(src: IpAddr, dst: IpAddr) -> Option<(IpAddr, IpAddr)> {
    (src.is_ipv4() == dst.is_ipv4()).then_some((src, dst))
}

/// A port inside, at an edge of, or beside the range `low` to `high`; never 0. Of ICMP, the type
/// and code or another type.
fn corner_of((low, high): (u16, u16), icmp: bool, rng: &mut Rng) -> u16 {
    if icmp {
        return if rng.u8(0..4) == 0 { rng.u16(..) } else { rng.u16(low..=high) };
    }
    let port = match rng.u8(0..10) {
        0 => low,
        1 => high,
        2 => low.saturating_sub(1),
        3 => high.saturating_add(1),
        4 => rng.u16(..),
        _ => rng.u16(low..=high),
    };
    port.max(1)
}

/// Mostly what well-formed traffic asks for.
fn random_service(name: &'static str, rng: &mut Rng) -> Service {
    let mut texts = Vec::new();
    let mut elements = Vec::new();
    for _ in 0..rng.usize(1..=2) {
        match rng.u8(0..12) {
            0..7 => {
                let (number, word) =
                    [(6, "tcp"), (17, "udp"), (6, "tcp"), (17, "udp"), (132, "sctp")]
                        [rng.usize(0..5)];
                let ranges: Vec<_> = (0..rng.usize(1..=3)).map(|_| random_ports(rng)).collect();
                let ports: Vec<_> = ranges.iter().map(|(l, h)| format!("{l}-{h}")).collect();
                texts.push(format!("{{ protocol: {word}, ports: [{}] }}", ports.join(", ")));
                elements.extend(ranges.into_iter().map(|range| (number, Some(range))));
            }
            7..10 => {
                texts.push("{ protocol: icmp, type: 8 }".to_owned());
                texts.push("{ protocol: icmpv6, type: 128, code: 0 }".to_owned());
                elements.push((protocol::ICMP, Some((8 << 8, 8 << 8 | 255))));
                elements.push((protocol::ICMPV6, Some((128 << 8, 128 << 8))));
            }
            10 => {
                let (number, kind, code) =
                    (*rng.choice(&[1, 58]).unwrap_or(&1), rng.u8(..), rng.u8(0..3));
                texts.push(format!("{{ protocol: {number}, type: {kind}, code: {code} }}"));
                let both = u16::from(kind) << 8 | u16::from(code);
                elements.push((number, Some((both, both))));
            }
            _ => {
                let number = *rng.choice(&[1u8, 58, 6, 17, 47, 50, 51, 132, 253]).unwrap_or(&1);
                texts.push(format!("{{ protocol: {number} }}"));
                elements.push((number, None));
            }
        }
    }
    Service { name, text: format!("[{}]", texts.join(", ")), elements }
}

fn random_ports(rng: &mut Rng) -> (u16, u16) {
    let low = *rng.choice(&[1u16, 53, 80, 443, 1023, 1024, 8080, 65535]).unwrap_or(&1);
    match rng.u8(0..3) {
        0 => (low, low),
        1 => (low, low.saturating_add(rng.u16(0..100))),
        _ => (low, rng.u16(low..)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_addresses_of_its_own() {
        let addresses = |block| {
            let policy = Policy::random(block, &mut Rng::with_seed(7));
            let mut rng = Rng::with_seed(8);
            (0..1000).map(|_| policy.draw(protocol::UDP, &mut rng).src).collect::<Vec<_>>()
        };
        let (first, second) = (addresses(0), addresses(1));
        assert!(first.iter().all(|address| !second.contains(address)));
        let last = addresses(BLOCKS - 1);
        assert!(!last.iter().any(|address| SENTINELS.iter().any(|s| address == s)));
    }

    #[test]
    fn draws_repeat_with_their_seed() {
        let text = |seed| Policy::random(3, &mut Rng::with_seed(seed)).text();
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }
}
