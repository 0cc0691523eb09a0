//! Ethernet, VLAN tags and ARP.

use super::*;
use crate::parse::arp::ArpOperation;
use testing::arp;

const OTHER: u16 = 0x1234;

#[test]
fn fourteen_bytes_are_an_ethernet_header_and_thirteen_are_not() {
    let bytes = ethernet(&[], OTHER, &[]);
    let expected = Parsed {
        dst_mac: [2, 0, 0, 0, 0, 1],
        src_mac: [2, 0, 0, 0, 0, 2],
        vlan: 0,
        content: Content::Other(OTHER),
    };
    assert_eq!(whole(&bytes), Ok(expected));
    assert_eq!(refused(&bytes[..13]), D::EthernetHeader);
    assert_eq!(refused(&[]), D::EthernetHeader);
}

#[test]
fn a_frame_is_as_long_as_is_configured() {
    let frame = |len: usize| ethernet(&[], OTHER, &vec![0; len - ETHERNET]);
    assert!(whole(&frame(9216)).is_ok());
    assert_eq!(refused(&frame(9217)), D::FrameTooLong);
    let options = ParseOptions { max_frame: 1518, ..STRICT };
    assert!(by(&options, &frame(1518)).is_ok());
    assert_eq!(by(&options, &frame(1519)), Err(D::FrameTooLong));
    // On the wire, whatever a capture left of it.
    let cut = FrameView { bytes: &frame(100), wire_len: 1519 };
    assert_eq!(parse(cut, &options), Err(D::FrameTooLong));
}

#[test]
fn a_source_address_is_one_station() {
    let bytes = ethernet(&[], OTHER, &[]);
    let from = |mac: [u8; 6]| whole(&spoilt(&bytes, 6, &mac)).map(|parsed| parsed.src_mac);
    for mac in [[0, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0], [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(from(mac), Ok(mac));
    }
    for mac in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
        assert_eq!(from(mac), Err(D::SourceMac), "{mac:02x?}");
    }
    // A destination may be a group.
    assert!(whole(&spoilt(&bytes, 0, &[0xff; 6])).is_ok());
}

#[test]
fn a_vlan_tag_cut_in_the_middle_is_a_short_ethernet_header() {
    let bytes = ethernet(&[7], OTHER, &[]);
    assert_eq!(whole(&bytes).map(|parsed| parsed.vlan), Ok(7));
    for len in 14..18 {
        assert_eq!(refused(&bytes[..len]), D::EthernetHeader, "{len} bytes");
    }
}

#[test]
fn two_vlan_tags_are_read_outer_high_and_three_are_too_many() {
    let read = |vlans: &[u16]| {
        let parsed = whole(&ethernet(vlans, OTHER, &[]))?;
        Ok((parsed.vlan, outer_vlan(parsed.vlan)))
    };
    assert_eq!(read(&[]), Ok((0, 0)));
    assert_eq!(read(&[5]), Ok((5, 5)));
    assert_eq!(read(&[5, 6]), Ok((5 << 16 | 6, 5)));
    assert_eq!(read(&[4094]), Ok((4094, 4094)));
    // Priority and drop eligibility are no part of the identifier.
    assert_eq!(read(&[0xf005]), Ok((5, 5)));
    assert_eq!(read(&[5, 6, 7]), Err(D::VlanDepth));
}

#[test]
fn a_priority_tag_names_no_vlan_and_has_no_tag_inside() {
    let read = |vlans: &[u16]| whole(&ethernet(vlans, OTHER, &[])).map(|parsed| parsed.vlan);
    assert_eq!(read(&[0xe000]), Ok(0));
    assert_eq!(read(&[5, 0]), Ok(5 << 16));
    for inner in [0, 5] {
        assert_eq!(read(&[0xe000, inner]), Err(D::VlanTag));
    }
}

#[test]
fn the_reserved_vlan_identifier_is_refused_in_either_tag() {
    let read = |vlans: &[u16]| whole(&ethernet(vlans, OTHER, &[])).map(|parsed| parsed.vlan);
    for vlans in [&[0xfff][..], &[0x1fff], &[0xfff, 5], &[5, 0xfff]] {
        assert_eq!(read(vlans), Err(D::VlanTag), "{vlans:x?}");
    }
    assert_eq!(read(&[0xffe, 0xffe]), Ok(0xffe << 16 | 0xffe));
}

#[test]
fn what_stands_behind_tags_is_judged_in_its_vlan_and_never_as_if_untagged() {
    let (ethertype, packet) =
        ip(SRC.parse().expect("an address"), DST.parse().expect("an address"), 17, &udp(1, 2, &[]));
    for (tags, vlan) in [(&[][..], 0), (&[7][..], 7), (&[7, 8][..], 7 << 16 | 8)] {
        let parsed = whole(&ethernet(tags, ethertype, &packet)).expect("it is right");
        assert_eq!(parsed.vlan, vlan);
        let read = packet_of(Ok(parsed));
        assert_eq!((read.dst_port, usize::from(read.l4_offset)), (2, 14 + 4 * tags.len() + 20));
    }
}

#[test]
fn the_tag_of_old_switches_and_802_3_lengths_are_other_ethertypes() {
    for ethertype in [0x9100, 0x9200, 46, 0x05ff, 0] {
        let bytes = ethernet(&[], ethertype, &[0x42; 46]);
        assert_eq!(whole(&bytes).map(|p| p.content), Ok(Content::Other(ethertype)));
    }
}

#[test]
fn arp_is_read_whole() {
    let packet = arp(2, [10, 0, 0, 1], [10, 0, 0, 2]);
    let expected = Arp {
        operation: ArpOperation::Reply,
        sender_mac: [2, 0, 0, 0, 0, 2],
        sender: 0x0a00_0001,
        target_mac: [2, 0, 0, 0, 0, 1],
        target: 0x0a00_0002,
    };
    let read = |packet: &[u8]| whole(&ethernet(&[], 0x0806, packet)).map(|p| p.content);
    assert_eq!(read(&packet), Ok(Content::Arp(expected)));
    let padded = [&packet[..], &[0; 18]].concat();
    assert_eq!(read(&padded), Ok(Content::Arp(expected)));
    let asked = Arp { operation: ArpOperation::Request, ..expected };
    assert_eq!(read(&spoilt(&packet, 7, &[1])), Ok(Content::Arp(asked)));
    assert_eq!(read(&packet[..27]), Err(D::ArpHeader));
    // Hardware type, protocol type, their lengths, operation.
    let wrong = [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 0), (7, 3), (6, 1)];
    for (at, byte) in wrong {
        assert_eq!(read(&spoilt(&packet, at, &[byte])), Err(D::ArpHeader), "{at}");
    }
}
