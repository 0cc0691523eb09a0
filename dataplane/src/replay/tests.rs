//! Replays of captures put together by hand: who is on which side, and that the numbers add up.

use super::*;
use crate::testing::{arp, ethernet, frame, icmp, table, tcp, udp};
use crate::verdict::Action;
use classifier::{PortRange, Rule};
use std::io::Write;

const CLIENTS: ZoneId = ZoneId(0);
const SERVERS: ZoneId = ZoneId(1);
const OFFICE: ZoneId = ZoneId(2);

const CLIENT: &str = "10.0.0.1";
const SERVER: &str = "10.0.1.1";
const STRANGER: &str = "192.0.2.1";

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A capture of files that hold these frames, a millisecond and more apart.
fn capture(files: &[&[Vec<u8>]]) -> Capture {
    let mut capture = Capture::default();
    for frames in files {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        let header = [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 65_535, 1];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        for (nth, frame) in frames.iter().enumerate() {
            let length = frame.len() as u32;
            let milliseconds = 2 * nth as u32;
            let (seconds, fraction) = (milliseconds / 1000, milliseconds % 1000 * 1_000_000);
            for word in [1 + seconds, fraction, length, length] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(frame);
        }
        file.write_all(&bytes).expect("the file can be written");
        capture.read(file.path(), |_| {}).expect("it is well-formed");
    }
    capture
}

fn network(text: &str, len: u8, zone: ZoneId) -> (AddressMatch, ZoneId) {
    let address = text.parse().expect("an address");
    (AddressMatch::prefix(address, len).expect("a prefix"), zone)
}

fn by_address() -> SideMap {
    SideMap {
        networks: vec![network("10.0.0.0", 24, CLIENTS), network("10.0.1.0", 24, SERVERS)],
        ..SideMap::default()
    }
}

fn zones(from: ZoneId, to: ZoneId) -> Rule {
    Rule { from_zone: Some(from), to_zone: Some(to), ..Rule::ANY }
}

/// Clients may reach port 80 of servers.
fn web() -> Vec<(&'static str, Rule, Action)> {
    let web = Rule { dst_ports: PortRange::one(80), ..zones(CLIENTS, SERVERS) };
    vec![("web", web, Action::Allow)]
}

fn run(
    capture: &Capture,
    sides: &SideMap,
    rules: &[(&str, Rule, Action)],
    repeat: u32,
) -> ReplayReport {
    let flows = FlowConfig { capacity: 1000, ..FlowConfig::default() };
    replay(capture, sides, table(1, rules, 1), flows, ParseOptions::STRICT, repeat, |_| {})
        .expect("few sides")
}

fn forwarded(capture: &Capture, sides: &SideMap, rules: &[(&str, Rule, Action)]) -> Vec<bool> {
    run(capture, sides, rules, 1).forwarded_records
}

fn there(flags: u8) -> Vec<u8> {
    frame(CLIENT, SERVER, 6, &tcp(1000, 80, flags))
}

fn back(flags: u8) -> Vec<u8> {
    frame(SERVER, CLIENT, 6, &tcp(80, 1000, flags))
}

#[test]
fn addresses_tell_the_sides() {
    let capture = capture(&[&[back(ACK), there(SYN), back(SYN | ACK), there(ACK)]]);
    let report = run(&capture, &by_address(), &web(), 1);
    assert_eq!(report.forwarded_records, [false, true, true, true]);
    assert_eq!((report.packets, report.forwarded, report.flows), (4, 3, 1));
    assert_eq!(report.drops[DropReason::TcpNotOpen as usize], 1);
    assert_eq!(report.passed[PassReason::Flow as usize], 2);
    assert_eq!((report.hits, report.unmapped, report.cut), (vec![3], 0, 0));
}

#[test]
fn the_longest_prefix_tells_the_zone_whatever_the_order() {
    let office = [("office", zones(OFFICE, SERVERS), Action::Allow)];
    let capture = capture(&[&[there(SYN), frame("10.0.0.2", SERVER, 6, &tcp(1, 80, SYN))]]);
    let (family, client) = Family::split(CLIENT.parse().expect("an address"));
    let range = AddressMatch::Range { family, low: client - 1, high: client };
    for narrow in [network(CLIENT, 32, OFFICE), (range, OFFICE)] {
        let mut sides = by_address();
        sides.networks.push((AddressMatch::Any, SERVERS));
        sides.networks.push(narrow);
        for _ in 0..2 {
            assert_eq!(forwarded(&capture, &sides, &office), [true, false]);
            sides.networks.reverse();
        }
    }
}

