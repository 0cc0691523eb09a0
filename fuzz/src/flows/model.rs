//! The flow table as a plain map.

use super::Id;
use super::machine::Machine;
use classifier::Family;
use dataplane::fuzzing::flowtable::{Class, FlowCounts};
use std::collections::BTreeMap;

/// What is known of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub class: Class,
    /// Grows with every flow that enters a class.
    pub entered: u64,
    pub last_seen: u64,
    pub timeout: u8,
    /// Whether the first end opened it.
    pub by_first: bool,
    /// The address that opened it, or its /64.
    pub source: (bool, u128),
    pub generation: u32,
    pub machine: Machine,
}

/// Every flow there is.
pub struct Model {
    pub flows: BTreeMap<Id, Known>,
    pub counts: FlowCounts,
    pub capacity: usize,
    pub capacity_v6: usize,
    pub quota: usize,
    pub timeouts: [u32; 32],
    pub clock: u64,
    told: u64,
    entries: u64,
}

/// What the table may answer to a newcomer.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is room.
    Room,
    /// One of these gives way.
    Evicts(Vec<Id>),
    Full,
    Quota,
}

impl Model {
    pub fn new(capacity: usize, capacity_v6: usize, quota: usize, timeouts: [u32; 32]) -> Self {
        Model {
            flows: BTreeMap::new(),
            counts: FlowCounts::default(),
            capacity,
            capacity_v6: capacity_v6.min(capacity),
            quota,
            timeouts,
            clock: 0,
            told: 0,
            entries: 0,
        }
    }

    pub fn over(&self, known: &Known) -> bool {
        self.clock - known.last_seen > u64::from(self.timeouts[usize::from(known.timeout)])
    }

    pub fn alive(&self, id: &Id) -> bool {
        self.flows.get(id).is_some_and(|known| !self.over(known))
    }

    /// A number greater than all before.
    pub fn enter(&mut self) -> u64 {
        self.entries += 1;
        self.entries
    }

    /// The time that the clock tells after `ticks` more, or fewer.
    pub fn after(&self, ticks: i64) -> u64 {
        self.told.saturating_add_signed(ticks)
    }

    /// A clock that steps back stands still until it goes on.
    pub fn advance(&mut self, now: u64) {
        self.clock += now.saturating_sub(self.told);
        self.told = now;
    }

    /// Forgets what is over.
    pub fn collect(&mut self) {
        let over: Vec<Id> =
            self.flows.iter().filter(|(_, known)| self.over(known)).map(|(id, _)| *id).collect();
        self.counts.expired += over.len() as u64;
        self.counts.closed += over.len() as u64;
        for id in over {
            self.flows.remove(&id);
        }
    }

    pub fn remove(&mut self, id: &Id) {
        self.counts.closed += u64::from(self.flows.remove(id).is_some());
    }

    pub fn clear(&mut self) {
        self.counts.closed += self.flows.len() as u64;
        self.flows.clear();
    }

    /// What a table that has collected everything answers when `source` opens `id`.
    pub fn answer(&self, id: &Id, source: (bool, u128)) -> Answer {
        let others = || self.flows.iter().filter(|(other, _)| *other != id);
        if self.quota > 0 && others().filter(|(_, k)| k.source == source).count() >= self.quota {
            return Answer::Quota;
        }
        let of_v6 = |id: &Id| id.family == Family::V6;
        let v6 = others().filter(|(other, _)| of_v6(other)).count();
        let lacks_v6 = of_v6(id) && v6 == self.capacity_v6;
        if others().count() < self.capacity && !lacks_v6 {
            return Answer::Room;
        }
        let mut kinds: BTreeMap<_, Vec<(u64, Id)>> = BTreeMap::new();
        for (other, known) in others() {
            if known.class != Class::Established && (!lacks_v6 || of_v6(other)) {
                let kind = (known.class, of_v6(other));
                kinds.entry(kind).or_default().push((known.entered, *other));
            }
        }
        let most = kinds.values().map(Vec::len).max().unwrap_or(0);
        let fullest = kinds.values().filter(|kind| kind.len() == most);
        let oldest: Vec<Id> =
            fullest.filter_map(|kind| kind.iter().min().map(|&(_, id)| id)).collect();
        if oldest.is_empty() { Answer::Full } else { Answer::Evicts(oldest) }
    }
}
