//! A table for a few rules more or less, made from the table before.
//!
//! The slots of the roots that a changed entry is or was in are planted anew, from all entries that
//! belong there: the same work as in a build, for a small part of the table. Where a slot has too
//! many entries for that, the changed ones are put into its leaves and taken out of them one by one
//! (`graft.rs`). New entries with too many places, and those that no root takes, stand aside: in a
//! root of their own, planted anew whenever they change. Everything else is copied; the indices of
//! rules are renumbered on the way.

use crate::RuleIndex;
use crate::block::{NONE, clear, index_row};
use crate::cell::Cell;
use crate::entry::Entry;
use crate::graft::{At, Budget, each_value};
use crate::roots::{Root, Slot};
use crate::table::Table;
use crate::tree::Planter;
use crate::words::hash;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Entries of a table and where they are, for the next change of it.
#[derive(Debug)]
pub(crate) struct Kept<const A: usize, const N: usize> {
    /// All but those that stand aside, in the order of their rules.
    entries: Vec<Entry<A, N>>,
    /// For each of them its home: finding it again would be most of what a change costs.
    homes: Vec<Home>,
    /// Those that stand aside until the table is built again, in order.
    aside: Vec<Entry<A, N>>,
}

/// The root that an entry belongs to, by rank, and the slot there: [`SEVERAL`] for more than one.
#[derive(Clone, Copy, Debug)]
struct Home {
    rank: u32,
    slot: u32,
}

const SEVERAL: u32 = u32::MAX;

/// What a change is, for the entries of one family.
struct Change<'a, const A: usize, const N: usize> {
    /// Those that were and will not be, with their homes.
    removed: Vec<(Entry<A, N>, Home)>,
    /// Those that were not, in the same way.
    fresh: Vec<(Entry<A, N>, Home)>,
    /// For each rule that was its index now, [`NONE`] when it is gone.
    renumber: &'a [RuleIndex],
}

