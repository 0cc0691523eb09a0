//! The compiled table of one family, and how a key goes through it.

use crate::RuleIndex;
use crate::block::{Columns, NONE, Portable, Row, index_row};
use crate::burst::{Ahead, BURST, Burst, Numbers, Step, Steps};
use crate::entry::{Entry, Uses};
use crate::isa::Isa;
use crate::plan::{Plan, finest, merged, sample};
use crate::roots::Root;
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

/// So many coarser plans that cost more, one after the other, end the search for a better one.
const MOST_IN_VAIN: usize = 2;

/// Of more entries than this, one plan is made: others would take as long again.
const HUGE: usize = 200_000;

impl<const A: usize, const N: usize> Table<A, N> {
    /// The table of `entries`, in the order of their rules, that costs the least of those tried.
    pub fn compile(entries: &[Entry<A, N>], uses: Uses) -> Self {
        let columns = Columns::of::<A>(uses);
        if entries.is_empty() {
            return Table { roots: Vec::new(), arenas: Arenas::default(), columns };
        }
        let finest = finest(entries);
        let sample = sample(entries);
        let planted = |plan: &Plan<N>| {
            let table = Self::plant(entries, columns, plan);
            (table.cost_of(&sample), table)
        };
        let (mut least, mut best) = planted(&finest);
        if entries.len() > HUGE {
            return best;
        }
        // Fewer and fewer roots, as long as that is worth it. Each step leaves twice as many
        // entries together, so that steps are few.
        let together = |at: usize| finest[at..].iter().map(|(_, items)| items.len()).sum::<usize>();
        let mut tried = together(finest.len() - 1);
        let mut in_vain = 0;
        for at in (1..finest.len() - 1).rev() {
            if together(at) < 2 * tried {
                continue;
            }
            tried = together(at);
            let (cost, table) = planted(&merged(entries, &finest, at));
            if cost < least {
                (least, best, in_vain) = (cost, table, 0);
            } else {
                in_vain += 1;
            }
            if in_vain == MOST_IN_VAIN {
                break;
            }
        }
        best
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
        let own = |root: &Root<N>| if root.only().is_some() { 0 } else { 2 };
        self.roots.iter().map(|root| own(root) + root.most).sum()
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
    fn cost(&self, words: &Words<N>) -> Cost {
        let mut cost = Cost::default();
        let mut best = NONE;
        for root in &self.roots {
            if best <= root.best {
                break;
            }
            let only = root.only();
            let Some(mut target) = only.or_else(|| {
                cost.probes += 1;
                let hash = hash(words, &root.mask);
                if root.passes(hash) == 0 {
                    return None;
                }
                cost.slots += 1;
                let slot = root.lead(root.slot(hash));
                (best > slot.best).then_some(slot.target)
            }) else {
                continue;
            };
            while target.is_node() {
                cost.nodes += 1;
                // SAFETY: targets of this table lead into its arenas.
                unsafe {
                    cost.node_lines += self.arenas.lines_followed(target, words);
                    target = self.arenas.follow(target, words);
                }
            }
            let blocks = self.arenas.extent(target).1;
            match only {
                Some(first) if first == target => cost.direct_blocks += blocks,
                _ => cost.blocks += blocks,
            }
            // SAFETY: the portable code runs everywhere; the target is not a node.
            best = unsafe { self.compare::<Portable>(target, words, best) };
        }
        cost
    }

    /// Cache lines that looking a key up touches.
    pub fn lines(&self, words: &Words<N>) -> usize {
        let Cost { probes, slots, node_lines, blocks, direct_blocks, .. } = self.cost(words);
        probes + slots + node_lines + (blocks + direct_blocks) * self.columns.rows::<A>()
    }

    /// Mean estimate of [`cost`](Table::cost), in cycles of the batched lookup. The weights were
    /// measured (Zen 5, AVX-512); that they are roughly in proportion is what counts.
    fn cost_of(&self, sample: &[Words<N>]) -> f64 {
        let cycles = |words| {
            let Cost { probes, slots, nodes, blocks, direct_blocks, .. } = self.cost(words);
            2 * probes + 11 * slots + 26 * nodes + 13 * blocks + 9 * direct_blocks
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
            let mut target = match root.only() {
                Some(target) => target,
                None => {
                    let hash = hash(words, &root.mask);
                    if root.passes(hash) == 0 {
                        continue;
                    }
                    let slot = root.lead(root.slot(hash));
                    if best <= slot.best {
                        continue;
                    }
                    slot.target
                }
            };
            while target.is_node() {
                // SAFETY: targets of this table lead into its arenas.
                target = unsafe { self.arenas.follow(target, words) };
            }
            // SAFETY: as above, and the caller's.
            best = unsafe { self.compare::<I>(target, words, best) };
        }
        best
    }

    /// The first rule that matches in the blocks of `target`, or `best` if that is before it.
    ///
    /// # Safety
    /// `target` must be one of this table's and not a node, and the processor have the instruction
    /// set of `I`.
    #[inline(always)]
    unsafe fn compare<I: Isa>(
        &self,
        target: Target,
        words: &Words<N>,
        mut best: RuleIndex,
    ) -> RuleIndex {
        let (first, count) = self.arenas.extent(target);
        for block in first..first + count {
            // SAFETY: the blocks of a target are inside the arena; the rest is the caller's.
            best = unsafe { I::better::<A, N>(self.block(block), &self.columns, words, best) };
        }
        best
    }

    /// # Safety
    /// `block` must be one of this table's.
    #[inline(always)]
    unsafe fn block(&self, block: usize) -> *const Row {
        // SAFETY: blocks are whole.
        unsafe { self.arenas.blocks.as_ptr().add(block * self.columns.rows::<A>()) }
    }

    /// [`find`](Table::find) for a burst, stage by stage.
    ///
    /// Lists are appended to without a branch: an item is always written, and counted when it is
    /// wanted. What a key finds is as unpredictable as traffic, and a mispredicted branch costs as
    /// much as comparing with sixteen rules. The loads of a stage do not wait for each other, so
    /// the processor overlaps them without being told.
    ///
    /// # Safety
    /// The processor must have the instruction set of `I`.
    #[inline(always)]
    pub unsafe fn find_burst<I: Isa>(&self, burst: &Burst<N>) -> [RuleIndex; BURST] {
        let mut best = [NONE; BURST];
        let mut asking = Numbers::new();
        let mut passed = Steps::new();
        let mut ahead = Ahead::new();
        for root in &self.roots {
            // SAFETY, for all of them: the caller's; a root passes a key at most once, so that no
            // list gets more than it has room for; keys lead into the burst, and targets of this
            // table into its arenas.
            asking.clear();
            passed.clear();
            ahead.clear();
            // SAFETY: see above.
            unsafe { I::asking(root.best, &best, burst.len(), &mut asking) };
            if asking.len() == 0 {
                break;
            }
            // SAFETY: see above.
            unsafe {
                match root.only() {
                    Some(target) if !target.is_node() => {
                        self.improve_all::<I>(target, &asking, burst, &mut best);
                        continue;
                    }
                    Some(target) => {
                        for &key in asking.as_slice() {
                            ahead.inner.push(Step::new(target.0 as usize, key), true);
                        }
                    }
                    None => {
                        if I::PROBES && asking.len() * 2 > burst.len() {
                            I::probe(root, burst, &best, &mut passed);
                        } else {
                            for &key in asking.as_slice() {
                                let hash = hash(burst.words(key as usize), &root.mask);
                                let slot = Step::new(root.slot(hash), key);
                                passed.push(slot, root.passes(hash) == 1);
                            }
                        }
                        I::lead(root, &passed, &best, &mut ahead);
                    }
                }
                self.finish_burst::<I>(&mut ahead, burst, &mut best);
            }
        }
        best
    }

    /// Takes keys through nodes to blocks and compares them there.
    ///
    /// # Safety
    /// The steps ahead must be to targets of this table, with keys of the burst, and the processor
    /// have the instruction set of `I`.
    #[inline(always)]
    unsafe fn finish_burst<I: Isa>(
        &self,
        ahead: &mut Ahead,
        burst: &Burst<N>,
        best: &mut [RuleIndex; BURST],
    ) {
        while ahead.inner.len() > 0 {
            let count = ahead.inner.len();
            ahead.inner.clear();
            for i in 0..count {
                // SAFETY: the caller's; the item is not yet overwritten, since at most `i` were
                // pushed.
                unsafe {
                    let step = ahead.inner.get(i);
                    let target = self.arenas.follow(step.target(), burst.words(step.key()));
                    ahead.sort(step.to(target), true);
                }
            }
        }
        for step in ahead.blocks.as_slice() {
            // SAFETY: the caller's.
            unsafe { self.improve::<I>(step.place(), step.key(), burst, best) };
        }
        for step in ahead.long.as_slice() {
            let (first, count) = self.arenas.extent(step.target());
            for block in first + 2..first + count {
                // SAFETY: the caller's.
                unsafe { self.improve::<I>(block, step.key(), burst, best) };
            }
        }
    }

    /// Compares all of these keys with the blocks of `target`.
    ///
    /// # Safety
    /// `target` must be one of this table's and not a node, the keys of the burst, and the
    /// processor have the instruction set of `I`.
    #[inline(always)]
    unsafe fn improve_all<I: Isa>(
        &self,
        target: Target,
        keys: &Numbers,
        burst: &Burst<N>,
        best: &mut [RuleIndex; BURST],
    ) {
        let (first, count) = self.arenas.extent(target);
        for block in first..first + count {
            for &key in keys.as_slice() {
                // SAFETY: the caller's.
                unsafe { self.improve::<I>(block, key as usize, burst, best) };
            }
        }
    }

    /// Compares a key with a block, and keeps the better of what it finds and what it has.
    ///
    /// # Safety
    /// `block` must be one of this table's, `key` be in the burst, and the processor have the
    /// instruction set of `I`.
    #[inline(always)]
    unsafe fn improve<I: Isa>(
        &self,
        block: usize,
        key: usize,
        burst: &Burst<N>,
        best: &mut [RuleIndex; BURST],
    ) {
        let best = &mut best[key % BURST];
        // SAFETY: the caller's.
        *best =
            unsafe { I::better::<A, N>(self.block(block), &self.columns, burst.words(key), *best) };
    }
}

/// What a lookup goes through.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    probes: usize,
    slots: usize,
    nodes: usize,
    node_lines: usize,
    blocks: usize,
    /// Blocks that every key is compared with that comes so far.
    direct_blocks: usize,
}
