//! Every way the parser can refuse a packet, next to the nearest packet that it accepts.

mod oracle;

use super::*;
use crate::testing::{ethernet, frame, icmp, ip, tcp, udp};
use DropReason as D;

const ETHERNET: usize = 14;
const SRC: &str = "10.0.0.1";
const DST: &str = "10.0.0.2";
const SRC6: &str = "fd00::1";
const DST6: &str = "fd00::2";

fn whole(bytes: &[u8]) -> Result<Parsed, DropReason> {
    parse(FrameView { bytes, wire_len: bytes.len() as u32 })
}

/// The IP headers of a frame that must be accepted.
fn accepted(bytes: &[u8]) -> IpPacket {
    match whole(bytes) {
        Ok(Parsed { content: Content::Ip(packet), .. }) => packet,
        other => panic!("{other:?}"),
    }
}

fn refused(bytes: &[u8]) -> DropReason {
    whole(bytes).expect_err("the packet is wrong")
}

/// `frame` with the bytes at `at` replaced.
fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = frame.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

/// An IPv6 extension header of 8 bytes.
fn extension(next: u8) -> Vec<u8> {
    vec![next, 0, 1, 4, 0, 0, 0, 0]
}

/// A frame with a chain of 8-byte extension headers before `payload`.
fn chain(headers: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for next in headers.iter().skip(1).chain(std::iter::once(&protocol)) {
        bytes.extend(extension(*next));
    }
    bytes.extend(payload);
    frame(SRC6, DST6, *headers.first().unwrap_or(&protocol), &bytes)
}

#[test]
fn fourteen_bytes_are_an_ethernet_header_and_thirteen_are_not() {
    let bytes = ethernet(&[], 0x1234, &[]);
    assert_eq!(whole(&bytes), Ok(Parsed { vlan: 0, content: Content::Other(0x1234) }));
    assert_eq!(refused(&bytes[..13]), D::EthernetHeader);
    assert_eq!(refused(&[]), D::EthernetHeader);
}

#[test]
fn a_vlan_tag_cut_in_the_middle_is_a_short_ethernet_header() {
    let bytes = ethernet(&[7], 0x0806, &[]);
    assert_eq!(whole(&bytes), Ok(Parsed { vlan: 7, content: Content::Arp }));
    for len in 14..18 {
        assert_eq!(refused(&bytes[..len]), D::EthernetHeader, "{len} bytes");
    }
}

#[test]
fn two_vlan_tags_are_read_outer_high_and_three_are_too_many() {
    let vlan = |vlans: &[u16]| whole(&ethernet(vlans, 0x0806, &[])).map(|parsed| parsed.vlan);
    assert_eq!(vlan(&[]), Ok(0));
    assert_eq!(vlan(&[5]), Ok(5));
    assert_eq!(vlan(&[5, 6]), Ok(5 << 16 | 6));
    // Priority and drop eligibility are no part of the identifier.
    assert_eq!(vlan(&[0xf005]), Ok(5));
    assert_eq!(vlan(&[5, 6, 7]), Err(D::VlanDepth));
}

#[test]
fn an_802_3_length_is_another_ethertype() {
    let bytes = ethernet(&[], 46, &[0x42; 46]);
    assert_eq!(whole(&bytes).map(|parsed| parsed.content), Ok(Content::Other(46)));
}

#[test]
fn the_headers_of_a_tcp_packet_are_read() {
    let packet = accepted(&frame(SRC, DST, 6, &tcp(1234, 80, 0x12)));
    assert_eq!((packet.src, packet.dst), (0x0a00_0001, 0x0a00_0002));
    assert_eq!((packet.family, packet.protocol), (Family::V4, 6));
    assert_eq!((packet.src_port, packet.dst_port, packet.tcp_flags), (1234, 80, 0x12));
    assert_eq!((packet.echo, packet.neighbour_discovery), (None, false));
}

#[test]
fn an_ipv4_version_or_header_length_that_is_wrong_is_refused() {
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[]));
    accepted(&bytes);
    for first in [0x65, 0x44, 0x40] {
        assert_eq!(refused(&with(&bytes, ETHERNET, &[first])), D::Ipv4Header);
    }
    assert_eq!(refused(&bytes[..ETHERNET + 19]), D::Ipv4Header);
}

