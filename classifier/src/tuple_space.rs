//! The compiled engine: tuple space search (Srinivasan, Suri and Varghese, SIGCOMM 1999), with the
//! tuples in the order of their best rule, as Open vSwitch has them.

use crate::fields::{Address, Fields, exact_part};
use crate::rule::PortRange;
use crate::{Family, Lookup, PacketKey, Rule, RuleIndex};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// An immutable compiled table, made by [`Builder`](crate::Builder).
///
/// Rules that are exact in the same bits of the same fields form a tuple: one hash table from those
/// bits to the rules that have them. A lookup probes the tuples, best first, until the rule in
/// hand comes before all rules of the tuples that remain. It allocates nothing.
#[derive(Clone, Debug)]
pub struct Classifier {
    v4: Table<u32>,
    v6: Table<u128>,
}

impl Classifier {
    /// Compiles `rules`, fewer than [`RuleIndex::MAX`], in priority order.
    pub(crate) fn compile(rules: &[Rule]) -> Self {
        Classifier { v4: Table::compile(rules), v6: Table::compile(rules) }
    }
}

impl Lookup for Classifier {
    #[inline]
    fn lookup(&self, key: &PacketKey) -> Option<RuleIndex> {
        match key.family {
            Family::V4 => self.v4.lookup(key),
            Family::V6 => self.v6.lookup(key),
        }
    }

    fn memory_usage(&self) -> usize {
        self.v4.memory_usage() + self.v6.memory_usage()
    }

    fn worst_case(&self) -> usize {
        self.v4.worst_case().max(self.v6.worst_case())
    }
}

/// "No rule yet": after every rule there can be.
const NONE: RuleIndex = RuleIndex::MAX;

/// The rules that can match packets of one family.
#[derive(Clone, Debug)]
struct Table<A> {
    /// In the order of their best rules.
    tuples: Box<[Tuple<A>]>,
    /// The rules of every bucket, one bucket after another.
    entries: Box<[Entry]>,
}

#[derive(Clone, Debug)]
struct Tuple<A> {
    mask: Fields<A>,
    /// The first of all its rules.
    best: RuleIndex,
    /// Most entries in one of its buckets.
    longest: u32,
    /// Seeded at random, so that nobody can choose packets or rules that collide.
    buckets: HashMap<Fields<A>, Bucket, RandomState>,
}

/// A run of [`Table::entries`]: rules of one tuple with the same masked key, in priority order.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    start: u32,
    len: u32,
}

/// What the masked key leaves to compare.
#[derive(Clone, Copy, Debug)]
struct Entry {
    rule: RuleIndex,
    src_ports: PortRange,
    dst_ports: PortRange,
}

impl Entry {
    fn covers(&self, other: &Entry) -> bool {
        let within =
            |outer: PortRange, inner: PortRange| outer.low <= inner.low && inner.high <= outer.high;
        within(self.src_ports, other.src_ports) && within(self.dst_ports, other.dst_ports)
    }
}

/// A rule on its way into its bucket. The order of the fields sorts by tuple, then bucket, then
/// priority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Placed<A> {
    mask: Fields<A>,
    value: Fields<A>,
    rule: RuleIndex,
}

impl<A: Address> Table<A> {
    fn compile(rules: &[Rule]) -> Self {
        let mut placed: Vec<Placed<A>> = (0..)
            .zip(rules)
            .filter_map(|(index, rule)| {
                let (mask, value) = exact_part(rule)?;
                Some(Placed { mask, value, rule: index })
            })
            .collect();
        placed.sort_unstable();
        let mut entries = Vec::with_capacity(placed.len());
        let mut tuples: Vec<_> = placed
            .chunk_by(|a, b| a.mask == b.mask)
            .map(|of_tuple| Tuple::compile(rules, of_tuple, &mut entries))
            .collect();
        tuples.sort_unstable_by_key(|tuple| tuple.best);
        Table { tuples: tuples.into(), entries: entries.into() }
    }

    #[inline]
    fn lookup(&self, key: &PacketKey) -> Option<RuleIndex> {
        let fields = Fields::of(key);
        let mut best = NONE;
        for tuple in &self.tuples {
            if best < tuple.best {
                break;
            }
            let Some(bucket) = tuple.buckets.get(&fields.masked(&tuple.mask)) else { continue };
            let entries = &self.entries[bucket.start as usize..][..bucket.len as usize];
            let found = entries.iter().take_while(|entry| entry.rule < best).find(|entry| {
                entry.src_ports.contains(key.src_port) && entry.dst_ports.contains(key.dst_port)
            });
            if let Some(entry) = found {
                best = entry.rule;
            }
        }
        (best != NONE).then_some(best)
    }

    fn memory_usage(&self) -> usize {
        let buckets = self.tuples.iter().map(|tuple| tuple.buckets.allocation_size());
        buckets.sum::<usize>() + size_of_val(&*self.tuples) + size_of_val(&*self.entries)
    }

    /// One probe a tuple, and the longest bucket of each: no key need cost as much, none costs more.
    fn worst_case(&self) -> usize {
        self.tuples.iter().map(|tuple| 1 + tuple.longest as usize).sum()
    }
}

impl<A: Address> Tuple<A> {
    /// Makes a tuple of `placed`, which is sorted, not empty and of one mask; its entries go to the
    /// end of `entries`.
    fn compile(rules: &[Rule], placed: &[Placed<A>], entries: &mut Vec<Entry>) -> Self {
        let by_bucket = || placed.chunk_by(|a, b| a.value == b.value);
        let mut tuple = Tuple {
            mask: placed[0].mask,
            best: placed.iter().map(|placed| placed.rule).min().unwrap_or(NONE),
            longest: 0,
            buckets: HashMap::with_capacity_and_hasher(by_bucket().count(), RandomState::default()),
        };
        for of_bucket in by_bucket() {
            let start = entries.len();
            for placed in of_bucket {
                let Rule { src_ports, dst_ports, .. } = rules[placed.rule as usize];
                let entry = Entry { rule: placed.rule, src_ports, dst_ports };
                // The entry above answers wherever this one would. Comparing with that one alone
                // keeps a build linear and still folds a rule that is repeated.
                if !entries[start..].last().is_some_and(|above| above.covers(&entry)) {
                    entries.push(entry);
                }
            }
            let bucket = Bucket { start: start as u32, len: (entries.len() - start) as u32 };
            tuple.longest = tuple.longest.max(bucket.len);
            tuple.buckets.insert(of_bucket[0].value, bucket);
        }
        tuple
    }
}
