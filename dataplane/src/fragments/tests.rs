//! The fragment table by hand: every rule at its boundary, timeouts to the nanosecond, bounds.

mod floods;
mod frames;
mod reference;

use super::*;
use crate::testing::tcp;
use frames::{Lab, Spec, split, v4, v6};

const SECOND: u64 = 1_000_000_000;

fn lab() -> Lab {
    Lab::new(FragmentConfig::default())
}

/// Bytes that differ from each other and begin like no extension header in particular.
fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

fn whole(offered: Option<Offered>) -> Whole {
    match offered {
        Some(Offered::Complete(whole)) => whole,
        other => panic!("{other:?}"),
    }
}

/// Offers all of `specs`, the last of which is dropped for `reason`, and with it all the others;
/// then a fragment that would be fine by itself is dropped too.
fn assert_spoils(specs: &[Spec], reason: DropReason) {
    let mut lab = lab();
    let outcome = lab.offer_all(specs);
    let all: Vec<_> = (0..specs.len()).map(|number| (number, reason)).collect();
    let mut dropped = outcome.dropped.clone();
    dropped.sort_unstable();
    assert_eq!((outcome.offered, dropped), (Some(Offered::Dropped), all), "{specs:?}");
    let late = Spec { offset: 4096, more: true, data: data(8), ..specs[0].clone() };
    assert_eq!(lab.offer(&late).dropped, [(specs.len(), reason)], "{specs:?}");
    // Other datagrams are not concerned.
    assert_eq!(lab.offer(&Spec { id: 2, ..late }).offered, Some(Offered::Held));
    lab.finish();
}

fn assert_passes(specs: &[Spec]) {
    let mut lab = lab();
    let outcome = lab.offer_all(specs);
    assert_eq!(usize::from(whole(outcome.offered).frames), specs.len());
    lab.finish();
}

#[test]
fn two_fragments_come_out_in_order_of_offset_whichever_came_first() {
    let bytes = data(40);
    for (first, second) in [
        (v4(0, true, &bytes[..24]), v4(24, false, &bytes[24..])),
        (v6(0, true, &bytes[..24]), v6(24, false, &bytes[24..])),
    ] {
        for swapped in [false, true] {
            let mut lab = lab();
            let order = if swapped { [&second, &first] } else { [&first, &second] };
            assert_eq!(lab.offer(order[0]).offered, Some(Offered::Held));
            let outcome = lab.offer(order[1]);
            let whole = whole(outcome.offered);
            assert_eq!(outcome.whole, if swapped { [1, 0] } else { [0, 1] });
            assert_eq!((whole.payload_len, whole.next, whole.protocol), (40, 17, 17));
            assert_eq!(whole.head.bytes(), bytes);
            let header = if first.family == Family::V4 { 20 } else { 40 };
            assert_eq!(whole.packet_len, header + 40);
            lab.finish();
        }
    }
}

#[test]
fn the_sum_is_that_of_rfc_1071() {
    // RFC 1071, 3: 00 01 f2 03 f4 f5 f6 f7 sums up to ddf2.
    let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    let last = v4(8, false, &[0xff]);
    let mut lab = lab();
    lab.offer(&v4(0, true, &example));
    // An odd byte is the high half of a word: ddf2 + ff00 = 1dcf2, with its carry dcf3.
    assert_eq!(whole(lab.offer(&last).offered).sum, 0xdcf3);
}

#[test]
fn the_head_spans_fragments_and_ends_at_its_room() {
    for (length, expected) in [(127, 127), (128, 128), (129, 128), (4000, 128)] {
        let bytes = data(length);
        let mut lab = lab();
        let outcome =
            lab.offer_all(&split(&v4(0, false, &bytes), if length < 200 { 8 } else { 64 }));
        assert_eq!(whole(outcome.offered).head.bytes(), &bytes[..expected]);
    }
}

#[test]
fn no_datagram_passes_the_length_that_its_header_can_name() {
    let (oversize, most) = (DropReason::FragmentOversize, data(65_536));
    for (header, longest) in [
        // RFC 791: 65,535 bytes with the header.
        (v4(0, true, &[]), 65_515),
        (Spec { options: 40, ..v4(0, true, &[]) }, 65_475),
        // RFC 8200: 65,535 bytes behind the first 40.
        (v6(0, true, &[]), 65_535),
        (Spec { options: 8, ..v6(0, true, &[]) }, 65_527),
    ] {
        let whole = |length| Spec { more: false, data: most[..length].to_vec(), ..header.clone() };
        let fits = split(&whole(longest), 1480);
        assert_passes(&fits);
        let too_long = split(&whole(longest + 1), 1480);
        assert_spoils(&too_long, oversize);
        // A header that is too long for what is there already, though the others' was not.
        let mut backwards: Vec<Spec> = too_long
            .iter()
            .rev()
            .map(|s| Spec { options: if s.offset > 0 { 0 } else { header.options }, ..s.clone() })
            .collect();
        if header.options > 0 {
            assert_spoils(&backwards, oversize);
        } else {
            backwards.truncate(1);
            assert_spoils(&backwards, oversize);
        }
    }
    // The ping of death: no other fragment is needed to see it.
    assert_spoils(&[v4(65_528, false, &data(800))], oversize);
    assert_spoils(&[v6(65_528, true, &data(8))], oversize);
}

