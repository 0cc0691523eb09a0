//! The IPv4 header and its options.

use super::*;

/// A UDP packet with these bytes of options, padded with the end of the list.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut payload = options.to_vec();
    payload.resize(payload.len().next_multiple_of(4), 0);
    let words = 5 + (payload.len() / 4) as u8;
    payload.extend(udp(5, 6, &[]));
    // Not UDP before the header is as long as it should be, so that no checksum is put elsewhere.
    let bytes = spoilt(&frame(SRC, DST, 255, &payload), ETHERNET + 9, &[17]);
    with(&bytes, ETHERNET, &[0x40 | words])
}

fn allowing(options: Ipv4Options) -> ParseOptions {
    ParseOptions { ipv4_options: options, ..STRICT }
}

const ALL: Ipv4Options = Ipv4Options::RECORD_ROUTE
    .with(Ipv4Options::LOOSE_SOURCE_ROUTE)
    .with(Ipv4Options::STRICT_SOURCE_ROUTE)
    .with(Ipv4Options::TIMESTAMP)
    .with(Ipv4Options::ROUTER_ALERT);

/// Each option, well-formed.
const KNOWN: [(&[u8], Ipv4Options); 5] = [
    (&[7, 7, 4, 0, 0, 0, 0], Ipv4Options::RECORD_ROUTE),
    (&[131, 7, 8, 10, 0, 0, 9], Ipv4Options::LOOSE_SOURCE_ROUTE),
    (&[137, 7, 8, 10, 0, 0, 9], Ipv4Options::STRICT_SOURCE_ROUTE),
    (&[68, 8, 5, 0, 0, 0, 0, 0], Ipv4Options::TIMESTAMP),
    (&[148, 4, 0, 0], Ipv4Options::ROUTER_ALERT),
];

#[test]
fn the_header_is_read() {
    let bytes = with(&frame(SRC, DST, 6, &tcp(1234, 80, 0x12)), ETHERNET + 1, &[0xbb]);
    let packet = accepted(&bytes);
    assert_eq!((packet.src, packet.dst), (0x0a00_0001, 0x0a00_0002));
    assert_eq!((packet.family, packet.protocol), (Family::V4, 6));
    assert_eq!((packet.dscp, packet.hop_limit, packet.length), (0xbb >> 2, 64, 40));
    assert_eq!((packet.l4_offset, packet.l4_len), (34, 20));
    assert_eq!((packet.fragment, packet.neighbour_discovery), (None, false));
}

#[test]
fn a_version_or_header_length_that_is_wrong_is_refused() {
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[]));
    accepted(&bytes);
    for first in [0x65, 0x44, 0x40] {
        assert_eq!(refused(&with(&bytes, ETHERNET, &[first])), D::Ipv4Header);
    }
    assert_eq!(refused(&bytes[..ETHERNET + 19]), D::Ipv4Header);
}

#[test]
fn a_total_length_lies_between_header_and_frame() {
    // 8 bytes of padding behind the packet.
    let mut bytes = frame(SRC, DST, 47, &[]);
    bytes.extend([0; 8]);
    let length = |length: u16| whole(&with(&bytes, ETHERNET + 2, &length.to_be_bytes()));
    assert_eq!(length(19), Err(D::Ipv4Length));
    assert!(length(20).is_ok());
    assert!(length(28).is_ok());
    assert_eq!(length(29), Err(D::Ipv4Length));
    let options = with_options(&[1, 1, 1, 1]);
    assert_eq!(refused(&with(&options, ETHERNET + 2, &23u16.to_be_bytes())), D::Ipv4Length);
}

#[test]
fn a_header_checksum_is_right_unless_nobody_asks() {
    let bytes = frame(SRC, DST, 47, &[]);
    let off = ParseOptions { checksums: Checksums::Off, ..STRICT };
    let partial = ParseOptions { checksums: Checksums::AcceptPartial, ..STRICT };
    for wrong in [[0, 0], [0xff, 0xff], [bytes[24], bytes[25] ^ 1], [bytes[25], bytes[24]]] {
        let bytes = spoilt(&bytes, ETHERNET + 10, &wrong);
        assert_eq!(refused(&bytes), D::Ipv4Checksum);
        assert_eq!(by(&partial, &bytes), Err(D::Ipv4Checksum));
        assert!(by(&off, &bytes).is_ok());
    }
    // Options are part of the header.
    let bytes = with_options(KNOWN[4].0);
    assert!(by(&allowing(ALL), &bytes).is_ok());
    let spoilt = spoilt(&bytes, ETHERNET + 23, &[1]);
    assert_eq!(by(&allowing(ALL), &spoilt), Err(D::Ipv4Checksum));
}

