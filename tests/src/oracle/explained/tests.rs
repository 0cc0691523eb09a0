use super::super::packet::{Datagram, L3, Segment, icmp, seal, udp};
use super::*;

/// A UDP datagram between these addresses, from the left.
fn frame(src: &str, dst: &str, ports: (u16, u16)) -> Vec<u8> {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let body = udp(ports.0, ports.1, b"0123456789abcdef");
    Datagram { from: End::Left, src, dst, protocol: protocol::UDP, mark: 1, body }.frame()
}

fn row_of(frame: &[u8], stricter: World) -> Option<&'static str> {
    let case = Case { from: End::Left, frame, earlier: Vec::new(), passed: Vec::new(), stricter };
    find(&case).map(|row| row.id)
}

#[test]
fn nothing_explains_that_a_good_packet_is_dropped() {
    for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("fd77::1", "fd77::2")] {
        let good = frame(src, dst, (1, 2));
        assert_eq!(World::BOTH.map(|world| row_of(&good, world)), [None, None]);
    }
}

#[test]
fn a_changed_field_is_explained_where_the_router_is_stricter_and_not_the_other_way() {
    let changed = |src: &str, dst: &str, at: usize, bytes: &[u8]| {
        let mut frame = frame(src, dst, (1, 2));
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut frame);
        frame
    };
    let v4 = |at: usize, bytes: &[u8]| changed("10.0.0.1", "10.0.0.2", at, bytes);
    let v6 = |at: usize, bytes: &[u8]| changed("fd77::1", "fd77::2", at, bytes);
    let stays = Some("group or link-local address");
    let cases = [
        (v4(0, &[2]), None),
        (v4(0, &[4]), Some("station")),
        (v4(12, &[0x81, 0, 0, 5]), Some("VLAN")),
        (v4(12, &[0x81, 0, 0xf0, 0]), None),
        (v4(12, &[0x91, 0, 0, 5]), None),
        (v4(12, &[8, 6]), Some("address resolution")),
        (v4(L3 + 8, &[2]), None),
        (v4(L3 + 8, &[1]), Some("TTL")),
        (v4(L3 + 8, &[0]), None),
        (v6(L3 + 7, &[1]), Some("TTL")),
        (v6(L3 + 7, &[0]), None),
        (v4(L3 + 12, &[127]), None),
        (v4(L3 + 12, &[224]), None),
        (v4(L3 + 16, &[223]), None),
        (v4(L3 + 16, &[224]), stays),
        (v4(L3 + 16, &[239]), stays),
        (v4(L3 + 16, &[240]), None),
        (v4(L3 + 16, &[255; 4]), stays),
        (v4(L3 + 16, &[255, 255, 255, 254]), None),
        (v6(L3 + 24, &[0xfe, 0xbf]), stays),
        (v6(L3 + 24, &[0xfe, 0xc0]), None),
        (v6(L3 + 24, &[0xff]), stays),
        (v6(L3 + 8, &[0xfe, 0x80]), stays),
        (v6(L3 + 8, &[0xff]), None),
        (v6(L3 + 6, &[59]), Some("no next header")),
        (v6(L3 + 6, &[135]), None),
    ];
    for (frame, row) in cases {
        assert_eq!(row_of(&frame, World::Nftables), row, "{frame:02x?}");
        assert_eq!(row_of(&frame, World::Gateway), None, "{frame:02x?}");
    }
}

#[test]
fn two_addresses_that_are_one_are_explained_where_bulkhead_is_stricter() {
    for (src, dst, row) in [
        ("10.0.0.1", "10.0.0.1", Some("one address")),
        ("fd77::1", "fd77::1", Some("one address")),
        ("10.0.0.1", "10.0.0.2", None),
    ] {
        let frame = frame(src, dst, (1, 2));
        assert_eq!(row_of(&frame, World::Gateway), row);
        assert_eq!(row_of(&frame, World::Nftables), None);
    }
}

#[test]
fn only_a_priority_tag_around_a_tag_is_explained() {
    let good = frame("10.0.0.1", "10.0.0.2", (1, 2));
    let tagged = |tags: &[u8]| [&good[..12], tags, &good[12..]].concat();
    for (tags, row) in [
        (&[0x81, 0, 0x60, 0, 0x81, 0, 0, 0][..], Some("tag in a priority tag")),
        (&[0x81, 0, 0, 5, 0x81, 0, 0, 0], None),
        (&[0x81, 0, 0x60, 0], None),
    ] {
        assert_eq!(row_of(&tagged(tags), World::Gateway), row, "{tags:?}");
    }
}

