//! Who holds how much: incomplete datagrams by source, so that no source takes the room of others.

use super::DatagramKey;
use super::list::{Links, List};
use classifier::Family;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Who sends: an IPv4 address, or the /64 of an IPv6 address, all of which one host can use; on one
/// port and VLAN, so that who forges addresses in one zone does not count for those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SourceKey {
    prefix: u64,
    vlan: u32,
    port: u16,
    family: Family,
}

impl SourceKey {
    pub fn of(key: &DatagramKey) -> Self {
        let prefix = match key.family {
            Family::V4 => key.src as u64,
            Family::V6 => (key.src >> 64) as u64,
        };
        SourceKey { prefix, vlan: key.vlan, port: key.port, family: key.family }
    }
}

#[derive(Clone, Copy, Debug)]
struct Source {
    key: SourceKey,
    hash: u64,
    /// Its datagrams, oldest first.
    datagrams: List,
}

/// Every source with incomplete datagrams, by slot, and in order of how many it has.
#[derive(Debug)]
pub(super) struct Sources {
    arena: Vec<Source>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// Over the slots of datagrams: the datagrams of each source.
    siblings: Links,
    /// Over the slots of sources: those of `by_count`.
    peers: Links,
    /// The sources that have as many datagrams as the place in this list says.
    by_count: Vec<List>,
    /// The highest place of `by_count` that is not empty, or 0.
    most: usize,
}

impl Sources {
    /// Room for `datagrams` of any source in slots `0..slots`, at most `per_source` of each.
    pub fn new(datagrams: usize, slots: usize, per_source: usize) -> Self {
        Sources {
            arena: Vec::with_capacity(datagrams),
            free: Vec::with_capacity(datagrams),
            // Twice the room, as in the flow table: a sparse table reuses what removals spoilt.
            index: HashTable::with_capacity(2 * datagrams),
            hasher: RandomState::default(),
            siblings: Links::new(slots),
            peers: Links::new(datagrams),
            by_count: vec![List::EMPTY; per_source + 1],
            most: 0,
        }
    }

    pub fn memory_usage(&self) -> usize {
        self.arena.capacity() * size_of::<Source>()
            + self.free.capacity() * size_of::<u32>()
            + self.index.allocation_size()
            + self.siblings.memory_usage()
            + self.peers.memory_usage()
            + self.by_count.capacity() * size_of::<List>()
    }

    /// The slot of `key`, if it has datagrams.
    pub fn find(&self, key: &SourceKey) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |&slot| self.arena[slot as usize].key == *key).copied()
    }

    /// How many datagrams `source` has.
    pub fn count(&self, source: u32) -> usize {
        self.arena[source as usize].datagrams.len()
    }

    /// The oldest datagram of `source`.
    pub fn oldest(&self, source: u32) -> Option<u32> {
        self.arena[source as usize].datagrams.front()
    }

    /// A source that has the most datagrams, if any has one.
    pub fn heaviest(&self) -> Option<u32> {
        self.by_count[self.most].front()
    }

    /// Counts `datagram` for `key`, which has less than its quota. The source's slot.
    pub fn add(&mut self, key: SourceKey, datagram: u32) -> u32 {
        let source = self.find(&key).unwrap_or_else(|| self.insert(key));
        let place = &mut self.arena[source as usize];
        let count = place.datagrams.len();
        place.datagrams.push_back(&mut self.siblings, datagram);
        if count > 0 {
            self.by_count[count].remove(&mut self.peers, source);
        }
        self.by_count[count + 1].push_back(&mut self.peers, source);
        self.most = self.most.max(count + 1);
        source
    }

    fn insert(&mut self, key: SourceKey) -> u32 {
        let hash = self.hasher.hash_one(key);
        let new = Source { key, hash, datagrams: List::EMPTY };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.arena[slot as usize] = new;
                slot
            }
            None => {
                self.arena.push(new);
                self.arena.len() as u32 - 1
            }
        };
        let arena = &self.arena;
        self.index.insert_unique(hash, slot, |&s| arena[s as usize].hash);
        slot
    }

    /// Takes back what [`add`](Self::add) counted.
    pub fn remove(&mut self, source: u32, datagram: u32) {
        let place = &mut self.arena[source as usize];
        let count = place.datagrams.len();
        place.datagrams.remove(&mut self.siblings, datagram);
        let hash = place.hash;
        self.by_count[count].remove(&mut self.peers, source);
        if count > 1 {
            self.by_count[count - 1].push_back(&mut self.peers, source);
        } else {
            if let Ok(entry) = self.index.find_entry(hash, |&s| s == source) {
                entry.remove();
            }
            self.free.push(source);
        }
        // One step is enough: the source that emptied this place is in the one below.
        if self.by_count[self.most].len() == 0 {
            self.most -= 1;
        }
    }
}