#[test]
fn data_comes_in_eights_except_at_the_end() {
    let length = DropReason::FragmentLength;
    for bad in [1, 7, 9, 1479] {
        assert_spoils(&[v4(1480, true, &data(bad))], length);
        assert_spoils(&[v6(0, true, &data(8)), v6(1480, true, &data(bad))], length);
    }
    for last in [1, 7, 8, 9] {
        assert_passes(&[v4(0, true, &data(8)), v4(8, false, &data(last))]);
    }
    for empty in [v4(8, false, &[]), v4(0, true, &[]), v6(8, true, &[])] {
        assert_spoils(&[empty], DropReason::FragmentEmpty);
    }
}

#[test]
fn the_first_fragment_holds_the_whole_transport_header() {
    let tiny = DropReason::FragmentTiny;
    let segment = |words: u8| {
        let mut segment = tcp(1, 2, 0x02);
        segment[12] = words << 4;
        segment.extend(data(100));
        segment
    };
    for (make, protocol, bytes, needed) in [
        (v4 as fn(usize, bool, &[u8]) -> Spec, 6, segment(5), 24),
        (v6, 6, segment(5), 24),
        (v4, 6, segment(6), 24),
        (v4, 6, segment(7), 32),
        (v6, 6, segment(15), 64),
        // Impossible, and for the parser to say so.
        (v4, 6, segment(0), 24),
        (v4, 17, data(100), 8),
        (v4, 1, data(100), 8),
        (v6, 58, data(100), 8),
        (v4, 132, data(100), 16),
        // No ports, no header that is looked into.
        (v4, 47, data(100), 8),
    ] {
        let of = |spec: Spec| Spec { next: protocol, ..spec };
        if needed > 8 {
            let short = needed - 8;
            assert_spoils(&[of(make(0, true, &bytes[..short]))], tiny);
        }
        let rest = of(make(needed, false, &bytes[needed..]));
        assert_passes(&[of(make(0, true, &bytes[..needed])), rest]);
    }
    // RFC 3128, whatever the first fragment holds and whether it came.
    let second = Spec { next: 6, ..v4(8, true, &data(8)) };
    assert_spoils(&[second], tiny);
}

#[test]
fn the_first_fragment_holds_the_whole_header_chain() {
    let chain = DropReason::FragmentChain;
    // Destination options, 16 bytes, then UDP.
    let options = [[17, 1, 1, 12].to_vec(), vec![0; 12]].concat();
    let bytes = [options, data(32)].concat();
    let of = |spec: Spec| Spec { next: 60, ..spec };
    assert_spoils(&[of(v6(0, true, &bytes[..8]))], chain);
    assert_spoils(&[of(v6(0, true, &bytes[..16]))], chain);
    let mut lab = lab();
    lab.offer(&of(v6(0, true, &bytes[..24])));
    // RFC 8200, 4.5: the next header of the first fragment counts, of others it may differ.
    let whole = whole(lab.offer(&v6(24, false, &bytes[24..])).offered);
    assert_eq!((whole.next, whole.protocol, whole.transport_offset), (60, 17, 16));
    assert_eq!((whole.transport_len(), whole.head.bytes()), (32, &data(32)[..]));
    assert_eq!(whole.sum, naive_sum(&data(32)));
    // A header that only nodes on the way look at, and a fragment of a fragment.
    for next in [0, 44] {
        assert_spoils(&[Spec { next, ..v6(0, true, &data(64)) }], chain);
    }
    // Nine headers, and no end.
    let endless = [60, 0, 1, 4, 0, 0, 0, 0].repeat(20);
    assert_spoils(&[of(v6(0, true, &endless))], chain);
    let eight = [[60, 0, 1, 4, 0, 0, 0, 0].repeat(7), vec![17, 0, 1, 4, 0, 0, 0, 0], data(8)];
    assert_passes(&[of(v6(0, true, &eight.concat())), v6(72, false, &[1])]);
}

fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0;
    for (at, byte) in bytes.iter().enumerate() {
        sum += u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn overlaps_spoil_the_datagram_and_equal_copies_do_not() {
    let bytes = data(64);
    let held = [v4(0, true, &bytes[..16]), v4(32, true, &bytes[32..48])];
    let with = |spec: Spec| [&held[..], &[spec]].concat();
    for overlap in [
        v4(8, true, &bytes[8..24]),
        v4(24, true, &bytes[24..40]),
        v4(40, true, &bytes[40..56]),
        v4(32, true, &bytes[32..40]),
        v4(32, true, &bytes[32..56]),
        v4(24, true, &bytes[24..56]),
        // A copy with another byte, another end, another length.
        v4(32, true, &data(16)),
        v4(32, false, &bytes[32..48]),
        v4(0, true, &bytes[..8]),
        v4(0, true, &bytes[..24]),
    ] {
        assert_spoils(&with(overlap), DropReason::FragmentOverlap);
    }
    let first = v6(0, true, &[17; 16]);
    let other_next = Spec { next: 6, data: vec![17; 16], ..first.clone() };
    assert_spoils(&[first.clone(), Spec { next: 47, ..other_next }], DropReason::FragmentOverlap);
    for copy in [held[0].clone(), held[1].clone()] {
        let mut lab = lab();
        let outcome = lab.offer_all(&with(copy));
        assert_eq!(outcome.dropped, [(2, DropReason::FragmentDuplicate)]);
        lab.offer(&v4(16, true, &bytes[16..32]));
        let outcome = lab.offer(&v4(48, false, &bytes[48..]));
        assert_eq!(outcome.whole, [0, 3, 1, 4]);
        lab.finish();
    }
}

#[test]
fn the_end_is_where_the_last_fragment_says() {
    let end = DropReason::FragmentEnd;
    let last = v4(32, false, &data(8));
    assert_spoils(&[last.clone(), v4(32, false, &data(9))], end);
    assert_spoils(&[last.clone(), v4(24, false, &data(8))], end);
    assert_spoils(&[last.clone(), v4(40, true, &data(8))], end);
    assert_spoils(&[last.clone(), v4(40, false, &data(8))], end);
    assert_spoils(&[v4(48, true, &data(8)), last.clone()], end);
    assert_spoils(&[v4(40, true, &data(8)), last.clone()], end);
    assert_passes(&[v4(24, true, &data(8)), last, v4(0, true, &data(24))]);
}

#[test]
fn ecn_codepoints_mix_only_among_those_that_are_capable() {
    let piece = |offset: usize, ecn| Spec { ecn, ..v4(offset, offset < 8, &data(8)) };
    let piece6 = |offset: usize, ecn| Spec { ecn, ..v6(offset, offset < 8, &data(8)) };
    for one in 0..4 {
        for other in 0..4 {
            let (v4s, v6s) = ([piece(0, one), piece(8, other)], [piece6(0, one), piece6(8, other)]);
            if (one == 0) == (other == 0) {
                assert_passes(&v4s);
                assert_passes(&v6s);
            } else {
                assert_spoils(&v4s, DropReason::FragmentEcn);
                assert_spoils(&v6s, DropReason::FragmentEcn);
            }
        }
    }
}

#[test]
fn a_datagram_comes_in_no_more_fragments_than_configured() {
    let pieces = |n: usize| split(&v4(0, false, &data(8 * n)), 8);
    assert_passes(&pieces(64));
    assert_spoils(&pieces(65), DropReason::FragmentCount);
    // 65,535 bytes over links of MTU 1,280.
    assert_passes(&split(&v6(0, false, &data(65_535)), 1232));
}

#[test]
fn the_key_is_the_whole_key() {
    let (first, last) = (v4(0, true, &data(8)), v4(8, false, &data(8)));
    for other in [
        Spec { src: 0x0a00_0003, ..last.clone() },
        Spec { id: 2, ..last.clone() },
        Spec { next: 47, ..last.clone() },
        Spec { vlan: 5, ..last.clone() },
        Spec { port: 1, ..last.clone() },
    ] {
        let mut lab = lab();
        lab.offer(&first);
        assert_eq!(lab.offer(&other).offered, Some(Offered::Held), "{other:?}");
        assert_eq!(lab.offer(&last).whole, [0, 2]);
        lab.finish();
    }
}

#[test]
fn an_atomic_fragment_is_a_datagram_of_its_own() {
    let mut lab = lab();
    let (first, last) = (v6(0, true, &data(8)), v6(8, false, &data(8)));
    lab.offer(&first);
    let outcome = lab.offer(&v6(0, false, &data(64)));
    assert_eq!((whole(outcome.offered).payload_len, outcome.whole), (64, vec![1]));
    assert_eq!(lab.offer(&last).whole, [0, 2]);
    // Not even a spoilt datagram concerns it (RFC 6946, 4), nor does it spoil one.
    lab.offer(&v6(8, true, &[1]));
    assert_eq!(lab.offer(&v6(0, false, &data(9))).whole, [4]);
    let bad = Spec { id: 9, next: 60, ..v6(0, false, &[17, 1, 0, 0, 0, 0, 0, 0]) };
    assert_eq!(lab.offer(&bad).dropped, [(5, DropReason::FragmentChain)]);
    assert_eq!(lab.offer(&Spec { id: 9, ..first }).offered, Some(Offered::Held));
    lab.finish();
}

#[test]
fn a_late_copy_begins_a_datagram_that_never_gets_whole() {
    let mut lab = lab();
    let pieces = split(&v4(0, false, &data(24)), 8);
    lab.offer_all(&pieces);
    for late in &pieces[1..] {
        assert_eq!(lab.offer(late).offered, Some(Offered::Held));
    }
    lab.now += 5 * SECOND + 1;
    let timeout = DropReason::FragmentTimeout;
    assert_eq!(lab.expire().dropped, [(3, timeout), (4, timeout)]);
    lab.finish();
}

#[test]
fn a_datagram_has_until_its_timeout_from_its_first_fragment() {
    let pieces = split(&v4(0, false, &data(24)), 8);
    let timeout = DropReason::FragmentTimeout;
    for (late, swept) in [(false, false), (true, false), (true, true)] {
        let mut lab = lab();
        lab.offer(&pieces[0]);
        lab.now += 4 * SECOND;
        lab.offer(&pieces[1]);
        lab.now += SECOND + u64::from(late);
        if swept {
            assert_eq!(lab.expire().dropped, [(0, timeout), (1, timeout)]);
            assert_eq!(lab.offer(&pieces[2]).offered, Some(Offered::Held));
        } else if late {
            let outcome = lab.offer(&pieces[2]);
            assert_eq!(outcome.dropped, [(0, timeout), (1, timeout)]);
            assert_eq!(outcome.offered, Some(Offered::Held));
        } else {
            assert_eq!(lab.expire().dropped, []);
            assert_eq!(lab.offer(&pieces[2]).whole, [0, 1, 2]);
        }
        lab.finish();
    }
}

#[test]
fn a_spoilt_datagram_is_forgotten_after_the_timeout() {
    for swept in [false, true] {
        let mut lab = lab();
        let pieces = split(&v4(0, false, &data(16)), 8);
        lab.offer(&v4(0, true, &[1]));
        lab.now += 5 * SECOND;
        lab.expire();
        assert_eq!(lab.offer(&pieces[0]).dropped, [(1, DropReason::FragmentLength)]);
        lab.now += 1;
        if swept {
            lab.expire();
        }
        assert_eq!(lab.offer_all(&pieces).whole, [2, 3]);
        lab.finish();
    }
}

#[test]
fn a_clock_that_stepped_far_back_does_not_keep_frames() {
    let mut lab = lab();
    lab.offer(&v4(0, true, &data(8)));
    lab.now -= 5 * SECOND;
    assert_eq!(lab.expire().dropped, [], "captures are not quite in order");
    lab.now -= 1;
    assert_eq!(lab.expire().dropped, [(0, DropReason::FragmentTimeout)]);
    lab.finish();
}

#[test]
fn expiry_is_bounded_and_keeps_up_with_a_burst_of_new_datagrams() {
    let mut lab = lab();
    let numbered = |id, offset| Spec { id, src: id.into(), ..v4(offset, true, &data(8)) };
    for id in 0..100 {
        lab.offer(&numbered(id, 8));
    }
    for id in 100..110 {
        for nth in 0..60 {
            lab.offer(&numbered(id, 8 + 8 * nth));
        }
    }
    lab.now += 6 * SECOND;
    let counts: Vec<usize> = std::iter::from_fn(|| {
        let dropped = lab.expire().dropped.len();
        (dropped > 0).then_some(dropped)
    })
    .collect();
    // 64 datagrams; the other 36 and, up to 128 frames and then one more, two of 60; three of 60.
    assert_eq!(counts, [64, 156, 180, 180, 120]);
    lab.finish();
}

#[test]
fn a_frame_that_a_capture_cut_is_not_read_past_its_end() {
    let spec = v4(0, true, &data(1480));
    for length in [0, 15, 34, 1513] {
        let mut lab = lab();
        let cut = spec.frame()[..length].to_vec();
        assert_eq!(lab.offer_frame(cut, &spec).dropped, [(0, DropReason::CaptureCut)]);
        lab.finish();
    }
}
