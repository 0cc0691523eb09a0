//! Tuple space search (Srinivasan, Suri and Varghese, SIGCOMM 1999), with the tuples in the order of
//! their best rule, as Open vSwitch has them.

use super::fields::{Address, Fields, exact_part};
use super::{Cost, lines};
use classifier::{
    AddressMatch, Family, FlagsMatch, IdentityRange, LengthRange, Lookup, MacMatch, PacketKey,
};
use classifier::{PortRange, Rule, RuleIndex};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::fmt;

/// An immutable table over zones, prefixes, ports and protocol; it knows no other field.
///
/// Rules that are exact in the same bits of the same fields form a tuple: one hash table from those
/// bits to the rules that have them. A lookup probes the tuples, best first, until the rule in
/// hand comes before all rules of the tuples that remain. It allocates nothing.
#[derive(Clone, Debug)]
pub struct TupleSpace {
    v4: Table<u32>,
    v6: Table<u128>,
}

impl TupleSpace {
    /// Compiles `rules`, in priority order.
    ///
    /// # Errors
    /// [`Unsupported`] for the first rule that looks at a field it does not know.
    ///
    /// # Panics
    /// If there are more rules than indices.
    pub fn new(rules: &[Rule]) -> Result<Self, Unsupported> {
        assert!(rules.len() <= NONE as usize, "more rules than indices");
        for (index, rule) in (0..).zip(rules) {
            if let Some(field) = unknown_field(rule) {
                return Err(Unsupported { rule: index, field });
            }
        }
        Ok(TupleSpace { v4: Table::compile(rules), v6: Table::compile(rules) })
    }
}

/// A rule that looks at a field that the engine does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The rule's index.
    pub rule: RuleIndex,
    /// The first such field.
    pub field: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unsupported { rule, field } = self;
        write!(
            f,
            "rule {rule} (counted from 0) looks at {field}: tuple space search knows zones, "
        )?;
        write!(f, "prefixes, ports and the protocol only")
    }
}

impl std::error::Error for Unsupported {}

fn unknown_field(rule: &Rule) -> Option<&'static str> {
    let no_prefix = |addresses: &AddressMatch| {
        matches!(addresses, AddressMatch::Range { .. } | AddressMatch::Set(_))
    };
    // Every field by name, so that a new one is not passed over.
    let Rule {
        from_zone: _,
        to_zone: _,
        vlan,
        src,
        dst,
        src_identities,
        dst_identities,
        protocol: _,
        src_ports: _,
        dst_ports: _,
        tcp_flags,
        dscp,
        fragment,
        src_mac,
        dst_mac,
        lengths,
    } = rule;
    let fields = [
        (vlan.is_some(), "the VLAN"),
        (no_prefix(src), "a source range or set"),
        (no_prefix(dst), "a destination range or set"),
        (*src_identities != IdentityRange::ANY, "source identities"),
        (*dst_identities != IdentityRange::ANY, "destination identities"),
        (*tcp_flags != FlagsMatch::ANY, "TCP flags"),
        (dscp.is_some(), "the DSCP"),
        (fragment.is_some(), "fragments"),
        (*src_mac != MacMatch::ANY, "the source MAC address"),
        (*dst_mac != MacMatch::ANY, "the destination MAC address"),
        (*lengths != LengthRange::ANY, "the length"),
    ];
    fields.into_iter().find_map(|(used, field)| used.then_some(field))
}

impl Lookup for TupleSpace {
    #[inline]
    fn lookup(&self, key: &PacketKey) -> Option<RuleIndex> {
        let rule = match key.family() {
            Family::V4 => self.v4.search(key, |_| {}),
            Family::V6 => self.v6.search(key, |_| {}),
        };
        (rule != NONE).then_some(rule)
    }

    fn memory_usage(&self) -> usize {
        self.v4.memory_usage() + self.v6.memory_usage()
    }

    /// Every tuple probed, and the longest bucket of each read to its end: no key need cost as
    /// much, none costs more.
    fn worst_case(&self) -> usize {
        self.v4.worst_case().max(self.v6.worst_case())
    }
}

