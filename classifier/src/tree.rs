//! What a slot leads to: blocks of rules, or a node with slots of its own.

use crate::block::{Columns, LANES, Row, empty, write};
use crate::cell::Cell;
use crate::entry::Entry;
use crate::split::{Limits, SlotItems, Split};
use crate::words::{Words, hash};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

/// Where a lookup goes on.
///
/// | bits | 31 | 30..6 | 5..0 |
/// |---|---|---|---|
/// | nothing | 0 | 0 | 0 |
/// | blocks | 0 | first block | how many, 63 for more |
/// | node | 1 | line of the node's first word, 31 bits | |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Target(pub u32);

impl Target {
    pub const NOTHING: Target = Target(0);
    pub const NODE: u32 = 1 << 31;
    /// So many blocks or more: see [`Arenas::extent`].
    pub const MANY: usize = 63;

    pub fn blocks(first: usize, count: usize) -> Self {
        debug_assert!(first < 1 << 25 && count > 0);
        Target((first as u32) << 6 | count.min(Self::MANY) as u32)
    }

    fn node(line: usize) -> Self {
        debug_assert!(line < 1 << 31);
        Target(Self::NODE | line as u32)
    }

    #[inline(always)]
    pub fn is_node(self) -> bool {
        self.0 & Self::NODE != 0
    }

    /// First block, and number of blocks up to [`MANY`](Target::MANY).
    #[inline(always)]
    pub fn to_blocks(self) -> (usize, usize) {
        ((self.0 >> 6) as usize, (self.0 & 63) as usize)
    }

    #[inline(always)]
    pub fn to_node(self) -> usize {
        (self.0 & !Self::NODE) as usize
    }
}

/// A cache line of a node: the words of its mask, how far to shift a hash to get a slot's number,
/// and then the slots, two in a word.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct NodeLine(pub [u64; 8]);

/// The arenas that [`Target`]s point into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arenas {
    pub nodes: Vec<NodeLine>,
    pub blocks: Vec<Row>,
    /// First block and number of blocks of the leaves that have many, in order.
    many: Vec<(u32, u32)>,
}

