//! Hostile fragments against honest traffic, and what the bounds do.

use super::frames::{Lab, Spec, v4, v6};
use super::*;

const FRAMES: u32 = 256;

fn small() -> FragmentConfig {
    FragmentConfig { max_frames: FRAMES, max_datagrams: FRAMES, ..FragmentConfig::default() }
}

/// The three fragments of honest datagram `id`, from one of eight senders.
fn honest(make: fn(usize, bool, &[u8]) -> Spec, id: u32) -> [Spec; 3] {
    let bytes = data(3000);
    [(0, true), (1000, true), (2000, false)].map(|(at, more)| {
        let spec = make(at, more, &bytes[at..at + 1000]);
        Spec { id, src: sender(&spec, id), ..spec }
    })
}

/// The sender of honest datagram `id`: in IPv6, each has a /64 of its own.
fn sender(spec: &Spec, id: u32) -> u128 {
    let nth = u128::from(id % 8) + 1;
    spec.src + (nth << if spec.family == Family::V6 { 64 } else { 8 })
}

/// Sends `datagrams` honest ones after each other, with `between` hostile fragments before each of
/// their fragments. How many got whole.
fn survivors(
    lab: &mut Lab,
    make: fn(usize, bool, &[u8]) -> Spec,
    datagrams: u32,
    between: u32,
    mut hostile: impl FnMut(u32) -> Spec,
) -> u32 {
    let (mut whole, mut sent) = (0, 0);
    // The table is full before the first honest fragment comes.
    for id in 0..datagrams + 1 {
        for spec in honest(make, id) {
            for _ in 0..if id == 0 { 2 * FRAMES } else { between } {
                lab.offer(&hostile(sent));
                lab.now += 1000;
                sent += 1;
            }
            if id > 0 {
                let outcome = lab.offer(&spec);
                whole += u32::from(matches!(outcome.offered, Some(Offered::Complete(_))));
            }
        }
    }
    whole
}

#[test]
fn one_source_takes_nothing_from_others_however_fast_it_sends() {
    // Every fragment a datagram of its own.
    let mut lab = Lab::new(small());
    let single = |n: u32| Spec { id: n, ..v4(8, true, &data(8)) };
    assert_eq!(survivors(&mut lab, v4, 50, 500, single), 50);
    lab.finish();
    // As many frames in each of few datagrams as it can.
    let mut lab = Lab::new(small());
    let long = |n: u32| Spec { id: n / 60, ..v4(8 + 8 * (n as usize % 60), true, &data(8)) };
    assert_eq!(survivors(&mut lab, v4, 50, 500, long), 50);
    lab.finish();
}

#[test]
fn all_addresses_of_a_64_are_one_source() {
    let mut lab = Lab::new(small());
    let spread = |n: u32| {
        let spec = v6(8, true, &data(8));
        Spec { id: n, src: spec.src + u128::from(n.wrapping_mul(2_654_435_761)), ..spec }
    };
    assert_eq!(survivors(&mut lab, v6, 50, 500, spread), 50);
    lab.finish();
}

#[test]
fn a_few_dozen_sources_take_nothing_either() {
    let mut lab = Lab::new(small());
    let few =
        |n: u32| Spec { id: n, src: 0x0b00_0000 + u128::from(n % 50), ..v4(8, true, &data(8)) };
    assert_eq!(survivors(&mut lab, v4, 50, 500, few), 50);
    lab.finish();
}

#[test]
fn against_forged_sources_a_datagram_has_the_time_of_max_frames_fragments() {
    let forged = |n: u32| Spec { id: n, src: 0x0b00_0000 + u128::from(n), ..v4(8, true, &data(8)) };
    // The first fragment waits for two gaps, in which the second of the datagram comes too.
    for (between, expected) in [(10, 50), ((FRAMES - 2) / 2, 50), ((FRAMES + 2) / 2, 0)] {
        let mut lab = Lab::new(small());
        assert_eq!(survivors(&mut lab, v4, 50, between, forged), expected, "{between}");
        lab.finish();
    }
}

