//! How many flows each source has opened.

use super::hash::HashKey;
use super::index::Index;
use classifier::Family;

/// Who opens flows: an IPv4 address, or an IPv6 /64, which is one host or network (RFC 4291, 2.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The address, or the high half of it.
    prefix: u64,
    v6: bool,
}

impl Source {
    /// The source that `address` belongs to.
    #[inline]
    pub fn of(address: u128, family: Family) -> Self {
        match family {
            Family::V4 => Source { prefix: u64::from(address as u32), v6: false },
            Family::V6 => Source { prefix: (address >> 64) as u64, v6: true },
        }
    }

    /// Address family.
    pub fn family(&self) -> Family {
        if self.v6 { Family::V6 } else { Family::V4 }
    }

    /// The address; of an IPv6 /64 the lowest one.
    pub fn address(&self) -> u128 {
        match self.family() {
            Family::V4 => u128::from(self.prefix),
            Family::V6 => u128::from(self.prefix) << 64,
        }
    }

    #[inline]
    fn hash(&self, key: HashKey) -> u64 {
        key.hash(&[self.prefix], u64::from(self.v6) | 9 << 56)
    }
}

/// A source that has flows; of a vacant entry, `flows` is 0 and `prefix` the next vacant one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Entry {
    prefix: u64,
    flows: u32,
    v6: u32,
}

const _: () = assert!(size_of::<Entry>() == 16);
/// No entry.
const NONE: u32 = u32::MAX;
const VACANT: Entry = Entry { prefix: 0, flows: 0, v6: 0 };

impl Entry {
    fn source(&self) -> Source {
        Source { prefix: self.prefix, v6: self.v6 != 0 }
    }
}

/// Counts sources. With an entry for each flow there may be, it cannot run out of them.
#[derive(Debug)]
pub(super) struct Sources {
    index: Index,
    entries: Box<[Entry]>,
    /// First entry of those that were used and are vacant again.
    vacant: u32,
    /// Entries from here on were never used.
    used: u32,
}

impl Sources {
    /// For as many sources as there may be flows.
    pub fn new(flows: u32) -> Self {
        Sources {
            index: Index::new(flows),
            entries: vec![VACANT; flows as usize].into(),
            vacant: NONE,
            used: 0,
        }
    }

    #[inline]
    fn find(&self, hash: u64, source: Source) -> Option<u32> {
        self.index.find(hash, |n| self.entries[n as usize].source() == source)
    }

    /// Flows of `source`.
    pub fn flows(&self, key: HashKey, source: Source) -> u32 {
        self.find(source.hash(key), source).map_or(0, |n| self.entries[n as usize].flows)
    }

    /// Counts one more flow. `false` if the index has no room for it.
    pub fn add(&mut self, key: HashKey, source: Source) -> bool {
        let hash = source.hash(key);
        if let Some(n) = self.find(hash, source) {
            self.entries[n as usize].flows += 1;
            return true;
        }
        let n = if self.vacant == NONE { self.used } else { self.vacant };
        let Some(entry) = self.entries.get(n as usize).copied() else { return false };
        if !self.index.insert(hash, n) {
            return false;
        }
        if self.vacant == NONE {
            self.used += 1;
        } else {
            self.vacant = entry.prefix as u32;
        }
        self.entries[n as usize] =
            Entry { prefix: source.prefix, flows: 1, v6: u32::from(source.v6) };
        true
    }

    /// Counts one flow less.
    pub fn sub(&mut self, key: HashKey, source: Source) {
        let hash = source.hash(key);
        let Some(n) = self.find(hash, source) else { return };
        let entry = &mut self.entries[n as usize];
        entry.flows -= 1;
        if entry.flows == 0 {
            *entry = Entry { prefix: u64::from(self.vacant), ..VACANT };
            self.vacant = n;
            self.index.remove(hash, n);
        }
    }

    /// Sources and their flows from entry `start` on, looking at no more than `limit` entries. Where
    /// to go on, or `None` at the end.
    pub fn list(&self, start: u32, limit: u32, mut each: impl FnMut(Source, u32)) -> Option<u32> {
        let end = self.used.min(start.saturating_add(limit));
        for n in start..end {
            let entry = &self.entries[n as usize];
            if entry.flows > 0 {
                each(entry.source(), entry.flows);
            }
        }
        (end < self.used).then_some(end)
    }

    pub fn clear(&mut self) {
        self.index.clear();
        self.vacant = NONE;
        self.used = 0;
    }

    pub fn memory_usage(&self) -> usize {
        self.index.memory_usage() + size_of_val(&*self.entries)
    }

    #[cfg(any(test, fuzzing))]
    pub fn index(&self) -> &Index {
        &self.index
    }
}
