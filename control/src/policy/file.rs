//! The policy file as it is written: the YAML's shape and nothing more.
//!
//! Every scalar is kept as text with its place; what the text means is for `validate`.

use super::conditions::{ConditionsFile, FlagsFile};
use crate::yaml::{Entries, Maps, Names, Text, Values};
use serde::Deserialize;
use serde_saphyr::Spanned;

/// A whole policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) version: Option<Text>,
    pub(super) established: Option<Text>,
    pub(super) zones: Option<Entries<Option<ZoneFile>>>,
    pub(super) hosts: Option<Entries<HostFile>>,
    pub(super) networks: Option<Entries<NetworkFile>>,
    pub(super) services: Option<Entries<Spanned<Maps<ServiceFile>>>>,
    pub(super) rules: Option<Vec<Spanned<RuleFile>>>,
    pub(super) inside: Option<Values>,
}

/// `clients: { networks: [...], sources: networks, guard: {...}, fragments: drop }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZoneFile {
    pub(super) networks: Option<Spanned<Vec<Text>>>,
    pub(super) sources: Option<Names>,
    pub(super) guard: Option<ModesFile>,
    pub(super) routers: Option<Names>,
    pub(super) dhcp_servers: Option<Names>,
    pub(super) fragments: Option<Text>,
}

/// `guard: { spoofed: count, not_global: drop }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModesFile {
    pub(super) spoofed: Option<Text>,
    pub(super) bogons: Option<Text>,
    pub(super) not_global: Option<Text>,
    pub(super) arp: Option<Text>,
    pub(super) neighbour: Option<Text>,
    pub(super) router_advertisements: Option<Text>,
    pub(super) dhcp_server: Option<Text>,
}

/// `web: { zone: servers, addresses: [...] }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostFile {
    pub(super) zone: Option<Text>,
    pub(super) addresses: Spanned<Vec<Text>>,
}

/// `office: { zone: clients, networks: [...] }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkFile {
    pub(super) zone: Option<Text>,
    pub(super) networks: Spanned<Vec<Text>>,
}

/// `{ protocol: tcp, ports: [80, 8080-8090] }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceFile {
    pub(super) protocol: Text,
    pub(super) ports: Option<Spanned<Vec<Text>>>,
    #[serde(rename = "type")]
    pub(super) icmp_type: Option<Text>,
    #[serde(rename = "code")]
    pub(super) icmp_code: Option<Text>,
}

/// `{ id: web, from: clients, to: [web], service: [http], action: allow }`
///
/// What is missing is `None` here, so that all rules that lack something are reported together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub(super) id: Option<Text>,
    pub(super) from: Option<Names>,
    pub(super) to: Option<Names>,
    pub(super) service: Option<Names>,
    pub(super) action: Option<Text>,
    pub(super) established: Option<Text>,
    pub(super) description: Option<Text>,
    pub(super) src_mac: Option<Values>,
    pub(super) dst_mac: Option<Values>,
    pub(super) length: Option<Values>,
    pub(super) tcp_flags: Option<Spanned<Maps<FlagsFile>>>,
    pub(super) dscp: Option<Values>,
    pub(super) fragment: Option<Text>,
}

impl RuleFile {
    /// What it asks for besides its ends and service, taken out of it.
    pub(super) fn take_conditions(&mut self) -> ConditionsFile {
        ConditionsFile {
            src_mac: self.src_mac.take(),
            dst_mac: self.dst_mac.take(),
            length: self.length.take(),
            tcp_flags: self.tcp_flags.take(),
            dscp: self.dscp.take(),
            fragment: self.fragment.take(),
        }
    }
}
