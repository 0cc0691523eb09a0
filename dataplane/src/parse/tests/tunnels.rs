//! Tunnels: headers as in the figures of their RFCs, and packets in them.

use super::*;
use fastrand::Rng;
use testing::{arp, checksum};

const ALL: Tunnels = Tunnels::NONE.with(Tunnel::Vxlan).with(Tunnel::Geneve).with(Tunnel::Gre);
const LOOKING: ParseOptions = ParseOptions { inside: ALL, ..STRICT };
const ID: u32 = 0x12_3456;

/// A frame as another host would send it: other hardware addresses than those outside.
fn inner_frame(vlans: &[u16], src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse().expect("a test writes addresses");
    let (ethertype, packet) = ip(address(src), address(dst), protocol, payload);
    let mut frame = ethernet(vlans, ethertype, &packet);
    frame[..12].copy_from_slice(&[6, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 2]);
    frame
}

/// RFC 7348, figure 1.
fn vxlan(frame: &[u8]) -> Vec<u8> {
    [&[0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0], frame].concat()
}

/// RFC 8926, figure 3, with these options.
fn geneve(flags: u8, options: &[u8], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![(options.len() / 4) as u8, flags];
    header.extend(ethertype.to_be_bytes());
    header.extend([0x12, 0x34, 0x56, 0]);
    [&header, options, payload].concat()
}

/// RFC 2890, figure 1.
fn gre(checksummed: bool, key: bool, sequence: bool, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let flags = u8::from(checksummed) << 7 | u8::from(key) << 5 | u8::from(sequence) << 4;
    let mut packet = vec![flags, 0];
    packet.extend(ethertype.to_be_bytes());
    if checksummed {
        packet.extend([0; 4]);
    }
    if key {
        packet.extend(ID.to_be_bytes());
    }
    if sequence {
        packet.extend([0, 0, 0, 9]);
    }
    packet.extend(payload);
    if checksummed {
        let sum = checksum(&[&packet]);
        packet[4..6].copy_from_slice(&sum);
    }
    packet
}

/// In UDP to `port`, or in protocol 47.
fn outside(src: &str, dst: &str, tunnel: Tunnel, packet: &[u8]) -> Vec<u8> {
    match tunnel {
        Tunnel::Vxlan => frame(src, dst, 17, &udp(50_000, 4789, packet)),
        Tunnel::Geneve => frame(src, dst, 17, &udp(50_000, 6081, packet)),
        Tunnel::Gre => frame(src, dst, 47, packet),
    }
}

#[track_caller]
fn look(bytes: &[u8]) -> Result<Option<Inner>, DropReason> {
    look_by(&LOOKING, bytes)
}

#[track_caller]
fn look_by(options: &ParseOptions, bytes: &[u8]) -> Result<Option<Inner>, DropReason> {
    let frame = FrameView { bytes, wire_len: bytes.len() as u32 };
    let parsed = parse(frame, options).expect("the outer headers are right");
    inner(frame, &parsed, options)
}

/// What `frame` is by itself, its offsets moved by `at`.
fn moved(frame: &[u8], at: usize) -> Parsed {
    let mut parsed = whole(frame).expect("it is right by itself");
    if let Content::Ip(packet) = &mut parsed.content {
        packet.l4_offset += at as u16;
        packet.neighbour_discovery = false;
    }
    parsed
}

/// Every tunnel around a frame, and around the packet in it, with where that begins.
fn around(inside: &[u8], ethertype: u16) -> Vec<(Tunnel, Vec<u8>, u32, bool)> {
    let packet = &inside[ETHERNET..];
    let options = [0, 1, 7, 1, 1, 2, 3, 4, 0xff, 0xff, 0, 0];
    let critical = [0, 1, 0x87, 0];
    vec![
        (Tunnel::Vxlan, vxlan(inside), ID, true),
        (Tunnel::Geneve, geneve(0, &[], 0x6558, inside), ID, true),
        (Tunnel::Geneve, geneve(0, &options, ethertype, packet), ID, false),
        (Tunnel::Geneve, geneve(0x40, &critical, 0x6558, inside), ID, true),
        (Tunnel::Gre, gre(false, false, false, ethertype, packet), 0, false),
        (Tunnel::Gre, gre(true, true, true, ethertype, packet), ID, false),
        (Tunnel::Gre, gre(true, false, false, 0x6558, inside), 0, true),
        (Tunnel::Gre, gre(false, true, false, 0x6558, inside), ID, true),
        (Tunnel::Gre, gre(false, false, true, ethertype, packet), 0, false),
    ]
}

