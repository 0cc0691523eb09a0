//! ARP, neighbour discovery, routers and DHCP servers.

use super::*;
use ArpOperation::{Reply, Request};

const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn arp(operation: ArpOperation, sender_mac: [u8; 6], sender: &str, target: &str) -> Packet {
    let address = |text: &str| u32::from(text.parse::<std::net::Ipv4Addr>().unwrap());
    let message = Arp {
        operation,
        sender_mac,
        sender: address(sender),
        target_mac: [0; 6],
        target: address(target),
    };
    let content = Content::Arp(message);
    let parsed = Parsed { src_mac: MAC, dst_mac: [0xff; 6], vlan: 0, content };
    Packet { parsed, frame: Vec::new() }
}

#[test]
fn arp_speaks_for_its_own_zone() {
    let cases = [
        (CLIENTS, arp(Request, MAC, "10.0.0.1", "10.1.0.1"), None),
        (CLIENTS, arp(Reply, MAC, "10.0.0.1", "10.1.0.1"), None),
        (CLIENTS, arp(Request, OTHER_MAC, "10.0.0.1", "10.1.0.1"), Some(ArpMac)),
        (CLIENTS, arp(Reply, OTHER_MAC, "10.0.0.1", "10.1.0.1"), Some(ArpMac)),
        // A request is believed as much as a reply is.
        (CLIENTS, arp(Request, MAC, "10.2.0.1", "10.1.0.1"), Some(ArpAddress)),
        (CLIENTS, arp(Reply, MAC, "10.2.0.1", "10.1.0.1"), Some(ArpAddress)),
        (CLIENTS, arp(Request, MAC, "10.1.0.1", "10.0.0.1"), Some(ArpOtherZone)),
        (CLIENTS, arp(Reply, MAC, "10.0.9.1", "10.0.0.1"), Some(ArpOtherZone)),
        (SERVERS, arp(Reply, MAC, "10.0.9.1", "10.0.0.1"), None),
        // Gratuitous (RFC 5227, 2.3).
        (CLIENTS, arp(Request, MAC, "10.0.0.1", "10.0.0.1"), None),
        (CLIENTS, arp(Request, MAC, "10.1.0.1", "10.1.0.1"), Some(ArpOtherZone)),
        (CLIENTS, arp(Reply, MAC, "10.1.0.1", "10.1.0.1"), Some(ArpOtherZone)),
        // Probes (RFC 5227, 2.1.1), which are requests.
        (CLIENTS, arp(Request, MAC, "0.0.0.0", "10.0.0.1"), None),
        (CLIENTS, arp(Request, MAC, "0.0.0.0", "169.254.7.7"), None),
        (CLIENTS, arp(Request, MAC, "0.0.0.0", "10.1.0.1"), Some(ArpOtherZone)),
        (CLIENTS, arp(Reply, MAC, "0.0.0.0", "10.0.0.1"), Some(ArpAddress)),
        (OUTSIDE, arp(Reply, MAC, "9.9.9.9", "10.0.0.1"), None),
        (OUTSIDE, arp(Reply, MAC, "10.0.0.1", "10.0.0.2"), Some(ArpOtherZone)),
        // Nobody has these, in any zone.
        (OUTSIDE, arp(Reply, MAC, "127.0.0.1", "10.0.0.1"), Some(ArpAddress)),
        (OUTSIDE, arp(Reply, MAC, "224.0.0.1", "10.0.0.1"), Some(ArpAddress)),
        (OUTSIDE, arp(Reply, MAC, "255.255.255.255", "10.0.0.1"), Some(ArpAddress)),
        (GUESTS, arp(Reply, MAC, "10.0.7.1", "10.0.0.1"), None),
        (GUESTS, arp(Reply, MAC, "10.0.8.1", "10.0.0.1"), Some(ArpOtherZone)),
        (GUESTS, arp(Reply, MAC, "192.168.8.1", "10.0.0.1"), Some(ArpAddress)),
    ];
    for (zone, packet, expected) in cases {
        assert_eq!(dropped(zone, &packet), expected, "zone {}: {:?}", zone.0, packet.parsed);
    }
}

