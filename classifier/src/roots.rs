//! The first step of a lookup: a few hash tables over bits that all of their entries ask for.

use crate::RuleIndex;
use crate::block::NONE;
use crate::cell::Cell;
use crate::entry::Entry;
use crate::plan::DIRECT;
use crate::split::{Limits, Split};
use crate::tree::{Planter, Target};
use crate::words::Words;

/// A root of so many entries may hold copies of them in several slots.
const SMALL: usize = 2048;

/// Where a root leads the keys of one slot.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Slot {
    pub target: Target,
    /// The first of the rules there: a key that has a better one need not go.
    pub best: RuleIndex,
}

/// A hash table over some bits of the key, with a filter of one bit for most keys that are not
/// in it.
#[derive(Clone, Debug)]
pub(crate) struct Root<const N: usize> {
    pub mask: Words<N>,
    /// The bits among them that all of its entries ask for. An entry belongs to the first root, by
    /// rank, of whose base it asks for everything.
    pub base: Words<N>,
    pub rank: usize,
    /// How far to shift a hash for the number of a filter bit, and of a slot.
    pub filter_shift: u32,
    pub slot_shift: u32,
    pub filter: Box<[u64]>,
    pub slots: Box<[Slot]>,
    /// Most cache lines that following a slot costs.
    pub most: usize,
    /// The first of its rules.
    pub best: RuleIndex,
}

impl<const N: usize> Root<N> {
    /// Whether the filter lets this hash pass: 0 or 1.
    #[inline(always)]
    pub fn passes(&self, hash: u64) -> u64 {
        let bit = hash >> (self.filter_shift & 63);
        // SAFETY: there are as many bits as the shift leaves numbers.
        unsafe { *self.filter.get_unchecked((bit / 64) as usize) >> (bit % 64) & 1 }
    }

    /// The number of the slot of a hash.
    #[inline(always)]
    pub fn slot(&self, hash: u64) -> usize {
        (hash >> (self.slot_shift & 63)) as usize
    }

    /// # Panics
    /// If `slot` is not one of those that [`slot`](Root::slot) gives.
    #[inline(always)]
    pub fn lead(&self, slot: usize) -> Slot {
        self.slots[slot]
    }

    /// Where every key goes, if the root looks at no bits.
    #[inline(always)]
    pub fn only(&self) -> Option<Target> {
        (self.mask == [0; N]).then(|| self.slots[0].target)
    }

    pub fn memory_usage(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.filter) + size_of_val(&*self.slots)
    }

    /// A root over the bits of `mask`, with nothing in it.
    pub fn empty(
        base: Words<N>,
        mask: Words<N>,
        slot_bits: u32,
        filter_bits: u32,
        rank: usize,
    ) -> Self {
        // A shift by 64 is none.
        let (slot_bits, filter_bits) = (slot_bits.max(1), filter_bits.max(6));
        Root {
            mask,
            base,
            rank,
            filter_shift: 64 - filter_bits,
            slot_shift: 64 - slot_bits,
            filter: vec![0; 1 << (filter_bits - 6)].into(),
            slots: vec![Slot { target: Target::NOTHING, best: NONE }; 1 << slot_bits].into(),
            most: 0,
            best: NONE,
        }
    }

    /// Makes the filter let a hash pass.
    pub fn let_pass(&mut self, hash: u64) {
        let bit = hash >> self.filter_shift;
        self.filter[(bit / 64) as usize] |= 1 << (bit % 64);
    }

    /// A root of `items`, in order, which all ask for the bits of `base`.
    pub fn plant<const A: usize>(
        planter: &mut Planter<'_, A, N>,
        entries: &[Entry<A, N>],
        items: &[u32],
        base: Words<N>,
        rank: usize,
    ) -> Self {
        let asking: Vec<_> = items.iter().map(|item| &entries[*item as usize]).collect();
        // A small root does the work of a node, at the price of some copies.
        let copies = if items.len() > SMALL { 1.2 } else { 4.0 };
        let open_bits = if items.len() > DIRECT { 8 } else { 0 };
        let split = Split::of(&asking, &Cell::ALL, base, Limits { open_bits, copies });
        let slot_bits = (split.groups.len() * 2).next_power_of_two().trailing_zeros();
        let filter_bits = (split.groups.len() * 8).next_power_of_two().trailing_zeros();
        let mut root = Root::empty(base, split.mask, slot_bits, filter_bits, rank);
        root.best = items.first().map_or(NONE, |item| entries[*item as usize].rule);
        for slot in split.slots(root.slot_shift, items, &Cell::ALL) {
            slot.hashes.iter().for_each(|hash| root.let_pass(*hash));
            let best = slot.items.first().map_or(NONE, |item| entries[*item as usize].rule);
            let target = planter.place(slot.items, &slot.cell);
            root.slots[root.slot(slot.hashes[0])] = Slot { target, best };
            root.most = root.most.max(planter.most(target));
        }
        root
    }
}