#[test]
fn what_is_inside_is_read_as_it_would_be_outside() {
    let payloads = [
        (6, tcp(1000, 80, 2)),
        (17, udp(1, 2, &[3; 9])),
        (47, vec![1, 2]),
        (17, udp(1, 4789, &[])),
    ];
    for (src, dst) in PAIRS {
        for (inner_src, inner_dst) in [("192.168.0.1", "192.168.0.2"), ("fd01::1", "fd01::2")] {
            for (protocol, payload) in &payloads {
                let inside = inner_frame(&[], inner_src, inner_dst, *protocol, payload);
                let ethertype = u16::from_be_bytes([inside[12], inside[13]]);
                for (tunnel, packet, id, framed) in around(&inside, ethertype) {
                    let bytes = outside(src, dst, tunnel, &packet);
                    let found = look(&bytes).unwrap().expect("it is a tunnel");
                    assert_eq!((found.tunnel, found.id), (tunnel, id));
                    let at = bytes.len() - inside.len();
                    let mut expected = moved(&inside, at);
                    if !framed {
                        let outer = whole(&bytes).unwrap();
                        expected = Parsed { content: expected.content, ..outer };
                    }
                    assert_eq!(found.parsed, expected);
                    // Nothing is looked into that is not asked for.
                    assert_eq!(look_by(&STRICT, &bytes), Ok(None));
                    for other in [Tunnel::Vxlan, Tunnel::Geneve, Tunnel::Gre] {
                        let inside = Tunnels::NONE.with(other);
                        let found = look_by(&ParseOptions { inside, ..STRICT }, &bytes).unwrap();
                        assert_eq!(found.is_some(), other == tunnel);
                    }
                }
            }
        }
    }
}

#[test]
fn vlans_inside_are_those_of_the_frame_inside() {
    let inside = inner_frame(&[5, 6], SRC, DST, 17, &udp(1, 2, &[]));
    let found = look(&outside(SRC6, DST6, Tunnel::Vxlan, &vxlan(&inside))).unwrap().unwrap();
    assert_eq!(found.parsed.vlan, 5 << 16 | 6);
    assert_eq!(found.parsed.src_mac, [6, 0, 0, 0, 0, 2]);
    assert_eq!(found.parsed.dst_mac, [6, 0, 0, 0, 0, 1]);
    let deep = inner_frame(&[4, 5, 6], SRC, DST, 17, &udp(1, 2, &[]));
    assert_eq!(look(&outside(SRC, DST, Tunnel::Vxlan, &vxlan(&deep))), Err(D::TunnelInner));
}

/// Frames are padded to the least of Ethernet, packets are not.
#[test]
fn bytes_behind_are_padding_of_a_frame_and_of_nothing_else() {
    let inside = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[]));
    let padded = [&inside[..], &[0; 18]].concat();
    assert!(look(&outside(SRC, DST, Tunnel::Vxlan, &vxlan(&padded))).is_ok());
    let packet = &padded[ETHERNET..];
    let bytes = outside(SRC, DST, Tunnel::Gre, &gre(false, false, false, 0x0800, packet));
    assert_eq!(look(&bytes), Err(D::TunnelInner));
}

