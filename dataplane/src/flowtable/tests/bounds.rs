//! What one call may cost, in buckets, records and list operations: counted, at several sizes.

use super::*;
use crate::flowtable::work;

/// Two buckets, and a tag is one of 65,535: more than a few false candidates do not happen.
const FIND: [u64; 3] = [2, 4, 0];
/// Out of the index, and its source out of the other one; off the wheel and into another kind.
const REMOVE: [u64; 3] = [2 + 2 + 2, 1 + 4, 1 + 2];
/// One slot of the wheel: looked at, and removed.
const HANDLED: [u64; 3] = [REMOVE[0], 1 + REMOVE[1], REMOVE[2]];
/// Into an index: both buckets, then as many as could take an entry of them, then one again each.
const INSERT: u64 = 2 + 2 * 10 + 2;
const PLACE: [u64; 3] = [2 + INSERT + INSERT, 1 + 4, 2 + 1];

fn open_bound() -> [u64; 3] {
    let quota = [2, 4, 0];
    // Eight slots of the wheel are handled for want of room, and one more gives way.
    let sum = |i: usize| FIND[i] + quota[i] + 8 * HANDLED[i] + REMOVE[i] + PLACE[i];
    [sum(0), sum(1), sum(2)]
}

fn assert_within(what: &str, bound: [u64; 3]) -> [u64; 3] {
    let taken = work::taken();
    assert!(
        taken.iter().zip(bound).all(|(&taken, bound)| taken <= bound),
        "{what}: {taken:?} of {bound:?}"
    );
    taken
}

/// Flows come and go at a full table, clocks jump: the costliest call of each kind.
fn costliest(capacity: u32) -> [[u64; 3]; 3] {
    let mut random = splitmix(u64::from(capacity));
    let mut table = table(FlowTableConfig { quota: 50, ..config(capacity) });
    let mut most = [[0; 3]; 3];
    let mut note = |call: usize, taken: [u64; 3]| {
        for (most, taken) in most[call].iter_mut().zip(taken) {
            *most = taken.max(*most);
        }
    };
    let mut now = 0;
    for round in 1..=(7 * capacity).max(50_000) {
        let r = random();
        let flow = v4((r >> 40) as u32 % capacity, (r >> 20) as u32 % 64);
        let class = Class::ALL[r as usize % 4];
        let timeout = if r & 16 == 0 { SHORT } else { LONG };
        work::taken();
        let found = table.lookup(flow);
        note(0, assert_within("find", FIND));
        match found {
            Some(slot) if r & 0x60 == 0 => {
                table.remove(slot);
                note(2, assert_within("remove", REMOVE));
            }
            Some(slot) => {
                table.touch(slot, timeout);
                assert_within("touch", [0, 0, 2]);
            }
            None => {
                let _ = table.open_as(flow, class, timeout);
                note(1, assert_within("open", open_bound()));
            }
        }
        if r & 0xfff == 0 || round % (3 * capacity) == 0 {
            now += if round % (3 * capacity) == 0 { 2 * u64::from(LONG_TICKS) } else { 1 };
            table.advance(now, 32);
            let bound = HANDLED.map(|n| 32 * n);
            assert_within("advance", bound);
        }
    }
    assert!(table.counts().evicted > 0 && table.counts().expired > 0);
    table.check();
    most
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn splitmix(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[test]
fn no_call_costs_more_than_its_bound_at_any_size() {
    for capacity in [100, 1000, 20_000] {
        let [find, open, remove] = costliest(capacity);
        println!("capacity {capacity}: find {find:?}, open {open:?}, remove {remove:?}");
    }
}

#[test]
fn sources_at_random_cost_no_more_than_one_source_and_leave_nothing_behind() {
    let mut table = table(FlowTableConfig { quota: 2, ..config(1000) });
    for n in 0..2 {
        table.open_as(v4(7, n), Class::Established, LONG).unwrap();
    }
    for source in 0..100_000u32 {
        work::taken();
        table.open_as(v4(1000 + source, 1), Class::HalfOpen, SHORT).unwrap();
        assert_within("open", open_bound());
    }
    // The honest source's count is right: it has two flows, and no third.
    assert_eq!(table.open_as(v4(7, 2), Class::HalfOpen, SHORT), Err(Refused::Quota));
    let mut sources = 0;
    table.sources(0, u32::MAX, |_, flows| sources += flows);
    assert_eq!(sources, 1000);
    assert_eq!(table.counts().refused_quota, 1);
    let mut looked_at = 0;
    let mut at = Some(0);
    while let Some(start) = at {
        at = table.sources(start, 1, |_, _| {});
        looked_at += 1;
    }
    assert!(looked_at <= 1000, "{looked_at} entries for 999 sources");
    table.check();
}

#[test]
fn addresses_of_one_64_share_its_quota_and_families_do_not() {
    let mut table = table(FlowTableConfig { quota: 3, ..config(100) });
    for n in 0..3 {
        table.open_as(v6(5, n), Class::HalfOpen, SHORT).unwrap();
        table.open_as(v4(5, n), Class::HalfOpen, SHORT).unwrap();
    }
    assert_eq!(table.open_as(v6(5, 9), Class::HalfOpen, SHORT), Err(Refused::Quota));
    assert!(table.open_as(v6(6, 9), Class::HalfOpen, SHORT).is_ok());
    // A flow that is opened anew by the same source does not count twice.
    assert!(table.open_as(v6(5, 1), Class::HalfOpen, SHORT).is_ok());
    assert_eq!(table.open_as(v4(5, 9), Class::HalfOpen, SHORT), Err(Refused::Quota));
    table.advance(u64::from(SHORT_TICKS) + 1, ALL);
    assert!(table.open_as(v6(5, 9), Class::HalfOpen, SHORT).is_ok());
    table.check();
}
