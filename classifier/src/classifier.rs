//! The compiled table: both families, and the way into their lookups.

use crate::block::{NONE, Portable};
use crate::burst::{BURST, Burst, Numbers};
use crate::entry::{Entry, Uses, family, push_entries};
use crate::isa::{Isa, Simd};
use crate::table::Table;
use crate::words::{pack, sides};
use crate::{Family, Lookup, PacketKey, Rule, RuleIndex};

/// An immutable compiled table, made by [`Builder`](crate::Builder).
///
/// Rules are divided by the bits that they ask for into a few hash tables, each with a filter that
/// turns most keys away. What passes is led, perhaps by a node or two that look at more bits, to
/// blocks of rules that are compared sixteen at once. The tables stand in the order of their best
/// rules, and a key stops asking when it has a rule at least as good as those to come.
#[derive(Clone, Debug)]
pub struct Classifier {
    pub(crate) tables: Layout,
    simd: Simd,
}

/// The tables, with or without the words that only some rule sets use: those of zones, identities
/// and VLAN, and the one of hardware addresses and length besides.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    Plain(Tables<2, 5>),
    Full(Tables<4, 7>),
    Link(Tables<5, 8>),
}

/// A table of each family, on keys of `F` words (IPv4) and `S` words (IPv6).
#[derive(Clone, Debug)]
pub(crate) struct Tables<const F: usize, const S: usize> {
    pub v4: Table<1, F>,
    pub v6: Table<4, S>,
}

/// The entries of both families, in the order of their rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries<const F: usize, const S: usize> {
    pub v4: Vec<Entry<1, F>>,
    pub v6: Vec<Entry<4, S>>,
}

/// Entries for the words of a [`Layout`].
#[derive(Clone, Debug)]
pub(crate) enum AnyEntries {
    Plain(Entries<2, 5>),
    Full(Entries<4, 7>),
    Link(Entries<5, 8>),
}

impl AnyEntries {
    pub fn of(rules: &[Rule], uses: Uses) -> Self {
        if uses.link() {
            AnyEntries::Link(Entries::of((0..).zip(rules)))
        } else if uses.sides() {
            AnyEntries::Full(Entries::of((0..).zip(rules)))
        } else {
            AnyEntries::Plain(Entries::of((0..).zip(rules)))
        }
    }
}

impl<const F: usize, const S: usize> Entries<F, S> {
    pub fn of<'a>(rules: impl Iterator<Item = (RuleIndex, &'a Rule)>) -> Self {
        let mut entries = Entries::default();
        for (index, rule) in rules {
            push_entries(rule, index, &mut entries.v4);
            push_entries(rule, index, &mut entries.v6);
        }
        entries
    }
}

impl<const F: usize, const S: usize> Tables<F, S> {
    pub fn compile(entries: &Entries<F, S>, uses: Uses) -> Self {
        Tables { v4: Table::compile(&entries.v4, uses), v6: Table::compile(&entries.v6, uses) }
    }

    /// # Safety
    /// The processor must have the instruction set of `I`.
    #[inline(always)]
    unsafe fn lookup<I: Isa>(&self, key: &PacketKey) -> Option<RuleIndex> {
        // SAFETY: the caller's.
        let best = unsafe {
            match key.family() {
                Family::V4 => self.v4.find::<I>(&pack::<1, F>(key)),
                Family::V6 => self.v6.find::<I>(&pack::<4, S>(key)),
            }
        };
        answer(best)
    }

    /// # Safety
    /// The processor must have the instruction set of `I`.
    #[inline(always)]
    unsafe fn lookup_batch<I: Isa>(&self, keys: &[PacketKey], out: &mut [Option<RuleIndex>]) {
        for (keys, out) in keys.chunks(BURST).zip(out.chunks_mut(BURST)) {
            // SAFETY: the caller's.
            unsafe {
                let alike = match keys[0].family() {
                    Family::V4 => lookup_alike::<I, 1, F>(&self.v4, keys, out),
                    Family::V6 => lookup_alike::<I, 4, S>(&self.v6, keys, out),
                };
                if !alike {
                    self.lookup_mixed::<I>(keys, out);
                }
            }
        }
    }

    /// A burst of both families: each by itself.
    ///
    /// # Safety
    /// The processor must have the instruction set of `I`.
    #[inline(always)]
    unsafe fn lookup_mixed<I: Isa>(&self, keys: &[PacketKey], out: &mut [Option<RuleIndex>]) {
        let (mut v4, mut v6) = (Numbers::new(), Numbers::new());
        for (number, key) in (0..).zip(keys) {
            // SAFETY: at most one for each key of a burst.
            unsafe {
                v4.push(number, key.family() == Family::V4);
                v6.push(number, key.family() == Family::V6);
            }
        }
        // SAFETY: the caller's.
        unsafe {
            lookup_numbered::<I, 1, F>(&self.v4, keys, &v4, out);
            lookup_numbered::<I, 4, S>(&self.v6, keys, &v6, out);
        }
    }