/// A frame with these extension headers, each with six bytes of padding or what is given.
fn extended(headers: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut frame = frame("fd77::1", "fd77::2", (1, 2));
    let mut at = L3 + 40;
    for next in headers[1..].iter().chain(&[protocol::UDP]) {
        let header = [&[*next, (rest.len() / 8) as u8], rest].concat();
        frame.splice(at..at, header.iter().copied());
        at += header.len();
    }
    let length = (frame.len() - L3 - 40) as u16;
    frame[L3 + 4..L3 + 6].copy_from_slice(&length.to_be_bytes());
    frame[L3 + 6] = headers[0];
    frame
}

#[test]
fn extension_headers_are_read_in_order() {
    let disorder = Some("extension headers in disorder");
    for (headers, row) in [
        (&[0, 60][..], None),
        (&[0, 60, 43, 44, 60], None),
        (&[60, 44], None),
        // The exported rules see these.
        (&[60, 0], None),
        (&[60, 60], None),
        (&[60; 9], None),
        (&[0, 60, 60], disorder),
        (&[60, 43, 0], disorder),
        (&[60, 43, 60, 60], disorder),
        (&[60, 44, 60], disorder),
        (&[43, 60, 44], disorder),
    ] {
        let frame = extended(headers, &[1, 4, 0, 0, 0, 0]);
        assert_eq!(row_of(&frame, World::Gateway), row, "{headers:?}");
        assert_eq!(row_of(&frame, World::Nftables), None, "{headers:?}");
    }
}

#[test]
fn an_extension_header_that_ends_within_its_packet_explains_nothing() {
    // Behind it are 24 bytes of UDP.
    for (units, row) in [(0, None), (3, None), (4, Some("extension header cut off"))] {
        let mut frame = extended(&[43], &[253, 0, 0, 0, 0, 0]);
        frame[L3 + 41] = units;
        assert_eq!(row_of(&frame, World::Gateway), row, "{units}");
        assert_eq!(row_of(&frame, World::Nftables), None, "{units}");
    }
}

#[test]
fn options_that_bulkhead_lets_pass_explain_nothing() {
    let refused = Some("IPv6 options");
    for (number, rest, row) in [
        (0, &[1, 4, 0, 0, 0, 0][..], None),
        (60, &[0; 6], None),
        (0, &[5, 2, 0, 0, 1, 0], None),
        (60, &[0x1e, 4, 0, 0, 0, 0], None),
        (0, &[0x1e, 4, 0, 0, 0, 0], refused),
        (60, &[0x5e, 4, 0, 0, 0, 0], refused),
        (60, &[1, 4, 0, 0, 1, 0], refused),
        (60, &[1, 5, 0, 0, 0, 0], refused),
        (0, &[5, 3, 0, 0, 0, 0], refused),
        (60, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], refused),
    ] {
        assert_eq!(row_of(&extended(&[number], rest), World::Gateway), row, "{number} {rest:?}");
    }
}

fn over(protocol: u8, body: Vec<u8>) -> Vec<u8> {
    let (src, dst) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    Datagram { from: End::Left, src, dst, protocol, mark: 1, body }.frame()
}

#[test]
fn a_udp_length_is_explained_only_if_it_ends_before_the_packet() {
    for (length, row) in
        [(7, None), (8, Some("UDP length")), (23, Some("UDP length")), (24, None), (25, None)]
    {
        let mut body = udp(1, 2, b"0123456789abcdef");
        body[5] = length;
        assert_eq!(row_of(&over(protocol::UDP, body), World::Gateway), row, "{length}");
    }
}

#[test]
fn sound_tcp_options_explain_nothing() {
    let bad = Some("TCP options");
    for (options, row) in [
        (&[][..], None),
        (&[2, 4, 5, 0xb4], None),
        (&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], None),
        (&[1, 3, 3, 7], None),
        (&[4, 2, 0, 0], None),
        (&[200, 4, 0, 0], None),
        (&[2, 3, 0, 0], bad),
        (&[2, 4, 5, 0xb4, 2, 4, 5, 0xb4], bad),
        (&[0, 0, 1, 0], bad),
        (&[200, 1, 0, 0], bad),
        (&[1, 1, 1, 200], bad),
        (&[200, 5, 0, 0], bad),
    ] {
        let (ports, payload) = ((1, 2), &b"xyz"[..]);
        let segment = Segment { ports, seq: 3, ack: 4, flags: 16, window: 5, options, payload };
        let frame = over(protocol::TCP, segment.bytes());
        assert_eq!(row_of(&frame, World::Gateway), row, "{options:?}");
    }
}