#[test]
fn vxlan_headers_have_one_flag_and_zeroes() {
    let inside = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[]));
    let right = vxlan(&inside);
    let look = |packet: &[u8]| look(&outside(SRC, DST, Tunnel::Vxlan, packet));
    assert!(look(&right).is_ok());
    for bit in 0..64 {
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 0x80 >> (bit % 8);
        match bit {
            32..56 => assert!(look(&wrong).is_ok(), "bit {bit} is of the identifier"),
            _ => assert_eq!(look(&wrong), Err(D::TunnelHeader), "bit {bit}"),
        }
    }
    for len in 0..8 {
        assert_eq!(look(&right[..len]), Err(D::TunnelHeader), "{len} bytes");
    }
    // Nothing behind the header, or half of a frame.
    assert_eq!(look(&right[..8]), Err(D::TunnelInner));
    assert_eq!(look(&right[..right.len() - 1]), Err(D::TunnelInner));
}

#[test]
fn geneve_headers_are_of_version_0_and_their_options_fill_their_place() {
    let inside = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[]));
    let look = |packet: &[u8]| look(&outside(SRC, DST, Tunnel::Geneve, packet));
    let right = geneve(0, &[], 0x6558, &inside);
    for bit in 0..64 {
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 0x80 >> (bit % 8);
        match bit {
            32..56 => assert!(look(&wrong).is_ok(), "bit {bit} is of the identifier"),
            // A control packet, and protocols that are not read.
            8 | 16..32 => assert_eq!(look(&wrong), Err(D::TunnelInner), "bit {bit}"),
            // Of the length of options: the frame is taken for some.
            2..8 => assert!(look(&wrong).is_err(), "bit {bit}"),
            _ => assert_eq!(look(&wrong), Err(D::TunnelHeader), "bit {bit}"),
        }
    }
    for len in 0..8 {
        assert_eq!(look(&right[..len]), Err(D::TunnelHeader), "{len} bytes");
    }
    let with = |flags: u8, options: &[u8]| look(&geneve(flags, options, 0x6558, &inside));
    assert!(with(0, &[0, 1, 7, 0, 0, 2, 7, 1, 1, 2, 3, 4]).is_ok());
    assert!(with(0, &[0; 252]).is_ok(), "sixty-three options of nothing");
    // Longer than the place, reserved bits, and criticality that the header does not know of.
    for (flags, options) in [
        (0, [0, 1, 7, 1]),
        (0, [0, 1, 7, 0x20]),
        (0, [0, 1, 7, 0x1f]),
        (0, [0, 1, 0x87, 0]),
        (0x40, [0, 1, 7, 0]),
    ] {
        assert_eq!(with(flags, &options), Err(D::TunnelHeader), "{flags} {options:?}");
    }
    assert_eq!(with(0x40, &[]), Err(D::TunnelHeader), "critical options, and none there");
    // Options that reach behind the packet.
    let mut long = geneve(0, &[], 0x6558, &[]);
    long[0] = 1;
    assert_eq!(look(&long), Err(D::TunnelHeader));
}

#[test]
fn gre_headers_have_the_three_flags_that_are_known_and_version_0() {
    let packet = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[]))[ETHERNET..].to_vec();
    let look = |packet: &[u8]| look(&outside(SRC, DST, Tunnel::Gre, packet));
    let right = gre(false, false, false, 0x0800, &packet);
    assert!(look(&right).is_ok());
    // Routing, the strict source route, recursion control and flags of RFC 1701, version 1 (PPTP).
    for bit in [1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 0x80 >> (bit % 8);
        assert_eq!(look(&wrong), Err(D::TunnelHeader), "bit {bit}");
    }
    let full = gre(true, true, true, 0x0800, &packet);
    for len in 0..16 {
        assert_eq!(look(&full[..len]), Err(D::TunnelHeader), "{len} bytes");
    }
    for ethertype in [0x0806, 0x880b, 0x8100, 0x86dd, 0] {
        assert_eq!(look(&gre(false, false, false, ethertype, &packet)), Err(D::TunnelInner));
    }
}