#[test]
fn a_flood_of_spoilt_datagrams_holds_nothing() {
    let mut lab = Lab::new(small());
    let tiny = |n: u32| Spec { id: n, src: 0x0b00_0000 + u128::from(n), ..v4(8, true, &[1]) };
    assert_eq!(survivors(&mut lab, v4, 50, 500, tiny), 50);
    assert_eq!((lab.table.held().packets, lab.table.incomplete()), (0, 0));
    lab.finish();
    let mut lab = Lab::new(small());
    let twice = |n: u32| {
        let id = n / 2;
        Spec {
            id,
            src: 0x0b00_0000 + u128::from(id),
            ..v4(8, true, &data(8 + 8 * (n as usize % 2)))
        }
    };
    assert_eq!(survivors(&mut lab, v4, 50, 500, twice), 50);
    lab.finish();
}

#[test]
fn forging_an_address_behind_another_port_or_vlan_does_not_count_for_its_owner() {
    for (port, vlan) in [(1, 0), (0, 7)] {
        let mut lab = Lab::new(FragmentConfig { max_datagrams_per_source: 8, ..small() });
        let forged = |n: u32| {
            let spec = v4(8, true, &data(8));
            Spec { id: n, src: sender(&spec, n), port, vlan, ..spec }
        };
        assert_eq!(survivors(&mut lab, v4, 50, 500, forged), 50);
        lab.finish();
    }
}

#[test]
fn a_source_at_its_quota_gives_up_its_oldest() {
    let mut lab = Lab::new(FragmentConfig { max_datagrams_per_source: 3, ..small() });
    let piece = |id| Spec { id, ..v4(8, true, &data(8)) };
    for id in 0..3 {
        assert_eq!(lab.offer(&piece(id)).dropped, []);
    }
    let outcome = lab.offer(&piece(3));
    assert_eq!(outcome.dropped, [(0, DropReason::FragmentSourceFull)]);
    assert_eq!(outcome.offered, Some(Offered::Held));
    // Another fragment of a datagram it has is no further datagram.
    assert_eq!(lab.offer(&Spec { id: 1, ..v4(16, true, &data(8)) }).dropped, []);
    lab.finish();
}

#[test]
fn who_has_most_makes_room_and_a_source_at_its_share_makes_its_own() {
    let config = FragmentConfig { max_frames: 12, max_datagrams: 12, ..small() };
    let piece = |src: u128, id| Spec { src, id, ..v4(8, true, &data(8)) };
    let full = DropReason::FragmentTableFull;
    let mut lab = Lab::new(config);
    // Source 1 has the oldest; 2 has five, 3 has six.
    lab.offer(&piece(1, 0));
    (0..5).for_each(|id| assert_eq!(lab.offer(&piece(2, id)).dropped, []));
    (0..6).for_each(|id| assert_eq!(lab.offer(&piece(3, id)).dropped, []));
    assert_eq!(lab.offer(&piece(4, 0)).dropped, [(6, full)], "3 has most");
    assert_eq!(lab.offer(&piece(2, 5)).dropped, [(1, full)], "2 wants more of what is most");
    assert_eq!(lab.offer(&piece(5, 0)).dropped.len(), 1);
    assert_eq!(lab.offer(&piece(5, 1)).dropped.len(), 1);
    // Now 2 and 3 have four each, and so nobody has more than its share: the oldest of all goes,
    // save for a source that has its share.
    assert_eq!(lab.offer(&piece(2, 6)).dropped, [(3, full)]);
    assert_eq!(lab.offer(&piece(6, 0)).dropped, [(0, full)]);
    // A datagram that wants to grow, and is the oldest, goes itself.
    let oldest = lab.offer(&piece(7, 0)).dropped[0].0;
    assert_eq!(oldest, 4);
    let outcome = lab.offer(&Spec { offset: 16, ..piece(2, 4) });
    assert_eq!(
        (outcome.offered, outcome.dropped),
        (Some(Offered::Dropped), vec![(5, full), (19, full)])
    );
    // And nothing of it is held any more, though there is room now.
    assert_eq!(lab.offer(&Spec { offset: 24, ..piece(2, 4) }).dropped, [(20, full)]);
    lab.finish();
}

