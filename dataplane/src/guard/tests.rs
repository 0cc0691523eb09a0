//! The guard against what the RFCs say, rule by rule: one packet that keeps the rule, one that does
//! not.

mod claims;
mod intervals;
mod registry;

use super::*;
use crate::parse::{Arp, ArpOperation, Content, Fragment, IpPacket, L4, Parsed};
use crate::testing;
use DropReason::*;
use classifier::AddressMatch;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const CLIENTS: ZoneId = ZoneId(0);
const SERVERS: ZoneId = ZoneId(1);
const OUTSIDE: ZoneId = ZoneId(2);
const GUESTS: ZoneId = ZoneId(3);
/// A zone that the guard was not told of.
const STRANGER: ZoneId = ZoneId(99);

fn networks(list: &[&str]) -> Vec<AddressMatch> {
    let network = |text: &&str| {
        let (address, len) = text.split_once('/').unwrap();
        AddressMatch::prefix(address.parse().unwrap(), len.parse().unwrap()).unwrap()
    };
    list.iter().map(network).collect()
}

/// All of its datagram.
const ATOMIC: Fragment = Fragment {
    id: 1,
    offset: 0,
    more: false,
    next: protocol::ICMPV6,
    header_len: 48,
    payload_offset: 62,
    payload_len: 8,
};

/// One zone of each kind of sources. The servers have a network within the clients'.
fn zones() -> Vec<ZoneGuard> {
    vec![
        ZoneGuard {
            networks: networks(&["10.0.0.0/16", "2001:db8:1::/48"]),
            sources: Sources::Networks,
            ..ZoneGuard::default()
        },
        ZoneGuard {
            networks: networks(&["10.1.0.0/16", "10.0.9.0/24", "2001:db8:2::/48"]),
            sources: Sources::Networks,
            routers: Senders::Everybody,
            dhcp_servers: Senders::Everybody,
            ..ZoneGuard::default()
        },
        ZoneGuard {
            routers: Senders::Listed(vec!["fe80::2".parse().unwrap(), "fe80::1".parse().unwrap()]),
            dhcp_servers: Senders::Listed(vec![
                "fe80::67".parse().unwrap(),
                "9.9.9.67".parse().unwrap(),
            ]),
            ..ZoneGuard::default()
        },
        ZoneGuard {
            networks: networks(&["192.168.0.0/16"]),
            sources: Sources::Listed(networks(&["10.0.7.0/24", "192.168.7.0/24"])),
            ..ZoneGuard::default()
        },
    ]
}

fn guard() -> Guard {
    Guard::new(&GuardConfig { zones: zones() })
}

/// A frame, and what a parser says of it.
#[derive(Clone)]
struct Packet {
    parsed: Parsed,
    frame: Vec<u8>,
}