/// A link-layer address option (RFC 4861, 4.6.1).
fn mac_option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

/// An ICMPv6 message: type, code, checksum, four bytes, a target if there is one, options.
fn message(kind: u8, flags: u8, target: Option<&str>, options: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    if let Some(target) = target {
        message.extend(target.parse::<std::net::Ipv6Addr>().unwrap().octets());
    }
    message.extend(options);
    message
}

fn nd(src: &str, dst: &str, message: &[u8]) -> Packet {
    packet(src, dst, protocol::ICMPV6, message)
}

const CLIENT: &str = "2001:db8:1::1";
const SERVER: &str = "2001:db8:2::1";
const SOLICITED_NODE: &str = "ff02::1:ff00:1";

fn solicitation(src: &str, dst: &str, options: &[u8]) -> Packet {
    nd(src, dst, &message(135, 0, Some(CLIENT), options))
}

fn advertisement(src: &str, dst: &str, solicited: bool, target: &str) -> Packet {
    let flags = if solicited { 0x40 } else { 0x20 };
    nd(src, dst, &message(136, flags, Some(target), &mac_option(2, MAC)))
}

#[test]
fn neighbour_messages_are_those_that_a_receiver_takes() {
    let own = mac_option(1, MAC);
    let whole = solicitation(CLIENT, SOLICITED_NODE, &own);
    let cases = [
        (whole.clone(), None),
        // RFC 4861, 7.1.1: hop limit 255, code 0, 24 bytes or more.
        (whole.clone().but(|packet| packet.hop_limit = 254), Some(NeighbourInvalid)),
        (whole.clone().but(|packet| packet.hop_limit = 0), Some(NeighbourInvalid)),
        (whole.clone().but(|packet| packet.dst_port = 1), Some(NeighbourInvalid)),
        (whole.clone().but(|packet| packet.l4_len = 24), None),
        (whole.clone().but(|packet| packet.l4_len = 23), Some(NeighbourInvalid)),
        (whole.clone().but(|packet| packet.l4_len = 0), Some(NeighbourInvalid)),
        // Options have a length, and all of it.
        (whole.clone().but(|packet| packet.l4_len = 25), Some(NeighbourInvalid)),
        (whole.clone().but(|packet| packet.l4_len = 31), Some(NeighbourInvalid)),
        (solicitation(CLIENT, SOLICITED_NODE, &[1, 0, 2, 0, 0, 0, 0, 2]), Some(NeighbourInvalid)),
        (solicitation(CLIENT, SOLICITED_NODE, &[14, 0, 0, 0, 0, 0, 0, 0]), Some(NeighbourInvalid)),
        (solicitation(CLIENT, SOLICITED_NODE, &[14, 1, 0, 0, 0, 0, 0, 0]), None),
        (solicitation(CLIENT, SOLICITED_NODE, &[14, 2, 0, 0, 0, 0, 0, 0]), Some(NeighbourInvalid)),
        // Every option is looked at, and only Ethernet's length is right (RFC 2464, 6).
        (
            solicitation(CLIENT, SOLICITED_NODE, &[&[14, 1, 0, 0, 0, 0, 0, 0], &own[..]].concat()),
            None,
        ),
        (
            solicitation(CLIENT, SOLICITED_NODE, &[&own[..], &mac_option(1, OTHER_MAC)].concat()),
            Some(NeighbourMac),
        ),
        (
            solicitation(CLIENT, SOLICITED_NODE, &[[1, 2].as_slice(), &[0; 14]].concat()),
            Some(NeighbourInvalid),
        ),
        (solicitation(CLIENT, SOLICITED_NODE, &mac_option(1, OTHER_MAC)), Some(NeighbourMac)),
        // The target's option has no place in a solicitation and is ignored (RFC 4861, 7.1.1).
        (solicitation(CLIENT, SOLICITED_NODE, &mac_option(2, OTHER_MAC)), None),
        // The target is no group.
        (
            nd(CLIENT, SOLICITED_NODE, &message(135, 0, Some("ff02::1"), &own)),
            Some(NeighbourInvalid),
        ),
        (nd(CLIENT, SOLICITED_NODE, &message(135, 0, Some("2600::1"), &own)), None),
        // To a solicited neighbour, as a probe (RFC 4861, 7.3.3).
        (solicitation(CLIENT, SERVER, &own), None),
        (solicitation("fe80::1", "fe80::2", &own), None),
        // From a link-local address to a neighbour's global one, which a router does not forward.
        (solicitation("fe80::1", SERVER, &own), None),
        (
            solicitation("fe80::1", SERVER, &own).but(|packet| packet.hop_limit = 254),
            Some(LinkLocalSource),
        ),
        (advertisement("fe80::1", SERVER, true, CLIENT), None),
        (nd("fe80::1", SERVER, &message(128, 0, None, &[])), Some(LinkLocalSource)),
        // Without a source: to the solicited-node address only, without an option of it.
        (solicitation("::", SOLICITED_NODE, &[]), None),
        (solicitation("::", "ff02::1:feff:ffff", &[]), Some(NeighbourInvalid)),
        (solicitation("::", "ff02::1", &[]), Some(NeighbourInvalid)),
        (solicitation("::", SOLICITED_NODE, &own), Some(NeighbourInvalid)),
        (nd("::", "ff02::2", &message(133, 0, None, &[])), None),
        (nd("::", "ff02::2", &message(133, 0, None, &own)), Some(NeighbourInvalid)),
        (nd("fe80::1", "ff02::2", &message(133, 0, None, &own)), None),
        (
            nd("fe80::1", "ff02::2", &message(133, 0, None, &mac_option(1, OTHER_MAC))),
            Some(NeighbourMac),
        ),
        (nd("fe80::1", "ff02::2", &message(133, 0, None, &[])[..7]), Some(NeighbourInvalid)),
        // RFC 4861, 7.1.2: an advertisement to a group answers nobody.
        (advertisement(CLIENT, SERVER, true, CLIENT), None),
        (advertisement(CLIENT, "ff02::1", false, CLIENT), None),
        (advertisement(CLIENT, "ff02::1", true, CLIENT), Some(NeighbourInvalid)),
        (nd(CLIENT, SERVER, &message(136, 0x40, Some("ff02::1"), &[])), Some(NeighbourInvalid)),
        (
            nd(CLIENT, SERVER, &message(136, 0x40, Some(CLIENT), &mac_option(2, OTHER_MAC))),
            Some(NeighbourMac),
        ),
        (nd(CLIENT, SERVER, &message(136, 0x40, Some(CLIENT), &mac_option(1, OTHER_MAC))), None),
        (nd(CLIENT, SERVER, &message(136, 0x40, Some(CLIENT), &[])[..23]), Some(NeighbourInvalid)),
        // Other ICMPv6 is not the guard's.
        (nd(CLIENT, SERVER, &message(128, 0, None, &[])).but(|packet| packet.hop_limit = 64), None),
        (nd(CLIENT, SERVER, &message(132, 0, None, &[])).but(|packet| packet.hop_limit = 1), None),
        (nd(CLIENT, SERVER, &message(138, 0, None, &[])).but(|packet| packet.hop_limit = 64), None),
        // A redirect, whoever sends it.
        (nd("fe80::1", CLIENT, &message(137, 0, Some(CLIENT), &[0; 16])), Some(Redirect)),
    ];
    for (nth, (packet, expected)) in cases.iter().enumerate() {
        assert_eq!(dropped(CLIENTS, packet), *expected, "case {nth}: {:?}", packet.parsed);
    }
}

