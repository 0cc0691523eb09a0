//! What can be asked of a flow table, in slices: no call looks at more than its caller allows, so
//! that a worker answers between bursts.
//!
//! A flow keeps its slot, and a source its entry, for as long as it lives: what is there from the
//! first slice to the last is seen exactly once.

use super::key::FlowKey;
use super::record::{Addresses, Class, Opening, Record};
use super::sources::Source;
use super::table::FlowTable;
use crate::flowtable::Direction;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One flow, for a list.
#[derive(Clone, Copy, Debug)]
pub struct FlowEntry {
    /// Both ends.
    pub key: FlowKey,
    /// Direction of the packet that opened it.
    pub opened: Direction,
    /// What it is worth.
    pub class: Class,
    /// Rule that allowed it, in the table of `generation`.
    pub rule: u32,
    /// Generation it was last judged by, low bits.
    pub generation: u32,
    /// Ticks since its last packet.
    pub idle: u32,
    /// Ticks after which it is over.
    pub timeout: u32,
    /// What the packet said that opened it.
    pub opening: Opening,
}

/// Memory per flow in bytes, when the table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BytesPerFlow {
    /// Record: the one line that a packet reads and writes.
    pub record: usize,
    /// Places in the timer wheel and among its kind.
    pub nodes: usize,
    /// What the packet said that opened it.
    pub opening: usize,
    /// Its share of the index, empty places included.
    pub index: usize,
    /// Its share of the sources.
    pub sources: usize,
    /// IPv6 addresses: for IPv6 flows only.
    pub addresses_v6: usize,
}

impl BytesPerFlow {
    /// An IPv4 flow, with everything.
    pub fn v4(&self) -> usize {
        self.record + self.nodes + self.opening + self.index + self.sources
    }

    /// An IPv6 flow, with everything.
    pub fn v6(&self) -> usize {
        self.v4() + self.addresses_v6
    }
}

/// Flows by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// The generation whose rules are meant, low bits.
    pub generation: u32,
    /// Flows of each rule.
    pub flows: Vec<u64>,
    /// Flows that were last judged by another generation.
    pub others: u64,
}

/// The greatest of what is offered, a bounded number of them.
#[derive(Clone, Debug)]
pub struct Top<T> {
    room: usize,
    heap: BinaryHeap<Reverse<(u64, T)>>,
}

impl<T: Ord> Top<T> {
    /// Room for `room` of them.
    pub fn new(room: usize) -> Self {
        Top { room, heap: BinaryHeap::with_capacity(room + 1) }
    }

    /// Takes `item` in if it is among the greatest so far.
    pub fn offer(&mut self, count: u64, item: T) {
        self.heap.push(Reverse((count, item)));
        if self.heap.len() > self.room {
            self.heap.pop();
        }
    }

    /// What is kept, greatest first.
    pub fn into_sorted(self) -> Vec<(u64, T)> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(item)| item).collect()
    }
}

impl FlowTable {
    /// Flows from slot `start` on, at most `room` of them, looking at no more than `limit` slots.
    /// The slot to go on from, or `None` at the end.
    pub fn list(
        &self,
        start: u32,
        limit: u32,
        room: usize,
        mut each: impl FnMut(&FlowEntry),
    ) -> Option<u32> {
        let mut left = room;
        self.scan(start, limit, |table, slot, record| {
            if left == 0 {
                return false;
            }
            left -= 1;
            each(&FlowEntry {
                key: record.key(&table.v6),
                opened: record.opened(),
                class: record.class(),
                rule: record.rule,
                generation: record.generation,
                idle: table.wheel.since(record.last_seen),
                timeout: table.timeouts[record.timeout.index()],
                opening: table.opening(slot),
            });
            true
        })
    }

    /// Counts flows by rule from slot `start` on, looking at no more than `limit` slots. The slot to
    /// go on from, or `None` at the end. Rules that `counts` has no place for are not counted.
    pub fn count_by_rule(&self, start: u32, limit: u32, counts: &mut RuleCounts) -> Option<u32> {
        self.scan(start, limit, |_, _, record| {
            if record.generation != counts.generation {
                counts.others += 1;
            } else if let Some(flows) = counts.flows.get_mut(record.rule as usize) {
                *flows += 1;
            }
            true
        })
    }

    /// Live records from slot `start` on, until `each` wants no more: that one is then the next.
    fn scan(
        &self,
        start: u32,
        limit: u32,
        mut each: impl FnMut(&FlowTable, u32, &Record) -> bool,
    ) -> Option<u32> {
        let end = self.used.min(start.saturating_add(limit));
        for slot in start..end {
            let record = &self.arena[slot as usize];
            if record.live() && !self.over(record) && !each(self, slot, record) {
                return Some(slot);
            }
        }
        (end < self.used).then_some(end)
    }

    /// Sources and the flows they opened, from entry `start` on, looking at no more than `limit`
    /// entries. The entry to go on from, or `None` at the end. [`Top`] keeps the greatest.
    pub fn sources(&self, start: u32, limit: u32, each: impl FnMut(Source, u32)) -> Option<u32> {
        self.sources.list(start, limit, each)
    }

    /// Bytes held, all of them from the start.
    pub fn memory_usage(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.arena)
            + size_of_val(&*self.openings)
            + size_of_val(&*self.v6)
            + self.rings.memory_usage()
            + self.index.memory_usage()
            + self.sources.memory_usage()
    }

    /// Bytes per flow when the table is full, rounded up.
    pub fn bytes_per_flow(&self) -> BytesPerFlow {
        let share = |bytes: usize| bytes.div_ceil(self.arena.len());
        BytesPerFlow {
            record: size_of::<Record>(),
            opening: size_of::<Opening>(),
            nodes: share(self.rings.memory_usage()),
            index: share(self.index.memory_usage()),
            sources: share(self.sources.memory_usage()),
            addresses_v6: size_of::<Addresses>(),
        }
    }
}