#[test]
fn a_file_tells_the_side_its_packets_come_from() {
    // Both captures were taken on the wire of one port each, and show what came in there.
    let capture = capture(&[&[there(SYN)], &[back(SYN | ACK)], &[there(ACK)]]);
    let sides = SideMap {
        files: vec![Some(CLIENTS), Some(SERVERS), Some(CLIENTS)],
        pair: Some([CLIENTS, SERVERS]),
        ..SideMap::default()
    };
    assert_eq!(forwarded(&capture, &sides, &web()), [true, true, true]);
    // The file counts more than the address.
    let files = vec![Some(SERVERS), Some(CLIENTS), Some(SERVERS)];
    let swapped = SideMap { files, ..by_address() };
    assert_eq!(forwarded(&capture, &swapped, &web()), [false, false, false]);
}

#[test]
fn where_there_are_two_zones_one_end_tells_the_other() {
    let ask = |src: &str, dst: &str| frame(src, dst, 17, &udp(1000, 80, &[]));
    let answer = |src: &str, dst: &str| frame(src, dst, 17, &udp(80, 1000, &[]));
    let frames = [
        ask(CLIENT, STRANGER),
        answer(STRANGER, CLIENT),
        ask(STRANGER, SERVER),
        ask(STRANGER, "192.0.2.2"),
    ];
    let capture = capture(&[&frames]);
    let sides = SideMap { pair: Some([SERVERS, CLIENTS]), ..by_address() };
    let report = run(&capture, &sides, &web(), 1);
    assert_eq!(report.forwarded_records, [true, true, true, false]);
    assert_eq!(report.unmapped, 1);
    assert_eq!(forwarded(&capture, &by_address(), &web()), [false; 4], "without the pair");
    let third = SideMap { pair: Some([SERVERS, OFFICE]), ..by_address() };
    assert_eq!(forwarded(&capture, &third, &web()), [false; 4], "with a pair of others");
}

#[test]
fn traffic_within_a_zone_has_two_directions() {
    let within = [("within", zones(CLIENTS, CLIENTS), Action::Allow)];
    let deny = [
        ("no-answers", Rule { src_ports: PortRange::one(53), ..Rule::ANY }, Action::Deny),
        within[0].clone(),
    ];
    let pair = |one, other| {
        [frame(one, other, 17, &udp(1000, 53, &[])), frame(other, one, 17, &udp(53, 1000, &[]))]
    };
    for (one, other) in [("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1")] {
        let capture = capture(&[&pair(one, other)]);
        let report = run(&capture, &by_address(), &deny, 1);
        assert_eq!(report.forwarded_records, [true, true], "the answer belongs to the flow");
        assert_eq!(report.flows, 1);
    }
    let answers_first = capture(&[&[pair("10.0.0.1", "10.0.0.2")[1].clone()]]);
    assert_eq!(forwarded(&answers_first, &by_address(), &deny), [false]);
}

#[test]
fn packets_of_unknown_sides_match_only_rules_for_any_zone() {
    let frames = [
        frame(STRANGER, "192.0.2.2", 17, &udp(1, 80, &[])),
        frame("192.0.2.2", STRANGER, 17, &udp(80, 1, &[])),
        ethernet(&[], 0x0806, &arp(1, [10, 0, 0, 1], [10, 0, 0, 2])),
    ];
    let capture = capture(&[&frames]);
    let report = run(&capture, &by_address(), &web(), 1);
    assert_eq!(report.forwarded_records, [false, false, true]);
    assert_eq!(report.unmapped, 2, "ARP has no sides");
    let any = Rule { dst_ports: PortRange::one(80), ..Rule::ANY };
    let report = run(&capture, &by_address(), &[("any", any, Action::Allow)], 1);
    assert_eq!(report.forwarded_records, [true, true, true]);
}

#[test]
fn the_same_addresses_on_another_wire_are_another_flow() {
    let to = |dst: &str| frame(CLIENT, dst, 1, &icmp(8, 0, 1));
    let mut sides = by_address();
    sides.networks.push(network("10.0.2.0", 24, OFFICE));
    let capture = capture(&[&[to(SERVER), to("10.0.2.1")]]);
    let ping = [("ping", zones(CLIENTS, SERVERS), Action::Allow)];
    assert_eq!(forwarded(&capture, &sides, &ping), [true, false]);
}

/// Traffic of many kinds: allowed, denied, malformed, repeated.
fn mixture() -> Capture {
    let mut frames = Vec::new();
    for port in 1..=200 {
        frames.push(frame(CLIENT, SERVER, 6, &tcp(port, 80, SYN)));
        frames.push(frame(SERVER, CLIENT, 6, &tcp(80, port, SYN | ACK)));
        frames.push(frame(SERVER, CLIENT, 17, &udp(port, 53, &[])));
        frames.push(frame(CLIENT, SERVER, 17, &udp(port, port % 90 + 1, &[])));
        frames.push(ethernet(&[], 0x1234, &[]));
        frames.push(frame(CLIENT, SERVER, 6, &[0; 5]));
    }
    capture(&[&frames])
}

