//! What the zones say of the addresses in them and of fragments: from the file to the model, and
//! from there to what the data path checks.

use super::file::{ModesFile, ZoneFile};
use super::model::{Policy, Zone};
use super::values;
use crate::diagnostic::{Report, shown};
use crate::yaml::{Names, Text};
use classifier::{AddressMatch, ZoneId};
use dataplane::guard::{GuardConfig, Mode, Modes, Senders, Sources, ZoneGuard};
use dataplane::{FragmentMode, ZoneSettings};
use std::collections::HashSet;
use std::net::IpAddr;

/// The zone that `file` describes. Its networks are understood already.
pub(super) fn zone(
    report: &mut Report<'_>,
    name: String,
    networks: Vec<AddressMatch>,
    file: &ZoneFile,
) -> Zone {
    let listed = file.networks.as_ref().is_some_and(|list| !list.value.is_empty());
    let sources = match &file.sources {
        Some(names) => sources(report, names, listed),
        None if listed => Sources::Networks,
        None => Sources::Any,
    };
    let modes = file.guard.as_ref().map_or_else(Modes::default, |file| modes(report, file));
    let mut senders = |names: &Option<Names>, understand: Understand<IpAddr>| match names {
        Some(names) => senders(report, names, understand),
        None => Senders::Nobody,
    };
    let routers = senders(&file.routers, router);
    let dhcp_servers = senders(&file.dhcp_servers, address);
    let fragments = file.fragments.as_ref().and_then(|text| {
        let choices = [("reassemble", FragmentMode::Reassemble), ("drop", FragmentMode::Drop)];
        report.word(text, "way with fragments", &choices)
    });
    let fragments = fragments.unwrap_or_default();
    Zone { name, networks, sources, modes, routers, dhcp_servers, fragments }
}

type Understand<T> = fn(&str) -> Result<T, String>;

/// `networks`, `any`, or prefixes.
fn sources(report: &mut Report<'_>, names: &Names, networks_listed: bool) -> Sources {
    const WORDS: [&str; 2] = ["networks", "any"];
    match word(names) {
        Some("any") => Sources::Any,
        Some("networks") if networks_listed => Sources::Networks,
        Some("networks") => {
            let message = "this zone has no `networks` to take its sources from: list them, or \
                           write `sources: any`";
            report.error(names.place, message);
            Sources::Any
        }
        _ => {
            let empty = "the list is empty: no packet could come from this zone; to let every \
                         source in, write `any`";
            Sources::Listed(list(report, names, WORDS, values::network, empty))
        }
    }
}

/// `allowed`, or addresses.
fn senders(report: &mut Report<'_>, names: &Names, understand: Understand<IpAddr>) -> Senders {
    const ALLOWED: &str = "allowed";
    if word(names) == Some(ALLOWED) {
        return Senders::Everybody;
    }
    let empty = "the list is empty: to allow nobody, leave the key out";
    Senders::Listed(list(report, names, [ALLOWED], understand, empty))
}

/// The name, if it is one only.
fn word(names: &Names) -> Option<&str> {
    match names.names.as_deref()? {
        [name] => Some(&name.value),
        _ => None,
    }
}

/// What the elements of a list mean. None is one of `words`, which stand alone.
fn list<const N: usize, T>(
    report: &mut Report<'_>,
    names: &Names,
    words: [&str; N],
    understand: Understand<T>,
    empty: &str,
) -> Vec<T> {
    let Some(listed) = &names.names else {
        report.error(names.place, format!("expected one of {}", known(words)));
        return Vec::new();
    };
    if listed.is_empty() {
        report.error(names.place, empty);
    }
    let mut seen = HashSet::new();
    let mut meanings = Vec::with_capacity(listed.len());
    for text in listed {
        let name = text.value.as_str();
        if words.contains(&name) {
            report.error(text, format!("`{name}` stands alone, without a list"));
            continue;
        }
        if !seen.insert(name) {
            report.error(text, format!("`{}` is in this list twice", shown(name)));
        }
        match understand(name) {
            Ok(meaning) => meanings.push(meaning),
            // Meant for one of the words: that it is no address says nothing to its author.
            Err(_) if name.bytes().all(|b| b.is_ascii_alphabetic()) => {
                let hint = report.hint(name, words);
                let message = format!("`{}` is none of {}{hint}", shown(name), known(words));
                report.error(text, message);
            }
            Err(message) => report.error(text, message),
        }
    }
    meanings
}

/// What can be written in place of a list, and the list.
fn known<const N: usize>(words: [&str; N]) -> String {
    words.map(|word| format!("`{word}`, ")).concat() + "a list of addresses"
}

fn modes(report: &mut Report<'_>, file: &ModesFile) -> Modes {
    let default = Modes::default();
    let mut mode = |text: &Option<Text>, default| match text {
        Some(text) => mode(report, text),
        None => default,
    };
    Modes {
        spoofed: mode(&file.spoofed, default.spoofed),
        bogons: mode(&file.bogons, default.bogons),
        not_global: mode(&file.not_global, default.not_global),
        arp: mode(&file.arp, default.arp),
        neighbour: mode(&file.neighbour, default.neighbour),
        router_advertisements: mode(&file.router_advertisements, default.router_advertisements),
        dhcp_server: mode(&file.dhcp_server, default.dhcp_server),
    }
}

fn mode(report: &mut Report<'_>, text: &Text) -> Mode {
    report.word(text, "mode", &Mode::ALL.map(|mode| (mode.as_str(), mode))).unwrap_or_default()
}

/// One address.
fn address(text: &str) -> Result<IpAddr, String> {
    // It says what is wrong with it.
    values::address(text)?;
    text.parse().map_err(|_| format!("`{}` is not an IPv4 or IPv6 address", shown(text)))
}

/// The address of a router, as the source of its advertisements (RFC 4861, 6.1.2).
fn router(text: &str) -> Result<IpAddr, String> {
    match address(text)? {
        IpAddr::V6(address) if address.is_unicast_link_local() => Ok(IpAddr::V6(address)),
        _ => Err(format!(
            "`{text}` is not in `fe80::/10`, and routers advertise from their link-local address \
             (RFC 4861): write that"
        )),
    }
}

impl Policy {
    /// What the data path is told of each zone besides the rules, with the zones numbered as in
    /// `ids`: dense from 0.
    ///
    /// To a zone belong its networks, and the hosts and networks that name it.
    pub(crate) fn zone_settings(&self, ids: &[ZoneId]) -> ZoneSettings {
        let count = self.zones.len();
        let mut guard = GuardConfig { zones: vec![ZoneGuard::default(); count] };
        let mut fragments = vec![FragmentMode::default(); count];
        for (zone, id) in self.zones.iter().zip(ids) {
            guard.zones[usize::from(id.0)] = ZoneGuard {
                networks: zone.networks.clone(),
                sources: zone.sources.clone(),
                modes: zone.modes,
                routers: zone.routers.clone(),
                dhcp_servers: zone.dhcp_servers.clone(),
            };
            fragments[usize::from(id.0)] = zone.fragments;
        }
        for group in &self.groups {
            if let Some(zone) = group.zone {
                let networks = &mut guard.zones[usize::from(ids[zone].0)].networks;
                networks.extend(group.addresses.iter().cloned());
            }
        }
        ZoneSettings { guard, fragments }
    }
}
