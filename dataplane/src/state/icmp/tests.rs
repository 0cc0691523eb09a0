//! Quoted packets against etherparse, which makes them, and the token bucket by hand.

use super::*;
use crate::flows::Rate;
use etherparse::{IpNumber, Ipv6Extensions, PacketBuilder};

const SECOND: u64 = 1_000_000_000;

fn v4(address: [u8; 4]) -> u128 {
    u128::from(u32::from_be_bytes(address))
}

fn build<F: Fn(&mut Vec<u8>)>(write: F) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

const A: [u8; 4] = [10, 0, 1, 2];
const B: [u8; 4] = [10, 0, 2, 3];
const C: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const D: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// A quote cut at every length: read from eight octets of transport on, and the same throughout.
fn at_every_length(packet: &[u8], family: Family, header: usize, expected: Quote) {
    for length in 0..=packet.len() {
        let quote = quoted(&packet[..length], family);
        if length < header + 8 {
            assert_eq!(quote, Err(DropReason::IcmpErrorQuote), "{length}");
        } else {
            assert_eq!(quote, Ok(expected), "{length}");
        }
    }
}

#[test]
fn tcp_udp_and_echo_in_ipv4_are_read() {
    let quote = |protocol, src_port, dst_port, length, place| Quote {
        src: v4(A),
        dst: v4(B),
        protocol,
        src_port,
        dst_port,
        length,
        place,
    };
    let tcp = build(|out| {
        let packet = PacketBuilder::ipv4(A, B, 3).tcp(4000, 80, 0xdead_beef, 1000);
        packet.write(out, &[0; 100]).expect("it fits");
    });
    at_every_length(&tcp, Family::V4, 20, quote(6, 4000, 80, 140, Place::Tcp(0xdead_beef)));
    let udp = build(|out| {
        PacketBuilder::ipv4(A, B, 3).udp(4000, 53).write(out, &[0; 9]).expect("it fits");
    });
    at_every_length(&udp, Family::V4, 20, quote(17, 4000, 53, 37, Place::None));
    for (request, place) in [(true, Place::Echo(true)), (false, Place::Echo(false))] {
        let echo = build(|out| {
            let packet = PacketBuilder::ipv4(A, B, 3);
            let packet = if request {
                packet.icmpv4_echo_request(77, 1)
            } else {
                packet.icmpv4_echo_reply(77, 1)
            };
            packet.write(out, &[0; 8]).expect("it fits");
        });
        at_every_length(&echo, Family::V4, 20, quote(1, 77, 0, 36, place));
    }
}

#[test]
fn tcp_udp_and_echo_in_ipv6_are_read() {
    let quote = |protocol, src_port, dst_port, length, place| Quote {
        src: u128::from_be_bytes(C),
        dst: u128::from_be_bytes(D),
        protocol,
        src_port,
        dst_port,
        length,
        place,
    };
    let tcp = build(|out| {
        let packet = PacketBuilder::ipv6(C, D, 3).tcp(4000, 80, 0xdead_beef, 1000);
        packet.write(out, &[0; 100]).expect("it fits");
    });
    at_every_length(&tcp, Family::V6, 40, quote(6, 4000, 80, 160, Place::Tcp(0xdead_beef)));
    let echo = build(|out| {
        let packet = PacketBuilder::ipv6(C, D, 3).icmpv6_echo_request(77, 1);
        packet.write(out, &[0; 8]).expect("it fits");
    });
    at_every_length(&echo, Family::V6, 40, quote(58, 77, 0, 56, Place::Echo(true)));
}

#[test]
fn options_and_extension_headers_are_stepped_over() {
    let mut packet = build(|out| {
        PacketBuilder::ipv4(A, B, 3).udp(4000, 53).write(out, &[0; 4]).expect("it fits");
    });
    packet[0] = 0x47;
    packet[3] += 8;
    packet.splice(20..20, [1; 8]);
    let quote = quoted(&packet, Family::V4).expect("it is whole");
    assert_eq!((quote.src_port, quote.dst_port, quote.length), (4000, 53, 40));

    // Hop-by-hop, destination options and the first fragment, 8 octets each.
    let mut packet = build(|out| {
        PacketBuilder::ipv6(C, D, 3).udp(4000, 53).write(out, &[0; 4]).expect("it fits");
    });
    packet[6] = 0;
    packet[5] += 24;
    let mut extensions = vec![60, 0, 1, 4, 0, 0, 0, 0];
    extensions.extend([44, 0, 1, 4, 0, 0, 0, 0]);
    extensions.extend([17, 0, 0, 1, 0, 0, 0, 9]);
    packet.splice(40..40, extensions);
    let (_, next, rest) =
        Ipv6Extensions::from_slice(IpNumber(0), &packet[40..]).expect("etherparse reads them too");
    assert_eq!((next.0, rest.len()), (17, 12));
    let quote = quoted(&packet, Family::V6).expect("it is whole");
    assert_eq!((quote.protocol, quote.src_port, quote.dst_port), (17, 4000, 53));
    // A later fragment has no ports.
    packet[40 + 16 + 3] |= 8;
    assert_eq!(quoted(&packet, Family::V6), Err(DropReason::IcmpErrorQuote));
}

