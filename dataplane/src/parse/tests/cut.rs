//! Frames of captures that a snap length cut.

use super::*;
use testing::sctp;

/// Frames that carry something behind their last header, and where that begins.
fn frames_with_payload() -> Vec<(Vec<u8>, usize)> {
    let mut tcp_data = tcp(1, 2, 0x18);
    tcp_data.extend([7; 100]);
    let (ethertype, tagged) = ip(
        SRC.parse().expect("an address"),
        DST.parse().expect("an address"),
        17,
        &udp(1, 2, &[7; 100]),
    );
    let chunks = sctp(1, 2, 9, &[(0, &[7; 50]), (0, &[7; 50])]);
    vec![
        (frame(SRC, DST, 6, &tcp_data), ETHERNET + 20 + 20),
        (frame(SRC6, DST6, 6, &tcp_data), ETHERNET + 40 + 20),
        (ethernet(&[3, 4], ethertype, &tagged), ETHERNET + 8 + 20 + 8),
        (chain(&[0, 43, 60], 17, &udp(1, 2, &[7; 100])), ETHERNET + 40 + 24 + 8),
        (frame(SRC, DST, 1, &[icmp(8, 0, 1), vec![7; 56]].concat()), ETHERNET + 20 + 8),
        (frame(SRC, DST, 132, &chunks), ETHERNET + 20 + 12 + 4),
    ]
}

fn cut(bytes: &[u8], len: usize) -> Result<Parsed, DropReason> {
    parse(FrameView { bytes: &bytes[..len], wire_len: bytes.len() as u32 }, &STRICT)
}

#[test]
fn a_frame_cut_behind_its_headers_is_judged_by_them() {
    for (bytes, headers) in frames_with_payload() {
        let uncut = whole(&bytes).expect("it is well-formed");
        for len in headers..bytes.len() {
            assert_eq!(cut(&bytes, len), Ok(uncut), "{len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_frame_cut_within_its_headers_is_a_cut_capture() {
    for (bytes, headers) in frames_with_payload() {
        for len in 0..headers {
            assert_eq!(cut(&bytes, len), Err(D::CaptureCut), "{len} of {headers} bytes of headers");
        }
    }
}

#[test]
fn what_is_wrong_in_a_cut_frame_is_still_wrong() {
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[7; 100]));
    assert!(cut(&bytes, 60).is_ok());
    assert_eq!(cut(&with(&bytes, ETHERNET, &[0x41]), 60), Err(D::Ipv4Header));
    assert_eq!(cut(&with(&bytes, ETHERNET + 2, &[0, 200]), 60), Err(D::Ipv4Length));
    assert_eq!(cut(&spoilt(&bytes, ETHERNET + 11, &[0]), 60), Err(D::Ipv4Checksum));
    assert_eq!(cut(&with(&bytes, ETHERNET + 24, &[0, 200]), 60), Err(D::UdpHeader));
}

#[test]
fn a_checksum_over_bytes_that_are_not_there_is_not_asked_for() {
    let bytes = spoilt(&frame(SRC, DST, 17, &udp(1, 2, &[7; 100])), ETHERNET + 26, &[1, 2]);
    assert_eq!(refused(&bytes), D::UdpChecksum);
    assert!(cut(&bytes, bytes.len() - 1).is_ok());
    // Padding is not part of the packet.
    let padded = [&bytes[..], &[0; 10]].concat();
    assert_eq!(cut(&padded, bytes.len()), Err(D::UdpChecksum));
}

#[test]
fn a_wire_length_below_the_bytes_is_not_believed() {
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[]));
    assert_eq!(parse(FrameView { bytes: &bytes, wire_len: 0 }, &STRICT), whole(&bytes));
}
