//! Choosing the bits by which a node tells its entries apart.

use crate::block::LANES;
use crate::cell::Cell;
use crate::entry::Entry;
use crate::words::{RANGES, Words, hash, range_fields};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Entries that are alike in the bits of a split. An entry that leaves some of them open is in
/// several groups.
pub(crate) struct Group<const N: usize> {
    /// The part of the split cell that these entries are for.
    pub cell: Cell<N>,
    /// In order.
    pub items: Vec<Item>,
}

/// An entry of a group.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    /// Index into the list that was split.
    pub index: u32,
    /// The part of the entry's keys that come here, if half of them have each value of a bit that
    /// it leaves open.
    pub weight: f32,
}

/// A set of bits, and the groups that entries fall into by them.
pub(crate) struct Split<const N: usize> {
    pub mask: Words<N>,
    pub groups: Vec<Group<N>>,
}

/// What comes into one slot.
pub(crate) struct SlotItems<const N: usize> {
    /// Of its groups; never empty.
    pub hashes: Vec<u64>,
    pub cell: Cell<N>,
    pub items: Vec<u32>,
}

/// How far a split may go.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Most bits that some entries leave open.
    pub open_bits: u32,
    /// Most items in all groups together, for each entry.
    pub copies: f64,
}

impl<const N: usize> Split<N> {
    /// By the bits `base` that all `entries` ask for, and then by further bits, one at a time, as
    /// long as that makes what a key has to be compared with shorter, at the price that `limits`
    /// allow.
    pub fn of<const A: usize>(
        entries: &[&Entry<A, N>],
        cell: &Cell<N>,
        base: Words<N>,
        limits: Limits,
    ) -> Self {
        let mut split = Split { mask: base, groups: by_value(entries, cell, &base) };
        let most = (entries.len() as f64 * limits.copies) as usize;
        let most_groups = 64.max(entries.len() * 2);
        for _ in 0..limits.open_bits {
            let large = || split.groups.iter().filter(|group| group.items.len() > LANES);
            let in_large: usize = large().map(|group| group.items.len()).sum();
            // A node of its own serves a few large groups better.
            if in_large * 8 < split.copies() || split.groups.len() > most_groups {
                break;
            }
            let Some((word, bit)) = best_bit(entries, large(), &split.mask) else { break };
            let next = split.refined(entries, word, bit);
            if next.copies() > most {
                break;
            }
            split = next;
        }
        split
    }

    /// Blocks that a key is compared with on average.
    pub fn blocks(&self) -> f64 {
        let weight =
            |group: &Group<N>| group.items.iter().map(|item| f64::from(item.weight)).sum::<f64>();
        let all: f64 = self.groups.iter().map(weight).sum();
        let length = |group: &Group<N>| group.items.len().div_ceil(LANES).min(4) as f64;
        self.groups.iter().map(|group| weight(group) / all * length(group)).sum()
    }

    /// The groups by the number of the slot that `shift` makes of their hashes, in order. For each
    /// slot the hashes in it, the cell of which its keys are, and `items` that come there, in order:
    /// with several groups that is the whole of `cell`, which was split.
    pub fn slots(self, shift: u32, items: &[u32], cell: &Cell<N>) -> Vec<SlotItems<N>> {
        let hash_of = |group: &Group<N>| hash(&group.cell.value, &self.mask);
        let mut groups: Vec<_> =
            self.groups.into_iter().map(|group| (hash_of(&group), group)).collect();
        groups.sort_by_key(|(hash, _)| *hash);
        let alike = groups.chunk_by(|a, b| a.0 >> shift == b.0 >> shift);
        let slots = alike.map(|alike| {
            let items = alike
                .iter()
                .flat_map(|(_, group)| group.items.iter().map(|item| items[item.index as usize]));
            let mut slot = SlotItems {
                hashes: alike.iter().map(|(hash, _)| *hash).collect(),
                cell: alike[0].1.cell,
                items: items.collect(),
            };
            if alike.len() > 1 {
                slot.cell = *cell;
                slot.items.sort_unstable();
                slot.items.dedup();
            }
            slot
        });
        slots.collect()
    }

    /// Whether every group has fewer items than the `all` that were split.
    pub fn divides(&self, all: usize) -> bool {
        self.groups.len() > 1 && self.groups.iter().all(|group| group.items.len() < all)
    }

    /// Items in all groups together.
    pub fn copies(&self) -> usize {
        self.groups.iter().map(|group| group.items.len()).sum()
    }

    /// The split by bit `bit` of word `word` as well.
    fn refined<const A: usize>(&self, entries: &[&Entry<A, N>], word: usize, bit: u32) -> Self {
        let mut groups = Vec::with_capacity(self.groups.len() * 2);
        let mut mask = [0; N];
        mask[word] = 1 << bit;
        for group in &self.groups {
            for side in [0, 1] {
                let mut value = [0; N];
                value[word] = side << bit;
                let cell = group.cell.within(&value, &mask);
                let mut items = Vec::new();
                for &item in &group.items {
                    let entry = entries[item.index as usize];
                    if cell.view(entry).is_none() {
                        continue;
                    }
                    let open =
                        group.cell.view(entry).is_none_or(|(_, asked)| asked[word] >> bit & 1 == 0);
                    let weight = if open { item.weight / 2.0 } else { item.weight };
                    items.push(Item { weight, ..item });
                    if cell.covered_by(entry) {
                        break;
                    }
                }
                if !items.is_empty() {
                    groups.push(Group { cell, items });
                }
            }
        }
        let mut mask = self.mask;
        mask[word] |= 1 << bit;
        Split { mask, groups }
    }