impl Arenas {
    pub fn memory_usage(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.blocks) + size_of_val(&*self.many)
    }

    /// A copy that a change may add to without moving all of it again.
    pub fn with_room(&self) -> Self {
        fn copy<T: Copy>(all: &[T]) -> Vec<T> {
            let mut copy = Vec::with_capacity(all.len() + 8192);
            copy.extend_from_slice(all);
            copy
        }
        Arenas { nodes: copy(&self.nodes), blocks: copy(&self.blocks), many: self.many.clone() }
    }

    /// What slot `slot` of the node at `line` leads to.
    pub fn slot<const N: usize>(&self, line: usize, slot: usize) -> Target {
        let at = N + 1 + slot / 2;
        let pair = self.nodes[line + at / 8].0[at % 8].to_ne_bytes();
        let mut half = [0; 4];
        half.copy_from_slice(&pair[slot % 2 * 4..][..4]);
        Target(u32::from_ne_bytes(half))
    }

    /// Makes slot `slot` of the node at `line` lead to `target`.
    pub fn set_slot<const N: usize>(&mut self, line: usize, slot: usize, target: Target) {
        let at = N + 1 + slot / 2;
        let word = &mut self.nodes[line + at / 8].0[at % 8];
        // In memory the even slot comes first, whatever the order of bytes.
        let mut pair = word.to_ne_bytes();
        pair[slot % 2 * 4..][..4].copy_from_slice(&target.0.to_ne_bytes());
        *word = u64::from_ne_bytes(pair);
    }

    /// First block and number of blocks of a leaf.
    #[inline(always)]
    pub fn extent(&self, target: Target) -> (usize, usize) {
        let (first, count) = target.to_blocks();
        if count < Target::MANY {
            return (first, count);
        }
        let at = self.many.partition_point(|(other, _)| (*other as usize) < first);
        (first, self.many[at].1 as usize)
    }

    /// The cache lines that following `target` costs at most, and the leaf that costs them. Blocks
    /// have `rows` rows.
    pub fn dearest<const N: usize>(&self, target: Target, rows: usize) -> (usize, Target) {
        if !target.is_node() {
            return (self.extent(target).1 * rows, target);
        }
        let word = |at: usize| self.nodes[target.to_node() + at / 8].0[at % 8];
        let slots = 1usize << (64 - word(N));
        // The mask, the slot.
        let own = if N + 1 + slots / 2 <= 8 { 1 } else { (N + 1).div_ceil(8) + 1 };
        let (cost, leaf) = (0..slots)
            .map(|slot| self.dearest::<N>(self.slot::<N>(target.to_node(), slot), rows))
            .max_by_key(|(cost, _)| *cost)
            .unwrap_or((0, Target::NOTHING));
        (own + cost, leaf)
    }

    /// How many cache lines [`follow`](Arenas::follow) touches.
    ///
    /// # Safety
    /// As for that.
    pub unsafe fn lines_followed<const N: usize>(&self, target: Target, words: &Words<N>) -> usize {
        // SAFETY: as in `follow`.
        let slot = unsafe {
            let node = self.nodes.as_ptr().add(target.to_node()).cast::<u64>();
            (hash(words, &*node.cast::<Words<N>>()) >> (*node.add(N) & 63)) as usize
        };
        let header = (N + 1).div_ceil(8);
        header + usize::from((N + 1 + slot / 2) / 8 >= header)
    }

    /// Where a node leads a key.
    ///
    /// # Safety
    /// `target` must be a node of these arenas, planted with words of `N`.
    #[inline(always)]
    pub unsafe fn follow<const N: usize>(&self, target: Target, words: &Words<N>) -> Target {
        // SAFETY: a node's words are all inside the arena: mask, shift, and as many slots as the
        // shift leaves numbers.
        unsafe {
            let node = self.nodes.as_ptr().add(target.to_node()).cast::<u64>();
            let hash = hash(words, &*node.cast::<Words<N>>());
            let slot = (hash >> (*node.add(N) & 63)) as usize;
            *node.add(N + 1).cast::<Target>().add(slot)
        }
    }
}

/// How many bits of the hash tell the groups of a split apart well enough; `None` when they all
/// stay in one slot.
fn slot_bits<const N: usize>(split: &Split<N>) -> Option<u32> {
    let largest = split.groups.iter().map(|group| group.items.len()).max()?.max(LANES);
    let least = (split.groups.len() * 2).next_power_of_two().trailing_zeros();
    let fullest = |bits: u32| {
        let mut sizes = vec![0; 1 << bits];
        for group in &split.groups {
            sizes[(hash(&group.cell.value, &split.mask) >> (64 - bits)) as usize] +=
                group.items.len();
        }
        sizes.into_iter().max().unwrap_or(0)
    };
    let all = split.groups.iter().map(|group| group.items.len()).sum();
    let (fullest, bits) = (least..least + 3)
        .map(|bits| (fullest(bits), bits))
        .find(|(fullest, _)| *fullest <= largest)
        .unwrap_or_else(|| (fullest(least + 3), least + 3));
    (fullest < all).then_some(bits)
}

/// Puts entries into arenas.
pub(crate) struct Planter<'a, const A: usize, const N: usize> {
    entries: &'a [Entry<A, N>],
    columns: Columns,
    arenas: Arenas,
    /// Blocks that were in the arenas before.
    finished: usize,
    /// For each block after those, the entries in it.
    filling: Vec<Vec<u32>>,
    /// Blocks with room, the one with least room last.
    open: Vec<usize>,
    /// Leaves made so far, so that equal ones are the same.
    leaves: HashMap<Box<[u32]>, Target, FixedState>,
}

/// What following a node costs, in blocks compared.
const NODE_BLOCKS: f64 = 1.5;

/// More entries than this are split at any price.
const LONG: usize = 8 * LANES;

/// Deeper, nodes are not worth their lines.
const MOST_DEPTH: usize = 24;