    fn count_copies(&self, copies: &mut Vec<u32>) {
        self.v4.count_copies(copies);
        self.v6.count_copies(copies);
    }

    fn dearest_rules(&self) -> Vec<RuleIndex> {
        if self.v4.worst_case() >= self.v6.worst_case() {
            self.v4.dearest_rules()
        } else {
            self.v6.dearest_rules()
        }
    }

    fn lines(&self, key: &PacketKey) -> usize {
        match key.family() {
            Family::V4 => self.v4.lines(&pack::<1, F>(key)),
            Family::V6 => self.v6.lines(&pack::<4, S>(key)),
        }
    }

    fn memory_usage(&self) -> usize {
        self.v4.memory_usage() + self.v6.memory_usage()
    }

    fn worst_case(&self) -> usize {
        self.v4.worst_case().max(self.v6.worst_case())
    }
}

/// Looks up `keys`, at most [`BURST`], if they are all of the table's family, and tells whether they
/// are.
///
/// # Safety
/// The processor must have the instruction set of `I`.
#[inline(always)]
unsafe fn lookup_alike<I: Isa, const A: usize, const N: usize>(
    table: &Table<A, N>,
    keys: &[PacketKey],
    out: &mut [Option<RuleIndex>],
) -> bool {
    let mut burst = Burst::new();
    // One loop for both: a loop over the families alone takes as long as packing. Compilers make
    // vectors of it unless it may end early, which is good for few words; for more they would gather
    // and shuffle.
    let alike = if N > sides(A) {
        let alike = keys.iter().take_while(|key| key.family() == family(A));
        burst.fill(alike.map(pack::<A, N>));
        burst.len() == keys.len()
    } else {
        let mut others = 0;
        burst.fill(keys.iter().map(|key| {
            others |= key.family() as u8 ^ family(A) as u8;
            pack::<A, N>(key)
        }));
        others == 0
    };
    if !alike {
        return false;
    }
    // SAFETY: the caller's.
    let best = unsafe { table.find_burst::<I>(&burst) };
    for (out, best) in out.iter_mut().zip(best) {
        *out = answer(best);
    }
    true
}

/// Looks up those of `keys`, at most [`BURST`], that have these numbers and are of the table's family.
///
/// # Safety
/// The processor must have the instruction set of `I`.
#[inline(always)]
unsafe fn lookup_numbered<I: Isa, const A: usize, const N: usize>(
    table: &Table<A, N>,
    keys: &[PacketKey],
    numbers: &Numbers,
    out: &mut [Option<RuleIndex>],
) {
    let numbers = numbers.as_slice();
    let mut burst = Burst::new();
    burst.fill(numbers.iter().map(|number| pack::<A, N>(&keys[*number as usize])));
    // SAFETY: the caller's.
    let best = unsafe { table.find_burst::<I>(&burst) };
    for (number, best) in numbers.iter().zip(best) {
        out[*number as usize] = answer(best);
    }
}

#[inline(always)]
fn answer(best: RuleIndex) -> Option<RuleIndex> {
    (best != NONE).then_some(best)
}

impl Classifier {
    /// The table of `entries`, which are those of rules with these `uses`.
    pub(crate) fn compile(entries: &AnyEntries, uses: Uses) -> Self {
        let tables = match entries {
            AnyEntries::Plain(entries) => Layout::Plain(Tables::compile(entries, uses)),
            AnyEntries::Full(entries) => Layout::Full(Tables::compile(entries, uses)),
            AnyEntries::Link(entries) => Layout::Link(Tables::compile(entries, uses)),
        };
        Classifier { tables, simd: Simd::best() }
    }

    /// Another table, looked up as this one is.
    pub(crate) fn with_tables(&self, tables: Layout) -> Self {
        Classifier { tables, simd: self.simd }
    }

    /// The same table, looked up with `simd`.
    ///
    /// # Panics
    /// If the processor does not support it.
    pub fn with_simd(mut self, simd: Simd) -> Self {
        assert!(simd.is_supported(), "{simd:?} is not supported by this processor");
        self.simd = simd;
        self
    }

    /// The rules that have most copies in the table, those first.
    pub(crate) fn most_copied(&self, count: usize) -> Vec<RuleIndex> {
        let mut copies = Vec::new();
        match &self.tables {
            Layout::Plain(tables) => tables.count_copies(&mut copies),
            Layout::Full(tables) => tables.count_copies(&mut copies),
            Layout::Link(tables) => tables.count_copies(&mut copies),
        }
        let mut copies: Vec<(u32, RuleIndex)> = copies.into_iter().zip(0..).collect();
        copies.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        copies.into_iter().take(count).map(|(_, rule)| rule).collect()
    }

