//! The flow table of one worker: bounded, index-addressed, expired little by little.

use super::{Direction, FlowConfig, FlowKey};
use crate::parse::{protocol, tcp_flag};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// One accepted flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Both ends.
    pub key: FlowKey,
    /// Direction of the packet that opened it.
    pub opened: Direction,
    /// Rule that allowed it, in the table of `generation`.
    pub rule: u32,
    /// Generation it was last judged by.
    pub generation: u64,
    /// Worker clock at its last packet, nanoseconds.
    pub last_seen: u64,
    closing: Closing,
    live: bool,
}

/// How far a TCP connection is closed. Bits of both directions and of a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Closing(u8);

impl Closing {
    const RESET: u8 = 4;

    fn observe(&mut self, direction: Direction, tcp_flags: u8) {
        if tcp_flags & tcp_flag::RST != 0 {
            self.0 |= Self::RESET;
        }
        if tcp_flags & tcp_flag::FIN != 0 {
            self.0 |= match direction {
                Direction::Forward => 1,
                Direction::Reverse => 2,
            };
        }
    }

    /// Reset, or a FIN from both sides.
    fn closed(self) -> bool {
        self.0 & Self::RESET != 0 || self.0 & 3 == 3
    }
}

/// No room for another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull;

/// Slots looked at when a flow finds the table full.
const FULL_SWEEP: usize = 256;
/// Most slots looked at by one call of [`FlowTable::sweep`].
const MAX_SWEEP: usize = 1024;
/// Every slot is looked at about this often, nanoseconds: expired flows do not count as flows, but
/// hold their slot until then.
const SWEEP_PERIOD: u64 = 10_000_000_000;

/// The flows one worker owns.
///
/// Flows lie in an arena and are named by their slot; the hash table holds slots only.
#[derive(Debug)]
pub struct FlowTable {
    arena: Vec<Flow>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    capacity: usize,
    timeouts: Timeouts,
    cursor: usize,
    swept_at: u64,
    /// Flows that are there.
    open: u64,
    opened: u64,
    closed: u64,
}

/// Idle timeouts in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    tcp: u64,
    tcp_closing: u64,
    udp: u64,
    icmp: u64,
    other: u64,
}

impl Timeouts {
    fn of(&self, flow: &Flow) -> u64 {
        match flow.key.protocol() {
            protocol::TCP if flow.closing.closed() => self.tcp_closing,
            protocol::TCP => self.tcp,
            protocol::UDP => self.udp,
            protocol::ICMP | protocol::ICMPV6 => self.icmp,
            _ => self.other,
        }
    }
}

impl FlowTable {
    /// An empty table with all its memory reserved.
    pub fn new(config: FlowConfig) -> Self {
        let capacity = config.capacity as usize;
        let nanos = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        FlowTable {
            arena: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            // Twice the room: a table more than half full answers to the places that removals
            // spoilt by growing, which would allocate amid packets; a sparse one reuses them.
            index: HashTable::with_capacity(2 * capacity),
            hasher: RandomState::default(),
            capacity,
            timeouts: Timeouts {
                tcp: nanos(config.timeouts.tcp_established),
                tcp_closing: nanos(config.timeouts.tcp_closing),
                udp: nanos(config.timeouts.udp_two_sided),
                icmp: nanos(config.timeouts.icmp_echo),
                other: nanos(config.timeouts.other_two_sided),
            },
            cursor: 0,
            swept_at: 0,
            open: 0,
            opened: 0,
            closed: 0,
        }
    }

    /// Bytes reserved.
    pub fn memory_usage(&self) -> usize {
        self.arena.capacity() * size_of::<Flow>()
            + self.free.capacity() * size_of::<u32>()
            + self.index.allocation_size()
    }

    /// Flows that are there.
    pub fn open_flows(&self) -> u64 {
        self.open
    }

    /// Flows opened since the start.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Of those, closed by timeout, recheck or replacement.
    pub fn closed(&self) -> u64 {
        self.closed
    }

    /// The slot of the live flow `key`, if there is one at `now`.
    #[inline]
    pub fn find(&mut self, key: &FlowKey, now: u64) -> Option<u32> {
        let slot = self.slot_of(key)?;
        if self.expired(slot, now) {
            self.remove(slot);
            return None;
        }
        Some(slot)
    }