#[test]
fn an_ipv4_total_length_lies_between_header_and_frame() {
    // 8 bytes of padding behind the packet.
    let mut bytes = frame(SRC, DST, 47, &[]);
    bytes.extend([0; 8]);
    let length = |length: u16| whole(&with(&bytes, ETHERNET + 2, &length.to_be_bytes()));
    assert_eq!(length(19), Err(D::Ipv4Length));
    assert!(length(20).is_ok());
    assert!(length(28).is_ok());
    assert_eq!(length(29), Err(D::Ipv4Length));
}

#[test]
fn ipv4_options_are_skipped_and_must_fit_the_total_length() {
    let mut payload = vec![1, 1, 1, 1];
    payload.extend(udp(5, 6, &[]));
    let bytes = with(&frame(SRC, DST, 17, &payload), ETHERNET, &[0x46]);
    assert_eq!(accepted(&bytes).dst_port, 6);
    let too_short = with(&bytes, ETHERNET + 2, &23u16.to_be_bytes());
    assert_eq!(refused(&too_short), D::Ipv4Length);
}

#[test]
fn a_fragment_has_more_fragments_or_an_offset() {
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[]));
    let flags = |flags: u16| whole(&with(&bytes, ETHERNET + 6, &flags.to_be_bytes()));
    // None, Don't Fragment, the reserved bit.
    for whole in [0, 0x4000, 0x8000] {
        assert!(flags(whole).is_ok(), "{whole:#x}");
    }
    for fragment in [0x2000, 0x0001, 0x1fff] {
        assert_eq!(flags(fragment), Err(D::Fragment), "{fragment:#x}");
    }
}

#[test]
fn an_ipv6_version_that_is_wrong_or_a_header_cut_off_is_refused() {
    let bytes = frame(SRC6, DST6, 17, &udp(1, 2, &[]));
    assert_eq!(accepted(&bytes).src, 0xfd00_u128 << 112 | 1);
    assert_eq!(refused(&with(&bytes, ETHERNET, &[0x40])), D::Ipv6Header);
    assert_eq!(refused(&bytes[..ETHERNET + 39]), D::Ipv6Header);
}

#[test]
fn an_ipv6_payload_length_fits_the_frame_and_is_no_jumbogram() {
    let bytes = frame(SRC6, DST6, 59, &[0; 8]);
    let length = |length: u16| whole(&with(&bytes, ETHERNET + 4, &length.to_be_bytes()));
    assert!(length(8).is_ok());
    assert!(length(0).is_ok());
    assert_eq!(length(9), Err(D::Ipv6Length));
    let jumbogram = with(&chain(&[0], 59, &[]), ETHERNET + 4, &[0, 0]);
    assert_eq!(refused(&jumbogram), D::Ipv6Length);
}

#[test]
fn extension_headers_are_followed_to_the_transport_header() {
    for headers in [&[0][..], &[60], &[43], &[0, 60, 43, 60], &[135], &[139], &[140]] {
        let packet = accepted(&chain(headers, 17, &udp(7, 8, &[])));
        assert_eq!((packet.protocol, packet.src_port, packet.dst_port), (17, 7, 8), "{headers:?}");
    }
    // A longer one.
    let mut long = vec![17, 1];
    long.extend([0; 14]);
    long.extend(udp(7, 8, &[]));
    assert_eq!(accepted(&frame(SRC6, DST6, 60, &long)).dst_port, 8);
}

#[test]
fn eight_extension_headers_are_followed_and_nine_are_too_many() {
    assert_eq!(accepted(&chain(&[60; 8], 17, &udp(7, 8, &[]))).dst_port, 8);
    assert_eq!(refused(&chain(&[60; 9], 17, &udp(7, 8, &[]))), D::Ipv6Extensions);
}

#[test]
fn a_hop_by_hop_header_comes_first_or_not_at_all() {
    accepted(&chain(&[0, 60], 17, &udp(1, 2, &[])));
    assert_eq!(refused(&chain(&[60, 0], 17, &udp(1, 2, &[]))), D::Ipv6Extensions);
    assert_eq!(refused(&chain(&[0, 0], 17, &udp(1, 2, &[]))), D::Ipv6Extensions);
}

