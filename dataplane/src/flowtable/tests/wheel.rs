//! Time: where digits of the wheel go round, clocks that step back, far jumps.

use super::*;
use crate::flowtable::work;

const STARTS: [u64; 12] = [
    0,
    62,
    63,
    64,
    4_095,
    (1 << 18) - 2,
    (1 << 30) - 1,
    (1 << 32) - 3,
    1 << 32,
    (1 << 36) - 2,
    (1 << 36) - 1,
    u64::MAX / 2,
];
const TIMES: [u32; 13] =
    [0, 1, 2, 62, 63, 64, 65, 4_095, 4_096, 4_097, 262_144, 1 << 24, MAX_TIMEOUT];

fn starting_at(start: u64) -> FlowTable {
    let mut timeouts = [0; TIMEOUTS];
    timeouts[..TIMES.len()].copy_from_slice(&TIMES);
    let mut table = table(FlowTableConfig { timeouts, ..config(64) });
    table.wheel.start_at(start);
    table
}

fn number(nth: usize) -> TimeoutNumber {
    TimeoutNumber::new(nth as u8)
}

#[test]
fn a_flow_is_over_one_tick_after_its_timeout_wherever_the_wheel_stands() {
    for start in STARTS {
        for (nth, &timeout) in TIMES.iter().enumerate() {
            let mut table = starting_at(start);
            table.open_as(v4(1, 1), Class::Established, number(nth)).unwrap();
            table.advance(timeout.into(), ALL);
            assert!(table.lookup(v4(1, 1)).is_some(), "start {start}, timeout {timeout}");
            assert_eq!(table.flows(), 1);
            table.check();
            table.advance(u64::from(timeout) + 1, ALL);
            assert!(table.lookup(v4(1, 1)).is_none(), "start {start}, timeout {timeout}");
            assert_eq!(table.flows(), 0, "start {start}, timeout {timeout}");
            assert_eq!(table.counts().expired, 1);
            table.check();
        }
    }
}

#[test]
fn all_timeouts_at_once_tick_by_tick() {
    for start in STARTS {
        let mut table = starting_at(start);
        for nth in 0..TIMES.len() {
            table.open_as(v4(1, nth as u32), Class::Established, number(nth)).unwrap();
        }
        let mut handled = 0;
        for now in 1..5_000u64 {
            handled += table.advance(now, ALL);
            let want = TIMES.iter().filter(|&&timeout| now <= timeout.into()).count();
            assert_eq!(table.flows() as usize, want, "start {start}, tick {now}");
        }
        // Down the six levels, each at most once.
        assert!(handled <= 6 * TIMES.len(), "{handled}");
        table.check();
    }
}

#[test]
fn a_budget_is_kept_and_what_it_left_comes_next() {
    let mut table = table(config(1000));
    for n in 0..1000 {
        table.open_as(v4(1, n), Class::Established, SHORT).unwrap();
    }
    let now = u64::from(SHORT_TICKS) + 1;
    for left in (0..10).rev() {
        assert_eq!(table.advance(now, 100), 100);
        assert_eq!(table.flows(), left * 100);
        assert!((0..1000).all(|n| table.lookup(v4(1, n)).is_none()));
        table.check();
    }
    assert_eq!(table.advance(now, 100), 0);
}

#[test]
fn room_is_made_of_what_is_over_before_anything_gives_way() {
    let mut table = table(config(1000));
    for n in 0..990 {
        table.open_as(v4(1, n), Class::Established, LONG).unwrap();
    }
    for n in 990..1000 {
        table.open_as(v4(1, n), Class::HalfOpen, MINUTES).unwrap();
    }
    // Nothing was collected when the newcomers come.
    table.advance(u64::from(LONG_TICKS) + 1, 0);
    for n in 1000..1990 {
        assert!(table.open_as(v4(1, n), Class::Established, LONG).is_ok());
    }
    assert_eq!(table.counts().evicted, 0);
    assert!((990..1990).all(|n| table.lookup(v4(1, n)).is_some()));
    table.check();
}

/// Longer than [`LONG`].
const MINUTES: TimeoutNumber = TimeoutNumber::new(2);