    /// By the highest open bits of one range field, for entries that no single bit tells apart:
    /// ranges that overlap. `None` when that separates nothing.
    pub fn of_ranges<const A: usize>(entries: &[&Entry<A, N>], cell: &Cell<N>) -> Option<Self> {
        let splits = (0..RANGES).filter(|f| entries.iter().any(|entry| entry.ranged >> f & 1 == 1));
        splits
            .filter_map(|f| Self::of_range(entries, cell, f))
            .map(|split| (split.groups.iter().map(|group| group.items.len().pow(2)).sum(), split))
            .min_by_key(|(squares, _): &(usize, _)| *squares)
            .map(|(_, split)| split)
    }

    fn of_range<const A: usize>(
        entries: &[&Entry<A, N>],
        cell: &Cell<N>,
        f: usize,
    ) -> Option<Self> {
        let field = range_fields(A)[f];
        let (low, high, whole) = cell.bounds(field);
        if !whole || low == high {
            return None;
        }
        let open = (low ^ high).count_ones();
        let bits = open.min(3);
        let mut mask = [0; N];
        mask[field.word] = ((1u64 << bits) - 1) << (open - bits) << field.shift;
        let mut groups = Vec::new();
        for part in 0..1u64 << bits {
            let mut value = [0; N];
            value[field.word] = part << (open - bits) << field.shift;
            let part = cell.within(&value, &mask);
            let mut items = Vec::new();
            for (item, entry) in entries.iter().enumerate() {
                if part.view(entry).is_some() {
                    items.push(Item { index: item as u32, weight: 1.0 });
                    if part.covered_by(entry) {
                        break;
                    }
                }
            }
            if items.len() == entries.len() {
                return None;
            }
            if !items.is_empty() {
                groups.push(Group { cell: part, items });
            }
        }
        Some(Split { mask, groups })
    }
}

/// Groups by the value under `mask`, which all `entries` ask for; in the order of their first
/// items.
fn by_value<const A: usize, const N: usize>(
    entries: &[&Entry<A, N>],
    cell: &Cell<N>,
    mask: &Words<N>,
) -> Vec<Group<N>> {
    let mut at = HashMap::with_capacity_and_hasher(entries.len(), FixedState::default());
    let mut groups: Vec<Group<N>> = Vec::new();
    for (index, entry) in (0..).zip(entries) {
        let Some((mut value, _)) = cell.view(entry) else { continue };
        for i in 0..N {
            value[i] &= mask[i];
        }
        let group = *at.entry(value).or_insert_with(|| {
            groups.push(Group { cell: cell.within(&value, mask), items: Vec::new() });
            groups.len() - 1
        });
        groups[group].items.push(Item { index, weight: 1.0 });
    }
    groups
}

/// What a bit would do to the groups.
#[derive(Clone, Copy, Default)]
struct Tally {
    known: u32,
    ones: u32,
    known_weight: f32,
    ones_weight: f32,
}

/// The bit after which a key has the least to be compared with; `None` when none makes it less by
/// a twentieth.
fn best_bit<'a, const A: usize, const N: usize>(
    entries: &[&Entry<A, N>],
    groups: impl Iterator<Item = &'a Group<N>>,
    taken: &Words<N>,
) -> Option<(usize, u32)> {
    let mut after = vec![[0f64; 64]; N];
    let mut before = 0.0;
    let mut tallies = vec![[Tally::default(); 64]; N];
    for group in groups {
        // Every so many of a large group tell enough.
        let step = group.items.len().div_ceil(4096);
        let mut count = 0u32;
        let mut weight = 0f32;
        for item in group.items.iter().step_by(step) {
            let Some((value, mask)) = group.cell.view(entries[item.index as usize]) else {
                continue;
            };
            count += 1;
            weight += item.weight;
            for word in 0..N {
                let mut bits = mask[word] & !taken[word];
                while bits != 0 {
                    let bit = bits.trailing_zeros() as usize;
                    let tally = &mut tallies[word][bit];
                    let one = (value[word] >> bit & 1) as u32;
                    tally.known += 1;
                    tally.ones += one;
                    tally.known_weight += item.weight;
                    tally.ones_weight += item.weight * one as f32;
                    bits &= bits - 1;
                }
            }
        }
        let length = |items: u32| f64::from((items as usize * step).max(LANES) as u32);
        let scale = step as f64;
        before += f64::from(weight) * scale * length(count);
        for word in 0..N {
            for bit in 0..64 {
                let tally = std::mem::take(&mut tallies[word][bit]);
                let zeros = tally.known - tally.ones;
                let open = (weight - tally.known_weight).max(0.0) / 2.0;
                let zero_weight = tally.known_weight - tally.ones_weight + open;
                let one_weight = tally.ones_weight + open;
                after[word][bit] += scale
                    * (f64::from(zero_weight) * length(count - tally.ones)
                        + f64::from(one_weight) * length(count - zeros));
            }
        }
    }
    let (least, word, bit) = (0..N)
        .flat_map(|word| (0..64).map(move |bit| (word, bit)))
        .filter(|(word, bit)| taken[*word] >> bit & 1 == 0)
        .map(|(word, bit)| (after[word][bit], word, bit))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    (least < before * 0.95).then_some((word, bit as u32))
}