#[test]
fn n_passes_give_n_times_the_numbers_of_one() {
    let capture = mixture();
    let once = run(&capture, &by_address(), &web(), 1);
    let thrice = run(&capture, &by_address(), &web(), 3);
    let times = |numbers: &[u64]| numbers.iter().map(|n| 3 * n).collect::<Vec<_>>();
    assert_eq!(thrice.packets, 3 * once.packets);
    assert_eq!(thrice.bytes, 3 * once.bytes);
    assert_eq!(thrice.forwarded, 3 * once.forwarded);
    assert_eq!(thrice.drops.to_vec(), times(&once.drops));
    assert_eq!(thrice.passed.to_vec(), times(&once.passed));
    assert_eq!(thrice.hits, times(&once.hits));
    assert_eq!(thrice.forwarded_records, once.forwarded_records);
    assert_eq!((thrice.flows, thrice.cut, thrice.unmapped), (once.flows, once.cut, once.unmapped));
}

#[test]
fn a_packet_is_forwarded_or_dropped_and_the_records_say_which() {
    let capture = mixture();
    let report = run(&capture, &by_address(), &web(), 1);
    let dropped: u64 = report.drops.iter().sum();
    assert_eq!(report.packets, capture.records().len() as u64);
    assert_eq!(report.packets, report.forwarded + dropped);
    assert_eq!(report.forwarded, report.passed.iter().sum::<u64>());
    let yes = report.forwarded_records.iter().filter(|yes| **yes).count() as u64;
    assert_eq!((yes, report.forwarded_records.len() as u64), (report.forwarded, report.packets));
    // 200 connections and their answers, and two datagrams to port 80 that are new flows.
    assert_eq!((report.forwarded, report.flows), (402, 202));
    let bytes: u64 = capture.records().iter().map(|record| u64::from(record.wire_len)).sum();
    assert_eq!(report.bytes, bytes);
}

#[test]
fn a_repeat_of_none_and_a_capture_of_none_are_no_packets() {
    let none = run(&mixture(), &by_address(), &web(), 0);
    assert_eq!((none.packets, none.forwarded, none.flows), (0, 0, 0));
    let empty = run(&Capture::default(), &by_address(), &web(), 5);
    assert_eq!((empty.packets, empty.forwarded_records), (0, vec![]));
}

#[test]
fn time_that_steps_back_in_a_capture_does_no_harm() {
    // The second file begins when the first did; unsorted, its packets come later.
    let capture = capture(&[&[there(SYN), back(SYN | ACK), there(ACK)], &[back(ACK), there(ACK)]]);
    assert_eq!(forwarded(&capture, &by_address(), &web()), [true; 5]);
}

#[test]
fn progress_rises_to_the_packets_of_all_passes() {
    let frames: Vec<Vec<u8>> = (0..9000).map(|_| ethernet(&[], 0x0806, &[0; 46])).collect();
    let capture = capture(&[&frames]);
    let mut seen = Vec::new();
    let flows = FlowConfig { capacity: 10, ..FlowConfig::default() };
    replay(&capture, &by_address(), table(1, &[], 1), flows, ParseOptions::STRICT, 3, |n| {
        seen.push(n)
    })
    .expect("one side");
    assert!(seen.len() >= 3 && seen.is_sorted(), "{seen:?}");
    assert!(seen.last().is_some_and(|last| *last <= 27_000));
}

#[test]
fn progress_of_many_passes_over_a_small_capture_is_told() {
    let capture = capture(&[&[there(SYN), back(SYN | ACK)]]);
    let mut seen = Vec::new();
    let flows = FlowConfig { capacity: 10, ..FlowConfig::default() };
    replay(
        &capture,
        &by_address(),
        table(1, &web(), 1),
        flows,
        ParseOptions::STRICT,
        10_000,
        |n| seen.push(n),
    )
    .expect("one side");
    assert!(seen.len() >= 3 && seen.is_sorted(), "{seen:?}");
    assert!(seen.last().is_some_and(|last| *last <= 20_000));
}

#[test]
fn more_pairs_of_zones_than_ports_can_be_numbered_are_refused() {
    // Each host is in a zone of its own: every pair of two of 257 is a wire of two ports.
    let hosts = 257u32;
    let address = |host: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 + host).to_string();
    let networks: Vec<_> =
        (0..hosts).map(|host| network(&address(host), 32, ZoneId(host as u16))).collect();
    let sides = SideMap { networks, ..SideMap::default() };
    let pairs = (0..hosts).flat_map(|one| (one + 1..hosts).map(move |other| (one, other)));
    let frames: Vec<_> =
        pairs.map(|(one, other)| frame(&address(one), &address(other), 47, &[])).collect();
    let flows = FlowConfig { capacity: 10, ..FlowConfig::default() };
    let fits = capture(&[&frames[..32_768]]);
    assert!(
        replay(&fits, &sides, table(1, &[], 1), flows, ParseOptions::STRICT, 1, |_| {}).is_ok()
    );
    let too_many = capture(&[&frames[..32_769]]);
    assert_eq!(
        replay(&too_many, &sides, table(1, &[], 1), flows, ParseOptions::STRICT, 1, |_| {})
            .map(|r| r.packets),
        Err(TooManySides)
    );
}
