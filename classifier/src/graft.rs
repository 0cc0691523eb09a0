//! Single entries put into a tree that stays as it is otherwise.
//!
//! For slots with too many entries to be planted anew. A new entry is added to the leaves that its
//! keys are led to. The lanes of one that is gone are clear already; but a build has dropped others
//! where it hid them, and those are added to the leaves where it did.

use crate::block::{LANES, NONE, Row, empty, index_row, write};
use crate::cell::Cell;
use crate::entry::Entry;
use crate::table::Table;
use crate::tree::Target;
use crate::words::{Words, hash, ones, range_fields};

/// More open bits than this, and an entry is in too many slots.
const MOST_OPEN: u32 = 10;

/// Where a target stands: a root by its place and one of its slots, or a node by its line and one
/// of its slots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    Root(usize, usize),
    Node(usize, usize),
}

/// What may still be done before something else is better.
pub(crate) struct Budget(pub usize);

impl Budget {
    fn spend(&mut self, steps: usize) -> Option<()> {
        self.0 = self.0.checked_sub(steps)?;
        Some(())
    }
}

/// Calls `with` each value under `mask` that keys can have whose bits are those of `value` where
/// `known` has ones; `None` when they are too many.
pub(crate) fn each_value<const N: usize>(
    value: &Words<N>,
    known: &Words<N>,
    mask: &Words<N>,
    mut with: impl FnMut(Words<N>),
) -> Option<()> {
    let least: Words<N> = std::array::from_fn(|i| value[i] & known[i] & mask[i]);
    let open: Words<N> = std::array::from_fn(|i| mask[i] & !known[i]);
    if ones(&open) > MOST_OPEN {
        return None;
    }
    let mut choice = [0; N];
    loop {
        with(std::array::from_fn(|i| least[i] | choice[i]));
        // Counts through the open bits, from one word on to the next.
        let Some(i) = (0..N).find(|i| choice[*i] != open[*i]) else { return Some(()) };
        choice[..i].fill(0);
        choice[i] = (choice[i] | !open[i]).wrapping_add(1) & open[i];
    }
}

/// Whether `above` matches all keys of `cell` that `below` matches, by what a build looks at and
/// perhaps by more.
fn hides<const A: usize, const N: usize>(
    above: &Entry<A, N>,
    below: &Entry<A, N>,
    cell: &Cell<N>,
) -> bool {
    let Some((value, mask)) = cell.view(below) else { return false };
    (0..N).all(|i| {
        above.mask[i] & !(mask[i] | cell.mask[i]) == 0
            && (above.value[i] ^ value[i]) & above.mask[i] & mask[i] == 0
    }) && range_fields(A).into_iter().enumerate().all(|(f, field)| {
        let (low, high, _) = cell.bounds(field);
        above.low[f] <= below.low[f].max(low) && below.high[f].min(high) <= above.high[f]
    })
}

/// Puts the entry that stands alone in the first lane of `new` into a lane of `block` that is
/// free; `false` when none is.
fn put_in<const A: usize>(block: &mut [Row], new: &[Row]) -> bool {
    let rules = &block[index_row(A)].0;
    let Some(free) = rules.iter().position(|rule| *rule == NONE) else { return false };
    let rule = new[index_row(A)].0[0];
    let after = rules.iter().position(|other| *other != NONE && *other > rule).unwrap_or(LANES);
    for (row, new) in block.iter_mut().zip(new) {
        if free < after {
            row.0[free..after].rotate_left(1);
            row.0[after - 1] = new.0[0];
        } else {
            row.0[after..=free].rotate_right(1);
            row.0[after] = new.0[0];
        }
    }
    true
}

impl<const A: usize, const N: usize> Table<A, N> {
    fn target(&self, at: At) -> Target {
        match at {
            At::Root(root, slot) => self.roots[root].slots[slot].target,
            At::Node(line, slot) => self.arenas.slot::<N>(line, slot),
        }
    }

    fn set_target(&mut self, at: At, target: Target) {
        match at {
            At::Root(root, slot) => self.roots[root].slots[slot].target = target,
            At::Node(line, slot) => self.arenas.set_slot::<N>(line, slot, target),
        }
    }

