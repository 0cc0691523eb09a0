//! The flow table, from the outside and by its invariants.

use super::*;
use crate::flowtable::report::{RuleCounts, Top};
use crate::flowtable::sources::Source;
use classifier::Family;

mod bounds;
mod hash;
mod measure;
mod model;
mod report;
mod wheel;

const SHORT: TimeoutNumber = TimeoutNumber::new(0);
const LONG: TimeoutNumber = TimeoutNumber::new(1);
const SHORT_TICKS: u32 = 10;
const LONG_TICKS: u32 = 5_000;
/// A budget that suffices for everything.
const ALL: usize = usize::MAX;

fn config(capacity: u32) -> FlowTableConfig {
    let mut timeouts = [SHORT_TICKS; TIMEOUTS];
    timeouts[LONG.index()] = LONG_TICKS;
    FlowTableConfig { capacity, capacity_v6: capacity, quota: 0, timeouts }
}

fn table(config: FlowTableConfig) -> FlowTable {
    FlowTable::new(config, HashKey::random())
}

fn end(address: u128, port: u16) -> End {
    End { address, port, side: 0 }
}

/// UDP flow `n` of IPv4 source `source`, and the direction of its first packet.
fn v4(source: u32, n: u32) -> (FlowKey, Direction) {
    let source = End { address: source.into(), port: n as u16, side: 0 };
    let target = End { address: 0xc000_0200 + u128::from(n >> 16), port: 53, side: 1 };
    FlowKey::between(source, target, 17, 0, Family::V4)
}

/// The same from an address of IPv6 /64 `source`.
fn v6(source: u64, n: u32) -> (FlowKey, Direction) {
    let source = End { address: u128::from(source) << 64 | u128::from(n), port: 7, side: 0 };
    let target = End { address: 0xfd << 120 | 1, port: 53, side: 1 };
    FlowKey::between(source, target, 17, 0, Family::V6)
}

fn new_flow(opened: Direction, class: Class, timeout: TimeoutNumber) -> NewFlow {
    NewFlow { opened, rule: 3, generation: 4, class, timeout }
}

impl FlowTable {
    fn open_as(
        &mut self,
        (key, opened): (FlowKey, Direction),
        class: Class,
        timeout: TimeoutNumber,
    ) -> Result<u32, Refused> {
        let hash = self.hash(&key);
        self.open(&key, hash, new_flow(opened, class, timeout))
    }

    fn lookup(&self, (key, _): (FlowKey, Direction)) -> Option<u32> {
        self.find(&key, self.hash(&key))
    }
}

#[test]
fn both_directions_have_one_key_and_hash() {
    let secret = HashKey::random();
    for family in [Family::V4, Family::V6] {
        let [a, b] = [end(5, 1000), End { side: 1, ..end(6, 53) }];
        let (there, forward) = FlowKey::between(a, b, 17, 7, family);
        let (back, reverse) = FlowKey::between(b, a, 17, 7, family);
        assert_eq!(there, back);
        assert_eq!(there.hash(secret), back.hash(secret));
        assert_eq!((forward, reverse), (Direction::Forward, Direction::Reverse));
        assert_eq!(there.ends(), [(a.address, a.port), (b.address, b.port)]);
        assert_eq!(there.side(), a.side);
        assert_eq!((there.protocol(), there.vlan(), there.family()), (17, 7, family));
    }
}

#[test]
fn a_flow_that_differs_in_one_field_is_another() {
    let [a, b] = [end(5, 1000), End { side: 1, ..end(6, 53) }];
    for family in [Family::V4, Family::V6] {
        let other_family = if family == Family::V4 { Family::V6 } else { Family::V4 };
        let key = |a, b, protocol, vlan| FlowKey::ordered(a, b, protocol, vlan, family);
        let mut table = table(config(20));
        let base = key(a, b, 17, 0x0fff_0ffe);
        table.open_as((base, Direction::Forward), Class::OneSided, SHORT).unwrap();
        let hash = table.hash(&base);
        let others = [
            key(end(4, 1000), b, 17, 0x0fff_0ffe),
            key(end(5, 1001), b, 17, 0x0fff_0ffe),
            key(End { side: 2, ..a }, b, 17, 0x0fff_0ffe),
            key(a, End { address: 7, ..b }, 17, 0x0fff_0ffe),
            key(a, End { port: 54, ..b }, 17, 0x0fff_0ffe),
            key(a, b, 6, 0x0fff_0ffe),
            key(a, b, 17, 0x0fff_0fff),
            key(a, b, 17, 0x0ffe_0ffe),
            FlowKey::ordered(a, b, 17, 0x0fff_0ffe, other_family),
        ];
        for other in others {
            assert_ne!(table.hash(&other), hash, "{other:?}");
            // Even with the hash of the base, so that it is the record that tells them apart.
            assert_eq!(table.find(&other, hash), None, "{other:?}");
        }
        assert_eq!(table.find(&base, hash), Some(0));
        assert_eq!(base.vlan(), 0x0fff_0ffe);
    }
}

