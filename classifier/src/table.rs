//! The compiled table of one family, and how a key goes through it.

use crate::RuleIndex;
use crate::block::{Columns, LANES, NONE, Portable, index_row};
use crate::burst::{BURST, BlockSteps, Burst, Numbers, Step, Steps, sort};
use crate::entry::{Entry, Uses};
use crate::isa::Isa;
use crate::plan::{Plan, plans, sample};
use crate::roots::{Root, Slot};
use crate::tree::{Arenas, Planter, Target};
use crate::words::{Words, hash};

/// The rules of one family, compiled.
///
/// A lookup asks each root in the order of their best rules, until it has a rule at least as good as
/// those of the next. What passes a root's filter is led by a slot to blocks of rules, perhaps by
/// nodes with slots of their own.
#[derive(Clone, Debug)]
pub(crate) struct Table<const A: usize, const N: usize> {
    pub roots: Vec<Root<N>>,
    pub arenas: Arenas,
    pub columns: Columns,
}

impl<const A: usize, const N: usize> Table<A, N> {
    /// The table of `entries`, in the order of their rules, that costs the least of those tried.
    pub fn compile(entries: &[Entry<A, N>], uses: Uses) -> Self {
        let columns = Columns::of::<A>(uses);
        let mut tables =
            plans(entries).into_iter().map(|plan| Self::plant(entries, columns, &plan));
        let Some(first) = tables.next() else {
            return Table { roots: Vec::new(), arenas: Arenas::default(), columns };
        };
        let Some(second) = tables.next() else { return first };
        let sample = sample(entries);
        if second.cost_of(&sample) < first.cost_of(&sample) { second } else { first }
    }

    fn plant(entries: &[Entry<A, N>], columns: Columns, plan: &Plan<N>) -> Self {
        let mut planter = Planter::new(entries, columns, Arenas::default());
        let mut roots: Vec<Root<N>> = plan
            .iter()
            .enumerate()
            .map(|(rank, (base, items))| Root::plant(&mut planter, entries, items, *base, rank))
            .collect();
        roots.sort_by_key(|root| root.best);
        Table { roots, arenas: planter.finish(), columns }
    }

    pub fn memory_usage(&self) -> usize {
        let roots: usize = self.roots.iter().map(Root::memory_usage).sum();
        roots + self.arenas.memory_usage()
    }

    /// Filter, slot and what follows, of every root.
    pub fn worst_case(&self) -> usize {
        self.roots.iter().map(|root| 2 + root.most).sum()
    }

