//! From the model to what the classifier compiles.
//!
//! A rule of a policy becomes one classifier rule for each combination of an address it comes
//! from, an address it goes to, an element of a service, where their families agree, and an
//! alternative of each of its conditions.

use super::model::{Detail, End, Policy, Rule, ServiceEntry};
use super::values::family_of;
use super::zones::ZoneMap;
use crate::diagnostic::{Diagnostics, Report};
use classifier::{AddressMatch, Family, PortRange, ZoneId};
use dataplane::{TableRule, ZoneSettings};

/// Most classifier rules that a policy may become.
pub const MAX_ENTRIES: usize = 1_000_000;

/// A policy as the classifier and the data path take it.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// Rules of the classifier in priority order.
    pub rules: Vec<classifier::Rule>,
    /// For each of `rules`, the index into `table_rules` of the policy's rule it came from.
    pub entries: Vec<u32>,
    /// The policy's rules in order.
    pub table_rules: Vec<TableRule>,
    /// What it says of zones besides the rules.
    pub zones: ZoneSettings,
}

/// One alternative of a rule's end.
struct Side {
    zone: Option<ZoneId>,
    address: AddressMatch,
}

/// One alternative of a rule's service.
#[derive(Clone, Copy)]
struct Element {
    family: Option<Family>,
    protocol: Option<u8>,
    src_ports: PortRange,
    dst_ports: PortRange,
}

const ANY_SERVICE: Element =
    Element { family: None, protocol: None, src_ports: PortRange::ANY, dst_ports: PortRange::ANY };

impl Policy {
    /// This policy as the classifier and the data path take it, with the zones numbered as in `zones`.
    ///
    /// # Errors
    /// When the policy lacks a zone of `zones`.
    pub fn lower(&self, zones: &ZoneMap) -> Result<Lowered, Diagnostics> {
        let ids = zones.number(self)?;
        let mut rules = Vec::new();
        let mut entries = Vec::new();
        let mut table_rules = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            let (from, to) = (self.sides(&rule.from, &ids), self.sides(&rule.to, &ids));
            let elements = self.elements(rule);
            let mut combined = Vec::new();
            for from in &from {
                for to in &to {
                    combined.extend(elements.iter().filter_map(|e| combine(from, to, e)));
                }
            }
            rules.extend(rule.conditions.apply(combined));
            entries.resize(rules.len(), index as u32);
            table_rules.push(TableRule {
                id: rule.id.as_str().into(),
                action: rule.action,
                established: rule.established,
            });
        }
        Ok(Lowered { rules, entries, table_rules, zones: self.zone_settings(&ids) })
    }

    fn sides(&self, ends: &[End], ids: &[ZoneId]) -> Vec<Side> {
        let mut sides = Vec::new();
        for end in ends {
            match *end {
                End::Any => sides.push(Side { zone: None, address: AddressMatch::Any }),
                End::Zone(zone) => {
                    sides.push(Side { zone: Some(ids[zone]), address: AddressMatch::Any });
                }
                End::Group(group) => {
                    let group = &self.groups[group];
                    let zone = group.zone.map(|zone| ids[zone]);
                    let addresses = group.addresses.iter().cloned();
                    sides.extend(addresses.map(|address| Side { zone, address }));
                }
            }
        }
        sides
    }

    fn elements(&self, rule: &Rule) -> Vec<Element> {
        let wanted = rule.conditions.protocol();
        let Some(services) = &rule.services else {
            return vec![Element { protocol: wanted, ..ANY_SERVICE }];
        };
        let mut elements = Vec::new();
        for entry in self.entries_of_services(services, wanted) {
            let whole = Element {
                family: family_of(entry.protocol),
                protocol: Some(entry.protocol),
                ..ANY_SERVICE
            };
            match &entry.detail {
                Detail::Everything => elements.push(whole),
                Detail::Ports(ports) => {
                    elements.extend(ports.iter().map(|&dst_ports| Element { dst_ports, ..whole }));
                }
                // Packet keys carry the ICMP type as source port and the code as destination port.
                Detail::Icmp { icmp_type, code } => elements.push(Element {
                    src_ports: PortRange::one(u16::from(*icmp_type)),
                    dst_ports: code.map_or(PortRange::ANY, |code| PortRange::one(u16::from(code))),
                    ..whole
                }),
            }
        }
        elements
    }

    /// The entries of services, those of another protocol than `wanted` left out.
    fn entries_of_services<'a>(
        &'a self,
        services: &'a [usize],
        wanted: Option<u8>,
    ) -> impl Iterator<Item = &'a ServiceEntry> {
        let entries = services.iter().flat_map(|&service| &self.services[service].entries);
        entries.filter(move |entry| wanted.is_none_or(|wanted| wanted == entry.protocol))
    }

    /// Reports rules that can match nothing, and the rule that takes the policy past
    /// [`MAX_ENTRIES`]. Counts without lowering, so that a hostile policy costs no memory.
    pub(super) fn check_size(&self, report: &mut Report<'_>) {
        let mut total = 0u128;
        for rule in &self.rules {
            let before = total;
            let entries = self.entries_of(rule);
            total = total.saturating_add(entries);
            if entries == 0 {
                let message = if self.lacks_protocol(rule) {
                    format!(
                        "rule `{}` matches nothing: it asks for TCP flags, and no service of it \
                         is tcp",
                        rule.id
                    )
                } else {
                    format!(
                        "rule `{}` matches nothing: no combination of its `from`, `to` and \
                         `service` is of one address family",
                        rule.id
                    )
                };
                report.error(rule.place, message);
            }
            if before <= MAX_ENTRIES as u128 && total > MAX_ENTRIES as u128 {
                let message = format!(
                    "rule `{}` takes the policy to {total} combinations of addresses, services \
                     and what else rules ask for; the limit is {MAX_ENTRIES}",
                    rule.id
                );
                report.error(rule.place, message);
            }
        }
    }

    /// Whether no service of `rule` has the protocol that its conditions ask for.
    fn lacks_protocol(&self, rule: &Rule) -> bool {
        let wanted = rule.conditions.protocol();
        let Some(services) = rule.services.as_ref().filter(|_| wanted.is_some()) else {
            return false;
        };
        self.entries_of_services(services, wanted).next().is_none()
    }

    /// How many classifier rules `rule` becomes.
    fn entries_of(&self, rule: &Rule) -> u128 {
        let (from, to) = (self.families_of(&rule.from), self.families_of(&rule.to));
        let service = match &rule.services {
            None => Families { both: 1, ..Families::default() },
            Some(services) => {
                let mut families = Families::default();
                for entry in self.entries_of_services(services, rule.conditions.protocol()) {
                    let elements = match &entry.detail {
                        Detail::Ports(ports) => ports.len() as u128,
                        Detail::Everything | Detail::Icmp { .. } => 1,
                    };
                    families.add(family_of(entry.protocol), elements);
                }
                families
            }
        };
        let all = [from, to, service];
        let of = |pick: fn(&Families) -> u128| all.iter().map(pick).product::<u128>();
        // What suits both families is counted with each of them.
        let combined = of(|f| f.both + f.v4) + of(|f| f.both + f.v6) - of(|f| f.both);
        combined.saturating_mul(rule.conditions.alternatives())
    }

    fn families_of(&self, ends: &[End]) -> Families {
        let mut families = Families::default();
        for end in ends {
            match *end {
                End::Any | End::Zone(_) => families.add(None, 1),
                End::Group(group) => {
                    for address in &self.groups[group].addresses {
                        families.add(family_in(address), 1);
                    }
                }
            }
        }
        families
    }
}

