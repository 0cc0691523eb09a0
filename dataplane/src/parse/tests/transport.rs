//! UDP, SCTP, ICMP, and protocols that are not looked into.

use super::*;
use testing::sctp;

#[test]
fn a_udp_header_is_whole_and_its_length_is_that_of_the_packet() {
    for (src, dst) in PAIRS {
        let datagram = udp(1, 2, &[9; 4]);
        assert_eq!(refused(&frame(src, dst, 17, &datagram[..7])), D::UdpHeader);
        let length =
            |length: u16| whole(&frame(src, dst, 17, &spoilt(&datagram, 4, &length.to_be_bytes())));
        assert!(length(12).is_ok());
        for wrong in [0, 7, 8, 11, 13] {
            assert_eq!(length(wrong), Err(D::UdpHeader), "{wrong}");
        }
        let packet = accepted(&frame(src, dst, 17, &udp(1, 2, &[])));
        assert_eq!((packet.src_port, packet.dst_port, packet.l4), (1, 2, L4::None));
        assert_eq!(packet.l4_len, 8);
    }
}

#[test]
fn udp_and_sctp_have_no_port_0() {
    for (src, dst) in PAIRS {
        for (one, other) in [(0, 1), (1, 0), (0, 0)] {
            assert_eq!(refused(&frame(src, dst, 17, &udp(one, other, &[]))), D::PortZero);
            let packet = sctp(one, other, 9, &[(0, &[0; 13])]);
            assert_eq!(refused(&frame(src, dst, 132, &packet)), D::PortZero);
        }
    }
}

const INIT: &[u8] = &[0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 7];

#[test]
fn an_sctp_packet_has_a_header_of_twelve_bytes_and_a_chunk() {
    for (src, dst) in PAIRS {
        let bytes = sctp(5, 6, 0x0102_0304, &[(0, &[1; 13])]);
        let packet = accepted(&frame(src, dst, 132, &bytes));
        assert_eq!((packet.src_port, packet.dst_port), (5, 6));
        assert_eq!(
            packet.l4,
            L4::Sctp(SctpPacket { chunk: 0, tag: 0x0102_0304, initiate_tag: 0, reflected: false })
        );
        assert_eq!(refused(&frame(src, dst, 132, &bytes[..11])), D::SctpHeader);
        for len in 12..bytes.len() {
            assert_eq!(refused(&frame(src, dst, 132, &bytes[..len])), D::SctpChunk, "{len}");
        }
    }
}

#[test]
fn an_sctp_tag_is_0_with_init_and_only_with_it() {
    let read =
        |tag, kind, content: &[u8]| {
            whole(&frame(SRC, DST, 132, &sctp(5, 6, tag, &[(kind, content)]))).map(|p| {
                match packet_of(Ok(p)).l4 {
                    L4::Sctp(packet) => (packet.chunk, packet.tag, packet.initiate_tag),
                    other => panic!("{other:?}"),
                }
            })
        };
    let initiate_tag = u32::from_be_bytes([INIT[0], INIT[1], INIT[2], INIT[3]]);
    assert_eq!(read(0, 1, INIT), Ok((1, 0, initiate_tag)));
    assert_eq!(read(9, 1, INIT), Err(D::SctpChunk));
    assert_eq!(read(9, 2, INIT), Ok((2, 9, initiate_tag)));
    assert_eq!(read(0, 2, INIT), Err(D::SctpChunk));
    assert_eq!(read(0, 0, &[0; 13]), Err(D::SctpChunk));
    // Too short for what an INIT says.
    assert_eq!(read(0, 1, &INIT[..15]), Err(D::SctpChunk));
    assert_eq!(read(9, 2, &INIT[..15]), Err(D::SctpChunk));
}

#[test]
fn sctp_chunks_are_bundled_as_they_may_be() {
    let check = |chunks: &[(u8, &[u8])]| {
        let tag = if chunks[0].0 == 1 { 0 } else { 9 };
        whole(&frame(SRC, DST, 132, &sctp(5, 6, tag, chunks))).map(|_| ())
    };
    let chunk = |kind: u8, content: &'static [u8]| (kind, content);
    let (data, sack) = (chunk(0, &[0; 13]), chunk(3, &[0; 12]));
    let (echo, acknowledged, complete) = (chunk(10, &[1; 5]), chunk(11, &[]), chunk(14, &[]));
    for chunks in [
        &[sack, data, data][..],
        &[echo, data],
        &[acknowledged, data],
        &[complete],
        &[(1, INIT)],
        &[(2, INIT)],
        &[(6, &[])],
    ] {
        assert_eq!(check(chunks), Ok(()), "{chunks:?}");
    }
    for chunks in [
        &[(1, INIT), data][..],
        &[data, (2, INIT)],
        &[(2, INIT), data],
        &[complete, data],
        &[data, complete],
        &[data, echo],
        &[data, acknowledged],
        &[(1, INIT), (1, INIT)],
    ] {
        assert_eq!(check(chunks), Err(D::SctpChunk), "{chunks:?}");
    }
}