#[test]
fn chunks_that_fill_the_packet_explain_nothing() {
    let broken = Some("SCTP chunks");
    for (chunks, row) in [
        (&[6, 0, 0, 8, 1, 2, 3, 4][..], None),
        (&[6, 0, 0, 7, 1, 2, 3, 0], None),
        (&[6, 0, 0, 4, 0, 0, 0, 4], None),
        (&[10, 0, 0, 9, 1, 2, 3, 4], broken),
        (&[10, 0, 0, 3], broken),
        (&[11, 0, 0, 4, 0, 0], broken),
        (&[1, 0, 0, 8, 1, 2, 3, 4], broken),
    ] {
        let mut body = vec![0, 1, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0];
        body.extend(chunks);
        let frame = over(protocol::SCTP, body);
        assert_eq!(row_of(&frame, World::Gateway), row, "{chunks:?}");
        assert_eq!(row_of(&frame, World::Nftables), None, "{chunks:?}");
    }
}

/// Errors and replies are none of the row's: whether they are asked for is a matter of state.
#[test]
fn icmp_that_has_a_state_is_not_explained() {
    for kind in 0..=255 {
        let frame = over(protocol::ICMP, icmp(kind, 0, 7, b"x"));
        let stateful = matches!(kind, 0 | 3 | 4 | 5 | 8 | 11..=18);
        let row = (!stateful).then_some("ICMP without a state");
        assert_eq!(row_of(&frame, World::Nftables), row, "{kind}");
        assert_eq!(row_of(&frame, World::Gateway), None, "{kind}");
    }
}

#[test]
fn an_answer_is_explained_where_the_request_had_an_authentication_header() {
    let answer = frame("fd77::2", "fd77::1", (2, 1));
    let plain = frame("fd77::1", "fd77::2", (1, 2));
    let mut authenticated = plain.clone();
    authenticated[L3 + 6] = protocol::AH;
    for (request, from, row) in [
        (&authenticated, End::Right, Some("answer to what AH carries")),
        (&authenticated, End::Left, None),
        (&plain, End::Right, None),
    ] {
        let (earlier, stricter) = (vec![(from, &**request)], World::Gateway);
        let case = Case { from: End::Left, frame: &answer, earlier, passed: Vec::new(), stricter };
        assert_eq!(find(&case).map(|row| row.id), row);
    }
}

/// If it fails: `cargo run -p bulkhead-tests --bin truth -- --rows >tests/DIFFERENCES.md`.
#[test]
fn the_docs_have_every_row() {
    assert_eq!(include_str!("../../../DIFFERENCES.md"), differences());
}

#[test]
fn an_answer_is_from_the_wrong_side_when_its_request_came_from_there() {
    let request = frame("10.0.0.1", "10.0.0.2", (1, 2));
    let answer = frame("10.0.0.2", "10.0.0.1", (2, 1));
    let other = frame("10.0.0.2", "10.0.0.1", (2, 3));
    for (answer, asked_from, row) in [
        (&answer, End::Left, Some("wrong side")),
        (&answer, End::Right, None),
        (&other, End::Left, None),
    ] {
        let earlier = vec![(asked_from, &*request)];
        let stricter = World::Gateway;
        let case = Case { from: End::Left, frame: answer, earlier, passed: Vec::new(), stricter };
        assert_eq!(find(&case).map(|row| row.id), row);
    }
}