/// A slot that something changes in.
#[derive(Default)]
struct Touched<'a, const A: usize, const N: usize> {
    /// The entries there as they will be.
    items: Vec<u32>,
    /// Those that are gone, each with a part of the slot's keys that has all that it matched there,
    /// or with several.
    removed: Vec<(&'a Entry<A, N>, Cell<N>)>,
    /// Those that are new, in the same way.
    fresh: Vec<(&'a Entry<A, N>, Cell<N>)>,
}

/// A root by its place in the table, and one of its slots.
type Place = (usize, usize);

/// Slots in which something changes.
type AllTouched<'a, const A: usize, const N: usize> = HashMap<Place, Touched<'a, A, N>, FixedState>;

/// How many entries are planted anew rather than grafted: two milliseconds' work.
const FEW: usize = 512;

/// More entries than this to plant anew, and a build is the better way.
const MOST_REPLANTED: usize = 16_384;

/// What grafting may cost, in entries looked at: a few milliseconds' work.
const MOST_GRAFTED: usize = 150_000;

/// What finding the places of a new entry may cost: if it has more, it stands aside.
const MOST_PLACES: usize = 512;

/// More entries that stand aside, and a build is the better way: most lookups ask their root.
const MOST_ASIDE: usize = 256;

/// The rank of the root of the entries that stand aside.
const ASIDE: usize = usize::MAX;

/// Gives an entry the new index of its rule; `false` when that is gone.
fn renumbered<const A: usize, const N: usize>(
    entry: &mut Entry<A, N>,
    renumber: &[RuleIndex],
) -> bool {
    entry.rule = renumber[entry.rule as usize];
    entry.rule != NONE
}

impl<const A: usize, const N: usize> Clone for Kept<A, N> {
    fn clone(&self) -> Self {
        Kept {
            entries: with_room(self.entries.iter().copied()),
            homes: with_room(self.homes.iter().copied()),
            aside: self.aside.clone(),
        }
    }
}

/// A list that a change makes longer without moving it: that would take as long as all the rest.
pub(crate) fn with_room<T>(items: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let mut list = Vec::with_capacity(items.len() + items.len() / 64 + 256);
    list.extend(items);
    list
}

/// All in place: lists of so many entries take longer to allocate than to change.
impl<const A: usize, const N: usize> Kept<A, N> {
    /// Gives the entries the new indices of their rules, and takes out those whose rules are gone.
    fn renumber(&mut self, renumber: &[RuleIndex]) -> Vec<(Entry<A, N>, Home)> {
        let mut removed = Vec::new();
        let mut entries = self.entries.iter();
        self.homes.retain(|home| {
            let entry = entries.next().expect("every entry has a home");
            let gone = renumber[entry.rule as usize] == NONE;
            if gone {
                removed.push((*entry, *home));
            }
            !gone
        });
        self.entries.retain_mut(|entry| renumbered(entry, renumber));
        removed
    }

    /// Puts `fresh` entries, in the order of their rules, between those that are there.
    fn insert(&mut self, fresh: &[(Entry<A, N>, Home)]) {
        let mut end = self.entries.len();
        self.entries.extend(fresh.iter().map(|(entry, _)| *entry));
        self.homes.extend(fresh.iter().map(|(_, home)| *home));
        for (before, (entry, home)) in fresh.iter().enumerate().rev() {
            let at = self.entries[..end].partition_point(|other| other.rule < entry.rule);
            self.entries.copy_within(at..end, at + before + 1);
            self.homes.copy_within(at..end, at + before + 1);
            self.entries[at + before] = *entry;
            self.homes[at + before] = *home;
            end = at;
        }
    }
}

impl<const A: usize, const N: usize> Table<A, N> {
    /// What to keep of `entries`, of which the table was built.
    pub fn keep(&self, entries: Vec<Entry<A, N>>) -> Kept<A, N> {
        let places = self.places();
        let homes = with_room(entries.iter().map(|entry| {
            self.home(&places, entry).expect("a build takes every entry into a root")
        }));
        Kept { entries: with_room(entries.into_iter()), homes, aside: Vec::new() }
    }

    /// The table with `fresh` entries and without those whose rules are gone; `None` when it is
    /// better built from scratch. Then `kept` is of no use any more.
    pub fn changed(
        &self,
        kept: &mut Kept<A, N>,
        fresh: Vec<Entry<A, N>>,
        renumber: &[RuleIndex],
    ) -> Option<Self> {
        let places = self.places();
        let homes = fresh.iter().map(|entry| self.home_with_room(&places, entry));
        let (fresh, aside): (Vec<_>, Vec<_>) =
            fresh.iter().copied().zip(homes).partition(|(_, home)| home.is_some());
        let fresh = fresh.into_iter().filter_map(|(entry, home)| Some((entry, home?))).collect();
        let change = Change { removed: kept.renumber(renumber), fresh, renumber };
        kept.insert(&change.fresh);
        let left = kept.aside.len();
        kept.aside.retain_mut(|entry| renumbered(entry, renumber));
        let aside_changes = kept.aside.len() < left || !aside.is_empty();
        kept.aside.extend(aside.into_iter().map(|(entry, _)| entry));
        kept.aside.sort_by_key(|entry| entry.rule);
        if kept.aside.len() > MOST_ASIDE {
            return None;
        }
        let (roots, arenas) = (self.roots.clone(), self.arenas.with_room());
        let mut table = Table { roots, arenas, columns: self.columns };
        table.renumber(renumber);
        table.patch(kept, &places, &change)?;
        if aside_changes {
            table.put_aside(&kept.aside);
        }
        table.roots.sort_by_key(|root| root.best);
        Some(table)
    }

    /// The places of the roots that entries belong to, by rank.
    fn places(&self) -> Vec<usize> {
        let mut places: Vec<usize> =
            (0..self.roots.len()).filter(|place| self.roots[*place].rank != ASIDE).collect();
        places.sort_unstable_by_key(|place| self.roots[*place].rank);
        places
    }

    /// Where an entry belongs: the root of the lowest rank of whose base it asks for everything.
    fn home(&self, places: &[usize], entry: &Entry<A, N>) -> Option<Home> {
        let rank = places.iter().position(|place| entry.asks_for(&self.roots[*place].base))?;
        let root = &self.roots[places[rank]];
        let one = entry.asks_for(&root.mask);
        let slot = if one { root.slot(hash(&entry.value, &root.mask)) as u32 } else { SEVERAL };
        Some(Home { rank: rank as u32, slot })
    }

    /// [`home`](Table::home) for an entry that is new, if it has no more than a few places there.
    fn home_with_room(&self, places: &[usize], entry: &Entry<A, N>) -> Option<Home> {
        let home = self.home(places, entry)?;
        let place = places[home.rank as usize];
        let mut slots = Vec::new();
        self.slots_of(place, entry, |slot, _, cell| slots.push((slot, cell)))?;
        let mut budget = Budget(MOST_PLACES);
        let alone = std::slice::from_ref(entry);
        for (slot, cell) in slots {
            let from = (At::Root(place, slot), &cell);
            self.hidden_by(entry, &[0], alone, from, &mut budget, &mut Vec::new())?;
        }
        Some(home)
    }

    /// Calls `with` the number, the hash and the cell for each value of a root's bits that keys of
    /// `entry` may have; `None` when they are too many.
    fn slots_of(
        &self,
        place: usize,
        entry: &Entry<A, N>,
        mut with: impl FnMut(usize, u64, Cell<N>),
    ) -> Option<()> {
        let root = &self.roots[place];
        each_value(&entry.value, &entry.mask, &root.mask, |value| {
            let hash = hash(&value, &root.mask);
            with(root.slot(hash), hash, Cell { value, mask: root.mask });
        })
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
        // One that is gone leaves NONE until its slot is changed, and its root.
        let new =
            |rule: &mut RuleIndex| *rule = renumber.get(*rule as usize).map_or(NONE, |new| *new);
        for root in &mut self.roots {
            new(&mut root.best);
            root.slots.iter_mut().for_each(|slot| new(&mut slot.best));
        }
    }

    /// Makes the change in the slots that have something to do with it.
    fn patch(
        &mut self,
        after: &Kept<A, N>,
        places: &[usize],
        change: &Change<'_, A, N>,
    ) -> Option<()> {
        let mut touched = AllTouched::default();
        for (entry, home) in &change.removed {
            let place = places[home.rank as usize];
            self.slots_of(place, entry, |slot, _, cell| {
                touched.entry((place, slot)).or_default().removed.push((entry, cell));
            })?;
        }
        for (entry, home) in &change.fresh {
            let place = places[home.rank as usize];
            let mut hashes = Vec::new();
            self.slots_of(place, entry, |slot, hash, cell| {
                touched.entry((place, slot)).or_default().fresh.push((entry, cell));
                hashes.push(hash);
            })?;
            hashes.into_iter().for_each(|hash| self.roots[place].let_pass(hash));
        }
        self.collect(after, places, &mut touched)?;
        // In order: the same change of the same table gives the same table.
        let mut touched: Vec<_> = touched.into_iter().collect();
        touched.sort_unstable_by_key(|(place, touched)| (touched.items.len(), *place));
        let mut concerned: Vec<usize> = touched.iter().map(|((place, _), _)| *place).collect();
        let mut budget = Budget(MOST_GRAFTED);
        let mut replanted = 0;
        let mut replant = Vec::new();
        for (place, touched) in touched {
            let all = replanted + touched.items.len();
            let graft = all > FEW;
            if graft && self.graft(&after.entries, change, place, &touched, &mut budget).is_some() {
                continue;
            }
            if all > MOST_REPLANTED {
                return None;
            }
            replanted = all;
            replant.push((place, touched.items));
        }
        self.replant(&after.entries, replant);
        concerned.sort_unstable();
        concerned.dedup();
        for place in concerned {
            let root = &mut self.roots[place];
            root.best = root.slots.iter().map(|slot| slot.best).min().unwrap_or(NONE);
        }
        Some(())
    }

    /// The entries of each slot that something changes in.
    fn collect(
        &self,
        after: &Kept<A, N>,
        places: &[usize],
        touched: &mut AllTouched<'_, A, N>,
    ) -> Option<()> {
        // For each root of which something is, whether a slot is among them.
        let mut concerned = vec![Vec::new(); self.roots.len()];
        for (place, slot) in touched.keys() {
            concerned[*place].resize(self.roots[*place].slots.len(), false);
            concerned[*place][*slot] = true;
        }
        for (index, home) in (0..).zip(&after.homes) {
            let place = places[home.rank as usize];
            if home.slot != SEVERAL {
                if concerned[place].get(home.slot as usize) == Some(&true) {
                    touched.entry((place, home.slot as usize)).or_default().items.push(index);
                }
            } else if !concerned[place].is_empty() {
                let entry = &after.entries[index as usize];
                self.slots_of(place, entry, |slot, _, _| {
                    if concerned[place][slot] {
                        let items = &mut touched.entry((place, slot)).or_default().items;
                        // Two values of the open bits may hash to one slot.
                        if items.last() != Some(&index) {
                            items.push(index);
                        }
                    }
                })?;
            }
        }
        Some(())
    }

    /// Changes a slot without planting it anew. `None` when it may be changed in part: it is then
    /// to be planted.
    fn graft(
        &mut self,
        entries: &[Entry<A, N>],
        change: &Change<'_, A, N>,
        (place, slot): Place,
        touched: &Touched<'_, A, N>,
        budget: &mut Budget,
    ) -> Option<()> {
        let at = At::Root(place, slot);
        let items = &touched.items;
        let mut found = Vec::new();
        for (entry, cell) in &touched.removed {
            let later = &change.renumber[entry.rule as usize..];
            let Some(next) = later.iter().find(|rule| **rule != NONE) else { continue };
            let first = items.partition_point(|item| entries[*item as usize].rule < *next);
            self.hidden_by(entry, &items[first..], entries, (at, cell), budget, &mut found)?;
        }
        self.put(entries, found)?;
        for (entry, cell) in &touched.fresh {
            let alone = std::slice::from_ref(*entry);
            let mut found = Vec::new();
            self.hidden_by(entry, &[0], alone, (at, cell), budget, &mut found)?;
            self.put(alone, found)?;
        }
        let target = self.roots[place].slots[slot].target;
        let best = items.first().map_or(NONE, |item| entries[*item as usize].rule);
        let most = self.arenas.dearest::<N>(target, self.columns.rows::<A>()).0;
        let root = &mut self.roots[place];
        root.slots[slot].best = best;
        root.most = root.most.max(most);
        Some(())
    }

    fn replant(&mut self, entries: &[Entry<A, N>], replant: Vec<(Place, Vec<u32>)>) {
        let arenas = std::mem::take(&mut self.arenas);
        let mut planter = Planter::new(entries, self.columns, arenas);
        for ((root, slot), items) in replant {
            let best = items.first().map_or(NONE, |item| entries[*item as usize].rule);
            let target = planter.place(items, &Cell::ALL);
            let root = &mut self.roots[root];
            root.slots[slot] = Slot { target, best };
            root.most = root.most.max(planter.most(target));
        }
        self.arenas = planter.finish();
    }

    /// Makes `entries` those that stand aside.
    fn put_aside(&mut self, entries: &[Entry<A, N>]) {
        self.roots.retain(|root| root.rank != ASIDE);
        if entries.is_empty() {
            return;
        }
        let base = entries
            .iter()
            .fold([u64::MAX; N], |base, entry| std::array::from_fn(|i| base[i] & entry.mask[i]));
        let items: Vec<u32> = (0..entries.len() as u32).collect();
        let arenas = std::mem::take(&mut self.arenas);
        let mut planter = Planter::new(entries, self.columns, arenas);
        self.roots.push(Root::plant(&mut planter, entries, &items, base, ASIDE));
        self.arenas = planter.finish();
    }
}
