//! A validated policy: every name resolved, every value in range.

use super::conditions::Conditions;
use crate::diagnostic::Place;
use classifier::{AddressMatch, PortRange, ZoneId};
use dataplane::guard::{Modes, Senders, Sources};
use dataplane::{Action, Established, FragmentMode, Tunnels};

/// A policy in which everything is known to be right. What it allows depends on nothing outside it
/// but the zones' numbers ([`ZoneMap`](super::ZoneMap)).
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) file: String,
    /// The text of the file, for messages that show a line of it.
    pub(crate) text: String,
    pub(crate) zones: Vec<Zone>,
    /// Hosts and networks: both name addresses.
    pub(crate) groups: Vec<Group>,
    pub(crate) services: Vec<Service>,
    pub(crate) rules: Vec<Rule>,
    /// Tunnels whose packets are judged by what they carry.
    pub(crate) inside: Tunnels,
}

/// A side that ports belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Addresses found there. Replay tells by them which side of a capture an address is on. The
    /// gateway knows the zone by the port, and holds the packet's addresses against them.
    pub networks: Vec<AddressMatch>,
    /// Which addresses may be sources there.
    pub sources: Sources,
    /// What is done with packets whose addresses lie.
    pub modes: Modes,
    /// Who may send router advertisements.
    pub routers: Senders,
    /// Who may answer DHCP clients.
    pub dhcp_servers: Senders,
    /// What becomes of fragments that come from there.
    pub fragments: FragmentMode,
}

/// Addresses under one name: a host's or a network's.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its name, shared with no zone and no other group.
    pub(crate) name: String,
    /// Zone that a packet must also come from or go to.
    pub(crate) zone: Option<usize>,
    pub(crate) addresses: Vec<AddressMatch>,
}

/// Kinds of packets under one name.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Its name.
    pub(crate) name: String,
    pub(crate) entries: Vec<ServiceEntry>,
}

/// One IP protocol, and what of it.
#[derive(Clone, Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) protocol: u8,
    pub(crate) detail: Detail,
}

/// What of a protocol a service means.
#[derive(Clone, Debug)]
pub(crate) enum Detail {
    /// All of it.
    Everything,
    /// What goes to these ports.
    Ports(Vec<PortRange>),
    /// Messages of this ICMP or ICMPv6 type, of this code or of all.
    Icmp { icmp_type: u8, code: Option<u8> },
}

/// One end of a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// Anything.
    Any,
    /// Whatever belongs to a zone, an index into [`Policy::zones`].
    Zone(usize),
    /// The addresses of a group, an index into [`Policy::groups`].
    Group(usize),
}

/// One rule. The first that matches a packet decides.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) id: String,
    pub(crate) from: Vec<End>,
    pub(crate) to: Vec<End>,
    /// Indices into [`Policy::services`]; `None` is any service.
    pub(crate) services: Option<Vec<usize>>,
    /// What else it asks for.
    pub(crate) conditions: Conditions,
    pub(crate) action: Action,
    pub(crate) established: Established,
    pub(crate) description: Option<String>,
    pub(crate) place: Place,
}

impl Policy {
    /// The name of the file it came from, as the user gave it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Zones in the order of the file.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Addresses whose zone the policy tells: the zones' own networks, then hosts and networks that
    /// name a zone.
    pub fn located(&self) -> impl Iterator<Item = (AddressMatch, &Zone)> {
        let own =
            self.zones.iter().flat_map(|zone| zone.networks.iter().map(move |n| (n.clone(), zone)));
        let named = self.groups.iter().filter_map(|group| Some((group, &self.zones[group.zone?])));
        own.chain(
            named.flat_map(|(group, zone)| group.addresses.iter().map(move |a| (a.clone(), zone))),
        )
    }

    /// The zone's number where zones are numbered in the order of the file, as
    /// [`ZoneMap::of`](super::ZoneMap::of) does.
    pub fn zone_id(&self, name: &str) -> Option<ZoneId> {
        let index = self.zones.iter().position(|zone| zone.name == name)?;
        u16::try_from(index).ok().map(ZoneId)
    }

    /// Rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    /// Its name, unique in the policy.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it does with a packet that it matches.
    pub fn action(&self) -> Action {
        self.action
    }

    /// What becomes of the flows it allowed when the next policy is published.
    pub fn established(&self) -> Established {
        self.established
    }

    /// What its author says of it.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The line of the policy file on which it begins.
    pub fn line(&self) -> u32 {
        self.place.line
    }
}

/// The word for `established` in policies, JSON and output.
pub const fn established_word(established: Established) -> &'static str {
    match established {
        Established::Recheck => "recheck",
        Established::Keep => "keep",
    }
}