#[test]
fn a_datagram_past_its_timeout_makes_room_before_any_other() {
    let config = FragmentConfig { max_frames: 8, max_datagrams: 8, ..small() };
    let mut lab = Lab::new(config);
    let piece = |src: u128, id| Spec { src, id, ..v4(8, true, &data(8)) };
    lab.offer(&piece(1, 0));
    lab.now += SECOND;
    (0..7).for_each(|id| assert_eq!(lab.offer(&piece(2, id)).dropped, []));
    lab.now += 4 * SECOND + 1;
    assert_eq!(lab.offer(&piece(3, 0)).dropped, [(0, DropReason::FragmentTimeout)]);
    assert_eq!(lab.offer(&piece(4, 0)).dropped, [(1, DropReason::FragmentTableFull)]);
    lab.finish();
}

#[test]
fn the_fragment_that_completes_a_datagram_needs_no_room() {
    let config = FragmentConfig { max_frames: 2, max_bytes: 100, ..small() };
    let mut lab = Lab::new(config);
    lab.offer(&v4(0, true, &data(8)));
    lab.offer(&Spec { id: 2, ..v4(0, true, &data(8)) });
    assert_eq!(lab.offer(&v4(8, false, &data(1400))).whole, [0, 2]);
    lab.finish();
}

#[test]
fn bytes_are_bounded_and_a_frame_beyond_them_is_refused() {
    // Frames of 42 and 1,034 bytes.
    let config = FragmentConfig { max_bytes: 2068, ..small() };
    let full = DropReason::FragmentTableFull;
    let mut lab = Lab::new(config);
    let piece = |src: u128, len| Spec { src, ..v4(8, true, &data(len)) };
    for src in 0..24 {
        assert_eq!(lab.offer(&piece(src, 8)).dropped, []);
    }
    assert_eq!(lab.offer(&piece(100, 1000)).offered, Some(Offered::Held));
    // It would take 24 datagrams to make room for another: eight go, and then it.
    let outcome = lab.offer(&piece(101, 1000));
    assert_eq!(outcome.dropped, [0, 1, 2, 3, 4, 5, 6, 7, 25].map(|number| (number, full)));
    assert_eq!(lab.offer(&piece(102, 4000)).dropped, [(26, full)], "nothing goes in vain");
    lab.finish();
}

#[test]
fn a_table_without_room_drops_and_does_not_panic() {
    let nothing = FragmentConfig {
        max_frames: 0,
        max_bytes: 0,
        max_datagrams: 0,
        max_fragments: 0,
        max_datagrams_per_source: 0,
        timeout: Duration::ZERO,
    };
    let default = FragmentConfig::default();
    for config in [
        nothing,
        FragmentConfig { max_frames: 0, ..default },
        FragmentConfig { max_bytes: 0, ..default },
        FragmentConfig { max_datagrams: 0, ..default },
        FragmentConfig { max_fragments: 0, ..default },
        FragmentConfig { max_datagrams: 1, max_frames: 1, ..default },
        FragmentConfig { max_datagrams_per_source: 0, ..default },
        FragmentConfig { timeout: Duration::ZERO, ..default },
        FragmentConfig { timeout: Duration::MAX, ..default },
    ] {
        let mut lab = Lab::new(config);
        for nth in 0..200 {
            let spec = v4(8 * (nth % 3), nth % 3 < 2, &data(8 + nth % 2));
            lab.offer(&Spec { id: nth as u32 / 5, src: nth as u128 / 7, ..spec });
            lab.now += 1;
            lab.expire();
        }
        lab.finish();
    }
}