impl<'a, const A: usize, const N: usize> Planter<'a, A, N> {
    /// Continues `arenas`, whose blocks stay as they are.
    pub fn new(entries: &'a [Entry<A, N>], columns: Columns, arenas: Arenas) -> Self {
        Planter {
            entries,
            columns,
            finished: arenas.blocks.len() / columns.rows::<A>(),
            arenas,
            filling: Vec::new(),
            open: Vec::new(),
            leaves: HashMap::default(),
        }
    }

    /// The cache lines that following `target` costs at most.
    pub fn most(&self, target: Target) -> usize {
        self.arenas.dearest::<N>(target, self.columns.rows::<A>()).0
    }

    /// The arenas, with every block written.
    pub fn finish(mut self) -> Arenas {
        for filling in &mut self.filling {
            filling.sort_unstable_by_key(|entry| self.entries[*entry as usize].rule);
            let mut block = empty::<A>(&self.columns);
            for (lane, entry) in filling.iter().enumerate() {
                write(&mut block, &self.columns, lane, &self.entries[*entry as usize]);
            }
            self.arenas.blocks.extend(block);
        }
        if self.finished == 0 {
            self.arenas.nodes.shrink_to_fit();
            self.arenas.blocks.shrink_to_fit();
        }
        self.arenas
    }

    /// A target for the keys of `cell`, of which `items`, in order, may match some.
    pub fn place(&mut self, items: Vec<u32>, cell: &Cell<N>) -> Target {
        self.place_within(items, cell, 0, if self.generous() { 16.0 } else { 6.0 })
    }

    /// What is generous in a small table no longer fits into a cache in a large one.
    fn generous(&self) -> bool {
        self.entries.len() <= 200_000
    }

    /// `growth` is how many copies of each item there may be in all leaves from here on. Every part
    /// of the tree has its share of it, so that no part can use up that of another.
    fn place_within(
        &mut self,
        mut items: Vec<u32>,
        cell: &Cell<N>,
        depth: usize,
        growth: f64,
    ) -> Target {
        self.reduce(&mut items, cell);
        if items.is_empty() {
            return Target::NOTHING;
        }
        let more = items.len() > LANES && depth < MOST_DEPTH;
        if let Some(split) = more.then(|| self.split(&items, cell, depth, growth)).flatten() {
            return self.node(&items, cell, split, depth, growth);
        }
        self.leaf(items)
    }

    /// Drops the entries of which `cell` has no keys, and those that others hide there.
    fn reduce(&self, items: &mut Vec<u32>, cell: &Cell<N>) {
        let entries = self.entries;
        let mut hidden = false;
        items.retain(|item| {
            let entry = &entries[*item as usize];
            if hidden || cell.view(entry).is_none() {
                return false;
            }
            hidden = cell.covered_by(entry);
            true
        });
        if items.len() <= LANES {
            return;
        }
        if items.len() > 64 {
            let mut seen = HashSet::with_capacity_and_hasher(items.len(), FixedState::default());
            items.retain(|item| {
                let entry = &entries[*item as usize];
                seen.insert((entry.value, entry.mask, entry.low, entry.high))
            });
        } else {
            let mut kept: Vec<u32> = Vec::with_capacity(items.len());
            items.retain(|item| {
                let entry = &entries[*item as usize];
                let hidden = kept.iter().any(|above| entries[*above as usize].covers(entry));
                if !hidden {
                    kept.push(*item);
                }
                !hidden
            });
        }
    }

    fn split(&self, items: &[u32], cell: &Cell<N>, depth: usize, growth: f64) -> Option<Split<N>> {
        let entries: Vec<_> = items.iter().map(|item| &self.entries[*item as usize]).collect();
        let mut base = cell.mask.map(|mask| !mask);
        for (_, mask) in entries.iter().filter_map(|entry| cell.view(entry)) {
            for i in 0..N {
                base[i] &= mask[i];
            }
        }
        let copies = match (depth, items.len()) {
            (0..4, ..=1024) if self.generous() => 8.0,
            (0..4, _) if self.generous() => 4.0,
            (_, LONG..) => 3.0,
            _ => 1.7,
        };
        let copies = growth.clamp(1.0, copies);
        let split = Split::of(&entries, cell, base, Limits { open_bits: 10, copies });
        let saved = items.len().div_ceil(LANES) as f64 - split.blocks();
        if split.groups.len() > 1 && saved > NODE_BLOCKS {
            return Some(split);
        }
        if items.len() <= LONG {
            return None;
        }
        let most = (items.len() as f64 * growth.max(1.0)) as usize;
        let ranges = Split::of_ranges(&entries, cell).filter(|split| split.copies() <= most);
        ranges.or_else(|| split.divides(items.len()).then_some(split))
    }

