//! A table for a few rules more or less, made from the table before.
//!
//! The slots of the roots that a changed entry is or was in are planted anew, from all entries that
//! belong there: the same work as in a build, for a small part of the table. Everything else is
//! copied; the indices of rules are renumbered on the way.

use crate::RuleIndex;
use crate::block::{NONE, clear, index_row};
use crate::cell::Cell;
use crate::entry::Entry;
use crate::roots::{Root, Slot};
use crate::table::Table;
use crate::tree::Planter;
use crate::words::{Words, hash, ones};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What changes in the entries of one family.
pub(crate) struct Change<'a, const A: usize, const N: usize> {
    /// All entries, as they will be.
    pub entries: &'a [Entry<A, N>],
    /// Those that were and will not be.
    pub removed: &'a [Entry<A, N>],
    /// Those that were not.
    pub fresh: &'a [Entry<A, N>],
    /// For each rule that was its index now, [`NONE`] when it is gone.
    pub renumber: &'a [RuleIndex],
}

/// More entries than this in the slots to plant anew, and a build is the better way.
const MOST_REPLANTED: usize = 16_384;

/// More open bits than this, and an entry is in too many slots.
const MOST_OPEN: u32 = 10;

/// A root by its place in the table, and one of its slots.
type Place = (usize, usize);

impl<const A: usize, const N: usize> Table<A, N> {
    /// The table after `change`; `None` when that is better built from scratch.
    pub fn patched(&self, change: &Change<'_, A, N>) -> Option<Self> {
        let mut table = self.clone();
        table.renumber(change.renumber);
        let mut replant: HashMap<Place, Vec<u32>, FixedState> = HashMap::default();
        let mut ranks = table.ranks();
        for entry in change.removed {
            let home = table.home(&ranks, entry)?;
            table.slots_of(home, entry, |slot, _| _ = replant.entry((home, slot)).or_default())?;
        }
        for entry in change.fresh {
            let home = match table.home(&ranks, entry) {
                Some(home) => home,
                None => {
                    ranks.push(table.add_root());
                    ranks[ranks.len() - 1]
                }
            };
            let mut bits = Vec::new();
            table.slots_of(home, entry, |slot, hash| {
                replant.entry((home, slot)).or_default();
                bits.push(hash);
            })?;
            bits.into_iter().for_each(|hash| table.roots[home].let_pass(hash));
        }
        table.collect(change.entries, &ranks, &mut replant)?;
        Some(table.replant(change.entries, replant))
    }

    /// The places of the roots, in the order of their ranks.
    fn ranks(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.roots.len()).collect();
        places.sort_unstable_by_key(|place| self.roots[*place].rank);
        places
    }

    /// Where an entry belongs: the root of the lowest rank of whose base it asks for everything.
    fn home(&self, ranks: &[usize], entry: &Entry<A, N>) -> Option<usize> {
        let asks = |place: &&usize| {
            let root = &self.roots[**place];
            (0..N).all(|i| root.base[i] & !entry.mask[i] == 0)
        };
        ranks.iter().find(asks).copied()
    }

    /// Calls `with` the number and a hash for each slot of a root that `entry` is in; `None` when
    /// they are too many.
    fn slots_of(
        &self,
        home: usize,
        entry: &Entry<A, N>,
        mut with: impl FnMut(usize, u64),
    ) -> Option<()> {
        let root = &self.roots[home];
        let open: Words<N> = std::array::from_fn(|i| root.mask[i] & !entry.mask[i]);
        if ones(&open) == 0 {
            let hash = hash(&entry.value, &root.mask);
            with(root.slot(hash), hash);
            return Some(());
        }
        if ones(&open) > MOST_OPEN {
            return None;
        }
        let open: Vec<(usize, u64)> = (0..N)
            .flat_map(|i| (0..64).map(move |bit| (i, 1u64 << bit)))
            .filter(|(i, bit)| open[*i] & bit != 0)
            .collect();
        for choice in 0..1u32 << open.len() {
            let mut value = entry.value;
            for (at, (i, bit)) in open.iter().enumerate() {
                if choice >> at & 1 == 1 {
                    value[*i] |= bit;
                }
            }
            let hash = hash(&value, &root.mask);
            with(root.slot(hash), hash);
        }
        Some(())
    }

    /// A root for entries that belong to no other, and its place.
    fn add_root(&mut self) -> usize {
        let rank = self.roots.iter().map(|root| root.rank + 1).max().unwrap_or(0);
        self.roots.push(Root::empty([0; N], [0; N], 1, 1, rank));
        self.roots.len() - 1
    }

    /// Gives the rules of blocks and slots their new indices, and takes out those that are gone.
    fn renumber(&mut self, renumber: &[RuleIndex]) {
        let rows = self.columns.rows::<A>();
        for block in self.arenas.blocks.chunks_exact_mut(rows) {
            for lane in 0..block[index_row(A)].0.len() {
                let rule = &mut block[index_row(A)].0[lane];
                if *rule != NONE {
                    *rule = renumber[*rule as usize];
                    if *rule == NONE {
                        clear::<A>(block, lane);
                    }
                }
            }
        }
        for slot in self.roots.iter_mut().flat_map(|root| root.slots.iter_mut()) {
            if slot.best != NONE {
                // One that is gone leaves NONE until the slot is planted anew.
                slot.best = renumber[slot.best as usize];
            }
        }
    }

    /// The entries of each slot to plant anew, and the best of each root; `None` when the entries
    /// are too many.
    fn collect(
        &mut self,
        entries: &[Entry<A, N>],
        ranks: &[usize],
        replant: &mut HashMap<Place, Vec<u32>, FixedState>,
    ) -> Option<()> {
        let mut best = vec![NONE; self.roots.len()];
        let mut touched = vec![false; self.roots.len()];
        replant.keys().for_each(|(root, _)| touched[*root] = true);
        let mut collected = 0;
        for (index, entry) in (0..).zip(entries) {
            let home = self.home(ranks, entry)?;
            best[home] = best[home].min(entry.rule);
            if touched[home] {
                self.slots_of(home, entry, |slot, _| {
                    if let Some(items) = replant.get_mut(&(home, slot)) {
                        // Two values of the open bits may hash to one slot.
                        if items.last() != Some(&index) {
                            items.push(index);
                            collected += 1;
                        }
                    }
                })?;
            }
            if collected > MOST_REPLANTED {
                return None;
            }
        }
        for (root, best) in self.roots.iter_mut().zip(best) {
            root.best = best;
        }
        Some(())
    }

    fn replant(
        mut self,
        entries: &[Entry<A, N>],
        replant: HashMap<Place, Vec<u32>, FixedState>,
    ) -> Self {
        let mut planter = Planter::new(entries, self.columns, self.arenas);
        // In order: the same change of the same table gives the same table.
        let mut replant: Vec<_> = replant.into_iter().collect();
        replant.sort_unstable_by_key(|(place, _)| *place);
        for ((root, slot), items) in replant {
            let best = items.first().map_or(NONE, |item| entries[*item as usize].rule);
            let target = planter.place(items, &Cell::ALL);
            let root = &mut self.roots[root];
            root.slots[slot] = Slot { target, best };
            root.most = root.most.max(planter.most(target));
        }
        self.arenas = planter.finish();
        self.roots.sort_by_key(|root| root.best);
        self
    }
}