#[test]
fn neighbours_speak_for_their_own_zone() {
    let cases = [
        (CLIENTS, advertisement(CLIENT, SERVER, true, CLIENT), None),
        (
            CLIENTS,
            advertisement(
                "fe80::1",
                SERVER.replace("2001:db8:2", "fe80").as_str(),
                true,
                "fe80::1",
            ),
            None,
        ),
        (CLIENTS, advertisement(CLIENT, SERVER, true, SERVER), Some(NeighbourOtherZone)),
        (CLIENTS, advertisement("fe80::1", "ff02::1", false, SERVER), Some(NeighbourOtherZone)),
        (CLIENTS, advertisement(CLIENT, SERVER, true, "2600::1"), Some(NeighbourAddress)),
        (SERVERS, advertisement(SERVER, CLIENT, true, SERVER), None),
        (OUTSIDE, advertisement("2600::1", CLIENT, true, "2600::1"), None),
        (OUTSIDE, advertisement("2600::1", CLIENT, true, CLIENT), Some(NeighbourOtherZone)),
        (OUTSIDE, advertisement("2600::1", CLIENT, true, "::1"), Some(NeighbourAddress)),
        (OUTSIDE, advertisement("2600::1", CLIENT, true, "::"), Some(NeighbourAddress)),
        // Duplicate address detection (RFC 4862, 5.4.3): a probe for another's address denies it.
        (CLIENTS, nd("::", SOLICITED_NODE, &message(135, 0, Some(CLIENT), &[])), None),
        (CLIENTS, nd("::", SOLICITED_NODE, &message(135, 0, Some("fe80::1"), &[])), None),
        (
            CLIENTS,
            nd("::", SOLICITED_NODE, &message(135, 0, Some(SERVER), &[])),
            Some(NeighbourOtherZone),
        ),
        (CLIENTS, nd("::", SOLICITED_NODE, &message(135, 0, Some("2600::1"), &[])), None),
        // Asking for another zone's address is what solicitations are for.
        (CLIENTS, nd(CLIENT, SOLICITED_NODE, &message(135, 0, Some(SERVER), &[])), None),
    ];
    for (nth, (zone, packet, expected)) in cases.iter().enumerate() {
        assert_eq!(dropped(*zone, packet), *expected, "case {nth}: {:?}", packet.parsed);
    }
}