#[test]
fn the_checksum_of_gre_is_over_all_of_it() {
    let packet = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[7]))[ETHERNET..].to_vec();
    let right = gre(true, true, false, 0x0800, &packet);
    let bytes = outside(SRC, DST, Tunnel::Gre, &right);
    assert!(look(&bytes).is_ok());
    let off = ParseOptions { checksums: Checksums::Off, ..LOOKING };
    for at in [4, 5, 8, 11, right.len() - 1] {
        let wrong = spoilt(&bytes, bytes.len() - right.len() + at, &[right[at] ^ 0x40]);
        assert_eq!(look(&wrong), Err(D::TunnelHeader), "byte {at}");
        assert!(look_by(&off, &wrong).is_ok(), "byte {at}");
    }
    // Reserved, though the sum is right.
    let mut reserved = right.clone();
    (reserved[4], reserved[5], reserved[7]) = (0, 0, 1);
    let sum = checksum(&[&reserved]);
    reserved[4..6].copy_from_slice(&sum);
    assert_eq!(look(&outside(SRC, DST, Tunnel::Gre, &reserved)), Err(D::TunnelHeader));
}

#[test]
fn what_no_rule_could_judge_is_refused_inside() {
    let mut first = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[0; 8]));
    first = sealed(spoilt(&first, ETHERNET + 6, &[0x20, 0]));
    let mut wrong = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[0; 8]));
    *wrong.last_mut().unwrap() ^= 1;
    let mut group = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[]));
    group[6] = 1;
    let refused = [
        ("ARP", ethernet(&[], 0x0806, &arp(1, [10, 0, 0, 1], [10, 0, 0, 2]))),
        ("another EtherType", ethernet(&[], 0x88cc, &[0; 50])),
        ("a first fragment", first),
        ("a wrong checksum", wrong),
        ("a group as source", group),
    ];
    for (what, inside) in refused {
        for tunnel in [Tunnel::Vxlan, Tunnel::Geneve, Tunnel::Gre] {
            let packet = match tunnel {
                Tunnel::Vxlan => vxlan(&inside),
                Tunnel::Geneve => geneve(0, &[], 0x6558, &inside),
                Tunnel::Gre => gre(false, false, false, 0x6558, &inside),
            };
            let bytes = outside(SRC, DST, tunnel, &packet);
            assert_eq!(look(&bytes), Err(D::TunnelInner), "{what} in {tunnel:?}");
        }
    }
}

/// A rule has to ask for it: the host that it is from is not on this link.
#[test]
fn neighbour_discovery_inside_is_a_packet_like_any_other() {
    let solicitation = [&icmp(135, 0, 0)[..], &[0; 16]].concat();
    let mut inside = inner_frame(&[], SRC6, DST6, 58, &solicitation);
    inside[ETHERNET + 7] = 255;
    let inside = sealed(inside);
    assert!(accepted(&inside).neighbour_discovery);
    let found = look(&outside(SRC, DST, Tunnel::Vxlan, &vxlan(&inside))).unwrap().unwrap();
    let Content::Ip(packet) = found.parsed.content else { panic!("{found:?}") };
    assert!(!packet.neighbour_discovery && packet.src_port == 135);
}

#[test]
fn a_fragment_of_a_tunnel_packet_is_not_looked_into() {
    let inside = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[0; 40]));
    let bytes = outside(SRC, DST, Tunnel::Vxlan, &vxlan(&inside));
    let first = sealed(spoilt(&bytes, ETHERNET + 6, &[0x20, 0]));
    assert_eq!(look(&first), Ok(None));
    assert_eq!(Tunnel::of(&accepted(&first)), None);
    assert_eq!(Tunnel::of(&accepted(&bytes)), Some(Tunnel::Vxlan));
}

