//! Checksums: the sums themselves, and what is asked of them.

use super::super::checksum;
use super::*;
use proptest::prelude::*;
use testing::sctp;

/// Where the checksum of each transport header is, with a frame to try it on.
fn covered() -> Vec<(Vec<u8>, usize, DropReason)> {
    let mut frames = Vec::new();
    for (src, dst) in PAIRS {
        let l4 = ETHERNET + if src == SRC { 20 } else { 40 };
        let mut segment = tcp(1, 2, 0x18);
        segment.extend([1, 2, 3]);
        frames.push((frame(src, dst, 6, &segment), l4 + 16, D::TcpChecksum));
        frames.push((frame(src, dst, 17, &udp(1, 2, &[4, 5, 6])), l4 + 6, D::UdpChecksum));
        let chunk = sctp(1, 2, 9, &[(0, &[7; 16])]);
        frames.push((frame(src, dst, 132, &chunk), l4 + 8, D::SctpChecksum));
        let (protocol, kind) = if src == SRC { (1, 8) } else { (58, 128) };
        let echo = [&icmp(kind, 0, 1)[..], &[1, 2, 3]].concat();
        frames.push((frame(src, dst, protocol, &echo), l4 + 2, D::IcmpChecksum));
    }
    frames.push((chain(&[0, 60], 17, &udp(1, 2, &[4, 5, 6])), ETHERNET + 56 + 6, D::UdpChecksum));
    frames
}

fn mode(checksums: Checksums) -> ParseOptions {
    ParseOptions { checksums, ..STRICT }
}

#[test]
fn a_bit_flipped_anywhere_under_a_checksum_is_found() {
    for (bytes, field, reason) in covered() {
        accepted(&bytes);
        for at in field..bytes.len() {
            // An IPv4 UDP checksum of zero is none, and chunks and headers have rules of their own.
            let flipped = spoilt(&bytes, at, &[bytes[at] ^ 0x10]);
            let refusal = whole(&flipped).expect_err("it was spoilt");
            if refusal != reason {
                assert_eq!(refusal, D::SctpChunk, "byte {at}");
            }
            let relaxed = by(&mode(Checksums::AcceptPartial), &flipped);
            assert_eq!(relaxed, Err(refusal));
            if refusal == reason {
                assert!(by(&mode(Checksums::Off), &flipped).is_ok());
            }
        }
        // Both addresses are under it, but for SCTP and ICMP over IPv4.
        let v4 = bytes[12] == 0x08;
        let addresses = if v4 { 26..34 } else { 22..54 };
        for at in [addresses.start + 3, addresses.end - 1] {
            let flipped = spoilt(&bytes, at, &[bytes[at] ^ 0x40]);
            let flipped = if v4 { ipv4_sealed(flipped) } else { flipped };
            let without = reason == D::SctpChecksum || (reason == D::IcmpChecksum && v4);
            assert_eq!(whole(&flipped).err(), (!without).then_some(reason));
        }
    }
}

/// `frame` with the right IPv4 header checksum, and no other touched.
fn ipv4_sealed(mut frame: Vec<u8>) -> Vec<u8> {
    frame[24..26].fill(0);
    let sum = testing::checksum(&[&frame[14..34]]);
    frame[24..26].copy_from_slice(&sum);
    frame
}

#[test]
fn udp_over_ipv4_may_have_no_checksum_and_over_ipv6_not() {
    let none = |src, dst, field| spoilt(&frame(src, dst, 17, &udp(1, 2, &[3])), field, &[0, 0]);
    let (v4, v6) = (none(SRC, DST, ETHERNET + 26), none(SRC6, DST6, ETHERNET + 46));
    assert_eq!(accepted(&v4).dst_port, 2);
    assert_eq!(refused(&v6), D::UdpChecksum);
    assert_eq!(by(&mode(Checksums::AcceptPartial), &v6), Err(D::UdpChecksum));
    assert!(by(&mode(Checksums::Off), &v6).is_ok());
}