    fn node(
        &mut self,
        items: &[u32],
        cell: &Cell<N>,
        split: Split<N>,
        depth: usize,
        growth: f64,
    ) -> Target {
        let Some((split, bits)) = self.told_apart(items, cell, split) else {
            return self.leaf(items.to_vec());
        };
        let growth = growth * items.len() as f64 / split.copies() as f64;
        let shift = 64 - bits;
        let line = self.arenas.nodes.len();
        let words = N + 1 + (1usize << bits) / 2;
        let lines = words.div_ceil(8);
        self.arenas.nodes.resize(line + lines, NodeLine([0; 8]));
        for (i, word) in split.mask.into_iter().chain([u64::from(shift)]).enumerate() {
            self.arenas.nodes[line + i / 8].0[i % 8] = word;
        }
        for SlotItems { hashes, cell, items } in split.slots(shift, items, cell) {
            let target = self.place_within(items, &cell, depth + 1, growth);
            let slot = (hashes[0] >> shift) as usize;
            self.arenas.set_slot::<N>(line, slot, target);
        }
        Target::node(line)
    }

    /// A split whose groups do not all hash to one slot, and how many bits of the hash it takes.
    fn told_apart(
        &self,
        items: &[u32],
        cell: &Cell<N>,
        split: Split<N>,
    ) -> Option<(Split<N>, u32)> {
        if let Some(bits) = slot_bits(&split) {
            return Some((split, bits));
        }
        // Values that collide in all bits, by a strange chance or by intent, do not in a few.
        let entries: Vec<_> = items.iter().map(|item| &self.entries[*item as usize]).collect();
        let split = Split::of(&entries, cell, [0; N], Limits { open_bits: 10, copies: 4.0 });
        let bits = slot_bits(&split)?;
        Some((split, bits))
    }

    fn leaf(&mut self, items: Vec<u32>) -> Target {
        let count = items.len().div_ceil(LANES);
        if let Some(target) = self.leaves.get(&items[..]) {
            return *target;
        }
        let first = self.blocks_for(&items, count);
        if count >= Target::MANY {
            self.arenas.many.push((first as u32, count as u32));
        }
        let target = Target::blocks(first, count);
        self.leaves.insert(items.into(), target);
        target
    }

    /// Puts items into one block that has room, or else into new ones: the first block's number.
    ///
    /// A block may hold entries of several leaves: each is compared in full, so what a stranger
    /// matches is a match.
    fn blocks_for(&mut self, items: &[u32], count: usize) -> usize {
        /// More would be searched for longer than they save.
        const MOST_OPEN: usize = 16;
        if count == 1 {
            let fits = |block: &usize| self.filling[*block].len() + items.len() <= LANES;
            let fullest = (0..self.open.len())
                .filter(|i| fits(&self.open[*i]))
                .max_by_key(|i| self.filling[self.open[*i]].len());
            if let Some(i) = fullest {
                let block = self.open[i];
                self.filling[block].extend_from_slice(items);
                if self.filling[block].len() == LANES {
                    self.open.swap_remove(i);
                }
                return self.finished + block;
            }
        }
        let first = self.filling.len();
        self.filling.extend(items.chunks(LANES).map(<[u32]>::to_vec));
        let last = self.filling.len() - 1;
        if self.filling[last].len() < LANES {
            if self.open.len() == MOST_OPEN {
                self.open.remove(0);
            }
            self.open.push(last);
        }
        self.finished + first
    }
}