impl Cost for TupleSpace {
    fn cost(&self, key: &PacketKey) -> usize {
        match key.family() {
            Family::V4 => self.v4.cost(key),
            Family::V6 => self.v6.cost(key),
        }
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

    /// The first rule that matches, or [`NONE`]. Calls `probed` for every tuple probed, with the
    /// number of entries compared there.
    #[inline]
    fn search(&self, key: &PacketKey, mut probed: impl FnMut(usize)) -> RuleIndex {
        let fields = Fields::of(key);
        let mut best = NONE;
        for tuple in &self.tuples {
            if best < tuple.best {
                break;
            }
            let Some(bucket) = tuple.buckets.get(&fields.masked(&tuple.mask)) else {
                probed(0);
                continue;
            };
            let mut compared = 0;
            for entry in &self.entries[bucket.start as usize..][..bucket.len as usize] {
                compared += 1;
                if entry.rule >= best {
                    break;
                }
                if entry.src_ports.contains(key.src_port) && entry.dst_ports.contains(key.dst_port)
                {
                    best = entry.rule;
                    break;
                }
            }
            probed(compared);
        }
        best
    }

    fn memory_usage(&self) -> usize {
        let buckets = self.tuples.iter().map(|tuple| tuple.buckets.allocation_size());
        buckets.sum::<usize>() + size_of_val(&*self.tuples) + size_of_val(&*self.entries)
    }

    fn cost(&self, key: &PacketKey) -> usize {
        let (mut tuples, mut lines) = (0, 0);
        self.search(key, |compared| {
            tuples += 1;
            lines += probe_lines(compared);
        });
        // The tuple at which the search stopped was looked at, too.
        lines + self.head_lines((tuples + 1).min(self.tuples.len()))
    }

    fn worst_case(&self) -> usize {
        let probes = self.tuples.iter().map(|tuple| probe_lines(tuple.longest as usize));
        probes.sum::<usize>() + self.head_lines(self.tuples.len())
    }

    /// Lines of the first `tuples` masks and table heads.
    fn head_lines(&self, tuples: usize) -> usize {
        lines::<Tuple<A>>(tuples)
    }
}

/// Lines of one probe that compares `entries`: the hash table's control bytes, the slot they lead
/// to, and the entries.
fn probe_lines(entries: usize) -> usize {
    2 + lines::<Entry>(entries)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulesets::{self, SetConfig, Structure};
    use crate::traces::{self, Pattern};
    use classifier::{Linear, ZoneId};

    #[test]
    fn it_answers_as_the_linear_scan_and_costs_no_more_than_it_says() {
        for structure in [Structure::Acl1, Structure::Acl2, Structure::Fw1, Structure::Ipc1] {
            let config = SetConfig::new(structure, 400, 1);
            let rules = rulesets::generate(SetConfig { v6_percent: 40, zones: 3, ..config });
            let (linear, tuple) = (Linear::new(&rules[..]), TupleSpace::new(&rules).unwrap());
            for pattern in [Pattern::Uniform, Pattern::Corners, Pattern::Mixed, Pattern::Random] {
                for header in traces::generate(&rules, pattern, 500, 2) {
                    assert_eq!(tuple.lookup(&header.key), linear.lookup(&header.key));
                    assert!(tuple.cost(&header.key) <= tuple.worst_case());
                }
            }
            assert!(tuple.memory_usage() > 400 * 12);
        }
    }

    #[test]
    fn a_field_it_does_not_know_is_refused_with_its_rule() {
        let range = AddressMatch::Range { family: Family::V4, low: 1, high: 2 };
        let unknown = [
            Rule { vlan: Some(1), ..Rule::ANY },
            Rule { src: range.clone(), ..Rule::ANY },
            Rule { dst: AddressMatch::set([range]), ..Rule::ANY },
            Rule { src_identities: IdentityRange::one(1), ..Rule::ANY },
            Rule { dst_identities: IdentityRange::one(1), ..Rule::ANY },
            Rule { tcp_flags: FlagsMatch { value: 2, mask: 2 }, ..Rule::ANY },
            Rule { dscp: Some(0), ..Rule::ANY },
            Rule { fragment: Some(true), ..Rule::ANY },
            Rule { src_mac: MacMatch::one([2; 6]), ..Rule::ANY },
            Rule { dst_mac: MacMatch::one([2; 6]), ..Rule::ANY },
            Rule { lengths: LengthRange::one(40), ..Rule::ANY },
        ];
        let known = Rule { from_zone: Some(ZoneId(1)), protocol: Some(6), ..Rule::ANY };
        for rule in unknown {
            let refused = TupleSpace::new(&[known.clone(), rule.clone()]).unwrap_err();
            assert_eq!(refused.rule, 1, "{rule:?}");
        }
        let vlan = TupleSpace::new(&[Rule { vlan: Some(1), ..Rule::ANY }]).unwrap_err();
        assert!(vlan.to_string().starts_with("rule 0 (counted from 0) looks at the VLAN"));
    }

    #[test]
    fn no_rules_cost_nothing_and_a_repeated_rule_costs_as_one() {
        let key = PacketKey::empty(Family::V4);
        let none = TupleSpace::new(&[]).unwrap();
        assert_eq!((none.lookup(&key), none.cost(&key), none.worst_case()), (None, 0, 0));

        let rule = Rule { dst_ports: PortRange { low: 0, high: 9 }, ..Rule::ANY };
        let once = TupleSpace::new(std::slice::from_ref(&rule)).unwrap();
        let often = TupleSpace::new(&vec![rule; 1000]).unwrap();
        assert_eq!(often.lookup(&key), Some(0));
        assert_eq!(often.worst_case(), once.worst_case());
    }
}
