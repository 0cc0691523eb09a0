//! The IPv6 header and the order of extension headers.

use super::*;

#[test]
fn the_header_is_read() {
    let bytes = with(&frame(SRC6, DST6, 17, &udp(1, 2, &[9])), ETHERNET, &[0x6b, 0xb0]);
    let packet = accepted(&bytes);
    assert_eq!((packet.src, packet.dst), (0xfd00_u128 << 112 | 1, 0xfd00_u128 << 112 | 2));
    assert_eq!((packet.family, packet.protocol), (Family::V6, 17));
    assert_eq!((packet.dscp, packet.hop_limit, packet.length), (0xbb >> 2, 64, 49));
    assert_eq!((packet.l4_offset, packet.l4_len), (54, 9));
    assert_eq!((packet.fragment, packet.neighbour_discovery), (None, false));
}

#[test]
fn a_version_that_is_wrong_or_a_header_cut_off_is_refused() {
    let bytes = frame(SRC6, DST6, 17, &udp(1, 2, &[]));
    accepted(&bytes);
    assert_eq!(refused(&with(&bytes, ETHERNET, &[0x40])), D::Ipv6Header);
    assert_eq!(refused(&with(&bytes, ETHERNET, &[0x70])), D::Ipv6Header);
    assert_eq!(refused(&bytes[..ETHERNET + 39]), D::Ipv6Header);
}

#[test]
fn a_hop_limit_of_0_is_refused() {
    let bytes = frame(SRC6, DST6, 17, &udp(1, 2, &[]));
    assert_eq!(accepted(&with(&bytes, ETHERNET + 7, &[1])).hop_limit, 1);
    assert_eq!(refused(&with(&bytes, ETHERNET + 7, &[0])), D::HopLimitZero);
}

#[test]
fn a_payload_length_fits_the_frame_and_is_no_jumbograms() {
    let bytes = frame(SRC6, DST6, 59, &[0; 8]);
    let length = |length: u16| whole(&with(&bytes, ETHERNET + 4, &length.to_be_bytes()));
    assert!(length(8).is_ok());
    assert!(length(0).is_ok());
    assert_eq!(length(9), Err(D::Ipv6Length));
    let jumbogram = with(&chain(&[0], 59, &[]), ETHERNET + 4, &[0, 0]);
    assert_eq!(refused(&jumbogram), D::Ipv6Jumbogram);
}

#[test]
fn no_next_header_ends_a_packet_whatever_follows() {
    for (headers, offset) in [(&[][..], 54), (&[60][..], 62)] {
        let packet = accepted(&chain(headers, 59, &[1, 2, 3]));
        assert_eq!((packet.protocol, packet.l4_offset, packet.l4_len), (59, offset, 3));
        assert_eq!((packet.l4, packet.src_port), (L4::None, 0));
    }
}

#[test]
fn extension_headers_in_order_are_followed_to_the_transport_header() {
    let orders: &[&[u8]] = &[
        &[],
        &[0],
        &[60],
        &[43],
        &[44],
        &[0, 60],
        &[0, 60, 43],
        &[60, 43],
        &[43, 60],
        &[60, 43, 60],
        &[44, 60],
        &[60, 44],
        &[0, 60, 43, 44, 60],
        &[0, 43, 44],
    ];
    for headers in orders {
        let packet = accepted(&chain(headers, 17, &udp(7, 8, &[])));
        assert_eq!((packet.protocol, packet.src_port, packet.dst_port), (17, 7, 8), "{headers:?}");
        assert_eq!(usize::from(packet.l4_offset), 54 + 8 * headers.len());
        assert_eq!(packet.fragment.is_some(), headers.contains(&44));
        assert!(!packet.is_partial());
    }
}

#[test]
fn extension_headers_out_of_order_or_repeated_are_refused() {
    let orders: &[&[u8]] = &[
        &[0, 0],
        &[60, 0],
        &[43, 0],
        &[44, 0],
        &[43, 43],
        &[44, 44],
        &[44, 43],
        &[60, 60],
        // The first of two destination options comes before a routing header.
        &[60, 44, 60],
        &[60, 43, 60, 60],
        &[43, 60, 60],
        &[43, 60, 43],
        &[43, 60, 44],
        &[0, 60, 43, 44, 60, 60],
        &[0, 60, 43, 44, 60, 0],
    ];
    for headers in orders {
        let bytes = chain(headers, 17, &udp(7, 8, &[]));
        assert_eq!(refused(&bytes), D::Ipv6Extensions, "{headers:?}");
    }
}

#[test]
fn an_extension_header_is_as_long_as_it_says_and_fits_the_packet() {
    let mut long = vec![17, 1, 1, 4, 0, 0, 0, 0, 0x1e, 6, 1, 2, 3, 4, 5, 6];
    long.extend(udp(7, 8, &[]));
    assert_eq!(accepted(&frame(SRC6, DST6, 60, &long)).dst_port, 8);
    for kind in [0, 60, 43, 44] {
        let bytes = chain(&[kind], 59, &[]);
        accepted(&bytes);
        assert_eq!(refused(&with(&bytes, ETHERNET + 4, &[0, 7])), D::Ipv6Extensions, "{kind}");
        if kind != 44 {
            assert_eq!(refused(&with(&bytes, ETHERNET + 41, &[1])), D::Ipv6Extensions, "{kind}");
        }
    }
    // A fragment header has no length: the byte is reserved.
    accepted(&with(&chain(&[44], 59, &[]), ETHERNET + 41, &[9]));
}