#[test]
fn a_record_keeps_what_it_was_given() {
    let mut table = table(config(4));
    for (nth, flow) in [v4(9, 1), v6(9, 1)].into_iter().enumerate() {
        let slot = table.open_as(flow, Class::HalfOpen, SHORT).unwrap();
        assert_eq!(slot as usize, nth);
        assert_eq!(table.state(slot), &[0; 32]);
        table.state_mut(slot)[31] = 7;
        table.rejudged(slot, 70_000, u32::MAX);
        table.set_class(slot, Class::Established);
        assert_eq!(table.judgement(slot), (70_000, u32::MAX));
        assert_eq!(table.opened(slot), flow.1);
        assert_eq!(table.class(slot), Class::Established);
        assert_eq!(table.state(slot)[31], 7);
        assert!(table.holds(slot, &flow.0));
        // A slot used again knows nothing of the flow before.
        table.remove(slot);
        assert!(!table.holds(slot, &flow.0));
        assert_eq!(table.open_as(flow, Class::HalfOpen, SHORT), Ok(slot));
        assert_eq!(table.state(slot), &[0; 32]);
        table.check();
    }
}

#[test]
fn a_flood_pays_with_its_own_flows() {
    let mut table = table(config(100));
    for n in 0..40 {
        table.open_as(v4(1, n), Class::Established, LONG).unwrap();
    }
    for n in 0..10 {
        table.open_as(v4(2, n), Class::HalfOpen, SHORT).unwrap();
        table.open_as(v4(3, n), Class::Closing, SHORT).unwrap();
        table.open_as(v6(4, n), Class::OneSided, SHORT).unwrap();
    }
    for n in 0..10_000 {
        table.open_as(v4(5 + n, n), Class::OneSided, SHORT).unwrap();
    }
    assert_eq!((0..40).filter(|&n| table.lookup(v4(1, n)).is_some()).count(), 40);
    assert_eq!((0..10).filter(|&n| table.lookup(v4(2, n)).is_some()).count(), 10);
    assert_eq!((0..10).filter(|&n| table.lookup(v4(3, n)).is_some()).count(), 10);
    assert_eq!((0..10).filter(|&n| table.lookup(v6(4, n)).is_some()).count(), 10);
    assert_eq!(table.counts().evicted, 10_000 - 30);
    table.check();
}

#[test]
fn an_ipv6_newcomer_without_room_for_addresses_takes_an_ipv6_place() {
    let mut table = table(FlowTableConfig { capacity_v6: 2, ..config(10) });
    table.open_as(v6(1, 0), Class::Established, LONG).unwrap();
    table.open_as(v6(1, 1), Class::OneSided, LONG).unwrap();
    for n in 0..4 {
        table.open_as(v4(1, n), Class::OneSided, LONG).unwrap();
    }
    assert_eq!(table.open_as(v6(1, 2), Class::Established, LONG), Ok(1));
    assert_eq!(table.lookup(v6(1, 1)), None);
    assert_eq!(table.flows(), 6);
    // Slots there are, but what holds the addresses is established.
    assert_eq!(table.open_as(v6(1, 3), Class::HalfOpen, LONG), Err(Refused::Full));
    assert_eq!(table.counts().refused_full, 1);
    table.check();
}

#[test]
fn a_burst_finds_what_single_lookups_find() {
    let mut table = table(config(1000));
    for n in 0..500 {
        table.open_as(v4(1, n), Class::Established, LONG).unwrap();
        table.open_as(v6(1, n), Class::Established, SHORT).unwrap();
    }
    table.advance(u64::from(SHORT_TICKS) + 1, 100);
    for size in [0, 1, 63, 64, 65, 200] {
        let burst: Vec<_> = (0..size)
            .map(|i| {
                let n = i * 7;
                let (key, _) = if n % 3 == 0 { v6(1, n) } else { v4(1, n) };
                (table.hash(&key), key)
            })
            .collect();
        let mut found = vec![Some(77); burst.len()];
        table.find_burst(&burst, &mut found);
        let single: Vec<_> = burst.iter().map(|(hash, key)| table.find(key, *hash)).collect();
        assert_eq!(found, single);
        let there = |n: u32| !n.is_multiple_of(3) && n < 500;
        let want: Vec<_> = (0..size).map(|i| there(i * 7)).collect();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), want);
    }
}

#[test]
fn a_million_flows_are_held_to_the_last_place() {
    let capacity = 1_048_576;
    let mut table = table(FlowTableConfig { capacity_v6: 1000, ..config(capacity) });
    for n in 0..capacity {
        assert_eq!(table.open_as(v4(n, n), Class::Established, LONG), Ok(n));
    }
    assert_eq!(table.flows(), capacity);
    assert_eq!(table.open_as(v4(0, 1), Class::HalfOpen, LONG), Err(Refused::Full));
    for n in 0..capacity {
        assert_eq!(table.lookup(v4(n, n)), Some(n));
    }
    // Full, and one comes for each that goes: the index must not wear out.
    for n in 0..capacity / 4 {
        table.remove(n.wrapping_mul(0x9e37_79b1) % capacity);
        let opened = table.open_as(v4(n, n + capacity), Class::Established, LONG);
        assert!(opened.is_ok(), "flow {n}: {opened:?}");
    }
    assert_eq!(table.flows(), capacity);
    table.check();
}