#[test]
fn an_sctp_chunk_length_counts_its_header_and_fits_the_packet() {
    let bytes = frame(SRC, DST, 132, &sctp(5, 6, 9, &[(0, &[0; 13]), (0, &[0; 13])]));
    for first in [ETHERNET + 20 + 12, ETHERNET + 20 + 12 + 20] {
        for length in [17u16, 18, 20] {
            assert!(whole(&with(&bytes, first + 2, &length.to_be_bytes())).is_ok());
        }
        // Shorter than its header, longer than the packet, and into the middle of a chunk.
        for length in [0u16, 3, 41, 0xffff, 16 + 8] {
            let bytes = with(&bytes, first + 2, &length.to_be_bytes());
            assert_eq!(whole(&bytes).err(), Some(D::SctpChunk), "{length}");
        }
    }
}

#[test]
fn an_icmp_header_has_eight_bytes_and_requests_are_told_from_replies() {
    let v4 = [(8, 0), (13, 14), (15, 16), (17, 18)].map(|(ask, answer)| (SRC, DST, 1, ask, answer));
    let v6 = [(128, 129), (139, 140)].map(|(ask, answer)| (SRC6, DST6, 58, ask, answer));
    for (src, dst, protocol, request, reply) in v4.into_iter().chain(v6) {
        let read = |kind, code| accepted(&frame(src, dst, protocol, &icmp(kind, code, 77)));
        let echo = |kind, code| read(kind, code).echo();
        for code in [0, 1] {
            let asks = [request, code];
            assert_eq!(echo(request, code), Some(Echo { request: true, id: 77, asks }));
            assert_eq!(echo(reply, code), Some(Echo { request: false, id: 77, asks }));
        }
        let unreachable = read(3, 1);
        assert_eq!((unreachable.src_port, unreachable.dst_port), (3, 1));
        let expected = Icmp { kind: 3, code: 1, echo: None, rest: 77 << 16 | 1, is_error: true };
        assert_eq!(unreachable.l4, L4::Icmp(expected));
        let short = frame(src, dst, protocol, &icmp(request, 0, 77)[..7]);
        assert_eq!(refused(&short), D::IcmpHeader);
    }
}

#[test]
fn icmp_errors_are_those_of_the_standards() {
    for kind in 0..=255u8 {
        let is_error =
            |src, dst, protocol| match accepted(&frame(src, dst, protocol, &icmp(kind, 0, 1))).l4 {
                L4::Icmp(icmp) => icmp.is_error,
                other => panic!("{other:?}"),
            };
        assert_eq!(is_error(SRC, DST, 1), [3, 4, 5, 11, 12].contains(&kind), "{kind}");
        assert_eq!(is_error(SRC6, DST6, 58), kind <= 127, "{kind}");
    }
}

#[test]
fn icmp_is_not_spoken_over_the_other_family() {
    for (src, dst, own, other, request) in [(SRC, DST, 1, 58, 8), (SRC6, DST6, 58, 1, 128)] {
        accepted(&frame(src, dst, own, &icmp(request, 0, 1)));
        assert_eq!(refused(&frame(src, dst, other, &icmp(request, 0, 1))), D::IcmpFamily);
        assert_eq!(refused(&frame(src, dst, other, &[])), D::IcmpFamily);
    }
    let behind_options = chain(&[60], 1, &icmp(8, 0, 1));
    assert_eq!(refused(&behind_options), D::IcmpFamily);
}

#[test]
fn protocols_that_are_not_looked_into_are_matched_by_number() {
    for (src, dst) in PAIRS {
        for protocol in [2, 4, 41, 47, 50, 51, 89, 103, 112, 136, 200, 255] {
            for payload in [&[][..], &[0], &[0xff; 60]] {
                let packet = accepted(&frame(src, dst, protocol, payload));
                assert_eq!((packet.protocol, packet.l4), (protocol, L4::None));
                assert_eq!((packet.src_port, packet.dst_port), (0, 0));
            }
        }
    }
}

#[test]
fn padding_behind_the_packet_is_not_looked_at() {
    for (src, dst) in PAIRS {
        let short = frame(src, dst, 6, &tcp(1, 2, 2)[..10]);
        let mut padded = short.clone();
        padded.resize(100, 0x55);
        assert_eq!(refused(&padded), D::TcpHeader);
        let mut padded = frame(src, dst, 17, &udp(1, 2, &[3]));
        padded.resize(100, 0x55);
        assert_eq!(accepted(&padded).l4_len, 9);
    }
}
