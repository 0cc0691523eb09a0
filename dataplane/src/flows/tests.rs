//! The flow table by hand: timeouts to the nanosecond, closing, bounds.

mod model;

use super::table::TableFull;
use super::*;
use crate::parse::{Content, FrameView, IpPacket, ParseOptions, parse};
use crate::testing::{frame, icmp, sctp, tcp, udp};
use classifier::{Family, PacketKey, ZoneId};

const SECOND: u64 = 1_000_000_000;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";

fn config(capacity: u32) -> FlowConfig {
    FlowConfig { capacity, ..FlowConfig::default() }
}

fn hop(ingress: u16) -> Hop {
    Hop { ingress, egress: 1 - ingress, from_zone: ZoneId(ingress), to_zone: ZoneId(1 - ingress) }
}

fn packet(frame: &[u8]) -> IpPacket {
    let view = FrameView { bytes: frame, wire_len: frame.len() as u32 };
    match parse(view, &ParseOptions::STRICT).map(|p| p.content) {
        Ok(Content::Ip(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

/// Key and direction of a packet from `src` to `dst` that arrives by port `ingress`.
fn key(ingress: u16, src: &str, dst: &str, protocol: u8, payload: &[u8]) -> (FlowKey, Direction) {
    let packet = packet(&frame(src, dst, protocol, payload));
    FlowKey::of(&packet, 0, hop(ingress)).expect("this protocol has flows")
}

/// A UDP flow from A, numbered by its source port, which is not 0.
fn udp_key(number: u16) -> (FlowKey, Direction) {
    key(0, A, B, 17, &udp(1 + number, 53, &[]))
}

fn tcp_key(number: u16) -> (FlowKey, Direction) {
    key(0, A, B, 6, &tcp(1 + number, 80, SYN))
}

/// Opens the flow of `(key, direction)` by rule 1 of generation 1.
fn open(table: &mut FlowTable, (key, direction): (FlowKey, Direction), now: u64) -> u32 {
    table.open(key, direction, 1, 1, now).expect("there is room")
}

#[test]
fn both_directions_of_a_tuple_are_one_flow() {
    for protocol in [6, 17, 132, 47] {
        let payload = |src, dst| match protocol {
            6 => tcp(src, dst, ACK),
            17 => udp(src, dst, &[]),
            132 => sctp(src, dst, 9, &[(0, &[0; 13])]),
            _ => Vec::new(),
        };
        let there = key(0, A, B, protocol, &payload(1000, 80));
        let back = key(1, B, A, protocol, &payload(80, 1000));
        assert_eq!(there.0, back.0, "protocol {protocol}");
        assert_ne!(there.1, back.1, "protocol {protocol}");
    }
}

#[test]
fn a_packet_of_the_same_tuple_from_the_wrong_side_is_another_flow() {
    let payload = udp(1000, 53, &[]);
    let answer = udp(53, 1000, &[]);
    let (flow, _) = key(0, A, B, 17, &payload);
    assert_ne!(flow, key(1, A, B, 17, &payload).0, "the request, from the answering side");
    assert_ne!(flow, key(0, B, A, 17, &answer).0, "the answer, from the asking side");
    assert_eq!(key(1, A, B, 17, &payload).0, key(0, B, A, 17, &answer).0);
}

#[test]
fn another_vlan_port_protocol_or_address_is_another_flow() {
    let base = udp_key(999).0;
    let on_vlan = FlowKey::of(&packet(&frame(A, B, 17, &udp(1000, 53, &[]))), 7, hop(0));
    assert_ne!(Some(base), on_vlan.map(|(key, _)| key));
    assert_ne!(base, udp_key(1000).0);
    assert_ne!(base, key(0, A, B, 6, &tcp(1000, 53, SYN)).0);
    assert_ne!(base, key(0, A, "10.0.0.3", 17, &udp(1000, 53, &[])).0);
}

/// A packet with equal ports.
fn looped() -> IpPacket {
    packet(&frame(A, B, 17, &udp(7, 7, &[])))
}

#[test]
fn equal_ends_are_told_apart_by_their_side() {
    // The parser refuses such packets; the order of the ends holds without it.
    let itself = IpPacket { dst: Family::split(A.parse().expect("an address")).1, ..looped() };
    let of = |ingress| FlowKey::of(&itself, 0, hop(ingress)).expect("this protocol has flows");
    let (there, back) = (of(0), of(1));
    assert_eq!(there.0, back.0);
    assert_ne!(there.1, back.1);
}

#[test]
fn an_echo_reply_belongs_to_its_request_and_opens_nothing() {
    for (src, dst, protocol, request, reply) in [(A, B, 1, 8, 0), ("fd::1", "fd::2", 58, 128, 129)]
    {
        let asked = key(0, src, dst, protocol, &icmp(request, 0, 7));
        let answered = key(1, dst, src, protocol, &icmp(reply, 0, 7));
        assert_eq!(asked, (answered.0, Direction::Forward));
        assert_eq!(answered.1, Direction::Reverse);
        let other_id = key(1, dst, src, protocol, &icmp(reply, 0, 8));
        assert_ne!(asked.0, other_id.0);
        // The other side asks with the same identifier.
        let reverse = key(1, dst, src, protocol, &icmp(request, 0, 7));
        assert_ne!(asked.0, reverse.0);
        let may_open =
            |kind| FlowKey::may_open(&packet(&frame(src, dst, protocol, &icmp(kind, 0, 7))));
        assert!(may_open(request));
        assert!(!may_open(reply));
    }
}

#[test]
fn icmp_messages_other_than_echo_have_no_flow() {
    for kind in [3, 5, 11, 13] {
        let packet = packet(&frame(A, B, 1, &icmp(kind, 0, 7)));
        assert_eq!(FlowKey::of(&packet, 0, hop(0)), None, "type {kind}");
    }
}

#[test]
fn the_opening_key_is_what_the_first_packet_was_judged_by() {
    let payloads = [(6u8, tcp(1000, 80, SYN)), (17, udp(53, 1000, &[])), (1, icmp(8, 0, 9))];
    for (protocol, payload) in payloads {
        // From the higher address to the lower too.
        for (src, dst, ingress) in [(A, B, 0), (B, A, 1)] {
            let packet = packet(&frame(src, dst, protocol, &payload));
            let vlan = 7 << 16 | 8;
            let (key, direction) = FlowKey::of(&packet, vlan, hop(ingress)).expect("it has a flow");
            assert_eq!(key.ingress(direction), ingress);
            let opening = key.opening(direction, ZoneId(ingress), ZoneId(1 - ingress));
            // A flow does not keep what its packets need not have in common.
            let judged = PacketKey { tcp_flags: 0, ..packet_key(&packet, vlan, hop(ingress)) };
            assert_eq!(opening, judged);
        }
    }
}

#[test]
fn a_flow_lives_to_the_end_of_its_timeout_and_not_a_nanosecond_longer() {
    let cases = [
        (tcp_key(1), 7440),
        (udp_key(1), 120),
        (key(0, A, B, 1, &icmp(8, 0, 1)), 60),
        (key(0, "fd::1", "fd::2", 58, &icmp(128, 0, 1)), 60),
        (key(0, A, B, 47, &[]), 600),
    ];
    for (flow, seconds) in cases {
        let start = 5 * SECOND;
        let mut table = FlowTable::new(config(8));
        let slot = open(&mut table, flow, start);
        let end = start + seconds * SECOND;
        assert_eq!(table.find(&flow.0, end), Some(slot), "{seconds}");
        table.touch(slot, flow.1, 0, end);
        let end = end + seconds * SECOND;
        assert_eq!(table.find(&flow.0, end), Some(slot), "{seconds}, touched");
        assert_eq!(table.find(&flow.0, end + 1), None, "{seconds}");
        assert_eq!((table.open_flows(), table.opened(), table.closed()), (0, 1, 1));
    }
}

#[test]
fn a_reset_or_a_fin_from_both_sides_shortens_the_timeout() {
    let forward = tcp_key(1).1;
    let reverse = key(1, B, A, 6, &tcp(80, 1, ACK)).1;
    let lives = |packets: &[(Direction, u8)], seconds: u64| {
        let mut table = FlowTable::new(config(8));
        let (key, _) = tcp_key(1);
        let slot = open(&mut table, tcp_key(1), 0);
        for (direction, flags) in packets {
            table.touch(slot, *direction, *flags, 0);
        }
        let alive = table.find(&key, seconds * SECOND).is_some();
        (alive, table.find(&key, seconds * SECOND + 1).is_some())
    };
    let to_the_end = (true, false);
    assert_eq!(lives(&[(forward, ACK)], 7440), to_the_end);
    assert_eq!(lives(&[(forward, FIN | ACK)], 7440), to_the_end);
    assert_eq!(lives(&[(forward, FIN | ACK), (forward, FIN | ACK)], 7440), to_the_end);
    assert_eq!(lives(&[(forward, FIN | ACK), (reverse, FIN | ACK)], 240), to_the_end);
    assert_eq!(lives(&[(reverse, RST)], 240), to_the_end);
    assert_eq!(lives(&[(forward, RST | ACK), (reverse, ACK)], 240), to_the_end);
}

#[test]
fn only_a_syn_over_a_closed_connection_starts_a_new_one() {
    let mut table = FlowTable::new(config(8));
    let (flow, direction) = tcp_key(1);
    let slot = open(&mut table, (flow, direction), 0);
    assert!(!table.reopens(slot, SYN), "the connection is open");
    table.touch(slot, direction, RST, 0);
    assert!(table.reopens(slot, SYN));
    for flags in [SYN | ACK, ACK, FIN, RST, 0] {
        assert!(!table.reopens(slot, flags), "{flags:#x}");
    }
    table.remove(slot);
    let slot = open(&mut table, (flow, direction), 1);
    assert!(!table.reopens(slot, SYN));
    assert_eq!((table.open_flows(), table.opened(), table.closed()), (1, 2, 1));
}

#[test]
fn opening_a_flow_that_is_there_replaces_it() {
    let mut table = FlowTable::new(config(1));
    let (flow, direction) = tcp_key(1);
    let slot = open(&mut table, (flow, direction), 0);
    table.touch(slot, direction, RST, 0);
    let slot = table.open(flow, direction, 3, 2, 5).expect("it takes its own place");
    assert!(!table.reopens(slot, SYN));
    assert_eq!((table.flow(slot).rule, table.flow(slot).generation), (3, 2));
    assert_eq!((table.open_flows(), table.opened(), table.closed()), (1, 2, 1));
}

#[test]
fn a_full_table_refuses_a_flow_until_one_expires() {
    let mut table = FlowTable::new(config(100));
    for number in 0..100 {
        open(&mut table, udp_key(number), 0);
    }
    let (key, direction) = udp_key(100);
    assert_eq!(table.open(key, direction, 1, 1, 120 * SECOND), Err(TableFull));
    assert_eq!(table.open_flows(), 100);
    // All are expired: the sweep that a full table does finds one.
    assert!(table.open(key, direction, 1, 1, 120 * SECOND + 1).is_ok());
    assert_eq!(table.open_flows(), 1);
    assert_eq!((table.opened(), table.closed()), (101, 100));
}

#[test]
fn a_table_without_capacity_refuses_every_flow() {
    let mut table = FlowTable::new(config(0));
    let (key, direction) = udp_key(1);
    assert_eq!(table.open(key, direction, 1, 1, 0), Err(TableFull));
    assert_eq!(table.find(&key, 0), None);
    table.sweep(SECOND);
}

#[test]
fn churn_in_a_full_table_takes_no_more_memory() {
    let mut table = FlowTable::new(config(3500));
    let reserved = table.memory_usage();
    for number in 0..60_000u16 {
        let flow = udp_key(number);
        if table.open_flows() == 3500 {
            let (oldest, _) = udp_key(number - 3500);
            let slot = table.find(&oldest, 0).expect("it was opened and not removed");
            table.remove(slot);
        }
        open(&mut table, flow, 0);
        assert_eq!(table.memory_usage(), reserved, "after {number} flows");
    }
}

#[test]
fn a_sweep_frees_expired_slots_in_its_period_and_bounds_its_work() {
    let mut table = FlowTable::new(config(5000));
    for number in 0..5000 {
        open(&mut table, udp_key(number), 0);
    }
    // All expired; one call after a long time looks at no more than its bound.
    let now = 1000 * SECOND;
    table.sweep(now);
    assert_eq!(table.open_flows(), 5000 - 1024);
    // A tenth of the period later, a tenth of the slots.
    table.sweep(now + SECOND);
    assert_eq!(table.open_flows(), 5000 - 1024 - 500);
    table.sweep(now + SECOND);
    assert_eq!(table.open_flows(), 5000 - 1024 - 500);
    for step in 1..=100 {
        table.sweep(now + SECOND + step * SECOND / 10);
    }
    assert_eq!((table.open_flows(), table.closed()), (0, 5000));
}

#[test]
fn a_clock_that_stepped_back_does_not_stop_the_sweep() {
    let mut table = FlowTable::new(config(100));
    table.sweep(u64::MAX);
    for number in 0..100 {
        open(&mut table, udp_key(number), SECOND);
    }
    for second in 2..200 {
        table.sweep(second * SECOND);
    }
    assert_eq!(table.open_flows(), 0);
}

#[test]
fn clear_forgets_flows_and_counts_them_closed() {
    let mut table = FlowTable::new(config(10));
    for number in 0..10 {
        open(&mut table, udp_key(number), 0);
    }
    let slot = table.find(&udp_key(3).0, 0).expect("it is open");
    table.remove(slot);
    table.remove(slot);
    table.clear();
    assert_eq!((table.open_flows(), table.opened(), table.closed()), (0, 10, 10));
    for number in 0..10 {
        assert_eq!(table.find(&udp_key(number).0, 0), None);
        open(&mut table, udp_key(number), 0);
    }
    assert_eq!(table.open_flows(), 10);
}

#[test]
fn a_listing_gives_each_flow_once_in_bounded_steps() {
    let mut table = FlowTable::new(config(100));
    for number in 0..50 {
        open(&mut table, udp_key(number), u64::from(number) * SECOND);
    }
    let now = 130 * SECOND;
    let (mut listed, mut steps) = (Vec::new(), 0);
    let mut start = Some(0);
    while let Some(slot) = start {
        let before = listed.len();
        start = table.list(slot, 30, 7, now, |flow, timeout| {
            assert_eq!(timeout, 120 * SECOND);
            listed.push(flow.key);
        });
        assert!(listed.len() - before <= 7);
        steps += 1;
        assert!(steps < 50);
    }
    // Those opened up to second 9 are expired.
    let expected: Vec<FlowKey> = (10..50).map(|number| udp_key(number).0).collect();
    assert_eq!(listed, expected);
}
