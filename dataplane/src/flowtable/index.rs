//! From a hash to the number of an entry: buckets of one cache line, two for each hash.
//!
//! An entry lies in its home bucket, or in its other one if home was full. The other bucket follows
//! from either bucket and the tag (Fan, Andersen, Kaminsky and Mitzenmacher, "Cuckoo Filter", 2014),
//! so that entries can move without their hashes being at hand. Home counts those that
//! are away: mostly none, and then a miss looks at one bucket.
//!
//! The index knows no keys: its callers say which candidate is the one.

use super::work;

/// Places in a bucket.
const PLACES: usize = 10;
/// Entries that a bucket is there for: an index never fills to more than 8 in 10.
const MEAN_ENTRIES: u32 = 8;

/// All zero is an empty one.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    /// 16 bits of the hash; 0 where there is no entry.
    tags: [u16; PLACES],
    /// A bit for each entry here whose home is its other bucket.
    away: u16,
    /// Entries of this home that lie in their other bucket. Once at its highest it stays there.
    strays: u16,
    entries: [u32; PLACES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Bucket = Bucket { tags: [0; PLACES], away: 0, strays: 0, entries: [0; PLACES] };

    /// A bit for each place with this tag.
    #[inline(always)]
    fn tagged(&self, tag: u16) -> u32 {
        let mut places = 0;
        for (place, &other) in self.tags.iter().enumerate() {
            places |= u32::from(other == tag) << place;
        }
        places
    }

    fn vacant(&self) -> Option<usize> {
        self.tags.iter().position(|&tag| tag == 0)
    }

    fn put(&mut self, place: usize, tag: u16, entry: u32, away: bool) {
        self.tags[place] = tag;
        self.entries[place] = entry;
        self.away = self.away & !(1 << place) | u16::from(away) << place;
    }

    fn place_of(&self, tag: u16, entry: u32) -> Option<usize> {
        (0..PLACES).find(|&place| self.tags[place] == tag && self.entries[place] == entry)
    }

    fn stray_left(&mut self) {
        self.strays = self.strays.saturating_add(1);
    }

    fn stray_gone(&mut self) {
        if self.strays != u16::MAX {
            self.strays -= 1;
        }
    }
}

/// Finds entries by hash. Bounded, and made of all its memory at once.
#[derive(Debug)]
pub(super) struct Index {
    /// A power of two of them.
    buckets: Box<[Bucket]>,
}

#[inline(always)]
fn tag_of(hash: u64) -> u16 {
    ((hash >> 48) as u16).max(1)
}