    /// The leaves from `at` on that keys of `entry` in `cell` are led to, each with those of
    /// `below` that `entry` hides there, added to `found`. `None` when `budget` is used up.
    ///
    /// An entry hides itself: the leaves of one are those where it does.
    pub fn hidden_by(
        &self,
        entry: &Entry<A, N>,
        below: &[u32],
        entries: &[Entry<A, N>],
        (at, cell): (At, &Cell<N>),
        budget: &mut Budget,
        found: &mut Vec<(At, u32)>,
    ) -> Option<()> {
        budget.spend(1 + below.len())?;
        let Some((value, known)) = cell.view(entry) else { return Some(()) };
        let target = self.target(at);
        if !target.is_node() {
            let before = found.len();
            let hidden = |item: &&u32| hides(entry, &entries[**item as usize], cell);
            found.extend(below.iter().filter(hidden).map(|item| (at, *item)));
            return budget.spend(PUT_STEPS * (found.len() - before));
        }
        let line = target.to_node();
        let word = |at: usize| self.arenas.nodes[line + at / 8].0[at % 8];
        let mask: Words<N> = std::array::from_fn(word);
        let shift = word(N);
        let value = std::array::from_fn(|i| value[i] | cell.value[i]);
        let known = std::array::from_fn(|i| known[i] | cell.mask[i]);
        // With parts of what the build took for the cell of a slot, where values share one.
        let mut parts = Vec::new();
        each_value(&value, &known, &mask, |value| parts.push(value))?;
        for value in parts {
            let part = cell.within(&value, &mask);
            let in_part = |item: &&u32| part.view(&entries[**item as usize]).is_some();
            let below: Vec<u32> = below.iter().filter(in_part).copied().collect();
            if !below.is_empty() {
                let at = At::Node(line, (hash(&value, &mask) >> shift) as usize);
                self.hidden_by(entry, &below, entries, (at, &part), budget, found)?;
            }
        }
        Some(())
    }

    /// Adds the entries that are `found` to their leaves; `None` when one gets too long.
    pub fn put(&mut self, entries: &[Entry<A, N>], mut found: Vec<(At, u32)>) -> Option<()> {
        found.sort_unstable();
        found.dedup();
        found.chunk_by(|a, b| a.0 == b.0).try_for_each(|leaf| {
            let entries = leaf.iter().map(|(_, item)| &entries[*item as usize]);
            self.put_in_leaf(leaf[0].0, entries)
        })
    }

    fn put_in_leaf<'a>(
        &mut self,
        at: At,
        entries: impl Iterator<Item = &'a Entry<A, N>>,
    ) -> Option<()> {
        let rows = self.columns.rows::<A>();
        let (first, count) = self.arenas.extent(self.target(at));
        let leaf = first * rows..(first + count) * rows;
        let mut more: Vec<Row> = Vec::new();
        for entry in entries {
            let mut new = empty::<A>(&self.columns);
            write(&mut new, &self.columns, 0, entry);
            let holds = |block: &[Row]| {
                let same = |lane: usize| block.iter().zip(&new).all(|(a, b)| a.0[lane] == b.0[0]);
                (0..LANES).any(|lane| block[index_row(A)].0[lane] == entry.rule && same(lane))
            };
            // Other leaves may have the same block: to them the entry is a stranger that does no
            // harm.
            let blocks = &mut self.arenas.blocks[leaf.clone()];
            if !blocks.chunks_exact(rows).any(holds)
                && !blocks.chunks_exact_mut(rows).any(|block| put_in::<A>(block, &new))
                && !more.chunks_exact_mut(rows).any(|block| put_in::<A>(block, &new))
            {
                more.extend(new);
            }
        }
        if more.is_empty() {
            return Some(());
        }
        let count = count + more.len() / rows;
        if count >= Target::MANY {
            return None;
        }
        let blocks = &mut self.arenas.blocks;
        let moved = blocks.len() / rows;
        blocks.extend_from_within(leaf);
        blocks.extend(more);
        self.set_target(at, Target::blocks(moved, count));
        Some(())
    }
}

/// What [`put`](Table::put) costs, in entries looked at.
const PUT_STEPS: usize = 16;