#[test]
fn headers_that_are_not_looked_behind_pass_as_protocols_when_configured() {
    let allowing = ParseOptions { ipv6_unknown_headers: true, ..STRICT };
    for kind in [135, 139, 140, 253, 254] {
        for headers in [&[kind][..], &[0, kind]] {
            let bytes = chain(headers, 17, &udp(7, 8, &[]));
            assert_eq!(refused(&bytes), D::Ipv6UnknownHeader);
            let packet = packet_of(by(&allowing, &bytes));
            assert_eq!((packet.protocol, packet.src_port, packet.l4), (kind, 0, L4::None));
        }
    }
}

#[test]
fn authentication_and_encryption_are_protocols() {
    for protocol in [50, 51] {
        // What looks like a second hop-by-hop header is protected data.
        let packet = accepted(&chain(&[0], protocol, &[0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!((packet.protocol, packet.src_port, packet.l4), (protocol, 0, L4::None));
    }
}

#[test]
fn a_routing_header_leads_nowhere_and_is_not_of_type_0() {
    let routing =
        |kind, left| with(&chain(&[43], 17, &udp(7, 8, &[])), ETHERNET + 42, &[kind, left]);
    let allowing = ParseOptions { ipv6_source_routes: true, ..STRICT };
    for kind in 1..=255 {
        assert_eq!(accepted(&routing(kind, 0)).dst_port, 8);
        assert_eq!(refused(&routing(kind, 1)), D::Ipv6SourceRoute);
        assert!(by(&allowing, &routing(kind, 1)).is_ok());
    }
    for left in [0, 1] {
        assert_eq!(refused(&routing(0, left)), D::Ipv6Routing0);
        assert_eq!(by(&allowing, &routing(0, left)), Err(D::Ipv6Routing0));
    }
    // The checksum is over an address that the header does not have yet.
    let checksum = ETHERNET + 48 + 6;
    assert!(by(&allowing, &spoilt(&routing(4, 1), checksum, &[1, 2])).is_ok());
    assert_eq!(refused(&spoilt(&routing(4, 0), checksum, &[1, 2])), D::UdpChecksum);
}

/// A frame whose fragment header says this offset (in bytes) and whether more follow.
fn fragment(before: &[u8], offset: u16, more: bool, next: u8, data: &[u8]) -> Vec<u8> {
    let headers = [before, &[44]].concat();
    let bytes = chain(&headers, next, data);
    let at = ETHERNET + 40 + 8 * before.len() + 2;
    spoilt(&bytes, at, &(offset | u16::from(more)).to_be_bytes())
}

#[test]
fn a_fragment_is_told_with_its_place() {
    for before in [&[][..], &[0], &[0, 60, 43]] {
        for (offset, more) in [(8, true), (8, false), (0, true), (65_528, true)] {
            let packet = accepted(&fragment(before, offset, more, 17, &udp(7, 8, &[9; 8])));
            let header_len = 48 + 8 * before.len() as u16;
            let expected = Fragment {
                id: 7,
                offset,
                more,
                next: 17,
                header_len,
                payload_offset: ETHERNET as u16 + header_len,
                payload_len: 16,
            };
            assert_eq!(packet.fragment, Some(expected));
            assert!(packet.is_partial());
            assert_eq!((packet.protocol, packet.l4, packet.src_port), (17, L4::None, 0));
        }
    }
}

#[test]
fn an_atomic_fragment_is_a_whole_packet_and_says_so() {
    let bytes = chain(&[44], 17, &udp(7, 8, &[9]));
    let packet = accepted(&bytes);
    assert_eq!((packet.src_port, packet.dst_port, packet.is_partial()), (7, 8, false));
    assert!(packet.fragment.is_some_and(|fragment| fragment.is_atomic()));
    assert_eq!(refused(&spoilt(&bytes, ETHERNET + 48 + 6, &[1, 2])), D::UdpChecksum);
}

#[test]
fn a_later_fragment_is_not_followed_into_its_data() {
    // Its data looks like a header of any kind.
    for next in [6, 17, 60, 50, 200] {
        let packet = accepted(&fragment(&[], 8, false, next, &[0xff; 8]));
        assert_eq!((packet.protocol, packet.l4_len), (next, 8));
    }
    for next in [0, 43, 44] {
        assert_eq!(refused(&fragment(&[], 8, false, next, &[0; 8])), D::Ipv6Extensions, "{next}");
    }
    assert_eq!(refused(&fragment(&[], 8, false, 139, &[0; 8])), D::Ipv6UnknownHeader);
}

#[test]
fn a_first_fragment_holds_every_header() {
    let check = |next: u8, data: &[u8]| whole(&fragment(&[], 0, true, next, data)).map(|_| ());
    let mut with_options = spoilt(&tcp(1, 2, 2), 12, &[0x60]);
    with_options.extend([1; 4]);
    let options_to_udp = [&extension(60, 17)[..], &udp(1, 2, &[])].concat();
    let wholes: [(u8, &[u8], usize); 7] = [
        (6, &tcp(1, 2, 2), 20),
        (6, &with_options, 24),
        (17, &udp(1, 2, &[]), 8),
        (58, &icmp(128, 0, 1), 8),
        (132, &[0; 12], 12),
        (60, &options_to_udp, 16),
        (47, &[], 0),
    ];
    for (next, header, len) in wholes {
        let data = [header, &[0; 8]].concat();
        assert_eq!(check(next, &data[..len]), Ok(()), "{next}");
        assert_eq!(check(next, &data), Ok(()));
        for short in 0..len {
            assert_eq!(check(next, &data[..short]), Err(D::Ipv6FirstFragment), "{next} {short}");
        }
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
    for header in [0, 60, 44] {
        let bytes = with(&chain(&[header], 58, &payload), ETHERNET + 7, &[255]);
        assert!(!accepted(&bytes).neighbour_discovery);
    }
}