/// An IP packet with hop limit 255, and its transport header where its family's header ends.
fn packet(src: &str, dst: &str, protocol: u8, transport: &[u8]) -> Packet {
    let (family, source) = Family::split(src.parse().unwrap());
    let (_, destination) = Family::split(dst.parse().unwrap());
    let short = |at: usize| match transport.get(at..at + 2) {
        Some(bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
        None => 0,
    };
    let (src_port, dst_port) = match protocol {
        protocol::ICMPV6 => (short(0) >> 8, short(0) & 0xff),
        _ => (short(0), short(2)),
    };
    let l4_offset = if family == Family::V4 { 34 } else { 54 };
    let packet = IpPacket {
        src: source,
        dst: destination,
        family,
        protocol,
        dscp: 0,
        hop_limit: 255,
        length: l4_offset - 14 + transport.len() as u16,
        src_port,
        dst_port,
        l4: L4::None,
        fragment: None,
        reassembled: false,
        l4_offset,
        l4_len: transport.len() as u16,
        neighbour_discovery: false,
    };
    Packet {
        parsed: Parsed { src_mac: MAC, dst_mac: [2; 6], vlan: 0, content: Content::Ip(packet) },
        frame: testing::frame(src, dst, protocol, transport),
    }
}

fn tcp(src: &str, dst: &str) -> Packet {
    packet(src, dst, protocol::TCP, &testing::tcp(1024, 80, 2))
}

impl Packet {
    /// The same with another thing in its IP header.
    fn but(mut self, change: impl FnOnce(&mut IpPacket)) -> Packet {
        if let Content::Ip(packet) = &mut self.parsed.content {
            change(packet);
        }
        self
    }

    /// The same as the first fragment of something.
    fn fragment(self) -> Packet {
        self.but(|packet| {
            packet.fragment = Some(Fragment { more: true, ..ATOMIC });
            (packet.src_port, packet.dst_port) = (0, 0);
        })
    }

    fn judged(&self, guard: &Guard, zone: ZoneId) -> Option<(DropReason, Mode)> {
        let wire_len = self.frame.len() as u32;
        guard.judge(zone, &self.parsed, FrameView { bytes: &self.frame, wire_len })
    }

    /// Judged as what fragments were put together to.
    fn judged_whole(&self, guard: &Guard, zone: ZoneId) -> Option<(DropReason, Mode)> {
        let Content::Ip(packet) = &self.parsed.content else { panic!("fragments are of IP") };
        guard.judge_reassembled(zone, packet, &self.frame)
    }
}

/// Why the packet from `zone` is dropped.
#[track_caller]
fn dropped(zone: ZoneId, packet: &Packet) -> Option<DropReason> {
    let (reason, mode) = packet.judged(&guard(), zone)?;
    assert_eq!(mode, Mode::Drop);
    Some(reason)
}

#[test]
fn sources_are_held_to_their_zone() {
    let (v4, v6) = ("9.9.9.9", "2600::9");
    let cases = [
        // The zone's networks, one inside and one outside each end.
        (CLIENTS, "10.0.0.0", v4, None),
        (CLIENTS, "10.0.255.255", v4, None),
        (CLIENTS, "9.255.255.255", v4, Some(SourceNotInZone)),
        (CLIENTS, "10.1.0.0", v4, Some(SourceOtherZone)),
        (CLIENTS, "2001:db8:1::", v6, None),
        (CLIENTS, "2001:db8:1:ffff:ffff:ffff:ffff:ffff", v6, None),
        (CLIENTS, "2001:db8::ffff", v6, Some(SourceNotInZone)),
        (CLIENTS, "2001:db8:2::", v6, Some(SourceOtherZone)),
        // The narrower network of another zone within its own.
        (CLIENTS, "10.0.8.255", v4, None),
        (CLIENTS, "10.0.9.0", v4, Some(SourceOtherZone)),
        (CLIENTS, "10.0.9.255", v4, Some(SourceOtherZone)),
        (CLIENTS, "10.0.10.0", v4, None),
        (SERVERS, "10.0.9.7", v4, None),
        (SERVERS, "10.0.10.0", v4, Some(SourceOtherZone)),
        (SERVERS, "10.2.0.0", v4, Some(SourceNotInZone)),
        // Any but what belongs to others (RFC 2827, 3).
        (OUTSIDE, "9.9.9.9", "10.0.0.1", None),
        (OUTSIDE, "10.2.0.0", "10.0.0.1", None),
        (OUTSIDE, "10.0.0.1", "10.0.0.2", Some(SourceOtherZone)),
        (OUTSIDE, "2001:db8:3::", v6, None),
        (OUTSIDE, "2001:db8:2::1", v6, Some(SourceOtherZone)),
        // A list means what it says: another zone's address if it has it, not its own if not.
        (GUESTS, "10.0.7.255", v4, None),
        (GUESTS, "10.0.8.0", v4, Some(SourceOtherZone)),
        (GUESTS, "192.168.7.1", v4, None),
        (GUESTS, "192.168.8.0", v4, Some(SourceNotInZone)),
        (GUESTS, "2001:db8:3::1", v6, Some(SourceNotInZone)),
        (GUESTS, "2001:db8:1::1", v6, Some(SourceOtherZone)),
        // The list of one zone gives nothing away of another.
        (CLIENTS, "10.0.7.1", v4, None),
        // An unknown zone owns nothing.
        (STRANGER, "9.9.9.9", v4, None),
        (STRANGER, "10.0.0.1", v4, Some(SourceOtherZone)),
    ];
    for (zone, src, dst, expected) in cases {
        assert_eq!(dropped(zone, &tcp(src, dst)), expected, "{src} from zone {}", zone.0);
        // Fragments are held to the same.
        let fragment = tcp(src, dst).fragment();
        assert_eq!(dropped(zone, &fragment), expected, "fragment of {src} from zone {}", zone.0);
    }
}

#[test]
fn link_local_sources_stay_on_their_link() {
    let cases = [
        // RFC 4291, 2.5.6.
        ("fe80::1", "fe80::2", None),
        ("febf:ffff::1", "ff02::1", None),
        ("fe80::1", "ff05::1:3", None),
        ("fe80::1", "2001:db8:1::1", Some(LinkLocalSource)),
        // Just outside fe80::/10, an address like any other.
        ("fec0::1", "2600::1", Some(SourceNotInZone)),
        ("fe7f:ffff::1", "fe80::2", Some(SourceNotInZone)),
    ];
    for (src, dst, expected) in cases {
        assert_eq!(dropped(CLIENTS, &tcp(src, dst)), expected, "{src} to {dst}");
    }
    // RFC 3927, 7. An IPv4 host has one only when it has no other: zones must name it.
    assert_eq!(dropped(OUTSIDE, &tcp("169.254.1.1", "169.254.1.2")), None);
    assert_eq!(dropped(OUTSIDE, &tcp("169.254.1.1", "224.0.0.251")), None);
    assert_eq!(dropped(OUTSIDE, &tcp("169.254.1.1", "255.255.255.255")), None);
    assert_eq!(dropped(OUTSIDE, &tcp("169.254.1.1", "10.0.0.1")), Some(LinkLocalSource));
    assert_eq!(dropped(OUTSIDE, &tcp("169.255.0.1", "10.0.0.1")), None);
    assert_eq!(dropped(CLIENTS, &tcp("169.254.1.1", "169.254.1.2")), Some(SourceNotInZone));
}

#[test]
fn a_packet_of_which_a_capture_does_not_tell_the_zone_can_be_of_any() {
    let from_clients = tcp("10.0.0.1", "9.9.9.9");
    assert_eq!(dropped(STRANGER, &from_clients), Some(SourceOtherZone));
    assert_eq!(dropped(ZoneId::UNKNOWN, &from_clients), None);
    assert_eq!(dropped(ZoneId::UNKNOWN, &tcp("127.0.0.1", "9.9.9.9")), Some(BogonSource));
}

#[test]
fn addresses_that_no_packet_can_carry_are_refused_by_default() {
    let judged = |src: &str, dst: &str| dropped(STRANGER, &packet(src, dst, 47, &[]));
    for src in ["0.0.0.1", "127.0.0.1", "127.255.255.255", "240.0.0.1", "::1", "::ffff:10.0.0.1"] {
        let dst = if src.contains(':') { "2001:4860::2" } else { "9.9.9.9" };
        assert_eq!(judged(src, dst), Some(BogonSource), "{src}");
        assert_eq!(judged(dst, src), Some(BogonDestination), "{src}");
    }
    for src in ["224.0.0.1", "255.255.255.255", "239.255.255.255", "ff02::1", "ff0e::1"] {
        let dst = if src.contains(':') { "2001:4860::2" } else { "9.9.9.9" };
        assert_eq!(judged(src, dst), Some(GroupSource), "{src}");
        assert_eq!(judged(dst, src), None, "{src}");
    }
    // Groups of reserved and interface-local scope, whatever their flags.
    for dst in ["ff00::1", "ff01::1", "ff11::1", "ff30::1"] {
        assert_eq!(judged("2001:4860::2", dst), Some(BogonDestination), "{dst}");
    }
}

#[test]
fn unspecified_sources_are_for_hosts_without_an_address() {
    let discover = |ports: (u16, u16), dst| {
        packet("0.0.0.0", dst, protocol::UDP, &testing::udp(ports.0, ports.1, &[1]))
    };
    let icmpv6 = |kind: u8, dst| {
        let mut message = vec![0; 24];
        message[0] = kind;
        message[8] = 0x20;
        packet("::", dst, protocol::ICMPV6, &message)
    };
    let all_nodes = "ff02::1";
    let cases = [
        // RFC 2131, 4.1: from 68 to 67.
        (discover((68, 67), "255.255.255.255"), None),
        (discover((67, 67), "255.255.255.255"), Some(UnspecifiedSource)),
        (discover((68, 53), "255.255.255.255"), Some(UnspecifiedSource)),
        (discover((68, 67), "255.255.255.255").fragment(), Some(UnspecifiedSource)),
        (tcp("0.0.0.0", "10.0.0.1"), Some(UnspecifiedSource)),
        // RFC 3376, 4.2.13.
        (packet("0.0.0.0", "224.0.0.22", 2, &[0x22; 8]), None),
        (packet("0.0.0.0", "10.0.0.1", 2, &[0x22; 8]), Some(UnspecifiedSource)),
        // RFC 4861, 4.1: router solicitations.
        (icmpv6(133, "ff02::2").but(|packet| packet.l4_len = 8), None),
        // RFC 4862, 5.4.2: to the solicited-node address.
        (icmpv6(135, "ff02::1:ff00:1"), None),
        (icmpv6(136, all_nodes), Some(UnspecifiedSource)),
        (icmpv6(134, all_nodes), Some(UnspecifiedSource)),
        // RFC 3590, RFC 3810, 5.2.13: reports, not queries.
        (icmpv6(131, "ff02::16"), None),
        (icmpv6(132, "ff02::2"), None),
        (icmpv6(143, "ff02::16"), None),
        (icmpv6(130, all_nodes), Some(UnspecifiedSource)),
        (icmpv6(143, "2600::1"), Some(UnspecifiedSource)),
        (icmpv6(128, all_nodes), Some(UnspecifiedSource)),
        (tcp("::", "2001:db8:1::1"), Some(UnspecifiedSource)),
    ];
    for (packet, expected) in cases {
        assert_eq!(dropped(CLIENTS, &packet), expected, "{:?}", packet.parsed);
        assert_eq!(dropped(OUTSIDE, &packet), expected, "{:?}", packet.parsed);
    }
}

#[test]
fn sources_that_are_not_global_can_be_kept_out_of_the_internets_zone() {
    let mut zones = zones();
    zones[2].modes.not_global = Mode::Drop;
    zones[2].networks = networks(&["192.168.1.0/24"]);
    zones[0].modes.not_global = Mode::Drop;
    let guard = Guard::new(&GuardConfig { zones });
    let cases = [
        (OUTSIDE, "9.9.9.9", None),
        (OUTSIDE, "172.15.255.255", None),
        (OUTSIDE, "172.16.0.0", Some(NotGlobalSource)),
        (OUTSIDE, "172.31.255.255", Some(NotGlobalSource)),
        (OUTSIDE, "172.32.0.0", None),
        (OUTSIDE, "198.51.100.7", Some(NotGlobalSource)),
        (OUTSIDE, "2600::1", None),
        (OUTSIDE, "fd00::1", Some(NotGlobalSource)),
        // Named as the zone's.
        (OUTSIDE, "192.168.1.1", None),
        (OUTSIDE, "192.168.2.1", Some(SourceOtherZone)),
        (CLIENTS, "10.0.0.1", None),
        // Off elsewhere.
        (GUESTS, "192.168.7.1", None),
    ];
    for (zone, src, expected) in cases {
        let dst = if src.contains(':') { "2600::9" } else { "9.9.9.8" };
        let found = tcp(src, dst).judged(&guard, zone).map(|(reason, _)| reason);
        assert_eq!(found, expected, "{src} from zone {}", zone.0);
    }
}

#[test]
fn what_is_counted_goes_on_and_what_is_off_is_not_looked_at() {
    // A spoofed source to an address that nobody has: two findings.
    let spoofed = tcp("10.1.0.1", "127.0.0.1");
    let judged = |bogons, spoofing| {
        let mut zones = zones();
        zones[0].modes = Modes { bogons, spoofed: spoofing, ..Modes::default() };
        spoofed.judged(&Guard::new(&GuardConfig { zones }), CLIENTS)
    };
    use Mode::{Count, Drop, Off};
    let cases = [
        (Drop, Drop, Some((BogonDestination, Drop))),
        (Drop, Count, Some((BogonDestination, Drop))),
        // Whatever is dropped is dropped for what drops it.
        (Count, Drop, Some((SourceOtherZone, Drop))),
        (Count, Count, Some((BogonDestination, Count))),
        (Off, Drop, Some((SourceOtherZone, Drop))),
        (Off, Count, Some((SourceOtherZone, Count))),
        (Count, Off, Some((BogonDestination, Count))),
        (Off, Off, None),
    ];
    for (bogons, spoofing, expected) in cases {
        assert_eq!(judged(bogons, spoofing), expected, "{bogons:?} {spoofing:?}");
    }
}

#[test]
fn every_check_follows_its_own_mode() {
    let udp = |dst_port| testing::udp(67, dst_port, &[2]);
    let advertisement = [134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let arp = Content::Arp(Arp {
        operation: ArpOperation::Reply,
        sender_mac: MAC,
        sender: 0x0a01_0001,
        target_mac: [2; 6],
        target: 0x0a00_0001,
    });
    let arp = Packet {
        parsed: Parsed { src_mac: MAC, dst_mac: [2; 6], vlan: 0, content: arp },
        frame: Vec::new(),
    };
    type Pick = fn(&mut Modes) -> &mut Mode;
    let cases: [(Pick, Packet); 6] = [
        (|modes| &mut modes.spoofed, tcp("10.1.0.1", "10.0.0.1")),
        (|modes| &mut modes.bogons, tcp("10.0.0.1", "127.0.0.1")),
        (|modes| &mut modes.arp, arp),
        (|modes| &mut modes.neighbour, packet("fe80::1", "ff02::1", 58, &[133; 8])),
        (
            |modes| &mut modes.router_advertisements,
            packet("fe80::1", "ff02::1", 58, &advertisement),
        ),
        (|modes| &mut modes.dhcp_server, packet("10.0.0.1", "10.0.0.2", 17, &udp(68))),
    ];
    for (nth, (pick, packet)) in cases.iter().enumerate() {
        for mode in Mode::ALL {
            let mut zones = zones();
            *pick(&mut zones[0].modes) = mode;
            let found = packet.judged(&Guard::new(&GuardConfig { zones }), CLIENTS);
            let expected = if mode == Mode::Off { None } else { Some(mode) };
            assert_eq!(found.map(|(_, mode)| mode), expected, "case {nth}, {mode:?}: {found:?}");
        }
    }
}

#[test]
fn other_ethertypes_are_not_the_guards() {
    let parsed = Parsed { src_mac: MAC, dst_mac: MAC, vlan: 0, content: Content::Other(0x88cc) };
    assert_eq!(dropped(CLIENTS, &Packet { parsed, frame: Vec::new() }), None);
}