#[test]
fn an_extension_header_longer_than_the_packet_is_refused() {
    let bytes = chain(&[60], 59, &[]);
    accepted(&bytes);
    assert_eq!(refused(&with(&bytes, ETHERNET + 41, &[1])), D::Ipv6Extensions);
    assert_eq!(refused(&with(&bytes, ETHERNET + 4, &[0, 7])), D::Ipv6Extensions);
}

#[test]
fn an_ipv6_fragment_header_is_a_fragment_wherever_it_stands() {
    assert_eq!(refused(&chain(&[44], 17, &udp(1, 2, &[]))), D::Fragment);
    assert_eq!(refused(&chain(&[0, 44], 17, &udp(1, 2, &[]))), D::Fragment);
}

#[test]
fn a_tcp_header_is_whole_and_its_data_offset_fits() {
    for (src, dst) in [(SRC, DST), (SRC6, DST6)] {
        let header = tcp(1, 2, 2);
        accepted(&frame(src, dst, 6, &header));
        assert_eq!(refused(&frame(src, dst, 6, &header[..19])), D::TcpHeader);
        for offset in [0x00, 0x40, 0x60] {
            assert_eq!(refused(&frame(src, dst, 6, &with(&header, 12, &[offset]))), D::TcpHeader);
        }
        let mut options = with(&header, 12, &[0x60]);
        options.extend([1; 4]);
        accepted(&frame(src, dst, 6, &options));
    }
}

#[test]
fn a_udp_header_is_whole_and_its_length_fits() {
    for (src, dst) in [(SRC, DST), (SRC6, DST6)] {
        let datagram = udp(1, 2, &[9; 4]);
        assert_eq!(refused(&frame(src, dst, 17, &datagram[..7])), D::UdpHeader);
        let length =
            |length: u16| whole(&frame(src, dst, 17, &with(&datagram, 4, &length.to_be_bytes())));
        assert!(length(8).is_ok());
        assert!(length(12).is_ok());
        for wrong in [0, 7, 13] {
            assert_eq!(length(wrong), Err(D::UdpHeader), "{wrong}");
        }
    }
}

#[test]
fn an_sctp_common_header_has_twelve_bytes() {
    let mut header = vec![0, 5, 0, 6];
    header.extend([0; 8]);
    let packet = accepted(&frame(SRC, DST, 132, &header));
    assert_eq!((packet.src_port, packet.dst_port), (5, 6));
    assert_eq!(refused(&frame(SRC, DST, 132, &header[..11])), D::SctpHeader);
}

#[test]
fn an_icmp_header_has_eight_bytes_and_echoes_are_told_apart() {
    for (src, dst, protocol, request, reply) in [(SRC, DST, 1, 8, 0), (SRC6, DST6, 58, 128, 129)] {
        let echo = |kind, code| accepted(&frame(src, dst, protocol, &icmp(kind, code, 77)));
        assert_eq!(echo(request, 0).echo, Some(Echo { request: true, id: 77 }));
        assert_eq!(echo(reply, 0).echo, Some(Echo { request: false, id: 77 }));
        assert_eq!(echo(request, 1).echo, None, "an echo has code 0");
        let unreachable = echo(3, 1);
        assert_eq!((unreachable.src_port, unreachable.dst_port), (3, 1));
        assert_eq!(unreachable.echo, None);
        let short = frame(src, dst, protocol, &icmp(request, 0, 77)[..7]);
        assert_eq!(refused(&short), D::IcmpHeader);
    }
}

#[test]
fn icmp_of_the_other_family_is_a_protocol_like_any_other() {
    for bytes in [frame(SRC, DST, 58, &icmp(128, 0, 1)), frame(SRC6, DST6, 1, &icmp(8, 0, 1))] {
        let packet = accepted(&bytes);
        assert_eq!((packet.src_port, packet.dst_port, packet.echo), (0, 0, None));
    }
}

