//! Addresses that lie: what a packet says of who sent it, held against where it came from.
//!
//! A [`Guard`] is compiled once for each table and judges a packet before flows and rules do: its
//! source (RFC 2827, RFC 3704), addresses that no packet can carry (RFC 6890), the claims of ARP and
//! neighbour discovery (RFC 826, RFC 4861), and who may be a router or a DHCP server (RFC 6105,
//! RFC 7113, RFC 7610). It knows addresses by zone, not by port and MAC address: a host can still
//! take the place of another one of its zone.

mod arp;
mod bogons;
mod config;
mod dhcp;
mod nd;
mod sources;

pub use config::{GuardConfig, Mode, Modes, Senders, Sources, ZoneGuard};

use crate::parse::{Content, IpPacket, Parsed};
use crate::parse::{FrameView, protocol};
use crate::verdict::DropReason;
use bogons::{Class, Registry};
use classifier::{Family, ZoneId};
use nd::Kind;
use sources::{Binding, Bindings, Claim};
use std::net::IpAddr;

/// What is checked of the packets of each zone, compiled.
#[derive(Debug)]
pub struct Guard {
    registry: Registry,
    bindings: Bindings,
    zones: Box<[ZoneChecks]>,
    /// For packets of a zone that the configuration does not have.
    unknown: ZoneChecks,
}

/// [`ZoneGuard`], but for its addresses.
#[derive(Debug)]
struct ZoneChecks {
    modes: Modes,
    routers: Senders,
    dhcp_servers: Senders,
}

impl ZoneChecks {
    fn new(zone: &ZoneGuard) -> Self {
        ZoneChecks {
            modes: zone.modes,
            routers: sorted(&zone.routers),
            dhcp_servers: sorted(&zone.dhcp_servers),
        }
    }
}

fn sorted(senders: &Senders) -> Senders {
    let mut senders = senders.clone();
    if let Senders::Listed(listed) = &mut senders {
        listed.sort_unstable();
    }
    senders
}

/// Whether `address` is one of `senders`, whose list is sorted.
fn permits(senders: &Senders, address: IpAddr) -> bool {
    match senders {
        Senders::Nobody => false,
        Senders::Everybody => true,
        Senders::Listed(listed) => listed.binary_search(&address).is_ok(),
    }
}

/// The transport header of a packet and what follows it.
#[derive(Clone, Copy)]
struct Transport<'a> {
    bytes: &'a [u8],
    /// A capture cut the packet before its end.
    cut: bool,
    /// Ethernet source of the frame; `None` for what came in fragments.
    src_mac: Option<[u8; 6]>,
}

impl<'a> Transport<'a> {
    fn of(packet: &IpPacket, bytes: &'a [u8], src_mac: Option<[u8; 6]>) -> Self {
        let bytes = bytes.get(usize::from(packet.l4_offset)..).unwrap_or_default();
        let length = usize::from(packet.l4_len);
        Transport {
            bytes: bytes.get(..length).unwrap_or(bytes),
            cut: bytes.len() < length,
            src_mac,
        }
    }
}

/// What was found so far: the first reason to drop the packet, or else the first to count it.
#[derive(Default)]
struct Findings(Option<(DropReason, Mode)>);

impl Findings {
    /// Makes `check` where its outcome can still matter.
    #[inline]
    fn check(&mut self, mode: Mode, check: impl FnOnce() -> Option<DropReason>) {
        let matters = match self.0 {
            None => mode != Mode::Off,
            Some((_, Mode::Drop)) => false,
            Some(_) => mode == Mode::Drop,
        };
        if matters && let Some(reason) = check() {
            self.0 = Some((reason, mode));
        }
    }
}

impl Guard {
    /// The guard of `config`, which has at most as many zones as there are numbers for them.
    pub fn new(config: &GuardConfig) -> Self {
        Guard {
            registry: Registry::new(),
            bindings: Bindings::new(&config.zones),
            zones: config.zones.iter().map(ZoneChecks::new).collect(),
            unknown: ZoneChecks::new(&ZoneGuard::default()),
        }
    }

