//! Options of IPv6 hop-by-hop and destination options headers.

use super::*;

/// A UDP packet behind one options header of this kind.
fn with_options(kind: u8, options: &[u8]) -> Vec<u8> {
    let mut header = vec![17, 0];
    header.extend(options);
    assert!(header.len().is_multiple_of(8), "a test writes whole headers");
    header[1] = (header.len() / 8 - 1) as u8;
    header.extend(udp(7, 8, &[]));
    frame(SRC6, DST6, kind, &header)
}

const BOTH: [u8; 2] = [0, 60];
const ALLOWING: ParseOptions = ParseOptions { ipv6_hop_by_hop_options: true, ..STRICT };

#[test]
fn padding_is_zero_and_no_longer_than_it_needs_to_be() {
    for kind in BOTH {
        let sound: [&[u8]; 4] = [
            &[0; 6],
            &[1, 4, 0, 0, 0, 0],
            &[0, 1, 0, 0, 0, 0],
            // Seven bytes, then an option, then three.
            &[1, 5, 0, 0, 0, 0, 0, 5, 2, 0, 0, 1, 1, 0],
        ];
        for options in sound {
            assert!(whole(&with_options(kind, options)).is_ok(), "{kind} {options:?}");
        }
        let wrong: [&[u8]; 5] = [
            &[1, 4, 0, 0, 0, 1],
            // Cut off.
            &[1, 5, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 1],
            // Eight in a row, in one piece and in several.
            &[1, 6, 0, 0, 0, 0, 0, 0, 5, 2, 0, 0, 1, 0],
            &[0, 1, 2, 0, 0, 1, 1, 0, 5, 2, 0, 0, 1, 0],
        ];
        for options in wrong {
            assert_eq!(refused(&with_options(kind, options)), D::Ipv6OptionMalformed);
        }
        assert_eq!(refused(&with_options(kind, &[0; 14])), D::Ipv6OptionMalformed);
    }
}

#[test]
fn an_option_is_dropped_with_its_packet_if_its_type_says_so_and_nobody_knows_it() {
    for (action, passes) in [(0u8, true), (1, false), (2, false), (3, false)] {
        for number in [0x1e, 0x3e] {
            let options = [action << 6 | number, 4, 1, 2, 3, 4];
            let expected = if passes { Ok(8) } else { Err(D::Ipv6Option) };
            for kind in BOTH {
                let read = by(&ALLOWING, &with_options(kind, &options));
                assert_eq!(read.map(|p| packet_of(Ok(p)).dst_port), expected);
            }
        }
    }
    // Home address (RFC 6275), which would change who sent the packet.
    let home = [1, 2, 0, 0, 0xc9, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(refused(&with_options(60, &home)), D::Ipv6Option);
}

#[test]
fn hop_by_hop_options_other_than_router_alert_pass_when_configured() {
    let alert = [5, 2, 0, 0, 1, 0];
    let other = [0x1e, 4, 1, 2, 3, 4];
    assert!(whole(&with_options(0, &alert)).is_ok());
    assert_eq!(refused(&with_options(0, &other)), D::Ipv6Option);
    assert!(by(&ALLOWING, &with_options(0, &other)).is_ok());
    assert!(whole(&with_options(60, &other)).is_ok());
}

#[test]
fn a_router_alert_has_two_bytes_and_comes_once() {
    let wrong: [&[u8]; 3] =
        [&[5, 0, 1, 2, 0, 0], &[5, 4, 0, 0, 0, 0], &[5, 2, 0, 0, 5, 2, 0, 0, 1, 4, 0, 0, 0, 0]];
    for options in wrong {
        assert_eq!(refused(&with_options(0, options)), D::Ipv6OptionMalformed);
        // To a destination it is an option like any other.
        assert!(whole(&with_options(60, options)).is_ok());
    }
}

#[test]
fn the_option_of_a_jumbogram_is_refused_wherever_it_stands() {
    for kind in BOTH {
        for options in [&ALLOWING, &STRICT] {
            let bytes = with_options(kind, &[0xc2, 4, 0, 1, 0, 0]);
            assert_eq!(by(options, &bytes), Err(D::Ipv6Jumbogram));
        }
    }
}

#[test]
fn an_option_longer_than_its_header_is_malformed() {
    for kind in BOTH {
        for options in [[0x1e, 5, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0x1e], [0x1e, 255, 0, 0, 0, 0]] {
            assert_eq!(by(&ALLOWING, &with_options(kind, &options)), Err(D::Ipv6OptionMalformed));
        }
    }
}

#[test]
fn eight_options_pass_and_nine_do_not() {
    let options = |count: usize| {
        let mut options = [0x1e, 0].repeat(count);
        let padding = (6 + 8 - options.len() % 8) % 8;
        options.resize(options.len() + padding, 0);
        options
    };
    for kind in BOTH {
        assert!(by(&ALLOWING, &with_options(kind, &options(8))).is_ok());
        assert_eq!(by(&ALLOWING, &with_options(kind, &options(9))), Err(D::Ipv6Option));
    }
}

#[test]
fn a_group_membership_report_passes() {
    // RFC 3810, 5: hop limit 1, router alert, to all MLDv2 routers.
    let mut report = vec![58, 0, 5, 2, 0, 0, 1, 0];
    report.extend([143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0]);
    report.extend("ff02::fb".parse::<std::net::Ipv6Addr>().expect("an address").octets());
    for src in ["fe80::1", "::"] {
        let bytes = with(&frame(src, "ff02::16", 0, &report), ETHERNET + 7, &[1]);
        let packet = accepted(&bytes);
        assert_eq!((packet.protocol, packet.src_port), (58, 143));
    }
}
