//! The flow table itself: find, open, touch, remove, expire, give way.

use super::hash::HashKey;
use super::index::Index;
use super::key::FlowKey;
use super::record::{Addresses, Class, NewFlow, Opening, Record, TimeoutNumber};
use super::rings::{KIND, Rings};
use super::sources::Sources;
use super::wheel::{MAX_TIMEOUT, Wheel};
use super::{FlowTableConfig, MAX_CAPACITY, Refused, TIMEOUTS, work};
use crate::flowtable::Direction;
use classifier::Family;
use std::hint::black_box;

/// Keys of one call of [`FlowTable::find_burst`] that are looked up together.
const TOGETHER: usize = 64;
/// Slots of the wheel handled when a newcomer finds the table full.
const FULL_BUDGET: usize = 8;
/// Rings of kinds: free slots, and each class by family.
const KINDS: usize = 1 + 2 * Class::COUNT;
/// The ring of free slots.
const FREE: usize = 0;

/// Counts since the table was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowCounts {
    /// Flows opened.
    pub opened: u64,
    /// Flows that are no more, for any cause; the next two are among them.
    pub closed: u64,
    /// Flows that were idle for too long.
    pub expired: u64,
    /// Flows that gave way to newcomers.
    pub evicted: u64,
    /// Newcomers refused for want of room.
    pub refused_full: u64,
    /// Newcomers refused by the quota of their source.
    pub refused_quota: u64,
}

/// The flows of one worker.
///
/// Slots name flows until they are removed, expire or give way: after a call that may do that
/// (`open`, `remove`, `advance`, `clear`), a slot found earlier is good only if
/// [`holds`](Self::holds) says so. A slot without a flow, or with another, harms nothing but what
/// lies there.
#[derive(Debug)]
pub struct FlowTable {
    pub(super) arena: Box<[Record]>,
    /// By slot.
    pub(super) openings: Box<[Opening]>,
    pub(super) v6: Box<[Addresses]>,
    /// Free places of `v6` are a stack: the next one is in `first` of the one above.
    pub(super) v6_vacant: u32,
    pub(super) rings: Rings,
    pub(super) index: Index,
    pub(super) wheel: Wheel,
    pub(super) sources: Sources,
    /// Slots in each ring of a kind.
    pub(super) kinds: [u32; KINDS],
    pub(super) counts: FlowCounts,
    /// Slots from here on were never used since the table was last empty.
    pub(super) used: u32,
    pub(super) timeouts: [u32; TIMEOUTS],
    hash_key: HashKey,
    quota: u32,
}

/// The ring of a class and family.
pub(super) fn kind(class: Class, family: Family) -> usize {
    1 + 2 * class as usize + usize::from(family == Family::V6)
}

impl FlowTable {
    /// An empty table, with all its memory written to. Sizes and timeouts that are out of bounds are
    /// taken as the nearest that are not.
    pub fn new(config: FlowTableConfig, hash_key: HashKey) -> Self {
        let capacity = config.capacity.clamp(1, MAX_CAPACITY);
        let capacity_v6 = config.capacity_v6.min(capacity);
        let mut table = FlowTable {
            arena: vec![Record::FREE; capacity as usize].into(),
            openings: vec![Opening::NONE; capacity as usize].into(),
            v6: vec![Addresses { first: 0, second: 0 }; capacity_v6 as usize].into(),
            v6_vacant: 0,
            rings: Rings::new(capacity, KINDS as u32 + Wheel::ANCHORS),
            index: Index::new(capacity),
            wheel: Wheel::new(capacity + KINDS as u32),
            sources: Sources::new(capacity),
            kinds: [0; KINDS],
            counts: FlowCounts::default(),
            used: 0,
            timeouts: config.timeouts.map(|ticks| ticks.min(MAX_TIMEOUT)),
            hash_key,
            quota: config.quota,
        };
        table.link_free();
        table
    }

    /// All slots free, in order.
    fn link_free(&mut self) {
        for (slot, next) in self.v6.iter_mut().zip(1..) {
            slot.first = next;
        }
        self.v6_vacant = 0;
        self.kinds = [0; KINDS];
        self.kinds[FREE] = self.arena.len() as u32;
        self.used = 0;
        for slot in 0..self.arena.len() as u32 {
            self.rings.push_back::<KIND>(self.anchor(FREE), slot);
        }
    }

    pub(super) fn anchor(&self, kind: usize) -> u32 {
        (self.arena.len() + kind) as u32
    }