    /// The slot that holds `key`, expired or not.
    #[inline]
    fn slot_of(&self, key: &FlowKey) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |&slot| self.arena[slot as usize].key == *key).copied()
    }

    /// The flow in `slot`.
    ///
    /// # Panics
    /// If `slot` never came from [`find`](Self::find) or [`open`](Self::open).
    #[inline]
    pub fn flow(&self, slot: u32) -> &Flow {
        &self.arena[slot as usize]
    }

    /// Opens a flow, or judges one that is there anew.
    ///
    /// # Errors
    /// [`TableFull`] when every slot holds a live flow.
    pub fn open(
        &mut self,
        key: FlowKey,
        opened: Direction,
        rule: u32,
        generation: u64,
        now: u64,
    ) -> Result<u32, TableFull> {
        if let Some(slot) = self.slot_of(&key) {
            self.remove(slot);
        }
        let slot = self.free_slot(now).ok_or(TableFull)?;
        let closing = Closing::default();
        let flow = Flow { key, opened, rule, generation, last_seen: now, closing, live: true };
        match self.arena.get_mut(slot as usize) {
            Some(place) => *place = flow,
            None => self.arena.push(flow),
        }
        let (hasher, arena) = (&self.hasher, &self.arena);
        let hash = hasher.hash_one(key);
        self.index.insert_unique(hash, slot, |&s| hasher.hash_one(arena[s as usize].key));
        self.open += 1;
        self.opened += 1;
        Ok(slot)
    }

    fn free_slot(&mut self, now: u64) -> Option<u32> {
        if self.free.is_empty() && self.arena.len() == self.capacity {
            self.sweep_slots(FULL_SWEEP, now);
        }
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        (self.arena.len() < self.capacity).then_some(self.arena.len() as u32)
    }

    /// Records a packet of the flow in `slot`.
    #[inline]
    pub fn touch(&mut self, slot: u32, direction: Direction, tcp_flags: u8, now: u64) {
        let flow = &mut self.arena[slot as usize];
        flow.last_seen = now;
        if tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 {
            flow.closing.observe(direction, tcp_flags);
        }
    }

    /// Whether a TCP SYN starts a new connection over the remains of the one in `slot`.
    #[inline]
    pub fn reopens(&self, slot: u32, tcp_flags: u8) -> bool {
        tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
            && self.arena[slot as usize].closing.closed()
    }

    /// Writes down that the flow in `slot` passed a newer table.
    pub fn rejudged(&mut self, slot: u32, rule: u32, generation: u64) {
        let flow = &mut self.arena[slot as usize];
        flow.rule = rule;
        flow.generation = generation;
    }

    /// Forgets the flow in `slot`.
    pub fn remove(&mut self, slot: u32) {
        let flow = &mut self.arena[slot as usize];
        if !flow.live {
            return;
        }
        flow.live = false;
        self.open -= 1;
        self.closed += 1;
        let hash = self.hasher.hash_one(flow.key);
        if let Ok(entry) = self.index.find_entry(hash, |&s| s == slot) {
            entry.remove();
        }
        self.free.push(slot);
    }

    /// Forgets every flow.
    pub fn clear(&mut self) {
        self.closed += self.open;
        self.open = 0;
        self.arena.clear();
        self.free.clear();
        self.index.clear();
        self.cursor = 0;
        self.swept_at = 0;
    }

    /// Frees slots of expired flows: as many looked at as the time since the last call asks for,
    /// never more than a bound.
    #[inline]
    pub fn sweep(&mut self, now: u64) {
        // The clock of a replay can step back; waiting until it has caught up would stop the sweep.
        self.swept_at = self.swept_at.min(now);
        let elapsed = now.saturating_sub(self.swept_at);
        let due =
            (u128::from(elapsed) * self.arena.len() as u128 / u128::from(SWEEP_PERIOD)) as usize;
        if due == 0 && elapsed < SWEEP_PERIOD {
            return;
        }
        self.swept_at = now;
        self.sweep_slots(due.min(MAX_SWEEP), now);
    }

    fn sweep_slots(&mut self, count: usize, now: u64) {
        for _ in 0..count.min(self.arena.len()) {
            self.cursor = if self.cursor + 1 < self.arena.len() { self.cursor + 1 } else { 0 };
            let slot = self.cursor as u32;
            if self.arena[self.cursor].live && self.expired(slot, now) {
                self.remove(slot);
            }
        }
    }

    fn expired(&self, slot: u32, now: u64) -> bool {
        let flow = &self.arena[slot as usize];
        now.saturating_sub(flow.last_seen) > self.timeouts.of(flow)
    }

    /// Live flows from slot `start` on, at most `room` of them, looking at no
    /// more than `limit` slots. The slot to go on from, or `None` at the end.
    pub fn list(
        &self,
        start: usize,
        limit: usize,
        room: usize,
        now: u64,
        mut each: impl FnMut(&Flow, u64),
    ) -> Option<usize> {
        let end = self.arena.len().min(start.saturating_add(limit));
        let mut listed = 0;
        for slot in start..end {
            if listed == room {
                return Some(slot);
            }
            let flow = &self.arena[slot];
            if flow.live && !self.expired(slot as u32, now) {
                each(flow, self.timeouts.of(flow));
                listed += 1;
            }
        }
        (end < self.arena.len()).then_some(end)
    }
}