#[test]
fn router_advertisements_come_from_where_they_may() {
    let body = [&message(134, 0, None, &[0; 8])[..], &mac_option(1, MAC)].concat();
    let from = |src: &str| nd(src, "ff02::1", &body);
    let cases = [
        (CLIENTS, from("fe80::1"), Some(RouterAdvertisement)),
        (STRANGER, from("fe80::1"), Some(RouterAdvertisement)),
        (SERVERS, from("fe80::9"), None),
        (OUTSIDE, from("fe80::1"), None),
        (OUTSIDE, from("fe80::2"), None),
        (OUTSIDE, from("fe80::3"), Some(RouterAdvertisement)),
        // RFC 4861, 6.1.2.
        (SERVERS, from("2001:db8:2::1"), Some(NeighbourInvalid)),
        (SERVERS, from("fe80::9").but(|packet| packet.hop_limit = 254), Some(NeighbourInvalid)),
        (SERVERS, from("fe80::9").but(|packet| packet.dst_port = 1), Some(NeighbourInvalid)),
        (SERVERS, from("fe80::9").but(|packet| packet.l4_len = 16), None),
        (SERVERS, from("fe80::9").but(|packet| packet.l4_len = 15), Some(NeighbourInvalid)),
        (
            SERVERS,
            nd("fe80::9", "ff02::1", &[&body[..16], &mac_option(1, OTHER_MAC)].concat()),
            Some(NeighbourMac),
        ),
        // What would be ignored anyhow is refused all the same: hosts are known that take it.
        (CLIENTS, from("fe80::1").but(|packet| packet.hop_limit = 64), Some(RouterAdvertisement)),
    ];
    for (nth, (zone, packet, expected)) in cases.iter().enumerate() {
        assert_eq!(dropped(*zone, packet), *expected, "case {nth}: {:?}", packet.parsed);
    }
}

