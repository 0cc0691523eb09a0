//! Who owns a packet, and rings between threads.

use super::*;
use crate::parse::{Content, FrameView, ParseOptions, parse};
use crate::testing::{ethernet, frame, icmp, ip, tcp, udp};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The parts of `workers` workers, with room for `room` frames.
fn parts(workers: usize, room: usize) -> Vec<Handover> {
    join_with_room(workers, 2, 2048, room)
}

fn packet(frame: &[u8]) -> IpPacket {
    match parse(FrameView { bytes: frame, wire_len: frame.len() as u32 }, &ParseOptions::STRICT)
        .map(|p| p.content)
    {
        Ok(Content::Ip(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

/// The worker that owns the packet in `frame`, by the word of all.
fn owner(parts: &[Handover], frame: &[u8]) -> usize {
    let packet = packet(frame);
    let owners: Vec<_> =
        (0..parts.len()).filter(|&n| parts[n].owner(&packet, frame).is_none()).collect();
    assert_eq!(owners.len(), 1, "one owner, on whom all agree");
    for part in parts {
        if let Some(sibling) = part.owner(&packet, frame) {
            let others: Vec<_> = (0..parts.len()).filter(|&n| n != part.number).collect();
            assert_eq!(others[sibling], owners[0]);
        }
    }
    owners[0]
}

/// An address that a host may have.
fn host_v4() -> impl Strategy<Value = Ipv4Addr> {
    (1u8..127, any::<[u8; 3]>()).prop_map(|(first, [a, b, c])| Ipv4Addr::new(first, a, b, c))
}

/// An address that a host may have: one of 2000::/3.
fn host_v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits >> 3 | 1 << 125))
}

/// A pair of hosts of one family.
fn hosts() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        (host_v4(), host_v4()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
        (host_v6(), host_v6()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
    ]
    .prop_filter("two hosts", |(one, other)| one != other)
}

/// An untagged or tagged frame with an IP packet between these hosts.
fn between(src: IpAddr, dst: IpAddr, vlans: &[u16], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (ethertype, packet) = ip(src, dst, protocol, payload);
    ethernet(vlans, ethertype, &packet)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn all_packets_between_two_hosts_have_one_owner(
        (one, other) in hosts(),
        ports in (1u16.., 1u16..),
        workers in 2usize..9,
        vlans in prop::collection::vec(1u16..4095, 0..3),
    ) {
        let parts = parts(workers, 1);
        let echo = if one.is_ipv4() { (1, icmp(8, 0, ports.0)) } else { (58, icmp(128, 0, ports.0)) };
        let expected = owner(&parts, &between(one, other, &[], 17, &udp(53, 53, &[])));
        for (src, dst) in [(one, other), (other, one)] {
            for (protocol, payload) in [
                (17, udp(ports.0, ports.1, &[])),
                (6, tcp(ports.1, ports.0, 0x02)),
                (47, vec![]),
                echo.clone(),
            ] {
                let frame = between(src, dst, &vlans, protocol, &payload);
                prop_assert_eq!(owner(&parts, &frame), expected);
            }
        }
    }

    #[test]
    fn an_error_goes_to_the_owner_of_what_it_quotes(
        (one, other) in hosts(),
        routers in (host_v4(), host_v6()),
        workers in 2usize..9,
        vlans in prop::collection::vec(1u16..4095, 0..3),
        nth in any::<prop::sample::Index>(),
        quoted in 0usize..60,
    ) {
        let parts = parts(workers, 1);
        let (_, quote) = ip(one, other, 17, &udp(1000, 53, &[7; 20]));
        let whole = quote.len().min(quoted);
        // A router on the way, or anybody, tells the source.
        let (router, protocol, kinds, enough) = match one {
            IpAddr::V4(_) => (IpAddr::V4(routers.0), 1, &[3, 4, 5, 11, 12][..], 20),
            IpAddr::V6(_) => (IpAddr::V6(routers.1), 58, &[1, 2, 3, 4, 100, 127][..], 40),
        };
        let message = [&icmp(kinds[nth.index(kinds.len())], 1, 0)[..], &quote[..whole]].concat();
        // Padding of a short frame (IEEE 802.3, 4.2.3.3) is no quotation.
        let mut error = between(router, one, &vlans, protocol, &message);
        error.extend([0x45; 46]);
        let expected = if whole >= enough {
            between(other, one, &[], 6, &tcp(1, 2, 0x10))
        } else {
            between(one, router, &[], 6, &tcp(1, 2, 0x10))
        };
        prop_assert_eq!(owner(&parts, &error), owner(&parts, &expected));
    }

    #[test]
    fn what_is_no_error_goes_by_its_own_addresses(
        (one, other) in hosts(),
        kind in any::<u8>(),
        code in any::<u8>(),
    ) {
        let error = if one.is_ipv4() { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { (1..128).contains(&kind) };
        prop_assume!(!error);
        let parts = parts(5, 1);
        // What looks like a quotation of other hosts.
        let quote = match one {
            IpAddr::V4(_) => ip([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, &[0; 8]).1,
            IpAddr::V6(_) => ip(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into(), 17, &[0; 8]).1,
        };
        let message = [&icmp(kind, code, 0)[..], &quote].concat();
        let protocol = if one.is_ipv4() { 1 } else { 58 };
        prop_assert_eq!(
            owner(&parts, &between(one, other, &[], protocol, &message)),
            owner(&parts, &between(other, one, &[], 17, &udp(1, 2, &[])))
        );
    }
}

#[test]
fn hosts_spread_over_the_workers_and_another_wire_spreads_them_otherwise() {
    const WORKERS: usize = 7;
    const HOSTS: usize = 7000;
    let wires = [parts(WORKERS, 1), parts(WORKERS, 1)];
    let mut owned = [[0usize; WORKERS]; 2];
    let mut same = 0;
    for host in 0..HOSTS {
        let name = format!("10.1.{}.{}", host / 250, host % 250);
        let frame = frame(&name, "10.0.0.1", 17, &udp(1, 2, &[]));
        let owners = [0, 1].map(|wire| owner(&wires[wire], &frame));
        (0..2).for_each(|wire| owned[wire][owners[wire]] += 1);
        same += usize::from(owners[0] == owners[1]);
    }
    // 1,000 each, standard deviation 29; six of them are left by one run in 30 million.
    let fair = HOSTS / WORKERS - 180..HOSTS / WORKERS + 180;
    assert!(owned.iter().flatten().all(|count| fair.contains(count)), "{owned:?}");
    assert!(fair.contains(&same), "the seeds differ, and {same} of {HOSTS} owners agree");
}

#[test]
fn one_worker_owns_everything() {
    assert!(matches!(join(1, 2, 2048)[..], [None]));
    assert_eq!(join(3, 2, 2048).iter().flatten().count(), 3);
}

#[test]
fn the_room_of_a_worker_is_shared_by_its_siblings_down_to_a_burst() {
    for (workers, room) in [(2, 1024), (3, 512), (5, 256), (64, BURST)] {
        let mut part = join(workers, 2, 100).swap_remove(0).expect("there are siblings");
        let last = workers - 2;
        let kept = (0..2000).filter(|_| part.hand_out(last, 1, &[0; 60])).count();
        assert_eq!(kept, room, "{workers} workers");
        assert_eq!((part.take_burdened(), part.take_burdened()), (1 << last, 0));
        let ways_out = part.ways_out(1);
        assert_eq!(ways_out.len(), workers - 1);
        assert!(ways_out.iter().all(|link| link.memory_usage() >= room * 100));
    }
}

#[test]
fn a_ring_between_two_threads_loses_nothing_and_keeps_the_order() {
    const FRAMES: u32 = 200_000;
    const PATIENCE: Duration = Duration::from_secs(60);
    let start = Instant::now();
    let mut parts = parts(2, 32);
    let (mut taker, mut giver) = (parts.swap_remove(1), parts.swap_remove(0));
    let link = giver.ways_out(0).swap_remove(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..FRAMES {
                // Lengths vary, so that a buffer used again shows what is left of an older frame.
                let frame = number.to_be_bytes().repeat(1 + number as usize % 5);
                while !giver.hand_out(0, 0, &frame) {
                    assert!(start.elapsed() < PATIENCE, "the other thread gave up");
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0u32;
        while next < FRAMES {
            let before = next;
            taker.take_in(0, |frame| {
                assert_eq!(frame, next.to_be_bytes().repeat(1 + next as usize % 5));
                next += 1;
            });
            assert!(next - before <= BURST as u32);
            assert!(link.waiting() <= 32);
            if next == before {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!((link.handed_out(), link.waiting()), (u64::from(FRAMES), 0));
}

#[test]
fn a_busy_sibling_keeps_no_other_from_its_share() {
    let mut parts = parts(4, 4 * BURST);
    let mut taker = parts.swap_remove(3);
    let mut seen = [0; 3];
    for _round in 0..30 {
        // The first two always have more than a burst.
        for (number, giver) in parts.iter_mut().enumerate() {
            let frames = if number < 2 { 4 * BURST } else { 1 };
            // The last sibling of each is the fourth worker.
            while giver.siblings[2].to[0].waiting() < frames as u64 {
                assert!(giver.hand_out(2, 0, &[number as u8]));
            }
        }
        for port in [1, 0] {
            taker.take_in(port, |frame| seen[usize::from(frame[0])] += 1);
        }
    }
    assert_eq!(seen.iter().sum::<usize>(), 30 * BURST);
    assert_eq!(seen[2], 10, "a third of the rounds are its own");
    assert!(seen[..2].iter().all(|&frames| frames >= 10 * (BURST - 1)), "{seen:?}");
}

#[test]
fn a_waiting_frame_is_seen() {
    let mut parts = parts(2, 2);
    assert!(!parts[1].is_waiting());
    assert!(parts[0].hand_out(0, 1, &[1]));
    assert!(parts[1].is_waiting() && !parts[0].is_waiting());
    parts[1].take_in(0, |_| panic!("it arrived by the other port"));
    parts[1].take_in(1, |frame| assert_eq!(frame, [1]));
    assert!(!parts[1].is_waiting());
}
