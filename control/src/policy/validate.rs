//! From the file to the model: names resolved, values understood, all errors reported together.

use super::conditions::{self, Conditions};
use super::file::{PolicyFile, RuleFile, ServiceFile, ZoneFile};
use super::guard;
use super::model::{
    Detail, End, Group, Policy, Rule, Service, ServiceEntry, Zone, established_word,
};
use super::values;
use super::zones::MAX_ZONES;
use crate::diagnostic::{Diagnostics, Place, Report, shown};
use crate::protocol::{has_ports, is_icmp};
use crate::yaml::{Entries, Maps, Names, Text, is_name, number};
use classifier::AddressMatch;
use dataplane::{Action, Established, Tunnels};
use serde_saphyr::Spanned;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// The word for everything, which nothing may be called.
const ANY: &str = "any";

/// The model of `file`, which was read from `text`.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn policy(name: &str, text: &str, file: PolicyFile) -> Result<Policy, Diagnostics> {
    let mut report = Report::new(name, text);
    if !report.check_version(file.version.as_ref()) {
        // Another version may mean another language: do not judge it by this one.
        return Err(report.into_diagnostics());
    }
    if file.rules.is_none() {
        let message = "`rules` is missing; to deny everything, write `rules: []`";
        report.error(Place::default(), message);
    }
    let listed = file.rules.unwrap_or_default();
    let mut resolver = Resolver { ends: HashMap::new(), services: HashMap::new(), report };
    let zones = resolver.zones(file.zones);
    let mut groups = Vec::new();
    for (key, host) in entries(file.hosts) {
        resolver.define(&key, What::Host, groups.len());
        groups.push(resolver.group(key, host.zone, &host.addresses, values::address));
    }
    for (key, network) in entries(file.networks) {
        resolver.define(&key, What::Network, groups.len());
        groups.push(resolver.group(key, network.zone, &network.networks, values::network));
    }
    let services = resolver.services(file.services);
    let established = file.established.and_then(|text| resolver.established(&text));
    let rules = resolver.rules(listed, established.unwrap_or_default());
    let mut report = resolver.report;
    let inside = conditions::list(file.inside.as_ref(), values::tunnel, &mut report);
    let inside = inside.into_iter().fold(Tunnels::NONE, Tunnels::with);
    let (file, text) = (name.to_owned(), text.to_owned());
    let policy = Policy { file, text, zones, groups, services, rules, inside };
    if report.is_empty() {
        policy.check_size(&mut report);
    }
    report.finish(policy)
}

fn entries<T>(section: Option<Entries<T>>) -> Vec<(Text, T)> {
    section.map_or_else(Vec::new, |entries| entries.0)
}

/// What an end of a rule can name. All of them share one name space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Zone,
    Host,
    Network,
}

impl What {
    const fn as_str(self) -> &'static str {
        match self {
            What::Zone => "zone",
            What::Host => "host",
            What::Network => "network",
        }
    }
}

/// A name that ends can use.
struct Named {
    what: What,
    /// Into the zones, or into the groups.
    index: usize,
    line: u32,
}

/// The names defined so far, and what is wrong so far.
struct Resolver<'a> {
    ends: HashMap<String, Named>,
    services: HashMap<String, usize>,
    report: Report<'a>,
}

