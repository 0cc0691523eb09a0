//! Lists, counts and tops, asked for in slices.

use super::*;

fn filled() -> FlowTable {
    let mut table = table(config(1000));
    for source in 0..40 {
        for n in 0..=source {
            let slot = table.open_as(v4(source, n), Class::OneSided, LONG).unwrap();
            table.rejudged(slot, source % 5, 9);
        }
    }
    let slot = table.open_as(v6(3, 1), Class::OneSided, LONG).unwrap();
    table.rejudged(slot, 2, 8);
    table
}

/// Calls `slice` with where to go on until there is nothing more; how many calls that took.
fn in_slices(mut slice: impl FnMut(u32) -> Option<u32>) -> usize {
    let mut calls = 1;
    let mut start = 0;
    while let Some(next) = slice(start) {
        assert!(next > start);
        start = next;
        calls += 1;
    }
    calls
}

#[test]
fn slices_list_every_flow_once() {
    let table = filled();
    for (limit, room) in [(7, 100), (100, 7), (10_000, 10_000)] {
        let mut keys = Vec::new();
        let calls = in_slices(|start| {
            let before = keys.len();
            let next = table.list(start, limit, room, |flow| keys.push(flow.key));
            assert!(keys.len() - before <= room.min(limit as usize));
            next
        });
        assert!(calls >= table.flows() as usize / room.min(limit as usize));
        assert_eq!(keys.len(), table.flows() as usize);
        assert!(keys.iter().all(|key| table.find(key, table.hash(key)).is_some()));
        keys.dedup();
        assert_eq!(keys.len(), table.flows() as usize);
    }
}

#[test]
fn a_flow_that_stays_is_seen_once_whatever_comes_and_goes_between_slices() {
    let mut table = filled();
    let stays: Vec<_> = (0..=39).map(|n| v4(39, n).0).collect();
    let mut seen = vec![0; stays.len()];
    let mut start = Some(0);
    let mut n = 1000;
    while let Some(from) = start {
        start = table.list(from, 50, 50, |flow| {
            if let Some(nth) = stays.iter().position(|key| *key == flow.key) {
                seen[nth] += 1;
            }
        });
        for source in 20..38 {
            if let Some(slot) = table.lookup(v4(source, n % 20)) {
                table.remove(slot);
            }
            table.open_as(v4(100 + source, n), Class::OneSided, LONG).unwrap();
        }
        n += 1;
    }
    assert!(seen.iter().all(|&times| times == 1), "{seen:?}");
    table.check();
}

#[test]
fn rules_are_counted_by_generation() {
    let table = filled();
    let mut counts = RuleCounts { generation: 9, flows: vec![0; 5], others: 0 };
    in_slices(|start| table.count_by_rule(start, 13, &mut counts));
    // Sources r, r+5, ... r+35 have one flow more than their number each.
    let want: Vec<u64> = (0..5).map(|r| (0..8).map(|i| r + 5 * i + 1).sum()).collect();
    assert_eq!((counts.flows, counts.others), (want, 1));
}

#[test]
fn the_top_sources_are_those_with_most_flows() {
    let mut table = filled();
    for n in 0..5 {
        // Closing down the greatest takes it off the top.
        let slot = table.lookup(v4(39, n)).unwrap();
        table.remove(slot);
    }
    let mut top = Top::new(3);
    in_slices(|start| table.sources(start, 13, |source, flows| top.offer(flows.into(), source)));
    let v4 = |address| Source::of(address, Family::V4);
    assert_eq!(top.into_sorted(), [(39, v4(38)), (38, v4(37)), (37, v4(36))]);
}

#[test]
fn what_is_over_is_not_reported_and_clear_leaves_nothing() {
    let mut table = filled();
    let flows = u64::from(table.flows());
    table.advance(u64::from(LONG_TICKS), 0);
    let count = |table: &FlowTable| {
        let mut count = 0;
        in_slices(|start| table.list(start, 64, 64, |_| count += 1));
        count
    };
    assert_eq!(count(&table), flows);
    table.advance(u64::from(LONG_TICKS) + 1, 0);
    assert_eq!(count(&table), 0);
    assert_eq!(u64::from(table.flows()), flows);
    table.clear();
    assert_eq!((table.flows(), table.counts().closed), (0, flows));
    table.check();
    table.open_as(v6(1, 1), Class::HalfOpen, SHORT).unwrap();
    table.check();
}

#[test]
fn memory_is_what_the_documentation_says() {
    let table = table(config(1_048_576));
    let bytes = table.bytes_per_flow();
    assert_eq!(
        bytes,
        crate::flowtable::report::BytesPerFlow {
            record: 64,
            nodes: 17,
            opening: 16,
            index: 8,
            sources: 24,
            addresses_v6: 32
        }
    );
    let all = 1_048_576 * bytes.v6();
    let used = table.memory_usage();
    assert!(used <= all && used > all - 1_048_576, "{used} of {all}");
}