    /// The rules in the leaf that costs most.
    pub fn dearest_rules(&self) -> Vec<RuleIndex> {
        let rows = self.columns.rows::<A>();
        let slots = self.roots.iter().flat_map(|root| root.slots.iter());
        let leaf = slots
            .map(|slot| self.arenas.dearest::<N>(slot.target, rows))
            .max_by_key(|(cost, _)| *cost)
            .map_or(Target::NOTHING, |(_, leaf)| leaf);
        let (first, count) = self.arenas.extent(leaf);
        let mut rules: Vec<_> =
            (first..first + count).flat_map(|block| self.rules_in(block)).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// How often each rule stands in a block.
    pub fn count_copies(&self, copies: &mut Vec<u32>) {
        let blocks = self.arenas.blocks.len() / self.columns.rows::<A>();
        for rule in (0..blocks).flat_map(|block| self.rules_in(block)) {
            let rule = rule as usize;
            if copies.len() <= rule {
                copies.resize(rule + 1, 0);
            }
            copies[rule] += 1;
        }
    }

    /// The rules of a block.
    fn rules_in(&self, block: usize) -> impl Iterator<Item = RuleIndex> {
        let row = block * self.columns.rows::<A>() + index_row(A);
        self.arenas.blocks[row].0.into_iter().filter(|rule| *rule != NONE)
    }

    /// What looking a key up costs.
    pub fn cost(&self, words: &Words<N>) -> Cost {
        let mut cost = Cost::default();
        let mut best = NONE;
        for root in &self.roots {
            if best <= root.best {
                break;
            }
            cost.probes += 1;
            cost.lines += 1;
            let hash = hash(words, &root.mask);
            if root.passes(hash) == 0 {
                continue;
            }
            cost.slots += 1;
            cost.lines += 1;
            let Slot { mut target, best: lead } = root.lead(root.slot(hash));
            if best <= lead {
                continue;
            }
            while target.is_node() {
                cost.nodes += 1;
                // SAFETY: targets of this table lead into its arenas.
                unsafe {
                    cost.lines += self.arenas.lines_followed(target, words);
                    target = self.arenas.follow(target, words);
                }
            }
            let blocks = self.arenas.extent(target).1;
            cost.blocks += blocks;
            cost.lines += blocks * self.columns.rows::<A>();
            // SAFETY: the portable code runs everywhere; the target is not a node.
            best = best.min(unsafe { self.compare::<Portable>(target, words) });
        }
        cost
    }

    /// Mean estimate of [`cost`](Table::cost), in cycles of the batched lookup. The weights were
    /// measured (Zen 5, AVX-512); that they are roughly in proportion is what counts.
    fn cost_of(&self, sample: &[Words<N>]) -> f64 {
        let cycles = |words| {
            let Cost { probes, slots, nodes, blocks, .. } = self.cost(words);
            2 * probes + 10 * slots + 17 * nodes + 13 * blocks
        };
        sample.iter().map(cycles).sum::<usize>() as f64 / sample.len().max(1) as f64
    }

    /// The first matching rule, or [`NONE`].
    ///
    /// # Safety
    /// The processor must have the instruction set of `I`.
    #[inline(always)]
    pub unsafe fn find<I: Isa>(&self, words: &Words<N>) -> RuleIndex {
        let mut best = NONE;
        for root in &self.roots {
            if best <= root.best {
                break;
            }
            let hash = hash(words, &root.mask);
            if root.passes(hash) == 0 {
                continue;
            }
            let Slot { mut target, best: lead } = root.lead(root.slot(hash));
            if best <= lead {
                continue;
            }
            while target.is_node() {
                // SAFETY: targets of this table lead into its arenas.
                target = unsafe { self.arenas.follow(target, words) };
            }
            // SAFETY: as above, and the caller's.
            best = best.min(unsafe { self.compare::<I>(target, words) });
        }
        best
    }

    /// The first rule that matches in the blocks of `target`, or [`NONE`].
    ///
    /// # Safety
    /// `target` must be one of this table's and not a node, and the processor have the instruction
    /// set of `I`.
    #[inline(always)]
    unsafe fn compare<I: Isa>(&self, target: Target, words: &Words<N>) -> RuleIndex {
        let (first, count) = self.arenas.extent(target);
        let mut best = NONE;
        for block in first..first + count {
            // SAFETY: the blocks of a target are inside the arena; the rest is the caller's.
            best = best.min(unsafe { self.compare_block::<I>(block, words) });
        }
        best
    }

    /// # Safety
    /// `block` must be one of this table's, and the processor have the instruction set of `I`.
    #[inline(always)]
    unsafe fn compare_block<I: Isa>(&self, block: usize, words: &Words<N>) -> RuleIndex {
        let rows = self.columns.rows::<A>();
        // SAFETY: blocks are whole, their row of indices is there; the rest is the caller's.
        unsafe {
            let block = self.arenas.blocks.as_ptr().add(block * rows);
            let matches = I::matches::<A, N>(block, &self.columns, words);
            let indices = block.cast::<[RuleIndex; LANES]>().add(index_row(A));
            let index = (*indices)[matches.trailing_zeros() as usize % LANES];
            if matches == 0 { NONE } else { index }
        }
    }

    /// [`find`](Table::find) for a burst, stage by stage, into `best`, which holds [`NONE`] for
    /// every key.
    ///
    /// Lists are appended to without a branch: an item is always written, and counted when it is
    /// wanted. What a key finds is as unpredictable as traffic, and a mispredicted branch costs as
    /// much as comparing with sixteen rules. The loads of a stage do not wait for each other, so
    /// the processor overlaps them without being told.
    ///
    /// # Safety
    /// The processor must have the instruction set of `I`.
    #[inline(always)]
    pub unsafe fn find_burst<I: Isa>(&self, burst: &Burst<N>, best: &mut [RuleIndex; BURST]) {
        let mut asking = Numbers::new();
        let mut passed = Steps::new();
        let mut inner = Steps::new();
        let mut long = Steps::new();
        let mut blocks = BlockSteps::new();
        for root in &self.roots {
            // SAFETY, for all of them: the caller's; a root passes a key at most once, so that no
            // list gets more than it has room for; keys lead into the burst, and targets of this
            // table into its arenas.
            asking.clear();
            passed.clear();
            // SAFETY: see above.
            unsafe {
                I::asking(root.best, best, burst.len(), &mut asking);
                if I::PROBES && N == 2 && asking.len() * 2 > burst.len() {
                    I::probe(root, burst, best, &mut passed);
                } else {
                    for &key in asking.as_slice() {
                        let hash = hash(burst.words(key as usize), &root.mask);
                        passed.push(Step::new(root.slot(hash), key), root.passes(hash) == 1);
                    }
                }
            }
            inner.clear();
            blocks.clear();
            long.clear();
            // SAFETY: see above.
            unsafe { I::lead(root, &passed, best, &mut inner, &mut blocks, &mut long) };
            while inner.len() > 0 {
                let count = inner.len();
                inner.clear();
                for i in 0..count {
                    // SAFETY: see above; the item is not yet overwritten, since at most `i` were
                    // pushed.
                    unsafe {
                        let step = inner.get(i);
                        let target = self.arenas.follow(step.target(), burst.words(step.key()));
                        sort(step.to(target), true, &mut inner, &mut blocks, &mut long);
                    }
                }
            }
            for step in blocks.as_slice() {
                // SAFETY: see above.
                unsafe { self.improve::<I>(step.place(), step.key(), burst, best) };
            }
            for step in long.as_slice() {
                let (first, count) = self.arenas.extent(step.target());
                for block in first + 2..first + count {
                    // SAFETY: see above.
                    unsafe { self.improve::<I>(block, step.key(), burst, best) };
                }
            }
        }
    }

    /// Compares a key with a block, and keeps the better of what it finds and what it has.
    ///
    /// # Safety
    /// As for [`compare_block`](Table::compare_block), and `key` must be in the burst.
    #[inline(always)]
    unsafe fn improve<I: Isa>(
        &self,
        block: usize,
        key: usize,
        burst: &Burst<N>,
        best: &mut [RuleIndex; BURST],
    ) {
        // SAFETY: the caller's.
        let index = unsafe { self.compare_block::<I>(block, burst.words(key)) };
        let best = &mut best[key % BURST];
        *best = (*best).min(index);
    }
}

/// What a lookup goes through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub probes: usize,
    pub slots: usize,
    pub nodes: usize,
    pub blocks: usize,
    /// Cache lines touched.
    pub lines: usize,
}