#[test]
fn a_message_behind_extension_headers_is_the_same_message() {
    // RFC 7113, 2.1: destination options before the advertisement.
    let advertisement = message(134, 0, None, &[0; 8]);
    let chain = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &advertisement].concat();
    let hidden = packet("fe80::1", "ff02::1", 60, &chain).but(|packet| {
        // As a parser that followed the chain tells it.
        packet.protocol = protocol::ICMPV6;
        (packet.src_port, packet.dst_port) = (134, 0);
        packet.l4_offset += 8;
        packet.l4_len -= 8;
    });
    assert_eq!(dropped(CLIENTS, &hidden), Some(RouterAdvertisement));
    assert_eq!(dropped(SERVERS, &hidden), None);
}

#[test]
fn neighbour_discovery_does_not_come_in_fragments() {
    let whole =
        |packet: &Packet, zone| packet.judged_whole(&guard(), zone).map(|(reason, _)| reason);
    // RFC 6980, 5.
    for kind in [133, 135, 136, 137, 148] {
        let packet = nd(CLIENT, SERVER, &message(kind, 0, Some(CLIENT), &[]));
        assert_eq!(whole(&packet, CLIENTS), Some(NeighbourFragment), "{kind}");
    }
    for kind in [128, 129, 132, 138, 143, 147, 149] {
        let packet = nd(CLIENT, SERVER, &message(kind, 0, Some(CLIENT), &[]));
        assert_eq!(whole(&packet, CLIENTS), None, "{kind}");
    }
    // Who may not advertise is told so; who may, may not do it in fragments either.
    let advertisement = nd("fe80::1", "ff02::1", &message(134, 0, None, &[0; 8]));
    assert_eq!(whole(&advertisement, CLIENTS), Some(RouterAdvertisement));
    assert_eq!(whole(&advertisement, SERVERS), Some(NeighbourFragment));
    // Nor in one that is all of its datagram (RFC 6946).
    let atomic = |packet: &Packet| packet.clone().but(|packet| packet.fragment = Some(ATOMIC));
    assert_eq!(dropped(SERVERS, &atomic(&advertisement)), Some(NeighbourFragment));
    assert_eq!(dropped(CLIENTS, &atomic(&advertisement)), Some(RouterAdvertisement));
    let echo = nd(CLIENT, SERVER, &message(128, 0, None, &[]));
    assert_eq!(dropped(CLIENTS, &atomic(&echo)), None);
    // Of a fragment only the addresses are judged.
    assert_eq!(dropped(CLIENTS, &advertisement.clone().fragment()), None);
    assert_eq!(dropped(CLIENTS, &tcp(SERVER, CLIENT).fragment()), Some(SourceOtherZone));
}

