//! The compiled policy as the workers see it: immutable, shared, one generation.

use crate::guard::{Guard, GuardConfig};
use crate::parse::Tunnels;
use crate::verdict::Action;
use classifier::{Classifier, Lookup, PacketKey, RuleIndex, ZoneId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the data path keeps of a policy's rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRule {
    /// The rule's id in the policy; its hits survive a swap under this name.
    pub id: Box<str>,
    /// What it does.
    pub action: Action,
    /// What becomes of the flows it allowed when a later table is published.
    pub established: Established,
}

/// What becomes of a flow at its next packet after a newer table was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Established {
    /// It is judged anew, and ends if no rule allows it any more.
    #[default]
    Recheck,
    /// It may finish. The newest table's word stands for it if that allows it.
    Keep,
}

/// What becomes of the fragments that arrive from a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FragmentMode {
    /// They are held until their datagram is whole, and judged as one.
    #[default]
    Reassemble,
    /// They are dropped.
    Drop,
}

/// What a policy says of zones besides its rules. Zones that are not listed have the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneSettings {
    /// What is believed of the addresses in packets.
    pub guard: GuardConfig,
    /// What becomes of fragments, by zone number.
    pub fragments: Vec<FragmentMode>,
}

/// One generation of compiled policy. Built by the control side, published whole, dropped off the
/// workers.
#[derive(Debug)]
pub struct Table {
    generation: u64,
    classifier: Arc<Classifier>,
    /// For each rule of the classifier, the index into `rules`.
    entries: Box<[u32]>,
    rules: Box<[TableRule]>,
    /// Per worker, then per rule. Each worker writes only its own slab.
    hits: Box<[Box<[AtomicU64]>]>,
    guard: Guard,
    fragments: Box<[FragmentMode]>,
    inside: Tunnels,
}

impl Table {
    /// A table that `workers` workers will count hits in.
    ///
    /// `entries` has one element for each rule of `classifier`, in its order: the index into
    /// `rules` of the policy rule it was lowered from.
    ///
    /// # Panics
    /// If an entry points past `rules`.
    pub fn new(
        generation: u64,
        classifier: impl Into<Arc<Classifier>>,
        entries: Vec<u32>,
        rules: Vec<TableRule>,
        workers: usize,
    ) -> Self {
        assert!(entries.iter().all(|&e| (e as usize) < rules.len()), "entry without a rule");
        let slab = || rules.iter().map(|_| AtomicU64::new(0)).collect();
        Table {
            generation,
            classifier: classifier.into(),
            entries: entries.into(),
            hits: (0..workers).map(|_| slab()).collect(),
            rules: rules.into(),
            guard: Guard::new(&GuardConfig::default()),
            fragments: Box::default(),
            inside: Tunnels::NONE,
        }
    }

    /// The same with settings of zones other than the defaults.
    pub fn with_zones(self, zones: &ZoneSettings) -> Self {
        let (guard, fragments) = (Guard::new(&zones.guard), zones.fragments.as_slice().into());
        Table { guard, fragments, ..self }
    }

    /// The same, with these tunnels looked into.
    pub fn with_tunnels(self, inside: Tunnels) -> Self {
        Table { inside, ..self }
    }

    /// Tunnels that are looked into: their packets are judged by what they carry.
    pub fn inside(&self) -> Tunnels {
        self.inside
    }

    /// Which publication this is; counts up from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The policy's rules in order.
    pub fn rules(&self) -> &[TableRule] {
        &self.rules
    }

    /// Rules of the classifier: what the policy's rules were lowered to.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// How many workers this table counts for.
    pub fn workers(&self) -> usize {
        self.hits.len()
    }

    /// Bytes held.
    pub fn memory_usage(&self) -> usize {
        self.classifier.memory_usage()
            + self.guard.memory_usage()
            + size_of_val(&*self.entries)
            + self.rules.iter().map(|r| size_of::<TableRule>() + r.id.len()).sum::<usize>()
            + self.hits.iter().map(|slab| size_of_val(&**slab)).sum::<usize>()
    }

    /// What becomes of the flows that `rule` allowed.
    pub(crate) fn established(&self, rule: u32) -> Established {
        self.rules[rule as usize].established
    }

    /// What is believed of the addresses in packets.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// What becomes of the fragments that arrive from `zone`.
    pub(crate) fn fragments(&self, zone: ZoneId) -> FragmentMode {
        self.fragments.get(usize::from(zone.0)).copied().unwrap_or_default()
    }

    /// The most cache lines that judging a packet can touch in the classifier.
    pub fn worst_case(&self) -> usize {
        self.classifier.worst_case()
    }

    /// The first rule that matches, as an index into [`rules`](Table::rules), and its action.
    #[inline]
    pub fn judge(&self, key: &PacketKey) -> Option<(u32, Action)> {
        self.classifier.lookup(key).map(|entry| self.rule_of(entry))
    }

    /// The first entry that matches each of `keys`, for [`rule_of`](Table::rule_of).
    #[inline]
    pub(crate) fn lookup_batch(&self, keys: &[PacketKey], matches: &mut [Option<RuleIndex>]) {
        self.classifier.lookup_batch(keys, matches);
    }

    /// The rule that an entry was lowered from, and its action.
    #[inline]
    pub(crate) fn rule_of(&self, entry: RuleIndex) -> (u32, Action) {
        let rule = self.entries[entry as usize];
        (rule, self.rules[rule as usize].action)
    }

    /// Packets judged by each rule so far, directly or through a flow it allowed, in rule order.
    pub fn hits(&self) -> Vec<u64> {
        let sum = |rule: usize| self.hits.iter().map(|slab| slab[rule].load(Relaxed)).sum();
        (0..self.rules.len()).map(sum).collect()
    }

    /// Counts one packet for `rule`. Only worker `worker` may call it with its own number: the
    /// slab has one writer, so a load and a store suffice.
    #[inline]
    pub(crate) fn hit(&self, worker: usize, rule: u32) {
        let cell = &self.hits[worker][rule as usize];
        cell.store(cell.load(Relaxed) + 1, Relaxed);
    }
}