#[test]
fn a_partial_checksum_is_the_sum_of_the_pseudo_header() {
    for (bytes, field, reason) in covered() {
        let v4 = bytes[12] == 0x08;
        let addresses = if v4 { &bytes[26..34] } else { &bytes[22..54] };
        let l4 = match reason {
            D::TcpChecksum => field - 16,
            D::UdpChecksum => field - 6,
            _ => continue,
        };
        let length = ((bytes.len() - l4) as u32).to_be_bytes();
        let protocol = [0, 0, 0, if reason == D::TcpChecksum { 6 } else { 17 }];
        // The complement of the checksum is the folded sum.
        let partial = testing::checksum(&[addresses, &length, &protocol]).map(|byte| !byte);
        let left = spoilt(&bytes, field, &partial);
        assert_eq!(refused(&left), reason);
        assert_eq!(by(&mode(Checksums::AcceptPartial), &left), whole(&bytes));
        for wrong in [[partial[0], partial[1] ^ 1], partial.map(|byte| !byte)] {
            let spoilt = spoilt(&bytes, field, &wrong);
            assert_eq!(by(&mode(Checksums::AcceptPartial), &spoilt), Err(reason));
        }
    }
    // SCTP leaves zero.
    let bytes = frame(SRC, DST, 132, &sctp(1, 2, 9, &[(0, &[7; 16])]));
    let left = spoilt(&bytes, ETHERNET + 28, &[0; 4]);
    assert_eq!(refused(&left), D::SctpChecksum);
    assert_eq!(by(&mode(Checksums::AcceptPartial), &left), whole(&bytes));
}

#[test]
fn a_checksum_of_all_ones_is_a_right_one() {
    // The data is chosen so that everything else sums up to minus zero.
    let bytes = frame(SRC, DST, 17, &udp(1, 2, &[0, 0]));
    let filler = [bytes[40], bytes[41]];
    let bytes = with(&bytes, 42, &filler);
    assert_eq!(bytes[40..42], [0xff, 0xff], "the test makes the sum it wants");
    accepted(&bytes);
}

#[test]
fn crc32c_is_that_of_the_published_vectors() {
    // RFC 3720, B.4, and the check value of the catalogue of CRCs.
    let ascending: Vec<u8> = (0..32).collect();
    let descending: Vec<u8> = (0..32).rev().collect();
    let read: [u8; 48] = [
        0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0,
        0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
    ];
    let vectors: [(&[u8], u32); 6] = [
        (&[0; 32], 0x8a91_36aa),
        (&[0xff; 32], 0x62a8_ab43),
        (&ascending, 0x46dd_794e),
        (&descending, 0x113f_db5c),
        (&read, 0xd996_3a56),
        (b"123456789", 0xe306_9283),
    ];
    for (bytes, crc) in vectors {
        assert_eq!(!checksum::advance(!0, bytes), crc);
        assert_eq!(testing::crc32c(bytes), crc, "the tests' own");
    }
}

#[test]
fn the_example_of_rfc_1071_sums_up() {
    // Section 3: the sum is ddf2, in the byte order of the bytes.
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum::fold(checksum::sum(&bytes)).to_be(), 0xddf2_u16);
    assert_eq!(testing::checksum(&[&bytes]), [0x22, 0x0d]);
}

proptest! {
    #![proptest_config(super::random::config(2000))]

    #[test]
    fn sums_are_those_of_the_definition_and_of_etherparse(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0u8), Just(0xff)], 0..200),
        more in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let ours = checksum::fold(checksum::sum(&bytes));
        prop_assert_eq!((!ours).to_ne_bytes(), testing::checksum(&[&bytes]));
        let theirs = etherparse::checksum::Sum16BitWords::new().add_slice(&bytes).ones_complement();
        prop_assert_eq!(!ours, theirs);
        // Parts that begin at even bytes add up.
        let (one, other) = bytes.split_at(bytes.len() / 4 * 2);
        let parts = checksum::sum(one) + checksum::sum(other);
        prop_assert_eq!(checksum::fold(parts), ours);
        let crc = checksum::advance(checksum::advance(!0, &bytes), &more);
        prop_assert_eq!(!crc, testing::crc32c(&[bytes, more].concat()));
    }
}

/// Carries that go round are what 65,536 = 1 modulo 65,535 says.
#[test]
fn a_sum_of_any_size_folds_to_its_rest_modulo_65535() {
    let mut rng = fastrand::Rng::with_seed(6);
    let corners = [1, 0xffff, 0x1_0000, 0x1_ffff, 0xffff_ffff, 0x1_0000_ffff, 0x1_0000_ffff_ffff];
    let random = (0..10_000).map(|_| rng.u64(..) >> rng.u32(0..64) | 0xffff);
    for sum in corners.into_iter().chain([u64::MAX, u64::MAX - 1]).chain(random) {
        let rest = match (sum % 0xffff) as u16 {
            0 => 0xffff,
            rest => rest,
        };
        assert_eq!(checksum::fold(sum), rest, "{sum:#x}");
    }
    assert_eq!(checksum::fold(0), 0);
}

#[test]
fn the_longest_packet_of_all_ones_does_not_overflow_the_sum() {
    let bytes = vec![0xff; 65_535];
    let ours = checksum::fold(checksum::sum(&bytes));
    assert_eq!((!ours).to_ne_bytes(), testing::checksum(&[&bytes]));
}