fn config(capacity: u32) -> FlowTableConfig {
    let mut config = super::config(capacity);
    config.timeouts[MINUTES.index()] = 100_000;
    config
}

#[test]
fn touching_moves_nothing_and_keeps_a_flow() {
    let mut table = table(config(4));
    let slot = table.open_as(v4(1, 1), Class::Established, SHORT).unwrap();
    let mut handled = 0;
    for now in 0..10_000 {
        handled += table.advance(now, ALL);
        work::taken();
        table.touch(slot, SHORT);
        assert_eq!(work::taken(), [0; 3]);
    }
    assert_eq!(table.lookup(v4(1, 1)), Some(slot));
    // At most once on each of two levels in every timeout.
    assert!(handled <= 2 * 10_000 / SHORT_TICKS as usize, "{handled}");
    table.advance(10_000 + u64::from(SHORT_TICKS), ALL);
    assert_eq!(table.flows(), 0);
}

#[test]
fn a_timeout_that_becomes_shorter_or_longer_counts_from_the_last_packet() {
    let mut table = table(config(4));
    let slot = table.open_as(v4(1, 1), Class::Established, LONG).unwrap();
    table.advance(100, ALL);
    table.touch(slot, SHORT);
    table.advance(100 + u64::from(SHORT_TICKS), ALL);
    assert_eq!(table.flows(), 1);
    table.touch(slot, LONG);
    table.advance(110 + u64::from(LONG_TICKS), ALL);
    assert_eq!(table.flows(), 1);
    table.touch(slot, SHORT);
    table.advance(111 + u64::from(LONG_TICKS + SHORT_TICKS), ALL);
    assert_eq!(table.flows(), 0);
    table.check();
}

#[test]
fn a_clock_that_steps_back_stands_still_and_goes_on() {
    let mut table = table(config(4));
    table.advance(1_000_000, ALL);
    let slot = table.open_as(v4(1, 1), Class::Established, SHORT).unwrap();
    table.advance(1_000_005, ALL);
    table.advance(20, ALL);
    table.advance(20 + 5, ALL);
    assert_eq!(table.lookup(v4(1, 1)), Some(slot));
    table.advance(20 + 6, ALL);
    assert_eq!(table.flows(), 0);
    table.check();
}

#[test]
fn far_jumps_end_every_flow_and_never_make_one_young_again() {
    let mut table = starting_at(77);
    let last = number(TIMES.len() - 1);
    for n in 0..10 {
        table.open_as(v4(1, n), Class::Established, last).unwrap();
    }
    // Without a budget, the clock may run ahead of the wheel for as long as it likes.
    for jump in 1..100u64 {
        table.advance(jump * ((1 << 31) - 1), 0);
        assert!((0..10).all(|n| table.lookup(v4(1, n)).is_none()), "jump {jump}");
    }
    table.advance(u64::MAX, 3);
    assert!((0..10).all(|n| table.lookup(v4(1, n)).is_none()));
    assert_eq!(table.flows(), 7);
    table.advance(u64::MAX, ALL);
    assert_eq!(table.flows(), 0);
    // And it works on from there.
    table.open_as(v4(1, 1), Class::Established, number(1)).unwrap();
    table.advance(0, ALL);
    table.advance(1, ALL);
    assert_eq!(table.flows(), 1);
    table.advance(2, ALL);
    assert_eq!(table.flows(), 0);
    table.check();
}

#[test]
fn ticks_are_sixteenths_of_a_second_and_timeouts_are_never_cut_short() {
    use std::time::Duration;
    assert_eq!(ticks(62_499_999), 0);
    assert_eq!(ticks(62_500_000), 1);
    assert_eq!(ticks(3_600_000_000_000), 57_600);
    assert_eq!(timeout_ticks(Duration::ZERO), 0);
    assert_eq!(timeout_ticks(Duration::from_nanos(1)), 1);
    assert_eq!(timeout_ticks(Duration::from_secs(7440)), 119_040);
    assert_eq!(timeout_ticks(Duration::MAX), MAX_TIMEOUT);
}