#[test]
fn the_reserved_flag_and_a_time_to_live_of_0_are_refused() {
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[]));
    let flags = |flags: u16| whole(&with(&bytes, ETHERNET + 6, &flags.to_be_bytes()));
    for fine in [0, 0x4000] {
        assert!(flags(fine).is_ok());
    }
    for reserved in [0x8000, 0xc000, 0xa000, 0x8001] {
        assert_eq!(flags(reserved), Err(D::Ipv4ReservedFlag), "{reserved:#x}");
    }
    assert_eq!(accepted(&with(&bytes, ETHERNET + 8, &[1])).hop_limit, 1);
    assert_eq!(refused(&with(&bytes, ETHERNET + 8, &[0])), D::HopLimitZero);
}

#[test]
fn a_fragment_has_more_fragments_or_an_offset_whether_or_not_it_may_be_cut() {
    let bytes = with(&frame(SRC, DST, 17, &udp(1, 2, &[])), ETHERNET + 4, &[0xab, 0xcd]);
    assert_eq!(accepted(&bytes).fragment, None);
    let cases = [
        (0x2000, 0, true),
        (0x0001, 8, false),
        (0x3fff, 65_528, true),
        (0x6000, 0, true),
        (0x4002, 16, false),
    ];
    for (flags, offset, more) in cases {
        let packet = accepted(&with(&bytes, ETHERNET + 6, &u16::to_be_bytes(flags)));
        let expected = Fragment {
            id: 0xabcd,
            offset,
            more,
            next: 17,
            header_len: 20,
            payload_offset: 34,
            payload_len: 8,
        };
        assert_eq!(packet.fragment, Some(expected), "{flags:#x}");
        assert!(packet.is_partial());
        assert_eq!((packet.src_port, packet.dst_port, packet.l4), (0, 0, L4::None));
    }
}

#[test]
fn the_transport_header_of_a_fragment_is_not_looked_at() {
    // A wrong checksum, flags, ports and data offset.
    let bytes = with(&frame(SRC, DST, 6, &[0; 20]), ETHERNET + 6, &[0x20, 0]);
    assert!(accepted(&bytes).is_partial());
}

#[test]
fn an_option_passes_when_it_is_configured_and_not_otherwise() {
    for (option, name) in KNOWN {
        let bytes = with_options(option);
        assert_eq!(refused(&bytes), D::Ipv4Option, "{option:?}");
        let packet = packet_of(by(&allowing(name), &bytes));
        assert_eq!((packet.dst_port, usize::from(packet.l4_len)), (6, 8), "{option:?}");
        for (_, other) in KNOWN {
            let expected = if other == name { Ok(6) } else { Err(D::Ipv4Option) };
            let got = by(&allowing(other), &bytes).map(|p| packet_of(Ok(p)).dst_port);
            assert_eq!(got, expected);
        }
    }
}

#[test]
fn options_may_stand_together_and_unknown_ones_never_pass() {
    let both = [&[1, 148, 4, 0, 0][..], KNOWN[0].0].concat();
    assert!(by(&allowing(ALL), &with_options(&both)).is_ok());
    let one = allowing(Ipv4Options::ROUTER_ALERT);
    assert_eq!(by(&one, &with_options(&both)), Err(D::Ipv4Option));
    // Security (RFC 1108), CIPSO, stream identifier, and one that nobody defined.
    for unknown in [&[130, 3, 0][..], &[134, 6, 0, 0, 0, 1], &[136, 4, 0, 0], &[30, 2]] {
        assert_eq!(by(&allowing(ALL), &with_options(unknown)), Err(D::Ipv4Option));
        let beside = [KNOWN[4].0, unknown].concat();
        assert_eq!(by(&allowing(ALL), &with_options(&beside)), Err(D::Ipv4Option));
    }
}