impl Index {
    /// Room for `entries` entries.
    pub fn new(entries: u32) -> Self {
        let buckets = entries.div_ceil(MEAN_ENTRIES).next_power_of_two();
        Index { buckets: vec![Bucket::EMPTY; buckets as usize].into() }
    }

    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        hash as u32 as usize & (self.buckets.len() - 1)
    }

    /// The other bucket of an entry with this tag in `bucket`; the same one if there is no other.
    #[inline(always)]
    fn other(&self, bucket: usize, tag: u16) -> usize {
        // Any odd number does; this one spreads tags that differ little.
        (bucket ^ (u32::from(tag).wrapping_mul(0x9e37_79b1) >> 4 | 1) as usize)
            & (self.buckets.len() - 1)
    }

    /// The entry with this hash that `is_it`.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        let home = self.home(hash);
        self.find_in(home, tag, &mut is_it).or_else(|| {
            if self.buckets[home].strays == 0 {
                return None;
            }
            self.find_in(self.other(home, tag), tag, &mut is_it)
        })
    }

    #[inline(always)]
    fn find_in(&self, bucket: usize, tag: u16, is_it: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        work::bucket();
        let bucket = &self.buckets[bucket];
        let mut places = bucket.tagged(tag);
        while places != 0 {
            let entry = bucket.entries[places.trailing_zeros() as usize % PLACES];
            if is_it(entry) {
                return Some(entry);
            }
            places &= places - 1;
        }
        None
    }

    /// Any part of the home bucket, to have it read.
    #[inline(always)]
    pub fn peek(&self, hash: u64) -> u16 {
        self.buckets[self.home(hash)].away
    }

    /// The entry that [`find`](Self::find) would ask about first, if it is at home.
    #[inline(always)]
    pub fn candidate(&self, hash: u64) -> Option<u32> {
        let bucket = &self.buckets[self.home(hash)];
        let places = bucket.tagged(tag_of(hash));
        (places != 0).then(|| bucket.entries[places.trailing_zeros() as usize % PLACES])
    }

    /// Puts `entry` in. `false` if there is no room for this hash: both buckets are full, and so is
    /// the other bucket of everything in them.
    pub fn insert(&mut self, hash: u64, entry: u32) -> bool {
        let tag = tag_of(hash);
        let home = self.home(hash);
        let other = self.other(home, tag);
        // What need not move does not: first both buckets as they are.
        self.put(home, home, tag, entry)
            || self.put(other, home, tag, entry)
            || self.make_room(home) && self.put(home, home, tag, entry)
            || self.make_room(other) && self.put(other, home, tag, entry)
    }

    /// Puts an entry of this `home` into `bucket` if there is a place.
    fn put(&mut self, bucket: usize, home: usize, tag: u16, entry: u32) -> bool {
        work::bucket();
        let Some(place) = self.buckets[bucket].vacant() else { return false };
        self.buckets[bucket].put(place, tag, entry, bucket != home);
        if bucket != home {
            self.buckets[home].stray_left();
        }
        true
    }

    /// Moves one entry of `bucket` to its other bucket, if there is room in any.
    fn make_room(&mut self, bucket: usize) -> bool {
        for place in 0..PLACES {
            let Bucket { tags, away, entries, .. } = self.buckets[bucket];
            let other = self.other(bucket, tags[place]);
            work::bucket();
            let Some(vacant) = self.buckets[other].vacant() else { continue };
            let was_away = away >> place & 1 != 0;
            self.buckets[other].put(vacant, tags[place], entries[place], !was_away);
            self.buckets[bucket].put(place, 0, 0, false);
            if was_away {
                self.buckets[other].stray_gone();
            } else {
                self.buckets[bucket].stray_left();
            }
            return true;
        }
        false
    }

    /// Takes `entry` out, which was put in with `hash`.
    pub fn remove(&mut self, hash: u64, entry: u32) {
        let tag = tag_of(hash);
        let home = self.home(hash);
        work::bucket();
        if let Some(place) = self.buckets[home].place_of(tag, entry) {
            self.buckets[home].put(place, 0, 0, false);
            return;
        }
        let other = self.other(home, tag);
        work::bucket();
        if let Some(place) = self.buckets[other].place_of(tag, entry) {
            self.buckets[other].put(place, 0, 0, false);
            self.buckets[home].stray_gone();
        }
    }

    pub fn clear(&mut self) {
        self.buckets.fill(Bucket::EMPTY);
    }

    pub fn memory_usage(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// The two buckets of a hash.
    #[cfg(test)]
    pub fn buckets_of(&self, hash: u64) -> [usize; 2] {
        let home = self.home(hash);
        [home, self.other(home, tag_of(hash))]
    }

    /// Every entry and whether it is away from home.
    #[cfg(any(test, fuzzing))]
    pub fn entries(&self) -> Vec<(u32, bool)> {
        let mut entries = Vec::new();
        for bucket in &self.buckets {
            for place in (0..PLACES).filter(|&place| bucket.tags[place] != 0) {
                entries.push((bucket.entries[place], bucket.away >> place & 1 != 0));
            }
        }
        entries
    }

    /// Entries that their homes say are away.
    #[cfg(any(test, fuzzing))]
    pub fn strays(&self) -> usize {
        self.buckets.iter().map(|bucket| usize::from(bucket.strays)).sum()
    }
}