#[test]
fn a_capture_cut_inside_says_so() {
    let inside = inner_frame(&[], SRC, DST, 6, &tcp(1, 2, 2));
    let bytes = outside(SRC, DST, Tunnel::Gre, &gre(true, false, false, 0x6558, &inside));
    for len in ETHERNET + 20..bytes.len() {
        let frame = FrameView { bytes: &bytes[..len], wire_len: bytes.len() as u32 };
        let parsed = parse(frame, &LOOKING).expect("the outer header is there");
        assert_eq!(inner(frame, &parsed, &LOOKING), Err(D::CaptureCut), "{len} bytes");
    }
    // All headers are there when the last byte of data is not.
    let inside = inner_frame(&[], SRC, DST, 17, &udp(1, 2, &[1, 2, 3]));
    let bytes = outside(SRC, DST, Tunnel::Vxlan, &vxlan(&inside));
    let frame = FrameView { bytes: &bytes[..bytes.len() - 3], wire_len: bytes.len() as u32 };
    let parsed = parse(frame, &LOOKING).unwrap();
    assert!(inner(frame, &parsed, &LOOKING).unwrap().is_some());
}

/// Whatever is inside: no panic, and what is accepted is what the frame is by itself.
#[test]
fn mutations_inside_neither_panic_nor_pass_as_something_else() {
    let mut rng = Rng::with_seed(8);
    let seeds = super::random::seeds();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let mut inside = rng.choice(&seeds).expect("there are some").clone();
        for _ in 0..rng.usize(0..3) {
            let at = rng.usize(0..inside.len().min(90));
            inside[at] ^= 1 << rng.u8(0..8);
        }
        let options = [0, 1, rng.u8(..), rng.u8(..2), 0, 0, 0, rng.u8(..2)];
        let (tunnel, header) = match rng.u8(0..3) {
            0 => (Tunnel::Vxlan, vxlan(&[])),
            1 => (Tunnel::Geneve, geneve(rng.u8(..2) << 6, &options, 0x6558, &[])),
            _ => (Tunnel::Gre, gre(false, rng.bool(), rng.bool(), 0x6558, &[])),
        };
        let (src, dst) = PAIRS[rng.usize(..2)];
        let bytes = outside(src, dst, tunnel, &[&header[..], &inside].concat());
        match (look(&bytes), whole(&inside)) {
            (Ok(found), Ok(Parsed { content: Content::Ip(packet), .. })) => {
                assert!(!packet.is_partial());
                let mut found = found.expect("it is a tunnel").parsed;
                let mut expected = moved(&inside, bytes.len() - inside.len());
                for parsed in [&mut found, &mut expected] {
                    if let Content::Ip(packet) = &mut parsed.content {
                        // Where the fragment header of one that is none points.
                        packet.fragment = None;
                    }
                }
                assert_eq!(found, expected);
                accepted += 1;
            }
            (Ok(found), alone) => panic!("{found:?} of {alone:?}"),
            (Err(D::TunnelHeader), _) => assert_eq!(tunnel, Tunnel::Geneve),
            (Err(reason), alone) => {
                assert_eq!(reason, D::TunnelInner);
                let judged = alone.is_ok_and(
                    |parsed| matches!(parsed.content, Content::Ip(packet) if !packet.is_partial()),
                );
                assert!(!judged, "{alone:?}");
                refused += 1;
            }
        }
    }
    assert!(accepted > 5000 && refused > 5000, "{accepted} accepted, {refused} refused");
}

#[test]
fn packets_that_others_wrote_are_read() {
    let lines: Vec<_> = include_str!("tunnels.txt").lines().collect();
    // Text, an empty line, text, an empty line; then two lines a case.
    let first = lines.iter().rposition(|line| line.is_empty()).expect("an empty line") + 1;
    let cases = lines[first..].chunks_exact(2);
    assert_eq!(cases.len(), 21);
    for case in cases {
        let said = match look(&hex(case[1])) {
            Ok(found) => {
                let Inner { tunnel, id, parsed } = found.expect("it is a tunnel");
                let Content::Ip(packet) = parsed.content else { panic!("{parsed:?}") };
                let [src, dst] = [packet.src, packet.dst].map(|bits| packet.family.ip_addr(bits));
                let tunnel = format!("{tunnel:?}").to_lowercase();
                format!("{tunnel} {id} {src} {dst} {}", packet.protocol)
            }
            Err(reason) => reason.as_str().to_owned(),
        };
        assert_eq!(said, case[0], "{}", case[1]);
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