    /// Some of the rules that a key has to be compared with in the worst case.
    pub(crate) fn dearest_rules(&self, count: usize) -> Vec<RuleIndex> {
        let mut rules = match &self.tables {
            Layout::Plain(tables) => tables.dearest_rules(),
            Layout::Full(tables) => tables.dearest_rules(),
            Layout::Link(tables) => tables.dearest_rules(),
        };
        rules.truncate(count);
        rules
    }

    /// Cache lines that looking up `key` touches: what [`worst_case`](Lookup::worst_case) bounds.
    pub fn cost(&self, key: &PacketKey) -> usize {
        match &self.tables {
            Layout::Plain(tables) => tables.lines(key),
            Layout::Full(tables) => tables.lines(key),
            Layout::Link(tables) => tables.lines(key),
        }
    }

    /// # Safety
    /// The processor must have the instruction set of `I`.
    #[inline(always)]
    unsafe fn lookup_with<I: Isa>(&self, key: &PacketKey) -> Option<RuleIndex> {
        // SAFETY: the caller's.
        unsafe {
            match &self.tables {
                Layout::Plain(tables) => tables.lookup::<I>(key),
                Layout::Full(tables) => tables.lookup::<I>(key),
                Layout::Link(tables) => tables.lookup::<I>(key),
            }
        }
    }

    /// # Safety
    /// The processor must have the instruction set of `I`.
    #[inline(always)]
    unsafe fn batch_with<I: Isa>(&self, keys: &[PacketKey], out: &mut [Option<RuleIndex>]) {
        // SAFETY: the caller's.
        unsafe {
            match &self.tables {
                Layout::Plain(tables) => tables.lookup_batch::<I>(keys, out),
                Layout::Full(tables) => tables.lookup_batch::<I>(keys, out),
                Layout::Link(tables) => tables.lookup_batch::<I>(keys, out),
            }
        }
    }
}

/// The same code, compiled for each instruction set.
#[cfg(target_arch = "x86_64")]
mod compiled {
    use super::Classifier;
    use crate::avx2::Avx2;
    use crate::avx512::Avx512;
    use crate::{PacketKey, RuleIndex};

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn lookup_avx2(table: &Classifier, key: &PacketKey) -> Option<RuleIndex> {
        // SAFETY: whoever may call this has the instructions.
        unsafe { table.lookup_with::<Avx2>(key) }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn batch_avx2(table: &Classifier, keys: &[PacketKey], out: &mut [Option<RuleIndex>]) {
        // SAFETY: whoever may call this has the instructions.
        unsafe { table.batch_with::<Avx2>(keys, out) }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn lookup_avx512(table: &Classifier, key: &PacketKey) -> Option<RuleIndex> {
        // SAFETY: whoever may call this has the instructions.
        unsafe { table.lookup_with::<Avx512>(key) }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn batch_avx512(table: &Classifier, keys: &[PacketKey], out: &mut [Option<RuleIndex>]) {
        // SAFETY: whoever may call this has the instructions.
        unsafe { table.batch_with::<Avx512>(keys, out) }
    }
}

impl Lookup for Classifier {
    #[inline]
    fn lookup(&self, key: &PacketKey) -> Option<RuleIndex> {
        // SAFETY: `simd` is only set to what the processor supports.
        unsafe {
            match self.simd {
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2 => compiled::lookup_avx2(self, key),
                #[cfg(target_arch = "x86_64")]
                Simd::Avx512 => compiled::lookup_avx512(self, key),
                _ => self.lookup_with::<Portable>(key),
            }
        }
    }

    fn lookup_batch(&self, keys: &[PacketKey], out: &mut [Option<RuleIndex>]) {
        let out = &mut out[..keys.len()];
        // SAFETY: `simd` is only set to what the processor supports.
        unsafe {
            match self.simd {
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2 => compiled::batch_avx2(self, keys, out),
                #[cfg(target_arch = "x86_64")]
                Simd::Avx512 => compiled::batch_avx512(self, keys, out),
                _ => self.batch_with::<Portable>(keys, out),
            }
        }
    }

    fn memory_usage(&self) -> usize {
        match &self.tables {
            Layout::Plain(tables) => tables.memory_usage(),
            Layout::Full(tables) => tables.memory_usage(),
            Layout::Link(tables) => tables.memory_usage(),
        }
    }

    fn worst_case(&self) -> usize {
        match &self.tables {
            Layout::Plain(tables) => tables.worst_case(),
            Layout::Full(tables) => tables.worst_case(),
            Layout::Link(tables) => tables.worst_case(),
        }
    }
}