impl Resolver<'_> {
    /// Reports a name that cannot be one.
    fn check_name(&mut self, key: &Text) {
        let name = &key.value;
        if name == ANY {
            self.report.error(key, "`any` is the word for everything and cannot be a name");
        } else if !is_name(name) || !name.bytes().any(|b| b.is_ascii_alphabetic()) {
            let message = format!(
                "`{}` cannot be a name: 1 to 64 of `A-Z a-z 0-9 . _ -`, at least one of them a \
                 letter",
                shown(name)
            );
            self.report.error(key, message);
        }
    }

    fn define(&mut self, key: &Text, what: What, index: usize) {
        self.check_name(key);
        let line = Place::from(key).line;
        if let Some(first) = self.ends.get(&key.value) {
            let message = format!(
                "`{}` is the name of a {} already, on line {}",
                shown(&key.value),
                first.what.as_str(),
                first.line
            );
            self.report.error(key, message);
            return;
        }
        self.ends.insert(key.value.clone(), Named { what, index, line });
    }

    fn zones(&mut self, section: Option<Entries<Option<ZoneFile>>>) -> Vec<Zone> {
        let mut zones: Vec<Zone> = Vec::new();
        let mut owners = HashMap::new();
        for (key, zone) in entries(section) {
            if zones.len() == MAX_ZONES {
                self.report.error(&key, format!("there are more than {MAX_ZONES} zones"));
                break;
            }
            self.define(&key, What::Zone, zones.len());
            let mut networks = Vec::new();
            let zone = zone.unwrap_or_default();
            for text in zone.networks.iter().flat_map(|list| &list.value) {
                let Some(network) = self.value(text, values::network) else { continue };
                let owner = *owners.entry(network.clone()).or_insert(zones.len());
                // An address on two sides would leave replay to guess.
                if let Some(other) = zones.get(owner) {
                    let message = format!("zone `{}` has `{}` already", other.name, text.value);
                    self.report.error(text, message);
                }
                networks.push(network);
            }
            zones.push(guard::zone(&mut self.report, key.value, networks, &zone));
        }
        zones
    }

    fn group(
        &mut self,
        key: Text,
        zone: Option<Text>,
        listed: &Spanned<Vec<Text>>,
        understand: fn(&str) -> Result<AddressMatch, String>,
    ) -> Group {
        if listed.value.is_empty() {
            self.report.error(listed, "the list is empty: the name would stand for nothing");
        }
        let zone = zone.and_then(|zone| self.zone(&zone));
        let addresses = listed.value.iter().filter_map(|t| self.value(t, understand)).collect();
        Group { name: key.value, zone, addresses }
    }

    /// The index of the zone called `name`.
    fn zone(&mut self, name: &Text) -> Option<usize> {
        match self.ends.get(&name.value) {
            Some(Named { what: What::Zone, index, .. }) => return Some(*index),
            Some(named) => {
                let message = format!("`{}` is a {}, not a zone", name.value, named.what.as_str());
                self.report.error(name, message);
            }
            None => {
                let zones = self.ends.iter().filter(|(_, named)| named.what == What::Zone);
                let hint = self.report.hint(&name.value, zones.map(|(zone, _)| zone.as_str()));
                let message = format!("unknown zone `{}`{hint}", shown(&name.value));
                self.report.error(name, message);
            }
        }
        None
    }

    fn services(&mut self, section: Option<Entries<Spanned<Maps<ServiceFile>>>>) -> Vec<Service> {
        let mut services = Vec::new();
        for (key, listed) in entries(section) {
            self.check_name(&key);
            if listed.value.0.is_empty() {
                self.report.error(&listed, "the list is empty: the name would stand for nothing");
            }
            let entries = listed.value.0.iter().filter_map(|entry| self.service_entry(entry));
            let entries = entries.collect();
            self.services.insert(key.value.clone(), services.len());
            services.push(Service { name: key.value, entries });
        }
        services
    }

    fn service_entry(&mut self, file: &ServiceFile) -> Option<ServiceEntry> {
        let protocol = self.value(&file.protocol, values::protocol);
        let icmp_type = file.icmp_type.as_ref().map(|t| (t, self.value(t, |t| number(t, 0..=255))));
        let icmp_code = file.icmp_code.as_ref().map(|t| (t, self.value(t, |t| number(t, 0..=255))));
        let ports = file.ports.as_ref().map(|listed| {
            if listed.value.is_empty() {
                let message = "the list is empty: leave `ports` out to mean all of them";
                self.report.error(listed, message);
            }
            let ports = listed.value.iter().filter_map(|text| self.value(text, values::ports));
            (listed, ports.collect())
        });
        // What follows is about fields that the protocol does not have.
        let protocol = protocol?;
        let mut detail = Detail::Everything;
        if let Some((listed, ports)) = ports {
            if !has_ports(protocol) {
                self.report.error(listed, "only tcp, udp and sctp have `ports`");
            }
            detail = Detail::Ports(ports);
        }
        let icmp = is_icmp(protocol);
        for (text, _) in [&icmp_type, &icmp_code].into_iter().flatten() {
            if !icmp {
                self.report.error(*text, "only icmp and icmpv6 have `type` and `code`");
            }
        }
        match (icmp_type, icmp_code) {
            (Some((_, icmp_type)), code) => {
                let code = code.and_then(|(_, code)| code);
                detail = Detail::Icmp { icmp_type: icmp_type?, code };
            }
            (None, Some((text, _))) if icmp => {
                self.report.error(text, "`code` says nothing without the `type` it belongs to");
            }
            (None, _) => {}
        }
        Some(ServiceEntry { protocol, detail })
    }

    /// What the scalar `text` means; `None` when it means nothing, which is reported.
    fn value<T>(&mut self, text: &Text, understand: fn(&str) -> Result<T, String>) -> Option<T> {
        understand(&text.value).map_err(|message| self.report.error(text, message)).ok()
    }

    /// The rules; one that does not say what becomes of its flows does as `established`.
    fn rules(&mut self, listed: Vec<Spanned<RuleFile>>, established: Established) -> Vec<Rule> {
        let mut lines = HashMap::new();
        let mut rules = Vec::with_capacity(listed.len());
        for file in listed {
            let place = Place::from(&file);
            let mut file = file.value;
            self.check_complete(place, &file);
            let conditions = Conditions::of(&file.take_conditions(), &mut self.report);
            let id = file.id.map_or_else(String::new, |id| self.rule_id(id, &mut lines));
            let from = self.list(file.from, Self::end).unwrap_or_else(|| vec![End::Any]);
            let to = self.list(file.to, Self::end).unwrap_or_else(|| vec![End::Any]);
            let services = self.list(file.service, Self::service);
            let action = file.action.and_then(|text| self.action(&text));
            let own = file.established.and_then(|text| {
                if action == Some(Action::Deny) {
                    let message = "a rule that denies has no flows that could be established";
                    self.report.error(&text, message);
                }
                self.established(&text)
            });
            let established = own.unwrap_or(established);
            let action = action.unwrap_or(Action::Deny);
            let description = file.description.map(|text| self.description(text));
            rules.push(Rule {
                id,
                from,
                to,
                services,
                conditions,
                action,
                established,
                description,
                place,
            });
        }
        rules
    }

    /// Reports the fields that a rule lacks.
    fn check_complete(&mut self, place: Place, file: &RuleFile) {
        let fields = [
            ("id", file.id.is_some()),
            ("from", file.from.is_some()),
            ("to", file.to.is_some()),
            ("service", file.service.is_some()),
            ("action", file.action.is_some()),
        ];
        let missing = fields.iter().filter(|(_, there)| !there).map(|(name, _)| *name);
        let missing = missing.collect::<Vec<_>>().join("`, `");
        if !missing.is_empty() {
            self.report.error(place, format!("this rule lacks `{missing}`"));
        }
    }

    fn rule_id(&mut self, id: Text, lines: &mut HashMap<String, u32>) -> String {
        let name = &id.value;
        if !is_name(name) {
            let message =
                format!("`{}` cannot be an id: 1 to 64 of `A-Z a-z 0-9 . _ -`", shown(name));
            self.report.error(&id, message);
        } else if let Some(first) = lines.get(name) {
            let message = format!("rule `{name}` is there already, on line {first}");
            self.report.error(&id, message);
        } else {
            lines.insert(name.clone(), Place::from(&id).line);
        }
        id.value
    }

    /// What each name of a list means; `None` when the list says `any`.
    fn list<T>(
        &mut self,
        listed: Option<Names>,
        meaning: fn(&mut Self, &Text) -> Option<T>,
    ) -> Option<Vec<T>> {
        let listed = listed?;
        let Some(names) = listed.names else {
            let message = "expected a name or a list of names; a name that looks like a number \
                           or like true or false needs quotes";
            self.report.error(listed.place, message);
            return None;
        };
        if names.is_empty() {
            self.report.error(listed.place, "the list is empty: to mean everything, write `any`");
        }
        if let Some(any) = names.iter().find(|name| name.value == ANY) {
            if names.len() > 1 {
                self.report.error(any, "`any` includes everything else in this list");
            }
            return None;
        }
        let mut seen = HashSet::new();
        let mut meanings = Vec::with_capacity(names.len());
        for name in &names {
            if !seen.insert(name.value.as_str()) {
                let message = format!("`{}` is in this list twice", shown(&name.value));
                self.report.error(name, message);
            }
            meanings.extend(meaning(self, name));
        }
        Some(meanings)
    }

    fn end(&mut self, name: &Text) -> Option<End> {
        if let Some(Named { what, index, .. }) = self.ends.get(&name.value) {
            return Some(match what {
                What::Zone => End::Zone(*index),
                What::Host | What::Network => End::Group(*index),
            });
        }
        let text = shown(&name.value);
        let message = if name.value.parse::<IpAddr>().is_ok() {
            format!("`{text}` is an address; give it a name under `hosts`, and use that here")
        } else if values::network(&name.value).is_ok() {
            format!("`{text}` is a network; give it a name under `networks`, and use that here")
        } else if self.services.contains_key(&name.value) {
            format!("`{text}` is a service, not a zone, host or network")
        } else {
            let hint = self.report.hint(&name.value, self.ends.keys().map(String::as_str));
            format!("unknown zone, host or network `{text}`{hint}")
        };
        self.report.error(name, message);
        None
    }

    fn service(&mut self, name: &Text) -> Option<usize> {
        if let Some(index) = self.services.get(&name.value) {
            return Some(*index);
        }
        let text = shown(&name.value);
        let message = if let Some(named) = self.ends.get(&name.value) {
            format!("`{text}` is a {}, not a service", named.what.as_str())
        } else {
            let hint = self.report.hint(&name.value, self.services.keys().map(String::as_str));
            format!("unknown service `{text}`{hint}")
        };
        self.report.error(name, message);
        None
    }

    fn action(&mut self, text: &Text) -> Option<Action> {
        let choices = [Action::Allow, Action::Deny].map(|action| (action.as_str(), action));
        self.report.word(text, "action", &choices)
    }

    fn established(&mut self, text: &Text) -> Option<Established> {
        let choices = [Established::Recheck, Established::Keep];
        let choices = choices.map(|established| (established_word(established), established));
        self.report.word(text, "way with established flows", &choices)
    }

    fn description(&mut self, text: Text) -> String {
        if text.value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.report.error(&text, "a description cannot hold control characters");
        }
        text.value
    }
}
