//! Seeds mutated at random: no panic, and what is accepted is within its frame and its rules.

use super::*;
use fastrand::Rng;
use proptest::test_runner::Config;
use testing::{arp, sctp};

pub(super) fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Frames of every kind that the parser knows.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let syn_options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
    let mut syn = tcp(1000, 80, 2);
    syn.extend(syn_options);
    syn[12] = 0xa0;
    let option = [&[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0][..], &[1, 2, 3]].concat();
    let mut seeds = vec![
        with(&frame(SRC, DST, 47, &option), ETHERNET, &[0x48]),
        with(&frame(SRC, DST, 17, &[7; 16]), ETHERNET + 6, &[0x20, 1]),
        ethernet(&[], 0x0806, &arp(1, [10, 0, 0, 1], [10, 0, 0, 2])),
        ethernet(&[5, 6], 0x1234, &[0; 20]),
        chain(&[0, 60, 43, 44, 60], 6, &syn),
        spoilt(&chain(&[0, 44], 6, &syn), ETHERNET + 51, &[1]),
        spoilt(&chain(&[60, 44], 17, &[7; 16]), ETHERNET + 51, &[8]),
        frame(SRC6, DST6, 0, &[58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (src, dst) in PAIRS {
        seeds.push(frame(src, dst, 6, &syn));
        seeds.push(frame(src, dst, 17, &udp(68, 67, &[1, 2, 3])));
        seeds.push(frame(src, dst, 132, &sctp(1, 2, 9, &[(10, &[1; 5]), (0, &[2; 13])])));
        seeds.push(frame(src, dst, 1, &icmp(8, 0, 9)));
        seeds.push(frame(src, dst, 58, &icmp(135, 0, 0)));
        seeds.push(frame(src, dst, 47, &[1, 2, 3, 4]));
    }
    seeds
}

/// Changes some bytes, the length or the order of parts.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    const TELLING: [u8; 16] = [0, 1, 4, 5, 6, 17, 43, 44, 58, 59, 60, 0x7f, 0x80, 0xe0, 0xfe, 0xff];
    for _ in 0..rng.usize(0..5) {
        let Some(last) = bytes.len().checked_sub(1) else { return };
        // Headers are where it hurts.
        let at = rng.usize(0..=last.min(110));
        match rng.u8(0..10) {
            0..4 => bytes[at] = *rng.choice(&TELLING).expect("there are some"),
            4..6 => bytes[at] = rng.u8(..),
            6..8 => bytes[at] ^= 1 << rng.u8(0..8),
            8 => bytes.truncate(at),
            _ => {
                let piece = bytes[at..(at + 8).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

/// Everything that holds of a packet that was accepted.
fn assert_sound(packet: &IpPacket, frame: &[u8]) {
    let end = usize::from(packet.l4_offset) + usize::from(packet.l4_len);
    assert!(end <= frame.len());
    assert!(packet.hop_limit > 0 && packet.dscp < 64);
    assert_ne!(packet.src, packet.dst);
    if packet.is_partial() {
        let fragment = packet.fragment.expect("a part has a place");
        assert_eq!(fragment.payload_offset, packet.l4_offset);
        assert_eq!(fragment.payload_len, packet.l4_len);
        assert!(fragment.offset.is_multiple_of(8));
        assert_eq!((packet.src_port, packet.dst_port, packet.l4), (0, 0, L4::None));
        return;
    }
    if matches!(packet.protocol, 6 | 17 | 132) {
        assert!(packet.src_port > 0 && packet.dst_port > 0);
    }
    match packet.l4 {
        L4::Tcp(segment) => {
            assert_eq!(packet.protocol, 6);
            assert!(segment.payload + 20 <= packet.l4_len);
            assert!(segment.window_scale.is_none_or(|scale| scale <= 14 && segment.flags & 2 != 0));
        }
        L4::Icmp(icmp) => {
            assert_eq!((packet.src_port, packet.dst_port), (icmp.kind.into(), icmp.code.into()));
        }
        L4::Sctp(SctpPacket { chunk, tag, .. }) => assert_eq!(chunk == 1, tag == 0),
        L4::None => assert!(!matches!(packet.protocol, 6 | 132)),
    }
    // Nothing behind the packet counts, and nothing is read of it.
    let alone = whole(&frame[..end]).expect("padding is not needed");
    assert_eq!(packet_of(Ok(alone)), *packet);
}

#[test]
fn two_hundred_thousand_mutations_neither_panic_nor_break_a_promise() {
    let seeds = seeds();
    let mut rng = Rng::with_seed(4);
    let mut accepted = 0;
    let mut refused = [0u32; DropReason::COUNT];
    for _ in 0..200_000 {
        let mut bytes = rng.choice(&seeds).expect("there are some").clone();
        mutate(&mut bytes, &mut rng);
        if rng.bool() {
            bytes = sealed(bytes);
        }
        match whole(&bytes) {
            Ok(parsed) => {
                accepted += 1;
                if let Content::Ip(packet) = parsed.content {
                    assert_sound(&packet, &bytes);
                }
            }
            Err(reason) => refused[reason as usize] += 1,
        }
        let everything = ParseOptions {
            max_frame: u32::MAX,
            checksums: Checksums::AcceptPartial,
            ipv4_options: Ipv4Options::ROUTER_ALERT.with(Ipv4Options::RECORD_ROUTE),
            ipv6_hop_by_hop_options: true,
            ipv6_source_routes: true,
            ipv6_unknown_headers: true,
            inside: Tunnels::NONE,
        };
        let relaxed = by(&everything, &bytes);
        if let Ok(strict) = whole(&bytes) {
            assert_eq!(relaxed, Ok(strict), "what is strict passes everywhere");
        }
        cut_says_no_more(&bytes, rng.usize(0..=bytes.len()));
    }
    assert!(accepted > 20_000, "{accepted} accepted");
    // The mutations reach what they are meant to reach.
    let reached = refused.iter().filter(|count| **count > 0).count();
    assert!(reached > 33, "{reached} reasons");
}

/// A cut frame is judged as the whole one, but for what lies in the part that was cut off.
fn cut_says_no_more(bytes: &[u8], len: usize) {
    let cut = parse(FrameView { bytes: &bytes[..len], wire_len: bytes.len() as u32 }, &STRICT);
    match (cut, whole(bytes)) {
        (Err(D::CaptureCut), _) => assert!(len < bytes.len()),
        (
            cut,
            Err(D::TcpChecksum | D::UdpChecksum | D::IcmpChecksum | D::SctpChecksum | D::SctpChunk),
        ) => assert!(cut != Err(D::Ipv4Checksum)),
        (cut, whole) => assert_eq!(cut, whole),
    }
}

#[test]
fn random_bytes_do_not_panic() {
    let mut rng = Rng::with_seed(5);
    for _ in 0..50_000 {
        let mut bytes: Vec<u8> = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
        if bytes.len() > 16 {
            bytes[6] = 2;
            let start: [u8; 3] = *rng
                .choice(&[[0x08, 0x00, 0x45], [0x86, 0xdd, 0x60], [0x08, 0x06, 0], [0x81, 0, 0]])
                .expect("there are some");
            bytes[12..15].copy_from_slice(&start);
        }
        let bytes = sealed(bytes);
        if let Ok(Parsed { content: Content::Ip(packet), .. }) = whole(&bytes) {
            assert_sound(&packet, &bytes);
        }
        let _ = parse(FrameView { bytes: &bytes, wire_len: rng.u32(..) }, &STRICT);
    }
}