/// How many alternatives suit IPv4 only, IPv6 only, or both.
#[derive(Default)]
struct Families {
    v4: u128,
    v6: u128,
    both: u128,
}

impl Families {
    fn add(&mut self, family: Option<Family>, count: u128) {
        match family {
            None => self.both += count,
            Some(Family::V4) => self.v4 += count,
            Some(Family::V6) => self.v6 += count,
        }
    }
}

fn family_in(address: &AddressMatch) -> Option<Family> {
    match address {
        AddressMatch::Any => None,
        AddressMatch::Prefix { family, .. } | AddressMatch::Range { family, .. } => Some(*family),
        AddressMatch::Set(_) => unreachable!("a policy's addresses are listed one by one"),
    }
}

/// The classifier rule for one combination; `None` where its families contradict each other.
fn combine(from: &Side, to: &Side, service: &Element) -> Option<classifier::Rule> {
    let families = [family_in(&from.address), family_in(&to.address), service.family];
    let mut known = families.into_iter().flatten();
    let family = known.next();
    if known.any(|other| Some(other) != family) {
        return None;
    }
    let src = match (family, &from.address, &to.address) {
        // The addresses leave the family open and the service does not: the source says it.
        (Some(family), AddressMatch::Any, AddressMatch::Any) => {
            AddressMatch::Prefix { family, value: 0, len: 0 }
        }
        (_, address, _) => address.clone(),
    };
    Some(classifier::Rule {
        from_zone: from.zone,
        to_zone: to.zone,
        src,
        dst: to.address.clone(),
        protocol: service.protocol,
        src_ports: service.src_ports,
        dst_ports: service.dst_ports,
        ..classifier::Rule::ANY
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_entries_is_that_of_the_lowering() {
        // Every mixture of families; the limit is kept by counting, which must not lie.
        let text = r#"
version: 1
zones: { z: {} }
hosts:
  v4: { addresses: [10.0.0.1, 10.0.0.2, 10.0.0.3] }
  v6: { addresses: ["fd00::1", "fd00::2"] }
  mixed: { addresses: [10.0.0.1, "fd00::1"] }
services:
  s: [{ protocol: icmp }, { protocol: icmpv6 }, { protocol: tcp, ports: [1, 2, 3] }]
rules:
  - { id: r, from: [z, v4, v6, mixed], to: [z, v4, mixed], service: s, action: allow }
  - { id: c, from: [z, v4, v6, mixed], to: [z, v4, mixed], service: s, action: allow, length: [1, 3-4],
      tcp_flags: [{ set: syn }, { set: fin, clear: [ack] }], dscp: [ef, 0, 1], src_mac: "02:00:00:00:00:01" }
"#;
        let policy = Policy::parse("p.yaml", text).unwrap();
        let lowered = policy.lower(&ZoneMap::of(&policy)).unwrap();
        // IPv4: (1 + 3 + 1) x (1 + 3 + 1) x 4; IPv6: (1 + 2 + 1) x (1 + 1) x 4; both: 1 x 1 x 3.
        assert_eq!(policy.entries_of(&policy.rules[0]), 100 + 32 - 3);
        // TCP alone: 3 of the services; 2 x 2 x 3 conditions.
        let tcp = (5 * 5 + 4 * 2 - 1) * 3 * 12;
        assert_eq!(policy.entries_of(&policy.rules[1]), tcp);
        assert_eq!(lowered.rules.len() as u128, 100 + 32 - 3 + tcp);
    }
}
