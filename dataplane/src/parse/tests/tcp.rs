//! The TCP header.

use super::*;

fn segment(frame: &[u8]) -> TcpSegment {
    match accepted(frame).l4 {
        L4::Tcp(segment) => segment,
        other => panic!("{other:?}"),
    }
}

/// A segment with these bytes of options, which are padded with the end of the list.
fn with_options(flags: u8, options: &[u8]) -> Vec<u8> {
    let mut header = tcp(1, 2, flags);
    header.extend(options);
    header.resize(header.len().next_multiple_of(4), 0);
    header[12] = (header.len() / 4) as u8 * 16;
    header
}

#[test]
fn a_segment_is_read() {
    let mut bytes = vec![0, 1, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 0xab, 0xcd, 0, 0, 0, 0];
    bytes.extend([7; 9]);
    for (src, dst) in PAIRS {
        let bytes = frame(src, dst, 6, &bytes);
        let packet = accepted(&bytes);
        assert_eq!((packet.src_port, packet.dst_port, packet.tcp_flags()), (1, 2, 0x18));
        let expected = TcpSegment {
            seq: 0x0102_0304,
            ack: 0x0506_0708,
            flags: 0x18,
            window: 0xabcd,
            payload: 9,
            window_scale: None,
        };
        assert_eq!(segment(&bytes), expected);
    }
}

#[test]
fn a_header_is_whole_and_its_data_offset_fits() {
    for (src, dst) in PAIRS {
        let header = tcp(1, 2, 2);
        accepted(&frame(src, dst, 6, &header));
        assert_eq!(refused(&frame(src, dst, 6, &header[..19])), D::TcpHeader);
        for offset in [0x00, 0x40, 0x60] {
            assert_eq!(refused(&frame(src, dst, 6, &spoilt(&header, 12, &[offset]))), D::TcpHeader);
        }
        assert_eq!(segment(&frame(src, dst, 6, &with_options(2, &[1; 4]))).payload, 0);
    }
}

/// `tcp_valid_flags` of Linux 6.x, net/netfilter/nf_conntrack_proto_tcp.c, written down from there;
/// PSH, ECE and CWR are cleared before it is asked.
#[test]
fn flags_are_possible_where_linux_says_so() {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    const URG: u8 = 0x20;
    let valid =
        [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    for flags in 0..=255 {
        let read =
            whole(&frame(SRC, DST, 6, &tcp(1, 2, flags))).map(|p| packet_of(Ok(p)).tcp_flags());
        let expected = if valid.contains(&(flags & !0xc8)) { Ok(flags) } else { Err(D::TcpFlags) };
        assert_eq!(read, expected, "{flags:#04x}");
    }
}

#[test]
fn port_0_is_refused() {
    for (src, dst) in PAIRS {
        for (ports, expected) in
            [((1, 1), None), ((0, 1), Some(D::PortZero)), ((1, 0), Some(D::PortZero))]
        {
            assert_eq!(whole(&frame(src, dst, 6, &tcp(ports.0, ports.1, 2))).err(), expected);
        }
    }
}

#[test]
fn options_of_the_lengths_of_their_standards_pass() {
    let sound: &[&[u8]] = &[
        &[0, 0, 0, 0],
        &[1, 1, 1, 0],
        &[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        // A SYN of Linux.
        &[2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7],
        // One and three blocks of a selective acknowledgement.
        &[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        &[&[1, 1, 5, 26][..], &[9; 24]].concat(),
        &[&[1, 1, 5, 34][..], &[9; 32]].concat(),
        // Fast open (RFC 7413), multipath (RFC 8684) more than once, and what nobody knows.
        &[34, 2, 1, 1],
        &[30, 4, 0, 0, 30, 4, 0, 0],
        &[19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[253, 2, 253, 2],
    ];
    for options in sound {
        accepted(&frame(SRC, DST, 6, &with_options(2, options)));
        accepted(&frame(SRC6, DST6, 6, &with_options(0x10, options)));
    }
}

#[test]
fn options_that_could_be_read_in_two_ways_are_refused() {
    let wrong: &[&[u8]] = &[
        // No length, lengths below 2 and beyond the header.
        &[1, 1, 1, 2],
        &[30, 0, 1, 1],
        &[30, 1, 1, 1],
        &[30, 5, 0, 0],
        &[8, 10, 0, 0],
        // Behind the end.
        &[0, 0, 0, 1],
        &[2, 4, 5, 0xb4, 0, 3, 3, 7],
        // Lengths of other options.
        &[2, 3, 5, 0],
        &[2, 5, 5, 0xb4, 0, 1, 1, 1],
        &[3, 2, 1, 1],
        &[3, 4, 7, 0],
        &[4, 3, 0, 0],
        &[5, 2, 1, 1],
        &[5, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
        &[8, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
        &[1, 8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // Twice.
        &[3, 3, 7, 3, 3, 1, 0, 0],
        &[2, 4, 5, 0xb4, 2, 4, 5, 0xb4],
        &[4, 2, 4, 2],
        &[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    ];
    for options in wrong {
        for flags in [2, 0x10] {
            assert_eq!(refused(&frame(SRC, DST, 6, &with_options(flags, options))), D::TcpOptions);
        }
    }
}

#[test]
fn the_window_scale_of_a_syn_is_read_up_to_14() {
    let scale =
        |flags, scale| segment(&frame(SRC, DST, 6, &with_options(flags, &[1, 3, 3, scale])));
    for (written, read) in [(0, 0), (7, 7), (14, 14), (15, 14), (255, 14)] {
        assert_eq!(scale(0x02, written).window_scale, Some(read));
        assert_eq!(scale(0x12, written).window_scale, Some(read));
    }
    assert_eq!(scale(0x10, 7).window_scale, None, "it means nothing without SYN");
    assert_eq!(segment(&frame(SRC, DST, 6, &tcp(1, 2, 2))).window_scale, None);
}