    /// The hash that `find` and `open` want with a key.
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        key.hash(self.hash_key)
    }

    /// Flows at hand, those among them that are over but not collected yet.
    pub fn flows(&self) -> u32 {
        self.arena.len() as u32 - self.kinds[FREE]
    }

    /// Flows of a class at hand.
    pub fn flows_of(&self, class: Class) -> u32 {
        self.kinds[kind(class, Family::V4)] + self.kinds[kind(class, Family::V6)]
    }

    /// What happened so far.
    pub fn counts(&self) -> FlowCounts {
        self.counts
    }

    /// The slot of the flow `key`, if there is one that is not over.
    #[inline]
    pub fn find(&self, key: &FlowKey, hash: u64) -> Option<u32> {
        self.slot_of(key, hash).filter(|&slot| !self.over(&self.arena[slot as usize]))
    }

    /// The slot that holds `key`, over or not.
    #[inline]
    fn slot_of(&self, key: &FlowKey, hash: u64) -> Option<u32> {
        self.index.find(hash, |slot| {
            work::record();
            self.arena[slot as usize].is(key, &self.v6)
        })
    }

    /// Whether `slot` holds the flow `key`, and it is not over.
    #[inline]
    pub fn holds(&self, slot: u32, key: &FlowKey) -> bool {
        let record = &self.arena[slot as usize];
        record.is(key, &self.v6) && !self.over(record)
    }

    /// Finds the flows of a burst: `found` becomes what [`find`](Self::find) gives for each of
    /// `wanted`. Memory is read for all of them before any waits for it.
    pub fn find_burst(&self, wanted: &[(u64, FlowKey)], found: &mut [Option<u32>]) {
        for (wanted, found) in wanted.chunks(TOGETHER).zip(found.chunks_mut(TOGETHER)) {
            // Loads that nothing waits for until the end of the loop: the processor has as many of
            // them under way as it can.
            let peeked = wanted.iter().fold(0, |sum, (hash, _)| sum ^ self.index.peek(*hash));
            black_box(peeked);
            let mut peeked = 0;
            for ((hash, _), found) in wanted.iter().zip(&mut *found) {
                *found = self.index.candidate(*hash);
                peeked ^= found.map_or(0, |slot| self.arena[slot as usize].last_seen);
            }
            black_box(peeked);
            self.peek_addresses(wanted, found);
            for ((hash, key), found) in wanted.iter().zip(found) {
                *found = match *found {
                    Some(slot) if self.holds(slot, key) => Some(slot),
                    _ => self.find(key, *hash),
                };
            }
        }
    }

    #[inline]
    fn peek_addresses(&self, wanted: &[(u64, FlowKey)], found: &[Option<u32>]) {
        let mut peeked = 0;
        for ((_, key), found) in wanted.iter().zip(found) {
            if let (Family::V6, Some(slot)) = (key.family, *found) {
                let addresses = self.arena[slot as usize].addresses_v6();
                peeked ^= self.v6.get(addresses as usize).map_or(0, |a| a.first as u64);
            }
        }
        black_box(peeked);
    }

    /// Whether it was idle for too long.
    #[inline]
    pub(super) fn over(&self, record: &Record) -> bool {
        self.wheel.since(record.last_seen) > self.timeouts[record.timeout.index()]
    }

    /// The tick at which the flow in `slot` is over, if no packet comes.
    fn due(&self, slot: u32) -> u64 {
        let record = &self.arena[slot as usize];
        let last_seen = self.wheel.clock() - u64::from(self.wheel.since(record.last_seen));
        last_seen + u64::from(self.timeouts[record.timeout.index()]) + 1
    }

    /// Puts `slot`, which is not on the wheel, where the wheel must look at it.
    fn arm(&mut self, slot: u32) {
        let due = self.due(slot);
        self.wheel.arm(&mut self.rings, slot, due);
    }

    /// Opens the flow `key`. If there is one already, the new one takes its place.
    ///
    /// Its state is all zero.
    ///
    /// # Errors
    /// [`Refused`]; then what was there is still there.
    pub fn open(&mut self, key: &FlowKey, hash: u64, new: NewFlow) -> Result<u32, Refused> {
        let old = self.slot_of(key, hash);
        self.check_quota(key, old, new.opened)?;
        if let Some(old) = old {
            self.remove(old);
        }
        self.make_room(key.family);
        self.place(key, hash, new).ok_or_else(|| {
            self.counts.refused_full += 1;
            Refused::Full
        })
    }

    fn check_quota(
        &mut self,
        key: &FlowKey,
        old: Option<u32>,
        opened: Direction,
    ) -> Result<(), Refused> {
        if self.quota == 0 {
            return Ok(());
        }
        let source = key.source(opened);
        let replaces =
            old.is_some_and(|old| key.source(self.arena[old as usize].opened()) == source);
        if self.sources.flows(self.hash_key, source) < self.quota.saturating_add(replaces.into()) {
            return Ok(());
        }
        self.counts.refused_quota += 1;
        Err(Refused::Quota)
    }

    /// Puts a flow into a free slot, if there is one.
    fn place(&mut self, key: &FlowKey, hash: u64, new: NewFlow) -> Option<u32> {
        let slot = self.rings.first::<KIND>(self.anchor(FREE))?;
        let source = key.source(new.opened);
        let addresses = self.v6_vacant;
        if key.family == Family::V6 {
            // Looked at before anything is changed.
            self.v6.get(addresses as usize)?;
        }
        if !self.sources.add(self.hash_key, source) {
            return None;
        }
        if !self.index.insert(hash, slot) {
            self.sources.sub(self.hash_key, source);
            return None;
        }
        if key.family == Family::V6 {
            let place = &mut self.v6[addresses as usize];
            self.v6_vacant = place.first as u32;
            *place = Addresses { first: key.first, second: key.second };
        }
        work::record();
        let now = self.wheel.clock() as u32;
        self.arena[slot as usize] = Record::new(key, new, now, addresses);
        self.used = self.used.max(slot + 1);
        self.counts.opened += 1;
        self.change_kind(slot, FREE, kind(new.class, key.family));
        self.arm(slot);
        Some(slot)
    }

    fn change_kind(&mut self, slot: u32, from: usize, to: usize) {
        self.rings.take::<KIND>(slot);
        self.kinds[from] -= 1;
        self.kinds[to] += 1;
        let anchor = self.anchor(to);
        if to == FREE {
            // The slot whose lines are in the cache is used next.
            self.rings.push_front::<KIND>(anchor, slot);
        } else {
            self.rings.push_back::<KIND>(anchor, slot);
        }
    }

    fn has_room(&self, family: Family) -> bool {
        let room_v6 = family == Family::V4 || (self.v6_vacant as usize) < self.v6.len();
        self.kinds[FREE] > 0 && room_v6
    }

    /// Makes room for a newcomer if there is none and anything may go.
    fn make_room(&mut self, family: Family) {
        if self.has_room(family) {
            return;
        }
        self.collect(FULL_BUDGET);
        if self.has_room(family) {
            return;
        }
        // What an IPv6 newcomer lacks may be a place for addresses, which only its like holds.
        let lacks_v6 = family == Family::V6 && self.v6_vacant as usize == self.v6.len();
        let families: &[Family] = if lacks_v6 { &[Family::V6] } else { &[Family::V4, Family::V6] };
        let victims = [Class::HalfOpen, Class::OneSided, Class::Closing]
            .into_iter()
            .flat_map(|class| families.iter().map(move |&family| kind(class, family)))
            .max_by_key(|&kind| self.kinds[kind]);
        if let Some(victim) = victims.and_then(|kind| self.rings.first::<KIND>(self.anchor(kind))) {
            self.counts.evicted += 1;
            self.remove(victim);
        }
    }

    /// Records a packet of the flow in `slot`, whose idle timeout is `timeout` from now on.
    #[inline]
    pub fn touch(&mut self, slot: u32, timeout: TimeoutNumber) {
        let clock = self.wheel.clock() as u32;
        let record = &mut self.arena[slot as usize];
        record.last_seen = clock;
        if record.timeout != timeout {
            self.change_timeout(slot, timeout);
        }
    }

    fn change_timeout(&mut self, slot: u32, timeout: TimeoutNumber) {
        let record = &mut self.arena[slot as usize];
        let old = std::mem::replace(&mut record.timeout, timeout);
        // The wheel finds out by itself that a flow is due later, not that it is due sooner.
        if record.live() && self.timeouts[timeout.index()] < self.timeouts[old.index()] {
            self.wheel.disarm(&mut self.rings, slot);
            self.arm(slot);
        }
    }

    /// The flow in `slot` is of `class` from now on; if it was not, it is the youngest of it.
    #[inline]
    pub fn set_class(&mut self, slot: u32, class: Class) {
        let record = &mut self.arena[slot as usize];
        let (old, family) = (record.class(), record.family());
        if old != class && record.live() {
            record.set_class(class);
            self.change_kind(slot, kind(old, family), kind(class, family));
        }
    }

    /// Writes down by which rule and generation the flow in `slot` was judged anew.
    pub fn rejudged(&mut self, slot: u32, rule: u32, generation: u32) {
        let record = &mut self.arena[slot as usize];
        (record.rule, record.generation) = (rule, generation);
    }

    /// The rule that allowed the flow in `slot`, and the low bits of the generation.
    #[inline]
    pub fn judgement(&self, slot: u32) -> (u32, u32) {
        let record = &self.arena[slot as usize];
        (record.rule, record.generation)
    }

    /// Direction of the packet that opened the flow in `slot`.
    #[inline]
    pub fn opened(&self, slot: u32) -> Direction {
        self.arena[slot as usize].opened()
    }

    /// Class of the flow in `slot`.
    #[inline]
    pub fn class(&self, slot: u32) -> Class {
        self.arena[slot as usize].class()
    }

    /// Writes down what the packet said that opened the flow in `slot`, and whether the flow may
    /// finish whatever newer tables say.
    pub fn set_opening(&mut self, slot: u32, opening: Opening, kept: bool) {
        self.openings[slot as usize] = opening;
        self.arena[slot as usize].set_kept(kept);
    }

    /// What the packet said that opened the flow in `slot`.
    pub fn opening(&self, slot: u32) -> Opening {
        self.openings[slot as usize]
    }

    /// Whether the flow in `slot` may finish whatever newer tables say.
    pub fn kept(&self, slot: u32) -> bool {
        self.arena[slot as usize].kept()
    }

    /// Protocol state of the flow in `slot`.
    #[inline]
    pub fn state(&self, slot: u32) -> &[u8; 32] {
        &self.arena[slot as usize].state
    }

    /// Protocol state of the flow in `slot`, to be changed.
    #[inline]
    pub fn state_mut(&mut self, slot: u32) -> &mut [u8; 32] {
        &mut self.arena[slot as usize].state
    }

    /// Forgets the flow in `slot`, if there is one.
    pub fn remove(&mut self, slot: u32) {
        if self.arena[slot as usize].live() {
            self.wheel.disarm(&mut self.rings, slot);
            self.release(slot);
        }
    }

    /// Forgets a flow that is not on the wheel any more.
    fn release(&mut self, slot: u32) {
        work::record();
        let record = self.arena[slot as usize];
        let key = record.key(&self.v6);
        self.index.remove(key.hash(self.hash_key), slot);
        self.sources.sub(self.hash_key, key.source(record.opened()));
        if key.family == Family::V6 {
            let place = record.addresses_v6();
            self.v6[place as usize] = Addresses { first: u128::from(self.v6_vacant), second: 0 };
            self.v6_vacant = place;
        }
        self.arena[slot as usize] = Record::FREE;
        self.change_kind(slot, kind(record.class(), key.family), FREE);
        self.counts.closed += 1;
    }

    /// The time is `now`, in [`ticks`](super::ticks) of any clock. Forgets flows that were idle for
    /// too long, handling at most `budget` slots, and returns how many it handled.
    ///
    /// A slot is handled when its timeout has passed since it was last handled, and up to five times
    /// in between when timeouts are long. Flows that are over are not found, even when the budget
    /// did not suffice to forget them.
    #[inline]
    pub fn advance(&mut self, now: u64, budget: usize) -> usize {
        self.wheel.set_now(now);
        self.collect(budget)
    }

    #[inline]
    fn collect(&mut self, budget: usize) -> usize {
        for handled in 0..budget {
            let Some(slot) = self.wheel.next(&self.rings) else { return handled };
            work::record();
            self.wheel.disarm(&mut self.rings, slot);
            if self.over(&self.arena[slot as usize]) {
                self.counts.expired += 1;
                self.release(slot);
            } else {
                self.arm(slot);
            }
        }
        budget
    }

    /// Forgets every flow. Takes time that grows with the capacity: milliseconds.
    pub fn clear(&mut self) {
        self.counts.closed += u64::from(self.flows());
        self.arena.fill(Record::FREE);
        self.index.clear();
        self.rings.clear();
        self.wheel.clear();
        self.sources.clear();
        self.link_free();
    }
}