    /// Bytes held by the addresses.
    pub fn memory_usage(&self) -> usize {
        self.bindings.memory_usage()
    }

    /// Why the packet in `frame`, which arrived from `zone`, is not believed, and what to do then:
    /// never [`Mode::Off`]. Of several reasons the first that drops it, or else the first that is
    /// counted.
    ///
    /// Of a part of a datagram only the addresses are judged; the datagram is for
    /// [`judge_reassembled`](Guard::judge_reassembled).
    #[inline]
    pub(crate) fn judge(
        &self,
        zone: ZoneId,
        parsed: &Parsed,
        frame: FrameView<'_>,
    ) -> Option<(DropReason, Mode)> {
        let checks = self.checks(zone);
        let mut findings = Findings::default();
        match &parsed.content {
            Content::Arp(message) => findings.check(checks.modes.arp, || {
                let claim = match arp::claim(message, parsed.src_mac) {
                    Ok(claim) => claim,
                    Err(reason) => return Some(reason),
                };
                match self.claim(zone, Family::V4, claim)? {
                    Fault::OtherZone => Some(DropReason::ArpOtherZone),
                    Fault::Unlisted => Some(DropReason::ArpAddress),
                }
            }),
            Content::Ip(packet) => {
                self.addresses(zone, packet, &mut findings);
                let src_mac = packet.fragment.is_none().then_some(parsed.src_mac);
                if packet.fragment.is_none_or(|fragment| fragment.is_atomic()) {
                    let transport = Transport::of(packet, frame.bytes, src_mac);
                    self.contents(zone, packet, transport, &mut findings);
                }
            }
            Content::Other(_) => {}
        }
        findings.0
    }

    /// The same for a datagram put together from fragments, each of which was judged by its
    /// addresses. `packet` is what was parsed of `datagram`, offsets and all.
    pub(crate) fn judge_reassembled(
        &self,
        zone: ZoneId,
        packet: &IpPacket,
        datagram: &[u8],
    ) -> Option<(DropReason, Mode)> {
        let mut findings = Findings::default();
        self.contents(zone, packet, Transport::of(packet, datagram, None), &mut findings);
        findings.0
    }

    fn checks(&self, zone: ZoneId) -> &ZoneChecks {
        self.zones.get(usize::from(zone.0)).unwrap_or(&self.unknown)
    }

    #[inline]
    fn addresses(&self, zone: ZoneId, packet: &IpPacket, findings: &mut Findings) {
        let modes = &self.checks(zone).modes;
        let source = self.registry.class(packet.family, packet.src);
        let destination = self.registry.class(packet.family, packet.dst);
        let on_link = matches!(destination, Class::LinkLocal | Class::Group)
            || (source == Class::LinkLocal && nd::is_on_link(packet));
        let sourceless = packet.src == 0 && may_lack_source(packet, destination);
        findings.check(modes.bogons, || match (source, destination) {
            (Class::Group, _) => Some(DropReason::GroupSource),
            (Class::Invalid, _) if packet.src == 0 && !sourceless => {
                Some(DropReason::UnspecifiedSource)
            }
            (Class::Invalid, _) if packet.src != 0 => Some(DropReason::BogonSource),
            (_, Class::Invalid) => Some(DropReason::BogonDestination),
            (_, Class::Group) if stays_in_host(packet) => Some(DropReason::BogonDestination),
            (Class::LinkLocal, _) if !on_link => Some(DropReason::LinkLocalSource),
            _ => None,
        });
        // Every IPv6 host has a link-local address besides its zone's (RFC 4291, 2.1).
        let link_local = packet.family == Family::V6 && source == Class::LinkLocal && on_link;
        if sourceless || link_local {
            return;
        }
        if modes.spoofed == Mode::Off && modes.not_global == Mode::Off {
            return;
        }
        let binding = self.bindings.of(zone, packet.family, packet.src);
        findings.check(modes.spoofed, || match binding {
            Binding::Named | Binding::Free => None,
            Binding::OtherZone => Some(DropReason::SourceOtherZone),
            Binding::Unlisted => Some(DropReason::SourceNotInZone),
        });
        findings.check(modes.not_global, || {
            let foreign = source == Class::NotGlobal && binding != Binding::Named;
            foreign.then_some(DropReason::NotGlobalSource)
        });
    }

