//! The timer wheel: hierarchical and lazy, after Varghese and Lauck, "Hashed and Hierarchical
//! Timing Wheels" (1987), schemes 6 and 7.
//!
//! Six levels of 64 rings: a ring of level `l` spans 64^l ticks. A slot stands at the level of the
//! highest digit, to base 64, in which its due tick differs from the wheel's position; so the lowest
//! level that holds anything holds what comes first, and one word a level tells which of its rings
//! are not empty. When the position reaches a ring of a higher level, its slots go to lower ones.
//!
//! A packet moves nothing: when a slot comes due, it is looked up when it is really due, and stands
//! there anew. A slot whose timeout becomes shorter must be moved at once.

use super::rings::{Rings, WHEEL};
use std::time::Duration;

const TICK_NANOS: u64 = 1_000_000_000 / 16;
/// Longest idle timeout in ticks: a little more than two years.
pub const MAX_TIMEOUT: u32 = 1 << 30;
/// How far the position may stay behind the clock. With what a timeout adds it is less than 2^32, so
/// that the low 32 bits of a tick tell how long ago it was.
const MAX_LAG: u64 = 1 << 31;

const LEVELS: usize = 6;
const DIGIT: usize = 6;
const RINGS: usize = 64;

/// Ticks since the epoch of a clock in nanoseconds.
#[inline]
pub fn ticks(nanos: u64) -> u64 {
    nanos / TICK_NANOS
}

/// How long so many ticks are.
pub fn time(ticks: u32) -> Duration {
    Duration::from_nanos(TICK_NANOS) * ticks
}

/// An idle timeout in ticks, rounded up, at most [`MAX_TIMEOUT`].
pub fn timeout_ticks(timeout: Duration) -> u32 {
    let ticks = timeout.as_nanos().div_ceil(u128::from(TICK_NANOS));
    u32::try_from(ticks).map_or(MAX_TIMEOUT, |ticks| ticks.min(MAX_TIMEOUT))
}

/// Clock and wheel. Plain data; the rings are [`Rings`].
#[derive(Debug)]
#[repr(C)]
pub(super) struct Wheel {
    /// Ticks that have passed.
    clock: u64,
    /// Everything due before this tick has been handled.
    position: u64,
    /// What the caller's clock said last.
    told: u64,
    /// A bit for each ring that is not empty.
    occupied: [u64; LEVELS],
    /// Anchor of the first ring.
    anchor: u32,
}

impl Wheel {
    /// Anchors it needs.
    pub const ANCHORS: u32 = (LEVELS * RINGS) as u32;

    pub fn new(anchor: u32) -> Self {
        Wheel { clock: 0, position: 0, told: 0, occupied: [0; LEVELS], anchor }
    }

    /// The current tick.
    #[inline]
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Lets the time pass that has passed since the last call. A clock that stepped back stands
    /// still this once: a replay's may, and must not stop the wheel until it has caught up.
    #[inline]
    pub fn set_now(&mut self, now: u64) {
        let passed = now.saturating_sub(self.told);
        self.told = now;
        let furthest = self.position.saturating_add(MAX_LAG);
        self.clock = self.clock.saturating_add(passed).min(furthest);
    }

    /// Ticks since the one whose low bits are `last`.
    #[inline]
    pub fn since(&self, last: u32) -> u32 {
        (self.clock as u32).wrapping_sub(last)
    }

    /// Puts `slot`, which is not on the wheel, where it comes due at `due`, or at once if that has
    /// passed.
    pub fn arm(&mut self, rings: &mut Rings, slot: u32, due: u64) {
        let due = due.max(self.position);
        let differs = due ^ self.position;
        // Past the highest digit it goes round: nothing is armed further ahead than one round.
        let level = (differs.max(1).ilog2() as usize / DIGIT).min(LEVELS - 1);
        let ring = digit(due, level);
        self.occupied[level] |= 1 << ring;
        rings.push_back::<WHEEL>(self.anchor + (level * RINGS + ring) as u32, slot);
    }

    /// Takes `slot` off the wheel.
    pub fn disarm(&mut self, rings: &mut Rings, slot: u32) {
        if let Some(anchor) = rings.take::<WHEEL>(slot) {
            let ring = (anchor - self.anchor) as usize;
            self.occupied[ring / RINGS] &= !(1 << (ring % RINGS));
        }
    }

    /// A slot, still on the wheel, that may be due by now. When there is none, the position is with
    /// the clock.
    #[inline]
    pub fn next(&mut self, rings: &Rings) -> Option<u32> {
        let Some((ring, start)) = self.next_ring().filter(|&(_, start)| start <= self.clock) else {
            self.position = self.clock;
            return None;
        };
        self.position = start;
        rings.first::<WHEEL>(self.anchor + ring as u32)
    }

    /// The ring that comes first, and where it starts.
    #[inline]
    fn next_ring(&self) -> Option<(usize, u64)> {
        // A ring of a higher level that the position is in was reached, and not emptied yet.
        for level in 1..LEVELS {
            let ring = digit(self.position, level);
            if self.occupied[level] >> ring & 1 != 0 {
                return Some((level * RINGS + ring, self.position));
            }
        }
        for level in 0..LEVELS {
            let here = digit(self.position, level);
            let ahead = self.occupied[level].rotate_right(here as u32);
            if ahead != 0 {
                let steps = ahead.trailing_zeros() as usize;
                let start = ((self.position >> (level * DIGIT)) + steps as u64) << (level * DIGIT);
                return Some((level * RINGS + (here + steps) % RINGS, start));
            }
        }
        None
    }

    /// Forgets all slots; the clock goes on.
    pub fn clear(&mut self) {
        self.occupied = [0; LEVELS];
        self.position = self.clock;
    }

    /// The rings that are not empty by its own account, and all that there are.
    #[cfg(any(test, fuzzing))]
    pub fn occupied(&self) -> [u64; LEVELS] {
        self.occupied
    }

    /// As if so many ticks had passed while it was empty.
    #[cfg(any(test, fuzzing))]
    pub fn start_at(&mut self, tick: u64) {
        assert_eq!(self.occupied, [0; LEVELS]);
        (self.clock, self.position) = (tick, tick);
    }
}

#[inline]
fn digit(tick: u64, level: usize) -> usize {
    (tick >> (level * DIGIT)) as usize % RINGS
}