#[test]
fn padding_without_an_option_has_no_use() {
    for padding in [&[0, 0, 0, 0][..], &[1, 1, 1, 1], &[1, 0, 0, 0]] {
        assert_eq!(by(&allowing(ALL), &with_options(padding)), Err(D::Ipv4Option));
    }
}

#[test]
fn an_option_that_is_cut_off_or_contradicts_itself_is_malformed() {
    let malformed: &[&[u8]] = &[
        // No length, lengths below 2, lengths beyond the header.
        &[1, 1, 1, 7],
        &[7, 0, 0, 0],
        &[7, 1, 0, 0],
        &[30, 5, 0, 0],
        &[148, 6, 0, 0],
        // Something behind the end.
        &[0, 0, 0, 1],
        &[148, 4, 0, 0, 0, 1, 1, 1],
        // Record route: too short for a pointer, odd room, pointers before, between and behind.
        &[7, 2, 0, 0],
        &[7, 6, 4, 0, 0, 0],
        &[7, 7, 3, 0, 0, 0, 0],
        &[7, 7, 0, 0, 0, 0, 0],
        &[7, 7, 5, 0, 0, 0, 0],
        &[7, 7, 12, 0, 0, 0, 0],
        &[131, 7, 12, 10, 0, 0, 9],
        &[137, 6, 4, 10, 0, 0],
        // Timestamp: no flags, an unknown flag, half an entry, pointers before, between, behind.
        &[68, 3, 5, 0],
        &[68, 8, 5, 2, 0, 0, 0, 0],
        &[68, 8, 5, 1, 0, 0, 0, 0],
        &[68, 8, 4, 0, 0, 0, 0, 0],
        &[68, 8, 6, 0, 0, 0, 0, 0],
        &[68, 8, 13, 0, 0, 0, 0, 0],
        // Router alert of another length.
        &[148, 3, 0, 0],
        &[148, 5, 0, 0, 0, 0, 0, 0],
        // Twice, or two source routes.
        &[148, 4, 0, 0, 148, 4, 0, 0],
        &[7, 3, 4, 7, 3, 4, 1, 1],
        &[131, 3, 4, 137, 3, 4, 1, 1],
    ];
    for options in malformed {
        let bytes = with_options(options);
        assert_eq!(by(&allowing(ALL), &bytes), Err(D::Ipv4OptionMalformed), "{options:?}");
        assert_eq!(refused(&bytes), D::Ipv4OptionMalformed, "{options:?} without configuration");
    }
    // Their neighbours.
    let sound: &[&[u8]] = &[
        &[7, 3, 4, 0],
        &[7, 7, 8, 0, 0, 0, 0],
        &[68, 4, 5, 0],
        &[68, 8, 9, 0xf0, 0, 0, 0, 0],
        &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        &[68, 12, 13, 3, 0, 0, 0, 0, 0, 0, 0, 0],
        &[148, 4, 0, 0, 1, 1, 1, 0],
        &[7, 3, 4, 68, 4, 5, 0, 0],
        &[131, 3, 4, 7, 3, 4, 1, 1],
    ];
    for options in sound {
        assert!(by(&allowing(ALL), &with_options(options)).is_ok(), "{options:?}");
    }
}

#[test]
fn the_transport_checksum_waits_for_the_end_of_a_source_route() {
    for kind in [131, 137] {
        // Used up: the destination is the last address, and the checksum is over it.
        let arrived = with_options(&[kind, 7, 8, 10, 0, 0, 9]);
        // On its way: the checksum is over the last address of the route.
        let on_its_way = with_options(&[kind, 7, 4, 10, 0, 0, 9]);
        let checksum = ETHERNET + 28 + 6;
        assert!(by(&allowing(ALL), &arrived).is_ok());
        assert_eq!(by(&allowing(ALL), &spoilt(&arrived, checksum, &[1, 2])), Err(D::UdpChecksum));
        assert!(by(&allowing(ALL), &spoilt(&on_its_way, checksum, &[1, 2])).is_ok());
    }
}