#[test]
fn neighbour_discovery_has_hop_limit_255_code_0_and_a_whole_target() {
    let message = |kind, code, hop_limit, target: usize| {
        let mut payload = icmp(kind, code, 0);
        payload.resize(8 + target, 0);
        let bytes = frame(SRC6, DST6, 58, &payload);
        accepted(&with(&bytes, ETHERNET + 7, &[hop_limit])).neighbour_discovery
    };
    assert!(message(135, 0, 255, 16));
    assert!(message(136, 0, 255, 24));
    assert!(!message(135, 0, 64, 16));
    assert!(!message(135, 0, 254, 16));
    assert!(!message(135, 1, 255, 16));
    assert!(!message(135, 0, 255, 15));
    // Routers' messages, redirects and echoes are the policy's.
    for kind in [133, 134, 137, 128] {
        assert!(!message(kind, 0, 255, 16), "{kind}");
    }
}

#[test]
fn neighbour_discovery_behind_an_extension_header_is_judged_by_the_policy() {
    let mut payload = icmp(135, 0, 0);
    payload.resize(24, 0);
    let bytes = with(&chain(&[60], 58, &payload), ETHERNET + 7, &[255]);
    assert!(!accepted(&bytes).neighbour_discovery);
}

#[test]
fn padding_behind_the_packet_is_not_looked_at() {
    for (src, dst) in [(SRC, DST), (SRC6, DST6)] {
        let short = frame(src, dst, 6, &tcp(1, 2, 0)[..10]);
        let mut padded = short.clone();
        padded.resize(100, 0x55);
        assert_eq!(refused(&padded), D::TcpHeader);
    }
}

/// Frames that carry something behind their last header.
fn frames_with_payload() -> Vec<(Vec<u8>, usize)> {
    let mut tcp_data = tcp(1, 2, 0x18);
    tcp_data.extend([7; 100]);
    let (ethertype, tagged) = ip(
        SRC.parse().expect("an address"),
        DST.parse().expect("an address"),
        17,
        &udp(1, 2, &[7; 100]),
    );
    vec![
        (frame(SRC, DST, 6, &tcp_data), ETHERNET + 20 + 20),
        (frame(SRC6, DST6, 6, &tcp_data), ETHERNET + 40 + 20),
        (ethernet(&[3, 4], ethertype, &tagged), ETHERNET + 8 + 20 + 8),
        (chain(&[0, 60, 43], 17, &udp(1, 2, &[7; 100])), ETHERNET + 40 + 24 + 8),
        (frame(SRC, DST, 1, &[icmp(8, 0, 1), vec![7; 56]].concat()), ETHERNET + 20 + 8),
    ]
}

#[test]
fn a_frame_cut_behind_its_headers_is_judged_by_them() {
    for (bytes, headers) in frames_with_payload() {
        let uncut = whole(&bytes).expect("it is well-formed");
        for len in headers..bytes.len() {
            let cut = FrameView { bytes: &bytes[..len], wire_len: bytes.len() as u32 };
            assert_eq!(parse(cut), Ok(uncut), "{len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_frame_cut_within_its_headers_is_a_cut_capture() {
    for (bytes, headers) in frames_with_payload() {
        for len in 0..headers {
            let cut = FrameView { bytes: &bytes[..len], wire_len: bytes.len() as u32 };
            assert_eq!(parse(cut), Err(D::CaptureCut), "{len} of {headers} bytes of headers");
        }
    }
}

#[test]
fn what_is_wrong_in_a_cut_frame_is_still_wrong() {
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[7; 100]));
    let cut = |bytes: &[u8]| parse(FrameView { bytes: &bytes[..60], wire_len: 142 });
    assert!(cut(&bytes).is_ok());
    assert_eq!(cut(&with(&bytes, ETHERNET, &[0x41])), Err(D::Ipv4Header));
    assert_eq!(cut(&with(&bytes, ETHERNET + 2, &[0, 200])), Err(D::Ipv4Length));
    assert_eq!(cut(&with(&bytes, ETHERNET + 6, &[0x20, 0])), Err(D::Fragment));
    assert_eq!(cut(&with(&bytes, ETHERNET + 24, &[0, 200])), Err(D::UdpHeader));
}

#[test]
fn a_wire_length_below_the_bytes_is_not_believed() {
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[]));
    assert_eq!(parse(FrameView { bytes: &bytes, wire_len: 0 }), whole(&bytes));
}