    #[inline]
    fn contents(
        &self,
        zone: ZoneId,
        packet: &IpPacket,
        transport: Transport<'_>,
        findings: &mut Findings,
    ) {
        match (packet.family, packet.protocol) {
            (Family::V6, protocol::ICMPV6) => self.discovery(zone, packet, transport, findings),
            (_, protocol::UDP) => {
                let checks = self.checks(zone);
                findings.check(checks.modes.dhcp_server, || {
                    match dhcp::is_from_server(packet, transport.bytes) {
                        Some(true) if !permits(&checks.dhcp_servers, source(packet)) => {
                            Some(DropReason::DhcpServer)
                        }
                        None if transport.cut => Some(DropReason::CaptureCut),
                        _ => None,
                    }
                });
            }
            _ => {}
        }
    }

    fn discovery(
        &self,
        zone: ZoneId,
        packet: &IpPacket,
        transport: Transport<'_>,
        findings: &mut Findings,
    ) {
        let checks = self.checks(zone);
        let kind = Kind::of(packet);
        findings.check(checks.modes.router_advertisements, || {
            let advertises = kind == Some(Kind::RouterAdvertisement);
            let unwanted = advertises && !permits(&checks.routers, source(packet));
            unwanted.then_some(DropReason::RouterAdvertisement)
        });
        findings.check(checks.modes.neighbour, || {
            let Some(src_mac) = transport.src_mac else {
                return nd::never_fragmented(packet).then_some(DropReason::NeighbourFragment);
            };
            let kind = kind?;
            if transport.cut {
                return Some(DropReason::CaptureCut);
            }
            let claim = match nd::claim(kind, packet, transport.bytes, src_mac) {
                Ok(claim) => claim?,
                Err(reason) => return Some(reason),
            };
            match self.claim(zone, Family::V6, claim)? {
                Fault::OtherZone => Some(DropReason::NeighbourOtherZone),
                Fault::Unlisted => Some(DropReason::NeighbourAddress),
            }
        });
    }

    /// What is wrong with a claim made in `zone`.
    fn claim(&self, zone: ZoneId, family: Family, claim: Claim) -> Option<Fault> {
        let (Claim::Holds(address) | Claim::Wants(address)) = claim;
        let held = matches!(claim, Claim::Holds(_));
        match (family, self.registry.class(family, address)) {
            (_, Class::Invalid | Class::Group) => held.then_some(Fault::Unlisted),
            (Family::V6, Class::LinkLocal) => None,
            _ => match self.bindings.of(zone, family, address) {
                Binding::Named | Binding::Free => None,
                Binding::OtherZone => Some(Fault::OtherZone),
                // Who wants an address that is not the zone's will not be heard from there, and may
                // learn that somebody has it.
                Binding::Unlisted => held.then_some(Fault::Unlisted),
            },
        }
    }
}

/// Why a claim is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    OtherZone,
    Unlisted,
}

fn source(packet: &IpPacket) -> IpAddr {
    packet.family.ip_addr(packet.src)
}

/// Whether an IPv6 group is of interface-local or of reserved scope (RFC 4291, 2.7): packets to it
/// never leave a host.
fn stays_in_host(packet: &IpPacket) -> bool {
    packet.family == Family::V6 && packet.dst >> 112 & 0x0f <= 1
}

/// Whether a packet to an address of class `destination` may have the unspecified source: from a
/// host that has no address yet.
fn may_lack_source(packet: &IpPacket, destination: Class) -> bool {
    const IGMP: u8 = 2;
    if packet.fragment.is_some() {
        return false;
    }
    match (packet.family, packet.protocol) {
        (Family::V4, protocol::UDP) => dhcp::is_from_client(packet),
        // RFC 3376, 4.2.13.
        (Family::V4, IGMP) => destination == Class::Group,
        (Family::V6, protocol::ICMPV6) => {
            destination == Class::Group && nd::may_lack_source(packet)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