#[test]
fn dhcp_servers_answer_from_where_they_may() {
    let v4 = |src: &str, ports: (u16, u16), operation: u8| {
        packet(
            src,
            "255.255.255.255",
            protocol::UDP,
            &testing::udp(ports.0, ports.1, &[operation, 1, 6, 0]),
        )
    };
    let v6 = |src: &str, ports: (u16, u16), kind: u8| {
        packet(src, "fe80::9", protocol::UDP, &testing::udp(ports.0, ports.1, &[kind, 0, 0, 1]))
    };
    let cases = [
        // To a client (RFC 2131, 4.1), from whatever port.
        (CLIENTS, v4("10.0.0.1", (67, 68), 2), Some(DhcpServer)),
        (CLIENTS, v4("10.0.0.1", (1067, 68), 2), Some(DhcpServer)),
        (CLIENTS, v4("10.0.0.1", (67, 69), 2), None),
        (SERVERS, v4("10.1.0.1", (67, 68), 2), None),
        (OUTSIDE, v4("9.9.9.67", (67, 68), 2), None),
        (OUTSIDE, v4("9.9.9.66", (67, 68), 2), Some(DhcpServer)),
        (STRANGER, v4("9.9.9.67", (67, 68), 2), Some(DhcpServer)),
        // To a relay: BOOTREPLY is a server's, BOOTREQUEST a client's.
        (CLIENTS, v4("10.0.0.1", (67, 67), 2), Some(DhcpServer)),
        (CLIENTS, v4("10.0.0.1", (67, 67), 1), None),
        (CLIENTS, v4("10.0.0.1", (68, 67), 1), None),
        // RFC 8415, 7.2 and 7.3.
        (CLIENTS, v6("fe80::1", (547, 546), 7), Some(DhcpServer)),
        (CLIENTS, v6("fe80::1", (5547, 546), 7), Some(DhcpServer)),
        (CLIENTS, v6("fe80::1", (547, 545), 7), None),
        (SERVERS, v6("fe80::1", (547, 546), 7), None),
        (OUTSIDE, v6("fe80::67", (547, 546), 7), None),
        (OUTSIDE, v6("fe80::68", (547, 546), 7), Some(DhcpServer)),
        // Each port means something in its own family only.
        (CLIENTS, v6("fe80::1", (67, 68), 2), None),
        (CLIENTS, v4("10.0.0.1", (547, 546), 7), None),
        // TCP is not DHCP.
        (CLIENTS, packet("10.0.0.1", "10.1.0.1", protocol::TCP, &testing::tcp(67, 68, 2)), None),
    ];
    for (nth, (zone, packet, expected)) in cases.iter().enumerate() {
        assert_eq!(dropped(*zone, packet), *expected, "case {nth}: {:?}", packet.parsed);
        // The same in fragments, but for the addresses, which fragments have.
        let whole = packet.judged_whole(&guard(), *zone).map(|(reason, _)| reason);
        assert_eq!(whole, *expected, "case {nth}, put together");
    }
    // To a server or relay, by type: ADVERTISE 2, REPLY 7, RECONFIGURE 10, RELAY-REPL 13.
    for kind in 0..=20 {
        let expected = matches!(kind, 2 | 7 | 10 | 13).then_some(DhcpServer);
        assert_eq!(dropped(CLIENTS, &v6("fe80::1", (547, 547), kind)), expected, "{kind}");
    }
}

#[test]
fn what_a_capture_cut_is_not_guessed_at() {
    let cut = |packet: &Packet, bytes: usize, zone| {
        let frame =
            FrameView { bytes: &packet.frame[..bytes], wire_len: packet.frame.len() as u32 };
        guard().judge(zone, &packet.parsed, frame).map(|(reason, _)| reason)
    };
    let solicitation = solicitation(CLIENT, SOLICITED_NODE, &mac_option(1, MAC));
    assert_eq!(cut(&solicitation, solicitation.frame.len() - 1, CLIENTS), Some(CaptureCut));
    assert_eq!(cut(&solicitation, 54, CLIENTS), Some(CaptureCut));
    let relayed = packet("10.0.0.1", "10.1.0.1", protocol::UDP, &testing::udp(67, 67, &[1, 1]));
    assert_eq!(cut(&relayed, 14 + 20 + 8 + 1, CLIENTS), None);
    assert_eq!(cut(&relayed, 14 + 20 + 8, CLIENTS), Some(CaptureCut));
    let other = packet("10.0.0.1", "10.1.0.1", protocol::UDP, &testing::udp(53, 53, &[1, 1]));
    assert_eq!(cut(&other, 14 + 20 + 8, CLIENTS), None);
}

#[test]
fn no_frame_panics_whatever_the_parser_says_of_it() {
    // Offsets and lengths past the frame, and every length of message.
    let guard = guard();
    for kind in [133u8, 134, 135, 136, 137] {
        for length in 0..48 {
            let mut body = vec![0; length];
            body.iter_mut().take(1).for_each(|first| *first = kind);
            for (offset, claimed) in [(54, length), (54, 9_000), (60_000, 40), (53, length)] {
                let packet = nd("fe80::1", "ff02::1", &body).but(|packet| {
                    packet.l4_offset = offset;
                    packet.l4_len = claimed as u16;
                    packet.src_port = u16::from(kind);
                });
                for zone in [CLIENTS, SERVERS, OUTSIDE] {
                    let _ = packet.judged(&guard, zone);
                    let _ = packet.judged_whole(&guard, zone);
                }
            }
        }
    }
}