/// A TCP segment between the two, the first of which is on the left.
fn segment(own: bool, flags: u8, [seq, ack]: [u32; 2], window: u16, options: &[u8]) -> Vec<u8> {
    let [src, dst] = if own { ["10.0.0.1", "10.0.0.2"] } else { ["10.0.0.2", "10.0.0.1"] };
    let ports = if own { [0, 1, 0, 2] } else { [0, 2, 0, 1] };
    let mut tcp = ports.to_vec();
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    tcp.extend([(5 + options.len() as u8 / 4) << 4, flags]);
    tcp.extend(window.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(options);
    let mut frame = frame(src, dst, (1, 2));
    frame.truncate(L3 + 20);
    frame.extend(&tcp);
    frame[L3 + 9] = protocol::TCP;
    frame[L3 + 2..L3 + 4].copy_from_slice(&(20 + tcp.len() as u16).to_be_bytes());
    frame
}

#[test]
fn a_segment_is_explained_by_its_connection_only() {
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    let handshake = |scale: &[u8]| {
        [
            (End::Left, segment(true, SYN, [1000, 0], 500, scale)),
            (End::Right, segment(false, SYN | ACK, [9000, 1001], 100, scale)),
            (End::Left, segment(true, ACK, [1001, 9001], 500, &[])),
        ]
    };
    let row = |before: &[(End, Vec<u8>)], frame: &[u8]| {
        let passed: Vec<_> = before.iter().map(|(from, frame)| (*from, &**frame)).collect();
        let case = |stricter| Case {
            from: End::Left,
            frame,
            earlier: passed.clone(),
            passed: passed.clone(),
            stricter,
        };
        assert_eq!(find(&case(World::Nftables)).map(|row| row.id), None);
        find(&case(World::Gateway)).map(|row| row.id)
    };
    let plain = handshake(&[]);
    let own = |flags, seq, ack| segment(true, flags, [seq, ack], 500, &[]);
    let old = Some("old segment");
    // The other end lets 100 be sent at once, and this one 500.
    assert_eq!(row(&plain, &own(ACK, 901, 9001)), None);
    assert_eq!(row(&plain, &own(ACK, 900, 9001)), old);
    assert_eq!(row(&plain, &own(ACK, 1001, 8501)), None);
    assert_eq!(row(&plain, &own(ACK, 1001, 8500)), old);
    assert_eq!(row(&plain, &own(ACK, 2000, 9900)), None, "ahead is another matter");
    assert_eq!(row(&plain[..0], &own(ACK, 900, 9001)), None, "it has no connection");
    // Windows of SYNs are not scaled, that of the last acknowledgement is.
    let scaled = handshake(&[1, 3, 3, 1]);
    assert_eq!(row(&scaled, &own(ACK, 1001, 8001)), None);
    assert_eq!(row(&scaled, &own(ACK, 1001, 8000)), old);
    let numbers = Some("numbers of a handshake");
    let back = [(End::Right, segment(false, SYN, [9000, 0], 100, &[]))];
    assert_eq!(row(&back, &own(SYN | ACK, 1000, 9001)), None);
    assert_eq!(row(&back, &own(SYN | ACK, 1000, 9000)), numbers);
    let answered = [back[0].clone(), (End::Left, own(SYN | ACK, 1000, 9001))];
    assert_eq!(row(&answered, &own(SYN | ACK, 1000, 9001)), None, "it is sent again");
    assert_eq!(row(&answered, &own(SYN | ACK, 1001, 9001)), numbers);
}

#[test]
fn sctp_is_explained_before_the_cookie_is_echoed() {
    let packet = |chunk: u8| {
        let mut frame = frame("10.0.0.1", "10.0.0.2", (1, 2));
        frame.truncate(L3 + 24);
        frame[L3 + 9] = protocol::SCTP;
        frame.extend([0; 8]);
        frame.extend([chunk, 0, 0, 4]);
        frame[L3 + 3] = (frame.len() - L3) as u8;
        frame
    };
    let echoed = packet(10);
    let row = |chunk, passed: Vec<(End, &[u8])>| {
        let (frame, stricter) = (packet(chunk), World::Gateway);
        let case = Case { from: End::Left, frame: &frame, earlier: vec![], passed, stricter };
        find(&case).map(|row| row.id)
    };
    for chunk in [0, 3, 7, 11] {
        assert_eq!(row(chunk, vec![]), Some("SCTP before the cookie"), "{chunk}");
        assert_eq!(row(chunk, vec![(End::Right, &*echoed)]), None, "{chunk}");
    }
    let acknowledged = packet(2);
    assert_eq!(row(6, vec![]), None);
    assert_eq!(row(10, vec![]), Some("SCTP before the cookie"));
    assert_eq!(row(10, vec![(End::Right, &*acknowledged)]), None);
}