#[test]
fn what_cannot_be_told_is_refused() {
    let good = build(|out| {
        PacketBuilder::ipv4(A, B, 3).udp(4000, 53).write(out, &[0; 4]).expect("it fits");
    });
    // Version, header length, total length, fragment offset: octet and value.
    for (at, value) in [(0, 0x65), (0, 0x44), (0, 0x40), (3, 27), (3, 0), (7, 1), (6, 0x10)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(quoted(&bad, Family::V4), Err(DropReason::IcmpErrorQuote), "{at} {value:#x}");
    }
    assert_eq!(quoted(&good, Family::V6), Err(DropReason::IcmpErrorQuote));
    // More fragments, and a checksum that is wrong after the hop limit went down, are as they come.
    for (at, value) in [(6, 0x20), (6, 0x40), (8, 0), (10, 0x55)] {
        let mut changed = good.clone();
        changed[at] = value;
        assert!(quoted(&changed, Family::V4).is_ok(), "{at} {value:#x}");
    }
    // An error is not quoted by an error (RFC 1122, 3.2.2).
    for kind in 0..=255 {
        let mut icmp = good.clone();
        icmp[9] = 1;
        icmp[20] = kind;
        icmp[21] = 0;
        assert_eq!(quoted(&icmp, Family::V4).is_ok(), kind == 0 || kind == 8, "{kind}");
    }
    // Nine extension headers, or a chain that ends nowhere.
    let mut endless = vec![0; 40 + 8 * 12];
    endless[0] = 0x60;
    endless[5] = 8 * 12;
    assert_eq!(quoted(&endless, Family::V6), Err(DropReason::IcmpErrorQuote));
}

#[test]
fn nothing_in_a_quote_makes_it_panic() {
    let mut word = 1u64;
    for _ in 0..200_000 {
        let mut bytes = [0u8; 96];
        for chunk in bytes.chunks_mut(8) {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            chunk.copy_from_slice(&(word ^ word >> 29).to_le_bytes());
        }
        let length = usize::from(bytes[95]) % 96;
        bytes[0] = if bytes[94] & 1 == 0 { 0x45 | bytes[0] & 7 } else { 0x60 };
        // Chains of extension headers, which chance seldom makes.
        bytes[6] = [0, 43, 44, 60, 6][usize::from(bytes[6]) % 5];
        for family in [Family::V4, Family::V6] {
            let _ = quoted(&bytes[..length], family);
        }
    }
}

fn full(per_second: u32, burst: u32) -> TokenBucket {
    TokenBucket::full(Rate { per_second, burst })
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let mut bucket = full(10, 3);
    let now = 5 * SECOND;
    assert_eq!([(); 4].map(|()| bucket.take(now)), [true, true, true, false]);
    assert!(!bucket.take(now + SECOND / 10 - 1));
    assert!(bucket.take(now + SECOND / 10));
    assert!(!bucket.take(now + SECOND / 10));
    // Never more than the burst, however long it waits.
    let later = now + 1_000_000 * SECOND;
    assert_eq!([(); 4].map(|()| bucket.take(later)), [true, true, true, false]);
    // A clock that steps back, as in a replay, neither panics nor fills.
    assert!(!bucket.take(0));
    assert!(!full(10, 0).take(u64::MAX));
    assert!(full(u32::MAX, u32::MAX).take(u64::MAX));
    assert!(full(0, 1).take(1));
}

#[test]
fn over_a_long_time_a_bucket_gives_exactly_its_rate() {
    let mut bucket = full(7, 5);
    let taken = (0..100_000u64).filter(|tick| bucket.take(tick * 1_000_000)).count();
    // The burst, and 100 seconds at 7 a second: the last of these is due after the end.
    assert_eq!(taken, 5 + 699);
}
